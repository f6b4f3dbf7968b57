package server

import (
	"encoding/binary"

	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// row is what the dispatcher knows about a command.
type row struct {
	name   string
	handle func(*request)
	// structure and fixed are the body's StructureSize and the least bytes it has.
	structure uint16
	fixed     int
	// fileID is the offset of the FileId in the body, 0 if there is none: the
	// dispatcher finds the open and verifies the channel sequence.
	fileID int
	flags  rowFlags
	// payload tells the bytes sent and the most bytes expected [MS-SMB2] 3.1.5.2;
	// nil for commands that never need more than one credit.
	payload func(body []byte) (send, receive uint32)
}

type rowFlags uint8

const (
	rowSession     rowFlags = 1 << iota // needs a valid session
	rowTree                             // needs a tree connect
	rowMutates                          // WRITE, SET_INFO, IOCTL: refused when the channel sequence is stale
	rowExpired                          // also in a session that is expired or in progress
	rowInline                           // cannot block: runs on the reader
	rowPaced                            // takes its turn, see paced, and cannot block before
	rowAnyOpen                          // IOCTL: the control code says whether there is an open
	rowKeepsReplay                      // does not end Open.IsReplayEligible
)

func (r *row) has(f rowFlags) bool { return r.flags&f != 0 }

const (
	forSession = rowSession
	forTree    = rowSession | rowTree
)

func at32(off int) func([]byte) (uint32, uint32) {
	return func(b []byte) (uint32, uint32) { return 0, binary.LittleEndian.Uint32(b[off:]) }
}

// commands has one row per command, indexed by it.
var commands [smb2.NumCommands]row

// The table is filled in here because its handlers lead back to it.
func init() {
	commands = [smb2.NumCommands]row{
		smb2.CommandNegotiate:      {name: "NEGOTIATE", handle: negotiate, structure: 36, fixed: 36, flags: rowInline},
		smb2.CommandSessionSetup:   {name: "SESSION_SETUP", handle: sessionSetup, structure: 25, fixed: 24},
		smb2.CommandLogoff:         {name: "LOGOFF", handle: logoff, structure: 4, fixed: 4, flags: forSession | rowExpired},
		smb2.CommandTreeConnect:    {name: "TREE_CONNECT", handle: treeConnect, structure: 9, fixed: 8, flags: forSession},
		smb2.CommandTreeDisconnect: {name: "TREE_DISCONNECT", handle: treeDisconnect, structure: 4, fixed: 4, flags: forTree},
		smb2.CommandCreate:         {name: "CREATE", handle: create, structure: 57, fixed: 56, flags: forTree},
		smb2.CommandClose:          {name: "CLOSE", handle: closeFile, structure: 24, fixed: 24, fileID: 8, flags: forTree | rowExpired},
		smb2.CommandFlush:          {name: "FLUSH", handle: flush, structure: 24, fixed: 24, fileID: 8, flags: forTree},
		smb2.CommandRead:           {name: "READ", handle: read, structure: 49, fixed: 48, fileID: 16, flags: forTree | rowPaced, payload: at32(4)},
		smb2.CommandWrite: {name: "WRITE", handle: write, structure: 49, fixed: 48, fileID: 16, flags: forTree | rowMutates | rowPaced,
			payload: func(b []byte) (uint32, uint32) { return binary.LittleEndian.Uint32(b[4:]), 0 }},
		smb2.CommandLock: {name: "LOCK", handle: lock, structure: 48, fixed: 48, fileID: 8, flags: forTree | rowExpired},
		smb2.CommandIoctl: {name: "IOCTL", handle: ioctl, structure: 57, fixed: 56, fileID: 8, flags: forTree | rowMutates | rowAnyOpen,
			payload: func(b []byte) (uint32, uint32) {
				u32 := binary.LittleEndian.Uint32
				return sum32(u32(b[28:]), u32(b[40:])), sum32(u32(b[32:]), u32(b[44:]))
			}},
		smb2.CommandCancel: {name: "CANCEL", handle: cancel, structure: 4, fixed: 4, flags: rowInline},
		smb2.CommandEcho:   {name: "ECHO", handle: echo, structure: 4, fixed: 4, flags: rowInline},
		smb2.CommandQueryDirectory: {name: "QUERY_DIRECTORY", handle: queryDirectory, structure: 33, fixed: 32, fileID: 8, flags: forTree,
			payload: at32(28)},
		smb2.CommandChangeNotify: {name: "CHANGE_NOTIFY", handle: changeNotify, structure: 32, fixed: 32, fileID: 8, flags: forTree,
			payload: at32(4)},
		smb2.CommandQueryInfo: {name: "QUERY_INFO", handle: queryInfo, structure: 41, fixed: 40, fileID: 24, flags: forTree,
			payload: func(b []byte) (uint32, uint32) {
				return binary.LittleEndian.Uint32(b[12:]), binary.LittleEndian.Uint32(b[4:])
			}},
		smb2.CommandSetInfo: {name: "SET_INFO", handle: setInfo, structure: 33, fixed: 32, fileID: 16, flags: forTree | rowMutates,
			payload: func(b []byte) (uint32, uint32) { return binary.LittleEndian.Uint32(b[4:]), 0 }},
		// Lease acknowledgements have another structure and no FileId: the handler tells them apart.
		smb2.CommandOplockBreak: {name: "OPLOCK_BREAK", handle: oplockBreak, fixed: 24, flags: forSession},
	}
}

// unknownCommand is the row of commands that do not exist.
var unknownCommand = row{name: "unknown", structure: 0xFFFF}

func sum32(a, b uint32) uint32 {
	if s := a + b; s >= a {
		return s
	}
	return ^uint32(0)
}

// admit verifies the request [MS-SMB2] 3.3.5.2 in the specification's order. A
// request that fails a check is answered here. False closes the connection.
func (r *request) admit() bool {
	c := r.conn
	if r.hdr.Command == smb2.CommandCancel {
		return c.dialect != 0
	}
	// 3.3.5.2.2
	if r.hdr.Command != smb2.CommandNegotiate && c.dialect == 0 {
		return false
	}
	// 3.3.5.2.3
	if !c.consume(r) {
		return false
	}
	if r.hdr.Flags&smb2.FlagRelatedOperations == 0 {
		r.chain.restart()
	} else if !r.relate() {
		return true
	}
	if !r.verifySignature() || !r.verifyForm() {
		return true
	}
	if r.isTestControl() {
		return true
	}
	if r.row.has(rowSession) && !r.verifySession() {
		return true
	}
	if r.row.has(rowTree) && !r.verifyTree() {
		return true
	}
	if r.row.fileID != 0 {
		r.findOpen()
	}
	return true
}

// relate takes over what a related message inherits [MS-SMB2] 3.3.5.2.7.2.
func (r *request) relate() bool {
	ch := r.chain
	if ch.index == 1 {
		ch.poisoned = true
	}
	if ch.poisoned {
		if c := r.conn.channel(r.hdr.SessionID); c != nil && !ch.encrypted && r.hdr.Flags&smb2.FlagSigned != 0 {
			if s := c.signing(); s != nil && s.Verify(r.msg) {
				r.session, r.signer = c.session, s
			}
		}
		r.fail(ntstatus.InvalidParameter)
		return false
	}
	r.hdr.SessionID, r.hdr.TreeID = ch.sessionID, ch.treeID
	return true
}

// verifyForm checks the body's size and the credit charge [MS-SMB2] 3.3.5.2.5, 3.3.5.2.6.
func (r *request) verifyForm() bool {
	body := r.msg[smb2Header:]
	if len(body) < r.row.fixed || r.row.structure != 0 && binary.LittleEndian.Uint16(body) != r.row.structure {
		r.fail(ntstatus.InvalidParameter)
		return false
	}
	if r.row.payload == nil || !r.conn.multiCredit {
		return true
	}
	send, receive := r.row.payload(body)
	n := max(send, receive)
	if n > 0 && (n-1)/creditSize+1 > uint32(r.charge) {
		r.fail(ntstatus.InvalidParameter)
		return false
	}
	return true
}

// verifySignature is [MS-SMB2] 3.3.5.2.4. SESSION_SETUP verifies its own, since a binding
// is signed with a key of another connection.
func (r *request) verifySignature() bool {
	c := r.conn
	ch := c.channel(r.hdr.SessionID)
	if r.hdr.Command == smb2.CommandSessionSetup {
		r.session = nil
		return true
	}
	signed := r.hdr.Flags&smb2.FlagSigned != 0
	if r.hdr.Command == smb2.CommandNegotiate {
		if signed {
			r.fail(ntstatus.InvalidParameter)
			return false
		}
		return true
	}
	if ch != nil {
		r.session = ch.session
	}
	if r.chain.encrypted {
		return true
	}
	switch {
	case signed && ch == nil:
		r.fail(ntstatus.UserSessionDeleted)
		return false
	case signed:
		s := ch.signing()
		if s == nil {
			r.fail(ntstatus.NotSupported)
			return false
		}
		if !s.Verify(r.msg) {
			c.server.metrics.badSignatures.Inc()
			r.fail(ntstatus.AccessDenied)
			return false
		}
		r.signer = s
	case ch != nil && ch.session.signingRequired.Load():
		r.fail(ntstatus.AccessDenied)
		return false
	}
	return true
}

// verifySession is [MS-SMB2] 3.3.5.2.9.
func (r *request) verifySession() bool {
	s := r.session
	if s == nil {
		r.fail(ntstatus.UserSessionDeleted)
		return false
	}
	s.touch()
	switch state := s.currentState(); {
	case state == sessionValid:
	case r.row.has(rowExpired) && state != sessionClosed:
	case state == sessionExpired:
		r.fail(ntstatus.NetworkSessionExpired)
		return false
	case state == sessionInProgress:
		// Windows' SEC_E_UNSUPPORTED_FUNCTION [MS-SMB2] note 272.
		r.fail(ntstatus.Status(0x80090302))
		return false
	default:
		r.fail(ntstatus.UserSessionDeleted)
		return false
	}
	if r.conn.dialect.Is3x() {
		s.sequences.note(r.hdr.ChannelSequence, s.server.breaksTold)
	}
	if s.encryptData && !r.chain.encrypted && r.conn.dialect.Is3x() && r.conn.server.rejectsUnencrypted() {
		r.fail(ntstatus.AccessDenied)
		return false
	}
	return true
}

// verifyTree is [MS-SMB2] 3.3.5.2.11.
func (r *request) verifyTree() bool {
	r.tree = r.session.tree(r.hdr.TreeID)
	if r.tree == nil {
		r.fail(ntstatus.NetworkNameDeleted)
		return false
	}
	if r.tree.share.Encrypt && !r.chain.encrypted {
		r.fail(ntstatus.AccessDenied)
		return false
	}
	return true
}

// findOpen finds the open that the FileId names, or that of the message before,
// and verifies the channel sequence.
func (r *request) findOpen() {
	b := r.msg[smb2Header+r.row.fileID:]
	id := smb2.FileID{Persistent: binary.LittleEndian.Uint64(b), Volatile: binary.LittleEndian.Uint64(b[8:])}
	related := r.hdr.Flags&smb2.FlagRelatedOperations != 0
	if r.row.has(rowAnyOpen) && withoutOpen(r.msg) {
		// [MS-SMB2] 3.3.5.15: these are about no file.
		if !id.IsAny() {
			r.fail(ntstatus.InvalidParameter)
		}
		return
	}
	var o *open
	if related {
		switch ch := r.chain; {
		case ch.createFailed != 0:
			r.fail(ch.createFailed)
			return
		case !ch.hasFile:
			r.fail(ntstatus.InvalidHandle)
			return
		default:
			o = ch.open
		}
	} else {
		o = r.conn.server.opens.find(id)
	}
	if o == nil || o.session != r.session || o.tree != r.tree || !o.hold() {
		r.fail(ntstatus.FileClosed)
		return
	}
	r.open, r.holds = o, true
	if !r.row.has(rowKeepsReplay) {
		o.replayEligible.Store(false)
	}
	if !r.conn.dialect.Is3x() {
		return
	}
	status, counted := o.verifySequence(r.hdr.ChannelSequence, r.isReplay(), r.row.has(rowMutates))
	if status != ntstatus.Success {
		r.fail(status)
		return
	}
	r.counted, r.sequence = counted, r.hdr.ChannelSequence
}

// withoutOpen reports whether an IOCTL's control code is one that names no open.
func withoutOpen(msg []byte) bool {
	row, known := fsctls[fscc.FSCTL(binary.LittleEndian.Uint32(msg[smb2Header+4:]))]
	return known && row.flags&fsctlNoOpen != 0
}

// echo answers ECHO [MS-SMB2] 3.3.5.17.
var emptyEcho = &smb2.Empty{Of: smb2.CommandEcho}

func echo(r *request) {
	r.ok(emptyEcho)
}
