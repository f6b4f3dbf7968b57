package object

import "sync"

// Pending is an operation that waits. The zero of *Pending, nil, stands for one
// that has completed: its completion function has been called.
type Pending struct {
	mu     sync.Mutex
	done   bool
	cancel func() // takes the operation out of its queue and completes it
}

// Cancel takes a waiting operation out of its queue and completes it with
// STATUS_CANCELLED. It does nothing when the operation has completed or is completing;
// either way the completion function runs exactly once.
func (p *Pending) Cancel() {
	if p != nil && p.claim() {
		p.cancel()
	}
}

// claim makes the caller the one that completes the operation.
func (p *Pending) claim() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return false
	}
	p.done = true
	return true
}
