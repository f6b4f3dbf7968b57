package block

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// indexFS is the file system that Pebble sees. A flush of the index becomes
// visible to a later opening through a write to the MANIFEST and nothing else;
// the log is forced ahead of each such write, so that the index on disk never
// holds what the log might lose.
type indexFS struct {
	vfs.FS
	running *atomic.Bool // Pebble is past its opening
	force   func() error
	// failed is told of a write or sync that failed where Pebble could not go on.
	failed func(error)
	// room gives space up for the index.
	room *reserve
	// second gets copies of the tables.
	second *mirror
	// ended is closed when the volume closed while Pebble still waited for space: nothing it
	// does counts any more.
	ended chan struct{}
	// left is closed when a goroutine of Pebble ended because of that.
	left chan struct{}
	once sync.Once // for left
	// met counts how often the index's background came upon damage since first.
	met   atomic.Int32
	first atomic.Int64
	// broken has what a flush of Pebble's opening failed with, room for one.
	broken chan error
}

// end closes ended. Called once; so that others may open the volume, also when its opening failed.
func (f *indexFS) end() { close(f.ended) }

func (f *indexFS) hasEnded() bool {
	select {
	case <-f.ended:
		return true
	default:
		return false
	}
}

type manifestFile struct {
	vfs.File
	fs *indexFS
}

func isManifest(fs vfs.FS, name string) bool {
	return strings.HasPrefix(fs.PathBase(name), "MANIFEST")
}

// Create implements vfs.FS. A marker names a MANIFEST that was just made; the
// directory is synced ahead of it, lest a crash keeps the one and not the other.
func (f *indexFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if inMirror(f.FS, name) {
		return f.FS.Create(name, c)
	}
	if strings.HasPrefix(f.FS.PathBase(name), "marker.") {
		if err := syncDir(f.FS, f.FS.PathDir(name)); err != nil {
			f.halt(err)
			return nil, err
		}
	}
	if f.hasEnded() {
		return nil, errEnded
	}
	file, err := f.FS.Create(name, c)
	for vfs.IsNoSpaceError(err) && (f.room.give() || isManifest(f.FS, name) && f.waitForSpace()) {
		file, err = f.FS.Create(name, c)
	}
	switch {
	case err != nil:
		f.slowDown(err)
		return nil, err
	case isManifest(f.FS, name):
		return &manifestFile{file, f}, nil
	}
	return &tableFile{file, f}, nil
}

var errEnded = errors.New("volume closed")

// Remove implements vfs.FS.
func (f *indexFS) Remove(name string) error {
	if f.hasEnded() {
		return errEnded
	}
	return f.FS.Remove(name)
}

// Link implements vfs.FS.
func (f *indexFS) Link(from, to string) error {
	if inMirror(f.FS, to) {
		return f.second.link(from, to)
	}
	return f.FS.Link(from, to)
}

// Rename implements vfs.FS.
func (f *indexFS) Rename(from, to string) error {
	if f.hasEnded() {
		return errEnded
	}
	return f.FS.Rename(from, to)
}

// write writes p, giving up what is in reserve while the disk is full.
func (f *indexFS) write(to vfs.File, p []byte) (int, error) {
	if f.hasEnded() {
		return 0, errEnded
	}
	n, err := to.Write(p)
	for err != nil && vfs.IsNoSpaceError(err) && f.room.give() {
		var k int
		k, err = to.Write(p[n:])
		n += k
	}
	if err == nil {
		f.room.starved.Store(false)
	}
	return n, err
}

// tableFile is any other file. Pebble tries again at once when the disk is full.
type tableFile struct {
	vfs.File
	fs *indexFS
}

func (t *tableFile) Write(p []byte) (int, error) {
	n, err := t.fs.write(t.File, p)
	t.fs.slowDown(err)
	return n, err
}

func (f *indexFS) slowDown(err error) {
	if vfs.IsNoSpaceError(err) {
		f.waitForSpace()
	}
}

// waitForSpace waits a moment for the disk to have space again, and reports whether it is worth
// trying; nothing tells when somebody else gives space back.
func (f *indexFS) waitForSpace() bool {
	if !f.running.Load() {
		return false
	}
	f.room.starved.Store(true)
	select {
	case <-f.ended:
		return false
	case <-time.After(10 * time.Millisecond):
		return true
	}
}

// Lock implements vfs.FS: the volume's own lock covers the index, and is given
// back also when a stopped volume leaves the index open.
func (f *indexFS) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

func (f *indexFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	if err != nil || inMirror(f.FS, f.FS.PathJoin(name, "x")) {
		return file, err
	}
	return &indexDir{file, f}, nil
}

func (m *manifestFile) Write(p []byte) (int, error) {
	if err := m.fs.force(); err != nil {
		m.fs.halt(err)
		return 0, err
	}
	n, err := m.fs.write(m.File, p)
	// Pebble gives up for good when this fails, where it tries tables again.
	for vfs.IsNoSpaceError(err) && m.fs.waitForSpace() {
		var k int
		k, err = m.fs.write(m.File, p[n:])
		n += k
	}
	if err != nil {
		m.fs.halt(err)
	}
	return n, err
}

func (m *manifestFile) Sync() error {
	err := m.File.Sync()
	if err != nil {
		m.fs.halt(err)
	}
	return err
}

func (m *manifestFile) SyncData() error {
	err := m.File.SyncData()
	if err != nil {
		m.fs.halt(err)
	}
	return err
}

// indexDir is the index's directory. Pebble panics when it cannot sync it.
type indexDir struct {
	vfs.File
	fs *indexFS
}

func (d *indexDir) Sync() error {
	err := d.File.Sync()
	if err != nil {
		d.fs.halt(err)
	}
	return err
}

// bearable is how often a minute the index's background may come upon damage.
const bearable = 16

// bear reports whether the volume goes on although a compaction met damage: Pebble keeps away
// from the tables for some minutes, and all others are served. It does not keep away from
// those of level 0, which it would try again without end.
func (f *indexFS) bear() bool {
	now := time.Now().UnixNano()
	if first := f.first.Load(); now-first > int64(time.Minute) {
		f.first.Store(now)
		f.met.Store(0)
	}
	return f.met.Add(1) <= bearable
}

// unopened makes the opening fail: Pebble would try its flush again for ever. From then on nobody
// may wait for Pebble, which takes the flush for one that still runs.
func (f *indexFS) unopened(err error) {
	f.failed(err)
	select {
	case f.broken <- err:
	default:
	}
	runtime.Goexit()
}

// halt stops the volume and ends Pebble's goroutine: what it would do next is
// retry or panic, and neither makes a failed write whole. The index is not
// closed afterwards; the process is about to exit.
func (f *indexFS) halt(err error) {
	if !f.running.Load() {
		return // the opening fails with it
	}
	if f.hasEnded() {
		f.once.Do(func() { close(f.left) })
	} else {
		f.failed(err)
	}
	runtime.Goexit()
}

func (f *indexFS) Unwrap() vfs.FS { return f.FS }
