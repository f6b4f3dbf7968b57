package object

import (
	"sync"
	"sync/atomic"
)

// retry runs an operation that may have to wait for breaks, as often as it
// takes. step does it once: it returns the function that completes the operation, or, having queued
// itself with again as the resume function, nil and its place in the queue.
//
// Cancelling takes effect only while the operation is queued: what is being done is
// done, and reported.
type retry struct {
	Pending
	step   func(again func()) (complete func(), queued *waiter)
	refuse func() // completes with STATUS_CANCELLED

	unwanted atomic.Bool

	mu     sync.Mutex // held during a step; taken before every other lock
	queued *waiter    // nil while a step runs
	over   bool
}

// start runs the first step on the caller's goroutine.
func (r *retry) start() *Pending {
	r.cancel = func() {
		r.unwanted.Store(true)
		r.withdraw()
	}
	if r.run() {
		return nil
	}
	return &r.Pending
}

// again runs a further step after a break has ended. One that panics is the last.
func (r *retry) again() {
	done := false
	defer func() {
		if !done && !r.over { // else it was the completion that panicked
			r.over = true
			r.mu.Unlock()
			r.refuse()
		}
	}()
	r.run()
	done = true
}

// run does one step and reports whether it was the last.
func (r *retry) run() bool {
	r.mu.Lock()
	if r.over {
		r.mu.Unlock()
		return true
	}
	var complete func()
	complete, r.queued = r.step(r.again)
	r.over = complete != nil
	r.mu.Unlock()
	if complete != nil {
		complete()
		return true
	}
	r.withdraw()
	return false
}

// withdraw takes a cancelled operation out of its queue, if it is in one. Whoever
// runs a step looks again afterwards.
func (r *retry) withdraw() {
	if !r.unwanted.Load() || !r.mu.TryLock() {
		return
	}
	if r.over || r.queued == nil || !r.queued.abandon() {
		r.mu.Unlock()
		return
	}
	r.over = true
	r.mu.Unlock()
	r.refuse()
}
