package dtyp

import "encoding/binary"

// Control are the control bits of a security descriptor (MS-DTYP 2.4.6).
type Control uint16

const (
	OwnerDefaulted     Control = 0x0001
	GroupDefaulted     Control = 0x0002
	DACLPresent        Control = 0x0004
	DACLDefaulted      Control = 0x0008
	SACLPresent        Control = 0x0010
	SACLDefaulted      Control = 0x0020
	DACLTrusted        Control = 0x0040
	ServerSecurity     Control = 0x0080
	DACLAutoInheritReq Control = 0x0100
	SACLAutoInheritReq Control = 0x0200
	DACLAutoInherited  Control = 0x0400
	SACLAutoInherited  Control = 0x0800
	DACLProtected      Control = 0x1000
	SACLProtected      Control = 0x2000
	RMControlValid     Control = 0x4000
	SelfRelative       Control = 0x8000
)

// SecurityInformation selects parts of a security descriptor (MS-DTYP 2.4.7).
type SecurityInformation uint32

const (
	OwnerSecurityInformation     SecurityInformation = 0x00000001
	GroupSecurityInformation     SecurityInformation = 0x00000002
	DACLSecurityInformation      SecurityInformation = 0x00000004
	SACLSecurityInformation      SecurityInformation = 0x00000008
	LabelSecurityInformation     SecurityInformation = 0x00000010
	AttributeSecurityInformation SecurityInformation = 0x00000020
	ScopeSecurityInformation     SecurityInformation = 0x00000040
	BackupSecurityInformation    SecurityInformation = 0x00010000
	UnprotectedSACLInformation   SecurityInformation = 0x10000000
	UnprotectedDACLInformation   SecurityInformation = 0x20000000
	ProtectedSACLInformation     SecurityInformation = 0x40000000
	ProtectedDACLInformation     SecurityInformation = 0x80000000
)

// SecurityDescriptor is SECURITY_DESCRIPTOR (MS-DTYP 2.4.6). A zero Owner or
// Group is absent. DACL and SACL count only if their "present" bit is set in
// Control; a present one that is nil is a NULL ACL.
type SecurityDescriptor struct {
	Control   Control
	RMControl uint8 // Sbz1, meaningful if Control has RMControlValid
	Owner     SID
	Group     SID
	SACL      *ACL
	DACL      *ACL
}

const secDescHeader = 20

// MaxSecurityDescriptor bounds what a decoder accepts: two full ACLs and two SIDs.
const MaxSecurityDescriptor = secDescHeader + 2*(MaxACLSize+1) + 2*(sidHeader+4*MaxSubAuthorities)

// DecodeSecurityDescriptor reads a self-relative security descriptor. It keeps
// no reference to b.
func DecodeSecurityDescriptor(b []byte) (*SecurityDescriptor, error) {
	if len(b) < secDescHeader {
		return nil, malformed("security descriptor truncated")
	}
	sd := &SecurityDescriptor{Control: Control(binary.LittleEndian.Uint16(b[2:])), RMControl: b[1]}
	if b[0] != 1 || sd.Control&SelfRelative == 0 {
		return nil, malformed("security descriptor header")
	}
	var err error
	if sd.Owner, err = sidAt(b, 4); err != nil {
		return nil, err
	}
	if sd.Group, err = sidAt(b, 8); err != nil {
		return nil, err
	}
	if sd.Control&SACLPresent != 0 {
		if sd.SACL, err = aclAt(b, 12); err != nil {
			return nil, err
		}
	}
	if sd.Control&DACLPresent != 0 {
		if sd.DACL, err = aclAt(b, 16); err != nil {
			return nil, err
		}
	}
	return sd, nil
}

// part returns what the offset stored at b[at:] points to, nil for offset 0.
func part(b []byte, at int) ([]byte, error) {
	off := binary.LittleEndian.Uint32(b[at:])
	if off == 0 {
		return nil, nil
	}
	if off < secDescHeader || uint64(off) >= uint64(len(b)) {
		return nil, malformed("security descriptor offset")
	}
	return b[off:], nil
}

func sidAt(b []byte, at int) (SID, error) {
	p, err := part(b, at)
	if err != nil || p == nil {
		return SID{}, err
	}
	s, _, err := DecodeSID(p)
	return s, err
}

