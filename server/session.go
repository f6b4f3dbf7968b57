package server

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// sessionState is Session.State [MS-SMB2] 3.3.1.8.
type sessionState uint32

const (
	sessionInProgress sessionState = iota
	sessionValid
	sessionExpired
	sessionClosed
)

func (s sessionState) String() string {
	return [...]string{"in progress", "valid", "expired", "closed"}[s]
}

// session is a Session [MS-SMB2] 3.3.1.8. What has no comment about a guard is
// written before the session becomes valid and never again.
type session struct {
	server  *Server
	id      uint64
	dialect smb2.Dialect
	client  clientID // Connection.ClientGuid of the first connection
	created time.Time

	keys            sessionKeys
	encryptData     bool // Session.EncryptData
	signingRequired atomic.Bool

	state     atomic.Uint32 // sessionState; changes under mu
	lastUsed  atomic.Int64  // Session.IdleTime, Unix nanoseconds
	expires   atomic.Int64  // Session.ExpirationTime, Unix nanoseconds; 0 is never
	locks     atomic.Int64  // byte-range locks of its opens, see countLocks
	replays   replayLog
	sequences sequenceLog
	identity  atomic.Pointer[Identity]

	mu       sync.Mutex
	channels []*channel       // guarded by mu
	opens    map[uint64]*open // by volatile id; guarded by mu
	lastTree uint32           // guarded by mu
	ended    bool             // after close, its opens have been dealt with; guarded by mu
	awaiting []func()         // called when ended; guarded by mu
	// trees is replaced, under mu, never changed.
	trees atomic.Pointer[map[uint32]*tree]
}

// channel is a Channel [MS-SMB2] 3.3.1.14: a session's presence on a connection.
type channel struct {
	session *session
	conn    *conn
	signer  atomic.Pointer[signerBox]
	setup   atomic.Pointer[setup] // the authentication in progress
}

type signerBox struct{ signer }

// signing returns the signer of the channel, nil before it has a key.
func (c *channel) signing() signer {
	if b := c.signer.Load(); b != nil {
		return b.signer
	}
	return nil
}

// tree is a TreeConnect [MS-SMB2] 3.3.1.9.
type tree struct {
	id      uint32
	session *session
	share   *Share
	created time.Time
	// maximalAccess is what the share's security lets the user have at most.
	maximalAccess uint32
	scoped        scoped
	opens         atomic.Int64 // TreeConnect.OpenCount
}

func (s *session) currentState() sessionState {
	state := sessionState(s.state.Load())
	if state == sessionValid {
		// [MS-SMB2] 3.3.6.3, evaluated when it matters instead of by a timer.
		if e := s.expires.Load(); e != 0 && time.Now().UnixNano() > e {
			s.state.CompareAndSwap(uint32(sessionValid), uint32(sessionExpired))
			return sessionExpired
		}
	}
	return state
}

func (s *session) touch() { s.lastUsed.Store(s.server.clock.Load()) }

func (s *session) tree(id uint32) *tree {
	if m := s.trees.Load(); m != nil {
		return (*m)[id]
	}
	return nil
}

// addTree gives t its id and makes it reachable.
func (s *session) addTree(t *tree) ntstatus.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sessionState(s.state.Load()) == sessionClosed {
		return ntstatus.UserSessionDeleted
	}
	old := s.trees.Load()
	if old != nil && len(*old) >= s.server.limits.TreesPerSession {
		return ntstatus.InsufficientResources
	}
	m := make(map[uint32]*tree, 8)
	if old != nil {
		for id, t := range *old {
			m[id] = t
		}
	}
	for {
		s.lastTree++
		if _, taken := m[s.lastTree]; !taken && s.lastTree != 0 && s.lastTree != ^uint32(0) {
			break
		}
	}
	t.id = s.lastTree
	m[t.id] = t
	s.trees.Store(&m)
	return ntstatus.Success
}

// dropTree makes t unreachable; false if it was already.
func (s *session) dropTree(t *tree) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.trees.Load()
	if old == nil || (*old)[t.id] != t {
		return false
	}
	m := make(map[uint32]*tree, len(*old))
	for id, other := range *old {
		if other != t {
			m[id] = other
		}
	}
	s.trees.Store(&m)
	return true
}

