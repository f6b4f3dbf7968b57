package seglog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store/crashfs"
)

// simLog is a seeded life of a log: writers in parallel, segments recycled, moved data,
// a crash at any sync, and the next life on what is left.
type simLog struct {
	rng  *rand.Rand
	base vfs.FS
	*Log

	mu      sync.Mutex        // guards all below; also keeps Reserve calls apart
	records []simRecord       // all of them, from position 1 on
	live    map[uint64]uint32 // segments of moved data, with their slots
	acked   atomic.Uint64

	indexMu sync.Mutex // guards index; a sync may run with mu held
	index   simIndex
}

// simIndex is what a durable index would know.
type simIndex struct {
	from  uint64 // segment that replay begins at
	pos   Pos    // records ahead of it are not needed
	moved []simMoved
}

type simRecord struct {
	pos     Pos
	seq     uint64
	addr    uint32
	body    []byte
	payload []byte
	more    bool
	whole   bool // its writer has committed it
}

type simMoved struct {
	seq  uint64
	addr uint32
	data []byte
}

func TestSimulatedCrashes(t *testing.T) {
	seeds := 40
	if n, err := strconv.Atoi(os.Getenv("GABION_SIM_CRASHES")); err == nil {
		seeds = n / 6
	}
	from := uint64(1)
	if n, err := strconv.ParseUint(os.Getenv("GABION_SIM_SEED"), 10, 64); err == nil {
		from, seeds = n, 1
	}
	for seed := from; seed < from+uint64(seeds); seed++ {
		s := &simLog{rng: rand.New(rand.NewPCG(seed, 9)), base: vfs.NewMem(), live: map[uint64]uint32{}}
		for life := range 6 {
			if err := s.life(); err != nil {
				t.Fatalf("GABION_SIM_SEED=%d life %d: %v", seed, life, err)
			}
		}
	}
}

// life opens the log, checks what came back, works and crashes.
func (s *simLog) life() error {
	at, keep, behind := int64(1+s.rng.IntN(40)), []int{0, 50, 100, s.rng.IntN(101)}[s.rng.IntN(4)], s.rng.IntN(3) == 0
	crashRNG := rand.New(rand.NewPCG(s.rng.Uint64(), 1))
	var fs *crashfs.FS
	var once sync.Once
	acked, index := Pos(s.acked.Load()), s.index
	fs, _ = crashfs.Mem(s.base, crashfs.Options{OnSync: func(n int64, done bool) {
		if n >= at && done == behind {
			once.Do(func() {
				acked = s.acked.Load()
				// Held until the crash is over: a segment that a newer index passed may be
				// written again at once, and this index still needs it.
				s.indexMu.Lock()
				defer s.indexMu.Unlock()
				index = s.index
				index.moved = slices.Clone(index.moved)
				fs.Crash(crashRNG, keep)
			})
		}
	}})
	if err := s.open(fs); err != nil {
		return err
	}
	var err error
	if !fs.Detached() {
		err = s.work()
	}
	if cerr := s.Log.Close(); err == nil {
		err = cerr
	}
	once.Do(func() {
		acked = s.acked.Load()
		index = s.index
		fs.Crash(crashRNG, keep)
	})
	s.acked.Store(acked)
	s.index = index
	return err
}

func (s *simLog) open(fs vfs.FS) (err error) {
	if err := fs.MkdirAll("/log", 0o755); err != nil {
		return err
	}
	if d, err := fs.OpenDir("/"); err == nil {
		d.Sync()
		d.Close()
	}
	if s.Log, err = Open(Options{FS: fs, Dir: "/log", Volume: testVolume, SegmentSize: 256 << 10, Buffer: 1 << 20, Handles: 3}); err != nil {
		return err
	}
	next := max(s.index.pos, 1)
	whole := next
	last, err := s.Replay(s.index.from, func(r *Record) error {
		if r.Pos < s.index.pos {
			return nil // in the segment, but passed by the index
		}
		if r.Pos != next || int(r.Pos) > len(s.records) {
			return fmt.Errorf("replayed %d, want %d of %d", r.Pos, next, len(s.records))
		}
		w := s.records[r.Pos-1]
		p := make([]byte, r.PayloadLen)
		if err := s.ReadAt(r.Seq, p, r.Payload); err != nil {
			return err
		}
		if !bytes.Equal(r.Body, w.body) || !bytes.Equal(p, w.payload) || r.More != w.more {
			return fmt.Errorf("record %d came back changed", r.Pos)
		}
		if next++; !r.More {
			whole = next
		}
		return nil
	})
	if err != nil {
		return err
	}
	if next != whole {
		return fmt.Errorf("replay ended at %d, inside a change", next)
	}
	if last+1 != next {
		return fmt.Errorf("last is %d, replayed up to %d", last, next-1)
	}
	if a := s.acked.Load(); last < a {
		return fmt.Errorf("log ends at %d, %d was acknowledged", last, a)
	}
	s.records = s.records[:last]
	return s.start(last)
}

