package block

import (
	"encoding/binary"
	"errors"
	"slices"
)

// Field ids; FORMAT.md lists them. Ids from bytesField on carry bytes.
const (
	fFlags = 1 + iota
	fAttributes
	fCreation
	fAccess
	fWrite
	fChange
	fSize
	fValid
	fAlloc
	fTag
	fEASize
	fLinks
	fCover
	fData
	fNextStream
	fBlocks
	fFile
	fStreamNo

	fTime       = 20
	fSnapFlags  = 21
	fDeletePos  = 22
	fChunks     = 23
	fSrcFile    = 24
	fSrcStream  = 25
	fSrcView    = 26
	fSrcOff     = 27
	fSlot       = 30
	fSegStream  = 31
	fSealed     = 32
	fPinOff     = 33
	fPinLen     = 34
	fExpires    = 35
	fVictim     = 36
	bytesField  = 128
	fName       = 128
	fScope      = 129
	fRegionData = 130
	fNote       = 131
)

var errFields = errors.New("malformed fields")

// field appends one number.
func field(b []byte, id byte, v uint64) []byte {
	return binary.AppendUvarint(append(b, id), v)
}

// fieldNZ appends a number unless it is zero, which absence means.
func fieldNZ(b []byte, id byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	return field(b, id, v)
}

func fieldBytes[T []byte | string](b []byte, id byte, v T) []byte {
	b = binary.AppendUvarint(append(b, id), uint64(len(v)))
	return append(b, v...)
}

// eachField decodes a list; data is only set for bytes fields and points into b.
func eachField(b []byte, fn func(id byte, v uint64, data []byte)) error {
	for len(b) > 0 {
		id := b[0]
		v, n := binary.Uvarint(b[1:])
		if n <= 0 {
			return errFields
		}
		b = b[1+n:]
		if id < bytesField {
			fn(id, v, nil)
			continue
		}
		if v > uint64(len(b)) {
			return errFields
		}
		fn(id, 0, b[:v:v])
		b = b[v:]
	}
	return nil
}

// mergeFields keeps the last value of each id, in order of ids.
func mergeFields(older, newer []byte) ([]byte, error) {
	var all [256][]byte
	for _, list := range [2][]byte{older, newer} {
		for b := list; len(b) > 0; {
			v, n := binary.Uvarint(b[1:])
			if n <= 0 {
				return nil, errFields
			}
			n++
			if b[0] >= bytesField {
				if v > uint64(len(b)-n) {
					return nil, errFields
				}
				n += int(v)
			}
			all[b[0]] = b[:n]
			b = b[n:]
		}
	}
	out := make([]byte, 0, len(older)+len(newer))
	for _, f := range all {
		out = append(out, f...)
	}
	return slices.Clip(out), nil
}
