package fscc

import (
	"errors"
	"fmt"
)

// Errors of extended attributes.
var (
	// ErrEAName is STATUS_INVALID_EA_NAME.
	ErrEAName = errors.New("invalid extended attribute name")
	// ErrEAList is STATUS_EA_LIST_INCONSISTENT.
	ErrEAList = errors.New("inconsistent list of extended attributes")
)

// FileNeedEA is the one flag of an extended attribute.
const FileNeedEA = 0x80

// EA is an extended attribute: FILE_FULL_EA_INFORMATION ([MS-FSCC] 2.4.16). The
// name is bytes of the client's code page, upper and lower case alike. In a set
// request an empty Value removes the attribute.
type EA struct {
	Flags uint8
	Name  string
	Value []byte
}

const (
	fullEAHeader = 8
	getEAHeader  = 5
	// MaxEASize is the room NTFS has for the extended attributes of a file.
	MaxEASize = 0xFFFF
)

// Len is the size of the encoded entry without padding.
func (e *EA) Len() int { return fullEAHeader + len(e.Name) + 1 + len(e.Value) }

// PackedEASize is what FileEaInformation reports for a list: 0 without
// attributes, else 4 and for each 5 plus the lengths of name and value, the size
// of the list in the form of OS/2 from which the number comes.
func PackedEASize(list []EA) uint32 {
	if len(list) == 0 {
		return 0
	}
	n := 4
	for i := range list {
		n += 5 + len(list[i].Name) + len(list[i].Value)
	}
	return uint32(n)
}

// EAList writes FileFullEaInformation.
type EAList struct{ chain }

// NewEAList appends to dst a list of at most limit bytes.
func NewEAList(dst []byte, limit int) EAList { return EAList{newChain(dst, limit, 4)} }

// Add appends an entry, or returns false and changes nothing if it does not
// fit: STATUS_BUFFER_TOO_SMALL for the first, STATUS_BUFFER_OVERFLOW for others.
func (l *EAList) Add(e *EA) bool {
	if !l.next(e.Len()) {
		return false
	}
	b := append(l.buf, e.Flags, byte(len(e.Name)))
	b = le.AppendUint16(b, uint16(len(e.Value)))
	b = append(b, e.Name...)
	b = append(b, 0)
	l.buf = append(b, e.Value...)
	return true
}

// EncodeEAs returns the whole list.
func EncodeEAs(list []EA) []byte {
	l := NewEAList(nil, 1<<30)
	for i := range list {
		l.Add(&list[i])
	}
	return l.Bytes()
}

// DecodeEAs reads and checks FileFullEaInformation as NTFS does: entries at
// multiples of 4, names and values inside their entry, the null behind the name,
// valid names and flags. It returns ErrEAList or ErrEAName. Values are copies.
func DecodeEAs(b []byte) (list []EA, err error) {
	err = eaWalk(b, fullEAHeader+1, func(b []byte) error {
		nameLen, valueLen := int(b[5]), int(le.Uint16(b[6:]))
		if len(b) < fullEAHeader+nameLen+1+valueLen || b[fullEAHeader+nameLen] != 0 {
			return eaListError("entry truncated")
		}
		e := EA{Flags: b[4], Name: string(b[fullEAHeader : fullEAHeader+nameLen])}
		if e.Flags&^FileNeedEA != 0 || !ValidEAName(e.Name) {
			return fmt.Errorf("fscc: extended attribute %q: %w", e.Name, ErrEAName)
		}
		value := b[fullEAHeader+nameLen+1:][:valueLen]
		e.Value = append([]byte(nil), value...)
		list = append(list, e)
		return nil
	})
	return list, err
}

// AppendGetEAs appends a list of FILE_GET_EA_INFORMATION ([MS-FSCC] 2.4.16.1).
func AppendGetEAs(dst []byte, names []string) []byte {
	c := newChain(dst, 1<<30, 4)
	for _, n := range names {
		c.next(getEAHeader + len(n) + 1)
		c.buf = append(c.buf, byte(len(n)))
		c.buf = append(c.buf, n...)
		c.buf = append(c.buf, 0)
	}
	return c.buf
}

// DecodeGetEAs reads a list of FILE_GET_EA_INFORMATION. Names are not checked:
// one that cannot exist is answered as one that does not.
func DecodeGetEAs(b []byte) (names []string, err error) {
	err = eaWalk(b, getEAHeader+1, func(b []byte) error {
		n := int(b[4])
		if len(b) < getEAHeader+n+1 || b[getEAHeader+n] != 0 {
			return eaListError("entry truncated")
		}
		names = append(names, string(b[getEAHeader:getEAHeader+n]))
		return nil
	})
	return names, err
}

func eaListError(what string) error { return fmt.Errorf("fscc: %s: %w", what, ErrEAList) }

func eaWalk(b []byte, min int, fn func([]byte) error) error {
	for len(b) > 0 {
		if len(b) < min {
			return eaListError("entry truncated")
		}
		next := le.Uint32(b)
		if next == 0 {
			return fn(b)
		}
		if next%4 != 0 || next < uint32(min) || uint64(next) >= uint64(len(b)) {
			return eaListError("NextEntryOffset")
		}
		if err := fn(b[:next]); err != nil {
			return err
		}
		b = b[next:]
	}
	return nil
}

// ValidEAName reports whether s may name an extended attribute: 1 to 254 bytes,
// no control characters and none of \ / : * ? " < > | , + = [ ] ;
func ValidEAName(s string) bool {
	if len(s) == 0 || len(s) > 254 {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < 0x20:
			return false
		case c == '\\' || c == '/' || c == ':' || c == '*' || c == '?' || c == '"' || c == '<' || c == '>' || c == '|',
			c == ',' || c == '+' || c == '=' || c == '[' || c == ']' || c == ';':
			return false
		}
	}
	return true
}