// start names the segments that hold something: those the index needs replayed, and those
// of moved data.
func (s *simLog) start(last Pos) error {
	live := map[uint64]uint32{}
	for _, g := range s.Segments() {
		if !g.Moved && g.Seq >= s.index.from {
			live[g.Seq] = g.Slot
		}
	}
	for _, m := range s.index.moved {
		live[m.seq] = s.live[m.seq]
	}
	if err := s.Start(live, last, 0); err != nil {
		return err
	}
	return s.readMoved()
}

func (s *simLog) indexNow() simIndex {
	s.indexMu.Lock()
	defer s.indexMu.Unlock()
	i := s.index
	i.moved = i.moved[:len(i.moved):len(i.moved)]
	return i
}

func (s *simLog) readMoved() error {
	for _, m := range s.indexNow().moved {
		p := make([]byte, len(m.data))
		if err := s.ReadAt(m.seq, p, m.addr); err != nil {
			return fmt.Errorf("moved data in %d at %d: %w", m.seq, m.addr, err)
		}
		if !bytes.Equal(p, m.data) {
			return fmt.Errorf("moved data in %d at %d changed", m.seq, m.addr)
		}
	}
	return nil
}

func (s *simLog) work() error {
	writers := 1 + s.rng.IntN(4)
	errs := make(chan error, writers+1)
	var wg sync.WaitGroup
	for range writers {
		rng := rand.New(rand.NewPCG(s.rng.Uint64(), 2))
		wg.Go(func() { errs <- s.write(rng, 10+rng.IntN(40)) })
	}
	cleaner := rand.New(rand.NewPCG(s.rng.Uint64(), 3))
	wg.Go(func() { errs <- s.clean(cleaner) })
	wg.Wait()
	for range writers + 1 {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

// write adds changes of one or several records.
func (s *simLog) write(rng *rand.Rand, changes int) error {
	for range changes {
		if err := s.Admit(); err != nil {
			return err
		}
		parts := 1
		if rng.IntN(6) == 0 {
			parts += rng.IntN(4)
		}
		pos, err := s.change(rng, parts)
		if err != nil {
			return err
		}
		switch rng.IntN(6) {
		case 0, 1:
			if err := s.Wait(pos); err != nil {
				return err
			}
			s.ack(pos)
		case 2:
			s.OnDurable(pos, func(err error) {
				if err == nil {
					s.ack(pos)
				}
			})
		case 3:
			if err := s.readBack(rng); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *simLog) ack(p Pos) {
	for {
		old := s.acked.Load()
		if old >= p || s.acked.CompareAndSwap(old, p) {
			return
		}
	}
}

// change reserves its records under one lock, as the engine does, and fills
// them outside of it.
func (s *simLog) change(rng *rand.Rand, parts int) (Pos, error) {
	var ts []Ticket
	var rs []simRecord
	s.mu.Lock()
	for i := range parts {
		r := simRecord{body: fill(rng.Uint64(), rng.IntN(300)), more: i < parts-1}
		if rng.IntN(8) == 0 {
			r.body = fill(rng.Uint64(), rng.IntN(12000))
		}
		reserve := s.Reserve
		r.payload = fill(rng.Uint64(), BlockSize*rng.IntN(12))
		if rng.IntN(8) == 0 {
			reserve = s.ReserveLarge
			r.payload = fill(rng.Uint64(), LeastLarge+BlockSize*rng.IntN(4))
		}
		k, err := reserve(len(r.body), len(r.payload), r.more)
		if err != nil {
			s.mu.Unlock()
			return 0, err
		}
		r.pos, r.seq, r.addr = k.Pos, k.Seq, k.Addr
		if want := Pos(len(s.records) + 1); r.pos != want {
			s.mu.Unlock()
			return 0, fmt.Errorf("position %d, want %d", r.pos, want)
		}
		s.records = append(s.records, r)
		ts, rs = append(ts, k), append(rs, r)
	}
	s.mu.Unlock()
	for i, k := range ts {
		copy(k.Body, rs[i].body)
		k.Write(pieces(rng, rs[i].payload), checkOf(rs[i].payload))
	}
	for i, k := range ts {
		p := make([]byte, len(rs[i].payload))
		if err := s.ReadAt(k.Seq, p, k.Addr); k.Seq >= s.indexNow().from && (err != nil || !bytes.Equal(p, rs[i].payload)) {
			return 0, fmt.Errorf("record %d, just written: %v", k.Pos, err)
		}
	}
	s.mu.Lock()
	for _, r := range rs {
		s.records[r.pos-1].whole = true
	}
	s.mu.Unlock()
	return ts[parts-1].Pos, nil
}

// pieces cuts a payload into whole blocks.
func pieces(rng *rand.Rand, p []byte) (list [][]byte) {
	for len(p) > 0 {
		n := BlockSize * (1 + rng.IntN(len(p)/BlockSize))
		if rng.IntN(2) == 0 {
			list = append(list, p[:n:n]) // not to be joined with the next
		} else {
			list = append(list, p[:n])
		}
		p = p[n:]
	}
	return list
}

// readBack reads a record's payload, wherever it is now.
func (s *simLog) readBack(rng *rand.Rand) error {
	s.mu.Lock()
	r := s.records[rng.IntN(len(s.records))]
	s.mu.Unlock()
	if !r.whole {
		return nil // its writer may be copying still
	}
	p := make([]byte, len(r.payload))
	err := s.ReadAt(r.seq, p, r.addr)
	if r.seq < s.indexNow().from {
		return nil // it may be gone
	}
	if err != nil {
		return fmt.Errorf("read of record %d: %w", r.pos, err)
	}
	if !bytes.Equal(p, r.payload) {
		return fmt.Errorf("record %d reads wrong", r.pos)
	}
	return nil
}

// clean moves data, drops old moved segments, and lets the index pass segments.
func (s *simLog) clean(rng *rand.Rand) error {
	m := s.NewMover()
	for range rng.IntN(12) {
		switch rng.IntN(3) {
		case 0, 1:
			data := fill(rng.Uint64(), BlockSize*(1+rng.IntN(16)))
			seq, addr, err := m.Write(fill(rng.Uint64(), rng.IntN(5000)), data)
			if err == nil {
				err = m.Sync()
			}
			if err != nil {
				return err
			}
			slot, _ := s.Slot(seq)
			s.mu.Lock()
			s.live[seq] = slot
			s.mu.Unlock()
			s.indexMu.Lock()
			s.index.moved = append(s.index.moved, simMoved{seq, addr, data})
			s.indexMu.Unlock()
		case 2:
			if err := s.pass(rng); err != nil {
				return err
			}
		}
	}
	return s.readMoved()
}

// pass lets the index be at a durable position, and frees what lies before its segment.
func (s *simLog) pass(rng *rand.Rand) error {
	if err := s.Sync(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// A sync may end inside a change that was being reserved; nobody has been told that
	// its first records are durable, and they are not without the rest.
	d := s.Durable()
	for d > 0 && s.records[d-1].more {
		d--
	}
	if d == 0 {
		return nil
	}
	s.ack(d)
	k := rng.IntN(int(d))
	for k > 0 && s.records[k-1].more {
		k--
	}
	to := simIndex{from: s.records[k].seq, pos: s.records[k].pos}
	s.indexMu.Lock()
	from := s.index
	if to.pos > from.pos {
		s.index.from, s.index.pos = to.from, to.pos
	}
	s.indexMu.Unlock()
	if to.pos > from.pos {
		for _, r := range s.records[max(from.pos, 1)-1 : k] {
			if r.seq < to.from {
				s.Release(r.seq)
			}
		}
	}
	return nil
}
