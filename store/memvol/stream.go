package memvol

import (
	"fmt"

	"gabion/store"
)

// handle is an open stream.
type handle struct {
	n *node
	s *stream
}

func (h *handle) Close() {}

func (h *handle) Name() string {
	h.n.v.mu.Lock()
	defer h.n.v.mu.Unlock()
	return h.s.name
}

func (h *handle) Sizes() store.Sizes {
	h.n.v.mu.Lock()
	defer h.n.v.mu.Unlock()
	return h.s.sizes(h.n.sparse())
}

func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, store.ErrInvalid
	}
	if err := h.n.v.enter("ReadAt"); err != nil {
		return 0, err
	}
	defer h.n.v.mu.Unlock()
	return h.s.readAt(p, off)
}

// span checks an offset and a length against the limits.
func span(off, n int64) error {
	switch {
	case off < 0 || n < 0:
		return fmt.Errorf("[%d,+%d): %w", off, n, store.ErrInvalid)
	case off > store.MaxSize || n > store.MaxSize-off:
		return fmt.Errorf("[%d,+%d): %w", off, n, store.ErrTooLarge)
	}
	return nil
}

// change runs fn with the volume locked, then sets the times.
func (h *handle) change(method string, off, n int64, t store.Touch, fn func(d *data) error) (store.Pos, error) {
	if err := h.n.enterLive(method); err != nil {
		return 0, err
	}
	defer h.n.v.mu.Unlock()
	if err := span(off, n); err != nil {
		return 0, err
	}
	if err := fn(&h.s.data); err != nil {
		return 0, err
	}
	h.n.touch(t)
	return h.n.v.done(), nil
}

// StreamAt implements store.Streamer: all is in memory anyway.
func (h *handle) StreamAt(p []byte, off int64, t store.Touch) (store.Pos, error) {
	return h.WriteAt(p, off, t)
}

// WriteSummed implements store.Summed: nothing is verified here.
func (h *handle) WriteSummed(p []byte, _ []uint32, off int64, t store.Touch) (store.Pos, error) {
	return h.WriteAt(p, off, t)
}

func (h *handle) WriteAt(p []byte, off int64, t store.Touch) (store.Pos, error) {
	return h.change("WriteAt", off, int64(len(p)), t, func(d *data) error {
		if len(p) == 0 {
			return nil
		}
		if err := h.n.v.room(int64(len(p))); err != nil {
			return err
		}
		d.writeAt(p, off)
		return nil
	})
}

func (h *handle) Zero(off, n int64, t store.Touch) (store.Pos, error) {
	return h.change("Zero", off, 0, t, func(d *data) error {
		if n < 0 {
			return store.ErrInvalid
		}
		if off < d.size {
			d.zero(off, off+min(n, d.size-off))
		}
		return nil
	})
}

func (h *handle) SetSize(size int64, t store.Touch) (store.Pos, error) {
	return h.change("SetSize", size, 0, t, func(d *data) error {
		d.setSize(size)
		return nil
	})
}

func (h *handle) SetAllocation(size int64, t store.Touch) (store.Pos, error) {
	return h.change("SetAllocation", size, 0, t, func(d *data) error {
		a := roundUp(size)
		if err := h.n.v.room(a - roundUp(d.size)); err != nil {
			return err
		}
		if a < d.size {
			d.setSize(a)
		}
		d.alloc = a
		return nil
	})
}

func (h *handle) SetValidData(n int64, t store.Touch) (store.Pos, error) {
	return h.change("SetValidData", n, 0, t, func(d *data) error {
		if n < d.valid || n > d.size {
			return fmt.Errorf("valid data length %d of %d, size %d: %w", n, d.valid, d.size, store.ErrInvalid)
		}
		d.valid = n
		return nil
	})
}

func (h *handle) Allocated(off, n int64, to []store.Range) ([]store.Range, error) {
	if off < 0 || n < 0 {
		return to, store.ErrInvalid
	}
	if err := h.n.v.enter("Allocated"); err != nil {
		return to, err
	}
	defer h.n.v.mu.Unlock()
	if off >= h.s.size {
		return to, nil
	}
	return h.s.allocated(off, min(n, h.s.size-off), to), nil
}

func (h *handle) CloneFrom(dst int64, from store.Stream, src, n int64, t store.Touch) (store.Pos, error) {
	f, ok := from.(*handle)
	if !ok || f.n.v != h.n.v {
		return 0, fmt.Errorf("stream of another volume: %w", store.ErrInvalid)
	}
	return h.change("CloneFrom", dst, n, t, func(d *data) error {
		if err := span(src, n); err != nil {
			return err
		}
		if err := checkClone(d, dst, &f.s.data, src, n); err != nil {
			return err
		}
		if n > 0 {
			d.cloneFrom(dst, &f.s.data, src, n)
		}
		return nil
	})
}

func checkClone(d *data, dst int64, from *data, src, n int64) error {
	switch {
	case dst%blockSize != 0 || src%blockSize != 0:
		return fmt.Errorf("clone [%d,+%d) to %d is not aligned: %w", src, n, dst, store.ErrInvalid)
	case src+n > from.size:
		return fmt.Errorf("clone [%d,+%d) of %d bytes: %w", src, n, from.size, store.ErrInvalid)
	case n%blockSize != 0 && (src+n != from.size || dst+n < d.size):
		return fmt.Errorf("clone length %d is not aligned: %w", n, store.ErrInvalid)
	case d == from && dst < src+n && src < dst+n:
		return fmt.Errorf("clone [%d,+%d) overlaps %d: %w", src, n, dst, store.ErrInvalid)
	}
	return nil
}

func (h *handle) DiffersFrom(other store.Stream, fn func(store.Range) bool) error {
	o, ok := other.(*handle)
	if !ok || o.n.v != h.n.v {
		return fmt.Errorf("stream of another volume: %w", store.ErrInvalid)
	}
	if err := h.n.v.enter("DiffersFrom"); err != nil {
		return err
	}
	list := diff(&h.s.data, &o.s.data)
	h.n.v.mu.Unlock()
	for _, r := range list {
		if !fn(r) {
			break
		}
	}
	return nil
}
