package memvol

import (
	"fmt"
	"maps"
	"slices"

	"gabion/store"
)

func (v *Volume) Root(view store.View) (store.Node, error) { return v.OpenID(view, store.RootID) }

func (v *Volume) OpenID(view store.View, id store.FileID) (store.Node, error) {
	if err := v.enter("OpenID"); err != nil {
		return nil, err
	}
	defer v.mu.Unlock()
	t, err := v.tree(view)
	if err != nil {
		return nil, err
	}
	n := t[id]
	if n == nil {
		return nil, fmt.Errorf("file %d: %w", id, store.ErrNotFound)
	}
	return &node{v, view, n}, nil
}

// dir checks that d is a directory of this volume.
func (v *Volume) dir(d store.Node) (*node, error) {
	n, ok := d.(*node)
	if !ok || n.v != v {
		return nil, fmt.Errorf("node of another volume: %w", store.ErrInvalid)
	}
	if !n.dir {
		return nil, store.ErrNotDir
	}
	return n, nil
}

// liveDir checks that entries of d may be changed.
func (v *Volume) liveDir(d store.Node) (*inode, error) {
	n, err := v.dir(d)
	switch {
	case err != nil:
		return nil, err
	case n.view != store.Live:
		return nil, store.ErrReadOnly
	case n.gone:
		return nil, fmt.Errorf("directory %d was removed: %w", n.id, store.ErrNotFound)
	}
	return n.inode, nil
}

func (v *Volume) lookup(d store.Node, name string) (*inode, store.Entry, error) {
	n, err := v.dir(d)
	if err != nil {
		return nil, store.Entry{}, err
	}
	e, ok := n.children[fold(name)]
	if !ok {
		return nil, store.Entry{}, fmt.Errorf("%q: %w", name, store.ErrNotFound)
	}
	t, err := v.tree(n.view)
	if err != nil {
		return nil, store.Entry{}, err
	}
	i := t[e.id]
	return i, store.Entry{Name: e.name, Attr: i.attr()}, nil
}

func (v *Volume) Lookup(d store.Node, name string) (store.Entry, error) {
	if err := v.enter("Lookup"); err != nil {
		return store.Entry{}, err
	}
	defer v.mu.Unlock()
	_, e, err := v.lookup(d, name)
	return e, err
}

func (v *Volume) Open(d store.Node, name string) (store.Node, store.Entry, error) {
	if err := v.enter("Open"); err != nil {
		return nil, store.Entry{}, err
	}
	defer v.mu.Unlock()
	i, e, err := v.lookup(d, name)
	if err != nil {
		return nil, e, err
	}
	return &node{v, d.View(), i}, e, nil
}

func (v *Volume) ReadDir(d store.Node, after string, max int, to []store.Entry) ([]store.Entry, error) {
	if err := v.enter("ReadDir"); err != nil {
		return to, err
	}
	defer v.mu.Unlock()
	n, err := v.dir(d)
	if err != nil {
		return to, err
	}
	t, err := v.tree(n.view)
	if err != nil {
		return to, err
	}
	from := fold(after)
	for _, k := range slices.Sorted(maps.Keys(n.children)) {
		if after != "" && k <= from {
			continue
		}
		if max--; max < 0 {
			break
		}
		e := n.children[k]
		to = append(to, store.Entry{Name: e.name, Attr: t[e.id].attr()})
	}
	return to, nil
}

func (v *Volume) Create(d store.Node, name string, init store.Init) (store.Node, store.Pos, error) {
	if err := v.enter("Create"); err != nil {
		return nil, 0, err
	}
	defer v.mu.Unlock()
	dir, err := v.liveDir(d)
	if err != nil {
		return nil, 0, err
	}
	if err := checkName(name); err != nil {
		return nil, 0, err
	}
	if _, ok := dir.children[fold(name)]; ok {
		return nil, 0, fmt.Errorf("%q: %w", name, store.ErrExist)
	}
	if init.Allocation < 0 {
		return nil, 0, store.ErrInvalid
	}
	if init.Allocation > store.MaxSize {
		return nil, 0, store.ErrTooLarge
	}
	if err := v.room(init.Allocation); err != nil {
		return nil, 0, err
	}
	v.lastID++
	n := newInode(v.lastID, init)
	v.live[n.id] = n
	v.enterName(dir, name, n)
	if init.Records != nil {
		v.edit(init.Records(n.id))
	}
	return &node{v, store.Live, n}, v.done(), nil
}

