package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"gabion/odx"
	"gabion/protocol/relay"
)

const (
	// maxConns bounds connections, also of strangers in their handshake.
	maxConns = 64
	// maxRequests bounds the requests that are answered at a time, each with its parcels.
	maxRequests = 8
)

// server answers other arrays' requests.
type server struct {
	link   *Link
	tokens *odx.Tokens
	at     net.Listener
	turns  chan struct{} // one for each request that is answered

	mu    sync.Mutex
	conns map[net.Conn]bool // guarded by mu; nil once closed
	wg    sync.WaitGroup
}

// serve accepts connections until the listener is closed.
func (s *server) serve() {
	for {
		socket, err := s.at.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.link.log.Error("cannot accept arrays", "error", err)
			time.Sleep(100 * time.Millisecond) // out of descriptors, mostly
			continue
		}
		if !s.enter(socket) {
			socket.Close()
			continue
		}
		go func() {
			defer s.leave(socket)
			defer s.link.recovered(socket)
			s.connection(socket)
		}()
	}
}

func (s *server) enter(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil || len(s.conns) >= maxConns {
		return false
	}
	s.conns[c] = true
	s.wg.Add(1)
	return true
}

func (s *server) leave(c net.Conn) {
	c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.wg.Done()
}

// close ends all connections and waits for their goroutines.
func (s *server) close() {
	s.at.Close()
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *server) connection(socket net.Conn) {
	l := s.link
	c, err := handshake(context.Background(), socket, tls.Server, l.id.config(func(f Fingerprint) bool {
		_, ok := l.Book.trusts(f)
		return ok
	}))
	if err != nil {
		l.metrics.strangers.Inc()
		l.log.Info("array refused", "from", socket.RemoteAddr(), "error", err)
		return
	}
	var b [relay.RequestSize]byte
	for {
		_ = socket.SetDeadline(time.Now().Add(idleTime))
		if _, err := io.ReadFull(c.r, b[:]); err != nil {
			return
		}
		name, ok := l.Book.trusts(c.peer)
		if !ok {
			return // removed since it connected
		}
		var q relay.Request
		if err := q.Decode(b[:]); err != nil {
			l.log.Warn("array sends what cannot be understood", "peer", name, "error", err)
			return
		}
		if err := s.answer(c, &q, name); err != nil {
			l.log.Info("answer to an array broke off", "peer", name, "error", err)
			return
		}
	}
}

// answer sends what a request asks for. Errors are of the connection.
func (s *server) answer(c *conn, q *relay.Request, name string) error {
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-time.After(stallTime / 4):
		return s.failed(c, name, relay.FailedBusy, nil)
	}
	src, err := s.tokens.Own(q.Token[:])
	if err != nil {
		return s.failed(c, name, relay.FailedToken, err)
	}
	defer src.Close()
	if q.Offset+q.Length > uint64(src.Length) {
		return s.failed(c, name, relay.FailedRange, nil)
	}
	a := &answer{c: c, src: src, link: s.link}
	err = a.send(int64(q.Offset), int64(q.Length))
	s.link.metrics.sent.Add(float64(a.data))
	s.link.metrics.holes.Add(float64(a.holes))
	var broken *brokenError
	if errors.As(err, &broken) {
		return broken.err
	}
	if err != nil {
		return s.failed(c, name, relay.FailedRead, err)
	}
	return end(c, relay.Record{Kind: relay.End})
}

// failed ends an answer that cannot be given.
func (s *server) failed(c *conn, name string, code uint32, why error) error {
	s.link.metrics.refused.Inc()
	s.link.log.Info("request of an array refused", "peer", name, "code", code, "error", why)
	return end(c, relay.Record{Kind: relay.Failed, Count: code})
}

// recovered, deferred, turns a panic into the end of one connection.
func (l *Link) recovered(from net.Conn) {
	if p := recover(); p != nil {
		l.log.Error("panic", "array", from.RemoteAddr(), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
}

// brokenError is an error of the connection.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return e.err.Error() }

var discard = slog.New(slog.DiscardHandler)
