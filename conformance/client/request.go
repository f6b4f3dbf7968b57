package client

import (
	"fmt"
	"time"

	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/protocol/smbcrypto"
)

// Protection says how a request is protected.
type Protection uint8

// The protections. By default a request is encrypted if its session or tree is,
// else signed if its session signs, else plain.
const (
	ProtectDefault Protection = iota
	ProtectNothing
	ProtectSign
	ProtectEncrypt
)

// Request is one message to be sent.
type Request struct {
	// Header is completed before it is sent, unless Exact is set: Command from Body,
	// MessageID, Credits and CreditCharge if zero, SessionID and TreeID from Session and Tree if
	// zero.
	Header smb2.HeaderFields
	// Body, or else Raw, is the message's body.
	Body smb2.Message
	Raw  []byte

	Session *Session
	Tree    *Tree
	Protect Protection
	Exact   bool

	// Spoil changes the encoded message before it is signed and encrypted, SpoilSigned
	// after it is signed. SpoilFrame changes the whole frame last of all; of a chain,
	// the first request's counts.
	Spoil       func(msg []byte) []byte
	SpoilSigned func(msg []byte)
	SpoilFrame  func(frame []byte) []byte

	// unverified leaves the signature of the response to the caller.
	unverified bool
}

// Related marks the request as related to the one before it in a chain.
func (r *Request) Related() *Request {
	r.Header.Flags |= smb2.FlagRelatedOperations
	return r
}

// Response is one message received. Msg is the whole of it and its own memory.
type Response struct {
	Header             smb2.Header
	Msg                []byte
	Encrypted          bool
	TransformSessionID uint64
	Verified           bool // signed, and rightly
	Chained            bool // came in a compound
	Err                error
}

// Status is the header's status.
func (r *Response) Status() ntstatus.Status { return r.Header.Status() }

// Decode reads the body into m. With a body of another kind, an error response that
// is, it returns a *smb2.FormatError.
func (r *Response) Decode(m smb2.Message) error { return m.Decode(r.Msg) }

// Body returns the body as what it is.
func (r *Response) Body() (smb2.Message, error) {
	_, m, err := smb2.DecodeMessage(r.Msg)
	return m, err
}

// Pending is a request on its way.
type Pending struct {
	MessageID uint64
	Sent      []byte // the message as it was before encryption

	conn    *Conn
	request *Request
	interim chan *Response
	final   chan *Response
	got     *Response
}

// Send sends requests as one frame, a compound if there is more than one.
func (c *Conn) Send(requests ...*Request) ([]*Pending, error) {
	c.sending.Lock()
	defer c.sending.Unlock()
	frame := make([]byte, smb2.TransformHeaderSize)
	seal := false
	all := make([]*Pending, len(requests))
	var starts []int
	for i, r := range requests {
		if err := c.complete(r); err != nil {
			return nil, err
		}
		if i > 0 {
			frame = smb2.PadCompound(frame, starts[i-1])
		}
		starts = append(starts, len(frame))
		frame = r.encode(frame)
		seal = seal || r.protection() == ProtectEncrypt
		all[i] = &Pending{
			MessageID: r.Header.MessageID, conn: c, request: r,
			interim: make(chan *Response, 4), final: make(chan *Response, 1),
		}
	}
	for i, r := range requests {
		end := len(frame)
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		msg := frame[starts[i]:end:end]
		if s := r.Session; !seal && s != nil && s.signer != nil && r.protection() == ProtectSign {
			s.signer.Sign(msg, &c.scratch)
		}
		if r.SpoilSigned != nil {
			r.SpoilSigned(msg)
		}
		all[i].Sent = append([]byte(nil), msg...)
		if c.opts.Trace != nil {
			if h, body, err := smb2.DecodeMessage(all[i].Sent); err == nil {
				c.opts.Trace("→", h, body)
			}
		}
	}
	if seal {
		s := requests[0].Session
		s.keys.seal.Seal(frame, s.ID)
	} else {
		frame = frame[smb2.TransformHeaderSize:]
	}
	if f := requests[0].SpoilFrame; f != nil {
		frame = f(frame)
	}
	return all, c.register(all, frame)
}

