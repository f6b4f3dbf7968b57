package server

import (
	"sync"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server/object"
	"gabion/server/qos"
	"gabion/store"
)

// file is the LocalOpen of a file or directory on a disk share: an open of the
// object store, and what [MS-SMB2] 3.3.1.10 remembers of the CREATE that made it. It
// outlives the open of a connection when it is durable.
type file struct {
	server *Server
	share  *Share
	client clientID // Open.ClientGuid
	user   string   // who made it, for administrators to read
	obj    *object.Open

	// As requested, for a later replay or reconnect.
	asked  smb2.CreateRequest // without Name and Contexts
	name   string             // Open.FileName
	action smb2.CreateAction
	app    appInstance
	disk   *sharedDisk // Open.IsSharedVHDX; set before anybody finds the open

	persistent uint64 // Open.DurableFileId; constant from the first attach on
	recovered  bool   // made from a record

	recorded, forgotten bool // guarded by Server.recordMu

	binding *qos.Binding // to a flow; nil for a directory, or when nothing is scheduled

	mu       sync.Mutex
	current  *open           // nil while disconnected; guarded by mu
	id       smb2.FileID     // of current, or of the last one; guarded by mu
	eligible bool            // replayEligible of the open that was lost; guarded by mu
	leaves   bool            // Detach is not over; guarded by mu
	left     bool            // Detach is over and nobody came since; guarded by mu
	answered bool            // CREATE was answered: breaks may be sent; guarded by mu
	returned bool            // the open was there before that CREATE; guarded by mu
	closed   ntstatus.Status // guarded by mu
	held     []func()        // breaks that wait for that; guarded by mu
	locks    int             // byte-range locks, see countLocks; guarded by mu
	payer    *session        // whose count has them; guarded by mu
	eaIndex  int             // Open.CurrentEaIndex, from 0; guarded by mu
	last     object.Info     // what CLOSE returns; guarded by mu
	closePos store.Pos       // guarded by mu
}

// file is what the request's open is of, nil if that is a pipe.
func (r *request) file() *file {
	f, _ := r.open.local.(*file)
	return f
}

// attach makes o the open of f.
func (f *file) attach(o *open) {
	f.mu.Lock()
	f.returned = f.id != (smb2.FileID{}) || f.recovered
	f.current, f.id, f.answered, f.left = o, o.id, false, false
	f.pay(o.session)
	f.persistent = o.id.Persistent
	f.mu.Unlock()
}

// whenAnswered runs fn once the client knows the open: now, or right behind the
// CREATE response. A break that overtook it would name an open that the client has
// never heard of. That of a client that is away is told at once that nobody is there.
func (f *file) whenAnswered(fn func()) {
	f.mu.Lock()
	if !f.answered && !f.left {
		f.held = append(f.held, fn)
		f.mu.Unlock()
		return
	}
	f.mu.Unlock()
	fn()
}

// nowAnswered is called when the CREATE response is on its way.
func (f *file) nowAnswered() {
	for {
		f.mu.Lock()
		held := f.held
		f.held = nil
		if held == nil {
			f.answered = true
			returned := f.returned
			f.returned = false
			f.mu.Unlock()
			if returned {
				f.obj.Remind()
			}
			return
		}
		f.mu.Unlock()
		for _, fn := range held {
			fn()
		}
	}
}

// Close implements LocalOpen: [MS-SMB2] 3.3.4.17.
func (f *file) Close(why Reason) {
	f.server.durables.remove(f)
	f.unbind()
	// Between the two steps another open may take the place of this one, which then must not
	// come back after a crash. A deletion that is due must.
	var forgotten store.Pos
	if f.share.ContinuouslyAvailable && !f.obj.Deletes() {
		forgotten = f.server.forget(f)
	}
	info, pos, status := f.obj.Close()
	pos = max(pos, forgotten, f.server.forget(f))
	if f.disk != nil {
		f.disk.closed(&info, &pos)
	}
	f.mu.Lock()
	f.current = nil
	f.pay(nil)
	f.last, f.closePos, f.closed = info, pos, status
	f.mu.Unlock()
}

