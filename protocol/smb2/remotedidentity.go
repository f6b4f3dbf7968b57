package smb2

// RemotedIdentity is SMB2_REMOTED_IDENTITY_TREE_CONNECT, the data of a tree connect
// context ([MS-SMB2] 2.2.9.2.1). The fields from User on are offsets from the start
// of the structure; Ticket is the structure itself and aliases the message after
// Decode, Blob and CString read what an offset names.
type RemotedIdentity struct {
	TicketType       uint16 // 1
	User             uint16 // SID_ATTR_DATA
	UserName         uint16 // UTF-16, zero-terminated
	Domain           uint16 // UTF-16, zero-terminated
	Groups           uint16 // SID_ARRAY_DATA
	RestrictedGroups uint16 // SID_ARRAY_DATA
	Privileges       uint16 // PRIVILEGE_ARRAY_DATA
	PrimaryGroup     uint16 // SID_ARRAY_DATA
	Owner            uint16 // BLOB_DATA
	DefaultDACL      uint16 // BLOB_DATA
	DeviceGroups     uint16 // SID_ARRAY_DATA
	UserClaims       uint16 // BLOB_DATA
	DeviceClaims     uint16 // BLOB_DATA
	Ticket           []byte
}

const remotedIdentityFixed = 28

func (t *RemotedIdentity) offsets() [12]*uint16 {
	return [12]*uint16{&t.User, &t.UserName, &t.Domain, &t.Groups, &t.RestrictedGroups, &t.Privileges,
		&t.PrimaryGroup, &t.Owner, &t.DefaultDACL, &t.DeviceGroups, &t.UserClaims, &t.DeviceClaims}
}

// Decode reads the context's data.
func (t *RemotedIdentity) Decode(b []byte) error {
	const name = "REMOTED_IDENTITY_TREE_CONNECT"
	if len(b) < remotedIdentityFixed {
		return malformed(name, "truncated")
	}
	size := int(le.Uint16(b[2:]))
	if size < remotedIdentityFixed || size > len(b) {
		return malformed(name, "TicketSize")
	}
	t.TicketType, t.Ticket = le.Uint16(b), b[:size:size]
	for i, p := range t.offsets() {
		*p = le.Uint16(b[4+2*i:])
	}
	return nil
}

// AppendTo appends the context's data: the fixed part from the fields, the rest
// from Ticket, whose first 28 bytes are room for it.
func (t *RemotedIdentity) AppendTo(b []byte) []byte {
	b, p := grow(b, remotedIdentityFixed)
	le.PutUint16(p, t.TicketType)
	le.PutUint16(p[2:], uint16(max(len(t.Ticket), remotedIdentityFixed)))
	for i, o := range t.offsets() {
		le.PutUint16(p[4+2*i:], *o)
	}
	if len(t.Ticket) > remotedIdentityFixed {
		b = append(b, t.Ticket[remotedIdentityFixed:]...)
	}
	return b
}

// Blob returns the BLOB_DATA at offset off ([MS-SMB2] 2.2.9.2.1.1).
func (t *RemotedIdentity) Blob(off uint16) ([]byte, error) {
	b := t.Ticket
	if int(off) < remotedIdentityFixed || int(off)+2 > len(b) {
		return nil, malformed("BLOB_DATA", "offset")
	}
	b = b[off:]
	n := int(le.Uint16(b))
	if n > len(b)-2 {
		return nil, malformed("BLOB_DATA", "BlobSize")
	}
	return b[2 : 2+n], nil
}

// CString returns the UTF-16 bytes of the zero-terminated string at offset off.
func (t *RemotedIdentity) CString(off uint16) ([]byte, error) {
	if int(off) < remotedIdentityFixed || int(off) > len(t.Ticket) {
		return nil, malformed("REMOTED_IDENTITY_TREE_CONNECT", "string offset")
	}
	b := t.Ticket[off:]
	n := utf16End(b)
	if n < 0 {
		return nil, malformed("REMOTED_IDENTITY_TREE_CONNECT", "string end")
	}
	return b[:n], nil
}
