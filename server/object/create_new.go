package object

import (
	"errors"

	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// create makes a new file in dir ([MS-FSA] 2.1.5.1.1). again says that the name
// has been taken meanwhile.
func (c *creation) create(dir *place) (res CreateResult, st ntstatus.Status, again bool) {
	if st := c.mayCreate(dir); st != ntstatus.Success {
		return res, st, false
	}
	toDir := c.req.Options&optDirectoryFile != 0 || c.path.kind == streamIndexAllocation
	if c.path.trailing && !toDir {
		return res, ntstatus.ObjectNameInvalid, false
	}
	init, st := c.initial(dir, toDir)
	if st != ntstatus.Success {
		return res, st, false
	}
	v := c.tree.vol
	c.path.name = v.tunnel.recall(dir.node.ID(), c.path.name)
	if c.req.Record != nil && !toDir && c.path.stream == "" {
		init.Records = func(id store.FileID) []store.KVEdit { return c.req.Record(c.promised(id, dir)) }
	}
	// The parent's grants are looked at with no entry lock held: File.mu of the
	// parent is taken for that.
	lock := v.entries(dir.node.ID())
	lock.Lock()
	node, pos, err := v.store.Create(dir.node, c.path.name, init)
	if err != nil {
		lock.Unlock()
		if errors.Is(err, store.ErrExist) {
			return res, ntstatus.Success, true
		}
		if errors.Is(err, store.ErrNotFound) { // the directory went
			return res, ntstatus.ObjectPathNotFound, false
		}
		return res, v.fs.statusOf(err), false
	}
	f := v.hold(node)
	f.mu.Lock()
	lock.Unlock()
	res, st = c.created(f, dir, pos)
	f.mu.Unlock()
	if st != ntstatus.Success {
		c.takeBack(f, dir)
		f.release()
		return res, st, false
	}
	c.announceCreate(res.Open, dir)
	return res, ntstatus.Success, false
}

// mayCreate are the checks that come before a file is made.
func (c *creation) mayCreate(dir *place) ntstatus.Status {
	d, o := c.req.Disposition, c.req.Options
	toDir := o&optDirectoryFile != 0 || c.path.kind == streamIndexAllocation
	switch {
	case d == dispOpen, d == dispOverwrite:
		return ntstatus.ObjectNameNotFound
	case c.readonly():
		return ntstatus.MediaWriteProtected
	case toDir && c.path.kind != streamIndexAllocation && (c.path.stream != "" || c.path.kind != streamUnsaid):
		return ntstatus.NotADirectory
	case toDir && c.attrs&attrTemporary != 0:
		return ntstatus.InvalidParameter
	case c.attrs&attrReadonly != 0 && o&optDeleteOnClose != 0:
		return ntstatus.CannotDelete
	case c.remaining&accessSystemSecurity != 0 && !hasPrivilege(c.req.Token, privSecurity):
		return ntstatus.PrivilegeNotHeld
	case len(c.req.EA) != 0 && o&optNoEAKnowledge != 0:
		return ntstatus.AccessDenied
	}
	right := uint32(fileAddFile)
	if toDir {
		right = fileAddSubdirectory
	}
	c.byPrivilege(privSecurity, c.remaining&accessSystemSecurity)
	if c.granted&right != 0 {
		return ntstatus.Success
	}
	if c.restore {
		c.byPrivilege(privRestore, right)
		return ntstatus.Success
	}
	sd, err := dir.security()
	if err != nil {
		return c.fs().statusOf(err)
	}
	if granted(c.req.Token, sd, right) == 0 {
		return ntstatus.AccessDenied
	}
	return ntstatus.Success
}

// initial is the birth state of the new file.
func (c *creation) initial(dir *place, toDir bool) (store.Init, ntstatus.Status) {
	pa, err := dir.node.Attr()
	if err != nil {
		return store.Init{}, c.fs().statusOf(err)
	}
	t := now()
	init := store.Init{
		Dir:            toDir,
		FileAttributes: c.attrs&attrSettable&^attrNotContentIndexed | pa.FileAttributes&attrNotContentIndexed,
		Times:          store.Times{Creation: t, LastAccess: t, LastWrite: t, Change: t},
		Blobs:          map[store.BlobKind][]byte{},
	}
	if !toDir {
		init.FileAttributes |= attrArchive
		if c.path.stream == "" {
			init.Allocation = c.req.Allocation
		}
	}
	sd, st := c.newSecurity(dir, toDir)
	if st != ntstatus.Success {
		return init, st
	}
	init.Blobs[store.BlobSecurity] = sd
	if len(c.req.EA) != 0 {
		ea, size, st := mergeEA(nil, c.req.EA)
		if st != ntstatus.Success {
			return init, st
		}
		init.Blobs[store.BlobEA], init.EASize = ea, size
	}
	return init, ntstatus.Success
}

// newSecurity is the security descriptor of the new file: what the request gives, completed by
// inheritance and the user's defaults ([MS-DTYP] 2.5.3.4).
func (c *creation) newSecurity(dir *place, toDir bool) ([]byte, ntstatus.Status) {
	parent, err := dir.security()
	if err != nil {
		return nil, c.fs().statusOf(err)
	}
	var explicit *dtyp.SecurityDescriptor
	if len(c.req.Security) != 0 {
		if explicit, err = dtyp.DecodeSecurityDescriptor(c.req.Security); err != nil {
			return nil, ntstatus.InvalidSecurityDescr
		}
		if explicit.Control&dtyp.SACLPresent != 0 && explicit.SACL != nil {
			if !hasPrivilege(c.req.Token, privSecurity) {
				return nil, ntstatus.PrivilegeNotHeld
			}
			c.byPrivilege(privSecurity, accessSystemSecurity)
		}
	}
	return c.req.Token.NewSecurity(parent, explicit, toDir).Encode(), ntstatus.Success
}

// promised is the state of the open of the file that is about to be made, should it be.
func (c *creation) promised(id store.FileID, dir *place) OpenState {
	granted, remaining := c.granted, c.remaining
	c.grantNew()
	s := OpenState{
		File: id, Path: c.tree.relative(joinPath(dir.path, c.path.name)),
		DesiredAccess: c.desired, Access: c.kept(), ShareAccess: c.share, Options: c.options, Mode: c.options & optModeMask,
		DeleteOnClose: c.options&optDeleteOnClose != 0, Client: c.req.Client, AppID: c.req.AppID,
	}
	c.granted, c.remaining = granted, remaining
	return s
}

// grantNew gives the maker of a file what he asks for.
func (c *creation) grantNew() {
	if c.remaining&maximumAllowed != 0 {
		c.granted |= fileAllAccess
		if c.req.MaximalAccess != 0 {
			c.granted &= c.req.MaximalAccess
		}
	}
	c.granted |= c.remaining &^ maximumAllowed
	c.remaining = 0
}

// created opens the file just made. Caller holds f.mu.
func (c *creation) created(f *File, dir *place, pos store.Pos) (CreateResult, ntstatus.Status) {
	c.grantNew()
	names, err := f.node.Names()
	if err != nil || len(names) == 0 {
		return CreateResult{}, ntstatus.ObjectNameNotFound
	}
	l := f.link(dir.node.ID(), names[0].Name, dir.path)
	var data store.Stream
	if !f.dir {
		if c.path.stream == "" {
			data, err = f.node.Data()
		} else {
			data, pos, err = c.newStream(f)
		}
		if err != nil {
			return CreateResult{}, c.fs().statusOf(err)
		}
	}
	name := ""
	if data != nil {
		name = data.Name()
	}
	o := c.newOpen(f, f.addStream(name, data), l)
	return c.result(o, ActionCreated, pos)
}

// newStream makes the named stream that the request asks for, or none.
func (c *creation) newStream(f *File) (store.Stream, store.Pos, error) {
	data, pos, err := f.node.CreateStream(c.path.stream)
	if err != nil || c.req.Allocation <= 0 {
		return data, pos, err
	}
	if pos, err = data.SetAllocation(c.req.Allocation, store.Touch{}); err == nil {
		return data, pos, nil
	}
	name := data.Name()
	data.Close()
	_, rerr := f.node.RemoveStream(name)
	return nil, 0, errors.Join(err, rerr)
}

// takeBack removes the file that was just made and could not be opened, unless somebody else
// has opened it by now.
func (c *creation) takeBack(f *File, dir *place) {
	v := c.tree.vol
	lock := v.entries(dir.node.ID())
	lock.Lock()
	defer lock.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.streams) > 0 {
		return
	}
	// The name was free to others meanwhile.
	e, err := v.store.Lookup(dir.node, c.path.name)
	if err == nil && e.ID == f.node.ID() {
		_, err = v.store.Unlink(dir.node, c.path.name)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		v.fs.left(joinPath(dir.path, c.path.name), err)
	}
}

