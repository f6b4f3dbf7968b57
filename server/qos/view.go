package qos

import (
	"cmp"
	"slices"
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/sqos"
)

// View is a flow as administrators see it. Rates are of the last second or so.
type View struct {
	Flow      string      `json:"flow"` // the host's id; what it is when it has none
	VM        string      `json:"vm"`
	Host      string      `json:"host"`
	User      string      `json:"user"`
	Client    string      `json:"client"`
	Share     string      `json:"share"`
	Path      string      `json:"path"`
	Opens     int         `json:"opens"`
	Policy    string      `json:"policy"` // its name, or the id of one that is unknown
	Status    sqos.Status `json:"status"`
	IOPS      float64     `json:"iops"`
	Norm      float64     `json:"normalized_iops"`
	KiB       float64     `json:"kib_per_second"`
	Network   float64     `json:"network_us"` // averages of a request
	Queue     float64     `json:"queue_us"`
	Device    float64     `json:"device_us"`
	P99       float64     `json:"p99_us"` // of queue and device together, of the last 5 to 10 s
	Waiting   int         `json:"waiting"`
	Serving   int         `json:"serving"`
	Maximum   uint64      `json:"maximum_iops"` // as the host is told
	Minimum   uint64      `json:"minimum_iops"`
	Bandwidth uint64      `json:"maximum_kib"`
	// Share of what is in the array just now, waiting or being served; and what its weight
	// entitles it to among those that have something there.
	Presence float64 `json:"presence"`
	Fair     float64 `json:"fair"`
	// What the host itself says.
	HostCount uint64  `json:"host_io_count"`
	HostUs    float64 `json:"host_latency_us"`

	ops, bytes, served uint64
	id                 dtyp.GUID
}

// Neighbour is a flow that takes more than its part while others wait.
type Neighbour struct {
	Flow     string  `json:"flow"`
	VM       string  `json:"vm"`
	Client   string  `json:"client"`
	Path     string  `json:"path"`
	Presence float64 `json:"presence"`
	Fair     float64 `json:"fair"`
	IOPS     float64 `json:"normalized_iops"`
}

// Top is the array at a glance: what `gabion qos top` shows.
type Top struct {
	Capacity  float64 `json:"capacity_iops"` // configured or measured, 0: not known
	Measured  bool    `json:"measured"`
	Contended bool    `json:"contended"` // more is asked of the array than it can do
	Waiting   int     `json:"waiting"`
	Serving   int     `json:"serving"`
	// Noisy are those that make others wait, the worst first; empty when nobody waits.
	Noisy []Neighbour `json:"noisy_neighbours"`
	// Victims are flows that take no more than their part and wait all the same.
	Victims []Neighbour `json:"victims"`
	Flows   []View      `json:"flows"`
}

// Top shows the busiest flows, at most n; 0 shows all that move something.
func (s *Service) Top(n int) Top {
	all := s.views()
	var t Top
	s.mu.Lock()
	t.Capacity, t.Measured, t.Contended = s.capacity.best(), s.capacity.known == 0 && s.capacity.measured > 0, s.capacity.contended
	s.e.mu.Lock()
	t.Waiting, t.Serving = s.e.s.Queued(), s.e.s.Serving()
	s.e.mu.Unlock()
	s.mu.Unlock()
	t.Noisy, t.Victims = blame(all)
	all = slices.DeleteFunc(all, func(v View) bool { return v.IOPS < 0.01 && v.Waiting+v.Serving == 0 })
	slices.SortFunc(all, func(a, b View) int { return cmp.Or(cmp.Compare(b.Presence, a.Presence), cmp.Compare(b.Norm, a.Norm)) })
	if n > 0 && len(all) > n {
		all = all[:n]
	}
	t.Flows = all
	return t
}

// Flows lists all flows, named ones first.
func (s *Service) Flows() []View {
	all := s.views()
	slices.SortFunc(all, func(a, b View) int {
		return cmp.Or(cmp.Compare(a.Share, b.Share), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Flow, b.Flow))
	})
	return all
}

// painful is the average wait from which a flow counts as one that waits.
const painful = float64(time.Millisecond) / 1000 // in µs

// blame answers who is the noisy neighbour: by Little's law the time that requests spend in the
// array, times their size, is how much of it each flow fills. Who fills more than the part
// that its weight entitles it to makes others wait; who fills less and waits is a victim. A flow
// that waits for its own limit fills nothing that others want, so it is neither.
func blame(all []View) (noisy, victims []Neighbour) {
	noisy, victims = []Neighbour{}, []Neighbour{}
	for i := range all {
		v := &all[i]
		if v.Presence < v.Fair && v.Queue > painful {
			victims = append(victims, v.neighbour())
		}
	}
	for i := range all {
		v := &all[i]
		if v.Presence > v.Fair && v.Fair > 0 && len(victims) > 0 {
			noisy = append(noisy, v.neighbour())
		}
	}
	worst := func(a, b Neighbour) int { return cmp.Compare(b.Presence/b.Fair, a.Presence/a.Fair) }
	slices.SortFunc(noisy, worst)
	slices.SortFunc(victims, func(a, b Neighbour) int { return worst(b, a) })
	return noisy[:min(len(noisy), 20)], victims[:min(len(victims), 20)]
}

