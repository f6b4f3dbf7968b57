package server_test

import (
	"bytes"
	"testing"

	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

const leaseRWH = smb2.LeaseReadCaching | smb2.LeaseHandleCaching | smb2.LeaseWriteCaching

// Who may not have a persistent open is refused as [MS-SMB2] 3.3.5.9.12 and 3.3.5.9.10
// say, and the open stays there for its owner, after the loss of a connection as after the loss
// of power.
func TestReclaimRefused(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(map[bool]string{false: "connection lost", true: "power lost"}[restart], func(t *testing.T) {
			lease := smb2.Lease{V2: true, Key: smb2.LeaseKey{9}, State: leaseRWH}
			guid := dtyp.GUID{1}
			a := newLife(t, nil)
			ann := a.host(hostGUID, "ann")
			f := open(t, ann, persistent(client.WithLease(client.OpenFile("f"), lease), guid))
			absent := open(t, ann, persistent(client.OpenFile("absent"), dtyp.GUID{2}))
			if restart {
				a = a.next()
				ann = a.host(hostGUID, "ann")
			} else {
				ann = a.reconnecting(ann, "ann", "ca")
			}
			present := open(t, ann, persistent(client.OpenFile("present"), dtyp.GUID{3}))

			other := lease
			other.Key = smb2.LeaseKey{8}
			first := lease
			first.V2 = false
			reclaim := func(name string, id smb2.FileID, guid dtyp.GUID, flags smb2.DurableFlags) *smb2.CreateRequest {
				return client.WithLease(reconnectV2(name, id, guid, flags), lease)
			}
			const p = smb2.DurableFlagPersistent
			stale := smb2.FileID{Persistent: f.ID.Persistent + 1<<20, Volatile: f.ID.Volatile}
			for _, tt := range []struct {
				what   string
				tree   *client.Tree
				m      *smb2.CreateRequest
				status ntstatus.Status
			}{
				{"another user", a.host(hostGUID, "bob"), reclaim("f", f.ID, guid, p), ntstatus.AccessDenied},
				{"another client", a.host(dtyp.GUID{15: 2}, "ann"), reclaim("f", f.ID, guid, p), ntstatus.ObjectNameNotFound},
				{"another user of another client", a.host(dtyp.GUID{15: 2}, "bob"), reclaim("f", f.ID, guid, p), ntstatus.ObjectNameNotFound},
				{"another create GUID", ann, reclaim("f", f.ID, dtyp.GUID{7}, p), ntstatus.ObjectNameNotFound},
				{"a stale id and another create GUID", ann, reclaim("f", stale, dtyp.GUID{7}, p), ntstatus.ObjectNameNotFound},
				{"the id of another absent open", ann, reclaim("f", absent.ID, guid, p), ntstatus.ObjectNameNotFound},
				{"the id of an open in use", ann, reclaim("f", present.ID, guid, p), ntstatus.ObjectNameNotFound},
				{"not as a persistent one", ann, reclaim("f", f.ID, guid, 0), ntstatus.ObjectNameNotFound},
				{"another lease key", ann, client.WithLease(reconnectV2("f", f.ID, guid, p), other), ntstatus.ObjectNameNotFound},
				{"a lease of the first version", ann, client.WithLease(reconnectV2("f", f.ID, guid, p), first), ntstatus.ObjectNameNotFound},
				{"without the lease", ann, reconnectV2("f", f.ID, guid, p), ntstatus.ObjectNameNotFound},
				{"with a lease that it never had", ann, client.WithLease(reconnectV2("absent", absent.ID, dtyp.GUID{2}, p), other), ntstatus.ObjectNameNotFound},
				{"another name", ann, reclaim("g", f.ID, guid, p), ntstatus.InvalidParameter},
				{"two durable contexts", ann, withV2(reclaim("f", f.ID, guid, p), guid, p), ntstatus.InvalidParameter},
			} {
				_, err := tt.tree.Create(tt.m)
				want(t, tt.what, err, tt.status)
			}
			replay := func(tree *client.Tree, m *smb2.CreateRequest) error {
				r := tree.Request(persistent(client.WithLease(m, lease), guid))
				r.Header.Flags |= smb2.FlagReplayOperation
				q, err := tree.Session.Conn.Start(r)
				if err == nil {
					_, err = q.File()
				}
				return err
			}
			want(t, "replay by another user", replay(a.host(hostGUID, "bob"), client.OpenFile("f")), ntstatus.AccessDenied)
			less := client.OpenFile("f")
			less.DesiredAccess = dtyp.FileGenericRead
			want(t, "replay of another CREATE", replay(ann, less), ntstatus.ContextMismatch)
			_, err := a.connect(client.Negotiation{}, "bob", "ca").Create(client.OpenFile("f"))
			if restart { // otherwise a break is sent to the client, which is there
				want(t, "a new open", err, ntstatus.FileNotAvailable)
			}

			got := open(t, ann, reclaim("f", f.ID, guid, p))
			if l, ok := got.Lease(); !ok || l.State != leaseRWH || got.ID.Persistent != f.ID.Persistent {
				t.Errorf("the owner got %v, lease %v", got.ID, l)
			}
			_, err = ann.Create(reclaim("f", f.ID, guid, p))
			want(t, "a second time", err, ntstatus.ObjectNameNotFound)
			want(t, "close", got.Close(), ntstatus.Success)
			// The CreateGuid finds what an id does not.
			got = open(t, ann, reconnectV2("absent", stale, dtyp.GUID{2}, p))
			want(t, "close", got.Close(), ntstatus.Success)
		})
	}
}

