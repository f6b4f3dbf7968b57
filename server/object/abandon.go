package object

import "gabion/protocol/dtyp"

// AbandonLease is what becomes of a breaking lease whose client cannot be told
// ([MS-SMB2] 3.3.4.7): its opens are closed, except those that survive more than that. For
// what is left the break ends with nothing held, unless a persistent open is among it: then
// it waits for the client's return, who is told then.
//
// Deviation: durable opens are closed also where the lease would keep H. A break comes on
// the way of a disconnect here, and what is left must not depend on which is first: a
// disconnected open is closed instead of broken, and a disconnect during a break keeps none.
func (fs *FS) AbandonLease(client, key dtyp.GUID) {
	g := fs.lease(client, key)
	if g == nil {
		return
	}
	var lost []*Open
	left, persistent := false, false
	g.stream.file.mu.Lock()
	if !g.state.Breaking {
		g.stream.file.mu.Unlock()
		return
	}
	for _, o := range g.opens {
		switch kind := o.durable.Kind; {
		case kind == Persistent:
			persistent = true
			g.unsent = breakNotice{Send: true, From: g.state.Held, To: g.state.To, Ack: true}
		case kind == Resilient:
			left = true
		default:
			lost = append(lost, o)
		}
	}
	g.stream.file.mu.Unlock()
	for _, o := range lost {
		o.ForceClose()
	}
	switch {
	case persistent:
		var l later
		g.stream.file.mu.Lock()
		g.awaitReturn(&l)
		g.stream.file.mu.Unlock()
		l.run()
	case left:
		fs.AcknowledgeLease(client, key, 0)
	}
}

// AbandonOplock is AbandonLease for the oplock of one open ([MS-SMB2] 3.3.4.6).
func (o *Open) AbandonOplock() {
	var l later
	defer l.run()
	o.file.mu.Lock()
	g := o.grantOf()
	if g == nil || g.state.Lease || !g.state.Breaking {
		o.file.mu.Unlock()
		return
	}
	if k := o.durable.Kind; k != Persistent && k != Resilient {
		o.file.mu.Unlock()
		o.ForceClose()
		return
	}
	g.unsent = breakNotice{Send: true, From: g.state.Held, To: g.state.To, Ack: true}
	g.awaitReturn(&l)
	o.file.mu.Unlock()
}

// awaitReturn stops the time to acknowledge what the client is told only when it is back; an oplock that
// no persistent open has is lost instead. What is lost with a connection is learned of before its opens
// are disconnected or, mostly, after: whichever comes second finds both. Caller holds File.mu.
func (g *grant) awaitReturn(l *later) {
	switch {
	case !g.unsent.Send || g.connected():
	case g.state.Lease || g.holds(Persistent):
		g.stopTimer()
	default:
		g.set(g.state.timeout(), breakNotice{}, l)
	}
}

// Breaks is how many breaks clients have been told of, which have their numbers from it: whoever
// looks at it before a break has a number below that of the break.
func (fs *FS) Breaks() uint64 { return fs.breaks.Load() }

// BreakOf is the number of the break that a lease's client has to acknowledge, 0 if there is none.
func (fs *FS) BreakOf(client, key dtyp.GUID) uint64 {
	g := fs.lease(client, key)
	if g == nil {
		return 0
	}
	g.stream.file.mu.Lock()
	defer g.stream.file.mu.Unlock()
	return g.breaking()
}

// breaking is BreakOf. Caller holds File.mu.
func (g *grant) breaking() uint64 {
	if !g.state.Breaking {
		return 0
	}
	return g.number
}

func (fs *FS) lease(client, key dtyp.GUID) *grant {
	fs.leaseMu.Lock()
	defer fs.leaseMu.Unlock()
	return fs.leases[leaseID{client, key}]
}
