package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"gabion/odx"
	"gabion/protocol/relay"
	"gabion/store"
)

const (
	// maxConns bounds connections, also of strangers in their handshake.
	maxConns = 64
	// maxRequests bounds the requests that are answered at a time, each with one buffer.
	maxRequests = 8
	// sendBuffer is what is encrypted at once: a whole Data record and some small ones.
	sendBuffer = relay.MaxData + 4096
	// window is how far ahead an answer looks for holes.
	window = 64 << 20
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
	a := &answer{c: c, src: src, buf: make([]byte, 0, sendBuffer)}
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
	return a.end(relay.Record{Kind: relay.End})
}

// failed ends an answer that cannot be given.
func (s *server) failed(c *conn, name string, code uint32, why error) error {
	s.link.metrics.refused.Inc()
	s.link.log.Info("request of an array refused", "peer", name, "code", code, "error", why)
	a := &answer{c: c}
	return a.end(relay.Record{Kind: relay.Failed, Count: code})
}

// brokenError is an error of the connection.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return e.err.Error() }

// answer is one on its way.
type answer struct {
	c           *conn
	src         *odx.Source
	buf         []byte // records not yet given to TLS
	ranges      []store.Range
	data, holes int64
}

// send tells what lies in [off, off+n).
func (a *answer) send(off, n int64) error {
	for n > 0 {
		k := min(n, window)
		// Ranges are in the stream's own offsets.
		var err error
		if a.ranges, err = a.src.Stream.Allocated(a.src.Off+off, k, a.ranges[:0]); err != nil {
			return err
		}
		at := off
		for _, r := range a.ranges {
			lo, hi := r.Off-a.src.Off, r.Off-a.src.Off+r.Len
			if err := a.hole(lo - at); err != nil {
				return err
			}
			if err := a.bytes(lo, hi-lo); err != nil {
				return err
			}
			at = hi
		}
		if err := a.tail(at, off+k-at); err != nil {
			return err
		}
		off, n = off+k, n-k
	}
	return nil
}

// tail is what is behind the last range of a window: nothing is stored there. Where data
// ends within a sector the rest of that goes as zeros.
func (a *answer) tail(off, n int64) error {
	if odd := -off & (relay.HoleUnit - 1); n > 0 && odd > 0 {
		odd = min(odd, n)
		if err := a.bytes(off, odd); err != nil {
			return err
		}
		n -= odd
	}
	return a.hole(n)
}

func (a *answer) hole(n int64) error {
	for n > 0 {
		k := min(n, relay.MaxHole)
		a.holes += k
		if err := a.record(relay.Record{Kind: relay.Hole, Count: uint32(k / relay.HoleUnit)}, 0); err != nil {
			return err
		}
		n -= k
	}
	return nil
}

// bytes sends data, read straight into the buffer that is encrypted next.
func (a *answer) bytes(off, n int64) error {
	for n > 0 {
		k := min(n, relay.MaxData)
		if room := int64(cap(a.buf) - len(a.buf) - relay.RecordSize); k > room {
			// What is left is used if it is worth a read of its own, in whole blocks.
			if room >= 128<<10 {
				k = room &^ 4095
			} else if err := a.flush(); err != nil {
				return err
			}
		}
		if err := a.record(relay.Record{Kind: relay.Data, Count: uint32(k)}, int(k)); err != nil {
			return err
		}
		if err := a.src.ReadAt(a.buf[len(a.buf)-int(k):], off); err != nil {
			// The record was promised: only the end of the connection takes that back.
			return &brokenError{err}
		}
		a.data += k
		off, n = off+k, n-k
	}
	return nil
}

// record puts a record and room for n bytes of data into the buffer.
func (a *answer) record(r relay.Record, n int) error {
	if cap(a.buf)-len(a.buf) < relay.RecordSize+n {
		if err := a.flush(); err != nil {
			return err
		}
	}
	at := len(a.buf)
	a.buf = a.buf[:at+relay.RecordSize+n]
	r.Put(a.buf[at:])
	return nil
}

func (a *answer) flush() error {
	_ = a.c.SetDeadline(time.Now().Add(stallTime))
	if _, err := a.c.Write(a.buf); err != nil {
		return &brokenError{err}
	}
	a.buf = a.buf[:0]
	return nil
}

// end sends the last record, and everything that waits.
func (a *answer) end(r relay.Record) error {
	var b [relay.RecordSize]byte
	r.Put(b[:])
	_ = a.c.SetDeadline(time.Now().Add(stallTime))
	_, err := a.c.Write(append(a.buf, b[:]...))
	if err == nil {
		err = a.c.flush()
	}
	a.buf = a.buf[:0]
	return err
}

var discard = slog.New(slog.DiscardHandler)
