package block

import (
	"slices"
	"sync"
	"sync/atomic"
)

// run is moved data: sectors [off, off+n) of a region lie at place of segment seq.
type run struct {
	seq    uint64
	place  uint32 // bytes
	off, n uint16
}

func (r *run) end() uint32 { return uint32(r.off) + uint32(r.n) }

// places knows where the moved runs of regions are. The index holds them all; those asked for
// lately are kept. A list is in order of its sectors and not changed once it is there.
type places struct {
	v *Volume

	mu     sync.RWMutex // guards the rest; a leaf
	all    map[regionID]*placed
	ring   []*placed
	hand   int // of the clock that chooses what goes
	size   int
	budget int
	gen    uint64 // counts changes
}

type placed struct {
	id   regionID
	runs []run
	used atomic.Bool // since the hand last passed
}

func (p *placed) size() int { return 160 + 16*len(p.runs) }

func (t *places) init(v *Volume, budget int64) {
	t.v, t.budget = v, int(budget)
	t.all = map[regionID]*placed{}
}

// of returns the runs of a region.
func (t *places) of(id regionID) ([]run, error) {
	t.mu.RLock()
	p, gen := t.all[id], t.gen
	t.mu.RUnlock()
	if p != nil {
		if !p.used.Load() {
			p.used.Store(true)
		}
		return p.runs, nil
	}
	b, err := t.v.get(regionKey(nil, kMoved, id.container, id.region))
	if err != nil {
		return nil, err
	}
	runs, err := decodeRuns(b)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gen == gen && t.all[id] == nil {
		t.insert(&placed{id: id, runs: runs})
	}
	return runs, nil
}

// find returns the run that a sector lies in.
func (t *places) find(id regionID, sector uint32) (run, bool, error) {
	runs, err := t.of(id)
	i := firstRun(runs, sector)
	if err != nil || i == len(runs) || uint32(runs[i].off) > sector {
		return run{}, false, err
	}
	return runs[i], true, nil
}

// firstRun returns the index of the first run that ends behind a sector.
func firstRun(runs []run, sector uint32) int {
	lo, hi := 0, len(runs)
	for lo < hi {
		if mid := (lo + hi) / 2; runs[mid].end() <= sector {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// changed takes over what the index was just told. Caller holds order.
func (t *places) changed(next map[regionID][]run) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gen++
	for id, runs := range next {
		if p := t.all[id]; p != nil {
			t.forget(p)
		}
		if len(runs) > 0 {
			t.insert(&placed{id: id, runs: runs})
		}
	}
}

// insert adds a list and drops others to stay within the budget. Caller holds mu.
func (t *places) insert(p *placed) {
	p.used.Store(true)
	t.all[p.id] = p
	t.ring = append(t.ring, p)
	t.size += p.size()
	for t.size > t.budget && len(t.ring) > 1 {
		t.hand %= len(t.ring)
		o := t.ring[t.hand]
		switch {
		case t.all[o.id] != o: // it was replaced
			t.unring()
		case o.used.Swap(false):
			t.hand++
		default:
			t.forget(o)
			t.unring()
		}
	}
	if len(t.ring) > 2*len(t.all)+64 {
		t.ring = slices.DeleteFunc(t.ring, func(o *placed) bool { return t.all[o.id] != o })
	}
}

// forget takes a list out; the ring loses it when the hand comes by. Caller holds mu.
func (t *places) forget(p *placed) {
	delete(t.all, p.id)
	t.size -= p.size()
}

func (t *places) unring() {
	last := len(t.ring) - 1
	t.ring[t.hand] = t.ring[last]
	t.ring[last] = nil
	t.ring = t.ring[:last]
}

// placeRun returns the runs of a region with one in place of what was there.
func placeRun(runs []run, r run) []run {
	out := make([]run, 0, len(runs)+2)
	i := 0
	for ; i < len(runs) && runs[i].off < r.off; i++ {
		q := runs[i]
		q.n = min(q.n, r.off-q.off)
		out = append(out, q)
	}
	if i > 0 && runs[i-1].end() > r.end() {
		i-- // it encloses r
	}
	out = joinRun(out, r)
	for ; i < len(runs); i++ {
		q := runs[i]
		if q.end() <= r.end() {
			continue
		}
		if skip := int(r.end()) - int(q.off); skip > 0 {
			q.off, q.n, q.place = q.off+uint16(skip), q.n-uint16(skip), q.place+uint32(skip)*sectorSize
		}
		out = joinRun(out, q)
	}
	return out
}

// joinRun appends a run, to the last one if it continues that.
func joinRun(runs []run, r run) []run {
	if k := len(runs); k > 0 {
		l := &runs[k-1]
		if l.seq == r.seq && l.end() == uint32(r.off) && l.place+uint32(l.n)*sectorSize == r.place {
			l.n += r.n
			return runs
		}
	}
	return append(runs, r)
}

func decodeRuns(b []byte) ([]run, error) {
	out := make([]run, 0, len(b)/20)
	for ; len(b) >= 20; b = b[20:] {
		off, n := le.Uint32(b), le.Uint32(b[4:])
		if off > regionSects || n > regionSects-off {
			return nil, errFields
		}
		out = append(out, run{off: uint16(off), n: uint16(n), seq: le.Uint64(b[8:]), place: le.Uint32(b[16:])})
	}
	if len(b) > 0 {
		return nil, errFields
	}
	slices.SortFunc(out, func(a, b run) int { return int(a.off) - int(b.off) })
	return out, nil
}

func encodeRuns(runs []run) []byte {
	b := make([]byte, 0, 20*len(runs))
	for _, r := range runs {
		b = le.AppendUint32(b, uint32(r.off))
		b = le.AppendUint32(b, uint32(r.n))
		b = le.AppendUint64(b, r.seq)
		b = le.AppendUint32(b, r.place)
	}
	return b
}
