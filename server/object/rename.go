package object

import (
	"errors"
	"strings"

	"gabion/auth"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// The flags of FileRenameInformationEx and FileLinkInformationEx ([MS-FSCC] 2.4.43, 2.4.28.2).
const (
	RenameReplaceIfExists        = 0x01
	RenamePosixSemantics         = 0x02
	RenameSuppressPinInheritance = 0x04
	RenameIgnoreReadOnly         = 0x40
)

// Rename moves the open file or stream ([MS-FSA] 2.1.5.15.12). target is relative to the
// tree's root; ":name" renames the open stream. It may wait for breaks.
func (o *Open) Rename(target string, flags uint32, done func(store.Pos, ntstatus.Status)) *Pending {
	return o.RenameAs(o.Token(), target, flags, done)
}

// RenameAs is Rename by somebody whose token where the target is differs from the
// open's, which was made where the source is.
func (o *Open) RenameAs(there *Token, target string, flags uint32, done func(store.Pos, ntstatus.Status)) *Pending {
	return o.retry(done, func(l *later, again func()) (store.Pos, ntstatus.Status, *waiter) {
		if strings.HasPrefix(target, ":") {
			return o.renameStream(target[1:], flags, l, again)
		}
		m := &move{o: o, as: there, flags: flags, later: l, again: again}
		return m.run(target)
	})
}

// Link gives the open file a further name ([MS-FSA] 2.1.5.15.7).
func (o *Open) Link(target string, flags uint32, done func(store.Pos, ntstatus.Status)) *Pending {
	return o.LinkAs(o.Token(), target, flags, done)
}

// LinkAs is to Link what RenameAs is to Rename.
func (o *Open) LinkAs(there *Token, target string, flags uint32, done func(store.Pos, ntstatus.Status)) *Pending {
	return o.retry(done, func(l *later, again func()) (store.Pos, ntstatus.Status, *waiter) {
		m := &move{o: o, as: there, flags: flags, later: l, again: again, link: true}
		return m.run(target)
	})
}

// move is one attempt of a rename, or with link of the making of a hard link.
type move struct {
	o     *Open
	as    *Token // who asks, where the target is
	flags uint32
	link  bool
	later *later
	again func()

	to       place        // the destination directory
	name     string       // the new name in it
	target   *store.Entry // what has the new name now
	wait     *waiter      // where the attempt waits
	from     store.FileID // the source's directory
	oldPath  string
	replaced bool
	displace displaced // what has the new name and stays open, with POSIX semantics
}

// run is [MS-FSA] 2.1.5.15.12 and 2.1.5.15.7 from the path on.
func (m *move) run(target string) (store.Pos, ntstatus.Status, *waiter) {
	o, v := m.o, m.o.tree.vol
	if !m.link && !o.has(accessDelete) {
		return 0, ntstatus.AccessDenied, nil
	}
	if m.link && o.file.dir {
		return 0, ntstatus.FileIsADirectory, nil
	}
	p, st := parsePath(target)
	switch {
	case st != ntstatus.Success:
		return 0, st, nil
	case p.isRoot(), p.gmt != 0:
		return 0, ntstatus.ObjectNameInvalid, nil
	case o.isRoot():
		return 0, ntstatus.AccessDenied, nil
	}
	if o.file.dir {
		v.paths.Lock()
		defer v.paths.Unlock()
	} else {
		v.paths.RLock()
		defer v.paths.RUnlock()
	}
	c := &creation{tree: o.tree, req: &CreateRequest{Token: m.as, Path: target}, path: p, view: o.file.view, share: shareRead | shareWrite}
	if m.to, st, _ = c.walk(); st != ntstatus.Success {
		return 0, st, nil
	}
	defer m.to.close()
	m.name = p.name
	if st := m.mayEnter(); st != ntstatus.Success {
		return 0, st, nil
	}
	if p.stream != "" || p.kind != streamUnsaid || !o.stream.main() && !m.link {
		return 0, ntstatus.InvalidParameter, nil
	}
	pos, st := m.locked()
	if m.wait != nil {
		return 0, ntstatus.Success, m.wait
	}
	if st == ntstatus.Success {
		m.announce()
	}
	return o.through(pos, true), st, nil
}

// mayEnter checks access and share modes of the destination directory, which is
// opened for adding an entry and shares reading and writing.
func (m *move) mayEnter() ntstatus.Status {
	v := m.o.tree.vol
	right := uint32(fileAddFile)
	if m.o.file.dir {
		right = fileAddSubdirectory
	}
	sd, err := m.to.security()
	if err != nil {
		return v.fs.statusOf(err)
	}
	if !m.restoring() && granted(m.as, sd, right) == 0 {
		return ntstatus.AccessDenied
	}
	f := v.live(store.Live, m.to.node.ID())
	if f == nil {
		return ntstatus.Success
	}
	defer f.release()
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.stream(""); s != nil {
		for _, x := range s.opens {
			if conflict(right, shareRead|shareWrite, x.access, x.share) {
				return ntstatus.SharingViolation
			}
		}
	}
	return ntstatus.Success
}

// restoring reports whether the open was made to restore, by somebody who may where the
// target is.
func (m *move) restoring() bool { return m.o.restore && m.as.Has(auth.SeRestore) }

// locked does the move with the entries of both directories locked.
func (m *move) locked() (store.Pos, ntstatus.Status) {
	o, f, v := m.o, m.o.file, m.o.tree.vol
	f.mu.Lock()
	m.from = o.link.parent
	f.mu.Unlock()
	unlock := v.lockEntries(m.from, m.to.node.ID())
	defer unlock()
	if st := m.source(); st != ntstatus.Success || m.wait != nil {
		return 0, st
	}
	if same, st := m.lookTarget(); same || st != ntstatus.Success || m.wait != nil {
		return 0, st
	}
	defer m.displace.close()
	f.mu.Lock()
	var pos store.Pos
	var st ntstatus.Status
	if m.link {
		pos, st = m.makeLink()
	} else {
		pos, st = m.rename()
	}
	f.mu.Unlock()
	if st == ntstatus.Success {
		m.displace.do()
	}
	return pos, st
}

// displaced is the name of a file that stays open without it.
type displaced struct {
	file *File // referenced; nil without one
	link *Link
}

// do notes that the entry is gone, while the directory's entries are still locked.
func (d *displaced) do() {
	if d.file != nil {
		d.file.mu.Lock()
		d.link.unlinked = true
		d.file.mu.Unlock()
	}
}

func (d *displaced) close() {
	if d.file != nil {
		d.file.release()
	}
}

// source checks the file that moves, and breaks what is kept of it.
func (m *move) source() ntstatus.Status {
	o, f := m.o, m.o.file
	f.mu.Lock()
	defer f.mu.Unlock()
	k := o.link
	if k.unlinked || k.deletePending {
		return ntstatus.AccessDenied
	}
	if k.parent != m.from {
		m.wait = nil
		return ntstatus.FileNotAvailable // moved by another at the same moment
	}
	m.oldPath = k.path()
	if o.stream.breakGrants(o, demandRename, m.later) {
		m.wait = f.wait(m.again)
		return ntstatus.Success
	}
	if !f.dir {
		return ntstatus.Success
	}
	if m.o.tree.vol.shared(m.oldPath) {
		return ntstatus.AccessDenied
	}
	return m.children(m.oldPath)
}

// children refuses to move a directory below which something is open, after
// asking clients to close what they only keep ([MS-FSA] 2.1.4.2). Volume.paths is
// held exclusively, so nothing can be opened there meanwhile.
func (m *move) children(path string) ntstatus.Status {
	st := ntstatus.Success
	for _, c := range m.o.tree.vol.filesBelow(m.o.file, path) {
		c.mu.Lock()
		open := false
		for _, s := range c.streams {
			if s.breakGrants(m.o, demandRename, m.later) && m.wait == nil {
				m.wait = c.wait(m.again)
			}
			open = open || len(s.opens) > 0
		}
		c.mu.Unlock()
		c.release()
		if open {
			st = ntstatus.AccessDenied
		}
	}
	if m.wait != nil {
		return ntstatus.Success
	}
	return st
}

// filesBelow returns the live files that were opened by a path below a
// directory's, each referenced.
func (v *Volume) filesBelow(dir *File, path string) []*File {
	v.mu.Lock()
	var all []*File
	for _, f := range v.files {
		if f != dir && f.view == dir.view {
			f.refs++
			all = append(all, f)
		}
	}
	v.mu.Unlock()
	found := all[:0]
	for _, f := range all {
		f.mu.Lock()
		is := false
		for _, l := range f.links {
			is = is || l.opens > 0 && below(l.path(), path)
		}
		f.mu.Unlock()
		if is {
			found = append(found, f)
		} else {
			f.release()
		}
	}
	return found
}

// lookTarget deals with what has the new name already. same says that there is
// nothing to do.
func (m *move) lookTarget() (same bool, st ntstatus.Status) {
	v, f := m.o.tree.vol, m.o.file
	e, err := v.store.Lookup(m.to.node, m.name)
	if errors.Is(err, store.ErrNotFound) {
		return false, ntstatus.Success
	}
	if err != nil {
		return false, v.fs.statusOf(err)
	}
	if e.ID == f.id {
		f.mu.Lock()
		k := m.o.link
		same = m.from == m.to.node.ID() && k.name == m.name || m.link && e.Name == m.name
		f.mu.Unlock()
		return same, ntstatus.Success
	}
	if m.flags&RenameReplaceIfExists == 0 {
		return false, ntstatus.ObjectNameCollision
	}
	m.target, m.replaced = &e, true
	return false, m.mayReplace(&e)
}

// mayReplace checks whether the file that has the new name may go.
func (m *move) mayReplace(e *store.Entry) ntstatus.Status {
	v, posix := m.o.tree.vol, m.flags&RenamePosixSemantics != 0
	if e.Dir && !(posix && m.o.file.dir) {
		return ntstatus.AccessDenied
	}
	if e.FileAttributes&attrReadonly != 0 && m.flags&RenameIgnoreReadOnly == 0 {
		return ntstatus.AccessDenied
	}
	t, err := v.holdID(store.Live, e.ID)
	if err != nil {
		return v.fs.statusOf(err)
	}
	defer t.release()
	sd, err := t.security()
	if err != nil {
		return v.fs.statusOf(err)
	}
	if !m.restoring() && granted(m.as, sd, accessDelete) == 0 {
		parent, err := m.to.security()
		if err != nil {
			return v.fs.statusOf(err)
		}
		if granted(m.as, parent, fileDeleteChild) == 0 {
			return ntstatus.AccessDenied
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.links {
		if l.deletePending && l.name == e.Name && l.parent == m.to.node.ID() {
			return ntstatus.DeletePending
		}
	}
	return m.vacate(t, posix)
}

// vacate asks for the handles that clients only keep on the target; it must not
// be open then. With POSIX semantics opens that share deleting do not matter.
// Caller holds t.mu.
func (m *move) vacate(t *File, posix bool) ntstatus.Status {
	st := ntstatus.Success
	for _, s := range t.streams {
		if s.breakGrants(m.o, demandSharing, m.later) && m.wait == nil {
			m.wait = t.wait(m.again)
		}
		for _, x := range s.opens {
			if !posix || x.share&shareDelete == 0 {
				st = ntstatus.AccessDenied
			}
		}
	}
	if m.wait != nil {
		return ntstatus.Success
	}
	if st == ntstatus.Success && posix {
		for _, l := range t.links {
			if l.parent == m.to.node.ID() && m.target != nil && l.name == m.target.Name && !l.unlinked {
				m.displace = displaced{t.ref(), l}
			}
		}
	}
	return st
}

// rename changes the entry. Caller holds File.mu of the source.
func (m *move) rename() (store.Pos, ntstatus.Status) {
	o, f, v := m.o, m.o.file, m.o.tree.vol
	k := o.link
	dir, err := v.store.OpenID(store.Live, m.from)
	if err != nil {
		return 0, v.fs.statusOf(err)
	}
	defer dir.Close()
	pos, err := v.store.Rename(dir, k.name, m.to.node, m.name, m.replaced || m.target == nil && m.flags&RenameReplaceIfExists != 0)
	if err != nil {
		return 0, v.fs.statusOf(err)
	}
	ch := store.Change{Times: o.changed()}
	if !f.dir {
		if a, err := f.node.Attr(); err == nil {
			attrs := a.FileAttributes | attrArchive
			ch.FileAttributes = &attrs
		}
	}
	if p, err := f.node.Update(ch); err == nil {
		pos = max(pos, p)
	}
	k.parent, k.name, k.dir = m.to.node.ID(), m.name, m.to.path
	f.moveLeases(k.path())
	if f.dir {
		v.moveWatches(f.id, k.path())
	}
	v.touchParent(dir, m.later)
	if m.from != m.to.node.ID() {
		v.touchParent(m.to.node, m.later)
	}
	return pos, ntstatus.Success
}

// makeLink adds the entry. Caller holds File.mu of the source.
func (m *move) makeLink() (store.Pos, ntstatus.Status) {
	o, f, v := m.o, m.o.file, m.o.tree.vol
	pos, err := v.store.Link(f.node, m.to.node, m.name, m.replaced)
	if err != nil {
		return 0, v.fs.statusOf(err)
	}
	if p, err := f.node.Update(store.Change{Times: o.changed()}); err == nil {
		pos = max(pos, p)
	}
	v.touchParent(m.to.node, m.later)
	return pos, ntstatus.Success
}

// announce tells watchers, and breaks the grants of both directories.
func (m *move) announce() {
	v, f := m.o.tree.vol, m.o.file
	to := m.to.node.ID()
	path := joinPath(m.to.path, m.name)
	if m.link {
		v.report(m.later, to, path, notifyFileName, NotifyAdded)
	} else {
		v.reportRename(m.later, renamed{fromDir: m.from, toDir: to, from: m.oldPath, to: path, dir: f.dir, replaced: m.replaced})
		if m.from != to {
			v.breakParent(m.from, m.o, m.later)
		}
	}
	v.breakParent(to, m.o, m.later)
}

// renameStream is [MS-FSA] 2.1.5.15.12.1.
func (o *Open) renameStream(target string, flags uint32, l *later, again func()) (store.Pos, ntstatus.Status, *waiter) {
	if !o.has(accessDelete) {
		return 0, ntstatus.AccessDenied, nil
	}
	if o.IsDir() {
		return 0, ntstatus.InvalidParameter, nil
	}
	var p parsedPath
	if st := p.parseStream(target); st != ntstatus.Success || p.kind == streamIndexAllocation || p.stream == "" && o.file.dir {
		return 0, ntstatus.InvalidParameter, nil
	}
	f, s := o.file, o.stream
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.breakGrants(o, demandRename, l) {
		return 0, ntstatus.Success, f.wait(again)
	}
	if strings.EqualFold(p.stream, s.name) {
		return 0, ntstatus.Success, nil
	}
	for _, x := range f.streams {
		if strings.EqualFold(x.name, p.stream) && len(x.opens) > 0 {
			return 0, ntstatus.InvalidParameter, nil
		}
	}
	old := s.name
	pos, err := f.node.RenameStream(s.name, p.stream, flags&RenameReplaceIfExists != 0)
	if err != nil {
		return 0, f.vol.fs.statusOf(err), nil
	}
	s.name = p.stream
	f.changed(l)
	if touched, err := f.node.Update(store.Change{Times: o.changed()}); err == nil {
		pos = max(pos, touched)
	}
	path := o.link.path()
	if old != "" {
		f.vol.report(l, o.link.parent, path+":"+old, notifyStreamName, NotifyRemovedStream)
	}
	f.vol.report(l, o.link.parent, path+":"+s.name, notifyStreamName, NotifyAddedStream)
	return o.through(pos, true), ntstatus.Success, nil
}
