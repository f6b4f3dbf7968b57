package block

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"gabion/store"
)

// Reclaiming gives segments back. One that holds nothing living is retired: a
// record forgets it, and once that record is durable its slot may be written over.
// Recovery never reads it again, because only segments that the index on disk has
// passed are retired.

// retired is a segment that waits for its record to become durable.
type retired struct {
	seq, pos uint64
}

// passed returns the segment that recovery begins with, from the index or from its mirror: it
// needs that one and all later ones.
func (v *Volume) passed() (uint64, error) {
	seq, err := v.flushed()
	return min(seq, v.mirror.needs()), err
}

// flushed is passed for the index alone.
func (v *Volume) flushed() (uint64, error) {
	it, err := v.index.NewIter(&pebble.IterOptions{
		LowerBound: []byte{kTally}, UpperBound: []byte{kTally, 0}, OnlyReadGuaranteedDurable: true,
	})
	if err != nil {
		return 0, v.indexError(err)
	}
	defer it.Close()
	if !it.First() {
		return 0, v.indexError(it.Error())
	}
	b, err := it.ValueAndErr()
	if err != nil || len(b) < 16 {
		return 0, v.indexError(err)
	}
	return le.Uint64(b[8:]), nil
}

// beginFlush lets the index on disk pass what it holds in memory.
func (v *Volume) beginFlush() (<-chan struct{}, error) {
	if v.crowded() {
		return nil, fmt.Errorf("flush of the index: %w", store.ErrNoSpace)
	}
	if err := v.writeTally(); err != nil {
		return nil, v.indexError(err)
	}
	done, err := v.index.AsyncFlush()
	return done, v.indexError(err)
}

// flushNow is beginFlush and waits.
func (v *Volume) flushNow() error {
	done, err := v.beginFlush()
	if err != nil {
		return err
	}
	return v.awaitFlush(done)
}

// awaitFlush waits for a flush of the index, unless there is no space for it: Pebble
// tries again for ever.
func (v *Volume) awaitFlush(done <-chan struct{}) error {
	for {
		select {
		case <-done:
			return nil
		case <-v.dead:
			return v.Stopped()
		case <-time.After(10 * time.Millisecond):
			if v.reserve.starved.Load() {
				return fmt.Errorf("flush of the index: %w", store.ErrNoSpace)
			}
		}
	}
}

// flushIndex flushes, and reports that something was done.
func (v *Volume) flushIndex() (bool, error) {
	done, err := v.beginFlush()
	if err != nil {
		return false, err
	}
	if v.available() > reserveSlots/2 {
		return false, nil // it will be noticed in time
	}
	return true, v.awaitFlush(done)
}

// empties lists segments older than before that hold nothing living, the oldest, at most max.
func (s *space) empties(before uint64, max int) (list []*segment, young bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	now := s.v.opt.Now()
	for _, g := range s.segs {
		if g.live > 0 || now.Before(g.shunned) || g.seq == s.cur || g.seq == s.v.cleaner.current() {
			continue
		}
		if g.seq >= before && !g.moved {
			young = true
			continue
		}
		i, _ := slices.BinarySearchFunc(list, g.seq, func(o *segment, seq uint64) int { return cmp.Compare(o.seq, seq) })
		if i < max {
			list = slices.Insert(list, i, g)[:min(len(list)+1, max)]
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
			if last, err := v.flushed(); err == nil && v.mirror.needs() < last {
				return true, v.mirror.drop()
			}
			return v.flushIndex()
		}
		return false, nil
	}
	if list, err = v.cleaner.needless(list); err != nil || len(list) == 0 {
		return false, err
	}
	hosted, _, err := v.cleaner.hosted(list)
	if err != nil {
		return false, err
	}
	v.epoch.RLock()
	defer v.epoch.RUnlock()
	c := newChange()
	defer c.free()
	lost, err := v.space.forget(c, list, hosted)
	if err != nil {
		return false, err
	}
	c.then = func() error {
		s := &v.space
		s.places.changed(lost)
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, g := range list {
			s.live -= g.live
			delete(s.segs, g.seq)
			delete(s.shared, g.seq)
		}
		return nil
	}
	pos, err := v.commit(c)
	if err != nil {
		return false, err
	}
	v.work.retire(list, uint64(pos))
	return true, nil
}

// forget plans what goes with segments: the runs of hosted regions that lie in them, and the
// reference counts of regions that lie nowhere any more. It returns the runs that stay.
func (s *space) forget(c *change, list []*segment, hosted []regionID) (map[regionID][]run, error) {
	limit := s.v.log.MaxPayload()
	gone := map[uint64]bool{}
	for _, g := range list {
		gone[g.seq] = true
		c.del(segmentKey(g.seq))
	}
	homeless := func(container uint64) bool {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return gone[container] || s.segs[container] == nil
	}
	lost := map[regionID][]run{}
	for _, id := range hosted {
		runs, err := s.places.of(id)
		if err != nil {
			return nil, err
		}
		rest := slices.DeleteFunc(slices.Clone(runs), func(r run) bool { return gone[r.seq] })
		if len(rest) == len(runs) {
			continue
		}
		lost[id] = rest
		if key := regionKey(nil, kMoved, id.container, id.region); len(rest) > 0 {
			c.set(key, encodeRuns(rest))
		} else {
			c.del(key)
			if homeless(id.container) {
				c.del(regionKey(nil, kCounts, id.container, id.region))
			}
		}
		c.room(limit, maxEdits)
	}
	for _, g := range list {
		for r := 0; !g.moved && r < s.regions(); r++ {
			id := regionID{g.seq, uint16(r)}
			runs, ok := lost[id]
			if !ok && g.cleaned {
				var err error
				if runs, err = s.places.of(id); err != nil {
					return nil, err
				}
			}
			if len(runs) == 0 {
				c.del(regionKey(nil, kCounts, id.container, id.region))
			}
			c.room(limit, maxEdits)
		}
	}
	return lost, nil
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
