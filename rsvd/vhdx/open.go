package vhdx

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"gabion/protocol/dtyp"
	"gabion/store"
)

// Options of Open.
type Options struct {
	ReadOnly bool
	// Parent opens the parent of a differencing disk by one of its
	// ParentRef.Candidates; store.ErrNotFound lets the next be tried. Without it
	// differencing disks are refused.
	Parent func(path string) (store.Stream, error)
	// Touch are the times that changes set; nil sets none.
	Touch func() store.Touch

	depth int
}

// Disk is an open VHDX file. It is a scsi.Disk.
type Disk struct {
	s      store.Stream
	opt    Options
	layout // fixed for the life of the disk
	info   Info
	parent *Disk
	ref    *ParentRef

	size    atomic.Int64
	table   atomic.Pointer[table]
	changed atomic.Bool  // headers carry this opener's write GUIDs
	last    atomic.Int64 // newest store.Pos of a change

	mu       sync.Mutex // serialises changes of metadata; guards the rest
	head     header
	current  int // index of the newest header
	regions  []region
	fileSize int64   // and first free byte behind everything
	sizeItem int64   // file offset of the Virtual Disk Size item
	patches  []patch // of a log that was not replayed, because read-only
}

// Info describes a disk.
type Info struct {
	Size           int64
	BlockSize      int64
	LogicalSector  int64
	PhysicalSector int64
	FileSize       int64
	Fixed          bool
	HasParent      bool
	DiskID         dtyp.GUID
	DataWrite      dtyp.GUID
	Parent         *ParentRef
}

// Open opens a VHDX file and its parents, after replaying its log. The disk owns s
// once Open succeeds.
func Open(s store.Stream, opt Options) (*Disk, error) {
	d := &Disk{s: s, opt: opt}
	steps := []func() error{d.openFile, d.openHeaders, d.openLog, d.openRegions, d.openMetadata, d.openTable, d.openParent}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *Disk) openFile() error {
	d.fileSize = d.s.Sizes().Size
	var b [8]byte
	if d.fileSize < 8 {
		return ErrNotVHDX
	}
	if err := d.readFull(b[:], 0); err != nil {
		return err
	}
	if string(b[:]) != "vhdxfile" {
		return ErrNotVHDX
	}
	if d.fileSize < mib {
		return corrupt("file of %d bytes", d.fileSize)
	}
	return nil
}

// openHeaders takes the valid header with the larger sequence number.
func (d *Disk) openHeaders() error {
	found := false
	b := make([]byte, headerSize)
	for i, off := range headerOffsets {
		if err := d.readFull(b, off); err != nil {
			return err
		}
		if h, ok := decodeHeader(b); ok && (!found || h.sequence > d.head.sequence) {
			d.head, d.current, found = h, i, true
		}
	}
	switch h := &d.head; {
	case !found:
		return corrupt("no valid header")
	case h.version != 1:
		return fmt.Errorf("%w: version %d", ErrUnsupported, h.version)
	case !h.log.IsZero() && h.logVersion != 0:
		return fmt.Errorf("%w: log version %d", ErrUnsupported, h.logVersion)
	case h.logOffset%mib != 0, h.logLength%mib != 0, h.logLength > maxLog, h.logOffset > MaxSize, h.logOffset != 0 && h.logOffset < mib:
		return corrupt("log at %d, length %d", h.logOffset, h.logLength)
	}
	return nil
}

func (d *Disk) openLog() error {
	if d.head.log.IsZero() {
		return nil
	}
	if d.head.logLength == 0 || int64(d.head.logOffset)+int64(d.head.logLength) > d.fileSize {
		return corrupt("log lies outside the file")
	}
	log := make([]byte, d.head.logLength)
	if err := d.readFull(log, int64(d.head.logOffset)); err != nil {
		return err
	}
	r, err := replayLog(log, d.head.log, d.fileSize)
	if err != nil {
		return err
	}
	r.size = roundUp(r.size, mib)
	if d.opt.ReadOnly {
		d.patches, d.fileSize = r.patches, max(d.fileSize, r.size)
		return nil
	}
	if r.size > d.fileSize {
		if err := d.extend(r.size); err != nil {
			return err
		}
	}
	for _, p := range r.patches {
		if p.data == nil {
			err = d.note(d.s.Zero(p.off, p.n, d.touch()))
		} else {
			err = d.note(d.s.WriteAt(p.data, p.off, d.touch()))
		}
		if err != nil {
			return err
		}
	}
	d.head.log = dtyp.GUID{}
	return d.writeHeaders()
}

