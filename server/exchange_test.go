package server

import (
	"context"
	"fmt"
	"testing"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

func TestEveryDialect(t *testing.T) {
	_, addr := startServer(t, nil)
	for i, d := range dialects {
		t.Run(d.String(), func(t *testing.T) {
			p := dial(t, addr)
			p.client[1] = byte(i)
			p.negotiate(d)
			p.login("alice")
			expect(t, "TREE_CONNECT", p.mount("ipc$"), ntstatus.Success)
			expect(t, "unknown share", p.mount("nowhere"), ntstatus.BadNetworkName)
			expect(t, "TREE_CONNECT", p.mount(IPC), ntstatus.Success)
			id := p.open("echo")
			expect(t, "WRITE", p.do(smb2.CommandWrite, &smb2.WriteRequest{FileID: id, Data: []byte("hello")}, nil), ntstatus.Success)
			var r smb2.ReadResponse
			expect(t, "READ", p.do(smb2.CommandRead, &smb2.ReadRequest{FileID: id, Length: 100}, &r), ntstatus.Success)
			sameBytes(t, "READ", r.Data, []byte("hello"))
			expect(t, "ECHO", p.do(smb2.CommandEcho, echoBody(), nil), ntstatus.Success)
			expect(t, "CLOSE", p.do(smb2.CommandClose, &smb2.CloseRequest{FileID: id}, nil), ntstatus.Success)
			expect(t, "second CLOSE", p.do(smb2.CommandClose, &smb2.CloseRequest{FileID: id}, nil), ntstatus.FileClosed)
			expect(t, "TREE_DISCONNECT", p.do(smb2.CommandTreeDisconnect, &smb2.Empty{}, nil), ntstatus.Success)
			expect(t, "CREATE without tree", p.do(smb2.CommandCreate, createOf("echo"), nil), ntstatus.NetworkNameDeleted)
			expect(t, "LOGOFF", p.do(smb2.CommandLogoff, &smb2.Empty{}, nil), ntstatus.Success)
			p.signer = nil
			expect(t, "after LOGOFF", p.do(smb2.CommandTreeConnect, &smb2.TreeConnectRequest{Path: dtyp.EncodeUTF16(`\\a\b`)}, nil), ntstatus.UserSessionDeleted)
		})
	}
}

func TestEncrypted(t *testing.T) {
	_, addr := startServer(t, func(c *Config) { c.Encryption = EncryptionRequired })
	for i, d := range []smb2.Dialect{Dialect300, Dialect302, Dialect311} {
		t.Run(d.String(), func(t *testing.T) {
			p := dial(t, addr)
			p.client[1] = byte(i)
			p.negotiate(d)
			p.login("alice")
			expect(t, "in plain text", p.do(smb2.CommandTreeConnect, &smb2.TreeConnectRequest{Path: dtyp.EncodeUTF16(`\\a\IPC$`)}, nil), ntstatus.AccessDenied)
			p.seal = true
			expect(t, "TREE_CONNECT", p.mount(IPC), ntstatus.Success)
			id := p.open("echo")
			big := make([]byte, 60000)
			for i := range big {
				big[i] = byte(i)
			}
			p.write(compound(
				p.message(smb2.CommandWrite, &smb2.WriteRequest{FileID: id, Data: big}),
				p.message(smb2.CommandRead, &smb2.ReadRequest{FileID: smb2.AnyFileID, Length: 65536}, related)))
			expect(t, "WRITE", p.status(), ntstatus.Success)
			_, m := p.read()
			var r smb2.ReadResponse
			if err := r.Decode(m); err != nil {
				t.Fatal(err)
			}
			sameBytes(t, "READ", r.Data, big)
		})
	}
	p := dial(t, addr)
	p.negotiate(Dialect210)
	expect(t, "2.1 on a server that encrypts", p.setup("alice", 0, 0), ntstatus.AccessDenied)
}

func TestMultiProtocolNegotiate(t *testing.T) {
	_, addr := startServer(t, nil)
	p := dial(t, addr)
	p.raw(smb2.AppendSMB1Negotiate(nil, "NT LM 0.12", smb2.SMB1Dialect202, smb2.SMB1DialectWildcard))
	_, m := p.read()
	var resp smb2.NegotiateResponse
	if err := resp.Decode(m); err != nil || resp.Dialect != smb2.DialectWildcard {
		t.Fatalf("%v %v", resp.Dialect, err)
	}
	p.next = 1
	p.negotiate(Dialect311)
	p.login("alice")
	p.raw(smb2.AppendSMB1Negotiate(nil, smb2.SMB1DialectWildcard))
	if !p.closed() {
		t.Fatal("SMB1 in the middle of SMB2 was answered")
	}
	p = dial(t, addr)
	p.raw(smb2.AppendSMB1Negotiate(nil, "NT LM 0.12"))
	if !p.closed() {
		t.Fatal("an SMB1 client was answered")
	}
}

func TestNegotiateFailures(t *testing.T) {
	_, addr := startServer(t, nil)
	preauth := func(a smb2.HashAlgorithm) smb2.NegotiateContext {
		return &smb2.PreauthIntegrityCapabilities{HashAlgorithms: []smb2.HashAlgorithm{a}, Salt: make([]byte, 32)}
	}
	signing := &smb2.SigningCapabilities{}
	for _, c := range []struct {
		name     string
		dialects []smb2.Dialect
		contexts []smb2.NegotiateContext
		want     ntstatus.Status
	}{
		{"no dialect", nil, nil, ntstatus.InvalidParameter},
		{"unknown dialect", []smb2.Dialect{0x0400}, nil, ntstatus.NotSupported},
		{"no preauth context", []smb2.Dialect{Dialect311}, nil, ntstatus.InvalidParameter},
		{"unknown hash", []smb2.Dialect{Dialect311}, []smb2.NegotiateContext{preauth(7)}, ntstatus.SMBNoPreauthIntegrityHashOverlap},
		{"two preauth contexts", []smb2.Dialect{Dialect311}, []smb2.NegotiateContext{preauth(1), preauth(1)}, ntstatus.InvalidParameter},
		{"no signing algorithm", []smb2.Dialect{Dialect311}, []smb2.NegotiateContext{preauth(1), signing}, ntstatus.InvalidParameter},
		{"unknown context", []smb2.Dialect{Dialect311}, []smb2.NegotiateContext{preauth(1), smb2.RawNegotiateContext{Type: 0x99}}, ntstatus.Success},
		{"short context", []smb2.Dialect{Dialect311}, []smb2.NegotiateContext{preauth(1),
			smb2.RawNegotiateContext{Type: smb2.NegotiateEncryption, Data: []byte{1}}}, ntstatus.InvalidParameter},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := dial(t, addr)
			req := &smb2.NegotiateRequest{Dialects: c.dialects}
			req.Contexts, req.ContextCount = smb2.AppendNegotiateContexts(nil, c.contexts...)
			p.raw(p.message(smb2.CommandNegotiate, req))
			expect(t, "NEGOTIATE", p.status(), c.want)
		})
	}
}

