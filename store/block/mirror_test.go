package block

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
)

// mirrored makes a volume whose second index lags behind the first, and closes it.
func mirrored(t *testing.T, mirror bool) (vfs.FS, Options) {
	fs := vfs.NewMem()
	opt := Options{Dir: "vol", FS: fs, SegmentSize: 256 << 10, CacheSize: 2 << 20, Manual: true}
	v, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		n, s := newFile(t, v, fmt.Sprintf("file %d", i))
		for b := range 20 {
			if _, err := s.WriteAt(stamp(b, uint64(i)), int64(b)*3*blockSize, store.Touch{}); err != nil {
				t.Fatal(err)
			}
		}
		s.Close()
		n.Close()
		if mirror && i%20 == 10 { // the second time tables go over by links
			if err := v.flushNow(); err != nil {
				t.Fatal(err)
			}
			if err := v.mirror.take(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	return fs, opt
}

// files reads all of the files of mirrored; those that cannot be read are counted, wrong
// data fails the test.
func filesOf(t *testing.T, v *Volume) (failed int) {
	t.Helper()
	p := make([]byte, blockSize)
	for i := range 60 {
		root, err := v.Root(store.Live)
		if err != nil {
			return 60
		}
		n, _, err := v.Open(root, fmt.Sprintf("file %d", i))
		root.Close()
		if err != nil {
			if isNotFound(err) {
				t.Errorf("file %d is lost: %v", i, err)
			}
			failed++
			continue
		}
		s, err := n.Data()
		if err != nil {
			t.Fatal(err)
		}
		bad := false
		for b := range 20 {
			_, err := s.ReadAt(p, int64(b)*3*blockSize)
			bad = bad || err != nil
			if err == nil && !bytes.Equal(p, stamp(b, uint64(i))) {
				t.Errorf("file %d block %d is wrong", i, b)
			}
		}
		if s.Close(); bad {
			failed++
		}
		n.Close()
	}
	return failed
}

func indexFiles(t *testing.T, fs vfs.FS) (list []string) {
	names, err := fs.List("vol/index")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		list = append(list, fs.PathJoin("vol/index", name))
	}
	return list
}

// damage overwrites a stretch of a file, or removes it.
func damage(t *testing.T, fs vfs.FS, path string, part int) {
	t.Helper()
	if part < 0 {
		if err := fs.Remove(path); err != nil {
			t.Fatal(err)
		}
		return
	}
	b, err := readAll(fs, path)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(b) * part / 4; i < len(b)*(part+1)/4; i++ {
		b[i] ^= 0x55
	}
	if err := writeFile(fs, path, b); err != nil {
		t.Fatal(err)
	}
}

func clone(t *testing.T, from vfs.FS) vfs.FS {
	to := vfs.NewMem()
	if ok, err := vfs.Clone(from, to, "vol", "vol"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	return to
}

// A compaction that meets damage leaves the rest of the index in service.
func TestCompactionMeetsDamage(t *testing.T) {
	fs, opt := mirrored(t, false)
	v, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 { // overlaps with what is there
		root, err := v.Root(store.Live)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Unlink(root, fmt.Sprintf("file %d", i)); err != nil {
			t.Fatal(err)
		}
		root.Close()
	}
	if err := v.flushNow(); err != nil {
		t.Fatal(err)
	}
	for v.index.Metrics().Compact.NumInProgress > 0 {
		runtime.Gosched()
	}
	levels, err := v.index.SSTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, level := range levels {
		for _, x := range level {
			for part := range 3 { // the rest leads to these
				damage(t, fs, "vol/index/"+x.BackingSSTNum.String()+".sst", part)
			}
		}
	}
	if err := v.flushNow(); err != nil { // every flush has the tally: the tables overlap
		t.Fatal(err)
	}
	// After it met damage, Pebble waits for minutes before it takes the table again.
	ctx, cancel := context.WithCancel(t.Context())
	compacted := make(chan error, 1)
	go func() { compacted <- v.index.Compact(ctx, []byte{0}, []byte{0xff}, false) }()
	for done := false; !done && v.ifs.met.Load() == 0; runtime.Gosched() {
		done = len(compacted) > 0
	}
	cancel()
	<-compacted
	if v.ifs.met.Load() == 0 {
		t.Error("no compaction met the damage: this test proves nothing")
	}
	if err := v.Stopped(); err != nil {
		t.Error(err)
	}
	if err := v.flushNow(); err != nil {
		t.Error(err)
	}
	v.Close() // and says what it met
}

// Whatever happens to the files of the index, the second index and the log have everything:
// at once if the volume does not open otherwise, else when the index is rebuilt. Until then what
// the damage does not concern is served.
func TestSecondIndex(t *testing.T) {
	base, opt := mirrored(t, true)
	served, replaced := 0, 0
	for _, path := range indexFiles(t, base) {
		for part := -1; part < 4; part++ {
			fs := clone(t, base)
			opt.FS = fs
			damage(t, fs, path, part)
			v, err := Open(opt)
			if err != nil {
				t.Fatalf("%s part %d: %v", path, part, err)
			}
			failed := filesOf(t, v)
			if err := v.Stopped(); err != nil {
				t.Errorf("%s part %d: reading what is damaged stopped the volume: %v", path, part, err)
			}
			if verify(v) == nil && failed > 0 {
				t.Errorf("%s part %d: check finds nothing, %d files cannot be read", path, part, failed)
			}
			if failed == 0 {
				replaced++
			} else if failed < 60 {
				served++
			}
			v.Close() // an index that is damaged may fail
			sum, err := Rebuild(opt, CheckOptions{Found: func(p Problem) { t.Errorf("%s part %d, rebuilt: %v", path, part, p) }})
			if err != nil || sum.Problems > 0 {
				t.Fatalf("%s part %d: rebuild: %v", path, part, err)
			}
			if v, err = Open(opt); err != nil {
				t.Fatal(err)
			}
			if failed := filesOf(t, v); failed > 0 {
				t.Errorf("%s part %d: %d files cannot be read after the rebuild", path, part, failed)
			}
			if err := v.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Logf("%d times all was read, %d times the rest was served", replaced, served)
}

// Without a second index the whole log does as well, as long as it is there.
func TestRebuildFromLog(t *testing.T) {
	fs, opt := mirrored(t, false)
	for _, path := range indexFiles(t, fs) {
		if strings.HasSuffix(path, ".sst") || strings.Contains(path, "MANIFEST") {
			damage(t, fs, path, 0)
		}
	}
	if _, err := Open(opt); err == nil {
		t.Error("a volume without an index opens")
	}
	sum, err := Rebuild(opt, CheckOptions{Found: func(p Problem) { t.Error(p) }})
	if err != nil || sum.Files != 61 {
		t.Fatalf("%+v, %v", sum, err)
	}
	v, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	if failed := filesOf(t, v); failed > 0 {
		t.Errorf("%d files cannot be read", failed)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
}

// syncedFS notes how many bytes a file ever had that were not synced.
type syncedFS struct {
	vfs.FS
	mu   sync.Mutex // the index writes on its own
	most int        // guarded by mu
}

func (f *syncedFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	return &syncedFile{File: file, fs: f}, err
}

func (f *syncedFS) Unwrap() vfs.FS { return f.FS }

type syncedFile struct {
	vfs.File
	fs    *syncedFS
	dirty int // guarded by fs.mu
}

// has notes that n bytes more, or none, are not synced.
func (f *syncedFile) has(n int) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.dirty += n; n == 0 {
		f.dirty = 0
	}
	f.fs.most = max(f.fs.most, f.dirty)
}

func (f *syncedFile) Write(p []byte) (int, error) {
	f.has(len(p))
	return f.File.Write(p)
}

func (f *syncedFile) Sync() error {
	f.has(0)
	return f.File.Sync()
}

func (f *syncedFile) SyncData() error {
	f.has(0)
	return f.File.SyncData()
}

// A table goes to the second index by pieces, each synced: no sync of the log waits behind all of it.
func TestMirrorSyncsByPieces(t *testing.T) {
	fs := &syncedFS{FS: vfs.NewMem()}
	v, err := Open(Options{Dir: "vol", FS: fs, SegmentSize: 256 << 10, CacheSize: 2 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	from, err := fs.FS.Create("vol/table", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := from.Write(make([]byte, 5<<20)); err != nil {
		t.Fatal(err)
	}
	if err := from.Close(); err != nil {
		t.Fatal(err)
	}
	fs.mu.Lock()
	fs.most = 0
	fs.mu.Unlock()
	if err := v.mirror.copy("vol/table", "vol/copy", true); err != nil {
		t.Fatal(err)
	}
	fs.mu.Lock()
	most := fs.most
	fs.mu.Unlock()
	if most == 0 || most > 1<<20 {
		t.Errorf("%d bytes were not synced at a time", most)
	}
	if st, err := fs.Stat("vol/copy"); err != nil || st.Size() != 5<<20 {
		t.Errorf("the copy: %v, %v", st, err)
	}
}
