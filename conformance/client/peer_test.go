package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server/servertest"
)

// peer is a server to try the client on: the one at
// GABION_PEER=HOST:PORT,SHARE,USER,PASSWORD, which may be anybody's, or Gabion in
// this process.
type peer struct{ addr, share, user, password string }

func thePeer(t *testing.T) peer {
	t.Helper()
	f := strings.SplitN(os.Getenv("GABION_PEER"), ",", 4)
	if len(f) != 4 {
		return peer{servertest.Memory(t), servertest.Share, servertest.User, servertest.Password}
	}
	return peer{f[0], f[1], f[2], f[3]}
}

func (p peer) credentials() client.Credentials {
	return client.Credentials{User: p.user, Password: p.password}
}

func (p peer) dial(t *testing.T, n client.Negotiation) *client.Conn {
	t.Helper()
	c, err := client.Dial(p.addr, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Negotiate(n); err != nil {
		t.Fatal(err)
	}
	return c
}

func (p peer) tree(t *testing.T, n client.Negotiation) *client.Tree {
	t.Helper()
	c := p.dial(t, n)
	s, err := c.Login(p.credentials())
	if err != nil {
		t.Fatal(err)
	}
	tree, err := s.Connect(p.share)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func work(t *testing.T, tree *client.Tree) {
	t.Helper()
	m := client.OpenFile("client-test.bin")
	m.CreateOptions |= smb2.OptionDeleteOnClose
	f, err := tree.Create(client.WithContext(m, smb2.ContextMaximalAccess, nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := f.Context(smb2.ContextMaximalAccess); !ok {
		t.Error("no maximal access in the response")
	}
	data := bytes.Repeat([]byte("gabion!?"), 2000)
	if n, err := f.WriteAt(data, 100); err != nil || n != len(data) {
		t.Fatal(n, err)
	}
	got := make([]byte, len(data))
	if n, err := f.ReadAt(got, 100); err != nil || n != len(data) || !bytes.Equal(got, data) {
		t.Fatal(n, err)
	}
	if _, err := f.ReadAt(got, 1<<20); err != io.EOF {
		t.Errorf("read behind the end: %v", err)
	}
	if err := f.Flush(); err != nil {
		t.Error(err)
	}
	c, err := f.CloseWith(smb2.CloseFlagPostqueryAttrib)
	if err != nil || c.EndOfFile != uint64(len(data)+100) {
		t.Error(c, err)
	}
	if _, err := f.ReadAt(got, 0); err != ntstatus.FileClosed {
		t.Errorf("read of a closed file: %v", err)
	}
}

func TestPeerDialects(t *testing.T) {
	p := thePeer(t)
	for _, d := range client.AllDialects {
		t.Run(d.String(), func(t *testing.T) {
			tree := p.tree(t, client.Negotiation{Dialects: []smb2.Dialect{d}})
			if tree.Session.Conn.Dialect != d {
				t.Fatalf("got %s", tree.Session.Conn.Dialect)
			}
			work(t, tree)
			if d == smb2.Dialect300 || d == smb2.Dialect302 {
				if err := tree.ValidateNegotiate(); err != nil {
					t.Error("validate negotiate", err)
				}
			}
			if tree.Session.CanEncrypt() {
				tree.Encrypt = true
				work(t, tree)
			}
			if err := tree.Disconnect(); err != nil {
				t.Error(err)
			}
			if err := tree.Session.Logoff(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPeerAlgorithms(t *testing.T) {
	p := thePeer(t)
	for _, a := range []smb2.SigningAlgorithm{smb2.SigningHMACSHA256, smb2.SigningAESCMAC, smb2.SigningAESGMAC} {
		for _, c := range []smb2.Cipher{smb2.CipherAES128CCM, smb2.CipherAES128GCM, smb2.CipherAES256CCM, smb2.CipherAES256GCM} {
			t.Run(fmt.Sprint(a, " ", c), func(t *testing.T) {
				tree := p.tree(t, client.Negotiation{Dialects: []smb2.Dialect{smb2.Dialect311}, Ciphers: []smb2.Cipher{c}, Signing: []smb2.SigningAlgorithm{a}})
				if got := tree.Session.Conn; got.Cipher != c || got.SigningAlgorithm != a {
					t.Fatalf("agreed on %s and %s", got.SigningAlgorithm, got.Cipher)
				}
				tree.Session.SigningRequired = true
				work(t, tree)
				tree.Encrypt = true
				work(t, tree)
			})
		}
	}
}

func TestPeerAuthentication(t *testing.T) {
	p := thePeer(t)
	bad := p.credentials()
	bad.Password += "x"
	if _, err := p.dial(t, client.Negotiation{}).Login(bad); err != ntstatus.LogonFailure {
		t.Errorf("wrong password: %v", err)
	}
	raw := p.credentials()
	raw.Raw = true
	if _, err := p.dial(t, client.Negotiation{}).Login(raw); err != nil {
		t.Errorf("NTLMSSP without SPNEGO: %v", err)
	}
	plain := p.credentials()
	plain.NoMIC = true
	if _, err := p.dial(t, client.Negotiation{}).Login(plain); err != nil {
		t.Errorf("without MIC: %v", err)
	}
	s, err := p.dial(t, client.Negotiation{}).Login(p.credentials())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Reauthenticate(client.NTLM(p.credentials())); err != nil {
		t.Errorf("reauthentication: %v", err)
	}
	tree, err := s.Connect(p.share)
	if err != nil {
		t.Fatal(err)
	}
	work(t, tree)
}

func TestPeerMultiProtocol(t *testing.T) {
	p := thePeer(t)
	c, err := client.Dial(p.addr, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.NegotiateSMB1("NT LM 0.12", smb2.SMB1Dialect202, smb2.SMB1DialectWildcard); err != nil || c.Dialect != smb2.DialectWildcard {
		t.Fatal(c.Dialect, err)
	}
	if err := c.Negotiate(client.Negotiation{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Login(p.credentials()); err != nil {
		t.Fatal(err)
	}
}

func TestPeerCompoundAndAsync(t *testing.T) {
	tree := thePeer(t).tree(t, client.Negotiation{})
	conn := tree.Session.Conn
	all, err := conn.Compound(
		tree.Request(client.OpenDirectory("")),
		tree.Request(&smb2.QueryInfoRequest{InfoType: smb2.InfoFile, FileInfoClass: 5, OutputBufferLength: 100, FileID: smb2.AnyFileID}).Related(),
		tree.Request(&smb2.CloseRequest{FileID: smb2.AnyFileID}).Related())
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range all {
		if r.Status() != ntstatus.Success {
			t.Errorf("%d: %s", i, r.Status())
		}
	}
	dir, err := tree.Create(client.OpenDirectory(""))
	if err != nil {
		t.Fatal(err)
	}
	p, err := dir.Notify(smb2.NotifyAll, false, 1000)
	if err != nil {
		t.Fatal(err)
	}
	r, final, err := p.Interim()
	if err != nil || final || r.Status() != ntstatus.Pending {
		t.Fatal(r, final, err)
	}
	if err := p.Cancel(r.Header.AsyncID()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Changes(); err != ntstatus.Cancelled {
		t.Errorf("cancelled notify: %v", err)
	}
}

func TestPeerLeaseBreak(t *testing.T) {
	p := thePeer(t)
	one, two := p.tree(t, client.Negotiation{}), p.tree(t, client.Negotiation{})
	key := smb2.LeaseKey{1, 2, 3}
	m := client.WithLease(client.OpenFile("leased.bin"), smb2.Lease{V2: true, Key: key, State: smb2.LeaseReadCaching | smb2.LeaseWriteCaching | smb2.LeaseHandleCaching})
	m.CreateOptions |= smb2.OptionDeleteOnClose
	f, err := one.Create(m)
	if err != nil {
		t.Fatal(err)
	}
	if l, ok := f.Lease(); !ok || l.State != 7 || l.Key != key {
		t.Fatalf("lease %+v", l)
	}
	p2, err := two.Start(client.OpenFile("leased.bin"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := one.Session.Conn.Break()
	if err != nil {
		t.Fatal(err)
	}
	lb, err := b.LeaseBreak()
	if err != nil || lb.LeaseKey != key || lb.NewLeaseState&smb2.LeaseWriteCaching != 0 {
		t.Fatal(lb, err)
	}
	if _, err := one.AcknowledgeLease(key, lb.NewLeaseState); err != nil {
		t.Fatal(err)
	}
	if _, err := p2.File(); err != nil {
		t.Fatal(err)
	}
}

func TestPeerMultichannel(t *testing.T) {
	p := thePeer(t)
	n := client.Negotiation{ClientGUID: dtyp.NewGUID()}
	tree := p.tree(t, n)
	ch, err := p.dial(t, n).Bind(tree.Session, client.NTLM(p.credentials()))
	if err != nil {
		t.Fatal(err)
	}
	work(t, tree.On(ch))
	sealed := tree.On(ch)
	sealed.Encrypt = true
	work(t, sealed)
}

func TestPeerBadSignature(t *testing.T) {
	tree := thePeer(t).tree(t, client.Negotiation{})
	req := tree.Request(&smb2.QueryDirectoryRequest{})
	req.SpoilSigned = func(m []byte) { m[50] ^= 1 }
	r, err := tree.Session.Conn.Call(req)
	// Nobody can sign the refusal: it comes without a signature, or as Windows
	// sends it, with the one that was wrong.
	if err != nil && !errors.Is(err, client.ErrUnsigned) && !errors.Is(err, client.ErrSignature) {
		t.Fatal(err)
	}
	if r.Status() != ntstatus.AccessDenied {
		t.Errorf("%s", r.Status())
	}
}
