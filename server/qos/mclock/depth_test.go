package mclock

import (
	"math"
	"testing"
	"time"
)

// A device that does k things at a time, each in a unit of time, is kept busy and no more; one
// that takes any number at once is given any number.
func TestDepth(t *testing.T) {
	for _, c := range []struct {
		name   string
		device func(n int) float64 // latency with n in it, in ns
		least  int
		most   int
	}{
		{"two processors", func(n int) float64 { return 100e3 * max(float64(n)/2, 1) }, 2, 40},
		{"a slow disk", func(n int) float64 { return 5e6 * max(float64(n)/16, 1) }, 16, 60},
		{"commit groups", func(n int) float64 { return 5e6 + 10e3*float64(n) }, MaxDepth, MaxDepth},
	} {
		d := NewDepth(0)
		n := d.Now()
		for range 400 {
			n = d.Step(Measured{Latency: c.device(n), Inside: float64(n), Contended: true})
		}
		if d.Now() < c.least || d.Now() > c.most {
			t.Errorf("%s: depth %d, want %d to %d", c.name, d.Now(), c.least, c.most)
		}
		if d.Step(Measured{}); d.Now() < c.least {
			t.Errorf("%s: idleness changes it to %d", c.name, d.Now())
		}
	}
	d := NewDepth(7)
	for range 100 {
		if d.Step(Measured{Latency: 1e9, Inside: 7, Contended: true}) != 7 {
			t.Fatal("what is configured does not change")
		}
	}
}

// devices are what the array may stand on, each with how much it can do at most.
var devices = []struct {
	name     string
	parallel int
	service  func(*world) int64
	group    bool // a commit group: all that came while the last one was written are one
	speed    float64
}{
	{"two processors", 2, func(*world) int64 { return int64(80 * time.Microsecond) }, false, 25_000},
	{"a flash disk", 32, func(w *world) int64 { return int64(600*time.Microsecond) + w.rng.Int64N(int64(400*time.Microsecond)) }, false, 40_000},
	{"a slow disk", 16, func(w *world) int64 { return int64(2*time.Millisecond) + w.rng.Int64N(int64(6*time.Millisecond)) }, false, 3_200},
	{"one spindle", 1, func(w *world) int64 { return int64(4*time.Millisecond) + w.rng.Int64N(int64(4*time.Millisecond)) }, false, 166},
	{"commit groups", 1, func(*world) int64 { return int64(5 * time.Millisecond) }, true, 15_000},
}

// Nobody tells what the device can do. A flow that was promised a part of it has that, while 20
// greedy ones with 32 requests each compete, and the device is kept as busy as without a
// scheduler. With 4 greedy ones nobody waits for a place before the depth is found.
func TestReservationsOnDevicesNobodyKnows(t *testing.T) {
	for _, dev := range devices {
		for _, c := range []struct {
			neighbours, depth int
			part              float64 // of what the device can do
		}{{20, 32, 0.1}, {20, 32, 0.5}, {4, 32, 0.5}, {20, 4, 0.02}} {
			if !thorough && c.part != 0.5 && !dev.group {
				continue
			}
			if dev.group && c.part*dev.speed > 0.8*float64(c.depth)/0.010 {
				continue // so few requests, each of which takes two groups, are no faster on an idle device
			}
			w := newWorld(9, MaxDepth, 0, 1)
			w.device(dev.parallel, dev.service, dev.group)
			w.find(250 * time.Millisecond)
			class, c1 := new(Class), &client{units: 1, depth: c.depth}
			promised := uint64(dev.speed * c.part)
			w.SetRates(w.now, class, Rates{Reservation: promised})
			w.add(c1, class)
			var all []*client
			for range c.neighbours {
				all = append(all, &client{units: 1, depth: 32})
				w.add(all[len(all)-1], new(Class))
			}
			w.run(3 * time.Second)
			c1.got = 0
			for _, a := range all {
				a.got = 0
			}
			w.run(4 * time.Second)
			sum := float64(c1.got)
			for _, a := range all {
				sum += float64(a.got)
			}
			got, use := float64(c1.got)/4/float64(promised), sum/4/dev.speed
			t.Logf("%s, %d neighbours: %.1f %% of %d reserved, the device %.0f %% busy, depth %d", dev.name, c.neighbours, got*100, promised, use*100, w.Depth())
			if got < kept {
				t.Errorf("%s, %d neighbours: %.1f %% of %d reserved", dev.name, c.neighbours, got*100, promised)
			}
			if least := 0.9; use < least && !dev.group {
				t.Errorf("%s: %.0f %% busy", dev.name, use*100)
			}
		}
	}
}

// A reservation that its client cannot use, since it has one request at a time and thinks in between,
// does not starve the device.
func TestNeedIsNotWhatNobodyCanMeet(t *testing.T) {
	if n := Need(1, 0.05, 90, 1000); n != 0 {
		t.Errorf("a client that keeps its one request for 10 ms needs %v", n)
	}
	if n := Need(32, 32, 500, 1000); math.Abs(n/1e6-32*0.8) > 0.01 {
		t.Errorf("32 at a time for 1000 a second may take 32 ms: %v", n)
	}
	if n := Need(32, 16, 1600, 1600); math.Abs(n/1e6-10*0.8) > 0.01 {
		t.Errorf("half of the time elsewhere: %v", n)
	}
}
