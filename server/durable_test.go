package server_test

import (
	"fmt"
	"testing"

	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server"
)

var hostGUID = dtyp.GUID{15: 1}

// reconnecting is the same host after it lost its connection.
func (a *array) reconnecting(old *client.Tree, user, share string) *client.Tree {
	a.t.Helper()
	old.Session.Conn.Close()
	c := a.dial(client.Negotiation{ClientGUID: hostGUID})
	s, err := c.SessionSetup(client.NTLM(credentials(user)), client.Setup{PreviousSessionID: old.Session.ID})
	if err != nil {
		a.t.Fatal(err)
	}
	tree, err := s.Connect(share)
	if err != nil {
		a.t.Fatal(err)
	}
	return tree
}

func durable(name string, level smb2.OplockLevel) *smb2.CreateRequest {
	m := client.OpenFile(name)
	m.RequestedOplockLevel = level
	return m
}

func withV2(m *smb2.CreateRequest, guid dtyp.GUID, flags smb2.DurableFlags) *smb2.CreateRequest {
	return client.WithContext(m, smb2.ContextDurableRequestV2, &smb2.DurableRequestV2{CreateGUID: guid, Flags: flags, Timeout: 1e9})
}

func reconnectV1(name string, id smb2.FileID) *smb2.CreateRequest {
	return client.WithContext(client.OpenFile(name), smb2.ContextDurableReconnect, &smb2.DurableReconnect{FileID: id})
}

func reconnectV2(name string, id smb2.FileID, guid dtyp.GUID, flags smb2.DurableFlags) *smb2.CreateRequest {
	return client.WithContext(client.OpenFile(name), smb2.ContextDurableReconnectV2,
		&smb2.DurableReconnectV2{FileID: id, CreateGUID: guid, Flags: flags})
}

// Durability is granted for what makes a client notice others, and not for directories.
func TestDurabilityGranted(t *testing.T) {
	a := newArray(t)
	lease := func(m *smb2.CreateRequest, state smb2.LeaseState) *smb2.CreateRequest {
		return client.WithLease(m, smb2.Lease{V2: true, Key: smb2.LeaseKey{byte(state), m.Name[0]}, State: state})
	}
	const rh, r = smb2.LeaseReadCaching | smb2.LeaseHandleCaching, smb2.LeaseReadCaching
	for _, tt := range []struct {
		name     string
		share    string
		create   *smb2.CreateRequest
		persist  bool
		granted  bool
		persists bool
	}{
		{"batch oplock", "vms", durable("1", smb2.OplockLevelBatch), false, true, false},
		{"level II", "vms", durable("2", smb2.OplockLevelII), false, false, false},
		{"RH lease", "vms", lease(durable("3", 0), rh), false, true, false},
		{"R lease", "vms", lease(durable("4", 0), r), false, false, false},
		{"RH lease on a directory", "vms", lease(client.OpenDirectory("5"), rh), false, false, false},
		{"persistent on a plain share", "vms", durable("6", smb2.OplockLevelBatch), true, true, false},
		{"persistent", "ca", durable("7", smb2.OplockLevelNone), true, true, true},
		{"not asked for on a CA share", "ca", durable("8", smb2.OplockLevelNone), false, false, false},
	} {
		tree := a.connect(client.Negotiation{}, "ann", tt.share)
		flags := smb2.DurableFlags(0)
		if tt.persist {
			flags = smb2.DurableFlagPersistent
		}
		f := open(t, tree, withV2(tt.create, dtyp.GUID{tt.name[0], tt.create.Name[0]}, flags))
		data, granted := f.Context(smb2.ContextDurableRequestV2)
		if granted != tt.granted {
			t.Errorf("%s: granted %v", tt.name, granted)
			continue
		}
		var resp smb2.DurableResponseV2
		if granted && (resp.Decode(data) != nil || resp.Timeout != 300_000 || (resp.Flags != 0) != tt.persists) {
			t.Errorf("%s: %+v", tt.name, resp)
		}
	}
}

