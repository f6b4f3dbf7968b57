package server

import (
	"sync"
	"sync/atomic"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// LocalOpen is Open.LocalOpen [MS-SMB2] 3.3.1.10: what an open is of. Files and
// pipes implement it. Its methods are called without locks, once no request uses the
// open any more; requests that were pended on it may still be waiting and are to be
// completed by Close.
type LocalOpen interface {
	// Close ends the open [MS-SMB2] 3.3.4.17.
	Close(why Reason)
	// Detach is called when the open loses its session in a way that durable opens
	// survive [MS-SMB2] 3.3.7.1. It reports whether the open is kept for a
	// reconnect; if not, Close follows.
	Detach(why Reason) (kept bool)
	// Describe fills in what administrators see of the open.
	Describe(*OpenInfo)
}

// Reason says why an open ends.
type Reason uint8

const (
	ReasonClose          Reason = iota // CLOSE, or CREATE that could not be answered
	ReasonTreeDisconnect               // TREE_DISCONNECT
	ReasonLogoff                       // LOGOFF
	ReasonSessionLost                  // the last channel went, or a new session replaced this one
	ReasonAdmin                        // an administrator closed it
	ReasonShareGone                    // its share was removed
	ReasonShutdown                     // the server drains
)

func (r Reason) String() string {
	return [...]string{"close", "tree disconnect", "logoff", "session lost", "administrator", "share removed", "shutdown"}[r]
}

// open is an Open [MS-SMB2] 3.3.1.10, as far as the connection's side goes.
type open struct {
	id    smb2.FileID
	local LocalOpen

	// conn is Open.Connection, the one that created or reclaimed the open.
	session *session
	tree    *tree
	conn    *conn

	// ReplayEligible is Open.IsReplayEligible: set by CREATE, cleared by the
	// dispatcher with the first other request that names the open.
	replayEligible atomic.Bool
	closed         atomic.Bool // by a CLOSE

	mu       sync.Mutex
	inflight int    // requests using the open that are not pended
	ended    bool   // no request finds it any more
	idle     func() // called when ended and inflight is 0
	// Channel sequence verification [MS-SMB2] 3.3.5.2.10.
	channelSequence uint16
	outstanding     int
	outstandingPre  int
}

// hold takes the open for a request; false when it has ended.
func (o *open) hold() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return false
	}
	o.inflight++
	return true
}

// release undoes hold.
func (o *open) release() {
	o.mu.Lock()
	o.inflight--
	var idle func()
	if o.ended && o.inflight == 0 {
		idle, o.idle = o.idle, nil
	}
	o.mu.Unlock()
	if idle != nil {
		// release is called where nothing may block, and closing may.
		o.conn.server.pool.submit(taskFunc(idle))
	}
}

// end makes the open unreachable and calls then once no request uses it. It
// reports false, without calling then, if somebody else has ended it.
func (o *open) end(then func()) bool {
	o.mu.Lock()
	if o.ended {
		o.mu.Unlock()
		return false
	}
	o.ended = true
	if o.inflight > 0 {
		o.idle = then
		then = nil
	}
	o.mu.Unlock()
	o.session.dropOpen(o)
	o.conn.server.opens.remove(o)
	o.unqueueAll()
	if then != nil {
		then()
	}
	return true
}

// hasEnded reports whether no request finds the open any more.
func (o *open) hasEnded() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ended
}

// verifySequence is [MS-SMB2] 3.3.5.2.10 for one request; mutates says that it is
// a WRITE, SET_INFO or IOCTL. counted reports whether one of the counters was
// raised for it.
func (o *open) verifySequence(sequence uint16, replay, mutates bool) (status ntstatus.Status, counted bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	stale := ntstatus.Success
	if mutates {
		stale = ntstatus.FileNotAvailable
	}
	newer := sequence-o.channelSequence <= 0x7FFF
	switch {
	case sequence == o.channelSequence:
		if replay && o.outstandingPre != 0 {
			return stale, false
		}
		o.outstanding++
		return ntstatus.Success, true
	case newer:
		o.outstandingPre += o.outstanding
		o.channelSequence = sequence
		if replay && o.outstandingPre != 0 {
			o.outstanding = 0
			return stale, false
		}
		o.outstanding = 1
		return ntstatus.Success, true
	}
	return stale, false
}

// sequenceAhead reports that a newer ChannelSequence than this has been seen meanwhile.
func (o *open) sequenceAhead(sequence uint16) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return sequence-o.channelSequence > 0x7FFF
}

// unverify ends what verifySequence counted [MS-SMB2] 3.3.4.1.
func (o *open) unverify(sequence uint16) {
	o.mu.Lock()
	if sequence == o.channelSequence {
		o.outstanding--
	} else {
		o.outstandingPre--
	}
	o.mu.Unlock()
}

// unhold stops counting the request among those that use its open.
func (r *request) unhold() {
	if r.holds {
		r.holds = false
		r.open.release()
	}
}

// uncount is unhold and the end of channel sequence accounting.
func (r *request) uncount() {
	if r.counted {
		r.counted = false
		r.open.unverify(r.sequence)
	}
	r.unhold()
}

// newOpen registers an open of local for a CREATE in session and tree of r and
// makes it the open of the requests that follow in the compound. With persistent
// not 0 it is the durable id of an open that is reclaimed or that was chosen by who
// keeps it over restarts. On failure local is left to the caller. Otherwise the caller
// holds the open, and releases it when local is ready to lose its session.
func (r *request) newOpen(local LocalOpen, persistent uint64) (*open, ntstatus.Status) {
	o := &open{local: local, session: r.session, tree: r.tree, conn: r.conn, inflight: 1, channelSequence: r.hdr.ChannelSequence}
	if !r.conn.dialect.Is3x() {
		o.channelSequence = 0
	}
	if status := r.conn.server.opens.add(o, persistent); status != ntstatus.Success {
		return nil, status
	}
	if status := r.session.addOpen(o); status != ntstatus.Success {
		r.conn.server.opens.remove(o)
		return nil, status
	}
	r.open = o
	return o, ntstatus.Success
}

// endOpen ends the request's open and calls then, possibly on another goroutine,
// once no other request uses it and its local open has been closed. If it was
// ended already the request fails with STATUS_FILE_CLOSED.
func (r *request) endOpen(then func()) {
	o := r.open
	r.unhold()
	o.closed.Store(true)
	if !o.end(func() { o.local.Close(ReasonClose); then() }) {
		r.fail(ntstatus.FileClosed)
	}
}

// OpenInfo describes an open to administrators.
type OpenInfo struct {
	ID          uint64          `json:"id"`
	Session     uint64          `json:"session"`
	User        string          `json:"user"`
	Client      string          `json:"client"`
	Share       string          `json:"share"`
	Path        string          `json:"path"`
	Pipe        bool            `json:"pipe"`
	Directory   bool            `json:"directory"`
	Access      dtyp.AccessMask `json:"access"`
	ShareAccess uint32          `json:"shareAccess"`
	Locks       int             `json:"locks"`
	// Disconnected says that the open waits for its client to reclaim it, for as long as it is kept.
	Disconnected bool   `json:"disconnected"`
	Caching      string `json:"caching"`           // oplock or lease letters
	Durable      string `json:"durable,omitempty"` // "", "durable", "resilient", "persistent"
}
