package object

import (
	"encoding/json"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"gabion/protocol/ntstatus"
)

// durably makes an open durable.
func durably(o *Open, kind DurableKind) *Open {
	o.SetDurable(Durable{Kind: kind, CreateGUID: key("create"), Owner: "S-1-1-0", Timeout: time.Minute})
	return o
}

func TestDisconnectKeeps(t *testing.T) {
	for _, tt := range []struct {
		kind DurableKind
		opt  option
		kept bool
	}{
		{NotDurable, leased("k", "RWH"), false},
		{DurableV1, oplock(OplockBatch), true},
		{DurableV1, oplock(OplockExclusive), false},
		{DurableV2, leased("k", "RH"), true},
		{DurableV2, leased("k", "RW"), false},
		{Resilient, oplock(OplockNone), true},
		{Persistent, oplock(OplockNone), true},
	} {
		bubble(t, func(t *testing.T, w *world) {
			o := durably(w.create("f", tt.opt), tt.kind)
			if o.Disconnect() != tt.kept {
				t.Errorf("%v: kept %v", tt.kind, !tt.kept)
			}
			if tt.kept {
				if o.Connected() || w.fs.FindCreateGUID(key("create")) != o {
					t.Errorf("%v: connected, or not found", tt.kind)
				}
				time.Sleep(59 * time.Second)
				if !o.Reconnect("back") || o.Tag() != "back" || o.Reconnect("again") {
					t.Errorf("%v: reconnect", tt.kind)
				}
				time.Sleep(time.Hour)
				w.expect()
				o.Disconnect()
				time.Sleep(time.Minute)
				synctest.Wait()
				w.expect("closed back")
			}
			if o.Reconnect("late") || w.fs.FindCreateGUID(key("create")) != nil {
				t.Errorf("%v: still there", tt.kind)
			}
			w.idle()
		})
	}
}

// TestConflictWithDisconnected: a durable open gives way where its client would
// have been asked, a persistent one does not.
func TestConflictWithDisconnected(t *testing.T) {
	for _, tt := range []struct {
		kind  DurableKind
		held  option
		opts  []option
		want  ntstatus.Status
		there bool // the disconnected open
	}{
		{DurableV2, leased("k1", "RWH"), nil, ntstatus.Success, false},
		{DurableV2, leased("k1", "RH"), nil, ntstatus.Success, true},
		{DurableV2, leased("k1", "RH"), []option{share(0)}, ntstatus.Success, false},
		{DurableV2, leased("k1", "RWH"), []option{access(fileReadAttributes)}, ntstatus.Success, true},
		{DurableV1, oplock(OplockBatch), nil, ntstatus.Success, false},
		{Resilient, leased("k1", "RWH"), nil, ntstatus.Success, true},
		{Resilient, leased("k1", "RWH"), []option{share(0)}, ntstatus.SharingViolation, true},
		{Persistent, leased("k1", "RWH"), nil, ntstatus.FileNotAvailable, true},
		{Persistent, oplock(OplockNone), nil, ntstatus.FileNotAvailable, true},
	} {
		bubble(t, func(t *testing.T, w *world) {
			o := durably(w.create("f", tt.held), tt.kind)
			if !o.Disconnect() {
				t.Fatal("not kept")
			}
			out := w.try("f", append([]option{client("c2"), disposition(dispOpen)}, tt.opts...)...)
			synctest.Wait()
			if !out.finished() || out.Status != tt.want {
				t.Errorf("%v against %v: %v", out.Status, tt.kind, tt.want)
			}
			if there := o.Reconnect("back"); there != tt.there {
				t.Errorf("%v: still there %v", tt.kind, there)
			}
			if out.Open != nil {
				w.close(out.Open)
			}
			o.Close()
			synctest.Wait()
			w.idle()
		})
	}
}

