package ntlm

import (
	"encoding/binary"
	"fmt"

	"gabion/protocol/dtyp"
)

// AV_PAIR ids (MS-NLMP 2.2.2.1).
const (
	AvEOL             = 0
	AvComputerName    = 1 // NetBIOS
	AvDomainName      = 2 // NetBIOS
	AvDNSComputerName = 3
	AvDNSDomainName   = 4
	AvDNSTreeName     = 5
	AvFlags           = 6
	AvTimestamp       = 7
	AvSingleHost      = 8
	AvTargetName      = 9
	AvChannelBindings = 10
)

// AvFlagMIC in AvFlags says that AUTHENTICATE carries a MIC.
const AvFlagMIC = 2

// TargetInfo builds a list of AV pairs.
type TargetInfo struct{ b []byte }

// Add appends one pair.
func (t *TargetInfo) Add(id uint16, value []byte) {
	t.b = binary.LittleEndian.AppendUint16(t.b, id)
	t.b = binary.LittleEndian.AppendUint16(t.b, uint16(len(value)))
	t.b = append(t.b, value...)
}

// AddString appends a pair of UTF-16 text.
func (t *TargetInfo) AddString(id uint16, s string) { t.Add(id, dtyp.EncodeUTF16(s)) }

// AddTime appends the timestamp.
func (t *TargetInfo) AddTime(f dtyp.Filetime) {
	t.Add(AvTimestamp, binary.LittleEndian.AppendUint64(nil, uint64(f)))
}

// Bytes returns the list with its end mark.
func (t *TargetInfo) Bytes() []byte { return append(t.b[:len(t.b):len(t.b)], 0, 0, 0, 0) }

// FindAv returns the value of the first pair of that id, a part of list, or nil.
// A list that ends without AvEOL is malformed.
func FindAv(list []byte, id uint16) ([]byte, error) {
	var found []byte
	for len(list) >= 4 {
		kind, n := binary.LittleEndian.Uint16(list), int(binary.LittleEndian.Uint16(list[2:]))
		if n > len(list)-4 {
			break
		}
		if kind == AvEOL {
			return found, nil
		}
		if kind == id && found == nil {
			found = list[4 : 4+n : 4+n]
		}
		list = list[4+n:]
	}
	return nil, fmt.Errorf("%w: AV pairs without an end", ErrMalformed)
}
