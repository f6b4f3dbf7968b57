package server

import (
	"math"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// read answers READ [MS-SMB2] 3.3.5.12. The data goes from the store into the reply
// buffer, where signing, sealing and the wire take it from.
func read(r *request) {
	var req smb2.ReadRequest
	if err := req.Decode(r.msg); err != nil {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	f := r.file()
	if f == nil {
		pipeRead(r, &req)
		return
	}
	if status := r.validateRead(&req, f); status != ntstatus.Success {
		r.fail(status)
		return
	}
	r.paced(int(req.Length), readPaced)
}

// readPaced is the rest of READ, when its turn has come.
func readPaced(r *request) {
	var req smb2.ReadRequest
	if err := req.Decode(r.msg); err != nil {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	f := r.file()
	if f.disk != nil && r.readDisk(&req, f) {
		return
	}
	at := smb2.ReadResponseFixed + r.conn.readPadding()
	body := r.reserve(at + int(req.Length))
	body = body[:at+int(req.Length)]
	n, status := r.readInto(f, body[at:], int64(req.Offset))
	switch {
	case status != ntstatus.Success:
		r.fail(status)
	case uint32(n) < req.MinimumCount:
		r.chain.parts.Release()
		r.fail(ntstatus.EndOfFile)
	default:
		smb2.PutReadResponse(body, uint32(n), 0, 0)
		body[2] = byte(smb2Header + at)
		if len(r.chain.parts.List) > 0 {
			n = 0 // they follow
		}
		r.finish(ntstatus.Success, body[:at+n])
	}
}

// leastLent is how much a read must ask for to be answered in pieces.
const leastLent = 32 << 10

// readInto reads into p. The reply to a large read that is no part of a compound may be put together of
// pieces that the store has in memory: then they are the chain's parts.
func (r *request) readInto(f *file, p []byte, off int64) (int, ntstatus.Status) {
	ch := r.chain
	if len(p) < leastLent || !r.last || ch.first != nil || r.conn.out.behind() {
		return f.obj.Read(p, off)
	}
	n, status := f.obj.ReadParts(p, off, &ch.parts)
	if list := ch.parts.List; len(list) == 1 && list[0].Loan == nil && &list[0].Data[0] == &p[0] {
		ch.parts.Release() // all of it is in p
	}
	return n, status
}

// validateRead is the part of 3.3.5.12 that comes before the object store.
func (r *request) validateRead(req *smb2.ReadRequest, f *file) ntstatus.Status {
	switch {
	case req.Length > r.conn.maxIO:
		return ntstatus.InvalidParameter
	case !r.validChannel(req.Channel):
		return ntstatus.InvalidParameter
	case f.obj.IsDir():
		return ntstatus.InvalidDeviceRequest
	// FILE_EXECUTE implies FILE_READ_DATA: 3.3.5.9, "Successful Open Initialization".
	case !f.granted(dtyp.FileReadData | dtyp.FileExecute):
		return ntstatus.AccessDenied
	}
	return validRange(req.Offset, req.Length)
}

// validRange checks that a range lies in what a signed 64-bit offset can name
// ([MS-FSA] 2.1.5.3, 2.1.5.4).
func validRange(off uint64, n uint32) ntstatus.Status {
	if off > math.MaxInt64 || uint64(n) > math.MaxInt64-off {
		return ntstatus.InvalidParameter
	}
	return ntstatus.Success
}

// validChannel refuses payload by RDMA, which this transport does not have. Before
// 3.0 the field is reserved.
func (r *request) validChannel(c smb2.Channel) bool {
	return c == smb2.ChannelNone || !r.dialect().Is3x()
}

// granted reports whether one of the rights was granted to the open.
func (f *file) granted(rights dtyp.AccessMask) bool { return f.obj.Access()&uint32(rights) != 0 }
