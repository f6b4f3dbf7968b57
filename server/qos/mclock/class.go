package mclock

import "time"

// Rates are the numbers of a class. 0 means none, except for Weight, which is at least 1.
type Rates struct {
	Reservation uint64 // units per second
	Limit       uint64 // units per second
	Bandwidth   uint64 // bytes per second
	Weight      uint32 // 1 to MaxWeight; DefaultWeight if 0
}

const (
	DefaultWeight = 100
	MaxWeight     = 1000

	// slack is how far behind the clock a tag may be.
	slack = int64(50 * time.Millisecond)
	// makeUp is the same for a limit: what a class could not be given because the machine was busy
	// with something else it may still have, to 2.5 % of what it has in 10 s.
	makeUp = int64(250 * time.Millisecond)
	// It makes up for it at no more than haste hundredths of its limit, with no more than a burst at
	// once: together less than 10 % beyond the limit in any second.
	haste = 104
	burst = int64(50 * time.Millisecond)
	// arrears is the same for a reservation of a class that waits all the time: what it could not
	// be given it is still owed.
	arrears = int64(500 * time.Millisecond)
	// rootSlack is the same for the whole device, whose rate protects latency: idleness earns
	// it no burst. For what has been waiting it is lateSlack, because there the timer was late; more
	// than that let in at once would be a queue in the device, which is what the rate prevents.
	rootSlack = int64(2 * time.Millisecond)
	lateSlack = int64(10 * time.Millisecond)

	// weightScale makes virtual time fine enough for whole numbers. At a million units a second
	// of the least weight it lasts for a year.
	weightScale = 1 << 18

	second = int64(time.Second)
)

// Class is what shares an allocation. The zero value is ready for use.
type Class struct {
	rates Rates

	limitTag, bandTag int64 // eligible from then on
	hasteTag          int64 // the limit's for any second
	reserveTag        int64
	weightTag         int64 // virtual
	finish            int64 // virtual, of the request that is next: what ready is ordered by
	now               int64 // virtual time of the flows among each other
	flows             heap[*Flow]
	count             int // queued requests, and what they are together
	units, bytes      uint64
	at                [orders]int
}

// Rates returns the class's numbers.
func (c *Class) Rates() Rates { return c.rates }

// Owes reports whether the class has had more than its limit allowed by now.
func (c *Class) Owes(now int64) bool { return c.eligible() > now }

// Queued is how many requests wait.
func (c *Class) Queued() int { return c.count }

// Weight is the class's part of what is left, relative to others.
func (c *Class) Weight() int64 {
	switch w := c.rates.Weight; {
	case w == 0:
		return DefaultWeight
	case w > MaxWeight:
		return MaxWeight
	default:
		return int64(w)
	}
}

func (c *Class) eligible() int64 { return max(c.limitTag, c.hasteTag, c.bandTag) }

func (c *Class) key(o order) int64 {
	switch o {
	case byWeight:
		return c.finish
	case byReservation:
		return c.reserveTag
	}
	return c.eligible()
}

func (c *Class) place(o order) *int { return &c.at[o] }

func (c *Class) put(r *Request) {
	c.count++
	c.units += uint64(r.Units)
	c.bytes += uint64(r.Bytes)
}

func (c *Class) take(r *Request) {
	c.count--
	c.units -= uint64(r.Units)
	c.bytes -= uint64(r.Bytes)
}

// next notes the request that goes next. Caller has c in no heap, or fixes it.
func (c *Class) next() {
	c.finish = c.weightTag + int64(c.flows.min().head.Units)*weightScale/c.Weight()
}

// wake prepares the tags of a class that had nothing queued.
func (c *Class) wake(now int64) {
	c.reserveTag = max(c.reserveTag, now-slack)
	// Where the slack is worth less than a unit, it would let one go early.
	if c.rates.Limit > 0 && int64(c.rates.Limit)*makeUp < second {
		c.limitTag = max(c.limitTag, now)
	}
}

// charge moves the tags on for what is served at now.
func (c *Class) charge(now int64, r *Request, reserved bool) {
	if c.rates.Limit > 0 {
		d := int64(r.Units) * second / int64(c.rates.Limit)
		c.limitTag = max(c.limitTag, now-makeUp) + d
		c.hasteTag = max(c.hasteTag, now-burst) + d*100/haste
	}
	if c.rates.Bandwidth > 0 {
		c.bandTag = max(c.bandTag, now-slack) + perSecond(int64(r.Bytes), int64(c.rates.Bandwidth))
	}
	if reserved {
		c.reserveTag = max(c.reserveTag, now-arrears) + int64(r.Units)*second/int64(c.rates.Reservation)
	}
	c.weightTag += int64(r.Units) * weightScale / c.Weight()
}

// perSecond is how long n take at a rate; n may be as large as a request in bytes.
func perSecond(n, rate int64) int64 { return n/rate*second + n%rate*second/rate }

// scaled moves a tag that lies ahead to where it is at another rate.
func scaled(tag, now int64, old, new uint64) int64 {
	switch {
	case tag <= now:
		return tag
	case old == 0 || new == 0:
		return now
	}
	return now + int64(float64(tag-now)*float64(old)/float64(new))
}

// Flow is a queue of requests of one class. The zero value belongs to no class: see
// Scheduler.Join.
type Flow struct {
	class      *Class
	start      int64 // virtual, of the next request
	head, tail *Request
	count      int
	at         int
}

// Class returns the class the flow belongs to.
func (f *Flow) Class() *Class { return f.class }

// Queued is how many requests wait.
func (f *Flow) Queued() int { return f.count }

func (f *Flow) key(order) int64  { return f.start }
func (f *Flow) place(order) *int { return &f.at }

func (f *Flow) append(r *Request) {
	r.next, r.prev = nil, f.tail
	if f.tail == nil {
		f.head = r
	} else {
		f.tail.next = r
	}
	f.tail = r
	f.count++
}

func (f *Flow) unlink(r *Request) {
	if r.prev == nil {
		f.head = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next == nil {
		f.tail = r.prev
	} else {
		r.next.prev = r.prev
	}
	r.next, r.prev = nil, nil
	f.count--
}

// Each calls fn for the requests that wait, in order; fn must not change the queue.
func (f *Flow) Each(fn func(*Request)) {
	for r := f.head; r != nil; r = r.next {
		fn(r)
	}
}

// Request is one I/O. Who makes it sets the exported fields and leaves the rest alone.
type Request struct {
	Flow  *Flow
	Units uint32
	Bytes uint32
	Owner any // whose request it is

	next, prev *Request
	state      state
}

type state uint8

const (
	stateNew state = iota
	stateQueued
	stateServed // has a place in the device
)

// Queued reports whether the request waits.
func (r *Request) Queued() bool { return r.state == stateQueued }

// Served reports whether the request has a place in the device.
func (r *Request) Served() bool { return r.state == stateServed }

// Delay is how long the requests that wait will take to go at the class's limit.
func (c *Class) Delay(now int64) int64 {
	d := max(c.eligible()-now, 0)
	if c.rates.Limit > 0 {
		d += int64(c.units) * second / int64(c.rates.Limit)
	}
	if c.rates.Bandwidth > 0 {
		d = max(d, max(c.bandTag-now, 0)+perSecond(int64(c.bytes), int64(c.rates.Bandwidth)))
	}
	return d
}
