package block

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"sync/atomic"
	"time"

	"gabion/store/seglog"
)

// The cleaner empties segments that hold little: it copies their living runs to
// segments of its own and records the new places. References stay as they are.

// moveBytes is how much one step moves at most.
const moveBytes = 1 << 20

// maxRuns bounds the runs of a step, whose list must fit what Mover.Room leaves for it.
const maxRuns = 500

// maxUse is the share of a segment that may live for its cleaning to gain anything. When
// nothing else is to be had, it is enough that minDead of it died.
const (
	maxUse  = 0.9
	minDead = 0.02
)

// cleaner is used by Step only, but for seq.
type cleaner struct {
	v      *Volume
	mover  *seglog.Mover
	seq    atomic.Uint64 // the segment that the mover fills
	victim *segment
	runs   []moving // what of the victim is still to be moved
	frames []frame  // that lie in it
	most   int      // bytes that one step moves
}

// frame is a compressed stretch of a container, in sectors. It moves whole.
type frame struct {
	container uint64
	off, n    uint32
}

// moving is a run of living sectors of a region on its way.
type moving struct {
	id     regionID
	off, n uint32 // sectors
	seq    uint64 // where it lies
	place  uint32
	of     *frame // that it is a part of, nil for none; see wholes
}

func (c *cleaner) init(v *Volume) { c.v, c.most = v, moveBytes }

func (c *cleaner) current() uint64 { return c.seq.Load() }

// step moves some of a victim and reports whether there was anything to do.
func (c *cleaner) step() (bool, error) {
	if c.victim != nil && !c.v.space.has(c.victim.seq) {
		c.victim, c.runs = nil, nil // it died on its own and was retired
	}
	if c.victim == nil {
		g, err := c.choose()
		if err != nil || g == nil {
			return false, err
		}
		runs, frames, err := c.living(g)
		if err != nil {
			return c.shun(g, err) // there may be others
		}
		c.choice(g, runs, frames)
	}
	if c.mover == nil {
		c.mover = c.v.log.NewMover()
	}
	if c.starts() && c.v.log.Short() {
		if _, free := c.v.log.Counts(); free < logReserve {
			return false, nil // the last segments are for records
		}
	}
	if len(c.runs) > 0 {
		if err := c.move(); err != nil {
			g := c.victim
			c.victim, c.runs = nil, nil
			if errors.Is(err, errUnread) {
				return c.shun(g, err)
			}
			return false, err
		}
	}
	if len(c.runs) == 0 {
		c.victim = nil
	}
	return true, nil
}

// starts reports whether the next move begins another segment.
func (c *cleaner) starts() bool {
	if len(c.runs) == 0 {
		return false
	}
	_, size := joined(c.runs)
	return c.mover.Full() || c.runs[0].of != nil && size > c.mover.Room()
}

// shunFor is how long a segment is left as it is that cannot be read.
const shunFor = time.Hour

var errUnread = errors.New("cleaning")

// shun passes over a segment that cannot be read, so that it is not in the way of others.
func (c *cleaner) shun(g *segment, err error) (bool, error) {
	v := c.v
	if v.check() != nil {
		return false, err
	}
	v.out.Error("a segment is neither cleaned nor given back: it cannot be read", "segment", g.seq, "slot", g.slot, "error", err)
	v.space.mu.Lock()
	defer v.space.mu.Unlock()
	g.shunned = v.opt.Now().Add(shunFor)
	return true, nil
}

func (s *space) has(seq uint64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.segs[seq] != nil
}

