package dtyp

import (
	"encoding/binary"
	"fmt"
)

// AceType is AceType of ACE_HEADER (MS-DTYP 2.4.4.1).
type AceType uint8

const (
	AccessAllowed               AceType = 0x00
	AccessDenied                AceType = 0x01
	SystemAudit                 AceType = 0x02
	SystemAlarm                 AceType = 0x03
	AccessAllowedCompound       AceType = 0x04
	AccessAllowedObject         AceType = 0x05
	AccessDeniedObject          AceType = 0x06
	SystemAuditObject           AceType = 0x07
	SystemAlarmObject           AceType = 0x08
	AccessAllowedCallback       AceType = 0x09
	AccessDeniedCallback        AceType = 0x0A
	AccessAllowedCallbackObject AceType = 0x0B
	AccessDeniedCallbackObject  AceType = 0x0C
	SystemAuditCallback         AceType = 0x0D
	SystemAlarmCallback         AceType = 0x0E
	SystemAuditCallbackObject   AceType = 0x0F
	SystemAlarmCallbackObject   AceType = 0x10
	SystemMandatoryLabel        AceType = 0x11
	SystemResourceAttribute     AceType = 0x12
	SystemScopedPolicyID        AceType = 0x13
	SystemProcessTrustLabel     AceType = 0x14
	SystemAccessFilter          AceType = 0x15
)

// aceForm says how the body of an ACE type is laid out.
type aceForm uint8

const (
	formOpaque aceForm = iota // kept as bytes
	formSimple                // mask, SID, data
	formObject                // mask, flags, 0 to 2 GUIDs, SID, data
)

func (t AceType) form() aceForm {
	switch t {
	case AccessAllowed, AccessDenied, SystemAudit, SystemAlarm, AccessAllowedCallback, AccessDeniedCallback,
		SystemAuditCallback, SystemAlarmCallback, SystemMandatoryLabel, SystemResourceAttribute,
		SystemScopedPolicyID, SystemProcessTrustLabel, SystemAccessFilter:
		return formSimple
	case AccessAllowedObject, AccessDeniedObject, SystemAuditObject, SystemAlarmObject, AccessAllowedCallbackObject,
		AccessDeniedCallbackObject, SystemAuditCallbackObject, SystemAlarmCallbackObject:
		return formObject
	}
	return formOpaque
}

// IsObject reports whether ACEs of the type may carry object GUIDs.
func (t AceType) IsObject() bool { return t.form() == formObject }

// IsCallback reports whether an ACE of the type carries a condition.
func (t AceType) IsCallback() bool {
	return t >= AccessAllowedCallback && t <= SystemAlarmCallbackObject
}

// AceFlags is AceFlags of ACE_HEADER (MS-DTYP 2.4.4.1).
type AceFlags uint8

const (
	ObjectInherit      AceFlags = 0x01
	ContainerInherit   AceFlags = 0x02
	NoPropagateInherit AceFlags = 0x04
	InheritOnly        AceFlags = 0x08
	Inherited          AceFlags = 0x10
	SuccessfulAccess   AceFlags = 0x40
	FailedAccess       AceFlags = 0x80
)

// Flags of object ACEs (MS-DTYP 2.4.4.3).
const (
	AceObjectTypePresent          = 0x1
	AceInheritedObjectTypePresent = 0x2
)

// ACE is one access control entry. An ACE of a type this package does not know
// has only Type, Flags and Data, which is then everything behind the header.
type ACE struct {
	Type  AceType
	Flags AceFlags
	Mask  AccessMask
	SID   SID
	// ObjectFlags say which of the two GUIDs are present (object ACEs only).
	ObjectFlags         uint32
	ObjectType          GUID
	InheritedObjectType GUID
	// Data is what follows the SID: the condition of a callback ACE, the claim
	// of a resource attribute. It is a copy, never the decoder's input.
	Data []byte
}

const aceHeader = 4

// DecodeACE reads one ACE from the beginning of b and returns what follows it.
func DecodeACE(b []byte) (a ACE, rest []byte, err error) {
	if len(b) < aceHeader {
		return ACE{}, nil, malformed("ACE truncated")
	}
	size := int(binary.LittleEndian.Uint16(b[2:]))
	if size < aceHeader || size > len(b) || size%4 != 0 {
		return ACE{}, nil, malformed("ACE size")
	}
	a = ACE{Type: AceType(b[0]), Flags: AceFlags(b[1])}
	body, rest := b[aceHeader:size], b[size:]
	form := a.Type.form()
	if form == formOpaque {
		a.Data = cloneBytes(body)
		return a, rest, nil
	}
	if len(body) < 4 {
		return ACE{}, nil, malformed("ACE body")
	}
	a.Mask = AccessMask(binary.LittleEndian.Uint32(body))
	body = body[4:]
	if form == formObject {
		if body, err = a.decodeObject(body); err != nil {
			return ACE{}, nil, err
		}
	}
	if a.SID, body, err = DecodeSID(body); err != nil {
		return ACE{}, nil, err
	}
	a.Data = cloneBytes(body)
	return a, rest, nil
}

