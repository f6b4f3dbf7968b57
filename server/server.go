package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gabion/protocol/dtyp"
	"gabion/protocol/smb2"
)

// Dialect is a dialect revision number [MS-SMB2] 2.2.3.
type Dialect = smb2.Dialect

// The dialects that can be negotiated.
const (
	Dialect202 = smb2.Dialect202
	Dialect210 = smb2.Dialect210
	Dialect300 = smb2.Dialect300
	Dialect302 = smb2.Dialect302
	Dialect311 = smb2.Dialect311
)

// Server is an SMB2 server [MS-SMB2] 3.3.1.5.
type Server struct {
	cfg      Config
	caps     CapabilitySet
	limits   Limits
	log      *slog.Logger
	metrics  *metrics
	budget   *budget
	pool     *pool
	sessions sessionTable
	opens    openTable
	durables durableTable // files that wait for a reconnect
	creates  createTable  // CREATEs that can be replayed, while they run
	recordMu sync.Mutex   // orders the records of persistent opens
	clock    atomic.Int64 // Unix nanoseconds, advanced by the janitor

	mu        sync.Mutex
	shares    map[string]*Share         // by folded name; guarded by mu
	listeners map[net.Listener]struct{} // guarded by mu
	conns     map[*conn]struct{}        // guarded by mu
	perIP     map[netip.Addr]*visitor   // guarded by mu
	clients   map[clientID]*client      // GlobalClientTable; guarded by mu
	lastConn  uint64                    // guarded by mu
	unauth    int                       // conns not yet authenticated; guarded by mu
	draining  bool                      // guarded by mu

	stop    chan struct{} // closed when the server has been closed
	serving sync.WaitGroup
	open    sync.WaitGroup // connections
}

// visitor counts the connections of one address.
type visitor struct{ all, unauthenticated int }

// client is a Client [MS-SMB2] 3.3.1.16, forgotten with its last connection.
type client struct {
	dialect smb2.Dialect
	conns   []*conn
}

// New makes a server from a configuration. It serves nothing before Serve.
func New(cfg Config) (*Server, error) {
	if err := cfg.validate(memory()); err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, caps: cfg.Capabilities, limits: cfg.Limits, log: cfg.Log,
		budget:    newBudget(cfg.Limits.Payload),
		sessions:  sessionTable{byID: map[uint64]*session{}},
		shares:    map[string]*Share{IPC: {Name: IPC, Comment: "Remote IPC"}},
		listeners: map[net.Listener]struct{}{},
		conns:     map[*conn]struct{}{},
		perIP:     map[netip.Addr]*visitor{},
		clients:   map[clientID]*client{},
		stop:      make(chan struct{}),
	}
	s.pool = newPool(cfg.Limits.Workers, s.Panicked)
	if cfg.GUID == (dtyp.GUID{}) {
		s.cfg.GUID = randomGUID()
	}
	s.opens.init()
	s.metrics = newMetrics(s, cfg.Metrics)
	s.clock.Store(time.Now().UnixNano())
	s.serving.Add(1)
	go s.janitor()
	return s, nil
}

// memory is the machine's memory in bytes.
func memory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 2 << 30
	}
	return int64(info.Totalram) * int64(info.Unit)
}

// ErrClosed is returned by Serve after Shutdown or Close.
var ErrClosed = errors.New("server closed")

// Serve accepts connections from l until the server is shut down or l fails. It
// closes l.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		l.Close()
		return ErrClosed
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	defer func() {
		l.Close()
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	pause := time.Duration(0)
	for {
		nc, err := l.Accept()
		if err == nil {
			pause = 0
			s.accept(nc)
			continue
		}
		s.mu.Lock()
		draining := s.draining
		s.mu.Unlock()
		if draining || errors.Is(err, net.ErrClosed) {
			return ErrClosed
		}
		// Out of file descriptors or memory: better to serve those who are there.
		s.log.Warn("accepting connections", "error", err)
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		select {
		case <-time.After(pause):
		case <-s.stop:
			return ErrClosed
		}
	}
}

// accept begins a connection [MS-SMB2] 3.3.5.1, unless a limit forbids it.
func (s *Server) accept(nc net.Conn) {
	c := &conn{server: s, net: nc, created: time.Now(), window: newWindow()}
	c.remote, c.local = addrPort(nc.RemoteAddr()), addrPort(nc.LocalAddr())
	if !s.admit(c) {
		s.metrics.refused.Inc()
		nc.Close()
		return
	}
	s.metrics.accepted.Inc()
	c.bound()
	s.budget.force(1)
	s.budget.conns.Add(1)
	c.in.init(c)
	c.out.init(c)
	c.lastFrame.Store(s.clock.Load())
	c.active.Store(2)
	go c.out.write()
	go c.read()
}

// bound makes the transport give up a peer that no longer acknowledges what it is sent:
// otherwise the opens of a host that died would count as in use for a quarter of an hour.
func (c *conn) bound() {
	sc, ok := c.net.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(c.server.limits.WriteTimeout.Milliseconds()))
	})
}

// roundTrip is the transport's estimate of the way to the client and back, 0 if it has none.
func (c *conn) roundTrip() (d time.Duration) {
	sc, ok := c.net.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) {
		if i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			d = time.Duration(i.Rtt) * time.Microsecond
		}
	})
	return d
}

// addrPort is the address of a TCP end point; other transports have none.
func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		p := t.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}

