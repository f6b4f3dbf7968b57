package object

// later collects what is to happen once the locks are released: indications to
// the Breaker, completion functions, resumption of operations that waited.
type later struct {
	fns []func()
}

func (l *later) add(fn func()) { l.fns = append(l.fns, fn) }

// run does everything that was collected, in order.
func (l *later) run() {
	fns := l.fns
	l.fns = nil
	for _, fn := range fns {
		fn()
	}
}

// waiter is an operation that waits for the breaks of one file to end.
type waiter struct {
	file   *File // referenced
	resume func()
}

// wait queues an operation; resume is called without locks when a break of the
// file has ended. Caller holds File.mu.
func (f *File) wait(resume func()) *waiter {
	w := &waiter{file: f.ref(), resume: resume}
	f.waiters = append(f.waiters, w)
	return w
}

// wake resumes every operation that waits for a break, in order of arrival. One
// that is still in conflict will queue again. Caller holds File.mu.
func (f *File) wake(l *later) {
	if len(f.waiters) == 0 {
		return
	}
	ws := f.waiters
	f.waiters = nil
	// Not on the goroutine that brought the acknowledgement: it may be a
	// connection's reader, and a resumed create goes to the store.
	l.add(func() {
		go func() {
			for _, w := range ws {
				w.goOn()
			}
		}()
	})
}

// goOn resumes the operation. A panic ends it alone.
func (w *waiter) goOn() {
	defer w.file.vol.fs.recovered()
	w.file.release()
	w.resume()
}

// abandon takes a waiter out of its queue; it reports false when it has been resumed.
func (w *waiter) abandon() bool {
	f := w.file
	f.mu.Lock()
	for i, x := range f.waiters {
		if x == w {
			f.waiters = append(f.waiters[:i], f.waiters[i+1:]...)
			f.mu.Unlock()
			f.release()
			return true
		}
	}
	f.mu.Unlock()
	return false
}
