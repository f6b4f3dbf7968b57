package qos

import (
	"math"
	"time"

	"gabion/protocol/sqos"
	"gabion/server/qos/mclock"
)

// period is how often the controller runs.
const period = 250 * time.Millisecond

// quick is over how many seconds that is smoothed which hosts are told to go by: they are
// to have what others leave within two times to live.
const quick = 0.4

// load is a flow's measured traffic, smoothed over a second.
type load struct {
	before  stats   // at the last step
	offered float64 // smoothed over quick, as moved
	moved   float64 // bytes
	served  float64
	ops     float64
	bytes   float64
	waits   bool

	// Sums of the last seconds, for averages per request.
	recentOps                float64
	queue, device, presence  float64 // ns
	hostOps, hostLat, lowLat float64 // of the host's reports; 100 ns
}

// report takes over what a host says, for display.
func (l *load) report(r *sqos.Request) {
	l.hostOps, l.hostLat, l.lowLat = float64(r.IoCountIncrement), float64(r.LatencyIncrement), float64(r.LowerLatencyIncrement)
}

// step smooths what was counted in dt seconds.
func (l *load) step(now stats, queued int, dt float64) {
	keep, fast := math.Exp(-dt), math.Exp(-dt/quick)
	rate := func(avg *float64, delta float64) { *avg = *avg*keep + delta/dt*(1-keep) }
	l.offered = l.offered*fast + float64(now.arrived-l.before.arrived)/dt*(1-fast)
	l.moved = l.moved*fast + float64(now.bytes-l.before.bytes)/dt*(1-fast)
	rate(&l.served, float64(now.served-l.before.served))
	rate(&l.ops, float64(now.ops-l.before.ops))
	rate(&l.bytes, float64(now.bytes-l.before.bytes))
	sum := func(s *float64, delta float64) { *s = *s*keep + delta }
	sum(&l.recentOps, float64(now.ops-l.before.ops))
	sum(&l.queue, float64(now.queue-l.before.queue))
	sum(&l.device, float64(now.device-l.before.device))
	sum(&l.presence, float64(now.presence-l.before.presence))
	l.waits = queued > 0 || now.waits != l.before.waits
	now.recent = nil
	l.before = now
}

// still reports that there is nothing left to smooth.
func (l *load) still() bool {
	return l.offered < 0.01 && l.served < 0.01 && !l.waits && l.recentOps < 0.01
}

// capacity measures what the device can do: how much was done while more was waiting for it.
type capacity struct {
	known    float64 // configured, 0 if not
	measured float64 // 0 before the first measurement
	done     uint64
	busy     uint64
	// contended says that in the last step most was done while more was waiting.
	contended bool
}

func (c *capacity) step(done, busy uint64, dt float64) {
	d, b := float64(done-c.done), float64(busy-c.busy)
	c.done, c.busy = done, busy
	c.contended = d > 0 && b > d*0.8
	if !c.contended {
		return
	}
	rate := d / dt
	if c.measured == 0 {
		c.measured = rate
	}
	c.measured += (rate - c.measured) * 0.2
}

// best is the capacity to plan with.
func (c *capacity) best() float64 {
	if c.known > 0 {
		return c.known
	}
	return c.measured
}

// Step runs the controller once.
func (s *Service) Step() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.e.clock()
	dt := float64(now-s.last) / 1e9
	if dt < 0.001 {
		return
	}
	s.last = now
	s.measure(now, dt)
	for f := range s.live {
		if f.class.limited() {
			s.soil(f.class)
		}
	}
	plan := s.dirty
	s.dirty = nil
	s.plan(plan)
	s.bury(now)
}

// soil has the controller look at a class.
func (s *Service) soil(c *class) {
	if !c.dirty {
		c.dirty = true
		s.dirty = append(s.dirty, c)
	}
}

// measure takes over what the data path counted.
func (s *Service) measure(now int64, dt float64) {
	s.e.mu.Lock()
	touched := s.e.touched
	s.e.touched = nil
	samples := make([]stats, len(touched))
	queued := make([]int, len(touched))
	for i, f := range touched {
		samples[i], queued[i] = f.stats, f.queue.Queued()
		f.stats.peak = f.stats.serving + queued[i]
		if f.stats.recent != nil {
			f.stats.recent.turn(now)
		}
		if f.touched = f.stats.serving > 0 || queued[i] > 0; f.touched {
			s.e.touched = append(s.e.touched, f)
		}
	}
	done, busy := s.e.done, s.e.busy
	var m mclock.Measured
	if s.e.answered > 0 {
		m.Latency = float64(s.e.device) / float64(s.e.answered)
		m.Inside = float64(s.e.device) / (dt * 1e9)
	}
	s.e.answered, s.e.device = 0, 0
	s.e.mu.Unlock()
	s.capacity.step(done, busy, dt)
	m.Contended, m.Need = s.capacity.contended, needs(touched, samples, dt)
	s.resize(now, m)
	moved := make(map[*Flow]struct{}, len(touched))
	for i, f := range touched {
		moved[f] = struct{}{}
		if f.class != nil {
			s.live[f] = struct{}{}
			f.load.step(samples[i], queued[i], dt)
		}
	}
	for f := range s.live {
		if _, did := moved[f]; did {
			continue
		}
		f.load.step(f.load.before, 0, dt)
		if f.load.still() {
			f.load = load{before: f.load.before}
			delete(s.live, f)
		}
	}
}

