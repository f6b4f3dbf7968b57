package admin

import (
	"errors"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/server"
	"gabion/server/object"
	"gabion/store"
	"gabion/store/block"
)

var errKept = errors.New("nothing is kept")

// forgetful is a volume that keeps nothing while it is told not to.
type forgetful struct {
	*block.Volume
	on bool
}

func (v *forgetful) KV() store.KV { return forgetfulKV{v.Volume.KV(), v} }

type forgetfulKV struct {
	store.KV
	vol *forgetful
}

func (k forgetfulKV) Apply(edits []store.KVEdit) (store.Pos, error) {
	if k.vol.on {
		return 0, errKept
	}
	return k.KV.Apply(edits)
}

// openBook starts a server on a volume in a file system in memory.
func openBook(t *testing.T, fs vfs.FS) (*ShareBook, *forgetful) {
	t.Helper()
	vol, err := block.Open(block.Options{Dir: "vol", FS: fs, SegmentSize: 256 << 10, CacheSize: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	v := &forgetful{Volume: vol}
	srv, err := server.New(server.Config{Name: "FILESRV", GUID: dtyp.NewGUID(), Auth: server.Accepting(auth.NewAcceptor())})
	if err != nil {
		t.Fatal(err)
	}
	b, err := OpenShareBook(srv, object.New(object.Config{Breaker: srv.Breaker()}).Mount(v), &auth.Names{Server: "FILESRV"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b, v
}

// A share that is removed while it is being set stays removed, also at the next start.
func TestShareSetBesideRemove(t *testing.T) {
	fs := vfs.NewMem()
	b, vol := openBook(t, fs)
	if err := b.Add(ShareSpec{Name: "vms", Path: "tier", Quota: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	removed := make(chan error, 1)
	err := b.Set("vms", func(s *ShareSpec) {
		s.Quota = 2 << 20
		go func() { removed <- b.Remove("vms") }()
		for range 1000 {
			runtime.Gosched()
		}
	})
	if err := errors.Join(err, <-removed); err != nil {
		t.Error(err)
	}
	if list := b.List(); len(list) != 0 {
		t.Errorf("there is %+v", list)
	}
	if err := vol.Close(); err != nil {
		t.Fatal(err)
	}
	b, vol = openBook(t, fs)
	if list := b.List(); len(list) != 0 {
		t.Errorf("at the next start there is %+v", list)
	}
	if err := vol.Close(); err != nil {
		t.Fatal(err)
	}
}

// What could not be kept has no effect; a share whose removal could not be kept has no quota.
func TestShareNotKept(t *testing.T) {
	b, vol := openBook(t, vfs.NewMem())
	defer vol.Close()
	if err := b.Add(ShareSpec{Name: "vms", Path: "tier", Quota: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	limit := func() int64 {
		t.Helper()
		root, err := vol.Root(store.Live)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		e, err := vol.Lookup(root, "tier")
		if err != nil {
			t.Fatal(err)
		}
		_, q, _ := vol.Quota(e.ID)
		return q
	}
	vol.on = true
	if err := b.Set("vms", func(s *ShareSpec) { s.Quota = 2 << 20 }); !errors.Is(err, errKept) {
		t.Errorf("set: %v", err)
	}
	if s, _ := b.Find("vms"); s.Quota != 1<<20 || limit() != 1<<20 {
		t.Errorf("quota %d, %d holds", s.Quota, limit())
	}
	if err := b.Remove("vms"); !errors.Is(err, errKept) {
		t.Errorf("remove: %v", err)
	}
	if _, there := b.Find("vms"); there || limit() != 0 {
		t.Errorf("there: %v, %d holds", there, limit())
	}
}
