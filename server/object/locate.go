package object

import (
	"errors"
	"strings"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// place is a directory on the way to a file.
type place struct {
	node store.Node
	path string // from the volume's root
	own  bool   // node has to be closed
}

func (p *place) close() {
	if p.own {
		p.node.Close()
	}
}

// security reads the directory's security descriptor.
func (p *place) security() (*dtyp.SecurityDescriptor, error) { return nodeSecurity(p.node) }

// locateAndOpen is [MS-FSA] 2.1.5.1 phases 5 to 8. again asks for a further
// round: somebody changed the directory between two looks.
func (c *creation) locateAndOpen(resume func()) (res CreateResult, st ntstatus.Status, w *waiter, again bool) {
	v := c.tree.vol
	v.paths.RLock()
	defer v.paths.RUnlock()
	if c.req.ByID != 0 && c.req.Options&optOpenByFileID != 0 {
		res, st, w = c.openByID(resume)
		return res, st, w, false
	}
	if c.isQuotaIndex() {
		res, st, w = c.openQuotaIndex(resume)
		return res, st, w, false
	}
	dir, st, at := c.walk()
	if st != ntstatus.Success {
		return CreateResult{Reparse: at}, st, nil, false
	}
	defer dir.close()
	if c.path.isRoot() {
		res, st, w = c.openRoot(&dir, resume)
		return res, st, w, false
	}
	lock := v.entries(dir.node.ID())
	lock.RLock()
	node, e, err := c.inView(dir.node, c.path.name)
	if err == nil && node.View() != c.view {
		node.Close()
		err = store.ErrNotFound
	}
	if err == nil {
		// The entry cannot go before the open stands.
		res, st, w = c.existing(v.hold(node), e.Name, &dir, resume)
		lock.RUnlock()
		return res, st, w, false
	}
	lock.RUnlock()
	if !errors.Is(err, store.ErrNotFound) {
		return res, v.fs.statusOf(err), nil, false
	}
	res, st, again = c.create(&dir)
	return res, st, nil, again
}

// walk goes through the prefix components ([MS-FSA] 2.1.5.1 phase 6).
func (c *creation) walk() (place, ntstatus.Status, *Reparse) {
	v := c.tree.vol
	at := place{node: c.tree.root.node, path: c.tree.prefix}
	if c.view != c.tree.root.view {
		n, err := v.store.OpenID(c.view, c.tree.root.id)
		switch {
		case err == nil:
			at.node, at.own = n, true
		case c.path.isRoot():
			return at, ntstatus.ObjectNameNotFound, nil
		}
	}
	traverse := !hasPrivilege(c.req.Token, privTraverse)
	for i, name := range c.path.dirs {
		next, e, err := c.inView(at.node, name)
		at.close()
		if err != nil {
			if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrNotDir) {
				return at, ntstatus.ObjectPathNotFound, nil
			}
			return at, v.fs.statusOf(err), nil
		}
		at = place{node: next, path: joinPath(at.path, e.Name), own: true}
		if e.ReparseTag != 0 {
			st, r := c.stopped(next, e.ReparseTag, i)
			at.close()
			return at, st, r
		}
		if !e.Dir {
			at.close()
			return at, ntstatus.ObjectPathNotFound, nil
		}
		if st := c.mayPass(&at, traverse); st != ntstatus.Success {
			at.close()
			return at, st, nil
		}
	}
	return at, ntstatus.Success, nil
}

// mayPass checks one directory of the prefix: it is not being deleted, and
// users without SeChangeNotifyPrivilege may traverse it.
func (c *creation) mayPass(at *place, traverse bool) ntstatus.Status {
	if f := c.tree.vol.live(c.view, at.node.ID()); f != nil {
		f.mu.Lock()
		deleted := false
		for _, l := range f.links {
			deleted = deleted || l.deletePending
		}
		f.mu.Unlock()
		f.release()
		if deleted {
			return ntstatus.DeletePending
		}
	}
	if !traverse || c.granted&fileTraverse != 0 {
		return ntstatus.Success
	}
	sd, err := at.security()
	if err != nil {
		return c.fs().statusOf(err)
	}
	if granted(c.req.Token, sd, fileTraverse) == 0 {
		return ntstatus.AccessDenied
	}
	return ntstatus.Success
}

