package auth

import (
	"errors"

	"gabion/protocol/dtyp"
)

// NewSecurity makes the security descriptor of a new file or directory
// ([MS-DTYP] 2.5.3.4.1) from that of its directory and, unless nil, the one its
// creator gave.
//
// As NTFS does, a DACL the creator gave is taken as it is; the directory's
// inheritable ACEs are added only if it asks for that (DACL_AUTO_INHERIT_REQ). What
// is inherited is marked as such if the directory's own DACL takes part in
// automatic inheritance (DACL_AUTO_INHERITED); otherwise it becomes explicit.
func (t *Token) NewSecurity(parent, creator *dtyp.SecurityDescriptor, container bool) *dtyp.SecurityDescriptor {
	if creator == nil {
		creator = &dtyp.SecurityDescriptor{}
	}
	if parent == nil {
		parent = &dtyp.SecurityDescriptor{}
	}
	sd := &dtyp.SecurityDescriptor{Control: dtyp.SelfRelative, Owner: creator.Owner, Group: creator.Group}
	if creator.Control&dtyp.RMControlValid != 0 {
		sd.Control, sd.RMControl = sd.Control|dtyp.RMControlValid, creator.RMControl
	}
	if sd.Owner.IsZero() {
		sd.Owner = t.NewOwner()
	}
	if sd.Group.IsZero() {
		sd.Group = t.NewGroup()
	}
	n := newACL{owner: sd.Owner, group: sd.Group, container: container}
	sd.Control |= n.compute(dacl(parent), dacl(creator))
	sd.DACL = n.result
	if !n.present {
		sd.DACL, sd.Control = t.defaultDACL(sd.Owner), sd.Control|dtyp.DACLPresent
	}
	n = newACL{owner: sd.Owner, group: sd.Group, container: container}
	if bits := n.compute(sacl(parent), sacl(creator)); n.present {
		sd.Control |= bits
		sd.SACL = n.result
	}
	return sd
}

// defaultDACL protects a file that inherits nothing.
func (t *Token) defaultDACL(owner dtyp.SID) *dtyp.ACL {
	if t.DefaultDACL != nil {
		return t.DefaultDACL
	}
	return dtyp.NewACL(
		dtyp.ACE{Type: dtyp.AccessAllowed, Mask: dtyp.FileAllAccess, SID: owner},
		dtyp.ACE{Type: dtyp.AccessAllowed, Mask: dtyp.FileAllAccess, SID: dtyp.LocalSystem},
	)
}

// aclPart is one ACL of a descriptor with its control bits, so that DACL and
// SACL are computed by the same code.
type aclPart struct {
	acl                                                 *dtyp.ACL
	control                                             dtyp.Control
	bitPresent, bitProtected, bitRequired, bitInherited dtyp.Control
}

func (p *aclPart) present() bool   { return p.control&p.bitPresent != 0 }
func (p *aclPart) inherited() bool { return p.control&p.bitInherited != 0 }

func dacl(sd *dtyp.SecurityDescriptor) aclPart {
	return aclPart{sd.DACL, sd.Control, dtyp.DACLPresent, dtyp.DACLProtected, dtyp.DACLAutoInheritReq, dtyp.DACLAutoInherited}
}

func sacl(sd *dtyp.SecurityDescriptor) aclPart {
	return aclPart{sd.SACL, sd.Control, dtyp.SACLPresent, dtyp.SACLProtected, dtyp.SACLAutoInheritReq, dtyp.SACLAutoInherited}
}

// newACL is ComputeACL ([MS-DTYP] 2.5.3.4.2).
type newACL struct {
	owner, group dtyp.SID
	container    bool
	result       *dtyp.ACL
	present      bool
}

func (n *newACL) compute(parent, creator aclPart) dtyp.Control {
	if creator.present() {
		return n.fromCreator(parent, creator)
	}
	if !parent.present() || parent.acl == nil {
		return 0
	}
	aces := n.inherit(nil, parent.acl, parent.inherited())
	if len(aces) == 0 {
		return 0
	}
	n.result, n.present = dtyp.NewACL(aces...), true
	bits := parent.bitPresent
	if parent.inherited() {
		bits |= parent.bitInherited
	}
	return bits
}

