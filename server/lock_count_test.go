package server_test

import (
	"testing"

	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server"
)

// How many byte-range locks an open, and a session, may have is bounded. Everything that ends a lock makes room
// for another.
func TestLocksAreBounded(t *testing.T) {
	a := newArrayWithin(t, server.Limits{LocksPerOpen: 4, LocksPerSession: 6})
	tree := a.connect(client.Negotiation{ClientGUID: hostGUID}, "ann", "ca")
	locks := func(f *client.File, flags smb2.LockFlags, at ...uint64) error {
		m := &smb2.LockRequest{FileID: f.ID}
		for _, off := range at {
			m.Locks = append(m.Locks, smb2.LockElement{Offset: off, Length: 1, Flags: flags})
		}
		_, err := f.Tree.Call(m, &smb2.Empty{Of: smb2.CommandLock})
		return err
	}
	f := open(t, tree, persistent(client.OpenFile("f"), dtyp.GUID{1}))
	full := func(what string, f *client.File, room int) {
		t.Helper()
		for i := range room {
			want(t, what, locks(f, exclusive, uint64(1000+i)), ntstatus.Success)
		}
		want(t, what+": one more", locks(f, exclusive, 2000), ntstatus.InsufficientResources)
		for i := range room {
			want(t, what, locks(f, smb2.LockFlagUnlock, uint64(1000+i)), ntstatus.Success)
		}
	}
	full("nothing locked", f, 4)
	want(t, "too many at once", locks(f, exclusive, 1, 2, 3, 4, 5), ntstatus.InsufficientResources)
	want(t, "some that conflict", locks(f, exclusive, 1, 2, 3, 3), ntstatus.LockNotGranted)
	want(t, "some with a flag that is none", locks(f, 0x40|exclusive, 1, 2), ntstatus.InvalidParameter)
	want(t, "some that would wait", locks(f, smb2.LockFlagExclusiveLock, 1, 2), ntstatus.InvalidParameter)
	want(t, "one with a flag that is none", locks(f, 0x40|exclusive, 1), ntstatus.InvalidParameter)
	full("after failures", f, 4)

	want(t, "three", locks(f, exclusive, 1, 2, 3), ntstatus.Success)
	g := open(t, tree, client.OpenFile("f"))
	h := open(t, tree, client.OpenFile("h"))
	full("of the session", h, 3)
	m := &smb2.LockRequest{FileID: g.ID, Locks: []smb2.LockElement{{Offset: 1, Length: 1, Flags: smb2.LockFlagExclusiveLock}}}
	blocked, err := tree.Start(m)
	if err != nil {
		t.Fatal(err)
	}
	interim, final, err := blocked.Interim()
	if final || err != nil {
		t.Fatal("no interim response", err)
	}
	full("while one waits", h, 2)
	want(t, "cancel", blocked.Cancel(interim.Header.AsyncID()), ntstatus.Success)
	want(t, "cancelled", outcome(blocked), ntstatus.Cancelled)
	full("after it was cancelled", h, 3)
	want(t, "unlock and lock", locks(f, smb2.LockFlagUnlock, 2), ntstatus.Success)
	full("after one was unlocked", h, 4)

	// A persistent open takes its locks with it, and brings them back.
	tree.Session.Conn.Close()
	tree = a.connect(client.Negotiation{ClientGUID: hostGUID}, "ann", "ca")
	var again *client.File
	for {
		again, err = tree.Create(reconnectV2("f", f.ID, dtyp.GUID{1}, smb2.DurableFlagPersistent))
		if s, _ := client.Status(err); s != ntstatus.ObjectNameNotFound && s != ntstatus.FileNotAvailable {
			break // else the loss of the session is not over
		}
	}
	want(t, "reconnect", err, ntstatus.Success)
	if err != nil {
		return
	}
	full("back again", again, 2)
	h = open(t, tree, client.OpenFile("h"))
	full("back in a session", h, 4)
	want(t, "all", locks(h, exclusive, 1, 2, 3, 4), ntstatus.Success)
	want(t, "one more", locks(again, exclusive, 7), ntstatus.InsufficientResources)
	want(t, "close", h.Close(), ntstatus.Success)
	full("after another was closed", again, 2)
}