// choose returns the segment whose cleaning pays best, nil when none need be
// cleaned: cost and benefit as in LFS, (1-u)·age/(1+u), but with the fourth root of the age. What was
// written long ago stays as it is longer, but hardly by as much as it is older: the age itself has the cleaner move
// old segments that nearly all live (TestBench/uniform, /skewed: 3.5 and 2.65 bytes written per byte, 3.5 and 1.45 so).
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
	tight := v.tight()
	newest := v.log.LastSeq()
	now := v.opt.Now()
	for _, g := range s.segs {
		if now.Before(g.shunned) || g.seq == s.cur || g.seq == c.current() || !g.moved && g.seq >= before || g.live <= 0 {
			continue
		}
		u := float64(g.live) / float64(v.id.segmentSize)
		if dead := float64(g.bytes-g.live) / float64(v.id.segmentSize); u > maxUse && !(tight && dead >= minDead) {
			continue
		}
		gain := (1 - u) * math.Sqrt(math.Sqrt(float64(newest-g.seq+1))) / (1 + u)
		if best == nil || gain > most || gain == most && g.seq < best.seq {
			best, most = g, gain
		}
	}
	return best, nil
}

// living lists the runs of a segment that have references, or lie in a frame of which
// something has.
func (c *cleaner) living(g *segment) ([]moving, []frame, error) {
	data, frames, err := c.stretches(g)
	if err != nil {
		return nil, nil, err
	}
	runs, err := c.filter(data, frames)
	return runs, frames, err
}

// needless takes out of a list of segments without references those that hold a part of a frame which
// has some elsewhere, as it is after frames were moved in parts. One of them is cleaned next.
func (c *cleaner) needless(list []*segment) ([]*segment, error) {
	var rest []*segment
	for _, g := range list {
		if !g.moved && !g.cleaned { // its frames lie in it from end to end
			rest = append(rest, g)
			continue
		}
		runs, frames, err := c.living(g)
		if err != nil {
			if _, err := c.shun(g, err); err != nil {
				return nil, err
			}
			continue
		}
		switch {
		case len(runs) == 0:
			rest = append(rest, g)
		case c.victim == nil:
			c.choice(g, runs, frames)
		}
	}
	return rest, nil
}

// choice makes a segment the one that is cleaned.
func (c *cleaner) choice(g *segment, runs []moving, frames []frame) {
	c.victim, c.runs, c.frames = g, wholes(runs, frames), frames
}

// measure counts the bytes of a segment that have references.
func (c *cleaner) measure(g *segment) (int64, error) {
	data, _, err := c.stretches(g)
	if err != nil {
		return 0, err
	}
	runs, err := c.filter(data, nil)
	n := int64(0)
	for _, r := range runs {
		n += int64(r.n) * sectorSize
	}
	return n, err
}

// stretches lists what a segment holds, and the frames in it.
func (c *cleaner) stretches(g *segment) (data []moving, frames []frame, err error) {
	if g.moved {
		return c.movedTo(g)
	}
	counted := int64(0)
	err = c.v.log.Walk(g.seq, func(r *seglog.Record) bool {
		if counted >= g.bytes {
			return false
		}
		if r.Kind != seglog.KindEdits {
			return true
		}
		counted += int64(r.PayloadLen)
		frames = framesOf(frames, r.Body, g.seq)
		for off, end := r.Payload/sectorSize, (r.Payload+r.PayloadLen)/sectorSize; off < end; {
			n := min(end-off, regionSects-off%regionSects)
			data = append(data, moving{id: regionID{g.seq, uint16(off / regionSects)}, off: off % regionSects, n: n, seq: g.seq, place: off * sectorSize})
			off += n
		}
		return true
	})
	return data, frames, err
}

// framesOf appends the frames that the edits of a record made in its segment.
func framesOf(frames []frame, body []byte, seq uint64) []frame {
	eachEdit(body, func(op byte, key, value []byte) error {
		if op == editDelete || key[0] != kChunk {
			return nil
		}
		var m chunkMap
		if _, err := m.apply(value, nil); err != nil {
			return err
		}
		for _, p := range m.pieces {
			if p.kind == opPacked && p.container == seq {
				frames = append(frames, frame{seq, p.off / sectorSize, uint32(p.sectors)})
			}
		}
		return nil
	}) //nolint:errcheck // what is malformed was never applied
	return frames
}

