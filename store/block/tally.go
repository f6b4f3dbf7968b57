package block

import (
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"gabion/store/seglog"
)

// The tally is how many bytes live in each segment, as of one position of the log. It is
// put into the index ahead of each flush, and brought up to date at the start from
// the records behind it: counting what lives anew would mean to read every
// reference count there is.

// tally is the live bytes of segments as the index has them, and what happened since.
type tally struct {
	pos, seq uint64
	live     map[uint64]int64
	cleaned  map[uint64]bool // containers that something was moved out of
	births   map[uint64]int64
	deltas   []delta
	redo     map[uint64]bool // segments that data was moved out of, or into
}

// delta is a change of reference counts.
type delta struct {
	id     regionID
	off, n uint16
	change int32
}

// writeTally puts the tally into the index. A flush that follows at once has it.
func (v *Volume) writeTally() error {
	v.order.Lock()
	defer v.order.Unlock()
	if v.at.pos == 0 {
		return nil
	}
	s := &v.space
	s.mu.RLock()
	b := make([]byte, 0, 16+10*len(s.segs))
	b = le.AppendUint64(b, v.at.pos)
	b = le.AppendUint64(b, v.at.seq)
	for _, g := range s.segs {
		n := uint64(max(g.live, 0)/sectorSize) << 1
		if g.cleaned {
			n |= 1
		}
		b = binary.AppendUvarint(binary.AppendUvarint(b, g.seq), n)
	}
	s.mu.RUnlock()
	v.since = 0
	return v.index.Set([]byte{kTally}, b, pebble.NoSync)
}

// readTally returns the tally of the index, nil when there is none.
func (v *Volume) readTally() (*tally, error) {
	b, err := v.get([]byte{kTally})
	if err != nil || len(b) < 16 {
		return nil, err
	}
	t := &tally{pos: le.Uint64(b), seq: le.Uint64(b[8:]), live: map[uint64]int64{}, cleaned: map[uint64]bool{},
		births: map[uint64]int64{}, redo: map[uint64]bool{}}
	for b = b[16:]; len(b) > 0; {
		seq, k := binary.Uvarint(b)
		if k <= 0 {
			return nil, errFields
		}
		n, m := binary.Uvarint(b[k:])
		if m <= 0 {
			return nil, errFields
		}
		b = b[k+m:]
		t.live[seq] = int64(n>>1) * sectorSize
		t.cleaned[seq] = n&1 != 0
	}
	return t, nil
}

// note takes in a record behind the tally.
func (t *tally) note(r *seglog.Record) error {
	if r.Kind != seglog.KindEdits {
		return nil
	}
	t.births[r.Seq] += int64(r.PayloadLen)
	return eachEdit(r.Body, func(op byte, key, value []byte) error {
		switch {
		case op == editDelete:
		case key[0] == kCounts && len(key) == 11:
			id := regionID{be.Uint64(key[1:]), be.Uint16(key[9:])}
			return eachInterval(value, func(i interval) {
				t.deltas = append(t.deltas, delta{id, uint16(i.off), uint16(i.n), i.change})
			})
		case key[0] == kSegment && len(key) == 9:
			return eachField(value, func(id byte, n uint64, _ []byte) {
				if id == fVictim {
					t.redo[n], t.redo[be.Uint64(key[1:])] = true, true
				}
			})
		}
		return nil
	})
}

// eachEdit calls fn for every edit of a record's body.
func eachEdit(body []byte, fn func(op byte, key, value []byte) error) error {
	for len(body) > 0 {
		op := body[0]
		key, rest, ok := takeBytes(body[1:])
		if !ok || len(key) == 0 {
			return errEdits
		}
		var value []byte
		if body = rest; op != editDelete {
			if value, body, ok = takeBytes(body); !ok {
				return errEdits
			}
		}
		if err := fn(op, key, value); err != nil {
			return err
		}
	}
	return nil
}

// finish gives the segments their live bytes. The index is at the log's end.
func (t *tally) finish(s *space) error {
	for seq, g := range s.segs {
		g.live = t.live[seq] + t.births[seq]
		g.cleaned = t.cleaned[seq] || t.redo[seq] && !g.moved
	}
	slices.SortFunc(t.deltas, func(a, b delta) int { return a.id.compare(b.id) })
	it, err := s.v.index.NewIter(&pebble.IterOptions{LowerBound: []byte{kCounts}, UpperBound: []byte{kCounts + 1}})
	if err != nil {
		return s.v.indexError(err)
	}
	defer it.Close()
	for list := t.deltas; len(list) > 0; {
		n := 1
		for n < len(list) && list[n].id == list[0].id {
			n++
		}
		if err := t.settle(s, it, list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	for seq := range t.redo {
		if g := s.segs[seq]; g != nil {
			if g.live, err = s.v.cleaner.measure(g); err != nil {
				return err
			}
		}
	}
	return nil
}

// settle takes what died in a region since the tally from the segments where it lies. What
// the counts were then follows from what they are now.
func (t *tally) settle(s *space, it *pebble.Iterator, list []delta) error {
	id := list[0].id
	var now, since region
	if key := regionKey(nil, kCounts, id.container, id.region); it.SeekGE(key) && string(it.Key()) == string(key) {
		b, err := it.ValueAndErr()
		if err == nil {
			err = now.add(b)
		}
		if err != nil {
			return s.v.indexError(err)
		}
	}
	lo, hi := uint32(regionSects), uint32(0)
	for _, d := range list {
		for i := uint32(d.off); i < uint32(d.off)+uint32(d.n); i++ {
			since[i] += d.change
		}
		lo, hi = min(lo, uint32(d.off)), max(hi, uint32(d.off)+uint32(d.n))
	}
	for i := lo; i < hi; i++ {
		was, is := now[i]-since[i] > -1, now[i] > -1
		if !was || is {
			continue
		}
		by := uint32(1)
		for i+by < hi && now[i+by]-since[i+by] > -1 && now[i+by] <= -1 {
			by++
		}
		if err := s.died(id, i, by); err != nil {
			return err
		}
		i += by - 1
	}
	return it.Error()
}
