package domain

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"
	"golang.org/x/sync/singleflight"

	"gabion/auth"
	"gabion/protocol/dtyp"
)

// Directory looks up principals of the member's domain. Answers are remembered for a
// while. It is safe for concurrent use.
type Directory struct {
	member *Member
	dial   singleflight.Group

	mu    sync.Mutex // guards all below; never held while a controller is asked
	conn  *connection
	cache map[string]answer
}

var _ auth.Directory = (*Directory)(nil)

type answer struct {
	p     auth.Principal
	err   error
	until time.Time
}

const (
	cacheFor      = 10 * time.Minute
	cacheUnknown  = time.Minute
	cacheLimit    = 4096
	lookupTimeout = 10 * time.Second
)

// NewDirectory returns the directory of a member's domain. It connects when it is
// first asked.
func NewDirectory(m *Member) *Directory {
	return &Directory{member: m, cache: map[string]answer{}}
}

// connection is a bound connection to one controller.
type connection struct {
	*ldap.Conn
	base    string // of the domain
	netbios string // the domain's short name
	dns     string // and its long one
}

// Close ends the connection to the controller.
func (d *Directory) Close() {
	d.mu.Lock()
	c := d.conn
	d.conn = nil
	d.mu.Unlock()
	if c != nil {
		_ = c.Close()
	}
}

// connect returns a usable connection.
func (d *Directory) connect() (*connection, error) {
	d.mu.Lock()
	c := d.conn
	d.mu.Unlock()
	if c != nil && !c.IsClosing() {
		return c, nil
	}
	v, err, _ := d.dial.Do("", func() (any, error) {
		c, err := d.member.bind()
		if err != nil {
			return nil, err
		}
		d.mu.Lock()
		d.conn = c
		d.mu.Unlock()
		return c, nil
	})
	if err != nil {
		return nil, fmt.Errorf("asking the domain: %w", err)
	}
	return v.(*connection), nil
}

// bind connects to the first controller that answers.
func (m *Member) bind() (*connection, error) {
	s, err := m.open()
	if err != nil {
		return nil, err
	}
	if err := s.Login(); err != nil {
		return nil, fmt.Errorf("%s cannot log on: %s", s.name, cause(err, ""))
	}
	// Only the first ticket is needed; its renewal would go on for ever.
	defer s.Destroy()
	list, err := s.controllers()
	if err != nil {
		return nil, err
	}
	var problems []error
	for _, addr := range list {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			host = addr
		}
		c, err := s.bind(net.JoinHostPort(host, "389"))
		if err == nil {
			return c, nil
		}
		problems = append(problems, fmt.Errorf("%s: %w", host, err))
	}
	return nil, errors.Join(problems...)
}

func (s *session) bind(addr string) (_ *connection, err error) {
	raw, err := net.DialTimeout("tcp", addr, dialTimeout)
	if err != nil {
		return nil, err
	}
	b := &bindClient{}
	wire := &sealedConn{Conn: raw, bind: b}
	c := ldap.NewConn(wire, false)
	c.SetTimeout(lookupTimeout)
	c.Start()
	defer func() {
		if err != nil {
			_ = c.Close()
		}
	}()
	root, err := find(c, "", ldap.ScopeBaseObject, "(objectClass=*)", "dnsHostName", "defaultNamingContext", "configurationNamingContext")
	if err != nil {
		return nil, err
	}
	base := root.GetAttributeValue("defaultNamingContext")
	// Nobody vouches for that answer yet. This name is one that only controllers
	// have, so that no other computer of the domain can stand in for one.
	spn := fmt.Sprintf("ldap/%s/%s", root.GetAttributeValue("dnsHostName"), strings.ToLower(s.realm))
	ticket, key, err := s.ticket(spn)
	if err != nil {
		return nil, fmt.Errorf("no ticket for %s: %s", spn, cause(err, spn))
	}
	b.i = s.initiator(ticket, key)
	if err := c.GSSAPIBind(b, spn, ""); err != nil {
		return nil, err
	}
	wire.start()
	out := &connection{Conn: c, base: base, dns: s.realm, netbios: s.realm}
	partition, err := find(c, "CN=Partitions,"+root.GetAttributeValue("configurationNamingContext"), ldap.ScopeSingleLevel,
		"(&(objectClass=crossRef)(nCName="+ldap.EscapeFilter(base)+"))", "nETBIOSName")
	if err == nil {
		out.netbios = partition.GetAttributeValue("nETBIOSName")
	}
	return out, err
}

// find returns the one entry that a search gives.
func find(c *ldap.Conn, base string, scope int, filter string, attributes ...string) (*ldap.Entry, error) {
	r, err := c.Search(ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 2, int(lookupTimeout/time.Second), false, filter, attributes, nil))
	switch {
	case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject), err == nil && len(r.Entries) == 0:
		return nil, auth.ErrNoPrincipal
	case err != nil:
		return nil, err
	case len(r.Entries) > 1:
		return nil, errors.New("the name is not unique in the domain")
	}
	return r.Entries[0], nil
}

