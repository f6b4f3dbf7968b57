package server

import (
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server/object"
)

// closeFile answers CLOSE [MS-SMB2] 3.3.5.10. What the close does to the file, a deletion
// above all, is durable before the response.
func closeFile(r *request) {
	var req smb2.CloseRequest
	if err := req.Decode(r.msg); err != nil {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	f := r.file()
	r.endOpen(func() {
		if f == nil {
			r.ok(&smb2.CloseResponse{})
			return
		}
		f.mu.Lock()
		info, pos, status := f.last, f.closePos, f.closed
		f.mu.Unlock()
		resp := smb2.CloseResponse{}
		if req.Flags&smb2.CloseFlagPostqueryAttrib != 0 && status == ntstatus.Success {
			postQuery(&resp, &info)
		}
		r.durably(f.obj.Tree(), pos, ntstatus.Success, resp.AppendTo(r.reserve(smallBody)))
	})
}

// postQuery fills in the attributes that SMB2_CLOSE_FLAG_POSTQUERY_ATTRIB asks for.
func postQuery(resp *smb2.CloseResponse, info *object.Info) {
	resp.Flags = smb2.CloseFlagPostqueryAttrib
	resp.CreationTime, resp.LastAccessTime = info.CreationTime, info.LastAccessTime
	resp.LastWriteTime, resp.ChangeTime = info.LastWriteTime, info.ChangeTime
	resp.AllocationSize, resp.EndOfFile = uint64(info.Stream.Allocated), uint64(info.Stream.Size)
	resp.FileAttributes = info.FileAttributes
}
