package rpc

import (
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/lsarpc"
	"gabion/protocol/srvsvc"
)

// Backend is what the services tell clients about, and what they may change.
// Methods are safe for concurrent use.
type Backend interface {
	Server() srvsvc.Server
	Workgroup() string
	Started() time.Time
	// Shares lists what caller may see, IPC$ included.
	Shares(caller Caller) []srvsvc.Share
	Sessions() []srvsvc.Session
	Files() []srvsvc.File
	Connections(qualifier string) []srvsvc.Connection
	CloseFile(id uint32) bool
	// CloseSessions closes those of a client and user, "" meaning any, and
	// returns how many there were.
	CloseSessions(client, user string) int
	// AddShare and RemoveShare change the list of shares for good; they return a
	// code of package srvsvc.
	AddShare(s srvsvc.Share) uint32
	RemoveShare(name string) uint32
	Transports() []srvsvc.Transport
	// Policy describes the domains that accounts are of.
	Policy() lsarpc.Policy
	// LookupName and LookupSID find an account; its Use is SIDTypeUnknown if there
	// is none.
	LookupName(name string) lsarpc.Account
	LookupSID(sid dtyp.SID) lsarpc.Account
}

// Caller is who opened the pipe.
type Caller struct {
	User   string
	Domain string
	SID    dtyp.SID
	// Administrator may list and close what belongs to others.
	Administrator bool
	Anonymous     bool
}