// announceCreate tells those who watch the directory, and breaks its grants.
func (c *creation) announceCreate(o *Open, dir *place) {
	filter := uint32(notifyFileName)
	if o.file.dir {
		filter = notifyDirName
	}
	v := c.tree.vol
	path := o.fullPath()
	v.report(&c.later, dir.node.ID(), path, filter, NotifyAdded)
	if s := o.stream.name; s != "" {
		v.report(&c.later, dir.node.ID(), path+":"+s, notifyStreamName, NotifyAddedStream)
	}
	v.touchParent(dir.node, &c.later)
	v.breakParent(dir.node.ID(), o, &c.later)
}

// touchParent sets the times of a directory whose entries changed.
func (v *Volume) touchParent(dir store.Node, _ *later) {
	t := now()
	// Whoever needs the entry durable waits for a position after this one or
	// before it; the directory's times may be lost in a crash.
	_, _ = dir.Update(store.Change{Times: store.Times{LastWrite: t, Change: t, LastAccess: t}})
}

// overwritten gives a stream that was opened to be overwritten its new state ([MS-FSA] 2.1.5.1.2).
// Caller holds f.mu.
func (e *opening) overwritten(o *Open) (CreateResult, ntstatus.Status, *waiter) {
	pos, st := e.replaceContents(o)
	action := uint32(ActionOverwritten)
	if e.req.Disposition == dispSupersede {
		action = ActionSuperseded
	}
	if st != ntstatus.Success {
		o.unmake()
		return CreateResult{}, st, nil
	}
	res, st := e.result(o, action, pos)
	if st != ntstatus.Success {
		return CreateResult{}, st, nil
	}
	v := e.tree.vol
	path := joinPath(e.dir.path, e.name)
	if s := o.stream.name; s != "" {
		v.report(&e.later, e.dir.node.ID(), path+":"+s, notifyStreamSize|notifyStreamWrite, NotifyModifiedStream)
	} else {
		v.report(&e.later, e.dir.node.ID(), path, notifyDataModified, NotifyModified)
	}
	e.later.add(func() {
		var l later
		v.breakParent(o.link.parent, o, &l)
		l.run()
	})
	return res, st, nil
}

