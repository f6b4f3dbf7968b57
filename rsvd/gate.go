package rsvd

import (
	"slices"

	"gabion/protocol/ntstatus"
	"gabion/rsvd/scsi"
)

// Waiting is a request that waits for the gate of its disk: a snapshot holds the disk
// still. It ends when the gate opens, by Cancel, or with its open.
type Waiting struct {
	o      *Open
	retry  func(*Waiting)
	refuse func(ntstatus.Status)
	abort  func() // ends it with TASK ABORTED; nil for what is no task
}

// Cancel ends the request with STATUS_CANCELLED unless it no longer waits.
func (w *Waiting) Cancel() { w.Refuse(ntstatus.Cancelled) }

// Refuse is Cancel with another status.
func (w *Waiting) Refuse(s ntstatus.Status) {
	d := w.o.disk
	d.mu.Lock()
	found := false
	for i, x := range d.parked {
		if found = x == w; found {
			d.parked = append(d.parked[:i:i], d.parked[i+1:]...)
			break
		}
	}
	d.mu.Unlock()
	if found {
		w.refuse(s)
	}
}

// admission is what became of a request at the gate.
type admission uint8

const (
	entered  admission = iota // exit follows
	mustWait                  // the gate is closed
	gone                      // the open is being closed
)

// use keeps o from being closed during a request that needs no open gate; false when it
// is closed already. unuse follows.
func (d *disk) use(o *Open) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if o.shut {
		return false
	}
	o.busy++
	return true
}

func (d *disk) unuse(o *Open) {
	d.mu.Lock()
	d.unuseLocked(o)
	d.mu.Unlock()
}

func (d *disk) unuseLocked(o *Open) {
	if o.busy--; o.shut && o.busy == 0 {
		d.left.Broadcast()
	}
}

// enter lets a data request of o pass the gate. Snapshots have none.
func (d *disk) enter(o *Open) admission {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case o.shut:
		return gone
	case d.blocked && o.snapshot == nil:
		return mustWait
	}
	o.busy++
	d.entered++
	return entered
}

// park keeps a request that found the gate closed; false when it is open by now.
func (d *disk) park(w *Waiting) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.blocked || w.o.shut {
		return false
	}
	d.parked = append(d.parked, w)
	return true
}

// exit ends a request that had entered.
func (d *disk) exit(o *Open) {
	d.mu.Lock()
	d.entered--
	if d.entered == 0 && d.idle != nil {
		// Before o can go, and with it perhaps the disk.
		idle := d.idle
		d.idle = nil
		d.mu.Unlock()
		idle()
		d.mu.Lock()
	}
	d.unuseLocked(o)
	d.mu.Unlock()
}

// passing runs a request that needs the gate open: at once, or later as a Waiting,
// which is returned. w is that of an earlier attempt. run returns what is to be done
// outside of the gate.
func (o *Open) passing(w *Waiting, run func() (then func()), refuse func(ntstatus.Status), abort func()) *Waiting {
	d := o.disk
	for {
		switch d.enter(o) {
		case entered:
			then := run()
			d.exit(o)
			if then != nil {
				then()
			}
			return nil
		case gone:
			refuse(ntstatus.FileClosed)
			return nil
		}
		if w == nil {
			w = &Waiting{o: o, refuse: refuse, abort: abort}
			w.retry = func(w *Waiting) { o.passing(w, run, refuse, abort) }
		}
		if d.park(w) {
			return w
		}
	}
}

// abort ends the waiting tasks of initiators: PREEMPT AND ABORT.
func (d *disk) abort(of []scsi.Initiator) {
	d.mu.Lock()
	var ended, others []*Waiting
	for _, w := range d.parked {
		if w.abort != nil && slices.Contains(of, w.o.initiator) {
			ended = append(ended, w)
		} else {
			others = append(others, w)
		}
	}
	d.parked = others
	d.mu.Unlock()
	d.aborted.Add(int64(len(ended)))
	for _, w := range ended {
		w.abort()
	}
}

// shut lets no further request of an open in, ends its waiting ones and waits for those
// that are at work in the store.
func (d *disk) shut(o *Open) {
	d.mu.Lock()
	o.shut = true
	var mine, others []*Waiting
	for _, w := range d.parked {
		if w.o == o {
			mine = append(mine, w)
		} else {
			others = append(others, w)
		}
	}
	d.parked = others
	for o.busy > 0 {
		d.left.Wait()
	}
	d.mu.Unlock()
	for _, w := range mine {
		w.refuse(ntstatus.FileClosed)
	}
}

// block closes the gate and calls then once when no request is at work. It returns
// false when the gate is somebody else's.
func (d *disk) block(then func()) bool {
	d.mu.Lock()
	if d.exclusive {
		d.mu.Unlock()
		return false
	}
	d.exclusive, d.blocked = true, true
	wait := d.entered > 0
	if wait {
		d.idle = then
	}
	d.mu.Unlock()
	if !wait {
		then()
	}
	return true
}

// unblock opens the gate and runs what waited.
func (d *disk) unblock() {
	d.mu.Lock()
	parked := d.parked
	d.parked, d.blocked, d.exclusive = nil, false, false
	d.mu.Unlock()
	for _, w := range parked {
		w.retry(w)
	}
}