// needs is how long requests may stay here for the classes of flows that have a reservation
// to have it. It comes before the flows' loads take over the samples. Caller holds mu.
func needs(flows []*Flow, samples []stats, dt float64) (out []float64) {
	type usage struct{ peak, inside, rate float64 }
	var of map[*class]usage
	for i, f := range flows {
		if f.class == nil || f.class.granted == 0 {
			continue
		}
		now, was := &samples[i], &f.load.before
		ops := float64(now.ops - was.ops)
		if ops == 0 {
			continue
		}
		if of == nil {
			of = map[*class]usage{}
		}
		units := float64(now.served - was.served)
		u := of[f.class]
		u.peak += float64(now.peak) * units / ops
		u.inside += float64(now.presence-was.presence) / (dt * 1e9)
		u.rate += units / dt
		of[f.class] = u
	}
	for c, u := range of {
		if n := mclock.Need(u.peak, u.inside, u.rate, float64(c.granted)); n > 0 {
			out = append(out, n)
		}
	}
	return out
}

// resize takes over the depth that follows from what was measured. Caller holds mu.
func (s *Service) resize(now int64, m mclock.Measured) {
	was := s.depth.Probing()
	depth := s.depth.Step(m)
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	s.e.s.Resize(depth, s.e.s.Rate())
	switch probing := s.depth.Probing(); {
	case !probing:
		s.e.since = 0
	case !was:
		s.e.since = now
	}
	s.e.kick(now)
}

// plan runs Plan for some classes and lets it count. Caller holds mu.
func (s *Service) plan(classes []*class) {
	if len(classes) == 0 {
		return
	}
	now := s.e.clock()
	loads := make([]ClassLoad, len(classes))
	flows := make([][]*Flow, len(classes))
	for i, c := range classes {
		c.dirty = false
		loads[i].Numbers = c.numbers
		for f := range c.flows {
			flows[i] = append(flows[i], f)
			loads[i].Flows = append(loads[i].Flows, f.measured(now))
		}
	}
	shares := Plan(s.capacity.best(), loads)
	for i, c := range classes {
		for j, f := range flows[i] {
			s.assign(now, f, shares[i].Flows[j])
		}
		s.grant(c, shares[i].Reservation)
	}
}

// measured is what Plan is told of a flow.
func (f *Flow) measured(now int64) FlowLoad {
	l := &f.load
	return FlowLoad{Offered: l.offered, Served: l.served, Bytes: l.moved, Waits: l.waits,
		Stale:   f.polled > 0 && now-f.polled > 3*int64(ttlSteady) && l.still(),
		Maximum: f.told.Maximum, Bandwidth: f.told.Bandwidth}
}

// shortFor is how many plans in a row a flow has to come short before it says so.
const shortFor = int(2 * time.Second / period)

// assign takes over a flow's share and finds its status.
func (s *Service) assign(now int64, f *Flow, share FlowShare) {
	if moved(f.share.Maximum, share.Maximum) || moved(f.share.Bandwidth, share.Bandwidth) {
		f.changed = now
	}
	f.share = share
	if f.short++; !share.Short {
		f.short = 0
	}
	switch _, known := s.policies[f.Policy]; {
	case !f.Policy.IsZero() && !known:
		f.status = sqos.StatusUnknownPolicyID
	case s.capacity.known > 0 && float64(f.class.numbers.Minimum) > s.capacity.known:
		// More than the whole array can ever do.
		f.status = sqos.StatusConfigurationMismatch
	case f.short >= shortFor:
		f.status = sqos.StatusInsufficientThroughput
	default:
		f.status = sqos.StatusOk
	}
}

// moved reports a change by more than a twentieth.
func moved(a, b uint64) bool {
	return a != b && (a == 0 || b == 0 || math.Abs(float64(a)-float64(b)) > float64(a)/20)
}

// grant lets a reservation count that the device can keep.
func (s *Service) grant(c *class, reservation uint64) {
	if c.granted == reservation {
		return
	}
	c.granted = reservation
	rates := c.numbers.rates()
	rates.Reservation = reservation
	s.e.mu.Lock()
	s.e.s.SetRates(s.e.clock(), &c.Class, rates)
	s.e.mu.Unlock()
}

// bury forgets classes that nobody is in any more and that owe nothing.
func (s *Service) bury(now int64) {
	kept := s.empty[:0]
	s.e.mu.Lock()
	for _, c := range s.empty {
		switch {
		case len(c.flows) > 0:
		case c.Owes(now) || c.Queued() > 0:
			kept = append(kept, c)
		case s.classes[c.key] == c:
			delete(s.classes, c.key)
		}
	}
	s.e.mu.Unlock()
	clear(s.empty[len(kept):])
	s.empty = kept
}
