package auth

import (
	"fmt"

	"gabion/protocol/dtyp"
)

// Explanation is what a token may do with a file, and by what.
type Explanation struct {
	// Granted is what an open gets, WithIntent what one with backup intent gets
	// besides.
	Granted, WithIntent dtyp.AccessMask
	Reasons             []Reason
}

// Reason is one thing that gives or denies rights.
type Reason struct {
	Rights  dtyp.AccessMask
	Allowed bool
	Intent  bool   // counts for opens with backup intent only
	By      string // in an administrator's words
}

func (r *Reason) String() string {
	verb := "denies"
	if r.Allowed {
		verb = "gives"
	}
	if r.Intent {
		verb += " with backup intent"
	}
	return fmt.Sprintf("%s %s %v", r.By, verb, r.Rights)
}

// Explain says what a token may do with a file whose security descriptor is sd, and
// why. why tells the grants by which it holds a privilege, name what a SID is called;
// both may be nil.
func Explain(t *Token, sd *dtyp.SecurityDescriptor, why func(Privilege) []Grant, name func(dtyp.SID) string) Explanation {
	x := explainer{t: t, why: why, name: name}
	if x.name == nil {
		x.name = dtyp.SID.String
	}
	x.dacl(sd)
	x.privilege(SeSecurity, dtyp.AccessSystemSecurity, false)
	x.privilege(SeTakeOwnership, dtyp.WriteOwner, false)
	granted := t.Granted(sd, dtyp.FileAllAccess|dtyp.AccessSystemSecurity)
	for _, p := range []Privilege{SeBackup, SeRestore} {
		alone := Token{Privileges: PrivilegeSet(p)}
		x.privilege(p, alone.BackupGrant(true), true)
	}
	return Explanation{Granted: granted, WithIntent: t.BackupGrant(true) &^ granted, Reasons: x.reasons}
}

type explainer struct {
	t       *Token
	why     func(Privilege) []Grant
	name    func(dtyp.SID) string
	reasons []Reason
}

func (x *explainer) add(r Reason) {
	if r.Rights != 0 {
		x.reasons = append(x.reasons, r)
	}
}

// privilege adds what a privilege gives, if it is held.
func (x *explainer) privilege(p Privilege, rights dtyp.AccessMask, intent bool) {
	if !x.t.Has(p) {
		return
	}
	by := p.String()
	if x.why != nil {
		for i, g := range x.why(p) {
			sep := ", "
			if i == 0 {
				sep = " as "
			}
			by += fmt.Sprintf("%s%v by membership of %s on %v", sep, g.Role, x.name(g.SID), g.Scope)
		}
	}
	x.add(Reason{Rights: rights, Allowed: true, Intent: intent, By: by})
}

// dacl adds what each ACE decides, in the order of maximal's walk.
func (x *explainer) dacl(sd *dtyp.SecurityDescriptor) {
	if sd == nil || sd.Control&dtyp.DACLPresent == 0 || sd.DACL == nil {
		x.add(Reason{Rights: dtyp.FileAllAccess, Allowed: true, By: "the absence of a DACL"})
		return
	}
	owner := !sd.Owner.IsZero() && x.t.Is(sd.Owner)
	var decided dtyp.AccessMask
	if owner && !ownerRights(sd.DACL) {
		decided = dtyp.ReadControl | dtyp.WriteDAC
		x.add(Reason{Rights: decided, Allowed: true, By: "owning the file (as " + x.name(sd.Owner) + ")"})
	}
	for i := range sd.DACL.ACEs {
		a := &sd.DACL.ACEs[i]
		kind, in := effect(a), x.t.member(a.SID)
		if owner && a.SID == dtyp.OwnerRights {
			in = inAllow | inDeny
		}
		if a.Flags&dtyp.InheritOnly != 0 || kind == effectAllow && in&inAllow == 0 || kind == effectDeny && in&inDeny == 0 || kind == effectNone {
			continue
		}
		fresh := a.Mask.MapFileGeneric() &^ decided & dtyp.FileAllAccess
		decided |= fresh
		origin := ""
		if a.Flags&dtyp.Inherited != 0 {
			origin = ", inherited"
		}
		x.add(Reason{Rights: fresh, Allowed: kind == effectAllow, By: fmt.Sprintf("ACE %d for %s%s", i+1, x.name(a.SID), origin)})
	}
}
