package server

import (
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// flush answers FLUSH [MS-SMB2] 3.3.5.11. For a persistent open there is nothing left to
// do, because every one of its writes was durable when it was answered: then the
// position is durable already.
func flush(r *request) {
	f := r.file()
	if f == nil {
		pipeFlush(r)
		return
	}
	// FILE_ADD_FILE and FILE_ADD_SUBDIRECTORY are the same bits.
	if !f.granted(dtyp.FileWriteData | dtyp.FileAppendData) {
		r.fail(ntstatus.AccessDenied)
		return
	}
	pos, status := f.flush()
	if status != ntstatus.Success {
		r.fail(status)
		return
	}
	r.durably(f.obj.Tree(), pos, ntstatus.Success, (&smb2.Empty{}).AppendTo(r.reserve(smallBody)))
}
