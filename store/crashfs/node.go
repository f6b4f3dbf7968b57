package crashfs

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// node is a file or directory as the process sees it now.
type node struct {
	serial int
	dir    bool
	open   int // handles

	// Where the base has it. A file is reached by stage once it has one, else by
	// its durable name; a directory lies at stage until it is durable, then
	// at place (a root) or below its durable parent.
	stage  string
	place  string
	parent *node
	name   string

	// Of a directory: known children, and the names whose state on the base is
	// another, with what the base has there.
	children map[string]*node
	pending  map[string]*node

	// Of a file.
	f         vfs.File // on the base; nil until needed
	size      int64
	synced    int64 // size on the base
	allocated int64 // end of what Preallocate was granted
	pages     map[int64]*page
	names     int // current names and durable ones that are pending
	modTime   time.Time
	// Where a rename moved it: a crash may not take the old name away and
	// leave out the new one.
	moved     *node
	movedName string
}

const pageSize = 4096

// page is 4 KiB of a file that the base does not have.
type page struct {
	b [pageSize]byte
	// lost: a sync of it failed. Reads see it, no sync writes it until it is
	// written to again.
	lost bool
}

func (fs *FS) newNode(dir bool) *node {
	fs.serial++
	n := &node{serial: fs.serial, dir: dir}
	if dir {
		n.children, n.pending = map[string]*node{}, map[string]*node{}
	}
	return n
}

func (fs *FS) stagePath(n *node) string {
	return fs.base.PathJoin(fs.opt.Staging, strconv.Itoa(n.serial))
}

// basePath is where the base has the node, "" if it has no such place.
func (fs *FS) basePath(n *node) string {
	switch {
	case n.stage != "":
		return n.stage
	case n.place != "":
		return n.place
	case n.parent == nil:
		return ""
	}
	return fs.base.PathJoin(fs.basePath(n.parent), n.name)
}

// child finds an entry of d, asking the base for one not seen yet; nil is none.
func (fs *FS) child(d *node, elem string) (*node, error) {
	if _, ok := d.pending[elem]; ok {
		return d.children[elem], nil
	}
	if c := d.children[elem]; c != nil {
		return c, nil
	}
	dir := fs.basePath(d)
	if dir == "" {
		return nil, nil
	}
	fi, err := fs.base.Stat(fs.base.PathJoin(dir, elem))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c := fs.newNode(fi.IsDir())
	c.parent, c.name = d, elem
	c.modTime = fi.ModTime()
	if !c.dir {
		c.size, c.synced, c.names = fi.Size(), fi.Size(), 1
	}
	d.children[elem] = c
	return c, nil
}

// set makes elem of d mean n (nil: nothing). The base learns of it when d is
// synced; until then a loaded file keeps a link in the staging directory, so that
// it outlives its durable name.
func (fs *FS) set(d *node, elem string, n *node) error {
	old, err := fs.child(d, elem)
	if err != nil {
		return err
	}
	for _, x := range []*node{old, n} {
		if x == nil || x.dir || x.stage != "" || fs.detached {
			continue
		}
		at := fs.stagePath(x)
		if err := fs.base.Link(fs.basePath(x), at); err != nil {
			return err
		}
		x.stage = at
	}
	if _, ok := d.pending[elem]; !ok {
		d.pending[elem] = old // the base still has it
	} else if old != nil {
		old.names--
	}
	if n == nil {
		delete(d.children, elem)
	} else {
		d.children[elem] = n
		n.names++
	}
	fs.changed[d] = struct{}{}
	fs.collect(old)
	return nil
}

// collect drops the staging link of a file that nothing refers to.
func (fs *FS) collect(n *node) {
	if n == nil || n.dir || n.names > 0 || n.open > 0 {
		return
	}
	delete(fs.changed, n)
	n.pages = nil
	if n.stage != "" && !fs.detached {
		fs.base.Remove(n.stage)
	}
}

func (fs *FS) list(d *node) ([]string, error) {
	seen := map[string]bool{}
	if dir := fs.basePath(d); dir != "" {
		names, err := fs.base.List(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range names {
			seen[e] = true
		}
	}
	for e := range d.children {
		seen[e] = true
	}
	for e := range d.pending {
		if d.children[e] == nil {
			delete(seen, e)
		}
	}
	return slices.Sorted(maps.Keys(seen)), nil
}

// commit makes one pending name of d durable.
func (fs *FS) commit(d *node, elem string) error {
	durable, now := d.pending[elem], d.children[elem]
	at := fs.base.PathJoin(fs.basePath(d), elem)
	var err error
	switch {
	case durable == now:
	case now == nil && durable.dir && (durable.parent != d || durable.name != elem):
		// it was moved away, and that is durable already
	case now == nil:
		if err = fs.base.RemoveAll(at); durable.dir {
			fs.forget(durable)
		}
	case now.dir:
		if durable != nil {
			if err := fs.base.RemoveAll(at); err != nil {
				return err
			}
		}
		if err = fs.base.Rename(fs.basePath(now), at); err == nil {
			now.stage, now.parent, now.name = "", d, elem
		}
	default:
		// Replacing must be one step: a process may be killed between any two.
		tmp := fs.base.PathJoin(fs.opt.Staging, "link")
		if err = fs.base.Link(now.stage, tmp); err == nil {
			err = fs.base.Rename(tmp, at)
		}
	}
	if err != nil {
		return err
	}
	delete(d.pending, elem)
	if durable != nil {
		durable.names--
		fs.collect(durable)
	}
	return nil
}

// forget drops what is pending below a directory that the base does not have any more.
func (fs *FS) forget(d *node) {
	clear(d.pending)
	delete(fs.changed, d)
	for _, c := range d.children {
		if c.dir {
			fs.forget(c)
		}
	}
}

// syncDir makes all names of d durable: new ones first, so that a crash between
// never shows a renamed file nowhere.
func (fs *FS) syncDir(d *node) error {
	if fs.detached {
		return nil
	}
	names := slices.Sorted(maps.Keys(d.pending))
	for _, gone := range []bool{false, true} {
		for _, e := range names {
			if (d.children[e] == nil) == gone {
				if err := fs.commit(d, e); err != nil {
					return err
				}
			}
		}
	}
	delete(fs.changed, d)
	return nil
}

type info struct {
	name string
	size int64
	mod  time.Time
	dir  bool
}

func (n *node) info(name string) vfs.FileInfo { return info{name, n.size, n.modTime, n.dir} }

func (i info) Name() string           { return i.name }
func (i info) Size() int64            { return i.size }
func (i info) ModTime() time.Time     { return i.mod }
func (i info) IsDir() bool            { return i.dir }
func (i info) Sys() any               { return nil }
func (i info) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
func (i info) Mode() os.FileMode {
	if i.dir {
		return os.ModeDir | 0o755
	}
	return 0o644
}