func TestBeforeNegotiate(t *testing.T) {
	_, addr := startServer(t, nil)
	for _, c := range []smb2.Command{smb2.CommandSessionSetup, smb2.CommandEcho, smb2.CommandRead, smb2.CommandCancel, 0x20} {
		p := dial(t, addr)
		p.raw(p.message(c, echoBody()))
		if !p.closed() {
			t.Errorf("%v before NEGOTIATE was answered", c)
		}
	}
}

func TestSecondNegotiateCloses(t *testing.T) {
	_, addr := startServer(t, nil)
	p := dial(t, addr)
	p.negotiate(Dialect302)
	p.raw(p.message(smb2.CommandNegotiate, p.negotiateRequest(Dialect302)))
	if !p.closed() {
		t.Fatal("a second NEGOTIATE was answered")
	}
}

func TestSigningIsEnforced(t *testing.T) {
	_, addr := startServer(t, nil)
	for i, d := range dialects {
		p := dial(t, addr)
		p.client[1] = byte(i)
		p.negotiate(d)
		p.login("alice")
		signer := p.signer
		p.signer = nil
		expect(t, d.String()+" unsigned", p.do(smb2.CommandLogoff, &smb2.Empty{}, nil), ntstatus.AccessDenied)
		p.signer = signer
		m := p.message(smb2.CommandLogoff, &smb2.Empty{})
		p.signer.Sign(m, &p.scratch)
		m[50] ^= 1
		p.raw(m)
		expect(t, d.String()+" forged", p.status(), ntstatus.AccessDenied)
		expect(t, d.String(), p.do(smb2.CommandLogoff, &smb2.Empty{}, nil), ntstatus.Success)
	}
}

