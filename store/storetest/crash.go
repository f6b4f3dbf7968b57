package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
	"gabion/store/crashfs"
	"gabion/store/memvol"
)

// Crash runs seeds until the engine crashed so many times. In each crash, at a
// random sync, any subset of the unsynced pages and names is lost; the engine must
// then open in a state that the durability contract allows: everything it was
// waited for, and of the rest a prefix in the order of positions.
//
// GABION_SIM_SEED runs one seed, GABION_SIM_FIRST begins after another than 0, GABION_SIM_CRASHES sets the number of crashes.
func Crash(t *testing.T, of Engines, crashes int) {
	simulate(t, Int("GABION_SIM_CRASHES", crashes), func(seed uint64) (int, error) {
		s := newSim(of(seed), seed)
		err := s.run()
		return s.crashes, err
	})
}

// simulate runs seeds on all processors until their counts add up to n.
func simulate(t *testing.T, n int, run func(seed uint64) (int, error)) {
	if one := Int("GABION_SIM_SEED", -1); one >= 0 {
		if _, err := run(uint64(one)); err != nil {
			t.Fatalf("GABION_SIM_SEED=%d: %v", one, err)
		}
		return
	}
	var next, sum atomic.Int64
	// Fixed unless asked: a run judges the change, not luck.
	next.Store(int64(Int("GABION_SIM_FIRST", 0)))
	var failed atomic.Bool
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for sum.Load() < int64(n) && !failed.Load() {
				seed := uint64(next.Add(1))
				c, err := run(seed)
				if err != nil {
					failed.Store(true)
					t.Errorf("GABION_SIM_SEED=%d: %v", seed, err)
				}
				sum.Add(int64(max(c, 1)))
			}
		})
	}
	wg.Wait()
	t.Logf("%d of %d", sum.Load(), n)
}

// logged is an operation with the position it got; zero for those that change
// nothing but the worker's slots.
type logged struct {
	worker int
	op     Op
	pos    store.Pos
	result string
}

// sim is one seed's run: rounds of open, verify, operate, crash.
type sim struct {
	e       Engine
	rng     *rand.Rand
	base    vfs.FS
	workers int

	sure    *memvol.Volume // the state that must be there at least
	log     []logged       // what came after it, in the order of positions
	acked   store.Pos      // up to here it must be there
	crashes int
	about   string // the last crash, for messages
}

func newSim(e Engine, seed uint64) *sim {
	rng := rand.New(rand.NewPCG(seed, 3))
	s := &sim{e: e, rng: rng, base: vfs.NewMem(), workers: 1, sure: memvol.New(memvol.Options{})}
	if rng.IntN(3) == 0 {
		s.workers = 2 + rng.IntN(3)
	}
	return s
}

func (s *sim) run() error {
	for range 1 + s.rng.IntN(6) {
		if err := s.round(); err != nil {
			return fmt.Errorf("crash %d: %w", s.crashes, err)
		}
	}
	// In the end the volume opens in peace.
	fs, _ := crashfs.Mem(s.base, crashfs.Options{})
	v, err := s.open(fs)
	if err != nil {
		return fmt.Errorf("last open: %w", err)
	}
	return v.Close()
}

// open opens the engine and settles which of the allowed states it is in. What it
// shows then must last, unless the next crash came while it opened.
func (s *sim) open(fs *crashfs.FS) (store.Volume, error) {
	v, err := s.e.Open(fs)
	if err != nil {
		return nil, fmt.Errorf("open: %w\n%s", err, s)
	}
	sure, log, acked := s.sure, s.log, s.acked
	defer func() {
		if fs.Detached() {
			s.sure, s.log, s.acked = sure, log, acked
		}
	}()
	if err := s.settle(v); err != nil {
		return nil, err
	}
	if s.e.Check != nil {
		if err := s.e.Check(v); err != nil {
			return nil, fmt.Errorf("check: %w\n%s", err, s)
		}
	}
	return v, nil
}

