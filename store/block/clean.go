package block

import (
	"encoding/binary"
	"errors"
	"sync/atomic"

	"gabion/store/seglog"
)

// The cleaner empties segments that hold little: it copies their living runs to
// segments of its own and records the new places. References stay as they are.

// moveBytes is how much one step moves at most.
const moveBytes = 1 << 20

// maxUse is the share of a segment that may live for its cleaning to gain anything.
const maxUse = 0.9

// cleaner is used by Step only, but for seq.
type cleaner struct {
	v      *Volume
	mover  *seglog.Mover
	seq    atomic.Uint64 // the segment that the mover fills
	victim *segment
	runs   []moving // what of the victim is still to be moved
}

// moving is a run of living sectors of a region on its way.
type moving struct {
	id     regionID
	off, n uint32 // sectors
	seq    uint64 // where it lies
	place  uint32
}

func (c *cleaner) init(v *Volume) { c.v = v }

func (c *cleaner) current() uint64 { return c.seq.Load() }

// step moves some of a victim and reports whether there was anything to do.
func (c *cleaner) step() (bool, error) {
	if c.victim != nil && !c.v.space.has(c.victim.seq) {
		c.victim, c.runs = nil, nil // it died on its own and was retired
	}
	if c.victim == nil {
		v := c.v
		g, err := c.choose()
		if err != nil || g == nil {
			return false, err
		}
		if c.mover == nil {
			c.mover = v.log.NewMover()
		}
		runs, err := c.living(g)
		if err != nil {
			return false, err
		}
		c.victim, c.runs = g, runs
	}
	if len(c.runs) > 0 {
		if err := c.move(); err != nil {
			c.victim, c.runs = nil, nil
			return false, err
		}
	}
	if len(c.runs) == 0 {
		c.victim = nil
	}
	return true, nil
}

func (s *space) has(seq uint64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.segs[seq] != nil
}

// choose returns the segment whose cleaning pays best, nil when none need be
// cleaned: cost and benefit as in LFS, (1-u)·age/(1+u).
func (c *cleaner) choose() (*segment, error) {
	v := c.v
	if !v.wantsCleaning() {
		return nil, nil
	}
	before, err := v.passed()
	if err != nil {
		return nil, err
	}
	s := &v.space
	s.mu.RLock()
	defer s.mu.RUnlock()
	var best *segment
	var most float64
	newest := v.log.LastSeq()
	for _, g := range s.segs {
		if g.seq == s.cur || g.seq == c.current() || !g.moved && g.seq >= before || g.live <= 0 {
			continue
		}
		u := float64(g.live) / float64(v.id.segmentSize)
		if u > maxUse {
			continue
		}
		if gain := (1 - u) * float64(newest-g.seq+1) / (1 + u); best == nil || gain > most {
			best, most = g, gain
		}
	}
	return best, nil
}

// living lists the runs of a segment that have references.
func (c *cleaner) living(g *segment) ([]moving, error) {
	if g.moved {
		return c.livingMoved(g)
	}
	s := &c.v.space
	var runs []moving
	var err error
	counted := int64(0)
	var dead *region
	at := -1
	werr := c.v.log.Walk(g.seq, func(r *seglog.Record) bool {
		if r.Kind != seglog.KindEdits || counted >= g.bytes {
			return counted < g.bytes
		}
		counted += int64(r.PayloadLen)
		for off, end := r.Payload/sectorSize, (r.Payload+r.PayloadLen)/sectorSize; off < end; off++ {
			if reg := int(off / regionSects); reg != at {
				at = reg
				if dead, err = s.counts(regionID{g.seq, uint16(reg)}); err != nil {
					return false
				}
			}
			if in := off % regionSects; dead[in] > -1 && !s.isMoved(regionID{g.seq, uint16(at)}, in) {
				runs = addRun(runs, moving{regionID{g.seq, uint16(at)}, in, 1, g.seq, off * sectorSize})
			}
		}
		return true
	})
	return runs, errors.Join(err, werr)
}

// isMoved reports whether a sector was moved already, in a pass that a restart cut short.
func (s *space) isMoved(id regionID, in uint32) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, r := range s.moved[id] {
		if r.off <= in && in < r.off+r.n {
			return true
		}
	}
	return false
}

func (c *cleaner) livingMoved(g *segment) ([]moving, error) {
	s := &c.v.space
	s.mu.RLock()
	hosted := map[regionID][]run{}
	for id := range s.hosted[g.seq] {
		hosted[id] = s.moved[id]
	}
	s.mu.RUnlock()
	var runs []moving
	for id, list := range hosted {
		dead, err := s.counts(id)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			if r.seq != g.seq {
				continue
			}
			for i := range r.n {
				if dead[r.off+i] > -1 {
					runs = addRun(runs, moving{id, r.off + i, 1, r.seq, r.place + i*sectorSize})
				}
			}
		}
	}
	return runs, nil
}

func addRun(runs []moving, m moving) []moving {
	if k := len(runs); k > 0 {
		l := &runs[k-1]
		if l.id == m.id && l.off+l.n == m.off && l.place+l.n*sectorSize == m.place {
			l.n += m.n
			return runs
		}
	}
	return append(runs, m)
}

