package rpc

import (
	"bytes"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"gabion/auth"
	"gabion/auth/kerberos"
	"gabion/auth/kerberos/kdctest"
	"gabion/protocol/dcerpc"
	"gabion/protocol/dtyp"
	"gabion/protocol/krb5"
	"gabion/protocol/lsarpc"
	"gabion/protocol/pac"
	"gabion/server"
)

// auditor keeps who came by delegation.
type auditor struct {
	who  []*server.Identity
	from []netip.AddrPort
}

func (a *auditor) PrivilegedOpen(*server.PrivilegedOpen) {}
func (*auditor) Offload(*server.Offload)                 {}

func (a *auditor) DelegatedLogon(who *server.Identity, from netip.AddrPort) {
	a.who, a.from = append(a.who, who), append(a.from, from)
}

// A backup product's way: a ticket in DCE style, whose third leg comes as auth3 or with
// an alter_context, then signed requests whose signature covers the header. It acts for
// a user, who is the caller from then on, and that is audited.
func TestKerberosInDCEStyle(t *testing.T) {
	kdc := kdctest.New(kerberos.AES256)
	table := filepath.Join(t.TempDir(), "keytab")
	if err := kdctest.WriteKeytab(table, kdc.Entry()); err != nil {
		t.Fatal(err)
	}
	keys, err := kerberos.OpenKeytab(table, nil)
	if err != nil {
		t.Fatal(err)
	}
	acceptor := auth.NewAcceptor(auth.NewKerberos(kerberos.NewAcceptor(kerberos.Config{Keytab: keys}), nil)...)
	for name, tt := range map[string]struct {
		third     dcerpc.PacketType
		delegated bool
		spoil     func(pdu []byte) // the request
		fault     bool
	}{
		"auth3":                    {third: dcerpc.TypeAuth3},
		"alter_context, delegated": {third: dcerpc.TypeAlterContext, delegated: true},
		"spoilt stub":              {third: dcerpc.TypeAuth3, spoil: func(pdu []byte) { pdu[dcerpc.HeaderLen+8]++ }, fault: true},
		"spoilt header":            {third: dcerpc.TypeAuth3, spoil: func(pdu []byte) { pdu[dcerpc.HeaderLen+6]++ }, fault: true},
	} {
		t.Run(name, func(t *testing.T) {
			log := &auditor{}
			opened, err := (&Host{Name: "ARRAY", Authenticator: acceptor, Audit: log}).Open("lsarpc", server.PipeCaller{Client: "192.0.2.7"})
			if err != nil {
				t.Fatal(err)
			}
			c := &rpcClient{t: t, pipe: opened.(*pipe), level: levelIntegrity, signHeader: true}
			ticket := kdc.Issue(time.Now(), kdctest.Spec{PAC: func(p *pac.PAC) {
				if tt.delegated {
					p.Delegation = &pac.Delegation{Target: "cifs/filesrv", Transited: []string{"HV1$@GABION.TEST"}}
				}
			}})
			cl := kdctest.Client{Ticket: ticket, Flags: krb5.FlagMutual | krb5.FlagDCE, Subkey: true}
			trailer := func(token []byte) *dcerpc.Auth {
				return &dcerpc.Auth{Type: authKerberos, Level: levelIntegrity, ContextID: 7, Token: token}
			}
			b := dcerpc.Bind{MaxXmit: 4280, MaxRecv: 4280, Contexts: []dcerpc.Context{{Abstract: lsarpc.Syntax, Transfer: []dcerpc.Syntax{dcerpc.NDR}}}}
			f := dcerpc.Fragment{Header: reply(dcerpc.TypeBind, 1), Body: b.AppendTo(nil), Auth: trailer(cl.Request(time.Now()))}
			f.Flags |= dcerpc.FlagHeaderSigning
			answers := c.send(f)
			if len(answers) != 1 || answers[0].Type != dcerpc.TypeBindAck || answers[0].Auth == nil || answers[0].Flags&dcerpc.FlagHeaderSigning == 0 {
				t.Fatalf("bind: %+v", answers)
			}
			if !c.pipe.a.caller.Anonymous {
				t.Error("the caller is believed after two legs")
			}
			third, err := cl.Finish(answers[0].Auth.Token)
			if err != nil {
				t.Fatal(err)
			}
			body := b.AppendTo(nil)
			if tt.third == dcerpc.TypeAuth3 {
				body = make([]byte, 4)
			}
			answers = c.send(dcerpc.Fragment{Header: reply(tt.third, 1), Body: body, Auth: trailer(third)})
			if want := map[dcerpc.PacketType]int{dcerpc.TypeAlterContext: 1}[tt.third]; len(answers) != want {
				t.Fatalf("third leg: %+v", answers)
			}
			answer := c.signed(&cl, trailer, tt.spoil)
			if tt.fault != (answer.Type == dcerpc.TypeFault) || !tt.fault && !bytes.Contains(answer.Body, dtyp.EncodeUTF16("alice")) {
				t.Errorf("who am I: %+v", answer)
			}
			if len(log.who) == 1 != tt.delegated {
				t.Fatalf("audited: %+v", log.who)
			}
			if tt.delegated && (log.who[0].User != `GABION\alice` || len(log.who[0].Delegated) != 1 || log.from[0].Addr().String() != "192.0.2.7") {
				t.Errorf("audited: %+v from %v", log.who[0], log.from)
			}
		})
	}
}

// signed asks who the caller is, with MIC tokens over whole PDUs.
func (c *rpcClient) signed(cl *kdctest.Client, trailer func([]byte) *dcerpc.Auth, spoil func([]byte)) dcerpc.Fragment {
	c.t.Helper()
	q := dcerpc.Request{Opnum: lsarpc.OpGetUserName, Stub: whoAmI}
	f := dcerpc.Fragment{Header: reply(dcerpc.TypeRequest, 2), Body: q.AppendTo(nil), Auth: trailer(make([]byte, kerberos.SignLen))}
	pdu := f.AppendTo(nil)
	end := len(pdu) - kerberos.SignLen
	copy(pdu[end:], cl.Sign(pdu[:end]))
	if spoil != nil {
		spoil(pdu)
	}
	var out collect
	_ = c.pipe.Write(pdu, out.reply)
	if len(out) != 1 {
		c.t.Fatalf("%d answers", len(out))
	}
	answer, err := dcerpc.DecodeFragment(out[0])
	if err != nil {
		c.t.Fatal(err)
	}
	if answer.Type == dcerpc.TypeResponse {
		end := len(out[0]) - len(answer.Auth.Token)
		if err := cl.Verify(out[0][:end], answer.Auth.Token); err != nil {
			c.t.Errorf("the answer's signature: %v", err)
		}
	}
	return answer
}
