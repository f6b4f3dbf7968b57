package shadow

import (
	"errors"
	"slices"
	"testing"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/server"
	"gabion/server/object"
	"gabion/store"
	"gabion/store/memvol"
)

// served is an array with the share vms.
type served struct {
	*testing.T
	*Array
	store store.Volume
}

func serveVMs(t *testing.T) *served {
	t.Helper()
	srv, err := server.New(server.Config{Name: "FILESRV", GUID: dtyp.NewGUID(), Auth: server.Accepting(auth.NewAcceptor())})
	if err != nil {
		t.Fatal(err)
	}
	s := &served{T: t, store: memvol.New(memvol.Options{})}
	vol := object.New(object.Config{Breaker: srv.Breaker()}).Mount(s.store)
	s.Array = NewArray(srv, vol)
	tree, status := vol.Tree("", object.TreeOptions{})
	if status != ntstatus.Success {
		t.Fatal(status)
	}
	s.ok(srv.AddShare(&server.Share{Name: "vms", Tree: tree}))
	return s
}

func (s *served) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// exposed makes a set of one copy and exposes it.
func (s *served) exposed(writable bool) (*Set, *Copy) {
	s.Helper()
	c := &Copy{ID: dtyp.NewGUID(), Share: "vms", Folder: store.RootID, Writable: writable}
	set := &Set{ID: dtyp.NewGUID(), Copies: []*Copy{c}}
	s.ok(s.Snapshot(set))
	c.Exposed = c.exposedName()
	s.ok(s.Expose(c))
	return set, c
}

// readOnly reports whether the copy's share is there and cannot be written.
func (s *served) readOnly(c *Copy) bool {
	sh := s.srv.Share(c.Exposed)
	return sh != nil && sh.ReadOnly
}

func TestFreeze(t *testing.T) {
	for _, writable := range []bool{false, true} {
		s := serveVMs(t)
		_, c := s.exposed(writable)
		if s.readOnly(c) == writable {
			t.Errorf("writable %v: read-only %v", writable, !writable)
		}
		s.ok(s.Freeze(c))
		if !s.readOnly(c) {
			t.Errorf("writable %v: not read-only after Freeze", writable)
		}
	}
}

// A share that a Freeze took away and could not put back is back, read-only, after the next.
func TestFreezeAfterFailedFreeze(t *testing.T) {
	for _, writable := range []bool{false, true} {
		s := serveVMs(t)
		_, c := s.exposed(writable)
		s.ok(s.drop(c))
		s.ok(s.Freeze(c))
		if !s.readOnly(c) {
			t.Errorf("writable %v: Freeze succeeds without the share", writable)
		}
		s.ok(s.drop(c))
		s.ok(s.srv.RemoveShare("vms"))
		if err := s.Freeze(c); !errors.Is(err, server.ErrNoShare) {
			t.Errorf("writable %v, no base share: %v", writable, err)
		}
	}
}

// The snapshots of sets that nobody was told of go at the start; what is only named alike stays.
func TestStraySnapshots(t *testing.T) {
	s := serveVMs(t)
	known, _ := s.exposed(false)
	s.ok(s.Save(known.ID, known, Context{}))
	s.exposed(false)
	for _, name := range []string{"fsrvp-before-the-upgrade", "nightly"} {
		_, _, err := s.store.Snapshots().Create(name, []store.FileID{store.RootID})
		s.ok(err)
	}
	_, _, err := s.Load()
	s.ok(err)
	list, err := s.store.Snapshots().List(store.RootID)
	s.ok(err)
	var names []string
	for _, l := range list {
		names = append(names, l.Name)
	}
	if want := []string{snapshotName(known.ID), "fsrvp-before-the-upgrade", "nightly"}; !slices.Equal(names, want) {
		t.Errorf("after a start there are %v, want %v", names, want)
	}
}
