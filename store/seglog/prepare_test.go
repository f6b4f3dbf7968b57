package seglog

import (
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// heldFS holds the making of segments, once armed, until it is released.
type heldFS struct {
	vfs.FS
	mu      sync.Mutex
	armed   bool          // guarded by mu
	reached chan struct{} // closed when a segment is held
	release chan struct{}
}

type heldFile struct {
	vfs.File
	fs *heldFS
}

func (h *heldFS) OpenReadWrite(path string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := h.FS.OpenReadWrite(path, c, o...)
	if err != nil || !strings.HasSuffix(path, suffix) {
		return f, err
	}
	return &heldFile{f, h}, nil
}

// Sync is what a segment that was made ends with; the log's own syncs are of data.
func (f *heldFile) Sync() error {
	f.fs.mu.Lock()
	armed := f.fs.armed
	f.fs.armed = false
	f.fs.mu.Unlock()
	if armed {
		close(f.fs.reached)
		<-f.fs.release
	}
	return f.File.Sync()
}

// What waits for durability is answered while the next segment is being made.
func TestNobodyWaitsForAPreparedSegment(t *testing.T) {
	fs := &heldFS{FS: vfs.NewMem(), reached: make(chan struct{}), release: make(chan struct{})}
	if err := fs.MkdirAll("log", 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := Open(Options{FS: fs, Dir: "log", Volume: testVolume, SegmentSize: 256 << 10, Handles: 2, Prewrite: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(nil, 0, time.Hour); err != nil {
		t.Fatal(err)
	}
	l.Prepare()
	fs.mu.Lock()
	fs.armed = true
	fs.mu.Unlock()
	var mu sync.Mutex
	add(t, l, &mu, []byte("takes the segment"), nil, false)
	<-fs.reached
	pos, _, _ := add(t, l, &mu, []byte("waits"), nil, false)
	called := make(chan error, 1)
	l.OnDurable(pos, func(err error) { called <- err })
	select {
	case err := <-called:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * time.Minute):
		t.Error("no answer until the segment is made")
	}
	close(fs.release)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// pieceFS counts the pieces that new segments are filled by, and calls first ahead of the first.
type pieceFS struct {
	vfs.FS
	mu     sync.Mutex
	pieces int // guarded by mu
	first  func()
}

type pieceFile struct {
	vfs.File
	fs *pieceFS
}

func (h *pieceFS) OpenReadWrite(path string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := h.FS.OpenReadWrite(path, c, o...)
	if err != nil || !strings.HasSuffix(path, suffix) {
		return f, err
	}
	return &pieceFile{f, h}, nil
}

// SyncData ends a piece, as long as nothing is logged.
func (f *pieceFile) SyncData() error {
	f.fs.mu.Lock()
	f.fs.pieces++
	first := f.fs.first
	f.fs.first = nil
	f.fs.mu.Unlock()
	if first != nil {
		first()
	}
	return f.File.SyncData()
}

// Who needs a segment has it as soon as there is one, not when one in the making is filled.
func TestNobodyWaitsForFilling(t *testing.T) {
	const size = 8 << 20
	fs := &pieceFS{FS: vfs.NewMem()}
	if err := fs.MkdirAll("log", 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := Open(Options{FS: fs, Dir: "log", Volume: testVolume, SegmentSize: size, Prewrite: true, Reserve: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(nil, 0, 0); err != nil {
		t.Fatal(err)
	}
	l.Prepare()
	if _, free := l.Counts(); free != 2 || fs.pieces != size/len(zeros)-1 {
		t.Fatalf("%d free, filled by %d pieces", free, fs.pieces)
	}
	if s := l.table.take(); s == nil {
		t.Fatal("no segment")
	}
	fs.mu.Lock()
	fs.pieces = 0
	got := make(chan struct{})
	fs.first = func() { // somebody comes while the next is being filled
		go func() {
			defer close(got)
			l.Restock(2)
		}()
		for l.hurried.Load() == 0 {
			runtime.Gosched()
		}
	}
	fs.mu.Unlock()
	l.Prepare()
	<-got
	if _, free := l.Counts(); free < 2 || fs.pieces != 1 {
		t.Errorf("%d free, %d pieces filled while somebody waited", free, fs.pieces)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
