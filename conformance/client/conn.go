package client

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/protocol/smbcrypto"
)

// Options of a connection.
type Options struct {
	// Timeout bounds every wait, two minutes if zero: it ends what hangs, and is no measure of speed.
	Timeout time.Duration
	// CreditRequest is what each managed request asks for, 64 if zero.
	CreditRequest uint16
	// Trace, if set, is told of every message: "→" or "←", its header and its body.
	Trace func(direction string, h smb2.Header, body smb2.Message)
}

// Errors of the client itself.
var (
	ErrTimeout    = errors.New("client: no answer within the time limit")
	ErrClosed     = errors.New("client: connection closed")
	ErrNoCredits  = errors.New("client: not enough credits")
	ErrUnsigned   = errors.New("client: response is neither signed nor encrypted")
	ErrSignature  = errors.New("client: response has a wrong signature")
	ErrUnknownKey = errors.New("client: encrypted message of an unknown session")
)

// maxFrame is the largest frame direct TCP can express ([MS-SMB2] 2.1).
const maxFrame = 1<<24 - 1

// Conn is one transport connection.
type Conn struct {
	// What was agreed; valid after Negotiate.
	Dialect          smb2.Dialect
	Response         smb2.NegotiateResponse // its slices are the Conn's own
	Cipher           smb2.Cipher
	SigningAlgorithm smb2.SigningAlgorithm
	ClientGUID       dtyp.GUID
	Sent             smb2.NegotiateRequest

	opts Options
	nc   net.Conn

	// preauth is written before any other goroutine can know the connection.
	preauth smbcrypto.Preauth

	// sending makes message ids leave in order.
	sending sync.Mutex
	scratch smbcrypto.Scratch // of senders

	mu       sync.Mutex // guards what follows
	nextID   uint64
	credits  int
	pending  map[uint64]*Pending
	sessions map[uint64]*Session
	err      error

	breaks chan *Response // unsolicited messages
	strays chan *Response // responses nobody waits for
	done   chan struct{}  // closed when the reader ends
}

// Dial connects over TCP.
func Dial(addr string, opts Options) (*Conn, error) {
	nc, err := net.DialTimeout("tcp", addr, opts.timeout())
	if err != nil {
		return nil, err
	}
	return NewConn(nc, opts), nil
}

func (o Options) timeout() time.Duration {
	if o.Timeout == 0 {
		return 2 * time.Minute
	}
	return o.Timeout
}

// NewConn speaks over nc, which it owns from now on.
func NewConn(nc net.Conn, opts Options) *Conn {
	c := &Conn{
		opts: opts, nc: nc, credits: 1,
		pending:  map[uint64]*Pending{},
		sessions: map[uint64]*Session{},
		breaks:   make(chan *Response, 256),
		strays:   make(chan *Response, 256),
		done:     make(chan struct{}),
	}
	go c.read()
	return c
}

// Close ends the connection without a word, as a crash would.
func (c *Conn) Close() error {
	err := c.nc.Close()
	<-c.done
	return err
}

// Done is closed when the connection has ended, by either side.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection ended.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Ended waits for the server to end the connection.
func (c *Conn) Ended() bool {
	select {
	case <-c.done:
		return true
	case <-time.After(c.opts.timeout()):
		return false
	}
}

// Credits returns how many credits the client holds.
func (c *Conn) Credits() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.credits
}

// NextMessageID returns the id that the next managed request will have.
func (c *Conn) NextMessageID() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nextID
}

// SetNextMessageID makes the next managed request use id.
func (c *Conn) SetNextMessageID(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nextID = id
}

// LocalAddr is the client's address.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// SendFrame sends bytes as one frame.
func (c *Conn) SendFrame(b []byte) error {
	if len(b) > maxFrame {
		return fmt.Errorf("client: frame of %d bytes", len(b))
	}
	return c.SendBytes(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
}

// SendBytes sends bytes without a frame around them.
func (c *Conn) SendBytes(b []byte) error {
	_, err := c.nc.Write(b)
	return err
}

// read is the connection's goroutine.
func (c *Conn) read() {
	defer close(c.done)
	var err error
	for err == nil {
		var frame []byte
		if frame, err = readFrame(c.nc); err == nil {
			err = c.receive(frame)
		}
	}
	c.nc.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = fmt.Errorf("%w: %w", ErrClosed, err)
	for id, p := range c.pending {
		delete(c.pending, id)
		close(p.final)
	}
}

func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	if head[0] != 0 {
		return nil, fmt.Errorf("client: frame of type %#x", head[0])
	}
	n := binary.BigEndian.Uint32(head[:])
	b := make([]byte, n, n+smbcrypto.Overhead)
	_, err := io.ReadFull(r, b)
	return b, err
}