func TestUnsignedTreeConnectIn311Closes(t *testing.T) {
	_, addr := startServer(t, func(c *Config) { c.Signing = SigningEnabled })
	p := connect(t, addr, Dialect311, "alice")
	p.signer = nil
	p.raw(p.message(smb2.CommandTreeConnect, &smb2.TreeConnectRequest{Path: dtyp.EncodeUTF16(`\\a\IPC$`)}))
	if !p.closed() {
		t.Fatal("an unsigned TREE_CONNECT was answered")
	}
}

func TestAnonymous(t *testing.T) {
	_, addr := startServer(t, nil)
	p := dial(t, addr)
	p.negotiate(Dialect302)
	expect(t, "anonymous", p.setup("nobody", 0, 0), ntstatus.Success)
	expect(t, "IPC$", p.mount(IPC), ntstatus.Success)
	_, closed := startServer(t, func(c *Config) { c.Anonymous = false })
	p = dial(t, closed)
	p.negotiate(Dialect302)
	expect(t, "anonymous, not allowed", p.setup("nobody", 0, 0), ntstatus.AccessDenied)
}

func TestSessionSetupFailures(t *testing.T) {
	s, addr := startServer(t, nil)
	p := dial(t, addr)
	p.negotiate(Dialect311)
	expect(t, "stranger", p.setup("stranger", 0, 0), ntstatus.LogonFailure)
	p.session = 4711
	expect(t, "unknown session", p.setup("alice", 0, 0), ntstatus.UserSessionDeleted)
	p.session = 0
	expect(t, "binding session 0", p.setup("alice", smb2.SessionFlagBinding, 0), ntstatus.InvalidParameter)
	expect(t, "alice", p.setup("alice", 0, 0), ntstatus.Success)
	if n := len(s.Sessions()); n != 1 {
		t.Fatalf("%d sessions, want the one that succeeded", n)
	}
}

func TestClientKeepsOneDialect(t *testing.T) {
	_, addr := startServer(t, nil)
	connect(t, addr, Dialect311, "alice")
	p := dial(t, addr)
	p.negotiate(Dialect302)
	expect(t, "other dialect", p.setup("alice", 0, 0), ntstatus.UserSessionDeleted)
}

func TestReauthentication(t *testing.T) {
	s, addr := startServer(t, nil)
	for i, d := range dialects {
		t.Run(d.String(), func(t *testing.T) {
			p := dial(t, addr)
			p.client[1] = byte(i)
			p.negotiate(d)
			p.login("alice")
			expect(t, "mount", p.mount(IPC), ntstatus.Success)
			id := p.open("echo")
			ses := s.sessions.find(p.session)
			ses.expires.Store(1)
			expect(t, "expired", p.do(smb2.CommandFlush, &smb2.FlushRequest{FileID: id}, nil), ntstatus.NetworkSessionExpired)
			expect(t, "first leg", p.setup("again alice", 0, 0), ntstatus.MoreProcessingRequired)
			expect(t, "second leg", p.setup("alice", 0, 0), ntstatus.Success)
			expect(t, "renewed", p.do(smb2.CommandFlush, &smb2.FlushRequest{FileID: id}, nil), ntstatus.Success)
			ses.expires.Store(1)
			expect(t, "CLOSE in an expired session", p.do(smb2.CommandClose, &smb2.CloseRequest{FileID: id}, nil), ntstatus.Success)
		})
	}
}

