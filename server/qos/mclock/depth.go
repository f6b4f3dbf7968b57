package mclock

import "time"

// Depth finds how many requests a device needs to be busy. More of them there get no more
// done and can no longer be overtaken, so that no order of this package helps those that come
// later. It bounds their time in the device: to a few times what it is when there are few, and
// to what the reservations allow (see Need). What it is when there are few is measured anew
// now and then, while the device is busy, by letting in only few for a moment.
//
// Nobody has to tell the device's rate: by Little's law the bound on time is one on number, and
// what waits for it waits in the scheduler, where it is overtaken by what is reserved.
type Depth struct {
	fixed bool
	now   int
	base  float64 // ns in the device when few are there, 0: not known
	steps int     // busy ones since base was measured
	probe bool    // it is being measured: what was in the device before does not count
}

// Measured is what Depth learns once per step.
type Measured struct {
	Latency   float64 // ns in the device, the mean of requests; 0: none
	Inside    float64 // requests in the device, the mean over time
	Contended bool    // others waited for the device most of the time
	// Need is the longest time in the device with which classes that have a reservation can
	// have it, given how many requests they keep here, by class; see Need.
	Need []float64
}

const (
	MinDepth = 8
	MaxDepth = 256
	// firstDepth keeps most devices busy and is soon left.
	firstDepth = 4 * MinDepth
	// stretch is how many times base a request may take in the device, and spare is added: below it
	// nobody feels a difference.
	stretch = 3
	spare   = float64(500 * time.Microsecond)
	// nearBase is what no reservation asks of a device: times a little above base come and go.
	nearBase = 1.2
	// probeEvery is how many busy steps lie between measurements of base: ten seconds with package
	// qos's period of 250 ms.
	probeEvery = 40
)

// NewDepth returns one that begins with some, or stays with what is fixed, unless that is 0.
func NewDepth(fixed int) Depth {
	if fixed > 0 {
		return Depth{fixed: true, now: fixed}
	}
	return Depth{now: firstDepth}
}

// Now is the depth that was found; while base is measured fewer are let in.
func (d *Depth) Now() int { return d.now }

// Probing reports whether base is being measured: Latency is to be that of requests
// that begin from now on.
func (d *Depth) Probing() bool { return d.probe }

// Step returns the depth until the next step. It is called a few times a second.
func (d *Depth) Step(m Measured) int {
	switch {
	case d.fixed:
		return d.now
	case m.Latency == 0 && d.probe:
		return MinDepth
	case m.Latency == 0:
		return d.now
	}
	if d.probe {
		d.base, d.steps, d.probe = m.Latency, 0, false
		return d.now
	}
	// Nobody need wait for the device to be filled: what is let in at once waits there.
	if !m.Contended && m.Inside < 2*MinDepth {
		return d.now
	}
	if d.steps++; d.base == 0 || d.steps >= probeEvery {
		d.probe = true
		return MinDepth
	}
	target := d.base*stretch + spare
	for _, need := range m.Need {
		if need >= d.base*nearBase { // else no depth meets it
			target = min(target, need)
		}
	}
	by := min(max(target/m.Latency, 0.5), 1.25)
	from := float64(d.now)
	if !m.Contended {
		if by >= 1 {
			return d.now
		}
		from = min(from, m.Inside)
	}
	d.now = min(max(int(from*by+0.5), MinDepth), MaxDepth)
	return d.now
}

// Need is the longest time that a request of a class with a reservation may take from its arrival
// to its end for the class to have it: its clients keep peak units outstanding at most, of which
// inside are here on average while they have rate per second. What is not inside is with the
// client, for a time that is the client's own. 0 if no such time exists.
func Need(peak, inside, rate, reservation float64) float64 {
	if rate <= 0 || reservation <= 0 || inside <= 0 {
		return 0
	}
	elsewhere := max(peak-inside, 0) / rate
	// Most of it goes to the device: the rest is for the wait for a place there.
	const part = 0.8
	return max(peak/reservation-elsewhere, 0) * part * float64(second)
}
