package block

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"gabion/store"
)

// streamRef names a stream of a file.
type streamRef struct {
	file store.FileID
	no   uint32
}

// pending says that chunks [first, first+n) of a stream are, as of a version, what
// a source holds, though their maps do not say so yet. It is never changed in place.
type pending struct {
	to       streamRef
	version  uint64
	first, n uint32
	from     streamRef // file 0: zeros
	view     uint64    // of the source
	off      int64     // block of the source that the first chunk begins with
}

func (p *pending) end() uint32 { return p.first + p.n }

// slice returns the part for chunks [from, to).
func (p pending) slice(from, to uint32) *pending {
	p.off += int64(from-p.first) * chunkBlocks
	p.first, p.n = from, to-from
	return &p
}

func (p *pending) key() []byte {
	return at(pendingBody(nil, p.to.file, p.to.no, p.first), p.version)
}

func (p *pending) encode() []byte {
	b := field(nil, fChunks, uint64(p.n))
	b = fieldNZ(b, fSrcFile, uint64(p.from.file))
	b = fieldNZ(b, fSrcStream, uint64(p.from.no))
	b = fieldNZ(b, fSrcView, p.view)
	return fieldNZ(b, fSrcOff, uint64(p.off))
}

func decodePending(key, value []byte) (*pending, error) {
	p := &pending{}
	p.to = streamRef{store.FileID(be.Uint64(key[1:])), be.Uint32(key[9:])}
	p.first = be.Uint32(key[13:])
	_, p.version = versionOf(key)
	err := eachField(value, func(id byte, v uint64, _ []byte) {
		switch id {
		case fChunks:
			p.n = uint32(v)
		case fSrcFile:
			p.from.file = store.FileID(v)
		case fSrcStream:
			p.from.no = uint32(v)
		case fSrcView:
			p.view = v
		case fSrcOff:
			p.off = int64(v)
		}
	})
	return p, err
}

// layer is the pending clones of one version of a stream, which do not overlap, by chunk.
type layer struct {
	version uint64
	list    []*pending
}

// pendTable holds all pending clones. A stream's layers are replaced, never changed.
type pendTable struct {
	count    atomic.Int64
	made     atomic.Int64 // when one was made last, in Unix nanoseconds
	unpinned atomic.Bool  // some view is no longer named
	// cutting is held from looking at pending clones to committing what becomes
	// of them. It is taken with chunks locked and released ahead of nothing.
	cutting sync.Mutex

	mu      sync.RWMutex           // guards the rest; a leaf
	streams map[streamRef][]*layer // newest version first
	views   map[uint64]int         // how many name a view as their source
}

func (t *pendTable) init() {
	t.streams = map[streamRef][]*layer{}
	t.views = map[uint64]int{}
}

