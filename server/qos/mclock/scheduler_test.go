package mclock

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

// The figures that simulations are held to.
const (
	precision = 0.03 // of a limit, over 10 s
	excess    = 1.10 // of a limit, in any second
	kept      = 0.97 // of a reservation
)

// meter watches one limit on dispatch times.
type meter struct {
	limit  uint64
	units  uint64
	recent []int64 // a ring: as many dispatches as a second may see, and one
	next   int
	worst  int64 // the shortest time in which that many were seen
}

func newMeter(limit, perRequest uint64) *meter {
	n := int(float64(limit)*excess/float64(perRequest)) + 1
	return &meter{limit: limit, recent: make([]int64, n), worst: math.MaxInt64}
}

func (m *meter) saw(now int64, units uint64) {
	m.units += units
	if old := m.recent[m.next]; old != 0 {
		m.worst = min(m.worst, now-old)
	}
	m.recent[m.next] = now
	m.next = (m.next + 1) % len(m.recent)
}

func (m *meter) check(t *testing.T, who string, over time.Duration) {
	t.Helper()
	want := float64(m.limit) * over.Seconds()
	if got := float64(m.units); math.Abs(got-want) > want*precision+1 {
		t.Errorf("%s: %.0f units in %v, limit %d/s", who, got, over, m.limit)
	}
	if m.worst < second {
		t.Errorf("%s: %d requests within %v, limit %d/s", who, len(m.recent), time.Duration(m.worst), m.limit)
	}
}

// Ten thousand flows, each with a limit of its own, stay within it and get it.
func TestLimits(t *testing.T) {
	w := newWorld(1, 256, 0, 10_000_000)
	meters := map[*client]*meter{}
	for i := range many {
		limit := uint64(20 + w.rng.IntN(10))
		if i%1000 == 0 {
			limit = 2000
		}
		class, c := new(Class), &client{units: 1, depth: 4, think: int64(w.rng.IntN(int(3 * time.Millisecond)))}
		w.SetRates(w.now, class, Rates{Limit: limit})
		w.add(c, class)
		if limit == 2000 {
			c.depth, c.think = 32, 0
			w.resume(c)
		}
		meters[c] = newMeter(limit, 1)
	}
	w.run(time.Second) // a beginning is no steady state
	w.served = func(c *client, r *Request) { meters[c].saw(w.now, uint64(r.Units)) }
	w.run(10 * time.Second)
	n := 0
	for _, m := range meters {
		m.check(t, fmt.Sprintf("flow %d", n), 10*time.Second)
		n++
	}
}

// A machine that stands still for a moment now and then makes up for it within the bounds.
func TestLimitsOnABusyMachine(t *testing.T) {
	w := newWorld(10, 256, 0, 1_000_000)
	w.every, w.stall = int64(4*time.Second), int64(200*time.Millisecond)
	meters := map[*client]*meter{}
	for _, limit := range []uint64{50, 200, 1000, 2000} {
		class, c := new(Class), &client{units: 1, depth: 32}
		w.SetRates(w.now, class, Rates{Limit: limit})
		w.add(c, class)
		meters[c] = newMeter(limit, 1)
	}
	w.run(3 * time.Second)
	w.served = func(c *client, r *Request) { meters[c].saw(w.now, uint64(r.Units)) }
	w.run(10 * time.Second)
	for _, m := range meters {
		m.check(t, fmt.Sprintf("limit %d", m.limit), 10*time.Second)
	}
}

func TestBandwidthLimit(t *testing.T) {
	w := newWorld(2, 64, 0, 1_000_000)
	class, c := new(Class), &client{units: 8, depth: 8}
	const bandwidth = 20 << 20
	w.SetRates(w.now, class, Rates{Limit: 100_000, Bandwidth: bandwidth})
	w.add(c, class)
	w.run(10 * time.Second)
	if got := float64(c.got) * 8192 / 10; math.Abs(got-bandwidth) > bandwidth*precision {
		t.Errorf("%.0f bytes a second, limit %d", got, bandwidth)
	}
}

// A thousand policies of ten flows each hold their sums.
func TestAggregatedLimits(t *testing.T) {
	w := newWorld(3, 256, 0, 10_000_000)
	of := map[*Class]*meter{}
	for range many / 10 {
		class := new(Class)
		limit := uint64(100 + w.rng.IntN(50))
		w.SetRates(w.now, class, Rates{Limit: limit})
		of[class] = newMeter(limit, 1)
		for range 10 {
			w.add(&client{units: 1, depth: 1 + w.rng.IntN(4)}, class)
		}
	}
	w.run(time.Second)
	w.served = func(c *client, r *Request) { of[c.Class()].saw(w.now, 1) }
	w.run(10 * time.Second)
	n := 0
	for _, m := range of {
		m.check(t, fmt.Sprintf("policy %d", n), 10*time.Second)
		n++
	}
}

