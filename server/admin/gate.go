package admin

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"gabion/auth"
)

// Gate authenticates the requests of the TLS listener. Who has shown nothing gets no answer but
// that; each address may fail a few times a minute.
//
// There are two ways in: `Authorization: Bearer TOKEN` with an API token or a session's, and
// `Authorization: Negotiate` with a Kerberos ticket. A browser sends tickets by itself, so they
// are good for reading, and for POST /v1/session, which gives a session token; nothing is changed
// without a token.
type Gate struct {
	Tokens *auth.APITokens
	// Acceptor takes tickets; nil: the array has no keytab.
	Acceptor *auth.Acceptor
	Roles    *auth.Roles
	// Certificate is the listener's: requests must be for a name in it.
	Certificate func() (*x509.Certificate, error)
	Log         *slog.Logger
	Now         func() time.Time // nil: time.Now

	mu       sync.Mutex // guards the maps
	sessions map[string]*webSession
	failures map[netip.Addr]*failures
}

// webSession is what a session token stands for.
type webSession struct {
	caller  Caller
	expires time.Time
}

const (
	sessionTime   = time.Hour
	maxSessions   = 1000
	maxFailures   = 10 // of an address in failureWindow
	failureWindow = time.Minute
	maxAddresses  = 10000
)

// failures are the failed attempts of an address.
type failures struct {
	since time.Time
	count int
}

func (g *Gate) now() time.Time {
	if g.Now != nil {
		return g.Now()
	}
	return time.Now()
}

// Guard lets requests through that are for this server and from somebody.
func (g *Gate) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Strict-Transport-Security", "max-age=31536000")
		if err := g.mayAsk(r); err != nil {
			fail(w, err)
			return
		}
		from, _ := netip.ParseAddrPort(r.RemoteAddr)
		if wait := g.blocked(from.Addr()); wait > 0 {
			w.Header().Set("Retry-After", "60")
			fail(w, Errorf(http.StatusTooManyRequests, "too many failed attempts; try again in a minute"))
			return
		}
		caller, ambient, err := g.identify(w, r, from)
		if err != nil {
			g.refuse(w, from, err)
			return
		}
		if r.Method == http.MethodPost && r.URL.Path == "/v1/session" {
			g.newSession(w, caller)
			return
		}
		if ambient && r.Method != http.MethodGet && r.Method != http.MethodHead {
			fail(w, Errorf(http.StatusForbidden, "a Kerberos ticket alone changes nothing: get a token with POST /v1/session"))
			return
		}
		next.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), caller)))
	})
}

// mayAsk checks that the request was meant for this server, by a page of it if by a page at all.
func (g *Gate) mayAsk(r *http.Request) error {
	cert, err := g.Certificate()
	if err != nil {
		return err
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if cert.VerifyHostname(strings.Trim(host, "[]")) != nil {
		return Errorf(http.StatusMisdirectedRequest, "this is not %q", host)
	}
	if origin := r.Header.Get("Origin"); origin != "" && origin != "https://"+r.Host {
		return Errorf(http.StatusForbidden, "requests from pages of %q are refused", origin)
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
		return Errorf(http.StatusForbidden, "requests from other sites' pages are refused")
	}
	return nil
}

// identify finds out who asks; ambient says that a browser may have shown the credentials by itself.
func (g *Gate) identify(w http.ResponseWriter, r *http.Request, from netip.AddrPort) (c Caller, ambient bool, err error) {
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		c, err = g.bearer(strings.TrimSpace(value))
	case strings.EqualFold(scheme, "Negotiate") && g.Acceptor != nil:
		ambient = true
		c, err = g.negotiate(w, strings.TrimSpace(value), from)
	default:
		err = errNothingShown
	}
	c.From = from.String()
	return c, ambient, err
}

var errNothingShown = errors.New("show a token (Authorization: Bearer) or a Kerberos ticket (Negotiate)")

func (g *Gate) bearer(secret string) (Caller, error) {
	g.mu.Lock()
	s := g.sessions[secret]
	if s != nil && !g.now().Before(s.expires) {
		delete(g.sessions, secret)
		s = nil
	}
	g.mu.Unlock()
	if s != nil {
		return s.caller, nil
	}
	t, err := g.Tokens.Check(secret)
	if err != nil {
		return Caller{}, err
	}
	return Caller{Name: "token " + t.Name + " (" + t.ID + ")", Held: t.Held}, nil
}

func (g *Gate) negotiate(w http.ResponseWriter, value string, from netip.AddrPort) (Caller, error) {
	token, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return Caller{}, errors.New("the ticket is not base64")
	}
	answer, who, err := g.Acceptor.Begin(from).Step(token)
	if err != nil {
		return Caller{}, err
	}
	if who == nil || who.Anonymous || who.Guest {
		return Caller{}, errors.New("a ticket must do in one step; show it optimistically")
	}
	w.Header().Set("WWW-Authenticate", "Negotiate "+base64.StdEncoding.EncodeToString(answer))
	t := who.Token()
	return Caller{Name: t.String(), Held: func(at auth.Scope) auth.RoleSet { return g.Roles.Held(t, at) }}, nil
}

// refuse answers who could not be identified.
func (g *Gate) refuse(w http.ResponseWriter, from netip.AddrPort, err error) {
	w.Header().Add("WWW-Authenticate", "Bearer")
	if g.Acceptor != nil {
		w.Header().Add("WWW-Authenticate", "Negotiate")
	}
	if err != errNothingShown {
		g.failed(from.Addr())
		if g.Log != nil {
			g.Log.Warn("admin: a request was refused", "client", from.String(), "why", err)
		}
		err = errors.New("what was shown is not valid")
	}
	fail(w, Errorf(http.StatusUnauthorized, "%v", err))
}

// blocked says how long an address has to wait.
func (g *Gate) blocked(a netip.Addr) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.failures[a]
	if f == nil || f.count < maxFailures {
		return 0
	}
	return f.since.Add(failureWindow).Sub(g.now())
}

func (g *Gate) failed(a netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if g.failures == nil {
		g.failures = map[netip.Addr]*failures{}
	}
	f := g.failures[a]
	if f == nil || now.Sub(f.since) >= failureWindow {
		if len(g.failures) >= maxAddresses {
			for k, old := range g.failures {
				if now.Sub(old.since) >= failureWindow {
					delete(g.failures, k)
				}
			}
		}
		if len(g.failures) >= maxAddresses {
			clear(g.failures) // guessing 256 bits from ten thousand addresses is no better than from one
		}
		f = &failures{since: now}
		g.failures[a] = f
	}
	f.count++
}

// newSession gives a token that stands for the caller for a while.
func (g *Gate) newSession(w http.ResponseWriter, c Caller) {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	secret := "session_" + base64.RawURLEncoding.EncodeToString(key[:])
	s := &webSession{caller: c, expires: g.now().Add(sessionTime)}
	g.mu.Lock()
	if g.sessions == nil {
		g.sessions = map[string]*webSession{}
	}
	for k, old := range g.sessions {
		if !g.now().Before(old.expires) {
			delete(g.sessions, k)
		}
	}
	full := len(g.sessions) >= maxSessions
	if !full {
		g.sessions[secret] = s
	}
	g.mu.Unlock()
	if full {
		fail(w, Errorf(http.StatusServiceUnavailable, "there are too many sessions"))
		return
	}
	reply(w, http.StatusOK, map[string]any{"token": secret, "expires": s.expires.UTC().Format(time.RFC3339), "caller": c.Name})
}
