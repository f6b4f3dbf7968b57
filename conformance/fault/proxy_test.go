package fault

import (
	"net"
	"sync"
	"testing"
	"time"
)

// proxy stands between hosts and the server. Its faults concern links, one for each
// connection.
type proxy struct {
	l      net.Listener
	target string

	mu    sync.Mutex
	links []*link // guarded by mu, in the order of their making
	lost  int     // links that a fault ended; guarded by mu
}

// link is one connection through the proxy.
type link struct {
	p              *proxy
	client, server net.Conn
	up, down       *lane // to the server, to the client
}

func newProxy(t testing.TB, target string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, target: target}
	go p.serve()
	t.Cleanup(func() {
		l.Close()
		for _, k := range p.all() {
			k.close()
		}
	})
	return p
}

func (p *proxy) addr() string { return p.l.Addr().String() }

func (p *proxy) serve() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		s, err := net.DialTimeout("tcp", p.target, requestTime)
		if err != nil {
			c.Close() // the server is down: the client sees a refused connection
			continue
		}
		k := &link{p: p, client: c, server: s}
		k.up, k.down = newLane(c, s), newLane(s, c)
		p.mu.Lock()
		p.links = append(p.links, k)
		p.mu.Unlock()
		go k.run()
	}
}

func (p *proxy) all() []*link {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*link(nil), p.links...)
}

func (p *proxy) losses() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

// run carries bytes until one side ends.
func (k *link) run() {
	done := make(chan struct{}, 2)
	for _, l := range []*lane{k.up, k.down} {
		go l.fill()
		go func() { l.drain(); done <- struct{}{} }()
	}
	<-done
	k.close()
	<-done
	k.p.mu.Lock()
	for i, other := range k.p.links {
		if other == k {
			k.p.links = append(k.p.links[:i:i], k.p.links[i+1:]...)
		}
	}
	k.p.mu.Unlock()
}

func (k *link) close() {
	k.client.Close()
	k.server.Close()
	k.up.end()
	k.down.end()
}

// count notes that a fault ended the connection.
func (k *link) count() {
	k.p.mu.Lock()
	k.p.lost++
	k.p.mu.Unlock()
}

// cut ends the connection at once, on both sides.
func (k *link) cut() {
	k.count()
	for _, c := range []net.Conn{k.client, k.server} {
		_ = c.(*net.TCPConn).SetLinger(0)
	}
	k.close()
}

// stall holds everything for a time.
func (k *link) stall(d time.Duration) {
	k.up.hold(true)
	k.down.hold(true)
	time.AfterFunc(d, func() { k.up.hold(false); k.down.hold(false) })
}

// loseAnswers lets requests through, but no answer, and then cuts.
func (k *link) loseAnswers(d time.Duration) {
	k.down.hold(true)
	time.AfterFunc(d, k.cut)
}

// haunt gathers requests for a time and takes the connection away from the client. The
// server gets them later still, when the client has replayed them elsewhere.
func (k *link) haunt(gather, late time.Duration) {
	k.up.hold(true)
	k.down.hold(true)
	time.AfterFunc(gather, func() {
		k.count()
		k.up.keep()
		k.client.Close()
	})
	time.AfterFunc(gather+late, func() { k.up.hold(false) })
	time.AfterFunc(gather+late+200*time.Millisecond, k.close)
}

// lane is one direction: what has been read and not yet written.
type lane struct {
	from, to net.Conn

	mu      sync.Mutex
	changed *sync.Cond
	queue   [][]byte // guarded by mu, as the rest
	size    int
	held    bool
	keeps   bool // the end of from is not to be told
	ended   bool // from has ended
}

const laneSize = 16 << 20

func newLane(from, to net.Conn) *lane {
	l := &lane{from: from, to: to}
	l.changed = sync.NewCond(&l.mu)
	return l
}

func (l *lane) set(fn func()) {
	l.mu.Lock()
	fn()
	l.mu.Unlock()
	l.changed.Broadcast()
}

func (l *lane) hold(on bool) { l.set(func() { l.held = on }) }
func (l *lane) keep()        { l.set(func() { l.keeps = true }) }
func (l *lane) end()         { l.set(func() { l.ended, l.held, l.keeps = true, false, false }) }

// fill reads.
func (l *lane) fill() {
	for {
		b := make([]byte, 64<<10)
		n, err := l.from.Read(b)
		l.mu.Lock()
		for l.size > laneSize && !l.ended {
			l.changed.Wait()
		}
		if n > 0 {
			l.queue, l.size = append(l.queue, b[:n]), l.size+n
		}
		if err != nil {
			l.ended = true
		}
		l.mu.Unlock()
		l.changed.Broadcast()
		if err != nil {
			return
		}
	}
}

// drain writes, until from has ended and all is written.
func (l *lane) drain() {
	for {
		l.mu.Lock()
		for l.held || len(l.queue) == 0 && (!l.ended || l.keeps) {
			l.changed.Wait()
		}
		if len(l.queue) == 0 {
			l.mu.Unlock()
			return
		}
		b := l.queue[0]
		l.queue, l.size = l.queue[1:], l.size-len(b)
		l.mu.Unlock()
		l.changed.Broadcast()
		if _, err := l.to.Write(b); err != nil {
			return
		}
	}
}
