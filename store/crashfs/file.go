package crashfs

import (
	"io"
	"maps"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// file is an open handle.
type file struct {
	fs          *FS
	n           *node
	path        string
	read, write bool
	pos         int64
	closed      bool
}

var _ vfs.File = (*file)(nil)

func (fs *FS) open(n *node, path string, read, write bool) *file {
	n.open++
	return &file{fs: fs, n: n, path: path, read: read, write: write}
}

func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return pathError("close", f.path, os.ErrClosed)
	}
	f.closed = true
	if f.n.open--; f.n.open == 0 && f.n.f != nil {
		f.n.f.Close()
		f.n.f = nil
	}
	f.fs.collect(f.n)
	return nil
}

// enter locks the FS for an operation on an open file.
func (f *file) enter(op string, allowed bool) error {
	f.fs.mu.Lock()
	err := os.ErrClosed
	switch {
	case f.closed:
	case f.n.dir:
		err = syscall.EISDIR
	case !allowed:
		err = syscall.EBADF
	default:
		return nil
	}
	f.fs.mu.Unlock()
	return pathError(op, f.path, err)
}

func (f *file) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p, f.pos)
	f.pos += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.inject(Event{Op: OpRead, Path: f.path, Off: off, Len: len(p)}); err != nil {
		return 0, pathError("read", f.path, err)
	}
	if err := f.enter("read", f.read); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	return f.fs.readAt(f.n, p, off)
}

func (fs *FS) readAt(n *node, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, syscall.EINVAL
	}
	want := len(p)
	if off >= n.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), n.size-off)]
	if err := fs.readBase(n, p, off); err != nil {
		return 0, err
	}
	for i := off / pageSize; i*pageSize < off+int64(len(p)) && len(n.pages) > 0; i++ {
		if pg := n.pages[i]; pg != nil {
			at := i * pageSize
			if at >= off {
				copy(p[at-off:], pg.b[:])
			} else {
				copy(p, pg.b[off-at:])
			}
		}
	}
	if len(p) < want {
		return len(p), io.EOF
	}
	return len(p), nil
}

// readBase fills p with what the base has, and zeros past that.
func (fs *FS) readBase(n *node, p []byte, off int64) error {
	have := min(max(n.synced-off, 0), int64(len(p)))
	clear(p[have:])
	if have == 0 {
		return nil
	}
	f, err := fs.handle(n)
	if err != nil {
		return err
	}
	_, err = f.ReadAt(p[:have], off)
	if err == io.EOF {
		err = nil
	}
	return err
}

// handle is the file on the base, opened when first needed.
func (fs *FS) handle(n *node) (vfs.File, error) {
	if n.f == nil {
		f, err := fs.base.OpenReadWrite(fs.basePath(n), vfs.WriteCategoryUnspecified)
		if err != nil {
			return nil, err
		}
		n.f = f
	}
	return n.f, nil
}

func (f *file) Write(p []byte) (int, error) {
	n, err := f.WriteAt(p, f.pos)
	f.pos += int64(n)
	return n, err
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	grow := f.n.growth(off, int64(len(p)))
	f.fs.mu.Unlock()
	fail := f.fs.injectWrite(Event{Op: OpWrite, Path: f.path, Off: off, Len: len(p), Grow: grow, Writes: true})
	if fail != nil {
		p = p[:min(max(fail.Short, 0), len(p))]
	}
	if err := f.enter("write", f.write); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	if off < 0 {
		return 0, pathError("write", f.path, syscall.EINVAL)
	}
	if err := f.fs.writeAt(f.n, p, off); err != nil {
		return 0, pathError("write", f.path, err)
	}
	if fail != nil {
		return len(p), pathError("write", f.path, fail.Err)
	}
	return len(p), nil
}

