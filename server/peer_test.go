package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/protocol/smbcrypto"
)

// believer is an Authenticator that believes: a token is the user's name, preceded
// by "again " when another leg is wanted first. "nobody" is anonymous, "stranger" refused.
type believer struct{}

func (believer) Hint() []byte                        { return []byte("hint") }
func (believer) Begin(netip.AddrPort) Authentication { return believer{} }
func keyOf(user string) []byte                       { k := sha256.Sum256([]byte(user)); return k[:16] }
func (believer) Step(token []byte) ([]byte, *Identity, error) {
	user := string(token)
	if strings.HasPrefix(user, "again ") {
		return []byte("more"), nil, nil
	}
	switch user {
	case "stranger", "":
		return nil, nil, ntstatus.LogonFailure
	case "nobody":
		return nil, &Identity{Token: &auth.Token{Anonymous: true}, User: user, Anonymous: true}, nil
	}
	sum := sha256.Sum256([]byte(user))
	sid := dtyp.MakeSID(5, 21, 1, 2, 3, binary.LittleEndian.Uint32(sum[:]))
	return []byte("welcome"), &Identity{Token: &auth.Token{User: sid, Name: user}, User: user, SessionKey: keyOf(user)}, nil
}

// testPipes has "echo", which returns every message, "mute", which never does, "halves", which
// returns a message as two, "bad", which panics, and "brittle", which panics when it is closed.
type testPipes struct{}

type testPipe string

func (testPipes) Open(name string, _ PipeCaller) (Pipe, error) {
	switch name {
	case "echo", "mute", "halves", "bad", "brittle":
		return testPipe(name), nil
	}
	return nil, ntstatus.ObjectNameNotFound
}

func (p testPipe) Write(b []byte, reply func([]byte)) error {
	switch p {
	case "echo":
		reply(b)
	case "halves":
		reply(b[:len(b)/2])
		reply(b[len(b)/2:])
	case "bad":
		panic("a pipe that panics")
	}
	return nil
}

func (p testPipe) Close() {
	if p == "brittle" {
		panic("a pipe that is brittle")
	}
}

// startServer serves on a loopback port until the test ends.
func startServer(t testing.TB, change func(*Config)) (*Server, string) {
	t.Helper()
	cfg := Config{Auth: believer{}, Pipes: testPipes{}, Anonymous: true}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return s, l.Addr().String()
}

// peer is a client that says what it is told.
type peer struct {
	t       testing.TB
	nc      net.Conn
	next    uint64
	dialect smb2.Dialect
	client  dtyp.GUID
	cipher  smb2.Cipher
	session uint64
	tree    uint32
	base    smbcrypto.Preauth // the connection's
	preauth smbcrypto.Preauth // the session's
	keys    smbcrypto.Keys
	signer  *smbcrypto.Signer
	in, out *smbcrypto.Sealer
	seal    bool
	scratch smbcrypto.Scratch
	pending [][]byte // messages received as part of a compound
	sent    map[[16]byte]bool
}

// deadline only keeps a broken test from hanging.
const deadline = 2 * time.Minute

func dial(t testing.TB, addr string) *peer {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	p := &peer{t: t, nc: nc}
	p.client[0] = 1
	return p
}

// connect is dial, NEGOTIATE and SESSION_SETUP.
func connect(t testing.TB, addr string, d smb2.Dialect, user string) *peer {
	t.Helper()
	p := dial(t, addr)
	p.negotiate(d)
	p.login(user)
	return p
}

// message builds a message with the peer's next id.
func (p *peer) message(c smb2.Command, b body, change ...func(*smb2.HeaderFields)) []byte {
	h := smb2.HeaderFields{Command: c, CreditCharge: 1, Credits: 64, MessageID: p.next, SessionID: p.session, TreeID: p.tree}
	for _, f := range change {
		f(&h)
	}
	if h.MessageID == p.next && c != smb2.CommandCancel {
		p.next += uint64(max(h.CreditCharge, 1))
	}
	return b.AppendTo(smb2.AppendHeader(nil, &h))
}

// compound joins messages into a chain.
func compound(messages ...[]byte) []byte {
	var b []byte
	for i, m := range messages {
		start := len(b)
		b = append(b, m...)
		if i < len(messages)-1 {
			b = smb2.PadCompound(b, start)
		}
	}
	return b
}

func related(h *smb2.HeaderFields) { h.Flags |= smb2.FlagRelatedOperations }

// write sends a frame, signed or sealed if the session is.
func (p *peer) write(frame []byte) {
	p.t.Helper()
	switch {
	case p.seal:
		frame = append(make([]byte, smb2.TransformHeaderSize, smb2.TransformHeaderSize+len(frame)+smbcrypto.Overhead), frame...)
		p.out.Seal(frame, p.session)
	case p.signer != nil:
		for rest := frame; rest != nil; {
			var m []byte
			m, rest, _ = smb2.Split(rest)
			p.signer.Sign(m, &p.scratch)
		}
	}
	p.raw(frame)
}

