package auth

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gabion/auth/kerberos"
	"gabion/auth/kerberos/kdctest"
	"gabion/protocol/dtyp"
	"gabion/protocol/krb5"
	"gabion/protocol/ntstatus"
	"gabion/protocol/pac"
	"gabion/protocol/spnego"
)

// realm is a KDC and an acceptor that has its key.
type realm struct {
	*testing.T
	kdc   *kdctest.KDC
	mechs []Mechanism
}

func newRealm(t *testing.T) *realm {
	path := filepath.Join(t.TempDir(), "keytab")
	r := &realm{T: t, kdc: kdctest.New(kerberos.AES256)}
	if err := kdctest.WriteKeytab(path, r.kdc.Entry()); err != nil {
		t.Fatal(err)
	}
	keys, err := kerberos.OpenKeytab(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.mechs = NewKerberos(kerberos.NewAcceptor(kerberos.Config{Keytab: keys}), nil)
	return r
}

func (r *realm) client(s kdctest.Spec) *kdctest.Client {
	return &kdctest.Client{Ticket: r.kdc.Issue(time.Now(), s), Flags: krb5.FlagMutual, Subkey: true}
}

var somewhere = netip.MustParseAddrPort("192.0.2.1:50000")

func TestKerberosInSPNEGO(t *testing.T) {
	r := newRealm(t)
	both := []asn1.ObjectIdentifier{spnego.MSKerberos, spnego.Kerberos, spnego.NegoEx, spnego.NTLMSSP}
	withNTLM := NewAcceptor(append(r.mechs, &NTLM{Users: testUsers(t), Name: "ARRAY"})...)
	without := NewAcceptor(r.mechs...)
	tests := map[string]struct {
		acceptor *Acceptor
		mechs    []asn1.ObjectIdentifier
		chosen   asn1.ObjectIdentifier
		mic      string // what the client sends: "", "right", "wrong"
		legs     int
		err      error
	}{
		"Microsoft's identifier first":   {withNTLM, both, spnego.MSKerberos, "", 1, nil},
		"the standard identifier first":  {withNTLM, both[1:], spnego.Kerberos, "", 1, nil},
		"a MIC with the first token":     {withNTLM, both[:1], spnego.MSKerberos, "right", 1, nil},
		"a wrong MIC":                    {withNTLM, both[:1], spnego.MSKerberos, "wrong", 1, ntstatus.LogonFailure},
		"NTLM first, but it is not on":   {without, []asn1.ObjectIdentifier{spnego.NTLMSSP, spnego.Kerberos}, spnego.Kerberos, "right", 2, nil},
		"the same with a tampered list":  {without, []asn1.ObjectIdentifier{spnego.NTLMSSP, spnego.Kerberos}, spnego.Kerberos, "wrong", 2, ntstatus.LogonFailure},
		"the same, MIC in its own leg":   {without, []asn1.ObjectIdentifier{spnego.NTLMSSP, spnego.Kerberos}, spnego.Kerberos, "late", 3, nil},
		"the same, and the MIC withheld": {without, []asn1.ObjectIdentifier{spnego.NTLMSSP, spnego.Kerberos}, spnego.Kerberos, "never", 3, ntstatus.LogonFailure},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cl := r.client(kdctest.Spec{})
			who, resp, legs, err := play(t, tt.acceptor.Begin(somewhere), cl, tt.mechs, tt.chosen, tt.mic)
			if tt.err != nil {
				if !errors.Is(err, tt.err) || who != nil {
					t.Errorf("%v, %v; want %v", who, err, tt.err)
				}
				return
			}
			if err != nil || who == nil || legs != tt.legs {
				t.Fatalf("%v, %v in %d legs, want %d", who, err, legs, tt.legs)
			}
			if resp.State != spnego.AcceptCompleted || !bytes.Equal(who.SessionKey, cl.Key.Value) || who.Name() != `GABION\alice` {
				t.Errorf("state %d, %+v", resp.State, who)
			}
			if (tt.mic == "right") != (resp.MIC != nil) {
				t.Errorf("the server's MIC: %x", resp.MIC)
			}
			if resp.MIC != nil && cl.Verify(spnego.EncodeMechList(tt.mechs), resp.MIC) != nil {
				t.Errorf("the server's MIC is wrong")
			}
		})
	}
}

