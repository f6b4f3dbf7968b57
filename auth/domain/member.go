package domain

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"gabion/auth/kerberos"
	"gabion/protocol/krb5"
)

// Member is the array's account.
type Member struct {
	Keytab *kerberos.Keytab
	// Realm is the domain's name; "" takes the key table's.
	Realm string
	// Config is a krb5.conf; "" takes KRB5_CONFIG's or /etc/krb5.conf if it knows
	// the realm, else finds the domain's controllers in the DNS.
	Config string
}

// account finds the account in the key table: the computer's own name, else the first
// that is a user's, with its newest keys.
func (m *Member) account() (realm string, name krb5.Principal, keys []krb5.KeytabEntry, err error) {
	entries := m.Keytab.Entries()
	rank := func(e *krb5.KeytabEntry) int {
		switch {
		case m.Realm != "" && !strings.EqualFold(m.Realm, e.Realm):
			return 0
		case len(e.Principal.Name) != 1:
			return 1
		case !strings.HasSuffix(e.Principal.Name[0], "$"):
			return 2
		}
		return 3
	}
	best := slices.MaxFunc(entries, func(a, b krb5.KeytabEntry) int { return rank(&a) - rank(&b) })
	if rank(&best) == 0 {
		return "", name, nil, fmt.Errorf("%s has no key of realm %s", m.Keytab.Path(), m.Realm)
	}
	newest := uint32(0)
	for _, e := range entries {
		if e.Principal.EqualFold(best.Principal) && e.Realm == best.Realm {
			newest = max(newest, e.KVNO)
		}
	}
	for _, e := range entries {
		if e.Principal.EqualFold(best.Principal) && e.Realm == best.Realm && e.KVNO == newest {
			keys = append(keys, e)
		}
	}
	return best.Realm, best.Principal, keys, nil
}

// configuration tells gokrb5 where the realm's controllers are.
func (m *Member) configuration(realm string) (*config.Config, error) {
	path, explicit := m.Config, m.Config != ""
	if path == "" {
		path = os.Getenv("KRB5_CONFIG")
		explicit = path != ""
	}
	if path == "" {
		path = "/etc/krb5.conf"
	}
	c, err := config.Load(path)
	var unsupported config.UnsupportedDirective
	if err != nil && !errors.As(err, &unsupported) {
		if explicit {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		c = config.New()
	}
	known := slices.ContainsFunc(c.Realms, func(r config.Realm) bool { return r.Realm == realm && len(r.KDC) > 0 })
	c.LibDefaults.DefaultRealm = realm
	c.LibDefaults.DNSLookupKDC = !known
	c.LibDefaults.UDPPreferenceLimit = 1 // always TCP: PACs do not fit into a datagram
	c.LibDefaults.DefaultTktEnctypeIDs = []int32{kerberos.AES256, kerberos.AES128, kerberos.RC4}
	c.LibDefaults.DefaultTGSEnctypeIDs = c.LibDefaults.DefaultTktEnctypeIDs
	c.LibDefaults.PermittedEnctypeIDs = c.LibDefaults.DefaultTktEnctypeIDs
	return c, nil
}

// session is the account with what it takes to log on.
type session struct {
	realm string
	name  krb5.Principal
	keys  []krb5.KeytabEntry
	conf  *config.Config
	*client.Client
}

// open prepares a logon; it talks to nobody yet.
func (m *Member) open() (*session, error) {
	realm, name, keys, err := m.account()
	if err != nil {
		return nil, err
	}
	conf, err := m.configuration(realm)
	if err != nil {
		return nil, err
	}
	kt := keytab.New()
	if err := kt.Unmarshal(krb5.EncodeKeytab(keys)); err != nil {
		return nil, err
	}
	c := client.NewWithKeytab(name.String(), realm, kt, conf, client.DisablePAFXFAST(true))
	return &session{realm, name, keys, conf, c}, nil
}

// controllers are the addresses of the realm's KDCs.
func (s *session) controllers() ([]string, error) {
	_, kdcs, err := s.conf.GetKDCs(s.realm, true)
	if err != nil {
		return nil, err
	}
	var list []string
	for i := range len(kdcs) {
		list = append(list, kdcs[i+1])
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("neither krb5.conf nor the DNS (_kerberos._tcp.%s) names one", strings.ToLower(s.realm))
	}
	return list, nil
}

const dialTimeout = 5 * time.Second

// kdcTime asks a controller what time it is there: it is told so in the answer
// to a request that it refuses.
func (s *session) kdcTime(addr string) (time.Time, error) {
	cname := types.NewPrincipalName(krb5.NamePrincipal, s.name.String())
	req, err := messages.NewASReqForTGT(s.realm, s.conf, cname)
	if err != nil {
		return time.Time{}, err
	}
	b, err := req.Marshal()
	if err != nil {
		return time.Time{}, err
	}
	c, err := net.DialTimeout("tcp", addr, dialTimeout)
	if err != nil {
		return time.Time{}, err
	}
	defer c.Close()
	answer, err := exchange(c, b)
	if err != nil {
		return time.Time{}, err
	}
	e, err := krb5.DecodeError(answer)
	if err != nil {
		return time.Time{}, nil // an account that needs no preauthentication gets a ticket
	}
	return e.Time.Add(time.Duration(e.Microsec) * time.Microsecond), nil
}

// ticket gets a ticket for a service, in this project's types.
func (s *session) ticket(spn string) (krb5.Ticket, krb5.Key, error) {
	t, key, err := s.GetServiceTicket(spn)
	if err != nil {
		return krb5.Ticket{}, krb5.Key{}, err
	}
	b, err := t.Marshal()
	if err != nil {
		return krb5.Ticket{}, krb5.Key{}, err
	}
	ticket, err := krb5.DecodeTicket(b)
	return ticket, krb5.Key{EType: key.KeyType, Value: key.KeyValue}, err
}

// initiator is the array's end of a context by a ticket of its own.
func (s *session) initiator(t krb5.Ticket, key krb5.Key) *kerberos.Initiator {
	name := s.name
	name.Type = krb5.NamePrincipal
	return &kerberos.Initiator{Ticket: t, Session: key, Client: name, Realm: s.realm}
}
