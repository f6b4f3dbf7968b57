package mclock

// Scheduler orders the requests of all classes in front of one device. Times are
// nanoseconds of any clock that does not go back. It is not safe for concurrent use.
type Scheduler struct {
	depth int
	rate  uint64 // units per second, 0: not known

	serving int // requests that have a place in the device
	queued  int
	rootTag int64 // nothing is served before, at a known rate
	open    bool  // nothing waits any more
	virtual int64 // weight tag of what was served last by weight

	ready    heap[*Class] // by weight
	reserved heap[*Class] // those of ready that have a reservation
	waiting  heap[*Class] // for their limit
}

// New returns a scheduler for a device that takes depth requests at a time and, unless
// rate is 0, that many units per second.
func New(depth int, rate uint64) *Scheduler {
	return &Scheduler{depth: max(depth, 1), rate: rate,
		ready: heap[*Class]{by: byWeight}, reserved: heap[*Class]{by: byReservation}, waiting: heap[*Class]{by: byTime}}
}

// Queued is how many requests wait, Serving how many have a place in the device.
func (s *Scheduler) Queued() int  { return s.queued }
func (s *Scheduler) Serving() int { return s.serving }

// Backlogged reports whether requests wait that only the device's capacity holds up.
func (s *Scheduler) Backlogged() bool { return s.ready.len() > 0 }

// Depth and Rate are the device's capacity.
func (s *Scheduler) Depth() int   { return s.depth }
func (s *Scheduler) Rate() uint64 { return s.rate }

// Resize changes the device's capacity.
func (s *Scheduler) Resize(depth int, rate uint64) {
	s.depth, s.rate = max(depth, 1), rate
	if rate == 0 {
		s.rootTag = 0
	}
}

// SetRates changes the numbers of a class. What it has had beyond its limit it owes at
// the new one.
func (s *Scheduler) SetRates(now int64, c *Class, rates Rates) {
	if c.rates == rates {
		return
	}
	s.leave(c)
	c.limitTag = scaled(c.limitTag, now, c.rates.Limit, rates.Limit)
	c.hasteTag = scaled(c.hasteTag, now, c.rates.Limit, rates.Limit)
	c.bandTag = scaled(c.bandTag, now, c.rates.Bandwidth, rates.Bandwidth)
	c.reserveTag = scaled(c.reserveTag, now, c.rates.Reservation, rates.Reservation)
	c.rates = rates
	if c.count > 0 {
		s.enter(now, c)
	}
}

// Open ends the scheduling: all that waits, and all that arrives later, goes at once.
func (s *Scheduler) Open(now int64) {
	s.open, s.rate, s.rootTag = true, 0, 0
	for s.waiting.len() > 0 {
		c := s.waiting.min()
		s.waiting.remove(c)
		c.next()
		s.ready.push(c)
	}
}

// Join puts a flow into a class, with what it has queued.
func (s *Scheduler) Join(now int64, f *Flow, c *Class) {
	old := f.class
	if old == c {
		return
	}
	f.class, f.start = c, 0
	if f.count == 0 {
		return
	}
	old.flows.remove(f)
	was := c.count
	f.Each(func(r *Request) { old.take(r); c.put(r) })
	if old.count == 0 {
		s.leave(old)
	}
	f.start = c.now
	c.flows.push(f)
	if was == 0 {
		s.wake(now, c)
		s.enter(now, c)
	}
}

// Arrive takes a request. If true it is served at once; else it waits until Next returns it.
func (s *Scheduler) Arrive(now int64, r *Request) bool {
	f := r.Flow
	c := f.class
	s.promote(now)
	if c.count == 0 {
		s.wake(now, c)
		if s.ready.len() == 0 && s.free(now) && (c.eligible() <= now || s.open) {
			f.start = max(f.start, c.now)
			s.serve(now, c, r, false)
			return true
		}
	}
	r.state = stateQueued
	f.append(r)
	if f.count == 1 {
		f.start = max(f.start, c.now)
		c.flows.push(f)
	}
	s.queued++
	if c.put(r); c.count == 1 {
		s.enter(now, c)
	}
	return false
}

