package server

import (
	"bytes"
	"strings"

	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	wire "gabion/protocol/rsvd"
	"gabion/protocol/smb2"
	"gabion/rsvd"
	"gabion/server/object"
	"gabion/store"
)

// Shared virtual disks: package rsvd is the disk; here is the open of its container and
// what [MS-SMB2] says of an open whose IsSharedVHDX is TRUE.

// diskSuffix is what a name ends in that means the virtual disk in the file.
const diskSuffix = ":SharedVirtualDisk"

// sharesDisks is IsSharedVHDSupported, for the request's share and dialect.
func (r *request) sharesDisks() bool {
	return r.dialect() >= smb2.Dialect302 && r.tree != nil && !r.tree.share.IsPipe() && r.tree.share.SharedVHDX
}

// sharedDisk is what makes a file an open of a shared disk.
type sharedDisk struct {
	*rsvd.Open
	folder  *diskFolder
	context []byte                // SVHDX_OPEN_DEVICE_CONTEXT as sent
	target  *wire.TargetSpecifier // or the snapshot that was asked for
	sizes   store.Sizes           // when it was closed
	pos     store.Pos             // of what the close did
}

// diskRecord is what survives of a sharedDisk with its open.
type diskRecord struct {
	Context []byte
	Target  *wire.TargetSpecifier
	Sense   []byte
}

func (d *sharedDisk) record() *diskRecord {
	r := &diskRecord{Context: d.context, Target: d.target}
	if d.Open != nil { // it is being recovered otherwise
		r.Sense = d.Sense()
	}
	return r
}

// diskRequest is the part of a CREATE that is about a shared disk.
type diskRequest struct {
	context []byte
	target  *wire.TargetSpecifier
	virtual bool // of the disk, not of the container's bytes
}

// sharedDisk is [MS-SMB2] 3.3.5.9.14 and 3.3.5.9.1, with the judgement of the context
// that [MS-RSVD] 3.2.5.1 wants, before anything is opened.
func (c *creation) sharedDisk() bool {
	if !c.r.sharesDisks() {
		return true
	}
	path, is := cutSuffixFold(c.name, diskSuffix)
	if !is {
		return true
	}
	d := &diskRequest{context: bytes.Clone(c.ctx.svhdx), virtual: true} // it outlives the request
	if d.context == nil {
		d.target = targetSpecifier(c.ctx.ea)
		if d.target == nil {
			return c.fail(ntstatus.InvalidParameter)
		}
	} else {
		var status ntstatus.Status
		if d.virtual, status = c.r.server().cfg.SharedDisks.Virtual(d.context); status != ntstatus.Success {
			return c.fail(status)
		}
	}
	// Nothing makes or empties a container by opening the disk in it.
	switch c.req.CreateDisposition {
	case smb2.DispositionOpen, smb2.DispositionOpenIf:
		c.req.CreateDisposition = smb2.DispositionOpen
	default:
		return c.fail(ntstatus.InvalidParameter)
	}
	if c.req.CreateOptions&(smb2.OptionDirectoryFile|smb2.OptionDeleteOnClose) != 0 || strings.Contains(path, ":") {
		return c.fail(ntstatus.InvalidParameter)
	}
	c.path, c.disk = path, d
	return true
}

// containerShared reports whether an open of a container without the suffix, but with the
// context of SVHDX_ORIGINATOR_VHDMP, came upon a disk that is shared. Deviation: the text
// of 3.3.5.9.14 read literally refuses such an open always, which would keep hosts from
// opening any virtual disk.
func (c *creation) containerShared(status ntstatus.Status) bool {
	if c.disk != nil || c.ctx.svhdx == nil || status != ntstatus.Success && status != ntstatus.SharingViolation {
		return false
	}
	service, tree := c.r.server().cfg.SharedDisks, c.r.tree.share.Tree
	if virtual, status := service.Virtual(c.ctx.svhdx); virtual || status != ntstatus.Success {
		return false // the context is ignored
	}
	id, ok := tree.Find(c.path)
	return ok && service.InUse(tree.Store(), id)
}

func cutSuffixFold(s, suffix string) (string, bool) {
	if n := len(s) - len(suffix); n >= 0 && strings.EqualFold(s[n:], suffix) {
		return s[:n], true
	}
	return s, false
}

// targetSpecifier finds the extended attribute that names a snapshot ([MS-RSVD] 3.2.5.7).
func targetSpecifier(ea []byte) *wire.TargetSpecifier {
	list, err := fscc.DecodeEAs(ea)
	if err != nil {
		return nil
	}
	for _, e := range list {
		t := new(wire.TargetSpecifier)
		if strings.EqualFold(e.Name, wire.TargetSpecifierName) && t.Decode(e.Value) == nil {
			return t
		}
	}
	return nil
}

// asDisk changes what the object store is asked for. There is no caching to be granted on a
// disk, and the extended attributes are not the file's.
func (c *creation) asDisk() {
	if c.disk == nil {
		return
	}
	c.obj.EA, c.obj.Oplock, c.obj.Lease = nil, object.OplockNone, nil
	c.obj.SharedDisk = c.disk.virtual
}

