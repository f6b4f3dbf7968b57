package server_test

import (
	"errors"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/auth"
	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server"
	"gabion/server/object"
	"gabion/store/block"
	"gabion/store/crashfs"
)

// life is an array between two losses of power, on a disk that keeps nothing but what
// was synced.
type life struct {
	*array
	srv  *server.Server
	tree *object.Tree
	disk vfs.FS // what survives
	lose func()
}

func newLife(t *testing.T, disk vfs.FS) *life {
	t.Helper()
	fs, disk := crashfs.Mem(disk, crashfs.Options{})
	volume, err := block.Open(block.Options{Dir: "data", FS: fs, SegmentSize: 4 << 20, CacheSize: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	users, err := auth.OpenUsers(volume, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ann", "bob"} {
		if _, err := users.Add(name, "Secret-of-"+name); err != nil && !errors.Is(err, auth.ErrUserExists) {
			t.Fatal(err)
		}
	}
	srv, err := server.New(server.Config{
		Name: "GABION", Auth: server.Accepting(auth.NewAcceptor(&auth.NTLM{Users: users, Name: "GABION"})),
		Capabilities: server.DefaultCapabilities.With(server.CapPersistentHandles),
	})
	if err != nil {
		t.Fatal(err)
	}
	tree, status := object.New(object.Config{Breaker: srv.Breaker()}).Mount(volume).
		Tree("", object.TreeOptions{Share: "ca", ContinuouslyAvailable: true})
	if status != ntstatus.Success {
		t.Fatal(status)
	}
	if err := srv.AddShare(&server.Share{Name: "ca", Tree: tree, ContinuouslyAvailable: true}); err != nil {
		t.Fatal(err)
	}
	if err := srv.RecoverOpens(volume); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	power := rand.New(rand.NewPCG(1, 2))
	gone := false
	lose := func() {
		if gone {
			return
		}
		gone = true
		if err := fs.Crash(power, 0); err != nil {
			t.Fatal(err)
		}
		srv.Close()
		volume.Close()
	}
	t.Cleanup(lose)
	return &life{&array{t, l.Addr().String()}, srv, tree, disk, lose}
}

// next is the array when the power is back.
func (l *life) next() *life {
	l.t.Helper()
	l.lose()
	return newLife(l.t, l.disk)
}

// host connects as a host of virtual machines does.
func (l *life) host(guid dtyp.GUID, user string) *client.Tree {
	l.t.Helper()
	return l.connect(client.Negotiation{ClientGUID: guid}, user, "ca")
}

func persistent(m *smb2.CreateRequest, guid dtyp.GUID) *smb2.CreateRequest {
	return withV2(m, guid, smb2.DurableFlagPersistent)
}

func TestPersistentOpenSurvivesPowerLoss(t *testing.T) {
	const rwh = smb2.LeaseReadCaching | smb2.LeaseHandleCaching | smb2.LeaseWriteCaching
	lease := smb2.Lease{V2: true, Key: smb2.LeaseKey{9}, State: rwh, Epoch: 4}
	guid := dtyp.GUID{1}
	a := newLife(t, nil)
	ann := a.host(hostGUID, "ann")
	f := open(t, ann, persistent(client.WithLease(client.OpenFile("disk.vhdx"), lease), guid))
	if _, err := f.WriteAt([]byte("still here"), 0); err != nil {
		t.Fatal(err)
	}
	want(t, "lock", lockWith(f, 1<<4|3, 100), ntstatus.Success)
	closed := open(t, ann, persistent(client.OpenFile("closed"), dtyp.GUID{2}))
	want(t, "close", closed.Close(), ntstatus.Success)

	b := a.next()
	try := func(what string, tree *client.Tree, m *smb2.CreateRequest, status ntstatus.Status) {
		t.Helper()
		_, err := tree.Create(m)
		want(t, what, err, status)
	}
	again := func(guid dtyp.GUID, l smb2.Lease) *smb2.CreateRequest {
		return client.WithLease(reconnectV2("disk.vhdx", f.ID, guid, smb2.DurableFlagPersistent), l)
	}
	bob := b.connect(client.Negotiation{}, "bob", "ca")
	open(t, bob, client.OpenFile("closed")).Close()
	try("a new open before the reclaim", bob, client.OpenFile("disk.vhdx"), ntstatus.FileNotAvailable)
	try("another user", b.host(hostGUID, "bob"), again(guid, lease), ntstatus.AccessDenied)
	try("another client", b.host(dtyp.GUID{15: 2}, "ann"), again(guid, lease), ntstatus.ObjectNameNotFound)
	ann = b.host(hostGUID, "ann")
	try("another create GUID", ann, again(dtyp.GUID{7}, lease), ntstatus.ObjectNameNotFound)
	other := lease
	other.Key = smb2.LeaseKey{8}
	try("another lease key", ann, again(guid, other), ntstatus.ObjectNameNotFound)
	try("without the lease", ann, reconnectV2("disk.vhdx", f.ID, guid, smb2.DurableFlagPersistent), ntstatus.ObjectNameNotFound)

	got := open(t, ann, again(guid, lease))
	if got.ID.Persistent != f.ID.Persistent || got.ID.Volatile == f.ID.Volatile {
		t.Errorf("reclaimed as %v, was %v", got.ID, f.ID)
	}
	if l, ok := got.Lease(); !ok || l.State != rwh || l.Key != lease.Key {
		t.Errorf("lease %v", l)
	}
	text := make([]byte, 10)
	if _, err := got.ReadAt(text, 0); err != nil || string(text) != "still here" {
		t.Errorf("%q %v", text, err)
	}
	want(t, "replayed lock", lockWith(got, 1<<4|3, 100), ntstatus.Success)
	beside := open(t, ann, client.WithLease(client.OpenFile("disk.vhdx"), lease))
	want(t, "the lock is held", lockWith(beside, 0, 100), ntstatus.LockNotGranted)
	if beside.ID.Persistent <= f.ID.Persistent || beside.ID.Persistent == closed.ID.Persistent {
		t.Errorf("persistent id %x was given out after %x and %x", beside.ID.Persistent, f.ID.Persistent, closed.ID.Persistent)
	}
	want(t, "close", beside.Close(), ntstatus.Success)
	want(t, "close", got.Close(), ntstatus.Success)

	c := b.next()
	try("reclaim of what was closed", c.host(hostGUID, "ann"), again(guid, lease), ntstatus.ObjectNameNotFound)
	open(t, c.connect(client.Negotiation{}, "bob", "ca"), client.OpenFile("disk.vhdx"))
}

// lockWith takes an exclusive lock of one byte, with a lock sequence, or fails at once.
func lockWith(f *client.File, sequence uint32, at uint64) error {
	m := &smb2.LockRequest{LockSequence: sequence, FileID: f.ID,
		Locks: []smb2.LockElement{{Offset: at, Length: 1, Flags: smb2.LockFlagExclusiveLock | smb2.LockFlagFailImmediately}}}
	_, err := f.Tree.Call(m, &smb2.Empty{Of: smb2.CommandLock})
	return err
}

// What a client agreed to give up stays given up: others have it now.
func TestAcknowledgedBreakSurvivesPowerLoss(t *testing.T) {
	lease := smb2.Lease{V2: true, Key: smb2.LeaseKey{9}, State: smb2.LeaseReadCaching | smb2.LeaseHandleCaching | smb2.LeaseWriteCaching}
	a := newLife(t, nil)
	ann := a.host(hostGUID, "ann")
	f := open(t, ann, persistent(client.WithLease(client.OpenFile("f"), lease), dtyp.GUID{1}))
	p, err := a.connect(client.Negotiation{}, "bob", "ca").Start(client.OpenFile("f"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := ann.Session.Conn.Break()
	if err != nil {
		t.Fatal(err)
	}
	n, err := r.LeaseBreak()
	if err != nil {
		t.Fatal(err)
	}
	_, err = ann.AcknowledgeLease(lease.Key, n.NewLeaseState)
	want(t, "acknowledged", err, ntstatus.Success)
	_, err = p.File()
	want(t, "the open that waited", err, ntstatus.Success)

	lease.Epoch = n.NewEpoch
	m := client.WithLease(reconnectV2("f", f.ID, dtyp.GUID{1}, smb2.DurableFlagPersistent), lease)
	got := open(t, a.next().host(hostGUID, "ann"), m)
	if l, _ := got.Lease(); l.State != n.NewLeaseState || l.Epoch < n.NewEpoch {
		t.Errorf("lease %v after a break to %v, epoch %d", l, n.NewLeaseState, n.NewEpoch)
	}
}

// A deletion that is due takes place when the open that is to bring it about is closed, in
// whatever life.
func TestDeletionSurvivesPowerLoss(t *testing.T) {
	a := newLife(t, nil)
	ann := a.host(hostGUID, "ann")
	onClose := client.OpenFile("on close")
	onClose.CreateOptions |= smb2.OptionDeleteOnClose
	marked := open(t, ann, persistent(client.OpenFile("marked"), dtyp.GUID{2}))
	set := func(f *client.File, delete byte) {
		t.Helper()
		want(t, "disposition", f.SetInfo(smb2.InfoFile, uint8(fscc.FileDispositionInformation), 0, []byte{delete}), ntstatus.Success)
	}
	set(marked, 1)
	spared := open(t, ann, persistent(client.OpenFile("spared"), dtyp.GUID{3}))
	set(spared, 1)
	set(spared, 0)
	files := []*client.File{open(t, ann, persistent(onClose, dtyp.GUID{1})), marked, spared}

	b := a.next()
	ann = b.host(hostGUID, "ann")
	for i, name := range []string{"on close", "marked", "spared"} {
		guid := []dtyp.GUID{{1}, {2}, {3}}[i]
		f := open(t, ann, reconnectV2(name, files[i].ID, guid, smb2.DurableFlagPersistent))
		want(t, "close "+name, f.Close(), ntstatus.Success)
		m := client.OpenFile(name)
		m.CreateDisposition = smb2.DispositionOpen
		_, err := ann.Create(m)
		status := ntstatus.ObjectNameNotFound
		if name == "spared" {
			status = ntstatus.Success
		}
		want(t, name, err, status)
	}
}

// Who does not come back in time has lost the open, and the file is free.
func TestRecoveredOpenTimesOut(t *testing.T) {
	a := newLife(t, nil)
	m := client.WithContext(client.OpenFile("f"), smb2.ContextDurableRequestV2,
		&smb2.DurableRequestV2{CreateGUID: dtyp.GUID{1}, Flags: smb2.DurableFlagPersistent, Timeout: 1})
	open(t, a.host(hostGUID, "ann"), m)
	bob := a.next().connect(client.Negotiation{}, "bob", "ca")
	for {
		_, err := bob.Create(client.OpenFile("f"))
		if s, _ := client.Status(err); s != ntstatus.FileNotAvailable {
			want(t, "after the time-out", err, ntstatus.Success)
			return
		}
	}
}

// What a reply has said holds after a loss of power that follows at once.
func TestEveryReplyIsAPromise(t *testing.T) {
	guid := dtyp.GUID{1}
	reopen := func(f *client.File) *smb2.CreateRequest {
		return reconnectV2("f", f.ID, guid, smb2.DurableFlagPersistent)
	}
	for _, tt := range []struct {
		name  string
		last  func(t *testing.T, f *client.File)
		check func(t *testing.T, ann *client.Tree, f *client.File)
	}{
		{"create", func(*testing.T, *client.File) {}, func(t *testing.T, ann *client.Tree, f *client.File) {
			open(t, ann, reopen(f))
		}},
		{"lock", func(t *testing.T, f *client.File) {
			want(t, "lock", lockWith(f, 0, 7), ntstatus.Success)
		}, func(t *testing.T, ann *client.Tree, f *client.File) {
			open(t, ann, reopen(f))
			want(t, "another's lock", lockWith(open(t, ann, client.OpenFile("f")), 0, 7), ntstatus.LockNotGranted)
		}},
		{"unlock", func(t *testing.T, f *client.File) {
			want(t, "lock", lockWith(f, 0, 7), ntstatus.Success)
			want(t, "unlock", f.Lock(smb2.LockElement{Offset: 7, Length: 1, Flags: smb2.LockFlagUnlock}), ntstatus.Success)
		}, func(t *testing.T, ann *client.Tree, f *client.File) {
			open(t, ann, reopen(f))
			want(t, "another's lock", lockWith(open(t, ann, client.OpenFile("f")), 0, 7), ntstatus.Success)
		}},
		{"disposition", func(t *testing.T, f *client.File) {
			want(t, "delete", f.SetInfo(smb2.InfoFile, uint8(fscc.FileDispositionInformation), 0, []byte{1}), ntstatus.Success)
		}, func(t *testing.T, ann *client.Tree, f *client.File) {
			open(t, ann, reopen(f))
			_, err := ann.Create(client.OpenFile("f"))
			want(t, "another open", err, ntstatus.DeletePending)
		}},
		{"close", func(t *testing.T, f *client.File) {
			want(t, "close", f.Close(), ntstatus.Success)
		}, func(t *testing.T, ann *client.Tree, f *client.File) {
			_, err := ann.Create(reopen(f))
			want(t, "reclaim", err, ntstatus.ObjectNameNotFound)
			open(t, ann, client.OpenFile("f"))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newLife(t, nil)
			ann := a.host(hostGUID, "ann")
			want(t, "close", open(t, ann, client.OpenFile("f")).Close(), ntstatus.Success)
			f := open(t, ann, persistent(client.OpenFile("f"), guid))
			tt.last(t, f)
			tt.check(t, a.next().host(hostGUID, "ann"), f)
		})
	}
}

// A share that is taken away leaves nothing behind that keeps others from its files.
func TestRemovedShareReleasesAbsentOpens(t *testing.T) {
	a := newLife(t, nil)
	open(t, a.host(hostGUID, "ann"), persistent(client.OpenFile("f"), dtyp.GUID{1}))
	b := a.next()
	bob := b.connect(client.Negotiation{}, "bob", "ca")
	_, err := bob.Create(client.OpenFile("f"))
	want(t, "before", err, ntstatus.FileNotAvailable)
	if err := errors.Join(b.srv.RemoveShare("ca"), b.srv.AddShare(&server.Share{Name: "ca", Tree: b.tree, ContinuouslyAvailable: true})); err != nil {
		t.Fatal(err)
	}
	open(t, b.connect(client.Negotiation{}, "bob", "ca"), client.OpenFile("f"))
}
