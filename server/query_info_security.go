package server

import (
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// securityInformation are the flags of AdditionalInformation that mean something
// ([MS-SMB2] 2.2.37); others are ignored.
const securityInformation = smb2.SecurityOwner | smb2.SecurityGroup | smb2.SecurityDACL | smb2.SecuritySACL |
	smb2.SecurityLabel | smb2.SecurityAttribute | smb2.SecurityScope | smb2.SecurityBackup

// security is 3.3.5.20.3.
func (q *query) security() {
	info := q.req.AdditionalInformation & securityInformation
	// [MS-FSA] 2.1.5.14: READ_CONTROL for all but the SACL and, for that and for a
	// backup, ACCESS_SYSTEM_SECURITY.
	var need dtyp.AccessMask
	if info&^smb2.SecuritySACL != 0 {
		need |= dtyp.ReadControl
	}
	if info&(smb2.SecuritySACL|smb2.SecurityScope|smb2.SecurityBackup) != 0 {
		need |= dtyp.AccessSystemSecurity
	}
	if !dtyp.AccessMask(q.f.obj.Access()).Has(need) {
		q.fail(ntstatus.AccessDenied)
		return
	}
	sd, status := q.f.obj.Security(info)
	switch {
	case status != ntstatus.Success:
		q.fail(status)
	case len(sd) > q.room:
		q.bufferTooSmall(len(sd))
	default:
		q.answer(encoded(sd))
	}
}

// encoded is a structure that is bytes already.
type encoded []byte

// Append implements info.
func (e encoded) Append(dst []byte) []byte { return append(dst, e...) }