func (s *session) addOpen(o *open) ntstatus.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sessionState(s.state.Load()) == sessionClosed || s.tree(o.tree.id) != o.tree {
		return ntstatus.NetworkNameDeleted
	}
	if len(s.opens) >= s.server.limits.OpensPerSession {
		return ntstatus.TooManyOpenedFiles
	}
	s.opens[o.id.Volatile] = o
	o.tree.opens.Add(1)
	return ntstatus.Success
}

func (s *session) dropOpen(o *open) {
	s.mu.Lock()
	if s.opens[o.id.Volatile] == o {
		delete(s.opens, o.id.Volatile)
		o.tree.opens.Add(-1)
	}
	s.mu.Unlock()
}

// opensOf lists the session's opens, of one tree unless t is nil.
func (s *session) opensOf(t *tree) []*open {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*open, 0, len(s.opens))
	for _, o := range s.opens {
		if t == nil || o.tree == t {
			list = append(list, o)
		}
	}
	return list
}

// live lists the session's channels.
func (s *session) live() []*channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*channel(nil), s.channels...)
}

// sessionTable is GlobalSessionTable [MS-SMB2] 3.3.1.5.
type sessionTable struct {
	mu     sync.Mutex
	byID   map[uint64]*session // guarded by mu
	ending map[uint64]*session // closed, and their opens not yet all; guarded by mu
}

// add gives s an unpredictable id and makes it reachable. Ids have 32 bits, because
// there are clients that keep no more.
func (t *sessionTable) add(s *session) {
	var b [4]byte
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		rand.Read(b[:])
		s.id = uint64(binary.LittleEndian.Uint32(b[:]))
		if _, taken := t.byID[s.id]; !taken && t.ending[s.id] == nil && s.id != 0 && s.id != 0xFFFFFFFF {
			break
		}
	}
	t.byID[s.id] = s
}

func (t *sessionTable) find(id uint64) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id]
}

// previous is find for a session that another is to replace: the opens of one that is ending
// may not be there for a reconnect yet.
func (t *sessionTable) previous(id uint64) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.byID[id]; s != nil {
		return s
	}
	return t.ending[id]
}

// remove makes s unreachable; ended follows.
func (t *sessionTable) remove(s *session) {
	t.mu.Lock()
	delete(t.byID, s.id)
	if t.ending == nil {
		t.ending = map[uint64]*session{}
	}
	t.ending[s.id] = s
	t.mu.Unlock()
}

func (t *sessionTable) ended(s *session) {
	t.mu.Lock()
	delete(t.ending, s.id)
	t.mu.Unlock()
}

func (t *sessionTable) all() []*session {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*session, 0, len(t.byID))
	for _, s := range t.byID {
		list = append(list, s)
	}
	return list
}

// close ends the session [MS-SMB2] 3.3.4.12: its opens are closed, or kept if why lets
// durable ones live on; then is called, maybe on another goroutine, when that is done.
func (s *session) close(why Reason, then func()) {
	s.mu.Lock()
	was := sessionState(s.state.Swap(uint32(sessionClosed)))
	channels := s.channels
	s.channels = nil
	trees := s.trees.Swap(nil)
	ended := s.ended
	if !ended && then != nil {
		s.awaiting = append(s.awaiting, then)
	}
	s.mu.Unlock()
	if ended && then != nil {
		then()
	}
	if was == sessionClosed {
		return
	}
	s.server.sessions.remove(s)
	for _, c := range channels {
		c.conn.dropChannel(c)
	}
	if trees != nil {
		for _, t := range *trees {
			t.share.uses.Add(-1)
		}
	}
	if was != sessionInProgress {
		s.server.metrics.sessions.Dec()
	}
	endAll(s.opensOf(nil), why, func() {
		s.mu.Lock()
		awaiting := s.awaiting
		s.ended, s.awaiting = true, nil
		s.mu.Unlock()
		s.server.sessions.ended(s)
		for _, fn := range awaiting {
			fn()
		}
	})
}

// endAll ends opens for a reason and calls then after the last.
func endAll(opens []*open, why Reason, then func()) {
	var left atomic.Int64
	left.Store(int64(len(opens)) + 1)
	done := func() {
		if left.Add(-1) == 0 && then != nil {
			then()
		}
	}
	for _, o := range opens {
		finish := func() {
			if why == ReasonLogoff || why == ReasonSessionLost || why == ReasonShutdown {
				if !o.local.Detach(why) {
					o.local.Close(why)
				}
			} else {
				o.local.Close(why)
			}
			done()
		}
		if !o.end(finish) {
			done()
		}
	}
	done()
}
