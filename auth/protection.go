package auth

import "gabion/protocol/ntlm"

// Protection signs and seals messages under the key that an exchange agreed on.
// Messages of each direction count, so their order must be that of the wire. It is
// not safe for concurrent use.
type Protection interface {
	// SignatureLen is the length of a signature.
	SignatureLen() int
	// Sign returns the signature of the next message sent.
	Sign(message []byte) []byte
	// Verify checks the signature of the next message received.
	Verify(message, signature []byte) bool
	// Seal is Sign that encrypts part, which lies within message, afterwards.
	Seal(message, part []byte) []byte
	// Unseal is Verify that decrypts part, which lies within message, before.
	Unseal(message, part, signature []byte) bool
}

// protector is a mechanism that can protect messages.
type protector interface{ protection() Protection }

// Protection returns the protection of messages behind a complete exchange, nil
// when the mechanism has none. It is to be called once.
func (e *Exchange) Protection() Protection {
	if p, ok := e.mech.(protector); ok && e.state == stateDone {
		return p.protection()
	}
	return nil
}

// ntlmProtection adapts NTLM's.
type ntlmProtection struct{ *ntlm.Security }

func (e *ntlmExchange) protection() Protection {
	if e.security == nil {
		return nil
	}
	e.security.Restart(e.flags, e.key, false)
	return ntlmProtection{e.security}
}

func (p ntlmProtection) SignatureLen() int { return ntlm.SignatureLen }

func (p ntlmProtection) Sign(message []byte) []byte {
	s := p.Security.Sign(message)
	return s[:]
}

func (p ntlmProtection) Seal(message, part []byte) []byte {
	s := p.SealPart(message, part)
	return s[:]
}

func (p ntlmProtection) Unseal(message, part, signature []byte) bool {
	return p.UnsealPart(message, part, signature)
}
