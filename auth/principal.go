package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"gabion/protocol/dtyp"
)

// Principal is a user, a group or a computer, here or in a domain.
type Principal struct {
	SID    dtyp.SID        `json:"sid"`
	Domain string          `json:"domain,omitempty"`
	Name   string          `json:"name,omitempty"`
	Use    dtyp.SIDNameUse `json:"-"`
}

// String is DOMAIN\name, or the SID of a principal without a name.
func (p *Principal) String() string {
	switch {
	case p.Name == "":
		return p.SID.String()
	case p.Domain == "":
		return p.Name
	}
	return p.Domain + `\` + p.Name
}

// ErrNoPrincipal is returned for a name or SID that nobody knows.
var ErrNoPrincipal = errors.New("no such user or group")

// Directory looks principals up in a domain.
type Directory interface {
	// ByName finds a principal by its account name, in the domain of that NetBIOS or
	// DNS name ("" for the array's own), or by its user principal name.
	ByName(ctx context.Context, domain, name string) (Principal, error)
	BySID(ctx context.Context, sid dtyp.SID) (Principal, error)
	// Groups are the SIDs of all groups that an account belongs to, through others too.
	Groups(ctx context.Context, sid dtyp.SID) ([]dtyp.SID, error)
}

// Names resolves what administrators write.
type Names struct {
	// Server is the array's own name, the domain of its users.
	Server    string
	Users     *Users    // nil: none
	Directory Directory // nil: no domain
}

// ByName finds a principal by a SID's text, NAME, DOMAIN\NAME or NAME@REALM. What is
// written without a domain is looked for among the built-in names, the array's users
// and the domain, in this order. SIDs always work, also unknown ones.
func (n *Names) ByName(ctx context.Context, text string) (Principal, error) {
	text = strings.TrimSpace(text)
	if sid, err := dtyp.ParseSID(text); err == nil {
		return n.BySID(ctx, sid), nil
	}
	domain, name, qualified := strings.Cut(text, `\`)
	if !qualified {
		domain, name = "", text
	}
	if p, ok := wellKnown(domain, name); ok {
		return p, nil
	}
	here := domain == "" || domain == "." || strings.EqualFold(domain, n.Server)
	if here && n.Users != nil {
		if u, err := n.Users.Find(name); err == nil {
			return n.local(u), nil
		}
	}
	if n.Directory != nil && name != "" && (domain == "" || !here) {
		p, err := n.Directory.ByName(ctx, domain, name)
		if err == nil || !errors.Is(err, ErrNoPrincipal) {
			return p, err
		}
	}
	return Principal{}, fmt.Errorf("%q: %w", text, ErrNoPrincipal)
}

// BySID names a SID as well as it can; one that nobody knows has no name.
func (n *Names) BySID(ctx context.Context, sid dtyp.SID) Principal {
	for _, w := range dtyp.WellKnownSIDs {
		if w.SID == sid {
			return Principal{w.SID, w.Domain, w.Name, w.Use}
		}
	}
	if n.Users != nil {
		if u, err := n.Users.FindSID(sid); err == nil {
			return n.local(u)
		}
	}
	if n.Directory != nil {
		if p, err := n.Directory.BySID(ctx, sid); err == nil {
			return p
		}
	}
	return Principal{SID: sid, Use: dtyp.SIDTypeUnknown}
}

func (n *Names) local(u User) Principal {
	return Principal{u.SID, n.Server, u.Name, dtyp.SIDTypeUser}
}

// wellKnown finds a name that any computer knows; BUILTIN and NT AUTHORITY may be left out.
func wellKnown(domain, name string) (Principal, bool) {
	for _, w := range dtyp.WellKnownSIDs {
		if w.Use != dtyp.SIDTypeDomain && w.Use != dtyp.SIDTypeLabel && strings.EqualFold(w.Name, name) &&
			(domain == "" || strings.EqualFold(w.Domain, domain)) {
			return Principal{w.SID, w.Domain, w.Name, w.Use}, true
		}
	}
	return Principal{}, false
}

// Token is the token that a logon of a principal would get now, as far as the array and
// the directory can tell; a group's is that of somebody who is in this group alone.
func (n *Names) Token(ctx context.Context, r *Roles, p Principal) (*Token, error) {
	who := &Identity{User: p.Name, Domain: p.Domain, SID: p.SID, roles: r}
	if n.Users != nil {
		if u, err := n.Users.FindSID(p.SID); err == nil {
			who.Groups, who.Mechanism = u.groupSIDs(), "NTLM"
			return who.Token(), nil
		}
	}
	if n.Directory != nil && (p.Use == dtyp.SIDTypeUser || p.Use == dtyp.SIDTypeComputer) {
		groups, err := n.Directory.Groups(ctx, p.SID)
		if err != nil {
			return nil, err
		}
		who.Groups = groups
		who.joinAdministrators()
	}
	return who.Token(), nil
}
