package ntlm

import (
	"encoding/binary"
	"errors"
	"fmt"

	"gabion/protocol/dtyp"
)

// NegotiateFlags (MS-NLMP 2.2.2.5).
const (
	FlagUnicode         = 0x00000001
	FlagOEM             = 0x00000002
	FlagRequestTarget   = 0x00000004
	FlagSign            = 0x00000010
	FlagSeal            = 0x00000020
	FlagNTLM            = 0x00000200
	FlagAnonymous       = 0x00000800
	FlagDomainSupplied  = 0x00001000
	FlagWorkstation     = 0x00002000
	FlagAlwaysSign      = 0x00008000
	FlagTargetDomain    = 0x00010000
	FlagTargetServer    = 0x00020000
	FlagExtendedSession = 0x00080000
	FlagTargetInfo      = 0x00800000
	FlagVersion         = 0x02000000
	Flag128             = 0x20000000
	FlagKeyExchange     = 0x40000000
	Flag56              = 0x80000000
)

var (
	// ErrMalformed is returned for bytes that are not the message asked for.
	ErrMalformed = errors.New("malformed NTLMSSP message")

	signature = [8]byte{'N', 'T', 'L', 'M', 'S', 'S', 'P', 0}
	version   = [8]byte{10, 0, 0x61, 0x4a, 0, 0, 0, 15} // Windows 10, NTLMSSP_REVISION_W2K3
)

// maxField bounds one payload field; Windows sends some hundred bytes.
const maxField = 32 << 10

// IsMessage reports whether b begins like an NTLMSSP message.
func IsMessage(b []byte) bool { return len(b) >= 12 && [8]byte(b[:8]) == signature }

func header(b []byte, kind uint32, min int) error {
	if len(b) < min || !IsMessage(b) || binary.LittleEndian.Uint32(b[8:]) != kind {
		return fmt.Errorf("%w: no message of type %d in %d bytes", ErrMalformed, kind, len(b))
	}
	return nil
}

// field reads the payload field whose descriptor stands at b[at:].
func field(b []byte, at int) ([]byte, error) {
	n, off := int(binary.LittleEndian.Uint16(b[at:])), int64(binary.LittleEndian.Uint32(b[at+4:]))
	if n == 0 {
		return nil, nil
	}
	if n > maxField || off > int64(len(b)) || int64(n) > int64(len(b))-off {
		return nil, fmt.Errorf("%w: field of %d bytes at %d of %d", ErrMalformed, n, off, len(b))
	}
	return b[off : off+int64(n)], nil
}

// putField appends p to the message and fills in its descriptor.
func putField(b []byte, at int, p []byte) []byte {
	binary.LittleEndian.PutUint16(b[at:], uint16(len(p)))
	binary.LittleEndian.PutUint16(b[at+2:], uint16(len(p)))
	binary.LittleEndian.PutUint32(b[at+4:], uint32(len(b)))
	return append(b, p...)
}

// Negotiate is NEGOTIATE_MESSAGE (MS-NLMP 2.2.1.1). The names it may carry mean
// nothing to NTLMv2 and are not decoded.
type Negotiate struct{ Flags uint32 }

// DecodeNegotiate reads one.
func DecodeNegotiate(b []byte) (Negotiate, error) {
	if err := header(b, 1, 16); err != nil {
		return Negotiate{}, err
	}
	return Negotiate{binary.LittleEndian.Uint32(b[12:])}, nil
}

// Encode returns the message.
func (m *Negotiate) Encode() []byte {
	b := make([]byte, 40)
	copy(b, signature[:])
	b[8] = 1
	binary.LittleEndian.PutUint32(b[12:], m.Flags)
	copy(b[32:], version[:])
	return b
}

// Challenge is CHALLENGE_MESSAGE (MS-NLMP 2.2.1.2).
type Challenge struct {
	Flags           uint32
	TargetName      string
	ServerChallenge [8]byte
	TargetInfo      []byte // encoded AV pairs; part of the input when decoded
}

const challengeLen = 56

// DecodeChallenge reads one.
func DecodeChallenge(b []byte) (Challenge, error) {
	var m Challenge
	if err := header(b, 2, 48); err != nil {
		return m, err
	}
	name, err := field(b, 12)
	if err != nil {
		return m, err
	}
	m.TargetName = dtyp.DecodeUTF16(name)
	m.Flags = binary.LittleEndian.Uint32(b[20:])
	copy(m.ServerChallenge[:], b[24:])
	m.TargetInfo, err = field(b, 40)
	return m, err
}

// Encode returns the message.
func (m *Challenge) Encode() []byte {
	b := make([]byte, challengeLen)
	copy(b, signature[:])
	b[8] = 2
	binary.LittleEndian.PutUint32(b[20:], m.Flags)
	copy(b[24:], m.ServerChallenge[:])
	copy(b[48:], version[:])
	b = putField(b, 12, dtyp.EncodeUTF16(m.TargetName))
	return putField(b, 40, m.TargetInfo)
}

// Authenticate is AUTHENTICATE_MESSAGE (MS-NLMP 2.2.1.3). Byte slices are parts
// of the input when decoded.
type Authenticate struct {
	Flags                     uint32
	LMResponse, NTResponse    []byte
	Domain, User, Workstation string
	SessionKey                []byte // EncryptedRandomSessionKey
	MIC                       []byte // 16 bytes, nil if the message has no room for one
}

const (
	authenticateLen = 88
	micAt           = 72
)

// DecodeAuthenticate reads one.
func DecodeAuthenticate(b []byte) (Authenticate, error) {
	var m Authenticate
	if err := header(b, 3, 64); err != nil {
		return m, err
	}
	var fields [6][]byte
	first := uint32(len(b))
	for i := range fields {
		at := 12 + 8*i
		var err error
		if fields[i], err = field(b, at); err != nil {
			return m, err
		}
		if len(fields[i]) > 0 {
			first = min(first, binary.LittleEndian.Uint32(b[at+4:]))
		}
	}
	m.LMResponse, m.NTResponse = fields[0], fields[1]
	m.Flags = binary.LittleEndian.Uint32(b[60:])
	text := dtyp.DecodeUTF16
	if m.Flags&FlagUnicode == 0 {
		text = func(p []byte) string { return string(p) }
	}
	m.Domain, m.User, m.Workstation = text(fields[2]), text(fields[3]), text(fields[4])
	m.SessionKey = fields[5]
	if first >= authenticateLen && len(b) >= authenticateLen {
		m.MIC = b[micAt:authenticateLen]
	}
	return m, nil
}

// Encode returns the message with m.MIC, or room for it, in place.
func (m *Authenticate) Encode() []byte {
	b := make([]byte, authenticateLen)
	copy(b, signature[:])
	b[8] = 3
	binary.LittleEndian.PutUint32(b[60:], m.Flags)
	copy(b[64:], version[:])
	copy(b[micAt:], m.MIC)
	b = putField(b, 28, dtyp.EncodeUTF16(m.Domain))
	b = putField(b, 36, dtyp.EncodeUTF16(m.User))
	b = putField(b, 44, dtyp.EncodeUTF16(m.Workstation))
	b = putField(b, 12, m.LMResponse)
	b = putField(b, 20, m.NTResponse)
	return putField(b, 52, m.SessionKey)
}
