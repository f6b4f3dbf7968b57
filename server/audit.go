package server

import (
	"net/netip"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server/object"
)

// Auditor is told what administrators have to be able to find later. It must not
// block for long.
type Auditor interface {
	// PrivilegedOpen is called for every CREATE that a privilege gave rights to, and for
	// one that was refused because a privilege was missing.
	PrivilegedOpen(*PrivilegedOpen)
	// Offload is called when an offload token is issued, used for a file, or refused.
	Offload(*Offload)
	// DelegatedLogon is called for every session, or channel of one, that a service
	// opened for a user.
	DelegatedLogon(who *Identity, from netip.AddrPort)
}

// PrivilegedOpen is a CREATE that used privileges.
type PrivilegedOpen struct {
	Who     *Identity
	Token   *auth.Token // with the roles held there
	From    netip.AddrPort
	Share   string
	Path    string // relative to the share, as asked for
	Intent  bool   // FILE_OPEN_FOR_BACKUP_INTENT
	Asked   dtyp.AccessMask
	Granted dtyp.AccessMask // 0 unless Status is success
	Gained  dtyp.AccessMask // by Used alone, or before the DACL was looked at
	Used    auth.Privileges // none if one was missing
	Status  ntstatus.Status
}

// audit reports a finished CREATE if privileges had to do with it.
func (c *creation) audit(res *object.CreateResult, status ntstatus.Status) {
	a := c.r.server().cfg.Audit
	if a == nil || res.Used == 0 && status != ntstatus.PrivilegeNotHeld {
		return
	}
	p := &PrivilegedOpen{
		Who: c.r.session.identity.Load(), Token: c.obj.Token, From: c.r.conn.remote,
		Share: c.r.tree.share.Name, Path: c.name, Intent: c.req.CreateOptions&smb2.OptionOpenForBackupIntent != 0,
		Asked: c.req.DesiredAccess, Gained: dtyp.AccessMask(res.Gained), Used: res.Used, Status: status,
	}
	if res.Open != nil {
		p.Granted = dtyp.AccessMask(res.Open.Access())
	}
	a.PrivilegedOpen(p)
}
