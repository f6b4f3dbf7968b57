package server

import (
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// write answers WRITE [MS-SMB2] 3.3.5.13. A write-through one is answered when its
// log record is durable; nothing waits for that meanwhile.
func write(r *request) {
	var req smb2.WriteRequest
	if err := req.Decode(r.msg); err != nil {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	f := r.file()
	if f == nil {
		pipeWrite(r, &req)
		return
	}
	if status := r.validateWrite(&req, f); status != ntstatus.Success {
		r.fail(status)
		return
	}
	r.paced(len(req.Data), writePaced)
}

// writePaced is the rest of WRITE, when its turn has come.
func writePaced(r *request) {
	var req smb2.WriteRequest
	if err := req.Decode(r.msg); err != nil {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	f := r.file()
	if f.disk != nil && r.writeDisk(&req, f) {
		return
	}
	through := req.Flags&smb2.WriteFlagWriteThrough != 0 && r.dialect() != smb2.Dialect202
	pos, status := f.obj.WriteSummed(req.Data, r.chain.frame.buf.sums.of(req.Data, r.msg), int64(req.Offset), through)
	if status != ntstatus.Success {
		r.fail(status)
		return
	}
	resp := smb2.WriteResponse{Count: uint32(len(req.Data))}
	r.durably(f.obj.Tree(), pos, ntstatus.Success, resp.AppendTo(r.reserve(smallBody)))
}

// validateWrite is the part of 3.3.5.13 that comes before the object store.
func (r *request) validateWrite(req *smb2.WriteRequest, f *file) ntstatus.Status {
	const maxDataOffset = 0x100
	switch {
	case uint64(len(req.Data)) > uint64(r.conn.maxIO):
		return ntstatus.InvalidParameter
	case !r.validChannel(req.Channel):
		return ntstatus.InvalidParameter
	case req.DataOffset > maxDataOffset:
		return ntstatus.InvalidParameter
	case f.obj.IsDir():
		return ntstatus.InvalidDeviceRequest
	// Windows allows the operation when either right is there: note 364.
	case !f.granted(dtyp.FileWriteData | dtyp.FileAppendData):
		return ntstatus.AccessDenied
	case !r.mayWriteThrough(req.Flags, f):
		return ntstatus.InvalidParameter
	}
	return validRange(req.Offset, uint32(len(req.Data)))
}

// mayWriteThrough checks SMB2_WRITEFLAG_WRITE_THROUGH: the open or the write itself has
// to be unbuffered. The flags do not exist in 2.0.2, UNBUFFERED not before 3.0.2.
func (r *request) mayWriteThrough(flags smb2.WriteFlags, f *file) bool {
	if flags&smb2.WriteFlagWriteThrough == 0 || r.dialect() == smb2.Dialect202 {
		return true
	}
	if r.dialect() >= smb2.Dialect302 && flags&smb2.WriteFlagUnbuffered != 0 {
		return true
	}
	return smb2.CreateOptions(f.obj.Options())&smb2.OptionNoIntermediateBuffering != 0
}
