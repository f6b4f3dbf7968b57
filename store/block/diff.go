package block

import (
	"fmt"
	"maps"
	"slices"

	"gabion/store"
)

// streamIn opens a stream of a file in a view. The caller releases the handle.
func (v *Volume) streamIn(view store.View, id store.FileID, name string) (*handle, error) {
	n, err := v.OpenID(view, id)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	s, err := n.Stream(name)
	if err != nil {
		return nil, err
	}
	return s.(*handle), nil
}

// Diff implements store.Snapshots: it looks at the chunks that were changed
// between the views, and there block by block.
func (s snapshots) Diff(id store.FileID, name string, a, b store.View, fn func(store.Range) bool) error {
	if err := s.v.check(); err != nil {
		return err
	}
	x, err := s.v.streamIn(a, id, name)
	if err != nil {
		return err
	}
	defer x.Close()
	y, err := s.v.streamIn(b, id, name)
	if err != nil {
		return err
	}
	defer y.Close()
	list, err := s.v.changed(x.stream, y.stream)
	if err != nil {
		return err
	}
	d := differ{fn: fn, end: min(x.size.Load(), y.size.Load())}
	for _, i := range list {
		if err := d.chunk(x.stream, y.stream, i); err != nil {
			return err
		}
	}
	d.add(d.end, max(x.size.Load(), y.size.Load()))
	d.flush()
	return nil
}

// changed lists the chunks in which two views of a stream can differ.
func (v *Volume) changed(x, y *stream) ([]uint32, error) {
	if x.no != y.no {
		// Another stream took the name: they can differ wherever one has something.
		all, err := x.chunkList(0, x.size.Load())
		if err != nil {
			return nil, err
		}
		more, err := y.chunkList(0, y.size.Load())
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
		slices.Sort(all)
		return slices.Compact(all), nil
	}
	lo, hi := uint64(x.n.view)-1, uint64(y.n.view)-1
	lo, hi = min(lo, hi)+1, max(lo, hi)
	seen := map[uint32]struct{}{}
	// Downwards, because that is the way a marker moves when its snapshot goes.
	versions := slices.Sorted(maps.Keys(*v.snaps.byID.Load()))
	for _, version := range slices.Backward(versions) {
		if version < lo || version > hi {
			continue
		}
		prefix := be.AppendUint32(key64(key64(nil, kMarker, version)[:9:9], kChunk, uint64(x.n.id)), x.no)
		err := v.scan(prefix, nil, func(key, _ []byte) (bool, error) {
			seen[be.Uint32(key[len(prefix):])] = struct{}{}
			return true, nil
		})
		if err != nil {
			return nil, err
		}
	}
	ref := streamRef{x.n.id, x.no}
	for _, p := range v.pendings.overlaps(ref, 0, ^uint32(0)) {
		for i := p.first; p.version >= lo && p.version <= hi && i < p.end(); i++ {
			var err error
			if i, err = v.nextTouched(p, i); err != nil {
				return nil, err
			}
			if i < p.end() {
				seen[i] = struct{}{}
			}
		}
	}
	var list []uint32
	for i := range seen {
		list = append(list, i)
	}
	slices.Sort(list)
	return list, nil
}

// differ joins what differs into ranges.
type differ struct {
	fn   func(store.Range) bool
	end  int64 // blocks behind it are not compared
	r    store.Range
	done bool
}

func (d *differ) add(lo, hi int64) {
	if lo >= hi || d.done {
		return
	}
	if d.r.Len > 0 && d.r.Off+d.r.Len == lo {
		d.r.Len += hi - lo
		return
	}
	d.flush()
	d.r = store.Range{Off: lo, Len: hi - lo}
}

func (d *differ) flush() {
	if d.r.Len > 0 && !d.done {
		d.done = !d.fn(d.r)
	}
	d.r = store.Range{}
}

