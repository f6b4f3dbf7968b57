package smb2

import "fmt"

// TreeConnectFlags is the Flags of a TREE_CONNECT request of 3.1.1
// ([MS-SMB2] 2.2.9).
type TreeConnectFlags uint16

// SMB2_TREE_CONNECT_FLAG_*.
const (
	TreeConnectClusterReconnect TreeConnectFlags = 0x0001
	TreeConnectRedirectToOwner  TreeConnectFlags = 0x0002
	TreeConnectExtensionPresent TreeConnectFlags = 0x0004
)

// TreeConnectRequest is [MS-SMB2] 2.2.9 with its extension, 2.2.9.1.
type TreeConnectRequest struct {
	Flags TreeConnectFlags
	Path  []byte // UTF-16LE, \\server\share
	// Contexts is the raw list of ContextCount tree connect contexts of the
	// extension; it is sent and read when TreeConnectExtensionPresent is set.
	Contexts     []byte
	ContextCount uint16
}

const (
	treeConnectRequestFixed   = 8
	treeConnectExtensionFixed = 16
)

// Command returns CommandTreeConnect.
func (m *TreeConnectRequest) Command() Command { return CommandTreeConnect }

// TreeConnectContexts returns a reader of the extension's context list.
func (m *TreeConnectRequest) TreeConnectContexts() TreeConnectContextReader {
	return TreeConnectContextReader{NegotiateContextReader{rest: m.Contexts, left: int(m.ContextCount)}}
}

// Decode reads msg, header included. The extension is read when its flag is set; a
// server of a dialect before 3.1.1, where the field is reserved, wants
// DecodeWithoutExtension.
func (m *TreeConnectRequest) Decode(msg []byte) error { return m.decode(msg, true) }

// DecodeWithoutExtension reads msg and ignores the flag that announces an
// extension, as dialects before 3.1.1 must.
func (m *TreeConnectRequest) DecodeWithoutExtension(msg []byte) error { return m.decode(msg, false) }

func (m *TreeConnectRequest) decode(msg []byte, extension bool) error {
	const name = "TREE_CONNECT request"
	b, err := body(msg, name, 9, treeConnectRequestFixed)
	if err != nil {
		return err
	}
	*m = TreeConnectRequest{Flags: TreeConnectFlags(le.Uint16(b[2:]))}
	min := HeaderSize + treeConnectRequestFixed
	extension = extension && m.Flags&TreeConnectExtensionPresent != 0
	if extension {
		min += treeConnectExtensionFixed
		if len(msg) < min {
			return malformed(name, "truncated extension")
		}
		// [MS-SMB2] 2.2.9.1: the offset counts from the start of the request, that
		// is from the body.
		off, n := le.Uint32(b[8:]), le.Uint16(b[12:])
		if n > 0 {
			if uint64(off) < treeConnectRequestFixed+treeConnectExtensionFixed || uint64(off) > uint64(len(b)) {
				return malformed(name, "TreeConnectContextOffset")
			}
			m.Contexts, m.ContextCount = b[off:], n
		}
	}
	m.Path, err = region(msg, name, "PathOffset", uint32(le.Uint16(b[4:])), uint32(le.Uint16(b[6:])), min)
	if err != nil {
		return err
	}
	r := m.TreeConnectContexts()
	for r.Next() {
	}
	return r.Err()
}

// AppendTo appends the body.
func (m *TreeConnectRequest) AppendTo(b []byte) []byte {
	start := len(b)
	b, p := grow(b, treeConnectRequestFixed)
	le.PutUint16(p, 9)
	le.PutUint16(p[2:], uint16(m.Flags))
	le.PutUint16(p[6:], uint16(len(m.Path)))
	extension := m.Flags&TreeConnectExtensionPresent != 0
	if extension {
		b, _ = grow(b, treeConnectExtensionFixed)
	}
	le.PutUint16(b[start+4:], uint16(HeaderSize+len(b)-start))
	b = append(b, m.Path...)
	if extension && m.ContextCount > 0 {
		b = pad8(b, start)
		le.PutUint32(b[start+8:], uint32(len(b)-start))
		le.PutUint16(b[start+12:], m.ContextCount)
		b = append(b, m.Contexts...)
	}
	return b
}

func (m *TreeConnectRequest) String() string {
	return fmt.Sprintf("TREE_CONNECT flags=%#x path=%s contexts=%d", uint16(m.Flags), printName(m.Path), m.ContextCount)
}

// TreeConnectContextType is the ContextType of [MS-SMB2] 2.2.9.2.
type TreeConnectContextType uint16

// The tree connect contexts.
const (
	TreeConnectReserved        TreeConnectContextType = 0x0000
	TreeConnectRemotedIdentity TreeConnectContextType = 0x0001
)

