package kerberos

import (
	"crypto/subtle"
	"strings"
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/krb5"
	"gabion/protocol/pac"
)

// Who is what a verified PAC says about a client.
type Who struct {
	Account, Domain string // sAMAccountName and NetBIOS name of its domain
	UPN             string
	SID             dtyp.SID
	Groups          []pac.Group // enabled ones only
	// Dropped are SIDs in the PAC that no domain can give on this server.
	Dropped []dtyp.SID
	// Delegated names the services that act for the client, the first to act first;
	// empty when it came itself.
	Delegated []string
}

// identify verifies the ticket's PAC and takes the client's identity from it.
func (a *Acceptor) identify(c *Context, t *krb5.EncTicketPart, key krb5.Key) error {
	raw, there, err := findPAC(t.AuthData)
	if err != nil {
		return refuse(krb5.ErrModified, "%v", err)
	}
	if !there {
		return refuse(krb5.ErrGeneric, "the ticket of %s has no PAC, so nobody vouches for who that is; tickets of other realms than Active "+
			"Directory's are not accepted, and the account must not have NO_AUTH_DATA_REQUIRED set", c.Name())
	}
	p, err := pac.Decode(raw)
	if err != nil {
		return refuse(krb5.ErrModified, "%v", err)
	}
	if err := verifyPAC(p, key); err != nil {
		return err
	}
	// [MS-PAC] 2.7: the PAC is this ticket's.
	if p.Client.AuthTime.Time().Unix() != t.AuthTime.Unix() || !sameClient(p.Client.Name, t) {
		return refuse(krb5.ErrModified, "the PAC is of %s, authenticated at %v, the ticket of %s, authenticated at %v",
			p.Client.Name, p.Client.AuthTime.Time().Truncate(time.Second), c.Name(), t.AuthTime)
	}
	return a.fill(c, p)
}

// findPAC returns the first AD-WIN2K-PAC inside any AD-IF-RELEVANT
// (RFC 4120 5.2.6.1, [MS-KILE] 3.4.5.3).
func findPAC(list []krb5.AuthData) (raw []byte, there bool, err error) {
	for _, outer := range list {
		if outer.Type != krb5.ADIfRelevant {
			continue
		}
		inner, err := krb5.DecodeAuthData(outer.Data)
		if err != nil {
			return nil, false, err
		}
		for _, ad := range inner {
			if ad.Type == krb5.ADWin2kPAC {
				return ad.Data, true, nil
			}
		}
	}
	return nil, false, nil
}

// verifyPAC checks the server signature with the key the ticket was encrypted
// with ([MS-PAC] 2.8.4).
func verifyPAC(p *pac.PAC, key krb5.Key) error {
	s, err := suiteOf(key)
	if err != nil {
		return refuse(krb5.ErrModified, "%v", err)
	}
	if p.Server.Kind != s.checksum {
		return refuse(krb5.ErrModified, "the PAC is signed by checksum type %d, which is not that of a %s key", p.Server.Kind, s.name)
	}
	sum, err := s.GetChecksumHash(key.Value, p.Signed(), usagePAC)
	if err != nil || subtle.ConstantTimeCompare(sum, p.Server.Value) != 1 {
		return refuse(krb5.ErrModified, "the PAC's server signature is wrong: it was altered on its way")
	}
	return nil
}

// sameClient compares the PAC's name with the ticket's. Tickets obtained by S4U may
// carry the realm in the name.
func sameClient(name string, t *krb5.EncTicketPart) bool {
	plain := t.Client.String()
	return strings.EqualFold(name, plain) || strings.EqualFold(name, plain+"@"+t.Realm)
}

func (a *Acceptor) fill(c *Context, p *pac.PAC) error {
	l := &p.Logon
	w := Who{Account: l.Account, Domain: l.DomainName, SID: l.User()}
	if w.Account == "" {
		w.Account = c.Client.String()
	}
	if w.Domain == "" {
		w.Domain = c.Realm
	}
	if p.UPN != nil {
		w.UPN = p.UPN.UPN
	}
	if !a.foreign(w.SID) {
		return refuse(krb5.ErrModified, "the PAC says that %s is %v, which no domain can give", c.Name(), w.SID)
	}
	for _, g := range l.Memberships() {
		switch {
		case !a.foreign(g.SID):
			w.Dropped = append(w.Dropped, g.SID)
		case g.Attributes&pac.GroupEnabled != 0:
			w.Groups = append(w.Groups, g)
		}
	}
	if p.Delegation != nil {
		w.Delegated = p.Delegation.Transited
		if len(w.Delegated) == 0 {
			w.Delegated = []string{p.Delegation.Target}
		}
	}
	c.Who = w
	return nil
}

// foreign reports whether a SID is one that a domain controller may give: an account
// or group of a domain that is not this server, or a statement about the logon.
// BUILTIN's groups, SYSTEM and the like are this server's to give ([MS-PAC]
// 4.1.2.2, the member's boundary).
func (a *Acceptor) foreign(s dtyp.SID) bool {
	switch {
	case s.Count() == 0:
		return false
	case s.Authority() == 18, s.Authority() == 12: // asserted identity; cloud accounts
		return true
	case s.Authority() != dtyp.NTAuthorityIdentifier:
		return false
	case s.Sub(0) == 21:
		return s.Count() > 4 && (a.Machine.IsZero() || s.Domain() != a.Machine)
	}
	return s == dtyp.ThisOrganization || s == dtyp.OtherOrganization || s == organizationCertificate || s == dtyp.EnterpriseDCs
}

// organizationCertificate is THIS_ORGANIZATION_CERTIFICATE ([MS-DTYP] 2.4.2.4).
var organizationCertificate = dtyp.MakeSID(5, 65, 1)
