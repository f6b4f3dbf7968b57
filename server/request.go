package server

import (
	"sync"
	"sync/atomic"

	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server/qos"
)

// request is one SMB2 message of a client [MS-SMB2] 3.3.1.13, from its arrival until
// it is answered by exactly one finish. Handlers get it with everything the row of
// its command asks for already verified: session, tree, open.
//
// A handler either answers before it returns, or it has given the request to
// something that answers later from any goroutine. Until finish the handler's
// side may use msg and what was decoded from it; after finish nothing of the
// request may be touched.
type request struct {
	chain *chain
	conn  *conn
	row   *row

	// msg is the message with its header, as smb2's decoders want it; hdr is the
	// header by value.
	msg  []byte
	hdr  smb2.HeaderFields
	last bool // no further message follows in the compound

	session *session
	tree    *tree
	open    *open // set by the dispatcher for rows with a FileId, by CREATE for those that follow

	signer signer // nil: the reply is not signed
	sealed func(reply []byte)
	reply  *buffer
	charge int // credits consumed

	phase atomic.Uint32 // who goes on with the chain, see chain.run

	// For requests that take their turn, see paced.
	decoded int64 // by the clock of qos
	ticket  qos.Ticket
	then    func(*request) // what waits for it
	reading bool           // the handler runs on the reader: what follows its turn must not

	// mu orders finish and pend, which may come at once from two goroutines.
	mu      sync.Mutex
	claimed bool // it has been answered; guarded by mu

	// For requests that count on their open.
	holds    bool   // one of open.inflight is ours
	sequence uint16 // ChannelSequence it was counted under
	counted  bool

	// Guarded by conn.mu.
	prev, following *request // conn.requests
	listed          bool
	cancelled       bool
	lost            bool   // by the end of the connection, not by the client
	asyncID         uint64 // not 0 after the interim response
	cancel          func()
}

// dialect is the connection's negotiated dialect.
func (r *request) dialect() smb2.Dialect { return r.conn.dialect }

// server is the server the request came to.
func (r *request) server() *Server { return r.conn.server }

// isReplay reports SMB2_FLAGS_REPLAY_OPERATION on a dialect that knows it.
func (r *request) isReplay() bool {
	return r.hdr.Flags&smb2.FlagReplayOperation != 0 && r.conn.dialect.Is3x()
}

// reserve returns an empty slice for the reply's body with room for n bytes, which
// lie where the wire takes them from. A handler appends to it or, like READ, fills
// the room directly, and passes the result to finish. A second call discards the first.
func (r *request) reserve(n int) []byte {
	need := headroom + smb2Header + n + trailer
	if r.reply != nil && len(r.reply.mem) < need {
		r.reply.release()
		r.reply = nil
	}
	if r.reply == nil {
		r.reply = newBuffer(need)
	}
	const at = headroom + smb2Header
	return r.reply.mem[at : at : len(r.reply.mem)-trailer]
}

// body is a reply's part after the header; smb2's responses are bodies.
type body interface {
	AppendTo(b []byte) []byte
}

// smallBody is what most replies fit into.
const smallBody = 256

// respond finishes the request with an encoded body.
func (r *request) respond(status ntstatus.Status, resp body) {
	r.finish(status, resp.AppendTo(r.reserve(smallBody)))
}

// ok finishes the request with success and an encoded body.
func (r *request) ok(resp body) { r.respond(ntstatus.Success, resp) }

// fail finishes the request with an error response [MS-SMB2] 3.3.4.4.
func (r *request) fail(status ntstatus.Status) {
	r.conn.server.rejected(r, status)
	r.failWith(status, 0, nil)
}

// failWith is fail with ErrorData, contexts being how many error contexts it is made of.
func (r *request) failWith(status ntstatus.Status, contexts uint8, data []byte) {
	e := smb2.ErrorResponse{ContextCount: contexts, Data: data}
	b := e.AppendTo(r.reserve(16 + len(data)))
	r.finish(status, b)
}

// finish answers the request with status and the body that reserve's slice became
// (any other slice is copied). It may be called from any goroutine and does not block. The
// first call counts: a request that was pended may be finished by its completion
// and by its cancellation at once.
func (r *request) finish(status ntstatus.Status, body []byte) {
	if !r.answer(status, body) {
		return
	}
	r.unpace()
	if r.phase.Swap(phaseFinished) == phaseLeft {
		r.chain.resume()
	}
}