// replaceContents empties the stream; with the unnamed one, attributes, EAs and
// named streams go too.
func (e *opening) replaceContents(o *Open) (store.Pos, ntstatus.Status) {
	t := now()
	touch := store.Touch{LastWrite: t, Change: t, SetAttributes: attrArchive}
	pos, err := o.stream.data.SetSize(0, touch)
	if err == nil {
		pos, err = o.stream.data.SetAllocation(max(0, e.req.Allocation), touch)
	}
	if err != nil {
		return 0, e.fs().statusOf(err)
	}
	if o.stream.name != "" {
		return pos, ntstatus.Success
	}
	attrs := e.attrs & attrSettable
	ch := store.Change{FileAttributes: &attrs, Times: store.Times{LastWrite: t, Change: t}, Blobs: map[store.BlobKind][]byte{store.BlobEA: {}}}
	ea, size, st := mergeEA(nil, e.req.EA)
	if st != ntstatus.Success {
		return 0, st
	}
	ch.Blobs[store.BlobEA], ch.EASize = ea, &size
	if ch.Blobs[store.BlobEA] == nil {
		ch.Blobs[store.BlobEA] = []byte{}
	}
	if pos, err = e.f.node.Update(ch); err != nil {
		return 0, e.fs().statusOf(err)
	}
	return e.dropStreams(pos)
}

// dropStreams removes the named streams of an overwritten file that nobody has open.
func (e *opening) dropStreams(pos store.Pos) (store.Pos, ntstatus.Status) {
	list, err := e.f.node.Streams()
	for _, s := range list {
		if e.f.stream(s.Name) != nil {
			continue
		}
		if pos, err = e.f.node.RemoveStream(s.Name); err != nil {
			break
		}
	}
	return pos, e.fs().statusOf(err)
}

// addStream makes a named stream of an existing file or directory.
func (e *opening) addStream(l *Link, resume func()) (CreateResult, ntstatus.Status, *waiter) {
	d := e.req.Disposition
	if d == dispOpen || d == dispOverwrite {
		return CreateResult{}, ntstatus.ObjectNameNotFound, nil
	}
	if e.readonly() {
		return CreateResult{}, ntstatus.MediaWriteProtected, nil
	}
	if (e.granted|e.remaining)&fileWriteData == 0 {
		e.require(fileWriteData)
	}
	if st, w := e.admit(nil, demandOpen, resume); st != ntstatus.Success || w != nil {
		return CreateResult{}, st, w
	}
	data, pos, err := e.newStream(e.f)
	if err == nil {
		attrs := e.attr.FileAttributes | attrArchive
		if e.f.dir {
			attrs = e.attr.FileAttributes
		}
		if pos, err = e.f.node.Update(store.Change{FileAttributes: &attrs, Times: store.Times{Change: now()}}); err != nil {
			name := data.Name()
			data.Close()
			if _, rerr := e.f.node.RemoveStream(name); rerr != nil {
				e.fs().left(joinPath(e.dir.path, e.name)+":"+name, rerr)
			}
		}
	}
	if err != nil {
		return CreateResult{}, e.fs().statusOf(err), nil
	}
	res, st := e.result(e.newOpen(e.f, e.f.addStream(data.Name(), data), l), ActionCreated, pos)
	if st == ntstatus.Success {
		path := joinPath(e.dir.path, e.name)
		e.tree.vol.report(&e.later, e.dir.node.ID(), path+":"+data.Name(), notifyStreamName, NotifyAddedStream)
	}
	return res, st, nil
}

// needsEA reports whether an EA has FILE_NEED_EA set.
func needsEA(n store.Node) bool {
	b, err := n.Blob(store.BlobEA)
	if err != nil {
		return false
	}
	list, err := fscc.DecodeEAs(b)
	if err != nil {
		return false
	}
	for _, ea := range list {
		if ea.Flags&fscc.FileNeedEA != 0 {
			return true
		}
	}
	return false
}
