package object

import "sync"

// retry runs an operation that may have to wait for breaks, as often as it
// takes. step does it once: it returns true when it has finished, with the
// function that completes it and the one that undoes it; or it queues itself with again
// as the resume function and returns false.
type retry struct {
	Pending
	step   func(again func()) (finished *outcome, queued *waiter)
	refuse func() // completes with STATUS_CANCELLED

	waitMu sync.Mutex
	queued *waiter
}

// outcome is the end of an operation.
type outcome struct {
	complete func()
	undo     func() // takes back what was done, when it was cancelled meanwhile; may be nil
}

// start runs the first step on the caller's goroutine.
func (r *retry) start() *Pending {
	r.cancel = r.cancelled
	out, w := r.step(r.again)
	if out != nil {
		out.complete()
		return nil
	}
	r.park(w)
	return &r.Pending
}

// park remembers where the operation waits.
func (r *retry) park(w *waiter) {
	r.waitMu.Lock()
	r.queued = w
	r.waitMu.Unlock()
}

// again runs a further step after a break has ended.
func (r *retry) again() {
	out, w := r.step(r.again)
	switch {
	case out == nil:
		r.park(w)
		r.mu.Lock()
		done := r.done
		r.mu.Unlock()
		if done { // cancelled between two waits
			w.abandon()
		}
	case r.claim():
		out.complete()
	case out.undo != nil:
		out.undo()
	}
}

// cancelled is Pending.cancel.
func (r *retry) cancelled() {
	r.waitMu.Lock()
	w := r.queued
	r.waitMu.Unlock()
	if w != nil {
		w.abandon()
	}
	r.refuse()
}
