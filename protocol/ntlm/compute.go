package ntlm

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rc4"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/crypto/md4" //lint:ignore SA1019 NTLM is defined by MD4

	"gabion/protocol/dtyp"
)

// Hash is NTOWFv1 (MS-NLMP 3.3.1): all that NTLM needs to know of a password. It
// is as good as the password and must be kept as one.
type Hash [16]byte

// HashPassword computes a password's hash.
func HashPassword(password string) (h Hash) {
	m := md4.New()
	m.Write(dtyp.EncodeUTF16(password))
	m.Sum(h[:0])
	return h
}

func mac(key []byte, parts ...[]byte) (out [16]byte) {
	m := hmac.New(md5.New, key)
	for _, p := range parts {
		m.Write(p)
	}
	m.Sum(out[:0])
	return out
}

// responseKey is NTOWFv2 (MS-NLMP 3.3.2).
func (h Hash) responseKey(user, domain string) [16]byte {
	return mac(h[:], dtyp.EncodeUTF16(strings.ToUpper(user)+domain))
}

// Response is an NTLMv2_RESPONSE (MS-NLMP 2.2.2.8) taken apart.
type Response struct {
	Proof     []byte // NTProofStr
	Blob      []byte // NTLMv2_CLIENT_CHALLENGE
	Timestamp dtyp.Filetime
	AvPairs   []byte
}

const blobHead = 28 // before the AV pairs

// DecodeResponse takes an NtChallengeResponse apart; its slices are parts of b. One
// that is not NTLMv2 is malformed.
func DecodeResponse(b []byte) (Response, error) {
	if len(b) < 16+blobHead+4 || b[16] != 1 || b[17] != 1 {
		return Response{}, fmt.Errorf("%w: no NTLMv2 response in %d bytes", ErrMalformed, len(b))
	}
	r := Response{Proof: b[:16], Blob: b[16:], AvPairs: b[16+blobHead:]}
	r.Timestamp = dtyp.Filetime(binary.LittleEndian.Uint64(r.Blob[8:]))
	return r, nil
}

// Verify checks the response in constant time and returns the session base key
// (MS-NLMP 3.3.2).
func (r *Response) Verify(h Hash, user, domain string, challenge [8]byte) (base [16]byte, ok bool) {
	key := h.responseKey(user, domain)
	proof := mac(key[:], challenge[:], r.Blob)
	if subtle.ConstantTimeCompare(proof[:], r.Proof) != 1 {
		return base, false
	}
	return mac(key[:], proof[:]), true
}

// Respond computes a client's NTLMv2 response and session base key.
func Respond(h Hash, user, domain string, challenge, clientChallenge [8]byte, now dtyp.Filetime, avPairs []byte) (response []byte, base [16]byte) {
	key := h.responseKey(user, domain)
	blob := make([]byte, blobHead, blobHead+len(avPairs)+4)
	blob[0], blob[1] = 1, 1
	binary.LittleEndian.PutUint64(blob[8:], uint64(now))
	copy(blob[16:], clientChallenge[:])
	blob = append(append(blob, avPairs...), 0, 0, 0, 0)
	proof := mac(key[:], challenge[:], blob)
	return append(proof[:], blob...), mac(key[:], proof[:])
}

// ExportedKey is ExportedSessionKey (MS-NLMP 3.1.5.1.2, 3.2.5.1.2): the one that
// came encrypted under the base key, or the base key itself.
func ExportedKey(flags uint32, base [16]byte, encrypted []byte) (key [16]byte, err error) {
	if flags&FlagKeyExchange == 0 || flags&(FlagSign|FlagSeal|FlagAlwaysSign) == 0 {
		return base, nil
	}
	if len(encrypted) != 16 {
		return key, fmt.Errorf("%w: session key of %d bytes", ErrMalformed, len(encrypted))
	}
	return rc4Key(base, [16]byte(encrypted)), nil
}

// EncryptKey is a client's EncryptedRandomSessionKey.
func EncryptKey(base, random [16]byte) [16]byte { return rc4Key(base, random) }

func rc4Key(key, in [16]byte) (out [16]byte) {
	c, err := rc4.NewCipher(key[:])
	if err != nil {
		panic("ntlm: RC4 takes keys of 16 bytes")
	}
	c.XORKeyStream(out[:], in[:])
	return out
}

// MIC computes the message integrity code over the three messages as they were
// sent, the third with its MIC zeroed (MS-NLMP 3.1.5.1.2).
func MIC(key [16]byte, negotiate, challenge, authenticate []byte) [16]byte {
	third := append([]byte(nil), authenticate...)
	if len(third) >= authenticateLen {
		clear(third[micAt:authenticateLen])
	}
	return mac(key[:], negotiate, challenge, third)
}

// SetMIC writes a MIC into an encoded AUTHENTICATE message.
func SetMIC(authenticate []byte, mic [16]byte) { copy(authenticate[micAt:authenticateLen], mic[:]) }
