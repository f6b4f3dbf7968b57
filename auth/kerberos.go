package auth

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"gabion/auth/kerberos"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/spnego"
)

// Refusal is the error of a logon that was refused: the status that the client
// gets, and for administrators whom it concerned and why.
type Refusal struct {
	Status    ntstatus.Status
	Mechanism string
	User      string // as claimed; nobody vouches for it
	Why       string
}

func (r *Refusal) Error() string {
	s := r.Mechanism + " logon"
	if r.User != "" {
		s += " of " + r.User
	}
	return s + " refused: " + r.Why
}

// Unwrap gives the status to errors.As.
func (r *Refusal) Unwrap() error { return r.Status }

// Kerberos authenticates the accounts of a domain by its tickets.
type Kerberos struct {
	acceptor *kerberos.Acceptor
	log      *slog.Logger
	oid      asn1.ObjectIdentifier
}

// NewKerberos returns the mechanism under both its identifiers: Windows clients
// prefer the one that Microsoft once cut short ([MS-SPNG] 1.9).
func NewKerberos(a *kerberos.Acceptor, log *slog.Logger) []Mechanism {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return []Mechanism{&Kerberos{a, log, spnego.MSKerberos}, &Kerberos{a, log, spnego.Kerberos}}
}

// OID is the one of both that this Mechanism goes by.
func (m *Kerberos) OID() asn1.ObjectIdentifier { return m.oid }

// Begin starts an exchange.
func (m *Kerberos) Begin(from netip.AddrPort) MechanismExchange {
	return &kerberosExchange{m: m, from: from, x: m.acceptor.Begin()}
}

type kerberosExchange struct {
	m    *Kerberos
	from netip.AddrPort
	x    *kerberos.Exchange
	c    *kerberos.Context
}

func (e *kerberosExchange) Step(token []byte) ([]byte, *Identity, error) {
	answer, c, err := e.x.Step(token)
	if err != nil {
		return nil, nil, kerberosRefusal(err)
	}
	if c == nil {
		if e.x.Skewed() {
			e.m.log.Info("a client's clock is too far off; it may try once more by this server's", "client", e.from.String())
		}
		return answer, nil, nil
	}
	e.c = c
	who := identityOf(c, e.m.acceptor.Now())
	if len(who.Delegated) > 0 {
		e.m.log.Info("delegated logon", "client", e.from.String(), "user", who.Name(), "service", c.Service.String(), "through", who.Delegated)
	}
	if len(c.Who.Dropped) > 0 {
		e.m.log.Debug("SIDs that no domain can give were dropped", "user", who.Name(), "dropped", c.Who.Dropped)
	}
	return answer, who, nil
}

// kerberosRefusal puts an acceptor's error into the words of the log.
func kerberosRefusal(err error) *Refusal {
	r := &Refusal{Status: ntstatus.LogonFailure, Mechanism: "Kerberos", Why: err.Error()}
	var e *kerberos.Error
	if errors.As(err, &e) {
		r.User, r.Why = e.Client, fmt.Sprintf("%s (%v)", e.Why, e.Code)
	}
	return r
}

func identityOf(c *kerberos.Context, now time.Time) *Identity {
	who := &Identity{
		User: c.Who.Account, Domain: c.Who.Domain, SID: c.Who.SID, SessionKey: c.SessionKey(), Mechanism: "Kerberos",
		Expires: expiry(c.EndTime, now), Delegated: c.Who.Delegated, UPN: c.Who.UPN,
	}
	for _, g := range c.Who.Groups {
		who.Groups = append(who.Groups, g.SID)
	}
	if strings.EqualFold(c.Realm, c.ServiceRealm) {
		who.joinAdministrators()
	}
	return who
}

// joinAdministrators makes administrators of the array's own domain the array's, as on
// any member of a domain.
func (i *Identity) joinAdministrators() {
	if i.in(i.SID.Domain().WithRID(dtyp.RIDDomainAdmins)) {
		i.Groups = append(i.Groups, dtyp.BuiltinAdministrators)
	}
}

// expiry is when a session ends: with its ticket. A ticket that has ended within
// the accepted clock skew gets as long again; a session that ends at once would have the
// client, whose clock is behind, log on for ever.
func expiry(end, now time.Time) time.Time {
	if end.After(now) {
		return end
	}
	return end.Add(kerberos.DefaultSkew)
}

func (e *kerberosExchange) Sign(message []byte) []byte { return e.c.Sign(message) }
func (e *kerberosExchange) Verify(message, signature []byte) bool {
	return e.c.Verify(message, signature)
}
