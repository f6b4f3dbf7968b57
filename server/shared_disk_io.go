package server

import (
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/rsvd"
	"gabion/store"
)

// waitForDisk ties a request that waits for a disk to its client's patience.
func (r *request) waitForDisk(w *rsvd.Waiting) {
	if w == nil {
		return
	}
	if status := r.pend(w.Cancel); status != ntstatus.Success {
		w.Refuse(status)
	}
}

// failDisk fails a request when what its status tells of is durable: a reservation that
// was just taken, the sense data that the client will ask for.
func (r *request) failDisk(f *file, pos store.Pos, status ntstatus.Status) {
	if rsvd.Stored(status) {
		if at, err := f.record(); err == nil {
			pos = max(pos, at)
		}
	}
	if pos == 0 {
		r.fail(status)
		return
	}
	r.whenDurable(f.obj.Tree(), pos, func() { r.fail(status) })
}

// unbuffered is the rule of [MS-RSVD] 3.2.5.3 and 3.2.5.4 for opens of the container's
// bytes; package rsvd applies it to those of the disk.
func (f *file) unbuffered() bool {
	return f.asked.CreateOptions&smb2.OptionNoIntermediateBuffering != 0
}

// readDisk is READ on a shared disk; false leaves it to the object store.
func (r *request) readDisk(req *smb2.ReadRequest, f *file) bool {
	if !f.disk.IsDisk() {
		if !f.unbuffered() {
			r.fail(ntstatus.NotSupported)
			return true
		}
		return false
	}
	at := smb2.ReadResponseFixed + r.conn.readPadding()
	body := r.reserve(at + int(req.Length))
	body = body[:at+int(req.Length)]
	r.waitForDisk(f.disk.Read(body[at:], req.Offset, func(n int, status ntstatus.Status) {
		if status != ntstatus.Success {
			r.failDisk(f, 0, status)
			return
		}
		smb2.PutReadResponse(body, uint32(n), 0, 0)
		body[2] = byte(smb2Header + at)
		r.finish(ntstatus.Success, body[:at+n])
	}))
	return true
}

// writeDisk is WRITE on a shared disk; false leaves it to the object store.
func (r *request) writeDisk(req *smb2.WriteRequest, f *file) bool {
	if !f.disk.IsDisk() {
		if !f.unbuffered() {
			r.fail(ntstatus.NotSupported)
			return true
		}
		return false
	}
	count := uint32(len(req.Data))
	r.waitForDisk(f.disk.Write(req.Data, req.Offset, func(pos store.Pos, status ntstatus.Status) {
		if status != ntstatus.Success {
			r.failDisk(f, pos, status)
			return
		}
		resp := smb2.WriteResponse{Count: count}
		r.durably(f.obj.Tree(), pos, ntstatus.Success, resp.AppendTo(r.reserve(smallBody)))
	}))
	return true
}

// flush is what FLUSH waits for.
func (f *file) flush() (store.Pos, ntstatus.Status) {
	if f.disk != nil && f.disk.IsDisk() {
		return f.disk.Flush()
	}
	return f.obj.Flush()
}

// diskSizes are the classes for which [MS-SMB2] 3.3.5.20.1 has a status of its own when
// the buffer is too small.
var diskSizes = map[fscc.FileInformationClass]bool{
	fscc.FileStandardInformation: true, fscc.FileNetworkOpenInformation: true, fscc.FileEndOfFileInformation: true,
}

// settable is what SET_INFO refuses on a shared disk ([MS-RSVD] 3.2.5.8): nothing but the
// disk's own commands changes the container.
func (f *file) settable(class fscc.FileInformationClass) ntstatus.Status {
	if f.disk == nil {
		return ntstatus.Success
	}
	switch class {
	case fscc.FileRenameInformation, fscc.FileRenameInformationEx:
		return ntstatus.NotSupported
	case fscc.FileLinkInformation, fscc.FileLinkInformationEx:
		return ntstatus.InvalidParameter
	case fscc.FileEndOfFileInformation, fscc.FileAllocationInformation, fscc.FileDispositionInformation,
		fscc.FileDispositionInformationEx, fscc.FileValidDataLengthInformation, fscc.FileShortNameInformation:
		if f.disk.IsDisk() {
			return ntstatus.NotSupported
		}
	}
	return ntstatus.Success
}

