package seglog

import (
	"errors"
)

// place of a group found by the walk.
type found struct {
	s *slot
	h header
	o int64
}

// Replay walks the log of records from segment from (0: the oldest) in order,
// verifies its tail, syncs what it found and calls fn for every record. Records
// of a change that is not there completely are left out, as is all that follows a
// torn group. It returns the last position.
func (l *Log) Replay(from uint64, fn func(*Record) error) (Pos, error) {
	segs, err := l.chain(from)
	if err != nil {
		return 0, err
	}
	groups, end, err := l.walk(segs)
	if err != nil {
		return 0, err
	}
	for _, s := range segs {
		// A killed process may have left its writes in the page cache only.
		if err := l.syncSlot(l.table.used[s.Seq]); err != nil {
			return 0, err
		}
	}
	return l.deliver(groups, end, fn)
}

// syncSlot syncs a slot that nobody writes.
func (l *Log) syncSlot(s *slot) error {
	f, err := l.files.hold(s)
	if err != nil {
		return err
	}
	defer s.release()
	return f.SyncData()
}

// chain returns the segments of records from seq from on, without void ones.
func (l *Log) chain(from uint64) ([]Segment, error) {
	all := l.Segments()
	var rev []Segment
	for i := len(all) - 1; i >= 0; i-- {
		s := all[i]
		if s.Moved || s.Seq < from {
			continue
		}
		if n := len(rev); n > 0 && s.First >= rev[n-1].First {
			continue
		}
		rev = append(rev, s)
	}
	for i, j := 0, len(rev)-1; i < j; i, j = i+1, j-1 {
		rev[i], rev[j] = rev[j], rev[i]
	}
	switch {
	case from > 0 && (len(rev) == 0 || rev[0].Seq != from):
		return nil, &DamageError{Seq: from}
	case from == 0 && len(rev) > 0 && rev[0].First != 1:
		return nil, &DamageError{Pos: 1, Synced: rev[0].First - 1}
	case len(rev) == 0:
		if known, err := l.brokenSynced(0); err != nil || known > 0 {
			return nil, errors.Join(err, &DamageError{Pos: 1, Synced: known})
		}
	}
	return rev, nil
}

// walk finds the groups in order up to the first that is not valid, and
// the position that ends the log because of it (0: none does).
func (l *Log) walk(segs []Segment) (groups []found, end Pos, err error) {
	buf := make([]byte, BlockSize)
	var synced Pos
	var next Pos
	for i, seg := range segs {
		s := l.table.used[seg.Seq]
		limit := Pos(0)
		if i+1 < len(segs) {
			limit = segs[i+1].First
		}
		if next == 0 {
			next = seg.First
		}
		var off int64
		for limit == 0 || next < limit {
			h, ok, err := l.header(s, off, buf)
			if err != nil {
				return nil, 0, err
			}
			if !ok || h.seq != seg.Seq || h.first != next || h.stream != streamRecords {
				known, err := l.laterSynced(segs[i:], off)
				if err != nil {
					return nil, 0, err
				}
				if known = max(known, synced); known >= next {
					return nil, 0, &DamageError{Seq: seg.Seq, Offset: off, Pos: next, Synced: known}
				}
				return l.verify(groups, synced, next)
			}
			groups = append(groups, found{s, h, off})
			synced = max(synced, h.synced)
			next = h.first + Pos(h.count)
			off += int64(h.blocks) * BlockSize
		}
		next = limit
	}
	return l.verify(groups, synced, 0)
}

// laterSynced looks behind a break for headers that know more to be durable:
// in the rest of the broken segment and in later ones. One sync may have covered several
// segments, so the head of one says nothing about the groups behind it.
func (l *Log) laterSynced(segs []Segment, off int64) (Pos, error) {
	var known Pos
	buf := make([]byte, BlockSize)
	o := off + BlockSize
	for _, seg := range segs {
		for o < l.opt.SegmentSize {
			h, ok, err := l.header(l.table.used[seg.Seq], o, buf)
			if err != nil {
				return 0, err
			}
			if ok && h.seq == seg.Seq && h.stream == streamRecords {
				known = max(known, h.synced)
				o += int64(h.blocks) * BlockSize
			} else {
				o += BlockSize
			}
		}
		o = 0
	}
	broken, err := l.brokenSynced(segs[0].Seq)
	return max(known, broken), err
}

