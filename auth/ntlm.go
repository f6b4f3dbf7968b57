package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntlm"
	"gabion/protocol/ntstatus"
	"gabion/protocol/spnego"
)

var ntlmOID = spnego.NTLMSSP

func isNTLM(token []byte) bool { return ntlm.IsMessage(token) }

// NTLM authenticates local users by NTLMv2 (MS-NLMP 3.2).
type NTLM struct {
	Users *Users
	// Name is the server's NetBIOS name, which is its users' domain too.
	Name string
	// Anonymous lets clients in that name no user.
	Anonymous bool
	Log       *slog.Logger // nil: none
}

// OID is NTLMSSP's.
func (m *NTLM) OID() asn1.ObjectIdentifier { return ntlmOID }

// Begin starts an exchange.
func (m *NTLM) Begin(from netip.AddrPort) MechanismExchange {
	return &ntlmExchange{m: m, from: from}
}

// ntlmExchange is start ─NEGOTIATE─▶ challenged ─AUTHENTICATE─▶ done.
type ntlmExchange struct {
	m                     *NTLM
	from                  netip.AddrPort
	flags                 uint32
	challenge             [8]byte
	negotiate, challenged []byte   // the messages as they were on the wire, for the MIC
	key                   [16]byte // exported
	security              *ntlm.Security
}

const (
	offeredFlags = ntlm.FlagUnicode | ntlm.FlagRequestTarget | ntlm.FlagSign | ntlm.FlagSeal | ntlm.FlagNTLM |
		ntlm.FlagAlwaysSign | ntlm.FlagExtendedSession | ntlm.FlagVersion | ntlm.Flag128 | ntlm.FlagKeyExchange | ntlm.Flag56
	neededFlags = ntlm.FlagUnicode | ntlm.FlagNTLM | ntlm.FlagExtendedSession
)

func (e *ntlmExchange) Step(token []byte) ([]byte, *Identity, error) {
	if e.challenged == nil {
		answer, err := e.respond(token)
		return answer, nil, err
	}
	who, err := e.authenticate(token)
	return nil, who, err
}

// respond answers NEGOTIATE by CHALLENGE (MS-NLMP 3.2.5.1.1).
func (e *ntlmExchange) respond(token []byte) ([]byte, error) {
	n, err := ntlm.DecodeNegotiate(token)
	if err != nil {
		return nil, ntstatus.InvalidParameter
	}
	if n.Flags&neededFlags != neededFlags {
		return nil, ntstatus.NotSupported
	}
	e.flags = n.Flags&offeredFlags | ntlm.FlagTargetInfo | ntlm.FlagTargetServer
	_, _ = rand.Read(e.challenge[:])
	var info ntlm.TargetInfo
	info.AddString(ntlm.AvDomainName, e.m.Name)
	info.AddString(ntlm.AvComputerName, e.m.Name)
	info.AddString(ntlm.AvDNSDomainName, "")
	info.AddString(ntlm.AvDNSComputerName, strings.ToLower(e.m.Name))
	info.AddTime(dtyp.FiletimeOf(time.Now()))
	c := ntlm.Challenge{Flags: e.flags, TargetName: e.m.Name, ServerChallenge: e.challenge, TargetInfo: info.Bytes()}
	e.negotiate = append([]byte(nil), token...)
	e.challenged = c.Encode()
	return e.challenged, nil
}

// authenticate checks AUTHENTICATE (MS-NLMP 3.2.5.1.2).
func (e *ntlmExchange) authenticate(token []byte) (*Identity, error) {
	a, err := ntlm.DecodeAuthenticate(token)
	if err != nil {
		return nil, ntstatus.InvalidParameter
	}
	if a.User == "" && len(a.NTResponse) == 0 {
		return e.anonymous()
	}
	response, err := ntlm.DecodeResponse(a.NTResponse)
	if err != nil {
		return nil, e.refuse(a.User, ntstatus.LogonFailure, "not an NTLMv2 response")
	}
	// Windows looks at the form of the response before it looks at the password.
	if _, err := ntlm.FindAv(response.AvPairs, ntlm.AvFlags); err != nil {
		return nil, ntstatus.InvalidParameter
	}
	// A client may drop what it offered, never add to it.
	flags := a.Flags & e.flags
	base, user, err := e.m.Users.verify(a.User, func(h ntlm.Hash) ([16]byte, bool) {
		return response.Verify(h, a.User, a.Domain, e.challenge)
	})
	if err != nil {
		return nil, e.refuse(a.User, err, "")
	}
	key, err := ntlm.ExportedKey(flags, base, a.SessionKey)
	if err != nil {
		return nil, ntstatus.InvalidParameter
	}
	if err := e.checkMIC(&response, &a, key, token); err != nil {
		return nil, e.refuse(a.User, err, "message integrity code")
	}
	e.flags, e.key = flags, key
	e.security = ntlm.NewSecurity(flags, key, false)
	return &Identity{
		User: user.Name, Domain: e.m.Name, SID: user.SID, Groups: user.groupSIDs(),
		SessionKey: key[:], Mechanism: "NTLM",
	}, nil
}

// checkMIC verifies the MIC if the response, which the password protects, says
// that there is one.
func (e *ntlmExchange) checkMIC(r *ntlm.Response, a *ntlm.Authenticate, key [16]byte, token []byte) error {
	av, err := ntlm.FindAv(r.AvPairs, ntlm.AvFlags)
	if err != nil {
		return ntstatus.InvalidParameter
	}
	if len(av) != 4 || binary.LittleEndian.Uint32(av)&ntlm.AvFlagMIC == 0 {
		return nil
	}
	want := ntlm.MIC(key, e.negotiate, e.challenged, token)
	if subtle.ConstantTimeCompare(want[:], a.MIC) != 1 {
		return ntstatus.LogonFailure
	}
	return nil
}

func (e *ntlmExchange) anonymous() (*Identity, error) {
	if !e.m.Anonymous {
		return nil, e.refuse("", ntstatus.AccessDenied, "anonymous logons are off")
	}
	// The signing key of a session without a secret protects nothing.
	e.security = ntlm.NewSecurity(e.flags, [16]byte{}, false)
	return anonymousIdentity("NTLM"), nil
}

// refuse says why, in the one line that the server logs.
func (e *ntlmExchange) refuse(user string, err error, why string) error {
	r := &Refusal{Status: ntstatus.LogonFailure, Mechanism: "NTLM", User: user, Why: why}
	errors.As(err, &r.Status)
	if r.Status == ntstatus.AccountLockedOut && e.m.Log != nil {
		e.m.Log.Warn("a locked account is tried", "user", user, "client", e.from.String())
	}
	if why == "" {
		r.Why = ntlmCauses[r.Status]
	}
	return r
}

var ntlmCauses = map[ntstatus.Status]string{
	ntstatus.LogonFailure:     "unknown user or wrong password",
	ntstatus.AccountLockedOut: "too many wrong passwords in a row",
	ntstatus.AccountDisabled:  "the account is disabled",
}

func (e *ntlmExchange) Sign(message []byte) []byte {
	s := e.security.Sign(message)
	return s[:]
}

func (e *ntlmExchange) Verify(message, signature []byte) bool {
	return e.security.Verify(message, signature)
}
