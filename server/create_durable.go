package server

import (
	"sync"
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server/object"
	"gabion/store"
)

const (
	// durableTimeout is Open.DurableOpenTimeout of durable handles of the first version: note 335.
	durableTimeout = 2 * time.Minute
	// A second version's timeout is what the client asks for, at most this
	// (3.3.5.9.10), or the default if it asks for none: note 344.
	maxDurableTimeout     = 300 * time.Second
	defaultDurableTimeout = 60 * time.Second
)

// owner is who an open belongs to: Open.DurableOwner.
func (r *request) owner() string {
	return r.session.identity.Load().Token.User.String()
}

// persists reports whether an open may be persistent here.
func (r *request) persists() bool {
	return r.tree.share.ContinuouslyAvailable && r.conn.serverCaps&smb2.CapPersistentHandles != 0
}

// persists is request.persists for a new open: no more are granted while too many wait for their clients.
func (c *creation) persists() bool {
	s := c.r.server()
	return c.r.persists() && !s.durables.full(s.limits.Disconnected)
}

// makeDurable decides on durability: 3.3.5.9.6 and 3.3.5.9.10.
func (c *creation) makeDurable(f *file, res *object.CreateResult) {
	r := c.r
	if c.ctx.durableV2 == nil && c.ctx.durable == nil {
		return
	}
	// What makes a client notice that others want the file, so that it is fair to keep
	// it for an absent one.
	kept := !f.obj.IsDir() && (res.Oplock == object.OplockBatch ||
		res.Oplock == object.OplockLease && res.Lease.State&object.CacheHandle != 0)
	d := object.Durable{Owner: r.owner(), Timeout: durableTimeout}
	switch {
	case c.ctx.durableV2 != nil:
		q := c.ctx.durableV2
		d.CreateGUID, d.Timeout = q.CreateGUID, grantedTimeout(q.Timeout)
		switch {
		case f.obj.IsDir():
		case q.Flags&smb2.DurableFlagPersistent != 0 && (f.recorded || c.persists()):
			d.Kind = object.Persistent
		case kept:
			d.Kind = object.DurableV2
		}
		f.obj.SetDurable(d)
		if d.Kind == object.Persistent && !f.persist() {
			if d.Kind = object.NotDurable; kept {
				d.Kind = object.DurableV2
			}
			f.obj.SetDurable(d)
		}
		f.setReplayable(d.Kind == object.Persistent || !f.obj.IsDir() &&
			f.granted(dtyp.FileReadData|dtyp.FileExecute|dtyp.FileWriteData|dtyp.FileAppendData|dtyp.Delete))
	case c.ctx.durable != nil && kept:
		d.Kind = object.DurableV1
		f.obj.SetDurable(d)
	}
}

func grantedTimeout(ms uint32) time.Duration {
	if ms == 0 {
		return defaultDurableTimeout
	}
	return min(time.Duration(ms)*time.Millisecond, maxDurableTimeout)
}

// addDurable adds the response contexts 2.2.14.2.3 and 2.2.14.2.12, for what was
// granted only: note 342.
func (c *creation) addDurable(b *smb2.ContextBuilder, f *file) {
	d := f.obj.Durable()
	switch {
	case d.Kind == object.NotDurable:
	case c.ctx.durableV2 != nil:
		resp := smb2.DurableResponseV2{Timeout: uint32(d.Timeout / time.Millisecond)}
		if d.Kind == object.Persistent {
			resp.Flags = smb2.DurableFlagPersistent
		}
		b.Add(smb2.ContextDurableRequestV2, resp.AppendTo(nil))
	case c.ctx.durable != nil && c.ctx.reconnect == nil:
		b.Add(smb2.ContextDurableRequest, (&smb2.DurableResponse{}).AppendTo(nil))
	}
}

// fileOf is what the server knows of an open of the object store.
func fileOf(o *object.Open) *file {
	if o == nil {
		return nil
	}
	f, _ := o.Tag().(*file)
	return f
}

// replay looks for the open that a lost response of this CREATE was about: 3.3.5.9,
// after "Create Context Validation", and 3.3.5.9.10.
func (c *creation) replay() bool {
	q := c.ctx.durableV2
	if q == nil {
		return true
	}
	f := fileOf(c.r.tree.share.Tree.FS().FindCreateGUID(q.CreateGUID))
	if f == nil {
		return true
	}
	current, eligible := f.replayable()
	eligible = eligible && f.client == c.r.conn.client
	persistent := f.obj.Durable().Kind == object.Persistent && q.Flags&smb2.DurableFlagPersistent != 0 && c.r.persists()
	switch {
	case eligible && !c.r.isReplay():
		return c.fail(ntstatus.DuplicateObjectid)
	case eligible && current != nil:
		return c.replayed(f, current)
	case persistent && c.r.isReplay():
		return c.reclaim(f, current)
	case eligible:
		return c.fail(ntstatus.DuplicateObjectid) // its session is not this one
	}
	return true
}

