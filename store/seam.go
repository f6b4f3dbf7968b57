package store

import (
	"errors"
	"fmt"

	"gabion/protocol/dtyp"
)

// FileID names a file or directory of one volume for ever: it is never
// reused, not even after a restore or a rebuild of the index.
type FileID uint64

// RootID is the FileID of a volume's root directory.
const RootID FileID = 1

// View selects what is read: Live, or the SnapshotID of a snapshot that covers
// the node. Nodes opened in a snapshot's view refuse every change with ErrReadOnly.
type View uint64

// Live is the volume as it is now.
const Live View = 0

// Pos is a position in the volume's log. Every change returns the position that
// must be durable before the change survives a crash. Positions only grow, so a
// caller that collected several waits for the largest. Zero is always durable.
type Pos uint64

// Volume is what the file server needs of one block-store volume (design.md,
// "server → store"). It knows nothing of SMB: no share modes, no locks, no access
// checks. All methods are safe for concurrent use and each change is atomic,
// also over a crash.
//
// Durability. A change is visible to every reader when the method returns, and
// durable when Wait of its Pos has returned nil. Changes become durable in the
// order of their positions and without Wait within about a second. Callers
// must not hold a lock across Wait; OnDurable serves those that do not want
// to block a goroutine.
//
// Errors. Methods return the sentinels below, wrapped with context. After a
// failed sync every method returns ErrStopped and the process is expected to exit.
type Volume interface {
	Info() Info
	Space() Space

	// Root opens the root directory in a view.
	Root(v View) (Node, error)
	// OpenID opens a file or directory by id; ErrNotFound when it is gone.
	OpenID(v View, id FileID) (Node, error)
	// Lookup finds name in dir, ignoring case as the volume's upcase table says.
	// The Entry's Name is the case-preserved one.
	Lookup(dir Node, name string) (Entry, error)
	// Open is Lookup and OpenID in one step, without a window between them.
	Open(dir Node, name string) (Node, Entry, error)
	// ReadDir appends up to max entries of dir whose upcased names sort after
	// that of after ("" starts), in that order, and returns the extended slice.
	// "." and ".." are not stored. Fewer than max entries mean the end.
	ReadDir(dir Node, after string, max int, to []Entry) ([]Entry, error)

	// Create makes a new file or directory in dir; ErrExist if the name is taken.
	Create(dir Node, name string, init Init) (Node, Pos, error)
	// Link gives n (a file) a further name. With replace an existing file of
	// that name is unlinked in the same step.
	Link(n Node, dir Node, name string, replace bool) (Pos, error)
	// Rename moves the entry name of from to newName of to. A change of case
	// only is a rename too. With replace an existing entry, a file or an empty
	// directory, is unlinked in the same step; without it ErrExist. A directory
	// cannot move below itself (ErrInvalid).
	Rename(from Node, name string, to Node, newName string, replace bool) (Pos, error)
	// Unlink removes one name. A directory must be empty (ErrNotEmpty). The
	// contents go when the last name and the last open Node are gone; after a
	// crash nameless files are removed.
	Unlink(dir Node, name string) (Pos, error)

	// Wait blocks until everything up to p is durable, syncing on its own
	// account when nobody else does.
	Wait(p Pos) error
	// OnDurable calls fn once with nil when p is durable, or with the error that
	// stopped the volume. fn may run on the caller's goroutine before OnDurable
	// returns, must not block and must not call the volume's changing methods.
	OnDurable(p Pos, fn func(error))
	// Sync makes everything acknowledged so far durable.
	Sync() error

	// KV is the volume's unversioned side store for the records that no
	// snapshot and no restore touches: reservations, persistent opens, roles.
	KV() KV

	Snapshots() Snapshots

	// Pins are what offload tokens stand for.
	Pins() Pins

	// Close syncs, stops every goroutine of the volume and releases it.
	Close() error
}

