package object

import (
	"slices"
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
)

// leaseID finds a lease: [MS-SMB2] has a LeaseTable per ClientGuid.
type leaseID struct{ client, key dtyp.GUID }

// grant is caching granted on a stream: the oplock of one open, or a lease that
// several opens of one client share. Guarded by File.mu.
type grant struct {
	stream *Stream
	state  breakState
	opens  []*Open
	timer  *time.Timer // runs while a break waits for its acknowledgement
	round  int         // tells a timer that has been overtaken
	number uint64      // of the last break

	// The rest is for leases.
	id        leaseID
	v2        bool
	hasParent bool
	parent    dtyp.GUID
	epoch     uint16
	unsent    breakNotice // a notice nobody was connected to receive
	// path is Lease.Filename, deleteOnClose Lease.FileDeleteOnClose; guarded by
	// FS.leaseMu.
	path          string
	deleteOnClose bool
}

// demand is what an operation asks of the grants that are not its own.
type demand struct {
	lease  Caching // what leases may keep
	oplock Caching // what oplocks may keep
	// batchToNone says that a batch oplock is broken to none.
	batchToNone bool
	// ownII says that level II is lost by the open's own oplock too: oplocks
	// have no key ([MS-FSA] 2.1.4.12, BreakToNone).
	ownII bool
	// wait holds the bits whose loss the operation has to wait for.
	wait Caching
}

// The demands of [MS-FSA] 2.1.4.12, in the order of its cases.
var (
	demandOpen      = demand{lease: cacheRH, oplock: CacheRead, wait: CacheWrite}
	demandOverwrite = demand{lease: 0, oplock: 0, wait: CacheWrite}
	// demandSharing is OPEN_BREAK_H: a batch oplock has gone before the check.
	demandSharing = demand{lease: cacheRW, oplock: cacheRW, wait: CacheHandle}
	demandRead    = demand{lease: cacheRH, oplock: CacheRead, wait: CacheWrite}
	demandWrite   = demand{ownII: true}
	demandRename  = demand{lease: cacheRW, oplock: cacheRW, batchToNone: true, wait: CacheHandle}
	demandDelete  = demand{lease: cacheRW, oplock: cacheRWH, wait: CacheHandle}
	demandParent  = demand{oplock: cacheRWH}
)

// grantOf returns the grant an open shares in, nil without one.
func (o *Open) grantOf() *grant { return o.grant.Load() }

// own reports whether g belongs to o: the same open, or the same lease key of the same client.
func (g *grant) own(o *Open) bool {
	return o != nil && (o.grant.Load() == g || g.state.Lease && o.leaseID != (leaseID{}) && g.id == o.leaseID)
}

// breakGrants makes every grant of s that is not o's give up what d demands. It
// reports whether the operation has to wait. Caller holds File.mu.
func (s *Stream) breakGrants(o *Open, d demand, l *later) (wait bool) {
	spared := func(g *grant) bool {
		return g.own(o) && !(d.ownII && !g.state.Lease && g.state.Held == CacheRead)
	}
	if !slices.ContainsFunc(s.grants, func(g *grant) bool { return !spared(g) }) {
		return false // the usual case of a client alone with its file
	}
	for _, g := range slices.Clone(s.grants) { // breaking may remove some
		if !spared(g) && g.demand(d, l) {
			wait = true
		}
	}
	return wait
}

// demand is breakGrants for one grant.
func (g *grant) demand(d demand, l *later) (wait bool) {
	keep := d.oplock
	if g.state.Lease {
		keep = d.lease
	}
	held := g.state.Held
	if d.batchToNone && !g.state.Lease && held == cacheRWH {
		keep = 0
	}
	next, n := g.state.demand(keep)
	if n.Ack && !g.connected() && !g.holds(Persistent) {
		if !g.holds(Resilient) {
			g.discard(l)
			return false
		}
		// [MS-SMB2] 3.3.4.7: the notice cannot be sent; the open goes on without.
		next, n = g.state, breakNotice{}
		next.Held = 0
	}
	g.set(next, n, l)
	return g.state.Breaking && held&^keep&d.wait != 0
}

// connected reports whether some open of g belongs to a session.
func (g *grant) connected() bool {
	for _, o := range g.opens {
		if o.connected() {
			return true
		}
	}
	return false
}

