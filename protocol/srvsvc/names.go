package srvsvc

import (
	"strings"

	"gabion/protocol/dcerpc"
	"gabion/protocol/dtyp"
)

// Name types (MS-SRVS 2.2.2.8).
const (
	NameUser          = 1
	NamePassword      = 2
	NameGroup         = 3
	NameComputer      = 4
	NameEvent         = 5
	NameDomain        = 6
	NameService       = 7
	NameNet           = 8
	NameShare         = 9
	NameMessage       = 10
	NameMessageDest   = 11
	NameSharePassword = 12
	NameWorkgroup     = 13
)

// nameRule is a row of the table in MS-SRVS 2.2.2.8.
type nameRule struct {
	min, max  int
	forbidden string // beyond control characters
	sensitive bool   // upper and lower case differ
}

const usualForbidden = `"/\[]:|<>+=;,?`

var nameRules = map[uint32]nameRule{
	NameUser:          {1, 256, usualForbidden, false},
	NamePassword:      {0, 256, "\x00", true},
	NameGroup:         {1, 256, usualForbidden, false},
	NameComputer:      {1, 260, usualForbidden + "*", false},
	NameEvent:         {1, 16, usualForbidden, false},
	NameDomain:        {1, 15, usualForbidden + "* ", false},
	NameService:       {1, 80, usualForbidden, false},
	NameNet:           {1, 260, usualForbidden, false},
	NameShare:         {1, 80, usualForbidden, false},
	NameMessage:       {1, 15, usualForbidden, false},
	NameMessageDest:   {1, 260, usualForbidden, false},
	NameSharePassword: {0, 8, "\x00", true},
	NameWorkgroup:     {1, 15, usualForbidden, false},
}

// ValidateName is what NetprNameValidate returns (MS-SRVS 3.1.4.32).
func ValidateName(name string, kind, flags uint32) uint32 {
	rule, ok := nameRules[kind]
	n := dtyp.UTF16Len(name)
	switch {
	case !ok || flags != 0:
		return InvalidParameter
	case n < rule.min || n > rule.max || strings.ContainsAny(name, rule.forbidden):
		return InvalidName
	case kind == NameComputer && strings.Trim(name, " ") != name:
		return InvalidName
	}
	if !rule.sensitive {
		for _, c := range name {
			if c < 0x20 {
				return InvalidName
			}
		}
	}
	if kind == NameMessageDest {
		// An asterisk stands only at the end, and must stand there in the longest.
		if i := strings.IndexByte(name, '*'); i >= 0 && i != len(name)-1 || n == rule.max && i < 0 {
			return InvalidName
		}
	}
	return Success
}

// CanonicalName is the form of a name that names the same thing in every
// spelling (MS-SRVS 3.1.4.33).
func CanonicalName(name string, kind uint32) string {
	if nameRules[kind].sensitive {
		return name
	}
	return strings.ToUpper(name)
}

// DecodeName reads NetprNameValidate.
func DecodeName(stub dcerpc.Stub) (name string, kind, flags uint32, err error) {
	r := stub.Reader()
	r.OptString()
	name, kind, flags = r.String(), r.Uint32(), r.Uint32()
	return name, kind, flags, r.Err()
}

// maxOutbuf is the range of NetprNameCanonicalize's OutbufLen.
const maxOutbuf = 64000

// DecodeNameCanonicalize reads NetprNameCanonicalize; room is in characters.
func DecodeNameCanonicalize(stub dcerpc.Stub) (name string, room int, kind, flags uint32, err error) {
	r := stub.Reader()
	r.OptString()
	name = r.String()
	room = int(r.Uint32())
	kind, flags = r.Uint32(), r.Uint32()
	if room > maxOutbuf {
		r.Fail("OutbufLen %d", room)
	}
	return name, room, kind, flags, r.Err()
}

// EncodeNameCanonicalize answers it; the result is BufTooSmall if there is no
// room for the name and its terminator.
func EncodeNameCanonicalize(name string, room int, result uint32) []byte {
	u := dtyp.EncodeUTF16(name)
	if result == Success && len(u)/2+1 > room {
		result = BufTooSmall
	}
	if result != Success {
		u = nil
	}
	var w dcerpc.Writer
	w.Uint32(uint32(room))
	w.Raw(u)
	w.Raw(make([]byte, 2*room-len(u)))
	w.Uint32(result)
	return w.Bytes()
}

// DecodeNameCompare reads NetprNameCompare (MS-SRVS 3.1.4.34).
func DecodeNameCompare(stub dcerpc.Stub) (a, b string, kind, flags uint32, err error) {
	r := stub.Reader()
	r.OptString()
	a, b, kind, flags = r.String(), r.String(), r.Uint32(), r.Uint32()
	return a, b, kind, flags, r.Err()
}
