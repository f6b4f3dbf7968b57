package rpc

import (
	"net/netip"

	"gabion/auth"
	"gabion/protocol/dcerpc"
)

// Authentication types and levels (MS-RPCE 2.2.1.1.7, 2.2.1.1.8).
const (
	authSPNEGO   = 9
	authNTLM     = 10
	authKerberos = 16

	levelConnect   = 2
	levelPacket    = 4 // on a connection the same as integrity
	levelIntegrity = 5
	levelPrivacy   = 6
)

// authTrailerLen is sec_trailer without its token.
const authTrailerLen = 8

// Authenticator authenticates callers at RPC's own level; auth.Acceptor is one.
type Authenticator interface {
	Begin(from netip.AddrPort) *auth.Exchange
}

// security is the security context of an association (MS-RPCE 3.3.1.5.2): who
// calls, proved at RPC's own level, and how fragments are protected.
//
//	none ─bind with token─▶ growing ─auth3 or alter_context─▶ ready
//	                           └────────wrong token─────────▶ failed
type security struct {
	state      securityState
	exchange   *auth.Exchange
	kind       uint8
	level      uint8
	context    uint32
	signHeader bool // signatures cover the header too
	protection auth.Protection
}

type securityState uint8

const (
	securityNone securityState = iota
	securityGrowing
	securityReady
	securityFailed
)

// begin takes the first token, of a bind; ok is false when this kind of
// authentication is not on offer.
func (s *security) begin(a Authenticator, f *dcerpc.Fragment) (ok bool) {
	level, kind := f.Auth.Level, f.Auth.Type
	if a == nil || kind != authSPNEGO && kind != authNTLM && kind != authKerberos {
		return false
	}
	if level != levelConnect && (level < levelPacket || level > levelPrivacy) {
		return false
	}
	*s = security{state: securityGrowing, exchange: a.Begin(netip.AddrPort{}), kind: kind, level: level,
		context: f.Auth.ContextID, signHeader: f.Flags&dcerpc.FlagHeaderSigning != 0}
	return true
}

// step takes a token and returns the answer's trailer, nil without one. The
// identity comes with the last token.
func (s *security) step(token []byte) (*dcerpc.Auth, *auth.Identity) {
	if s.state != securityGrowing {
		s.state = securityFailed
		return nil, nil
	}
	answer, who, err := s.exchange.Step(token)
	if err != nil {
		s.state = securityFailed
		return nil, nil
	}
	if who != nil {
		s.protection = s.exchange.Protection()
		s.state = securityReady
		if s.protects() && (s.protection == nil || who.Anonymous) {
			s.state = securityFailed
			return nil, nil
		}
	}
	if answer == nil && who != nil {
		return nil, who
	}
	return &dcerpc.Auth{Type: s.kind, Level: s.level, ContextID: s.context, Token: answer}, who
}

// protects reports whether fragments carry signatures.
func (s *security) protects() bool { return s.level >= levelPacket }

// tokenLen is the length of a fragment's token.
func (s *security) tokenLen() int {
	if s.level == levelPrivacy {
		return s.protection.SealLen()
	}
	return s.protection.SignatureLen()
}

// open checks a request's signature and decrypts its stub, which begins at stub,
// in place (MS-RPCE 3.3.1.5.2.2).
func (s *security) open(f *dcerpc.Fragment, frag []byte, stub int) bool {
	if !s.protects() {
		return true
	}
	if f.Auth == nil || f.Auth.Type != s.kind || f.Auth.ContextID != s.context || len(f.Auth.Token) != s.tokenLen() {
		return false
	}
	trailer := len(frag) - len(f.Auth.Token)
	end := trailer - authTrailerLen
	if stub > end {
		return false
	}
	part := frag[stub:end]
	whole := frag[:trailer]
	if !s.signHeader {
		whole = part
	}
	if s.level == levelPrivacy {
		return s.protection.Unseal(whole, part, f.Auth.Token)
	}
	return s.protection.Verify(whole, f.Auth.Token)
}

// close appends the trailer to a response, signs it and, for privacy, encrypts
// its stub.
func (s *security) close(f *dcerpc.Fragment, stub int) []byte {
	if !s.protects() {
		return f.AppendTo(nil)
	}
	n := s.tokenLen()
	f.Auth = &dcerpc.Auth{Type: s.kind, Level: s.level, ContextID: s.context, Token: make([]byte, n)}
	b := f.AppendTo(nil)
	part := b[stub : len(b)-n-authTrailerLen]
	whole := b[:len(b)-n]
	if !s.signHeader {
		whole = part
	}
	var signature []byte
	if s.level == levelPrivacy {
		signature = s.protection.Seal(whole, part)
	} else {
		signature = s.protection.Sign(whole)
	}
	copy(b[len(b)-n:], signature)
	return b
}

// overhead is what close adds to a fragment at most.
func (s *security) overhead() int {
	if !s.protects() {
		return 0
	}
	return 3 + authTrailerLen + s.tokenLen()
}