// TreeConnectContextReader walks the contexts of a tree connect extension, which
// have the form of negotiate contexts.
type TreeConnectContextReader struct{ r NegotiateContextReader }

// Next advances.
func (r *TreeConnectContextReader) Next() bool { return r.r.Next() }

// Err returns the reason for a premature end.
func (r *TreeConnectContextReader) Err() error { return r.r.err }

// Type is the current context's type.
func (r *TreeConnectContextReader) Type() TreeConnectContextType {
	return TreeConnectContextType(r.r.Type)
}

// Data is the current context's data; it aliases the message.
func (r *TreeConnectContextReader) Data() []byte { return r.r.Data }

// ShareType is what a tree is ([MS-SMB2] 2.2.10).
type ShareType uint8

// SMB2_SHARE_TYPE_*.
const (
	ShareTypeDisk  ShareType = 0x01
	ShareTypePipe  ShareType = 0x02
	ShareTypePrint ShareType = 0x03
)

// ShareFlags are properties of a share ([MS-SMB2] 2.2.10).
type ShareFlags uint32

// SMB2_SHAREFLAG_*.
const (
	ShareFlagManualCaching            ShareFlags = 0x00000000
	ShareFlagAutoCaching              ShareFlags = 0x00000010
	ShareFlagVDOCaching               ShareFlags = 0x00000020
	ShareFlagNoCaching                ShareFlags = 0x00000030
	ShareFlagDFS                      ShareFlags = 0x00000001
	ShareFlagDFSRoot                  ShareFlags = 0x00000002
	ShareFlagRestrictExclusiveOpens   ShareFlags = 0x00000100
	ShareFlagForceSharedDelete        ShareFlags = 0x00000200
	ShareFlagAllowNamespaceCaching    ShareFlags = 0x00000400
	ShareFlagAccessBasedDirectoryEnum ShareFlags = 0x00000800
	ShareFlagForceLevelIIOplock       ShareFlags = 0x00001000
	ShareFlagEnableHashV1             ShareFlags = 0x00002000
	ShareFlagEnableHashV2             ShareFlags = 0x00004000
	ShareFlagEncryptData              ShareFlags = 0x00008000
	ShareFlagIdentityRemoting         ShareFlags = 0x00040000
	ShareFlagCompressData             ShareFlags = 0x00100000
	ShareFlagIsolatedTransport        ShareFlags = 0x00200000
)

// ShareCapabilities says what a share can do ([MS-SMB2] 2.2.10).
type ShareCapabilities uint32

// SMB2_SHARE_CAP_*.
const (
	ShareCapDFS                    ShareCapabilities = 0x00000008
	ShareCapContinuousAvailability ShareCapabilities = 0x00000010
	ShareCapScaleout               ShareCapabilities = 0x00000020
	ShareCapCluster                ShareCapabilities = 0x00000040
	ShareCapAsymmetric             ShareCapabilities = 0x00000080
	ShareCapRedirectToOwner        ShareCapabilities = 0x00000100
)

// TreeConnectResponse is [MS-SMB2] 2.2.10.
type TreeConnectResponse struct {
	ShareType     ShareType
	ShareFlags    ShareFlags
	Capabilities  ShareCapabilities
	MaximalAccess uint32
}

const treeConnectResponseFixed = 16

// Command returns CommandTreeConnect.
func (m *TreeConnectResponse) Command() Command { return CommandTreeConnect }

// Decode reads msg, header included.
func (m *TreeConnectResponse) Decode(msg []byte) error {
	b, err := body(msg, "TREE_CONNECT response", 16, treeConnectResponseFixed)
	if err != nil {
		return err
	}
	*m = TreeConnectResponse{
		ShareType:     ShareType(b[2]),
		ShareFlags:    ShareFlags(le.Uint32(b[4:])),
		Capabilities:  ShareCapabilities(le.Uint32(b[8:])),
		MaximalAccess: le.Uint32(b[12:]),
	}
	return nil
}

// AppendTo appends the body.
func (m *TreeConnectResponse) AppendTo(b []byte) []byte {
	b, p := grow(b, treeConnectResponseFixed)
	le.PutUint16(p, 16)
	p[2] = uint8(m.ShareType)
	le.PutUint32(p[4:], uint32(m.ShareFlags))
	le.PutUint32(p[8:], uint32(m.Capabilities))
	le.PutUint32(p[12:], m.MaximalAccess)
	return b
}

func (m *TreeConnectResponse) String() string {
	return fmt.Sprintf("TREE_CONNECT type=%d flags=%#x caps=%#x access=%#x",
		m.ShareType, uint32(m.ShareFlags), uint32(m.Capabilities), m.MaximalAccess)
}
