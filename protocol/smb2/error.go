package smb2

import "fmt"

// ErrorResponse is SMB2 ERROR Response ([MS-SMB2] 2.2.2). It answers any command.
type ErrorResponse struct {
	// ContextCount, of 3.1.1 alone, says that Data is that many error contexts, to
	// be read with ErrorContexts.
	ContextCount uint8
	Data         []byte
}

const errorResponseFixed = 8

// Command returns the value of no command: the header tells.
func (m *ErrorResponse) Command() Command { return 0xFFFF }

// ErrorContexts returns a reader of the contexts.
func (m *ErrorResponse) ErrorContexts() ErrorContextReader {
	return ErrorContextReader{rest: m.Data, left: int(m.ContextCount)}
}

// Decode reads msg, header included.
func (m *ErrorResponse) Decode(msg []byte) error {
	const name = "ERROR response"
	b, err := body(msg, name, 9, errorResponseFixed)
	if err != nil {
		return err
	}
	m.ContextCount = b[2]
	n := le.Uint32(b[4:])
	m.Data, err = region(msg, name, "ByteCount", HeaderSize+errorResponseFixed, n, HeaderSize+errorResponseFixed)
	if err != nil {
		return err
	}
	r := m.ErrorContexts()
	for r.Next() {
	}
	return r.Err()
}

// AppendTo appends the body. ErrorData has at least the one byte that
// StructureSize counts: clients that predate error contexts demand it.
func (m *ErrorResponse) AppendTo(b []byte) []byte {
	b, p := grow(b, errorResponseFixed)
	le.PutUint16(p, 9)
	p[2] = m.ContextCount
	le.PutUint32(p[4:], uint32(len(m.Data)))
	if len(m.Data) == 0 {
		return append(b, 0)
	}
	return append(b, m.Data...)
}

func (m *ErrorResponse) String() string {
	return fmt.Sprintf("ERROR contexts=%d data=%d", m.ContextCount, len(m.Data))
}

// Identifiers of error contexts ([MS-SMB2] 2.2.2.1).
const (
	ErrorIDDefault       uint32 = 0x00000000
	ErrorIDShareRedirect uint32 = 0x72645253
)

// ErrorContextReader walks error contexts. ID and Data are valid after Next
// returned true; Data aliases the message.
type ErrorContextReader struct {
	ID   uint32
	Data []byte

	rest []byte
	left int
	err  error
}

// Next advances.
func (r *ErrorContextReader) Next() bool {
	if r.left == 0 || r.err != nil {
		return false
	}
	if len(r.rest) < 8 {
		r.err = malformed("ERROR context", "truncated")
		return false
	}
	n := uint64(le.Uint32(r.rest))
	if n > uint64(len(r.rest)-8) {
		r.err = malformed("ERROR context", "ErrorDataLength")
		return false
	}
	r.ID, r.Data = le.Uint32(r.rest[4:]), r.rest[8:8+n:8+n]
	r.left--
	// The body's fixed part is 8 bytes, so alignment relative to the ERROR response
	// is alignment relative to the first context.
	r.rest = r.rest[min(uint64(align8(int(8+n))), uint64(len(r.rest))):]
	return true
}

// Err returns the reason for a premature end.
func (r *ErrorContextReader) Err() error { return r.err }

// AppendErrorContext appends one context to a list whose first began at b[start].
func AppendErrorContext(b []byte, start int, id uint32, data []byte) []byte {
	b = pad8(b, start)
	b = le.AppendUint32(b, uint32(len(data)))
	b = le.AppendUint32(b, id)
	return append(b, data...)
}

// SymlinkRelative is SYMLINK_FLAG_RELATIVE.
const SymlinkRelative uint32 = 0x00000001

// SymlinkError is the error data of STATUS_STOPPED_ON_SYMLINK ([MS-SMB2] 2.2.2.2.1).
// Names are UTF-16LE and alias the data after Decode.
type SymlinkError struct {
	UnparsedPathLength uint16
	Flags              uint32
	SubstituteName     []byte
	PrintName          []byte
}

const (
	symlinkErrorFixed = 28
	symlinkErrorTag   = 0x4C4D5953
	symlinkReparseTag = 0xA000000C
)

