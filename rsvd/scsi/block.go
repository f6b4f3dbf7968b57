package scsi

import (
	"bytes"

	"gabion/store"
)

// extent is the range of a READ, WRITE, VERIFY, WRITE SAME or SYNCHRONIZE CACHE.
type extent struct {
	lba    uint64
	blocks uint32
}

// extentOf reads the range from wherever the opcode's group puts it (SPC-4 4.2.5).
func extentOf(c *CDB) extent {
	switch c[0] >> 5 {
	case 0: // 6 bytes; 0 blocks mean 256
		e := extent{uint64(c[1]&0x1F)<<16 | uint64(c[2])<<8 | uint64(c[3]), uint32(c[4])}
		if e.blocks == 0 {
			e.blocks = 256
		}
		return e
	case 4: // 16 bytes
		return extent{be.Uint64(c[2:]), be.Uint32(c[10:])}
	case 5: // 12 bytes
		return extent{uint64(be.Uint32(c[2:])), be.Uint32(c[6:])}
	}
	return extent{uint64(be.Uint32(c[2:])), uint32(be.Uint16(c[7:]))}
}

// bytesOf checks a range against the disk and turns it into bytes.
func (g *Geometry) bytesOf(lba, blocks uint64) (off, n int64, bad Sense) {
	last := uint64(g.Size) / uint64(g.SectorSize)
	if lba > last || blocks > last-lba {
		return 0, 0, BlockAddressOutOfRange
	}
	return int64(lba) * int64(g.SectorSize), int64(blocks) * int64(g.SectorSize), NoSense
}

// transfer is the range of a command that moves its data over the wire.
func (t *Target) transfer(c *Command) (off, n int64, bad Sense) {
	g := t.disk.Geometry()
	e := extentOf(&c.CDB)
	off, n, bad = g.bytesOf(e.lba, uint64(e.blocks))
	if bad == NoSense && n > MaxTransfer {
		bad = InvalidFieldInCDB
	}
	return off, n, bad
}

func (t *Target) read(c *Command) Result {
	off, n, bad := t.transfer(c)
	if bad != NoSense {
		return check(bad)
	}
	cut := min(n, int64(c.MaxIn))
	if cut == 0 {
		return Result{}
	}
	sector := int64(t.disk.Geometry().SectorSize)
	p := make([]byte, (cut+sector-1)/sector*sector)
	if err := t.disk.ReadAt(p, off); err != nil {
		return check(UnrecoveredReadError)
	}
	return Result{Data: p[:cut]}
}

func (t *Target) write(c *Command) Result {
	off, n, bad := t.transfer(c)
	switch {
	case bad != NoSense:
		return check(bad)
	case int64(len(c.DataOut)) < n:
		return check(ParameterListLengthError)
	case n == 0:
		return Result{}
	}
	return wrote(t.disk.WriteAt(c.DataOut[:n], off))
}

// verify checks that the medium can be read; with BYTCHK it compares.
func (t *Target) verify(c *Command) Result {
	off, n, bad := t.transfer(c)
	if bad != NoSense {
		return check(bad)
	}
	switch c.CDB[1] >> 1 & 3 {
	case 0:
		return Result{}
	case 1:
	default:
		return check(InvalidFieldInCDB)
	}
	if int64(len(c.DataOut)) < n {
		return check(ParameterListLengthError)
	}
	p := make([]byte, n)
	if err := t.disk.ReadAt(p, off); err != nil {
		return check(UnrecoveredReadError)
	}
	if !bytes.Equal(p, c.DataOut[:n]) {
		return check(MiscompareDuringVerify)
	}
	return Result{}
}

// synchronize answers when everything is on stable storage, also with IMMED.
func (t *Target) synchronize(c *Command) Result {
	g := t.disk.Geometry()
	e := extentOf(&c.CDB)
	if _, _, bad := g.bytesOf(e.lba, uint64(e.blocks)); bad != NoSense {
		return check(bad)
	}
	return wrote(t.disk.Flush())
}

// Limits that VPD page B0 tells.
const (
	maxUnmapBlocks      = 1<<32 - 1
	maxUnmapDescriptors = 256
	maxWriteSameBytes   = 32 << 20

	writeSameStep = 1 << 20

	// lbaStatusWindow bounds the work of one GET LBA STATUS.
	lbaStatusWindow = 1 << 30
)

