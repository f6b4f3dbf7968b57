package block

import (
	"fmt"
	"strings"

	"gabion/protocol/dtyp"
	"gabion/store"
)

// checkName refuses what no entry may be called. What Windows forbids beyond
// this is the server's business.
func checkName(name string) error {
	switch {
	case name == "", name == ".", name == "..", dtyp.UTF16Len(name) > store.MaxNameLen,
		strings.ContainsAny(name, "\x00/\\"):
		return fmt.Errorf("%w: %q", store.ErrName, name)
	}
	return nil
}

func (v *Volume) up(name string) string { return v.id.table.Key(name) }

// link is one name of an inode.
type link struct {
	parent   store.FileID
	up, name string
}

// eachLink calls fn for the names of a file in a view.
func (v *Volume) eachLink(id store.FileID, max uint64, fn func(link) error) error {
	prefix := key64(nil, kLink, uint64(id))
	return v.scanVersions(prefix, nil, max, func(body []byte, f found) (bool, error) {
		l := link{parent: store.FileID(be.Uint64(body[9:])), up: string(body[17 : len(body)-1])}
		err := eachField(f.value, func(id byte, _ uint64, data []byte) {
			if id == fName {
				l.name = string(data)
			}
		})
		if err == nil {
			err = fn(l)
		}
		return err == nil, err
	})
}

// lookup finds an entry.
func (v *Volume) lookup(dir store.FileID, up string, max uint64) (e entry, f found, err error) {
	f, err = v.find(nameKey(nil, dir, up), max)
	if err != nil {
		return e, f, err
	}
	if !f.live() {
		return e, f, store.ErrNotFound
	}
	return e, f, e.decode(f.value)
}

// node checks that n is a node of this volume.
func (v *Volume) node(n store.Node) (*node, error) {
	d, ok := n.(*node)
	if !ok || d.v != v {
		return nil, fmt.Errorf("node of another volume: %w", store.ErrInvalid)
	}
	return d, nil
}

// dirNode checks that n is a directory of this volume.
func (v *Volume) dirNode(n store.Node) (*node, error) {
	d, err := v.node(n)
	if err == nil && !d.dir {
		err = store.ErrNotDir
	}
	return d, err
}

// liveDir checks that entries of n may be changed. Caller holds names.
func (v *Volume) liveDir(n store.Node) (*inode, error) {
	d, err := v.dirNode(n)
	switch {
	case err != nil:
		return nil, err
	case d.view != store.Live:
		return nil, store.ErrReadOnly
	case d.gone.Load():
		return nil, fmt.Errorf("directory %d was removed: %w", d.id, store.ErrNotFound)
	}
	return d.inode, nil
}

// freshen replaces an entry's attributes by the inode's where they may be stale.
func (v *Volume) freshen(e *entry, view store.View) error {
	if view == store.Live {
		if n := v.peek(e.id); n != nil {
			n.mu.Lock()
			e.attrs = n.attrs()
			n.mu.Unlock()
			return nil
		}
		if !v.inodes.isStale(e.id) {
			return nil
		}
	}
	f, err := v.find(inodeKey(nil, e.id, 0), maxVersion(view))
	if err != nil || !f.live() {
		return err
	}
	e.attrs = attrs{}
	return e.attrs.decode(f.value)
}

// Lookup implements store.Volume.
func (v *Volume) Lookup(dir store.Node, name string) (store.Entry, error) {
	d, err := v.dirNode(dir)
	if err == nil {
		err = v.check()
	}
	if err != nil {
		return store.Entry{}, err
	}
	e, _, err := v.lookup(d.id, v.up(name), maxVersion(d.view))
	if err == nil {
		err = v.freshen(&e, d.view)
	}
	if err != nil {
		return store.Entry{}, fmt.Errorf("%q: %w", name, err)
	}
	return e.public(), nil
}