func TestReconnectV1(t *testing.T) {
	a := newArray(t)
	tree := a.connect(client.Negotiation{ClientGUID: hostGUID}, "ann", "vms")
	f := open(t, tree, client.WithContext(durable("f", smb2.OplockLevelBatch), smb2.ContextDurableRequest, &smb2.DurableRequest{}))
	if _, ok := f.Context(smb2.ContextDurableRequest); !ok {
		t.Fatal("not durable")
	}
	if _, err := f.WriteAt([]byte("still here"), 0); err != nil {
		t.Fatal(err)
	}
	_, err := tree.Create(reconnectV1("f", f.ID))
	want(t, "while it is connected", err, ntstatus.ObjectNameNotFound)
	// Naming the lost session, ann makes the server notice the loss before anybody asks for the open.
	ann := a.reconnecting(tree, "ann", "vms")
	bob := a.connect(client.Negotiation{ClientGUID: hostGUID}, "bob", "vms")
	_, err = bob.Create(reconnectV1("f", f.ID))
	want(t, "another user", err, ntstatus.AccessDenied)
	_, err = ann.Create(reconnectV1("f", smb2.FileID{Persistent: f.ID.Persistent + 1000}))
	want(t, "another open", err, ntstatus.ObjectNameNotFound)
	_, err = ann.Create(client.WithLease(reconnectV1("f", f.ID), smb2.Lease{State: smb2.LeaseReadCaching}))
	want(t, "with a lease it never had", err, ntstatus.ObjectNameNotFound)
	got := open(t, ann, reconnectV1("some other name", f.ID))
	if got.ID.Persistent != f.ID.Persistent || got.ID == f.ID || got.Response.OplockLevel != smb2.OplockLevelBatch {
		t.Errorf("reconnected as %+v", got.Response)
	}
	b := make([]byte, 10)
	if _, err := got.ReadAt(b, 0); err != nil || string(b) != "still here" {
		t.Errorf("%q %v", b, err)
	}
	want(t, "close", got.Close(), ntstatus.Success)
}

func TestReconnectV2(t *testing.T) {
	a := newArray(t)
	key := smb2.Lease{V2: true, Key: smb2.LeaseKey{9}, State: smb2.LeaseReadCaching | smb2.LeaseHandleCaching | smb2.LeaseWriteCaching, Epoch: 4}
	for _, tt := range []struct {
		name  string
		share string
		flags smb2.DurableFlags
	}{{"durable", "vms", 0}, {"persistent", "ca", smb2.DurableFlagPersistent}} {
		guid := dtyp.GUID{1, byte(tt.flags)}
		key.Key[1] = byte(tt.flags)
		tree := a.connect(client.Negotiation{ClientGUID: hostGUID}, "ann", tt.share)
		f := open(t, tree, withV2(client.WithLease(client.OpenFile(tt.name), key), guid, tt.flags))
		ann := a.reconnecting(tree, "ann", tt.share)
		try := func(what string, m *smb2.CreateRequest, status ntstatus.Status) {
			_, err := ann.Create(m)
			want(t, tt.name+", "+what, err, status)
		}
		again := func(name string, guid dtyp.GUID, flags smb2.DurableFlags) *smb2.CreateRequest {
			return client.WithLease(reconnectV2(name, f.ID, guid, flags), key)
		}
		try("another create GUID", again(tt.name, dtyp.GUID{2}, tt.flags), ntstatus.ObjectNameNotFound)
		try("without its lease", reconnectV2(tt.name, f.ID, guid, tt.flags), ntstatus.ObjectNameNotFound)
		try("another name", again("x", guid, tt.flags), ntstatus.InvalidParameter)
		try("two contexts", withV2(again(tt.name, guid, tt.flags), guid, tt.flags), ntstatus.InvalidParameter)
		if tt.flags == 0 {
			try("as if it were persistent", again(tt.name, guid, smb2.DurableFlagPersistent), ntstatus.InvalidParameter)
		} else {
			try("as if it were not", again(tt.name, guid, 0), ntstatus.ObjectNameNotFound)
		}
		got := open(t, ann, again(tt.name, guid, tt.flags))
		if l, ok := got.Lease(); !ok || l.State != key.State || l.Key != key.Key || got.ID.Persistent != f.ID.Persistent {
			t.Errorf("%s: reconnected with %+v", tt.name, got.Response)
		}
		got.Close()
	}
}