// diskControls are the control codes of a shared disk's open. What changes containers
// behind the disk's back is not among them.
var diskControls = map[fscc.FSCTL]bool{
	fscc.FsctlQuerySharedVirtualDiskSupport: true, fscc.FsctlSvhdxSyncTunnelRequest: true, fscc.FsctlSvhdxAsyncTunnelRequest: true,
	fscc.FsctlLMRRequestResiliency: true, fscc.FsctlStorageQosControl: true,
}

// diskControlStatus refuses the others.
func (r *request) diskControlStatus(code fscc.FSCTL) ntstatus.Status {
	if r.open == nil {
		return ntstatus.Success
	}
	f := r.file()
	if f == nil || f.disk == nil || diskControls[code] || fsctls[code].flags&fsctlNoOpen != 0 {
		return ntstatus.Success
	}
	switch code {
	case fscc.FsctlOffloadRead:
		return ntstatus.OffloadReadFileNotSupported
	case fscc.FsctlOffloadWrite:
		return ntstatus.OffloadWriteFileNotSupported
	}
	return ntstatus.InvalidDeviceRequest
}

func init() {
	addFSCTL(fscc.FsctlQuerySharedVirtualDiskSupport, fsctl{"QUERY_SHARED_VIRTUAL_DISK_SUPPORT", diskSupport, fsctlFile, CapSharedVHDX})
	addFSCTL(fscc.FsctlSvhdxSyncTunnelRequest, fsctl{"SVHDX_SYNC_TUNNEL_REQUEST", diskTunnel, fsctlFile, CapSharedVHDX})
	addFSCTL(fscc.FsctlSvhdxAsyncTunnelRequest, fsctl{"SVHDX_ASYNC_TUNNEL_REQUEST", diskTunnel, fsctlFile, CapSharedVHDX})
}

// diskSupport is FSCTL_QUERY_SHARED_VIRTUAL_DISK_SUPPORT: [MS-SMB2] 3.3.5.15.16.
func diskSupport(r *request, req *smb2.IoctlRequest) {
	f := r.file()
	if f == nil || !r.sharesDisks() {
		r.fail(ntstatus.InvalidDeviceRequest)
		return
	}
	var open *rsvd.Open
	if f.disk != nil {
		open = f.disk.Open
	}
	answer := r.server().cfg.SharedDisks.Support(f.obj.Tree().Store(), f.obj.ID(), open)
	out := answer.AppendTo(nil)
	if uint32(len(out)) > req.MaxOutputResponse {
		r.fail(ntstatus.BufferTooSmall)
		return
	}
	r.respondIoctl(ntstatus.Success, req, out)
}

// diskTunnel is both tunnel requests: [MS-SMB2] 3.3.5.15.15. Any operation may come by
// either.
func diskTunnel(r *request, req *smb2.IoctlRequest) {
	f := r.file()
	if f == nil || f.disk == nil || !r.sharesDisks() {
		r.fail(ntstatus.InvalidDeviceRequest)
		return
	}
	q := *req
	r.waitForDisk(f.disk.Tunnel(req.Input, int(req.MaxOutputResponse), func(output []byte, pos store.Pos, status ntstatus.Status) {
		if status != ntstatus.Success {
			r.failDisk(f, pos, status)
			return
		}
		pos = max(pos, f.deleteWithDisk())
		resp := smb2.IoctlResponse{CtlCode: q.CtlCode, FileID: r.ioctlFile(&q), Output: output}
		r.durably(f.obj.Tree(), pos, ntstatus.Success, resp.AppendTo(r.reserve(smb2.IoctlResponseFixed+8+len(output))))
	}))
}

// deleteWithDisk carries out what ExtractSnapshots with DELETE_ON_CLOSE asked for.
func (f *file) deleteWithDisk() store.Pos {
	if !f.disk.PendingDelete() || f.obj.Deletes() || f.obj.DeleteAtClose() != ntstatus.Success {
		return 0
	}
	pos, _ := f.record()
	return pos
}
