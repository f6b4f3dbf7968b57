package server

import (
	"net/netip"
	"time"

	"gabion/auth"
)

// Authenticator starts authentications; see Accepting.
type Authenticator interface {
	// Hint is the token of a NEGOTIATE response [MS-SPNG] 3.2.5.2: the mechanisms
	// on offer.
	Hint() []byte
	// Begin starts the authentication of one session or channel.
	Begin(from netip.AddrPort) Authentication
}

// Authentication is one authentication exchange.
type Authentication interface {
	// Step consumes a token of the client's and returns the answer to it. who is not nil with
	// the last one. An error is an ntstatus.Status or counts as STATUS_LOGON_FAILURE.
	Step(token []byte) (answer []byte, who *Identity, err error)
}

// Identity is what a completed, verified authentication says. It does not change.
type Identity struct {
	Token *auth.Token
	// User is the name shown to administrators, DOMAIN\name.
	User       string
	SessionKey []byte    // empty for anonymous
	Expires    time.Time // zero: never
	Guest      bool
	Anonymous  bool
	// Delegated names the services that act for the user, the first to act first.
	Delegated []string
}
