package server

import (
	"time"

	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/rsvd"
	"gabion/protocol/smb2"
	"gabion/server/qos"
)

// What moves payload takes its turn: READ, WRITE, copies, and SCSI commands on shared disks.
// Everything else (CLOSE, FLUSH, acknowledgements, CANCEL, names) never waits for a limit.

// paced goes on with then when it is the turn of a request that moves bytes: at once, or later
// from the pool. A request that waits is a record in the scheduler; it holds no goroutine, and
// its credits stand for its payload as those of any unfinished request. It ends early when it
// is cancelled, its connection is lost or its open ends. then may be called again by nobody.
func (r *request) paced(bytes int, then func(*request)) {
	q := r.server().cfg.QoS
	f := r.file()
	if q == nil || f == nil || f.binding == nil {
		then(r)
		return
	}
	r.then = then
	if f.binding.Submit(&r.ticket, r, bytes, r.decoded) {
		if r.reading {
			r.phase.Store(phaseAdmitted)
			return
		}
		r.then = nil
		then(r)
		return
	}
	// From here on it may be admitted at any time; that has no effect before this handler
	// has returned.
	r.chain.keep = true
	if q.Expected(&r.ticket) < patience || r.pend(r.unqueue) != ntstatus.Success {
		if r.conn.waitQuietly(r, r.unqueue) {
			r.unqueue()
		}
	}
	if r.open.hasEnded() {
		r.unqueueWith(r.open.farewell())
	}
}

// takesTurn reports whether the request will be in the schedule. Its handler then does nothing that
// blocks before paced, and the reader runs it so far: what has to wait goes from the wire into the
// schedule and takes no place in the pool's queue, which nobody overtakes.
func (r *request) takesTurn() bool {
	f := r.file()
	return f != nil && f.binding != nil && r.server().cfg.QoS != nil
}

// patience is how long a request may wait for its turn before its client is told that it
// will take long. That also gives the client its credits back.
const patience = 250 * time.Millisecond

// Admitted implements qos.Owner: the request's turn has come.
func (r *request) Admitted() {
	if r.phase.Swap(phaseAdmitted) == phaseLeft {
		r.server().pool.submit(r.chain)
	}
}

// admitted is where the request goes on.
func (r *request) admitted() {
	then := r.then
	r.then = nil
	if !r.holds { // pended: its open could end meanwhile
		if !r.open.hold() {
			r.fail(ntstatus.FileClosed)
			return
		}
		r.holds = true
	}
	then(r)
}

// unqueue ends a request that still waits for its turn because its client wants that.
func (r *request) unqueue() { r.unqueueWith(ntstatus.Cancelled) }

func (r *request) unqueueWith(status ntstatus.Status) {
	if r.server().cfg.QoS.Cancel(&r.ticket) {
		r.fail(status)
	}
}

// farewell is what a request hears that waits when its open ends. A client that closes it is told that
// the request was cancelled. One that lost it, to another host perhaps, has cancelled nothing: it hears
// what it will hear of the open from then on, and goes after it.
func (o *open) farewell() ntstatus.Status {
	if o.closed.Load() {
		return ntstatus.Cancelled
	}
	return ntstatus.FileClosed
}

// unqueueAll ends the requests of an open that has ended: what is not begun will not be, so that
// CLOSE waits for no limit.
func (o *open) unqueueAll() {
	f, ok := o.local.(*file)
	if !ok || f.binding == nil {
		return
	}
	for _, owner := range f.binding.Waiting() {
		if r := owner.(*request); r.open == o {
			r.unqueueWith(o.farewell())
		}
	}
}

// waitQuietly makes a request cancellable that waits without an interim response. It
// reports whether it has been cancelled before.
func (c *conn) waitQuietly(r *request, cancel func()) (now bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !r.cancelled && r.listed {
		r.cancel = cancel
	}
	return r.cancelled
}

// unpace ends the request's part in the schedule; it is called with its reply.
func (r *request) unpace() {
	if r.ticket.Taken() {
		r.server().cfg.QoS.Done(&r.ticket)
	}
}

// stamp notes when a request was decoded that will take its turn.
func (r *request) stamp() {
	if q := r.conn.server.cfg.QoS; q != nil {
		switch r.hdr.Command {
		case smb2.CommandRead, smb2.CommandWrite, smb2.CommandIoctl:
			r.decoded = q.Clock()
		}
	}
}

// moved tells how many bytes a control code moves, 0 if it does not take a turn.
func (r *request) moved(req *smb2.IoctlRequest) int {
	n := 0
	switch fscc.FSCTL(req.CtlCode) {
	case fscc.FsctlSrvCopychunk, fscc.FsctlSrvCopychunkWrite:
		var c smb2.SrvCopychunkCopy
		if c.DecodeHead(req.Input) == nil && validChunks(&c, req.Input) {
			for _, k := range c.Chunks {
				n += int(k.Length)
			}
		}
	case fscc.FsctlSvhdxSyncTunnelRequest, fscc.FsctlSvhdxAsyncTunnelRequest:
		var h rsvd.TunnelHeader
		var s rsvd.SCSIRequest
		if h.Decode(req.Input) == nil && h.Operation == rsvd.SCSI && s.Decode(req.Input[rsvd.TunnelHeaderSize:]) == nil && movesData(s.CDB[0]) {
			n = max(1, min(int(s.DataTransferLength), int(r.conn.maxIO)))
		}
	}
	return n
}

// movesData reports whether a SCSI command reads or writes the medium.
func movesData(code byte) bool {
	switch code {
	case 0x08, 0x28, 0xA8, 0x88, // READ (6), (10), (12), (16)
		0x0A, 0x2A, 0xAA, 0x8A, // WRITE
		0x2E, 0xAE, 0x8E, // WRITE AND VERIFY
		0x89: // COMPARE AND WRITE
		return true
	}
	return false
}

// bind lets a file take part in the schedule.
func (f *file) bind(owner string) {
	if q := f.server.cfg.QoS; q != nil && !f.obj.IsDir() {
		f.binding = q.Bind(owner, f)
	}
}

// unbind ends that.
func (f *file) unbind() {
	if f.binding != nil {
		f.binding.Release()
	}
}

// Place implements qos.Opener.
func (f *file) Place() qos.Place {
	p := qos.Place{Share: f.share.Name, Path: f.path()}
	f.mu.Lock()
	o := f.current
	f.mu.Unlock()
	if o == nil {
		return p
	}
	p.Client, p.RoundTrip = o.conn.remote.String(), o.conn.roundTrip()
	if who := o.session.identity.Load(); who != nil {
		p.User = who.User
	}
	return p
}
