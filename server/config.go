package server

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gabion/auth"
	"gabion/odx"
	"gabion/protocol/dtyp"
	"gabion/rsvd"
	"gabion/server/qos"
)

// Config is all that a Server is told. The zero value of a field means its default;
// New validates everything together.
type Config struct {
	// Name is the server's NetBIOS-style name as pipes and NTLM report it.
	Name string
	// GUID is ServerGuid [MS-SMB2] 3.3.1.5, stable for the server's name.
	GUID dtyp.GUID

	Signing    Signing
	Encryption Encryption
	// Dialects bounds what is negotiated; zero means 2.0.2 to 3.1.1.
	MinDialect, MaxDialect Dialect
	// Anonymous lets sessions without a user reach IPC$ and shares that allow them.
	Anonymous bool
	// Guest maps unknown users to the guest account. Such sessions cannot sign, so
	// it is refused together with required signing.
	Guest bool

	// Capabilities beyond the protocol core; see DefaultCapabilities.
	Capabilities CapabilitySet

	// Auth authenticates clients. Required.
	Auth Authenticator
	// Pipes serves IPC$, see package rpc. Nil means that no pipe can be opened.
	Pipes PipeServer
	// Interfaces answers FSCTL_QUERY_NETWORK_INTERFACE_INFO; nil lists the
	// machine's own addresses that the listeners can be reached at.
	Interfaces func() []Interface

	// SharedDisks serves shared virtual disks on shares that say so; nil makes one
	// with the defaults.
	SharedDisks *rsvd.Service

	// QoS schedules what moves payload, and answers FSCTL_STORAGE_QOS_CONTROL; nil: nothing
	// waits for its turn.
	QoS *qos.Service

	// Roles are looked at for those held on a share or a folder; nil: there are none.
	// What somebody is on the whole array, Auth has said already.
	Roles *auth.Roles
	// Tokens are what offloaded transfers go by; needed with CapOffload.
	Tokens *odx.Tokens
	// Audit is told of privileged opens and delegated logons; nil: nobody is.
	Audit Auditor

	// TestMode answers the control codes with which Samba's test-suite makes a server
	// misbehave. Whoever can connect can disturb the server with them.
	TestMode bool

	Limits  Limits
	Log     *slog.Logger
	Metrics prometheus.Registerer // nil registers nothing
}

// Signing says whether messages must be signed.
type Signing uint8

const (
	SigningRequired Signing = iota // every authenticated session signs
	SigningEnabled                 // sessions sign when the client asks
)

func (s Signing) String() string {
	if s == SigningEnabled {
		return "enabled"
	}
	return "required"
}

// ParseSigning reads the value of --signing.
func ParseSigning(s string) (Signing, error) {
	switch s {
	case "required":
		return SigningRequired, nil
	case "enabled":
		return SigningEnabled, nil
	}
	return 0, fmt.Errorf("signing %q is neither required nor enabled", s)
}

// Encryption says whether sessions encrypt.
type Encryption uint8

const (
	EncryptionEnabled  Encryption = iota // offered; used when client or share ask
	EncryptionOff                        // not offered; a share that encrypts is refused
	EncryptionRequired                   // unencrypted requests are rejected
)

func (e Encryption) String() string {
	return [...]string{"enabled", "off", "required"}[e]
}

// ParseEncryption reads the value of --encryption.
func ParseEncryption(s string) (Encryption, error) {
	switch s {
	case "off":
		return EncryptionOff, nil
	case "enabled":
		return EncryptionEnabled, nil
	case "required":
		return EncryptionRequired, nil
	}
	return 0, fmt.Errorf("encryption %q is neither off, enabled nor required", s)
}

// Limits bound what clients can make the server hold. Each default names the
// memory or time it implies.
type Limits struct {
	Connections      int // accepted TCP connections
	ConnectionsPerIP int // of one client address
	Unauth           int // connections on which no session has been valid yet
	UnauthPerIP      int // of one client address before a session is valid
	UnauthSessions   int // unfinished sessions on such a connection
	SessionsPerConn  int // sessions on one connection, also unfinished ones
	TreesPerSession  int
	OpensPerSession  int
	LocksPerOpen     int // byte-range locks held and waited for
	LocksPerSession  int // of all its opens
	Disconnected     int // durable opens that wait for their clients, all together
	AsyncPerConn     int // requests waiting after an interim response
	CreditsPerConn   int // message-id window, as Windows' default
	UnauthCredits    int // window before a session is valid
	MaxIO            int // MaxReadSize, MaxWriteSize and MaxTransactSize
	UnauthFrame      int // largest frame before a session is valid
	Payload          int64
	Workers          int           // goroutines that may block in handlers at a time
	HandshakeTimeout time.Duration // from accept to the first valid session
	FrameTimeout     time.Duration // from a frame's first byte to its last
	WriteTimeout     time.Duration // a client that takes no replies for this long is gone
	IdleTimeout      time.Duration // a connection without sessions or requests
	BreakTimeout     time.Duration // oplock and lease break acknowledgement
}