func (a *ACE) decodeObject(b []byte) (rest []byte, err error) {
	if len(b) < 4 {
		return nil, malformed("object ACE")
	}
	a.ObjectFlags = binary.LittleEndian.Uint32(b)
	b = b[4:]
	for _, g := range []struct {
		flag uint32
		to   *GUID
	}{{AceObjectTypePresent, &a.ObjectType}, {AceInheritedObjectTypePresent, &a.InheritedObjectType}} {
		if a.ObjectFlags&g.flag == 0 {
			continue
		}
		if len(b) < 16 {
			return nil, malformed("object ACE")
		}
		copy(g.to[:], b)
		b = b[16:]
	}
	return b, nil
}

func cloneBytes(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return append([]byte(nil), b...)
}

// Len is the size of the encoded ACE, a multiple of four.
func (a *ACE) Len() int {
	n := aceHeader
	switch a.Type.form() {
	case formObject:
		n += 4
		if a.ObjectFlags&AceObjectTypePresent != 0 {
			n += 16
		}
		if a.ObjectFlags&AceInheritedObjectTypePresent != 0 {
			n += 16
		}
		fallthrough
	case formSimple:
		n += 4 + a.SID.Len()
	}
	return (n + len(a.Data) + 3) &^ 3
}

// Append appends the encoded ACE.
func (a *ACE) Append(dst []byte) []byte {
	start, size := len(dst), a.Len()
	dst = append(dst, byte(a.Type), byte(a.Flags))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(size))
	form := a.Type.form()
	if form != formOpaque {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(a.Mask))
	}
	if form == formObject {
		dst = binary.LittleEndian.AppendUint32(dst, a.ObjectFlags)
		if a.ObjectFlags&AceObjectTypePresent != 0 {
			dst = append(dst, a.ObjectType[:]...)
		}
		if a.ObjectFlags&AceInheritedObjectTypePresent != 0 {
			dst = append(dst, a.InheritedObjectType[:]...)
		}
	}
	if form != formOpaque {
		dst = a.SID.Append(dst)
	}
	dst = append(dst, a.Data...)
	for len(dst) < start+size {
		dst = append(dst, 0)
	}
	return dst
}

func (a ACE) String() string {
	return fmt.Sprintf("{type=%#x flags=%#x mask=%v sid=%v}", uint8(a.Type), uint8(a.Flags), a.Mask, a.SID)
}

// Revisions of an ACL (MS-DTYP 2.4.5): object ACEs need the second.
const (
	AclRevision   = 2
	AclRevisionDS = 4
)

// ACL is an access control list (MS-DTYP 2.4.5). A nil *ACL in a security
// descriptor whose "present" bit is set is a NULL ACL: everyone may do everything.
// An ACL without ACEs is an empty one: nobody may.
type ACL struct {
	Revision uint8
	ACEs     []ACE
}

const aclHeader = 8

// MaxACLSize is what the 16-bit AclSize can express.
const MaxACLSize = 0xFFFF

// DecodeACL reads an ACL from the beginning of b.
func DecodeACL(b []byte) (*ACL, error) {
	if len(b) < aclHeader {
		return nil, malformed("ACL truncated")
	}
	size, count := int(binary.LittleEndian.Uint16(b[2:])), int(binary.LittleEndian.Uint16(b[4:]))
	if b[0] < AclRevision || b[0] > AclRevisionDS || size < aclHeader || size > len(b) {
		return nil, malformed("ACL header")
	}
	if count > (size-aclHeader)/aceHeader {
		return nil, malformed("ACE count")
	}
	l := &ACL{Revision: b[0], ACEs: make([]ACE, 0, count)}
	rest := b[aclHeader:size]
	for range count {
		a, after, err := DecodeACE(rest)
		if err != nil {
			return nil, err
		}
		l.ACEs, rest = append(l.ACEs, a), after
	}
	return l, nil
}

// NewACL returns an ACL of the lowest revision that can hold the ACEs.
func NewACL(aces ...ACE) *ACL {
	l := &ACL{Revision: AclRevision, ACEs: aces}
	for i := range aces {
		if aces[i].Type.IsObject() {
			l.Revision = AclRevisionDS
		}
	}
	return l
}

// Len is the size of the encoded ACL; more than MaxACLSize cannot be encoded.
func (l *ACL) Len() int {
	n := aclHeader
	for i := range l.ACEs {
		n += l.ACEs[i].Len()
	}
	return n
}

// Append appends the encoded ACL, whose Len must not exceed MaxACLSize.
func (l *ACL) Append(dst []byte) []byte {
	dst = append(dst, l.Revision, 0)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(l.Len()))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(l.ACEs)))
	dst = append(dst, 0, 0)
	for i := range l.ACEs {
		dst = l.ACEs[i].Append(dst)
	}
	return dst
}

// Clone returns a copy whose ACEs may be changed; the Data bytes are shared.
func (l *ACL) Clone() *ACL {
	if l == nil {
		return nil
	}
	return &ACL{Revision: l.Revision, ACEs: append([]ACE(nil), l.ACEs...)}
}