// replayable returns the open that f has now, and Open.IsReplayEligible of it or of the
// last one.
func (f *file) replayable() (current *open, eligible bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.current != nil {
		return f.current, f.current.replayEligible.Load()
	}
	return nil, f.eligible
}

// leaving reports that the open of f has ended, and f is not yet there for a reconnect.
func (f *file) leaving() bool {
	f.mu.Lock()
	o, leaves := f.current, f.leaves
	f.mu.Unlock()
	if o == nil {
		return leaves
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ended
}

// setReplayable sets Open.IsReplayEligible.
func (f *file) setReplayable(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.eligible = on; f.current != nil {
		f.current.replayEligible.Store(on)
	}
}

// orphan keeps a persistent open whose session was lost while CREATE was carried out: the client
// comes back for it by a replay, and must not find that a file was made, or marked for
// deletion, by a CREATE that failed.
func (c *creation) orphan(f *file, res *object.CreateResult) bool {
	q := c.ctx.durableV2
	if q == nil || q.Flags&smb2.DurableFlagPersistent == 0 || !c.r.persists() || f.obj.IsDir() ||
		c.r.session.currentState() != sessionClosed {
		return false
	}
	// A replay that finds it from here on has to wait.
	f.mu.Lock()
	f.id.Persistent, f.leaves = f.persistent, true
	f.mu.Unlock()
	c.makeDurable(f, res)
	if !f.Detach(ReasonSessionLost) {
		f.Close(ReasonSessionLost)
	}
	return true
}

// setRecord has a persistent open recorded together with the file that it makes. Otherwise a
// crash between the two would leave a file of which the replay knew nothing, and on which it failed.
func (c *creation) setRecord(f *file) {
	q := c.ctx.durableV2
	if q == nil || q.Flags&smb2.DurableFlagPersistent == 0 || !c.persists() {
		return
	}
	f.persistent = c.r.server().opens.reserve()
	if c.disk != nil {
		return
	}
	durable := object.Durable{Kind: object.Persistent, Owner: c.r.owner(), CreateGUID: q.CreateGUID, Timeout: grantedTimeout(q.Timeout)}
	c.obj.Record = func(state object.OpenState) []store.KVEdit {
		state.Durable = durable
		f.action, f.recorded = smb2.ActionCreated, true
		return []store.KVEdit{{Bucket: recordBucket, Key: recordKey(f.persistent), Value: f.encode(state)}}
	}
}

// createKey names a CREATE that may be replayed.
type createKey struct {
	client clientID
	guid   dtyp.GUID
}

// createTable holds the CREATEs that are being carried out: those that wait for a break
// above all, of which a client may lose patience.
type createTable struct {
	mu      sync.Mutex
	running map[createKey]struct{} // guarded by mu
}

// begin enters k; false if it is there already.
func (t *createTable) begin(k createKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, there := t.running[k]; there {
		return false
	}
	if t.running == nil {
		t.running = make(map[createKey]struct{})
	}
	t.running[k] = struct{}{}
	return true
}

func (t *createTable) end(k createKey) {
	t.mu.Lock()
	delete(t.running, k)
	t.mu.Unlock()
}

// begin notes that the CREATE is being carried out. There is no Open yet that a replay of it
// could find; it is told to come again. From here on the CREATE's effects cannot overtake one
// another, so that it is now that it shows whether this one comes too late.
func (c *creation) begin() bool {
	if c.ctx.durableV2 == nil {
		return true
	}
	sequence, guid := c.r.hdr.ChannelSequence, c.ctx.durableV2.CreateGUID
	if c.r.isReplay() {
		c.r.session.replays.note(guid, sequence)
	}
	key := createKey{c.r.conn.client, guid}
	if !c.r.server().creates.begin(key) {
		if c.r.isReplay() {
			return c.fail(ntstatus.FileNotAvailable)
		}
		return c.fail(ntstatus.DuplicateObjectid)
	}
	c.key, c.running = key, &c.r.server().creates
	switch {
	case c.r.session.replays.overtook(guid, sequence):
		return c.fail(ntstatus.FileNotAvailable)
	case c.r.session.currentState() == sessionClosed:
		return c.fail(ntstatus.UserSessionDeleted)
	}
	return true
}

// replayLog is the CREATEs of a session that were replayed, and with what ChannelSequence.
// Deviation: 3.3.5.2.10 does not look at CREATE. One that a channel hands over which the
// client has given up would open, or overwrite, a second time what its replay opened, if that is
// closed by then or no longer eligible for replay.
type replayLog struct {
	mu    sync.Mutex
	seen  map[dtyp.GUID]uint16 // guarded by mu
	order []dtyp.GUID          // the oldest goes first; guarded by mu
}

// replaysKept bounds a replayLog. A host replays what it had under way when a channel was lost.
const replaysKept = 1024

func (l *replayLog) note(guid dtyp.GUID, sequence uint16) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old, there := l.seen[guid]
	if there && sequence-old > 0x7FFF {
		return
	}
	if !there {
		if l.seen == nil {
			l.seen = make(map[dtyp.GUID]uint16)
		}
		if len(l.order) == replaysKept {
			delete(l.seen, l.order[0])
			l.order = l.order[1:]
		}
		l.order = append(l.order, guid)
	}
	l.seen[guid] = sequence
}

