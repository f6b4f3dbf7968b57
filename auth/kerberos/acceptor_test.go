package kerberos

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gabion/auth/kerberos/kdctest"
	"gabion/protocol/dtyp"
	"gabion/protocol/krb5"
	"gabion/protocol/pac"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 123456000, time.UTC)

// bench is an acceptor whose key table holds the KDC's key.
type bench struct {
	*testing.T
	kdc  *kdctest.KDC
	a    *Acceptor
	path string
	now  time.Time
}

func newBench(t *testing.T, etype int32) *bench {
	b := &bench{T: t, kdc: kdctest.New(etype), path: filepath.Join(t.TempDir(), "keytab"), now: noon}
	b.write(b.kdc.Entry())
	keys, err := OpenKeytab(b.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.a = NewAcceptor(Config{Keytab: keys, Realm: "GABION.TEST", RC4: true, Machine: dtyp.MakeSID(5, 21, 7, 7, 7), Now: func() time.Time { return b.now }})
	return b
}

func (b *bench) write(entries ...krb5.KeytabEntry) {
	b.Helper()
	if err := kdctest.WriteKeytab(b.path, entries...); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) client(s kdctest.Spec) *kdctest.Client {
	return &kdctest.Client{Ticket: b.kdc.Issue(b.now, s), Flags: krb5.FlagMutual | krb5.FlagInteg, Subkey: true}
}

func TestAccept(t *testing.T) {
	for _, etype := range []int32{AES128, AES256, RC4} {
		t.Run(etypeName(etype), func(t *testing.T) {
			b := newBench(t, etype)
			cl := b.client(kdctest.Spec{})
			answer, c, err := b.a.Begin().Step(cl.Request(b.now))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := cl.Finish(answer); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(c.SessionKey(), cl.Key.Value) || bytes.Equal(cl.Key.Value, cl.Ticket.Session.Value) {
				t.Error("both sides did not agree on a fresh key")
			}
			if c.Name() != "alice@GABION.TEST" || c.Who.SID != kdctest.Domain.WithRID(1105) || c.Who.UPN != "alice@gabion.test" {
				t.Errorf("%s is %+v", c.Name(), c.Who)
			}
			if got := fmt.Sprint(c.Who.Groups); got != fmt.Sprint([]pac.Group{{SID: kdctest.Domain.WithRID(513), Attributes: 7},
				{SID: kdctest.Domain.WithRID(1201), Attributes: 7}, {SID: dtyp.MakeSID(18, 1), Attributes: 7}}) {
				t.Errorf("groups %s", got)
			}
			if want := b.now.Add(10 * time.Hour).Truncate(time.Second); !c.EndTime.Equal(want) {
				t.Errorf("ends %v, not %v", c.EndTime, want)
			}
		})
	}
}

// Which key a context gets depends on who offered what (RFC 4121 2).
func TestSessionKey(t *testing.T) {
	b := newBench(t, AES256)
	cl := b.client(kdctest.Spec{SessionEType: AES128})
	cl.Flags = 0
	answer, c, err := b.a.Begin().Step(cl.Request(b.now))
	if err != nil || answer != nil || !bytes.Equal(c.SessionKey(), cl.Key.Value) {
		t.Errorf("the client's subkey without mutual authentication: %v, %x", err, answer)
	}
	cl = b.client(kdctest.Spec{})
	cl.Flags, cl.Subkey, cl.NoChecksum = 0, false, true
	_, c, err = b.a.Begin().Step(cl.Request(b.now))
	if err != nil || c.Flags != 0 || !bytes.Equal(c.SessionKey(), cl.Ticket.Session.Value) {
		t.Errorf("neither subkey nor checksum: %v", err)
	}
}

func TestMIC(t *testing.T) {
	for _, etype := range []int32{AES128, AES256} {
		b := newBench(t, etype)
		cl := b.client(kdctest.Spec{})
		answer, c, err := b.a.Begin().Step(cl.Request(b.now))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cl.Finish(answer); err != nil {
			t.Fatal(err)
		}
		message := []byte("mechanisms")
		token := cl.Sign(message)
		if !c.Verify(message, token) {
			t.Error("the client's MIC is refused")
		}
		if err := cl.Verify(message, c.Sign(message)); err != nil {
			t.Errorf("the acceptor's MIC: %v", err)
		}
		token[len(token)-1] ^= 1
		if c.Verify(message, token) || c.Verify([]byte("other"), cl.Sign(message)) || c.Verify(message, c.Sign(message)) || c.Verify(message, nil) {
			t.Error("a wrong MIC is accepted")
		}
	}
}

// RFC 4757 tokens of both directions, made and read by the same code.
func TestMICWithRC4(t *testing.T) {
	key := krb5.Key{EType: RC4, Value: bytes.Repeat([]byte{7}, 16)}
	us, them := &Context{key: key}, &Context{key: key}
	token := them.sign4757([]byte("m"), 5, false)
	if !us.Verify([]byte("m"), token) || us.Verify([]byte("n"), token) || us.Verify([]byte("m"), us.Sign([]byte("m"))) {
		t.Error("MIC of rc4-hmac")
	}
}

func TestDCEStyle(t *testing.T) {
	b := newBench(t, AES256)
	for _, forge := range []func(second, third []byte) []byte{
		nil,
		func(second, third []byte) []byte { return third[:len(third)-1] },
		func(second, third []byte) []byte { return second }, // ours sent back
	} {
		cl := b.client(kdctest.Spec{})
		cl.Flags |= krb5.FlagDCE
		x := b.a.Begin()
		answer, c, err := x.Step(cl.Request(b.now))
		if err != nil || c != nil {
			t.Fatalf("second leg: %v, %v", c, err)
		}
		third, err := cl.Finish(answer)
		if err != nil {
			t.Fatal(err)
		}
		if forge != nil {
			third = forge(answer, third)
		}
		_, c, err = x.Step(third)
		if forge != nil {
			wantCode(t, "forged third leg", err, krb5.ErrMutualFail)
		} else if err != nil || !bytes.Equal(c.SessionKey(), cl.Key.Value) {
			t.Errorf("third leg: %v", err)
		}
		b.now = b.now.Add(time.Second)
	}
	cl := b.client(kdctest.Spec{})
	if _, _, err := b.a.Begin().Step(krb5DecodeFrame(t, cl.Request(b.now))); err == nil {
		t.Error("an unframed AP-REQ without DCE style is accepted")
	}
}

func krb5DecodeFrame(t *testing.T, b []byte) []byte {
	_, body, err := krb5.DecodeToken(b)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func wantCode(t *testing.T, name string, err error, code krb5.ErrorCode) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("%s: %v, want %v", name, err, code)
	}
}

