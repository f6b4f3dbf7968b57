package admin

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/server"
	"gabion/server/object"
	"gabion/store"
	"gabion/store/block"
)

var (
	errKept      = errors.New("nothing is kept")
	errUncounted = errors.New("the folder cannot be counted")
)

// forgetful is a volume that keeps nothing while it is told not to.
type forgetful struct {
	*block.Volume
	on        bool
	uncounted string // the name of a folder below the root that has no quota
}

func (v *forgetful) SetQuota(dir store.FileID, limit int64) error {
	if v.uncounted != "" && limit > 0 {
		root, err := v.Root(store.Live)
		if err != nil {
			return err
		}
		defer root.Close()
		if e, err := v.Lookup(root, v.uncounted); err == nil && e.ID == dir {
			return errUncounted
		}
	}
	return v.Volume.SetQuota(dir, limit)
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
	return openBookWithout(t, fs, "")
}

// openBookWithout is openBook where a folder cannot be given a quota.
func openBookWithout(t *testing.T, fs vfs.FS, uncounted string, given ...ShareSpec) (*ShareBook, *forgetful) {
	t.Helper()
	vol, err := block.Open(block.Options{Dir: "vol", FS: fs, SegmentSize: 256 << 10, CacheSize: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	v := &forgetful{Volume: vol, uncounted: uncounted}
	srv, err := server.New(server.Config{Name: "FILESRV", GUID: dtyp.NewGUID(), Auth: server.Accepting(auth.NewAcceptor())})
	if err != nil {
		t.Fatal(err)
	}
	b, err := OpenShareBook(srv, object.New(object.Config{Breaker: srv.Breaker()}).Mount(v), &auth.Names{Server: "FILESRV"}, given)
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

// A share that could not be kept is not there either, nor its part in the quota of its folder.
func TestShareAddNotKept(t *testing.T) {
	fs := vfs.NewMem()
	b, vol := openBook(t, fs)
	if err := b.Add(ShareSpec{Name: "vms", Path: "tier", Quota: 2 << 20}); err != nil {
		t.Fatal(err)
	}
	id := b.srv.Share("vms").Tree.RootID()
	vol.on = true
	if err := b.Add(ShareSpec{Name: "less", Path: "tier", Quota: 1 << 20}); !errors.Is(err, errKept) {
		t.Errorf("add: %v", err)
	}
	_, there := b.Find("less")
	if there || b.srv.Share("less") != nil {
		t.Error("it is served")
	}
	if _, q, _ := vol.Quota(id); q != 2<<20 {
		t.Errorf("a quota of %d holds", q)
	}
	vol.on = false
	if err := b.Add(ShareSpec{Name: "less", Path: "tier", Quota: 1 << 20}); err != nil {
		t.Errorf("add again: %v", err)
	}
	if err := vol.Close(); err != nil {
		t.Fatal(err)
	}
}

// A share that is to have a quota which cannot be set is refused when it is made. At the next start it is there with its data,
// as are the others, and says that it has no quota until one can be set.
func TestShareWithoutItsQuota(t *testing.T) {
	fs := vfs.NewMem()
	b, vol := openBookWithout(t, fs, "other")
	for _, name := range []string{"tier", "more"} {
		if err := b.Add(ShareSpec{Name: name, Path: name, Quota: 1 << 20}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Add(ShareSpec{Name: "other", Path: "other", Quota: 1 << 20}); !errors.Is(err, errUncounted) || !strings.Contains(err.Error(), `"other"`) {
		t.Errorf("add: %v", err)
	}
	if b.srv.Share("other") != nil {
		t.Error("it is served although it was refused")
	}
	if err := vol.Close(); err != nil {
		t.Fatal(err)
	}
	b, vol = openBookWithout(t, fs, "tier", ShareSpec{Name: "given", Path: "tier", Quota: 1 << 20})
	problems := func(want ...string) {
		t.Helper()
		var got []string
		for _, s := range b.States() {
			if b.srv.Share(s.Name) == nil {
				t.Errorf("%s is not served", s.Name)
			}
			if s.Problem != "" {
				got = append(got, s.Name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("without their quota are %q, want %q", got, want)
		}
	}
	problems("given", "tier")
	if err := b.Remove("given"); err != nil {
		t.Error(err)
	}
	problems("tier")
	if err := b.Set("tier", func(s *ShareSpec) { s.Quota = 3 << 20 }); !errors.Is(err, errUncounted) {
		t.Errorf("set: %v", err)
	}
	problems("tier")
	vol.uncounted = ""
	if err := b.Set("tier", func(s *ShareSpec) { s.Quota = 3 << 20 }); err != nil {
		t.Error(err)
	}
	problems()
	if _, q, _ := vol.Quota(b.srv.Share("tier").Tree.RootID()); q != 3<<20 {
		t.Errorf("a quota of %d holds", q)
	}
	if err := vol.Close(); err != nil {
		t.Fatal(err)
	}
}
