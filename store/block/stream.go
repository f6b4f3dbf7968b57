package block

import (
	"fmt"
	"sync"
	"sync/atomic"

	"gabion/store"
)

// stream is the data of one stream of an open inode.
type stream struct {
	n  *inode
	no uint32

	mu      sync.RWMutex // read by changes within the sizes, written by changes of them
	version uint64       // of a named stream's record of sizes; guarded by mu

	size, valid, alloc atomic.Int64 // changed under mu and inode.mu

	warm atomic.Bool // the last large read found all in the data cache

	name string // guarded by inode.mu; "" for the unnamed stream
	refs int    // open handles; guarded by inode.mu
	gone bool   // it was removed; guarded by inode.mu
}

func newStream(n *inode, no uint32, name string, version uint64, s sizes) *stream {
	st := &stream{n: n, no: no, name: name, version: version}
	st.setSizes(s)
	return st
}

func (s *stream) sizes() sizes { return sizes{s.size.Load(), s.valid.Load(), s.alloc.Load()} }

func (s *stream) setSizes(z sizes) {
	s.size.Store(z.size)
	s.valid.Store(z.valid)
	s.alloc.Store(z.alloc)
}

func (s *stream) chunkID(i uint32) chunkID {
	return chunkID{file: s.n.id, view: s.n.view, stream: s.no, chunk: i}
}

// handle is an open stream; it implements store.Stream.
type handle struct {
	*stream
	closed atomic.Bool
	pack   atomic.Bool
}

// SetPacking implements store.Packer.
func (h *handle) SetPacking(on bool) { h.pack.Store(on) }

// openHandle returns a handle and takes the references that it needs. Caller holds inode.mu.
func (s *stream) openHandle() *handle {
	s.refs++
	s.n.ref()
	h := &handle{stream: s}
	h.pack.Store(s.n.v.opt.Pack)
	return h
}

// Close implements store.Stream.
func (h *handle) Close() {
	if h.closed.Swap(true) {
		return
	}
	n := h.n
	n.mu.Lock()
	h.refs--
	removed := h.gone && h.refs == 0
	if h.refs == 0 && h.stream != n.data {
		delete(n.streams, h.no)
	}
	n.mu.Unlock()
	if removed && !n.gone.Load() {
		n.v.work.orphan(orphan{id: n.id, stream: h.no})
	}
	n.release()
}

// Name implements store.Stream.
func (h *handle) Name() string {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	return h.name
}

// Sizes implements store.Stream.
func (h *handle) Sizes() store.Sizes { return h.stream.sizes().public() }

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

// bound starts a change: it takes the epoch and the stream's lock, for writing
// when the change may move the sizes.
type bound struct {
	s     *stream
	write bool
}

// enter checks a change of data and takes its locks. grows says whether the sizes change
// given what they are.
func (s *stream) enter(bytes int64, grows func() bool) (bound, error) {
	v := s.n.v
	if s.n.view != store.Live {
		return bound{}, store.ErrReadOnly
	}
	if err := v.admit(bytes); err != nil {
		return bound{}, err
	}
	v.epoch.RLock()
	s.mu.RLock()
	if !grows() {
		return bound{s, false}, nil
	}
	s.mu.RUnlock()
	s.mu.Lock()
	return bound{s, true}, nil
}

func (b bound) leave() {
	if b.write {
		b.s.mu.Unlock()
	} else {
		b.s.mu.RUnlock()
	}
	b.s.n.v.epoch.RUnlock()
}

func always() bool { return true }

// commit commits a change of the stream's data together with its new sizes and
// the times of t. Caller holds the stream's lock, for writing if the sizes change.
func (s *stream) commit(c *change, z sizes, t store.Touch) (store.Pos, error) {
	v, n := s.n.v, s.n
	old := s.sizes()
	touched := t != store.Touch{} || c.cover != 0
	if z == old && (!touched || n.unmoved(c, t)) {
		if len(c.body) == 0 && len(c.refs) == c.done && len(c.parts) == 0 {
			return store.Pos(v.log.Last()), nil
		}
		return v.commit(c)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	more := z.public().Allocated - old.public().Allocated
	d, err := n.domain()
	if err != nil {
		return 0, err
	}
	if s.gone || n.gone.Load() {
		d = nil // what has no name is charged to nobody
	}
	if err := d.charge(more); err != nil {
		return 0, err
	}
	unnamed := s == n.data
	a := n.attrs()
	a.touch(t)
	a.cover = max(a.cover, c.cover)
	if unnamed {
		a.sizes = z
	}
	label := n.version
	if unnamed || touched {
		label = n.update(c, &a)
	}
	version := s.version
	if !unnamed && z != old {
		version = s.planSizes(c, z, old)
	}
	pos, err := v.commit(c)
	if err != nil {
		d.release(more)
		return 0, err
	}
	if unnamed || touched {
		n.updated(&a, label)
	}
	s.version = version
	s.setSizes(z)
	return pos, nil
}

// unmoved reports whether a change leaves the attributes as they are, as most writes do
// within a tick of the clock.
func (n *inode) unmoved(c *change, t store.Touch) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.a
	a.touch(t)
	a.cover = max(a.cover, c.cover)
	return a == n.a
}