// A hundred flows of ten thousand have reservations, together 60 % of what the device can do;
// the others are greedy. Twice: with a scheduler that knows the device's rate and with one
// that knows only how many requests it takes.
func TestReservations(t *testing.T) {
	for _, known := range []uint64{0, 190_000} {
		w := newWorld(4, 128, known, 200_000)
		promised := map[*client]uint64{}
		for i := range many {
			class, c := new(Class), &client{units: 1, depth: 32}
			if i%100 == 0 {
				promised[c] = uint64(600 + w.rng.IntN(1200))
				w.SetRates(w.now, class, Rates{Reservation: promised[c]})
			}
			w.add(c, class)
		}
		w.run(time.Second)
		for c := range promised {
			c.got = 0
		}
		w.run(5 * time.Second)
		for c, r := range promised {
			if got := float64(c.got) / 5; got < float64(r)*kept {
				t.Errorf("rate %d: %.0f a second, reserved %d", known, got, r)
			}
		}
	}
}

// What some leave, others have within 200 ms: within a policy and among flows without one.
func TestUnusedShareIsRedistributed(t *testing.T) {
	const window = 200 * time.Millisecond
	for _, c := range []struct {
		name  string
		limit uint64 // of one class for all; 0: a class each
	}{{"in a policy", 10_000}, {"by weight", 0}} {
		w := newWorld(5, 64, 10_000, 100_000)
		var all []*client
		shared := new(Class)
		w.SetRates(w.now, shared, Rates{Limit: c.limit})
		for range 10 {
			class := shared
			if c.limit == 0 {
				class = new(Class)
			}
			all = append(all, &client{units: 1, depth: 16})
			w.add(all[len(all)-1], class)
		}
		w.run(2 * time.Second)
		for _, idle := range all[:5] {
			idle.off = true
		}
		w.run(window)
		take := func() (sum uint64) {
			for _, a := range all {
				sum += a.got
				a.got = 0
			}
			return sum
		}
		take()
		w.run(time.Second)
		for _, busy := range all[5:] {
			if got := float64(busy.got); math.Abs(got-2000) > 2000*precision {
				t.Errorf("%s: %.0f a second for one of five, 10000 in all", c.name, got)
			}
		}
		if sum := float64(take()); math.Abs(sum-10_000) > 10_000*precision {
			t.Errorf("%s: %.0f in all", c.name, sum)
		}
		for _, idle := range all[:5] {
			w.resume(idle)
		}
		w.run(window)
		take()
		w.run(time.Second)
		for i, a := range all {
			if got := float64(a.got); math.Abs(got-1000) > 1000*2*precision {
				t.Errorf("%s: %.0f a second for flow %d of ten", c.name, got, i)
			}
		}
	}
}

// A victim that asks for one thing at a time, within its fair share, under 20 greedy neighbours at depth 32 with
// requests eight times as large: with the scheduler's rate at half of what the device can do its
// 99th percentile stays within 5 ms; without a scheduler it is what 640 requests take.
func TestVictim(t *testing.T) {
	const speed = 20_000
	p99 := func(depth int, rate uint64, neighbours int) time.Duration {
		w := newWorld(8, depth, rate, speed)
		victim := &client{units: 1, depth: 1, think: int64(3 * time.Millisecond), took: []int64{}}
		w.add(victim, new(Class))
		for range neighbours {
			w.add(&client{units: 8, depth: 32}, new(Class))
		}
		w.run(10 * time.Second)
		slices.Sort(victim.took)
		return time.Duration(victim.took[len(victim.took)*99/100])
	}
	quiet, with, without := p99(16, speed/2, 0), p99(16, speed/2, 20), p99(1<<20, 0, 20)
	t.Logf("quiet %v, with the scheduler %v, without %v", quiet, with, without)
	if with > max(5*quiet, 5*time.Millisecond) {
		t.Errorf("%v, quiet %v", with, quiet)
	}
	if without < 100*time.Millisecond {
		t.Errorf("%v without a scheduler: the test shows nothing", without)
	}
}

// Shares are by weight, whatever the size of requests and the depth of queues.
func TestWeights(t *testing.T) {
	w := newWorld(6, 32, 0, 50_000)
	weights := []uint32{5, 100, 100, 200, 400}
	var all []*client
	for i, weight := range weights {
		class, c := new(Class), &client{units: uint32(1 + i*3), depth: 16 << i}
		w.SetRates(w.now, class, Rates{Weight: weight})
		w.add(c, class)
		all = append(all, c)
	}
	w.run(10 * time.Second)
	for i, c := range all {
		if want := 500_000 * float64(weights[i]) / 805; math.Abs(float64(c.got)-want) > want*precision {
			t.Errorf("weight %d got %d units, want %.0f", weights[i], c.got, want)
		}
	}
}

// A reservation is no credit for idle time, a limit is not lifted by one, and work-conserving
// means that a lone flow has everything.
func TestEdges(t *testing.T) {
	w := newWorld(7, 32, 20_000, 100_000)
	class, lone := new(Class), &client{units: 1, depth: 32}
	w.SetRates(w.now, class, Rates{Reservation: 100})
	w.add(lone, class)
	w.run(time.Second)
	if lone.got < 20_000*97/100 {
		t.Errorf("a lone flow got %d of 20000", lone.got)
	}
	w.SetRates(w.now, class, Rates{Reservation: 1000, Limit: 1000})
	lone.got = 0
	w.run(time.Second)
	if lone.got > 1100 || lone.got < 900 {
		t.Errorf("limit 1000: %d", lone.got)
	}
	lone.off = true
	w.run(time.Minute)
	lone.got = 0
	w.resume(lone)
	w.run(time.Second)
	if lone.got > 1100 {
		t.Errorf("%d after a minute's rest, limit 1000", lone.got)
	}
}