// play is a client's side of SPNEGO. It returns the last answer.
func play(t *testing.T, x *Exchange, cl *kdctest.Client, mechs []asn1.ObjectIdentifier, chosen asn1.ObjectIdentifier, mic string) (*Identity, spnego.Resp, int, error) {
	t.Helper()
	list := spnego.EncodeMechList(mechs)
	if mic == "wrong" {
		list = spnego.EncodeMechList(mechs[:1:1])[:3]
	}
	request := cl.Request(time.Now())
	init := spnego.Init{Mechs: mechs, Token: request}
	optimistic := mechs[0].Equal(chosen)
	if !optimistic {
		init.Token = []byte("another mechanism's")
	}
	early := mic == "right" || mic == "wrong"
	if optimistic && early {
		// Only a client that agrees without mutual authentication can.
		cl.Flags = 0
		request = cl.Request(time.Now())
		init.Token, init.MIC = request, cl.Sign(list)
	}
	legs := 1
	answer, who, err := x.Step(init.Append(nil))
	decode := func() (r spnego.Resp) {
		if err == nil {
			if r, err = spnego.DecodeResp(answer); err != nil {
				t.Fatal(err)
			}
		}
		return r
	}
	resp := decode()
	if err == nil && !optimistic {
		if resp.State != spnego.RequestMIC || !resp.Mech.Equal(chosen) || resp.Token != nil {
			t.Fatalf("first answer %+v", resp)
		}
		next := spnego.Resp{State: spnego.NoState, Token: request}
		if early {
			cl.Flags = 0
			next.Token = cl.Request(time.Now())
			next.MIC = cl.Sign(list)
		}
		legs++
		answer, who, err = x.Step(next.Append(nil))
		resp = decode()
	} else if err == nil && !resp.Mech.Equal(chosen) {
		t.Errorf("chosen %v, not %v", resp.Mech, chosen)
	}
	if err == nil && resp.Token != nil {
		if _, err := cl.Finish(resp.Token); err != nil {
			t.Fatal(err)
		}
	}
	if err == nil && who == nil {
		last := spnego.Resp{State: spnego.NoState}
		if mic == "late" {
			if e := cl.Verify(list, resp.MIC); e != nil {
				t.Errorf("the server's MIC: %v", e)
			}
			last.MIC = cl.Sign(list)
		}
		legs++
		answer, who, err = x.Step(last.Append(nil))
		resp = decode()
	}
	return who, resp, legs, err
}

func TestKerberosWithoutSPNEGO(t *testing.T) {
	r := newRealm(t)
	cl := r.client(kdctest.Spec{})
	answer, who, err := NewAcceptor(r.mechs...).Begin(somewhere).Step(cl.Request(time.Now()))
	if err != nil || who == nil {
		t.Fatal(err)
	}
	if _, err := cl.Finish(answer); err != nil {
		t.Error(err)
	}
	if _, _, err := NewAcceptor(&NTLM{Users: testUsers(t)}).Begin(somewhere).Step(cl.Request(time.Now())); !errors.Is(err, ntstatus.LogonFailure) ||
		err.Error() != "Kerberos logon refused: only NTLM is accepted" {
		t.Errorf("without Kerberos: %v", err)
	}
}

