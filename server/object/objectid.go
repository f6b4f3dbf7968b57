package object

import (
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// ObjectID returns the FILE_OBJECTID_BUFFER ([MS-FSCC] 2.1.3); with create it
// makes one when there is none (FSCTL_CREATE_OR_GET_OBJECT_ID, FSCTL_GET_OBJECT_ID).
func (o *Open) ObjectID(create bool) (id [64]byte, pos store.Pos, st ntstatus.Status) {
	if st := o.enter(); st != ntstatus.Success {
		return id, 0, st
	}
	defer o.leave()
	f := o.file
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := f.node.Blob(store.BlobObjectID)
	if err != nil {
		return id, 0, f.vol.fs.statusOf(err)
	}
	if copy(id[:], b) > 0 {
		return id, 0, ntstatus.Success
	}
	if !create {
		return id, 0, ntstatus.ObjectidNotFound
	}
	if o.tree.opt.ReadOnly || f.view != store.Live {
		return id, 0, ntstatus.MediaWriteProtected
	}
	// [MS-FSA] 2.1.5.10.1: BirthObjectId is the id itself, BirthVolumeId the volume's.
	object, volume := dtyp.NewGUID(), f.vol.store.Info().GUID
	copy(id[0:], object[:])
	copy(id[16:], volume[:])
	copy(id[32:], object[:])
	pos, err = f.node.Update(store.Change{Times: o.changed(), Blobs: map[store.BlobKind][]byte{store.BlobObjectID: id[:]}})
	return id, o.through(pos, false), f.vol.fs.statusOf(err)
}

// SetObjectID is FSCTL_SET_OBJECT_ID ([MS-FSA] 2.1.5.10.35), with a zero id
// FSCTL_DELETE_OBJECT_ID.
func (o *Open) SetObjectID(id [64]byte) (store.Pos, ntstatus.Status) {
	blob := id[:]
	if id == [64]byte{} {
		if !o.has(fileWriteData | fileWriteAttributes) {
			return 0, ntstatus.AccessDenied
		}
		blob = []byte{}
	} else if !hasPrivilege(o.Token(), privRestore) {
		return 0, ntstatus.AccessDenied
	}
	if st := o.writable(); st != ntstatus.Success {
		return 0, st
	}
	defer o.leave()
	f := o.file
	f.mu.Lock()
	defer f.mu.Unlock()
	pos, err := f.node.Update(store.Change{Times: o.changed(), Blobs: map[store.BlobKind][]byte{store.BlobObjectID: blob}})
	return o.through(pos, false), f.vol.fs.statusOf(err)
}
