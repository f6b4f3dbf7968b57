package block

import (
	"fmt"
	"slices"

	"gabion/store"
)

// CloneFrom implements store.Stream.
func (h *handle) CloneFrom(dst int64, from store.Stream, src, n int64, t store.Touch) (store.Pos, error) {
	f := handleOf(from)
	if f == nil || f.n.v != h.n.v {
		return 0, fmt.Errorf("stream of another volume: %w", store.ErrInvalid)
	}
	if h.n.view != store.Live {
		return 0, store.ErrReadOnly
	}
	if err := span(dst, n); err != nil {
		return 0, err
	}
	if err := span(src, n); err != nil {
		return 0, err
	}
	if err := h.n.v.admit(n); err != nil {
		return 0, err
	}
	j := cloning{h.stream, f.stream, dst, src, n, t}
	pos, many, err := j.now()
	if many {
		return j.later()
	}
	return pos, err
}

// handleOf returns the handle behind a stream of this package, nil for another's.
func handleOf(s store.Stream) *handle {
	switch s := s.(type) {
	case *handle:
		return s
	case *use:
		return s.handle
	}
	return nil
}

// cloning is the arguments of a clone.
type cloning struct {
	to, from    *stream
	dst, src, n int64
	t           store.Touch
}

// chunks returns the chunks of the target that are cloned whole.
func (j *cloning) chunks() (first, end uint32) {
	return uint32((j.dst + chunkSize - 1) / chunkSize), uint32((j.dst + j.n) / chunkSize)
}

func (j *cloning) sizes() sizes {
	z := j.to.sizes()
	if j.n > 0 {
		z.size, z.valid = max(z.size, j.dst+j.n), max(z.valid, j.dst+j.n)
	}
	return z
}

// now clones chunk by chunk, unless these are too many.
func (j *cloning) now() (pos store.Pos, many bool, err error) {
	v := j.to.n.v
	v.epoch.RLock()
	defer v.epoch.RUnlock()
	defer lockBoth(j.to, j.from)()
	if err := checkClone(j.to, j.dst, j.from, j.src, j.n); err != nil {
		return 0, false, err
	}
	if first, end := j.chunks(); first < end && int(end-first) > v.few && !v.doomed(j.from.n.view) {
		if many, err := j.to.many(first, end); many || err != nil {
			return 0, many, err
		}
		if many, err := j.from.many(uint32(j.src/chunkSize), uint32((j.src+j.n-1)/chunkSize)+1); many || err != nil {
			return 0, many, err
		}
	}
	p := newPlan(j.to)
	defer p.free()
	if err := p.clone(j.dst, j.from, j.src, j.n); err != nil {
		return 0, false, err
	}
	pos, err = p.commit(j.sizes(), j.t)
	return pos, false, err
}

// later makes pending clones of the whole chunks.
func (j *cloning) later() (store.Pos, error) {
	v := j.to.n.v
	v.epoch.Lock()
	defer v.epoch.Unlock()
	defer lockBoth(j.to, j.from)()
	if err := checkClone(j.to, j.dst, j.from, j.src, j.n); err != nil {
		return 0, err
	}
	p := newPlan(j.to)
	defer p.free()
	if v.doomed(j.from.n.view) {
		// A handle outlives its snapshot, a pending clone of it would not.
		if err := p.clone(j.dst, j.from, j.src, j.n); err != nil {
			return 0, err
		}
		return p.commit(j.sizes(), j.t)
	}
	first, end := j.chunks()
	lo, hi := int64(first)*chunkSize, int64(end)*chunkSize
	if err := p.clone(j.dst, j.from, j.src, lo-j.dst); err != nil {
		return 0, err
	}
	if err := p.clone(hi, j.from, j.src+hi-j.dst, j.dst+j.n-hi); err != nil {
		return 0, err
	}
	z := lazyClone{p: p, from: j.from}
	z.begin()
	z.add(first, end-first, (j.src+lo-j.dst)/blockSize)
	pos, err := p.commit(j.sizes(), j.t)
	if err == nil {
		z.committed()
	}
	return pos, err
}

