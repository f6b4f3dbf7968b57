package smb2

import (
	"fmt"

	"gabion/protocol/dtyp"
)

// SecurityMode says whether signing is enabled or required ([MS-SMB2] 2.2.3).
type SecurityMode uint16

// SMB2_NEGOTIATE_SIGNING_*.
const (
	SigningEnabled  SecurityMode = 0x0001
	SigningRequired SecurityMode = 0x0002
)

// Capabilities is SMB2_GLOBAL_CAP_* ([MS-SMB2] 2.2.3, 2.2.4).
type Capabilities uint32

// SMB2_GLOBAL_CAP_*.
const (
	CapDFS               Capabilities = 0x00000001
	CapLeasing           Capabilities = 0x00000002
	CapLargeMTU          Capabilities = 0x00000004
	CapMultiChannel      Capabilities = 0x00000008
	CapPersistentHandles Capabilities = 0x00000010
	CapDirectoryLeasing  Capabilities = 0x00000020
	CapEncryption        Capabilities = 0x00000040
	CapNotifications     Capabilities = 0x00000080
)

func (c Capabilities) String() string {
	return flagString(uint64(c), []flagName{
		{uint64(CapDFS), "DFS"}, {uint64(CapLeasing), "LEASING"}, {uint64(CapLargeMTU), "LARGE_MTU"},
		{uint64(CapMultiChannel), "MULTI_CHANNEL"}, {uint64(CapPersistentHandles), "PERSISTENT_HANDLES"},
		{uint64(CapDirectoryLeasing), "DIRECTORY_LEASING"}, {uint64(CapEncryption), "ENCRYPTION"},
		{uint64(CapNotifications), "NOTIFICATIONS"},
	})
}

// NegotiateRequest is SMB2 NEGOTIATE Request ([MS-SMB2] 2.2.3).
type NegotiateRequest struct {
	SecurityMode SecurityMode
	Capabilities Capabilities
	ClientGUID   dtyp.GUID
	// ClientStartTime is the reserved field of dialects before 3.1.1, whose bytes
	// describe the contexts when Dialects contains 3.1.1.
	ClientStartTime uint64
	Dialects        []Dialect
	// Contexts is the raw negotiate context list, ContextCount entries. Read it
	// with NegotiateContexts.
	Contexts     []byte
	ContextCount uint16
}

const negotiateRequestFixed = 36

// Command returns CommandNegotiate.
func (m *NegotiateRequest) Command() Command { return CommandNegotiate }

// HasDialect reports whether d was offered.
func (m *NegotiateRequest) HasDialect(d Dialect) bool {
	for _, v := range m.Dialects {
		if v == d {
			return true
		}
	}
	return false
}

// NegotiateContexts returns a reader of the context list.
func (m *NegotiateRequest) NegotiateContexts() NegotiateContextReader {
	return NegotiateContextReader{rest: m.Contexts, left: int(m.ContextCount)}
}

// Decode reads msg, header included. DialectCount 0 is not an error here:
// [MS-SMB2] 3.3.5.4 gives it a status of its own choosing.
func (m *NegotiateRequest) Decode(msg []byte) error {
	const name = "NEGOTIATE request"
	b, err := body(msg, name, 36, negotiateRequestFixed)
	if err != nil {
		return err
	}
	*m = NegotiateRequest{
		SecurityMode:    SecurityMode(le.Uint16(b[4:])),
		Capabilities:    Capabilities(le.Uint32(b[8:])),
		ClientGUID:      dtyp.GUID(b[12:28]),
		ClientStartTime: le.Uint64(b[28:]),
		Dialects:        m.Dialects[:0],
	}
	n := int(le.Uint16(b[2:]))
	if len(b) < negotiateRequestFixed+2*n {
		return malformed(name, "DialectCount")
	}
	dialectsEnd := negotiateRequestFixed + 2*n
	m.Dialects = decodeUint16s(m.Dialects, b[negotiateRequestFixed:dialectsEnd])
	if !m.HasDialect(Dialect311) {
		return nil
	}
	off, count := le.Uint32(b[28:]), le.Uint16(b[32:])
	m.ClientStartTime = 0
	m.ContextCount = count
	if count == 0 {
		return nil
	}
	if off%8 != 0 || uint64(off) < uint64(HeaderSize+dialectsEnd) || uint64(off) > uint64(len(msg)) {
		return malformed(name, "NegotiateContextOffset")
	}
	m.Contexts = msg[off:]
	r := m.NegotiateContexts()
	for r.Next() {
	}
	return r.Err()
}

// AppendTo appends the body. Contexts, if any, are placed at the first aligned
// offset behind the dialects.
func (m *NegotiateRequest) AppendTo(b []byte) []byte {
	start := len(b)
	b, p := grow(b, negotiateRequestFixed)
	le.PutUint16(p, 36)
	le.PutUint16(p[2:], uint16(len(m.Dialects)))
	le.PutUint16(p[4:], uint16(m.SecurityMode))
	le.PutUint32(p[8:], uint32(m.Capabilities))
	copy(p[12:], m.ClientGUID[:])
	le.PutUint64(p[28:], m.ClientStartTime)
	b = appendUint16s(b, m.Dialects)
	if len(m.Contexts) > 0 || m.ContextCount > 0 {
		b = pad8(b, start)
		le.PutUint32(b[start+28:], uint32(HeaderSize+len(b)-start))
		le.PutUint32(b[start+32:], uint32(m.ContextCount))
		b = append(b, m.Contexts...)
	}
	return b
}

