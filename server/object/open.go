package object

import (
	"sync"
	"sync/atomic"
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// Open is one opening of a stream or directory ([MS-FSA] 2.1.1.6).
type Open struct {
	tree    *Tree
	file    *File // referenced
	stream  *Stream
	link    *Link
	token   atomic.Pointer[Token]
	desired uint32 // as asked for, mapped
	access  uint32 // GrantedAccess
	options uint32
	backup  bool // HasBackupAccess was used
	restore bool // HasRestoreAccess was used
	shared  bool // one of the opens of a shared virtual disk
	client  dtyp.GUID
	leaseID leaseID // the key the open came with: TargetOplockKey
	appID   dtyp.GUID
	// parentKey is ParentOplockKey: the lease on the directory that the client says is
	// its own.
	parentKey leaseID
	created   time.Time

	tag      atomic.Pointer[any]
	position atomic.Int64          // CurrentByteOffset
	grant    atomic.Pointer[grant] // changed under File.mu

	// gate is held, shared, by every operation that uses the store, and passed
	// exclusively after closed has been set: nothing reaches the store through a closed open.
	gate   sync.RWMutex
	closed atomic.Bool
	fence  atomic.Pointer[func()] // see Fence

	// The rest is guarded by File.mu.
	share         uint32 // SharingMode; a rule may add FILE_SHARE_READ
	mode          uint32 // FileModeInformation
	deleteOnClose bool   // Mode.FILE_DELETE_ON_CLOSE
	sticky        sticky
	modified      uint32 // notify filters of changes not yet reported: PendingNotifications
	wrote         bool   // data was written: the parent's lease breaks at close
	scan          scan
	watch         *watch
	durable       Durable
	away          bool // no session has it
	scavenger     *time.Timer
	scavengeRound int
	lockSeq       lockSequences
}

// sticky are the times the user has set or frozen by this open
// ([MS-FSA] 2.1.1.6 UserSetModificationTime, UserSetChangeTime, UserSetAccessTime).
type sticky struct{ write, change, access bool }

// Tree returns the tree the open was made through.
func (o *Open) Tree() *Tree { return o.tree }

// Token returns who opened it.
func (o *Open) Token() *Token { return o.token.Load() }

// Tag returns what belongs to the server: CreateRequest.Tag until SetTag.
func (o *Open) Tag() any { return *o.tag.Load() }

// SetTag changes it.
func (o *Open) SetTag(t any) { o.tag.Store(&t) }

// Client returns the ClientGuid the open came from.
func (o *Open) Client() dtyp.GUID { return o.client }

// ID returns the file's id as clients see it: on the volume, or another one in a
// snapshot's view, lest a client takes the old file for the new.
func (o *Open) ID() store.FileID { return clientID(o.file.view, o.file.id) }

// Access returns Open.GrantedAccess.
func (o *Open) Access() uint32 { return o.access }

// DesiredAccess returns what the open was asked for, generic rights mapped.
func (o *Open) DesiredAccess() uint32 { return o.desired }

// ShareAccess returns Open.SharingMode.
func (o *Open) ShareAccess() uint32 {
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	return o.share
}

// Options returns the create options, with FILE_WRITE_THROUGH added on a
// continuously available share ([MS-SMB2] 3.3.5.9).
func (o *Open) Options() uint32 { return o.options }

// IsDir reports whether a directory is open.
func (o *Open) IsDir() bool { return o.stream.data == nil }

// StreamName is "" for the unnamed stream and for directories.
func (o *Open) StreamName() string { return o.stream.name }

// Path is the file's present path relative to the tree's root, without a
// leading backslash and without the stream's name.
func (o *Open) Path() string {
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	return o.tree.relative(o.link.path())
}

// has reports whether one of the rights was granted.
func (o *Open) has(access uint32) bool { return o.access&access != 0 }

// enter lets an operation in that uses the store; STATUS_FILE_CLOSED after close.
// Every success is followed by leave.
func (o *Open) enter() ntstatus.Status {
	o.gate.RLock()
	if o.closed.Load() {
		o.gate.RUnlock()
		return ntstatus.FileClosed
	}
	return ntstatus.Success
}

func (o *Open) leave() { o.gate.RUnlock() }

// writable is enter for an operation that changes something: a snapshot's view
// and a read-only tree refuse.
func (o *Open) writable() ntstatus.Status {
	if o.tree.opt.ReadOnly || o.file.view != store.Live {
		return ntstatus.MediaWriteProtected
	}
	return o.enter()
}

// through is the position a reply has to wait for, given that of the change and
// whether the request asked for write-through itself.
func (o *Open) through(p store.Pos, asked bool) store.Pos {
	o.tree.vol.note(p)
	if asked || o.options&optWriteThrough != 0 || o.tree.opt.ContinuouslyAvailable {
		return p
	}
	return 0
}

// connected reports whether a session has the open. Caller holds File.mu.
func (o *Open) connected() bool { return !o.away }
