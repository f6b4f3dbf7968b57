package server

import (
	"sync"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server/object"
	"gabion/store"
)

// diskFolder is the folder of a shared disk's container, as who opened it may use it. It
// implements rsvd.Folder. Files that belong to the disk, the payload of a set and the
// parents of a chain, stay open with it, so that nobody else writes to them.
type diskFolder struct {
	f  *file
	as func() *object.Token

	mu    sync.Mutex
	held  []*object.Open // guarded by mu
	ended bool           // guarded by mu
}

// actsFor is who a recovered open acts for: the server itself until its client is back.
func (f *file) actsFor() *object.Token {
	if !f.obj.Connected() {
		return auth.System
	}
	return f.obj.Token()
}

const (
	readAccess  = uint32(dtyp.FileReadData | dtyp.FileReadAttributes | dtyp.Synchronize)
	writeAccess = uint32(dtyp.FileWriteData)
)

// request is the CREATE of a file of the disk.
func (d *diskFolder) request(name string, access uint32, disposition smb2.CreateDisposition) *object.CreateRequest {
	dir, _ := splitName(d.f.obj.Path())
	path := name
	if dir != "" {
		path = dir + `\` + name
	}
	return &object.CreateRequest{
		Token: d.as(), Path: path, DesiredAccess: access, Disposition: uint32(disposition),
		Options: uint32(smb2.OptionNonDirectoryFile), SharedDisk: true, Tag: (*file)(nil),
	}
}

// access is what the open's own rights allow on the other files.
func (d *diskFolder) access() uint32 {
	if d.f.granted(dtyp.FileWriteData) {
		return readAccess | writeAccess
	}
	return readAccess
}

// keep opens a file of the disk for as long as the disk is open.
func (d *diskFolder) keep(name string, done func(ntstatus.Status)) {
	d.f.obj.Tree().Create(d.request(name, d.access(), smb2.DispositionOpen), func(res object.CreateResult, status ntstatus.Status) {
		if status == ntstatus.Success {
			d.add(res.Open)
		}
		done(status)
	})
}

// add keeps an open, unless the file is kept already.
func (d *diskFolder) add(o *object.Open) {
	d.mu.Lock()
	known := d.ended
	for _, x := range d.held {
		known = known || x.ID() == o.ID()
	}
	if !known {
		d.held = append(d.held, o)
	}
	d.mu.Unlock()
	if known {
		o.Close()
	}
}

// close lets go of everything.
func (d *diskFolder) close() {
	d.mu.Lock()
	held := d.held
	d.held, d.ended = nil, true
	d.mu.Unlock()
	for _, o := range held {
		o.Close()
	}
}

// now opens a file without waiting for breaks: who caches it is told, and the disk is
// refused for this time.
func (d *diskFolder) now(req *object.CreateRequest) (*object.Open, ntstatus.Status) {
	var o *object.Open
	var status ntstatus.Status
	done := make(chan struct{})
	p := d.f.obj.Tree().Create(req, func(res object.CreateResult, st ntstatus.Status) {
		o, status = res.Open, st
		close(done)
	})
	if p != nil {
		p.Cancel()
	}
	<-done
	if status == ntstatus.Cancelled {
		status = ntstatus.SharingViolation
	}
	return o, status
}

// hold is keep that does not wait.
func (d *diskFolder) hold(name string) (store.FileID, ntstatus.Status) {
	o, status := d.now(d.request(name, d.access(), smb2.DispositionOpen))
	if status != ntstatus.Success {
		return 0, status
	}
	id := o.ID()
	d.add(o)
	return id, status
}

// Open implements rsvd.Folder.
func (d *diskFolder) Open(name string) (store.Node, error) {
	id, status := d.hold(name)
	if status != ntstatus.Success {
		return nil, folderError(status)
	}
	return d.f.obj.Tree().Store().OpenID(store.Live, id)
}

// Create implements rsvd.Folder.
func (d *diskFolder) Create(name string) (store.Node, error) {
	o, status := d.now(d.request(name, readAccess|writeAccess, smb2.DispositionCreate))
	if status != ntstatus.Success {
		return nil, folderError(status)
	}
	n, err := o.Tree().Store().OpenID(store.Live, o.ID())
	if err != nil {
		o.Close()
		return nil, err
	}
	return &openNode{n, o}, nil
}

// Rename implements rsvd.Folder.
func (d *diskFolder) Rename(name, newName string) (store.Pos, error) {
	o, status := d.now(d.request(name, uint32(dtyp.Delete|dtyp.Synchronize), smb2.DispositionOpen))
	if status != ntstatus.Success {
		return 0, folderError(status)
	}
	defer o.Close()
	var pos store.Pos
	done := make(chan struct{})
	p := o.Rename(d.request(newName, 0, 0).Path, 0, func(at store.Pos, st ntstatus.Status) {
		pos, status = at, st
		close(done)
	})
	if p != nil {
		p.Cancel()
	}
	<-done
	if status != ntstatus.Success {
		return 0, folderError(status)
	}
	return pos, nil
}

// Remove implements rsvd.Folder.
func (d *diskFolder) Remove(name string) (store.Pos, error) {
	o, status := d.now(d.request(name, uint32(dtyp.Delete|dtyp.Synchronize), smb2.DispositionOpen))
	if status != ntstatus.Success {
		return 0, folderError(status)
	}
	status = o.DeleteAtClose()
	d.drop(o.ID())
	_, pos, st := o.Close()
	if status == ntstatus.Success {
		status = st
	}
	return pos, folderError(status)
}

// drop lets go of a file.
func (d *diskFolder) drop(id store.FileID) {
	d.mu.Lock()
	var gone *object.Open
	for i, o := range d.held {
		if o.ID() == id {
			gone, d.held = o, append(d.held[:i:i], d.held[i+1:]...)
			break
		}
	}
	d.mu.Unlock()
	if gone != nil {
		gone.Close()
	}
}

// openNode is a node that is open in the object store too.
type openNode struct {
	store.Node
	o *object.Open
}

func (n *openNode) Close() {
	n.Node.Close()
	n.o.Close()
}

// folderError tells package rsvd in the store's words what it looks at.
func folderError(status ntstatus.Status) error {
	switch status {
	case ntstatus.Success:
		return nil
	case ntstatus.ObjectNameNotFound:
		return store.ErrNotFound
	}
	return status
}
