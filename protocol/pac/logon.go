package pac

import (
	"gabion/protocol/dcerpc"
	"gabion/protocol/dtyp"
)

// UserFlags of KERB_VALIDATION_INFO ([MS-PAC] 2.5) that matter to a server.
const (
	UserExtraSIDs      = 0x20
	UserResourceGroups = 0x200
)

// Attributes of a group ([MS-PAC] 2.2.1). Others are to be ignored.
const (
	GroupMandatory        = 0x00000001
	GroupEnabledByDefault = 0x00000002
	GroupEnabled          = 0x00000004
	GroupOwner            = 0x00000008
	GroupResource         = 0x20000000
	groupAttributes       = GroupMandatory | GroupEnabledByDefault | GroupEnabled | GroupOwner | GroupResource
)

// Membership is GROUP_MEMBERSHIP ([MS-PAC] 2.2.2): a group of the domain the
// context names.
type Membership struct{ RID, Attributes uint32 }

// Group is KERB_SID_AND_ATTRIBUTES ([MS-PAC] 2.2.1).
type Group struct {
	SID        dtyp.SID
	Attributes uint32
}

// LogonInfo is KERB_VALIDATION_INFO ([MS-PAC] 2.5) without what concerns
// passwords and home directories.
type LogonInfo struct {
	LogonTime, LogoffTime, KickOffTime dtyp.Filetime

	Account, FullName       string
	LogonServer, DomainName string
	Domain                  dtyp.SID // LogonDomainId, of UserID and Groups
	UserID, PrimaryGroup    uint32
	Groups                  []Membership
	UserFlags               uint32
	UserAccountControl      uint32
	ExtraSIDs               []Group
	ResourceDomain          dtyp.SID
	ResourceGroups          []Membership
}

// serialized checks the headers of type serialization version 1
// ([MS-RPCE] 2.2.6) and the pointer to the structure, and returns a reader of it.
func serialized(b []byte) (*dcerpc.Reader, error) {
	r := dcerpc.NewReader(b)
	version, order, length := r.Uint8(), r.Uint8(), r.Uint16()
	r.Skip(4)
	size := r.Uint32()
	r.Skip(4)
	top := r.Pointer()
	if r.Err() != nil || version != 1 || order != 0x10 || length != 8 || !top || int64(size) > int64(len(b)-16) {
		return nil, malformed("serialization headers of %d bytes", len(b))
	}
	return r, nil
}

// pointees reads what a structure's pointers lead to, in the structure's order.
type pointees struct {
	r    *dcerpc.Reader
	todo []func(*dcerpc.Reader)
}

func (p *pointees) add(f func(*dcerpc.Reader)) { p.todo = append(p.todo, f) }

func (p *pointees) read() {
	for _, f := range p.todo {
		f(p.r)
	}
}

func (p *pointees) filetime() dtyp.Filetime {
	low := p.r.Uint32()
	return dtyp.Filetime(low) | dtyp.Filetime(p.r.Uint32())<<32
}

// text reads an RPC_UNICODE_STRING.
func (p *pointees) text(to *string) {
	length, maximum := p.r.Uint16(), p.r.Uint16()
	if length%2 != 0 || length > maximum {
		p.r.Fail("string of %d bytes in %d", length, maximum)
	}
	if p.r.Pointer() {
		p.add(func(r *dcerpc.Reader) { *to = r.String() })
	}
}

func (p *pointees) sid(to *dtyp.SID) {
	if p.r.Pointer() {
		p.add(func(r *dcerpc.Reader) { *to = readSID(r) })
	}
}

// readSID reads an RPC_SID: a SID with its count in front.
func readSID(r *dcerpc.Reader) dtyp.SID {
	n := r.Count(4)
	head := r.Bytes(8)
	if r.Err() != nil || int(head[1]) != n || n > dtyp.MaxSubAuthorities {
		r.Fail("SID of %d sub-authorities", n)
		return dtyp.SID{}
	}
	sid, _, err := dtyp.DecodeSID(append(head, r.Bytes(4*n)...))
	if err != nil {
		r.Fail("%v", err)
	}
	return sid
}

// elements reads the count in front of an array; it must be the structure's.
func elements(r *dcerpc.Reader, count uint32, size int) int {
	n := r.Count(size)
	if r.Err() == nil && uint32(n) != count {
		r.Fail("array of %d elements, not %d", n, count)
		return 0
	}
	return n
}

// memberships reads count and pointer of an array of GROUP_MEMBERSHIP.
func (p *pointees) memberships(to *[]Membership) {
	count := p.r.Uint32()
	if !p.r.Pointer() {
		if count != 0 {
			p.r.Fail("%d groups nowhere", count)
		}
		return
	}
	p.add(func(r *dcerpc.Reader) {
		n := elements(r, count, 8)
		if n == 0 {
			return
		}
		*to = make([]Membership, n)
		for i := range *to {
			(*to)[i] = Membership{r.Uint32(), r.Uint32() & groupAttributes}
		}
	})
}