// reparseSymlink is IO_REPARSE_TAG_SYMLINK ([MS-FSCC] 2.1.2.1).
const reparseSymlink = 0xA000000C

// stopped is the answer for a path that runs into a reparse point after the first
// i prefix components: symbolic links are the client's to follow ([MS-SMB2]
// 3.3.5.9), nobody here handles the other tags.
func (c *creation) stopped(n store.Node, tag uint32, i int) (ntstatus.Status, *Reparse) {
	data, err := n.Blob(store.BlobReparse)
	if err != nil {
		return c.fs().statusOf(err), nil
	}
	r := &Reparse{Data: data}
	if i < len(c.path.dirs) {
		rest := append(append([]string(nil), c.path.dirs[i+1:]...), c.path.name)
		r.Unparsed = 2 * dtyp.UTF16Len(`\`+strings.Join(rest, `\`))
	}
	if tag == reparseSymlink {
		return ntstatus.StoppedOnSymlink, r
	}
	return ntstatus.IOReparseTagNotHandled, r
}

// openRoot opens the tree's root directory or a stream of it.
func (c *creation) openRoot(dir *place, resume func()) (CreateResult, ntstatus.Status, *waiter) {
	n, err := c.tree.vol.store.OpenID(c.view, dir.node.ID())
	if err != nil {
		return CreateResult{}, c.fs().statusOf(err), nil
	}
	return c.existing(c.tree.vol.hold(n), "", dir, resume)
}

// openByID opens a file by its id ([MS-FSCC] 2.1.9) under the first of its names.
func (c *creation) openByID(resume func()) (CreateResult, ntstatus.Status, *waiter) {
	v := c.tree.vol
	f, err := v.holdID(c.view, c.req.ByID)
	if err != nil {
		// [MS-FSA]: an id that names nothing is an invalid parameter.
		if errors.Is(err, store.ErrNotFound) {
			return CreateResult{}, ntstatus.InvalidParameter, nil
		}
		return CreateResult{}, v.fs.statusOf(err), nil
	}
	path, parent, st := v.pathOf(f.node)
	if st != ntstatus.Success {
		f.release()
		return CreateResult{}, st, nil
	}
	if parent == 0 {
		dir := place{node: f.node}
		return c.existing(f, "", &dir, resume)
	}
	pn, err := v.store.OpenID(c.view, parent)
	if err != nil {
		f.release()
		return CreateResult{}, v.fs.statusOf(err), nil
	}
	defer pn.Close()
	dirPath, name := splitPath(path)
	lock := v.entries(parent)
	lock.RLock()
	defer lock.RUnlock()
	if e, err := v.store.Lookup(pn, name); err != nil || e.ID != f.id {
		f.release()
		return CreateResult{}, ntstatus.DeletePending, nil // it went meanwhile
	}
	return c.existing(f, name, &place{node: pn, path: dirPath}, resume)
}

// pathOf finds a path of a node from the volume's root; parent is 0 for the root.
func (v *Volume) pathOf(n store.Node) (path string, parent store.FileID, st ntstatus.Status) {
	links, err := n.Names()
	if err != nil {
		return "", 0, v.fs.statusOf(err)
	}
	if len(links) == 0 {
		if n.ID() == store.RootID {
			return "", 0, ntstatus.Success
		}
		return "", 0, ntstatus.ObjectNameNotFound
	}
	return v.pathOfLink(n.View(), links[0])
}

// pathOfLink is pathOf for one of a node's names.
func (v *Volume) pathOfLink(view store.View, link store.LinkName) (path string, parent store.FileID, st ntstatus.Status) {
	parent, path = link.Parent, link.Name
	for id := parent; id != store.RootID; {
		d, err := v.store.OpenID(view, id)
		if err != nil {
			return "", 0, v.fs.statusOf(err)
		}
		up, err := d.Names()
		d.Close()
		if err != nil || len(up) == 0 {
			return "", 0, ntstatus.ObjectPathNotFound
		}
		path, id = joinPath(up[0].Name, path), up[0].Parent
	}
	return path, parent, ntstatus.Success
}

// splitPath separates the last component.
func splitPath(path string) (dir, name string) {
	if i := strings.LastIndexByte(path, '\\'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}
