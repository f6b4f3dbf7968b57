package memvol

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"gabion/protocol/dtyp"
	"gabion/store"
)

type snapshot struct {
	store.Snapshot
	tree tree
}

func (s *snapshot) public() store.Snapshot {
	p := s.Snapshot
	p.Scope = slices.Clone(p.Scope)
	return p
}

type snapshots struct{ v *Volume }

func (v *Volume) Snapshots() store.Snapshots { return snapshots{v} }

func (v *Volume) snap(view store.View) (*snapshot, error) {
	for _, s := range v.snaps {
		if s.View == view {
			return s, nil
		}
	}
	return nil, fmt.Errorf("snapshot %d: %w", view, store.ErrNotFound)
}

// cover copies n and everything below it into to.
func (v *Volume) cover(n *inode, to tree) {
	if to[n.id] != nil {
		return
	}
	to[n.id] = n.clone()
	for _, e := range n.children {
		v.cover(v.live[e.id], to)
	}
}

func (s snapshots) Create(name string, scope []store.FileID) (store.Snapshot, store.Pos, error) {
	v := s.v
	if err := v.enter("Snapshots.Create"); err != nil {
		return store.Snapshot{}, 0, err
	}
	defer v.mu.Unlock()
	if name == "" {
		return store.Snapshot{}, 0, store.ErrName
	}
	if len(scope) == 0 {
		return store.Snapshot{}, 0, fmt.Errorf("snapshot of nothing: %w", store.ErrInvalid)
	}
	for _, o := range v.snaps {
		if o.Name == name {
			return store.Snapshot{}, 0, fmt.Errorf("snapshot %q: %w", name, store.ErrExist)
		}
	}
	taken := dtyp.FiletimeOf(v.opt.Now())
	for _, o := range v.snaps {
		taken = max(taken, (o.Taken/1e7+1)*1e7)
	}
	t := tree{}
	for _, id := range scope {
		n := v.live[id]
		if n == nil {
			return store.Snapshot{}, 0, fmt.Errorf("file %d: %w", id, store.ErrNotFound)
		}
		v.cover(n, t)
	}
	v.last++
	sn := &snapshot{store.Snapshot{View: v.last, Name: name, Taken: taken, Scope: slices.Clone(scope)}, t}
	v.snaps = append(v.snaps, sn)
	return sn.public(), v.done(), nil
}

func (s snapshots) List(id store.FileID) ([]store.Snapshot, error) {
	if err := s.v.enter("Snapshots.List"); err != nil {
		return nil, err
	}
	defer s.v.mu.Unlock()
	var out []store.Snapshot
	for _, sn := range s.v.snaps {
		if id == store.RootID || sn.tree[id] != nil {
			out = append(out, sn.public())
		}
	}
	return out, nil
}

func (s snapshots) Versions(id store.FileID) ([]store.Snapshot, error) {
	if err := s.v.enter("Snapshots.Versions"); err != nil {
		return nil, err
	}
	defer s.v.mu.Unlock()
	newer := s.v.live[id]
	var out []store.Snapshot
	for _, sn := range slices.Backward(s.v.snaps) {
		n := sn.tree[id]
		if n == nil {
			continue
		}
		if newer == nil || !n.same(newer) {
			out = append(out, sn.public())
		}
		newer = n
	}
	slices.Reverse(out)
	return out, nil
}

// same reports whether two versions of a file have the same attributes, blobs and streams.
func (n *inode) same(o *inode) bool {
	if n.attr() != o.attr() || len(n.blobs) != len(o.blobs) || len(n.streams) != len(o.streams) {
		return false
	}
	for k, b := range n.blobs {
		if string(o.blobs[k]) != string(b) {
			return false
		}
	}
	if n.unnamed != nil && len(diff(&n.unnamed.data, &o.unnamed.data)) > 0 {
		return false
	}
	for k, s := range n.streams {
		if t := o.streams[k]; t == nil || len(diff(&s.data, &t.data)) > 0 {
			return false
		}
	}
	return true
}

func (s snapshots) Find(name string) (store.Snapshot, error) {
	if err := s.v.enter("Snapshots.Find"); err != nil {
		return store.Snapshot{}, err
	}
	defer s.v.mu.Unlock()
	for _, sn := range s.v.snaps {
		if sn.Name == name {
			return sn.public(), nil
		}
	}
	return store.Snapshot{}, fmt.Errorf("snapshot %q: %w", name, store.ErrNotFound)
}

func (s snapshots) Delete(view store.View) (store.Pos, error) {
	if err := s.v.enter("Snapshots.Delete"); err != nil {
		return 0, err
	}
	defer s.v.mu.Unlock()
	sn, err := s.v.snap(view)
	if err != nil {
		return 0, err
	}
	s.v.snaps = slices.DeleteFunc(s.v.snaps, func(o *snapshot) bool { return o == sn })
	return s.v.done(), nil
}