// holds reports whether one of g's opens is durable in that way.
func (g *grant) holds(k DurableKind) bool {
	return slices.ContainsFunc(g.opens, func(o *Open) bool { return o.durable.Kind == k })
}

// discard closes the disconnected opens of a grant instead of breaking it
// ([MS-SMB2] 3.3.4.6, 3.3.4.7): durable opens that would lose what they live by.
func (g *grant) discard(l *later) {
	for _, o := range slices.Clone(g.opens) {
		o.evict(l)
	}
}

// set applies a transition: it sends the notice, starts or stops the timer and
// wakes whoever waited. Caller holds File.mu.
func (g *grant) set(next breakState, n breakNotice, l *later) {
	was := g.state
	g.state = next
	g.count(was.Held, next.Held)
	if n.Send && g.v2 && !n.Further {
		g.epoch++
	}
	g.stream.file.vol.fs.changed(g.opens, l)
	if n.Send {
		g.send(n, l)
	}
	if was.Breaking && !next.Breaking {
		g.unsent = breakNotice{}
		g.stopTimer()
		g.stream.file.wake(l)
	}
	if !next.Lease && next.Held == 0 && !next.Breaking {
		g.drop()
	}
}

// count keeps Stream.readers in step with what g holds.
func (g *grant) count(was, is Caching) {
	switch {
	case was&CacheRead == 0 && is&CacheRead != 0:
		g.stream.readers.Add(1)
	case was&CacheRead != 0 && is&CacheRead == 0:
		g.stream.readers.Add(-1)
	}
}

// send tells the client and starts the acknowledgement timer. With nobody
// connected the notice is kept for the reconnect of a persistent open.
func (g *grant) send(n breakNotice, l *later) {
	fs := g.stream.file.vol.fs
	g.number = fs.breaks.Add(1)
	if !g.connected() {
		if n.Ack {
			g.unsent = n
		}
		return
	}
	if g.state.Lease {
		b := LeaseBreak{Client: g.id.client, Key: g.id.key, Current: n.From, New: n.To, Epoch: g.epoch, AckRequired: n.Ack, Number: g.number}
		l.add(func() { fs.cfg.Breaker.BreakLease(b) })
	} else {
		o, to := g.opens[0], oplockOf(n.To)
		l.add(func() { fs.cfg.Breaker.BreakOplock(o, to, n.Ack) })
	}
	if n.Ack {
		g.startTimer()
	}
}

func (g *grant) startTimer() {
	g.stopTimer()
	f, round := g.stream.file, g.round
	g.timer = time.AfterFunc(f.vol.fs.cfg.BreakTimeout, func() {
		defer f.vol.fs.recovered()
		var l later
		defer l.run()
		f.mu.Lock()
		defer f.mu.Unlock()
		if g.round == round {
			g.set(g.state.timeout(), breakNotice{}, &l)
		}
	})
}

// stopTimer stops the timer; one that has fired already finds another round.
func (g *grant) stopTimer() {
	if g.timer != nil {
		g.timer.Stop()
		g.timer = nil
		g.round++
	}
}

// drop removes g from its stream and its opens.
func (g *grant) drop() {
	s := g.stream
	i := slices.Index(s.grants, g)
	if i < 0 {
		return
	}
	s.grants = slices.Delete(s.grants, i, i+1)
	for _, o := range g.opens {
		o.grant.Store(nil)
	}
	g.opens = nil
	if g.state.Lease {
		fs := s.file.vol.fs
		fs.leaseMu.Lock()
		if fs.leases[g.id] == g {
			delete(fs.leases, g.id)
		}
		fs.leaseMu.Unlock()
	}
}

// leave takes an open that is being closed out of its grant; the last one ends it.
// Caller holds File.mu.
func (g *grant) leave(o *Open, l *later) {
	if i := slices.Index(g.opens, o); i >= 0 {
		g.opens = slices.Delete(g.opens, i, i+1)
	}
	o.grant.Store(nil)
	if len(g.opens) > 0 {
		return
	}
	was := g.state
	g.state = breakState{Lease: was.Lease}
	g.count(was.Held, 0)
	g.stopTimer()
	g.drop()
	if was.Breaking {
		g.stream.file.wake(l)
	}
}

