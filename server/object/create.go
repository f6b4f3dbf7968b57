package object

import (
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// CreateRequest is what the server passes to open a file ([MS-FSA] 2.1.5.1).
type CreateRequest struct {
	Token *Token
	// Path is relative to the tree's root, components separated by backslashes,
	// without a leading one; the last may carry a stream ("name:stream:$DATA").
	// "" is the root. With FILE_OPEN_BY_FILE_ID it is ignored in favour of ByID.
	Path string
	ByID store.FileID

	DesiredAccess  uint32 // as sent; generic bits are mapped here
	FileAttributes uint32
	ShareAccess    uint32
	Disposition    uint32
	Options        uint32
	// MaximalAccess bounds what may be granted: the share's access of the user.
	// 0 means no bound.
	MaximalAccess uint32

	// Oplock is the requested level; with OplockLease, Lease says more.
	Oplock OplockLevel
	Lease  *LeaseRequest
	Client dtyp.GUID // ClientGuid: whose lease

	// The create contexts that change what is created or opened.
	Security   []byte        // SecD: self-relative security descriptor
	EA         []byte        // ExtA: FILE_FULL_EA_INFORMATION list
	Allocation int64         // AlSi
	Timewarp   dtyp.Filetime // TWrp: open the snapshot of that time
	AppID      dtyp.GUID     // AppInstanceId, recorded on the open

	// Tag is the server's own word about the open, kept in Open.Tag from before
	// the first break of it can be indicated.
	Tag any
}

// CreateResult is the outcome of a create.
type CreateResult struct {
	Open   *Open
	Action uint32 // ActionOpened …
	Oplock OplockLevel
	Lease  LeaseInfo // valid when Oplock is OplockLease
	Info   Info
	Pos    store.Pos
	// Reparse is set with STATUS_STOPPED_ON_SYMLINK and
	// STATUS_IO_REPARSE_TAG_NOT_HANDLED.
	Reparse *Reparse
}

// Reparse says where a path ran into a reparse point.
type Reparse struct {
	Data []byte // REPARSE_DATA_BUFFER as stored
	// Unparsed is how many bytes of UTF-16 of the path lie behind the component
	// that is the reparse point ([MS-SMB2] 2.2.2.2.1 UnparsedPathLength).
	Unparsed int
}

// Create opens or creates a file. done is called once, with a result whose Open
// is set on success. The returned Pending is nil when that has happened before
// Create returned; otherwise the create waits for a break and can be cancelled.
func (t *Tree) Create(req *CreateRequest, done func(CreateResult, ntstatus.Status)) *Pending {
	done(CreateResult{}, ntstatus.NotImplemented)
	return nil
}