// receive decrypts a frame, cuts it into messages and delivers them.
func (c *Conn) receive(frame []byte) error {
	encrypted := smb2.Protocol(frame) == smb2.ProtocolTransform
	var from uint64
	if encrypted {
		h, err := smb2.ParseTransformHeader(frame)
		if err != nil {
			return err
		}
		s := c.session(h.SessionID())
		if s == nil || s.keys.open == nil {
			return ErrUnknownKey
		}
		from = h.SessionID()
		var scratch smbcrypto.Scratch
		if frame, err = s.keys.open.Open(frame, &scratch); err != nil {
			return err
		}
	}
	for chain := frame; chain != nil; {
		msg, rest, err := smb2.Split(chain)
		if err != nil {
			return err
		}
		c.deliver(&Response{
			Header: smb2.Header(msg[:smb2.HeaderSize]), Msg: msg, Encrypted: encrypted, TransformSessionID: from,
			Chained: rest != nil || len(msg) != len(frame),
		})
		chain = rest
	}
	return nil
}

func (c *Conn) session(id uint64) *Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sessions[id]
}

// deliver gives a message to who waits for it.
func (c *Conn) deliver(r *Response) {
	if c.opts.Trace != nil {
		_, body, _ := smb2.DecodeMessage(r.Msg)
		c.opts.Trace("←", r.Header, body)
	}
	if r.Header.MessageID() == smb2.UnsolicitedMessageID {
		c.addCredits(r)
		offer(c.breaks, r)
		return
	}
	interim := r.Header.IsAsync() && r.Header.Status() == ntstatus.Pending
	c.mu.Lock()
	p := c.pending[r.Header.MessageID()]
	if p != nil && !interim {
		delete(c.pending, r.Header.MessageID())
	}
	c.credits += int(r.Header.Credits())
	c.mu.Unlock()
	if p == nil {
		offer(c.strays, r)
		return
	}
	r.Err = c.check(p, r, interim)
	if interim {
		offer(p.interim, r)
		return
	}
	p.final <- r
}

func (c *Conn) addCredits(r *Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.credits += int(r.Header.Credits())
}

// offer drops what nobody takes: a server that floods its client is not let grow it.
func offer(ch chan *Response, r *Response) {
	select {
	case ch <- r:
	default:
	}
}

// check verifies a response's signature ([MS-SMB2] 3.2.5.1.3).
func (c *Conn) check(p *Pending, r *Response, interim bool) error {
	if r.Encrypted || p.request.unverified {
		return nil
	}
	s := c.session(r.Header.SessionID())
	if s == nil || s.signer == nil {
		return nil
	}
	if !r.Header.IsSigned() {
		if s.SigningRequired && !interim {
			return ErrUnsigned
		}
		return nil
	}
	var scratch smbcrypto.Scratch
	if !s.signer.Verify(r.Msg, &scratch) {
		return ErrSignature
	}
	r.Verified = true
	return nil
}

// Break waits for an oplock break, a lease break or another unsolicited message.
func (c *Conn) Break() (*Response, error) { return c.take(c.breaks) }

// TryBreak returns an unsolicited message that is there already.
func (c *Conn) TryBreak() (*Response, bool) {
	select {
	case r := <-c.breaks:
		return r, true
	default:
		return nil, false
	}
}

// Stray waits for a response to no request that anybody waits for.
func (c *Conn) Stray() (*Response, error) { return c.take(c.strays) }

func (c *Conn) take(ch chan *Response) (*Response, error) {
	select {
	case r := <-ch:
		return r, nil
	default:
	}
	t := time.NewTimer(c.opts.timeout())
	defer t.Stop()
	select {
	case r := <-ch:
		return r, nil
	case <-c.done:
		return nil, c.Err()
	case <-t.C:
		return nil, ErrTimeout
	}
}
