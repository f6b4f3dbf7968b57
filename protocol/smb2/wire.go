package smb2

import (
	"encoding/binary"
	"errors"

	"gabion/protocol/dtyp"
)

// ErrMalformed is what every FormatError is.
var ErrMalformed = errors.New("smb2: malformed message")

// FormatError says which field of which structure could not be true.
type FormatError struct {
	Struct string // "CREATE request"
	Field  string // "NameOffset"
}

func (e *FormatError) Error() string { return "smb2: malformed " + e.Struct + ": " + e.Field }

// Is makes errors.Is(err, ErrMalformed) true for every FormatError.
func (e *FormatError) Is(target error) bool { return target == ErrMalformed }

func malformed(structure, field string) error {
	return &FormatError{Struct: structure, Field: field}
}

var le = binary.LittleEndian

// body checks StructureSize and that the fixed bytes of a body are there, and
// returns the body.
func body(msg []byte, structure string, structureSize uint16, fixed int) ([]byte, error) {
	if len(msg) < HeaderSize+fixed {
		return nil, malformed(structure, "truncated")
	}
	b := msg[HeaderSize:]
	if le.Uint16(b) != structureSize {
		return nil, malformed(structure, "StructureSize")
	}
	return b, nil
}

// region returns the n bytes at offset off of msg; they must start at or behind
// min. A region of no length has no offset worth checking.
func region(msg []byte, structure, field string, off, n uint32, min int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	if uint64(off) < uint64(min) || uint64(off)+uint64(n) > uint64(len(msg)) {
		return nil, malformed(structure, field)
	}
	return msg[off : uint64(off)+uint64(n) : uint64(off)+uint64(n)], nil
}

// grow appends n zero bytes and returns the extended slice and the new part.
func grow(b []byte, n int) ([]byte, []byte) {
	l := len(b)
	if l+n <= cap(b) {
		b = b[:l+n]
		clear(b[l:])
	} else {
		b = append(b, make([]byte, n)...)
	}
	return b, b[l : l+n : l+n]
}

// pad8 appends zeros until len(b)-start is a multiple of 8.
func pad8(b []byte, start int) []byte {
	b, _ = grow(b, -(len(b)-start)&7)
	return b
}

// align8 rounds n up to a multiple of 8.
func align8(n int) int { return (n + 7) &^ 7 }

// appendUint16s appends a list of 16-bit numbers.
func appendUint16s[T ~uint16](b []byte, list []T) []byte {
	for _, v := range list {
		b = le.AppendUint16(b, uint16(v))
	}
	return b
}

// decodeUint16s reads b as 16-bit numbers into list's capacity.
func decodeUint16s[T ~uint16](list []T, b []byte) []T {
	list = list[:0]
	for ; len(b) >= 2; b = b[2:] {
		list = append(list, T(le.Uint16(b)))
	}
	return list
}

// FileID is SMB2_FILEID ([MS-SMB2] 2.2.14.1): how an open is named on the wire.
type FileID struct {
	Persistent uint64
	Volatile   uint64
}

// AnyFileID is the all-ones identifier: "no file" in IOCTL, "the file of the
// request before this one" in a related compound.
var AnyFileID = FileID{^uint64(0), ^uint64(0)}

// IsAny reports whether f is AnyFileID.
func (f FileID) IsAny() bool { return f == AnyFileID }

func getFileID(b []byte) FileID {
	_ = b[15]
	return FileID{le.Uint64(b), le.Uint64(b[8:])}
}

func putFileID(b []byte, f FileID) {
	_ = b[15]
	le.PutUint64(b, f.Persistent)
	le.PutUint64(b[8:], f.Volatile)
}

func getFiletime(b []byte) dtyp.Filetime    { return dtyp.Filetime(le.Uint64(b)) }
func putFiletime(b []byte, t dtyp.Filetime) { le.PutUint64(b, uint64(t)) }
