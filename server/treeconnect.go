package server

import (
	"strings"
	"time"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// treeConnect is [MS-SMB2] 3.3.5.7.
func treeConnect(r *request) {
	var req smb2.TreeConnectRequest
	decode := req.Decode
	if r.dialect() != Dialect311 {
		decode = req.DecodeWithoutExtension
	}
	if decode(r.msg) != nil {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	c, s, who := r.conn, r.server(), r.session.identity.Load()
	// In 3.1.1 this is what proves to the client that nobody changed the negotiation.
	if c.dialect == Dialect311 && !who.Anonymous && !who.Guest && r.hdr.Flags&smb2.FlagSigned == 0 && !r.chain.encrypted {
		c.fail("TREE_CONNECT neither signed nor encrypted")
		r.noReply()
		return
	}
	name, ok := shareOf(dtyp.DecodeUTF16(req.Path))
	if !ok {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	sh := s.Share(name)
	if sh == nil {
		r.fail(ntstatus.BadNetworkName)
		return
	}
	as := s.scopeToken(sh, who.Token)
	if status := s.mayConnect(r, sh, who, as.share); status != ntstatus.Success {
		r.fail(status)
		return
	}
	t := &tree{session: r.session, share: sh, created: time.Now(), maximalAccess: sh.access(as.share)}
	t.scoped.Store(as)
	if limit := sh.Settings().MaxUses; sh.uses.Add(1) > int64(limit) && limit > 0 {
		sh.uses.Add(-1)
		r.fail(ntstatus.RequestNotAccepted)
		return
	}
	if status := r.session.addTree(t); status != ntstatus.Success {
		sh.uses.Add(-1)
		r.fail(status)
		return
	}
	if sh.removed.Load() {
		r.session.disconnect(t, ReasonShareGone, nil)
		r.fail(ntstatus.BadNetworkName)
		return
	}
	r.tree = t
	r.hdr.TreeID = t.id
	r.ok(s.treeConnectResponse(c, t))
}

// shareOf returns the share's name of \\server\share; any server name is ours.
func shareOf(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, `\\`)
	server, share, found := strings.Cut(rest, `\`)
	if !ok || !found || server == "" || share == "" || strings.Contains(share, `\`) {
		return "", false
	}
	return share, true
}

// mayConnect checks encryption and Share.ConnectSecurity.
func (s *Server) mayConnect(r *request, sh *Share, who *Identity, as *auth.Token) ntstatus.Status {
	c := r.conn
	encrypted := sh.Encrypt || s.rejectsUnencrypted()
	switch {
	case encrypted && !(who.Anonymous && sh.IsPipe()) && (!c.dialect.Is3x() || !c.canEncrypt() || !r.session.keys.canSeal()):
		return ntstatus.AccessDenied
	case who.Anonymous && !sh.IsPipe() && sh.Settings().Security == nil:
		return ntstatus.AccessDenied
	case sh.access(as) == 0:
		return ntstatus.AccessDenied
	}
	return ntstatus.Success
}

// access is the most that the share lets a user do.
func (sh *Share) access(who *auth.Token) uint32 {
	if sh.IsPipe() {
		return ipcAccess
	}
	granted := uint32(dtyp.FileAllAccess)
	if sd := sh.Settings().Security; sd != nil {
		granted = shareAccess(who, sd)
	}
	if sh.ReadOnly {
		granted &= uint32(dtyp.FileGenericRead | dtyp.FileGenericExecute)
	}
	return granted
}

// ipcAccess is what IPC$ grants: its pipes have their own checks.
const ipcAccess = uint32(dtyp.FileAllAccess)

// treeConnectResponse says what the share is [MS-SMB2] 2.2.10.
func (s *Server) treeConnectResponse(c *conn, t *tree) *smb2.TreeConnectResponse {
	sh := t.share
	resp := &smb2.TreeConnectResponse{ShareType: smb2.ShareTypeDisk, MaximalAccess: t.maximalAccess}
	if sh.IsPipe() {
		resp.ShareType = smb2.ShareTypePipe
		resp.ShareFlags = smb2.ShareFlagNoCaching
		return resp
	}
	resp.ShareFlags = [...]smb2.ShareFlags{CacheNone: smb2.ShareFlagNoCaching, CacheManual: smb2.ShareFlagManualCaching,
		CacheAuto: smb2.ShareFlagAutoCaching, CachePrograms: smb2.ShareFlagVDOCaching}[sh.Settings().Caching]
	if sh.AccessBasedEnumeration {
		resp.ShareFlags |= smb2.ShareFlagAccessBasedDirectoryEnum
	}
	if sh.ForceLevelII {
		resp.ShareFlags |= smb2.ShareFlagForceLevelIIOplock
	}
	if !c.dialect.Is3x() {
		return resp
	}
	if sh.Encrypt {
		resp.ShareFlags |= smb2.ShareFlagEncryptData
	}
	caps := s.shareCapabilities(sh)
	for _, c := range [...]struct {
		has Capability
		bit smb2.ShareCapabilities
	}{
		{CapPersistentHandles, smb2.ShareCapContinuousAvailability},
		{CapCluster, smb2.ShareCapCluster},
		{CapScaleOut, smb2.ShareCapScaleout},
	} {
		if caps.Has(c.has) {
			resp.Capabilities |= c.bit
		}
	}
	return resp
}

// treeDisconnect is [MS-SMB2] 3.3.5.8.
func treeDisconnect(r *request) {
	if !r.session.disconnect(r.tree, ReasonTreeDisconnect, func() { r.ok(&smb2.Empty{Of: smb2.CommandTreeDisconnect}) }) {
		r.fail(ntstatus.NetworkNameDeleted)
	}
}
