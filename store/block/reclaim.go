package block

import (
	"github.com/cockroachdb/pebble/v2"
)

// Reclaiming gives segments back. One that holds nothing living is retired: a
// record forgets it, and once that record is durable its slot may be written over.
// Recovery never reads it again, because only segments that the index on disk has
// passed are retired.

// retired is a segment that waits for its record to become durable.
type retired struct {
	seq, pos uint64
}

// passed returns the segment that the index on disk ends in: recovery needs it and
// all later ones.
func (v *Volume) passed() (uint64, error) {
	it, err := v.index.NewIter(&pebble.IterOptions{
		LowerBound: []byte{kApplied}, UpperBound: []byte{kApplied, 0}, OnlyReadGuaranteedDurable: true,
	})
	if err != nil {
		return 0, v.indexError(err)
	}
	defer it.Close()
	if !it.First() {
		return 0, v.indexError(it.Error())
	}
	b, err := it.ValueAndErr()
	if err != nil || len(b) != 20 {
		return 0, v.indexError(err)
	}
	return le.Uint64(b[8:]), nil
}

// flushIndex lets the index on disk pass what it holds in memory, and reports that
// something was done.
func (v *Volume) flushIndex() (bool, error) {
	done, err := v.index.AsyncFlush()
	if err != nil {
		return false, v.indexError(err)
	}
	if v.available() > reserveSlots/2 {
		return false, nil // it will be noticed in time
	}
	select {
	case <-done:
	case <-v.dead:
	}
	return true, v.check()
}

// empties lists segments older than before that hold nothing living, at most max.
func (s *space) empties(before uint64, max int) (list []*segment, young bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, g := range s.segs {
		if g.live > 0 || g.seq == s.cur || g.seq == s.v.cleaner.current() {
			continue
		}
		if g.seq >= before && !g.moved {
			young = true
			continue
		}
		if list = append(list, g); len(list) == max {
			break
		}
	}
	return list, young
}

// retire forgets segments without living data and reports whether there were any.
func (v *Volume) retire() (bool, error) {
	before, err := v.passed()
	if err != nil {
		return false, err
	}
	list, young := v.space.empties(before, 16)
	if len(list) == 0 {
		if young && v.pressed() {
			return v.flushIndex()
		}
		return false, nil
	}
	v.epoch.RLock()
	defer v.epoch.RUnlock()
	c := newChange()
	defer c.free()
	s := &v.space
	var gone []regionID
	lost := map[regionID][]run{}
	s.mu.RLock()
	for _, g := range list {
		c.del(segmentKey(g.seq))
		gone = append(gone, s.forget(c, g, lost)...)
	}
	s.mu.RUnlock()
	pos, err := v.commit(c)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	for _, g := range list {
		delete(s.segs, g.seq)
		delete(s.hosted, g.seq)
	}
	for id, runs := range lost {
		if len(runs) == 0 {
			delete(s.moved, id)
		} else {
			s.moved[id] = runs
		}
	}
	for _, id := range gone {
		delete(s.shared, id)
	}
	s.mu.Unlock()
	v.work.retire(list, uint64(pos))
	return true, nil
}

// forget plans what else goes with a segment: the runs that lie in it, and the
// reference counts of regions that lie nowhere any more. Caller holds mu.
func (s *space) forget(c *change, g *segment, lost map[regionID][]run) []regionID {
	var gone []regionID
	if !g.moved {
		for r := range s.regions() {
			id := regionID{g.seq, uint16(r)}
			if runs, ok := lost[id]; (ok && len(runs) == 0) || (!ok && len(s.moved[id]) == 0) {
				c.del(regionKey(nil, kCounts, id.container, id.region))
				gone = append(gone, id)
			}
		}
		return gone
	}
	for id := range s.hosted[g.seq] {
		runs, ok := lost[id]
		if !ok {
			runs = s.moved[id]
		}
		var rest []run
		for _, r := range runs {
			if r.seq != g.seq {
				rest = append(rest, r)
			}
		}
		lost[id] = rest
		key := regionKey(nil, kMoved, id.container, id.region)
		if len(rest) > 0 {
			c.set(key, encodeRuns(rest))
			continue
		}
		c.del(key)
		if s.segs[id.container] == nil {
			c.del(regionKey(nil, kCounts, id.container, id.region))
			gone = append(gone, id)
		}
	}
	return gone
}

func (h *house) retire(list []*segment, pos uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range list {
		h.retired = append(h.retired, retired{g.seq, pos})
	}
}

// releaseRetired frees the slots of retired segments whose record is durable.
func (v *Volume) releaseRetired() {
	h := &v.work
	h.mu.Lock()
	waiting := len(h.retired)
	h.mu.Unlock()
	if waiting > 0 && v.pressed() {
		v.log.Sync() //nolint:errcheck // a log that stopped frees nothing
	}
	d := v.log.Durable()
	h.mu.Lock()
	defer h.mu.Unlock()
	keep := h.retired[:0]
	for _, r := range h.retired {
		if r.pos <= d {
			v.log.Release(r.seq)
		} else {
			keep = append(keep, r)
		}
	}
	h.retired = keep
}
