package ntlm

import (
	"crypto/md5"
	"crypto/rc4"
	"crypto/subtle"
	"encoding/binary"
)

// Security signs and seals the messages of one direction pair with extended
// session security (MS-NLMP 3.4.4.2).
type Security struct {
	out, in direction
	keyExch bool
}

type direction struct {
	sign [16]byte
	seal *rc4.Cipher
	seq  uint32
}

// NewSecurity derives the keys (MS-NLMP 3.4.5) of a client or a server.
func NewSecurity(flags uint32, key [16]byte, client bool) *Security {
	c2s, s2c := newDirection(flags, key, "client-to-server"), newDirection(flags, key, "server-to-client")
	s := &Security{out: s2c, in: c2s, keyExch: flags&FlagKeyExchange != 0}
	if client {
		s.out, s.in = c2s, s2c
	}
	return s
}

func newDirection(flags uint32, key [16]byte, name string) direction {
	sum := func(key []byte, purpose string) [16]byte {
		return md5.Sum(append(append([]byte(nil), key...), "session key to "+name+" "+purpose+" key magic constant\x00"...))
	}
	sealKey := key[:]
	if flags&Flag128 == 0 {
		sealKey = key[:5]
		if flags&Flag56 != 0 {
			sealKey = key[:7]
		}
	}
	seal := sum(sealKey, "sealing")
	c, err := rc4.NewCipher(seal[:])
	if err != nil {
		panic("ntlm: RC4 takes keys of 16 bytes")
	}
	return direction{sign: sum(key[:], "signing"), seal: c}
}

// SignatureLen is the size of NTLMSSP_MESSAGE_SIGNATURE.
const SignatureLen = 16

// Sign returns the signature of the next message sent.
func (s *Security) Sign(message []byte) [SignatureLen]byte {
	return s.out.signature(message, s.keyExch)
}

// Verify checks the signature of the next message received, in constant time.
func (s *Security) Verify(message, signature []byte) bool {
	want := s.in.signature(message, s.keyExch)
	return subtle.ConstantTimeCompare(want[:], signature) == 1
}

// Seal encrypts message in place and returns its signature.
func (s *Security) Seal(message []byte) [SignatureLen]byte {
	plain := append([]byte(nil), message...)
	s.out.seal.XORKeyStream(message, message)
	return s.out.signature(plain, s.keyExch)
}

// Unseal decrypts message in place and reports whether its signature is right.
func (s *Security) Unseal(message, signature []byte) bool {
	s.in.seal.XORKeyStream(message, message)
	return s.Verify(message, signature)
}

func (d *direction) signature(message []byte, keyExch bool) (out [SignatureLen]byte) {
	var seq [4]byte
	binary.LittleEndian.PutUint32(seq[:], d.seq)
	d.seq++
	sum := mac(d.sign[:], seq[:], message)
	if keyExch {
		d.seal.XORKeyStream(sum[:8], sum[:8])
	}
	out[0] = 1
	copy(out[4:12], sum[:8])
	copy(out[12:], seq[:])
	return out
}

// Reset starts the sealing key stream again, as SPNEGO asks for after its
// mechListMIC (MS-SPNG 3.3.5.1 with MS-NLMP 3.4.4.2: both sides begin the
// session's messages with fresh RC4 states).
func (s *Security) Reset(flags uint32, key [16]byte, client bool) {
	*s = *NewSecurity(flags, key, client)
}
