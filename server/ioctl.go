package server

import (
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// fsctl is what the IOCTL dispatcher knows about a control code.
type fsctl struct {
	name   string
	handle func(*request, *smb2.IoctlRequest)
	flags  fsctlFlags
	needs  Capability // advertised and answered only with it; capCount: always
}

type fsctlFlags uint8

const (
	fsctlFile   fsctlFlags = 1 << iota // needs an open of a file or directory
	fsctlPipe                          // needs an open of a pipe
	fsctlNoOpen                        // must not have one: FileId is all ones
)

// fsctls has a row for every control code that is answered. Files add theirs from init.
var fsctls = map[fscc.FSCTL]fsctl{}

func addFSCTL(code fscc.FSCTL, row fsctl) {
	if _, twice := fsctls[code]; twice {
		panic("two rows for " + row.name)
	}
	fsctls[code] = row
}

func init() {
	addFSCTL(fscc.FsctlValidateNegotiateInfo, fsctl{"VALIDATE_NEGOTIATE_INFO", validateNegotiate, fsctlNoOpen, capCount})
	addFSCTL(fscc.FsctlQueryNetworkInterfaceInfo, fsctl{"QUERY_NETWORK_INTERFACE_INFO", queryInterfaces, fsctlNoOpen, CapMultiChannel})
	addFSCTL(fscc.FsctlDFSGetReferrals, fsctl{"DFS_GET_REFERRALS", dfsReferral, fsctlNoOpen, capCount})
	addFSCTL(fscc.FsctlDFSGetReferralsEx, fsctl{"DFS_GET_REFERRALS_EX", dfsReferral, fsctlNoOpen, capCount})
}

// ioctl is [MS-SMB2] 3.3.5.15.
func ioctl(r *request) {
	var req smb2.IoctlRequest
	if req.Decode(r.msg) != nil {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	if req.Flags != smb2.IoctlIsFsctl {
		r.fail(ntstatus.NotSupported)
		return
	}
	if limit := r.conn.maxIO; uint32(len(req.Input)) > limit || req.MaxInputResponse > limit || req.MaxOutputResponse > limit {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	row, known := fsctls[fscc.FSCTL(req.CtlCode)]
	if !known && r.server().cfg.TestMode {
		row, known = testControls[req.CtlCode]
	}
	if known && row.needs != capCount && !r.server().caps.Has(row.needs) {
		known = false
	}
	if status := r.fsctlStatus(&row, known); status != ntstatus.Success {
		r.fail(status)
		return
	}
	if status := r.diskControlStatus(fscc.FSCTL(req.CtlCode)); status != ntstatus.Success {
		r.fail(status)
		return
	}
	if n := r.moved(&req); n > 0 {
		r.paced(n, ioctlPaced)
		return
	}
	row.handle(r, &req)
}

// ioctlPaced is the rest of an IOCTL that moves payload, when its turn has come.
func ioctlPaced(r *request) {
	var req smb2.IoctlRequest
	if req.Decode(r.msg) != nil {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	row := fsctls[fscc.FSCTL(req.CtlCode)]
	row.handle(r, &req)
}

// fsctlStatus checks that the row can be used on what the request names.
func (r *request) fsctlStatus(row *fsctl, known bool) ntstatus.Status {
	if !known {
		// What a file system says to a control code it does not know.
		if r.open != nil && r.tree.share.IsPipe() {
			return ntstatus.NotSupported
		}
		return ntstatus.InvalidDeviceRequest
	}
	switch {
	case row.flags&fsctlNoOpen != 0:
		return ntstatus.Success
	case r.open == nil:
		return ntstatus.FileClosed
	case r.tree.share.IsPipe() != (row.flags&fsctlPipe != 0):
		return ntstatus.InvalidDeviceRequest
	}
	return ntstatus.Success
}

// respondIoctl answers with an output buffer.
func (r *request) respondIoctl(status ntstatus.Status, req *smb2.IoctlRequest, output []byte) {
	resp := smb2.IoctlResponse{CtlCode: req.CtlCode, FileID: r.ioctlFile(req), Output: output}
	r.finish(status, resp.AppendTo(r.reserve(smb2.IoctlResponseFixed+8+len(output))))
}

// ioctlFile is the FileId of the response: that of the open, or what the client sent.
func (r *request) ioctlFile(req *smb2.IoctlRequest) smb2.FileID {
	if r.open != nil {
		return r.open.id
	}
	return req.FileID
}

// validateNegotiate is [MS-SMB2] 3.3.5.15.12: the client makes sure that nobody
// changed the negotiation. A mismatch ends the connection.
func validateNegotiate(r *request, req *smb2.IoctlRequest) {
	c, s := r.conn, r.server()
	drop := func(why string) {
		c.fail(why)
		r.noReply()
	}
	var v smb2.ValidateNegotiateInfoRequest
	switch {
	case c.dialect == Dialect311:
		drop("VALIDATE_NEGOTIATE_INFO in dialect 3.1.1")
		return
	case v.Decode(req.Input) != nil:
		drop("malformed VALIDATE_NEGOTIATE_INFO")
		return
	case req.MaxOutputResponse < validateNegotiateSize:
		drop("VALIDATE_NEGOTIATE_INFO without room for its answer")
		return
	case v.GUID != c.client || v.SecurityMode != c.clientMode || v.Capabilities != c.clientCaps || s.chooseDialect(v.Dialects) != c.dialect:
		drop("negotiation was tampered with")
		return
	}
	resp := smb2.ValidateNegotiateInfoResponse{Capabilities: c.serverCaps, GUID: s.cfg.GUID, SecurityMode: c.serverMode, Dialect: c.dialect}
	r.respondIoctl(ntstatus.Success, req, resp.AppendTo(nil))
}

const validateNegotiateSize = 24

// dfsReferral is [MS-SMB2] 3.3.5.15.2 on a server that has no DFS.
func dfsReferral(r *request, req *smb2.IoctlRequest) {
	if !r.tree.share.IsPipe() {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	r.fail(ntstatus.FsDriverRequired)
}
