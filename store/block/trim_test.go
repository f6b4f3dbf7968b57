package block

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
)

// Free segments stay while bursts of writes use them again and again, and go back to the file
// system when they were not needed for a while.
func TestFreeSegmentsStayForAWhile(t *testing.T) {
	now := time.Unix(1e9, 0)
	v, err := Open(Options{Dir: "vol", FS: vfs.NewMem(), SegmentSize: 256 << 10, Manual: true, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	n, s := newFile(t, v, "disk")
	defer n.Close()
	defer s.Close()
	burst := func() {
		t.Helper()
		for round := range uint64(16) {
			for i := range 16 {
				p := make([]byte, 0, 16*blockSize)
				for k := range 16 {
					p = append(p, stamp(16*i+k, round)...)
				}
				if _, err := s.WriteAt(p, int64(i)*16*blockSize, store.Touch{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		settle := func() {
			for more := true; more; {
				if more, err = v.Step(); err != nil {
					t.Fatal(err)
				}
			}
		}
		settle() // what waits for the index
		if err := v.flushNow(); err != nil {
			t.Fatal(err)
		}
		settle()
		if err := v.Sync(); err != nil { // the records of what was retired
			t.Fatal(err)
		}
		settle()
	}
	files := func() int {
		used, free := v.log.Counts()
		return used + free
	}
	const few = 16
	burst()
	most := files()
	if most <= few {
		t.Fatalf("%d segments do not show anything", most)
	}
	for range 5 {
		now = now.Add(trimEvery / 3)
		burst()
	}
	if n := files(); n < most || n > 2*most {
		t.Errorf("%d segments after bursts that need %d", n, most)
	}
	for range 3 {
		now = now.Add(trimEvery + time.Second)
		if _, err := v.Step(); err != nil {
			t.Fatal(err)
		}
	}
	if n := files(); n > few {
		t.Errorf("%d segments stay though nobody needs them", n)
	}
}