// brokenSynced looks into the slots whose heads cannot be read, torn or damaged, for
// what the groups behind them, of uses above seq, know to be durable.
func (l *Log) brokenSynced(seq uint64) (known Pos, err error) {
	buf := make([]byte, BlockSize)
	for _, s := range l.broken {
		for o := int64(BlockSize); o < l.opt.SegmentSize; o += BlockSize {
			h, ok, err := l.header(s, o, buf)
			if err != nil {
				return 0, err
			}
			if ok && h.seq > seq && h.stream == streamRecords {
				known = max(known, h.synced)
			}
		}
	}
	return known, nil
}

var errTorn = errors.New("torn group")

// verify checks the payload of the groups that are not known to be durable and
// cuts the list at the first that fails.
func (l *Log) verify(groups []found, synced, end Pos) ([]found, Pos, error) {
	for i, g := range groups {
		if g.h.first+Pos(g.h.count) <= synced+1 {
			continue
		}
		err := l.load(g, true, func(*Record) error { return nil })
		if errors.Is(err, errTorn) || errors.Is(err, errGroup) {
			if g.h.first <= synced {
				return nil, 0, &DamageError{Seq: g.h.seq, Offset: g.o, Pos: g.h.first, Synced: synced}
			}
			return groups[:i], g.h.first, nil
		}
		if err != nil {
			return nil, 0, err
		}
	}
	return groups, end, nil
}

// load reads a group's records; with verify their payload is read and checked too.
func (l *Log) load(g found, verify bool, fn func(*Record) error) error {
	area := make([]byte, int(g.h.hdr)*BlockSize)
	if err := l.readSlot(g.s, area, g.o); err != nil {
		return err
	}
	return g.h.records(area, uint32(g.o), func(r *Record) error {
		if r.spilled > 0 {
			if err := l.readSlot(g.s, r.Body, int64(r.Payload-r.spilled)); err != nil {
				return err
			}
			if CRC(r.Body) != r.bodyCheck {
				return errTorn
			}
		}
		if verify && r.PayloadLen > 0 {
			p := make([]byte, r.PayloadLen)
			if err := l.readSlot(g.s, p, int64(r.Payload)); err != nil {
				return err
			}
			if checkOf(p) != r.check {
				return errTorn
			}
		}
		return fn(r)
	})
}

// deliver calls fn for every record of the groups below the head of the next
// segment, whole changes only.
func (l *Log) deliver(groups []found, end Pos, fn func(*Record) error) (Pos, error) {
	var last Pos
	var parts []*Record
	limits := make([]Pos, len(groups))
	for i := len(groups) - 1; i >= 0; i-- {
		limits[i] = end
		if i+1 < len(groups) {
			if limits[i] = limits[i+1]; groups[i+1].h.seq != groups[i].h.seq {
				limits[i] = groups[i+1].h.first
			}
		}
	}
	for i, g := range groups {
		limit := limits[i]
		err := l.load(g, false, func(r *Record) error {
			if limit > 0 && r.Pos >= limit {
				return nil
			}
			if r.More {
				c := *r
				c.Body = append([]byte(nil), r.Body...)
				parts = append(parts, &c)
				return nil
			}
			for _, p := range parts {
				if err := fn(p); err != nil {
					return err
				}
			}
			parts = parts[:0]
			last = r.Pos
			return fn(r)
		})
		if err != nil {
			return 0, err
		}
	}
	return last, nil
}

// Walk calls fn for the records of one segment in order, until it returns false or
// the groups end. Bodies in the payload are read; payload is not verified.
func (l *Log) Walk(seq uint64, fn func(*Record) bool) error {
	s, _, err := l.acquire(seq)
	if err != nil {
		return err
	}
	defer s.release()
	buf := make([]byte, BlockSize)
	var off int64
	for {
		h, ok, err := l.header(s, off, buf)
		if err != nil || !ok || h.seq != seq {
			return err
		}
		err = l.load(found{s, h, off}, false, func(r *Record) error {
			if !fn(r) {
				return errStop
			}
			return nil
		})
		if errors.Is(err, errStop) {
			return nil
		}
		if err != nil {
			return err
		}
		off += int64(h.blocks) * BlockSize
	}
}

var errStop = errors.New("stop")
