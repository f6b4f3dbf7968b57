package rpc

import (
	"context"
	"time"

	"gabion/auth"
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
	// AddShare, ChangeShare and RemoveShare change shares for good; they return a code
	// of package srvsvc. ChangeShare takes over the parts of a share that parts names.
	AddShare(caller Caller, s srvsvc.Share) uint32
	ChangeShare(caller Caller, name string, s srvsvc.Share, parts srvsvc.ShareParts) uint32
	RemoveShare(caller Caller, name string) uint32
	// Delegated hears of a caller whom a service acts for.
	Delegated(who *auth.Identity, from string)
	Transports() []srvsvc.Transport
	// Policy describes the domains that accounts are of.
	Policy() lsarpc.Policy
	// LookupName and LookupSID find an account; its Use is SIDTypeUnknown if there
	// is none.
	LookupName(ctx context.Context, name string) lsarpc.Account
	LookupSID(ctx context.Context, sid dtyp.SID) lsarpc.Account
}

// Caller is who opened the pipe.
type Caller struct {
	User   string
	Domain string
	SID    dtyp.SID
	From   string // address
	// Roles are those held on the array, Windows' administrators and operators.
	Roles     auth.RoleSet
	Anonymous bool
}

// looks reports whether the caller may see what belongs to others.
func (c *Caller) looks() bool { return c.Roles.Has(auth.RoleReadOnly) }

// manages reports whether the caller may close it, and change shares.
func (c *Caller) manages() bool { return c.Roles.Has(auth.RoleStorageAdmin) }

// backsUp reports whether the caller may have shadow copies made: MS-FSRVP 3.1.3 and note 2
// name Administrators and Backup Operators, who hold these roles.
func (c *Caller) backsUp() bool {
	return !c.Anonymous && (c.Roles.Has(auth.RoleBackupOperator) || c.Roles.Has(auth.RoleSuperAdmin))
}
