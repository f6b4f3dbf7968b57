package seglog

import (
	"fmt"
	"runtime"
	"slices"
	"time"
)

// batch is the waiters that one sync will satisfy.
type batch struct {
	lead    chan struct{} // a token here makes its receiver the leader
	done    chan struct{} // closed when the batch's sync is over
	waiters int
}

func newBatch() *batch {
	return &batch{lead: make(chan struct{}, 1), done: make(chan struct{})}
}

// call is an OnDurable callback.
type call struct {
	pos Pos
	fn  func(error)
}

// Wait blocks until everything up to p is durable.
func (l *Log) Wait(p Pos) error {
	if l.durable.Load() >= p {
		return nil
	}
	l.mu.Lock()
	for {
		switch {
		case l.durable.Load() >= p:
			l.mu.Unlock()
			return nil
		case l.err != nil:
			defer l.mu.Unlock()
			return l.err
		case p > l.last:
			defer l.mu.Unlock()
			return fmt.Errorf("wait for position %d of %d", p, l.last)
		}
		if !l.leading {
			l.leading = true
			l.lead()
			continue
		}
		b := l.next
		if p <= l.target {
			b = l.flying
		}
		b.waiters++
		l.mu.Unlock()
		led := false
		select {
		case <-b.done:
		case <-b.lead:
			led = true
		}
		l.mu.Lock()
		if led {
			l.lead() // leading was handed over still set
		}
	}
}

// lead writes and syncs what is there and wakes who waited for it. Caller holds
// mu, with leading set; mu is released meanwhile and leading passed on or cleared.
func (l *Log) lead() {
	if l.company > 1 {
		l.gather()
	}
	b := l.next
	l.flying, l.next = b, newBatch()
	target, err := l.flush()
	l.flying, l.target = nil, 0
	if err != nil {
		l.fail(err)
	} else {
		l.durable.Store(target)
	}
	l.company = b.waiters
	close(b.done)
	calls := l.due()
	// Waiters that joined b.done's successor want another sync.
	switch {
	case l.next.waiters > 0 && l.err == nil:
		l.next.lead <- struct{}{}
	default:
		l.leading = false
		if l.err != nil {
			close(l.next.done)
			l.next = newBatch()
		} else if len(l.calls) > 0 || l.early > 0 && l.pending >= l.early {
			l.poke()
		}
	}
	if len(calls) > 0 {
		err := l.err
		l.mu.Unlock()
		for _, c := range calls {
			c.fn(err)
		}
		l.mu.Lock()
	}
}

// gather lets run who is ready to: the waiters of the last sync were just woken, and what
// they write next can still go with this one. Otherwise writers fall into two halves that wait
// for each other's syncs. Caller holds mu, with leading set; mu is released meanwhile.
func (l *Log) gather() {
	for range maxGather {
		before := l.last
		l.mu.Unlock()
		runtime.Gosched()
		l.mu.Lock()
		if l.last == before {
			return
		}
	}
}

// maxGather bounds how often a leader steps back for others.
const maxGather = 4

// due takes the callbacks that can be called. Caller holds mu.
func (l *Log) due() []call {
	if l.err != nil {
		calls := l.calls
		l.calls = nil
		return calls
	}
	d := l.durable.Load()
	n := 0
	for n < len(l.calls) && l.calls[n].pos <= d {
		n++
	}
	if n == 0 {
		return nil
	}
	calls := slices.Clone(l.calls[:n])
	l.calls = append(l.calls[:0], l.calls[n:]...)
	return calls
}

// fail stops the log. Caller holds mu.
func (l *Log) fail(err error) {
	if l.err != nil {
		return
	}
	l.err = fmt.Errorf("%w: %w", ErrStopped, err)
	l.copied.Broadcast()
	if calls := l.calls; len(calls) > 0 && !l.leading { // else the leader tells them
		l.calls = nil
		go func(err error) {
			for _, c := range calls {
				c.fn(err)
			}
		}(l.err)
	}
	if l.opt.Failed != nil {
		go l.opt.Failed(l.err)
	}
}

// write is one contiguous stretch to be written.
type write struct {
	s      *slab
	groups []*group
	off    int64 // in the segment
	p      []byte
}

// flush closes the open group, writes all pending groups and syncs the segments
// they lie in. It returns the position that is durable then. Caller holds mu,
// which is released during I/O.
func (l *Log) flush() (Pos, error) {
	if l.err != nil {
		return 0, l.err
	}
	target := l.last
	l.target = target
	l.open = nil
	var buf [8]write
	writes := buf[:0]
	bytes := int64(0)
	if err := l.holdDirty(); err != nil {
		return 0, err
	}
	for _, s := range l.slabs {
		if s.written == s.used {
			continue
		}
		off := s.base + int64(s.written)
		p := s.buf[s.written:s.used]
		writes = append(writes, write{s: s, groups: s.groups, off: off, p: p})
		s.groups = nil
		s.refs++ // keeps the slab in place
		bytes += int64(len(p))
	}
	larges := l.larges
	l.larges = nil
	if len(writes)+len(larges) == 0 {
		return target, nil
	}
	if err := l.ready(writes, larges); err != nil {
		return 0, err
	}
	l.mu.Unlock()
	err := l.put(writes)
	l.mu.Lock()
	for i := range writes {
		w := &writes[i]
		w.s.refs--
		if err == nil {
			w.s.written += len(w.p)
		}
	}
	if err != nil {
		return 0, err
	}
	for _, x := range larges {
		bytes += x.size()
		if end := x.off + x.size(); x.slot.written.Load() < end && x.slot.seq.Load() == x.h.seq {
			x.slot.written.Store(end)
		}
		l.dirty = append(l.dirty, x.slot)
	}
	l.pending -= bytes
	l.stats.Bytes += uint64(bytes)
	l.recycle()
	dirty := append([]*slot(nil), l.dirty...)
	l.dirty = l.dirty[:0]
	l.mu.Unlock()
	for i, s := range dirty {
		if err == nil && !slices.Contains(dirty[:i], s) {
			err = (*s.file.Load()).SyncData()
		}
	}
	for _, s := range dirty {
		s.release()
	}
	l.mu.Lock()
	l.stats.Syncs++
	return target, err
}

