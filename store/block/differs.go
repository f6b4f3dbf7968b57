package block

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"gabion/store"
)

// DiffersFrom implements store.Stream.
func (h *handle) DiffersFrom(other store.Stream, fn func(store.Range) bool) error {
	o, ok := other.(*handle)
	if !ok || o.n.v != h.n.v {
		return fmt.Errorf("stream of another volume: %w", store.ErrInvalid)
	}
	if err := h.n.v.check(); err != nil {
		return err
	}
	x, y := h.stream, o.stream
	d := differ{fn: fn, end: min(x.size.Load(), y.size.Load())}
	if err := x.compare(y, &d); err != nil {
		return err
	}
	d.add(d.end, max(x.size.Load(), y.size.Load()))
	d.flush()
	return nil
}

// compare tells d in which places two streams differ.
func (x *stream) compare(y *stream, d *differ) error {
	v := x.n.v
	if x.n.id != y.n.id || x.no != y.no {
		whole := ^uint32(0)
		if len(v.pendings.overlaps(streamRef{x.n.id, x.no}, 0, whole)) == 0 && len(v.pendings.overlaps(streamRef{y.n.id, y.no}, 0, whole)) == 0 {
			return x.compareAll(y, d)
		}
	}
	list, err := x.maybeDiffer(y)
	if err != nil {
		return err
	}
	for _, i := range list {
		if int64(i)*chunkSize >= d.end || d.done {
			break
		}
		m, err := x.mapOf(i)
		if err != nil {
			return err
		}
		w, err := y.mapOf(i)
		if err != nil {
			return err
		}
		d.places(m, w, i)
	}
	return nil
}

// compareAll walks the chunk maps of two streams side by side, past the cache: their number may be
// that of whole disks. Nothing is pending of either.
func (x *stream) compareAll(y *stream, d *differ) error {
	p, err := x.cursor()
	if err != nil {
		return err
	}
	defer p.it.Close()
	q, err := y.cursor()
	if err != nil {
		return err
	}
	defer q.it.Close()
	var m, w chunkMap
	for (p.ok || q.ok) && !d.done {
		i := q.chunk
		if p.ok && (!q.ok || p.chunk < i) {
			i = p.chunk
		}
		if int64(i)*chunkSize >= d.end {
			break
		}
		one, two := p.ok && p.chunk == i, q.ok && q.chunk == i
		m.reset()
		w.reset()
		if !one || !two || !bytes.Equal(p.value, q.value) {
			if one {
				_, err = m.apply(p.value, nil)
			}
			if err == nil && two {
				_, err = w.apply(q.value, nil)
			}
			if err != nil {
				return x.corrupt(i, 0, chunkSize, err)
			}
			d.places(&m, &w, i)
		}
		if p.ok && p.chunk == i {
			err = p.next()
		}
		if err == nil && q.ok && q.chunk == i {
			err = q.next()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cursor goes through the chunk maps of a stream as its view sees them.
type cursor struct {
	v     *Volume
	it    *pebble.Iterator
	max   uint64
	ok    bool
	chunk uint32
	value []byte // until next
}

func (s *stream) cursor() (*cursor, error) {
	prefix := be.AppendUint32(key64(nil, kChunk, uint64(s.n.id)), s.no)
	it, err := s.n.v.index.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return nil, s.n.v.indexError(err)
	}
	c := &cursor{v: s.n.v, it: it, max: maxVersion(s.n.view)}
	it.First()
	if err := c.settle(false); err != nil {
		it.Close()
		return nil, err
	}
	return c, nil
}

// next goes to the following chunk.
func (c *cursor) next() error {
	c.it.Next()
	return c.settle(true)
}

// settle finds the newest version that the view sees of the next chunk that has one; behind tells
// that older versions of the present chunk may follow.
func (c *cursor) settle(behind bool) error {
	c.ok = false
	for ; c.it.Valid(); c.it.Next() {
		body, version := versionOf(c.it.Key())
		chunk := be.Uint32(body[13:])
		if version > c.max || behind && chunk == c.chunk {
			continue
		}
		c.chunk, behind = chunk, true
		value, err := c.it.ValueAndErr()
		if err != nil {
			return c.v.indexError(err)
		}
		if len(value) > 0 {
			c.value, c.ok = value, true
			return nil
		}
	}
	return c.v.indexError(c.it.Error())
}

// maybeDiffer lists the chunks outside of which two streams hold the same.
func (x *stream) maybeDiffer(y *stream) ([]uint32, error) {
	if x.n.id == y.n.id && x.no == y.no {
		return x.n.v.changed(x, y)
	}
	list, err := x.chunkList(0, x.size.Load())
	if err != nil {
		return nil, err
	}
	more, err := y.chunkList(0, y.size.Load())
	if err != nil {
		return nil, err
	}
	list = append(list, more...)
	slices.Sort(list)
	return slices.Compact(list), nil
}

// places adds the blocks of a chunk that are not stored in the same place.
func (d *differ) places(m, w *chunkMap, i uint32) {
	a, b := 0, 0
	for k := range uint8(chunkBlocks) {
		off := int64(i)*chunkSize + int64(k)*blockSize
		if off >= d.end {
			return
		}
		p, q := m.onward(&a, k), w.onward(&b, k)
		if (p == nil) != (q == nil) || p != nil && !p.same(q, k) {
			d.add(off, min(off+blockSize, d.end))
		}
	}
}

// onward returns the piece with data that holds block k, nil for none; i is the place of the
// search, which goes upwards only.
func (m *chunkMap) onward(i *int, k uint8) *piece {
	for *i < len(m.pieces) && m.pieces[*i].end() <= k {
		*i++
	}
	if *i == len(m.pieces) || m.pieces[*i].block > k || m.pieces[*i].kind == opZeros {
		return nil
	}
	return &m.pieces[*i]
}
