package auth

import (
	"encoding/asn1"
	"net/netip"
	"slices"
	"strings"

	"gabion/protocol/dtyp"
	"gabion/protocol/krb5"
	"gabion/protocol/ntstatus"
	"gabion/protocol/spnego"
)

// maxToken bounds one token of a client that is not authenticated yet: a
// Kerberos ticket with a PAC of a thousand groups stays below.
const maxToken = 64 << 10

// Mechanism is one way to authenticate inside SPNEGO.
type Mechanism interface {
	OID() asn1.ObjectIdentifier
	// Begin starts an exchange with the client at from.
	Begin(from netip.AddrPort) MechanismExchange
}

// MechanismExchange is one authentication by a mechanism.
type MechanismExchange interface {
	// Step takes a token and returns the answer; who is not nil when it is complete.
	// An error is final and is the ntstatus.Status to report.
	Step(token []byte) (answer []byte, who *Identity, err error)
	// Sign and Verify make and check a signature over message by the key that a
	// complete exchange agreed on, for mechListMIC.
	Sign(message []byte) []byte
	Verify(message, signature []byte) bool
}

// Acceptor authenticates clients by SPNEGO, or by NTLMSSP or Kerberos without it.
type Acceptor struct {
	mechs []Mechanism // in the server's order of preference
	roles *Roles
}

// NewAcceptor returns an acceptor of the given mechanisms, the preferred first.
func NewAcceptor(mechs ...Mechanism) *Acceptor { return &Acceptor{mechs: mechs} }

// UseRoles has identities hold the roles granted in r; without it they hold those
// that a new volume grants. It is to be called before the acceptor is used.
func (a *Acceptor) UseRoles(r *Roles) *Acceptor {
	a.roles = r
	return a
}

// hintName is what every server says since RFC 4178 withdrew the field
// (MS-SPNG 2.2.1).
const hintName = "not_defined_in_RFC4178@please_ignore"

// Hint is the NegTokenInit2 of the NEGOTIATE response.
func (a *Acceptor) Hint() []byte {
	init := spnego.Init{Hint: hintName}
	for _, m := range a.mechs {
		init.Mechs = append(init.Mechs, m.OID())
	}
	return init.Append(nil)
}

// Begin starts the authentication of one session or channel.
func (a *Acceptor) Begin(from netip.AddrPort) *Exchange {
	return &Exchange{a: a, from: from}
}

// Exchange is one authentication. It is not safe for concurrent use.
//
//	start ─NegTokenInit──────▶ chosen ─NegTokenResp…─▶ done
//	  └──NTLMSSP, Kerberos───▶ raw ─────the same─────▶ done
type Exchange struct {
	a        *Acceptor
	from     netip.AddrPort
	state    exchangeState
	mech     MechanismExchange
	oid      asn1.ObjectIdentifier
	mechList []byte
	wantMIC  bool // the mechanism is not the client's first choice (RFC 4178 5)
	who      *Identity
}

type exchangeState uint8

const (
	stateStart exchangeState = iota
	stateRaw
	stateChosen
	stateDone
)

// Step takes a client's token and returns the answer to it. who is not nil with
// the last one. An error ends the exchange; it is the ntstatus.Status to report.
func (e *Exchange) Step(token []byte) (answer []byte, who *Identity, err error) {
	if len(token) > maxToken {
		return nil, nil, ntstatus.InvalidParameter
	}
	switch e.state {
	case stateStart:
		answer, who, err = e.start(token)
	case stateRaw:
		answer, who, err = e.mech.Step(token)
	case stateChosen:
		answer, who, err = e.next(token)
	default:
		err = ntstatus.InvalidParameter
	}
	if err != nil || who != nil {
		e.state = stateDone
	}
	if who != nil {
		who.roles = e.a.roles
	}
	return answer, who, err
}