// Detach implements LocalOpen: [MS-SMB2] 3.3.7.1 and, for a logoff, 3.3.5.6.
func (f *file) Detach(Reason) bool {
	f.mu.Lock()
	if f.current != nil {
		f.eligible = f.current.replayEligible.Load()
	}
	f.current, f.leaves, f.answered = nil, true, false
	f.pay(nil)
	f.mu.Unlock()
	f.server.durables.add(f)
	if f.server.durables.full(f.server.limits.Disconnected) {
		f.giveUp()
	}
	kept := f.obj.Disconnect()
	f.mu.Lock()
	f.leaves = false
	var untold []func()
	if f.current == nil { // else its CREATE's answer sends them
		untold, f.held, f.left = f.held, nil, true
	}
	f.mu.Unlock()
	if !kept {
		f.server.durables.remove(f)
		return false
	}
	for _, fn := range untold {
		fn()
	}
	return true
}

// giveUp makes the open one that ends with its connection: too many wait for their clients already. A
// persistent one is kept, as was promised; of those no more are granted.
func (f *file) giveUp() {
	if d := f.obj.Durable(); d.Kind != object.Persistent {
		d.Kind = object.NotDurable
		f.obj.SetDurable(d)
	}
}

// Describe implements LocalOpen.
func (f *file) Describe(info *OpenInfo) {
	info.Path = f.path()
	info.Directory = f.obj.IsDir()
	info.Access = dtyp.AccessMask(f.obj.Access())
	info.ShareAccess = f.obj.ShareAccess()
	info.Caching = f.caching()
	info.Locks = f.obj.LockCount()
	info.Durable = durableNames[f.obj.Durable().Kind]
}

var durableNames = [...]string{object.NotDurable: "", object.DurableV1: "durable", object.DurableV2: "durable",
	object.Resilient: "resilient", object.Persistent: "persistent"}

// path is the path relative to the share, with the stream if it is a named one.
func (f *file) path() string {
	if s := f.obj.StreamName(); s != "" {
		return f.obj.Path() + ":" + s
	}
	return f.obj.Path()
}

func (f *file) caching() string {
	if li, ok := f.obj.Lease(); ok {
		return li.State.String()
	}
	switch f.obj.Oplock() {
	case object.OplockII:
		return "II"
	case object.OplockExclusive:
		return "exclusive"
	case object.OplockBatch:
		return "batch"
	}
	return "-"
}

// durableTable finds the disconnected files by their persistent id, which is
// Open.DurableFileId.
type durableTable struct {
	mu   sync.Mutex
	byID map[uint64]*file // guarded by mu
}

func (t *durableTable) add(f *file) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID == nil {
		t.byID = make(map[uint64]*file)
	}
	t.byID[f.persistent] = f
}

// full reports whether there are more than a limit.
func (t *durableTable) full(limit int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byID) > limit
}

func (t *durableTable) remove(f *file) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID[f.persistent] == f {
		delete(t.byID, f.persistent)
	}
}

// of lists the files of a share.
func (t *durableTable) of(sh *Share) (list []*file) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.byID {
		if f.share == sh {
			list = append(list, f)
		}
	}
	return list
}

// all lists the files.
func (t *durableTable) all() []*file {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*file, 0, len(t.byID))
	for _, f := range t.byID {
		list = append(list, f)
	}
	return list
}

func (t *durableTable) find(persistent uint64) *file {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[persistent]
}

// whenDurable calls fn when pos is durable; if the store has stopped it fails the request.
func (r *request) whenDurable(t *object.Tree, pos store.Pos, fn func()) {
	c := r.conn
	t.OnDurable(pos, func(err error) {
		defer c.recovered(nil)
		if err != nil {
			r.storeStopped()
			return
		}
		fn()
	})
}

func (r *request) storeStopped() {
	r.conn.fail("store stopped")
	r.fail(ntstatus.UnexpectedIOError)
}

// durably answers with status and body when pos is durable; a store that stopped
// answers nothing any more, see design.md's durability contract.
func (r *request) durably(t *object.Tree, pos store.Pos, status ntstatus.Status, body []byte) {
	if pos == 0 {
		r.finish(status, body)
		return
	}
	c := r.conn
	t.OnDurable(pos, func(err error) {
		defer c.recovered(nil)
		if err != nil {
			r.storeStopped()
			return
		}
		r.finish(status, body)
	})
}
