package auth

import "gabion/protocol/dtyp"

// Token is the identity's token: its groups, those that every session of its
// kind is in ([MS-DTYP] 2.4.2.4), and what its roles on the array give it.
func (i *Identity) Token() *Token {
	t := &Token{Domain: i.Domain, Name: i.User, User: i.SID, Guest: i.Guest, Anonymous: i.Anonymous}
	join := func(sids ...dtyp.SID) {
		for _, sid := range sids {
			t.Groups = append(t.Groups, Group{sid, GroupDefault})
		}
	}
	join(i.Groups...)
	join(dtyp.Everyone, dtyp.Network)
	t.Privileges = PrivilegeSet(SeChangeNotify) // what everyone has
	if i.Anonymous {
		return t
	}
	join(dtyp.AuthenticatedUsers)
	if !i.Guest {
		join(dtyp.BuiltinUsers)
	}
	if i.Mechanism == "NTLM" {
		join(dtyp.NTLMAuthentication)
	}
	return i.roles.At(t, Array)
}

// IsAdministrator reports membership in the array's administrators.
func (t *Token) IsAdministrator() bool { return t.Is(dtyp.BuiltinAdministrators) }