// DefaultLimits are the limits used for fields left 0, given the machine's memory.
func DefaultLimits(memory int64) Limits {
	l := Limits{
		Connections:      16384,
		ConnectionsPerIP: 2048,
		Unauth:           4096,
		UnauthPerIP:      128,
		UnauthSessions:   8,
		SessionsPerConn:  2048,
		TreesPerSession:  4096,
		OpensPerSession:  65536,
		LocksPerOpen:     8192,
		LocksPerSession:  65536,
		Disconnected:     131072,
		AsyncPerConn:     512,
		CreditsPerConn:   8192,
		UnauthCredits:    32,
		MaxIO:            8 << 20,
		UnauthFrame:      68 << 10,
		Payload:          memory / 4,
		Workers:          256,
		HandshakeTimeout: 45 * time.Second,
		FrameTimeout:     60 * time.Second,
		WriteTimeout:     60 * time.Second,
		IdleTimeout:      15 * time.Minute,
		BreakTimeout:     35 * time.Second,
	}
	if l.Payload < 64<<20 {
		l.Payload = 64 << 20
	}
	return l
}

// withDefaults fills the fields left 0.
func (l Limits) withDefaults(memory int64) Limits {
	d := DefaultLimits(memory)
	number := func(p *int, d int) {
		if *p == 0 {
			*p = d
		}
	}
	duration := func(p *time.Duration, d time.Duration) {
		if *p == 0 {
			*p = d
		}
	}
	number(&l.Connections, d.Connections)
	number(&l.ConnectionsPerIP, d.ConnectionsPerIP)
	number(&l.Unauth, d.Unauth)
	number(&l.UnauthPerIP, d.UnauthPerIP)
	number(&l.UnauthSessions, d.UnauthSessions)
	number(&l.SessionsPerConn, d.SessionsPerConn)
	number(&l.TreesPerSession, d.TreesPerSession)
	number(&l.OpensPerSession, d.OpensPerSession)
	number(&l.LocksPerOpen, d.LocksPerOpen)
	number(&l.LocksPerSession, d.LocksPerSession)
	number(&l.Disconnected, d.Disconnected)
	number(&l.AsyncPerConn, d.AsyncPerConn)
	number(&l.CreditsPerConn, d.CreditsPerConn)
	number(&l.UnauthCredits, d.UnauthCredits)
	number(&l.MaxIO, d.MaxIO)
	number(&l.UnauthFrame, d.UnauthFrame)
	number(&l.Workers, d.Workers)
	duration(&l.HandshakeTimeout, d.HandshakeTimeout)
	duration(&l.FrameTimeout, d.FrameTimeout)
	duration(&l.WriteTimeout, d.WriteTimeout)
	duration(&l.IdleTimeout, d.IdleTimeout)
	duration(&l.BreakTimeout, d.BreakTimeout)
	if l.Payload == 0 {
		l.Payload = d.Payload
	}
	return l
}

func (l Limits) validate() error {
	switch {
	case l.MaxIO < 64<<10 || l.MaxIO > 8<<20 || l.MaxIO%(64<<10) != 0:
		return fmt.Errorf("largest transfer %d is not a multiple of 64 KiB up to 8 MiB", l.MaxIO)
	case l.CreditsPerConn < l.MaxIO/creditSize:
		return fmt.Errorf("%d credits per connection cannot carry one transfer of %d bytes", l.CreditsPerConn, l.MaxIO)
	case l.CreditsPerConn > maxWindow:
		return fmt.Errorf("more than %d credits per connection", maxWindow)
	case l.Payload < 2*int64(l.MaxIO):
		return fmt.Errorf("payload budget %d holds less than two transfers of %d bytes", l.Payload, l.MaxIO)
	case l.Connections < 1 || l.Workers < 1 || l.UnauthCredits < 1 || l.UnauthFrame < 4096:
		return errors.New("a limit is too small to serve anybody")
	}
	return nil
}

// DefaultCapabilities are true for every Gabion server; persistent handles and
// what builds upon them are added by whoever wires their store.
var DefaultCapabilities = CapabilitySet(0).With(CapLeasing, CapLargeMTU, CapMultiChannel, CapDirectoryLeasing, CapEncryption, CapResiliency, CapBlockRefcounting)

// validate checks the settings together and fills in defaults.
func (c *Config) validate(memory int64) error {
	c.Limits = c.Limits.withDefaults(memory)
	if c.Capabilities == 0 {
		c.Capabilities = DefaultCapabilities
	}
	if c.Encryption == EncryptionOff {
		c.Capabilities = c.Capabilities.Without(CapEncryption)
	}
	if c.MinDialect == 0 {
		c.MinDialect = Dialect202
	}
	if c.MaxDialect == 0 {
		c.MaxDialect = Dialect311
	}
	if c.Capabilities = c.Capabilities.Without(CapStorageQoS); c.QoS != nil {
		c.Capabilities = c.Capabilities.With(CapStorageQoS)
	}
	if c.SharedDisks == nil {
		c.SharedDisks = rsvd.New(rsvd.Options{})
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Name == "" {
		c.Name = "GABION"
	}
	c.Name = strings.ToUpper(c.Name)
	switch {
	case c.Auth == nil:
		return errors.New("no authenticator")
	case c.Capabilities.Has(CapOffload) && c.Tokens == nil:
		return errors.New("offloaded transfers need tokens")
	case c.Guest && c.Signing == SigningRequired:
		return errors.New("guest sessions cannot sign: they need signing enabled, not required")
	case c.MinDialect > c.MaxDialect:
		return fmt.Errorf("least dialect %v is above greatest %v", c.MinDialect, c.MaxDialect)
	case c.Encryption == EncryptionRequired && c.MaxDialect < Dialect300:
		return fmt.Errorf("required encryption needs dialect 3.0 or later, not %v", c.MaxDialect)
	}
	if err := c.Capabilities.validate(); err != nil {
		return err
	}
	return c.Limits.validate()
}