// The log's line names user, cause and code; the client hears LOGON_FAILURE.
func TestKerberosRefusal(t *testing.T) {
	r := newRealm(t)
	cl := r.client(kdctest.Spec{EndTime: time.Now().Add(-time.Hour)})
	_, _, err := NewAcceptor(r.mechs...).Begin(somewhere).Step(cl.Request(time.Now()))
	if !errors.Is(err, ntstatus.LogonFailure) {
		t.Fatal(err)
	}
	for _, part := range []string{"alice@GABION.TEST", "expired at", "KRB_AP_ERR_TKT_EXPIRED"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

func TestKerberosIdentity(t *testing.T) {
	r := newRealm(t)
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	admins := func(p *pac.PAC) {
		p.Logon.Groups = append(p.Logon.Groups, pac.Membership{RID: dtyp.RIDDomainAdmins, Attributes: 7})
	}
	logon := func(s kdctest.Spec) *Identity {
		t.Helper()
		_, who, err := NewAcceptor(r.mechs...).Begin(somewhere).Step(r.client(s).Request(time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		return who
	}
	alice := logon(kdctest.Spec{EndTime: end})
	token := alice.Token()
	if !alice.Expires.Equal(end) || token.User != kdctest.Domain.WithRID(1105) || alice.UPN != "alice@gabion.test" {
		t.Errorf("%+v", alice)
	}
	for _, sid := range []dtyp.SID{kdctest.Domain.WithRID(513), kdctest.Domain.WithRID(1201), dtyp.AuthenticatedUsers, dtyp.Network, dtyp.BuiltinUsers} {
		if !token.Is(sid) {
			t.Errorf("%v is not in the token", sid)
		}
	}
	if token.IsAdministrator() || token.Has(SeBackup) || token.Is(dtyp.NTLMAuthentication) {
		t.Errorf("the token has what nobody gave: %+v", token)
	}
	if admin := logon(kdctest.Spec{PAC: admins}).Token(); !admin.IsAdministrator() || !admin.Has(SeBackup) {
		t.Error("a domain administrator is none of the array's")
	}
	foreign := *r.kdc
	foreign.Realm = "ELSEWHERE.TEST"
	ticket := foreign.Issue(time.Now(), kdctest.Spec{PAC: admins})
	ticket.Ticket.Realm = r.kdc.Realm // the service is ours
	cl := kdctest.Client{Ticket: ticket}
	_, who, err := NewAcceptor(r.mechs...).Begin(somewhere).Step(cl.Request(time.Now()))
	if err != nil || who.Token().IsAdministrator() {
		t.Errorf("an administrator of another domain: %v, %+v", err, who)
	}
	chain := []string{"console$@GABION.TEST"}
	delegated := logon(kdctest.Spec{PAC: func(p *pac.PAC) { p.Delegation = &pac.Delegation{Transited: chain} }})
	if !slices.Equal(delegated.Delegated, chain) || delegated.SID != alice.SID {
		t.Errorf("%+v", delegated)
	}
}

func TestKerberosSkewAsksForAnotherTry(t *testing.T) {
	r := newRealm(t)
	cl := r.client(kdctest.Spec{})
	x := NewAcceptor(r.mechs...).Begin(somewhere)
	init := spnego.Init{Mechs: []asn1.ObjectIdentifier{spnego.MSKerberos}, Token: cl.Request(time.Now().Add(time.Hour))}
	answer, who, err := x.Step(init.Append(nil))
	if err != nil || who != nil {
		t.Fatalf("%v, %v", who, err)
	}
	resp, err := spnego.DecodeResp(answer)
	if err != nil || resp.State != spnego.AcceptIncomplete {
		t.Fatalf("%+v, %v", resp, err)
	}
	if id, _, err := krb5.DecodeToken(resp.Token); err != nil || id != krb5.TokenError {
		t.Fatalf("%v, %v", id, err)
	}
	again := spnego.Resp{State: spnego.NoState, Token: cl.Request(time.Now())}
	if _, who, err = x.Step(again.Append(nil)); err != nil || who == nil {
		t.Errorf("second try: %v", err)
	}
}
