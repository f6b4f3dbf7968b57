package scsi

import (
	"sync"

	"gabion/store"
)

// Disk is the medium. Offsets and lengths are in bytes, whole sectors, and lie
// within Size. All methods may be called at the same time; a change
// becomes durable when its Pos is.
type Disk interface {
	Geometry() Geometry
	ReadAt(p []byte, off int64) error
	WriteAt(p []byte, off int64) (store.Pos, error)
	// Zero makes a range read as zeros and frees what it can.
	Zero(off, n int64) (store.Pos, error)
	// Allocated appends the parts of a range that occupy space.
	Allocated(off, n int64, to []store.Range) ([]store.Range, error)
	// Flush returns the position behind everything written so far.
	Flush() (store.Pos, error)
}

// Geometry of a disk; it changes only by resizing.
type Geometry struct {
	Size           int64
	SectorSize     int // logical, 512 or 4096
	PhysicalSector int
	BlockSize      int // unit of allocation, 0 when there is none
	Fixed          bool
	ReadOnly       bool
}

// Identity is what INQUIRY says. All opens of a disk see the same.
type Identity struct {
	Vendor, Product, Revision string // at most 8, 16 and 4 ASCII characters
	// Unique names the disk for ever; no two disks have the same.
	Unique [16]byte
}

// Config of a Target.
type Config struct {
	Disk     Disk
	Identity Identity
	// Record is what an earlier Target of this disk saved.
	Record Record
	// Save logs a record and returns its position without waiting for the disk.
	Save func(Record) (store.Pos, error)
	// Abort, if set, ends the commands of initiators that have been handed to the unit's
	// owner but not to the unit, with TASK ABORTED.
	Abort func([]Initiator)
	// Copier, if set, lets guests copy by token.
	Copier Copier
}

// Target is one logical unit.
type Target struct {
	disk Disk
	id   Identity
	save func(Record) (store.Pos, error)
	end  func([]Initiator) // Config.Abort

	copier Copier // nil: no copies by token

	changes sync.Mutex // serialises changes of reservations; held over save

	mu        sync.Mutex // guards everything below
	state     State
	pos       store.Pos // of the last saved record
	attention attentions
	running   Ticket // head of the ring of tickets
	copies    map[copyKey]copyResult
	copyOrder []copyKey // of copies, oldest first
}

// New returns the target of a disk in the state that cfg.Record tells.
func New(cfg Config) *Target {
	t := &Target{disk: cfg.Disk, id: cfg.Identity, save: cfg.Save, end: cfg.Abort, copier: cfg.Copier, state: cfg.Record.State, attention: attentions{}}
	t.attention.raise(cfg.Record.Attentions)
	t.running.prev, t.running.next = &t.running, &t.running
	return t
}

// Result is how a command ended. It may be told to the initiator when Pos is
// durable.
type Result struct {
	Status Status
	Sense  Sense
	Data   []byte // data-in
	Pos    store.Pos
}

// Ticket stands for a data command between Begin and End. Its memory belongs to
// the caller, who must not move it in between.
type Ticket struct {
	prev, next *Ticket
	initiator  Initiator
	access     Access
	waiting    []*drain // those that wait for this command's end
}

// drain waits for the end of n commands.
type drain struct {
	n    int
	done func()
}

// Begin admits a data command of i, or says with what result it ends at once:
// a reservation conflict, or a unit attention (SPC-4 5.9 and SAM-5 5.14).
func (t *Target) Begin(k *Ticket, i Initiator, a Access) (Result, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r, ok := t.judge(i, a, true); !ok {
		return r, false
	}
	k.initiator, k.access = i, a
	k.prev, k.next = t.running.prev, &t.running
	k.prev.next, k.next.prev = k, k
	return Result{}, true
}

// End tells that an admitted command has done all it does to the medium.
func (t *Target) End(k *Ticket) {
	t.mu.Lock()
	k.prev.next, k.next.prev = k.next, k.prev
	k.prev, k.next = nil, nil
	var ready []func()
	for _, d := range k.waiting {
		if d.n--; d.n == 0 {
			ready = append(ready, d.done)
		}
	}
	k.waiting = nil
	t.mu.Unlock()
	for _, done := range ready {
		done()
	}
}