// inode finds a file in a view.
func (v *Volume) inode(id store.FileID, view store.View) (*inode, error) {
	t, err := v.tree(view)
	if err != nil {
		return nil, err
	}
	if t[id] == nil {
		return nil, fmt.Errorf("file %d: %w", id, store.ErrNotFound)
	}
	return t[id], nil
}

func (s snapshots) Diff(id store.FileID, name string, a, b store.View, fn func(store.Range) bool) error {
	rs, err := s.diff(id, name, a, b)
	if err != nil {
		return err
	}
	for _, r := range rs {
		if !fn(r) {
			break
		}
	}
	return nil
}

func (s snapshots) diff(id store.FileID, name string, a, b store.View) ([]store.Range, error) {
	if err := s.v.enter("Snapshots.Diff"); err != nil {
		return nil, err
	}
	defer s.v.mu.Unlock()
	var side [2]*data
	for i, view := range []store.View{a, b} {
		n, err := s.v.inode(id, view)
		if err != nil {
			return nil, err
		}
		st, err := n.find(name)
		if err != nil {
			return nil, err
		}
		side[i] = &st.data
	}
	return diff(side[0], side[1]), nil
}

// Changed compares all that the views have.
func (s snapshots) Changed(a, b store.View, fn func(store.FileID) bool) error {
	list, err := s.changed(a, b)
	if err != nil {
		return err
	}
	for _, id := range list {
		if !fn(id) {
			break
		}
	}
	return nil
}

func (s snapshots) changed(a, b store.View) ([]store.FileID, error) {
	if err := s.v.enter("Snapshots.Changed"); err != nil {
		return nil, err
	}
	defer s.v.mu.Unlock()
	x, err := s.v.tree(a)
	if err != nil {
		return nil, err
	}
	y, err := s.v.tree(b)
	if err != nil {
		return nil, err
	}
	var list []store.FileID
	for id, n := range x {
		if o := y[id]; o == nil || !n.equal(o) {
			list = append(list, id)
		}
	}
	for id := range y {
		if x[id] == nil {
			list = append(list, id)
		}
	}
	slices.Sort(list)
	return list, nil
}

// equal compares what two views have of one file.
func (n *inode) equal(o *inode) bool {
	if n.attrs != o.attrs || n.times != o.times || n.eaSize != o.eaSize || n.tag != o.tag ||
		!slices.Equal(n.links, o.links) || !maps.Equal(n.children, o.children) || !maps.EqualFunc(n.blobs, o.blobs, bytes.Equal) {
		return false
	}
	same := func(s, t *stream) bool {
		return s == t || s != nil && t != nil && s.name == t.name && s.size == t.size && s.valid == t.valid && s.alloc == t.alloc &&
			len(diff(&s.data, &t.data)) == 0
	}
	return same(n.unnamed, o.unnamed) && maps.EqualFunc(n.streams, o.streams, same)
}

func (s snapshots) Restore(files []store.FileID, view store.View) (store.Pos, error) {
	v := s.v
	if err := v.enter("Snapshots.Restore"); err != nil {
		return 0, err
	}
	defer v.mu.Unlock()
	if view == store.Live || len(files) == 0 {
		return 0, store.ErrInvalid
	}
	var now, then []*inode
	for _, id := range files {
		n, err := v.inode(id, store.Live)
		if err != nil {
			return 0, err
		}
		old, err := v.inode(id, view)
		if err != nil {
			return 0, err
		}
		now, then = append(now, n), append(then, old)
	}
	for i, n := range now {
		n.restore(then[i])
	}
	return v.done(), nil
}

func (s snapshots) Replace(list []store.Replacement, view store.View) (store.Pos, error) {
	v := s.v
	if err := v.enter("Snapshots.Replace"); err != nil {
		return 0, err
	}
	defer v.mu.Unlock()
	if view == store.Live || len(list) == 0 {
		return 0, store.ErrInvalid
	}
	became := map[*inode]*inode{}
	for _, r := range list {
		to, err := v.inode(r.To, store.Live)
		if err != nil {
			return 0, err
		}
		from, err := v.inode(r.From, view)
		if err != nil {
			return 0, err
		}
		if to.unnamed == nil || from.unnamed == nil {
			return 0, store.ErrIsDir
		}
		if became[to] != nil {
			return 0, store.ErrInvalid
		}
		became[to] = from
	}
	for to, from := range became {
		to.unnamed.data = from.unnamed.data.clone()
	}
	return v.done(), nil
}

// restore makes the streams of n what they are in old.
func (n *inode) restore(old *inode) {
	if n.unnamed != nil {
		n.unnamed.data = old.unnamed.data.clone()
	}
	for k := range n.streams {
		if old.streams[k] == nil {
			delete(n.streams, k)
		}
	}
	for k, o := range old.streams {
		if s := n.streams[k]; s != nil {
			s.name, s.data = o.name, o.data.clone() // open handles see it
		} else {
			n.streams[k] = o.clone()
		}
	}
}
