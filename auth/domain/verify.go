package domain

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/messages"

	"gabion/auth/kerberos"
	"gabion/protocol/krb5"
)

// Check is one step of Verify.
type Check struct {
	Name string `json:"name"`
	// State is ok, warning or failed; the first failed one is the cause.
	State  State  `json:"state"`
	Detail string `json:"detail"`
}

// State of a check.
type State string

const (
	OK      State = "ok"
	Warning State = "warning"
	Failed  State = "failed"
)

// Verify goes the way of a client's logon to host, the name by which clients know the
// array, and tells what it finds. It ends at the first failure.
func (m *Member) Verify(host string, acceptor kerberos.Config) []Check {
	v := &verification{m: m, host: host, acceptor: acceptor}
	defer func() {
		if v.s != nil {
			v.s.Destroy()
		}
	}()
	for _, step := range []struct {
		name string
		run  func() (State, string)
	}{
		{"key table", v.keytab},
		{"encryption types", v.etypes},
		{"domain controllers", v.reach},
		{"clock", v.clock},
		{"logon of the array", v.logon},
		{"service name", v.service},
		{"key version", v.version},
		{"ticket and PAC", v.accept},
	} {
		state, detail := step.run()
		v.checks = append(v.checks, Check{step.name, state, detail})
		if state == Failed {
			break
		}
	}
	return v.checks
}

// verification carries from step to step what the next one needs.
type verification struct {
	m        *Member
	host     string
	acceptor kerberos.Config
	checks   []Check

	s      *session
	kdc    string
	spn    string
	ticket krb5.Ticket
	key    krb5.Key
}

