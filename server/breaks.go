package server

import (
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// unsolicited sends a message that answers no request on the first of conns that takes it,
// and reports whether one did. It is not signed [MS-SMB2] 3.3.4.6, 3.3.4.7; with sealer
// set it is encrypted.
func unsolicited(conns []*conn, sealer *session, sessionID uint64, message body) bool {
	for _, c := range conns {
		b := newBuffer(headroom + smb2Header + smallBody + trailer)
		h := smb2.HeaderFields{Status: ntstatus.Success, Command: smb2.CommandOplockBreak, Flags: smb2.FlagServerToRedir,
			MessageID: smb2.UnsolicitedMessageID, SessionID: sessionID}
		smb2.PutHeader(b.mem[headroom:], &h)
		const at = headroom + smb2Header
		text := message.AppendTo(b.mem[at:at:len(b.mem)])
		b.data = b.mem[headroom : at+len(text)]
		ch := chain{conn: c, first: b, tail: b, sealer: sealer, encrypted: sealer != nil}
		if c.out.offer(ch.take()) {
			return true
		}
	}
	return false
}

// oplockBreak sends an oplock break notification for an open on a channel of its
// session [MS-SMB2] 3.3.4.6. It reports whether a connection took it.
func (o *open) oplockBreak(level smb2.OplockLevel) bool {
	var conns []*conn
	if !o.session.dialect.Is3x() {
		conns = []*conn{o.conn}
	} else {
		for _, ch := range o.session.live() {
			conns = append(conns, ch.conn)
		}
	}
	return unsolicited(conns, o.session.breakSealer(o), o.session.id, &smb2.OplockBreak{OplockLevel: level, FileID: o.id})
}

// breakSealer is the session if what it is sent about o has to be encrypted.
func (s *session) breakSealer(o *open) *session {
	if s.keys.canSeal() && (s.encryptData || o.tree.share.Encrypt) {
		return s
	}
	return nil
}

// leaseBreak sends a lease break notification on any connection of a client
// [MS-SMB2] 3.3.4.7. It reports whether one took it.
func (s *Server) leaseBreak(client clientID, n *smb2.LeaseBreakNotification) bool {
	return unsolicited(s.connsOf(client), nil, 0, n)
}
