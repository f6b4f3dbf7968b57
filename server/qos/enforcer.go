package qos

import (
	"sync"
	"time"

	"gabion/protocol/dtyp"
	"gabion/server/qos/mclock"
)

// enforcer puts the scheduler between the requests and the device: a lock, a clock and one
// timer around the state machine.
type enforcer struct {
	base  time.Time
	watch func(flow dtyp.GUID, at int64, units uint32) // Options.Watch

	mu      sync.Mutex        // guards what follows, and Flow.queue, Flow.stats, Flow.touched
	s       *mclock.Scheduler // what goes next
	timer   *time.Timer       // calls tick
	armed   int64             // what the timer is set for, 0: not set
	open    bool              // the server drains: nothing waits any more
	touched []*Flow           // that had a request since the controller last looked

	// How much was done, and how much of it while more was waiting for the device: by this
	// its capacity is measured.
	done, busy uint64
	// Since the controller last looked: requests that went to the device after since, and
	// their time there.
	answered int64
	device   int64
	since    int64
}

// quantum is how finely the timer is set. Tags are exact; a request that is late by a
// quantum makes the next one no later.
const quantum = 500 * time.Microsecond

func (e *enforcer) init(depth int, capacity uint64) {
	e.base = time.Now().Add(-time.Hour) // tags of 0 lie in the past
	e.s = mclock.New(depth, capacity)
	e.timer = time.AfterFunc(time.Hour, e.tick)
	e.timer.Stop()
}

// clock is monotonic.
func (e *enforcer) clock() int64 { return int64(time.Since(e.base)) }

// Ticket is one request's way through the scheduler. The zero value is one that does not
// take part. It belongs to its owner, who does nothing else with it between Submit and Done.
type Ticket struct {
	r     mclock.Request
	flow  *Flow
	owner Owner
	next  *Ticket // of those that were admitted together

	arrived, admitted int64
}

// Owner is told, without locks, that its request may go on. It must not block.
type Owner interface{ Admitted() }

// submit is Service.Submit.
func (e *enforcer) submit(t *Ticket, arrived int64) bool {
	f := t.flow
	t.r.Flow, t.r.Owner = &f.queue, t
	e.mu.Lock()
	now := e.clock()
	t.arrived = now
	if arrived > 0 && arrived < now {
		t.arrived = arrived
	}
	f.stats.arrived += uint64(t.r.Units)
	if !f.touched {
		f.touched = true
		e.touched = append(e.touched, f)
	}
	at := e.s.Arrive(now, &t.r)
	if at {
		e.admit(now, t)
	} else {
		f.stats.waits++
	}
	f.stats.peak = max(f.stats.peak, f.stats.serving+f.queue.Queued())
	list := e.pump(now)
	e.mu.Unlock()
	return tell(list, t) || at
}

// admit notes that a request goes to the device. Caller holds mu.
func (e *enforcer) admit(now int64, t *Ticket) {
	t.admitted = now
	t.flow.stats.queue += now - t.arrived
	t.flow.stats.serving++
	if e.watch != nil {
		e.watch(t.flow.ID, now, t.r.Units)
	}
}

// pump admits all that may go, and sets the timer for the rest. Caller holds mu, and afterwards
// tells the owners.
func (e *enforcer) pump(now int64) (first *Ticket) {
	last := &first
	for {
		r := e.s.Next(now)
		if r == nil {
			break
		}
		t := r.Owner.(*Ticket)
		e.admit(now, t)
		*last, last = t, &t.next
	}
	if at, ok := e.s.Wake(); ok && (e.armed == 0 || at < e.armed) {
		e.armed = at
		e.timer.Reset(max(time.Duration(at-now), quantum))
	}
	return first
}

// kick has the timer look soon at what may go after a change. Caller holds mu.
func (e *enforcer) kick(now int64) {
	if e.s.Queued() > 0 {
		e.armed = now
		e.timer.Reset(0)
	}
}

// tell goes on with requests that were admitted, but for the one whose owner asks: its
// being among them is returned. Caller does not hold mu.
func tell(list, asking *Ticket) (own bool) {
	for list != nil {
		next := list.next
		list.next = nil
		if list == asking {
			own = true
		} else {
			list.owner.Admitted()
		}
		list = next
	}
	return own
}

// tick is what the timer calls.
func (e *enforcer) tick() {
	e.mu.Lock()
	e.armed = 0
	list := e.pump(e.clock())
	e.mu.Unlock()
	tell(list, nil)
}

// finished is Service.Done.
func (e *enforcer) finished(t *Ticket) {
	e.mu.Lock()
	if !t.r.Served() {
		e.mu.Unlock()
		return
	}
	now := e.clock()
	f := t.flow
	f.stats.serving--
	f.stats.add(now, t)
	e.done += uint64(t.r.Units)
	if t.admitted >= e.since {
		e.answered++
		e.device += now - t.admitted
	}
	if e.s.Backlogged() {
		e.busy += uint64(t.r.Units)
	}
	e.s.Done(&t.r)
	var list *Ticket
	if e.s.Queued() > 0 {
		list = e.pump(now)
	}
	e.mu.Unlock()
	tell(list, nil)
}

// cancel takes a request out of its queue; false if it does not wait there.
func (e *enforcer) cancel(t *Ticket) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.s.Cancel(&t.r)
}

// drain lets everything go.
func (e *enforcer) drain() {
	e.mu.Lock()
	e.open = true
	now := e.clock()
	e.s.Open(now)
	list := e.pump(now)
	e.mu.Unlock()
	tell(list, nil)
}

// stop ends the timer. Nothing may wait any more.
func (e *enforcer) stop() { e.timer.Stop() }
