package auth

import (
	"slices"

	"gabion/protocol/dtyp"
)

// Attributes of a group in a token ([MS-PAC] 2.2.1).
const (
	GroupMandatory        = 0x00000001
	GroupEnabledByDefault = 0x00000002
	GroupEnabled          = 0x00000004
	GroupOwner            = 0x00000008
	GroupUseForDenyOnly   = 0x00000010
	GroupResource         = 0x20000000
	// GroupDefault is what an ordinary membership has.
	GroupDefault = GroupMandatory | GroupEnabledByDefault | GroupEnabled
)

// Group is a membership.
type Group struct {
	SID        dtyp.SID
	Attributes uint32
}

// Token says on whose behalf something is done ([MS-DTYP] 2.5.2). It is
// immutable once its session exists, and shared by everything the session opens.
type Token struct {
	// Domain and Name are the account's names, for logs and replies.
	Domain, Name string

	User   dtyp.SID
	Groups []Group
	// Restricted, if not empty, must be granted the access as well (a restricted
	// token, [MS-DTYP] 2.5.3.2 applied twice).
	Restricted []dtyp.SID
	Privileges Privileges

	// Owner of new files, User if zero; an administrator's may be
	// BUILTIN\Administrators.
	Owner dtyp.SID
	// PrimaryGroup of new files, the user's domain's "Users" if zero.
	PrimaryGroup dtyp.SID
	// DefaultDACL protects new files that inherit nothing; nil means full control
	// for the owner and SYSTEM.
	DefaultDACL *dtyp.ACL
	// Integrity is the mandatory level as the RID of its SID; 0 means medium.
	Integrity uint32

	Guest     bool // let in without a password of its own
	Anonymous bool // a null session
}

// System is the server itself: internal openers, and the owner of what nobody made.
var System = &Token{
	Domain: "NT AUTHORITY", Name: "SYSTEM",
	User:         dtyp.LocalSystem,
	Groups:       []Group{{dtyp.BuiltinAdministrators, GroupDefault | GroupOwner}, {dtyp.Everyone, GroupDefault}, {dtyp.AuthenticatedUsers, GroupDefault}},
	PrimaryGroup: dtyp.LocalSystem,
	Owner:        dtyp.BuiltinAdministrators,
	Integrity:    16384,
	Privileges: PrivilegeSet(SeTcb, SeSecurity, SeTakeOwnership, SeBackup, SeRestore, SeChangeNotify, SeManageVolume,
		SeRelabel, SeCreateSymbolicLink, SeImpersonate),
}

// membership says in which kinds of ACE a SID of the token counts.
type membership uint8

const (
	inAllow membership = 1 << iota
	inDeny
)

// member is SidInToken ([MS-DTYP] 2.5.3.1.1), extended to groups that count
// for deny ACEs only.
func (t *Token) member(sid dtyp.SID) membership {
	if t.User == sid {
		return inAllow | inDeny
	}
	for i := range t.Groups {
		g := &t.Groups[i]
		if g.SID != sid {
			continue
		}
		switch {
		case g.Attributes&GroupUseForDenyOnly != 0:
			return inDeny
		case g.Attributes&GroupEnabled != 0:
			return inAllow | inDeny
		}
	}
	return 0
}

// Is reports whether sid is the user or an enabled group.
func (t *Token) Is(sid dtyp.SID) bool { return t.member(sid)&inAllow != 0 }

// Has reports whether the token holds a privilege.
func (t *Token) Has(p Privilege) bool { return t.Privileges.Has(p) }

// NewOwner is the owner of a file the token creates.
func (t *Token) NewOwner() dtyp.SID {
	if t.Owner.IsZero() {
		return t.User
	}
	return t.Owner
}

// NewGroup is the primary group of a file the token creates.
func (t *Token) NewGroup() dtyp.SID {
	if !t.PrimaryGroup.IsZero() {
		return t.PrimaryGroup
	}
	if d := t.User.Domain(); d.Count() == 4 && d.Sub(0) == 21 {
		return d.WithRID(dtyp.RIDDomainUsers)
	}
	return t.User
}

// MayOwn reports whether the token may make sid a file's owner: itself, a group
// it holds as owner, as members do BUILTIN\Administrators, or anybody with
// SeRestorePrivilege.
func (t *Token) MayOwn(sid dtyp.SID) bool {
	if sid == t.User || t.Has(SeRestore) {
		return true
	}
	return slices.ContainsFunc(t.Groups, func(g Group) bool {
		owner := g.Attributes&GroupOwner != 0 || sid == dtyp.BuiltinAdministrators && g.Attributes&GroupEnabled != 0
		return g.SID == sid && owner && g.Attributes&GroupUseForDenyOnly == 0
	})
}

// String names the account.
func (t *Token) String() string {
	switch {
	case t.Anonymous:
		return "anonymous"
	case t.Name == "":
		return t.User.String()
	case t.Domain == "":
		return t.Name
	}
	return t.Domain + `\` + t.Name
}
