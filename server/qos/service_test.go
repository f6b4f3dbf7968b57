package qos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/sqos"
	"gabion/store"
	"gabion/store/memvol"
)

func open(t testing.TB, vol store.Volume, o Options) *Service {
	t.Helper()
	s, err := Open(vol, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type place Place

func (p place) Place() Place { return Place(p) }

// disk is an open with a client that keeps requests in flight.
type disk struct {
	*Binding
	bytes int
	off   atomic.Bool
	took  time.Duration // what the device takes for a request
	dev   *device       // or it waits for a device that does one after the other
	think time.Duration // before the next
	done  atomic.Int64
	units atomic.Int64
}

// io is one of them.
type io struct {
	t  Ticket
	of *disk
}

func (r *io) Admitted() {
	d := r.of
	took := d.took
	if d.dev != nil {
		took = d.dev.take(sqos.Normalized(d.bytes, 8192))
	}
	time.AfterFunc(took, func() {
		d.done.Add(1)
		d.units.Add(int64(sqos.Normalized(d.bytes, 8192)))
		d.service.Done(&r.t)
		switch {
		case d.off.Load():
		case d.think > 0:
			time.AfterFunc(d.think, r.submit)
		default:
			r.submit()
		}
	})
}

// device does so many units a second, one request after the other.
type device struct {
	speed int
	mu    sync.Mutex
	busy  time.Time // guarded by mu
}

func (v *device) take(units int) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	if now := time.Now(); v.busy.Before(now) {
		v.busy = now
	}
	v.busy = v.busy.Add(time.Second * time.Duration(units) / time.Duration(v.speed))
	return time.Until(v.busy)
}

func (r *io) submit() {
	if r.of.Submit(&r.t, r, r.of.bytes, 0) {
		r.Admitted()
	}
}

func (s *Service) disk(owner, path string) *disk {
	return &disk{Binding: s.Bind(owner, place{Share: "vms", Path: path, Client: "10.0.0.1:1"}), bytes: 8192, took: time.Millisecond}
}

func (d *disk) begin(depth int) {
	d.off.Store(false)
	for range depth {
		(&io{of: d}).submit()
	}
}

func (d *disk) must(t testing.TB, r sqos.Request) *sqos.Response {
	t.Helper()
	r.Version = sqos.Version11
	out, _, status := d.Control(r.AppendFixed(nil), 4096)
	if status != ntstatus.Success {
		t.Fatalf("%v: %v", r.Options, status)
	}
	if out == nil {
		return nil
	}
	resp := new(sqos.Response)
	if err := resp.Decode(out); err != nil {
		t.Fatal(err)
	}
	return resp
}

var id = dtyp.MustParseGUID("11111111-2222-4333-8444-555555555555")

func TestPoliciesAreStored(t *testing.T) {
	vol := memvol.New(memvol.Options{})
	s := open(t, vol, Options{})
	for _, c := range []struct {
		p    Policy
		want error
	}{
		{Policy{Name: "gold", ID: id, Kind: Aggregated, Numbers: Numbers{Minimum: 1, Maximum: 2, Bandwidth: 3, Weight: 4}}, nil},
		{Policy{Name: "silver"}, nil},
		{Policy{Name: "GOLD"}, ErrPolicyExists},
		{Policy{Name: "other", ID: id}, ErrPolicyExists},
		{Policy{}, ErrPolicy},
		{Policy{Name: "x", Numbers: Numbers{Minimum: 2, Maximum: 1}}, ErrPolicy},
		{Policy{Name: "x", Numbers: Numbers{Minimum: maxNumber + 1}}, ErrPolicy},
		{Policy{Name: "x", Numbers: Numbers{Weight: 1001}}, ErrPolicy},
	} {
		if _, err := s.AddPolicy(c.p); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", c.p, err, c.want)
		}
	}
	if _, err := s.ChangePolicy(id, func(n *Numbers) { n.Maximum = 9 }); err != nil {
		t.Error(err)
	}
	if _, err := s.ChangePolicy(id, func(n *Numbers) { n.Minimum = 10 }); !errors.Is(err, ErrPolicy) {
		t.Error(err)
	}
	p, err := s.FindPolicy("silver")
	if err != nil || p.ID.IsZero() || s.DeletePolicy(p.ID) != nil || !errors.Is(s.DeletePolicy(p.ID), ErrNoPolicy) {
		t.Errorf("%+v %v", p, err)
	}
	s.Close()
	s = open(t, vol, Options{})
	defer s.Close()
	list := s.Policies()
	if want := (Policy{ID: id, Name: "gold", Kind: Aggregated, Numbers: Numbers{1, 9, 3, 4}}); len(list) != 1 || list[0] != want {
		t.Errorf("%+v", list)
	}
}