// complete fills what the caller left to the connection.
func (c *Conn) complete(r *Request) error {
	if r.Tree != nil && r.Session == nil {
		r.Session = r.Tree.Session
	}
	if r.Exact {
		return nil
	}
	h := &r.Header
	if r.Body != nil && h.Command == 0 {
		h.Command = r.Body.Command()
	}
	if r.Session != nil && h.SessionID == 0 {
		h.SessionID = r.Session.ID
	}
	if r.Tree != nil && h.TreeID == 0 && h.Flags&smb2.FlagAsyncCommand == 0 {
		h.TreeID = r.Tree.ID
	}
	if h.Command == smb2.CommandCancel {
		return nil // has the id of another request and costs nothing
	}
	if h.CreditCharge == 0 && c.multiCredit() {
		h.CreditCharge = Charge(r.Body)
	}
	if h.Credits == 0 {
		h.Credits = c.opts.CreditRequest
		if h.Credits == 0 {
			h.Credits = 64
		}
	}
	charge := max(1, int(h.CreditCharge))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.credits < charge {
		return fmt.Errorf("%w: %d, need %d", ErrNoCredits, c.credits, charge)
	}
	c.credits -= charge
	if h.MessageID == 0 {
		h.MessageID = c.nextID
		c.nextID += uint64(charge)
	}
	return nil
}

// multiCredit reports that CreditCharge has a meaning.
func (c *Conn) multiCredit() bool {
	return c.Dialect > smb2.Dialect202 && c.Dialect != smb2.DialectWildcard
}

// Charge is the CreditCharge of a request ([MS-SMB2] 3.1.5.2): one for each 64 KiB of
// what is sent or wanted, whichever is more.
func Charge(m smb2.Message) uint16 {
	var n uint64
	switch m := m.(type) {
	case *smb2.ReadRequest:
		n = uint64(m.Length)
	case *smb2.WriteRequest:
		n = uint64(len(m.Data))
	case *smb2.IoctlRequest:
		n = max(uint64(len(m.Input)+len(m.Output)), uint64(m.MaxInputResponse)+uint64(m.MaxOutputResponse))
	case *smb2.QueryDirectoryRequest:
		n = uint64(m.OutputBufferLength)
	case *smb2.ChangeNotifyRequest:
		n = uint64(m.OutputBufferLength)
	case *smb2.QueryInfoRequest:
		n = max(uint64(len(m.Input)), uint64(m.OutputBufferLength))
	case *smb2.SetInfoRequest:
		n = uint64(len(m.Buffer))
	}
	if n == 0 {
		return 1
	}
	return uint16(min((n-1)/65536+1, 0xFFFF))
}

func (r *Request) protection() Protection {
	s := r.Session
	if r.Protect != ProtectDefault || s == nil {
		return r.Protect
	}
	switch {
	case s.Encrypt || r.Tree != nil && r.Tree.Encrypt:
		return ProtectEncrypt
	case s.Sign:
		return ProtectSign
	}
	return ProtectNothing
}

func (r *Request) encode(b []byte) []byte {
	start := len(b)
	b = smb2.AppendHeader(b, &r.Header)
	if r.Body != nil {
		b = r.Body.AppendTo(b)
	} else {
		b = append(b, r.Raw...)
	}
	if r.Spoil != nil {
		b = append(b[:start], r.Spoil(append([]byte(nil), b[start:]...))...)
	}
	return b
}

// register makes the answers known before the frame leaves.
func (c *Conn) register(all []*Pending, frame []byte) error {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return c.err
	}
	for _, p := range all {
		if p.request.Header.Command != smb2.CommandCancel {
			c.pending[p.MessageID] = p
		}
	}
	c.mu.Unlock()
	return c.SendFrame(frame)
}

