package server

import "sync"

// task is what the pool runs. It recovers its own panics if more has to follow than that they are told of.
type task interface{ work() }

// taskFunc lets a function be a task.
type taskFunc func()

func (f taskFunc) work() { f() }

// pool runs tasks that may block on a bounded number of goroutines, started when there
// is work and ended when there has been none for a while. Tasks wait in a queue whose
// length the credits of all clients bound.
type pool struct {
	mu      sync.Mutex
	wake    sync.Cond
	queue   []task // ring: count tasks from head on; guarded by mu
	head    int
	count   int
	idle    int // goroutines waiting for wake
	running int
	max     int
	closed  bool
	failed  func(panicked any)
	done    sync.WaitGroup
}

func newPool(max int, failed func(panicked any)) *pool {
	p := &pool{max: max, failed: failed, queue: make([]task, 64)}
	p.wake.L = &p.mu
	return p
}

// submit queues t. After close it runs t on a goroutine of its own, because somebody
// waits for what it does.
func (p *pool) submit(t task) {
	p.mu.Lock()
	if p.count == len(p.queue) {
		bigger := make([]task, 2*len(p.queue))
		n := copy(bigger, p.queue[p.head:])
		copy(bigger[n:], p.queue[:p.head])
		p.queue, p.head = bigger, 0
	}
	p.queue[(p.head+p.count)%len(p.queue)] = t
	p.count++
	switch {
	case p.idle >= p.count:
		p.wake.Signal()
	case p.running < p.max || p.closed:
		p.running++
		p.done.Add(1)
		go p.worker()
	}
	p.mu.Unlock()
}

// maxIdle is how many goroutines wait for work when there is none.
const maxIdle = 16

func (p *pool) worker() {
	defer p.done.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for p.count == 0 {
			if p.closed || p.idle >= maxIdle {
				p.running--
				return
			}
			p.idle++
			p.wake.Wait()
			p.idle--
		}
		t := p.queue[p.head]
		p.queue[p.head] = nil
		p.head = (p.head + 1) % len(p.queue)
		p.count--
		p.mu.Unlock()
		p.do(t)
		p.mu.Lock()
	}
}

func (p *pool) do(t task) {
	defer func() {
		if x := recover(); x != nil {
			p.failed(x)
		}
	}()
	t.work()
}

// close ends the goroutines when the queue is empty and waits for them.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.wake.Broadcast()
	p.mu.Unlock()
	p.done.Wait()
}
