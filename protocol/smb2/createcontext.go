package smb2

import (
	"fmt"
	"strings"
)

// Names of create contexts, as the bytes of the wire ([MS-SMB2] 2.2.13.2). Compare
// with string(r.Name) == ContextLease, which does not allocate.
const (
	ContextEABuffer           = "ExtA"
	ContextSDBuffer           = "SecD"
	ContextDurableRequest     = "DHnQ" // and response
	ContextDurableReconnect   = "DHnC"
	ContextAllocationSize     = "AlSi"
	ContextMaximalAccess      = "MxAc" // request and response
	ContextTimewarp           = "TWrp"
	ContextOnDiskID           = "QFid" // request and response
	ContextLease              = "RqLs" // v1 and v2 by length, request and response
	ContextDurableRequestV2   = "DH2Q" // and response
	ContextDurableReconnectV2 = "DH2C"
	ContextAppInstanceID      = "\x45\xBC\xA6\x6A\xEF\xA7\xF7\x4A\x90\x08\xFA\x46\x2E\x14\x4D\x74"
	ContextAppInstanceVersion = "\xB9\x82\xD0\xB7\x3B\x56\x07\x4F\xA0\x7B\x52\x4A\x81\x16\xA0\x10"
	ContextSVHDXOpenDevice    = "\x9C\xCB\xCF\x9E\x04\xC1\xE6\x43\x98\x0E\x15\x8D\xA1\xF6\xEC\x83"
	ContextReserved           = "\x93\xAD\x25\x50\x9C\xB4\x11\xE7\xB4\x23\x83\xDE\x96\x8B\xCD\x7C"
)

// createContextFixed is the length of SMB2_CREATE_CONTEXT before its Buffer.
const createContextFixed = 16

// CreateContextReader walks a create context list ([MS-SMB2] 2.2.13.2). Name and
// Data are valid after Next returned true and alias the list.
type CreateContextReader struct {
	Name []byte
	Data []byte

	rest []byte
	err  error
}

// NewCreateContextReader reads list, the bytes CreateContextsLength counts.
func NewCreateContextReader(list []byte) CreateContextReader {
	return CreateContextReader{rest: list}
}

// Next advances. It returns false behind the last context and at a malformed one.
func (r *CreateContextReader) Next() bool {
	b := r.rest
	if len(b) == 0 || r.err != nil {
		return false
	}
	const structure = "create context"
	if len(b) < createContextFixed {
		r.err = malformed(structure, "truncated")
		return false
	}
	next := le.Uint32(b)
	r.rest = nil
	if next != 0 {
		if next%8 != 0 || next < createContextFixed || uint64(next) >= uint64(len(b)) {
			r.err = malformed(structure, "Next")
			return false
		}
		b, r.rest = b[:next:next], b[next:]
	}
	name, err := region(b, structure, "NameOffset", uint32(le.Uint16(b[4:])), uint32(le.Uint16(b[6:])), createContextFixed)
	if err != nil {
		r.err = err
		return false
	}
	// [MS-SMB2] 2.2.13.2: a name has four or more octets.
	if len(name) < 4 {
		r.err = malformed(structure, "NameLength")
		return false
	}
	data, err := region(b, structure, "DataOffset", uint32(le.Uint16(b[10:])), le.Uint32(b[12:]), createContextFixed)
	if err != nil {
		r.err = err
		return false
	}
	r.Name, r.Data = name, data
	return true
}

// Err returns the reason for a premature end.
func (r *CreateContextReader) Err() error { return r.err }

// FindContext returns the data of the first context called name.
func FindContext(list []byte, name string) (data []byte, ok bool) {
	r := NewCreateContextReader(list)
	for r.Next() {
		if string(r.Name) == name {
			return r.Data, true
		}
	}
	return nil, false
}

// ContextBuilder builds a create context list at the end of a buffer, which may be
// empty: the list is what Bytes returns. The zero value appends to a new buffer.
type ContextBuilder struct {
	b     []byte
	start int
	last  int
	any   bool
}

// NewContextBuilder appends to b[:len(b)].
func NewContextBuilder(b []byte) ContextBuilder { return ContextBuilder{b: b, start: len(b)} }

// Add appends one context. Data is copied.
func (c *ContextBuilder) Add(name string, data []byte) {
	if c.any {
		c.b = pad8(c.b, c.start)
		le.PutUint32(c.b[c.last:], uint32(len(c.b)-c.last))
	}
	c.last, c.any = len(c.b), true
	var p []byte
	c.b, p = grow(c.b, createContextFixed)
	le.PutUint16(p[4:], createContextFixed)
	le.PutUint16(p[6:], uint16(len(name)))
	c.b = append(c.b, name...)
	if len(data) > 0 {
		c.b = pad8(c.b, c.start)
		le.PutUint16(c.b[c.last+10:], uint16(len(c.b)-c.last))
		le.PutUint32(c.b[c.last+12:], uint32(len(data)))
		c.b = append(c.b, data...)
	}
}

// Bytes returns the list, without what was in the buffer before it.
func (c *ContextBuilder) Bytes() []byte { return c.b[c.start:] }

// contextNames shows which contexts a list holds.
func contextNames(list []byte) string {
	var names []string
	r := NewCreateContextReader(list)
	for r.Next() {
		switch string(r.Name) {
		case ContextAppInstanceID:
			names = append(names, "AppInstanceId")
		case ContextAppInstanceVersion:
			names = append(names, "AppInstanceVersion")
		case ContextSVHDXOpenDevice:
			names = append(names, "SvhdxOpenDevice")
		default:
			names = append(names, strings.Trim(fmt.Sprintf("%q", r.Name), `"`))
		}
	}
	return "[" + strings.Join(names, " ") + "]"
}