// Decode reads the error data.
func (s *SymlinkError) Decode(b []byte) error {
	const name = "symbolic link error"
	if len(b) < symlinkErrorFixed {
		return malformed(name, "truncated")
	}
	if uint64(le.Uint32(b))+4 > uint64(len(b)) {
		return malformed(name, "SymLinkLength")
	}
	if le.Uint32(b[4:]) != symlinkErrorTag {
		return malformed(name, "SymLinkErrorTag")
	}
	if le.Uint32(b[8:]) != symlinkReparseTag {
		return malformed(name, "ReparseTag")
	}
	*s = SymlinkError{UnparsedPathLength: le.Uint16(b[14:]), Flags: le.Uint32(b[24:])}
	path := b[symlinkErrorFixed:]
	var err error
	if s.SubstituteName, err = region(path, name, "SubstituteNameOffset", uint32(le.Uint16(b[16:])), uint32(le.Uint16(b[18:])), 0); err != nil {
		return err
	}
	s.PrintName, err = region(path, name, "PrintNameOffset", uint32(le.Uint16(b[20:])), uint32(le.Uint16(b[22:])), 0)
	return err
}

// AppendTo appends the error data.
func (s *SymlinkError) AppendTo(b []byte) []byte {
	b, p := grow(b, symlinkErrorFixed)
	n := len(s.SubstituteName) + len(s.PrintName)
	le.PutUint32(p, uint32(symlinkErrorFixed-4+n))
	le.PutUint32(p[4:], symlinkErrorTag)
	le.PutUint32(p[8:], symlinkReparseTag)
	le.PutUint16(p[12:], uint16(12+n))
	le.PutUint16(p[14:], s.UnparsedPathLength)
	le.PutUint16(p[18:], uint16(len(s.SubstituteName)))
	le.PutUint16(p[20:], uint16(len(s.SubstituteName)))
	le.PutUint16(p[22:], uint16(len(s.PrintName)))
	le.PutUint32(p[24:], s.Flags)
	b = append(b, s.SubstituteName...)
	return append(b, s.PrintName...)
}

// Types of MoveDestination.
const (
	MoveDestinationIPv4 uint32 = 1
	MoveDestinationIPv6 uint32 = 2
)

// MoveDestination is MOVE_DST_IPADDR ([MS-SMB2] 2.2.2.2.2.1). An IPv4 address stands
// in the first four bytes.
type MoveDestination struct {
	Type    uint32
	Address [16]byte
}

// ShareRedirectError is the data of the context ErrorIDShareRedirect
// ([MS-SMB2] 2.2.2.2.2). ResourceName is UTF-16LE and aliases the data after Decode.
type ShareRedirectError struct {
	NotificationType uint32 // 3, SHARE_MOVE_NOTIFICATION
	TargetType       uint16
	Destinations     []MoveDestination
	ResourceName     []byte
}

const (
	shareRedirectFixed  = 24
	moveDestinationSize = 24
)

// Decode reads the context's data.
func (s *ShareRedirectError) Decode(b []byte) error {
	const name = "share redirect error"
	if len(b) < shareRedirectFixed {
		return malformed(name, "truncated")
	}
	if le.Uint32(b) != 48 {
		return malformed(name, "StructureSize")
	}
	n := le.Uint32(b[20:])
	if uint64(n)*moveDestinationSize > uint64(len(b)-shareRedirectFixed) {
		return malformed(name, "IPAddrCount")
	}
	s.NotificationType, s.TargetType, s.Destinations = le.Uint32(b[4:]), le.Uint16(b[18:]), s.Destinations[:0]
	for p := b[shareRedirectFixed:]; n > 0; n, p = n-1, p[moveDestinationSize:] {
		s.Destinations = append(s.Destinations, MoveDestination{Type: le.Uint32(p), Address: [16]byte(p[8:24])})
	}
	var err error
	s.ResourceName, err = region(b, name, "ResourceNameOffset", le.Uint32(b[8:]), le.Uint32(b[12:]), shareRedirectFixed)
	return err
}

// AppendTo appends the context's data.
func (s *ShareRedirectError) AppendTo(b []byte) []byte {
	b, p := grow(b, shareRedirectFixed)
	le.PutUint32(p, 48)
	le.PutUint32(p[4:], s.NotificationType)
	le.PutUint32(p[8:], uint32(shareRedirectFixed+len(s.Destinations)*moveDestinationSize))
	le.PutUint32(p[12:], uint32(len(s.ResourceName)))
	le.PutUint16(p[18:], s.TargetType)
	le.PutUint32(p[20:], uint32(len(s.Destinations)))
	for _, d := range s.Destinations {
		b = le.AppendUint64(b, uint64(d.Type))
		b = append(b, d.Address[:]...)
	}
	return append(b, s.ResourceName...)
}
