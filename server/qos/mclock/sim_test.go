package mclock

import (
	"math/rand/v2"
	"time"
)

// world is a scheduler before a device in virtual time: the device serves rate units a second,
// the timer that wakes the scheduler fires up to late too late, and clients are as eager as
// their queue depth allows.
type world struct {
	*Scheduler
	rng    *rand.Rand
	now    int64
	events events
	speed  uint64 // of the device
	busy   int64  // the device has work until then
	base   int64  // what a request takes besides
	late   int64
	armed  int64 // when the timer was meant to fire, 0: it is not set
	served func(c *client, r *Request)

	// Once in every the machine does nothing for stall.
	every, stall int64

	// Instead of speed, base and busy, see device.
	service  func(*world) int64
	group    bool
	parallel int
	inside   int        // requests being served
	line     []*arrival // that wait in the device, where nothing overtakes

	// See find.
	depth   *Depth
	period  int64
	seen    sample
	flowsOf map[*Class][]*client
}

// sample is what is measured between two steps of the depth.
type sample struct {
	answered, done, busy int
	latency              int64
	since                int64
}

// client keeps depth requests of a flow in flight.
type client struct {
	Flow
	units uint32
	depth int
	think int64
	took  []int64 // of each request from its arrival to its end, if it is not nil
	off   bool
	got   uint64 // units served

	peak, here int   // requests outstanding at the array
	area       int64 // requests × ns that ended since the last step
	ended      int
}

// arrival is a request on its way through the world.
type arrival struct {
	Request
	of    *client
	at    int64 // when it arrived
	began int64 // when it was let into the device
}

func newArrival(c *client) *arrival {
	a := &arrival{of: c, Request: Request{Flow: &c.Flow, Units: c.units, Bytes: c.units * 8192}}
	a.Owner = a
	return a
}

func newWorld(seed uint64, depth int, capacity, speed uint64) *world {
	return &world{Scheduler: New(depth, capacity), rng: rand.New(rand.NewPCG(seed, 7)), speed: speed,
		base: int64(50 * time.Microsecond), late: int64(2 * time.Millisecond), now: int64(time.Hour), every: 1}
}

func (w *world) add(c *client, class *Class) {
	w.Join(w.now, &c.Flow, class)
	if w.flowsOf != nil {
		w.flowsOf[class] = append(w.flowsOf[class], c)
	}
	for range c.depth {
		w.events.push(event{w.now + w.rng.Int64N(int64(5*time.Millisecond)), newArrival(c)})
	}
}

// resume gives a client that was off its requests back.
func (w *world) resume(c *client) {
	c.off = false
	for range c.depth {
		w.events.push(event{w.now, newArrival(c)})
	}
}

// device makes it one that serves so many at a time, each for a time of its own, or one
// whose groups take as many as have come.
func (w *world) device(parallel int, service func(*world) int64, group bool) {
	w.parallel, w.service, w.group = parallel, service, group
}

// find has a Depth look for the scheduler's depth.
func (w *world) find(period time.Duration) {
	d := NewDepth(0)
	w.depth, w.period, w.flowsOf = &d, int64(period), map[*Class][]*client{}
	w.Resize(d.Now(), 0)
	w.events.push(event{w.now + w.period, &arrival{}})
}

// step is what the controller does.
func (w *world) step() {
	m := Measured{Contended: w.seen.done > 0 && w.seen.busy*10 > w.seen.done*8}
	if w.seen.answered > 0 {
		m.Latency = float64(w.seen.latency) / float64(w.seen.answered)
		m.Inside = float64(w.seen.latency) / float64(w.period)
	}
	for class, clients := range w.flowsOf {
		var peak, inside, rate float64
		for _, c := range clients {
			peak, inside, rate = peak+float64(c.peak), inside+float64(c.area)/float64(w.period), rate+float64(c.ended)*float64(second)/float64(w.period)
			c.peak, c.area, c.ended = c.here, 0, 0
		}
		if n := Need(peak, inside, rate, float64(class.Rates().Reservation)); n > 0 {
			m.Need = append(m.Need, n)
		}
	}
	was := w.depth.Probing()
	w.Resize(w.depth.Step(m), 0)
	since := w.seen.since
	w.seen = sample{}
	if w.depth.Probing() {
		if w.seen.since = since; !was {
			w.seen.since = w.now
		}
	}
}