// TestUnreachable: a client that is going cannot be told of a break any more, while its opens
// are not disconnected yet. What becomes of them, and so what the next one gets, is the
// same as if they had been.
func TestUnreachable(t *testing.T) {
	for _, tt := range []struct {
		kind   DurableKind
		held   string
		opts   []option
		there  bool // the open whose client cannot be told
		status ntstatus.Status
		lease  string // the next one's
	}{
		{NotDurable, "RWH", nil, false, ntstatus.Success, "RWH"},
		{DurableV1, "RWH", nil, false, ntstatus.Success, "RWH"},
		{DurableV2, "RWH", nil, false, ntstatus.Success, "RWH"},
		{DurableV2, "RH", []option{share(0)}, false, ntstatus.Success, "RWH"},
		{Resilient, "RWH", nil, true, ntstatus.Success, "RH"},
		{Resilient, "RWH", []option{share(0)}, true, ntstatus.SharingViolation, ""},
	} {
		for _, disconnected := range []bool{true, false} {
			bubble(t, func(t *testing.T, w *world) {
				o := durably(w.create("f", client("c1"), leased("k1", tt.held)), tt.kind)
				if disconnected {
					o.Disconnect()
				}
				out := w.try("f", append([]option{client("c2"), leased("k2", "RWH"), disposition(dispOpen)}, tt.opts...)...)
				synctest.Wait()
				if !disconnected {
					if out.finished() {
						t.Fatalf("%v %s: no break", tt.kind, tt.held)
					}
					w.fs.AbandonLease(key("c1"), key("k1"))
					synctest.Wait()
					if o.Disconnect() != tt.there {
						t.Errorf("%v %s: kept %v", tt.kind, tt.held, !tt.there)
					}
				}
				if !out.finished() || out.Status != tt.status {
					t.Fatalf("%v %s, disconnected first: %v: %v, want %v", tt.kind, tt.held, disconnected, out.Status, tt.status)
				}
				if tt.status == ntstatus.Success {
					if l, _ := out.Open.Lease(); l.State != letters(tt.lease) {
						t.Errorf("%v %s, disconnected first: %v: the next one gets %v, want %s", tt.kind, tt.held, disconnected, l.State, tt.lease)
					}
				}
			})
		}
	}
}

func TestDisconnectedDeleteOnClose(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		o := durably(w.create("f", oplock(OplockBatch), options(optDeleteOnClose), share(0)), DurableV1)
		w.write(o, "old", 0)
		o.Disconnect()
		out := w.try("f", client("c2"), oplock(OplockBatch))
		synctest.Wait()
		if !out.finished() || out.Action != ActionCreated || out.Oplock != OplockBatch || out.Info.Stream.Size != 0 {
			t.Errorf("%+v", out.CreateResult)
		}
		w.close(out.Open)
		w.idle()
	})
}

// TestBreakAfterReconnect: what a persistent open's client could not be told
// while it was away it is told when it is back, and then the time runs.
func TestBreakAfterReconnect(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		o := durably(w.create("f", leased("k1", "RWH")), Persistent)
		other := w.create("f", client("c2"), access(fileReadAttributes), disposition(dispOpen))
		o.Disconnect()
		got := ntstatus.Pending
		del := w.create("g", access(fileAllAccess))
		del.Rename("f", RenameReplaceIfExists, func(_ posOf, st ntstatus.Status) { got = st })
		synctest.Wait()
		w.expect()
		time.Sleep(50 * time.Second)
		w.want("while nobody is there", got, ntstatus.Pending)
		o.Reconnect("back")
		w.expect()
		o.Remind()
		w.expect("k1: RWH → RW epoch 2 ack")
		w.fs.AcknowledgeLease(key("c1"), key("k1"), cacheRW)
		synctest.Wait()
		w.want("after the answer", got, ntstatus.AccessDenied)
		w.close(o, other, del)
		synctest.Wait()
		w.idle()
	})
}

// TestBreakDuringDisconnect: the same for a break that was lost with the client's connection,
// which is learned of before its open is disconnected or after. A break that is acknowledged is not abandoned.
func TestBreakDuringDisconnect(t *testing.T) {
	for _, first := range []string{"disconnected", "abandoned"} {
		t.Run(first+" first", func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) { breakDuringDisconnect(t, w, first == "disconnected") })
		})
	}
}

func breakDuringDisconnect(t *testing.T, w *world, disconnectedFirst bool) {
	o := durably(w.create("f", leased("k1", "RWH")), Persistent)
	out := w.try("f", client("c2"), disposition(dispOpen))
	w.expect("k1: RWH → RH epoch 2 ack")
	if disconnectedFirst {
		o.Disconnect()
		time.Sleep(10 * time.Second) // as long as a notice may be on its way
	}
	w.fs.AbandonLease(key("c1"), key("k1"))
	if !disconnectedFirst {
		o.Disconnect()
	}
	time.Sleep(40 * time.Second) // more than it may take to acknowledge
	if out.finished() {
		t.Fatalf("the open went on while nobody was there: %v", out.Status)
	}
	o.Reconnect("back")
	o.Remind()
	w.expect("k1: RWH → RH epoch 2 ack")
	if w.fs.BreakOf(key("c1"), key("k1")) == 0 {
		t.Error("not breaking")
	}
	w.fs.AcknowledgeLease(key("c1"), key("k1"), cacheRH)
	synctest.Wait()
	if !out.finished() || out.Status != ntstatus.Success {
		t.Fatalf("after the answer: %v", out.Status)
	}
	w.fs.AbandonLease(key("c1"), key("k1"))
	if !o.Connected() || w.fs.BreakOf(key("c1"), key("k1")) != 0 {
		t.Error("a break that is over was abandoned")
	}
	w.close(o, out.Open)
	w.idle()
}