// A break that the power interrupted is told again to the client that reclaims, and who
// waited for it waits again.
func TestBreakInProgressSurvivesPowerLoss(t *testing.T) {
	lease := smb2.Lease{V2: true, Key: smb2.LeaseKey{9}, State: leaseRWH}
	a := newLife(t, nil)
	ann := a.host(hostGUID, "ann")
	f := open(t, ann, persistent(client.WithLease(client.OpenFile("f"), lease), dtyp.GUID{1}))
	bob := a.connect(client.Negotiation{}, "bob", "ca")
	if _, err := bob.Start(client.OpenFile("f")); err != nil {
		t.Fatal(err)
	}
	told := nextBreak(t, ann)
	// The break is recorded no later than the next reply about the open.
	want(t, "lock", lockWith(f, 0, 1), ntstatus.Success)

	a = a.next()
	bob = a.connect(client.Negotiation{}, "bob", "ca")
	_, err := bob.Create(client.OpenFile("f"))
	want(t, "before the reclaim", err, ntstatus.FileNotAvailable)
	ann = a.host(hostGUID, "ann")
	got := open(t, ann, client.WithLease(reconnectV2("f", f.ID, dtyp.GUID{1}, smb2.DurableFlagPersistent), lease))
	if l, _ := got.Lease(); l.State != leaseRWH || l.Flags&smb2.LeaseFlagBreakInProgress == 0 {
		t.Errorf("reclaimed with lease %+v", l)
	}
	again := nextBreak(t, ann)
	if again.LeaseKey != lease.Key || again.NewLeaseState != told.NewLeaseState || again.CurrentLeaseState != leaseRWH {
		t.Errorf("told again %+v, was told %+v", again, told)
	}
	p, err := bob.Start(client.OpenFile("f"))
	if err != nil {
		t.Fatal(err)
	}
	if _, final, err := p.Interim(); final || err != nil {
		t.Errorf("a new open does not wait for the break: %v", err)
	}
	_, err = ann.AcknowledgeLease(lease.Key, again.NewLeaseState)
	want(t, "acknowledged", err, ntstatus.Success)
	_, err = p.File()
	want(t, "the open that waited", err, ntstatus.Success)
}

