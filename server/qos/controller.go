package qos

import (
	"cmp"
	"math"
	"slices"
)

// The controller divides what classes have among their flows. Nothing in this file has a
// state, a lock or a clock.

// FlowLoad is what was measured of a flow over the last second or so.
type FlowLoad struct {
	Offered   float64 // normalised I/O per second that arrived
	Served    float64 // that were done
	Bytes     float64 // per second that arrived
	Waits     bool    // requests of it were held up by its class or by the device
	Stale     bool    // its host is silent and nothing moves
	Maximum   uint64  // what the host was told when it last asked, 0: nothing
	Bandwidth uint64  // the same in KiB per second
}

// ClassLoad is a class and its flows.
type ClassLoad struct {
	Numbers
	Flows []FlowLoad
}

// FlowShare is a flow's part of its class.
type FlowShare struct {
	Maximum, Minimum uint64 // normalised I/O per second, 0: none
	Bandwidth        uint64 // KiB per second, 0: none
	// Short: it asks for its minimum and does not get it.
	Short bool
}

// ClassShare is what a class and its flows have.
type ClassShare struct {
	// Reservation is the class's minimum, less if the device cannot keep all promises.
	Reservation uint64
	Flows       []FlowShare
}

const (
	// promised is how much of a device may be given away; some has to be left for those without
	// a reservation.
	promised = 0.95
	// near is the part of what it was told from which a flow seems to want more.
	near = 0.85
	// headroom is how much more than it uses a flow may have that wants no more.
	headroom = 1.25
	// kept is the part of a reservation that counts as keeping it.
	kept = 0.97
)

// Plan divides. capacity is the device's in normalised I/O per second, 0 if it is not known.
func Plan(capacity float64, classes []ClassLoad) []ClassShare {
	scale := degradation(capacity, classes)
	plan := make([]ClassShare, len(classes))
	for i := range classes {
		c := &classes[i]
		p := &plan[i]
		p.Reservation = uint64(float64(c.Minimum) * scale)
		if c.Minimum > 0 {
			p.Reservation = max(p.Reservation, 1)
		}
		p.Flows = make([]FlowShare, len(c.Flows))
		divide(c, p)
	}
	return plan
}

// degradation is what all reservations are multiplied with so that the device can keep them.
// A flow that does not ask needs none.
func degradation(capacity float64, classes []ClassLoad) float64 {
	if capacity <= 0 {
		return 1
	}
	sum := 0.0
	for i := range classes {
		offered := 0.0
		for j := range classes[i].Flows {
			if f := &classes[i].Flows[j]; f.Waits {
				offered = float64(classes[i].Minimum) // who waits would ask for more
			} else {
				offered += f.Offered
			}
		}
		sum += min(offered, float64(classes[i].Minimum))
	}
	if sum <= capacity*promised {
		return 1
	}
	return capacity * promised / sum
}

func divide(c *ClassLoad, p *ClassShare) {
	part := make([]float64, len(c.Flows))
	for i := range c.Flows {
		f := &c.Flows[i]
		part[i] = f.Offered
	}
	maxima := split(c.Maximum, part, c.Flows, func(f *FlowLoad) uint64 { return f.Maximum })
	for i := range c.Flows {
		part[i] = c.Flows[i].Bytes / 1024
	}
	bands := split(c.Bandwidth, part, c.Flows, func(f *FlowLoad) uint64 { return f.Bandwidth })
	minima := spread(c.Minimum, maxima, c.Flows)
	for i := range c.Flows {
		f, out := &c.Flows[i], &p.Flows[i]
		out.Maximum, out.Bandwidth, out.Minimum = maxima[i], bands[i], minima[i]
		if out.Maximum > 0 {
			out.Minimum = min(out.Minimum, out.Maximum)
		}
		least := float64(out.Minimum) * kept
		out.Short = out.Minimum > 0 && f.Served < least && (f.Offered >= least || f.Waits)
	}
}

// split divides a limit by water-filling: who wants less than an equal part leaves the rest
// to the others, but may always have a quarter of an equal part, from which it can
// show that it wants more. Those small parts come on top: the array holds the sum.
func split(limit uint64, used []float64, flows []FlowLoad, told func(*FlowLoad) uint64) []uint64 {
	out := make([]uint64, len(flows))
	if limit == 0 {
		return out
	}
	var order []int // those that count, by what they want
	want := make([]float64, len(flows))
	hungry := 0
	for i := range flows {
		if flows[i].Stale {
			continue
		}
		order = append(order, i)
		if want[i] = used[i] * headroom; wants(&flows[i], used[i], told(&flows[i])) {
			want[i] = math.Inf(1)
			hungry++
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(want[a], want[b]) })
	n := len(order)
	floor := max(1, limit/uint64(4*max(n, 1)))
	for i := range out {
		out[i] = min(limit, floor)
	}
	if hungry == 0 { // nobody is in anybody's way
		for _, i := range order {
			out[i] = max(floor, limit/uint64(n))
		}
		return out
	}
	rest := float64(limit)
	for k, i := range order {
		equal := rest / float64(n-k)
		if want[i] > equal {
			out[i] = min(limit, max(floor, uint64(equal)))
			rest -= equal
			continue
		}
		out[i] = max(floor, uint64(want[i]))
		rest -= used[i]
	}
	return out
}

// wants reports whether a flow would use more than it was told it may.
func wants(f *FlowLoad, used float64, told uint64) bool {
	return f.Waits || told > 0 && used >= near*float64(told)
}

// spread divides a minimum in the proportion of maxima, or evenly.
func spread(minimum uint64, maxima []uint64, flows []FlowLoad) []uint64 {
	out := make([]uint64, len(flows))
	if minimum == 0 {
		return out
	}
	sum := 0.0
	part := func(i int) float64 {
		switch {
		case flows[i].Stale:
			return 0
		case maxima[i] > 0:
			return float64(maxima[i])
		case flows[i].Waits || flows[i].Offered > 0:
			return 4
		}
		return 1
	}
	for i := range flows {
		sum += part(i)
	}
	for i := range flows {
		if sum > 0 {
			out[i] = uint64(float64(minimum)*part(i)/sum + 0.5)
		}
	}
	return out
}