func (n *newACL) fromCreator(parent, creator aclPart) dtyp.Control {
	n.present = true
	bits, acl := normalise(creator)
	n.result = acl
	asks := creator.control&creator.bitRequired != 0 && !creator.inherited() && creator.control&creator.bitProtected == 0
	if acl == nil || !asks || !parent.present() || parent.acl == nil {
		return bits
	}
	// [MS-DTYP] 2.5.3.4.6: inherited ACEs of the creator give way to the parent's.
	var aces []dtyp.ACE
	for _, a := range acl.ACEs {
		if a.Flags&dtyp.Inherited == 0 {
			aces = append(aces, a)
		}
	}
	n.result = dtyp.NewACL(n.inherit(aces, parent.acl, true)...)
	return bits | creator.bitInherited
}

// normalise returns an ACL somebody gave and its control bits as they are
// stored: generic rights mapped, AUTO_INHERITED kept only together with AUTO_INHERIT_REQ,
// which itself is never stored.
func normalise(p aclPart) (dtyp.Control, *dtyp.ACL) {
	bits := p.control & (p.bitPresent | p.bitProtected | p.bitPresent<<1) // DEFAULTED stands above PRESENT
	if p.inherited() && p.control&p.bitRequired != 0 {
		bits |= p.bitInherited
	}
	if p.acl == nil {
		return bits, nil
	}
	out := &dtyp.ACL{Revision: p.acl.Revision, ACEs: make([]dtyp.ACE, 0, len(p.acl.ACEs))}
	for _, a := range p.acl.ACEs {
		mapped := a.Mask.MapFileGeneric()
		switch {
		case a.Type == dtyp.SystemMandatoryLabel || a.Flags&dtyp.InheritOnly != 0 || mapped == a.Mask:
			out.ACEs = append(out.ACEs, a)
		case a.Flags&(dtyp.ObjectInherit|dtyp.ContainerInherit) == 0:
			a.Mask = mapped
			out.ACEs = append(out.ACEs, a)
		default:
			out.ACEs = append(out.ACEs, split(a, a.SID)...)
		}
	}
	return bits, out
}

// split makes two of an inheritable ACE whose effect here differs from what it
// hands down ([MS-DTYP] 2.5.3.4.7): one that takes effect, one that is inherited.
func split(a dtyp.ACE, sid dtyp.SID) []dtyp.ACE {
	here, down := a, a
	here.SID, here.Mask = sid, a.Mask.MapFileGeneric()
	here.Flags &^= dtyp.ObjectInherit | dtyp.ContainerInherit | dtyp.NoPropagateInherit | dtyp.InheritOnly
	down.Flags |= dtyp.InheritOnly
	return []dtyp.ACE{here, down}
}

// inherit appends what a parent's ACL hands down ([MS-DTYP] 2.5.3.4.4 and
// 2.5.3.4.7). mark sets INHERITED_ACE ([MS-DTYP] 2.5.3.5).
func (n *newACL) inherit(to []dtyp.ACE, parent *dtyp.ACL, mark bool) []dtyp.ACE {
	for _, a := range parent.ACEs {
		const down = dtyp.ObjectInherit | dtyp.ContainerInherit | dtyp.NoPropagateInherit | dtyp.InheritOnly
		flags := a.Flags
		a.Flags &^= down | dtyp.Inherited
		if mark {
			a.Flags |= dtyp.Inherited
		}
		if !n.container {
			if flags&dtyp.ObjectInherit != 0 {
				to = append(to, n.here(a))
			}
			continue
		}
		onward := flags & (dtyp.ObjectInherit | dtyp.ContainerInherit)
		if flags&dtyp.NoPropagateInherit != 0 {
			onward = 0
		}
		switch {
		case flags&dtyp.ContainerInherit != 0 && onward == 0:
			to = append(to, n.here(a))
		case flags&dtyp.ContainerInherit != 0:
			here := n.here(a)
			a.Flags |= onward
			if here.SID == a.SID && here.Mask == a.Mask {
				to = append(to, a)
			} else {
				to = append(to, split(a, here.SID)...)
			}
		case onward != 0: // OBJECT_INHERIT only: it passes through
			a.Flags |= onward | dtyp.InheritOnly
			to = append(to, a)
		}
	}
	return to
}