func (fs *FS) writeAt(n *node, p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	if n.pages == nil {
		n.pages = map[int64]*page{}
	}
	end := off + int64(len(p))
	for len(p) > 0 {
		i := off / pageSize
		pg := n.pages[i]
		if pg == nil {
			pg = &page{}
			if in := off % pageSize; in != 0 || len(p) < pageSize {
				if err := fs.readBase(n, pg.b[:], i*pageSize); err != nil {
					return err
				}
			}
			n.pages[i] = pg
		}
		pg.lost = false
		c := copy(pg.b[off%pageSize:], p)
		p, off = p[c:], off+int64(c)
	}
	n.size = max(n.size, end)
	n.modTime = time.Now()
	fs.changed[n] = struct{}{}
	return nil
}

func (f *file) Sync() error {
	fs := f.fs
	fs.alive()
	count := fs.syncs.Add(1)
	if fs.opt.OnSync != nil {
		fs.opt.OnSync(count, false)
		defer fs.opt.OnSync(count, true)
	}
	if fs.opt.IgnoreSync != nil && fs.opt.IgnoreSync(f.path) {
		return nil
	}
	fail := fs.inject(Event{Op: OpSync, Path: f.path, Writes: true})
	fs.mu.Lock()
	defer fs.mu.Unlock()
	switch {
	case f.closed:
		return pathError("sync", f.path, os.ErrClosed)
	case fail != nil:
		for _, pg := range f.n.pages {
			pg.lost = true
		}
		return pathError("sync", f.path, fail)
	case f.n.dir:
		return fs.syncDir(f.n)
	}
	return fs.syncFile(f.n)
}

// syncFile gives the base every page that is not lost.
func (fs *FS) syncFile(n *node) error {
	if fs.detached || len(n.pages) == 0 {
		return nil
	}
	lost := map[int64]*page{}
	var run []int64
	for _, i := range slices.Sorted(maps.Keys(n.pages)) {
		if n.pages[i].lost {
			lost[i] = n.pages[i]
			continue
		}
		if len(run) > 0 && (run[len(run)-1] != i-1 || len(run) == 256) {
			if err := fs.flush(n, run); err != nil {
				return err
			}
			run = run[:0]
		}
		run = append(run, i)
	}
	if err := fs.flush(n, run); err != nil {
		return err
	}
	n.pages = lost
	if len(lost) == 0 {
		delete(fs.changed, n)
	}
	return nil
}

// flush writes neighbouring pages to the base.
func (fs *FS) flush(n *node, run []int64) error {
	if len(run) == 0 {
		return nil
	}
	buf := make([]byte, 0, len(run)*pageSize)
	for _, i := range run {
		buf = append(buf, n.pages[i].b[:]...)
	}
	at := run[0] * pageSize
	return fs.writeBase(n, buf[:min(int64(len(buf)), n.size-at)], at)
}

func (fs *FS) writeBase(n *node, p []byte, at int64) error {
	f, err := fs.handle(n)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(p, at); err != nil {
		return err
	}
	n.synced = max(n.synced, at+int64(len(p)))
	return nil
}

func (f *file) SyncData() error { return f.Sync() }

// SyncTo promises nothing, so it does nothing.
func (f *file) SyncTo(int64) (bool, error)  { return false, nil }
func (f *file) Prefetch(int64, int64) error { return nil }
func (f *file) Fd() uintptr                 { return vfs.InvalidFd }
func (f *file) Preallocate(off, n int64) error {
	f.fs.mu.Lock()
	grow := f.n.growth(off, n)
	f.fs.mu.Unlock()
	if err := f.fs.inject(Event{Op: OpAllocate, Path: f.path, Off: off, Len: int(n), Grow: grow, Writes: true}); err != nil {
		return pathError("allocate", f.path, err)
	}
	f.fs.mu.Lock()
	f.n.allocated = max(f.n.allocated, off+n)
	f.fs.mu.Unlock()
	return nil
}

// growth is by how much the file needs more room to hold [off, off+n).
func (n *node) growth(off, length int64) int64 {
	return max(off+length-max(n.size, n.allocated), 0)
}

func (f *file) Stat() (vfs.FileInfo, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return nil, pathError("stat", f.path, os.ErrClosed)
	}
	return f.n.info(f.fs.PathBase(f.path)), nil
}
