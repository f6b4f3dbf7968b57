package server

import (
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

func init() {
	addFSCTL(fscc.FsctlStorageQosControl, fsctl{"STORAGE_QOS_CONTROL", storageQoS, fsctlFile, CapStorageQoS})
}

// storageQoS is FSCTL_STORAGE_QOS_CONTROL ([MS-SQOS] 3.2.5.1), which package qos answers. The
// association of a persistent open is part of its record.
func storageQoS(r *request, req *smb2.IoctlRequest) {
	f := r.file()
	if f == nil || f.binding == nil || !r.dialect().Is3x() {
		r.fail(ntstatus.InvalidDeviceRequest)
		return
	}
	output, changed, status := f.binding.Control(req.Input, int(req.MaxOutputResponse))
	if status != ntstatus.Success {
		r.fail(status)
		return
	}
	resp := smb2.IoctlResponse{CtlCode: req.CtlCode, FileID: r.open.id, Output: output}
	body := resp.AppendTo(r.reserve(smb2.IoctlResponseFixed + 8 + len(output)))
	if !changed {
		r.finish(ntstatus.Success, body)
		return
	}
	pos, err := f.record()
	if err != nil {
		r.fail(ntstatus.UnexpectedIOError)
		return
	}
	r.durably(f.obj.Tree(), pos, ntstatus.Success, body)
}