// A flow that asks for its minimum and does not get it says so after a while, and no longer
// when it gets it.
func TestInsufficientThroughput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, memvol.New(memvol.Options{}), Options{Depth: 1}) // 1000 a second
		defer s.Close()
		d := s.disk("u", "a")
		ask := sqos.Request{Options: sqos.ProbePolicy | sqos.GetStatus, FlowID: id, Reservation: 5000}
		if r := d.must(t, ask); r.Status != sqos.StatusOk || r.MinimumIoRate != 5000 || r.MaximumIoRate != 0 {
			t.Errorf("%+v", r)
		}
		d.begin(8)
		time.Sleep(6 * time.Second)
		if r := d.must(t, ask); r.Status != sqos.StatusInsufficientThroughput {
			t.Errorf("%v with a fifth of the minimum", r.Status)
		}
		d.must(t, sqos.Request{Options: sqos.SetPolicy, Reservation: 500})
		time.Sleep(6 * time.Second)
		if r := d.must(t, ask); r.Status != sqos.StatusOk {
			t.Errorf("%v with more than the minimum", r.Status)
		}
		d.off.Store(true)
		time.Sleep(time.Second)
	})
}

// What the whole array cannot do is a mistake of whoever configured it.
func TestConfigurationMismatch(t *testing.T) {
	s := open(t, memvol.New(memvol.Options{}), Options{Capacity: 1000})
	defer s.Close()
	d := s.disk("u", "a")
	if r := d.must(t, sqos.Request{Options: sqos.ProbePolicy | sqos.GetStatus, FlowID: id, Reservation: 1001}); r.Status != sqos.StatusConfigurationMismatch {
		t.Errorf("%+v", r)
	}
	if _, err := Open(memvol.New(memvol.Options{}), Options{Depth: -1}); err == nil {
		t.Error("a depth of -1")
	}
}

// Closing and opening again pays nothing off that a class owes.
func TestDebtOutlivesTheOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, memvol.New(memvol.Options{}), Options{})
		defer s.Close()
		if _, err := s.AddPolicy(Policy{Name: "p", ID: id, Kind: Aggregated, Numbers: Numbers{Maximum: 100}}); err != nil {
			t.Fatal(err)
		}
		units := 0
		began := time.Now()
		for range 40 {
			d := s.disk("u", "a")
			d.bytes = 1 << 20 // 128 units
			d.must(t, sqos.Request{Options: sqos.ProbePolicy, FlowID: dtyp.NewGUID(), PolicyID: id})
			d.begin(1)
			time.Sleep(100 * time.Millisecond)
			d.off.Store(true)
			for _, o := range d.Waiting() {
				s.Cancel(&o.(*io).t)
			}
			d.Release()
			units += int(d.units.Load())
		}
		if most := 100*time.Since(began).Seconds() + 128; float64(units) > most {
			t.Errorf("%d units, limit 100 a second for %v", units, time.Since(began))
		}
		time.Sleep(5 * time.Second)
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.classes) != 1 || len(s.flows) != 1 || len(s.empty) != 0 { // the background's
			t.Errorf("%d classes, %d flows, %d empty ones are left", len(s.classes), len(s.flows), len(s.empty))
		}
	})
}

// A victim within its share, under 20 greedy neighbours at depth 32 with requests of 64 KiB: its
// 99th percentile from decoded to answered, by the service's own measure, in virtual time.
func TestVictim(t *testing.T) {
	const speed = 20_000
	p99 := func(o Options, neighbours int) (ms float64) {
		synctest.Test(t, func(t *testing.T) {
			s := open(t, memvol.New(memvol.Options{}), o)
			defer s.Close()
			dev := &device{speed: speed}
			all := []*disk{s.disk("u", "victim")}
			all[0].think = 3 * time.Millisecond
			for i := range neighbours {
				all = append(all, s.disk("u", fmt.Sprint("greedy", i)))
				all[i+1].bytes = 64 << 10
			}
			for i, d := range all {
				d.dev = dev
				d.begin(1 + 31*min(i, 1))
			}
			time.Sleep(12 * time.Second)
			for _, v := range s.Flows() {
				if v.Path == "victim" {
					ms = v.P99 / 1000
				}
			}
			for _, d := range all {
				d.off.Store(true)
			}
			time.Sleep(2 * time.Second)
		})
		return ms
	}
	quiet, half := p99(Options{Capacity: speed / 2}, 0), p99(Options{Capacity: speed / 2}, 20)
	measured, without := p99(Options{}, 20), p99(Options{Depth: 1 << 16}, 20)
	t.Logf("quiet %.2f ms, capacity at half of saturation %.2f ms, depth found by measuring %.2f ms, without a scheduler %.2f ms", quiet, half, measured, without)
	if half > max(5*quiet, 5) {
		t.Errorf("%.2f ms with the scheduler, %.2f when quiet", half, quiet)
	}
	if without < 100 {
		t.Errorf("%.2f ms without a scheduler: the test shows nothing", without)
	}
}

