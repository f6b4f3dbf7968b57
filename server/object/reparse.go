package object

import (
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// ReparsePoint returns the REPARSE_DATA_BUFFER ([MS-FSA] 2.1.5.10.14).
func (o *Open) ReparsePoint() ([]byte, ntstatus.Status) {
	if st := o.enter(); st != ntstatus.Success {
		return nil, st
	}
	defer o.leave()
	b, err := o.file.node.Blob(store.BlobReparse)
	if err != nil {
		return nil, o.tree.vol.fs.statusOf(err)
	}
	if b == nil {
		return nil, ntstatus.NotAReparsePoint
	}
	return b, ntstatus.Success
}

// SetReparsePoint is FSCTL_SET_REPARSE_POINT ([MS-FSA] 2.1.5.10.37).
func (o *Open) SetReparsePoint(b []byte) (store.Pos, ntstatus.Status) {
	var d fscc.ReparseData
	if err := d.Decode(b); err != nil {
		return 0, ntstatus.IOReparseDataInvalid
	}
	if fscc.ReservedReparseTag(d.Tag) {
		return 0, ntstatus.IOReparseTagInvalid
	}
	if d.Tag == reparseSymlink && !hasPrivilege(o.Token(), privSymlink) {
		return 0, ntstatus.AccessDenied
	}
	return o.changeReparse(func(old *fscc.ReparseData) (store.Change, ntstatus.Status) {
		if old != nil {
			if st := sameReparse(old, &d); st != ntstatus.Success {
				return store.Change{}, st
			}
		} else if o.file.dir {
			list, err := o.tree.vol.store.ReadDir(o.file.node, "", 1, nil)
			if err != nil || len(list) > 0 {
				return store.Change{}, ntstatus.DirectoryNotEmpty
			}
		}
		return store.Change{ReparseTag: &d.Tag, Blobs: map[store.BlobKind][]byte{store.BlobReparse: b}}, ntstatus.Success
	})
}

// DeleteReparsePoint is FSCTL_DELETE_REPARSE_POINT ([MS-FSA] 2.1.5.10.3); b names
// the tag to be deleted.
func (o *Open) DeleteReparsePoint(b []byte) (store.Pos, ntstatus.Status) {
	var d fscc.ReparseData
	if err := d.Decode(b); err != nil || len(d.Data) != 0 {
		return 0, ntstatus.IOReparseDataInvalid
	}
	return o.changeReparse(func(old *fscc.ReparseData) (store.Change, ntstatus.Status) {
		if old == nil {
			return store.Change{}, ntstatus.NotAReparsePoint
		}
		if st := sameReparse(old, &d); st != ntstatus.Success {
			return store.Change{}, st
		}
		return store.Change{ReparseTag: new(uint32), Blobs: map[store.BlobKind][]byte{store.BlobReparse: {}}}, ntstatus.Success
	})
}

// sameReparse checks that a change is of the kind of reparse point that is there.
func sameReparse(old, d *fscc.ReparseData) ntstatus.Status {
	switch {
	case old.Tag != d.Tag:
		return ntstatus.IOReparseTagMismatch
	case !d.Microsoft() && old.GUID != d.GUID:
		return ntstatus.ReparseAttributeConflict
	}
	return ntstatus.Success
}

// changeReparse is the common part of setting and deleting.
func (o *Open) changeReparse(change func(old *fscc.ReparseData) (store.Change, ntstatus.Status)) (store.Pos, ntstatus.Status) {
	if !o.has(fileWriteData | fileWriteAttributes) {
		return 0, ntstatus.AccessDenied
	}
	if st := o.writable(); st != ntstatus.Success {
		return 0, st
	}
	defer o.leave()
	f := o.file
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := f.node.Blob(store.BlobReparse)
	if err != nil {
		return 0, f.vol.fs.statusOf(err)
	}
	var old *fscc.ReparseData
	if b != nil {
		old = new(fscc.ReparseData)
		if err := old.Decode(b); err != nil {
			return 0, ntstatus.IOReparseDataInvalid
		}
	}
	ch, st := change(old)
	if st != ntstatus.Success {
		return 0, st
	}
	ch.Times = o.changed()
	if !f.dir {
		if a, err := f.node.Attr(); err == nil {
			attrs := a.FileAttributes | attrArchive
			ch.FileAttributes = &attrs
		}
	}
	o.modified |= notifyAttributes
	pos, err := f.node.Update(ch)
	return o.through(pos, false), f.vol.fs.statusOf(err)
}
