package peer

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"
)

const (
	// handshakeTime bounds what somebody unknown can hold a connection for.
	handshakeTime = 10 * time.Second
	// stallTime is how long a peer may neither send nor take anything in the middle of a request.
	stallTime = 20 * time.Second
	// idleTime is how long a connection without a request is kept.
	idleTime = 2 * time.Minute
	// wireBuffer is what goes to and comes from the socket at once: a TLS record has 16 KiB.
	wireBuffer = 256 << 10
	// plainBuffer is for records; data goes past it to where it is wanted.
	plainBuffer = 16 << 10
)

// buffered makes large calls of the socket out of TLS's small ones. What is written
// waits for Flush.
type buffered struct {
	net.Conn
	r *bufio.Reader
	w *bufio.Writer
}

func (b *buffered) Read(p []byte) (int, error)  { return b.r.Read(p) }
func (b *buffered) Write(p []byte) (int, error) { return b.w.Write(p) }

// conn is a connection to a known peer.
type conn struct {
	*tls.Conn
	raw  *buffered
	peer Fingerprint
	r    *bufio.Reader // of what was decrypted
}

func (c *conn) flush() error { return c.raw.w.Flush() }

// config is the TLS configuration of both ends: 1.3, and a peer is who has the key of an
// accepted fingerprint.
func (id *Identity) config(accept func(Fingerprint) bool) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{id.cert},
		ClientAuth:   tls.RequireAnyClientCert,
		// Certificates are signed by themselves: VerifyConnection is what verifies them. The
		// handshake proves that the other end has the key.
		InsecureSkipVerify:          true,
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			f, err := fingerprintOf(s)
			if err == nil && !accept(f) {
				err = fmt.Errorf("fingerprint %v belongs to no peer", f)
			}
			return err
		},
	}
}

// handshake turns a socket into a connection to a peer, or closes it.
func handshake(ctx context.Context, socket net.Conn, wrap func(net.Conn, *tls.Config) *tls.Conn, config *tls.Config) (*conn, error) {
	raw := &buffered{Conn: socket, r: bufio.NewReaderSize(socket, wireBuffer), w: bufio.NewWriterSize(socket, wireBuffer)}
	if t, ok := socket.(*net.TCPConn); ok {
		_ = t.SetReadBuffer(4 << 20)
		_ = t.SetWriteBuffer(4 << 20)
	}
	// During the handshake everything is sent at once.
	flushing := &flusher{buffered: raw}
	t := wrap(flushing, config)
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	err := t.HandshakeContext(ctx)
	var f Fingerprint
	if err == nil {
		f, err = fingerprintOf(t.ConnectionState())
	}
	if err != nil {
		socket.Close()
		return nil, err
	}
	flushing.done = true
	return &conn{Conn: t, raw: raw, peer: f, r: bufio.NewReaderSize(t, plainBuffer)}, nil
}

// flusher sends what is written at once until the handshake is done.
type flusher struct {
	*buffered
	done bool
}

func (f *flusher) Write(p []byte) (int, error) {
	n, err := f.buffered.Write(p)
	if err == nil && !f.done {
		err = f.w.Flush()
	}
	return n, err
}