// settle finds the state in the set of the allowed ones.
func (s *sim) settle(v store.Volume) error {
	got, err := Take(v)
	if err != nil {
		return fmt.Errorf("dump: %w\n%s", err, s)
	}
	m := s.sure.Copy()
	xs := make([]*Executor, s.workers)
	for i := range xs {
		xs[i] = NewExecutor(m, nil)
	}
	var nearest []string
	tries := 0
	for i := 0; ; i++ {
		if i == len(s.log) || s.log[i].pos > s.acked {
			want, err := Take(m)
			if err != nil {
				return fmt.Errorf("dump of the model: %w", err)
			}
			diff := Compare(got, want)
			if len(diff) == 0 {
				s.sure, s.log, s.acked = m.Reopen(), nil, 0
				return nil
			}
			if tries++; nearest == nil || len(diff) <= len(nearest) {
				nearest = append([]string{fmt.Sprintf("after %d of %d operations:", i, len(s.log))}, diff...)
			}
		}
		if i == len(s.log) {
			return fmt.Errorf("none of %d allowed states; the nearest differs, %s%s", tries, lines(nearest), s)
		}
		if l := s.log[i]; true {
			if r, _, _ := xs[l.worker].Do(l.op); r != l.result {
				return fmt.Errorf("replay of %v by position gives %s, was %s: positions are not the order of changes\n%s", l.op, r, l.result, s)
			}
		}
	}
}

// String shows the last crash and what led to it.
func (s *sim) String() string {
	out := fmt.Sprintf("%s, acknowledged up to position %d\n", s.about, s.acked)
	from := max(0, len(s.log)-80)
	for _, l := range s.log[from:] {
		out += fmt.Sprintf("%6d w%d %v → %.120s\n", l.pos, l.worker, l.op, l.result)
	}
	return out
}

// round opens the volume, works on it, and crashes at a sync or at the end.
func (s *sim) round() error {
	at := int64(1 + s.rng.IntN([]int{3, 10, 40, 150}[s.rng.IntN(4)]))
	keep := []int{0, 0, 50, 100, s.rng.IntN(100)}[s.rng.IntN(5)]
	behind := s.rng.IntN(4) == 0
	crashRNG := rand.New(rand.NewPCG(s.rng.Uint64(), 4))
	w := &work{sim: s}
	var disk *crashfs.FS
	var crashErr error
	crash := func(when string) {
		w.ackedAtCrash = store.Pos(w.acked.Load())
		crashErr = disk.Crash(crashRNG, keep)
		s.about = fmt.Sprintf("crash %s keeping %d %%, %d workers", when, keep, s.workers)
	}
	var once sync.Once
	disk, _ = crashfs.Mem(s.base, crashfs.Options{OnSync: func(n int64, done bool) {
		if n >= at && done == behind {
			once.Do(func() { crash(fmt.Sprintf("at sync %d (behind it: %v)", n, behind)) })
		}
	}})
	v, err := s.open(disk)
	if err != nil {
		return err
	}
	s.crashes++
	if disk.Detached() {
		return errors.Join(crashErr, v.Close()) // nothing that follows could last
	}
	err = w.operate(v, disk)
	if err == nil && s.rng.IntN(16) == 0 {
		if v, err = s.kill(disk, w); err != nil {
			return err
		}
	}
	once.Do(func() { crash("in the end") })
	if len(s.log) > 0 {
		s.acked = w.ackedAtCrash
	}
	return errors.Join(err, crashErr, v.Close())
}

// kill ends the process without a power cut and opens the volume in the next one.
func (s *sim) kill(disk *crashfs.FS, w *work) (store.Volume, error) {
	next := disk.Kill() // what v still has running stands still and is left behind
	s.acked = store.Pos(w.acked.Load())
	if disk.Detached() {
		v, err := s.e.Open(next) // the next round judges what the crash left
		return v, err
	}
	s.about = fmt.Sprintf("kill without a power cut, %d workers", s.workers)
	s.crashes++
	return s.open(next)
}

// work is what the workers of one round share.
type work struct {
	*sim
	start        *memvol.Volume // what the workers' models are copies of
	acked        atomic.Uint64
	ackedAtCrash store.Pos

	mu  sync.Mutex // guards log
	all []logged
}

// ack notes that everything up to p was waited for.
func (w *work) ack(p store.Pos) {
	for {
		old := w.acked.Load()
		if uint64(p) <= old || w.acked.CompareAndSwap(old, uint64(p)) {
			return
		}
	}
}