func TestRefusals(t *testing.T) {
	other := kdctest.RandomKey(AES256)
	tests := map[string]struct {
		spec   kdctest.Spec
		kdc    func(*kdctest.KDC)
		client func(*kdctest.Client)
		token  func([]byte) []byte
		want   krb5.ErrorCode
		say    string
	}{
		"another service of the account":        {spec: kdctest.Spec{Service: []string{"http", "filesrv"}}, want: krb5.ErrNotUs, say: "http/filesrv"},
		"another account":                       {spec: kdctest.Spec{Service: []string{"other$"}}, want: krb5.ErrNotUs},
		"service of another realm":              {kdc: func(k *kdctest.KDC) { k.Realm = "ELSEWHERE.TEST" }, want: krb5.ErrNotUs, say: "ELSEWHERE.TEST"},
		"expired":                               {spec: kdctest.Spec{EndTime: noon.Add(-6 * time.Minute)}, want: krb5.ErrTicketExpired, say: "11:54:00"},
		"not yet valid":                         {spec: kdctest.Spec{Start: noon.Add(6 * time.Minute)}, want: krb5.ErrNotYetValid},
		"postdated":                             {spec: kdctest.Spec{Flags: krb5.TicketInvalid}, want: krb5.ErrNotYetValid},
		"other password":                        {kdc: func(k *kdctest.KDC) { k.Key = other }, want: krb5.ErrModified, say: "another account or password"},
		"newer password":                        {kdc: func(k *kdctest.KDC) { k.Key, k.KVNO = other, 4 }, want: krb5.ErrBadKeyVersion, say: "version 4"},
		"encryption type without key":           {kdc: func(k *kdctest.KDC) { k.Key = kdctest.RandomKey(AES128) }, want: krb5.ErrNoKey, say: "no aes128 key"},
		"no PAC":                                {spec: kdctest.Spec{NoPAC: true}, want: krb5.ErrGeneric, say: "no PAC"},
		"altered PAC":                           {spec: kdctest.Spec{Spoil: func(b []byte) []byte { b[0x1c8] ^= 1; return b }}, want: krb5.ErrModified},
		"PAC signature":                         {spec: kdctest.Spec{Spoil: func(b []byte) []byte { b[len(b)-37] ^= 1; return b }}, want: krb5.ErrModified, say: "signature"},
		"truncated PAC":                         {spec: kdctest.Spec{Spoil: func(b []byte) []byte { return b[:len(b)/2] }}, want: krb5.ErrModified},
		"empty PAC":                             {spec: kdctest.Spec{Spoil: func([]byte) []byte { return nil }}, want: krb5.ErrModified},
		"PAC signed with another checksum type": {spec: kdctest.Spec{PAC: func(p *pac.PAC) { p.Server.Kind = pac.HMACSHA196AES128 }}, want: krb5.ErrModified},
		"PAC of another user":                   {spec: kdctest.Spec{PAC: func(p *pac.PAC) { p.Client.Name = "bob" }}, want: krb5.ErrModified, say: "bob"},
		"PAC of another ticket":                 {spec: kdctest.Spec{PAC: func(p *pac.PAC) { p.Client.AuthTime += 1e8 }}, want: krb5.ErrModified},
		"PAC of SYSTEM": {spec: kdctest.Spec{PAC: func(p *pac.PAC) {
			p.Logon.UserID, p.Logon.ExtraSIDs[0].SID = 0, dtyp.LocalSystem
		}}, want: krb5.ErrModified, say: "S-1-5-18"},
		"PAC of a local user": {spec: kdctest.Spec{PAC: func(p *pac.PAC) { p.Logon.Domain = dtyp.MakeSID(5, 21, 7, 7, 7) }}, want: krb5.ErrModified},
		"authenticator of another": {client: func(c *kdctest.Client) {
			c.Change = func(a *krb5.Authenticator) { a.Client.Name = []string{"bob"} }
		}, want: krb5.ErrBadMatch, say: "bob"},
		"authenticator of another realm": {client: func(c *kdctest.Client) {
			c.Change = func(a *krb5.Authenticator) { a.Realm = "ELSEWHERE" }
		}, want: krb5.ErrBadMatch},
		"authenticator by another key": {client: func(c *kdctest.Client) { c.Ticket.Session = other }, want: krb5.ErrModified},
		"user-to-user":                 {client: func(c *kdctest.Client) { c.Options = krb5.OptionUseSessionKey }, want: krb5.ErrNoKey},
		"bad checksum": {client: func(c *kdctest.Client) {
			c.Change = func(a *krb5.Authenticator) { a.Checksum.Value = a.Checksum.Value[:23] }
		}, want: krb5.ErrBadChecksum},
		"bad subkey": {client: func(c *kdctest.Client) {
			c.Change = func(a *krb5.Authenticator) { a.Subkey.Value = a.Subkey.Value[:5] }
		}, want: krb5.ErrNoKey},
		"short ticket":          {client: func(c *kdctest.Client) { c.Ticket.Enc.Cipher = c.Ticket.Enc.Cipher[:20] }, want: krb5.ErrModified},
		"altered ticket":        {client: func(c *kdctest.Client) { c.Ticket.Enc.Cipher[99] ^= 1 }, want: krb5.ErrModified},
		"altered authenticator": {token: func(b []byte) []byte { b[len(b)-9] ^= 1; return b }, want: krb5.ErrModified},
		"cut token":             {token: func(b []byte) []byte { return b[:len(b)-1] }, want: krb5.ErrGeneric},
		"empty token":           {token: func([]byte) []byte { return nil }, want: krb5.ErrGeneric},
		"an AP-REP":             {token: func([]byte) []byte { return krb5.EncodeToken(krb5.TokenAPRep, nil) }, want: krb5.ErrGeneric},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, AES256)
			if tt.kdc != nil {
				tt.kdc(b.kdc)
			}
			cl := b.client(tt.spec)
			if tt.client != nil {
				tt.client(cl)
			}
			token := cl.Request(b.now)
			if tt.token != nil {
				token = tt.token(token)
			}
			x := b.a.Begin()
			answer, c, err := x.Step(token)
			wantCode(t, name, err, tt.want)
			if c != nil || answer != nil {
				t.Errorf("context %v, answer %x", c, answer)
			}
			if err != nil && !strings.Contains(err.Error(), tt.say) {
				t.Errorf("%v does not say %q", err, tt.say)
			}
			if _, _, err := x.Step(cl.Request(b.now)); err == nil {
				t.Error("the exchange goes on after a refusal")
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	tests := map[string]struct {
		spec   kdctest.Spec
		client func(*kdctest.Client)
	}{
		"host service":          {spec: kdctest.Spec{Service: []string{"HOST", "FileSrv.gabion.test"}}},
		"name of the computer":  {spec: kdctest.Spec{Service: []string{"restrictedkrbhost", "filesrv"}}},
		"expired within skew":   {spec: kdctest.Spec{EndTime: noon.Add(-4 * time.Minute)}},
		"starts within skew":    {spec: kdctest.Spec{Start: noon.Add(4 * time.Minute)}},
		"no key version":        {spec: kdctest.Spec{NoKVNO: true}},
		"PAC behind other data": {spec: kdctest.Spec{First: []krb5.AuthData{{Type: 99}, {Type: krb5.ADIfRelevant, Data: krb5.EncodeAuthData(nil)}}}},
		"name in other case": {client: func(c *kdctest.Client) {
			c.Change = func(a *krb5.Authenticator) { a.Client.Name = []string{"ALICE"} }
		}},
		"name with realm, as S4U gives": {spec: kdctest.Spec{PAC: func(p *pac.PAC) { p.Client.Name = "alice@GABION.TEST" }}},
		"a thousand groups": {spec: kdctest.Spec{PAC: func(p *pac.PAC) {
			for i := range 1000 {
				p.Logon.Groups = append(p.Logon.Groups, pac.Membership{RID: 5000 + uint32(i), Attributes: 7})
			}
		}}},
	}
	for name, tt := range tests {
		b := newBench(t, AES256)
		cl := b.client(tt.spec)
		if tt.client != nil {
			tt.client(cl)
		}
		if _, _, err := b.a.Begin().Step(cl.Request(b.now)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a PAC says of this server's own groups, of its users and of disabled groups
// counts for nothing.
func TestDroppedSIDs(t *testing.T) {
	b := newBench(t, AES256)
	local := dtyp.MakeSID(5, 21, 7, 7, 7)
	cl := b.client(kdctest.Spec{PAC: func(p *pac.PAC) {
		l := &p.Logon
		l.UserFlags |= pac.UserResourceGroups
		l.Groups = []pac.Membership{{RID: 1201, Attributes: 7}, {RID: 1202, Attributes: 0}, {RID: 1203, Attributes: 0x10}}
		l.ExtraSIDs = []pac.Group{{SID: dtyp.BuiltinAdministrators, Attributes: 7}, {SID: dtyp.LocalSystem, Attributes: 7},
			{SID: local.WithRID(500), Attributes: 7}, {SID: dtyp.MakeSID(5, 21, 9, 9, 9, 1300), Attributes: 7}}
		l.ResourceDomain = dtyp.Builtin
		l.ResourceGroups = []pac.Membership{{RID: 551, Attributes: 7}}
	}})
	_, c, err := b.a.Begin().Step(cl.Request(b.now))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, g := range c.Who.Groups {
		got = append(got, g.SID.String())
	}
	want := []string{kdctest.Domain.WithRID(513).String(), kdctest.Domain.WithRID(1201).String(), "S-1-5-21-9-9-9-1300"}
	if !slices.Equal(got, want) {
		t.Errorf("groups %v, want %v", got, want)
	}
	dropped := []dtyp.SID{dtyp.BuiltinAdministrators, dtyp.LocalSystem, local.WithRID(500), dtyp.BuiltinBackupOperators}
	if !slices.Equal(c.Who.Dropped, dropped) {
		t.Errorf("dropped %v, want %v", c.Who.Dropped, dropped)
	}
}

func TestDelegation(t *testing.T) {
	b := newBench(t, AES256)
	chain := []string{"console$@GABION.TEST", "HV1$@GABION.TEST"}
	cl := b.client(kdctest.Spec{PAC: func(p *pac.PAC) {
		p.Delegation = &pac.Delegation{Target: "cifs/filesrv", Transited: chain}
		p.Requestor = kdctest.Domain.WithRID(1200) // [MS-PAC] 2.15: the delegating service's
	}})
	_, c, err := b.a.Begin().Step(cl.Request(b.now))
	if err != nil {
		t.Fatal(err)
	}
	if c.Who.SID != kdctest.Domain.WithRID(1105) || !slices.Equal(c.Who.Delegated, chain) {
		t.Errorf("%+v", c.Who)
	}
}

func TestReplay(t *testing.T) {
	b := newBench(t, AES256)
	cl := b.client(kdctest.Spec{})
	token := cl.Request(b.now)
	if _, _, err := b.a.Begin().Step(token); err != nil {
		t.Fatal(err)
	}
	for _, later := range []time.Duration{0, 4 * time.Minute} {
		b.now = noon.Add(later)
		_, _, err := b.a.Begin().Step(token)
		wantCode(t, "replay after "+later.String(), err, krb5.ErrRepeat)
	}
	b.now = noon
	// Channels of one session come in the same microsecond with the same ticket.
	for range 8 {
		if _, _, err := b.a.Begin().Step(cl.Request(b.now)); err != nil {
			t.Errorf("another authenticator of that instant: %v", err)
		}
	}
	b.now = noon.Add(20 * time.Minute)
	if _, _, err := b.a.Begin().Step(cl.Request(b.now)); err != nil {
		t.Fatal(err)
	}
	if n := b.a.replays.total; n != 1 {
		t.Errorf("%d authenticators are remembered after all but one are too old", n)
	}
	b.now = noon
	if _, _, err := b.a.begin(token); err == nil {
		t.Error("a replay is accepted after the clock was set back")
	}
}

// begin is one step whose skew answer counts as a refusal.
func (a *Acceptor) begin(token []byte) ([]byte, *Context, error) {
	x := a.Begin()
	answer, c, err := x.Step(token)
	if err == nil && x.Skewed() {
		err = refuse(krb5.ErrSkew, "skewed")
	}
	return answer, c, err
}

func TestReplayCacheIsBounded(t *testing.T) {
	c := newReplayCache(DefaultSkew)
	c.limit, c.share = 100, 10
	add := func(client string, i int) replayVerdict { return c.add(noon, noon, client, fmt.Append(nil, client, i)) }
	for i := range 20 {
		want := replayFresh
		if i >= c.share {
			want = replayFull
		}
		if got := add("greedy", i); got != want {
			t.Errorf("authenticator %d of one client: %v", i, got)
		}
	}
	if add("modest", 0) != replayFresh || add("modest", 0) != replaySeen {
		t.Error("another client suffers")
	}
	for i := range 100 {
		add(fmt.Sprint("client", i), 0)
	}
	if got := add("late", 0); got != replayFull || c.total != 100 {
		t.Errorf("beyond the bound: %v, %d kept", got, c.total)
	}
	if got := c.add(noon.Add(time.Hour), noon.Add(time.Hour), "late", []byte("x")); got != replayFresh || c.total != 1 {
		t.Errorf("an hour later: %v, %d kept", got, c.total)
	}
}

func TestSkewRecovery(t *testing.T) {
	for _, off := range []time.Duration{-6 * time.Minute, 6 * time.Minute} {
		b := newBench(t, AES256)
		cl := b.client(kdctest.Spec{})
		x := b.a.Begin()
		answer, c, err := x.Step(cl.Request(b.now.Add(off)))
		if err != nil || c != nil || !x.Skewed() {
			t.Fatalf("%v off: %v, %v", off, c, err)
		}
		id, body, err := krb5.DecodeToken(answer)
		if err != nil || id != krb5.TokenError {
			t.Fatalf("%v, %v", id, err)
		}
		e, err := krb5.DecodeError(body)
		if err != nil || e.Code != krb5.ErrSkew || !e.Time.Equal(noon.Truncate(time.Second)) || e.Microsec != 123456 || !bytes.Equal(e.Data, krb5.SkewRecovery) {
			t.Errorf("%+v, %v", e, err)
		}
		if _, c, err = x.Step(cl.Request(e.Time)); err != nil || c == nil {
			t.Errorf("second try by our clock: %v", err)
		}
		x = b.a.Begin()
		for range 2 {
			_, _, err = x.Step(cl.Request(b.now.Add(off)))
		}
		wantCode(t, "second try with the wrong clock", err, krb5.ErrSkew)
	}
}

func TestKeytabRotation(t *testing.T) {
	b := newBench(t, AES256)
	old := b.client(kdctest.Spec{})
	oldEntry := b.kdc.Entry()
	b.kdc.Key, b.kdc.KVNO = kdctest.RandomKey(AES256), 4
	fresh := b.client(kdctest.Spec{})
	_, _, err := b.a.Begin().Step(fresh.Request(b.now))
	wantCode(t, "before the key table has the new key", err, krb5.ErrBadKeyVersion)

	b.write(b.kdc.Entry(), oldEntry)
	for name, cl := range map[string]*kdctest.Client{"new": fresh, "old": old} {
		if _, _, err := b.a.Begin().Step(cl.Request(b.now)); err != nil {
			t.Errorf("%s key: %v", name, err)
		}
	}
	b.write(b.kdc.Entry())
	b.a.Keytab.Refresh()
	_, _, err = b.a.Begin().Step(old.Request(b.now))
	wantCode(t, "old ticket after the old key is gone", err, krb5.ErrBadKeyVersion)

	// A key table that became unreadable leaves the keys.
	if err := os.WriteFile(b.path, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b.a.Keytab.Refresh() {
		t.Error("junk counts as new keys")
	}
	if _, _, err := b.a.Begin().Step(fresh.Request(b.now)); err != nil {
		t.Errorf("with junk in the key table: %v", err)
	}
}

func TestOpenKeytabRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keytab")
	good := krb5.EncodeKeytab([]krb5.KeytabEntry{kdctest.New(AES256).Entry()})
	for name, tt := range map[string]struct {
		data []byte
		mode os.FileMode
	}{
		"readable by others": {good, 0o640},
		"empty":              {krb5.EncodeKeytab(nil), 0o600},
		"junk":               {[]byte("[libdefaults]"), 0o600},
		"cut":                {good[:len(good)-1], 0o600},
	} {
		_ = os.Remove(path)
		if err := os.WriteFile(path, tt.data, tt.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenKeytab(path, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OpenKeytab(dir, nil); err == nil {
		t.Error("a directory is accepted")
	}
}

func TestRC4IsOffByDefault(t *testing.T) {
	b := newBench(t, RC4)
	b.a.RC4 = false
	_, _, err := b.a.Begin().Step(b.client(kdctest.Spec{}).Request(b.now))
	wantCode(t, "ticket", err, krb5.ErrNoKey)
	b = newBench(t, AES256)
	b.a.RC4 = false
	_, _, err = b.a.Begin().Step(b.client(kdctest.Spec{SessionEType: RC4}).Request(b.now))
	wantCode(t, "session key", err, krb5.ErrNoKey)
}

func FuzzStep(f *testing.F) {
	path := filepath.Join(f.TempDir(), "keytab")
	k := kdctest.New(AES256)
	if err := kdctest.WriteKeytab(path, k.Entry()); err != nil {
		f.Fatal(err)
	}
	keys, err := OpenKeytab(path, nil)
	if err != nil {
		f.Fatal(err)
	}
	a := NewAcceptor(Config{Keytab: keys, RC4: true})
	cl := kdctest.Client{Ticket: k.Issue(time.Now(), kdctest.Spec{}), Flags: krb5.FlagMutual}
	f.Add(cl.Request(time.Now()), []byte{})
	cl.Flags |= krb5.FlagDCE
	f.Add(cl.Request(time.Now()), []byte{})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		x := a.Begin()
		_, _, _ = x.Step(first)
		_, _, _ = x.Step(second)
	})
}

// The PAC comes from a trusted controller, but whatever it holds must not hurt.
func FuzzPACInTicket(f *testing.F) {
	path := filepath.Join(f.TempDir(), "keytab")
	k := kdctest.New(AES256)
	if err := kdctest.WriteKeytab(path, k.Entry()); err != nil {
		f.Fatal(err)
	}
	keys, err := OpenKeytab(path, nil)
	if err != nil {
		f.Fatal(err)
	}
	a := NewAcceptor(Config{Keytab: keys, Now: func() time.Time { return noon }})
	k.Issue(noon, kdctest.Spec{Spoil: func(b []byte) []byte { f.Add(bytes.Clone(b)); return b }})
	f.Fuzz(func(t *testing.T, raw []byte) {
		cl := kdctest.Client{Ticket: k.Issue(noon, kdctest.Spec{Spoil: func([]byte) []byte { return raw }})}
		_, _, _ = a.begin(cl.Request(noon))
	})
}
