package rsvd

import (
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	wire "gabion/protocol/rsvd"
	"gabion/protocol/smb2"
	"gabion/rsvd/scsi"
	"gabion/rsvd/vhdx"
	"gabion/store"
)

// Options of New.
type Options struct {
	// Version is the highest protocol version served, 1 or 2; 0 is 2.
	Version uint32
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// AcceptLogNames lets CHANGE_TRACKING_START name a log file, which is then
	// ignored: what clients older than the rule against it do.
	AcceptLogNames bool
	// Identity is what INQUIRY says; empty fields are Gabion's.
	Identity scsi.Identity
	// Panicked is told of a panic where a stage of a snapshot ran out of time, on its goroutine. Without it
	// the process ends.
	Panicked func(any)
}

// Service is the shared disks of one server.
type Service struct {
	opt Options

	mu    sync.Mutex // guards disks
	disks map[diskKey]*disk
}

type diskKey struct {
	volume dtyp.GUID
	file   store.FileID
}

// New returns a service without disks.
func New(opt Options) *Service {
	if opt.Version == 0 {
		opt.Version = wire.Version2
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Identity.Vendor == "" {
		opt.Identity = scsi.Identity{Vendor: "GABION", Product: "Shared VHDX", Revision: "1.0"}
	}
	return &Service{opt: opt, disks: map[diskKey]*disk{}}
}

// recovered, deferred, is what Options.Panicked says.
func (s *Service) recovered() {
	if s.opt.Panicked == nil {
		return
	}
	if p := recover(); p != nil {
		s.opt.Panicked(p)
	}
}

// Folder is the folder of a container, as the user who opened it may use it. Names
// are single components.
type Folder interface {
	Open(name string) (store.Node, error)
	Create(name string) (store.Node, error)
	Rename(name, newName string) (store.Pos, error)
	Remove(name string) (store.Pos, error)
}

// OpenRequest describes a shared open.
type OpenRequest struct {
	Volume store.Volume
	Node   store.Node // the container, open for the life of the Open; closed by the caller
	Name   string     // its name in Folder, without the suffix
	Folder Folder
	// RawContext is the SVHDX_OPEN_DEVICE context, whose length and version are judged
	// here. Target, instead, opens a snapshot.
	RawContext    []byte
	Target        *wire.TargetSpecifier
	CreateOptions uint32
	Rights        Rights
	// Sense is what Open.Sense returned before a restart.
	Sense []byte
}

// Rights are what the open may do to the container, as the server has granted it.
type Rights uint8

// The rights.
const (
	MayRead Rights = 1 << iota
	MayWrite
	MayDelete
)

// Open is one shared open.
type Open struct {
	svc     *Service
	disk    *disk
	folder  Folder
	name    string
	context smb2.SVHDXOpenDevice // as answered; Version 0 when none was sent
	options uint32
	set     bool         // opened through a VHD set
	file    store.FileID // of the container: payload or set

	rights        Rights
	initiator     scsi.Initiator
	snapshot      *vhdx.Disk // a snapshot opened by target specifier
	branch        *branch    // of a writeable one
	pendingDelete bool       // guarded by disk.mu
	shut          bool       // being closed; guarded by disk.mu
	busy          int        // requests at work; guarded by disk.mu

	mu    sync.Mutex // guards sense
	sense senseRing
}

const (
	noIntermediateBuffering = 0x00000008 // FILE_NO_INTERMEDIATE_BUFFERING

	contextV1Size, contextV2Size = 168, 192
	maxHostName                  = 126
)

// context judges the create context ([MS-RSVD] 3.2.5.1).
func (s *Service) context(raw []byte) (smb2.SVHDXOpenDevice, ntstatus.Status) {
	var c smb2.SVHDXOpenDevice
	if len(raw) < contextV1Size {
		return c, ntstatus.BufferTooSmall
	}
	version := uint32(raw[0]) | uint32(raw[1])<<8 | uint32(raw[2])<<16 | uint32(raw[3])<<24
	switch {
	case version == wire.Version2 && s.opt.Version >= wire.Version2 && len(raw) < contextV2Size:
		return c, ntstatus.BufferTooSmall
	case version == 0, version > s.opt.Version, raw[4] > 1:
		return c, ntstatus.InvalidParameter
	}
	if c.Decode(raw) != nil || c.InitiatorHostNameLength > maxHostName || c.InitiatorHostNameLength%2 != 0 {
		return c, ntstatus.InvalidParameter
	}
	return c, ntstatus.Success
}

// Virtual judges the create context before anything is opened, and reports whether the
// open is to be one of the virtual disk; else it is of the container's bytes
// (SVHDX_ORIGINATOR_VHDMP).
func (s *Service) Virtual(raw []byte) (bool, ntstatus.Status) {
	c, status := s.context(raw)
	return c.OriginatorFlags != smb2.SVHDXOriginatorVHDMP, status
}

// Open opens a shared virtual disk ([MS-RSVD] 3.2.5.1).
func (s *Service) Open(r OpenRequest) (*Open, ntstatus.Status) {
	o := &Open{svc: s, file: r.Node.ID(), folder: r.Folder, name: r.Name, options: r.CreateOptions, rights: r.Rights, set: strings.HasSuffix(strings.ToLower(r.Name), ".vhds")}
	if r.Target == nil {
		var status ntstatus.Status
		if o.context, status = s.context(r.RawContext); status != ntstatus.Success {
			return nil, status
		}
		if o.context.HasInitiatorID {
			o.initiator = o.context.InitiatorID
		}
	} else if r.Target.Namespace != 0 || r.Target.SnapshotType != wire.SnapshotVM && r.Target.SnapshotType != wire.SnapshotWriteable {
		return nil, ntstatus.InvalidParameter
	}
	if r.Target == nil && o.context.OriginatorFlags == smb2.SVHDXOriginatorVHDMP {
		if s.InUse(r.Volume, r.Node.ID()) {
			return nil, ntstatus.VHDShared
		}
		return o, ntstatus.Success
	}
	if !o.sense.decode(r.Sense) {
		return nil, ntstatus.InvalidParameter
	}
	return s.openDisk(o, r)
}

// IsDisk reports whether READ and WRITE are of the virtual disk. Otherwise the open is of
// the container's bytes, and its I/O is the server's own.
func (o *Open) IsDisk() bool { return o.disk != nil }

func (s *Service) openDisk(o *Open, r OpenRequest) (*Open, ntstatus.Status) {
	node, owned, err := s.payload(o, r)
	if err != nil {
		return nil, openStatus(err)
	}
	d, err := s.attach(o, r, node)
	if owned {
		node.Close()
	}
	if err != nil {
		return nil, openStatus(err)
	}
	if r.Target != nil {
		d.loading.Lock()
		err := d.openSnapshot(o, r.Target.SnapshotID)
		d.loading.Unlock()
		if err != nil {
			o.Close()
			return nil, openStatus(err)
		}
	}
	return o, ntstatus.Success
}

// Payload returns the name of the file, in the same folder, that a VHD set names.
func (s *Service) Payload(set store.Node) (string, ntstatus.Status) {
	if s.opt.Version < wire.Version2 {
		return "", ntstatus.SVHDXWrongFileType
	}
	data, err := set.Data()
	if err != nil {
		return "", openStatus(err)
	}
	defer data.Close()
	name, err := vhdx.ReadSet(data)
	return name, openStatus(err)
}

// payload returns the node of the VHDX file that a container leads to.
func (s *Service) payload(o *Open, r OpenRequest) (node store.Node, owned bool, err error) {
	if !o.set {
		return r.Node, false, nil
	}
	name, status := s.Payload(r.Node)
	if status != ntstatus.Success {
		return nil, false, status
	}
	node, err = r.Folder.Open(name)
	return node, true, err
}

// attach adds an open to the disk of a payload file, opening that first when need
// be.
func (s *Service) attach(o *Open, r OpenRequest, node store.Node) (*disk, error) {
	key := diskKey{r.Volume.Info().GUID, node.ID()}
	s.mu.Lock()
	d := s.disks[key]
	if d == nil {
		d = newDisk(s, key, r.Volume)
		s.disks[key] = d
	}
	d.users++
	s.mu.Unlock()

	d.loading.Lock()
	defer d.loading.Unlock()
	if d.target == nil {
		if err := d.load(node, r.Folder, o.set); err != nil {
			s.leave(d)
			s.forget(d)
			return nil, err
		}
	}
	o.disk = d
	o.answer(d)
	d.mu.Lock()
	d.opens[o] = struct{}{}
	d.mu.Unlock()
	return d, nil
}

// leave drops a user of a disk and reports whether it was the last.
func (s *Service) leave(d *disk) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.users--
	return d.users == 0
}

