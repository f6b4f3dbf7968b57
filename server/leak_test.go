package server

import (
	"bytes"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// TestEverythingIsGivenBack ends connections in every state a client can leave them
// in: afterwards the server holds nothing.
func TestEverythingIsGivenBack(t *testing.T) {
	s, addr := startServer(t, nil)
	idle := runtime.NumGoroutine()
	leave := []func(p *peer){
		func(p *peer) {},
		func(p *peer) { p.nc.Write([]byte{0, 0, 1}) },
		func(p *peer) { p.negotiate(Dialect311) },
		func(p *peer) { p.negotiate(Dialect311); p.setup("again alice", 0, 0) },
		func(p *peer) { p.negotiate(Dialect311); p.setup("stranger", 0, 0) },
		func(p *peer) { p.negotiate(Dialect311); p.login("alice"); p.mount(IPC) },
		func(p *peer) {
			p.negotiate(Dialect311)
			p.login("alice")
			p.mount(IPC)
			id := p.open("mute")
			for range 5 {
				p.write(p.message(smb2.CommandRead, &smb2.ReadRequest{FileID: id, Length: 100}))
				expect(p.t, "READ", p.status(), ntstatus.Pending)
			}
		},
		func(p *peer) {
			p.negotiate(Dialect311)
			p.login("alice")
			p.mount(IPC)
			id := p.open("echo")
			for range 20 {
				p.write(p.message(smb2.CommandWrite, &smb2.WriteRequest{FileID: id, Data: make([]byte, 60000)}))
			}
		},
		func(p *peer) {
			p.negotiate(Dialect311)
			p.login("alice")
			p.write(p.message(0x77, echoBody()))
		},
		func(p *peer) {
			p.negotiate(Dialect311)
			p.login("alice")
			p.mount(IPC)
			p.write(compound(p.message(smb2.CommandCreate, createOf("mute")),
				p.message(smb2.CommandRead, &smb2.ReadRequest{FileID: smb2.AnyFileID, Length: 9}, related)))
		},
	}
	var all sync.WaitGroup
	for _, f := range leave {
		for range 8 {
			all.Add(1)
			go func() {
				defer all.Done()
				nc, err := net.Dial("tcp", addr)
				if err != nil {
					t.Error(err)
					return
				}
				p := &peer{t: t, nc: nc}
				f(p)
				nc.Close()
			}()
		}
	}
	all.Wait()
	for len(s.allConns()) > 0 {
		runtime.Gosched()
	}
	s.Close()
	if n := s.budget.taken.Load(); n != 0 {
		t.Errorf("%d credits of the payload budget are lost", n)
	}
	if n := s.opens.count(); n != 0 {
		t.Errorf("%d opens are left", n)
	}
	if n := len(s.sessions.all()); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	if n := len(s.perIP) + len(s.conns) + len(s.clients) + s.unauth; n != 0 {
		t.Errorf("%d entries of connections are left", n)
	}
	if n := s.Share(IPC).Uses(); n != 0 {
		t.Errorf("%d uses of IPC$ are left", n)
	}
	// A goroutine that has said it is done is still counted until it has returned.
	for end := time.Now().Add(deadline); runtime.NumGoroutine() > idle; runtime.Gosched() {
		if time.Now().After(end) {
			stacks := make([]byte, 64<<10)
			t.Fatalf("more than the %d goroutines of the beginning:\n%s", idle, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// TestLostWhileWriting loses a connection just while the reader or the writer has taken
// messages out of the queue to write them: what they could not write is given back as well.
func TestLostWhileWriting(t *testing.T) {
	messages := func(c *conn, n int) {
		for range n {
			b := newBuffer(smallBody)
			b.data, b.charge = b.mem[:smallBody], c.server.budget.take(1)
			c.out.add(b)
		}
	}
	given := func(t *testing.T, c *conn) {
		t.Helper()
		if n := c.server.budget.taken.Load(); n != 0 {
			t.Errorf("%d credits are lost", n)
		}
		if c.out.head != nil {
			t.Error("a closed queue holds messages")
		}
	}
	t.Run("reader", func(t *testing.T) {
		client, nc := tcpPair(t)
		c := queueOf(t, nc)
		c.out.once = func(uintptr) bool {
			// The writer has met the same error, a moment earlier.
			client.Close()
			c.out.close()
			c.out.sent, c.out.err = 0, unix.ECONNRESET
			return true
		}
		c.out.cork()
		messages(c, 4)
		c.out.flush()
		given(t, c)
	})
	t.Run("writer", func(t *testing.T) {
		c := queueOf(t, nil)
		c.net = lossy{lose: c.out.close}
		c.active.Store(2)
		c.out.cork()
		messages(c, maxVector+4)
		c.out.rouse()
		c.out.write()
		given(t, c)
	})
}

// queueOf is a connection that has nothing but its queue of outgoing messages.
func queueOf(t *testing.T, nc net.Conn) *conn {
	s, err := New(Config{Auth: believer{}, Pipes: testPipes{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	c := &conn{server: s, net: nc}
	c.out.init(c)
	return c
}

// lossy is a transport that its other users give up while it is written to.
type lossy struct {
	net.Conn
	lose func()
}

func (l lossy) Write([]byte) (int, error) { l.lose(); return 0, unix.ECONNRESET }
func (lossy) Close() error                { return nil }

// tcpPair is a client's and a server's end of one connection.
func tcpPair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

// TestPanicInCompound panics in the second message of a compound: the reply to the first,
// which can no longer be sent, is given back with everything else.
func TestPanicInCompound(t *testing.T) {
	s, addr := startServer(t, nil)
	p := connect(t, addr, Dialect311, "alice")
	expect(t, "TREE_CONNECT", p.mount(IPC), ntstatus.Success)
	p.write(compound(p.message(smb2.CommandCreate, createOf("bad")),
		p.message(smb2.CommandWrite, &smb2.WriteRequest{FileID: smb2.AnyFileID, Data: []byte("x")}, related)))
	if !p.closed() {
		t.Fatal("the connection outlived the panic")
	}
	s.Close()
	if n := s.budget.taken.Load(); n != 0 {
		t.Errorf("%d credits are lost", n)
	}
}

// TestPanics panics where no request's goroutine is: where a connection that is lost is torn down, on
// the pool, in what waited for the log, and in the check of a break. It costs a connection at most, and is logged with its stack.
func TestPanics(t *testing.T) {
	var log bytes.Buffer
	var mu sync.Mutex
	s, addr := startServer(t, func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return log.Write(b)
		}), nil))
	})
	there := connect(t, addr, Dialect311, "bob")
	p := connect(t, addr, Dialect311, "alice")
	expect(t, "TREE_CONNECT", p.mount(IPC), ntstatus.Success)
	p.open("brittle")
	conns := s.allConns()
	p.nc.Close()
	for len(s.allConns()) != len(conns)-1 {
		time.Sleep(time.Millisecond)
	}
	done := make(chan struct{})
	s.pool.submit(taskFunc(func() { defer close(done); panic("on the pool") }))
	<-done
	c := s.allConns()[0]
	n := &notice{server: s, over: func() bool { panic("of a break") }}
	c.deaf.Store(1)
	n.check(c, 2)
	if !there.closed() {
		t.Error("a connection outlived the panic that it was about")
	}
	connect(t, addr, Dialect311, "alice")
	s.Close()
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{"a pipe that is brittle", "on the pool", "of a break"} {
		i := strings.Index(log.String(), want)
		if i < 0 || !strings.Contains(log.String()[i:], "leak_test.go") && !strings.Contains(log.String()[i:], "peer_test.go") {
			t.Errorf("%q and its stack are not in the log:\n%s", want, log.String())
		}
	}
	if n := s.budget.taken.Load(); n != 0 {
		t.Errorf("%d credits are lost", n)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// FuzzFrames gives a connection with a session and an open pipe one frame after the
// other: whatever they are, nothing panics and everything is given back.
func FuzzFrames(f *testing.F) {
	p := &peer{t: f, session: 1, tree: 1}
	p.next = 0
	id := smb2.FileID{Persistent: 1, Volatile: 1}
	for _, m := range [][]byte{
		p.message(smb2.CommandEcho, echoBody()),
		p.message(smb2.CommandSessionSetup, &smb2.SessionSetupRequest{SecurityBuffer: []byte("alice")}),
		p.message(smb2.CommandTreeConnect, &smb2.TreeConnectRequest{Path: []byte("\\\x00\\\x00a\x00\\\x00I\x00P\x00C\x00$\x00")}),
		p.message(smb2.CommandCreate, createOf("echo")),
		p.message(smb2.CommandRead, &smb2.ReadRequest{FileID: id, Length: 10}),
		p.message(smb2.CommandWrite, &smb2.WriteRequest{FileID: id, Data: []byte("x")}),
		p.message(smb2.CommandIoctl, &smb2.IoctlRequest{FileID: id, CtlCode: smb2.FsctlPipeTransceive, Input: []byte("x"), MaxOutputResponse: 9, Flags: 1}),
		p.message(smb2.CommandQueryInfo, &smb2.QueryInfoRequest{FileID: id, InfoType: smb2.InfoFile, FileInfoClass: 5, OutputBufferLength: 100}),
		p.message(smb2.CommandCancel, echoBody()),
		p.message(smb2.CommandLogoff, echoBody()),
		compound(p.message(smb2.CommandCreate, createOf("mute")), p.message(smb2.CommandRead, &smb2.ReadRequest{FileID: smb2.AnyFileID, Length: 1}, related),
			p.message(smb2.CommandClose, &smb2.CloseRequest{FileID: smb2.AnyFileID}, related)),
	} {
		f.Add(m)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < 4 || len(frame) > 128<<10 {
			return
		}
		c, b := fuzzConn(t)
		// What names a session, a tree or an open gets to name the one there is.
		if len(frame) >= smb2Header && frame[40] == 1 {
			smb2.Header(frame[:smb2Header]).SetSessionID(b.session)
		}
		buf := newBuffer(len(frame))
		message := buf.mem[:copy(buf.mem, frame)]
		c.receive(buf, message)
		c.server.pool.close()
		c.cancelAll()
		if ch := c.channel(b.session); ch != nil {
			ch.session.close(ReasonSessionLost, nil)
		}
		c.out.close()
		if n := c.active.Load(); n != 2 {
			t.Fatalf("%d chains are left", n-2)
		}
		if n := c.server.budget.taken.Load(); n != 0 {
			t.Fatalf("%d credits are lost", n)
		}
		if n := c.server.opens.count(); n != 0 {
			t.Fatalf("%d opens are left", n)
		}
	})
}

// fuzzConn is a connection to nowhere with a session that need not sign, a tree and a pipe.
func fuzzConn(t *testing.T) (*conn, *peer) {
	s, err := New(Config{Auth: believer{}, Pipes: testPipes{}, Signing: SigningEnabled, Anonymous: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(s.stop); s.serving.Wait() })
	c := &conn{server: s, net: quiet{}, window: newWindow()}
	s.budget.force(1)
	c.dialect, c.multiCredit, c.maxIO, c.client = Dialect302, true, 8<<20, clientID{1}
	c.authenticated.Store(true)
	c.active.Store(2)
	c.out.init(c)
	c.out.writing = true
	ses := &session{server: s, dialect: c.dialect, client: c.client, opens: map[uint64]*open{}}
	ses.identity.Store(&Identity{Token: nil, User: "fuzz"})
	s.sessions.add(ses)
	ses.state.Store(uint32(sessionValid))
	ch := &channel{session: ses, conn: c}
	ses.channels = []*channel{ch}
	c.addChannel(ch)
	tr := &tree{session: ses, share: s.Share(IPC)}
	tr.share.uses.Add(1)
	ses.addTree(tr)
	r := &request{conn: c, session: ses, tree: tr}
	pipe, _ := testPipes{}.Open("echo", PipeCaller{})
	o, status := r.newOpen(&pipeOpen{name: "echo", pipe: pipe}, 0)
	if status != ntstatus.Success {
		t.Fatal(status)
	}
	o.release()
	return c, &peer{session: ses.id, tree: tr.id}
}
