package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/smb2"
)

type clientID = dtyp.GUID

// conn is a Connection [MS-SMB2] 3.3.1.7.
type conn struct {
	server  *Server
	id      uint64
	net     net.Conn
	remote  netip.AddrPort
	local   netip.AddrPort
	created time.Time
	in      frameReader
	out     outgoing

	// What NEGOTIATE settled. Written by it on the reader, which runs it inline
	// before it looks at anything that follows; read-only afterwards.
	negotiation

	// channels is replaced, under mu, never changed: Connection.SessionTable.
	channels atomic.Pointer[map[uint64]*channel]
	// authenticated: some session was valid here; small limits no longer apply.
	authenticated atomic.Bool

	frameBegan atomic.Int64 // when the header of an unfinished frame arrived, else 0
	lastFrame  atomic.Int64 // when the last frame was complete
	active     atomic.Int64 // the reader, the writer and the chains in progress
	cut        atomic.Bool  // a drain ran out of time
	testState               // set only in test mode

	mu        sync.Mutex
	closed    bool     // guarded by mu
	window    window   // guarded by mu
	requests  *request // those in progress; guarded by mu
	lastAsync uint64   // guarded by mu
	waiting   int      // requests after their interim response; guarded by mu
	// bindings is Connection.PreauthSessionTable; guarded by mu
	bindings map[uint64]*setup
}

// negotiation is what a NEGOTIATE exchange settles.
type negotiation struct {
	dialect      smb2.Dialect // 0 before it is settled
	wildcard     bool         // a multi-protocol negotiate was answered with 0x02FF
	multiCredit  bool
	client       clientID
	clientMode   smb2.SecurityMode
	clientCaps   smb2.Capabilities
	serverMode   smb2.SecurityMode
	serverCaps   smb2.Capabilities
	cipher       smb2.Cipher // 0: none
	signing      smb2.SigningAlgorithm
	preauth      [64]byte // Connection.PreauthIntegrityHashValue
	offered      []smb2.Dialect
	maxIO        uint32
	notification bool
}

const (
	// batch is how many frames the reader handles before it sends their replies.
	batch = 32
)

var errDropped = errors.New("dropped")

// read is the reader goroutine: it ends when the connection does.
func (c *conn) read() {
	defer c.torn()
	defer c.recovered(nil)
	defer c.teardown()
	defer c.recovered(nil)
	handled := 0
	for {
		if err := c.frame(); err != nil {
			if !errors.Is(err, errDropped) && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				c.server.log.Debug("connection ends", "client", c.remote, "reason", err)
			}
			return
		}
		if handled++; handled == batch || !c.in.ready() {
			handled = 0
			c.out.flush()
		}
	}
}

// frame reads one frame and begins what it asks for.
func (c *conn) frame() error {
	h, err := c.in.header()
	if err != nil {
		return err
	}
	size := int(h & 0xFFFFFF)
	switch kind := h >> 24; {
	case kind == 0x85 && size == 0:
		return nil // [RFC1002] 4.3.5: session keep-alive
	case kind != 0:
		return fmt.Errorf("frame type %#x", kind)
	case size < 4 || size > c.frameLimit():
		return fmt.Errorf("frame of %d bytes", size)
	}
	at, summed := c.lay(size)
	buf := newBuffer(at + size)
	message := buf.mem[at : at+size]
	c.frameBegan.Store(c.server.clock.Load())
	var s *sums
	if summed {
		s = &buf.sums
		s.from = payloadAt
	}
	if err := c.in.body(message, s); err != nil {
		buf.release()
		return err
	}
	c.frameBegan.Store(0)
	c.lastFrame.Store(c.server.clock.Load())
	c.server.metrics.bytesIn.Add(float64(size))
	c.out.cork()
	return c.receive(buf, message)
}

// frameLimit is the largest frame the client may send now: what its credits stand
// for, and a header's size.
func (c *conn) frameLimit() int {
	if !c.authenticated.Load() {
		return c.server.limits.UnauthFrame
	}
	c.mu.Lock()
	free := c.window.free
	c.mu.Unlock()
	// [MS-SMB2] 3.3.5.2: 68 KiB without large transfers; a message of several
	// credits, or several messages, need as many credits.
	return min(68<<10+free*creditSize, c.server.limits.MaxIO+overhead-headroom)
}

// receive takes over buf, which holds a frame's message.
func (c *conn) receive(buf *buffer, message []byte) error {
	switch smb2.Protocol(message) {
	case smb2.ProtocolSMB2:
		if err := c.checkSize(message); err != nil {
			buf.release()
			return err
		}
		c.begin(newChain(c, buf, message, nil))
	case smb2.ProtocolTransform:
		plain, s, err := c.unseal(message)
		if err != nil {
			buf.release()
			return err
		}
		c.begin(newChain(c, buf, plain, s))
	case smb2.ProtocolSMB1:
		defer buf.release()
		return c.multiProtocol(message)
	default:
		// Compression is not negotiated: [MS-SMB2] 3.3.5.2.1.2.
		buf.release()
		return fmt.Errorf("protocol identifier %#x", smb2.Protocol(message))
	}
	return nil
}

