package auth

import (
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntlm"
	"gabion/protocol/ntstatus"
	"gabion/protocol/spnego"
	"gabion/store/memvol"
)

// client is the other side of an exchange, with knobs to misbehave.
type client struct {
	user, password, domain string
	mechs                  []asn1.ObjectIdentifier
	raw                    bool // NTLMSSP without SPNEGO
	noMIC                  bool // neither claims nor sends a MIC
	breakMIC               bool // the MIC in AUTHENTICATE is wrong
	breakList              bool // the mechListMIC is wrong
	anonymous              bool

	key [16]byte
}

const clientFlags = ntlm.FlagUnicode | ntlm.FlagRequestTarget | ntlm.FlagNTLM | ntlm.FlagSign | ntlm.FlagAlwaysSign |
	ntlm.FlagExtendedSession | ntlm.FlagTargetInfo | ntlm.Flag128 | ntlm.FlagKeyExchange | ntlm.FlagVersion

func (c *client) authenticate(negotiate, challenge []byte) ([]byte, *ntlm.Security) {
	ch, err := ntlm.DecodeChallenge(challenge)
	if err != nil {
		panic(err)
	}
	a := ntlm.Authenticate{Flags: clientFlags & (ch.Flags | ntlm.FlagTargetInfo), Domain: c.domain, User: c.user, Workstation: "WS"}
	if c.anonymous {
		a.Flags |= ntlm.FlagAnonymous
		a.LMResponse = []byte{0}
		return a.Encode(), ntlm.NewSecurity(ch.Flags, [16]byte{}, true)
	}
	pairs := ch.TargetInfo
	if !c.noMIC {
		flags := ntlm.TargetInfo{}
		flags.Add(ntlm.AvFlags, binary.LittleEndian.AppendUint32(nil, ntlm.AvFlagMIC))
		pairs = append(append([]byte(nil), ch.TargetInfo[:len(ch.TargetInfo)-4]...), flags.Bytes()...)
	}
	response, base := ntlm.Respond(ntlm.HashPassword(c.password), c.user, c.domain, ch.ServerChallenge, [8]byte{1}, dtyp.FiletimeOf(time.Now()), pairs)
	a.LMResponse, a.NTResponse = make([]byte, 24), response
	c.key = [16]byte{9, 9, 9}
	encrypted := ntlm.EncryptKey(base, c.key)
	a.SessionKey = encrypted[:]
	b := a.Encode()
	if !c.noMIC {
		mic := ntlm.MIC(c.key, negotiate, challenge, b)
		if c.breakMIC {
			mic[0]++
		}
		ntlm.SetMIC(b, mic)
	}
	return b, ntlm.NewSecurity(a.Flags, c.key, true)
}

// run plays the exchange to its end.
func (c *client) run(t *testing.T, a *Acceptor) (*Identity, error) {
	t.Helper()
	x := a.Begin(netip.MustParseAddrPort("127.0.0.1:1"))
	n := ntlm.Negotiate{Flags: clientFlags}
	negotiate := n.Encode()
	if c.raw {
		challenge, _, err := x.Step(negotiate)
		if err != nil {
			return nil, err
		}
		auth, _ := c.authenticate(negotiate, challenge)
		_, who, err := x.Step(auth)
		return who, err
	}
	init := spnego.Init{Mechs: c.mechs}
	first := c.mechs[0].Equal(spnego.NTLMSSP)
	init.Token = []byte("some other mechanism's token")
	if first {
		init.Token = negotiate
	}
	answer, _, err := x.Step(init.Append(nil))
	if err != nil {
		return nil, err
	}
	resp, err := spnego.DecodeResp(answer)
	if err != nil {
		t.Fatal(err)
	}
	if !first {
		if resp.State != spnego.RequestMIC || !resp.Mech.Equal(spnego.NTLMSSP) {
			t.Fatalf("asked for state %d, mechanism %v", resp.State, resp.Mech)
		}
		next := spnego.Resp{State: spnego.NoState, Token: negotiate}
		if answer, _, err = x.Step(next.Append(nil)); err != nil {
			return nil, err
		}
		if resp, err = spnego.DecodeResp(answer); err != nil {
			t.Fatal(err)
		}
	}
	auth, security := c.authenticate(negotiate, resp.Token)
	last := spnego.Resp{State: spnego.NoState, Token: auth}
	if !c.noMIC {
		list := c.mechs
		if c.breakList {
			list = c.mechs[:1]
		}
		mic := security.Sign(spnego.EncodeMechList(list))
		last.MIC = mic[:]
	}
	answer, who, err := x.Step(last.Append(nil))
	if err != nil {
		return nil, err
	}
	if resp, err = spnego.DecodeResp(answer); err != nil {
		t.Fatal(err)
	}
	if who != nil && resp.State != spnego.AcceptCompleted {
		t.Errorf("complete with state %d", resp.State)
	}
	if !c.noMIC && who != nil && !security.Verify(spnego.EncodeMechList(c.mechs), resp.MIC) {
		t.Error("the server's mechListMIC is wrong")
	}
	return who, nil
}

