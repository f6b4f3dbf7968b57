package auth

import (
	"slices"
	"time"

	"gabion/protocol/dtyp"
)

// Identity is what a completed, verified authentication says about a client.
type Identity struct {
	User, Domain string // account name as stored, and who vouches for it
	SID          dtyp.SID
	Groups       []dtyp.SID // beyond those that every session of its kind has
	Anonymous    bool
	Guest        bool
	SessionKey   []byte    // 16 bytes with NTLM; none for anonymous
	Expires      time.Time // zero: never
	Mechanism    string    // "NTLM", "Kerberos"
	UPN          string    // user principal name, "" if it has none
	// Delegated names the services that act for the user, the first to act first.
	Delegated []string

	roles *Roles // nil: the default grants
}

// Name is DOMAIN\user.
func (i *Identity) Name() string {
	if i.Anonymous {
		return "anonymous"
	}
	return i.Domain + `\` + i.User
}

// in reports whether the identity is a member of a group.
func (i *Identity) in(group dtyp.SID) bool { return slices.Contains(i.Groups, group) }
