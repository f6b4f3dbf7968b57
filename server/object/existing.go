package object

import (
	"errors"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// existing opens a file that exists ([MS-FSA] 2.1.5.1 phase 7 and 2.1.5.1.2). The
// reference to f passes to it. name is the entry's stored name in dir, "" for the tree's root.
func (c *creation) existing(f *File, name string, dir *place, resume func()) (CreateResult, ntstatus.Status, *waiter) {
	var res CreateResult
	toDir, st := c.streamType(f)
	if st != ntstatus.Success {
		f.release()
		return res, st, nil
	}
	attr, err := f.node.Attr()
	if err != nil {
		f.release()
		return res, c.fs().statusOf(err), nil
	}
	if attr.ReparseTag != 0 && c.req.Options&optOpenReparsePoint == 0 {
		st, at := c.stopped(f.node, attr.ReparseTag, len(c.path.dirs))
		f.release()
		return CreateResult{Reparse: at}, st, nil
	}
	if attr.EASize != 0 && c.req.Options&optNoEAKnowledge != 0 && c.path.stream == "" && needsEA(f.node) {
		f.release()
		return res, ntstatus.AccessDenied, nil
	}
	e := &opening{creation: c, f: f, dir: dir, name: name, attr: attr}
	f.mu.Lock()
	var w *waiter
	if toDir {
		res, st, w = e.directory(resume)
	} else {
		res, st, w = e.dataStream(resume)
	}
	f.mu.Unlock()
	if st != ntstatus.Success || w != nil {
		f.release()
	}
	return res, st, w
}

// streamType is [MS-FSA] 2.1.5.1 phase 7 for a file that exists: does the name
// with the options mean the directory?
func (c *creation) streamType(f *File) (toDir bool, st ntstatus.Status) {
	p, o := &c.path, c.req.Options
	switch {
	case o&optDirectoryFile != 0, p.kind == streamIndexAllocation:
		toDir = true
	case o&optNonDirectoryFile == 0 && p.stream == "" && p.kind == streamUnsaid:
		toDir = f.dir
	}
	if toDir {
		if p.kind != streamIndexAllocation && (p.stream != "" || p.kind != streamUnsaid) {
			return toDir, ntstatus.NotADirectory
		}
		if !f.dir {
			if c.req.Disposition == dispCreate {
				return toDir, ntstatus.ObjectNameCollision
			}
			return toDir, ntstatus.NotADirectory
		}
		return toDir, ntstatus.Success
	}
	if p.stream == "" && f.dir {
		return toDir, ntstatus.FileIsADirectory
	}
	if p.trailing {
		return toDir, ntstatus.ObjectNameInvalid
	}
	return toDir, ntstatus.Success
}

// opening is the open of a file that exists. f.mu is held throughout.
type opening struct {
	*creation
	f    *File
	dir  *place
	name string
	attr store.Attr
	link *Link
}

// linkOf finds the link the file is reached by and refuses one that is going.
func (e *opening) linkOf() (*Link, ntstatus.Status) {
	l := e.f.link(e.dir.node.ID(), e.name, e.dir.path)
	if e.name == "" { // the tree's root: its place is known from the tree
		l.dir, l.name = splitPath(e.dir.path)
	}
	e.link = l
	if l.deletePending {
		return l, ntstatus.DeletePending
	}
	return l, ntstatus.Success
}

// parentSecurity is the security descriptor of the directory by which the file is reached;
// nil for the tree's root.
func (e *opening) parentSecurity() (*dtyp.SecurityDescriptor, error) {
	if e.name == "" {
		return nil, nil
	}
	return e.dir.security()
}

// directory opens a directory ([MS-FSA] 2.1.5.1.2, StreamTypeToOpen DirectoryStream).
func (e *opening) directory(resume func()) (CreateResult, ntstatus.Status, *waiter) {
	d := e.req.Disposition
	if d != dispOpen && d != dispOpenIf {
		if e.f.id == store.RootID && d != dispCreate {
			return CreateResult{}, ntstatus.AccessDenied, nil
		}
		return CreateResult{}, ntstatus.ObjectNameCollision, nil
	}
	l, st := e.linkOf()
	if st != ntstatus.Success {
		return CreateResult{}, st, nil
	}
	s := e.f.stream("")
	if st, w := e.admit(s, demandOpen, resume); st != ntstatus.Success || w != nil {
		e.unused(l)
		return CreateResult{}, st, w
	}
	if s == nil {
		s = e.f.addStream("", nil)
	}
	res, st := e.result(e.newOpen(e.f, s, l), ActionOpened, 0)
	return res, st, nil
}

// dataStream opens, overwrites or adds a data stream.
func (e *opening) dataStream(resume func()) (CreateResult, ntstatus.Status, *waiter) {
	l, st := e.linkOf()
	if st != ntstatus.Success {
		return CreateResult{}, st, nil
	}
	res, st, w := e.dataStreamOf(l, resume)
	if res.Open == nil {
		e.unused(l)
	}
	return res, st, w
}

func (e *opening) dataStreamOf(l *Link, resume func()) (CreateResult, ntstatus.Status, *waiter) {
	data, err := e.f.openData(e.path.stream)
	if err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return e.addStream(l, resume)
		}
		return CreateResult{}, e.fs().statusOf(err), nil
	}
	s := e.f.stream(data.Name())
	if s != nil {
		data.Close()
	}
	discard := func() {
		if s == nil {
			data.Close()
		}
	}
	if s != nil && s.deletePending {
		return CreateResult{}, ntstatus.DeletePending, nil
	}
	if e.req.Disposition == dispCreate {
		discard()
		return CreateResult{}, ntstatus.ObjectNameCollision, nil
	}
	overwrite := e.req.Disposition != dispOpen && e.req.Disposition != dispOpenIf
	want := demandOpen
	if e.req.SharedDisk {
		want = demandOverwrite // what other initiators write, nobody is told
	}
	if overwrite {
		if st := e.mayOverwrite(); st != ntstatus.Success {
			discard()
			return CreateResult{}, st, nil
		}
		want = demandOverwrite
	}
	if st, w := e.admit(s, want, resume); st != ntstatus.Success || w != nil {
		discard()
		return CreateResult{}, st, w
	}
	if s == nil {
		s = e.f.addStream(data.Name(), data)
	}
	o := e.newOpen(e.f, s, l)
	if !overwrite {
		res, st := e.result(o, ActionOpened, 0)
		return res, st, nil
	}
	return e.overwritten(o)
}