// Background work has what others leave, a little when they leave nothing, and everything
// when nobody wants anything.
func TestBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, memvol.New(memvol.Options{}), Options{Capacity: 1000})
		defer s.Close()
		stop := make(chan struct{})
		var turns atomic.Int64
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				default:
				}
				s.Background(8192, stop)
				turns.Add(1)
			}
		}()
		d := s.disk("u", "a")
		d.begin(16)
		time.Sleep(time.Second)
		turns.Store(0)
		d.done.Store(0)
		time.Sleep(10 * time.Second)
		if share := float64(turns.Load()) / float64(turns.Load()+d.done.Load()); share < 0.03 || share > 0.07 {
			t.Errorf("background has %.1f %% of a busy array, its weight is 5 beside 100", share*100)
		}
		d.off.Store(true)
		time.Sleep(time.Second)
		turns.Store(0)
		time.Sleep(time.Second)
		if turns := turns.Load(); turns < 900 {
			t.Errorf("%d turns of 1000 with nobody else", turns)
		}
		close(stop)
		<-done
	})
}

// Who fills the array is named when others wait for it, and nobody is otherwise.
func TestNoisyNeighbour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, memvol.New(memvol.Options{}), Options{Depth: 4})
		defer s.Close()
		quiet, noisy := s.disk("u", "quiet"), s.disk("u", "noisy")
		quiet.took, noisy.took = 10*time.Millisecond, 10*time.Millisecond
		quiet.begin(1)
		time.Sleep(3 * time.Second)
		if top := s.Top(0); len(top.Noisy) != 0 || len(top.Victims) != 0 || top.Contended {
			t.Errorf("alone: %+v", top)
		}
		noisy.begin(64)
		time.Sleep(3 * time.Second)
		top := s.Top(1)
		if len(top.Noisy) != 1 || top.Noisy[0].Path != "noisy" || len(top.Victims) != 1 || top.Victims[0].Path != "quiet" || !top.Contended {
			t.Errorf("%+v", top)
		}
		if len(top.Flows) != 1 || top.Flows[0].Path != "noisy" || top.Capacity < 300 || top.Capacity > 450 {
			t.Errorf("%+v", top)
		}
		quiet.off.Store(true)
		noisy.off.Store(true)
		time.Sleep(time.Second)
	})
}

// A flow without id is that of one client's opens of one file; a host's takes its place.
func TestImplicitFlows(t *testing.T) {
	s := open(t, memvol.New(memvol.Options{}), Options{})
	defer s.Close()
	count := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.flows) - 1
	}
	a, b, c := s.disk("u", "a"), s.disk("u", "A"), s.disk("u", "c")
	for _, d := range []*disk{a, b, c} {
		d.off.Store(true)
		d.begin(0)
		var t Ticket
		d.Submit(&t, &io{of: d}, 1, 0)
		s.Done(&t)
	}
	if count() != 2 {
		t.Errorf("%d flows", count())
	}
	a.must(t, sqos.Request{Options: sqos.SetLogicalFlowID, FlowID: id})
	if count() != 3 {
		t.Errorf("%d flows", count())
	}
	for _, d := range []*disk{a, b, c} {
		d.Release()
	}
	if count() != 0 {
		t.Errorf("%d flows of no open", count())
	}
	var ticket Ticket
	if !a.Submit(&ticket, nil, 1, 0) || ticket.Taken() {
		t.Error("an open that has ended takes a ticket")
	}
}