// here is the form of an inherited ACE that takes effect: CREATOR OWNER and
// CREATOR GROUP replaced, generic rights mapped.
func (n *newACL) here(a dtyp.ACE) dtyp.ACE {
	switch a.SID {
	case dtyp.CreatorOwner:
		a.SID = n.owner
	case dtyp.CreatorGroup:
		a.SID = n.group
	}
	if a.Type != dtyp.SystemMandatoryLabel {
		a.Mask = a.Mask.MapFileGeneric()
	}
	return a
}

// ErrOwner is STATUS_INVALID_OWNER.
var ErrOwner = errors.New("auth: not a permitted owner")

// SetSecurity returns current with the parts that info selects taken from
// given ([MS-FSA] 2.1.5.17). The caller has checked that the open has
// SecurityAccess(info, true).
func (t *Token) SetSecurity(current, given *dtyp.SecurityDescriptor, info dtyp.SecurityInformation) (*dtyp.SecurityDescriptor, error) {
	sd := *current
	sd.Control |= dtyp.SelfRelative
	if info&dtyp.OwnerSecurityInformation != 0 {
		if given.Owner.IsZero() || !t.MayOwn(given.Owner) {
			return nil, ErrOwner
		}
		sd.Owner = given.Owner
	} else if sd.Owner.IsZero() {
		return nil, ErrOwner
	}
	if info&dtyp.GroupSecurityInformation != 0 && !given.Group.IsZero() {
		sd.Group = given.Group
	}
	if info&dtyp.DACLSecurityInformation != 0 {
		const bits = dtyp.DACLPresent | dtyp.DACLDefaulted | dtyp.DACLProtected | dtyp.DACLAutoInherited | dtyp.DACLAutoInheritReq
		stored, acl := normalise(dacl(given))
		// A descriptor without a DACL gives a NULL DACL, which lets everybody in.
		sd.Control, sd.DACL = sd.Control&^bits|stored|dtyp.DACLPresent, acl
	}
	setSACL(&sd, given, info)
	return &sd, nil
}

// setSACL replaces the whole SACL, or in it the kinds of ACE that info names.
func setSACL(sd, given *dtyp.SecurityDescriptor, info dtyp.SecurityInformation) {
	const bits = dtyp.SACLPresent | dtyp.SACLDefaulted | dtyp.SACLProtected | dtyp.SACLAutoInherited | dtyp.SACLAutoInheritReq
	const some = dtyp.LabelSecurityInformation | dtyp.AttributeSecurityInformation | dtyp.ScopeSecurityInformation
	if info&(dtyp.SACLSecurityInformation|dtyp.BackupSecurityInformation) != 0 {
		stored, acl := normalise(sacl(given))
		sd.Control, sd.SACL = sd.Control&^bits|stored, acl
		return
	}
	if info&some == 0 {
		return
	}
	var aces []dtyp.ACE
	if sd.Control&dtyp.SACLPresent != 0 && sd.SACL != nil {
		for _, a := range sd.SACL.ACEs {
			if info&a.Type.Selector() == 0 {
				aces = append(aces, a)
			}
		}
	}
	if given.Control&dtyp.SACLPresent != 0 && given.SACL != nil {
		for _, a := range given.SACL.ACEs {
			if info&a.Type.Selector() != 0 {
				aces = append(aces, a)
			}
		}
	}
	sd.SACL, sd.Control = nil, sd.Control&^dtyp.SACLPresent
	if len(aces) != 0 {
		sd.SACL, sd.Control = dtyp.NewACL(aces...), sd.Control|dtyp.SACLPresent
	}
}

// RootSecurity is the security descriptor of a new volume's root: administrators and
// SYSTEM have full control, whoever is authenticated may read and write what the
// share lets through, and creators own what they make.
func RootSecurity() *dtyp.SecurityDescriptor {
	sd, err := dtyp.ParseSDDL("O:BAG:BAD:(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;FA;;;AU)(A;OICIIO;GA;;;CO)", dtyp.SID{})
	if err != nil {
		panic("auth: root descriptor: " + err.Error())
	}
	return sd
}
