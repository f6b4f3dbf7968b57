package block

import (
	"fmt"

	"gabion/store"
)

// tree.go changes the shape of the tree: it holds names throughout, so what it
// reads stays true until it has committed.

// begin takes the locks of a change of the tree; end releases them.
func (v *Volume) begin(adds int64) error {
	if err := v.admit(adds); err != nil {
		return err
	}
	v.names.Lock()
	v.epoch.RLock()
	return nil
}

func (v *Volume) end() {
	v.epoch.RUnlock()
	after := v.after
	v.after = nil
	v.entries.drop(v.moved)
	v.moved = v.moved[:0]
	v.names.Unlock()
	for _, fn := range after {
		fn()
	}
}

// later runs fn when names is released. Caller holds names.
func (v *Volume) later(fn func()) { v.after = append(v.after, fn) }

// newID returns the next file id and leases more when they run out.
func (v *Volume) newID(c *change) store.FileID {
	id := v.nextFile
	v.nextFile++
	if id >= v.fileLease {
		v.fileLease = id + 256
		c.set(counterKey("file"), le.AppendUint64(nil, v.fileLease))
	}
	return store.FileID(id)
}

// Create implements store.Volume.
func (v *Volume) Create(dir store.Node, name string, init store.Init) (store.Node, store.Pos, error) {
	if err := v.relieve(init.Allocation); err != nil {
		return nil, 0, err
	}
	if err := v.begin(addsNames); err != nil {
		return nil, 0, err
	}
	defer v.end()
	d, err := v.liveDir(dir)
	if err != nil {
		return nil, 0, err
	}
	if err := checkName(name); err != nil {
		return nil, 0, err
	}
	if init.Allocation < 0 {
		return nil, 0, store.ErrInvalid
	}
	if init.Allocation > store.MaxSize {
		return nil, 0, store.ErrTooLarge
	}
	up := v.up(name)
	_, old, err := v.lookup(d.id, up, newest)
	if err == nil {
		return nil, 0, fmt.Errorf("%q: %w", name, store.ErrExist)
	}
	if !isNotFound(err) {
		return nil, 0, err
	}
	if err := v.allowance(init.Allocation); err != nil {
		return nil, 0, err
	}
	domain, err := d.domain()
	if err != nil {
		return nil, 0, err
	}
	alloc := roundUp(init.Allocation)
	if init.Dir {
		alloc = 0
	}
	if err := domain.charge(alloc); err != nil {
		return nil, 0, err
	}
	made := false
	defer func() {
		if !made {
			domain.release(alloc)
		}
	}()
	c := newChange()
	defer c.free()
	lease := v.fileLease
	e := entry{name: name, id: v.newID(c)}
	e.attrs = attrs{dir: init.Dir, file: init.FileAttributes, times: init.Times, ea: init.EASize, links: 1}
	if !init.Dir {
		e.alloc = alloc
		e.data, e.next = 1, 1
	}
	label := v.labelIn(d.id, old.version)
	fresh := v.labelIn(d.id, 0)
	body := inodeKey(nil, e.id, 0)
	c.set(at(body, fresh), e.attrs.full(nil))
	c.mark(fresh, body) // so that a listing of what changed finds it
	for k, b := range init.Blobs {
		if len(b) > 0 {
			c.set(at(blobKey(nil, e.id, k), fresh), b)
		}
	}
	c.put(nameKey(nil, d.id, up), old, label, e.encode(nil))
	c.set(at(linkKey(nil, e.id, d.id, up), fresh), fieldBytes(nil, fName, name))
	if init.Records != nil {
		if err := c.sideEdits(init.Records(e.id)); err != nil {
			v.fileLease = lease
			return nil, 0, err
		}
	}
	pos, err := v.commit(c)
	if err != nil {
		v.fileLease = lease
		return nil, 0, err
	}
	made = true
	n := v.newInode(e.id, store.Live, e.attrs, fresh)
	n.deltas = 0
	n.security, n.secured = keepable(init.Blobs[store.BlobSecurity])
	return newNode(v.adopt(n)), pos, nil
}

// enter plans the entry and link of n in directory d.
func (v *Volume) enter(c *change, d *inode, name string, old found, n *inode, a attrs) error {
	up := v.up(name)
	v.moved = append(v.moved, entryName{d.id, up})
	e := entry{name, n.id, a}
	c.put(nameKey(nil, d.id, up), old, v.labelIn(d.id, old.version), e.encode(nil))
	body := linkKey(nil, n.id, d.id, up)
	was, err := v.find(body, newest)
	if err != nil {
		return err
	}
	// A file that moves into a covered directory is covered from now on, not before.
	label := max(n.label(was.version), v.labelIn(d.id, was.version))
	c.put(body, was, label, fieldBytes(nil, fName, name))
	if !was.ok {
		c.mark(label, body) // the file may be covered by less than the directory, which differs from now on
	}
	return nil
}

