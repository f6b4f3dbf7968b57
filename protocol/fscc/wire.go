package fscc

import (
	"encoding/binary"
	"errors"
	"fmt"

	"gabion/protocol/dtyp"
)

// ErrMalformed is wrapped by every decoding error but those below. Over a wrong
// length a server answers STATUS_INFO_LENGTH_MISMATCH, over wrong contents
// STATUS_INVALID_PARAMETER.
var ErrMalformed = errors.New("malformed structure")

func malformed(what string) error { return fmt.Errorf("fscc: %s: %w", what, ErrMalformed) }

var (
	le = binary.LittleEndian
	be = binary.BigEndian
)

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// appendName appends a 32-bit length in bytes and the name.
func appendName(dst []byte, name string) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = dtyp.AppendUTF16(dst, name)
	le.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// nameAt reads the name of n bytes at b[at:].
func nameAt(b []byte, at int, n uint32, what string) (string, error) {
	if n%2 != 0 || uint64(at)+uint64(n) > uint64(len(b)) {
		return "", malformed(what)
	}
	return dtyp.DecodeUTF16(b[at : at+int(n)]), nil
}