// Hosts cannot make the monitoring grow, and no two series have the same labels.
func TestMetricsAreBounded(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	s := open(t, memvol.New(memvol.Options{}), Options{Metrics: registry})
	defer s.Close()
	for i := range 1000 {
		d := s.disk(fmt.Sprint("u", i%3), fmt.Sprint("disk", i/2))
		d.must(t, sqos.Request{Options: sqos.SetLogicalFlowID, FlowID: dtyp.GUID{byte(i), byte(i >> 8), 1}})
		if i < 500 {
			if _, err := s.AddPolicy(Policy{Name: fmt.Sprint("p", i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range families {
		n += len(f.Metric)
	}
	if most := 10*(flowSeries+1) + 4*policySeries + 4; n > most || n < most/2 {
		t.Errorf("%d series, at most %d", n, most)
	}
}

// Whatever a host says, it gets a status of the specification; a request that fails leaves
// no flow behind.
func FuzzControl(f *testing.F) {
	r := sqos.Request{Version: sqos.Version11, Options: sqos.AllOptions, FlowID: id, Limit: 9}
	f.Add(r.AppendNamed(nil, "vm", "host"), 96, false)
	r.Options = sqos.ProbePolicy
	f.Add(r.AppendNamed(nil, "vm", "host"), 0, true)
	s, err := Open(memvol.New(memvol.Options{}), Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, message []byte, room int, bound bool) {
		d := s.disk("u", "a")
		defer d.Release()
		if bound {
			d.must(t, sqos.Request{Options: sqos.SetLogicalFlowID, FlowID: dtyp.GUID{9}})
		}
		before := d.flow.Load()
		out, changed, status := d.Control(message, room)
		switch status {
		case ntstatus.Success:
			if out != nil && len(out) > room {
				t.Errorf("%d bytes in room for %d", len(out), room)
			}
		case ntstatus.InvalidParameter, ntstatus.NotFound, ntstatus.RevisionMismatch:
			if changed || d.flow.Load() != before || out != nil {
				t.Errorf("%v, and something has changed", status)
			}
		default:
			t.Errorf("status %v", status)
		}
	})
}

// BenchmarkRequest is what the whole enforcer costs a request with a thousand flows, half of
// which have numbers: two locks, two looks at the clock, the statistics.
func BenchmarkRequest(b *testing.B) {
	s := open(b, memvol.New(memvol.Options{}), Options{})
	defer s.Close()
	disks := make([]*disk, 1000)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range disks {
		disks[i] = s.disk("u", fmt.Sprint(i))
		if i%2 == 0 {
			r := sqos.Request{Version: sqos.Version11, Options: sqos.ProbePolicy, FlowID: dtyp.GUID{byte(i), byte(i >> 8), 1}, Limit: 1e9, Reservation: 10}
			disks[i].Control(r.AppendFixed(nil), 0)
		}
	}
	r := &io{}
	b.ReportAllocs()
	defer reportCPU(b)()
	for b.Loop() {
		r.of = disks[rng.IntN(len(disks))]
		if !r.of.Submit(&r.t, r, 8192, s.Clock()) {
			b.Fatal("it waits")
		}
		s.Done(&r.t)
	}
}

// BenchmarkQueued is the same when every request waits: a thousand flows with 32 requests
// each before a device that takes 64.
func BenchmarkQueued(b *testing.B) {
	s := open(b, memvol.New(memvol.Options{}), Options{Depth: 64})
	defer s.Close()
	ring := &ring{}
	for i := range 1000 {
		d := s.disk("u", fmt.Sprint(i))
		if i%2 == 0 {
			r := sqos.Request{Version: sqos.Version11, Options: sqos.ProbePolicy, FlowID: dtyp.GUID{byte(i), byte(i >> 8), 1}, Limit: 1e9, Reservation: 10}
			d.Control(r.AppendFixed(nil), 0)
		}
		for range 32 {
			q := &queued{of: d, ring: ring}
			if d.Submit(&q.t, q, 8192, 0) {
				ring.ready = append(ring.ready, q)
			}
		}
	}
	b.ReportAllocs()
	defer reportCPU(b)()
	for b.Loop() {
		if len(ring.ready) == 0 {
			b.Fatal("nothing goes")
		}
		q := ring.ready[0]
		ring.ready = append(ring.ready[:0], ring.ready[1:]...)
		s.Done(&q.t)
		if q.of.Submit(&q.t, q, 8192, s.Clock()) {
			ring.ready = append(ring.ready, q)
		}
	}
}

// reportCPU says how much processor time an operation took, which the machine's other work does not change
// as it changes time. What the controller did meanwhile is included.
func reportCPU(b *testing.B) func() {
	used := func() time.Duration {
		var r syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_SELF, &r) //nolint:errcheck // it cannot fail for oneself
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}

type ring struct{ ready []*queued }

type queued struct {
	t    Ticket
	of   *disk
	ring *ring
}

func (q *queued) Admitted() { q.ring.ready = append(q.ring.ready, q) }
