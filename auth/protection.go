package auth

import (
	"gabion/auth/kerberos"
	"gabion/protocol/ntlm"
)

// Protection signs and seals messages under the key that an exchange agreed on.
// Messages of each direction count, so their order must be that of the wire. It is
// not safe for concurrent use.
type Protection interface {
	// SignatureLen and SealLen are the lengths of what Sign and Seal return.
	SignatureLen() int
	SealLen() int
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
func (p ntlmProtection) SealLen() int      { return ntlm.SignatureLen }

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

// kerberosProtection adapts Kerberos'.
type kerberosProtection struct{ *kerberos.Protection }

func (e *kerberosExchange) protection() Protection {
	if e.c == nil {
		return nil
	}
	if p := e.c.Protection(); p != nil {
		return kerberosProtection{p}
	}
	return nil
}

func (kerberosProtection) SignatureLen() int { return kerberos.SignLen }
func (kerberosProtection) SealLen() int      { return kerberos.SealLen }
