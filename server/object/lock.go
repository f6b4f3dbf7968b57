package object

import (
	"slices"
	"sync/atomic"

	"gabion/protocol/ntstatus"
)

// LockRange is one SMB2_LOCK_ELEMENT's range.
type LockRange struct {
	Off, Len  uint64
	Exclusive bool
}

// byteLock is a ByteRangeLock ([MS-FSA] 2.1.1.7).
type byteLock struct {
	LockRange
	o *Open
}

// lockTable is Stream.ByteRangeLockList with the operations that wait for it.
// Guarded by File.mu.
type lockTable struct {
	held    []byteLock
	waiting []*lockRequest // in order of arrival
	// n is len(held), for I/O to see without the lock that there is nothing to check.
	n atomic.Int32
}

type lockRequest struct {
	Pending
	lock byteLock
	done func(ntstatus.Status)
}

// valid refuses ranges that wrap ([MS-FSA] 2.1.5.8).
func (r *LockRange) valid() bool { return r.Len == 0 || r.Off+(r.Len-1) >= r.Off }

// overlaps is the comparison of [MS-FSA] 2.1.4.10, made without wrapping. A zero-length range
// lies between two bytes and overlaps what has a byte on both sides; {0, 0}
// overlaps nothing.
func (r *LockRange) overlaps(off, n uint64) bool {
	if r.Off == 0 && r.Len == 0 || off == 0 && n == 0 {
		return false
	}
	return off <= r.Off+(r.Len-1) && r.Off <= off+(n-1)
}

// conflicts is [MS-FSA] 2.1.4.10. Caller holds File.mu.
func (t *lockTable) conflicts(o *Open, off, n uint64, exclusive, lockIntent bool) bool {
	for i := range t.held {
		h := &t.held[i]
		if !h.overlaps(off, n) {
			continue
		}
		if h.Exclusive {
			if h.o != o || exclusive && lockIntent {
				return true
			}
		} else if exclusive {
			return true
		}
	}
	return false
}

// locked reports whether I/O on the range runs into a lock.
func (s *Stream) locked(o *Open, off, n uint64, write bool) bool {
	if n == 0 || s.locks.n.Load() == 0 {
		return false
	}
	s.file.mu.Lock()
	defer s.file.mu.Unlock()
	return s.locks.conflicts(o, off, n, write, false)
}

// locksBlockReading reports whether a lock forbids shared caching: one that begins inside the
// stream's allocation ([MS-FSA] 2.1.5.18). Caller holds File.mu.
func (s *Stream) locksBlockReading() bool {
	if len(s.locks.held) == 0 || s.data == nil {
		return false
	}
	alloc := uint64(s.data.Sizes().Allocated)
	return slices.ContainsFunc(s.locks.held, func(h byteLock) bool { return h.Off < alloc })
}

// Lock takes a byte-range lock ([MS-FSA] 2.1.5.8). With wait it pends until the lock
// can be had, else the answer is STATUS_LOCK_NOT_GRANTED.
func (o *Open) Lock(r LockRange, wait bool, done func(ntstatus.Status)) *Pending {
	p, st := o.lock(r, wait, done)
	if p == nil {
		done(st)
	}
	return p
}

func (o *Open) lock(r LockRange, wait bool, done func(ntstatus.Status)) (*Pending, ntstatus.Status) {
	if !r.valid() {
		return nil, ntstatus.InvalidLockRange
	}
	if o.IsDir() {
		return nil, ntstatus.InvalidParameter
	}
	if !o.has(fileReadData | fileWriteData | fileExecute) {
		return nil, ntstatus.AccessDenied
	}
	if st := o.enter(); st != ntstatus.Success {
		return nil, st
	}
	defer o.leave()
	f, t := o.file, &o.stream.locks
	var l later
	defer l.run()
	f.mu.Lock()
	defer f.mu.Unlock()
	o.stream.breakGrants(o, demandWrite, &l)
	if !t.conflicts(o, r.Off, r.Len, r.Exclusive, true) {
		t.take(byteLock{r, o})
		return nil, ntstatus.Success
	}
	if !wait {
		return nil, ntstatus.LockNotGranted
	}
	q := &lockRequest{lock: byteLock{r, o}, done: done}
	q.cancel = func() {
		if !q.claim() {
			return
		}
		f.mu.Lock()
		if i := slices.Index(t.waiting, q); i >= 0 {
			t.waiting = slices.Delete(t.waiting, i, i+1)
		}
		f.mu.Unlock()
		done(ntstatus.Cancelled)
	}
	t.waiting = append(t.waiting, q)
	return &q.Pending, ntstatus.Success
}

// take enters a lock. Caller holds File.mu.
func (t *lockTable) take(b byteLock) {
	t.held = append(t.held, b)
	t.n.Store(int32(len(t.held)))
}

