package server

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/store"
)

// chain is what one frame of a client asks for: the messages of a compound, or a
// single one. They are processed in order, one at a time; their replies go out
// as one message [MS-SMB2] 3.3.5.2.7.
type chain struct {
	conn  *conn
	frame *frame
	rest  []byte // messages not yet begun
	index int    // how many have been begun

	// sealer encrypts the replies; nil if the frame came in plain text.
	sealer    *session
	encrypted bool
	begun     bool // req is verified and waits for a goroutine of the pool
	silent    bool // nothing more is answered
	keep      bool // not to be reused: somebody may still hold a pointer to req

	// What a related message takes from the one before it [MS-SMB2] 3.3.5.2.7.2.
	sessionID    uint64
	treeID       uint32
	open         *open
	hasFile      bool            // the message before had or made a FileId
	createFailed ntstatus.Status // of the CREATE whose FileId is missing
	poisoned     bool            // no message to inherit from, or one without session or tree

	first, tail *buffer     // finished replies, in order
	parts       store.Parts // what follows the only one, a READ's, in its message
	hooks       []hook
	vec         [][]byte // used by takeParts

	req request
}

// hook is told the bytes of a reply as they go on the wire.
type hook struct {
	b  *buffer
	fn func([]byte)
}

// frame is a received message's memory, shared by the chains that were made of it.
type frame struct {
	buf  *buffer
	refs atomic.Int32
}

func (f *frame) release() {
	if f.refs.Add(-1) == 0 {
		f.buf.release()
		f.buf = nil
		frames.Put(f)
	}
}

var (
	frames = sync.Pool{New: func() any { return new(frame) }}
	chains = sync.Pool{New: func() any { return new(chain) }}
)

// The phases of a request tell who goes on with its chain. While the handler runs, the
// goroutine that runs the chain does; once the handler has returned without having
// answered, whoever calls finish, or lets it go on with what waited for its turn.
const (
	phaseHandling = iota
	phaseLeft
	phaseFinished
	phaseAdmitted // it waited for its turn, which has come
)

// newChain takes over buf, whose data is a message that begins with a header.
func newChain(c *conn, buf *buffer, message []byte, sealer *session) *chain {
	f := frames.Get().(*frame)
	f.buf = buf
	f.refs.Store(1)
	ch := chains.Get().(*chain)
	ch.conn, ch.frame, ch.rest = c, f, message
	ch.sealer, ch.encrypted = sealer, sealer != nil
	return ch
}

// free gives the chain's memory back.
func (ch *chain) free() {
	ch.frame.release()
	ch.conn.chainDone()
	if ch.keep {
		ch.frame = nil
		return
	}
	*ch = chain{hooks: ch.hooks[:0], parts: ch.parts, vec: ch.vec}
	chains.Put(ch)
}

// run goes on with the chain until it waits for something or has been answered.
// On the reader only rows marked inline run here, and paced ones up to their turn; the
// rest moves to the pool.
func (ch *chain) run(onReader bool) {
	defer ch.conn.recovered(ch)
	r := &ch.req
	for {
		if r.phase.CompareAndSwap(phaseAdmitted, phaseHandling) {
			ch.begun = true
		}
		if !ch.begun {
			if ch.rest == nil {
				if b := ch.take(); b != nil {
					if onReader {
						ch.conn.out.add(b)
					} else {
						ch.conn.out.addNow(b)
					}
				}
				ch.free()
				return
			}
			if !ch.begin() {
				ch.abandon()
				return
			}
		}
		if r.phase.Load() == phaseHandling {
			r.reading = onReader && r.row.has(rowPaced) && r.then == nil && r.takesTurn()
			if onReader && !r.reading && !r.row.has(rowInline) {
				ch.begun = true
				ch.conn.server.pool.submit(ch)
				return
			}
			ch.begun = false
			if r.then != nil {
				r.admitted()
			} else {
				r.row.handle(r)
			}
			if r.phase.CompareAndSwap(phaseHandling, phaseLeft) {
				return
			}
		}
	}
}

// work is run on the pool.
func (ch *chain) work() { ch.run(false) }

// resume goes on after a finish that came when the handler had returned. It may
// be called where nothing may block, so further messages run on the pool.
func (ch *chain) resume() {
	if ch.rest != nil {
		ch.conn.server.pool.submit(ch)
		return
	}
	defer ch.conn.recovered(ch)
	ch.send()
	ch.free()
}

// begin makes the next message the current request and verifies it, which may
// answer it. It is false when the connection has to be closed.
func (ch *chain) begin() bool {
	msg, rest, err := smb2.Split(ch.rest)
	if err != nil {
		return false
	}
	ch.rest = rest
	ch.index++
	r := &ch.req
	r.reset(ch, msg)
	if r.hdr.Flags&smb2.FlagServerToRedir != 0 {
		return false
	}
	// [MS-SMB2] 3.3.5.2.1.1: who encrypts speaks for that session alone. The messages are not signed.
	if ch.encrypted && r.hdr.Flags&smb2.FlagRelatedOperations == 0 && r.hdr.SessionID != ch.sealer.id {
		return false
	}
	if int(r.hdr.Command) < len(commands) {
		r.row = &commands[r.hdr.Command]
		ch.conn.server.metrics.requests[r.hdr.Command].Inc()
		r.stamp()
		return r.admit()
	}
	// [MS-SMB2] 3.3.5.2.6 closes the connection. Deviation: inside a compound Windows
	// fails the one message.
	r.row = &unknownCommand
	return ch.index > 1 && r.admit()
}

