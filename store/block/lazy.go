package block

import (
	"cmp"
	"slices"

	"gabion/protocol/dtyp"
	"gabion/store"
)

// fewChunks is how many chunks a clone or clearing handles one by one; beyond it
// becomes a pending clone.
const fewChunks = 64

// chunkList lists the chunks of [off, off+n) that hold or may hold something: those
// that the index knows, and those of pending clones.
func (s *stream) chunkList(off, n int64) ([]uint32, error) {
	if n <= 0 {
		return nil, nil
	}
	first, last := uint32(off/chunkSize), uint32((off+n-1)/chunkSize)
	if last-first < 4 {
		var all []uint32
		for i := first; i <= last; i++ {
			all = append(all, i)
		}
		return all, nil
	}
	list, err := s.n.v.chunksOf(s.n.id, s.no, first, last)
	ps := s.n.v.pendings.overlaps(streamRef{s.n.id, s.no}, first, last+1)
	if len(ps) == 0 || err != nil {
		return list, err
	}
	for _, p := range ps {
		for i := max(p.first, first); i < p.end() && i <= last; i++ {
			j, err := s.n.v.nextTouched(p, i)
			if err != nil {
				return nil, err
			}
			if i = j; i < p.end() && i <= last {
				list = append(list, i)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// many reports whether chunks [from, to) are too many to be handled one by one:
// more than a few are known, or some are pending.
func (s *stream) many(from, to uint32) (bool, error) {
	v := s.n.v
	if len(v.pendings.overlaps(streamRef{s.n.id, s.no}, from, to)) > 0 {
		return true, nil
	}
	if int(to-from) <= v.few {
		return false, nil
	}
	n := 0
	prefix := be.AppendUint32(key64(nil, kChunk, uint64(s.n.id)), s.no)
	err := v.scan(prefix, chunkBody(nil, s.n.id, s.no, from), func(key, _ []byte) (bool, error) {
		if be.Uint32(key[13:]) >= to {
			return false, nil
		}
		n++
		return n <= v.few, nil
	})
	return n > v.few, err
}

// wipe plans a pending clone of nothing for chunks [from, to).
func (p *plan) wipe(from, to uint32) {
	p.above = p.s.n.v.version
	p.lazy = append(p.lazy, &pending{to: streamRef{p.s.n.id, p.s.no}, version: p.above, first: from, n: to - from})
}

// commitLazy commits the change with the pending clones that are part of it.
func (p *plan) commitLazy(z sizes, t store.Touch) (store.Pos, error) {
	if len(p.lazy) == 0 {
		return p.s.commit(p.c, z, t)
	}
	v := p.s.n.v
	v.pendings.cutting.Lock()
	e := v.planLazy(p.c, p.lazy)
	pos, err := p.s.commit(p.c, z, t)
	if err == nil {
		v.pendings.change(e.gone, e.new)
	}
	v.pendings.cutting.Unlock()
	if err == nil {
		v.pendings.made.Store(v.opt.Now().UnixNano())
		v.madeLazy(p.lazy)
	}
	return pos, err
}

// planLazy plans that pending clones come. Caller holds cutting.
func (v *Volume) planLazy(c *change, lazy []*pending) pendEdit {
	var e pendEdit
	l := *v.snaps.live.Load()
	limit := v.log.MaxPayload()
	for _, q := range lazy {
		c.room(limit, maxEdits)
		// What it covers goes, unless a snapshot sees it.
		for _, old := range v.pendings.overlaps(q.to, q.first, q.end()) {
			if !l.within(old.version, q.version) {
				e.cutAgain(c, old, q.first, q.end())
			}
		}
	}
	for _, q := range lazy {
		c.room(limit, maxEdits)
		e.add(c, q)
	}
	return e
}

// madeLazy makes the maps that pending clones stand above be loaded anew. It takes
// their locks, so cutting must be free again.
func (v *Volume) madeLazy(lazy []*pending) {
	v.invalidate(lazy)
	v.work.poke()
}

// cutAgain is cut for a pending clone that may have been cut in the same change.
func (e *pendEdit) cutAgain(c *change, p *pending, from, to uint32) {
	if !slices.Contains(e.gone, p) {
		e.cut(c, p, from, to)
		return
	}
	for _, rest := range slices.Clone(e.new) {
		if rest.to == p.to && rest.version == p.version && rest.first < to && from < rest.end() {
			e.new = slices.DeleteFunc(e.new, func(q *pending) bool { return q == rest })
			c.del(rest.key())
			if from > rest.first {
				e.add(c, rest.slice(rest.first, from))
			}
			if to < rest.end() {
				e.add(c, rest.slice(to, rest.end()))
			}
		}
	}
}

// invalidate makes cached live chunks of the targets of pending clones be loaded anew. Those
// that a plan itself holds are outside the ranges.
func (v *Volume) invalidate(lazy []*pending) {
	by := map[streamRef]*layer{}
	for _, p := range lazy {
		if by[p.to] == nil {
			by[p.to] = &layer{}
		}
		by[p.to].list = append(by[p.to].list, p)
	}
	for _, l := range by {
		slices.SortFunc(l.list, func(a, b *pending) int { return cmp.Compare(a.first, b.first) })
	}
	for _, c := range v.chunks.cached(func(id chunkID) bool {
		l := by[streamRef{id.file, id.stream}]
		return l != nil && id.view == store.Live && l.at(id.chunk) != nil
	}) {
		c.mu.Lock()
		c.loaded = false
		c.mu.Unlock()
		c.unpin()
	}
}

// cached returns the chunks in the cache that match, pinned.
func (cc *chunkCache) cached(match func(chunkID) bool) []*chunk {
	var out []*chunk
	for i := range cc.shards {
		s := &cc.shards[i]
		s.mu.Lock()
		for id, c := range s.all {
			if match(id) {
				c.pins.Add(1)
				out = append(out, c)
			}
		}
		s.mu.Unlock()
	}
	return out
}

// lazyClone is a clone that becomes pending clones. The epoch is held for writing, both
// streams are locked.
type lazyClone struct {
	p      *plan
	from   *stream
	hidden *snapshot // taken for it, nil if the source is in a snapshot's view
	view   uint64
}

// begin plans the hidden snapshot that keeps a live source as it is. A source in the view
// of a snapshot that is being deleted cannot be kept (Volume.doomed).
func (z *lazyClone) begin() {
	v := z.p.s.n.v
	z.p.above = v.version
	if z.from.n.view != store.Live {
		z.view = uint64(z.from.n.view)
		return
	}
	z.hidden = &snapshot{id: v.version + 1, hidden: true, taken: dtyp.FiletimeOf(v.opt.Now()), scope: []store.FileID{z.from.n.id}}
	z.view, z.p.above = z.hidden.id, z.hidden.id
	c := z.p.c
	c.set(counterKey("version"), le.AppendUint64(nil, z.hidden.id))
	c.set(snapKey(z.hidden.id), z.hidden.encode())
	if z.from.n == z.p.s.n {
		c.cover = z.hidden.id // goes with the other changes of its record
	} else {
		v.coverBy(c, []*inode{z.from.n}, z.hidden.id)
	}
}

// add plans chunks [first, first+n) of the target as blocks of the source from off on.
// Where the source is pending itself, its own source is named.
func (z *lazyClone) add(first, n uint32, off int64) {
	to := streamRef{z.p.s.n.id, z.p.s.no}
	from := streamRef{z.from.n.id, z.from.no}
	whole := &pending{to: to, version: z.p.above, first: first, n: n, from: from, view: z.view, off: off}
	if off%chunkBlocks != 0 {
		z.p.lazy = append(z.p.lazy, whole)
		return
	}
	// Chunk i of the target is chunk i+shift of the source.
	shift := off/chunkBlocks - int64(first)
	lo := uint32(off / chunkBlocks)
	open := []*pending{whole} // what no pending clone of the source covers, so far
	for _, p := range z.p.s.n.v.pendings.overlaps(from, lo, lo+n) {
		if p.version > maxVersion(z.from.n.view) {
			continue
		}
		var rest []*pending
		for _, q := range open {
			a := max(int64(p.first)-shift, int64(q.first))
			b := min(int64(p.end())-shift, int64(q.end()))
			if a >= b {
				rest = append(rest, q)
				continue
			}
			s := p.slice(uint32(a+shift), uint32(b+shift))
			got := q.slice(uint32(a), uint32(b))
			got.from, got.view, got.off = s.from, s.view, s.off
			z.p.lazy = append(z.p.lazy, got)
			if int64(q.first) < a {
				rest = append(rest, q.slice(q.first, uint32(a)))
			}
			if b < int64(q.end()) {
				rest = append(rest, q.slice(uint32(b), q.end()))
			}
		}
		open = rest
	}
	z.p.lazy = append(z.p.lazy, open...)
}

// committed does in memory what begin planned.
func (z *lazyClone) committed() {
	if z.hidden != nil {
		z.p.s.n.v.covered([]*inode{z.from.n}, z.hidden)
	}
}