// Node is an open reference to a file or directory in one view. It pins the
// contents (see Unlink) until Close. Several Nodes of one FileID are
// equivalent; they share all state.
type Node interface {
	ID() FileID
	View() View
	IsDir() bool
	// Attr returns the current attributes; it does not touch the disk for a
	// node that is open.
	Attr() (Attr, error)
	// Update changes attributes and blobs in one atomic step.
	Update(c Change) (Pos, error)
	// Blob returns a copy of one attached blob, nil when there is none.
	Blob(k BlobKind) ([]byte, error)
	// Names lists the node's links (parent and name), at least one unless it
	// was unlinked; the root has none.
	Names() ([]LinkName, error)

	// Data returns the unnamed data stream; ErrIsDir for a directory.
	Data() (Stream, error)
	// Stream opens a named stream of a file or directory, ignoring case.
	Stream(name string) (Stream, error)
	// CreateStream makes a named stream; ErrExist if there is one.
	CreateStream(name string) (Stream, Pos, error)
	// RemoveStream removes a named stream; its contents go when its last open
	// Stream is closed.
	RemoveStream(name string) (Pos, error)
	// RenameStream renames a named stream; "" as name or newName means the
	// unnamed one, with the effect MS-FSA 2.1.5.15.12 gives to it.
	RenameStream(name, newName string, replace bool) (Pos, error)
	// Streams lists the named streams in upcased order.
	Streams() ([]StreamInfo, error)

	Close()
}

// Stream is the data of one stream. Offsets and lengths are in bytes. A method
// that changes data takes Touch, so that the times travel in the same log record.
//
// A read concurrent with a write returns for each 4 KiB block either the old or
// the new content.
type Stream interface {
	// Name is "" for the unnamed stream, else the case-preserved name.
	Name() string
	Sizes() Sizes
	// ReadAt fills p from off and returns how many bytes lie before the end of
	// the stream; io.EOF only when off is at or past it. Holes and what lies
	// past the valid data length read as zeros. A damaged block is a *CorruptError.
	ReadAt(p []byte, off int64) (int, error)
	// WriteAt writes all of p, extending the stream; p may be reused at once.
	// It does not wait for the disk unless the log's buffer is full.
	WriteAt(p []byte, off int64, t Touch) (Pos, error)
	// Zero makes [off, off+n) read as zeros, within the current size, and
	// frees its space when the stream is sparse or n covers whole blocks.
	Zero(off, n int64, t Touch) (Pos, error)
	// SetSize truncates or extends (with a hole).
	SetSize(size int64, t Touch) (Pos, error)
	// SetAllocation sets the allocation size clients see; smaller than the size
	// truncates (MS-FSA 2.1.5.15.1). It reserves nothing beyond the quota check.
	SetAllocation(size int64, t Touch) (Pos, error)
	// SetValidData raises the valid data length up to the size.
	SetValidData(n int64, t Touch) (Pos, error)
	// Allocated appends the ranges of [off, off+n) that hold data, in order.
	Allocated(off, n int64, to []Range) ([]Range, error)
	// CloneFrom makes [dst, dst+n) equal to [src, src+n) of from as it is now, as
	// one record that moves no data. Offsets and n are multiples of 4 KiB,
	// except that n may end at from's size; ErrInvalid otherwise. from may be this
	// stream if the ranges do not overlap, and may lie in a snapshot's view.
	CloneFrom(dst int64, from Stream, src, n int64, t Touch) (Pos, error)
	// DiffersFrom calls fn in order, until it returns false, for ranges outside of which
	// the two streams hold the same; each may be of any file and in any view. It tells by
	// where blocks are stored and reads none, so a range that was written anew may hold
	// what it held. Past the shorter one's end everything differs.
	DiffersFrom(other Stream, fn func(Range) bool) error
	Close()
}

// Packer is what a Stream may offer besides: compressing what shrinks when it is written
// through this handle. What was stored is readable either way.
type Packer interface {
	SetPacking(on bool)
}

// Streamer is what a Stream may offer besides: WriteAt for bytes that nobody is likely to read
// soon, which need not take the place of others in memory.
type Streamer interface {
	StreamAt(p []byte, off int64, t Touch) (Pos, error)
}