// A logoff leaves durable opens to the next session; a closed tree does not.
func TestDurableOverLogoffAndDisconnect(t *testing.T) {
	a := newArray(t)
	for _, tt := range []struct {
		name   string
		leave  func(*client.Tree) error
		status ntstatus.Status
	}{
		{"logoff", func(tree *client.Tree) error { return tree.Session.Logoff() }, ntstatus.Success},
		{"tree disconnect", (*client.Tree).Disconnect, ntstatus.ObjectNameNotFound},
	} {
		tree := a.connect(client.Negotiation{}, "ann", "vms")
		f := open(t, tree, withV2(durable(tt.name, smb2.OplockLevelBatch), dtyp.GUID{tt.name[0]}, 0))
		want(t, tt.name, tt.leave(tree), ntstatus.Success)
		_, err := a.connect(client.Negotiation{}, "ann", "vms").Create(reconnectV2(tt.name, f.ID, dtyp.GUID{tt.name[0]}, 0))
		want(t, "after "+tt.name, err, tt.status)
	}
}

// A CREATE whose answer was lost is sent again with SMB2_FLAGS_REPLAY_OPERATION.
func TestReplay(t *testing.T) {
	a := newArray(t)
	tree := a.connect(client.Negotiation{}, "ann", "vms")
	guid := dtyp.GUID{7}
	create := func(replay bool, m *smb2.CreateRequest) (*client.File, error) {
		r := tree.Request(withV2(m, guid, 0))
		if replay {
			r.Header.Flags |= smb2.FlagReplayOperation
		}
		p, err := tree.Session.Conn.Start(r)
		if err != nil {
			t.Fatal(err)
		}
		return p.File()
	}
	f, err := create(false, durable("f", smb2.OplockLevelBatch))
	want(t, "first", err, ntstatus.Success)
	_, err = create(false, durable("f", smb2.OplockLevelBatch))
	want(t, "again, but no replay", err, ntstatus.DuplicateObjectid)
	got, err := create(true, durable("f", smb2.OplockLevelBatch))
	want(t, "replayed", err, ntstatus.Success)
	if err == nil && (got.ID != f.ID || got.Response.CreateAction != f.Response.CreateAction || got.Response.OplockLevel != smb2.OplockLevelBatch) {
		t.Errorf("replayed: %+v", got.Response)
	}
	_, err = create(true, client.WithLease(durable("f", 0), smb2.Lease{V2: true, Key: smb2.LeaseKey{1}, State: smb2.LeaseReadCaching}))
	want(t, "replayed with a lease", err, ntstatus.AccessDenied)
	want(t, "close", f.Close(), ntstatus.Success)
	got, err = create(true, durable("f", smb2.OplockLevelBatch))
	want(t, "replayed after the close", err, ntstatus.Success)
	if err == nil && got.ID == f.ID {
		t.Error("a closed open came back")
	}
}