func (v *verification) keytab() (State, string) {
	s, err := v.m.open()
	if err != nil {
		return Failed, err.Error()
	}
	v.s = s
	var names []string
	for _, e := range v.m.Keytab.Entries() {
		if n := fmt.Sprintf("%s@%s", e.Principal, e.Realm); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return OK, fmt.Sprintf("%s: account %s@%s, key version %d; names %s", v.m.Keytab.Path(), s.name, s.realm, s.keys[0].KVNO, strings.Join(names, ", "))
}

func (v *verification) etypes() (State, string) {
	var have []int32
	for _, e := range v.s.keys {
		have = append(have, e.Key.EType)
	}
	aes := slices.Contains(have, kerberos.AES256) || slices.Contains(have, kerberos.AES128)
	switch {
	case !aes && !v.acceptor.RC4:
		return Failed, "the key table has no AES key; set msDS-SupportedEncryptionTypes of the account to 24 (AES128, AES256), " +
			"change its password and make the key table anew"
	case !aes:
		return Warning, "the key table has an rc4 key only; Windows is giving rc4 up"
	case !slices.Contains(have, kerberos.AES256):
		return Warning, "the key table has no aes256 key; a controller that issues aes256 tickets locks every client out"
	}
	return OK, "aes256"
}

func (v *verification) reach() (State, string) {
	list, err := v.s.controllers()
	if err != nil {
		return Failed, fmt.Sprintf("no domain controller of %s is known: %v", v.s.realm, err)
	}
	var problems []string
	for _, addr := range list {
		c, err := net.DialTimeout("tcp", addr, dialTimeout)
		if err != nil {
			problems = append(problems, err.Error())
			continue
		}
		_ = c.Close()
		if v.kdc == "" {
			v.kdc = addr
		}
	}
	switch {
	case v.kdc == "":
		return Failed, "none answers: " + strings.Join(problems, "; ")
	case len(problems) > 0:
		return Warning, fmt.Sprintf("%s answers, but %s", v.kdc, strings.Join(problems, "; "))
	}
	return OK, strings.Join(list, ", ")
}

func (v *verification) clock() (State, string) {
	there, err := v.s.kdcTime(v.kdc)
	if err != nil {
		return Failed, fmt.Sprintf("%s does not speak Kerberos: %v", v.kdc, err)
	}
	if there.IsZero() {
		return OK, "not told by the controller"
	}
	off := time.Until(there)
	if v.acceptor.Now != nil {
		off = there.Sub(v.acceptor.Now())
	}
	allowed := v.acceptor.Skew
	if allowed == 0 {
		allowed = kerberos.DefaultSkew
	}
	text := fmt.Sprintf("the controller's clock is %v from this one's", off.Round(100*time.Millisecond))
	switch {
	case off.Abs() > allowed:
		return Failed, fmt.Sprintf("%s; at most %v is accepted. Use a time service", text, allowed)
	case off.Abs() > allowed/5:
		return Warning, text
	}
	return OK, text
}

// Errors of a KDC that have one usual cause (RFC 4120 7.5.9).
var kdcCauses = map[int32]string{
	6:  "the domain has no account of that name: the key table is of another domain, or the account was deleted",
	7:  "no account in the domain has that service name: register it with setspn -S %s ACCOUNT",
	14: "the controller and the account have no encryption type in common: set msDS-SupportedEncryptionTypes of the account to 24",
	18: "the account is disabled or locked",
	23: "the account's password has expired",
	24: "the account's password was changed after the key table was made; make the key table anew",
	37: "the clocks differ too much",
}

// cause puts a KDC's error into words.
func cause(err error, spn string) string {
	var e messages.KRBError
	if !errors.As(err, &e) {
		for code, text := range kdcCauses {
			// gokrb5 wraps some errors as text only.
			if strings.Contains(err.Error(), fmt.Sprintf("(%d)", code)) {
				return expand(text, spn)
			}
		}
		return err.Error()
	}
	if text := kdcCauses[e.ErrorCode]; text != "" {
		return expand(text, spn)
	}
	return e.Error()
}

func expand(text, spn string) string { return strings.ReplaceAll(text, "%s", spn) }

func (v *verification) logon() (State, string) {
	if err := v.s.Login(); err != nil {
		return Failed, fmt.Sprintf("%s cannot log on: %s", v.s.name, cause(err, ""))
	}
	return OK, fmt.Sprintf("%s@%s", v.s.name, v.s.realm)
}

func (v *verification) service() (State, string) {
	v.spn = "cifs/" + strings.ToLower(v.host)
	var err error
	if v.ticket, v.key, err = v.s.ticket(v.spn); err != nil {
		return Failed, fmt.Sprintf("no ticket for %s: %s", v.spn, cause(err, v.spn))
	}
	return OK, v.spn
}

func (v *verification) version() (State, string) {
	var versions []string
	for _, e := range v.m.Keytab.Entries() {
		if e.Key.EType == v.ticket.Enc.EType {
			if e.HasKVNO(v.ticket.Enc.KVNO) {
				return OK, fmt.Sprint(v.ticket.Enc.KVNO)
			}
			if n := fmt.Sprint(e.KVNO); !slices.Contains(versions, n) {
				versions = append(versions, n)
			}
		}
	}
	if versions == nil {
		return Failed, fmt.Sprintf("tickets for %s are encrypted with etype %d, of which the key table has no key", v.spn, v.ticket.Enc.EType)
	}
	return Failed, fmt.Sprintf("tickets for %s are encrypted with key version %d, the key table has %s: the account's password was changed after "+
		"it was made, or the name belongs to another account (setspn -Q %s)", v.spn, v.ticket.Enc.KVNO, strings.Join(versions, ", "), v.spn)
}

// accept shows the ticket to an acceptor of its own, which knows of no replays.
func (v *verification) accept() (State, string) {
	token, err := v.request()
	if err != nil {
		return Failed, err.Error()
	}
	_, c, err := kerberos.NewAcceptor(v.acceptor).Begin().Step(token)
	if err != nil {
		return Failed, err.Error()
	}
	if c == nil {
		return Failed, "the clocks differ too much"
	}
	return OK, fmt.Sprintf(`%s\%s is %v, a member of %d groups`, c.Who.Domain, c.Who.Account, c.Who.SID, len(c.Who.Groups))
}

// request makes an AP-REQ of the ticket.
func (v *verification) request() ([]byte, error) {
	now := time.Now()
	if v.acceptor.Now != nil {
		now = v.acceptor.Now()
	}
	return v.s.initiator(v.ticket, v.key).Request(now, krb5.FlagMutual|krb5.FlagInteg)
}
