package qos

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gabion/protocol/dtyp"
	"gabion/protocol/sqos"
	"gabion/server/qos/mclock"
	"gabion/store"
)

// Options of a Service. The zero value of a field means its default.
type Options struct {
	// BaseIOSize is what counts as one normalised I/O: 8192.
	BaseIOSize int
	// Capacity is what the array can do in normalised I/O per second. 0: it is measured,
	// and nothing is held back for it.
	Capacity uint64
	// Depth is how many requests are worked on at a time. 0: it is found by measuring, see
	// mclock.Depth.
	Depth int
	// Watch is told, under a lock, when a request goes to the device; nil: nobody looks.
	Watch   func(flow dtyp.GUID, at int64, units uint32)
	Log     *slog.Logger
	Metrics prometheus.Registerer // nil registers nothing
}

// Service is storage quality of service for one array.
type Service struct {
	vol  store.Volume
	base int
	log  *slog.Logger
	e    enforcer

	editing sync.Mutex // serialises changes of policies; above mu

	mu       sync.Mutex // guards what follows, and Flow and class as they say
	policies map[dtyp.GUID]*Policy
	flows    map[flowKey]*Flow
	classes  map[classKey]*class
	live     map[*Flow]struct{} // that have moved something lately
	dirty    []*class           // that the controller is to look at
	empty    []*class           // without flows, until they owe nothing
	capacity capacity
	depth    mclock.Depth
	last     int64 // when the controller last ran

	background *Flow

	stop chan struct{}
	done chan struct{}
}

// Open reads the policies of a volume and begins to schedule.
func Open(vol store.Volume, o Options) (*Service, error) {
	if o.BaseIOSize == 0 {
		o.BaseIOSize = sqos.DefaultBaseIOSize
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.BaseIOSize < 512 || o.BaseIOSize > 1<<20:
		return nil, fmt.Errorf("normalised I/O of %d bytes is not between 512 bytes and 1 MiB", o.BaseIOSize)
	case o.Depth < 0 || o.Depth > 1<<16:
		return nil, fmt.Errorf("depth %d is not between 0 and 65536", o.Depth)
	case o.Capacity > maxNumber:
		return nil, fmt.Errorf("capacity %d is above %d", o.Capacity, maxNumber)
	}
	policies, err := loadPolicies(vol)
	if err != nil {
		return nil, fmt.Errorf("storage QoS policies: %w", err)
	}
	s := &Service{vol: vol, base: o.BaseIOSize, log: o.Log, policies: policies,
		flows: map[flowKey]*Flow{}, classes: map[classKey]*class{}, live: map[*Flow]struct{}{},
		stop: make(chan struct{}), done: make(chan struct{})}
	s.e.watch = o.Watch
	s.depth = mclock.NewDepth(o.Depth)
	s.e.init(s.depth.Now(), o.Capacity)
	s.capacity.known = float64(o.Capacity)
	s.background = &Flow{key: flowKey{implicit: backgroundName}, Name: backgroundName, weight: backgroundWeight,
		bound: map[*Binding]struct{}{{service: s}: {}}}
	s.mu.Lock()
	s.flows[s.background.key] = s.background
	s.classify(s.background)
	s.mu.Unlock()
	if o.Metrics != nil {
		o.Metrics.MustRegister(newCollector(s))
	}
	go s.run()
	return s, nil
}

// Close ends the controller. Nothing may use the service any more.
func (s *Service) Close() {
	close(s.stop)
	<-s.done
	s.e.stop()
}

// Drain lets all that waits go, and nothing wait any more: the server goes down.
func (s *Service) Drain() { s.e.drain() }

// Submit asks whether a request of an open may go to the device. If true it may; else it waits,
// and owner is told when it may. Either way Done follows when it has been answered. arrived
// is when it was decoded, by Clock. False and no ticket taken (t.Taken) means that the open
// has ended: nothing holds the request up.
func (b *Binding) Submit(t *Ticket, owner Owner, bytes int, arrived int64) bool {
	f := b.flowOf()
	if f == nil {
		return true
	}
	t.flow, t.owner = f, owner
	t.r.Units, t.r.Bytes = uint32(sqos.Normalized(bytes, b.service.base)), uint32(bytes)
	return b.service.e.submit(t, arrived)
}

// Taken reports whether the ticket takes part.
func (t *Ticket) Taken() bool { return t.flow != nil }

// Done gives back the request's place in the device. A ticket that has none does nothing.
func (s *Service) Done(t *Ticket) {
	if t.flow != nil {
		s.e.finished(t)
		t.flow = nil
	}
}

// Cancel takes a request that waits out of the queue. If true its owner will not be told.
func (s *Service) Cancel(t *Ticket) bool { return t.flow != nil && s.e.cancel(t) }

// Clock is the time that tickets count in.
func (s *Service) Clock() int64 { return s.e.clock() }

// Expected is how long a request that waits will do so at least, for its limit alone.
func (s *Service) Expected(t *Ticket) time.Duration {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	if !t.r.Queued() {
		return 0
	}
	return time.Duration(t.flow.queue.Class().Delay(s.e.clock()))
}

// run is the controller's goroutine; Close ends it.
func (s *Service) run() {
	defer close(s.done)
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			s.Step()
		}
	}
}
