package server

import (
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server/object"
)

// oplockBreak takes the acknowledgement of an oplock or of a lease break [MS-SMB2] 3.3.5.22.
func oplockBreak(r *request) {
	if smb2.BreakStructureSize(r.msg) == smb2.LeaseBreakSize && r.dialect() != smb2.Dialect202 {
		acknowledgeLease(r)
		return
	}
	acknowledgeOplock(r)
}

// acknowledgeOplock is 3.3.5.22.1.
func acknowledgeOplock(r *request) {
	var ack smb2.OplockBreak
	if err := ack.Decode(r.msg); err != nil {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	o := r.server().opens.find(ack.FileID)
	if o == nil || o.session != r.session || !o.hold() {
		r.fail(ntstatus.FileClosed)
		return
	}
	defer o.release()
	o.replayEligible.Store(false)
	f, ok := o.local.(*file)
	if !ok {
		r.fail(ntstatus.InvalidDeviceState)
		return
	}
	level, status := f.obj.AcknowledgeOplock(object.OplockLevel(ack.OplockLevel))
	if status != ntstatus.Success {
		r.fail(status)
		return
	}
	resp := smb2.OplockBreak{OplockLevel: smb2.OplockLevel(level), FileID: ack.FileID}
	r.durably(f.obj.Tree(), f.share.since(0), ntstatus.Success, resp.AppendTo(r.reserve(smallBody)))
}

// acknowledgeLease is 3.3.5.22.2.
func acknowledgeLease(r *request) {
	var ack smb2.LeaseBreak
	if err := ack.Decode(r.msg); err != nil {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	t := r.session.tree(r.hdr.TreeID)
	if t == nil {
		r.fail(ntstatus.NetworkNameDeleted)
		return
	}
	if t.share.IsPipe() {
		r.fail(ntstatus.ObjectNameNotFound)
		return
	}
	state, status := r.takeLeaseBack(t.share.Tree.FS(), dtyp.GUID(ack.LeaseKey), object.Caching(ack.LeaseState))
	if status != ntstatus.Success {
		r.fail(status)
		return
	}
	resp := smb2.LeaseBreak{LeaseKey: ack.LeaseKey, LeaseState: smb2.LeaseState(state)}
	r.durably(t.share.Tree, t.share.since(0), ntstatus.Success, resp.AppendTo(r.reserve(smallBody)))
}

// takeLeaseBack completes the break that the client acknowledges. Deviation: 3.3.5.2.10 looks at
// requests with a FileId alone. An acknowledgement that comes in on a channel which the client has given up
// may be of a break that is over, and must not be taken for that of the next one, which the client has
// not heard of yet: it would go on writing to its cache. One of the break that there is, is taken as Windows does.
//
// An oplock needs none of this: it is never granted again, and has one break to acknowledge.
func (r *request) takeLeaseBack(fs *object.FS, key dtyp.GUID, to object.Caching) (object.Caching, ntstatus.Status) {
	for {
		number := fs.BreakOf(r.conn.client, key)
		if r.dialect().Is3x() && r.session.sequences.passed(r.hdr.ChannelSequence) < number {
			return 0, ntstatus.FileNotAvailable
		}
		if state, status, current := fs.AcknowledgeBreak(number, r.conn.client, key, to); current {
			return state, status
		}
	}
}

// Breaker is how the object store reaches clients.
func (s *Server) Breaker() object.Breaker { return breaker{s} }

type breaker struct{ server *Server }

// BreakOplock implements object.Breaker: [MS-SMB2] 3.3.4.6.
func (b breaker) BreakOplock(o *object.Open, to object.OplockLevel, ackRequired bool) {
	f := fileOf(o)
	if f == nil {
		return
	}
	f.whenAnswered(func() {
		f.mu.Lock()
		current := f.current
		f.mu.Unlock()
		if current == nil {
			b.unreachable(f, nil)
			return
		}
		over := func() bool {
			if ackRequired {
				return !f.obj.OplockBreaking()
			}
			return current.hasEnded()
		}
		current.oplockBreak(smb2.OplockLevel(to), over, func() { b.unreachable(f, current) })
	})
}

// unreachable is what becomes of an open whose client cannot be told by way of what was its open then: only
// those that survive more than that stay. If the client is back by now it is told there.
func (b breaker) unreachable(f *file, then *open) {
	b.server.pool.submit(taskFunc(func() {
		switch f.obj.Durable().Kind {
		case object.Persistent, object.Resilient:
		default:
			f.obj.ForceClose()
			return
		}
		f.obj.AbandonOplock()
		f.mu.Lock()
		back := f.current != nil && f.current != then && f.answered
		f.mu.Unlock()
		if back {
			f.obj.Remind()
		}
	}))
}

// BreakLease implements object.Breaker: [MS-SMB2] 3.3.4.7.
func (b breaker) BreakLease(l object.LeaseBreak) {
	n := smb2.LeaseBreakNotification{
		NewEpoch:          l.Epoch,
		LeaseKey:          smb2.LeaseKey(l.Key),
		CurrentLeaseState: smb2.LeaseState(l.Current),
		NewLeaseState:     smb2.LeaseState(l.New),
	}
	if l.AckRequired {
		n.Flags = smb2.NotifyBreakLeaseAckRequired
	}
	over := func() bool {
		fs := b.server.fs()
		return fs == nil || l.AckRequired && fs.BreakOf(l.Client, l.Key) != l.Number
	}
	b.server.leaseBreak(l.Client, &n, over, func() {
		if l.AckRequired {
			b.server.pool.submit(taskFunc(func() {
				if fs := b.server.fs(); fs != nil {
					fs.AbandonLease(l.Client, l.Key)
				}
			}))
		}
	})
}

// breaksTold is object.FS.Breaks.
func (s *Server) breaksTold() uint64 {
	if fs := s.fs(); fs != nil {
		return fs.Breaks()
	}
	return 0
}

// fs is the object store that all shares show parts of; nil without shares.
func (s *Server) fs() *object.FS {
	for _, share := range s.Shares() {
		if !share.IsPipe() {
			return share.Tree.FS()
		}
	}
	return nil
}

// Changed implements object.Breaker.
func (b breaker) Changed(opens []*object.Open) {
	if _, err := b.server.record(opens...); err != nil {
		b.server.log.Error("recording persistent opens", "error", err)
	}
}

// Closed implements object.Breaker: the open is gone, what the server has of it
// follows.
func (b breaker) Closed(o *object.Open) {
	f := fileOf(o)
	if f == nil {
		return
	}
	b.server.durables.remove(f)
	b.server.forget(f)
	f.mu.Lock()
	current := f.current
	f.mu.Unlock()
	if current != nil {
		b.server.pool.submit(taskFunc(func() { current.end(func() { f.Close(ReasonAdmin) }) }))
	}
}
