package block

import (
	"fmt"
	"slices"

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
	list, err := x.maybeDiffer(y)
	if err != nil {
		return err
	}
	d := differ{fn: fn, end: min(x.size.Load(), y.size.Load())}
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
	d.add(d.end, max(x.size.Load(), y.size.Load()))
	d.flush()
	return nil
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
	for k := range uint8(chunkBlocks) {
		off := int64(i)*chunkSize + int64(k)*blockSize
		if off >= d.end {
			return
		}
		p, ok := m.at(k)
		q, ok2 := w.at(k)
		ok, ok2 = ok && p.kind != opZeros, ok2 && q.kind != opZeros
		if ok != ok2 || ok && !p.same(&q, k) {
			d.add(off, min(off+blockSize, d.end))
		}
	}
}