func (d *Disk) openRegions() error {
	b := make([]byte, 2*regionSize)
	if err := d.readFull(b, regionOffset); err != nil {
		return err
	}
	list, ok := decodeRegions(b)
	if !ok {
		if list, ok = decodeRegions(b[regionSize:]); !ok {
			return corrupt("no valid region table")
		}
	}
	used := newUnits(d.fileSize)
	if d.head.logLength > 0 && !used.take(int64(d.head.logOffset), int64(d.head.logLength)) {
		return corrupt("log lies outside the file")
	}
	seen := map[dtyp.GUID]bool{}
	for _, r := range list {
		if seen[r.id] || r.off%mib != 0 || r.off < mib || r.length%mib != 0 || r.length == 0 || !used.take(int64(r.off), int64(r.length)) {
			return corrupt("region %s at %d, length %d", r.id, r.off, r.length)
		}
		seen[r.id] = true
		if r.required && r.id != regionBAT && r.id != regionMetadata {
			return fmt.Errorf("%w: region %s", ErrUnsupported, r.id)
		}
	}
	if !seen[regionBAT] || !seen[regionMetadata] {
		return corrupt("region table lacks the BAT or the metadata")
	}
	d.regions = list
	return nil
}

func (d *Disk) region(id dtyp.GUID) *region {
	for i := range d.regions {
		if d.regions[i].id == id {
			return &d.regions[i]
		}
	}
	return nil
}

func (d *Disk) openMetadata() error {
	r := d.region(regionMetadata)
	head := make([]byte, metadataHead)
	if err := d.readFull(head, int64(r.off)); err != nil {
		return err
	}
	items, err := decodeItems(head)
	if err != nil {
		return err
	}
	known := map[dtyp.GUID][]byte{}
	for _, it := range items {
		want, ours := itemLengths[it.id]
		switch {
		case it.user && it.mandatory, !it.user && !ours && it.mandatory:
			return fmt.Errorf("%w: metadata item %s", ErrUnsupported, it.id)
		case it.user || !ours:
			continue
		case it.length > mib, it.off < metadataHead, uint64(it.off)+uint64(it.length) > uint64(r.length),
			want != 0 && it.length != want, known[it.id] != nil:
			return corrupt("metadata item %s at %d, length %d", it.id, it.off, it.length)
		}
		b := make([]byte, it.length)
		if err := d.readFull(b, int64(r.off)+int64(it.off)); err != nil {
			return err
		}
		known[it.id] = b
		if it.id == itemDiskSize {
			d.sizeItem = int64(r.off) + int64(it.off)
		}
	}
	return d.useMetadata(known)
}

// itemLengths are the items every disk has, 0 where the length varies.
var itemLengths = map[dtyp.GUID]uint32{
	itemFileParameters: 8, itemDiskSize: 8, itemDiskID: 16, itemLogicalSector: 4, itemPhysicalSector: 4, itemParentLocator: 0,
}

func (d *Disk) useMetadata(known map[dtyp.GUID][]byte) error {
	for id, n := range itemLengths {
		if n != 0 && known[id] == nil {
			return corrupt("metadata item %s is missing", id)
		}
	}
	const leaveAllocated, hasParent = 1, 2
	p := known[itemFileParameters]
	flags := le.Uint32(p[4:])
	i := Info{
		Size: int64(le.Uint64(known[itemDiskSize])), BlockSize: int64(le.Uint32(p)), DiskID: dtyp.GUID(known[itemDiskID]),
		LogicalSector: int64(le.Uint32(known[itemLogicalSector])), PhysicalSector: int64(le.Uint32(known[itemPhysicalSector])),
		HasParent: flags&hasParent != 0, Fixed: flags&(leaveAllocated|hasParent) == leaveAllocated,
	}
	if err := i.check(); err != nil {
		return err
	}
	if i.HasParent {
		if known[itemParentLocator] == nil {
			return corrupt("differencing disk without parent locator")
		}
		ref, err := decodeLocator(known[itemParentLocator])
		if err != nil {
			return err
		}
		d.ref = ref
	}
	d.info = i
	d.layout = newLayout(i.BlockSize, i.LogicalSector, i.HasParent)
	d.size.Store(i.Size)
	return nil
}