// TestOplockBreakDuringDisconnect: the same for an oplock. One of a resilient open ends there and then, one
// of other opens takes them with it.
func TestOplockBreakDuringDisconnect(t *testing.T) {
	for _, kind := range []DurableKind{NotDurable, DurableV1, DurableV2, Resilient, Persistent} {
		for _, first := range []string{"disconnected", "abandoned"} {
			t.Run(kind.String()+" "+first+" first", func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) { oplockBreakDuringDisconnect(t, w, kind, first == "disconnected") })
			})
		}
	}
}

func oplockBreakDuringDisconnect(t *testing.T, w *world, kind DurableKind, disconnectedFirst bool) {
	o := durably(w.create("f", oplock(OplockBatch), tag("o")), kind)
	out := w.try("f", client("c2"), disposition(dispOpen))
	w.expect("oplock o → R")
	if disconnectedFirst {
		if o.Disconnect() != (kind >= Resilient) {
			t.Error("kept, or not")
		}
		time.Sleep(10 * time.Second) // as long as a notice may be on its way
	}
	o.AbandonOplock()
	synctest.Wait()
	if !disconnectedFirst {
		if out.finished() != (kind < Resilient) {
			t.Fatal("the open went on although somebody could be told, or not although nobody could")
		}
		o.Disconnect()
	}
	if kind == Persistent {
		time.Sleep(40 * time.Second) // more than it may take to acknowledge
		if out.finished() {
			t.Fatalf("the open went on while nobody was there: %v", out.Status)
		}
		o.Reconnect("back")
		o.Remind()
		w.expect("oplock back → R")
		o.AcknowledgeOplock(OplockII)
	}
	synctest.Wait()
	if !out.finished() || out.Status != ntstatus.Success {
		t.Fatalf("the open that waited: %v", out.Status)
	}
	if kind == Resilient {
		o.Reconnect("back")
		o.Remind()
		if got := o.Oplock(); got != OplockNone {
			t.Errorf("has %v", got.caching())
		}
		w.expect()
	}
	o.AbandonOplock()
	if kind >= Resilient {
		w.close(o)
	}
	w.close(out.Open)
	w.idle()
}

func TestAppInstance(t *testing.T) {
	w := newWorld(t)
	app := func(r *CreateRequest) { r.AppID = key("vm") }
	one := w.create("disk", app, share(0))
	w.make("other", app)
	if l := w.fs.FindAppInstance(w.tree, key("vm"), "DISK", key("c2")); len(l) != 1 || l[0] != one {
		t.Errorf("%v", l)
	}
	if l := w.fs.FindAppInstance(w.tree, key("vm"), "disk", key("c1")); len(l) != 0 {
		t.Errorf("same client: %v", l)
	}
	_, st := one.ForceClose()
	w.want("evict", st, ntstatus.Success)
	w.expect("closed disk")
	_, st = one.Write([]byte("late"), 0, false)
	w.want("late write", st, ntstatus.FileClosed)
	w.close(w.create("disk", share(0), client("c2")))
	if l := w.fs.FindAppInstance(w.tree, key("vm"), "disk", key("c2")); len(l) != 0 {
		t.Errorf("after the eviction: %v", l)
	}
	w.idle()
}