func aclAt(b []byte, at int) (*ACL, error) {
	p, err := part(b, at)
	if err != nil || p == nil {
		return nil, err
	}
	return DecodeACL(p)
}

// Len is the size of the self-relative form.
func (sd *SecurityDescriptor) Len() int {
	n := secDescHeader + sd.Owner.Len() + sd.Group.Len()
	if sd.Control&SACLPresent != 0 && sd.SACL != nil {
		n += sd.SACL.Len()
	}
	if sd.Control&DACLPresent != 0 && sd.DACL != nil {
		n += sd.DACL.Len()
	}
	return n
}

// Append appends the self-relative form in the order Windows writes it: SACL,
// DACL, owner, group.
func (sd *SecurityDescriptor) Append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, 1, sd.RMControl)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(sd.Control|SelfRelative))
	dst = append(dst, make([]byte, secDescHeader-4)...)
	mark := func(at int) {
		binary.LittleEndian.PutUint32(dst[start+at:], uint32(len(dst)-start))
	}
	if sd.Control&SACLPresent != 0 && sd.SACL != nil {
		mark(12)
		dst = sd.SACL.Append(dst)
	}
	if sd.Control&DACLPresent != 0 && sd.DACL != nil {
		mark(16)
		dst = sd.DACL.Append(dst)
	}
	if !sd.Owner.IsZero() {
		mark(4)
		dst = sd.Owner.Append(dst)
	}
	if !sd.Group.IsZero() {
		mark(8)
		dst = sd.Group.Append(dst)
	}
	return dst
}

// Encode returns the self-relative form.
func (sd *SecurityDescriptor) Encode() []byte { return sd.Append(make([]byte, 0, sd.Len())) }

// Clone returns a copy whose ACLs may be changed.
func (sd *SecurityDescriptor) Clone() *SecurityDescriptor {
	c := *sd
	c.DACL, c.SACL = sd.DACL.Clone(), sd.SACL.Clone()
	return &c
}

// Select returns the parts of sd that info asks for, as a query returns them:
// a part that was not asked for is absent with its control bits.
func (sd *SecurityDescriptor) Select(info SecurityInformation) *SecurityDescriptor {
	r := &SecurityDescriptor{Control: SelfRelative, RMControl: sd.RMControl}
	r.Control |= sd.Control & RMControlValid
	if info&OwnerSecurityInformation != 0 {
		r.Owner = sd.Owner
		r.Control |= sd.Control & OwnerDefaulted
	}
	if info&GroupSecurityInformation != 0 {
		r.Group = sd.Group
		r.Control |= sd.Control & GroupDefaulted
	}
	if info&DACLSecurityInformation != 0 {
		r.DACL = sd.DACL
		r.Control |= sd.Control & (DACLPresent | DACLDefaulted | DACLAutoInheritReq | DACLAutoInherited | DACLProtected)
	}
	r.selectSACL(sd, info)
	return r
}

// selectSACL picks the ACEs of the SACL: all for SACL_SECURITY_INFORMATION,
// else the kinds that have a selector of their own.
func (r *SecurityDescriptor) selectSACL(sd *SecurityDescriptor, info SecurityInformation) {
	const some = LabelSecurityInformation | AttributeSecurityInformation | ScopeSecurityInformation
	const bits = SACLPresent | SACLDefaulted | SACLAutoInheritReq | SACLAutoInherited | SACLProtected
	if info&(SACLSecurityInformation|BackupSecurityInformation) != 0 {
		r.SACL = sd.SACL
		r.Control |= sd.Control & bits
		return
	}
	if info&some == 0 || sd.SACL == nil || sd.Control&SACLPresent == 0 {
		return
	}
	var picked []ACE
	for _, a := range sd.SACL.ACEs {
		if info&a.Type.Selector() != 0 {
			picked = append(picked, a)
		}
	}
	if picked != nil {
		r.SACL = &ACL{Revision: sd.SACL.Revision, ACEs: picked}
		r.Control |= sd.Control & bits
	}
}

// Selector returns the bit that selects ACEs of the type in a SACL.
func (t AceType) Selector() SecurityInformation {
	switch t {
	case SystemMandatoryLabel:
		return LabelSecurityInformation
	case SystemResourceAttribute:
		return AttributeSecurityInformation
	case SystemScopedPolicyID:
		return ScopeSecurityInformation
	}
	return SACLSecurityInformation
}