// judge is Begin's decision; t.mu is held.
func (t *Target) judge(i Initiator, a Access, attend bool) (Result, bool) {
	if !t.state.Permits(i, a) {
		return Result{Status: ReservationConflict, Pos: t.pos}, false
	}
	if attend && len(t.attention) != 0 {
		if s, ok := t.attention.take(i); ok {
			return Result{Status: CheckCondition, Sense: s, Pos: t.pos}, false
		}
	}
	return Result{}, true
}

// Drain calls done once when every command admitted so far has ended. It may run
// on this goroutine.
func (t *Target) Drain(done func()) {
	t.mu.Lock()
	wait := t.await(done, func(*Ticket) bool { return true })
	t.mu.Unlock()
	if !wait {
		done()
	}
}

// await hangs a drain on the running commands that match; t.mu is held. It
// returns false when there are none.
func (t *Target) await(done func(), match func(*Ticket) bool) bool {
	d := &drain{done: done}
	for k := t.running.next; k != &t.running; k = k.next {
		if match(k) {
			k.waiting = append(k.waiting, d)
			d.n++
		}
	}
	return d.n > 0
}

// Raise queues a unit attention condition for initiators of this unit and saves it,
// so that they hear of it also over a restart.
func (t *Target) Raise(s Sense, to ...Initiator) (store.Pos, error) {
	t.changes.Lock()
	defer t.changes.Unlock()
	raise := make([]Attention, len(to))
	for n, i := range to {
		raise[n] = Attention{i, s}
	}
	t.mu.Lock()
	state := t.state
	t.mu.Unlock()
	return t.change(state, raise)
}

// Forget drops the unit attentions of an initiator whose last open has gone and
// that is not registered; a later open starts anew.
func (t *Target) Forget(i Initiator) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state.index(i) < 0 {
		delete(t.attention, i)
	}
}

// Record returns the present state and unit attentions.
func (t *Target) Record() Record {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Record{State: t.state, Attentions: t.attention.list()}
}

// Reset takes all registrations and the reservation away, as an administrator may,
// and tells every registrant. The next generation is one further.
func (t *Target) Reset() (store.Pos, error) {
	t.changes.Lock()
	defer t.changes.Unlock()
	t.mu.Lock()
	next := State{Generation: t.state.Generation + 1}
	raise := t.state.tell(ReservationsPreempted, Initiator{})
	t.mu.Unlock()
	return t.change(next, raise)
}

// change saves the next state and then makes it the present one; t.changes is held.
func (t *Target) change(next State, raise []Attention) (store.Pos, error) {
	t.mu.Lock()
	pending := t.attention.clone()
	t.mu.Unlock()
	pending.raise(raise)
	pos, err := t.save(Record{State: next, Attentions: pending.list()})
	if err != nil {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state, t.pos = next, pos
	t.attention.raise(raise)
	return pos, nil
}

// persistentReserveOut runs one change of reservations and reports its result
// when nothing that the change forbids is still running.
func (t *Target) persistentReserveOut(r Request, done func(Result)) {
	t.changes.Lock()
	t.mu.Lock()
	old, pos := t.state, t.pos
	t.mu.Unlock()

	next, out := old.Apply(r)
	res := Result{Status: out.Status, Sense: out.Sense, Pos: pos}
	if out.Status != ReservationConflict {
		// A conflict takes precedence over a unit attention, which in turn comes
		// before the command has any effect.
		t.mu.Lock()
		if s, ok := t.attention.take(r.Initiator); ok {
			res.Status, res.Sense = CheckCondition, s
		}
		t.mu.Unlock()
	}
	if res.Status != Good || next.Equal(&old) {
		t.changes.Unlock()
		done(res)
		return
	}
	pos, err := t.change(next, out.Raise)
	if err != nil {
		t.changes.Unlock()
		done(Result{Status: CheckCondition, Sense: WriteError})
		return
	}
	t.changes.Unlock()
	res.Pos = pos
	if len(out.Abort) > 0 && t.end != nil {
		t.end(out.Abort)
	}
	t.mu.Lock()
	wait := t.await(func() { done(res) }, func(k *Ticket) bool {
		return contains(out.Abort, k.initiator) || !next.Permits(k.initiator, k.access)
	})
	t.mu.Unlock()
	if !wait {
		done(res)
	}
}

func contains(list []Initiator, i Initiator) bool {
	for _, x := range list {
		if x == i {
			return true
		}
	}
	return false
}