// checkSize is [MS-SMB2] 3.3.5.2 for the sizes that single commands may have.
func (c *conn) checkSize(message []byte) error {
	const small = 68 << 10
	if len(message) < smb2Header {
		return errors.New("message shorter than its header")
	}
	if len(message) <= small {
		return nil
	}
	h := smb2.Header(message[:smb2Header])
	command := h.Command()
	if !c.multiCredit || int(command) < len(commands) && commands[command].payload == nil && h.NextCommand() == 0 {
		return fmt.Errorf("%v of %d bytes", command, len(message))
	}
	return nil
}

// begin runs a chain on the reader, as far as it can.
func (c *conn) begin(ch *chain) {
	c.chainBegun()
	ch.run(true)
}

func (c *conn) chainBegun() { c.active.Add(1) }

// chainDone ends the use of the connection by the reader or by a chain.
func (c *conn) chainDone() {
	if c.active.Add(-1) == 0 {
		c.server.gone(c)
	}
}

// panicked counts and logs a panic with the stack of where it was; called by what is deferred.
func (s *Server) panicked(p any, where ...any) {
	s.metrics.panics.Inc()
	s.log.Error("panic", append(where, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))...)
}

// Panicked is for what works for clients beside the server's own goroutines: a panic there ends one
// operation, and is counted and logged as those are. It is called where the panic was recovered.
func (s *Server) Panicked(p any) { s.panicked(p, "at", "an operation of several clients") }

// recovered, deferred, turns a panic into the end of this connection alone.
func (c *conn) recovered(ch *chain) {
	p := recover()
	if p == nil {
		return
	}
	c.server.panicked(p, "client", c.remote)
	c.fail("panic")
	if ch != nil {
		// What it held is given back, so that the connection can end; its memory is
		// left to the garbage collector, because nobody knows who else has it.
		if r := &ch.req; !r.ended() {
			c.server.budget.give(r.charge)
			r.unpace()
			r.uncount()
			c.forget(r)
		}
		ch.drop()
		c.chainDone()
	}
}

// fail closes the connection because the client broke the protocol or a limit.
func (c *conn) fail(reason string) {
	c.server.log.Debug("connection dropped", "client", c.remote, "reason", reason)
	c.net.Close()
}

// channel returns the channel of the session with an id, nil if there is none here.
func (c *conn) channel(id uint64) *channel {
	if m := c.channels.Load(); m != nil {
		return (*m)[id]
	}
	return nil
}

// addChannel makes ch reachable; false if the connection is closed or full.
func (c *conn) addChannel(ch *channel) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.channels.Load()
	limit := c.server.limits.SessionsPerConn
	if !c.authenticated.Load() {
		limit = c.server.limits.UnauthSessions
	}
	if c.closed || old != nil && len(*old) >= limit {
		return false
	}
	m := map[uint64]*channel{ch.session.id: ch}
	if old != nil {
		for id, other := range *old {
			m[id] = other
		}
	}
	c.channels.Store(&m)
	return true
}

func (c *conn) dropChannel(ch *channel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.channels.Load()
	if old == nil || (*old)[ch.session.id] != ch {
		return
	}
	m := make(map[uint64]*channel, len(*old))
	for id, other := range *old {
		if other != ch {
			m[id] = other
		}
	}
	c.channels.Store(&m)
}

// teardown is the loss of the connection [MS-SMB2] 3.3.7.1. When the server drains,
// what the client has asked before is answered first, but for what waits: that would only be
// told that it was cancelled.
func (c *conn) teardown() {
	why := ReasonSessionLost
	if c.server.isDraining() {
		why = ReasonShutdown
	} else {
		c.net.Close()
		c.out.close()
	}
	c.cancelAll()
	if why == ReasonShutdown {
		c.settle()
		c.net.Close()
		c.out.close()
	}
	if m := c.channels.Load(); m != nil {
		for _, ch := range *m {
			ch.session.lose(ch, why)
		}
	}
}

// torn follows teardown.
func (c *conn) torn() {
	c.in.give()
	c.server.budget.conns.Add(-1)
	c.chainDone()
}

// cancelAll takes the client's credits and cancels what waits.
func (c *conn) cancelAll() {
	c.mu.Lock()
	c.closed = true
	var cancels []func()
	for r := c.requests; r != nil; r = r.following {
		r.lost = !r.cancelled
		r.cancelled = true
		if r.cancel != nil {
			cancels = append(cancels, r.cancel)
			r.cancel = nil
		}
	}
	c.server.budget.give(c.window.free)
	c.window.free = 0
	c.mu.Unlock()
	for _, cancel := range cancels {
		cancel()
	}
}

// settle waits until every request is answered and every answer is written, or the
// transport is gone. It polls, because only a server that goes down comes here.
func (c *conn) settle() {
	for (c.active.Load() > 2 || !c.out.empty()) && !c.cut.Load() {
		time.Sleep(time.Millisecond)
	}
}

// lose takes a channel from the session; the session ends with its last one.
func (s *session) lose(ch *channel, why Reason) {
	s.mu.Lock()
	for i, other := range s.channels {
		if other == ch {
			s.channels = append(s.channels[:i:i], s.channels[i+1:]...)
			break
		}
	}
	last := len(s.channels) == 0
	s.mu.Unlock()
	ch.conn.dropChannel(ch)
	if last {
		s.close(why, nil)
	}
}
