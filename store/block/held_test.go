package block

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
)

// What snapshots keep becomes known by itself: after little was written, and after a start.
func TestHeldIsRefreshed(t *testing.T) {
	fs := vfs.NewMem()
	open := func() *Volume {
		v, err := Open(Options{Dir: "vol", FS: fs, SegmentSize: 4 << 20, CacheSize: 8 << 20, held: 10 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := open()
	holds := func(blocks int64) {
		t.Helper()
		becomes(t, v, fmt.Sprintf("snapshots hold %d blocks", blocks), func() bool { return v.Space().SnapshotHeld == blocks*blockSize })
	}
	n, s := newFile(t, v, "f")
	write := func(blocks int, round uint64) {
		t.Helper()
		for b := range blocks {
			if _, err := s.WriteAt(stamp(b, round), int64(b)*blockSize, store.Touch{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(100, 1)
	snap, _, err := v.Snapshots().Create("s", []store.FileID{store.RootID})
	if err != nil {
		t.Fatal(err)
	}
	write(30, 2)
	holds(30)
	write(40, 3)
	holds(40)
	s.Close()
	n.Close()
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v = open()
	holds(40)
	if _, err := v.Snapshots().Delete(snap.View); err != nil {
		t.Fatal(err)
	}
	holds(0)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}
