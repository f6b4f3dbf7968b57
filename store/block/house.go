package block

import (
	"slices"
	"sync"
	"time"

	"gabion/store"
)

// house is the background: one goroutine that does, in bounded steps, what is
// too large or not urgent enough for the caller that caused it.
type house struct {
	v *Volume

	mu      sync.Mutex // guards the queues
	orphans []orphan
	doomed  []uint64
	flush   bool
	retired []retired

	vain vain

	step     sync.Mutex // held during a step; guards the rest
	removing *removal
	trimmed  time.Time // when free slots were last looked through, zero while there are few
	squeezed uint64    // position that the index was last flushed for want of segments

	kick chan struct{}
	quit chan struct{}
	done chan struct{}

	alarms [numAlarms]alarm
}

// alarm pokes the house later. It ends with the house.
type alarm struct {
	mu    sync.Mutex
	timer *time.Timer // nil before the first use; guarded by mu
	over  bool        // guarded by mu
}

// What the house is poked for later: each reason has its own time.
const (
	alarmCalm = iota // clones are no longer being made
	alarmTrim        // slots have been free for long enough
	alarmHeld        // what snapshots hold is to be added up
	numAlarms
)

// pokeIn is poke after d. It replaces what was set before for the same reason.
func (h *house) pokeIn(reason int, d time.Duration) {
	a := &h.alarms[reason]
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.over:
	case a.timer == nil:
		a.timer = time.AfterFunc(d, h.poke)
	default:
		a.timer.Reset(d)
	}
}

// end stops the alarm for good.
func (a *alarm) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	if a.timer != nil {
		a.timer.Stop()
	}
}

// orphan is a file, or one stream of a file, that has no name and is not open.
type orphan struct {
	id     store.FileID
	stream uint32
	whole  bool
}

type want int

const wantFlush want = iota

func (h *house) init(v *Volume) {
	h.v = v
	h.kick = make(chan struct{}, 1)
	h.quit = make(chan struct{})
}

func (h *house) poke() {
	select {
	case h.kick <- struct{}{}:
	default:
	}
}

func (h *house) orphan(o orphan) {
	h.mu.Lock()
	h.orphans = append(h.orphans, o)
	h.mu.Unlock()
	h.poke()
}

func (h *house) doom(id uint64) {
	h.mu.Lock()
	h.doomed = append(h.doomed, id)
	h.mu.Unlock()
	h.poke()
}

func (h *house) wake(want) {
	h.mu.Lock()
	h.flush = true
	h.mu.Unlock()
	h.poke()
}

// queued reports whether something waits for its removal.
func (h *house) queued() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.orphans)+len(h.doomed)+len(h.retired) > 0
}

func (h *house) start() {
	if h.v.opt.Manual {
		return
	}
	h.done = make(chan struct{})
	h.poke() // what snapshots hold is not known yet
	go func() {
		defer close(h.done)
		tick := time.NewTicker(h.v.opt.held)
		defer tick.Stop()
		owes := 0 // bytes that the last step moved
		for {
			select {
			case <-h.quit:
				return
			case <-h.kick:
			case <-tick.C:
			}
			h.rest(5 * time.Millisecond) // what comes meanwhile shares a step
			for h.v.check() == nil {
				select {
				case <-h.quit:
					return
				default:
				}
				h.v.takeTurn(max(owes, sectorSize), h.quit)
				began, moved := time.Now(), h.v.wrote.moved.Load()
				more, err := h.v.Step()
				owes = int(h.v.wrote.moved.Load() - moved)
				if err != nil && h.v.check() == nil {
					h.v.out.Error("background work failed", "error", err)
				}
				if !more || err != nil {
					break
				}
				h.rest(time.Since(began))
			}
		}
	}()
}

// TakeTurns has background work (cleaning, making clones real, verifying) ask turn before each
// of its steps, unless room is short: turn returns when it may go on, or when stop is closed.
func (v *Volume) TakeTurns(turn func(bytes int, stop <-chan struct{})) { v.turn.Store(&turn) }

// takeTurn waits until it is the turn of background work that moves n bytes.
func (v *Volume) takeTurn(n int, stop <-chan struct{}) {
	if turn := v.turn.Load(); turn != nil && n > 0 && !v.pressed() {
		(*turn)(n, stop)
	}
}