func (i *Info) check() error {
	sector := func(n int64) bool { return n == 512 || n == 4096 }
	switch {
	case i.BlockSize < minBlock || i.BlockSize > maxBlock || i.BlockSize&(i.BlockSize-1) != 0:
		return corrupt("block size %d", i.BlockSize)
	case !sector(i.LogicalSector) || !sector(i.PhysicalSector):
		return corrupt("sector sizes %d and %d", i.LogicalSector, i.PhysicalSector)
	case i.Size <= 0 || i.Size > MaxSize || i.Size%i.LogicalSector != 0:
		return corrupt("virtual size %d", i.Size)
	}
	return nil
}

func (d *Disk) openTable() error {
	r := d.region(regionBAT)
	n := d.entries(d.info.Size)
	if n*8 > int64(r.length) {
		return corrupt("BAT of %d bytes for %d entries", r.length, n)
	}
	d.table.Store(newTable(int64(r.off), int64(r.length), n))
	if d.fileSize%mib != 0 {
		d.fileSize = roundUp(d.fileSize, mib)
		if !d.opt.ReadOnly {
			if err := d.extend(d.fileSize); err != nil {
				return err
			}
		}
	}
	return d.Check()
}

func (d *Disk) openParent() error {
	if d.ref == nil {
		return nil
	}
	if d.opt.Parent == nil {
		return fmt.Errorf("%w: not looked for", ErrParent)
	}
	if d.opt.depth >= maxDepth {
		return fmt.Errorf("%w: more than %d generations", ErrParent, maxDepth)
	}
	for _, path := range d.ref.Candidates() {
		s, err := d.opt.Parent(path)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%w %q: %w", ErrParent, path, err)
		}
		p, err := Open(s, Options{ReadOnly: true, Parent: d.opt.Parent, depth: d.opt.depth + 1})
		if err != nil {
			s.Close()
			return fmt.Errorf("%w %q: %w", ErrParent, path, err)
		}
		if g := p.head.dataWrite; g != d.ref.Linkage && (d.ref.Linkage2.IsZero() || g != d.ref.Linkage2) || p.sector != d.sector {
			p.Close()
			return fmt.Errorf("%w %q: changed since the child was made", ErrParent, path)
		}
		d.parent = p
		return nil
	}
	return fmt.Errorf("%w: not found at %q: %w", ErrParent, d.ref.Candidates(), store.ErrNotFound)
}

// Info describes the disk as it is now.
func (d *Disk) Info() Info {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.info
	i.Size, i.FileSize, i.DataWrite, i.Parent = d.size.Load(), d.s.Sizes().Size, d.head.dataWrite, d.ref
	return i
}

// Close releases the file and its parents.
func (d *Disk) Close() {
	for ; d != nil; d = d.parent {
		d.s.Close()
	}
}

// readFull reads file bytes as a replayed log would leave them; what lies past the
// end reads as zeros.
func (d *Disk) readFull(p []byte, off int64) error {
	n, err := d.s.ReadAt(p, off)
	if err != nil && err != io.EOF {
		return err
	}
	clear(p[n:])
	if d.patches != nil {
		overlay(d.patches, p, off)
	}
	return nil
}

// note remembers how far the log must be durable for a Flush.
func (d *Disk) note(pos store.Pos, err error) error {
	for {
		old := d.last.Load()
		if int64(pos) <= old || d.last.CompareAndSwap(old, int64(pos)) {
			return err
		}
	}
}

func (d *Disk) touch() store.Touch {
	if d.opt.Touch == nil {
		return store.Touch{}
	}
	return d.opt.Touch()
}

func (d *Disk) extend(size int64) error {
	if err := d.note(d.s.SetSize(size, d.touch())); err != nil {
		return err
	}
	d.fileSize = size
	return nil
}

// writeHeaders makes the present header current in both copies.
func (d *Disk) writeHeaders() error {
	for range headerOffsets {
		d.head.sequence++
		d.current = 1 - d.current
		if err := d.note(d.s.WriteAt(d.head.encode(), headerOffsets[d.current], d.touch())); err != nil {
			return err
		}
	}
	return nil
}

// beginChange marks the file as changed by this opener before its first change
// ([MS-VHDX] 2.2.2.1).
func (d *Disk) beginChange() error {
	if d.changed.Load() {
		return nil
	}
	if d.opt.ReadOnly {
		return ErrReadOnly
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.changed.Load() {
		return nil
	}
	d.head.fileWrite, d.head.dataWrite = dtyp.NewGUID(), dtyp.NewGUID()
	if err := d.writeHeaders(); err != nil {
		return err
	}
	d.changed.Store(true)
	return nil
}
