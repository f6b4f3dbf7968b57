package block

import (
	"errors"
	"fmt"

	"gabion/store"
	"gabion/store/seglog"
)

var errEdits = errors.New("malformed edits")

// applied is the position up to which the index on disk holds the log.
type applied struct {
	pos, seq uint64
	group    uint32
}

func (v *Volume) readApplied() (applied, error) {
	b, err := v.get([]byte{kApplied})
	if err != nil || b == nil {
		return applied{}, err
	}
	if len(b) != 20 {
		return applied{}, errEdits
	}
	return applied{le.Uint64(b), le.Uint64(b[8:]), le.Uint32(b[16:])}, nil
}

// recover brings the index to the end of the log and returns the last position.
func (v *Volume) recover() (uint64, error) {
	from, err := v.readApplied()
	if err != nil {
		return 0, err
	}
	t, err := v.readTally()
	if err != nil {
		return 0, err
	}
	if t != nil && t.pos > from.pos {
		return 0, fmt.Errorf("recovery: the tally is of %d, the index is at %d", t.pos, from.pos)
	}
	last, err := v.replayLog(from, t)
	var damaged *seglog.DamageError
	if t != nil && t.seq < from.seq && errors.As(err, &damaged) {
		// The log may be whole where the index needs it.
		t = nil
		last, err = v.replayLog(from, t)
	}
	if err != nil {
		return 0, fmt.Errorf("recovery: %w", err)
	}
	if last < from.pos {
		return 0, fmt.Errorf("recovery: the log ends at %d, the index is at %d", last, from.pos)
	}
	v.space.tally = t
	return last, nil
}

// replayLog reads the log from where the tally or the index needs it on.
func (v *Volume) replayLog(from applied, t *tally) (uint64, error) {
	if from.seq != 0 {
		// The segment that the index ends in is open in it; what lies ahead of the
		// applied position there is only counted.
		if err := v.space.reopen(from.seq); err != nil {
			return 0, err
		}
	}
	start := from.seq
	if t != nil {
		start = t.seq
	}
	v.at = from
	v.batch.Reset()
	records := 0
	last, err := v.log.Replay(start, func(r *seglog.Record) error {
		if err := v.check(); err != nil {
			return err // the opening failed already
		}
		if t != nil && r.Pos > t.pos {
			if err := t.note(r); err != nil {
				return fmt.Errorf("record %d: %w", r.Pos, err)
			}
			v.since += logged(len(r.Body) + int(r.PayloadLen))
		}
		if r.Pos <= from.pos {
			if r.Seq == from.seq {
				v.space.recount(r)
			}
			return nil
		}
		records++
		return v.replay(r)
	})
	if err == nil && !v.batch.Empty() {
		err = v.applyBatch(v.at)
	}
	if records > 0 && err == nil {
		v.out.Info("log replayed", "records", records, "from", from.pos, "to", last)
	}
	return last, err
}

// replayBatch is how many bytes of edits are replayed at once.
const replayBatch = 64 << 10

// replay applies one record as the running volume did.
func (v *Volume) replay(r *seglog.Record) error {
	if r.Kind == seglog.KindVoid {
		r.PayloadLen = 0
	}
	v.space.record(v.batch, r.Seq, r.Payload, int(r.PayloadLen))
	if r.Kind == seglog.KindEdits {
		if err := applyEdits(v.batch, r.Body); err != nil {
			return fmt.Errorf("record %d: %w", r.Pos, err)
		}
	}
	v.at = applied{r.Pos, r.Seq, r.Group}
	if r.More || v.batch.Len() < replayBatch {
		return nil
	}
	err := v.applyBatch(v.at)
	v.batch.Reset()
	return err
}

// reopen makes the segment that the index ends in current again.
func (s *space) reopen(seq uint64) error {
	b, err := s.v.get(segmentKey(seq))
	if err != nil {
		return err
	}
	if b == nil {
		return fmt.Errorf("segment %d of the applied position is unknown", seq)
	}
	g := &segment{seq: seq, data: make([]uint32, s.regions())}
	if err := g.decode(b); err != nil {
		return err
	}
	s.segs[seq] = g
	s.cur = seq
	return nil
}

