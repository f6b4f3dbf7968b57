package auth

import "gabion/protocol/dtyp"

// Granted returns the part of want that sd and the token's privileges give,
// generic rights mapped to the file's. It is the access check of [MS-DTYP]
// 2.5.3.2: the request succeeds if Granted(sd, want) == want. A nil sd grants all.
//
// Of want, MAXIMUM_ALLOWED is ignored: use Maximal for it. ACCESS_SYSTEM_SECURITY
// needs SeSecurityPrivilege, without which a server answers STATUS_PRIVILEGE_NOT_HELD.
func (t *Token) Granted(sd *dtyp.SecurityDescriptor, want dtyp.AccessMask) dtyp.AccessMask {
	want = want.MapFileGeneric() &^ dtyp.MaximumAllowed
	got := t.maximal(sd)
	if t.Has(SeSecurity) {
		got |= dtyp.AccessSystemSecurity
	}
	if t.Has(SeTakeOwnership) {
		got |= dtyp.WriteOwner
	}
	return got & want
}

// Maximal returns what MAXIMUM_ALLOWED stands for: what the descriptor gives.
// Rights that only a privilege gives are not part of it.
func (t *Token) Maximal(sd *dtyp.SecurityDescriptor) dtyp.AccessMask {
	return t.maximal(sd) & dtyp.FileAllAccess
}

// BackupGrant returns what backup intent gives whatever the descriptor says
// ([MS-FSA] 2.1.5.1, phase 4). reading is false when the disposition creates or
// supersedes.
func (t *Token) BackupGrant(reading bool) dtyp.AccessMask {
	var got dtyp.AccessMask
	if reading && t.Has(SeBackup) {
		got |= dtyp.ReadControl | dtyp.AccessSystemSecurity | dtyp.FileGenericRead | dtyp.FileTraverse
	}
	if t.Has(SeRestore) {
		got |= dtyp.WriteDAC | dtyp.WriteOwner | dtyp.AccessSystemSecurity | dtyp.FileGenericWrite |
			dtyp.FileAddFile | dtyp.FileAddSubdirectory | dtyp.Delete
	}
	return got
}

// maximal walks the DACL once. For each right the first ACE that speaks of it
// decides, which gives the pseudocode's answer for any set of rights.
//
// Deviation: the pseudocode lets a deny ACE behind an allow ACE win under
// MAXIMUM_ALLOWED; Windows does not, and smbtorture's
// smb2.acls.OWNER-RIGHTS-DENY1 holds it to that.
func (t *Token) maximal(sd *dtyp.SecurityDescriptor) dtyp.AccessMask {
	const all = ^dtyp.AccessMask(0) &^ dtyp.AccessSystemSecurity
	if sd == nil || sd.Control&dtyp.DACLPresent == 0 || sd.DACL == nil {
		return t.integrity(sd, all)
	}
	got := walk(sd, t.member)
	if len(t.Restricted) != 0 {
		got &= walk(sd, t.restrictedMember)
	}
	return t.integrity(sd, got&all)
}

func (t *Token) restrictedMember(sid dtyp.SID) membership {
	for _, s := range t.Restricted {
		if s == sid {
			return inAllow | inDeny
		}
	}
	return 0
}

// walk returns what the DACL gives to the one whose memberships member tells.
func walk(sd *dtyp.SecurityDescriptor, member func(dtyp.SID) membership) dtyp.AccessMask {
	owner := !sd.Owner.IsZero() && member(sd.Owner)&inAllow != 0
	var allowed, denied dtyp.AccessMask
	if owner && !ownerRights(sd.DACL) {
		// The owner is always granted READ_CONTROL and WRITE_DAC, unless ACEs for
		// OWNER RIGHTS say what it gets instead.
		allowed = dtyp.ReadControl | dtyp.WriteDAC
	}
	for i := range sd.DACL.ACEs {
		a := &sd.DACL.ACEs[i]
		if a.Flags&dtyp.InheritOnly != 0 {
			continue
		}
		kind := effect(a)
		if kind == effectNone {
			continue
		}
		in := member(a.SID)
		if owner && a.SID == dtyp.OwnerRights {
			in = inAllow | inDeny
		}
		mask := a.Mask.MapFileGeneric()
		switch {
		case kind == effectAllow && in&inAllow != 0:
			allowed |= mask &^ denied
		case kind == effectDeny && in&inDeny != 0:
			denied |= mask &^ allowed
		}
	}
	return allowed
}