// ask answers from the cache, or asks the domain; a broken connection is tried once more.
func (d *Directory) ask(ctx context.Context, key string, ask func(*connection) (auth.Principal, error)) (auth.Principal, error) {
	d.mu.Lock()
	a, known := d.cache[key]
	d.mu.Unlock()
	if known && time.Now().Before(a.until) {
		return a.p, a.err
	}
	for try := 0; ; try++ {
		if err := ctx.Err(); err != nil {
			return auth.Principal{}, err
		}
		c, err := d.connect()
		if err != nil {
			return auth.Principal{}, err
		}
		p, err := ask(c)
		if err == nil || errors.Is(err, auth.ErrNoPrincipal) {
			d.remember(key, p, err)
			return p, err
		}
		if try > 0 || !c.IsClosing() && !ldap.IsErrorWithCode(err, ldap.ErrorNetwork) {
			return p, err
		}
		d.drop(c)
	}
}

func (d *Directory) drop(c *connection) {
	d.mu.Lock()
	if d.conn == c {
		d.conn = nil
	}
	d.mu.Unlock()
	_ = c.Close()
}

func (d *Directory) remember(key string, p auth.Principal, err error) {
	now := time.Now()
	a := answer{p, err, now.Add(cacheFor)}
	if err != nil {
		a.until = now.Add(cacheUnknown)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.cache) >= cacheLimit {
		clear(d.cache)
	}
	d.cache[key] = a
}

var principalAttributes = []string{"objectSid", "sAMAccountName", "sAMAccountType"}

// ByName finds a principal of the domain.
func (d *Directory) ByName(ctx context.Context, domain, name string) (auth.Principal, error) {
	key := "n" + strings.ToUpper(domain) + `\` + strings.ToUpper(name)
	return d.ask(ctx, key, func(c *connection) (auth.Principal, error) {
		if domain != "" && !strings.EqualFold(domain, c.netbios) && !strings.EqualFold(domain, c.dns) {
			return auth.Principal{}, fmt.Errorf("%s is not the array's domain, write the SID instead: %w", domain, auth.ErrNoPrincipal)
		}
		e := ldap.EscapeFilter(name)
		filter := "(sAMAccountName=" + e + ")"
		if user, realm, ok := strings.Cut(name, "@"); ok {
			filter = "(userPrincipalName=" + e + ")"
			if strings.EqualFold(realm, c.dns) {
				// Every account answers to its name in the domain, whatever its UPN.
				filter = "(|" + filter + "(sAMAccountName=" + ldap.EscapeFilter(user) + "))"
			}
		}
		entry, err := find(c.Conn, c.base, ldap.ScopeWholeSubtree, "(&(objectSid=*)"+filter+")", principalAttributes...)
		if err != nil {
			return auth.Principal{}, err
		}
		return c.principal(entry)
	})
}

// BySID finds a principal of the domain by its SID.
func (d *Directory) BySID(ctx context.Context, sid dtyp.SID) (auth.Principal, error) {
	return d.ask(ctx, "s"+sid.String(), func(c *connection) (auth.Principal, error) {
		entry, err := find(c.Conn, c.base, ldap.ScopeWholeSubtree, "(objectSid="+binaryFilter(sid)+")", principalAttributes...)
		if err != nil {
			return auth.Principal{}, err
		}
		return c.principal(entry)
	})
}

// binaryFilter is a SID's bytes in a filter.
func binaryFilter(sid dtyp.SID) string {
	var b strings.Builder
	for _, c := range sid.Append(nil) {
		b.WriteString(`\`)
		b.WriteString(hex.EncodeToString([]byte{c}))
	}
	return b.String()
}

// Kinds of accounts (sAMAccountType, [MS-ADTS] 6.1.6.8.4).
const (
	accountGroup   = 0x10000000
	accountAlias   = 0x20000000
	accountMachine = 0x30000001
)

func (c *connection) principal(e *ldap.Entry) (auth.Principal, error) {
	sid, _, err := dtyp.DecodeSID(e.GetRawAttributeValue("objectSid"))
	if err != nil {
		return auth.Principal{}, err
	}
	p := auth.Principal{SID: sid, Domain: c.netbios, Name: e.GetAttributeValue("sAMAccountName"), Use: dtyp.SIDTypeUser}
	var kind uint32
	if _, err := fmt.Sscan(e.GetAttributeValue("sAMAccountType"), &kind); err != nil {
		return p, nil
	}
	switch kind &^ 0xfffffff {
	case accountGroup:
		p.Use = dtyp.SIDTypeGroup
	case accountAlias:
		p.Use = dtyp.SIDTypeAlias
	}
	if kind == accountMachine {
		p.Use = dtyp.SIDTypeComputer
	}
	return p, nil
}

// Groups asks the domain which groups a logon of the account would name
// (tokenGroups, [MS-ADTS] 3.1.1.4.5.19).
func (d *Directory) Groups(ctx context.Context, sid dtyp.SID) ([]dtyp.SID, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c, err := d.connect()
	if err != nil {
		return nil, err
	}
	account, err := find(c.Conn, c.base, ldap.ScopeWholeSubtree, "(objectSid="+binaryFilter(sid)+")", "distinguishedName")
	if err != nil {
		return nil, err
	}
	e, err := find(c.Conn, account.DN, ldap.ScopeBaseObject, "(objectClass=*)", "tokenGroups")
	if err != nil {
		return nil, err
	}
	var groups []dtyp.SID
	for _, raw := range e.GetRawAttributeValues("tokenGroups") {
		g, _, err := dtyp.DecodeSID(raw)
		if err != nil {
			return nil, err
		}
		if g.Domain() != dtyp.Builtin { // the controller's own, not this server's
			groups = append(groups, g)
		}
	}
	return groups, nil
}