// raw sends a frame as it is.
func (p *peer) raw(frame []byte) {
	p.t.Helper()
	if p.sent == nil {
		p.sent = map[[16]byte]bool{}
	}
	for rest := frame; rest != nil && smb2.Protocol(rest) == smb2.ProtocolSMB2; {
		var m []byte
		if m, rest, _ = smb2.Split(rest); m != nil {
			p.sent[[16]byte(m[48:64])] = true
		}
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(len(frame)))
	if _, err := p.nc.Write(append(b, frame...)); err != nil {
		p.t.Fatalf("sending: %v", err)
	}
}

// frame receives a frame, opened if it is sealed; nil when the server has closed.
func (p *peer) frame() []byte {
	p.t.Helper()
	p.nc.SetReadDeadline(time.Now().Add(deadline))
	var n [4]byte
	if _, err := io.ReadFull(p.nc, n[:]); err != nil {
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			p.t.Fatal("no answer")
		}
		return nil
	}
	b := make([]byte, binary.BigEndian.Uint32(n[:]))
	if _, err := io.ReadFull(p.nc, b); err != nil {
		p.t.Fatalf("receiving: %v", err)
	}
	if smb2.Protocol(b) == smb2.ProtocolTransform {
		plain, err := p.in.Open(b, &p.scratch)
		if err != nil {
			p.t.Fatalf("opening a frame: %v", err)
		}
		return plain
	}
	return b
}

// read receives the next message, of a compound one after the other.
func (p *peer) read() (smb2.Header, []byte) {
	p.t.Helper()
	if len(p.pending) == 0 {
		f := p.frame()
		if f == nil {
			return nil, nil
		}
		for rest := f; rest != nil; {
			m, r, err := smb2.Split(rest)
			if err != nil {
				p.t.Fatalf("malformed reply: %v", err)
			}
			p.pending = append(p.pending, m)
			rest = r
		}
	}
	m := p.pending[0]
	p.pending = p.pending[1:]
	h := smb2.Header(m[:smb2.HeaderSize])
	// A reply that could not be signed carries the request's signature.
	echoed := h.Status().IsError() && p.sent[[16]byte(h.Signature())]
	if p.signer != nil && !p.seal && h.IsSigned() && !echoed && !p.signer.Verify(m, &p.scratch) {
		p.t.Fatalf("wrong signature: %v", h)
	}
	return h, m
}

// status receives a message and returns its status.
func (p *peer) status() ntstatus.Status {
	p.t.Helper()
	h, _ := p.read()
	if h == nil {
		p.t.Fatal("connection closed")
	}
	return h.Status()
}

// do sends one message and returns the status of the reply, which is decoded into resp.
func (p *peer) do(c smb2.Command, b body, resp interface{ Decode([]byte) error }, change ...func(*smb2.HeaderFields)) ntstatus.Status {
	p.t.Helper()
	p.write(p.message(c, b, change...))
	h, m := p.read()
	if h == nil {
		p.t.Fatalf("%v: connection closed", c)
	}
	if h.Status().IsSuccess() && resp != nil {
		if err := resp.Decode(m); err != nil {
			p.t.Fatalf("%v: %v", c, err)
		}
	}
	return h.Status()
}

func (p *peer) closed() bool {
	p.t.Helper()
	h, _ := p.read()
	return h == nil
}

// negotiateRequest offers one dialect with all its contexts.
func (p *peer) negotiateRequest(dialects ...smb2.Dialect) *smb2.NegotiateRequest {
	req := &smb2.NegotiateRequest{SecurityMode: smb2.SigningEnabled, ClientGUID: p.client, Dialects: dialects,
		Capabilities: smb2.CapLeasing | smb2.CapLargeMTU | smb2.CapMultiChannel | smb2.CapEncryption | smb2.CapDirectoryLeasing}
	if req.HasDialect(Dialect311) {
		req.Contexts, req.ContextCount = smb2.AppendNegotiateContexts(nil,
			&smb2.PreauthIntegrityCapabilities{HashAlgorithms: []smb2.HashAlgorithm{smb2.HashSHA512}, Salt: make([]byte, 32)},
			&smb2.EncryptionCapabilities{Ciphers: []smb2.Cipher{smb2.CipherAES128GCM, smb2.CipherAES128CCM}},
			&smb2.SigningCapabilities{Algorithms: []smb2.SigningAlgorithm{smb2.SigningAESGMAC, smb2.SigningAESCMAC}})
	}
	return req
}

func (p *peer) negotiate(d smb2.Dialect) smb2.NegotiateResponse {
	p.t.Helper()
	var resp smb2.NegotiateResponse
	m := p.message(smb2.CommandNegotiate, p.negotiateRequest(d))
	p.raw(m)
	h, r := p.read()
	if h == nil || h.Status() != ntstatus.Success || resp.Decode(r) != nil {
		p.t.Fatalf("NEGOTIATE %v: %v", d, h)
	}
	p.dialect = resp.Dialect
	p.base.Update(m)
	p.base.Update(r)
	p.preauth = p.base
	p.cipher = smb2.CipherAES128CCM
	if d == Dialect311 {
		p.cipher = smb2.CipherAES128GCM
	}
	return resp
}