// forget takes a released disk out of the table, unless somebody came meanwhile,
// who then waits for d.loading and loads it again.
func (s *Service) forget(d *disk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.users == 0 {
		delete(s.disks, d.key)
	}
}

// answer fills in what a version 2 response tells.
func (o *Open) answer(d *disk) {
	if o.context.Version != smb2.SVHDXVersion2 {
		return
	}
	g := d.medium.Geometry()
	o.context.ServerServiceVersion = o.svc.opt.Version
	o.context.VirtualDiskPropertiesInitialized = 1
	o.context.VirtualSectorSize = uint32(g.SectorSize)
	o.context.PhysicalSectorSize = uint32(g.PhysicalSector)
	o.context.VirtualSize = uint64(g.Size)
}

// Context returns the create context to answer with, nil for none.
func (o *Open) Context() *smb2.SVHDXOpenDevice {
	if o.context.Version == 0 {
		return nil
	}
	return &o.context
}

// DiskID names the disk of this open within its volume; 0 for an open of the
// container's bytes.
func (o *Open) DiskID() store.FileID {
	if o.disk == nil {
		return 0
	}
	return o.disk.key.file
}

// PendingDelete reports whether the container is to be deleted when this open is
// closed.
func (o *Open) PendingDelete() bool {
	if o.disk == nil {
		return false
	}
	o.disk.mu.Lock()
	defer o.disk.mu.Unlock()
	return o.pendingDelete
}

