package rpc

import (
	"context"
	"strings"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/protocol/lsarpc"
)

// Accounts are what this server knows of names and SIDs: the well-known ones, its
// own users and, by asking a controller as any member does, those of its domain.
type Accounts struct {
	// Domain is the name in front of the server's users, its own.
	Domain string
	// Users and Directory may be nil.
	Users     *auth.Users
	Directory auth.Directory
}

// SID is what the server's users' SIDs begin with.
func (a *Accounts) SID() dtyp.SID {
	if a.Users == nil {
		return dtyp.SID{}
	}
	return a.Users.Machine()
}

// ByName finds an account by "name", "DOMAIN\name" or "name@domain".
func (a *Accounts) ByName(ctx context.Context, text string) lsarpc.Account {
	text = strings.TrimSuffix(text, `\`) // "BUILTIN\" is the domain itself
	domain, name, qualified := strings.Cut(text, `\`)
	if !qualified {
		name, domain, qualified = strings.Cut(text, "@")
	}
	own := !qualified || strings.EqualFold(domain, a.Domain) || domain == "." || domain == ""
	if own && name != "" && a.Users != nil {
		if u, err := a.Users.Find(name); err == nil {
			return a.user(u)
		}
	}
	if own && strings.EqualFold(text, a.Domain) && !a.SID().IsZero() {
		return lsarpc.Account{SID: a.SID(), Domain: a.Domain, DomainSID: a.SID(), Use: dtyp.SIDTypeDomain}
	}
	if text == "" {
		text, name = "BUILTIN", "BUILTIN" // as Windows and Samba answer
	}
	for i := range dtyp.WellKnownSIDs {
		w := &dtyp.WellKnownSIDs[i]
		if strings.EqualFold(w.Name, name) && (!qualified || strings.EqualFold(w.Domain, domain)) {
			return wellKnown(w)
		}
	}
	if a.Directory != nil && name != "" && (!own || !qualified) {
		if strings.Contains(text, "@") {
			domain, name = "", text // a user principal name
		}
		if p, err := a.Directory.ByName(ctx, domain, name); err == nil {
			return ofDomain(p)
		}
	}
	return lsarpc.Account{Use: dtyp.SIDTypeUnknown}
}

// ofDomain is an account that the directory found.
func ofDomain(p auth.Principal) lsarpc.Account {
	return lsarpc.Account{SID: p.SID, Name: p.Name, Domain: p.Domain, DomainSID: p.SID.Domain(), Use: p.Use}
}

// BySID finds an account by its SID.
func (a *Accounts) BySID(ctx context.Context, sid dtyp.SID) lsarpc.Account {
	for i := range dtyp.WellKnownSIDs {
		if w := &dtyp.WellKnownSIDs[i]; w.SID == sid {
			return wellKnown(w)
		}
	}
	unknown := lsarpc.Account{SID: sid, Use: dtyp.SIDTypeUnknown}
	if sid.IsZero() {
		return unknown
	}
	machine := a.SID()
	if a.Directory != nil && sid.Domain() != machine {
		if p, err := a.Directory.BySID(ctx, sid); err == nil {
			return ofDomain(p)
		}
	}
	if a.Users == nil {
		return unknown
	}
	if sid == machine {
		return lsarpc.Account{SID: sid, Domain: a.Domain, DomainSID: sid, Use: dtyp.SIDTypeDomain}
	}
	if u, err := a.Users.FindSID(sid); err == nil {
		return a.user(u)
	}
	if sid.Domain() == machine {
		unknown.Domain, unknown.DomainSID = a.Domain, machine
	}
	return unknown
}

func (a *Accounts) user(u auth.User) lsarpc.Account {
	return lsarpc.Account{SID: u.SID, Name: u.Name, Domain: a.Domain, DomainSID: u.SID.Domain(), Use: dtyp.SIDTypeUser}
}

// wellKnown is the answer for a well-known SID: those without a domain's name
// still refer to a nameless domain, the SID's authority.
func wellKnown(w *dtyp.WellKnown) lsarpc.Account {
	acct := lsarpc.Account{SID: w.SID, Name: w.Name, Domain: w.Domain, DomainSID: w.SID.Domain(), Use: w.Use}
	switch {
	case w.Use == dtyp.SIDTypeDomain:
		acct.DomainSID = w.SID
	case w.Domain == "NT AUTHORITY":
		acct.DomainSID = dtyp.NTAuthority
	}
	return acct
}