// login sets a session up, in two legs.
func (p *peer) login(user string) {
	p.t.Helper()
	if s := p.setup("again "+user, 0, 0); s != ntstatus.MoreProcessingRequired {
		p.t.Fatalf("SESSION_SETUP: %v", s)
	}
	if s := p.setup(user, 0, 0); s != ntstatus.Success {
		p.t.Fatalf("SESSION_SETUP: %v", s)
	}
}

// setup sends one SESSION_SETUP and, with success, takes the keys into use.
func (p *peer) setup(token string, flags smb2.SessionSetupFlags, previous uint64) ntstatus.Status {
	p.t.Helper()
	m := p.message(smb2.CommandSessionSetup, &smb2.SessionSetupRequest{Flags: flags, SecurityMode: uint8(smb2.SigningEnabled),
		SecurityBuffer: []byte(token), PreviousSessionID: previous})
	if p.signer != nil {
		p.signer.Sign(m, &p.scratch)
	}
	p.raw(m)
	f := p.frame()
	if f == nil {
		p.t.Fatal("SESSION_SETUP: connection closed")
	}
	if p.session == 0 {
		p.preauth = p.base
	}
	h := smb2.Header(f[:smb2.HeaderSize])
	p.preauth.Update(m)
	switch h.Status() {
	case ntstatus.MoreProcessingRequired:
		p.session = h.SessionID()
		p.preauth.Update(f)
	case ntstatus.Success:
		p.session = h.SessionID()
		if token == "nobody" {
			break
		}
		if p.signer == nil || flags&smb2.SessionFlagBinding != 0 {
			p.useKeys(token, flags&smb2.SessionFlagBinding != 0)
		}
		if !h.IsSigned() || !p.signer.Verify(f, &p.scratch) {
			p.t.Fatal("final SESSION_SETUP response has no valid signature")
		}
	}
	return h.Status()
}

func (p *peer) useKeys(user string, binding bool) {
	p.t.Helper()
	algorithm := smbcrypto.DefaultSigning(p.dialect)
	if p.dialect == Dialect311 {
		algorithm = smb2.SigningAESGMAC
	}
	keys := smbcrypto.Derive(p.dialect, p.cipher, keyOf(user), &p.preauth)
	var err error
	if p.signer, err = smbcrypto.NewSigner(algorithm, keys.Signing); err != nil {
		p.t.Fatal(err)
	}
	if binding {
		return
	}
	p.keys = keys
	if p.dialect.Is3x() {
		p.in, _ = smbcrypto.NewSealer(p.cipher, keys.ServerToClient)
		p.out, _ = smbcrypto.NewSealer(p.cipher, keys.ClientToServer)
	}
}

// mount connects to a share.
func (p *peer) mount(share string) ntstatus.Status {
	p.t.Helper()
	p.tree = 0
	p.write(p.message(smb2.CommandTreeConnect, &smb2.TreeConnectRequest{Path: dtyp.EncodeUTF16(`\\server\` + share)}))
	h, _ := p.read()
	if h == nil {
		p.t.Fatal("TREE_CONNECT: connection closed")
	}
	if h.Status() == ntstatus.Success {
		p.tree = h.TreeID()
	}
	return h.Status()
}

// open opens a pipe.
func (p *peer) open(name string) smb2.FileID {
	p.t.Helper()
	var resp smb2.CreateResponse
	if s := p.do(smb2.CommandCreate, createOf(name), &resp); s != ntstatus.Success {
		p.t.Fatalf("CREATE %s: %v", name, s)
	}
	return resp.FileID
}

func createOf(name string) *smb2.CreateRequest {
	return &smb2.CreateRequest{ImpersonationLevel: smb2.ImpersonationImpersonation, DesiredAccess: dtyp.FileGenericRead | dtyp.FileGenericWrite,
		CreateDisposition: smb2.DispositionOpen, Name: dtyp.EncodeUTF16(name)}
}

func echoBody() body { return &smb2.Empty{Of: smb2.CommandEcho} }

// onPipe is a peer with a session, IPC$ and an open pipe.
func onPipe(t testing.TB, addr string, d smb2.Dialect, name string) (*peer, smb2.FileID) {
	t.Helper()
	p := connect(t, addr, d, "alice")
	if s := p.mount(IPC); s != ntstatus.Success {
		t.Fatalf("TREE_CONNECT: %v", s)
	}
	return p, p.open(name)
}

var dialects = []smb2.Dialect{Dialect202, Dialect210, Dialect300, Dialect302, Dialect311}

func expect(t testing.TB, what string, got, want ntstatus.Status) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

func sameBytes(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Fatalf("%s: %q, want %q", what, got, want)
	}
}
