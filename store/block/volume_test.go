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
