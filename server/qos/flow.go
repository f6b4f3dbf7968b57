package qos

import (
	"strings"
	"sync/atomic"
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/sqos"
	"gabion/server/qos/mclock"
)

// Place is where a flow's requests come from and go to.
type Place struct {
	User, Client string // who opened it, from which address
	Share, Path  string
	// RoundTrip is what the network adds, as the transport estimates it; 0 if it is not known.
	RoundTrip time.Duration
}

// Opener is an open as far as flows are concerned.
type Opener interface{ Place() Place }

// Binding is the part of an open that says which flow it belongs to.
type Binding struct {
	service *Service
	owner   string // who the open belongs to
	opener  Opener
	flow    atomic.Pointer[Flow] // nil before the first request and after Release
	ended   bool                 // guarded by Service.mu
}

// Bind makes the binding of an open that belongs to owner; it has no flow yet.
func (s *Service) Bind(owner string, opener Opener) *Binding {
	return &Binding{service: s, owner: owner, opener: opener}
}

// flowKey finds a flow: by the id that a host gave it, or by what identifies it without one.
type flowKey struct {
	owner    string
	id       dtyp.GUID
	implicit string
}

// Flow is a logical flow ([MS-SQOS] 3.2.1.3).
type Flow struct {
	key   flowKey
	class *class // guarded by Service.mu

	// LogicalFlow.PolicyID and so on; guarded by Service.mu.
	ID, Policy, Initiator dtyp.GUID
	Inline                Numbers // Limit, Reservation and BandwidthLimit of the host
	Name, Node            string
	weight                uint32 // of background work

	bound map[*Binding]struct{} // guarded by Service.mu

	// What the controller made of it; guarded by Service.mu.
	share   FlowShare
	told    FlowShare // what the host knows, from when it last asked
	status  sqos.Status
	short   int   // plans in a row in which it came short
	changed int64 // when what the host is told last changed by much
	polled  int64 // when the host last asked, 0: never
	load    load
	host    reported

	queue   mclock.Flow // guarded by enforcer.mu
	stats   stats       // guarded by enforcer.mu
	touched bool        // guarded by enforcer.mu
}

// reported is what a host says of a flow. It is shown and believed by nobody.
type reported struct {
	Count, Normalized, Latency, LowerLatency, Kilobytes uint64
}

// class is what shares an allocation; guarded by Service.mu but for Class.
type class struct {
	mclock.Class // guarded by enforcer.mu
	key          classKey
	numbers      Numbers
	flows        map[*Flow]struct{}
	granted      uint64 // the reservation as the device can keep it
	dirty        bool   // in Service.dirty
}

// classKey says who shares.
type classKey struct {
	policy    dtyp.GUID
	owner     string
	initiator dtyp.GUID
	flow      flowKey
}

// flowOf returns the flow of an open's requests; one that no host has associated gets an
// implicit flow. It is nil once the open has ended.
func (b *Binding) flowOf() *Flow {
	if f := b.flow.Load(); f != nil {
		return f
	}
	p := b.opener.Place()
	s := b.service
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := b.flow.Load(); f != nil || b.ended {
		return f
	}
	host := p.Client
	if i := strings.LastIndexByte(host, ':'); i > 0 {
		host = host[:i]
	}
	key := flowKey{owner: b.owner, implicit: host + "\x00" + p.Share + "\x00" + strings.ToLower(p.Path)}
	s.associate(b, key)
	return b.flow.Load()
}

// associate moves an open to the flow of a key, which is made if need be. Caller holds mu.
func (s *Service) associate(b *Binding, key flowKey) *Flow {
	f := s.flows[key]
	if old := b.flow.Load(); old != nil && old == f {
		return f
	}
	s.dissociate(b)
	if f == nil {
		f = &Flow{key: key, ID: key.id, bound: map[*Binding]struct{}{}}
		s.flows[key] = f
		s.classify(f)
	}
	f.bound[b] = struct{}{}
	b.flow.Store(f)
	return f
}

// dissociate ends an open's membership. A flow ends with its last open. Caller holds mu.
func (s *Service) dissociate(b *Binding) {
	f := b.flow.Swap(nil)
	if f == nil {
		return
	}
	delete(f.bound, b)
	if len(f.bound) == 0 {
		delete(s.flows, f.key)
		delete(s.live, f)
		s.leave(f)
	}
}

