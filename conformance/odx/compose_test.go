package odx

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// A snapshot's version is a source: by token, and by duplicated chunks.
func TestSourceInSnapshot(t *testing.T) {
	s := rig.Start(t)
	tree := connect(t, s, "vms")
	f, data := filled(t, tree, "disk", 40<<20, 1)
	var snap struct{ Taken time.Time }
	ask(t, s, &snap, "snapshot", "create", "vms", "then")
	write(t, f, random(2, 40<<20), 0)
	m := client.OpenFile("disk")
	m.DesiredAccess, m.CreateDisposition = dtyp.GenericRead, smb2.DispositionOpen
	old := open(t, tree, client.WithContext(m, smb2.ContextTimewarp, &smb2.Timewarp{Timestamp: dtyp.FiletimeOf(snap.Taken.Truncate(time.Second))}))
	g := file(t, tree, "copy")
	r, err := (&Engine{Chunk: 16 << 20}).Copy(old, g, 40<<20)
	must(t, err)
	if r.Refused != nil || r.Copied != 0 {
		t.Errorf("the copy went %+v", r)
	}
	holds(t, "from a snapshot", g, data)
	// Onto the live file itself, which is a restore by token; the snapshot may go meanwhile.
	tok := token(t, old, 0, 40<<20)
	must(t, old.Close())
	ask(t, s, nil, "snapshot", "delete", "then")
	n, err := Write(f, 0, 40<<20, 0, tok)
	if must(t, err); n != 40<<20 {
		t.Errorf("wrote %d", n)
	}
	holds(t, "restored", f, data)
}

// What an OFFLOAD_WRITE on a continuously available share answered for outlives a kill at once.
func TestOffloadWriteIsDurable(t *testing.T) {
	s := rig.Start(t)
	tree := connect(t, s, "vms")
	f, data := filled(t, tree, "source", 24<<20, 1)
	tok := token(t, f, 0, 24<<20)
	for i := range 5 {
		g := file(t, tree, fmt.Sprint("target", i))
		must(t, Truncate(g, 24<<20))
		n, err := Write(g, 0, 24<<20, 0, tok)
		must(t, err)
		s.Kill()
		must(t, s.Run())
		tree = connect(t, s, "vms")
		holds(t, "after a kill", file(t, tree, fmt.Sprint("target", i)), data[:n])
	}
}

// A lease that lets somebody cache the target is broken as by a write; a byte-range lock
// stands in the way of those whose it is not; who may not share may not open.
func TestOffloadAndCaches(t *testing.T) {
	s := rig.Start(t, "--share", "vms")
	tree, other := connect(t, s, "vms"), connect(t, s, "vms")
	f, data := filled(t, tree, "source", 1<<20, 1)
	g, _ := filled(t, tree, "target", 1<<20, 2)
	tok := token(t, f, 0, 1<<20)
	cached := open(t, other, client.WithLease(client.OpenFile("target"), smb2.Lease{V2: true, Key: smb2.LeaseKey{9}, State: smb2.LeaseReadCaching}))
	if l, ok := cached.Lease(); !ok || l.State != smb2.LeaseReadCaching {
		t.Fatalf("lease %+v", l)
	}
	_, err := Write(g, 0, 1<<20, 0, tok)
	must(t, err)
	b, err := other.Session.Conn.Break()
	must(t, err)
	if m, err := b.LeaseBreak(); err != nil || m.NewLeaseState != 0 {
		t.Errorf("break %+v, %v", m, err)
	}
	holds(t, "through the other session", cached, data)
	must(t, cached.Lock(smb2.LockElement{Offset: 0, Length: 1 << 20, Flags: smb2.LockFlagExclusiveLock}))
	_, err = Write(g, 0, 4096, 0, tok)
	want(t, "another's lock on the target", err, ntstatus.FileLockConflict)
	_, err = Read(g, 0, 4096, 0)
	want(t, "another's lock on the source", err, ntstatus.FileLockConflict)
	_, err = Write(cached, 0, 4096, 0, tok)
	want(t, "its own lock", err, ntstatus.Success)
}

// Several at once from one token, to one target and to many.
func TestOneTokenManyWriters(t *testing.T) {
	s := rig.Start(t, "--share", "vms")
	tree := connect(t, s, "vms")
	const size = 32 << 20
	f, data := filled(t, tree, "source", size, 1)
	tok := token(t, f, 0, size)
	one := file(t, tree, "one")
	write(t, one, random(3, size), 0) // valid all over, so that any order will do
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			part := uint64(i) * size / 8
			for done := uint64(0); done < size/8; {
				n, err := Write(one, part+done, size/8-done, part+done, tok)
				if err != nil {
					t.Error(err)
					return
				}
				done += n
			}
		})
		wg.Go(func() {
			g, err := tree.Create(client.OpenFile(fmt.Sprint("many", i)))
			if err == nil {
				_, err = (&Engine{Chunk: 5 << 20}).Copy(f, g, size)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	holds(t, "one target", one, data)
	for i := range 8 {
		holds(t, "one of many", file(t, tree, fmt.Sprint("many", i)), data)
	}
}
