package seglog

import (
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store/crashfs"
)

// A log that found no space notices by itself that there is some again, though nobody writes.
func TestShortEnds(t *testing.T) {
	space := &crashfs.Space{}
	space.Free.Store(600 << 10)
	fs, _ := crashfs.Mem(nil, crashfs.Options{Space: space})
	if err := fs.MkdirAll("log", 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := Open(Options{FS: fs, Dir: "log", Volume: testVolume, SegmentSize: 256 << 10, Reserve: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(nil, 0, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	becomes := func(short bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); l.Short() != short; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("short of space: still %v", !short)
			}
		}
	}
	becomes(true) // two segments are there, and not the third
	space.Free.Add(1 << 20)
	becomes(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// A segment that is removed leaves nothing behind, also when it was written past the page cache last.
func TestTrimForgets(t *testing.T) {
	l, err := Open(Options{FS: vfs.Default, Dir: t.TempDir(), Volume: testVolume, SegmentSize: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(nil, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var mu sync.Mutex
	var seqs []uint64
	for i := range 8 {
		k, err := l.Reserve(8, 1<<20, false)
		if err != nil {
			t.Fatal(err)
		}
		k.Passing()
		k.Commit(checkOf(k.Payload))
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		if l.direct.cur == nil && i == 0 {
			t.Skip("no file system for direct writes")
		}
		seqs = append(seqs, k.Seq)
	}
	add(t, l, &mu, nil, make([]byte, 4<<20-16*BlockSize), false) // begins another
	for _, seq := range seqs {
		l.Release(seq)
	}
	if n, err := l.Trim(0); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	if f := l.direct.cur; f != nil {
		t.Errorf("a handle is left on segment file %d", f.num)
	}
}