// filter keeps of stretches of data what must move.
func (c *cleaner) filter(data []moving, frames []frame) ([]moving, error) {
	s := &c.v.space
	counts := map[regionID]*region{}
	lies := map[regionID]bool{} // counts go with the last of a region, and none would say that all lives
	at := func(id regionID) (*region, error) {
		if counts[id] == nil {
			r, err := s.counts(id)
			if err != nil {
				return nil, err
			}
			runs, err := s.places.of(id)
			if err != nil {
				return nil, err
			}
			counts[id], lies[id] = r, len(runs) > 0 || s.has(id.container)
		}
		return counts[id], nil
	}
	keep := map[regionID]*sectors{}
	for _, f := range frames {
		alive := false
		for o := f.off; o < f.off+f.n; o++ {
			r, err := at(regionID{f.container, uint16(o / regionSects)})
			if err != nil {
				return nil, err
			}
			alive = alive || r[o%regionSects] > -1 && lies[regionID{f.container, uint16(o / regionSects)}]
		}
		for o := f.off; alive && o < f.off+f.n; o++ {
			id := regionID{f.container, uint16(o / regionSects)}
			if keep[id] == nil {
				keep[id] = new(sectors)
			}
			keep[id].add(int(o % regionSects))
		}
	}
	var runs []moving
	for _, m := range data {
		r, err := at(m.id)
		if err != nil {
			return nil, err
		}
		for i := range m.n {
			in := m.off + i
			if r[in] <= -1 && !keep[m.id].has(int(in)) {
				continue
			}
			if m.seq == m.id.container {
				// A pass that a restart cut short may have moved it already.
				if _, moved, err := s.places.find(m.id, in); err != nil {
					return nil, err
				} else if moved {
					continue
				}
			}
			runs = addRun(runs, moving{id: m.id, off: in, n: 1, seq: m.seq, place: m.place + i*sectorSize})
		}
	}
	return runs, nil
}

// movedTo is stretches for a segment of the cleaner.
func (c *cleaner) movedTo(g *segment) (data []moving, frames []frame, err error) {
	ids, frames, err := c.hosted([]*segment{g})
	if err != nil {
		return nil, nil, err
	}
	for _, id := range ids {
		runs, err := c.v.space.places.of(id)
		if err != nil {
			return nil, nil, err
		}
		for _, r := range runs {
			if r.seq == g.seq {
				data = append(data, moving{id: id, off: uint32(r.off), n: uint32(r.n), seq: r.seq, place: r.place})
			}
		}
	}
	return data, frames, nil
}

// hosted lists the regions of which something was moved to one of the segments, and the
// frames there.
func (c *cleaner) hosted(list []*segment) (ids []regionID, frames []frame, err error) {
	for _, g := range list {
		if !g.moved {
			continue
		}
		err := c.v.log.Walk(g.seq, func(r *seglog.Record) bool {
			b := r.Body
			if len(b) < 4 {
				return true
			}
			n := int(le.Uint32(b))
			for b = b[4:]; len(b) >= 16; b = b[16:] {
				container, off, size := le.Uint64(b), le.Uint32(b[8:]), le.Uint32(b[12:])
				if n--; n < 0 {
					frames = append(frames, frame{container, off / sectorSize, size / sectorSize})
				} else {
					ids = append(ids, regionID{container, uint16(off / regionSize)})
				}
			}
			return true
		})
		if err != nil {
			return nil, nil, err
		}
	}
	slices.SortFunc(ids, regionID.compare)
	return slices.Compact(ids), frames, nil
}