// overtook reports that a replay with a newer ChannelSequence has come.
func (l *replayLog) overtook(guid dtyp.GUID, sequence uint16) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	newest, there := l.seen[guid]
	return there && sequence-newest > 0x7FFF
}

// outlivesConnection reports that the connection is lost but the session is not, and that
// the client can come back for the answer by a replay on another channel. Deviation: 3.3.7.1
// cancels all requests of a lost connection; the client would find the break it waited
// for forgotten.
func (c *creation) outlivesConnection() bool {
	if c.ctx.durableV2 == nil || !c.r.conn.lost() {
		return false
	}
	for _, ch := range c.r.session.live() {
		if ch.conn != c.r.conn {
			return true
		}
	}
	return false
}

// lost reports whether the connection is gone.
func (c *conn) lost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// end is the counterpart of begin, after the Open can be found.
func (c *creation) end() {
	if c.running != nil {
		c.running.end(c.key)
		c.running = nil
	}
}

// replayed answers a CREATE that has been carried out before.
func (c *creation) replayed(f *file, current *open) bool {
	d := f.obj.Durable()
	li, leased := f.obj.Lease()
	switch {
	case d.Owner != c.r.owner():
		return c.fail(ntstatus.AccessDenied)
	case leased != (c.ctx.lease != nil), leased && dtyp.GUID(c.ctx.lease.Key) != li.Key:
		return c.fail(ntstatus.AccessDenied)
	case current.session != c.r.session:
		return c.fail(ntstatus.DuplicateObjectid)
	case d.Kind == object.Persistent && c.ctx.durableV2.Flags&smb2.DurableFlagPersistent == 0:
		return c.fail(ntstatus.InvalidParameter)
	}
	c.r.open = current
	// The client believes what it is told: no more caching than it asks for now, and no
	// durability that this caching would not have given.
	if level := c.req.RequestedOplockLevel; !leased && level < smb2.OplockLevel(f.obj.Oplock()) {
		c.lower = &level
	}
	return c.again(f, uint32(f.action))
}

// reclaim gives a persistent open back to a client that lost even the response which
// told it about the open.
func (c *creation) reclaim(f *file, current *open) bool {
	switch {
	case current != nil:
		return c.fail(ntstatus.FileNotAvailable)
	case f.obj.Durable().Owner != c.r.owner():
		return c.fail(ntstatus.AccessDenied)
	case f.asked.CreateOptions != c.req.CreateOptions, f.asked.DesiredAccess != c.req.DesiredAccess,
		f.asked.ShareAccess != c.req.ShareAccess:
		return c.fail(ntstatus.ContextMismatch)
	}
	return c.reattach(f) && c.again(f, uint32(f.action))
}

// again answers with an open there was before.
func (c *creation) again(f *file, action uint32) bool {
	i, status := f.info()
	if status != ntstatus.Success {
		return c.fail(status)
	}
	b := smb2.NewContextBuilder(make([]byte, 0, smallBody))
	if li, ok := f.obj.Lease(); ok {
		addLease(&b, &li)
	}
	resp := c.response(f, action, &i)
	if c.lower != nil {
		resp.OplockLevel = *c.lower
	}
	if c.lower == nil || f.obj.Durable().Kind == object.Persistent {
		c.addDurable(&b, f)
	}
	c.addInfo(&b, f, &i)
	c.respond(f, resp, &b, c.recorded(f, 0))
	return false
}

// reattach gives a disconnected open to the request's session: "Open.Connection …
// Open.Session … Open.TreeConnect … Open.FileId" of 3.3.5.9.7 and 3.3.5.9.12.
func (c *creation) reattach(f *file) bool {
	f.obj.SetToken(c.r.tree.tokenAt(f.obj.Path()))
	if f.recovered && c.ctx.lease != nil {
		f.obj.SawEpoch(c.ctx.lease.Epoch)
	}
	if !f.obj.Reconnect(f) {
		// One whose session has just been lost still has requests to finish.
		if f.leaving() {
			return c.fail(ntstatus.FileNotAvailable)
		}
		// By now it may be over.
		if !f.obj.Reconnect(f) {
			return c.fail(ntstatus.ObjectNameNotFound)
		}
	}
	f.server.durables.remove(f)
	o, status := c.r.newOpen(f, f.persistent)
	if status != ntstatus.Success {
		if !f.Detach(ReasonSessionLost) {
			f.Close(ReasonSessionLost)
		}
		return c.fail(status)
	}
	f.attach(o)
	o.release()
	return true
}