// take cuts off the runs of one step.
func (c *cleaner) take() []moving {
	limit := min(moveBytes, c.mover.Room())
	n, bytes := 0, 0
	for n < len(c.runs) && bytes < limit && n < 1000 {
		r := &c.runs[n]
		if size := int(r.n) * sectorSize; bytes+size > limit {
			k := uint32((limit - bytes) / sectorSize)
			if k > 0 {
				head := *r
				head.n = k
				r.off, r.n, r.place = r.off+k, r.n-k, r.place+k*sectorSize
				out := append(append([]moving(nil), c.runs[:n]...), head)
				c.runs = c.runs[n:]
				return out
			}
			break
		}
		bytes += int(r.n) * sectorSize
		n++
	}
	out := append([]moving(nil), c.runs[:n]...)
	c.runs = c.runs[n:]
	return out
}

// move copies runs and records where they are now.
func (c *cleaner) move() error {
	v := c.v
	batch := c.take()
	var body []byte
	size := 0
	for _, m := range batch {
		body = binary.LittleEndian.AppendUint64(body, m.id.container)
		body = binary.LittleEndian.AppendUint32(body, uint32(m.id.region)*regionSize+m.off*sectorSize)
		body = binary.LittleEndian.AppendUint32(body, m.n*sectorSize)
		size += int(m.n) * sectorSize
	}
	payload := make([]byte, (size+blockSize-1)&^(blockSize-1))
	at := 0
	for _, m := range batch {
		p := payload[at : at+int(m.n)*sectorSize]
		if err := v.log.ReadAt(m.seq, p, m.place); err != nil {
			return err
		}
		at += len(p)
	}
	seq, addr, err := c.mover.Write(body, payload)
	if err != nil {
		return v.logError(err)
	}
	c.seq.Store(seq)
	if err := c.mover.Sync(); err != nil {
		return v.logError(err)
	}
	v.wrote.moved.Add(uint64(size))
	return v.relocate(batch, seq, addr)
}

// relocate records that runs lie, one behind the other, at addr of segment seq.
func (v *Volume) relocate(batch []moving, seq uint64, addr uint32) error {
	v.epoch.RLock()
	defer v.epoch.RUnlock()
	s := &v.space
	c := newChange()
	defer c.free()
	slot, _ := v.log.Slot(seq)
	s.mu.RLock()
	g := s.segs[seq]
	s.mu.RUnlock()
	if g == nil {
		g = &segment{seq: seq, slot: slot, moved: true, sealed: true, data: make([]uint32, s.regions())}
	}
	next := map[regionID][]run{}
	data := append([]uint32(nil), g.data...)
	for _, m := range batch {
		runs, ok := next[m.id]
		if !ok {
			s.mu.RLock()
			runs = append([]run(nil), s.moved[m.id]...)
			s.mu.RUnlock()
		}
		next[m.id] = append(cutRuns(runs, m.off, m.n), run{m.off, m.n, seq, addr})
		data[addr/regionSize] += m.n * sectorSize
		addr += m.n * sectorSize
	}
	for id, runs := range next {
		c.set(regionKey(nil, kMoved, id.container, id.region), encodeRuns(runs))
		c.room(v.log.MaxPayload(), maxEdits)
	}
	c.set(segmentKey(seq), fieldBytes(field(field(nil, fSlot, uint64(slot)), fSegStream, 1), fRegionData, packU32(data)))
	c.then = func() error { return s.relocated(batch, g, data, next) }
	_, err := v.commit(c)
	return err
}

// cutRuns removes sectors [off, off+n) from a list of runs.
func cutRuns(runs []run, off, n uint32) []run {
	var out []run
	for _, r := range runs {
		if r.off < off {
			out = append(out, run{r.off, min(r.n, off-r.off), r.seq, r.place})
		}
		if end := r.off + r.n; end > off+n {
			lo := max(r.off, off+n)
			out = append(out, run{lo, end - lo, r.seq, r.place + (lo-r.off)*sectorSize})
		}
	}
	return out
}

// relocated moves the living bytes of a batch from their old segments to g. Caller
// holds order, so that none of them dies meanwhile.
func (s *space) relocated(batch []moving, g *segment, data []uint32, next map[regionID][]run) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[regionID]*region{}
	for _, m := range batch {
		r := counts[m.id]
		if r == nil {
			var err error
			if r, err = s.counts(m.id); err != nil {
				return err
			}
			counts[m.id] = r
		}
		live := int64(0)
		for i := m.off; i < m.off+m.n; i++ {
			if r[i] > -1 {
				live += sectorSize
			}
		}
		if old := s.segs[m.seq]; old != nil {
			old.live -= live
		}
		g.live += live
	}
	g.bytes = 0
	for _, n := range data {
		g.bytes += int64(n)
	}
	g.data = data
	s.segs[g.seq] = g
	for id, runs := range next {
		s.setMoved(id, runs)
	}
	return nil
}

// setMoved replaces the runs of a region. Caller holds mu.
func (s *space) setMoved(id regionID, runs []run) {
	s.moved[id] = runs
	for _, r := range runs {
		h := s.hosted[r.seq]
		if h == nil {
			h = map[regionID]struct{}{}
			s.hosted[r.seq] = h
		}
		h[id] = struct{}{}
	}
}