// associated is the flow that a host has associated the open with, nil if none. Caller holds mu.
func (b *Binding) associated() *Flow {
	if f := b.flow.Load(); f != nil && !f.ID.IsZero() {
		return f
	}
	return nil
}

// Release ends the binding with its open.
func (b *Binding) Release() {
	s := b.service
	s.mu.Lock()
	defer s.mu.Unlock()
	b.ended = true
	s.dissociate(b)
}

// classify puts a flow where its policy and numbers say. Caller holds mu.
func (s *Service) classify(f *Flow) {
	p := s.policies[f.Policy]
	key, numbers := classKey{flow: f.key}, f.Inline
	switch {
	case !f.Policy.IsZero() && p == nil:
		// Unknown: it runs without.
		numbers = Numbers{}
	case p != nil:
		numbers = p.Numbers
		switch {
		case p.Kind == Aggregated:
			key = classKey{policy: p.ID}
		case f.Initiator.IsZero():
			key.policy = p.ID
		default:
			key = classKey{policy: p.ID, owner: f.key.owner, initiator: f.Initiator}
		}
	}
	if f.weight > 0 {
		numbers.Weight = f.weight
	}
	if f.class == nil || f.class.key != key {
		s.leave(f)
		c := s.classes[key]
		if c == nil {
			c = &class{key: key, flows: map[*Flow]struct{}{}}
			s.classes[key] = c
		}
		f.class = c
		c.flows[f] = struct{}{}
	}
	c := f.class
	c.numbers = numbers
	s.e.mu.Lock()
	now := s.e.clock()
	rates := numbers.rates()
	s.e.s.SetRates(now, &c.Class, rates)
	s.e.s.Join(now, &f.queue, &c.Class)
	s.e.kick(now)
	s.e.mu.Unlock()
	c.granted = rates.Reservation
	s.plan([]*class{c})
}

// leave takes a flow out of its class. Caller holds mu.
func (s *Service) leave(f *Flow) {
	c := f.class
	if c == nil {
		return
	}
	f.class = nil
	delete(c.flows, f)
	s.soil(c)
	if len(c.flows) == 0 {
		s.empty = append(s.empty, c)
	}
}

// limited reports whether a class has numbers to be divided.
func (c *class) limited() bool {
	return c.numbers.Maximum > 0 || c.numbers.Minimum > 0 || c.numbers.Bandwidth > 0
}

// Association is what has to be remembered of an open over a restart.
type Association struct {
	Flow, Policy, Initiator dtyp.GUID
	Limit, Reservation      uint64
	Bandwidth               uint64
	Name, Node              string
}

// Association returns the open's association with a flow, nil if there is none.
func (b *Binding) Association() *Association {
	b.service.mu.Lock()
	defer b.service.mu.Unlock()
	f := b.associated()
	if f == nil {
		return nil
	}
	return &Association{Flow: f.ID, Policy: f.Policy, Initiator: f.Initiator, Name: f.Name, Node: f.Node,
		Limit: f.Inline.Maximum, Reservation: f.Inline.Minimum, Bandwidth: f.Inline.Bandwidth}
}

// Restore associates an open again as it was before a restart.
func (b *Binding) Restore(a *Association) {
	if a == nil || a.Flow.IsZero() {
		return
	}
	s := b.service
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.associate(b, flowKey{owner: b.owner, id: a.Flow})
	f.Policy, f.Initiator, f.Name, f.Node = a.Policy, a.Initiator, a.Name, a.Node
	f.Inline = Numbers{Minimum: a.Reservation, Maximum: a.Limit, Bandwidth: a.Bandwidth}
	s.classify(f)
}

// Waiting lists the owners of the requests that wait in the open's flow, those of other opens
// among them.
func (b *Binding) Waiting() (owners []Owner) {
	f := b.flow.Load()
	if f == nil {
		return nil
	}
	e := &b.service.e
	e.mu.Lock()
	defer e.mu.Unlock()
	f.queue.Each(func(r *mclock.Request) { owners = append(owners, r.Owner.(*Ticket).owner) })
	return owners
}