// lockBoth keeps two streams from changing. A snapshot's needs no lock.
func lockBoth(a, b *stream) (unlock func()) {
	if b.n.view != store.Live || a == b {
		a.mu.Lock()
		return a.mu.Unlock
	}
	if a.n.id > b.n.id || a.n.id == b.n.id && a.no > b.no {
		a, b = b, a
	}
	a.mu.Lock()
	b.mu.Lock()
	return func() {
		b.mu.Unlock()
		a.mu.Unlock()
	}
}

func checkClone(to *stream, dst int64, from *stream, src, n int64) error {
	size := from.size.Load()
	switch {
	case dst%blockSize != 0 || src%blockSize != 0:
		return fmt.Errorf("clone [%d,+%d) to %d is not aligned: %w", src, n, dst, store.ErrInvalid)
	case src+n > size:
		return fmt.Errorf("clone [%d,+%d) of %d bytes: %w", src, n, size, store.ErrInvalid)
	case n%blockSize != 0 && (src+n != size || dst+n < to.size.Load()):
		return fmt.Errorf("clone length %d is not aligned: %w", n, store.ErrInvalid)
	case to == from && dst < src+n && src < dst+n:
		return fmt.Errorf("clone [%d,+%d) overlaps %d: %w", src, n, dst, store.ErrInvalid)
	}
	return nil
}

// clone plans that [dst, dst+n) holds what [src, src+n) of from holds. Chunks where
// neither has anything are passed over.
func (p *plan) clone(dst int64, from *stream, src, n int64) error {
	if n <= 0 {
		return nil
	}
	list, err := p.touched(dst, from, src, n)
	if err != nil {
		return err
	}
	end := (dst + n + blockSize - 1) / blockSize
	for _, i := range list {
		to := max(int64(i)*chunkBlocks, dst/blockSize)
		for stop := min(int64(i+1)*chunkBlocks, end); to < stop; {
			at := to + (src-dst)/blockSize
			k := min(stop-to, chunkBlocks-at%chunkBlocks)
			m, err := p.source(from, uint32(at/chunkBlocks))
			if err != nil {
				return err
			}
			p.room(0)
			pl, err := p.lock(i)
			if err != nil {
				return err
			}
			if err := p.share(pl, m, uint8(at%chunkBlocks), uint8(to%chunkBlocks), uint8(k)); err != nil {
				return err
			}
			to += k
		}
	}
	return nil
}

// source returns the map of a chunk of the source, which may be one that the plan
// holds. Looking at another stream's while ours is locked is safe: both streams are held.
func (p *plan) source(from *stream, i uint32) (*chunkMap, error) {
	if from == p.s {
		for _, pl := range p.chunks {
			if pl.ck.id.chunk == i {
				return &pl.ck.m, nil
			}
		}
	}
	return from.mapOf(i)
}

// touched lists the chunks of the target that a clone concerns: where it has
// something itself, or the source has.
func (p *plan) touched(dst int64, from *stream, src, n int64) ([]uint32, error) {
	own, err := p.s.chunkList(dst, n)
	if err != nil {
		return nil, err
	}
	theirs, err := from.chunkList(src, n)
	if err != nil {
		return nil, err
	}
	for _, i := range theirs {
		lo := max(int64(i)*chunkSize, src) + dst - src
		hi := min(int64(i+1)*chunkSize, src+n) + dst - src
		for c := lo / chunkSize; c <= (hi-1)/chunkSize; c++ {
			own = append(own, uint32(c))
		}
	}
	slices.Sort(own)
	return slices.Compact(own), nil
}

