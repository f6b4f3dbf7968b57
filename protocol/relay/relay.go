package relay

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	magic = "GBR1"
	// TokenSize is the length of an offload token.
	TokenSize = 512
	// RequestSize is the length of a Request.
	RequestSize = 4 + TokenSize + 16
	// RecordSize is the length of a Record without its data.
	RecordSize = 8
	// MaxData is the most that one Data record carries.
	MaxData = 1 << 20
	// HoleUnit is what a Hole record counts in.
	HoleUnit = 512
	// MaxHole is the longest hole of one record, in bytes.
	MaxHole = (1<<32 - 1) * HoleUnit
)

var errMalformed = errors.New("malformed relay message")

// Request asks for a range of what a token stands for.
type Request struct {
	Token          [TokenSize]byte
	Offset, Length uint64 // Length is not 0, and the sum has 63 bits
}

// Append appends the wire form.
func (r *Request) Append(b []byte) []byte {
	b = append(append(b, magic...), r.Token[:]...)
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, r.Offset), r.Length)
}

// Decode reads the wire form.
func (r *Request) Decode(b []byte) error {
	if len(b) != RequestSize || string(b[:4]) != magic {
		return errMalformed
	}
	copy(r.Token[:], b[4:])
	r.Offset = binary.LittleEndian.Uint64(b[4+TokenSize:])
	r.Length = binary.LittleEndian.Uint64(b[12+TokenSize:])
	if r.Length == 0 || r.Offset > 1<<62 || r.Length > 1<<62 {
		return errMalformed
	}
	return nil
}

// String leaves the token out: it is a secret.
func (r *Request) String() string { return fmt.Sprintf("Request [%d,+%d)", r.Offset, r.Length) }

// Kind is what a Record is.
type Kind uint8

const (
	Data Kind = 1 + iota
	Hole
	End
	Failed
)

func (k Kind) String() string {
	if k < Data || k > Failed {
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	return [...]string{"Data", "Hole", "End", "Failed"}[k-Data]
}

// The codes of Failed.
const (
	FailedToken = 1 + iota // the array does not honour the token
	FailedRange            // outside of what it stands for
	FailedRead             // the data cannot be read
	FailedBusy             // too many requests at the time
)

// Record is one step of an answer.
type Record struct {
	Kind  Kind
	Count uint32
}

// Put writes the wire form to the beginning of b.
func (r Record) Put(b []byte) {
	b[0], b[1], b[2], b[3] = byte(r.Kind), 0, 0, 0
	binary.LittleEndian.PutUint32(b[4:], r.Count)
}

// Decode reads the wire form.
func (r *Record) Decode(b []byte) error {
	if len(b) != RecordSize || b[1]|b[2]|b[3] != 0 {
		return errMalformed
	}
	r.Kind, r.Count = Kind(b[0]), binary.LittleEndian.Uint32(b[4:])
	switch {
	case r.Kind < Data || r.Kind > Failed,
		r.Kind == Data && (r.Count == 0 || r.Count > MaxData),
		r.Kind == Hole && r.Count == 0,
		r.Kind == End && r.Count != 0,
		r.Kind == Failed && r.Count == 0:
		return errMalformed
	}
	return nil
}

func (r Record) String() string { return fmt.Sprintf("%v %d", r.Kind, r.Count) }
