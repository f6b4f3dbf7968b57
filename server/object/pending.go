package object

import "sync/atomic"

// Pending is an operation that waits. The zero of *Pending, nil, stands for one
// that has completed: its completion function has been called.
type Pending struct {
	done   atomic.Bool
	cancel func()
}

// Cancel asks a waiting operation to give up: it is taken out of its queue and completes with
// STATUS_CANCELLED. It does nothing when the operation has completed or is being
// done; either way the completion function runs exactly once.
func (p *Pending) Cancel() {
	if p != nil {
		p.cancel()
	}
}

// claim makes the caller the one that completes the operation.
func (p *Pending) claim() bool { return p.done.CompareAndSwap(false, true) }
