package block

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
	"gabion/store/storetest"
)

func openMem(t testing.TB, fs vfs.FS) *Volume {
	t.Helper()
	v, err := Open(Options{Dir: "vol", FS: fs, SegmentSize: 256 << 10, CacheSize: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return v
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
