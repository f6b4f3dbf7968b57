package server

import (
	"time"

	"golang.org/x/sys/unix"

	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// notice is a message that answers no request, a break notification. One connection
// carries it; when that turns out to be dead, the next one does.
type notice struct {
	server  *Server
	route   func() []*conn // what can carry it now, in order of preference
	session uint64
	sealer  *session // set: it is encrypted
	message body
	over    func() bool // nobody has to be told any more
	lost    func()      // called once if nothing can carry it
}

// oplockBreak sends an oplock break notification for an open on a channel of its
// session [MS-SMB2] 3.3.4.6. It calls lost if no connection takes it, unless the break is over by then.
func (o *open) oplockBreak(level smb2.OplockLevel, over func() bool, lost func()) {
	n := &notice{server: o.conn.server, route: o.breakRoute, session: o.session.id, sealer: o.session.breakSealer(o),
		message: &smb2.OplockBreak{OplockLevel: level, FileID: o.id}, over: over, lost: lost}
	n.send()
}

// breakRoute lists the connections that may carry a break of o.
func (o *open) breakRoute() []*conn {
	if !o.session.dialect.Is3x() {
		return []*conn{o.conn}
	}
	var conns []*conn
	for _, ch := range o.session.live() {
		conns = append(conns, ch.conn)
	}
	return conns
}

// breakSealer is the session if what it is sent about o has to be encrypted.
func (s *session) breakSealer(o *open) *session {
	if s.keys.canSeal() && (s.encryptData || o.tree.share.Encrypt) {
		return s
	}
	return nil
}

// leaseBreak sends a lease break notification on any connection of a client
// [MS-SMB2] 3.3.4.7. It calls lost if none takes it, unless the break is over by then.
func (s *Server) leaseBreak(client clientID, message *smb2.LeaseBreakNotification, over func() bool, lost func()) {
	n := &notice{server: s, route: func() []*conn { return s.connsOf(client) }, message: message, over: over, lost: lost}
	n.send()
}

// send puts the notice on the first connection that takes it, which is watched until the
// client's transport has it.
func (n *notice) send() {
	conns := n.route()
	for _, c := range conns {
		end, ok := c.out.offer(n.frame(c))
		if !ok {
			continue
		}
		time.AfterFunc(c.patience(len(conns) > 1), func() { n.check(c, end) })
		return
	}
	n.lost()
}

// frame is the message for one connection. It is not signed [MS-SMB2] 3.3.4.6, 3.3.4.7.
func (n *notice) frame(c *conn) *buffer {
	b := newBuffer(headroom + smb2Header + smallBody + trailer)
	h := smb2.HeaderFields{Status: ntstatus.Success, Command: smb2.CommandOplockBreak, Flags: smb2.FlagServerToRedir,
		MessageID: smb2.UnsolicitedMessageID, SessionID: n.session}
	smb2.PutHeader(b.mem[headroom:], &h)
	const at = headroom + smb2Header
	text := n.message.AppendTo(b.mem[at:at:len(b.mem)])
	b.data = b.mem[headroom : at+len(text)]
	ch := chain{conn: c, first: b, tail: b, sealer: n.sealer, encrypted: n.sealer != nil}
	return ch.take()
}

// check looks whether the notice that ended at a position of c's stream got through. If
// not the connection is dropped: "If the send fails, the server MUST try the next one".
func (n *notice) check(c *conn, end uint64) {
	defer c.recovered(nil)
	if n.server.isDraining() || c.delivered(end) {
		return
	}
	if !c.out.isClosed() {
		c.fail("a break notification was not acknowledged by the client's transport")
		c.out.close()
	}
	if !n.over() {
		n.send()
	}
}

// How long a notice may stay unacknowledged.
const (
	minPatience = time.Second
	maxPatience = 10 * time.Second
)

// patience is how long a notice on c may stay unacknowledged: six retransmission timeouts
// if there is another connection, which a client with a dead network path waits for.
func (c *conn) patience(others bool) time.Duration {
	if !others {
		return maxPatience
	}
	info, _ := c.out.transport()
	if info == nil {
		return minPatience
	}
	return min(max(6*time.Duration(info.Rto)*time.Microsecond, minPatience), maxPatience)
}

// delivered reports whether the client's transport is known to have acknowledged what was sent
// up to a position of the stream. Of a connection that is closed nobody knows any more.
func (c *conn) delivered(end uint64) bool {
	if deaf := c.deaf.Load(); deaf > 0 && end > deaf {
		return false
	}
	info, open := c.out.transport()
	return open && (info == nil || info.Bytes_acked >= end)
}

// transport is what TCP knows about the connection; nil if it is closed, or runs on
// something else.
func (o *outgoing) transport() (info *unix.TCPInfo, open bool) {
	if o.raw == nil {
		return nil, true
	}
	err := o.raw.Control(func(fd uintptr) { info, _ = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	return info, err == nil
}
