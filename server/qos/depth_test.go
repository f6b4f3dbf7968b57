package qos

import "testing"

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
		var d depth
		d.init(0)
		n := d.now
		for range 400 {
			n = d.step(c.device(n), true)
		}
		if d.now < c.least || d.now > c.most {
			t.Errorf("%s: depth %d, want %d to %d", c.name, d.now, c.least, c.most)
		}
		if d.step(0, false); d.now < c.least {
			t.Errorf("%s: idleness changes it to %d", c.name, d.now)
		}
	}
	var d depth
	d.init(7)
	for range 100 {
		if d.step(1e9, true) != 7 {
			t.Fatal("what is configured does not change")
		}
	}
}