// admit enters c into ConnectionList if the limits allow it.
func (s *Server) admit(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.perIP[c.remote.Addr()]
	switch {
	case s.draining || len(s.conns) >= s.limits.Connections, s.unauth >= s.limits.Unauth:
		return false
	case v == nil:
		v = &visitor{}
		s.perIP[c.remote.Addr()] = v
	case v.all >= s.limits.ConnectionsPerIP || v.unauthenticated >= s.limits.UnauthPerIP:
		return false
	}
	v.all++
	v.unauthenticated++
	s.unauth++
	s.lastConn++
	c.id = s.lastConn
	s.conns[c] = struct{}{}
	s.open.Add(1) // under mu: not while Shutdown waits
	return true
}

// trust lifts the limits of unauthenticated connections.
func (s *Server) trust(c *conn) {
	if c.authenticated.Swap(true) {
		return
	}
	s.mu.Lock()
	if _, here := s.conns[c]; here {
		s.perIP[c.remote.Addr()].unauthenticated--
		s.unauth--
	}
	s.mu.Unlock()
}

// gone forgets a connection that nobody uses any more.
func (s *Server) gone(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	v := s.perIP[c.remote.Addr()]
	v.all--
	if !c.authenticated.Load() {
		v.unauthenticated--
		s.unauth--
	}
	if v.all == 0 {
		delete(s.perIP, c.remote.Addr())
	}
	if cl := s.clients[c.client]; cl != nil {
		for i, other := range cl.conns {
			if other == c {
				cl.conns = append(cl.conns[:i:i], cl.conns[i+1:]...)
				break
			}
		}
		if len(cl.conns) == 0 {
			delete(s.clients, c.client)
		}
	}
	s.mu.Unlock()
	s.metrics.closed.Inc()
	s.open.Done()
}

// register enters c into the table of its client; false if the client is known
// with another dialect [MS-SMB2] 3.3.5.5.3.
func (s *Server) register(c *conn) bool {
	if c.dialect == smb2.Dialect202 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	cl := s.clients[c.client]
	if cl == nil {
		s.clients[c.client] = &client{dialect: c.dialect, conns: []*conn{c}}
		return true
	}
	if cl.dialect != c.dialect {
		return false
	}
	for _, other := range cl.conns {
		if other == c {
			return true
		}
	}
	cl.conns = append(cl.conns, c)
	return true
}

// connsOf lists the connections of a client on which a session was made.
func (s *Server) connsOf(id clientID) []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cl := s.clients[id]; cl != nil {
		return append([]*conn(nil), cl.conns...)
	}
	return nil
}

// allConns lists the connections.
func (s *Server) allConns() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		list = append(list, c)
	}
	return list
}

// janitor advances the clock and drops connections that let a deadline pass.
func (s *Server) janitor() {
	defer s.serving.Done()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			s.clock.Store(now.UnixNano())
			for _, c := range s.allConns() {
				if why := c.overdue(now.UnixNano()); why != "" {
					c.fail(why)
				}
			}
		case <-s.stop:
			return
		}
	}
}

// overdue says which deadline the connection has let pass, "" if none.
func (c *conn) overdue(now int64) string {
	l := &c.server.limits
	past := func(since int64, limit time.Duration) bool { return since != 0 && now-since > int64(limit) }
	switch {
	case !c.authenticated.Load() && past(c.created.UnixNano(), l.HandshakeTimeout):
		return "no session in time"
	case past(c.frameBegan.Load(), l.FrameTimeout):
		return "unfinished frame"
	case past(c.out.stalled.Load(), l.WriteTimeout):
		return "client does not take its replies"
	case past(c.lastFrame.Load(), l.IdleTimeout):
		if m := c.channels.Load(); m == nil || len(*m) == 0 {
			return "idle without a session"
		}
	}
	return ""
}

// Shutdown drains the server: listeners and connections are closed when the requests
// in progress have been answered, at the latest when ctx ends. Those that wait, for a break or a lock
// say, are given up without an answer. Opens that can be reclaimed are kept for that.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return ErrClosed
	}
	s.draining = true
	for l := range s.listeners {
		l.Close()
	}
	s.mu.Unlock()
	if s.cfg.QoS != nil {
		s.cfg.QoS.Drain()
	}
	for _, c := range s.allConns() {
		c.drain()
	}
	gone := make(chan struct{})
	go func() { s.open.Wait(); close(gone) }()
	var err error
	select {
	case <-gone:
	case <-ctx.Done():
		err = fmt.Errorf("connections cut off: %w", ctx.Err())
		for _, c := range s.allConns() {
			c.cut.Store(true)
			c.net.Close()
		}
		select {
		case <-gone:
		case <-time.After(cutOffTime):
			// Somebody below does not answer. Waiting for the rest would wait for it.
			return err
		}
	}
	close(s.stop)
	s.serving.Wait()
	s.pool.close()
	return err
}

// cutOffTime is how long requests of connections that have been cut off may take to end.
const cutOffTime = 10 * time.Second

// Close is Shutdown without waiting for requests in progress.
func (s *Server) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := s.Shutdown(ctx)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// drain ends the reader; what has been read is still answered.
func (c *conn) drain() {
	c.net.SetReadDeadline(time.Unix(1, 0))
}

// rejectsUnencrypted is RejectUnencryptedAccess [MS-SMB2] 3.3.1.5.
func (s *Server) rejectsUnencrypted() bool { return s.cfg.Encryption == EncryptionRequired }

func randomGUID() (g dtyp.GUID) {
	for i := range g {
		g[i] = byte(rand.Uint32())
	}
	g[7], g[8] = g[7]&0x0F|0x40, g[8]&0x3F|0x80
	return g
}
