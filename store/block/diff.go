package block

import (
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
	if x.n.id != y.n.id || x.no != y.no {
		// Another stream took the name, or another file is meant: they can differ wherever one has something.
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
	seen := map[uint32]struct{}{}
	lo, hi := between(x.n.view, y.n.view)
	// Pending clones first: what becomes real meanwhile has a marker then.
	if err := v.changedPending(streamRef{x.n.id, x.no}, lo, hi, seen); err != nil {
		return nil, err
	}
	in := scanner{v: v}
	defer in.close()
	all := v.snaps.list()
	first, _ := all.search(lo)
	for _, sn := range all[first:] {
		if sn.id > hi {
			break
		}
		prefix := be.AppendUint32(key64(key64(nil, kMarker, sn.id)[:9:9], kChunk, uint64(x.n.id)), x.no)
		err := in.scan(prefix, nil, func(key, _ []byte) (bool, error) {
			seen[be.Uint32(key[len(prefix):])] = struct{}{}
			return true, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(seen)), nil
}

// between returns the versions of the changes that one view has and the other has not.
func between(a, b store.View) (lo, hi uint64) {
	x, y := maxVersion(a), maxVersion(b)
	return min(x, y) + 1, max(x, y)
}

// changedPending adds the chunks that pending clones of some versions concern.
func (v *Volume) changedPending(ref streamRef, lo, hi uint64, seen map[uint32]struct{}) error {
	for _, p := range v.pendings.overlaps(ref, 0, ^uint32(0)) {
		for i := p.first; p.version >= lo && p.version <= hi && i < p.end(); i++ {
			var err error
			if i, err = v.nextTouched(p, i); err != nil {
				return err
			}
			if i < p.end() {
				seen[i] = struct{}{}
			}
		}
	}
	return nil
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
