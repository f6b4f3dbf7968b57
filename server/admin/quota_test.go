package admin

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/server"
	"gabion/server/object"
	"gabion/store"
	"gabion/store/block"
)

// The quota of a share is kept, counted anew at the next start, changed while the array runs, and
// ends with the share. So is whether it compresses.
func TestShareQuota(t *testing.T) {
	fs := vfs.NewMem()
	var vol *block.Volume
	open := func() *ShareBook {
		t.Helper()
		var err error
		if vol, err = block.Open(block.Options{Dir: "vol", FS: fs, SegmentSize: 256 << 10, CacheSize: 8 << 20}); err != nil {
			t.Fatal(err)
		}
		srv, err := server.New(server.Config{Name: "FILESRV", GUID: dtyp.NewGUID(), Auth: server.Accepting(auth.NewAcceptor())})
		if err != nil {
			t.Fatal(err)
		}
		mounted := object.New(object.Config{Breaker: srv.Breaker()}).Mount(vol)
		book, err := OpenShareBook(srv, mounted, &auth.Names{Server: "FILESRV"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return book
	}
	add := func(b *ShareBook, text string) {
		t.Helper()
		spec, err := ParseShare(text)
		if err == nil {
			err = b.Add(spec)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	state := func(b *ShareBook, quota, used int64) {
		t.Helper()
		for _, s := range b.States() {
			if s.Name == "vms" && s.Quota == quota && s.QuotaUsed == used {
				return
			}
		}
		t.Errorf("%+v, want %d of %d", b.States(), used, quota)
	}
	resize := func(size int64) error {
		t.Helper()
		root, err := vol.Root(store.Live)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		dir, _, err := vol.Open(root, "tier")
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		n, _, err := vol.Open(dir, "f")
		if errors.Is(err, store.ErrNotFound) {
			n, _, err = vol.Create(dir, "f", store.Init{})
		}
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		s, err := n.Data()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		_, err = s.SetSize(size, store.Touch{})
		return err
	}
	b := open()
	add(b, "vms,path=tier,quota=1M")
	if err := resize(1 << 20); err != nil {
		t.Error(err)
	}
	if err := resize(1<<20 + 1); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("beyond the quota: %v", err)
	}
	state(b, 1<<20, 1<<20)
	if err := vol.Close(); err != nil {
		t.Fatal(err)
	}
	b = open()
	state(b, 1<<20, 1<<20)
	if err := resize(1<<20 + 1); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("beyond the quota after a restart: %v", err)
	}
	if err := b.Set("vms", func(s *ShareSpec) { s.Quota = 2 << 20 }); err != nil {
		t.Fatal(err)
	}
	if err := resize(2 << 20); err != nil {
		t.Error(err)
	}
	// Another share of the folder has a smaller one: that counts, as long as it is there.
	add(b, `less,path=tier,quota=1K`)
	if err := resize(3 << 20); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("beyond the quotas of both: %v", err)
	}
	if err := b.Remove("less"); err != nil {
		t.Fatal(err)
	}
	state(b, 2<<20, 2<<20)
	if err := b.Set("vms", func(s *ShareSpec) { s.Quota = 0 }); err != nil {
		t.Fatal(err)
	}
	if err := resize(3 << 20); err != nil {
		t.Error(err)
	}
	state(b, 0, 0)
	add(b, "packed,compress")
	if err := b.Set("vms", func(s *ShareSpec) { s.Compress = true }); err != nil {
		t.Fatal(err)
	}
	if err := vol.Close(); err != nil {
		t.Fatal(err)
	}
	b = open()
	state(b, 0, 0)
	for _, s := range b.States() {
		if !s.Compress {
			t.Errorf("share %s does not compress after a restart", s.Name)
		}
	}
	if err := vol.Close(); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a,quota=", "a,quota=much", "a,quota=-1"} {
		if _, err := ParseShare(text); err == nil {
			t.Errorf("%q was understood", text)
		}
	}
}