// admit lets a new open onto a stream, which is nil when nobody has it open: access,
// share modes and the breaks that belong to them, in the order of [MS-FSA] 2.1.5.1.2.
// Deviation: access is checked before a batch oplock is broken, so that who may not open
// a file cannot disturb who has.
func (e *opening) admit(s *Stream, d demand, resume func()) (ntstatus.Status, *waiter) {
	st, w := e.contend(s, d, resume)
	if w == nil && e.link.deletePending {
		// A durable open that gave way takes the file with it: start again when it has gone.
		return ntstatus.Success, e.f.wait(resume)
	}
	return st, w
}

func (e *opening) contend(s *Stream, d demand, resume func()) (ntstatus.Status, *waiter) {
	if st := e.authorise(e.f, e.attr.FileAttributes, e.parentSecurity); st != ntstatus.Success {
		return st, nil
	}
	if st := e.notReclaimable(); st != ntstatus.Success {
		return st, nil
	}
	probe := e.probe()
	quiet := s == nil || d == demandOpen && statOnly(e.desired, s)
	if !quiet && s.breakBatch(probe, d, &e.later) {
		return ntstatus.Success, e.f.wait(resume)
	}
	if e.options&optDeleteOnClose != 0 && s != nil && s.breakGrants(probe, demandDelete, &e.later) {
		return ntstatus.Success, e.f.wait(resume)
	}
	if st := e.share1(s); st == ntstatus.SharingViolation {
		if e.f.breakForSharing(probe, s, &e.later) {
			return ntstatus.Success, e.f.wait(resume)
		}
		// Durable opens that stood in the way may have gone with their grants.
		if st = e.share1(s); st != ntstatus.Success {
			return st, nil
		}
	}
	if !quiet && s.breakGrants(probe, d, &e.later) {
		return ntstatus.Success, e.f.wait(resume)
	}
	return ntstatus.Success, nil
}

// probe stands for the open to be made where grants are compared with it.
func (e *opening) probe() *Open {
	o := &Open{file: e.f}
	if lr := e.req.Lease; lr != nil && e.req.Oplock == OplockLease {
		o.leaseID = leaseID{e.req.Client, lr.Key}
	}
	return o
}

// mayOverwrite are the attribute rules of FILE_OVERWRITE, FILE_OVERWRITE_IF and
// FILE_SUPERSEDE, and the rights they imply.
func (e *opening) mayOverwrite() ntstatus.Status {
	if e.readonly() {
		return ntstatus.MediaWriteProtected
	}
	if e.path.stream == "" {
		have, want := e.attr.FileAttributes, e.attrs
		if have&attrHidden&^want != 0 || have&attrSystem&^want != 0 {
			return ntstatus.AccessDenied
		}
		if have&attrReadonly != 0 {
			return ntstatus.AccessDenied
		}
		e.attrs = (want | attrArchive) &^ (attrNormal | attrNotContentIndexed)
		e.require(fileWriteEA)
		e.require(fileWriteAttributes)
	}
	if e.req.Disposition == dispSupersede {
		e.require(accessDelete)
	} else {
		e.require(fileWriteData)
	}
	e.remaining &^= e.granted
	return ntstatus.Success
}

// unused forgets a link that no open came by.
func (e *opening) unused(l *Link) {
	if l.opens == 0 && !l.deletePending {
		e.f.dropLink(l)
	}
}

// openData opens the store's stream of that name.
func (f *File) openData(name string) (store.Stream, error) {
	if name == "" {
		return f.node.Data()
	}
	return f.node.Stream(name)
}