// chunk compares a chunk: blocks that are stored in the same place are equal,
// others are read.
func (d *differ) chunk(x, y *stream, i uint32) error {
	m, err := x.mapOf(i)
	if err != nil {
		return err
	}
	o, err := y.mapOf(i)
	if err != nil {
		return err
	}
	a, b := blocks.Get().(*[blockSize]byte), blocks.Get().(*[blockSize]byte)
	defer blocks.Put(a)
	defer blocks.Put(b)
	for k := range uint8(chunkBlocks) {
		off := int64(i)*chunkSize + int64(k)*blockSize
		if off >= d.end || d.done {
			break
		}
		p, ok := m.at(k)
		q, ok2 := o.at(k)
		if ok == ok2 && p.same(&q, k) {
			continue
		}
		if err := readOr0(x, m, &p, ok, a, i, k); err != nil {
			return err
		}
		if err := readOr0(y, o, &q, ok2, b, i, k); err != nil {
			return err
		}
		if *a != *b {
			d.add(off, min(off+blockSize, d.end))
		}
	}
	return nil
}

func readOr0(s *stream, m *chunkMap, p *piece, ok bool, to *[blockSize]byte, i uint32, k uint8) error {
	if !ok {
		clear(to[:])
		return nil
	}
	if err := s.n.v.space.readBlocks(p, &m.crc, to[:], k); err != nil {
		return s.corrupt(i, int(k)*blockSize, blockSize, err)
	}
	return nil
}

// Restore implements store.Snapshots.
func (s snapshots) Restore(id store.FileID, view store.View) (store.Pos, error) {
	v := s.v
	if view == store.Live {
		return 0, store.ErrInvalid
	}
	if err := v.check(); err != nil {
		return 0, err
	}
	to, err := v.OpenID(store.Live, id)
	if err != nil {
		return 0, err
	}
	defer to.Close()
	from, err := v.OpenID(view, id)
	if err != nil {
		return 0, err
	}
	defer from.Close()
	pos, err := restoreStreams(to.(*node), from.(*node))
	if err != nil {
		return 0, fmt.Errorf("restore file %d: %w", id, err)
	}
	return pos, nil
}

// restoreStreams makes the streams of a file what they are in a snapshot.
func restoreStreams(to, from *node) (store.Pos, error) {
	pos := store.Pos(0)
	if !to.dir {
		p, err := restoreStream(to, from, "")
		if err != nil {
			return 0, err
		}
		pos = p
	}
	have, err := to.Streams()
	if err != nil {
		return 0, err
	}
	want, err := from.Streams()
	if err != nil {
		return 0, err
	}
	up := to.v.up
	for _, h := range have {
		if !slices.ContainsFunc(want, func(w store.StreamInfo) bool { return up(w.Name) == up(h.Name) }) {
			if pos, err = to.RemoveStream(h.Name); err != nil {
				return 0, err
			}
		}
	}
	for _, w := range want {
		if p, err := restoreStream(to, from, w.Name); err != nil {
			return 0, err
		} else if p > pos {
			pos = p
		}
	}
	return pos, nil
}

func restoreStream(to, from *node, name string) (store.Pos, error) {
	x, err := from.Stream(name)
	if err != nil {
		return 0, err
	}
	defer x.Close()
	y, err := to.Stream(name)
	if isNotFound(err) {
		y, _, err = to.CreateStream(name)
	}
	if err != nil {
		return 0, err
	}
	defer y.Close()
	return y.(*handle).become(x.(*handle))
}

// become makes the stream equal to another view of it.
func (h *handle) become(from *handle) (store.Pos, error) {
	b, err := h.enter(0, always)
	if err != nil {
		return 0, err
	}
	defer b.leave()
	p := newPlan(h.stream)
	defer p.free()
	list, err := h.n.v.changed(from.stream, h.stream)
	if err != nil {
		return 0, err
	}
	if len(list) > h.n.v.few {
		z := lazyClone{p: p, from: from.stream}
		z.begin()
		for k := 0; k < len(list); {
			n := 1
			for k+n < len(list) && list[k+n] == list[k]+uint32(n) {
				n++
			}
			z.add(list[k], uint32(n), int64(list[k])*chunkBlocks)
			k += n
		}
		list = nil
	}
	for _, i := range list {
		m, err := from.mapOf(i)
		if err != nil {
			return 0, err
		}
		p.room(0)
		pl, err := p.lock(i)
		if err != nil {
			return 0, err
		}
		if err := p.share(pl, m, 0, 0, chunkBlocks); err != nil {
			return 0, err
		}
	}
	return p.commit(from.stream.sizes(), store.Touch{})
}
