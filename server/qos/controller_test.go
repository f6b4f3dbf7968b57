package qos

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// Properties of every plan, over random classes.
func TestPlan(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		n := Numbers{Maximum: rng.Uint64N(5000), Bandwidth: rng.Uint64N(5000)}
		if n.Maximum > 0 {
			n.Minimum = rng.Uint64N(n.Maximum + 1)
		}
		c := ClassLoad{Numbers: n}
		for range 1 + rng.IntN(12) {
			f := FlowLoad{Offered: rng.Float64() * 2000, Served: rng.Float64() * 2000, Bytes: rng.Float64() * 1e7,
				Waits: rng.IntN(3) == 0, Maximum: rng.Uint64N(3000), Bandwidth: rng.Uint64N(3000)}
			if rng.IntN(6) == 0 {
				f = FlowLoad{Stale: true, Maximum: f.Maximum}
			}
			c.Flows = append(c.Flows, f)
		}
		p := Plan(0, []ClassLoad{c})[0]
		minima, used := uint64(0), 0.0
		for i, f := range p.Flows {
			minima += f.Minimum
			if (f.Maximum > 0) != (n.Maximum > 0) || (f.Bandwidth > 0) != (n.Bandwidth > 0) {
				t.Fatalf("0 means that there is no limit: %+v of %+v", f, n)
			}
			if f.Maximum > n.Maximum || f.Bandwidth > n.Bandwidth || n.Maximum > 0 && f.Minimum > f.Maximum {
				t.Fatalf("%+v of %+v", f, n)
			}
			used += min(float64(f.Maximum), c.Flows[i].Offered)
		}
		if minima > n.Minimum+uint64(len(c.Flows)) {
			t.Fatalf("minima %d of %d", minima, n.Minimum)
		}
		// What the flows would use of their parts exceeds the limit by no more than the parts
		// of those that seem to want little.
		if n.Maximum > 0 && used > float64(n.Maximum)*1.25+float64(len(c.Flows)) {
			t.Fatalf("%.0f of %d: %+v, %+v", used, n.Maximum, c.Flows, p.Flows)
		}
	}
}

func TestPlanByExample(t *testing.T) {
	waits := FlowLoad{Waits: true, Offered: 1000}
	for _, c := range []struct {
		name  string
		n     Numbers
		flows []FlowLoad
		max   []uint64
		min   []uint64
	}{
		{"one flow has it all", Numbers{Minimum: 100, Maximum: 200}, []FlowLoad{{}}, []uint64{200}, []uint64{100}},
		{"idle ones have equal parts", Numbers{Minimum: 100, Maximum: 2000}, []FlowLoad{{}, {}, {}}, []uint64{666, 666, 666}, []uint64{33, 33, 33}},
		{"a busy one has what the idle leave", Numbers{Maximum: 1200}, []FlowLoad{waits, {}, {}}, []uint64{1200, 100, 100}, nil},
		{"two busy ones share", Numbers{Maximum: 1200}, []FlowLoad{waits, waits, {Offered: 200}}, []uint64{500, 500, 250}, nil},
		{"who has more than its part without asking for more gives it back", Numbers{Maximum: 900}, []FlowLoad{{Offered: 700, Maximum: 900}, waits}, []uint64{450, 450}, nil},
		{"a stale one counts for nothing", Numbers{Maximum: 1200}, []FlowLoad{waits, {Stale: true}}, []uint64{1200, 300}, nil},
		{"no limit is none", Numbers{Minimum: 80}, []FlowLoad{waits, {}}, []uint64{0, 0}, []uint64{64, 16}},
	} {
		p := Plan(0, []ClassLoad{{c.n, c.flows}})[0]
		for i, f := range p.Flows {
			if f.Maximum != c.max[i] || c.min != nil && f.Minimum != c.min[i] {
				t.Errorf("%s: flow %d has %+v, want %d", c.name, i, f, c.max[i])
			}
		}
	}
}

// Promises beyond what the device can do are cut in proportion; a flow that does not ask
// is promised nothing and so costs nothing.
func TestDegradation(t *testing.T) {
	busy := []FlowLoad{{Waits: true, Offered: 100}}
	classes := []ClassLoad{{Numbers{Minimum: 600}, busy}, {Numbers{Minimum: 1200}, busy}, {Numbers{Minimum: 5000}, []FlowLoad{{}}}}
	p := Plan(1000, classes)
	if p[0].Reservation != 316 || p[1].Reservation != 633 {
		t.Errorf("%d and %d of 1000", p[0].Reservation, p[1].Reservation)
	}
	if p := Plan(2000, classes); p[0].Reservation != 600 || p[1].Reservation != 1200 {
		t.Errorf("%d and %d of 2000", p[0].Reservation, p[1].Reservation)
	}
	if !p[0].Flows[0].Short {
		t.Error("a flow that gets nothing does not come short")
	}
}

// Ten thousand flows in a thousand aggregated policies, whose hosts obey what they are told when
// they last asked. Half of each policy stops: after two times to live the others have what it
// leaves. Then it comes back, and has its part again.
func TestHostsThatObey(t *testing.T) {
	const (
		limit, perClass = 1000, 10
		moving          = ttlMoving
	)
	type host struct {
		want, told float64
		asks       time.Duration // when it asks next
		avg        float64
	}
	rng := rand.New(rand.NewPCG(3, 4))
	hosts := make([]host, 10_000)
	loads := make([]ClassLoad, len(hosts)/perClass)
	for i := range loads {
		loads[i] = ClassLoad{Numbers{Maximum: limit}, make([]FlowLoad, perClass)}
	}
	for i := range hosts {
		hosts[i] = host{want: 5000, told: limit / perClass, asks: time.Duration(rng.Int64N(int64(ttlShared)))}
	}
	now := time.Duration(0)
	run := func(d time.Duration) {
		for end := now + d; now < end; now += period {
			for i := range hosts {
				h := &hosts[i]
				f := &loads[i/perClass].Flows[i%perClass]
				keep := math.Exp(-period.Seconds() / quick)
				h.avg = h.avg*keep + min(h.want, h.told)*(1-keep)
				f.Offered, f.Served = h.avg, h.avg
				f.Maximum = uint64(h.told)
			}
			shares := Plan(0, loads)
			for i := range hosts {
				if h := &hosts[i]; now >= h.asks {
					h.told = float64(shares[i/perClass].Flows[i%perClass].Maximum)
					h.asks = now + max(time.Second, moving)
				}
			}
		}
	}
	check := func(what string, first, n int, want float64) {
		t.Helper()
		for c := range loads {
			sum := 0.0
			for i := first; i < first+n; i++ {
				h := &hosts[c*perClass+i]
				sum += min(h.want, h.told)
			}
			if sum < want*0.97 {
				t.Fatalf("%s: policy %d: %.0f of %.0f", what, c, sum, want)
			}
		}
	}
	run(10 * time.Second)
	check("all busy", 0, perClass, limit)
	for i := range hosts {
		if i%perClass < perClass/2 {
			hosts[i].want = 0
		}
	}
	run(2 * ttlShared)
	check("half left", perClass/2, perClass/2, limit)
	for i := range hosts {
		hosts[i].want = 5000
	}
	run(2 * ttlShared)
	check("half came back", 0, perClass/2, limit/2)
}