// Start sends one request.
func (c *Conn) Start(r *Request) (*Pending, error) {
	all, err := c.Send(r)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// Call sends one request and waits for its final response.
func (c *Conn) Call(r *Request) (*Response, error) {
	p, err := c.Start(r)
	if err != nil {
		return nil, err
	}
	return p.Wait()
}

// Compound sends a chain and waits for every final response. Its error is that of
// the transport or of a signature; statuses are for the caller to look at.
func (c *Conn) Compound(requests ...*Request) ([]*Response, error) {
	all, err := c.Send(requests...)
	if err != nil {
		return nil, err
	}
	out := make([]*Response, len(all))
	for i, p := range all {
		if out[i], err = p.Wait(); err != nil {
			return out, err
		}
	}
	return out, nil
}

// Wait waits for the final response. Its error is that of the transport or of the
// response's signature; with the latter the response is returned too.
func (p *Pending) Wait() (*Response, error) {
	if p.got != nil {
		return p.got, p.got.Err
	}
	t := time.NewTimer(p.conn.opts.timeout())
	defer t.Stop()
	select {
	case r, ok := <-p.final:
		if !ok {
			return nil, p.conn.Err()
		}
		p.got = r
		return r, r.Err
	case <-t.C:
		return nil, fmt.Errorf("%w: %s", ErrTimeout, p.request.Header.Command)
	}
}

// Interim waits for the interim response, and returns the final one if none came.
func (p *Pending) Interim() (r *Response, final bool, err error) {
	t := time.NewTimer(p.conn.opts.timeout())
	defer t.Stop()
	select {
	case r = <-p.interim:
		return r, false, r.Err
	default:
	}
	select {
	case r = <-p.interim:
		return r, false, r.Err
	case got, ok := <-p.final:
		if ok {
			p.got = got
		}
		// Both may be there by now; the interim one was first.
		select {
		case r = <-p.interim:
			return r, false, r.Err
		default:
		}
		if !ok {
			return nil, true, p.conn.Err()
		}
		return got, true, got.Err
	case <-t.C:
		return nil, false, ErrTimeout
	}
}

// Finished reports whether the final response is there.
func (p *Pending) Finished() bool {
	if p.got != nil {
		return true
	}
	select {
	case r, ok := <-p.final:
		if ok {
			p.got = r
		}
		return ok
	default:
		return false
	}
}

// Cancel sends CANCEL for the request, by AsyncId if an interim response has given
// one and by MessageId otherwise ([MS-SMB2] 3.2.4.24).
func (p *Pending) Cancel(asyncID uint64) error {
	r := &Request{Body: &smb2.Empty{Of: smb2.CommandCancel}, Session: p.request.Session, Tree: p.request.Tree}
	r.Header.Command = smb2.CommandCancel
	r.Header.MessageID = p.MessageID
	if asyncID != 0 {
		r.Header.Flags |= smb2.FlagAsyncCommand
		r.Header.AsyncID = asyncID
	}
	_, err := p.conn.Send(r)
	return err
}

// do sends a request and decodes the body of a response whose status is success, or
// one that has an ordinary body all the same. The status, if not success, is the error.
func (c *Conn) do(r *Request, out smb2.Message) (*Response, error) {
	resp, err := c.Call(r)
	if err != nil {
		return resp, err
	}
	return resp, resp.result(out)
}

func (r *Response) result(out smb2.Message) error {
	m, err := r.Body()
	if err != nil {
		return err
	}
	if _, isError := m.(*smb2.ErrorResponse); !isError && out != nil {
		if err := r.Decode(out); err != nil {
			return err
		}
	}
	if s := r.Status(); s != ntstatus.Success {
		return s
	}
	return nil
}

// sealer pair of a session, shared by its channels.
type keys struct {
	seal *smbcrypto.Sealer // client to server
	open *smbcrypto.Sealer // server to client
}