// mapOf returns a copy of a chunk's map.
func (s *stream) mapOf(i uint32) (*chunkMap, error) {
	cc := &s.n.v.chunks
	c := cc.get(s.chunkID(i))
	defer c.unpin()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := cc.load(c); err != nil {
		return nil, s.corrupt(i, 0, chunkSize, err)
	}
	return c.m.clone(), nil
}

// share plans that blocks [out, out+k) of a chunk are blocks [in, in+k) of map m.
func (p *plan) share(pl *planned, m *chunkMap, in, out, k uint8) error {
	next := in
	hole := func(end uint8) error {
		if next == end {
			return nil
		}
		q := piece{kind: opHole, block: next - in + out, n: end - next}
		i := pl.ck.m.find(q.block)
		if i == len(pl.ck.m.pieces) || pl.ck.m.pieces[i].block >= q.end() {
			return nil // there is nothing
		}
		return p.put(pl, q, nil)
	}
	for i := m.find(in); i < len(m.pieces) && m.pieces[i].block < in+k; i++ {
		q := m.pieces[i].slice(max(m.pieces[i].block, in), min(m.pieces[i].end(), in+k))
		if err := hole(q.block); err != nil {
			return err
		}
		next = q.end()
		crcs := m.crc[q.block:q.end()]
		q.block = q.block - in + out
		if err := p.sharePiece(pl, q, crcs); err != nil {
			return err
		}
	}
	return hole(in + k)
}

// sharePiece plans the blocks of q that are not there already, with a reference for each.
func (p *plan) sharePiece(pl *planned, q piece, crcs []uint32) error {
	for b := q.block; b < q.end(); {
		e := b
		for e < q.end() && !p.holds(pl, &q, e) {
			e++
		}
		if e == b {
			b++
			continue
		}
		part := q.slice(b, e)
		if err := p.refs(pl, &part); err != nil {
			return err
		}
		if err := p.put(pl, part, crcs[b-q.block:e-q.block]); err != nil {
			return err
		}
		b = e
	}
	return nil
}

// holds reports whether block b of the chunk is what q says already.
func (p *plan) holds(pl *planned, q *piece, b uint8) bool {
	was, ok := pl.ck.m.at(b)
	return ok && was.same(q, b)
}

// refs adds the references that sharing q takes. Where the version before holds
// the very block, this one joins it in its reference.
func (p *plan) refs(pl *planned, q *piece) error {
	if !q.stored() {
		return nil
	}
	if !pl.up {
		if err := p.s.n.v.chunks.loadPrev(pl.ck); err != nil {
			return err
		}
	}
	for b := q.block; b < q.end(); b++ {
		if prev := pl.ck.prev; prev != nil && !pl.up {
			if was, ok := prev.at(b); ok && was.same(q, b) {
				continue
			}
		}
		off, n := q.extent(b)
		p.c.ref(q.container, off, n, 1)
	}
	return nil
}

// Allocated implements store.Stream.
func (h *handle) Allocated(off, n int64, to []store.Range) ([]store.Range, error) {
	if off < 0 || n < 0 {
		return to, store.ErrInvalid
	}
	if err := h.n.v.check(); err != nil {
		return to, err
	}
	size := h.size.Load()
	if off >= size {
		return to, nil
	}
	end := off + min(n, size-off)
	first := len(to)
	list, err := h.chunkList(off, end-off)
	if err != nil {
		return to, err
	}
	for _, i := range list {
		m, err := h.mapOf(i)
		if err != nil {
			return to, err
		}
		base := int64(i) * chunkSize
		for _, q := range m.pieces {
			lo, hi := max(base+int64(q.block)*blockSize, off), min(base+int64(q.end())*blockSize, end)
			if lo >= hi {
				continue
			}
			if l := len(to); l > first && to[l-1].Off+to[l-1].Len == lo {
				to[l-1].Len += hi - lo
			} else {
				to = append(to, store.Range{Off: lo, Len: hi - lo})
			}
		}
	}
	return to, nil
}
