package dtyp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrMalformed is wrapped by every decoding error of this package.
var ErrMalformed = errors.New("malformed structure")

func malformed(what string) error { return fmt.Errorf("dtyp: %s: %w", what, ErrMalformed) }

// SID is a security identifier (MS-DTYP 2.4.2). It is an immutable value:
// compare with ==, use as a map key. The zero SID means "none".
type SID struct {
	// wire is the packet form: revision, count, authority (big-endian), then
	// the sub-authorities (little-endian).
	wire string
}

// MaxSubAuthorities is SID_MAX_SUB_AUTHORITIES (MS-DTYP 2.4.2.2).
const MaxSubAuthorities = 15

const sidHeader = 8

// MakeSID builds S-1-authority-sub… ; it panics on more than fifteen
// sub-authorities, which only a wrong program can ask for.
func MakeSID(authority uint64, sub ...uint32) SID {
	if len(sub) > MaxSubAuthorities || authority >= 1<<48 {
		panic("dtyp: SID out of range")
	}
	b := make([]byte, 0, sidHeader+4*MaxSubAuthorities)
	b = binary.BigEndian.AppendUint64(b, authority)
	b[0], b[1] = 1, byte(len(sub))
	for _, s := range sub {
		b = binary.LittleEndian.AppendUint32(b, s)
	}
	return SID{string(b)}
}

// DecodeSID reads a SID from the beginning of b and returns what follows it.
func DecodeSID(b []byte) (s SID, rest []byte, err error) {
	if len(b) < sidHeader {
		return SID{}, nil, malformed("SID truncated")
	}
	n := sidHeader + 4*int(b[1])
	if b[0] != 1 || b[1] > MaxSubAuthorities || len(b) < n {
		return SID{}, nil, malformed("SID header")
	}
	return SID{string(b[:n])}, b[n:], nil
}

// Append appends the packet form; the zero SID appends nothing.
func (s SID) Append(dst []byte) []byte { return append(dst, s.wire...) }

// Len is the length of the packet form in bytes.
func (s SID) Len() int { return len(s.wire) }

// IsZero reports whether s is no SID at all.
func (s SID) IsZero() bool { return s.wire == "" }

// Authority returns the identifier authority.
func (s SID) Authority() uint64 {
	if s.IsZero() {
		return 0
	}
	var b [8]byte
	copy(b[2:], s.wire[2:8])
	return binary.BigEndian.Uint64(b[:])
}

// Count returns the number of sub-authorities.
func (s SID) Count() int { return max(0, len(s.wire)-sidHeader) / 4 }

// Sub returns sub-authority i.
func (s SID) Sub(i int) uint32 {
	w := s.wire[sidHeader+4*i:]
	return uint32(w[0]) | uint32(w[1])<<8 | uint32(w[2])<<16 | uint32(w[3])<<24
}

// RID returns the last sub-authority, 0 when there is none.
func (s SID) RID() uint32 {
	if n := s.Count(); n > 0 {
		return s.Sub(n - 1)
	}
	return 0
}

// Domain returns s without its last sub-authority; the zero SID when there is
// nothing to cut.
func (s SID) Domain() SID {
	n := s.Count()
	if n == 0 {
		return SID{}
	}
	b := []byte(s.wire[:len(s.wire)-4])
	b[1] = byte(n - 1)
	return SID{string(b)}
}

// WithRID returns s with rid as a further sub-authority.
func (s SID) WithRID(rid uint32) SID {
	n := s.Count()
	if s.IsZero() || n == MaxSubAuthorities {
		panic("dtyp: SID cannot take a further sub-authority")
	}
	b := make([]byte, 0, len(s.wire)+4)
	b = append(b, s.wire...)
	b[1] = byte(n + 1)
	return SID{string(binary.LittleEndian.AppendUint32(b, rid))}
}

// String prints the S-1-… form (MS-DTYP 2.4.2.1).
func (s SID) String() string {
	if s.IsZero() {
		return "none"
	}
	b := append(make([]byte, 0, 64), "S-1-"...)
	if a := s.Authority(); a >= 1<<32 {
		b = fmt.Appendf(b, "0x%012x", a)
	} else {
		b = strconv.AppendUint(b, a, 10)
	}
	for i := range s.Count() {
		b = append(b, '-')
		b = strconv.AppendUint(b, uint64(s.Sub(i)), 10)
	}
	return string(b)
}

// ParseSID reads the S-1-… form; the authority may be decimal or 0x hexadecimal.
func ParseSID(text string) (SID, error) {
	bad := func() (SID, error) { return SID{}, malformed("SID text " + strconv.Quote(text)) }
	if len(text) < 5 || !strings.EqualFold(text[:4], "S-1-") {
		return bad()
	}
	parts := strings.Split(text[4:], "-")
	if len(parts)-1 > MaxSubAuthorities {
		return bad()
	}
	base := 10
	first := parts[0]
	if len(first) > 2 && (first[:2] == "0x" || first[:2] == "0X") {
		base, first = 16, first[2:]
	}
	authority, err := strconv.ParseUint(first, base, 48)
	if err != nil {
		return bad()
	}
	sub := make([]uint32, 0, MaxSubAuthorities)
	for _, p := range parts[1:] {
		v, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			return bad()
		}
		sub = append(sub, uint32(v))
	}
	return MakeSID(authority, sub...), nil
}

// MustParseSID is ParseSID for constants.
func MustParseSID(text string) SID {
	s, err := ParseSID(text)
	if err != nil {
		panic(err)
	}
	return s
}

// MarshalText and UnmarshalText let configuration and JSON use the S-1-… form.
func (s SID) MarshalText() ([]byte, error) {
	if s.IsZero() {
		return nil, nil
	}
	return []byte(s.String()), nil
}

// UnmarshalText is the reverse of MarshalText.
func (s *SID) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*s = SID{}
		return nil
	}
	*s, err = ParseSID(string(b))
	return err
}
