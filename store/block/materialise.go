package block

import (
	"slices"

	"gabion/store"
)

// materialise.go makes pending clones real: it gives chunks the maps that a
// pending clone stands for, under the pending clone's own version. What any reader sees stays
// the same.

// content returns the map that a pending clone stands for in a chunk.
func (v *Volume) content(p *pending, chunk uint32) (*chunkMap, error) {
	m := new(chunkMap)
	if p.from.file == 0 {
		return m, nil
	}
	src := p.off + int64(chunk-p.first)*chunkBlocks
	for b := int64(0); b < chunkBlocks; {
		in := (src + b) % chunkBlocks
		k := min(chunkBlocks-b, chunkBlocks-in)
		from, err := v.mapIn(chunkID{file: p.from.file, stream: p.from.no, view: store.View(p.view), chunk: uint32((src + b) / chunkBlocks)})
		if err != nil {
			return nil, err
		}
		for i := from.find(uint8(in)); i < len(from.pieces) && int64(from.pieces[i].block) < in+k; i++ {
			q := from.pieces[i].slice(max(from.pieces[i].block, uint8(in)), uint8(min(int64(from.pieces[i].end()), in+k)))
			crc := from.crc[q.block:q.end()]
			q.block = uint8(int64(q.block) - in + b)
			m.set(q, crc)
		}
		b += k
	}
	return m, nil
}

// mapIn returns a copy of a chunk's map in a view.
func (v *Volume) mapIn(id chunkID) (*chunkMap, error) {
	c := v.chunks.get(id)
	defer c.unpin()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := v.chunks.load(c); err != nil {
		return nil, err
	}
	return c.m.clone(), nil
}

// realise plans that a chunk gets its map for a pending clone. The chunk is locked.
func (v *Volume) realise(c *change, p *pending, chunk uint32) error {
	body := chunkBody(nil, p.to.file, p.to.no, chunk)
	before, err := v.versions(body)
	if err != nil {
		return err
	}
	m, err := v.content(p, chunk)
	if err != nil {
		return err
	}
	after := slices.DeleteFunc(slices.Clone(before), func(s state) bool { return s.version == p.version })
	i := slices.IndexFunc(after, func(s state) bool { return s.version > p.version })
	if i < 0 {
		i = len(after)
	}
	after = slices.Insert(after, i, state{version: p.version, m: m})
	l := *v.snaps.live.Load()
	var kept []state
	for i, s := range after {
		seen := i+1 == len(after) || l.within(s.version, after[i+1].version)
		if len(s.m.pieces) == 0 && len(kept) == 0 {
			seen = false
		}
		if seen {
			kept = append(kept, s)
		}
	}
	for _, s := range before {
		if !slices.ContainsFunc(kept, func(k state) bool { return k.version == s.version }) {
			c.del(at(body, s.version))
		}
	}
	for _, s := range kept {
		if s.version == p.version {
			c.pieces(editSet, at(body, p.version), true, m.pieces, func(q *piece) []uint32 { return m.crc[q.block:] })
		}
	}
	if mark := l.newestUpTo(p.version); mark > 0 {
		c.mark(mark, body)
	}
	rereference(c, before, kept)
	return nil
}

// rereference adds and drops references for a chunk whose versions change.
func rereference(c *change, before, after []state) {
	var x, y [8]piece
	for b := range uint8(chunkBlocks) {
		old, now := runs(x[:0], before, b), runs(y[:0], after, b)
		for _, p := range old {
			if i := slices.IndexFunc(now, func(q piece) bool { return q.same(&p, b) }); i >= 0 {
				now = slices.Delete(now, i, i+1)
				continue
			}
			off, n := p.extent(b)
			c.ref(p.container, off, n, -1)
		}
		for _, p := range now {
			off, n := p.extent(b)
			c.ref(p.container, off, n, 1)
		}
	}
}

// realiseChunk makes one chunk real, all its versions, for a change that is about
// to touch it. Caller holds the chunk's mu and epoch.
func (v *Volume) realiseChunk(ck *chunk) error {
	ref, i := streamRef{ck.id.file, ck.id.stream}, ck.id.chunk
	for {
		ps := v.pendings.overlaps(ref, i, i+1)
		if len(ps) == 0 {
			return nil
		}
		if err := v.realiseIn(ps[len(ps)-1], i); err != nil {
			return err
		}
		ck.loaded = false
	}
}