// leave plans the removal of an entry and its link. The name is in use: entry found as old.
func (v *Volume) leave(c *change, d *inode, up string, old found, n *inode, keepEntry bool) error {
	v.moved = append(v.moved, entryName{d.id, up})
	if !keepEntry {
		c.remove(nameKey(nil, d.id, up), old, v.labelIn(d.id, old.version))
	}
	body := linkKey(nil, n.id, d.id, up)
	was, err := v.find(body, newest)
	if err != nil {
		return err
	}
	c.remove(body, was, n.label(was.version))
	return nil
}

// dropped is an inode that loses a name in a change, with the attributes it will have.
type dropped struct {
	n       *inode
	a       attrs
	label   uint64
	charged charging
}

// drop plans that n loses a name. Caller holds the inode's mu, and done releases it.
func (v *Volume) drop(c *change, n *inode) *dropped {
	x := &dropped{n: n, a: n.attrs()}
	if x.a.links--; x.a.links == 0 {
		var err error
		if x.charged, err = n.charging(); err != nil {
			v.out.Error("a file's quota is not known", "file", n.id, "error", err)
		}
	}
	x.a.cover = max(x.a.cover, n.covered()) // a snapshot that saw it by this name still does
	x.label = n.update(c, &x.a)
	if x.a.links == 0 {
		c.set(orphanKey(nil, n.id), nil)
		c.del(key64(nil, kStale, uint64(n.id)))
	}
	return x
}

// done ends a drop, committed or not.
func (x *dropped) done(ok bool) {
	if x == nil {
		return
	}
	if ok {
		x.n.updated(&x.a, x.label)
		x.n.links.Add(1)
		if x.a.links == 0 {
			x.n.gone.Store(true)
			x.charged.gone()
			x.n.v.inodes.setStale(x.n.id, false)
		}
	}
	x.n.mu.Unlock()
	x.n.v.later(x.n.release)
}

// victim opens what stands in the way of a name that shall be replaced.
func (v *Volume) victim(e entry, self store.FileID) (*inode, error) {
	n, err := v.open1(e.id, store.Live, false)
	if err != nil {
		return nil, err
	}
	if n.dir {
		empty, err := v.isEmpty(n.id)
		if err == nil && !empty {
			err = store.ErrNotEmpty
		}
		if err != nil {
			v.later(n.release)
			return nil, err
		}
	}
	return n, nil
}

// Unlink implements store.Volume.
func (v *Volume) Unlink(dir store.Node, name string) (store.Pos, error) {
	if err := v.begin(0); err != nil {
		return 0, err
	}
	defer v.end()
	d, err := v.liveDir(dir)
	if err != nil {
		return 0, err
	}
	up := v.up(name)
	e, old, err := v.lookup(d.id, up, newest)
	if err != nil {
		return 0, fmt.Errorf("%q: %w", name, err)
	}
	n, err := v.victim(e, 0)
	if err != nil {
		return 0, fmt.Errorf("%q: %w", name, err)
	}
	c := newChange()
	defer c.free()
	if err := v.leave(c, d, up, old, n, false); err != nil {
		v.later(n.release)
		return 0, err
	}
	n.mu.Lock()
	x := v.drop(c, n)
	pos, err := v.commit(c)
	x.done(err == nil)
	return pos, err
}

