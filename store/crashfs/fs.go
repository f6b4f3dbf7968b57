package crashfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options of New.
type Options struct {
	// Staging is a directory on the base that New empties: the home of files
	// without a durable name. It must be on the same file system as the files.
	Staging string
	// OnSync is called ahead of each sync of a file or directory, and again behind
	// it, with the sync's number; Crash may be called from it.
	OnSync func(n int64, done bool)
	// Inject is asked before each operation.
	Inject Injector
	// Space bounds what files may hold; nil is what the base offers.
	Space *Space
	// IgnoreSync names the files whose syncs succeed and do nothing, as in
	// a program that forgot them.
	IgnoreSync func(path string) bool
}

// FS implements vfs.FS: the disk as one process sees it.
type FS struct {
	*disk
	killed atomic.Bool
	locks  []*lock // held; guarded by mu
}

// disk is what all processes share.
type disk struct {
	base  vfs.FS
	opt   Options
	syncs atomic.Int64

	mu       sync.Mutex // guards all below and every node
	roots    map[string]*node
	changed  map[*node]struct{} // files with dirty pages, directories with pending names
	serial   int
	detached bool // after Crash: the base is not touched any more
}

var _ vfs.FS = (*FS)(nil)

// New returns a file system over base.
func New(base vfs.FS, opt Options) (*FS, error) {
	if opt.Staging == "" {
		return nil, errors.New("crashfs: no staging directory")
	}
	if err := base.RemoveAll(opt.Staging); err != nil {
		return nil, fmt.Errorf("crashfs: empty staging directory: %w", err)
	}
	if err := base.MkdirAll(opt.Staging, 0o755); err != nil {
		return nil, fmt.Errorf("crashfs: staging directory: %w", err)
	}
	return &FS{disk: &disk{base: base, opt: opt, roots: map[string]*node{}, changed: map[*node]struct{}{}}}, nil
}

// Kill is kill -9 of the process without a power cut: whoever uses fs from now on
// stands still for ever, and the FS returned sees all that was written, synced or not.
func (fs *FS) Kill() *FS {
	fs.killed.Store(true)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.unlock()
	return &FS{disk: fs.disk}
}

// unlock releases all locks, as the end of a process does. Caller holds mu.
func (fs *FS) unlock() {
	for _, l := range fs.locks {
		l.Close()
	}
	fs.locks = nil
}

// lock is a lock on the base.
type lock struct {
	once sync.Once
	c    io.Closer
	err  error
}

// Close releases it, if that was not done.
func (l *lock) Close() error {
	l.once.Do(func() { l.err = l.c.Close() })
	return l.err
}

// Mem is New over a new memory file system, or over the base of a crashed one.
func Mem(base vfs.FS, opt Options) (*FS, vfs.FS) {
	if base == nil {
		base = vfs.NewMem()
	}
	opt.Staging = "/.staging"
	fs, err := New(base, opt)
	if err != nil {
		panic("crashfs: memory file system: " + err.Error())
	}
	return fs, base
}

// Syncs is the number of syncs so far.
func (fs *FS) Syncs() int64 { return fs.syncs.Load() }

// Unsynced is how many bytes and names a power cut could lose.
func (fs *FS) Unsynced() (bytes int64, names int) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for n := range fs.changed {
		bytes += int64(len(n.pages)) * pageSize
		names += len(n.pending)
	}
	return bytes, names
}

func pathError(op, path string, err error) error {
	return &os.PathError{Op: op, Path: path, Err: err}
}

// split cuts a path into its root ("/" or "") and its elements.
func split(path string) (root string, elems []string) {
	if strings.HasPrefix(path, "/") {
		root = "/"
	}
	for _, e := range strings.Split(path, "/") {
		switch e {
		case "", ".":
		case "..":
			if len(elems) > 0 && elems[len(elems)-1] != ".." {
				elems = elems[:len(elems)-1]
				continue
			}
			if root == "" {
				elems = append(elems, e)
			}
		default:
			elems = append(elems, e)
		}
	}
	return root, elems
}

func (fs *FS) root(r string) *node {
	n := fs.roots[r]
	if n == nil {
		n = fs.newNode(true)
		n.place = r
		if r == "" {
			n.place = "."
		}
		fs.roots[r] = n
	}
	return n
}