// Unlock releases exactly one lock of that range ([MS-FSA] 2.1.5.9).
func (o *Open) Unlock(off, n uint64) ntstatus.Status {
	r := LockRange{Off: off, Len: n}
	if !r.valid() {
		return ntstatus.InvalidLockRange
	}
	if o.IsDir() {
		return ntstatus.InvalidParameter
	}
	if st := o.enter(); st != ntstatus.Success {
		return st
	}
	defer o.leave()
	var l later
	defer l.run()
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	t := &o.stream.locks
	// Where exclusive and shared locks of the same range are stacked, the
	// exclusive one goes first.
	at := -1
	for i, h := range t.held {
		if h.o == o && h.Off == off && h.Len == n && (at < 0 || h.Exclusive && !t.held[at].Exclusive) {
			at = i
		}
	}
	if at < 0 {
		return ntstatus.RangeNotLocked
	}
	t.held = slices.Delete(t.held, at, at+1)
	t.n.Store(int32(len(t.held)))
	t.retry(&l)
	return ntstatus.Success
}

// retry gives waiting requests what they can have now, in order of arrival.
// Caller holds File.mu.
func (t *lockTable) retry(l *later) {
	rest := t.waiting[:0]
	for _, q := range t.waiting {
		r := q.lock
		if t.conflicts(r.o, r.Off, r.Len, r.Exclusive, true) || !q.claim() {
			rest = append(rest, q)
			continue
		}
		t.take(r)
		l.add(func() { q.done(ntstatus.Success) })
	}
	clear(t.waiting[len(rest):])
	t.waiting = rest
}

// dropLocks releases the locks of an open that is being closed, and answers its
// waiting requests. Caller holds File.mu.
func (s *Stream) dropLocks(o *Open, l *later) {
	t := &s.locks
	rest := t.waiting[:0]
	for _, q := range t.waiting {
		if q.lock.o != o {
			rest = append(rest, q)
		} else if q.claim() {
			l.add(func() { q.done(ntstatus.RangeNotLocked) })
		}
	}
	clear(t.waiting[len(rest):])
	t.waiting = rest
	n := len(t.held)
	t.held = slices.DeleteFunc(t.held, func(h byteLock) bool { return h.o == o })
	if len(t.held) != n {
		t.n.Store(int32(len(t.held)))
		t.retry(l)
	}
}

// Locks returns the byte-range locks the open holds.
func (o *Open) Locks() []LockRange {
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	var rs []LockRange
	for _, h := range o.stream.locks.held {
		if h.o == o {
			rs = append(rs, h.LockRange)
		}
	}
	return rs
}

// lockSequences is Open.LockSequenceArray ([MS-SMB2] 3.3.1.10): index 0 is for bucket 1. Beside
// what was carried out last it knows what is being carried out.
type lockSequences [64]struct {
	number  uint8
	valid   bool
	now     uint8
	running bool
}

// LockTurn is what is to be done with a LOCK request.
type LockTurn int

const (
	LockProceed  LockTurn = iota // carry it out; LockEnd or LockWithdraw follows
	LockReplayed                 // it was carried out before: it has succeeded
	LockRunning                  // it is being carried out by another request
)

// bucket takes a LockSequenceNumber/Index word apart; ok is false where nothing is
// verified.
func bucket(sequence uint32) (i int, number uint8, ok bool) {
	i = int(sequence >> 4)
	return i - 1, uint8(sequence & 0xF), i >= 1 && i <= 64
}

// LockBegin looks a LOCK request's sequence word up ([MS-SMB2] 3.3.5.14): one that has been
// carried out before is answered with success without work. A request with the same word
// as one that is under way, which waits perhaps, is its replay on another channel.
func (o *Open) LockBegin(sequence uint32) LockTurn {
	i, n, ok := bucket(sequence)
	if !ok {
		return LockProceed
	}
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	e := &o.lockSeq[i]
	switch {
	case e.running && e.now == n:
		return LockRunning
	case e.valid && e.number == n:
		return LockReplayed
	}
	e.running, e.now = true, n
	return LockProceed
}

// LockEnd ends what LockBegin began and notes whether it succeeded. It may be called again to
// take success back.
func (o *Open) LockEnd(sequence uint32, done bool) {
	i, n, ok := bucket(sequence)
	if !ok {
		return
	}
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	e := &o.lockSeq[i]
	e.number, e.valid = n, done
	if e.now == n {
		e.running = false
	}
}

// LockWithdraw ends what LockBegin began as if it had not.
func (o *Open) LockWithdraw(sequence uint32) {
	if i, n, ok := bucket(sequence); ok {
		o.file.mu.Lock()
		defer o.file.mu.Unlock()
		if e := &o.lockSeq[i]; e.now == n {
			e.running = false
		}
	}
}

// LockCount is how many byte-range locks the open holds.
func (o *Open) LockCount() (n int) {
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	for _, h := range o.stream.locks.held {
		if h.o == o {
			n++
		}
	}
	return n
}
