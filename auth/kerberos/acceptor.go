package kerberos

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/krb5"
)

// DefaultSkew is how far clocks may differ ([MS-KILE] 3.1.1.2, RFC 4120 1.6).
const DefaultSkew = 5 * time.Minute

// DefaultServices are the service classes a file server answers to. HOST stands for
// all services of a computer account, and a client may name the computer only
// ([MS-KILE] 3.4.5).
var DefaultServices = []string{"cifs", "host", "RestrictedKrbHost"}

// Config is what an Acceptor is told.
type Config struct {
	Keytab *Keytab
	// Realm is the one that tickets must be issued in for this server; "" accepts those
	// of every realm that the key table has keys of.
	Realm string
	// Services are the classes of the names that tickets may be for; nil means
	// DefaultServices. The account's own name is always accepted.
	Services []string
	// RC4 accepts tickets encrypted with rc4-hmac.
	RC4 bool
	// Skew is how far a client's clock may be off; 0 means DefaultSkew.
	Skew time.Duration
	// Machine is the SID that this server's own accounts begin with; no ticket may
	// claim to be one of them.
	Machine dtyp.SID
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Acceptor verifies tickets. It is safe for concurrent use.
type Acceptor struct {
	Config
	replays *replayCache
}

// NewAcceptor returns an acceptor with a replay cache of its own.
func NewAcceptor(c Config) *Acceptor {
	if c.Services == nil {
		c.Services = DefaultServices
	}
	if c.Skew == 0 {
		c.Skew = DefaultSkew
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Acceptor{Config: c, replays: newReplayCache(c.Skew)}
}

// Begin starts an exchange with one client.
func (a *Acceptor) Begin() *Exchange { return &Exchange{a: a} }

// Exchange is one authentication. It is not safe for concurrent use.
//
//	start ─AP-REQ─────────────▶ done
//	  │ └──AP-REQ, DCE style──▶ third leg ─AP-REP─▶ done
//	  └──AP-REQ, wrong clock──▶ start, once more
type Exchange struct {
	a       *Acceptor
	state   exchangeState
	retried bool
	pending *Context
}

type exchangeState uint8

const (
	stateStart exchangeState = iota
	stateThirdLeg
	stateDone
)

// errOver is returned for a token behind the end of an exchange.
var errOver = errors.New("kerberos: the exchange is over")

// Step takes a client's token and returns the answer to it, which may be empty.
// The context is not nil with the last one. An error ends the exchange; it is
// an *Error unless the exchange was over.
//
// A client whose clock is off is told this server's time and may try once more
// ([MS-KILE] 3.4.5); Skewed tells that this has happened.
func (x *Exchange) Step(token []byte) (answer []byte, c *Context, err error) {
	switch x.state {
	case stateStart:
		answer, c, err = x.start(token)
	case stateThirdLeg:
		c, err = x.thirdLeg(token)
	default:
		return nil, nil, errOver
	}
	if err != nil || c != nil {
		x.state, x.pending = stateDone, nil
	}
	return answer, c, err
}

// Skewed reports whether the client was asked to try again by this server's clock.
func (x *Exchange) Skewed() bool { return x.retried }

func (x *Exchange) start(token []byte) ([]byte, *Context, error) {
	id, body, err := krb5.DecodeToken(token)
	framed := err == nil
	if !framed {
		id, body = krb5.TokenAPReq, token // DCE style has no frame [MS-KILE] 3.4.5.1
	}
	if id != krb5.TokenAPReq {
		return nil, nil, refuse(krb5.ErrGeneric, "an AP-REQ was expected, not %v", id)
	}
	req, err := krb5.DecodeAPReq(body)
	if err != nil {
		return nil, nil, refuse(krb5.ErrGeneric, "%v", err)
	}
	c, err := x.a.accept(&req)
	var refused *Error
	if errors.As(err, &refused) {
		refused.Service = req.Ticket.Service.String() + "@" + req.Ticket.Realm
		if refused.Code == krb5.ErrSkew && framed && !x.retried {
			x.retried = true
			return x.a.skewAnswer(&req), nil, nil
		}
		return nil, nil, err
	}
	if c.Flags&krb5.FlagDCE == 0 && !framed {
		return nil, nil, refuse(krb5.ErrGeneric, "an AP-REQ without its frame is for DCE style only")
	}
	return x.reply(c)
}

// reply makes the AP-REP that the client asked for, if any.
func (x *Exchange) reply(c *Context) ([]byte, *Context, error) {
	if c.Flags&(krb5.FlagMutual|krb5.FlagDCE) == 0 {
		return nil, c, nil
	}
	rep, err := c.answer()
	if err != nil {
		return nil, nil, refuse(krb5.ErrGeneric, "making the AP-REP: %v", err)
	}
	if c.Flags&krb5.FlagDCE == 0 {
		return krb5.EncodeToken(krb5.TokenAPRep, rep), c, nil
	}
	x.state, x.pending = stateThirdLeg, c
	return rep, nil, nil
}

// thirdLeg checks the client's AP-REP of DCE style ([MS-KILE] 3.4.5.1): only who
// has the ticket's session key can send our sequence number back.
func (x *Exchange) thirdLeg(token []byte) (*Context, error) {
	c := x.pending
	rep, err := krb5.DecodeAPRep(token)
	if err != nil {
		return nil, refuse(krb5.ErrMutualFail, "third leg: %v", err)
	}
	plain, err := open(c.ticketKey, usageAPRep, rep.Enc)
	if err != nil {
		return nil, refuse(krb5.ErrMutualFail, "third leg: %v", err)
	}
	part, err := krb5.DecodeEncAPRepPart(plain)
	reflected := part.Subkey != nil && slices.Equal(part.Subkey.Value, c.key.Value)
	if err != nil || reflected || part.Sequence == nil || uint64(*part.Sequence) != c.send {
		return nil, refuse(krb5.ErrMutualFail, "third leg does not answer our second")
	}
	return c, nil
}

// skewAnswer is the KRB-ERROR that tells a client what time it is here.
func (a *Acceptor) skewAnswer(req *krb5.APReq) []byte {
	now := a.Now()
	e := krb5.Error{
		Time: now, Microsec: int32(now.Nanosecond() / 1000), Code: krb5.ErrSkew,
		Realm: req.Ticket.Realm, Service: req.Ticket.Service, Data: krb5.SkewRecovery,
	}
	return krb5.EncodeToken(krb5.TokenError, e.Encode())
}

// accept verifies an AP-REQ (RFC 4120 3.2.3). Its error is always an *Error.
func (a *Acceptor) accept(req *krb5.APReq) (*Context, error) {
	if req.Options&krb5.OptionUseSessionKey != 0 {
		return nil, refuse(krb5.ErrNoKey, "user-to-user tickets are not accepted")
	}
	if a.Realm != "" && !strings.EqualFold(a.Realm, req.Ticket.Realm) {
		return nil, refuse(krb5.ErrNotUs, "the ticket is for a service of realm %s, not of %s", req.Ticket.Realm, a.Realm)
	}
	if err := a.checkService(req.Ticket.Service); err != nil {
		return nil, err
	}
	ticket, key, err := a.openTicket(&req.Ticket)
	if err != nil {
		return nil, err
	}
	c := &Context{
		Client: ticket.Client, Realm: ticket.Realm, Service: req.Ticket.Service, ServiceRealm: req.Ticket.Realm,
		AuthTime: ticket.AuthTime, EndTime: ticket.EndTime, EType: req.Ticket.Enc.EType, ticketKey: ticket.Key,
	}
	if err = a.verify(c, req, &ticket, key); err != nil {
		var e *Error
		if errors.As(err, &e) {
			e.Client = c.Name()
		}
		return nil, err
	}
	return c, nil
}

// verify does all that needs the decrypted ticket.
func (a *Acceptor) verify(c *Context, req *krb5.APReq, ticket *krb5.EncTicketPart, key krb5.Key) error {
	now := a.Now()
	if err := a.checkTimes(now, ticket); err != nil {
		return err
	}
	auth, err := openAuthenticator(req, ticket)
	if err != nil {
		return err
	}
	if off := auth.Time.Add(time.Duration(auth.Microsec) * time.Microsecond).Sub(now); off.Abs() > a.Skew {
		return refuse(krb5.ErrSkew, "the client's clock is %v %s this server's; at most %v is accepted",
			off.Abs().Round(time.Second), beforeAfter(off), a.Skew)
	}
	switch a.replays.add(now, auth.Time, c.Name(), req.Authenticator.Cipher) {
	case replaySeen:
		return refuse(krb5.ErrRepeat, "this authenticator was used before: a replay")
	case replayOld:
		return refuse(krb5.ErrSkew, "this server's clock was set back; authenticators of %v are not accepted again", auth.Time)
	case replayFull:
		return refuse(krb5.ErrRepeat, "too many logons within the clock skew to remember them all")
	}
	if err := c.request(auth); err != nil {
		return err
	}
	return a.identify(c, ticket, key)
}

func beforeAfter(off time.Duration) string {
	if off < 0 {
		return "behind"
	}
	return "ahead of"
}

// checkService looks at the name the ticket is for. Keys are shared by all names of
// the account, so this is what refuses a ticket meant for another service on it.
func (a *Acceptor) checkService(p krb5.Principal) error {
	switch {
	case len(p.Name) >= 2:
		if slices.ContainsFunc(a.Services, func(s string) bool { return strings.EqualFold(s, p.Name[0]) }) {
			return nil
		}
	case len(p.Name) == 1:
		for _, e := range a.Keytab.Entries() {
			if p.EqualFold(e.Principal) {
				return nil
			}
		}
	}
	return refuse(krb5.ErrNotUs, "the ticket is for %s; accepted are %s", p, strings.Join(a.Services, "/…, ")+"/…")
}

// candidates are the keys that may have encrypted a ticket, the likeliest first:
// of its version, of the principal it names.
func (a *Acceptor) candidates(t *krb5.Ticket) []*krb5.KeytabEntry {
	entries := a.Keytab.Entries()
	var list []*krb5.KeytabEntry
	for i := range entries {
		if e := &entries[i]; e.Key.EType == t.Enc.EType && !slices.ContainsFunc(list, func(o *krb5.KeytabEntry) bool {
			return slices.Equal(o.Key.Value, e.Key.Value) && o.KVNO == e.KVNO
		}) {
			list = append(list, e)
		}
	}
	rank := func(e *krb5.KeytabEntry) int {
		n := 0
		if t.Enc.HasKVNO && !e.HasKVNO(t.Enc.KVNO) {
			n += 2
		}
		if !e.Principal.EqualFold(t.Service) || !strings.EqualFold(e.Realm, t.Realm) {
			n++
		}
		return n
	}
	slices.SortStableFunc(list, func(x, y *krb5.KeytabEntry) int { return rank(x) - rank(y) })
	return list[:min(len(list), maxCandidates)]
}

// maxCandidates bounds the keys that one ticket is tried with.
const maxCandidates = 16

// openTicket finds the key and decrypts, looking for a newer key table before it
// gives up ([MS-KILE] 3.4.5: older keys are tried too).
func (a *Acceptor) openTicket(t *krb5.Ticket) (krb5.EncTicketPart, krb5.Key, error) {
	if s := suites[t.Enc.EType]; s == nil || t.Enc.EType == RC4 && !a.RC4 {
		return krb5.EncTicketPart{}, krb5.Key{}, refuse(krb5.ErrNoKey, "the ticket is encrypted with %s, which is not accepted here",
			etypeName(t.Enc.EType))
	}
	plain, key, ok := tryKeys(a.candidates(t), t)
	if !ok && a.Keytab.Refresh() {
		plain, key, ok = tryKeys(a.candidates(t), t)
	}
	if !ok {
		return krb5.EncTicketPart{}, key, a.noKey(t)
	}
	part, err := krb5.DecodeEncTicketPart(plain)
	if err != nil {
		return part, key, refuse(krb5.ErrModified, "%v", err)
	}
	if _, err := suiteOf(part.Key); err != nil || part.Key.EType == RC4 && !a.RC4 {
		return part, key, refuse(krb5.ErrNoKey, "the session key is of %s, which is not accepted here", etypeName(part.Key.EType))
	}
	return part, key, nil
}

func tryKeys(list []*krb5.KeytabEntry, t *krb5.Ticket) ([]byte, krb5.Key, bool) {
	for _, e := range list {
		if plain, err := open(e.Key, usageTicket, t.Enc); err == nil {
			return plain, e.Key, true
		}
	}
	return nil, krb5.Key{}, false
}

// noKey tells why no key fits.
func (a *Acceptor) noKey(t *krb5.Ticket) *Error {
	list := a.candidates(t)
	if len(list) == 0 {
		return refuse(krb5.ErrNoKey, "the key table %s has no %s key; the ticket for %s is encrypted with one",
			a.Keytab.Path(), etypeName(t.Enc.EType), t.Service)
	}
	var versions []string
	known := !t.Enc.HasKVNO
	for _, e := range list {
		known = known || e.HasKVNO(t.Enc.KVNO)
		if v := fmt.Sprint(e.KVNO); !slices.Contains(versions, v) {
			versions = append(versions, v)
		}
	}
	if !known {
		return refuse(krb5.ErrBadKeyVersion, "the ticket is encrypted with key version %d, the key table %s has %s: the account's password "+
			"was changed after the key table was made, or the client holds a ticket from before (klist purge)",
			t.Enc.KVNO, a.Keytab.Path(), strings.Join(versions, ", "))
	}
	return refuse(krb5.ErrModified, "the ticket for %s cannot be decrypted with the %s key in %s: it is damaged, or the key table was made "+
		"for another account or password", t.Service, etypeName(t.Enc.EType), a.Keytab.Path())
}

// checkTimes is RFC 4120 3.2.3's check of the ticket's times.
func (a *Acceptor) checkTimes(now time.Time, t *krb5.EncTicketPart) error {
	start := t.StartTime
	if start.IsZero() {
		start = t.AuthTime
	}
	switch {
	case t.Flags&krb5.TicketInvalid != 0 || start.After(now.Add(a.Skew)):
		return refuse(krb5.ErrNotYetValid, "the ticket is not valid before %v; it is %v here", start, now.UTC().Truncate(time.Second))
	case t.EndTime.Before(now.Add(-a.Skew)):
		return refuse(krb5.ErrTicketExpired, "the ticket expired at %v; it is %v here", t.EndTime, now.UTC().Truncate(time.Second))
	}
	return nil
}

// openAuthenticator decrypts it and compares whom it speaks for.
func openAuthenticator(req *krb5.APReq, t *krb5.EncTicketPart) (*krb5.Authenticator, error) {
	plain, err := open(t.Key, usageAuthenticator, req.Authenticator)
	if err != nil {
		return nil, refuse(krb5.ErrModified, "the authenticator was not made by the ticket's owner: %v", err)
	}
	auth, err := krb5.DecodeAuthenticator(plain)
	if err != nil {
		return nil, refuse(krb5.ErrModified, "%v", err)
	}
	if !auth.Client.EqualFold(t.Client) || !strings.EqualFold(auth.Realm, t.Realm) {
		return nil, refuse(krb5.ErrBadMatch, "the authenticator is of %s@%s, the ticket of %s@%s", auth.Client, auth.Realm, t.Client, t.Realm)
	}
	return &auth, nil
}

// request takes over what the client asks of the context (RFC 4121 4.1.1). Without
// a checksum it asks for nothing ([MS-KILE] 3.4.5). Channel bindings are not checked:
// SMB has none.
func (c *Context) request(auth *krb5.Authenticator) error {
	if sum := auth.Checksum; sum != nil && sum.Type == krb5.ChecksumGSS {
		r, err := krb5.DecodeContextRequest(sum.Value)
		if err != nil {
			return refuse(krb5.ErrBadChecksum, "%v", err)
		}
		c.Flags = r.Flags
	}
	c.key = c.ticketKey
	if auth.Subkey != nil {
		if _, err := suiteOf(*auth.Subkey); err != nil {
			return refuse(krb5.ErrNoKey, "subkey: %v", err)
		}
		c.key = *auth.Subkey
	}
	if auth.Sequence != nil {
		c.receive = uint64(*auth.Sequence)
	}
	c.clientTime, c.clientMicrosec = auth.Time, auth.Microsec
	return nil
}

// answer makes the AP-REP with a fresh subkey (RFC 4120 3.2.4, RFC 4121 2), which
// becomes the context's key.
func (c *Context) answer() ([]byte, error) {
	s, err := suiteOf(c.key)
	if err != nil {
		return nil, err
	}
	subkey := krb5.Key{EType: c.key.EType, Value: make([]byte, s.keyLen)}
	_, _ = rand.Read(subkey.Value)
	var random [4]byte
	_, _ = rand.Read(random[:])
	// 30 bits, so that nobody takes it for a negative number.
	sequence := binary.LittleEndian.Uint32(random[:]) >> 2
	part := krb5.EncAPRepPart{Time: c.clientTime, Microsec: c.clientMicrosec, Subkey: &subkey, Sequence: &sequence}
	enc, err := seal(c.ticketKey, usageAPRep, part.Encode())
	if err != nil {
		return nil, err
	}
	c.key, c.acceptorSubkey, c.send = subkey, true, uint64(sequence)
	rep := krb5.APRep{Enc: enc}
	return rep.Encode(), nil
}