func (w *work) operate(v store.Volume, fs *crashfs.FS) error {
	ops := 10 + w.rng.IntN(60)
	errs := make([]error, w.workers)
	seeds := make([]uint64, w.workers)
	for i := range seeds {
		seeds[i] = w.rng.Uint64()
	}
	w.start = w.sure.Copy()
	if w.workers > 1 {
		if err := w.homes(v); err != nil {
			return err
		}
	}
	var wg sync.WaitGroup
	for i := range w.workers {
		wg.Go(func() { errs[i] = w.worker(i, v, fs, rand.New(rand.NewPCG(seeds[i], 5)), ops) })
	}
	wg.Wait()
	slices.SortStableFunc(w.all, func(a, b logged) int {
		switch {
		case a.pos < b.pos:
			return -1
		case a.pos > b.pos:
			return 1
		}
		return 0
	})
	w.log = w.all
	return errors.Join(errs...)
}

// homes makes the workers' directories, in the volume and in the model that the
// workers start from.
func (w *work) homes(v store.Volume) error {
	x, m := NewExecutor(v, nil), NewExecutor(w.start, nil)
	var last store.Pos
	for i := range w.workers {
		op := Op{Kind: OpMkdir, Ref: Ref{Path: fmt.Sprintf("/w%d", i)}, Seed: 1}
		want, _, _ := m.Do(op)
		got, pos, _ := x.Do(op)
		if got != want {
			return fmt.Errorf("%v gives %s, want %s", op, got, want)
		}
		w.note(logged{0, op, pos, got}, &last)
	}
	return nil
}

// worker operates in its home, in step with a model of its own.
func (w *work) worker(i int, v store.Volume, fs *crashfs.FS, rng *rand.Rand, ops int) error {
	m := w.start.Copy()
	home := ""
	without := []Kind{OpReopen}
	if w.workers > 1 {
		home = fmt.Sprintf("/w%d", i)
		without = append(without, OpChanged) // it looks at what the others change
		if i > 0 {
			without = append(without, OpSnapshot, OpDeleteSnapshot, OpRestore, OpDiff, OpChanged, OpListSnapshots, OpIdle)
		}
	}
	g := NewGenerator(rng, m, home, without...)
	g.serial = w.crashes * 1000
	x, mx := NewExecutor(v, w.e.Idle), NewExecutor(m, nil)
	defer x.Release()
	var last store.Pos
	after := 3 // a few more once it crashed
	for range ops {
		if fs.Detached() {
			if after--; after < 0 {
				break
			}
		}
		op := g.Next()
		if op.Ref.View != "" && home != "" && (i > 0 || strings.Contains(op.Ref.Path, "/w") && !strings.Contains(op.Ref.Path, home)) {
			continue // its model does not know what the others have
		}
		if home != "" && op.Kind == OpSnapshot && rng.IntN(2) == 0 {
			op.Scope = []string{"/"} // the others' files as well
		}
		want, _, _ := mx.Do(op)
		got, pos, err := x.Do(op)
		if got != want {
			return fmt.Errorf("worker %d: %v gives %s (%v), want %s", i, op, got, err, want)
		}
		w.note(logged{i, op, pos, got}, &last)
		if err := w.wait(v, op, last, rng); err != nil {
			return fmt.Errorf("worker %d: wait for %d: %w", i, last, err)
		}
	}
	return nil
}

// note keeps what a replay needs: changes, and what moves the slots.
func (w *work) note(l logged, last *store.Pos) {
	if l.pos == 0 && l.op.Kind != OpOpen && l.op.Kind != OpClose {
		return
	}
	if l.pos == 0 {
		l.pos = *last
	}
	*last = l.pos
	w.mu.Lock()
	w.all = append(w.all, l)
	w.mu.Unlock()
}

func (w *work) wait(v store.Volume, op Op, last store.Pos, rng *rand.Rand) error {
	switch {
	case op.Kind == OpSync:
		w.ack(last)
	case rng.IntN(5) == 0:
		if err := v.Wait(last); err != nil {
			return err
		}
		w.ack(last)
	}
	return nil
}

// Faults runs seeds in which the disk fails: syncs, reads, writes cut short, no
// space. Whatever the engine answers must be true: a change that returned an error
// did not happen, one that was waited for is there after a restart, a read
// gives the right bytes or an error.
func Faults(t *testing.T, of Engines, runs int) {
	simulate(t, Int("GABION_SIM_FAULTS", runs), func(seed uint64) (int, error) { return 1, faultRun(of(seed), seed) })
}