func (e *Exchange) start(token []byte) ([]byte, *Identity, error) {
	if bare := bareMechanism(token); bare != nil {
		m := e.a.find(bare)
		if m == nil {
			return nil, nil, e.a.nothingInCommon(bare)
		}
		e.state, e.mech = stateRaw, m.Begin(e.from)
		return e.mech.Step(token)
	}
	init, err := spnego.DecodeInit(token)
	if err != nil {
		return nil, nil, ntstatus.InvalidParameter
	}
	e.mechList = append([]byte(nil), init.MechList...)
	for i, oid := range init.Mechs {
		m := e.a.find(oid)
		if m == nil {
			continue
		}
		e.state, e.mech, e.oid, e.wantMIC = stateChosen, m.Begin(e.from), oid, i > 0
		if i > 0 || init.Token == nil {
			// The optimistic token is another mechanism's: ask for ours.
			state := spnego.AcceptIncomplete
			if i > 0 {
				state = spnego.RequestMIC
			}
			r := spnego.Resp{State: state, Mech: oid}
			return r.Append(nil), nil, nil
		}
		return e.advance(init.Token, init.MIC, true)
	}
	return nil, nil, e.a.nothingInCommon(init.Mechs...)
}

var mechanismNames = map[string]string{
	spnego.NTLMSSP.String(): "NTLM", spnego.Kerberos.String(): "Kerberos", spnego.MSKerberos.String(): "Kerberos", spnego.NegoEx.String(): "NegoEx",
}

// nothingInCommon refuses a client that offers none of our mechanisms.
func (a *Acceptor) nothingInCommon(offered ...asn1.ObjectIdentifier) error {
	list := func(oids []asn1.ObjectIdentifier) string {
		var names []string
		for _, oid := range oids {
			name := mechanismNames[oid.String()]
			if name == "" {
				name = oid.String()
			}
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		return strings.Join(names, " or ")
	}
	var ours []asn1.ObjectIdentifier
	for _, m := range a.mechs {
		ours = append(ours, m.OID())
	}
	return &Refusal{Status: ntstatus.LogonFailure, Mechanism: list(offered), Why: "only " + list(ours) + " is accepted"}
}

// bareMechanism tells whose token that is, nil if it is SPNEGO's.
func bareMechanism(token []byte) asn1.ObjectIdentifier {
	switch {
	case isNTLM(token):
		return ntlmOID
	case krb5.IsToken(token), krb5.IsAPReq(token):
		return spnego.Kerberos
	}
	return nil
}

func (e *Exchange) next(token []byte) ([]byte, *Identity, error) {
	resp, err := spnego.DecodeResp(token)
	if err != nil {
		return nil, nil, ntstatus.InvalidParameter
	}
	if resp.State == spnego.Reject {
		return nil, nil, ntstatus.LogonFailure
	}
	if e.who != nil {
		return e.finish(resp.MIC)
	}
	return e.advance(resp.Token, resp.MIC, false)
}

// advance hands a token to the mechanism and wraps its answer.
func (e *Exchange) advance(token, mic []byte, first bool) ([]byte, *Identity, error) {
	answer, who, err := e.mech.Step(token)
	if err != nil {
		return nil, nil, err
	}
	r := spnego.Resp{State: spnego.AcceptIncomplete, Token: answer}
	if first {
		r.Mech = e.oid
	}
	if who == nil {
		return r.Append(nil), nil, nil
	}
	e.who = who
	if mic == nil && e.wantMIC && !who.Anonymous {
		// The client has still to prove that nobody weakened its list.
		r.MIC = e.mech.Sign(e.mechList)
		return r.Append(nil), nil, nil
	}
	if mic != nil {
		if !e.mech.Verify(e.mechList, mic) {
			return nil, nil, ntstatus.LogonFailure
		}
		r.MIC = e.mech.Sign(e.mechList)
	}
	r.State = spnego.AcceptCompleted
	return r.Append(nil), who, nil
}

// finish checks the MIC that came in a leg of its own.
func (e *Exchange) finish(mic []byte) ([]byte, *Identity, error) {
	if mic == nil || !e.mech.Verify(e.mechList, mic) {
		return nil, nil, ntstatus.LogonFailure
	}
	r := spnego.Resp{State: spnego.AcceptCompleted}
	return r.Append(nil), e.who, nil
}

func (a *Acceptor) find(oid asn1.ObjectIdentifier) Mechanism {
	for _, m := range a.mechs {
		if m.OID().Equal(oid) {
			return m
		}
	}
	return nil
}

// anonymousIdentity is the null session's.
func anonymousIdentity(mechanism string) *Identity {
	return &Identity{User: "ANONYMOUS LOGON", Domain: "NT AUTHORITY", SID: dtyp.Anonymous, Anonymous: true, Mechanism: mechanism}
}