// Link implements store.Volume.
func (v *Volume) Link(file store.Node, dir store.Node, name string, replace bool) (store.Pos, error) {
	f, err := v.node(file)
	switch {
	case err != nil:
		return 0, err
	case f.view != store.Live:
		return 0, store.ErrReadOnly
	case f.dir:
		return 0, store.ErrIsDir
	}
	if err := v.begin(addsNames); err != nil {
		return 0, err
	}
	defer v.end()
	if f.gone.Load() {
		return 0, store.ErrNotFound
	}
	d, err := v.liveDir(dir)
	if err != nil {
		return 0, err
	}
	if err := checkName(name); err != nil {
		return 0, err
	}
	if err := v.sameDomain(f.inode, d); err != nil {
		return 0, err
	}
	e, old, err := v.lookup(d.id, v.up(name), newest)
	var victim *inode
	gain := uint32(1)
	switch {
	case isNotFound(err):
	case err != nil:
		return 0, err
	case !replace:
		return 0, fmt.Errorf("%q: %w", name, store.ErrExist)
	case e.dir:
		return 0, fmt.Errorf("%q: %w", name, store.ErrIsDir)
	case e.id == f.id:
		gain = 0 // the same link, perhaps in another case
	default:
		if victim, err = v.victim(e, f.id); err != nil {
			return 0, err
		}
	}
	return v.relink(f.inode, victim, func(c *change, a *attrs) error {
		a.links += gain
		if victim != nil {
			if err := v.leave(c, d, v.up(name), old, victim, true); err != nil {
				return err
			}
		}
		return v.enter(c, d, name, old, f.inode, *a)
	})
}

// relink commits a change of the names of n that may cost victim one of its own.
func (v *Volume) relink(n, victim *inode, plan func(*change, *attrs) error) (store.Pos, error) {
	c := newChange()
	defer c.free()
	if victim != nil && victim.id < n.id {
		victim.mu.Lock()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if victim != nil && victim.id > n.id {
		victim.mu.Lock()
	}
	a := n.attrs()
	if err := plan(c, &a); err != nil {
		if victim != nil {
			victim.mu.Unlock()
			v.later(victim.release)
		}
		return 0, err
	}
	label := n.update(c, &a)
	var x *dropped
	if victim != nil {
		x = v.drop(c, victim)
	}
	pos, err := v.commit(c)
	x.done(err == nil)
	if err == nil {
		n.updated(&a, label)
		n.links.Add(1)
	}
	return pos, err
}

// Rename implements store.Volume.
func (v *Volume) Rename(from store.Node, name string, to store.Node, newName string, replace bool) (store.Pos, error) {
	if err := v.begin(0); err != nil {
		return 0, err
	}
	defer v.end()
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
	if err := v.sameDomain(src, dst); err != nil {
		return 0, err
	}
	oldUp, newUp := v.up(name), v.up(newName)
	e, was, err := v.lookup(src.id, oldUp, newest)
	if err != nil {
		return 0, fmt.Errorf("%q: %w", name, err)
	}
	n, err := v.open1(e.id, store.Live, false)
	if err != nil {
		return 0, err
	}
	v.later(n.release)
	if n.dir {
		if below, err := v.isBelow(dst.id, n.id); err != nil {
			return 0, err
		} else if below {
			return 0, fmt.Errorf("%q below itself: %w", name, store.ErrInvalid)
		}
	}
	samePlace := src == dst && oldUp == newUp
	target := was
	var victim *inode
	lost := uint32(0)
	if !samePlace {
		var t entry
		t, target, err = v.lookup(dst.id, newUp, newest)
		switch {
		case isNotFound(err):
		case err != nil:
			return 0, err
		case !replace:
			return 0, fmt.Errorf("%q: %w", newName, store.ErrExist)
		case t.id == n.id:
			lost = 1 // the target is another name of the same file and goes
		default:
			if victim, err = v.victim(t, n.id); err != nil {
				return 0, fmt.Errorf("%q: %w", newName, err)
			}
		}
	}
	pos, err := v.relink(n, victim, func(c *change, a *attrs) error {
		a.links -= lost
		if src != dst || lost > 0 {
			a.cover = max(a.cover, n.covered()) // coverage by the old place is not forgotten
		}
		if !samePlace {
			if err := v.leave(c, src, oldUp, was, n, false); err != nil {
				return err
			}
		}
		if victim != nil {
			if err := v.leave(c, dst, newUp, target, victim, true); err != nil {
				return err
			}
		}
		return v.enter(c, dst, newName, target, n, *a)
	})
	if err == nil && src != dst {
		n.coverAt.Store(0)
		if n.dir {
			v.coverGen.Add(1)
		}
	}
	return pos, err
}

// isBelow reports whether directory dir is top or lies below it.
func (v *Volume) isBelow(dir, top store.FileID) (bool, error) {
	for dir != top {
		if dir == store.RootID {
			return false, nil
		}
		parent := store.FileID(0)
		err := v.eachLink(dir, newest, func(l link) error {
			parent = l.parent
			return nil
		})
		if err != nil {
			return false, err
		}
		if parent == 0 {
			return false, fmt.Errorf("directory %d has no name: %w", dir, store.ErrNotFound)
		}
		dir = parent
	}
	return true, nil
}