// end is what happens when a request has been served.
func (w *world) end(a *arrival) {
	w.Done(&a.Request)
	c := a.of
	c.here--
	c.area += w.now - a.at
	c.ended++
	if a.began >= w.seen.since {
		w.seen.answered++
		w.seen.latency += w.now - a.began
	}
	w.seen.done++
	if w.Backlogged() {
		w.seen.busy++
	}
	if w.service != nil {
		if w.inside--; !w.group || w.inside == 0 {
			w.serve()
		}
	}
}

// serve lets the device take what it can.
func (w *world) serve() {
	took := int64(0)
	for len(w.line) > 0 && (w.inside < w.parallel || w.group) {
		if took == 0 || !w.group {
			took = w.service(w)
		}
		w.events.push(event{w.now + took, w.line[0]})
		w.line = w.line[1:]
		w.inside++
	}
}

// run goes on for d of virtual time.
func (w *world) run(d time.Duration) {
	end := w.now + int64(d)
	for w.events.len() > 0 && w.events[0].at <= end {
		e := w.events.pop()
		w.now = e.at
		if from := w.now % w.every; w.stall > 0 && from < w.stall {
			w.events.push(event{w.now - from + w.stall, e.a})
			continue
		}
		switch {
		case e.a == nil:
			w.armed = 0
		case e.a.of == nil:
			w.step()
			w.events.push(event{w.now + w.period, e.a})
		case e.a.Served():
			w.end(e.a)
			if e.a.of.took != nil {
				e.a.of.took = append(e.a.of.took, w.now-e.a.at)
			}
			if !e.a.of.off {
				w.events.push(event{w.now + e.a.of.think, e.a})
			}
		default:
			if e.a.of.off {
				continue
			}
			e.a.at = w.now
			e.a.of.here++
			e.a.of.peak = max(e.a.of.peak, e.a.of.here)
			if w.Arrive(w.now, &e.a.Request) {
				w.begin(e.a)
			}
		}
		w.pump()
	}
	w.now = end
}

func (w *world) pump() {
	for r := w.Next(w.now); r != nil; r = w.Next(w.now) {
		w.begin(r.Owner.(*arrival))
	}
	if at, ok := w.Wake(); ok && (w.armed == 0 || at < w.armed) {
		w.armed = at
		w.events.push(event{max(at, w.now) + 1 + w.rng.Int64N(w.late), nil})
	}
}

// begin lets the device work on a request.
func (w *world) begin(a *arrival) {
	a.of.got += uint64(a.Units)
	if w.served != nil {
		w.served(a.of, &a.Request)
	}
	a.began = w.now
	if w.service != nil {
		w.line = append(w.line, a)
		if !w.group || w.inside == 0 {
			w.serve()
		}
		return
	}
	w.busy = max(w.busy, w.now) + int64(a.Units)*second/int64(w.speed)
	w.events.push(event{w.busy + w.base, a})
}

type event struct {
	at int64
	a  *arrival // nil: the timer
}

type events []event

func (h *events) len() int { return len(*h) }

func (h *events) push(e event) {
	s := append(*h, e)
	i := len(s) - 1
	for i > 0 && s[(i-1)/2].at > e.at {
		s[i] = s[(i-1)/2]
		i = (i - 1) / 2
	}
	s[i] = e
	*h = s
}

func (h *events) pop() event {
	s := *h
	top, e := s[0], s[len(s)-1]
	s = s[:len(s)-1]
	*h = s
	i := 0
	for c := 1; c < len(s); c = 2*i + 1 {
		if c+1 < len(s) && s[c+1].at < s[c].at {
			c++
		}
		if s[c].at >= e.at {
			break
		}
		s[i] = s[c]
		i = c
	}
	if len(s) > 0 {
		s[i] = e
	}
	return top
}