// openDisk goes on where the container has been opened. It leaves the goroutine, which may
// be the one of a client that acknowledged a break: a container is read before it is open.
func (c *creation) openDisk(f *file, res *object.CreateResult) {
	f.obj = res.Open
	out, conn := *res, c.r.conn
	conn.server.pool.submit(taskFunc(func() {
		defer conn.recovered(nil)
		f.disk = &sharedDisk{context: c.disk.context, target: c.disk.target}
		f.disk.folder = &diskFolder{f: f, as: func() *object.Token { return f.obj.Token() }}
		if !c.disk.virtual {
			c.diskOpened(f, &out, f.openDisk(nil))
			return
		}
		f.openPayload(func(status ntstatus.Status) {
			if status == ntstatus.Success {
				status = f.openDisk(nil)
			}
			c.diskOpened(f, &out, status)
		})
	}))
}

// diskOpened ends the CREATE.
func (c *creation) diskOpened(f *file, res *object.CreateResult, status ntstatus.Status) {
	if status != ntstatus.Success {
		c.end()
		f.disk.folder.close()
		res.Open.Close()
		c.fail(status)
		return
	}
	if f.disk.IsDisk() {
		res.Info.Stream = f.disk.Sizes()
	}
	c.opened(f, res)
}

// addDisk adds the response context, behind all others: [MS-SMB2] 3.3.5.9.14.
func (c *creation) addDisk(b *smb2.ContextBuilder, f *file) {
	if f.disk == nil || c.ctx.svhdx == nil {
		return
	}
	if answer := f.disk.Context(); answer != nil {
		b.Add(smb2.ContextSVHDXOpenDevice, answer.AppendTo(nil))
	}
}

// openPayload makes sure of the file that a VHD set names, as a further open of the
// same opener: nobody else may write to it. It may wait for breaks.
func (f *file) openPayload(done func(ntstatus.Status)) {
	if !isSet(f.obj.Path()) {
		done(ntstatus.Success)
		return
	}
	node, err := f.node()
	if err != nil {
		done(ntstatus.IODeviceError)
		return
	}
	name, status := f.server.cfg.SharedDisks.Payload(node)
	node.Close()
	if status != ntstatus.Success {
		done(status)
		return
	}
	f.disk.folder.keep(name, func(status ntstatus.Status) {
		// Not on the goroutine of whoever ended the wait.
		f.server.pool.submit(taskFunc(func() { done(status) }))
	})
}

func isSet(path string) bool {
	_, is := cutSuffixFold(path, ".vhds")
	return is
}

// node is the open's file in the store.
func (f *file) node() (store.Node, error) {
	return f.obj.Tree().Store().OpenID(store.Live, f.obj.ID())
}

// openDisk opens the disk of f.obj; sense is what an earlier life of it left.
func (f *file) openDisk(sense []byte) ntstatus.Status {
	node, err := f.node()
	if err != nil {
		return ntstatus.ObjectNameNotFound
	}
	defer node.Close()
	_, name := splitName(f.obj.Path())
	var rights rsvd.Rights
	if f.granted(dtyp.FileReadData | dtyp.FileExecute) {
		rights |= rsvd.MayRead
	}
	if f.granted(dtyp.FileWriteData) {
		rights |= rsvd.MayWrite
	}
	if most, status := f.obj.MaximalAccess(uint32(dtyp.FileAllAccess)); status == ntstatus.Success && dtyp.AccessMask(most).Has(dtyp.Delete) {
		rights |= rsvd.MayDelete
	}
	o, status := f.server.cfg.SharedDisks.Open(rsvd.OpenRequest{
		Volume: f.obj.Tree().Store(), Node: node, Name: name, Folder: f.disk.folder,
		RawContext: f.disk.context, Target: f.disk.target, CreateOptions: uint32(f.asked.CreateOptions), Rights: rights, Sense: sense,
	})
	if status != ntstatus.Success {
		return status
	}
	f.disk.Open = o
	f.obj.Fence(f.disk.end)
	return ntstatus.Success
}

func splitName(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '\\')
	return path[:max(i, 0)], path[i+1:]
}

// end closes the disk; the object store calls it when the open of the container ends,
// whoever ends it.
func (d *sharedDisk) end() {
	if d.IsDisk() {
		d.sizes = d.Sizes()
	}
	d.pos = d.Close()
	d.folder.close()
}

// closed tells what the end of the disk did, after the open of the container has ended.
func (d *sharedDisk) closed(i *object.Info, pos *store.Pos) {
	if d.IsDisk() {
		i.Stream = d.sizes
	}
	*pos = max(*pos, d.pos)
}

// recoverDisk opens the disk of a recorded open again: the reservations are back before
// its client is.
func (f *file) recoverDisk(rec *diskRecord) ntstatus.Status {
	f.disk = &sharedDisk{context: rec.Context, target: rec.Target}
	f.disk.folder = &diskFolder{f: f, as: f.actsFor}
	status := ntstatus.Success
	if f.obj.SharedDisk() && isSet(f.obj.Path()) {
		var node store.Node
		var err error
		if node, err = f.node(); err != nil {
			return ntstatus.ObjectNameNotFound
		}
		var name string
		if name, status = f.server.cfg.SharedDisks.Payload(node); status == ntstatus.Success {
			_, status = f.disk.folder.hold(name)
		}
		node.Close()
	}
	if status == ntstatus.Success {
		status = f.openDisk(rec.Sense)
	}
	if status != ntstatus.Success {
		f.disk.folder.close()
	}
	return status
}

// info is that of the object store, with the sizes of the virtual disk.
func (f *file) info() (object.Info, ntstatus.Status) {
	i, status := f.obj.Info()
	if status == ntstatus.Success && f.disk != nil && f.disk.IsDisk() {
		i.Stream = f.disk.Sizes()
	}
	return i, status
}