// Sizes are those of the virtual disk, with the space its container takes.
func (o *Open) Sizes() store.Sizes {
	size := o.disk.medium.Geometry().Size
	if o.snapshot != nil {
		size = o.snapshot.Geometry().Size
	}
	return store.Sizes{Size: size, Allocated: o.disk.medium.Info().FileSize, ValidData: size}
}

// Close ends an open ([MS-RSVD] 3.2.5.2): its waiting requests are refused with
// STATUS_FILE_CLOSED, those at work are waited for, later ones find it closed. The
// returned position covers all it wrote.
func (o *Open) Close() store.Pos {
	d := o.disk
	if d == nil {
		return 0
	}
	d.loading.Lock()
	defer d.loading.Unlock()
	d.closed(o)
	pos := d.closeSnapshot(o)
	if at, err := d.medium.Flush(); err == nil {
		pos = max(pos, at)
	}
	if !o.svc.leave(d) {
		return pos
	}
	pos = max(pos, d.dispose())
	o.svc.forget(d)
	return pos
}

// find returns the open disk that a file is the payload or the VHD set of.
func (s *Service) find(v store.Volume, file store.FileID) *disk {
	volume := v.Info().GUID
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.disks[diskKey{volume, file}]; d != nil {
		return d
	}
	for key, d := range s.disks {
		if key.volume == volume && d.openedThrough(file) {
			return d
		}
	}
	return nil
}

// Support answers FSCTL_QUERY_SHARED_VIRTUAL_DISK_SUPPORT for a file; open is nil
// when the handle is an ordinary one ([MS-RSVD] 3.2.5.6).
func (s *Service) Support(v store.Volume, file store.FileID, open *Open) wire.SupportResponse {
	r := wire.SupportResponse{Support: wire.SupportVersion1}
	if s.opt.Version >= wire.Version2 {
		r.Support = wire.SupportVersion2
	}
	switch {
	case open != nil && open.disk != nil:
		r.HandleState = wire.HandleShared
	case s.find(v, file) != nil:
		r.HandleState = wire.HandleFileShared
	}
	return r
}

// InUse reports whether a file is the payload or the VHD set of a shared disk that is
// open.
func (s *Service) InUse(v store.Volume, file store.FileID) bool { return s.find(v, file) != nil }

// Prune drops the reservations that a crash left behind of disks which no open will
// be reclaimed for and that did not ask for persistence. keep is asked for each
// disk by its DiskID.
func (s *Service) Prune(v store.Volume, keep func(store.FileID) bool) (store.Pos, error) {
	var edits []store.KVEdit
	err := v.KV().Scan(bucket, reservationKey, func(key string, value []byte) bool {
		var r scsi.Record
		id, ok := fileOfKey(key)
		if ok && r.Decode(value) == nil && !r.State.APTPL && !keep(id) && s.find(v, id) == nil {
			edits = append(edits, store.KVEdit{Bucket: bucket, Key: key})
		}
		return true
	})
	if err != nil || len(edits) == 0 {
		return 0, err
	}
	return v.KV().Apply(edits)
}

// openStatus is where errors of opening become NTSTATUS.
func openStatus(err error) ntstatus.Status {
	switch {
	case err == nil:
		return ntstatus.Success
	case errors.Is(err, vhdx.ErrNotVHDX), errors.Is(err, errDifferencing):
		return ntstatus.SVHDXWrongFileType
	case errors.Is(err, vhdx.ErrParent), errors.Is(err, vhdx.ErrCorrupt), errors.Is(err, vhdx.ErrUnsupported):
		return ntstatus.FileCorruptError
	case errors.Is(err, store.ErrNotFound):
		return ntstatus.ObjectNameNotFound
	}
	return statusOf(err)
}

// statusOf maps the errors of the store and the container.
func statusOf(err error) ntstatus.Status {
	var status ntstatus.Status
	switch {
	case err == nil:
		return ntstatus.Success
	case errors.Is(err, io.EOF):
		return ntstatus.EndOfFile
	case errors.Is(err, store.ErrNotFound):
		return ntstatus.NotFound
	case errors.Is(err, store.ErrExist):
		return ntstatus.ObjectNameCollision
	case errors.Is(err, store.ErrNoSpace), errors.Is(err, store.ErrTooLarge):
		return ntstatus.DiskFull
	case errors.Is(err, store.ErrReadOnly), errors.Is(err, vhdx.ErrReadOnly):
		return ntstatus.MediaWriteProtected
	case errors.Is(err, store.ErrName):
		return ntstatus.ObjectNameInvalid
	case errors.Is(err, store.ErrIsDir):
		return ntstatus.FileIsADirectory
	case errors.Is(err, vhdx.ErrRange), errors.Is(err, store.ErrInvalid):
		return ntstatus.InvalidParameter
	case errors.Is(err, vhdx.ErrCorrupt):
		return ntstatus.FileCorruptError
	case errors.As(err, &status): // of a Folder
		return status
	}
	return ntstatus.IODeviceError
}