// answer gives the reply to the chain; false if the request has been answered before.
func (r *request) answer(status ntstatus.Status, body []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.claimed {
		return false
	}
	r.claimed = true
	r.place(body)
	r.uncount()
	asyncID, lost := r.conn.forget(r)
	if lost && status == ntstatus.Cancelled {
		// The client has cancelled nothing. It learns that the connection has ended, and asks again.
		r.chain.silent = true
	}
	h := r.replyHeader(status)
	if asyncID != 0 {
		// [MS-SMB2] 3.3.4.3: the interim response granted the credits.
		h.Flags |= smb2.FlagAsyncCommand
		h.AsyncID = asyncID
	} else {
		h.Credits = uint16(r.conn.grant(int(r.hdr.Credits), r.charge))
	}
	smb2.PutHeader(r.reply.data, &h)
	r.reply.charge = r.charge
	r.chain.answered(r, status)
	return true
}

// noReply ends a request that has no response.
func (r *request) noReply() {
	r.claim()
	r.conn.forget(r)
	r.conn.server.budget.give(r.charge)
	r.uncount()
	r.phase.Store(phaseFinished)
}

// claim makes the caller the one that ends the request; true if it has been ended.
func (r *request) claim() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.claimed
	r.claimed = true
	return was
}

// ended is claim where finish may have been what panicked, with mu.
func (r *request) ended() bool {
	if !r.mu.TryLock() {
		return true
	}
	defer r.mu.Unlock()
	was := r.claimed
	r.claimed = true
	return was
}

// place makes body the body of the reply buffer.
func (r *request) place(body []byte) {
	const at = headroom + smb2Header
	if r.reply == nil || len(body) > 0 && &r.reply.mem[at] != &body[0] {
		b := newBuffer(at + len(body) + trailer)
		copy(b.mem[at:], body)
		if r.reply != nil {
			r.reply.release()
		}
		r.reply = b
	}
	r.reply.data = r.reply.mem[headroom : at+len(body)]
}

// replyHeader is the header all responses have in common [MS-SMB2] 3.3.4.3.
func (r *request) replyHeader(status ntstatus.Status) smb2.HeaderFields {
	h := smb2.HeaderFields{
		CreditCharge: r.hdr.CreditCharge,
		Status:       status,
		Command:      r.hdr.Command,
		Flags:        r.hdr.Flags&(smb2.FlagRelatedOperations|smb2.FlagPriorityMask|smb2.FlagReplayOperation) | smb2.FlagServerToRedir,
		MessageID:    r.hdr.MessageID,
		Reserved:     r.hdr.Reserved,
		TreeID:       r.hdr.TreeID,
		SessionID:    r.hdr.SessionID,
	}
	if r.chain.index == 1 {
		h.Flags &^= smb2.FlagRelatedOperations
	}
	// What is not signed anew is as in the request, which tells the client that
	// nobody could have signed.
	if r.signer == nil && !r.chain.encrypted && status != ntstatus.Pending {
		h.Flags |= r.hdr.Flags & smb2.FlagSigned
		h.Signature = r.hdr.Signature
	}
	return h
}

// pend says that the request waits for an unbounded time [MS-SMB2] 3.3.4.2: the
// client gets an interim response and may cancel. cancel must arrange for the
// request to be finished, with STATUS_CANCELLED unless it has come to its end
// otherwise; it is called at most once, from any goroutine, without locks.
//
// Only the handler may call it, before it returns; it has no effect when the request
// has been finished meanwhile. It returns a status other than success if the request
// may not wait; the handler then cancels what it began, and fails with that status.
func (r *request) pend(cancel func()) ntstatus.Status {
	status, now := r.beginWaiting(cancel)
	if now {
		cancel()
	}
	return status
}

// beginWaiting is pend; now says that the request has been cancelled already.
func (r *request) beginWaiting(cancel func()) (status ntstatus.Status, now bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.claimed {
		return ntstatus.Success, false
	}
	// [MS-SMB2] 3.3.5.2.7: inside a compound only CREATE may wait for something
	// while others depend on it.
	if !r.last && r.hdr.Command != smb2.CommandCreate {
		return ntstatus.InternalError, false
	}
	id, now, ok := r.conn.makeAsync(r, cancel)
	if !ok {
		return ntstatus.InsufficientResources, false
	}
	r.unhold()
	r.chain.keep = true
	if id != 0 {
		r.chain.interim(r, id)
	}
	return ntstatus.Success, now
}