// AcknowledgeOplock takes an oplock break acknowledgement ([MS-SMB2] 3.3.5.22.1)
// and returns the level granted.
func (o *Open) AcknowledgeOplock(to OplockLevel) (OplockLevel, ntstatus.Status) {
	f := o.file
	var l later
	defer l.run()
	f.mu.Lock()
	defer f.mu.Unlock()
	g := o.grantOf()
	if g == nil || !g.state.Lease && !g.state.Breaking {
		// Deviation: not STATUS_INVALID_DEVICE_STATE, as Windows answers a client that
		// acknowledges the loss of level II.
		return OplockNone, ntstatus.InvalidOplockProtocol
	}
	if g.state.Lease {
		return OplockNone, ntstatus.InvalidDeviceState
	}
	var next breakState
	var n breakNotice
	st := ntstatus.Success
	switch to {
	case OplockExclusive:
		if g.state.Held != cacheRWH {
			next, st, to = g.state.timeout(), ntstatus.InvalidOplockProtocol, OplockNone
			break
		}
		next, to = g.state.timeout(), OplockNone
	case OplockNone, OplockII:
		// A level above what was indicated counts as what was indicated.
		next, n, st = g.state.acknowledge(to.caching() & g.state.To)
		to = oplockOf(to.caching() & g.state.To)
	default:
		// [MS-SMB2] 3.3.5.22.1: the oplock is lost, the answer is an error.
		next, st = g.state.timeout(), ntstatus.InvalidOplockProtocol
		if to == OplockLease {
			st = ntstatus.InvalidParameter
		}
		to = OplockNone
	}
	g.set(next, n, &l)
	return to, st
}

// AcknowledgeLease takes a lease break acknowledgement ([MS-SMB2] 3.3.5.22.2) and
// returns the state held then.
func (fs *FS) AcknowledgeLease(client, key dtyp.GUID, to Caching) (Caching, ntstatus.Status) {
	for {
		held, st, current := fs.AcknowledgeBreak(fs.BreakOf(client, key), client, key, to)
		if current {
			return held, st
		}
	}
}

// AcknowledgeBreak is AcknowledgeLease of one break, which BreakOf told of. It does nothing, and
// current is false, when another one has begun meanwhile, or the break is over.
func (fs *FS) AcknowledgeBreak(number uint64, client, key dtyp.GUID, to Caching) (held Caching, st ntstatus.Status, current bool) {
	g := fs.lease(client, key)
	if g == nil {
		return 0, ntstatus.ObjectNameNotFound, true
	}
	f := g.stream.file
	var l later
	defer l.run()
	f.mu.Lock()
	defer f.mu.Unlock()
	if g.breaking() != number {
		return 0, 0, false
	}
	next, n, st := g.state.acknowledge(to)
	if st != ntstatus.Success {
		return g.state.Held, st, true
	}
	g.set(next, n, &l)
	return to.legal(), ntstatus.Success, true
}

// OplockBreaking reports whether the open's oplock waits for its client to acknowledge a break.
func (o *Open) OplockBreaking() bool {
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	g := o.grantOf()
	return g != nil && !g.state.Lease && g.state.Breaking
}

// Oplock returns the oplock the open holds now, OplockLease with a lease.
func (o *Open) Oplock() OplockLevel {
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	return o.oplock()
}

func (o *Open) oplock() OplockLevel {
	g := o.grantOf()
	switch {
	case g == nil:
		return OplockNone
	case g.state.Lease:
		return OplockLease
	}
	return oplockOf(g.state.Held)
}

// Lease returns the lease's state; ok is false without one.
func (o *Open) Lease() (li LeaseInfo, ok bool) {
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	g := o.grantOf()
	if g == nil || !g.state.Lease {
		return li, false
	}
	return g.info(), true
}

// info is what a lease response context says. Caller holds File.mu.
func (g *grant) info() LeaseInfo {
	li := LeaseInfo{LeaseRequest: LeaseRequest{Key: g.id.key, State: g.state.Held, V2: g.v2}, Breaking: g.state.Breaking}
	if g.v2 {
		li.Epoch, li.HasParent, li.ParentKey = g.epoch, g.hasParent, g.parent
	}
	return li
}