// planSizes plans the record of a named stream's sizes.
func (s *stream) planSizes(c *change, z, old sizes) uint64 {
	body := inodeKey(nil, s.n.id, s.no)
	label := s.n.label(s.version)
	if label == s.version {
		c.merge(at(body, label), z.encode(nil, &old))
	} else {
		c.set(at(body, label), z.full(nil))
		c.mark(label, body)
	}
	return label
}

// SetValidData implements store.Stream.
func (h *handle) SetValidData(n int64, t store.Touch) (store.Pos, error) {
	if err := span(n, 0); err != nil {
		return 0, err
	}
	b, err := h.enter(0, always)
	if err != nil {
		return 0, err
	}
	defer b.leave()
	z := h.stream.sizes()
	if n < z.valid || n > z.size {
		return 0, fmt.Errorf("valid data length %d of %d, size %d: %w", n, z.valid, z.size, store.ErrInvalid)
	}
	z.valid = n
	c := newChange()
	defer c.free()
	return h.commit(c, z, t)
}

// SetSize implements store.Stream.
func (h *handle) SetSize(size int64, t store.Touch) (store.Pos, error) {
	if err := span(size, 0); err != nil {
		return 0, err
	}
	b, err := h.enter(0, always)
	if err != nil {
		return 0, err
	}
	defer b.leave()
	return h.resize(size, func(z *sizes) {}, t)
}

// SetAllocation implements store.Stream.
func (h *handle) SetAllocation(size int64, t store.Touch) (store.Pos, error) {
	if err := span(size, 0); err != nil {
		return 0, err
	}
	alloc := roundUp(size)
	if err := h.n.v.relieve(alloc - roundUp(h.size.Load())); err != nil {
		return 0, err
	}
	b, err := h.enter(0, always)
	if err != nil {
		return 0, err
	}
	defer b.leave()
	if err := h.n.v.allowance(alloc - roundUp(h.size.Load())); err != nil {
		return 0, err
	}
	return h.resize(min(alloc, h.size.Load()), func(z *sizes) { z.alloc = alloc }, t)
}

// resize sets the size, clearing what lies behind it. Caller holds mu.
func (s *stream) resize(size int64, also func(*sizes), t store.Touch) (store.Pos, error) {
	z := s.sizes()
	p := newPlan(s)
	defer p.free()
	if size < z.size {
		if err := p.clear(size, z.size); err != nil {
			return 0, err
		}
		z.alloc = 0
	}
	z.size = size
	z.valid = min(z.valid, size)
	also(&z)
	return p.commit(z, t)
}

// Zero implements store.Stream.
func (h *handle) Zero(off, n int64, t store.Touch) (store.Pos, error) {
	if off < 0 || n < 0 {
		return 0, store.ErrInvalid
	}
	b, err := h.enter(0, func() bool { return n > 2*chunkSize })
	if err != nil {
		return 0, err
	}
	defer b.leave()
	if err := span(off, 0); err != nil {
		return 0, err
	}
	z := h.stream.sizes()
	p := newPlan(h.stream)
	defer p.free()
	if off < z.size {
		end := off + min(n, z.size-off)
		if err := p.clear(off, end); err != nil {
			return 0, err
		}
	}
	return p.commit(z, t)
}

// WriteAt implements store.Stream.
func (h *handle) WriteAt(p []byte, off int64, t store.Touch) (store.Pos, error) {
	return h.write(p, nil, off, t, false)
}

// StreamAt implements store.Streamer.
func (h *handle) StreamAt(p []byte, off int64, t store.Touch) (store.Pos, error) {
	return h.write(p, nil, off, t, true)
}

// WriteSummed implements store.Summed.
func (h *handle) WriteSummed(p []byte, sums []uint32, off int64, t store.Touch) (store.Pos, error) {
	if off%blockSize != 0 || len(sums) != len(p)/blockSize {
		sums = nil
	}
	return h.write(p, sums, off, t, false)
}

func (h *handle) write(p []byte, sums []uint32, off int64, t store.Touch, passing bool) (store.Pos, error) {
	if err := span(off, int64(len(p))); err != nil {
		return 0, err
	}
	if err := h.n.v.allowance(int64(len(p))); err != nil {
		if err = h.n.v.relieve(int64(len(p))); err == nil {
			err = h.n.v.allowance(int64(len(p)))
		}
		if err != nil {
			return 0, err
		}
	}
	end := off + int64(len(p))
	b, err := h.enter(int64(len(p)), func() bool { return len(p) > 0 && (end > h.size.Load() || end > h.valid.Load()) })
	if err != nil {
		return 0, err
	}
	defer b.leave()
	z := h.stream.sizes()
	w := newPlan(h.stream)
	defer w.free()
	if len(p) > 0 {
		z.size, z.valid = max(z.size, end), max(z.valid, end)
		w.pack, w.large = h.pack.Load(), len(p) >= leastStream
		w.sums, w.summed = sums, off/blockSize
		if err := w.write(p, off); err != nil {
			return 0, err
		}
		w.c.passing = passing || w.large && w.unread()
	}
	return w.commit(z, t)
}