// What waits under an old limit is not held for the time that the old one would take.
func TestRaisedLimitCountsAtOnce(t *testing.T) {
	s := New(1024, 0)
	class, f := new(Class), new(Flow)
	s.SetRates(0, class, Rates{Limit: 1})
	s.Join(0, f, class)
	now := int64(time.Hour)
	if first := (&Request{Flow: f, Units: 1000}); !s.Arrive(now, first) {
		t.Fatal("the first waits")
	}
	second := &Request{Flow: f, Units: 1}
	if s.Arrive(now, second) {
		t.Fatal("the second does not wait")
	}
	s.SetRates(now, class, Rates{Limit: 1_000_000})
	at, ok := s.Wake()
	if !ok || at > now+int64(10*time.Millisecond) {
		t.Fatalf("it would go %v later", time.Duration(at-now))
	}
	if s.Next(at) != second {
		t.Error("it does not go then")
	}
}

// Joining another class takes what is queued along; cancelling leaves no trace.
func TestJoinAndCancel(t *testing.T) {
	s := New(1, 0)
	slow, fast := new(Class), new(Class)
	var f, g Flow
	s.SetRates(1, slow, Rates{Limit: 1})
	s.Join(1, &f, slow)
	s.Join(1, &g, fast)
	holder := &Request{Flow: &g, Units: 1}
	if !s.Arrive(1, holder) {
		t.Fatal("an idle device")
	}
	var rs [4]Request
	for i := range rs {
		rs[i] = Request{Flow: &f, Units: 1}
		if s.Arrive(1, &rs[i]) {
			t.Fatal("the device takes one")
		}
	}
	if !s.Cancel(&rs[1]) || s.Cancel(&rs[1]) || s.Cancel(holder) {
		t.Error("cancelling")
	}
	s.Join(2, &f, fast)
	for _, want := range []*Request{&rs[0], &rs[2], &rs[3]} {
		if s.Next(3) != nil {
			t.Fatal("the device is full")
		}
		s.Done(holder)
		got := s.Next(3)
		if got != want {
			t.Fatalf("out of order")
		}
		holder = got
	}
	s.Done(holder)
	if s.Queued() != 0 || s.Serving() != 0 || slow.Queued() != 0 || fast.Queued() != 0 || s.Backlogged() {
		t.Error("something is left")
	}
}

// BenchmarkRequest is what the scheduler costs a request with a thousand flows: each of
// its own class, half of them with a limit, every one with requests waiting.
func BenchmarkRequest(b *testing.B) {
	for _, queued := range []bool{false, true} {
		b.Run(fmt.Sprintf("queued=%v", queued), func(b *testing.B) {
			s := New(1<<30, 0)
			if queued {
				s = New(64, 0)
			}
			flows := make([]Flow, 1000)
			rs := make([]Request, 32*len(flows))
			now := int64(time.Hour)
			for i := range flows {
				c := new(Class)
				r := Rates{}
				if i%2 == 0 {
					r = Rates{Limit: 1_000_000, Reservation: 10}
				}
				s.SetRates(now, c, r)
				s.Join(now, &flows[i], c)
			}
			var inside []*Request
			if queued {
				for i := range rs {
					rs[i] = Request{Flow: &flows[i%1000], Units: 1, Bytes: 4096}
					if s.Arrive(now, &rs[i]) {
						inside = append(inside, &rs[i])
					}
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			if !queued {
				for i := range b.N {
					now += 1000
					r := &rs[i%1000]
					*r = Request{Flow: &flows[i%1000], Units: 1, Bytes: 4096}
					if !s.Arrive(now, r) {
						b.Fatal("waits")
					}
					s.Done(r)
				}
				return
			}
			for i := range b.N {
				now += 1000
				r := inside[i%len(inside)]
				s.Done(r)
				s.Arrive(now, r)
				if n := s.Next(now); n != nil {
					inside[i%len(inside)] = n
				}
			}
		})
	}
}

// A server that goes down answers what it has read.
func TestOpenLetsEverythingGo(t *testing.T) {
	s := New(1, 1)
	class, f := new(Class), new(Flow)
	s.SetRates(1, class, Rates{Limit: 1})
	s.Join(1, f, class)
	rs := make([]Request, 100)
	for i := range rs {
		rs[i] = Request{Flow: f, Units: 1000}
		if s.Arrive(1, &rs[i]) != (i == 0) {
			t.Fatal(i)
		}
	}
	s.Open(2)
	for i := 1; i < len(rs); i++ {
		if s.Next(2) != &rs[i] {
			t.Fatalf("request %d waits", i)
		}
	}
	if late := (&Request{Flow: f, Units: 1}); !s.Arrive(2, late) {
		t.Error("one that comes later waits")
	}
}
