package server

// What an open's byte-range locks cost is bounded like opens themselves, for the open and for the session that
// has it: a client could otherwise fill the memory with them, and each one is compared with all
// that there are. A lock that is waited for counts as one that is held.

// countLocks takes the places of n more locks; false if there are not so many.
func (f *file) countLocks(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	limits := &f.server.limits
	if f.locks+n > limits.LocksPerOpen {
		return false
	}
	if f.payer != nil && f.payer.locks.Add(int64(n)) > int64(limits.LocksPerSession) {
		f.payer.locks.Add(-int64(n))
		return false
	}
	f.locks += n
	return true
}

// uncountLocks gives places back.
func (f *file) uncountLocks(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.locks -= n
	if f.payer != nil {
		f.payer.locks.Add(-int64(n))
	}
}

// pay makes s the session whose locks those of f are, nil for none. A session that an open with locks
// comes back to may have more than the limit, and gets no more then. Caller holds mu.
func (f *file) pay(s *session) {
	if f.payer != nil {
		f.payer.locks.Add(-int64(f.locks))
	}
	if f.payer = s; s != nil {
		s.locks.Add(int64(f.locks))
	}
}