func (m *NegotiateRequest) String() string {
	return fmt.Sprintf("NEGOTIATE dialects=%v mode=%#x caps=%s client=%s contexts=%d",
		m.Dialects, uint16(m.SecurityMode), m.Capabilities, m.ClientGUID, m.ContextCount)
}

// NegotiateResponse is SMB2 NEGOTIATE Response ([MS-SMB2] 2.2.4).
type NegotiateResponse struct {
	SecurityMode    SecurityMode
	Dialect         Dialect
	ServerGUID      dtyp.GUID
	Capabilities    Capabilities
	MaxTransactSize uint32
	MaxReadSize     uint32
	MaxWriteSize    uint32
	SystemTime      dtyp.Filetime
	ServerStartTime dtyp.Filetime
	SecurityBuffer  []byte
	Contexts        []byte // as in NegotiateRequest; 3.1.1 only
	ContextCount    uint16 // Reserved before 3.1.1
	Reserved2       uint32 // NegotiateContextOffset in 3.1.1
}

const negotiateResponseFixed = 64

// Command returns CommandNegotiate.
func (m *NegotiateResponse) Command() Command { return CommandNegotiate }

// NegotiateContexts returns a reader of the context list.
func (m *NegotiateResponse) NegotiateContexts() NegotiateContextReader {
	return NegotiateContextReader{rest: m.Contexts, left: int(m.ContextCount)}
}

// Decode reads msg, header included.
func (m *NegotiateResponse) Decode(msg []byte) error {
	const name = "NEGOTIATE response"
	b, err := body(msg, name, 65, negotiateResponseFixed)
	if err != nil {
		return err
	}
	*m = NegotiateResponse{
		SecurityMode:    SecurityMode(le.Uint16(b[2:])),
		Dialect:         Dialect(le.Uint16(b[4:])),
		ContextCount:    le.Uint16(b[6:]),
		ServerGUID:      dtyp.GUID(b[8:24]),
		Capabilities:    Capabilities(le.Uint32(b[24:])),
		MaxTransactSize: le.Uint32(b[28:]),
		MaxReadSize:     le.Uint32(b[32:]),
		MaxWriteSize:    le.Uint32(b[36:]),
		SystemTime:      getFiletime(b[40:]),
		ServerStartTime: getFiletime(b[48:]),
	}
	off, n := uint32(le.Uint16(b[56:])), uint32(le.Uint16(b[58:]))
	m.SecurityBuffer, err = region(msg, name, "SecurityBufferOffset", off, n, HeaderSize+negotiateResponseFixed)
	if err != nil {
		return err
	}
	ctx := le.Uint32(b[60:])
	if m.Dialect != Dialect311 {
		m.Reserved2 = ctx
		return nil
	}
	if m.ContextCount == 0 {
		return nil
	}
	if ctx%8 != 0 || uint64(ctx) < HeaderSize+negotiateResponseFixed || uint64(ctx) > uint64(len(msg)) {
		return malformed(name, "NegotiateContextOffset")
	}
	m.Contexts = msg[ctx:]
	r := m.NegotiateContexts()
	for r.Next() {
	}
	return r.Err()
}

// AppendTo appends the body.
func (m *NegotiateResponse) AppendTo(b []byte) []byte {
	start := len(b)
	b, p := grow(b, negotiateResponseFixed)
	le.PutUint16(p, 65)
	le.PutUint16(p[2:], uint16(m.SecurityMode))
	le.PutUint16(p[4:], uint16(m.Dialect))
	le.PutUint16(p[6:], m.ContextCount)
	copy(p[8:], m.ServerGUID[:])
	le.PutUint32(p[24:], uint32(m.Capabilities))
	le.PutUint32(p[28:], m.MaxTransactSize)
	le.PutUint32(p[32:], m.MaxReadSize)
	le.PutUint32(p[36:], m.MaxWriteSize)
	putFiletime(p[40:], m.SystemTime)
	putFiletime(p[48:], m.ServerStartTime)
	le.PutUint16(p[56:], HeaderSize+negotiateResponseFixed)
	le.PutUint16(p[58:], uint16(len(m.SecurityBuffer)))
	le.PutUint32(p[60:], m.Reserved2)
	b = append(b, m.SecurityBuffer...)
	if m.Dialect == Dialect311 && m.ContextCount > 0 {
		b = pad8(b, start)
		le.PutUint32(b[start+60:], uint32(HeaderSize+len(b)-start))
		b = append(b, m.Contexts...)
	}
	return b
}

func (m *NegotiateResponse) String() string {
	return fmt.Sprintf("NEGOTIATE dialect=%s mode=%#x caps=%s server=%s transact=%d read=%d write=%d token=%d contexts=%d",
		m.Dialect, uint16(m.SecurityMode), m.Capabilities, m.ServerGUID, m.MaxTransactSize, m.MaxReadSize,
		m.MaxWriteSize, len(m.SecurityBuffer), m.ContextCount)
}