func TestPreviousSession(t *testing.T) {
	s, addr := startServer(t, nil)
	old := connect(t, addr, Dialect311, "alice")
	other := connect(t, addr, Dialect311, "bob")
	p := dial(t, addr)
	p.negotiate(Dialect311)
	expect(t, "somebody else's", p.setup("alice", 0, other.session), ntstatus.Success)
	if s.sessions.find(other.session) == nil {
		t.Fatal("a session was ended by another user")
	}
	p = dial(t, addr)
	p.negotiate(Dialect311)
	expect(t, "one's own", p.setup("alice", 0, old.session), ntstatus.Success)
	if s.sessions.find(old.session) != nil {
		t.Fatal("the previous session lives on")
	}
}

func TestBinding(t *testing.T) {
	s, addr := startServer(t, nil)
	for i, d := range []smb2.Dialect{Dialect300, Dialect302, Dialect311} {
		t.Run(d.String(), func(t *testing.T) {
			a := dial(t, addr)
			a.client[1] = byte(i)
			a.negotiate(d)
			a.login("alice")
			expect(t, "mount", a.mount(IPC), ntstatus.Success)
			id := a.open("echo")

			bind := func(user string) (*peer, ntstatus.Status) {
				b := dial(t, addr)
				b.client = a.client
				b.negotiate(d)
				b.session, b.signer, b.keys, b.in, b.out = a.session, a.signer, a.keys, a.in, a.out
				if s := b.setup("again "+user, smb2.SessionFlagBinding, 0); s != ntstatus.MoreProcessingRequired {
					return b, s
				}
				return b, b.setup(user, smb2.SessionFlagBinding, 0)
			}
			b, status := bind("alice")
			expect(t, "binding", status, ntstatus.Success)
			b.tree = a.tree
			expect(t, "open of the other channel", b.do(smb2.CommandWrite, &smb2.WriteRequest{FileID: id, Data: []byte("x")}, nil), ntstatus.Success)
			_, status = bind("bob")
			expect(t, "binding another user's", status, ntstatus.AccessDenied)
			a.nc.Close()
			expect(t, "after the first channel is gone", b.do(smb2.CommandRead, &smb2.ReadRequest{FileID: id, Length: 1}, nil), ntstatus.Success)
			if s.sessions.find(b.session) == nil {
				t.Fatal("the session ended with one of its channels")
			}
		})
	}
}

func TestValidateNegotiate(t *testing.T) {
	_, addr := startServer(t, nil)
	ask := func(d smb2.Dialect, offered smb2.Dialect) *peer {
		p := dial(t, addr)
		p.client[1], p.client[2] = byte(d), byte(offered)
		p.negotiate(d)
		p.login("alice")
		p.mount(IPC)
		v := smb2.ValidateNegotiateInfoRequest{Capabilities: p.negotiateRequest(d).Capabilities, GUID: p.client,
			SecurityMode: smb2.SigningEnabled, Dialects: []smb2.Dialect{offered}}
		p.write(p.message(smb2.CommandIoctl, &smb2.IoctlRequest{CtlCode: smb2.FsctlValidateNegotiateInfo, FileID: smb2.AnyFileID,
			Input: v.AppendTo(nil), MaxOutputResponse: 24, Flags: smb2.IoctlIsFsctl}))
		return p
	}
	expect(t, "honest", ask(Dialect302, Dialect302).status(), ntstatus.Success)
	for _, c := range [][2]smb2.Dialect{{Dialect302, Dialect311}, {Dialect311, Dialect311}, {Dialect210, Dialect300}} {
		if !ask(c[0], c[1]).closed() {
			t.Errorf("%v with %v was answered", c[0], c[1])
		}
	}
}