// ready waits until the groups of a flush are filled, and large ones written. Caller holds mu,
// which is released meanwhile.
func (l *Log) ready(writes []write, larges []*large) error {
	for _, w := range writes {
		for _, g := range w.groups {
			for g.pending.Load() != 0 {
				l.copied.Wait()
			}
			g.h.synced = l.durable.Load()
		}
		l.stats.Groups += uint64(len(w.groups))
	}
	for _, x := range larges {
		for !x.done {
			l.copied.Wait()
		}
	}
	l.stats.Groups += uint64(len(larges))
	return l.err
}

// put writes the groups of a flush.
func (l *Log) put(writes []write) error {
	for i := range writes {
		w := &writes[i]
		passing := int64(0)
		for _, g := range w.groups {
			g.h.put(g.area(), &l.opt.Volume)
			passing += g.passing.Load()
		}
		if passing < int64(len(w.p))/2 || !l.direct.write(l, w) {
			if _, err := (*w.s.slot.file.Load()).WriteAt(w.p, w.off); err != nil {
				return err
			}
		}
		w.s.slot.written.Store(w.off + int64(len(w.p)))
	}
	return nil
}

// holdDirty notes the slots that are about to be written, and holds them until they
// are synced. Caller holds mu.
func (l *Log) holdDirty() error {
	for _, s := range l.slabs {
		if n := len(l.dirty); s.written == s.used || n > 0 && l.dirty[n-1] == s.slot {
			continue
		}
		if _, err := l.files.hold(s.slot); err != nil {
			return err
		}
		l.dirty = append(l.dirty, s.slot)
	}
	return nil
}

// OnDurable calls fn once p is durable or the log stopped; see store.Volume.
func (l *Log) OnDurable(p Pos, fn func(error)) {
	if l.durable.Load() >= p {
		fn(nil)
		return
	}
	l.mu.Lock()
	if l.err != nil || l.durable.Load() >= p {
		var err error
		if l.durable.Load() < p {
			err = l.err
		}
		l.mu.Unlock()
		fn(err)
		return
	}
	i := len(l.calls)
	for i > 0 && l.calls[i-1].pos > p {
		i--
	}
	l.calls = slices.Insert(l.calls, i, call{p, fn})
	if !l.leading {
		l.poke()
	}
	l.mu.Unlock()
}

// earlyPart of the buffer is written when it is full though nobody waits for it, so that
// a stream of writes does not stand still while all of it is.
const earlyPart = 4

// Admit waits while more bytes are pending than the buffer should hold. It is
// called ahead of any lock that a flush could need.
func (l *Log) Admit() error {
	for {
		l.mu.Lock()
		over, until, err := l.pending > l.opt.Buffer, l.last, l.err
		if l.target > l.durable.Load() {
			until = l.target // what is being written makes room
		}
		l.mu.Unlock()
		if err != nil || !over {
			return err
		}
		if err := l.Wait(until); err != nil {
			return err
		}
	}
}

// Sync makes everything reserved and committed so far durable.
func (l *Log) Sync() error { return l.Wait(l.Last()) }

// poke wakes the background. Caller holds mu.
func (l *Log) poke() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// background serves callbacks that nobody waits for, writes what has become much, and syncs what
// has waited for a while.
func (l *Log) background(every time.Duration) {
	defer close(l.done)
	defer close(l.quit)
	var tick <-chan time.Time
	if every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-l.kick:
		case <-tick:
			l.Sync() //nolint:errcheck // whoever depends on it learns of it
			if l.Short() {
				l.ahead() // others may have given space back
			}
		}
		l.mu.Lock()
		closing, want := l.closing, Pos(0)
		if n := len(l.calls); n > 0 {
			want = l.calls[n-1].pos
		}
		if l.early > 0 && l.pending >= l.early {
			want = l.last
		}
		l.mu.Unlock()
		if want > 0 {
			l.Wait(want) //nolint:errcheck // the callbacks are told
		}
		if closing {
			return
		}
	}
}

// ahead wakes prepareAhead.
func (l *Log) ahead() {
	select {
	case l.used <- struct{}{}:
	default:
	}
}

// prepareAhead prepares segments ahead of their use: many megabytes to write, which no callback
// may have to wait for.
func (l *Log) prepareAhead() {
	for {
		l.Prepare()
		select {
		case <-l.quit:
			return
		case <-l.used:
		}
	}
}

// Close syncs and releases the log.
func (l *Log) Close() error {
	err := l.Sync()
	l.mu.Lock()
	started := l.kick != nil && !l.closing && l.done != nil
	l.closing = true
	l.mu.Unlock()
	if started {
		select {
		case l.kick <- struct{}{}:
		case <-l.done:
		}
		<-l.done
	}
	l.helper.Wait()
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	l.files.closeAll()
	l.direct.close()
	if cerr := l.dir.Close(); err == nil {
		err = cerr
	}
	return err
}