// realiseIn makes one chunk of a pending clone real.
func (v *Volume) realiseIn(p *pending, i uint32) error {
	c := newChange()
	defer c.free()
	if err := v.realise(c, p, i); err != nil {
		return err
	}
	t := &v.pendings
	t.cutting.Lock()
	defer t.cutting.Unlock()
	now := t.lookup(p.to, i, p.version)
	if now == nil || now.version != p.version {
		return nil // it was cut meanwhile; the caller looks again
	}
	var e pendEdit
	e.cut(c, now, i, i+1)
	if _, err := v.commit(c); err != nil {
		return err
	}
	t.change(e.gone, e.new)
	return nil
}

// realiseSome does a step of making pending clones real.
func (v *Volume) realiseSome(p *pending) error {
	if err := v.admit(0); err != nil {
		return err
	}
	v.epoch.RLock()
	defer v.epoch.RUnlock()
	c := newChange()
	defer c.free()
	var held []*chunk
	defer func() {
		for _, ck := range held {
			ck.mu.Unlock()
			ck.unpin()
		}
	}()
	next := p.first
	for next < p.end() && len(c.body)+32*len(c.refs) < stepBytes && len(held) < stepKeys/4 {
		// Chunks that hold nothing on either side cost nothing.
		i, err := v.nextTouched(p, next)
		if err != nil {
			return err
		}
		if next = i; next == p.end() {
			break
		}
		ck := v.chunks.get(chunkID{file: p.to.file, stream: p.to.no, chunk: next})
		ck.mu.Lock()
		held = append(held, ck)
		if v.pendings.lookup(p.to, next, p.version) != p {
			return nil // it was cut meanwhile; the next step sees what is left
		}
		if err := v.realise(c, p, next); err != nil {
			return err
		}
		c.room(v.log.MaxPayload(), maxEdits)
		next++
	}
	return v.realised(c, p, next, held)
}

// nextTouched returns the first chunk from i on where target or source has anything,
// the end of p if there is none.
func (v *Volume) nextTouched(p *pending, i uint32) (uint32, error) {
	var next uint32
	var err error
	if p.version == 0 {
		next, err = v.nextChunk(p.to, i, p.end())
	} else {
		next, err = v.nextContent(p.to, i, p.end(), p.version-1)
	}
	if err != nil || p.from.file == 0 || next == i {
		return next, err
	}
	block := p.off + int64(i-p.first)*chunkBlocks
	last := p.off + int64(p.n)*chunkBlocks - 1
	lo, hi := uint32(block/chunkBlocks), uint32(last/chunkBlocks)+1
	src, err := v.nextContent(p.from, lo, hi, maxVersion(store.View(p.view)))
	if err != nil || src == hi {
		return next, err
	}
	at := max((int64(src)*chunkBlocks-p.off)/chunkBlocks+int64(p.first), int64(i))
	return min(next, uint32(at)), nil
}

// nextContent returns the first chunk in [from, to) of a stream where a reader with
// the version bound max may find anything, else to.
func (v *Volume) nextContent(ref streamRef, from, to uint32, max uint64) (uint32, error) {
	next, err := v.nextChunk(ref, from, to)
	for _, q := range v.pendings.overlaps(ref, from, to) {
		if err != nil || next == from {
			break
		}
		i := q.first
		if i < from {
			i = from
		}
		if q.version > max || i >= next {
			continue
		}
		var at uint32
		if at, err = v.nextTouched(q, i); err == nil && at < q.end() {
			next = min(next, at)
		}
	}
	return next, err
}

// nextChunk returns the first chunk in [from, to) of a stream that has a key, else to.
func (v *Volume) nextChunk(ref streamRef, from, to uint32) (uint32, error) {
	next := to
	prefix := be.AppendUint32(key64(nil, kChunk, uint64(ref.file)), ref.no)
	err := v.scan(prefix, chunkBody(nil, ref.file, ref.no, from), func(key, _ []byte) (bool, error) {
		next = min(next, be.Uint32(key[13:]))
		return false, nil
	})
	return next, err
}

// realised commits a step up to chunk next, if the entry is still the one that was planned for.
func (v *Volume) realised(c *change, p *pending, next uint32, held []*chunk) error {
	v.pendings.cutting.Lock()
	defer v.pendings.cutting.Unlock()
	if v.pendings.lookup(p.to, p.first, p.version) != p {
		return nil // what was planned is dropped; the next step sees the new entries
	}
	var e pendEdit
	e.cut(c, p, p.first, next)
	if _, err := v.commit(c); err != nil {
		return err
	}
	v.pendings.change(e.gone, e.new)
	for _, ck := range held {
		ck.loaded = false
	}
	return nil
}