func TestControlCodes(t *testing.T) {
	_, addr := startServer(t, nil)
	p, id := onPipe(t, addr, Dialect311, "echo")
	ctl := func(code uint32, id smb2.FileID, input string, out *smb2.IoctlResponse) ntstatus.Status {
		return p.do(smb2.CommandIoctl, &smb2.IoctlRequest{CtlCode: code, FileID: id, Input: []byte(input), MaxOutputResponse: 4096, Flags: smb2.IoctlIsFsctl}, out)
	}
	var out smb2.IoctlResponse
	expect(t, "transceive", ctl(smb2.FsctlPipeTransceive, id, "ping", &out), ntstatus.Success)
	sameBytes(t, "transceive", out.Output, []byte("ping"))
	expect(t, "interfaces", ctl(smb2.FsctlQueryNetworkInterfaceInfo, smb2.AnyFileID, "", &out), ntstatus.Success)
	list, err := smb2.DecodeNetworkInterfaces(out.Output)
	if err != nil || len(list) == 0 || list[0].IfIndex == 0 {
		t.Fatalf("interfaces: %v %v", list, err)
	}
	expect(t, "interfaces of a file", ctl(smb2.FsctlQueryNetworkInterfaceInfo, id, "", &out), ntstatus.InvalidParameter)
	expect(t, "DFS", ctl(smb2.FsctlDFSGetReferrals, smb2.AnyFileID, "x", &out), ntstatus.FsDriverRequired)
	expect(t, "unknown", ctl(0x00099999, id, "", &out), ntstatus.NotSupported)
	expect(t, "unknown, of no open", ctl(0x00099999, smb2.AnyFileID, "", &out), ntstatus.FileClosed)
	expect(t, "wait", ctl(smb2.FsctlPipeWait, smb2.AnyFileID, "\x00\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x00\x00e\x00c\x00h\x00o\x00", &out), ntstatus.Success)
}

// A request that waits when the server goes down is not answered as if its client had cancelled it: a host would
// tell its guest, instead of asking again where it finds the array next.
func TestShutdownCancelsNothing(t *testing.T) {
	s, addr := startServer(t, nil)
	p, id := onPipe(t, addr, Dialect311, "mute")
	p.write(p.message(smb2.CommandRead, &smb2.ReadRequest{FileID: id, Length: 10}))
	expect(t, "READ", p.status(), ntstatus.Pending)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if !p.closed() {
		t.Fatal("a READ that waited was answered, or the connection outlived the server")
	}
}

func TestAdministratorsSeeAndClose(t *testing.T) {
	s, addr := startServer(t, nil)
	p, id := onPipe(t, addr, Dialect311, "echo")
	opens, sessions, conns := s.Opens(), s.Sessions(), s.Connections()
	got := fmt.Sprintf("%d %d %d %s %s %s %v", len(opens), len(sessions), len(conns), opens[0].Path, sessions[0].User, conns[0].Dialect, sessions[0].Trees)
	if got != `1 1 1 \pipe\echo alice 3.1.1 [IPC$]` {
		t.Fatalf("listed: %s", got)
	}
	if err := s.CloseOpen(opens[0].ID); err != nil {
		t.Fatal(err)
	}
	expect(t, "closed open", p.do(smb2.CommandFlush, &smb2.FlushRequest{FileID: id}, nil), ntstatus.FileClosed)
	if err := s.CloseSession(sessions[0].ID); err != nil || s.CloseSession(sessions[0].ID) == nil {
		t.Fatal(err)
	}
	expect(t, "closed session", p.do(smb2.CommandFlush, &smb2.FlushRequest{FileID: id}, nil), ntstatus.UserSessionDeleted)
	if err := s.CloseConnection(conns[0].ID); err != nil || !p.closed() {
		t.Fatal("the connection is still there")
	}
}

// A pipe's name is the name alone [MS-SMB2] 2.2.13.
func TestPipeNames(t *testing.T) {
	_, addr := startServer(t, nil)
	p := connect(t, addr, Dialect311, "alice")
	expect(t, "mount", p.mount(IPC), ntstatus.Success)
	for name, want := range map[string]ntstatus.Status{"echo": ntstatus.Success, "ECHO": ntstatus.Success,
		`\echo`: ntstatus.ObjectNameNotFound, `pipe\echo`: ntstatus.ObjectNameNotFound, "": ntstatus.ObjectNameNotFound} {
		expect(t, name, p.do(smb2.CommandCreate, createOf(name), nil), want)
	}
}

// What was queued for a client whose connection is closed may never have come to it: a break
// notification has to go out on another.
func TestClosedConnectionDeliveredNothing(t *testing.T) {
	s, addr := startServer(t, nil)
	p := connect(t, addr, Dialect311, "bob")
	c := s.allConns()[0]
	p.do(smb2.CommandEcho, echoBody(), &smb2.Empty{})
	c.net.Close()
	if c.delivered(c.out.position() + 1) {
		t.Error("a closed connection delivered what came after")
	}
}