// groups reads count and pointer of an array of KERB_SID_AND_ATTRIBUTES.
func (p *pointees) groups(to *[]Group) {
	count := p.r.Uint32()
	if !p.r.Pointer() {
		if count != 0 {
			p.r.Fail("%d SIDs nowhere", count)
		}
		return
	}
	p.add(func(r *dcerpc.Reader) {
		n := elements(r, count, 8)
		if n == 0 {
			return
		}
		list, there := make([]Group, n), make([]bool, n)
		for i := range list {
			there[i] = r.Pointer()
			list[i].Attributes = r.Uint32() & groupAttributes
		}
		for i := range list {
			if there[i] {
				list[i].SID = readSID(r)
			}
		}
		*to = list
	})
}

func decodeLogonInfo(b []byte) (l LogonInfo, err error) {
	r, err := serialized(b)
	if err != nil {
		return l, err
	}
	p := pointees{r: r}
	l.LogonTime, l.LogoffTime, l.KickOffTime = p.filetime(), p.filetime(), p.filetime()
	r.Skip(3 * 8) // PasswordLastSet, PasswordCanChange, PasswordMustChange
	p.text(&l.Account)
	p.text(&l.FullName)
	var unused string
	for range 4 { // LogonScript, ProfilePath, HomeDirectory, HomeDirectoryDrive
		p.text(&unused)
	}
	r.Skip(4) // LogonCount, BadPasswordCount
	l.UserID, l.PrimaryGroup = r.Uint32(), r.Uint32()
	p.memberships(&l.Groups)
	l.UserFlags = r.Uint32()
	r.Skip(16) // UserSessionKey
	p.text(&l.LogonServer)
	p.text(&l.DomainName)
	p.sid(&l.Domain)
	r.Skip(8) // Reserved1
	l.UserAccountControl = r.Uint32()
	r.Skip(4 + 8 + 8 + 4 + 4) // SubAuthStatus, LastSuccessfulILogon, LastFailedILogon, FailedILogonCount, Reserved3
	p.groups(&l.ExtraSIDs)
	p.sid(&l.ResourceDomain)
	p.memberships(&l.ResourceGroups)
	p.read()
	if err := r.Err(); err != nil {
		return l, malformed("logon information: %v", err)
	}
	return l, l.check()
}

// check makes sure that SIDs can be put together.
func (l *LogonInfo) check() error {
	for _, d := range []dtyp.SID{l.Domain, l.ResourceDomain} {
		if d.Count() >= dtyp.MaxSubAuthorities {
			return malformed("domain %v has no room for accounts", d)
		}
	}
	if l.Domain.IsZero() && (l.UserID != 0 || len(l.Groups) > 0) || l.ResourceDomain.IsZero() && len(l.ResourceGroups) > 0 {
		return malformed("accounts of no domain")
	}
	if l.UserID == 0 && (len(l.ExtraSIDs) == 0 || l.ExtraSIDs[0].SID.IsZero()) {
		return malformed("no user")
	}
	return nil
}

// User is the account's SID: UserID in Domain, or the first of ExtraSIDs when
// UserID is 0.
func (l *LogonInfo) User() dtyp.SID {
	if l.UserID == 0 {
		return l.ExtraSIDs[0].SID
	}
	return l.Domain.WithRID(l.UserID)
}

// Memberships is the user's groups ([MS-KILE] 3.4.5.3), the primary one first, each
// once, with the attributes that MS-PAC defines.
func (l *LogonInfo) Memberships() []Group {
	list := make([]Group, 0, 1+len(l.Groups)+len(l.ExtraSIDs)+len(l.ResourceGroups))
	seen := map[dtyp.SID]bool{l.User(): true}
	add := func(g Group) {
		if !g.SID.IsZero() && !seen[g.SID] {
			seen[g.SID] = true
			list = append(list, g)
		}
	}
	if !l.Domain.IsZero() {
		add(Group{l.Domain.WithRID(l.PrimaryGroup), GroupMandatory | GroupEnabledByDefault | GroupEnabled})
	}
	for _, m := range l.Groups {
		add(Group{l.Domain.WithRID(m.RID), m.Attributes})
	}
	if l.UserFlags&UserExtraSIDs != 0 {
		for _, g := range l.ExtraSIDs {
			add(g)
		}
	}
	if l.UserFlags&UserResourceGroups != 0 {
		for _, m := range l.ResourceGroups {
			add(Group{l.ResourceDomain.WithRID(m.RID), m.Attributes | GroupResource})
		}
	}
	return list
}

// Delegation is S4U_DELEGATION_INFO ([MS-PAC] 2.9): the ticket was obtained by
// services on behalf of its client.
type Delegation struct {
	Target    string   // S4U2proxyTarget
	Transited []string // S4UTransitedServices, in the order they acted
}

func decodeDelegation(b []byte) (*Delegation, error) {
	r, err := serialized(b)
	if err != nil {
		return nil, err
	}
	d := &Delegation{}
	p := pointees{r: r}
	p.text(&d.Target)
	count := r.Uint32()
	if r.Pointer() {
		p.add(func(r *dcerpc.Reader) {
			inner := pointees{r: r}
			d.Transited = make([]string, elements(r, count, 8))
			for i := range d.Transited {
				inner.text(&d.Transited[i])
			}
			inner.read()
		})
	}
	p.read()
	if err := r.Err(); err != nil {
		return nil, malformed("delegation information: %v", err)
	}
	return d, nil
}