func testUsers(t *testing.T) *Users {
	t.Helper()
	u, err := OpenUsers(memvol.New(memvol.Options{}), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Add("Jörg", "pass word", "administrators"); err != nil {
		t.Fatal(err)
	}
	return u
}

func TestExchange(t *testing.T) {
	ntlmOnly := []asn1.ObjectIdentifier{spnego.NTLMSSP}
	kerberosFirst := []asn1.ObjectIdentifier{spnego.MSKerberos, spnego.Kerberos, spnego.NTLMSSP}
	good := client{user: "jörg", password: "pass word", domain: "ANY"}
	for _, c := range []struct {
		name string
		mod  func(c *client)
		want error
	}{
		{"SPNEGO", func(c *client) { c.mechs = ntlmOnly }, nil},
		{"Kerberos preferred", func(c *client) { c.mechs = kerberosFirst }, nil},
		{"raw NTLMSSP", func(c *client) { c.raw = true }, nil},
		{"no MIC claimed", func(c *client) { c.mechs, c.noMIC = ntlmOnly, true }, nil},
		{"wrong password", func(c *client) { c.raw, c.password = true, "pass" }, ntstatus.LogonFailure},
		{"unknown user", func(c *client) { c.raw, c.user = true, "nobody" }, ntstatus.LogonFailure},
		{"wrong MIC", func(c *client) { c.raw, c.breakMIC = true, true }, ntstatus.LogonFailure},
		{"wrong mechListMIC", func(c *client) { c.mechs, c.breakList = kerberosFirst, true }, ntstatus.LogonFailure},
		{"no mechanism in common", func(c *client) { c.mechs = kerberosFirst[:2] }, ntstatus.LogonFailure},
		{"anonymous", func(c *client) { c.raw, c.anonymous, c.user = true, true, "" }, ntstatus.AccessDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := NewAcceptor(&NTLM{Users: testUsers(t), Name: "ARRAY"})
			cl := good
			c.mod(&cl)
			who, err := cl.run(t, a)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if err != nil {
				return
			}
			if who.Name() != `ARRAY\Jörg` || [16]byte(who.SessionKey) != cl.key || who.Groups[0] != dtyp.BuiltinAdministrators {
				t.Errorf("identity %+v", who)
			}
		})
	}
}

// A client that sends no MIC although it did not get its preferred mechanism is
// asked for one before it is in (RFC 4178 5).
func TestMechListMICIsDemanded(t *testing.T) {
	a := NewAcceptor(&NTLM{Users: testUsers(t), Name: "ARRAY"})
	c := client{user: "jörg", password: "pass word", mechs: []asn1.ObjectIdentifier{spnego.Kerberos, spnego.NTLMSSP}, noMIC: true}
	if who, err := c.run(t, a); who != nil || err != nil {
		t.Errorf("%v, %v", who, err)
	}
}

func TestAnonymousWhenAllowed(t *testing.T) {
	a := NewAcceptor(&NTLM{Users: testUsers(t), Name: "ARRAY", Anonymous: true})
	c := client{raw: true, anonymous: true}
	if who, err := c.run(t, a); err != nil || !who.Anonymous || len(who.SessionKey) != 0 {
		t.Errorf("%+v, %v", who, err)
	}
}

func TestLockOut(t *testing.T) {
	u := testUsers(t)
	now := time.Now()
	u.now = func() time.Time { return now }
	a := NewAcceptor(&NTLM{Users: u, Name: "ARRAY"})
	try := func(password string) error {
		c := client{user: "jörg", password: password, raw: true}
		_, err := c.run(t, a)
		return err
	}
	for range lockoutThreshold {
		if err := try("wrong"); !errors.Is(err, ntstatus.LogonFailure) {
			t.Fatal(err)
		}
	}
	if err := try("pass word"); !errors.Is(err, ntstatus.AccountLockedOut) {
		t.Errorf("after %d failures: %v", lockoutThreshold, err)
	}
	now = now.Add(lockoutWindow)
	if err := try("pass word"); err != nil {
		t.Errorf("after the lock-out: %v", err)
	}
	if err := u.SetDisabled("JÖRG", true); err != nil {
		t.Fatal(err)
	}
	if err := try("pass word"); !errors.Is(err, ntstatus.AccountDisabled) {
		t.Errorf("disabled: %v", err)
	}
}

func TestUsersSurviveAndAreSealed(t *testing.T) {
	vol := memvol.New(memvol.Options{})
	key, err := LoadKey(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	u, err := OpenUsers(vol, key)
	if err != nil {
		t.Fatal(err)
	}
	first, err := u.Add("a", "one")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Add("A", "two"); !errors.Is(err, ErrUserExists) {
		t.Errorf("second: %v", err)
	}
	for _, bad := range []string{"", "a/b", "a@b", "...", "a-name-of-more-than-twenty"} {
		if _, err := u.Add(bad, "x"); !errors.Is(err, ErrUserName) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := u.Remove("A"); err != nil {
		t.Fatal(err)
	}
	second, err := u.Add("a", "three")
	if err != nil || second.SID == first.SID {
		t.Errorf("a removed user's SID came back: %v, %v", second.SID, err)
	}
	again, err := OpenUsers(vol, key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Find("A"); err != nil || got.SID != second.SID || again.Machine() != u.Machine() {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := OpenUsers(vol, make([]byte, 32)); err == nil {
		t.Error("opened with another key")
	}
}

func FuzzStep(f *testing.F) {
	n := ntlm.Negotiate{Flags: clientFlags}
	init := spnego.Init{Mechs: []asn1.ObjectIdentifier{spnego.NTLMSSP}, Token: n.Encode()}
	f.Add(init.Append(nil), []byte{})
	m := ntlm.Authenticate{User: "u", NTResponse: make([]byte, 80)}
	f.Add(n.Encode(), m.Encode())
	u, err := OpenUsers(memvol.New(memvol.Options{}), make([]byte, 32))
	if err != nil {
		f.Fatal(err)
	}
	a := NewAcceptor(&NTLM{Users: u, Name: "ARRAY"})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		x := a.Begin(netip.AddrPort{})
		if _, _, err := x.Step(first); err != nil {
			return
		}
		if _, who, _ := x.Step(second); who != nil {
			t.Error("let in")
		}
	})
}
