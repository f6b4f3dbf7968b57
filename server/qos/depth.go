package qos

import "time"

// depth finds how many requests the device needs to be busy. More of them there get no more
// done and can no longer be overtaken; so the depth is what keeps their time in the device
// within a few times what it is when there are few. That is measured anew now and then,
// while the device is contended, by letting in only few for a moment.
type depth struct {
	fixed bool
	now   int
	base  float64 // ns in the device when few are there, 0: not known
	steps int     // contended ones since base was measured
	probe bool    // it is being measured: what was in the device before does not count
}

const (
	minDepth = 8
	// stretch is how many times base a request may take in the device, and spare is added: below it
	// nobody feels a difference.
	stretch = 3
	spare   = float64(500 * time.Microsecond)
	// probeEvery is how many contended steps lie between measurements of base.
	probeEvery = int(10 * time.Second / period)
)

func (d *depth) init(fixed int) {
	if d.fixed, d.now = fixed > 0, fixed; fixed == 0 {
		d.now = MaxDepth
	}
}

// step returns the depth for the next step, given the average time that requests spent in
// the device in the last one.
func (d *depth) step(latency float64, contended bool) int {
	switch {
	case d.fixed:
		return d.now
	case latency == 0 && d.probe:
		return minDepth
	case latency == 0:
		return d.now
	}
	if d.probe {
		d.base, d.steps, d.probe = latency, 0, false
		return d.now
	}
	if !contended {
		return d.now
	}
	if d.steps++; d.base == 0 || d.steps >= probeEvery {
		d.probe = true
		return minDepth
	}
	next := float64(d.now) * min(max((d.base*stretch+spare)/latency, 0.5), 1.25)
	d.now = min(max(int(next+0.5), minDepth), MaxDepth)
	return d.now
}
