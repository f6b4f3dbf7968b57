package dtyp

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
)

// GUID is held in wire order: Data1 to Data3 little-endian, then Data4
// (MS-DTYP 2.3.4.2). Comparing two GUIDs with == compares the wire bytes.
type GUID [16]byte

// String prints the registry form in lower case without braces
// (MS-DTYP 2.3.4.3).
func (g GUID) String() string {
	return fmt.Sprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%x-%x",
		g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8:10], g[10:])
}

// IsZero reports whether every byte is zero.
func (g GUID) IsZero() bool { return g == GUID{} }

// ParseGUID reads the registry form, with or without braces.
func ParseGUID(s string) (GUID, error) {
	var g GUID
	text := s
	if len(s) == 38 && s[0] == '{' && s[37] == '}' {
		s = s[1:37]
	}
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return g, malformed("GUID text " + strconv.Quote(text))
	}
	raw, err := hex.DecodeString(s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:])
	if err != nil {
		return g, malformed("GUID text " + strconv.Quote(text))
	}
	copy(g[:], raw)
	g[0], g[1], g[2], g[3] = g[3], g[2], g[1], g[0]
	g[4], g[5] = g[5], g[4]
	g[6], g[7] = g[7], g[6]
	return g, nil
}

// MustParseGUID is ParseGUID for constants.
func MustParseGUID(s string) GUID {
	g, err := ParseGUID(s)
	if err != nil {
		panic(err)
	}
	return g
}

// NewGUID returns a random GUID (RFC 4122 version 4).
func NewGUID() GUID {
	var g GUID
	rand.Read(g[:])
	g[7] = g[7]&0x0F | 0x40
	g[8] = g[8]&0x3F | 0x80
	return g
}