// Next returns the request to be served now, nil if there is none.
func (s *Scheduler) Next(now int64) *Request {
	if s.queued == 0 {
		return nil
	}
	s.promote(now)
	if s.ready.len() == 0 || !s.free(now) {
		return nil
	}
	c, reserved := s.ready.min(), false
	if s.reserved.len() > 0 && s.reserved.min().reserveTag <= now {
		c, reserved = s.reserved.min(), true
	}
	f := c.flows.min()
	r := f.head
	f.unlink(r)
	s.queued--
	c.take(r)
	s.serve(now, c, r, reserved)
	if f.count == 0 {
		c.flows.remove(f)
	} else {
		c.flows.fix(f)
	}
	switch {
	case c.count == 0:
		s.leave(c)
	case c.eligible() > now && !s.open:
		s.leave(c)
		s.waiting.push(c)
	default:
		c.next()
		s.ready.fix(c)
		s.reserved.fix(c)
	}
	return r
}

// Cancel takes a request out of its queue; false if it does not wait.
func (s *Scheduler) Cancel(r *Request) bool {
	if r.state != stateQueued {
		return false
	}
	r.state = stateNew
	f := r.Flow
	c := f.class
	f.unlink(r)
	s.queued--
	if f.count == 0 {
		c.flows.remove(f)
	}
	if c.take(r); c.count == 0 {
		s.leave(c)
	}
	return true
}

// Done gives back the place in the device of a request that was served.
func (s *Scheduler) Done(r *Request) {
	if r.state == stateServed {
		r.state = stateNew
		s.serving--
	}
}

// Wake tells when Next has to be called again although nothing arrives and nothing is
// done; false if that need not be.
func (s *Scheduler) Wake() (int64, bool) {
	switch {
	case s.queued == 0 || s.serving >= s.depth:
		return 0, false
	case s.ready.len() > 0:
		return s.rootTag, true
	}
	return max(s.waiting.min().eligible(), s.rootTag), true
}

// free reports whether the device can take a request.
func (s *Scheduler) free(now int64) bool {
	return s.open || s.serving < s.depth && s.rootTag <= now
}

// promote makes classes ready whose limit no longer holds them.
func (s *Scheduler) promote(now int64) {
	for s.waiting.len() > 0 && s.waiting.min().eligible() <= now {
		c := s.waiting.min()
		s.waiting.remove(c)
		s.enter(now, c)
	}
}

// wake prepares a class that had nothing queued.
func (s *Scheduler) wake(now int64, c *Class) {
	c.wake(now)
	c.weightTag = max(c.weightTag, s.virtual)
}

// enter puts a class that has requests where it belongs.
func (s *Scheduler) enter(now int64, c *Class) {
	if c.eligible() > now && !s.open {
		s.waiting.push(c)
		return
	}
	c.weightTag = max(c.weightTag, s.virtual)
	c.next()
	s.ready.push(c)
	if c.rates.Reservation > 0 {
		s.reserved.push(c)
	}
}

func (s *Scheduler) leave(c *Class) {
	s.ready.remove(c)
	s.reserved.remove(c)
	s.waiting.remove(c)
}

// serve charges a request of c and gives it a place in the device.
func (s *Scheduler) serve(now int64, c *Class, r *Request, reserved bool) {
	f := r.Flow
	c.now = max(c.now, f.start)
	f.start += int64(r.Units)
	if !reserved {
		s.virtual = max(s.virtual, c.weightTag)
	}
	c.charge(now, r, reserved)
	if s.rate > 0 {
		late := rootSlack
		if r.state == stateQueued {
			late = lateSlack
		}
		s.rootTag = max(s.rootTag, now-late) + int64(r.Units)*second/int64(s.rate)
	}
	r.state = stateServed
	s.serving++
}
