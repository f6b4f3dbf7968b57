package server

import (
	"errors"
	"sync"
	"time"

	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// setup is an authentication in progress: of a new session, of one that
// authenticates again, or of a channel to be bound. Its requests take turns.
type setup struct {
	mu      sync.Mutex
	auth    Authentication // guarded by mu
	session *session
	channel *channel // nil while binding
	binding bool
	again   bool     // re-authentication: keys and hash stay
	preauth [64]byte // PreauthIntegrityHashValue; guarded by mu
	over    bool     // guarded by mu
}

// sessionSetup is [MS-SMB2] 3.3.5.5.
func sessionSetup(r *request) {
	var req smb2.SessionSetupRequest
	if req.Decode(r.msg) != nil {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	c, s := r.conn, r.server()
	if s.rejectsUnencrypted() && (!c.dialect.Is3x() || !c.canEncrypt()) {
		r.fail(ntstatus.AccessDenied)
		return
	}
	var st *setup
	var status ntstatus.Status
	binding := req.Flags&smb2.SessionFlagBinding != 0
	switch {
	case binding:
		st, status = r.bind()
	case r.hdr.SessionID == 0:
		st, status = r.newSession()
	default:
		st, status = r.continueSetup()
	}
	if status != ntstatus.Success {
		r.fail(status)
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.over {
		r.fail(ntstatus.UserSessionDeleted)
		return
	}
	st.step(r, &req)
}

// canEncrypt reports whether messages of the connection can be encrypted.
func (c *conn) canEncrypt() bool {
	return c.cipher != 0 && (c.dialect == Dialect311 || c.clientCaps&smb2.CapEncryption != 0)
}

// newSession is [MS-SMB2] 3.3.5.5.1.
func (r *request) newSession() (*setup, ntstatus.Status) {
	c, s := r.conn, r.server()
	if c.local.IsValid() && s.isDraining() {
		return nil, ntstatus.ServerUnavailable
	}
	now := time.Now()
	ses := &session{server: s, dialect: c.dialect, client: c.client, created: now, opens: map[uint64]*open{}}
	ses.lastUsed.Store(now.UnixNano())
	s.sessions.add(ses)
	ch := &channel{session: ses, conn: c}
	ses.channels = []*channel{ch}
	if !c.addChannel(ch) {
		ses.close(ReasonSessionLost, nil)
		return nil, ntstatus.InsufficientResources
	}
	r.hdr.SessionID = ses.id
	st := &setup{auth: s.cfg.Auth.Begin(c.remote), session: ses, channel: ch, preauth: c.preauth}
	ch.setup.Store(st)
	return st, ntstatus.Success
}

// continueSetup finds the session of this connection that a token is for, and
// begins another authentication if it is complete [MS-SMB2] 3.3.5.5.2.
func (r *request) continueSetup() (*setup, ntstatus.Status) {
	ch := r.conn.channel(r.hdr.SessionID)
	if ch == nil {
		return nil, ntstatus.UserSessionDeleted
	}
	ses := ch.session
	r.session = ses
	if !r.chain.encrypted {
		if status := r.verifySetup(ch); status != ntstatus.Success {
			return nil, status
		}
	}
	state := ses.currentState()
	st := ch.setup.Load()
	if st == nil {
		if state != sessionValid && state != sessionExpired {
			return nil, ntstatus.UserSessionDeleted
		}
		st = &setup{auth: r.server().cfg.Auth.Begin(r.conn.remote), session: ses, channel: ch, again: true}
		if !ch.setup.CompareAndSwap(nil, st) {
			st = ch.setup.Load()
		}
	}
	if st == nil {
		return nil, ntstatus.RequestNotAccepted
	}
	return st, ntstatus.Success
}

// verifySetup verifies the signature of a request for a session of this connection.
func (r *request) verifySetup(ch *channel) ntstatus.Status {
	key := ch.signing()
	signed := r.hdr.Flags&smb2.FlagSigned != 0
	switch {
	case signed && key == nil:
		return ntstatus.NotSupported
	case signed && !key.Verify(r.msg):
		return ntstatus.AccessDenied
	case signed:
		r.signer = key
	case ch.session.signingRequired.Load():
		return ntstatus.AccessDenied
	}
	return ntstatus.Success
}

// bind begins or continues the binding of a further channel to a session
// [MS-SMB2] 3.3.5.5.
func (r *request) bind() (*setup, ntstatus.Status) {
	c, s := r.conn, r.server()
	if r.hdr.SessionID == 0 {
		return nil, ntstatus.InvalidParameter
	}
	ses := s.sessions.find(r.hdr.SessionID)
	if ses == nil {
		return nil, ntstatus.UserSessionDeleted
	}
	// The signature comes first: until the channel has its own key, replies are
	// signed with the session's, and only for who knows it.
	if r.hdr.Flags&smb2.FlagSigned != 0 {
		key := ses.keys.bindingSigner()
		if ch := c.channel(ses.id); ch != nil {
			key = ch.signing() // bound already
		}
		if key == nil {
			return nil, ntstatus.NotSupported
		}
		if !key.Verify(r.msg) {
			return nil, ntstatus.AccessDenied
		}
		r.session, r.signer = ses, key
	}
	if status := r.mayBind(ses); status != ntstatus.Success {
		return nil, status
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.bindings[ses.id]
	if st == nil {
		if len(c.bindings) >= maxBindings {
			return nil, ntstatus.InsufficientResources
		}
		st = &setup{auth: s.cfg.Auth.Begin(c.remote), session: ses, binding: true, preauth: c.preauth}
		if c.bindings == nil {
			c.bindings = map[uint64]*setup{}
		}
		c.bindings[ses.id] = st
	}
	return st, ntstatus.Success
}

// mayBind compares the session with the connection that asks for it. Deviation: the
// first two cases are Windows'; the specification does not speak of signing
// algorithms. The ClientGuid, which it lets a server compare, is not.
func (r *request) mayBind(ses *session) ntstatus.Status {
	c, k := r.conn, &ses.keys
	state, who := ses.currentState(), ses.identity.Load()
	switch {
	case k.algorithm == smb2.SigningAESGMAC && c.signing != k.algorithm:
		return ntstatus.RequestOutOfSequence
	case c.signing == smb2.SigningAESGMAC && c.signing != k.algorithm:
		return ntstatus.NotSupported
	case !c.dialect.Is3x() || !r.server().caps.Has(CapMultiChannel):
		return ntstatus.RequestNotAccepted
	case r.hdr.Flags&smb2.FlagSigned == 0, ses.dialect != c.dialect, k.cipher != c.cipher:
		return ntstatus.InvalidParameter
	case state == sessionInProgress:
		return ntstatus.RequestNotAccepted
	case state == sessionExpired:
		return ntstatus.NetworkSessionExpired
	case state == sessionClosed || who == nil:
		return ntstatus.UserSessionDeleted
	case who.Anonymous || who.Guest:
		return ntstatus.NotSupported
	case c.channel(ses.id) != nil:
		return ntstatus.RequestNotAccepted
	}
	return ntstatus.Success
}

// maxBindings bounds a connection's PreauthSessionTable.
const maxBindings = 16

// step passes one token to the authentication and answers [MS-SMB2] 3.3.5.5.3. The
// caller holds mu.
func (st *setup) step(r *request, req *smb2.SessionSetupRequest) {
	if !st.again && r.conn.dialect == Dialect311 {
		st.preauth = extendHash(st.preauth, r.msg)
	}
	answer, who, err := st.auth.Step(req.SecurityBuffer)
	if err != nil {
		status := ntstatus.LogonFailure
		errors.As(err, &status)
		r.server().metrics.authFailures.Inc()
		r.server().log.Info("authentication failed", "client", r.conn.remote, "status", status, "reason", err)
		st.abort(r)
		r.fail(status)
		return
	}
	resp := smb2.SessionSetupResponse{SecurityBuffer: answer}
	if who == nil {
		if !st.again && r.conn.dialect == Dialect311 {
			r.sealed = func(reply []byte) { st.preauth = extendHash(st.preauth, reply) }
		}
		r.finish(ntstatus.MoreProcessingRequired, resp.AppendTo(r.reserve(64+len(answer))))
		return
	}
	status := st.complete(r, req, who, &resp)
	if status != ntstatus.Success {
		st.abort(r)
		r.fail(status)
		return
	}
	st.over = true
	body := resp.AppendTo(r.reserve(64 + len(answer)))
	// The answer waits for the end of the session that this one replaces: what it
	// leaves for a reconnect is there when the client asks.
	r.server().replace(r, req.PreviousSessionID, who, func() { r.finish(ntstatus.Success, body) })
}

// abort ends a failed authentication, and the session unless only a channel was to
// be bound to it.
func (st *setup) abort(r *request) {
	st.over = true
	if st.binding {
		r.conn.dropBinding(st)
		return
	}
	st.session.close(ReasonSessionLost, nil)
}

func (c *conn) dropBinding(st *setup) {
	c.mu.Lock()
	if c.bindings[st.session.id] == st {
		delete(c.bindings, st.session.id)
	}
	c.mu.Unlock()
}

// complete makes a session, a channel or a renewed session of a finished authentication.
func (st *setup) complete(r *request, req *smb2.SessionSetupRequest, who *Identity, resp *smb2.SessionSetupResponse) ntstatus.Status {
	s := r.server()
	if who.Anonymous && !s.cfg.Anonymous || who.Guest && !s.cfg.Guest {
		return ntstatus.AccessDenied
	}
	if who.Guest {
		resp.SessionFlags |= smb2.SessionFlagIsGuest
	}
	if who.Anonymous {
		resp.SessionFlags |= smb2.SessionFlagIsNull
	}
	var status ntstatus.Status
	switch {
	case st.binding:
		status = st.completeBinding(r, who)
	case st.again:
		status = st.completeAgain(r, who)
	default:
		status = st.completeNew(r, req, who, resp)
	}
	if status != ntstatus.Success {
		return status
	}
	s.trust(r.conn)
	s.metrics.logons.Inc()
	if len(who.Delegated) > 0 && s.cfg.Audit != nil {
		s.cfg.Audit.DelegatedLogon(who, r.conn.remote)
	}
	s.log.Info("session", "client", r.conn.remote, "user", who.User, "session", st.session.id, "binding", st.binding,
		"renewed", st.again, "dialect", r.conn.dialect)
	return ntstatus.Success
}

func (st *setup) completeNew(r *request, req *smb2.SessionSetupRequest, who *Identity, resp *smb2.SessionSetupResponse) ntstatus.Status {
	s, c, ses := r.server(), r.conn, st.session
	// [MS-SMB2] 3.3.5.5.3: a client keeps to one dialect.
	if !s.register(c) {
		return ntstatus.UserSessionDeleted
	}
	named := !who.Anonymous && !who.Guest
	if len(who.SessionKey) > 0 {
		ses.keys = deriveKeys(c, who.SessionKey, st.preauth, named)
	}
	if named && s.cfg.Encryption == EncryptionRequired && ses.keys.canSeal() {
		ses.encryptData = true
		resp.SessionFlags |= smb2.SessionFlagEncryptData
	}
	required := s.cfg.Signing == SigningRequired || smb2.SecurityMode(req.SecurityMode)&smb2.SigningRequired != 0
	ses.signingRequired.Store(required && named)
	if key := ses.keys.signer(c); key != nil {
		st.channel.signer.Store(&signerBox{key})
		// Guest and anonymous sessions' responses are not signed.
		if named {
			r.signer = key
		}
	}
	ses.renew(who)
	ses.mu.Lock()
	ok := ses.state.CompareAndSwap(uint32(sessionInProgress), uint32(sessionValid))
	ses.mu.Unlock()
	if !ok {
		return ntstatus.UserSessionDeleted
	}
	s.metrics.sessions.Inc()
	st.channel.setup.Store(nil)
	r.session = ses
	return ntstatus.Success
}

// completeAgain renews a session: who and how long change, keys stay.
func (st *setup) completeAgain(r *request, who *Identity) ntstatus.Status {
	ses := st.session
	ses.renew(who)
	if sessionState(ses.state.Load()) == sessionExpired {
		ses.state.CompareAndSwap(uint32(sessionExpired), uint32(sessionValid))
	}
	st.channel.setup.Store(nil)
	if key := st.channel.signing(); key != nil && !who.Anonymous && !who.Guest {
		r.signer = key
	}
	return ntstatus.Success
}

// completeBinding adds the channel to the session.
func (st *setup) completeBinding(r *request, who *Identity) ntstatus.Status {
	ses, c := st.session, r.conn
	owner := ses.identity.Load()
	// Deviation: the specification says STATUS_NOT_SUPPORTED, Windows this.
	if who.Anonymous || who.Guest || owner == nil || !sameUser(owner, who) {
		return ntstatus.AccessDenied
	}
	if !r.server().register(c) {
		return ntstatus.UserSessionDeleted
	}
	key := channelSigner(c, who.SessionKey, st.preauth)
	ch := &channel{session: ses, conn: c}
	ch.signer.Store(&signerBox{key})
	ses.mu.Lock()
	open := sessionState(ses.state.Load()) == sessionValid && len(ses.channels) < maxChannels
	if open {
		ses.channels = append(ses.channels, ch)
	}
	ses.mu.Unlock()
	if !open {
		return ntstatus.InsufficientResources
	}
	if !c.addChannel(ch) {
		ses.lose(ch, ReasonSessionLost)
		return ntstatus.InsufficientResources
	}
	c.dropBinding(st)
	r.signer = key
	return ntstatus.Success
}

// maxChannels is how many channels a session may have, as Windows' default.
const maxChannels = 32

// renew sets who the session stands for.
func (s *session) renew(who *Identity) {
	s.identity.Store(who)
	expires := int64(0)
	if !who.Expires.IsZero() {
		expires = who.Expires.UnixNano()
	}
	s.expires.Store(expires)
	s.touch()
}

func sameUser(a, b *Identity) bool { return a.Token.User == b.Token.User }

// replace ends the session that a client says it has lost, if it is the same user's, and
// calls then when that is done, maybe on another goroutine.
func (s *Server) replace(r *request, id uint64, who *Identity, then func()) {
	var old *session
	if id != 0 && id != r.session.id {
		old = s.sessions.previous(id)
	}
	if old != nil {
		if owner := old.identity.Load(); owner != nil && sameUser(owner, who) {
			old.close(ReasonSessionLost, then)
			return
		}
	}
	then()
}

// logoff is [MS-SMB2] 3.3.5.6.
func logoff(r *request) {
	r.session.close(ReasonLogoff, func() { r.ok(&smb2.Empty{Of: smb2.CommandLogoff}) })
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}
