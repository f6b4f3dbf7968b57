package object

import (
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// Open is one opening of a stream or directory ([MS-FSA] 2.1.1.6).
type Open struct {
	// Tag belongs to the server; it is CreateRequest.Tag until set otherwise.
	Tag any

	tree    *Tree
	file    *File
	stream  *Stream
	token   *Token
	access  uint32
	share   uint32
	options uint32
}

// Tree returns the tree the open was made through.
func (o *Open) Tree() *Tree { return o.tree }

// Token returns who opened it.
func (o *Open) Token() *Token { return o.token }

// ID returns the file's id on its volume.
func (o *Open) ID() store.FileID { return 0 }

// Access returns Open.GrantedAccess.
func (o *Open) Access() uint32 { return o.access }

// ShareAccess returns Open.SharingMode.
func (o *Open) ShareAccess() uint32 { return o.share }

// Options returns the create options, with FILE_WRITE_THROUGH added on a
// continuously available share ([MS-SMB2] 3.3.5.9).
func (o *Open) Options() uint32 { return o.options }

// IsDir reports whether a directory is open.
func (o *Open) IsDir() bool { return false }

// StreamName is "" for the unnamed stream and for directories.
func (o *Open) StreamName() string { return "" }

// Path is the file's present path relative to the tree's root, without a
// leading backslash and without the stream's name.
func (o *Open) Path() string { return "" }

// Close closes the open: locks go, waiting operations on it complete, a pending
// deletion takes place ([MS-FSA] 2.1.5.5). The Info is what CLOSE may return to
// the client. Closing twice is STATUS_FILE_CLOSED.
func (o *Open) Close() (Info, store.Pos, ntstatus.Status) {
	return Info{}, 0, ntstatus.NotImplemented
}

// AcknowledgeOplock takes an oplock break acknowledgement ([MS-SMB2] 3.3.5.22.1)
// and returns the level granted.
func (o *Open) AcknowledgeOplock(to OplockLevel) (OplockLevel, ntstatus.Status) {
	return 0, ntstatus.NotImplemented
}

// AcknowledgeLease takes a lease break acknowledgement ([MS-SMB2] 3.3.5.22.2).
func (fs *FS) AcknowledgeLease(client, key dtyp.GUID, to Caching) (Caching, ntstatus.Status) {
	return 0, ntstatus.NotImplemented
}

// Oplock returns the oplock the open holds now, OplockLease with a lease.
func (o *Open) Oplock() OplockLevel { return 0 }

// Lease returns the lease's state; ok is false without one.
func (o *Open) Lease() (li LeaseInfo, ok bool) { return }
