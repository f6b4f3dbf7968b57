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
	broken := true
	defer func() {
		if broken {
			r.refuse()
		}
	}()
	complete, over := r.attempt()
	broken = false
	r.went(complete, over)
}

// run does one step and reports whether it was the last.
func (r *retry) run() bool { return r.went(r.attempt()) }

// attempt does one step, unless the last one has been done. After a panic it was the last.
func (r *retry) attempt() (complete func(), over bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return nil, true
	}
	r.over = true
	complete, r.queued = r.step(r.again)
	r.over = complete != nil
	return complete, r.over
}

// went follows a step.
func (r *retry) went(complete func(), over bool) bool {
	switch {
	case complete != nil:
		complete()
	case !over:
		r.withdraw()
	}
	return over
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
