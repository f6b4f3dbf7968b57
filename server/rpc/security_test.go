package rpc

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"gabion/auth"
	"gabion/protocol/dcerpc"
	"gabion/protocol/dtyp"
	"gabion/protocol/lsarpc"
	"gabion/protocol/ntlm"
	"gabion/store/memvol"
)

// rpcClient is a client that authenticates by NTLM at RPC's own level.
type rpcClient struct {
	t          *testing.T
	pipe       *pipe
	level      uint8
	signHeader bool
	security   *ntlm.Security
}

const clientFlags = ntlm.FlagUnicode | ntlm.FlagRequestTarget | ntlm.FlagNTLM | ntlm.FlagSign | ntlm.FlagSeal | ntlm.FlagAlwaysSign |
	ntlm.FlagExtendedSession | ntlm.FlagTargetInfo | ntlm.Flag128 | ntlm.FlagKeyExchange | ntlm.FlagVersion

func newAuthenticator(t *testing.T) Authenticator {
	t.Helper()
	users, err := auth.OpenUsers(memvol.New(memvol.Options{}), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := users.Add("bob", "Passw0rd", "Administrators"); err != nil {
		t.Fatal(err)
	}
	return auth.NewAcceptor(&auth.NTLM{Users: users, Name: "ARRAY", Log: slog.New(slog.DiscardHandler)})
}

func (c *rpcClient) send(f dcerpc.Fragment) []dcerpc.Fragment {
	c.t.Helper()
	var out collect
	_ = c.pipe.Write(f.AppendTo(nil), out.reply)
	var answers []dcerpc.Fragment
	for _, m := range out {
		a, err := dcerpc.DecodeFragment(m)
		if err != nil {
			c.t.Fatal(err)
		}
		answers = append(answers, a)
	}
	return answers
}

func (c *rpcClient) trailer(token []byte) *dcerpc.Auth {
	return &dcerpc.Auth{Type: authNTLM, Level: c.level, ContextID: 7, Token: token}
}

// bind plays the three legs: bind, bind_ack, auth3.
func (c *rpcClient) bind(password string) {
	c.t.Helper()
	b := dcerpc.Bind{MaxXmit: 4280, MaxRecv: 4280, Contexts: []dcerpc.Context{{Abstract: lsarpc.Syntax, Transfer: []dcerpc.Syntax{dcerpc.NDR}}}}
	n := ntlm.Negotiate{Flags: clientFlags}
	f := dcerpc.Fragment{Header: reply(dcerpc.TypeBind, 1), Body: b.AppendTo(nil), Auth: c.trailer(n.Encode())}
	if c.signHeader {
		f.Flags |= dcerpc.FlagHeaderSigning
	}
	answers := c.send(f)
	if len(answers) != 1 || answers[0].Type != dcerpc.TypeBindAck || answers[0].Auth == nil {
		c.t.Fatalf("bind: %+v", answers)
	}
	if got := answers[0].Flags&dcerpc.FlagHeaderSigning != 0; got != c.signHeader {
		c.t.Errorf("header signing %v, asked for %v", got, c.signHeader)
	}
	ch, err := ntlm.DecodeChallenge(answers[0].Auth.Token)
	if err != nil {
		c.t.Fatal(err)
	}
	response, base := ntlm.Respond(ntlm.HashPassword(password), "bob", "ARRAY", ch.ServerChallenge, [8]byte{1}, dtyp.FiletimeOf(time.Now()), ch.TargetInfo)
	key := [16]byte{9, 9, 9}
	encrypted := ntlm.EncryptKey(base, key)
	a := ntlm.Authenticate{Flags: clientFlags & (ch.Flags | ntlm.FlagTargetInfo), Domain: "ARRAY", User: "bob", LMResponse: make([]byte, 24), NTResponse: response, SessionKey: encrypted[:]}
	c.security = ntlm.NewSecurity(a.Flags, key, true)
	if answers := c.send(dcerpc.Fragment{Header: reply(dcerpc.TypeAuth3, 1), Body: make([]byte, 4), Auth: c.trailer(a.Encode())}); len(answers) != 0 {
		c.t.Fatalf("auth3 was answered: %+v", answers)
	}
}

// call sends a protected request, spoilt by the given function, and returns the
// answer with its stub opened.
func (c *rpcClient) call(opnum uint16, stub []byte, spoil func(pdu []byte)) (dcerpc.Fragment, []byte) {
	c.t.Helper()
	q := dcerpc.Request{Opnum: opnum, Stub: stub}
	f := dcerpc.Fragment{Header: reply(dcerpc.TypeRequest, 2), Body: q.AppendTo(nil), Auth: c.trailer(make([]byte, ntlm.SignatureLen))}
	pdu := f.AppendTo(nil)
	const head = dcerpc.HeaderLen + 8
	end := len(pdu) - ntlm.SignatureLen
	whole, part := pdu[:end], pdu[head:end-authTrailerLen]
	if !c.signHeader {
		whole = part
	}
	var signature [ntlm.SignatureLen]byte
	if c.level == levelPrivacy {
		signature = c.security.SealPart(whole, part)
	} else {
		signature = c.security.Sign(whole)
	}
	copy(pdu[end:], signature[:])
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
	if answer.Type != dcerpc.TypeResponse {
		return answer, nil
	}
	if answer.Auth == nil {
		c.t.Fatal("an answer without signature")
	}
	raw := out[0]
	end = len(raw) - len(answer.Auth.Token)
	whole, part = raw[:end], raw[head:end-authTrailerLen]
	if !c.signHeader {
		whole = part
	}
	ok := false
	if c.level == levelPrivacy {
		ok = c.security.UnsealPart(whole, part, answer.Auth.Token)
	} else {
		ok = c.security.Verify(whole, answer.Auth.Token)
	}
	if !ok {
		c.t.Error("the answer's signature is wrong")
	}
	r, err := dcerpc.DecodeResponse(answer.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer, r.Stub
}

func newRPCClient(t *testing.T, level uint8, signHeader bool) *rpcClient {
	p := newPipe("lsarpc", fakeArray{}, Caller{Anonymous: true})
	p.a.authenticator, p.a.callerOf = newAuthenticator(t), new(Host).caller
	return &rpcClient{t: t, pipe: p, level: level, signHeader: signHeader}
}

var whoAmI = make([]byte, 12) // LsarGetUserName without system and domain

func TestCallersProveThemselvesAtRPCLevel(t *testing.T) {
	for _, level := range []uint8{levelPacket, levelIntegrity, levelPrivacy} {
		for _, signHeader := range []bool{false, true} {
			c := newRPCClient(t, level, signHeader)
			c.bind("Passw0rd")
			for range 3 {
				answer, stub := c.call(lsarpc.OpGetUserName, whoAmI, nil)
				if !bytes.Contains(stub, dtyp.EncodeUTF16("bob")) {
					t.Fatalf("level %d, header %v: %v %x", level, signHeader, answer.Type, stub)
				}
			}
			if !c.pipe.a.caller.manages() {
				t.Errorf("level %d: %+v", level, c.pipe.a.caller)
			}
		}
	}
}

func TestSpoiltRequestsAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(pdu []byte){
		"stub":      func(pdu []byte) { pdu[dcerpc.HeaderLen+8]++ },
		"signature": func(pdu []byte) { pdu[len(pdu)-10]++ },
		"context":   func(pdu []byte) { pdu[len(pdu)-ntlm.SignatureLen-1]++ },
		"header":    func(pdu []byte) { pdu[dcerpc.HeaderLen+6]++ },
	} {
		for _, level := range []uint8{levelIntegrity, levelPrivacy} {
			c := newRPCClient(t, level, true)
			c.bind("Passw0rd")
			answer, _ := c.call(lsarpc.OpGetUserName, whoAmI, spoil)
			if status, err := dcerpc.DecodeFault(answer.Body); answer.Type != dcerpc.TypeFault || status != dcerpc.FaultAccessDenied {
				t.Errorf("%s at level %d: %v, %#x, %v", name, level, answer.Type, status, err)
			}
		}
	}
}

func TestWrongPasswordShowsAtTheFirstRequest(t *testing.T) {
	c := newRPCClient(t, levelPrivacy, true)
	c.bind("wrong")
	answer, _ := c.call(lsarpc.OpGetUserName, whoAmI, nil)
	if status, _ := dcerpc.DecodeFault(answer.Body); answer.Type != dcerpc.TypeFault || status != dcerpc.FaultAccessDenied {
		t.Errorf("%v, %#x", answer.Type, status)
	}
	if !c.pipe.a.caller.Anonymous {
		t.Errorf("caller %+v", c.pipe.a.caller)
	}
}

func TestProtectionCannotBeLeftOut(t *testing.T) {
	c := newRPCClient(t, levelPrivacy, true)
	c.bind("Passw0rd")
	q := dcerpc.Request{Opnum: lsarpc.OpGetUserName, Stub: whoAmI}
	answers := c.send(dcerpc.Fragment{Header: reply(dcerpc.TypeRequest, 2), Body: q.AppendTo(nil)})
	if len(answers) != 1 || answers[0].Type != dcerpc.TypeFault {
		t.Errorf("%+v", answers)
	}
}

func TestAuthenticationThatIsNotOnOffer(t *testing.T) {
	c := newRPCClient(t, levelPrivacy, false)
	c.pipe.a.authenticator = nil
	b := dcerpc.Bind{Contexts: []dcerpc.Context{{Abstract: lsarpc.Syntax, Transfer: []dcerpc.Syntax{dcerpc.NDR}}}}
	answers := c.send(dcerpc.Fragment{Header: reply(dcerpc.TypeBind, 1), Body: b.AppendTo(nil), Auth: c.trailer([]byte("token"))})
	if len(answers) != 1 || answers[0].Type != dcerpc.TypeBindNak {
		t.Errorf("%+v", answers)
	}
}