// find walks to path.
func (fs *FS) find(path string) (*node, error) {
	r, elems := split(path)
	n := fs.root(r)
	for _, e := range elems {
		if !n.dir {
			return nil, syscall.ENOTDIR
		}
		c, err := fs.child(n, e)
		if err != nil {
			return nil, err
		}
		if c == nil {
			return nil, os.ErrNotExist
		}
		n = c
	}
	return n, nil
}

// parent walks to the directory of path and returns it with the last element.
func (fs *FS) parent(path string) (*node, string, error) {
	r, elems := split(path)
	if len(elems) == 0 {
		return nil, "", os.ErrInvalid
	}
	last := len(elems) - 1
	d, err := fs.find(r + strings.Join(elems[:last], "/"))
	if err == nil && !d.dir {
		err = syscall.ENOTDIR
	}
	return d, elems[last], err
}

func (fs *FS) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	if err := fs.inject(Event{Op: OpCreate, Path: name}); err != nil {
		return nil, pathError("create", name, err)
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	d, elem, err := fs.parent(name)
	if err != nil {
		return nil, pathError("create", name, err)
	}
	n, err := fs.newFile(d, elem)
	if err != nil {
		return nil, pathError("create", name, err)
	}
	return fs.open(n, name, true, true), nil
}

// newFile enters a new, empty file under elem.
func (fs *FS) newFile(d *node, elem string) (*node, error) {
	old, err := fs.child(d, elem)
	if err != nil {
		return nil, err
	}
	if old != nil && old.dir {
		return nil, syscall.EISDIR
	}
	n := fs.newNode(false)
	n.modTime = time.Now()
	if !fs.detached {
		n.stage = fs.stagePath(n)
		f, err := fs.base.Create(n.stage, vfs.WriteCategoryUnspecified)
		if err != nil {
			return nil, err
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	return n, fs.set(d, elem, n)
}

func (fs *FS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := fs.inject(Event{Op: OpOpen, Path: name}); err != nil {
		return nil, pathError("open", name, err)
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n, err := fs.find(name)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	f := fs.open(n, name, true, false)
	for _, o := range opts {
		o.Apply(f)
	}
	return f, nil
}

func (fs *FS) OpenReadWrite(name string, _ vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := fs.inject(Event{Op: OpOpen, Path: name, Writes: true}); err != nil {
		return nil, pathError("open", name, err)
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	d, elem, err := fs.parent(name)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	n, err := fs.child(d, elem)
	if err == nil && n == nil {
		n, err = fs.newFile(d, elem)
	}
	if err == nil && n.dir {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	f := fs.open(n, name, true, true)
	for _, o := range opts {
		o.Apply(f)
	}
	return f, nil
}

func (fs *FS) OpenDir(name string) (vfs.File, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n, err := fs.find(name)
	if err == nil && !n.dir {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return fs.open(n, name, false, false), nil
}

func (fs *FS) Link(oldname, newname string) error {
	if err := fs.inject(Event{Op: OpLink, Path: newname}); err != nil {
		return pathError("link", newname, err)
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n, err := fs.find(oldname)
	if err == nil && n.dir {
		err = syscall.EPERM
	}
	if err != nil {
		return pathError("link", oldname, err)
	}
	d, elem, err := fs.parent(newname)
	if err != nil {
		return pathError("link", newname, err)
	}
	if old, err := fs.child(d, elem); err != nil || old != nil {
		return pathError("link", newname, errors.Join(err, os.ErrExist))
	}
	return fs.set(d, elem, n)
}

func (fs *FS) Remove(name string) error {
	if err := fs.inject(Event{Op: OpRemove, Path: name}); err != nil {
		return pathError("remove", name, err)
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	d, elem, err := fs.parent(name)
	if err != nil {
		return pathError("remove", name, err)
	}
	n, err := fs.child(d, elem)
	if err == nil && n == nil {
		err = os.ErrNotExist
	}
	if err != nil {
		return pathError("remove", name, err)
	}
	if n.dir {
		if names, err := fs.list(n); err != nil || len(names) > 0 {
			return pathError("remove", name, errors.Join(err, syscall.ENOTEMPTY))
		}
	}
	if !n.dir {
		fs.opt.Space.give(n.size)
	}
	return fs.set(d, elem, nil)
}

func (fs *FS) RemoveAll(name string) error {
	if err := fs.inject(Event{Op: OpRemove, Path: name}); err != nil {
		return pathError("remove", name, err)
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	d, elem, err := fs.parent(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return pathError("remove", name, err)
	}
	n, err := fs.child(d, elem)
	if err != nil || n == nil {
		return err
	}
	return fs.set(d, elem, nil)
}

func (fs *FS) Rename(oldname, newname string) error {
	if err := fs.inject(Event{Op: OpRename, Path: newname}); err != nil {
		return pathError("rename", newname, err)
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.rename(oldname, newname)
}

func (fs *FS) rename(oldname, newname string) error {
	from, elem, err := fs.parent(oldname)
	if err != nil {
		return pathError("rename", oldname, err)
	}
	n, err := fs.child(from, elem)
	if err == nil && n == nil {
		err = os.ErrNotExist
	}
	if err != nil {
		return pathError("rename", oldname, err)
	}
	to, newElem, err := fs.parent(newname)
	if err != nil {
		return pathError("rename", newname, err)
	}
	if from == to && elem == newElem {
		return nil
	}
	if err := fs.set(to, newElem, n); err != nil {
		return err
	}
	n.moved, n.movedName = to, newElem
	return fs.set(from, elem, nil)
}

func (fs *FS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := fs.Rename(oldname, newname); err != nil {
		return nil, err
	}
	return fs.OpenReadWrite(newname, c)
}

func (fs *FS) MkdirAll(dir string, _ os.FileMode) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	r, elems := split(dir)
	n := fs.root(r)
	for _, e := range elems {
		c, err := fs.child(n, e)
		if err == nil && c == nil {
			if err := fs.inject(Event{Op: OpMkdir, Path: dir}); err != nil {
				return pathError("mkdir", dir, err)
			}
			c, err = fs.newDir(n, e)
		}
		if err == nil && !c.dir {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return pathError("mkdir", dir, err)
		}
		n = c
	}
	return nil
}

func (fs *FS) newDir(d *node, elem string) (*node, error) {
	n := fs.newNode(true)
	if !fs.detached {
		n.stage = fs.stagePath(n)
		if err := fs.base.MkdirAll(n.stage, 0o755); err != nil {
			return nil, err
		}
	}
	return n, fs.set(d, elem, n)
}

// Lock locks the file on the base: other processes must see it.
func (fs *FS) Lock(name string) (io.Closer, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	d, elem, err := fs.parent(name)
	if err != nil {
		return nil, pathError("lock", name, err)
	}
	c, err := fs.base.Lock(fs.base.PathJoin(fs.basePath(d), elem))
	if err != nil {
		return nil, err
	}
	l := &lock{c: c}
	if fs.detached {
		l.Close() // the machine is gone: others may have it
	} else {
		fs.locks = append(fs.locks, l)
	}
	return l, nil
}

func (fs *FS) List(dir string) ([]string, error) {
	if err := fs.inject(Event{Op: OpList, Path: dir}); err != nil {
		return nil, pathError("list", dir, err)
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n, err := fs.find(dir)
	if err == nil && !n.dir {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("list", dir, err)
	}
	return fs.list(n)
}

func (fs *FS) Stat(name string) (vfs.FileInfo, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n, err := fs.find(name)
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	return n.info(fs.PathBase(name)), nil
}

func (fs *FS) PathBase(path string) string    { return fs.base.PathBase(path) }
func (fs *FS) PathJoin(elem ...string) string { return fs.base.PathJoin(elem...) }
func (fs *FS) PathDir(path string) string     { return fs.base.PathDir(path) }
func (fs *FS) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	if s := fs.opt.Space; s != nil {
		return s.usage(), nil
	}
	r, _ := split(path)
	return fs.base.GetDiskUsage(fs.root(r).place)
}

// Unwrap returns nil: whoever looked through would write past the loss.
func (fs *FS) Unwrap() vfs.FS { return nil }
