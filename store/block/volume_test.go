package block

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
	"gabion/store/storetest"
)

func openMem(t testing.TB, fs vfs.FS) *Volume {
	t.Helper()
	v, err := Open(Options{Dir: "vol", FS: fs, SegmentSize: 256 << 10, CacheSize: 8 << 20, DataCache: tinyCache})
	if err != nil {
		t.Fatal(err)
	}
	v.data.least = 1
	return v
}

// manual opens a volume in memory that does nothing by itself, and its root, until the test ends.
func manual(t testing.TB) (*Volume, store.Node) {
	t.Helper()
	v, err := Open(Options{Dir: "vol", FS: vfs.NewMem(), SegmentSize: 256 << 10, CacheSize: 8 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	root, err := v.Root(store.Live)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(root.Close)
	return v, root
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t testing.TB) store.Volume { return openMem(t, vfs.NewMem()) })
}

// memFS returns a file system in memory with a directory d.
func memFS(t testing.TB) vfs.FS {
	fs := vfs.NewMem()
	if err := fs.MkdirAll("d", 0o700); err != nil {
		t.Fatal(err)
	}
	return fs
}