// rest leaves the machine to the foreground between steps, the longer the less
// urgent they are.
func (h *house) rest(worked time.Duration) {
	if h.v.pressed() {
		return
	}
	select {
	case <-h.quit:
	case <-time.After(min(2*worked, 50*time.Millisecond)):
	}
}

func (h *house) stop() {
	close(h.quit)
	for i := range h.alarms {
		h.alarms[i].end()
	}
	if h.done != nil {
		<-h.done
	}
}

// Step does one bounded piece of background work and reports whether there was any.
func (v *Volume) Step() (bool, error) {
	v.work.step.Lock()
	defer v.work.step.Unlock()
	more, err := v.stepLocked()
	if err == nil && (!more || v.heldLate()) {
		var held bool
		held, err = v.measureHeld()
		more = more || held
	}
	return more, err
}

// hurry is Step for who waits for room.
func (v *Volume) hurry() (bool, error) {
	v.work.step.Lock()
	defer v.work.step.Unlock()
	return v.stepLocked()
}

// stepLocked is Step. Caller holds step.
func (v *Volume) stepLocked() (bool, error) {
	if err := v.check(); err != nil {
		return false, err
	}
	h := &v.work
	if v.opt.Manual {
		v.log.Prepare() // else its own background does
	}
	if more, err := v.expirePins(); more || err != nil {
		return more, err
	}
	if more, err := v.squeeze(); more || err != nil {
		return more, err
	}
	h.mu.Lock()
	flush := h.flush
	h.flush = false
	var o orphan
	var doomed uint64
	if len(h.orphans) > 0 {
		o = h.orphans[0]
	} else {
		doomed = v.nextDoomed()
	}
	h.mu.Unlock()
	if flush && !v.reserve.starved.Load() {
		if _, err := v.beginFlush(); err != nil {
			return true, err
		}
	}
	switch {
	case o.id != 0:
		return true, v.removeOrphan(o)
	case doomed != 0:
		return true, v.removeSnapshot(doomed)
	}
	if p := v.pendings.any(); p != nil && !v.copying() {
		return true, v.realiseSome(p)
	}
	if more, err := v.doomHidden(); more || err != nil {
		return more, err
	}
	more, err := v.reclaim()
	return more || flush, err
}

// copying says that clones are being made just now, so that making them real, which holds new ones up,
// can wait a little.
func (v *Volume) copying() bool {
	const calm, most = 300 * time.Millisecond, 4096
	since := v.opt.Now().UnixNano() - v.pendings.made.Load()
	if v.opt.Manual || v.pressed() || since > int64(calm) || v.pendings.count.Load() > most {
		return false
	}
	v.work.pokeIn(alarmCalm, calm)
	return true
}

// reclaim does a step of giving segments back. Caller holds step.
func (v *Volume) reclaim() (bool, error) {
	v.releaseRetired()
	more, err := v.retire()
	if err != nil || more {
		return more, err
	}
	if more, err = v.cleaner.step(); err != nil || more {
		return more, err
	}
	if err := v.trim(); err != nil {
		return false, err
	}
	v.mirror.renew()
	return false, v.reserve.stock()
}

// nextDoomed returns a deleted snapshot that nobody reads any more. Caller holds mu.
func (v *Volume) nextDoomed() uint64 {
	h := &v.work
	for i, id := range h.doomed {
		if !v.inodes.inUse(store.View(id)) {
			h.doomed[0], h.doomed[i] = h.doomed[i], h.doomed[0]
			return id
		}
	}
	return 0
}

// finishedOrphans takes n from place i on off the queue when their work is done.
func (h *house) finishedOrphans(i, n int) {
	h.mu.Lock()
	if i == 0 {
		h.orphans = h.orphans[n:]
	} else {
		h.orphans = slices.Delete(h.orphans, i, i+n)
	}
	h.mu.Unlock()
}

func (h *house) finishedDoomed() {
	h.mu.Lock()
	h.doomed = h.doomed[1:]
	h.mu.Unlock()
}

// loadOrphans queues what had no name when the volume was last open.
func (v *Volume) loadOrphans() error {
	return v.scan([]byte{kOrphan}, nil, func(key, _ []byte) (bool, error) {
		o := orphan{id: store.FileID(be.Uint64(key[1:])), whole: len(key) == 9}
		if !o.whole {
			o.stream = be.Uint32(key[9:])
		}
		v.work.orphan(o)
		return true, nil
	})
}