// movedBody encodes what a group of moved data holds.
func (c *cleaner) movedBody(batch []moving) []byte {
	body := le.AppendUint32(nil, uint32(len(batch)))
	within := map[uint64][]moving{}
	for _, m := range batch {
		body = le.AppendUint64(body, m.id.container)
		body = le.AppendUint32(body, uint32(m.id.region)*regionSize+m.off*sectorSize)
		body = le.AppendUint32(body, m.n*sectorSize)
		within[m.id.container] = append(within[m.id.container], m)
	}
	for _, f := range c.frames {
		for _, m := range within[f.container] {
			if lo := uint32(m.id.region)*regionSects + m.off; lo < f.off+f.n && f.off < lo+m.n {
				body = le.AppendUint64(body, f.container)
				body = le.AppendUint32(body, f.off*sectorSize)
				body = le.AppendUint32(body, f.n*sectorSize)
				break
			}
		}
	}
	return body
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

// wholes cuts runs where frames begin and end, and says of each piece what frame it is of.
func wholes(runs []moving, frames []frame) []moving {
	slices.SortFunc(frames, func(a, b frame) int {
		return cmp.Or(cmp.Compare(a.container, b.container), cmp.Compare(a.off, b.off))
	})
	var out []moving
	for _, m := range runs {
		for m.n > 0 {
			lo := uint32(m.id.region)*regionSects + m.off
			i := sort.Search(len(frames), func(i int) bool {
				f := &frames[i]
				return f.container > m.id.container || f.container == m.id.container && f.off+f.n > lo
			})
			head := m
			if i < len(frames) && frames[i].container == m.id.container {
				if f := &frames[i]; f.off > lo {
					head.n = min(m.n, f.off-lo)
				} else {
					head.n, head.of = min(m.n, f.off+f.n-lo), f
				}
			}
			out = append(out, head)
			m.off, m.n, m.place = m.off+head.n, m.n-head.n, m.place+head.n*sectorSize
		}
	}
	return out
}

// joined returns how many of the runs, and bytes, move with the first.
func joined(runs []moving) (n, bytes int) {
	for n < len(runs) && (n == 0 || runs[0].of != nil && runs[n].of != nil && *runs[n].of == *runs[0].of) {
		bytes += int(runs[n].n) * sectorSize
		n++
	}
	return n, bytes
}

// take cuts off the runs of one step. A frame is of one step: between two, its segment may be
// forgotten because no reference is left to what of the frame is still in it.
func (c *cleaner) take() []moving {
	limit := min(c.most, c.mover.Room())
	var out []moving
	for bytes := 0; len(c.runs) > 0 && bytes < limit && len(out) < maxRuns; {
		n, size := joined(c.runs)
		r := &c.runs[0]
		if bytes+size <= limit || len(out) == 0 && r.of != nil {
			for _, m := range c.runs[:n] {
				out = addRun(out, m)
			}
			c.runs = c.runs[n:]
			bytes += size
			continue
		}
		if k := uint32((limit - bytes) / sectorSize); r.of == nil && k > 0 {
			head := *r
			head.n = k
			out = addRun(out, head)
			r.off, r.n, r.place = r.off+k, r.n-k, r.place+k*sectorSize
		}
		break
	}
	return out
}

// move copies runs and records where they are now.
func (c *cleaner) move() error {
	v := c.v
	batch := c.take()
	body := c.movedBody(batch)
	size := 0
	for _, m := range batch {
		size += int(m.n) * sectorSize
	}
	payload := make([]byte, (size+blockSize-1)&^(blockSize-1))
	at := 0
	for _, m := range batch {
		p := payload[at : at+int(m.n)*sectorSize]
		if err := v.log.ReadAt(m.seq, p, m.place); err != nil {
			return fmt.Errorf("%w: %w", errUnread, err)
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
			var err error
			if runs, err = s.places.of(m.id); err != nil {
				return err
			}
		}
		next[m.id] = placeRun(runs, run{off: uint16(m.off), n: uint16(m.n), seq: seq, place: addr})
		data[addr/regionSize] += m.n * sectorSize
		addr += m.n * sectorSize
	}
	for id, runs := range next {
		c.set(regionKey(nil, kMoved, id.container, id.region), encodeRuns(runs))
		c.room(v.log.MaxPayload(), maxEdits)
	}
	fields := field(field(field(nil, fSlot, uint64(slot)), fSegStream, 1), fVictim, batch[0].seq)
	c.set(segmentKey(seq), fieldBytes(fields, fRegionData, packU32(data)))
	c.then = func() error { return s.relocated(batch, g, data, next) }
	_, err := v.commit(c)
	return err
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
			old.cleaned = true
		}
		g.live += live
	}
	g.bytes = 0
	for _, n := range data {
		g.bytes += int64(n)
	}
	g.data = data
	s.segs[g.seq] = g
	s.places.changed(next)
	return nil
}
