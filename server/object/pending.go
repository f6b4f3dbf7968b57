package object

import "sync/atomic"

// Pending is an operation that waits. The zero of *Pending, nil, stands for one
// that has completed: its completion function has been called.
type Pending struct {
	state  atomic.Int32 // pendingWaiting, then pendingDone
	cancel func()
}

const (
	pendingWaiting = iota
	pendingDone
)

// Cancel takes a waiting operation out of its queue and completes it with
// STATUS_CANCELLED. It does nothing when the operation has completed or is completing;
// either way the completion function runs exactly once.
func (p *Pending) Cancel() {
	if p == nil || !p.claim() {
		return
	}
	p.cancel()
}

// claim makes the caller the one that completes the operation.
func (p *Pending) claim() bool {
	return p.state.CompareAndSwap(pendingWaiting, pendingDone)
}