func (v *View) neighbour() Neighbour {
	return Neighbour{Flow: v.Flow, VM: v.VM, Client: v.Client, Path: v.Path, Presence: v.Presence, Fair: v.Fair, IOPS: v.Norm}
}

// seen is a flow's view before its opens are asked, which happens without locks.
type seen struct {
	view   View
	opener Opener
	weight float64
	filled float64
}

func (s *Service) views() []View {
	list := s.look()
	out := make([]View, len(list))
	filled, weight := 0.0, 0.0
	for i := range list {
		if filled += list[i].filled; list[i].filled > 0 {
			weight += list[i].weight
		}
	}
	for i := range list {
		l := &list[i]
		v := &l.view
		if l.opener != nil {
			p := l.opener.Place()
			v.User, v.Client, v.Share, v.Path = p.User, p.Client, p.Share, p.Path
			v.Network = max(v.Network, micro(float64(p.RoundTrip)))
			if v.Flow == "" {
				v.Flow = "implicit"
			}
		}
		if l.filled > 0 {
			v.Presence, v.Fair = part(l.filled, filled), part(l.weight, weight)
		}
		out[i] = *v
	}
	return out
}

// look takes down what is known of every flow.
func (s *Service) look() []seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]seen, 0, len(s.flows))
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	now := s.e.clock()
	for _, f := range s.flows {
		l := &f.load
		n := max(l.recentOps, 1)
		e := seen{weight: float64(f.class.Weight()), view: View{
			VM: f.Name, Host: f.Node, Opens: len(f.bound), Policy: s.policyName(f), Status: f.status,
			IOPS: round(l.ops), Norm: round(l.served), KiB: round(l.bytes / 1024),
			Queue: micro(l.queue / n), Device: micro(l.device / n),
			Waiting: f.queue.Queued(), Serving: f.stats.serving,
			Maximum: f.share.Maximum, Minimum: f.share.Minimum, Bandwidth: f.share.Bandwidth,
			HostCount: f.host.Count, ops: f.stats.ops, bytes: f.stats.bytes, served: f.stats.served, id: f.ID,
		}}
		if f == s.background {
			e.view.Flow = backgroundName
		} else if !f.ID.IsZero() {
			e.view.Flow = f.ID.String()
		}
		if r := f.stats.recent; r != nil && now-r.turned < int64(10*time.Second) {
			e.view.P99 = micro(float64(r.quantile(0.99)))
		}
		if l.hostOps > 0 {
			// The host's time below its own queues, less what was spent here, is the network's.
			e.view.HostUs = micro(l.hostLat / l.hostOps * 100)
			e.view.Network = max(0, micro(l.lowLat/l.hostOps*100)-e.view.Queue-e.view.Device)
		}
		if !f.class.Owes(now) { // else it waits for itself
			e.filled = l.presence
		} else {
			e.filled = l.device
		}
		for b := range f.bound {
			if b.opener != nil {
				e.opener = b.opener
				break
			}
		}
		list = append(list, e)
	}
	return list
}

func (s *Service) policyName(f *Flow) string {
	if p := s.policies[f.Policy]; p != nil {
		return p.Name
	}
	switch {
	case !f.Policy.IsZero():
		return f.Policy.String()
	case f.Inline != Numbers{}:
		return "inline"
	}
	return ""
}

// part is a fraction to four places.
func part(n, of float64) float64 {
	if of == 0 {
		return 0
	}
	return float64(int(n/of*1e4+0.5)) / 1e4
}

// micro is ns in µs, to one place.
func micro(ns float64) float64 { return float64(int64(ns/100+0.5)) / 10 }

func round(x float64) float64 { return float64(int64(x*10+0.5)) / 10 }

// PolicyUse is a policy and what its flows do.
type PolicyUse struct {
	ID     string      `json:"id"`
	Policy             // its fields
	Flows  int         `json:"flows"`
	Norm   float64     `json:"normalized_iops"`
	KiB    float64     `json:"kib_per_second"`
	Status sqos.Status `json:"status"` // the worst of its flows
}

// PolicyUses lists the policies with what their flows do, by name.
func (s *Service) PolicyUses() []PolicyUse {
	list := s.Policies()
	out := make([]PolicyUse, len(list))
	at := map[dtyp.GUID]*PolicyUse{}
	for i, p := range list {
		out[i] = PolicyUse{ID: p.ID.String(), Policy: p}
		at[p.ID] = &out[i]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.flows {
		if u := at[f.Policy]; u != nil {
			u.Flows++
			u.Norm, u.KiB = u.Norm+f.load.served, u.KiB+f.load.bytes/1024
			if f.status == sqos.StatusInsufficientThroughput || u.Status == sqos.StatusOk {
				u.Status = f.status
			}
		}
	}
	for i := range out {
		out[i].Norm, out[i].KiB = round(out[i].Norm), round(out[i].KiB)
	}
	return out
}