// TestExportImport moves opens to another object store on the same volume, as a
// restart does.
func TestExportImport(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.make("d", folder)
		one := durably(w.create(`d\f:s`, leased("k1", "RWH"), share(shareRead), options(optDeleteOnClose)), Persistent)
		two := durably(w.create("g", oplock(OplockBatch), func(r *CreateRequest) { r.AppID = key("vm") }), Persistent)
		w.want("lock", w.lockNow(one, 5, 10, true), ntstatus.Success)
		w.want("lock", w.lockNow(one, 100, 10, false), ntstatus.Success)
		one.LockBegin(5<<4 | 3)
		one.LockEnd(5<<4|3, true)
		one.SetBasic(BasicChange{LastWrite: 777})
		before := []OpenState{one.Export(), two.Export()}
		text, err := json.Marshal(before)
		if err != nil {
			t.Fatal(err)
		}

		next := &world{t: t}
		next.fs = New(Config{Breaker: next})
		next.vol = next.fs.Mount(w.vol.store)
		next.tree, _ = next.vol.Tree("", TreeOptions{Share: "vms"})
		var states []OpenState
		if err := json.Unmarshal(text, &states); err != nil {
			t.Fatal(err)
		}
		var opens []*Open
		for i, s := range states {
			o, st := next.tree.Import(s)
			next.want("import", st, ntstatus.Success)
			opens = append(opens, o)
			if after := o.Export(); !reflect.DeepEqual(before[i], after) {
				t.Errorf("%+v\nbecame\n%+v", before[i], after)
			}
		}
		next.want("before it is reclaimed", next.try(`d\f:s`, client("c2")).Status, ntstatus.FileNotAvailable)
		if opens[0].LockBegin(5<<4|3) != LockReplayed {
			t.Error("lock sequence forgotten")
		}
		for _, o := range opens {
			o.SetToken(administrator)
			if !o.Reconnect("back") {
				t.Error("reconnect")
			}
		}
		other := next.create(`d\f:s`, client("c2"), access(fileReadAttributes), disposition(dispOpen))
		next.close(other)
		late := next.try(`d\f:s`, client("c2"), access(fileWriteData), disposition(dispOpen))
		synctest.Wait()
		next.expect("k1: RWH → RW epoch 2 ack")
		if late.finished() {
			t.Error("the share mode was forgotten")
		}
		next.close(opens...)
		synctest.Wait()
		next.want("deleted on close", late.Status, ntstatus.ObjectNameNotFound)
		next.idle()
	})
}

func TestAcquire(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		o := w.create("f", leased("k1", "RWH"), share(shareRead))
		id := o.ID()
		ctx, cancel := contextOf(10 * time.Second)
		_, st := w.tree.Acquire(ctx, id, fileReadData, shareRead|shareWrite|shareDelete, false)
		w.want("time limit", st, ntstatus.IOTimeout)
		cancel()
		w.expect("k1: RWH → RH epoch 2 ack")
		w.fs.AcknowledgeLease(key("c1"), key("k1"), cacheRH)
		ctx, cancel = contextOf(time.Minute)
		defer cancel()
		w.answer = true
		x, st := w.tree.Acquire(ctx, id, fileReadData, shareRead|shareWrite|shareDelete, false)
		w.want("reading beside", st, ntstatus.Success)
		w.close(x)
		_, st = w.tree.Acquire(ctx, id, fileWriteData, 0, false)
		w.want("in use", st, ntstatus.SharingViolation)
		if !w.vol.InUse(id) {
			t.Error("not in use")
		}
		x, st = w.tree.Acquire(ctx, id, fileWriteData, 0, true)
		w.want("by force", st, ntstatus.Success)
		_, st = o.Write([]byte("late"), 0, false)
		w.want("the other's write", st, ntstatus.FileClosed)
		w.close(x)
		if w.vol.InUse(id) {
			t.Error("in use")
		}
		w.idle()
	})
}

func TestSnapshotViews(t *testing.T) {
	w := newWorld(t)
	o := w.create("f")
	w.write(o, "old", 0)
	snap, _, err := w.vol.store.Snapshots().Create("s", []rootID{rootFile})
	if err != nil {
		t.Fatal(err)
	}
	w.write(o, "new", 0)
	token := GMTToken(snap.Taken)
	for _, tt := range []struct {
		path string
		opts []option
	}{
		{token + `\f`, nil},
		{`f\` + token, nil},
		{"f", []option{func(r *CreateRequest) { r.Timewarp = snap.Taken }}},
	} {
		x := w.create(tt.path, append(tt.opts, disposition(dispOpen), read)...)
		if got := w.read(x, 10, 0); got != "old" {
			t.Errorf("%q reads %q", tt.path, got)
		}
		w.want("lock", w.lockNow(x, 0, 1, false), ntstatus.Success)
		if i, _ := x.Info(); i.ID == o.ID() || i.ID != x.ID() {
			t.Errorf("id %d in the snapshot, %d live", i.ID, o.ID())
		}
		w.close(x)
	}
	w.want("write", w.try(token+`\f`, disposition(dispOverwrite)).Status, ntstatus.MediaWriteProtected)
	x := w.create(token+`\f`, disposition(dispOpen))
	_, st := x.Write([]byte("x"), 0, false)
	w.want("write", st, ntstatus.MediaWriteProtected)
	w.want("rename", w.rename(x, "g", 0), ntstatus.MediaWriteProtected)
	w.close(x)
	w.want("no such snapshot", w.try("f", func(r *CreateRequest) { r.Timewarp = 10000 }).Status, ntstatus.ObjectNameNotFound)
	if ts, _ := o.Snapshots(); len(ts) != 1 || ts[0] != snap.Taken {
		t.Errorf("%v", ts)
	}
	if got := w.read(o, 10, 0); got != "new" {
		t.Errorf("the live file reads %q", got)
	}
	w.close(o)
	w.idle()
}