func nextBreak(t *testing.T, tree *client.Tree) smb2.LeaseBreakNotification {
	t.Helper()
	r, err := tree.Session.Conn.Break()
	if err != nil {
		t.Fatal(err)
	}
	n, err := r.LeaseBreak()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// instance asks for a disk on behalf of a clustered virtual machine.
func instance(m *smb2.CreateRequest, version uint64) *smb2.CreateRequest {
	m = client.WithContext(m, smb2.ContextAppInstanceID, &smb2.AppInstanceID{ID: dtyp.GUID{0xA9}})
	if version == 0 {
		return m
	}
	return client.WithContext(m, smb2.ContextAppInstanceVersion, &smb2.AppInstanceVersion{High: 1, Low: version})
}

// A virtual machine that starts on another host takes its disk from the first one at once,
// whether that is connected, away, or away since before the power was lost.
func TestAppInstanceMovesTheDisk(t *testing.T) {
	const first, second = 1, 2
	guid := func(n byte) dtyp.GUID { return dtyp.GUID{15: n} }
	for _, tt := range []struct {
		name string
		lose func(*life, *client.Tree) *life
	}{
		{"connected", func(a *life, _ *client.Tree) *life { return a }},
		{"away", func(a *life, ann *client.Tree) *life { a.reconnecting(ann, "ann", "ca"); return a }},
		{"power lost", func(a *life, _ *client.Tree) *life { return a.next() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lease := smb2.Lease{V2: true, Key: smb2.LeaseKey{9}, State: leaseRWH}
			a := newLife(t, nil)
			from := a.host(hostGUID, "ann")
			m := client.OpenFile("vm.vhdx")
			m.ShareAccess = smb2.ShareRead
			f := open(t, from, instance(persistent(client.WithLease(m, lease), guid(first)), 5))
			a = tt.lose(a, from)

			to := a.host(dtyp.GUID{15: 2}, "ann")
			lease.Key = smb2.LeaseKey{10}
			take := func(version uint64) (*client.File, error) {
				return to.Create(instance(persistent(client.WithLease(m, lease), guid(second)), version))
			}
			_, err := take(5)
			want(t, "the same version", err, ntstatus.FileForcedClosed)
			_, err = take(0)
			want(t, "without a version", err, ntstatus.FileForcedClosed)
			got, err := take(6)
			want(t, "a later version", err, ntstatus.Success)
			if err != nil {
				return
			}
			if l, ok := got.Lease(); !ok || l.State != leaseRWH {
				t.Errorf("lease %v", l)
			}
			back := func(what string, a *life) {
				t.Helper()
				lease.Key = smb2.LeaseKey{9}
				_, err := a.host(hostGUID, "ann").Create(client.WithLease(reconnectV2("vm.vhdx", f.ID, guid(first), smb2.DurableFlagPersistent), lease))
				want(t, what, err, ntstatus.ObjectNameNotFound)
				lease.Key = smb2.LeaseKey{10}
			}
			back("the first host comes back", a)
			a = a.next()
			back("the first host comes back after a loss of power", a)
			open(t, a.host(dtyp.GUID{15: 2}, "ann"), client.WithLease(reconnectV2("vm.vhdx", got.ID, guid(second), smb2.DurableFlagPersistent), lease))
		})
	}
}

// What the evicted host still had in flight is on the disk before its successor has it, or
// never.
func TestEvictedWritesDoNotLandLater(t *testing.T) {
	a := newLife(t, nil)
	from := a.host(hostGUID, "ann")
	m := client.OpenFile("vm.vhdx")
	f := open(t, from, instance(persistent(m, dtyp.GUID{1}), 1))
	read := func(f *client.File) []byte {
		p := make([]byte, 64<<10)
		n, _ := f.ReadAt(p, 0)
		return p[:n]
	}
	for round := range 20 {
		var writes []*client.Pending
		for i := range 16 {
			p, err := from.Start(&smb2.WriteRequest{FileID: f.ID, Offset: uint64(i) << 12, Data: bytes.Repeat([]byte{byte(round), byte(i)}, 2048)})
			if err != nil {
				t.Fatal(err)
			}
			writes = append(writes, p)
		}
		to := a.host(dtyp.GUID{15: byte(2 + round)}, "ann")
		got := open(t, to, instance(persistent(m, dtyp.GUID{2, byte(round)}), uint64(2+round)))
		before := read(got)
		for i, w := range writes {
			status, ok := client.Status(w.Done())
			if !ok || status != ntstatus.Success && status != ntstatus.FileClosed {
				t.Errorf("round %d: write %d: %v", round, i, status)
			}
			if status == ntstatus.Success && (len(before) < (i+1)<<12 || before[i<<12] != byte(round)) {
				t.Errorf("round %d: write %d was acknowledged and is not there", round, i)
			}
		}
		if !bytes.Equal(before, read(got)) {
			t.Errorf("round %d: a write of the evicted host landed later", round)
		}
		f, from = got, to
	}
}

// Administrators see who is absent and can close what he has.
func TestAbsentOpensAreListedAndClosed(t *testing.T) {
	a := newLife(t, nil)
	f := open(t, a.host(hostGUID, "ann"), persistent(client.OpenFile("f"), dtyp.GUID{1}))
	want(t, "lock", lockWith(f, 0, 1), ntstatus.Success)
	listed := func(a *life, disconnected bool) uint64 {
		t.Helper()
		list := a.srv.Opens()
		if len(list) != 1 {
			t.Fatalf("%d opens", len(list))
		}
		o := list[0]
		if o.Disconnected != disconnected || o.Path != "f" || o.Share != "ca" || o.Durable != "persistent" || o.User != `GABION\ann` || o.Locks != 1 {
			t.Errorf("%+v", o)
		}
		return o.ID
	}
	id := listed(a, false)
	a = a.next()
	if got := listed(a, true); got != id || id != f.ID.Persistent {
		t.Errorf("id %d became %d", id, got)
	}
	bob := a.connect(client.Negotiation{}, "bob", "ca")
	_, err := bob.Create(client.OpenFile("f"))
	want(t, "before", err, ntstatus.FileNotAvailable)
	if err := a.srv.CloseOpen(id); err != nil {
		t.Error(err)
	}
	if a.srv.CloseOpen(id) == nil {
		t.Error("closed twice")
	}
	want(t, "close", open(t, bob, client.OpenFile("f")).Close(), ntstatus.Success)
	if n := len(a.srv.Opens()); n != 0 {
		t.Errorf("%d opens are left", n)
	}
	if n := len(a.next().srv.Opens()); n != 0 {
		t.Errorf("%d opens come back", n)
	}
}