// reset prepares the request for another message.
func (r *request) reset(ch *chain, msg []byte) {
	*r = request{chain: ch, conn: ch.conn, msg: msg, last: ch.rest == nil}
	r.hdr = smb2.Header(msg[:smb2Header]).Fields()
}

// answered takes over the reply of a request, and what the next may need of it.
func (ch *chain) answered(r *request, status ntstatus.Status) {
	b := r.reply
	r.reply = nil
	if ch.tail == nil {
		ch.first = b
	} else {
		ch.tail.next = b
	}
	ch.tail = b
	b.signer = r.signer
	if r.sealed != nil {
		ch.hooks = append(ch.hooks, hook{b, r.sealed})
		r.sealed = nil
	}
	ch.sessionID, ch.treeID = r.hdr.SessionID, r.hdr.TreeID
	if r.row.has(rowSession) && r.session == nil || r.row.has(rowTree) && r.tree == nil {
		ch.poisoned = true
	}
	if r.hdr.Command == smb2.CommandCreate {
		ch.createFailed = 0
		if !status.IsSuccess() {
			ch.createFailed = status
		}
		ch.hasFile = true
	} else if r.row.fileID != 0 {
		ch.hasFile = true
	}
	if r.open != nil {
		ch.open = r.open
	}
}

// restart forgets what a related message could inherit.
func (ch *chain) restart() {
	ch.sessionID, ch.treeID = 0, 0
	ch.open, ch.hasFile, ch.createFailed, ch.poisoned = nil, false, 0, false
}

// take hands out the finished replies as one message, ready for the wire.
func (ch *chain) take() *buffer {
	first := ch.first
	ch.first, ch.tail = nil, nil
	if first == nil {
		return nil
	}
	if ch.silent {
		ch.conn.out.drop(first)
		ch.parts.Release()
		clear(ch.hooks)
		ch.hooks = ch.hooks[:0]
		return nil
	}
	if len(ch.parts.List) > 0 {
		return ch.takeParts(first)
	}
	size := 0
	for b := first; b != nil; b = b.next {
		h := smb2.Header(b.data)
		if first.next != nil {
			// [MS-SMB2] 3.3.4.1.3: each message of a compound is padded to 8 bytes.
			b.data = padded(b)
		}
		if b.next != nil {
			h.SetNextCommand(uint32(len(b.data)))
		}
		if !ch.encrypted && b.signer != nil {
			b.signer.Sign(b.data)
		}
		b.signer = nil
		size += len(b.data)
	}
	for _, h := range ch.hooks {
		h.fn(h.b.data)
	}
	clear(ch.hooks)
	ch.hooks = ch.hooks[:0]
	if ch.encrypted {
		return ch.sealer.seal(first, size)
	}
	// The frame's header goes right in front of the first message.
	const at = headroom - frameHeader
	putFrameHeader(first.mem[at:], size)
	first.data = first.mem[at : headroom+len(first.data)]
	return first
}

// putFrameHeader writes a transport header [MS-SMB2] 2.1.
func putFrameHeader(b []byte, size int) { binary.BigEndian.PutUint32(b, uint32(size)) }

// padded extends b's data with zeros to a multiple of 8.
func padded(b *buffer) []byte {
	n := len(b.data)
	pad := -n & 7
	data := b.mem[headroom : headroom+n+pad]
	clear(data[n:])
	return data
}

// send queues all finished replies as one message.
func (ch *chain) send() {
	if b := ch.take(); b != nil {
		ch.conn.out.add(b)
	}
}

// interim sends the interim response of the current request [MS-SMB2] 3.3.4.2, after the
// replies that are ready. It is not signed.
func (ch *chain) interim(r *request, asyncID uint64) {
	ch.send()
	h := r.replyHeader(ntstatus.Pending)
	h.Flags = h.Flags&^smb2.FlagRelatedOperations | smb2.FlagAsyncCommand
	h.AsyncID = asyncID
	h.Credits = uint16(r.conn.grantInterim(int(r.hdr.Credits), r.charge))
	b := newBuffer(headroom + smb2Header + 16 + trailer)
	e := smb2.ErrorResponse{}
	smb2.PutHeader(b.mem[headroom:], &h)
	const at = headroom + smb2Header
	body := e.AppendTo(b.mem[at:at:len(b.mem)])
	b.data = b.mem[headroom : at+len(body)]
	ch.first, ch.tail = b, b
	ch.send()
	ch.split(r)
}

// split lets what does not depend on a pending request go on without it.
func (ch *chain) split(r *request) {
	ch.index = 1 // the reply to come is not part of a compound
	if ch.rest == nil || len(ch.rest) >= smb2Header && smb2.Header(ch.rest[:smb2Header]).IsRelated() {
		return
	}
	other := chains.Get().(*chain)
	other.conn, other.frame, other.rest = ch.conn, ch.frame, ch.rest
	other.sealer, other.encrypted, other.index = ch.sealer, ch.encrypted, 1
	ch.frame.refs.Add(1)
	ch.conn.chainBegun()
	ch.rest = nil
	ch.conn.server.pool.submit(other)
}

// abandon drops the chain because its connection must be closed.
func (ch *chain) abandon() {
	ch.drop()
	ch.conn.fail("malformed message")
	ch.free()
}

// drop releases the finished replies, which will not be sent.
func (ch *chain) drop() {
	ch.conn.out.drop(ch.first)
	ch.parts.Release()
	ch.first, ch.tail = nil, nil
}