// Open implements store.Volume.
func (v *Volume) Open(dir store.Node, name string) (store.Node, store.Entry, error) {
	d, err := v.dirNode(dir)
	if err == nil {
		err = v.check()
	}
	if err != nil {
		return nil, store.Entry{}, err
	}
	up := v.up(name)
	in := entryName{d.id, up}
	var gen uint64
	if d.view == store.Live {
		t, g, ok := v.entries.get(in)
		if ok {
			if n, err := v.open1(t.id, store.Live, false); err == nil {
				return newNode(n), store.Entry{Name: t.name, Attr: n.public()}, nil
			}
		}
		gen = g
	}
	for {
		e, _, err := v.lookup(d.id, up, maxVersion(d.view))
		if err != nil {
			return nil, store.Entry{}, fmt.Errorf("%q: %w", name, err)
		}
		n, err := v.open1(e.id, d.view, false)
		if err != nil {
			// Removed in between, or the index is damaged: the entry tells.
			if again, _, err2 := v.lookup(d.id, up, maxVersion(d.view)); err2 == nil && again.id == e.id {
				return nil, store.Entry{}, fmt.Errorf("%q: %w", name, err)
			}
			continue
		}
		if d.view == store.Live {
			v.entries.put(in, target{e.id, e.name}, gen)
		}
		return newNode(n), store.Entry{Name: e.name, Attr: n.public()}, nil
	}
}

// OpenID implements store.Volume.
func (v *Volume) OpenID(view store.View, id store.FileID) (store.Node, error) {
	if err := v.check(); err != nil {
		return nil, err
	}
	if view != store.Live {
		if err := v.inView(view, id); err != nil {
			return nil, err
		}
	}
	n, err := v.open1(id, view, false)
	if err != nil {
		return nil, err
	}
	return newNode(n), nil
}

// Root implements store.Volume.
func (v *Volume) Root(view store.View) (store.Node, error) { return v.OpenID(view, store.RootID) }

// ReadDir implements store.Volume.
func (v *Volume) ReadDir(dir store.Node, after string, max int, to []store.Entry) ([]store.Entry, error) {
	d, err := v.dirNode(dir)
	if err == nil {
		err = v.check()
	}
	if err != nil || max <= 0 {
		return to, err
	}
	prefix := key64(nil, kName, uint64(d.id))
	var from []byte
	if after != "" {
		// Behind every version of after: its terminator is 0.
		from = nameKey(nil, d.id, v.up(after))
		from[len(from)-1] = 1
	}
	// All names are parts of one string.
	names, ends, first := make([]byte, 0, 32*min(max, 128)), make([]int, 0, min(max, 128)), len(to)
	err = v.scanVersions(prefix, from, maxVersion(d.view), func(_ []byte, f found) (bool, error) {
		var e entry
		name, err := e.decodeUnnamed(f.value)
		if err != nil {
			return false, err
		}
		names = append(names, name...)
		ends = append(ends, len(names))
		if err := v.freshen(&e, d.view); err != nil {
			return false, err
		}
		to = append(to, e.public())
		max--
		return max > 0, nil
	})
	all, begin := string(names), 0
	for i := range to[first:] {
		to[first+i].Name = all[begin:ends[i]]
		begin = ends[i]
	}
	return to, err
}

// isEmpty reports whether a directory holds no entry.
func (v *Volume) isEmpty(dir store.FileID) (bool, error) {
	empty := true
	err := v.scanVersions(key64(nil, kName, uint64(dir)), nil, newest, func([]byte, found) (bool, error) {
		empty = false
		return false, nil
	})
	return empty, err
}

// root makes the root directory of a new volume.
func (v *Volume) root() error {
	f, err := v.find(inodeKey(nil, store.RootID, 0), newest)
	if err != nil || f.live() {
		return err
	}
	c := newChange()
	defer c.free()
	t := v.id.created
	a := attrs{dir: true, links: 1, times: store.Times{Creation: t, LastAccess: t, LastWrite: t, Change: t}}
	c.set(at(inodeKey(nil, store.RootID, 0), 0), a.full(nil))
	pos, err := v.commit(c)
	if err != nil {
		return err
	}
	return v.Wait(pos)
}
