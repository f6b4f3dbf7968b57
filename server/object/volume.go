package object

import (
	"sync"
	"sync/atomic"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// Volume is a block-store volume with its live files.
type Volume struct {
	fs    *FS
	store store.Volume

	paths sync.RWMutex     // the place of directories; see the package comment
	names [64]sync.RWMutex // the entries of directories, striped by FileID

	mu    sync.Mutex
	files map[fileKey]*File // guarded by mu
	trees map[*Tree]bool    // guarded by mu

	notify notifyTable
	tunnel tunnel

	last atomic.Uint64 // the largest position any change got

	active  sync.Map // store.FileID → *Activity of files that were written to
	actives atomic.Int64
}

// fileKey names a live file: the same file in two views is two files.
type fileKey struct {
	view store.View
	id   store.FileID
}

// Mount brings a volume into the object store. The caller closes the store.Volume
// after every tree of it is gone.
func (fs *FS) Mount(v store.Volume) *Volume {
	return &Volume{fs: fs, store: v, files: make(map[fileKey]*File), trees: make(map[*Tree]bool)}
}

// Store returns the block store below.
func (v *Volume) Store() store.Volume { return v.store }

// entries returns the lock of a directory's entries.
func (v *Volume) entries(dir store.FileID) *sync.RWMutex {
	return &v.names[uint64(dir)%uint64(len(v.names))]
}

// lockEntries locks the entries of two directories for a change, in order.
func (v *Volume) lockEntries(a, b store.FileID) (unlock func()) {
	x, y := uint64(a)%uint64(len(v.names)), uint64(b)%uint64(len(v.names))
	if x > y {
		x, y = y, x
	}
	v.names[x].Lock()
	if x == y {
		return v.names[x].Unlock
	}
	v.names[y].Lock()
	return func() {
		v.names[y].Unlock()
		v.names[x].Unlock()
	}
}

// note remembers the position of a change for FLUSH.
func (v *Volume) note(p store.Pos) {
	for {
		last := v.last.Load()
		if uint64(p) <= last || v.last.CompareAndSwap(last, uint64(p)) {
			return
		}
	}
}

// hold returns the live file of node and takes ownership of node: it pins the
// file or, if the file is live already, is closed. Release gives the reference back.
func (v *Volume) hold(node store.Node) *File {
	k := fileKey{node.View(), node.ID()}
	v.mu.Lock()
	f := v.files[k]
	if f != nil {
		f.refs++
		v.mu.Unlock()
		node.Close()
		return f
	}
	f = newFile(v, node)
	v.files[k] = f
	v.mu.Unlock()
	return f
}

// live returns the live file of that id, nil when nobody has it open.
func (v *Volume) live(view store.View, id store.FileID) *File {
	v.mu.Lock()
	defer v.mu.Unlock()
	f := v.files[fileKey{view, id}]
	if f != nil {
		f.refs++
	}
	return f
}

// holdID is hold for a file known by its id.
func (v *Volume) holdID(view store.View, id store.FileID) (*File, error) {
	if f := v.live(view, id); f != nil {
		return f, nil
	}
	n, err := v.store.OpenID(view, id)
	if err != nil {
		return nil, err
	}
	return v.hold(n), nil
}

// ref takes one more reference.
func (f *File) ref() *File {
	f.vol.mu.Lock()
	f.refs++
	f.vol.mu.Unlock()
	return f
}

// release gives a reference back; the last one removes the file from the table.
func (f *File) release() {
	v := f.vol
	v.mu.Lock()
	f.refs--
	last := f.refs == 0
	if last {
		delete(v.files, f.key())
	}
	v.mu.Unlock()
	if last {
		f.node.Close()
	}
}

// Tree makes a share's window on the directory at path ("" is the volume's
// root).
func (v *Volume) Tree(path string, opt TreeOptions) (*Tree, ntstatus.Status) {
	p, st := parsePath(path)
	if st != ntstatus.Success {
		return nil, st
	}
	node, err := v.store.Root(opt.View)
	if err != nil {
		return nil, v.fs.statusOf(err)
	}
	at := ""
	if !p.isRoot() {
		for _, name := range append(p.dirs, p.name) {
			next, e, err := v.store.Open(node, name)
			node.Close()
			if err != nil {
				return nil, v.fs.statusOf(err)
			}
			node, at = next, joinPath(at, e.Name)
		}
	}
	return v.TreeOf(node, at, opt)
}

// TreeOf makes a share's window on a directory that is open at a path from the volume's root, in
// the view of opt. It takes ownership of node.
func (v *Volume) TreeOf(node store.Node, at string, opt TreeOptions) (*Tree, ntstatus.Status) {
	if !node.IsDir() {
		node.Close()
		return nil, ntstatus.NotADirectory
	}
	return v.window(node, at, opt), ntstatus.Success
}

// window makes the tree whose root is at a path; it takes ownership of node.
func (v *Volume) window(node store.Node, at string, opt TreeOptions) *Tree {
	t := &Tree{vol: v, root: v.hold(node), prefix: at, opt: opt}
	t.compress.Store(opt.Compress)
	v.mu.Lock()
	v.trees[t] = true
	v.mu.Unlock()
	return t
}

// Close unpins the tree's root.
func (t *Tree) Close() {
	t.vol.mu.Lock()
	delete(t.vol.trees, t)
	t.vol.mu.Unlock()
	t.root.release()
}

// shared reports whether path is, or holds, the root of a tree: it has to stay
// where it is.
func (v *Volume) shared(path string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for t := range v.trees {
		if t.opt.View == store.Live && (t.prefix == path || below(t.prefix, path)) {
			return true
		}
	}
	return false
}

// Opens calls fn for every open of the volume until it returns false: for
// listing and closing by an administrator.
func (v *Volume) Opens(fn func(*Open) bool) {
	v.mu.Lock()
	files := make([]*File, 0, len(v.files))
	for _, f := range v.files {
		f.refs++
		files = append(files, f)
	}
	v.mu.Unlock()
	var opens []*Open
	for _, f := range files {
		f.mu.Lock()
		for _, s := range f.streams {
			opens = append(opens, s.opens...)
		}
		f.mu.Unlock()
		f.release()
	}
	for _, o := range opens {
		if !fn(o) {
			return
		}
	}
}

// SnapshotTimes lists when the snapshots that cover id were taken, oldest first.
func (v *Volume) SnapshotTimes(id store.FileID) ([]dtyp.Filetime, ntstatus.Status) {
	snaps, err := v.store.Snapshots().List(id)
	if err != nil {
		return nil, v.fs.statusOf(err)
	}
	ts := make([]dtyp.Filetime, len(snaps))
	for i, s := range snaps {
		ts[i] = s.Taken
	}
	return ts, ntstatus.Success
}