// recount counts the payload of a record that the index has already.
func (s *space) recount(r *seglog.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Kind != seglog.KindVoid {
		s.count(s.segs[r.Seq], r.Payload, int(r.PayloadLen))
	}
}

func (g *segment) decode(b []byte) error {
	return eachField(b, func(id byte, n uint64, data []byte) {
		switch id {
		case fSlot:
			g.slot = uint32(n)
		case fSegStream:
			g.moved = n == 1
		case fSealed:
			g.sealed = n != 0
		case fRegionData:
			g.bytes = 0
			for i := 0; i+4 <= len(data) && i/4 < len(g.data); i += 4 {
				g.data[i/4] = le.Uint32(data[i:])
				g.bytes += int64(g.data[i/4])
			}
		}
	})
}

// load fills the tables that are kept in memory from the index and returns the
// slots of the segments that are in use.
func (v *Volume) load() (map[uint64]uint32, error) {
	for _, step := range []func() error{v.loadCounters, v.loadSnapshots, v.space.load, v.loadPins, v.loadPending, v.loadStale, v.loadOrphans} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	live := map[uint64]uint32{}
	for seq, g := range v.space.segs {
		live[seq] = g.slot
	}
	return live, nil
}

func (v *Volume) counter(name string) (uint64, error) {
	b, err := v.get(counterKey(name))
	if err != nil || b == nil {
		return 0, err
	}
	if len(b) != 8 {
		return 0, errFields
	}
	return le.Uint64(b), nil
}

func (v *Volume) loadCounters() (err error) {
	if v.fileLease, err = v.counter("file"); err != nil {
		return err
	}
	v.nextFile = max(v.fileLease, uint64(store.RootID)+1)
	v.version, err = v.counter("version")
	return err
}

// load reads the segments, and what lives in them.
func (s *space) load() error {
	err := s.v.scan([]byte{kSegment}, nil, func(key, value []byte) (bool, error) {
		seq := be.Uint64(key[1:])
		if old := s.segs[seq]; old != nil && !old.sealed && seq == s.cur {
			return true, nil // still open: its count came with the replay
		}
		g := &segment{seq: seq, data: make([]uint32, s.regions())}
		s.segs[seq] = g
		err := g.decode(value)
		g.data = nil
		return true, err
	})
	if err == nil && s.tally != nil {
		err = s.tally.finish(s)
	} else if err == nil {
		err = s.recountAll()
	}
	if err != nil {
		return err
	}
	s.tally = nil
	s.live = 0
	for _, g := range s.segs {
		s.live += g.live
	}
	return nil
}

// recountAll finds out what lives from the reference counts and moved runs.
func (s *space) recountAll() error {
	for _, g := range s.segs {
		if g.live = g.bytes; g.moved {
			g.live = 0 // what its runs add up to
		}
	}
	err := s.v.scan([]byte{kMoved}, nil, func(key, value []byte) (bool, error) {
		home := s.segs[be.Uint64(key[1:])]
		if home != nil {
			home.cleaned = true
		}
		runs, err := decodeRuns(value)
		for _, r := range runs {
			n := int64(r.n) * sectorSize
			if g := s.segs[r.seq]; g != nil {
				g.live += n
			}
			if home != nil {
				home.live -= n
			}
		}
		return true, err
	})
	if err != nil {
		return err
	}
	return s.v.scan([]byte{kCounts}, nil, func(key, value []byte) (bool, error) {
		id := regionID{be.Uint64(key[1:]), be.Uint16(key[9:])}
		var died error
		err := eachInterval(value, func(i interval) {
			if i.change <= -1 && died == nil {
				died = s.died(id, i.off, i.n)
			}
		})
		return true, errors.Join(err, died)
	})
}