// reconnect is 3.3.5.9.7 and 3.3.5.9.12: nothing is opened.
func (c *creation) reconnect() bool {
	switch {
	case c.ctx.reconnect != nil:
		c.reconnectTo(c.r.server().durables.find(c.ctx.reconnect.FileID.Persistent), false)
		return false
	case c.ctx.reconnectV2 != nil:
		q := c.ctx.reconnectV2
		f := c.r.server().durables.find(q.FileID.Persistent)
		attached := c.r.server().opens.byPersistent(q.FileID.Persistent) != nil
		if f == nil && !attached && q.Flags&smb2.DurableFlagPersistent != 0 && c.r.persists() {
			f = fileOf(c.r.tree.share.Tree.FS().FindCreateGUID(q.CreateGUID))
		}
		if f != nil && f.obj.Durable().CreateGUID != q.CreateGUID {
			f = nil
		}
		c.reconnectTo(f, q.Flags&smb2.DurableFlagPersistent != 0)
		return false
	}
	return true
}

// reconnectTo checks whether f may be had back, and answers.
func (c *creation) reconnectTo(f *file, persistent bool) {
	status := ntstatus.ObjectNameNotFound
	if f != nil {
		status = c.mayReconnect(f, persistent)
	}
	if status != ntstatus.Success {
		c.fail(status)
		return
	}
	if c.reattach(f) {
		c.ctx.onDisk, c.ctx.maximal = false, nil // 3.3.5.9.9
		c.again(f, uint32(smb2.ActionOpened))
	}
}

// mayReconnect are the conditions of both sections. Deviation: a persistent open is also
// durable, but needs neither a batch oplock nor an H lease, as the connection's loss does
// not ask for them either.
func (c *creation) mayReconnect(f *file, persistent bool) ntstatus.Status {
	d := f.obj.Durable()
	li, leased := f.obj.Lease()
	durable := d.Kind == object.DurableV1 || d.Kind == object.DurableV2
	v2 := c.ctx.reconnectV2 != nil
	switch {
	case leased && f.client != c.r.conn.client,
		d.Kind == object.NotDurable,
		v2 && d.Kind == object.Persistent && !persistent,
		leased != (c.ctx.lease != nil),
		leased && (dtyp.GUID(c.ctx.lease.Key) != li.Key || c.ctx.lease.V2 != li.V2),
		durable && !leased && f.obj.Oplock() != object.OplockBatch,
		durable && leased && li.State&object.CacheHandle == 0,
		f.obj.Tree() != c.r.tree.share.Tree:
		return ntstatus.ObjectNameNotFound
	case leased && !c.namesSame(f):
		return ntstatus.InvalidParameter
	case persistent && d.Kind != object.Persistent:
		return ntstatus.InvalidParameter
	case d.Owner != c.r.owner():
		return ntstatus.AccessDenied
	}
	return ntstatus.Success
}

// namesSame compares Open.Lease.FileName with the request's, unless the file is to be
// deleted (Lease.FileDeleteOnClose).
func (c *creation) namesSame(f *file) bool {
	if i, status := f.obj.Info(); status == ntstatus.Success && i.DeletePending {
		return true
	}
	return fold(f.path()) == fold(c.name)
}

// evict is 3.3.5.9.13: the open that another host has for the same instance of an
// application makes way, unless it is of a later version.
func (c *creation) evict() bool {
	app := c.ctx.app
	if app == nil {
		return true
	}
	share := c.r.tree.share
	for _, o := range share.Tree.FS().FindAppInstance(share.Tree, app.ID, c.path, c.r.conn.client) {
		f := fileOf(o)
		if f == nil {
			continue
		}
		if v := f.app.version; v != nil {
			asked := c.ctx.appVersion
			if asked == nil || c.r.dialect() == smb2.Dialect311 && !v.Less(*asked) {
				return c.fail(ntstatus.FileForcedClosed)
			}
		}
		// "If the maximal access includes GENERIC_READ access, the server MUST close the open"
		granted, status := f.obj.MaximalAccess(c.r.tree.maximalAccess)
		if status == ntstatus.Success && dtyp.AccessMask(granted).Has(dtyp.FileGenericRead) {
			f.obj.ForceClose()
		}
	}
	return true
}