func faultRun(e Engine, seed uint64) error {
	s := newSim(e, seed)
	s.workers = 1
	rng := s.rng
	calm, _ := crashfs.Mem(s.base, crashfs.Options{})
	v, err := s.open(calm)
	if err != nil {
		return err
	}
	if err := v.Close(); err != nil {
		return err
	}
	if err := calm.Crash(rng, 0); err != nil {
		return err
	}
	var armed atomic.Bool
	inject, room := chooseFault(rng)
	space := &crashfs.Space{}
	space.Free.Store(1 << 40)
	fs, _ := crashfs.Mem(s.base, crashfs.Options{Space: space, Inject: func(ev crashfs.Event) *crashfs.Fault {
		if inject == nil || !armed.Load() {
			return nil
		}
		return inject(ev)
	}})
	if v, err = s.open(fs); err != nil {
		return err
	}
	armed.Store(true)
	if inject == nil {
		space.Free.Store(room)
	}
	var without []Kind
	if inject == nil {
		without = []Kind{OpPin, OpUnpin} // they give way to writes
	}
	err = s.suffer(v, rng, without...)
	if rng.IntN(2) > 0 {
		armed.Store(false)
		space.Free.Add(1 << 40)
	}
	v.Close() // may fail
	armed.Store(false)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, s)
	}
	if err := fs.Crash(rng, rng.IntN(101)); err != nil {
		return err
	}
	s.about = "faults"
	fs, _ = crashfs.Mem(s.base, crashfs.Options{})
	if v, err = s.open(fs); err != nil {
		return err
	}
	return v.Close()
}

// chooseFault returns what fails, or nil and how many bytes the disk has room for.
func chooseFault(rng *rand.Rand) (crashfs.Injector, int64) {
	r := rand.New(rand.NewPCG(rng.Uint64(), 6))
	switch rng.IntN(6) {
	case 5: // the disk is gone
		ops := r.Int64N(400)
		return func(e crashfs.Event) *crashfs.Fault {
			if !e.Writes && e.Op == crashfs.OpRead || atomic.AddInt64(&ops, -1) >= 0 {
				return nil
			}
			return &crashfs.Fault{Err: syscall.EIO}
		}, 0
	case 0:
		return crashfs.Nth(crashfs.OpSync, 1+r.Int64N(30), syscall.EIO), 0
	case 1:
		return crashfs.Chance(r, crashfs.OpWrite, 0.02, syscall.EIO), 0
	case 2:
		return crashfs.Chance(r, crashfs.OpRead, 0.02, syscall.EIO), 0
	case 3:
		return crashfs.Any(crashfs.Chance(r, crashfs.OpCreate, 0.1, syscall.EIO), crashfs.Chance(r, crashfs.OpRename, 0.1, syscall.EIO)), 0
	}
	return nil, r.Int64N(4 << 20)
}

// suffer operates until the volume stops. The model follows the engine.
func (s *sim) suffer(v store.Volume, rng *rand.Rand, without ...Kind) error {
	m := s.sure.Copy()
	g := NewGenerator(rng, m, "", append(without, OpReopen, OpOpen, OpClose)...)
	x, mx := NewExecutor(v, s.e.Idle), NewExecutor(m, nil)
	defer x.Release()
	s.acked = 0
	var last store.Pos
	for range 150 {
		op := g.Next()
		got, pos, err := x.Do(op)
		var corrupt *store.CorruptError
		switch {
		case errors.Is(err, store.ErrStopped):
			return stays(v)
		case errors.Is(err, store.ErrNoSpace), errors.As(err, &corrupt), errors.Is(err, syscall.EIO):
			continue // it did not happen
		}
		want, _, _ := mx.Do(op)
		if got != want {
			return fmt.Errorf("%v gives %s (%v), want %s", op, got, err, want)
		}
		if pos > 0 {
			last = pos
			s.log = append(s.log, logged{0, op, pos, got})
		}
		switch {
		case op.Kind == OpSync:
			s.acked = last
		case rng.IntN(5) == 0:
			if err := v.Wait(last); errors.Is(err, store.ErrStopped) {
				return stays(v)
			} else if err != nil {
				return fmt.Errorf("wait: %w, want ErrStopped", err)
			}
			s.acked = last
		}
	}
	return nil
}

// stays checks that a volume that stopped does not come to life again.
func stays(v store.Volume) error {
	if _, err := v.KV().Apply([]store.KVEdit{{Bucket: "o", Key: "late", Value: []byte("x")}}); !errors.Is(err, store.ErrStopped) {
		return fmt.Errorf("a change on a stopped volume: %v, want ErrStopped", err)
	}
	if err := v.Sync(); !errors.Is(err, store.ErrStopped) {
		return fmt.Errorf("sync of a stopped volume: %v, want ErrStopped", err)
	}
	return nil
}
