package server

import (
	"encoding/binary"

	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// query is a QUERY_INFO on its way.
type query struct {
	r   *request
	f   *file
	req smb2.QueryInfoRequest
	// room is how much of the reply the client takes.
	room int
}

// queryInfo answers QUERY_INFO [MS-SMB2] 3.3.5.20.
func queryInfo(r *request) {
	q := query{r: r, f: r.file()}
	if err := q.req.Decode(r.msg); err != nil || q.req.OutputBufferLength > r.conn.maxIO {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	if q.f == nil {
		pipeQueryInfo(r, &q.req)
		return
	}
	q.room = int(q.req.OutputBufferLength)
	switch q.req.InfoType {
	case smb2.InfoFile:
		q.file()
	case smb2.InfoFileSystem:
		q.fileSystem()
	case smb2.InfoSecurity:
		q.security()
	case smb2.InfoQuota:
		q.quota()
	default:
		r.fail(ntstatus.InvalidParameter)
	}
}

// info is a structure of MS-FSCC.
type info interface{ Append(dst []byte) []byte }

// answer sends a structure, cut off where the client's buffer ends: what lies behind
// the fixed part is variable, so that a part of it is an answer too.
func (q *query) answer(x info) {
	body := q.r.reserve(smb2.OutputBufferFixed + max(smallBody, min(q.room, 1<<10)))
	body = x.Append(body[:smb2.OutputBufferFixed])
	status := ntstatus.Success
	if len(body)-smb2.OutputBufferFixed > q.room {
		body = body[:smb2.OutputBufferFixed+q.room]
		status = ntstatus.BufferOverflow
	}
	smb2.PutOutputBuffer(body, uint32(len(body)-smb2.OutputBufferFixed))
	q.r.finish(status, body)
}

// lister is a list of MS-FSCC under construction.
type lister interface {
	Bytes() []byte
	Len() int
}

// list sends a list that was begun in the room that begin returned.
func (q *query) list(l lister, status ntstatus.Status) {
	body := l.Bytes()
	smb2.PutOutputBuffer(body, uint32(l.Len()))
	q.r.finish(status, body)
}

// begin makes room for a list of at most the client's length.
func (q *query) begin() []byte {
	return q.r.reserve(smb2.OutputBufferFixed + q.room)[:smb2.OutputBufferFixed]
}

// fail ends the query with an error.
func (q *query) fail(status ntstatus.Status) { q.r.fail(status) }

// tooShort is the answer to a buffer that does not hold the fixed part
// (3.3.5.20.1, 3.3.5.20.2).
func (q *query) tooShort() { q.r.failSized(ntstatus.InfoLengthMismatch, nil) }

// failSized fails with error data: an error context in 3.1.1, the bare data before
// [MS-SMB2] 2.2.2.
func (r *request) failSized(status ntstatus.Status, data []byte) {
	if r.dialect() == smb2.Dialect311 {
		r.failWith(status, 1, smb2.AppendErrorContext(nil, 0, 0, data))
		return
	}
	r.failWith(status, 0, data)
}

// bufferTooSmall tells the client how much room it needs (3.3.5.20.3).
func (q *query) bufferTooSmall(need int) {
	q.r.failSized(ntstatus.BufferTooSmall, binary.LittleEndian.AppendUint32(nil, uint32(need)))
}

// refusal is the status for a class that QUERY_INFO does not serve: 3.3.5.20.1 with notes
// 415 and 416.
func refusal(class fscc.FileInformationClass) ntstatus.Status {
	switch class {
	case 41, 43, 47, 49, 51, 53:
		return ntstatus.NotSupported
	case 52:
		return ntstatus.InfoLengthMismatch
	case 1, 2, 3, 10, 11, 12, 13, 19, 20, 27, 31, 36, 37, 38, 39, 40, 50:
		return ntstatus.InvalidInfoClass
	}
	if class.Known() {
		return ntstatus.NotSupported
	}
	return ntstatus.InvalidInfoClass
}