// Summed is what a Stream may offer besides: WriteAt for data of which sums says the CRC32C
// (Castagnoli) of each whole block of 4 KiB, from off on, a multiple of that. They are stored as they are: what
// changed since they were made reads as damaged.
type Summed interface {
	WriteSummed(p []byte, sums []uint32, off int64, t Touch) (Pos, error)
}

// KV is a small ordered store with durable, atomic batches.
type KV interface {
	// Get returns a copy of the value, nil and ErrNotFound when absent.
	Get(bucket, key string) ([]byte, error)
	// Scan calls fn in key order for every key of bucket that begins with
	// prefix until it returns false. The slices are valid during the call only.
	Scan(bucket, prefix string, fn func(key string, value []byte) bool) error
	// Apply performs all edits as one atomic step.
	Apply(edits []KVEdit) (Pos, error)
}

// KVEdit sets a key, or deletes it when Value is nil.
type KVEdit struct {
	Bucket, Key string
	Value       []byte
}

// Snapshots is the versions' side of a volume.
type Snapshots interface {
	// Create takes one snapshot of everything below the scope nodes (the root
	// for a whole volume) as one instant: every write acknowledged before is in
	// it. Costs O(len(scope)). ErrExist when the name is taken. No two snapshots are
	// of the same second: the later one is dated to the next.
	Create(name string, scope []FileID) (Snapshot, Pos, error)
	// List returns the snapshots that cover id, oldest first; RootID lists all.
	List(id FileID) ([]Snapshot, error)
	// Versions is List without the snapshots in which the file (attributes, blobs and
	// streams) is the same as in the next newer one of the list, or now.
	Versions(id FileID) ([]Snapshot, error)
	Find(name string) (Snapshot, error)
	Delete(v View) (Pos, error)
	// Diff calls fn in order for the ranges of one stream of file id that differ
	// between two views, until it returns false.
	Diff(id FileID, stream string, a, b View, fn func(Range) bool) error
	// Changed calls fn, in ascending order until it returns false, for the files and
	// directories that may differ between two views: in attributes, names, entries,
	// blobs or streams, or because they were made or removed in between. Those it leaves out
	// are the same in both, or not covered by one of them. It costs in proportion to what
	// changed on the volume in between.
	Changed(a, b View, fn func(FileID) bool) error
	// Restore makes the streams of a set of files (or directories) equal to what
	// they are in v, by metadata alone and as one change. Names, attributes and times
	// stay. ErrNotFound, and nothing changed, if one of them is missing on either side.
	Restore(files []FileID, v View) (Pos, error)
	// Replace makes the data of live files, their unnamed streams, equal to that of other files,
	// or their own, in v, by metadata alone and as one change. The rest of them stays.
	// ErrNotFound, ErrIsDir, or ErrInvalid if a file is to become two, and nothing changed.
	Replace(list []Replacement, v View) (Pos, error)
}

// Replacement names a file whose data is replaced, and the one it comes from.
type Replacement struct{ To, From FileID }

// Snapshot describes one snapshot.
type Snapshot struct {
	View  View
	Name  string
	Taken dtyp.Filetime
	Scope []FileID
}

// Info is what never changes while a volume is open.
type Info struct {
	GUID    dtyp.GUID // identity of the volume
	Serial  uint32    // FileFsVolumeInformation's serial number
	Created dtyp.Filetime
	// Blocks: BlockSize is the allocation unit reported to clients.
	BlockSize int
}

// Space is in bytes. Total is the capacity given to Open or what the file
// system offers; Free is what writes may still use.
type Space struct {
	Total, Used, Free int64
	// SnapshotHeld is what only snapshots and pins keep, as it was a minute ago or later. What a
	// clone of it shares counts as well.
	SnapshotHeld int64
}