// A CREATE that waits for a break is not begun a second time by its replay.
func TestReplayOfWaitingCreate(t *testing.T) {
	a := newArray(t)
	holder := a.connect(client.Negotiation{}, "bob", "vms")
	held := open(t, holder, durable("f", smb2.OplockLevelBatch))
	tree := a.connect(client.Negotiation{}, "ann", "vms")
	start := func(flags smb2.HeaderFlags) *client.Pending {
		r := tree.Request(withV2(durable("f", smb2.OplockLevelNone), dtyp.GUID{8}, 0))
		r.Header.Flags |= flags
		p, err := tree.Session.Conn.Start(r)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	waiting := start(0)
	if _, final, err := waiting.Interim(); final || err != nil {
		t.Fatal("no interim response", err)
	}
	_, err := start(smb2.FlagReplayOperation).File()
	want(t, "replay while it waits", err, ntstatus.FileNotAvailable)
	held.Close()
	f, err := waiting.File()
	want(t, "when the holder has left", err, ntstatus.Success)
	again, err := start(smb2.FlagReplayOperation).File()
	want(t, "replay afterwards", err, ntstatus.Success)
	if err == nil && again.ID != f.ID {
		t.Errorf("replay gave %v, not %v", again.ID, f.ID)
	}
}

func TestOplockBreakAcknowledgements(t *testing.T) {
	a := newArray(t)
	holder := a.connect(client.Negotiation{}, "bob", "vms")
	held := open(t, holder, durable("f", smb2.OplockLevelBatch))
	_, err := held.AcknowledgeOplock(smb2.OplockLevelII)
	want(t, "nobody asked", err, ntstatus.InvalidOplockProtocol)
	p, err := a.connect(client.Negotiation{}, "ann", "vms").Start(client.OpenFile("f"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := holder.Session.Conn.Break()
	if err != nil {
		t.Fatal(err)
	}
	if m, err := b.OplockBreak(); err != nil || m.FileID != held.ID || m.OplockLevel != smb2.OplockLevelII {
		t.Errorf("%v %v", m, err)
	}
	ack, err := held.AcknowledgeOplock(smb2.OplockLevelII)
	want(t, "acknowledged", err, ntstatus.Success)
	if ack.OplockLevel != smb2.OplockLevelII {
		t.Errorf("left with %v", ack.OplockLevel)
	}
	_, err = p.File()
	want(t, "the open that waited", err, ntstatus.Success)
	_, err = holder.AcknowledgeLease(smb2.LeaseKey{1, 2, 3}, 0)
	want(t, "a lease nobody has", err, ntstatus.ObjectNameNotFound)
}

func TestCreateContexts(t *testing.T) {
	tree := vms(t)
	for _, tt := range []struct {
		name   string
		data   encoded
		status ntstatus.Status
	}{
		{"MyOw", encoded{1, 2, 3}, ntstatus.Success},
		{smb2.ContextAllocationSize, make(encoded, 7), ntstatus.InvalidParameter},
		{smb2.ContextTimewarp, make(encoded, 9), ntstatus.InvalidParameter},
		{smb2.ContextTimewarp, encoded{1, 0, 0, 0, 0, 0, 0, 0}, ntstatus.ObjectNameNotFound},
		{smb2.ContextMaximalAccess, make(encoded, 5), ntstatus.InvalidParameter},
		{smb2.ContextDurableRequestV2, make(encoded, 31), ntstatus.InvalidParameter},
		{smb2.ContextAppInstanceID, make(encoded, 19), ntstatus.InvalidParameter},
	} {
		_, err := tree.Create(client.WithContext(client.OpenFile("f"), tt.name, tt.data))
		want(t, tt.name, err, tt.status)
	}
	m := client.WithContext(client.OpenFile("f"), smb2.ContextMaximalAccess, nil)
	f := open(t, tree, client.WithContext(m, smb2.ContextOnDiskID, nil))
	var access smb2.MaximalAccessResponse
	if data, ok := f.Context(smb2.ContextMaximalAccess); !ok || access.Decode(data) != nil || access.MaximalAccess != dtyp.FileAllAccess {
		t.Errorf("maximal access %v", access)
	}
	var id smb2.OnDiskID
	if data, ok := f.Context(smb2.ContextOnDiskID); !ok || id.Decode(data) != nil || id.DiskFileID == 0 || id.VolumeID == 0 {
		t.Errorf("on-disk id %v", id)
	}
}

type encoded []byte

func (e encoded) AppendTo(b []byte) []byte { return append(b, e...) }

// FSCTL_LMR_REQUEST_RESILIENCY makes an open outlive its connection without oplock or lease:
// [MS-SMB2] 3.3.5.15.9.
func TestResilientOpen(t *testing.T) {
	a := newArray(t)
	tree := a.connect(client.Negotiation{ClientGUID: hostGUID}, "ann", "vms")
	resilient := func(name string, ms uint32) *client.File {
		t.Helper()
		f := open(t, tree, client.OpenFile(name))
		_, err := control(f, fscc.FsctlLMRRequestResiliency, (&smb2.NetworkResiliencyRequest{Timeout: ms}).AppendTo(nil), 0)
		want(t, "resilience", err, ntstatus.Success)
		return f
	}
	f, brief := resilient("f", 60_000), resilient("brief", 1)
	if _, err := f.WriteAt([]byte("still here"), 0); err != nil {
		t.Fatal(err)
	}
	want(t, "lock", lockWith(f, 1<<4|3, 100), ntstatus.Success)
	want(t, "lock", lockWith(brief, 0, 100), ntstatus.Success)
	ann := a.reconnecting(tree, "ann", "vms")
	bob := a.connect(client.Negotiation{ClientGUID: hostGUID}, "bob", "vms")
	_, err := bob.Create(reconnectV1("f", f.ID))
	want(t, "another user", err, ntstatus.AccessDenied)
	want(t, "its lock is held meanwhile", lockWith(open(t, bob, client.OpenFile("f")), 0, 100), ntstatus.LockNotGranted)
	got := open(t, ann, reconnectV1("f", f.ID))
	b := make([]byte, 10)
	if _, err := got.ReadAt(b, 0); err != nil || string(b) != "still here" {
		t.Errorf("%q %v", b, err)
	}
	want(t, "replayed lock", lockWith(got, 1<<4|3, 100), ntstatus.Success)
	want(t, "close", got.Close(), ntstatus.Success)
	// One whose time is over is closed, and its lock with it.
	for {
		if status, _ := client.Status(lockWith(open(t, bob, client.OpenFile("brief")), 0, 100)); status != ntstatus.LockNotGranted {
			break
		}
	}
	_, err = ann.Create(reconnectV1("brief", brief.ID))
	want(t, "after the time-out", err, ntstatus.ObjectNameNotFound)
}

// How many opens wait for absent clients is bounded: beyond it they end, and none that is promised to be kept is made.
func TestAbsentClientsAreBounded(t *testing.T) {
	a := newArrayWithin(t, server.Limits{Disconnected: 2})
	host := a.dial(client.Negotiation{ClientGUID: hostGUID})
	session, err := host.Login(credentials("ann"))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := session.Connect("ca")
	if err != nil {
		t.Fatal(err)
	}
	guid := func(i int) dtyp.GUID { return dtyp.GUID{1, byte(i)} }
	var files []*client.File
	for i := range 3 {
		files = append(files, open(t, tree, withV2(durable(fmt.Sprint("durable", i), smb2.OplockLevelBatch), guid(i), 0)))
	}
	files = append(files, open(t, tree, persistent(client.OpenFile("persistent"), guid(3))))
	host.Close()
	// The answer comes when the one before has ended.
	session, err = a.dial(client.Negotiation{ClientGUID: hostGUID}).SessionSetup(client.NTLM(credentials("ann")), client.Setup{PreviousSessionID: session.ID})
	if err != nil {
		t.Fatal(err)
	}
	if tree, err = session.Connect("ca"); err != nil {
		t.Fatal(err)
	}
	promised := func(f *client.File) bool {
		t.Helper()
		b, ok := f.Context(smb2.ContextDurableRequestV2)
		var d smb2.DurableResponseV2
		return ok && d.Decode(b) == nil && d.Flags&smb2.DurableFlagPersistent != 0
	}
	// Of four that wait, one durable open at least is too many.
	back := 0
	more := open(t, tree, persistent(client.OpenFile("more"), guid(9)))
	for i, f := range files {
		flags := smb2.DurableFlags(0)
		if i == 3 {
			flags = smb2.DurableFlagPersistent
		}
		m := reconnectV2(f.Name, f.ID, guid(i), flags)
		m.RequestedOplockLevel = smb2.OplockLevelBatch
		_, err := tree.Create(m)
		switch {
		case err == nil:
			back++
		case i == 3:
			t.Errorf("the persistent open: %v", err)
		default:
			want(t, f.Name, err, ntstatus.ObjectNameNotFound)
		}
	}
	if back < 2 || back > 3 {
		t.Errorf("%d of 4 were kept", back)
	}
	if back == 3 && promised(more) {
		t.Error("another persistent open was made while too many waited")
	}
	if !promised(open(t, tree, persistent(client.OpenFile("later"), guid(10)))) {
		t.Error("no persistent open is made although nobody is absent")
	}
}