func (v *Volume) enterName(dir *inode, name string, n *inode) {
	dir.children[fold(name)] = dirent{name, n.id}
	n.links = append(n.links, store.LinkName{Parent: dir.id, Name: name})
}

// dropName removes an entry; with the last name the inode leaves the tree
// and lives on in the Nodes and Streams that are open.
func (v *Volume) dropName(dir *inode, folded string) {
	n := v.live[dir.children[folded].id]
	delete(dir.children, folded)
	n.unlink(dir.id, folded)
	if len(n.links) == 0 {
		n.gone = true
		delete(v.live, n.id)
	}
}

func (v *Volume) Link(n store.Node, d store.Node, name string, replace bool) (store.Pos, error) {
	if err := v.enter("Link"); err != nil {
		return 0, err
	}
	defer v.mu.Unlock()
	f, ok := n.(*node)
	switch {
	case !ok || f.v != v:
		return 0, store.ErrInvalid
	case f.view != store.Live:
		return 0, store.ErrReadOnly
	case f.dir:
		return 0, store.ErrIsDir
	case f.gone:
		return 0, store.ErrNotFound
	}
	dir, err := v.liveDir(d)
	if err != nil {
		return 0, err
	}
	if err := checkName(name); err != nil {
		return 0, err
	}
	if e, ok := dir.children[fold(name)]; ok {
		switch {
		case !replace:
			return 0, fmt.Errorf("%q: %w", name, store.ErrExist)
		case v.live[e.id].dir:
			return 0, fmt.Errorf("%q: %w", name, store.ErrIsDir)
		case e.id == f.id:
			f.unlink(dir.id, fold(name)) // the same link, perhaps in another case
		default:
			v.dropName(dir, fold(name))
		}
	}
	v.enterName(dir, name, f.inode)
	return v.done(), nil
}

func (v *Volume) Rename(from store.Node, name string, to store.Node, newName string, replace bool) (store.Pos, error) {
	if err := v.enter("Rename"); err != nil {
		return 0, err
	}
	defer v.mu.Unlock()
	src, err := v.liveDir(from)
	if err != nil {
		return 0, err
	}
	dst, err := v.liveDir(to)
	if err != nil {
		return 0, err
	}
	if err := checkName(newName); err != nil {
		return 0, err
	}
	oldKey, newKey := fold(name), fold(newName)
	e, ok := src.children[oldKey]
	if !ok {
		return 0, fmt.Errorf("%q: %w", name, store.ErrNotFound)
	}
	n := v.live[e.id]
	if n.dir && v.within(dst, n.id) {
		return 0, fmt.Errorf("%q below itself: %w", name, store.ErrInvalid)
	}
	if src != dst || oldKey != newKey {
		if t, ok := dst.children[newKey]; ok {
			if !replace {
				return 0, fmt.Errorf("%q: %w", newName, store.ErrExist)
			}
			if len(v.live[t.id].children) > 0 {
				return 0, fmt.Errorf("%q: %w", newName, store.ErrNotEmpty)
			}
			v.dropName(dst, newKey)
		}
	}
	delete(src.children, oldKey)
	n.unlink(src.id, oldKey)
	v.enterName(dst, newName, n)
	return v.done(), nil
}

// within reports whether d is the directory id or lies below it.
func (v *Volume) within(d *inode, id store.FileID) bool {
	for d.id != id {
		if d.id == store.RootID {
			return false
		}
		d = v.live[d.links[0].Parent]
	}
	return true
}

func (v *Volume) Unlink(d store.Node, name string) (store.Pos, error) {
	if err := v.enter("Unlink"); err != nil {
		return 0, err
	}
	defer v.mu.Unlock()
	dir, err := v.liveDir(d)
	if err != nil {
		return 0, err
	}
	e, ok := dir.children[fold(name)]
	if !ok {
		return 0, fmt.Errorf("%q: %w", name, store.ErrNotFound)
	}
	if len(v.live[e.id].children) > 0 {
		return 0, fmt.Errorf("%q: %w", name, store.ErrNotEmpty)
	}
	v.dropName(dir, fold(name))
	return v.done(), nil
}