// Attr are a node's attributes. Sizes are those of the unnamed stream, 0 for
// directories.
type Attr struct {
	ID             FileID
	Dir            bool
	FileAttributes uint32 // FILE_ATTRIBUTE_* as set (MS-FSCC 2.6), without DIRECTORY and NORMAL
	CreationTime   dtyp.Filetime
	LastAccessTime dtyp.Filetime
	LastWriteTime  dtyp.Filetime
	ChangeTime     dtyp.Filetime
	Sizes
	Links      uint32
	ReparseTag uint32
	EASize     uint32 // as reported in FileEaInformation; 0 without EAs
}

// Sizes of a stream in bytes.
type Sizes struct {
	Size      int64
	Allocated int64
	ValidData int64
}

// Entry is one directory entry with what a listing shows.
type Entry struct {
	Name string // case-preserved
	Attr
}

// LinkName is one name of a node.
type LinkName struct {
	Parent FileID
	Name   string
}

// StreamInfo describes a named stream.
type StreamInfo struct {
	Name string
	Sizes
}

// Range is [Off, Off+Len).
type Range struct{ Off, Len int64 }

// BlobKind names what may be attached to a node, stored and returned as given.
type BlobKind uint8

const (
	BlobSecurity BlobKind = 1 + iota // self-relative security descriptor
	BlobEA                           // FILE_FULL_EA_INFORMATION list
	BlobReparse                      // REPARSE_DATA_BUFFER
	BlobObjectID                     // FILE_OBJECTID_BUFFER
)

// Init is the birth state of a node.
type Init struct {
	Dir            bool
	FileAttributes uint32
	Times          Times
	Blobs          map[BlobKind][]byte
	EASize         uint32
	Allocation     int64 // initial SetAllocation of the unnamed stream
	// Records, if set, is told the id and returns edits of the side store (KV) that are made in the
	// same step. It must not call the volume.
	Records func(FileID) []KVEdit
}

// Times sets those that are not 0.
type Times struct {
	Creation, LastAccess, LastWrite, Change dtyp.Filetime
}

// Touch are the times that a data change sets in the same record; 0 leaves one.
type Touch struct {
	LastWrite, Change dtyp.Filetime
	// SetAttributes are FILE_ATTRIBUTE_* bits to be set as well (ARCHIVE).
	SetAttributes uint32
}

// Change is an atomic update of a node. Nil pointers leave things as they are.
type Change struct {
	FileAttributes *uint32
	Times          Times
	Blobs          map[BlobKind][]byte // an empty slice removes the blob
	EASize         *uint32
	ReparseTag     *uint32
}

var (
	ErrNotFound = errors.New("not found")
	ErrExist    = errors.New("exists already")
	ErrNotDir   = errors.New("not a directory")
	ErrIsDir    = errors.New("is a directory")
	ErrNotEmpty = errors.New("directory not empty")
	ErrNoSpace  = errors.New("no space left on volume")
	ErrReadOnly = errors.New("read-only view")
	// ErrQuotaBorder: a name would lead from one folder with a limit to another; see Quotas.
	ErrQuotaBorder = errors.New("another folder's quota")
	ErrName        = errors.New("invalid name")
	ErrInvalid     = errors.New("invalid argument")
	ErrTooLarge    = errors.New("larger than the volume allows")
	// ErrStopped: a sync failed or the index is damaged beyond use; the process
	// must exit so that a supervisor restarts it (design.md, durability contract).
	ErrStopped = errors.New("volume stopped")
	// ErrBusy: another process holds the data directory.
	ErrBusy = errors.New("volume in use by another process")
)

// CorruptError reports a block whose checksum does not match, or that cannot be
// read. The rest of the volume stays readable.
type CorruptError struct {
	File   FileID
	Stream string
	Range  Range
	Why    error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("file %d stream %q [%d,+%d): %v", e.File, e.Stream, e.Range.Off, e.Range.Len, e.Why)
}

func (e *CorruptError) Unwrap() error { return e.Why }

// MaxNameLen is the longest name in UTF-16 code units.
const MaxNameLen = 255

// MaxSize is the largest stream: 64 TiB, as VHDX allows.
const MaxSize = 64 << 40
