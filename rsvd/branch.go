package rsvd

import (
	"errors"
	"strings"

	"gabion/protocol/dtyp"
	"gabion/rsvd/vhdx"
	"gabion/store"
)

// A writeable snapshot has a file of its own beside the payload, which begins as its clone:
// one record, no data moved. Opens by target specifier read and write that, all of them
// through one container; applying the snapshot clones it back onto the payload.

// branch is the file of a writeable snapshot while it is open.
type branch struct {
	id    dtyp.GUID // of the snapshot
	box   *vhdx.Disk
	users int // guarded by disk.mu
}

// makeBranch clones the payload as it is now, with the gate closed.
func (d *disk) makeBranch(o *Open, id dtyp.GUID) (store.FileID, error) {
	name := o.name
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		name = name[:i]
	}
	n, err := o.folder.Create(name + "_" + id.String() + ".avhdx")
	if err != nil {
		return 0, err
	}
	defer n.Close()
	_, err = d.cloneInto(n, d.node)
	return n.ID(), err
}

// cloneInto makes the contents of one file those of another.
func (d *disk) cloneInto(to, from store.Node) (store.Pos, error) {
	src, err := from.Data()
	if err != nil {
		return 0, err
	}
	defer src.Close()
	dst, err := to.Data()
	if err != nil {
		return 0, err
	}
	defer dst.Close()
	size := src.Sizes().Size
	pos, err := dst.CloneFrom(0, src, 0, size, d.touch())
	if err == nil && dst.Sizes().Size > size {
		pos, err = dst.SetSize(size, d.touch())
	}
	return pos, err
}

// nodeOf is the file with a snapshot's contents.
func (d *disk) nodeOf(e snapshot) (store.Node, error) {
	if e.branch != 0 {
		return d.vol.OpenID(store.Live, e.branch)
	}
	return d.vol.OpenID(e.view, d.key.file)
}

// branchName is the name of a snapshot's file.
func (d *disk) branchName(e snapshot) (string, error) {
	n, err := d.vol.OpenID(store.Live, e.branch)
	if err != nil {
		return "", err
	}
	defer n.Close()
	names, err := n.Names()
	if err == nil && len(names) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return "", err
	}
	return names[0].Name, nil
}

// openBranch makes o show a writeable snapshot; d.loading is held.
func (d *disk) openBranch(o *Open, e snapshot) error {
	name, err := d.branchName(e)
	if err != nil {
		return err
	}
	n, err := o.folder.Open(name) // as who opened it may, and so that nobody else writes to it
	if err != nil {
		return err
	}
	defer n.Close()
	d.mu.Lock()
	b := d.branches[e.id]
	d.mu.Unlock()
	if b == nil {
		b = &branch{id: e.id}
		if b.box, err = d.container(n, o.folder, false); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.branches == nil {
		d.branches = map[dtyp.GUID]*branch{}
	}
	d.branches[e.id] = b
	b.users++
	o.branch, o.snapshot = b, b.box
	return nil
}

// closeSnapshot ends o's view of a snapshot and returns the position behind what it wrote;
// d.loading is held.
func (d *disk) closeSnapshot(o *Open) store.Pos {
	switch {
	case o.snapshot == nil:
		return 0
	case o.branch == nil:
		o.snapshot.Close()
		return 0
	}
	pos, _ := o.snapshot.Flush()
	d.mu.Lock()
	o.branch.users--
	last := o.branch.users == 0
	if last {
		delete(d.branches, o.branch.id)
	}
	d.mu.Unlock()
	if last {
		o.branch.box.Close()
	}
	return pos
}

// branchInUse reports whether somebody has a writeable snapshot open.
func (d *disk) branchInUse(e snapshot) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.branches[e.id] != nil
}

func (d *disk) removeBranch(e snapshot, folder Folder) error {
	if e.branch == 0 {
		return nil
	}
	name, err := d.branchName(e)
	if err == nil {
		_, err = folder.Remove(name)
	}
	if errors.Is(err, store.ErrNotFound) { // somebody was faster
		err = nil
	}
	return err
}

// revert makes the payload what it is in a snapshot.
func (d *disk) revert(e snapshot) (store.Pos, error) {
	if e.branch == 0 {
		return d.vol.Snapshots().Restore([]store.FileID{d.key.file}, e.view)
	}
	n, err := d.nodeOf(e)
	if err != nil {
		return 0, err
	}
	defer n.Close()
	return d.cloneInto(d.node, n)
}