// layers returns the layers of a stream, nil when there are none.
func (t *pendTable) layers(ref streamRef) []*layer {
	if t.count.Load() == 0 {
		return nil
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.streams[ref]
}

// lookup returns the newest pending clone of a chunk with a version up to max.
func (t *pendTable) lookup(ref streamRef, chunk uint32, max uint64) *pending {
	for _, l := range t.layers(ref) {
		if l.version > max {
			continue
		}
		if p := l.at(chunk); p != nil {
			return p
		}
	}
	return nil
}

// at returns the one that covers a chunk, nil when none does.
func (l *layer) at(chunk uint32) *pending {
	if i := l.find(chunk); i < len(l.list) && l.list[i].first <= chunk {
		return l.list[i]
	}
	return nil
}

// find returns the index of the first that ends behind chunk.
func (l *layer) find(chunk uint32) int {
	i, _ := slices.BinarySearchFunc(l.list, chunk, func(p *pending, c uint32) int {
		if p.end() <= c {
			return -1
		}
		return 1
	})
	return i
}

// overlaps lists the pending clones that concern chunks [from, to), newest version first.
func (t *pendTable) overlaps(ref streamRef, from, to uint32) []*pending {
	var out []*pending
	for _, l := range t.layers(ref) {
		for i := l.find(from); i < len(l.list) && l.list[i].first < to; i++ {
			out = append(out, l.list[i])
		}
	}
	return out
}

// change replaces some pending clones by others.
func (t *pendTable) change(gone, new []*pending) {
	t.mu.Lock()
	defer t.mu.Unlock()
	edits := map[streamRef]map[uint64]*pendEdit{}
	of := func(p *pending) *pendEdit {
		if edits[p.to] == nil {
			edits[p.to] = map[uint64]*pendEdit{}
		}
		e := edits[p.to][p.version]
		if e == nil {
			e = &pendEdit{}
			edits[p.to][p.version] = e
		}
		return e
	}
	for _, p := range gone {
		e := of(p)
		e.gone = append(e.gone, p)
		t.count.Add(-1)
		if p.view != 0 {
			if t.views[p.view]--; t.views[p.view] == 0 {
				delete(t.views, p.view)
				t.unpinned.Store(true)
			}
		}
	}
	for _, p := range new {
		e := of(p)
		e.new = append(e.new, p)
		t.count.Add(1)
		if p.view != 0 {
			t.views[p.view]++
		}
	}
	for ref, byVersion := range edits {
		var ls []*layer
		for _, l := range t.streams[ref] {
			if e := byVersion[l.version]; e != nil {
				delete(byVersion, l.version)
				l = &layer{l.version, e.apply(l.list)}
			}
			ls = append(ls, l)
		}
		for v, e := range byVersion {
			ls = append(ls, &layer{v, e.apply(nil)})
		}
		ls = slices.DeleteFunc(ls, func(l *layer) bool { return len(l.list) == 0 })
		slices.SortFunc(ls, func(a, b *layer) int { return cmp.Compare(b.version, a.version) })
		if len(ls) == 0 {
			delete(t.streams, ref)
		} else {
			t.streams[ref] = ls
		}
	}
}

func byFirst(a, b *pending) int { return cmp.Compare(a.first, b.first) }

// apply returns a copy of a layer's list with the edit done. What the background does
// changes one or two of many.
func (e *pendEdit) apply(list []*pending) []*pending {
	slices.SortFunc(e.gone, byFirst)
	out := make([]*pending, 0, len(list)+len(e.new))
	from := 0
	for _, p := range e.gone {
		i, ok := slices.BinarySearchFunc(list[from:], p, byFirst)
		if i += from; ok && list[i] == p {
			out = append(out, list[from:i]...)
			from = i + 1
		}
	}
	out = append(out, list[from:]...)
	if len(e.new) > 8 {
		out = append(out, e.new...)
		slices.SortFunc(out, byFirst)
		return out
	}
	for _, p := range e.new {
		i, _ := slices.BinarySearchFunc(out, p, byFirst)
		out = slices.Insert(out, i, p)
	}
	return out
}

// any returns some pending clone, nil when there are none.
func (t *pendTable) any() *pending {
	if t.count.Load() == 0 {
		return nil
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, ls := range t.streams {
		return ls[len(ls)-1].list[0]
	}
	return nil
}

// of returns a pending clone of what is being removed, nil when there is none.
func (t *pendTable) of(o orphan) *pending {
	if t.count.Load() == 0 {
		return nil
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for ref, ls := range t.streams {
		if ref.file == o.id && (o.whole || ref.no == o.stream) {
			return ls[len(ls)-1].list[0]
		}
	}
	return nil
}

// versionsOf tells the versions of the pending clones of a file's streams.
func (t *pendTable) versionsOf(id store.FileID) map[uint64]bool {
	out := map[uint64]bool{}
	if t.count.Load() == 0 {
		return out
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for ref, ls := range t.streams {
		if ref.file == id {
			for _, l := range ls {
				out[l.version] = true
			}
		}
	}
	return out
}

// names reports whether a view is the source of a pending clone.
func (t *pendTable) names(view uint64) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.views[view] > 0
}

// pendEdit collects a change of pending clones: what goes and what comes.
type pendEdit struct {
	gone, new []*pending
}

// cut plans that p no longer stands for chunks [from, to).
func (e *pendEdit) cut(c *change, p *pending, from, to uint32) {
	from, to = max(from, p.first), min(to, p.end())
	if from >= to {
		return
	}
	e.gone = append(e.gone, p)
	if from > p.first {
		e.add(c, p.slice(p.first, from))
	} else {
		c.del(p.key())
	}
	if to < p.end() {
		e.add(c, p.slice(to, p.end()))
	}
}

func (e *pendEdit) add(c *change, p *pending) {
	e.new = append(e.new, p)
	c.set(p.key(), p.encode())
}

// loadPending reads the pending clones of the volume.
func (v *Volume) loadPending() error {
	var all []*pending
	err := v.scan([]byte{kPending}, nil, func(key, value []byte) (bool, error) {
		p, err := decodePending(key, value)
		all = append(all, p)
		return err == nil, err
	})
	v.pendings.change(nil, all)
	v.pendings.unpinned.Store(true) // a crash may have come ahead of the deletion
	if len(all) > 0 {
		v.work.poke()
	}
	return err
}