// writeSame writes one block over a range; zeros take no space.
func (t *Target) writeSame(c *Command) Result {
	const unmapBit, anchorBit, noDataBit = 0x08, 0x10, 0x01
	g := t.disk.Geometry()
	e := extentOf(&c.CDB)
	off, n, bad := g.bytesOf(e.lba, uint64(e.blocks))
	long := c.CDB[0] == 0x93
	switch {
	case c.CDB[1]&anchorBit != 0, c.CDB[1]&noDataBit != 0 && !long,
		e.blocks == 0: // WSNZ
		return check(InvalidFieldInCDB)
	case bad != NoSense:
		return check(bad)
	}
	pattern := make([]byte, g.SectorSize)
	if c.CDB[1]&noDataBit == 0 {
		if len(c.DataOut) < g.SectorSize {
			return check(ParameterListLengthError)
		}
		copy(pattern, c.DataOut)
	}
	if allZero(pattern) {
		return wrote(t.disk.Zero(off, n))
	}
	if n > maxWriteSameBytes {
		return check(InvalidFieldInCDB)
	}
	step := bytes.Repeat(pattern, int(min(n, writeSameStep))/g.SectorSize)
	var last store.Pos
	for n > 0 {
		p := step[:min(n, int64(len(step)))]
		pos, err := t.disk.WriteAt(p, off)
		if err != nil {
			return check(WriteSense(err))
		}
		last = max(last, pos)
		off, n = off+int64(len(p)), n-int64(len(p))
	}
	return Result{Pos: last}
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// unmap is UNMAP (SBC-3 5.28): a list of ranges that may lose their contents. This
// unit says LBPRZ, so all of them read as zeros afterwards.
func (t *Target) unmap(c *Command) Result {
	const header, descriptor = 8, 16
	if c.CDB[1]&1 != 0 { // ANCHOR
		return check(InvalidFieldInCDB)
	}
	length := int(be.Uint16(c.CDB[7:]))
	if length == 0 {
		return Result{}
	}
	if length < header || len(c.DataOut) < length {
		return check(ParameterListLengthError)
	}
	list := c.DataOut[header:length]
	list = list[:min(len(list), int(be.Uint16(c.DataOut[2:])))/descriptor*descriptor]
	if len(list)/descriptor > maxUnmapDescriptors {
		return check(InvalidFieldInParameters)
	}
	g := t.disk.Geometry()
	for d := list; len(d) > 0; d = d[descriptor:] {
		if _, _, bad := g.bytesOf(be.Uint64(d), uint64(be.Uint32(d[8:]))); bad != NoSense {
			return check(bad)
		}
	}
	var last store.Pos
	for d := list; len(d) > 0; d = d[descriptor:] {
		off, n, _ := g.bytesOf(be.Uint64(d), uint64(be.Uint32(d[8:])))
		if n == 0 {
			continue
		}
		pos, err := t.disk.Zero(off, n)
		if err != nil {
			return check(WriteSense(err))
		}
		last = max(last, pos)
	}
	return Result{Pos: last}
}

// getLBAStatus is GET LBA STATUS (SBC-3 5.6): which ranges are mapped.
func (t *Target) getLBAStatus(c *Command) Result {
	const header, descriptor, mapped, deallocated = 8, 16, 0, 1
	g := t.disk.Geometry()
	start := be.Uint64(c.CDB[2:])
	off, _, bad := g.bytesOf(start, 1)
	if bad != NoSense {
		return check(bad)
	}
	allocation := be.Uint32(c.CDB[10:])
	room := (min(int(allocation), c.MaxIn, 64<<10) - header) / descriptor
	end := min(g.Size, off+lbaStatusWindow)
	ranges, err := t.disk.Allocated(off, end-off, nil)
	if err != nil {
		return check(UnrecoveredReadError)
	}
	b := make([]byte, header, header+descriptor*max(room, 1))
	add := func(from, to int64, status byte) {
		sector := int64(g.SectorSize)
		for from < to && (len(b)-header)/descriptor < max(room, 1) {
			blocks := min((to-from)/sector, 1<<32-1)
			b = be.AppendUint64(b, uint64(from/sector))
			b = be.AppendUint32(b, uint32(blocks))
			b = append(b, status, 0, 0, 0)
			from += blocks * sector
		}
	}
	at, sector := off, int64(g.SectorSize)
	for len(ranges) > 0 {
		lo, hi := max(ranges[0].Off/sector*sector, at), at
		for len(ranges) > 0 && ranges[0].Off/sector*sector <= max(lo, hi) { // neighbours are one
			hi = min((ranges[0].Off+ranges[0].Len+sector-1)/sector*sector, end)
			ranges = ranges[1:]
		}
		add(at, lo, deallocated)
		add(lo, hi, mapped)
		at = max(at, hi)
	}
	add(at, end, deallocated)
	be.PutUint32(b, uint32(len(b)-4))
	return c.dataIn(b, allocation)
}