// ownerRights reports whether an ACE for OWNER RIGHTS takes effect.
func ownerRights(l *dtyp.ACL) bool {
	for i := range l.ACEs {
		a := &l.ACEs[i]
		if a.SID == dtyp.OwnerRights && a.Flags&dtyp.InheritOnly == 0 && effect(a) != effectNone {
			return true
		}
	}
	return false
}

type aceEffect uint8

const (
	effectNone aceEffect = iota
	effectAllow
	effectDeny
)

// effect says what an ACE does to a file. An object ACE that names a type
// never allows, since files have no types, and denies the whole; the condition of a
// callback ACE counts as unknown, which does not allow but denies.
func effect(a *dtyp.ACE) aceEffect {
	switch a.Type {
	case dtyp.AccessAllowed:
		return effectAllow
	case dtyp.AccessAllowedObject:
		if a.ObjectFlags&dtyp.AceObjectTypePresent == 0 {
			return effectAllow
		}
	case dtyp.AccessDenied, dtyp.AccessDeniedObject, dtyp.AccessDeniedCallback, dtyp.AccessDeniedCallbackObject:
		return effectDeny
	}
	return effectNone
}

// Policies of a mandatory label ([MS-DTYP] 2.4.4.13).
const (
	labelNoWriteUp   = 0x1
	labelNoReadUp    = 0x2
	labelNoExecuteUp = 0x4

	integrityMedium = 8192
)

// integrity takes away what a mandatory label above the token's level forbids
// ([MS-DTYP] 2.5.3.3).
//
// Deviation: a file without a label has none, not the default of medium, so
// that guests whose level is low may write where the DACL lets them.
func (t *Token) integrity(sd *dtyp.SecurityDescriptor, got dtyp.AccessMask) dtyp.AccessMask {
	if sd == nil || sd.Control&dtyp.SACLPresent == 0 || sd.SACL == nil {
		return got
	}
	level := t.Integrity
	if level == 0 {
		level = integrityMedium
	}
	for i := range sd.SACL.ACEs {
		a := &sd.SACL.ACEs[i]
		if a.Type != dtyp.SystemMandatoryLabel || a.Flags&dtyp.InheritOnly != 0 {
			continue
		}
		if level >= a.SID.RID() {
			return got
		}
		if a.Mask&labelNoWriteUp != 0 {
			got &^= dtyp.FileGenericWrite&^dtyp.FileGenericRead | dtyp.Delete | dtyp.WriteDAC | dtyp.WriteOwner | dtyp.FileDeleteChild
		}
		if a.Mask&labelNoReadUp != 0 {
			got &^= dtyp.FileGenericRead &^ dtyp.Synchronize
		}
		if a.Mask&labelNoExecuteUp != 0 {
			got &^= dtyp.FileExecute
		}
		return got
	}
	return got
}

// SecurityAccess returns the rights an open needs to query or set parts of a
// security descriptor ([MS-FSA] 2.1.5.14, 2.1.5.17; [MS-DTYP] 2.4.7).
func SecurityAccess(info dtyp.SecurityInformation, set bool) dtyp.AccessMask {
	var need dtyp.AccessMask
	add := func(bits dtyp.SecurityInformation, query, change dtyp.AccessMask) {
		switch {
		case info&bits == 0:
		case set:
			need |= change
		default:
			need |= query
		}
	}
	add(dtyp.OwnerSecurityInformation|dtyp.GroupSecurityInformation|dtyp.LabelSecurityInformation, dtyp.ReadControl, dtyp.WriteOwner)
	add(dtyp.DACLSecurityInformation|dtyp.AttributeSecurityInformation, dtyp.ReadControl, dtyp.WriteDAC)
	add(dtyp.SACLSecurityInformation, dtyp.AccessSystemSecurity, dtyp.AccessSystemSecurity)
	add(dtyp.ScopeSecurityInformation, dtyp.ReadControl, dtyp.AccessSystemSecurity)
	add(dtyp.BackupSecurityInformation, dtyp.ReadControl|dtyp.AccessSystemSecurity, dtyp.WriteDAC|dtyp.WriteOwner|dtyp.AccessSystemSecurity)
	return need
}
