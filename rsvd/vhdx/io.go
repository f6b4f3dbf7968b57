package vhdx

import (
	"gabion/rsvd/scsi"
	"gabion/store"
)

var _ scsi.Disk = (*Disk)(nil)

// Geometry implements scsi.Disk.
func (d *Disk) Geometry() scsi.Geometry {
	return scsi.Geometry{Size: d.size.Load(), SectorSize: int(d.sector), PhysicalSector: int(max(d.info.PhysicalSector, d.sector)),
		BlockSize: int(d.blockSize), Fixed: d.info.Fixed, ReadOnly: d.opt.ReadOnly}
}

func (d *Disk) inside(off, n int64) error {
	if size := d.size.Load(); off < 0 || n < 0 || off > size || n > size-off || off%d.sector != 0 || n%d.sector != 0 {
		return ErrRange
	}
	return nil
}

// piece is the part of a range that lies in one block.
type piece struct {
	block, in, n int64
}

func (d *Disk) piece(off, n int64) piece {
	in := off % d.blockSize
	return piece{off / d.blockSize, in, min(n, d.blockSize-in)}
}

func (d *Disk) whole(p piece) bool { return p.n == d.blockSize }

// ReadAt reads all of p at a position of the disk.
func (d *Disk) ReadAt(p []byte, off int64) error {
	if err := d.inside(off, int64(len(p))); err != nil {
		return err
	}
	for len(p) > 0 {
		c := d.piece(off, int64(len(p)))
		if err := d.readBlock(p[:c.n], c); err != nil {
			return err
		}
		p, off = p[c.n:], off+c.n
	}
	return nil
}

func (d *Disk) readBlock(p []byte, c piece) error {
	e, err := d.entry(d.table.Load(), d.payloadIndex(c.block))
	if err != nil {
		return err
	}
	switch e.state() {
	case present:
		return d.readFull(p, e.off()+c.in)
	case partial:
		return d.readPartial(p, c, e)
	case notPresent:
		return d.readParent(p, c.block*d.blockSize+c.in)
	}
	clear(p)
	return nil
}

// readParent reads what this layer does not have; a shorter parent ends in zeros.
func (d *Disk) readParent(p []byte, off int64) error {
	n := int64(0)
	if d.parent != nil {
		n = min(max(d.parent.size.Load()-off, 0), int64(len(p)))
	}
	clear(p[n:])
	if n == 0 {
		return nil
	}
	return d.parent.ReadAt(p[:n], off)
}

// readPartial reads a block whose sectors are partly here.
func (d *Disk) readPartial(p []byte, c piece, e entry) error {
	bits, err := d.readBits(c)
	if err != nil {
		return err
	}
	first := c.in / d.sector % 8
	count := c.n / d.sector
	for s := int64(0); s < count; {
		here := bit(bits, first+s)
		run := int64(1)
		for s+run < count && bit(bits, first+s+run) == here {
			run++
		}
		part, at := p[s*d.sector:(s+run)*d.sector], c.in+s*d.sector
		if here {
			err = d.readFull(part, e.off()+at)
		} else {
			err = d.readParent(part, c.block*d.blockSize+at)
		}
		if err != nil {
			return err
		}
		s += run
	}
	return nil
}

// WriteAt writes all of p at a position of the disk.
func (d *Disk) WriteAt(p []byte, off int64) (store.Pos, error) {
	if err := d.inside(off, int64(len(p))); err != nil {
		return 0, err
	}
	if err := d.beginChange(); err != nil {
		return 0, err
	}
	for len(p) > 0 {
		c := d.piece(off, int64(len(p)))
		if err := d.writeBlock(p[:c.n], c); err != nil {
			return 0, err
		}
		p, off = p[c.n:], off+c.n
	}
	return store.Pos(d.last.Load()), nil
}

func (d *Disk) writeBlock(p []byte, c piece) error {
	e, err := d.entry(d.table.Load(), d.payloadIndex(c.block))
	if err != nil {
		return err
	}
	if e.state() < present {
		if e, err = d.allocate(c.block); err != nil {
			return err
		}
	}
	if err := d.note(d.s.WriteAt(p, e.off()+c.in, d.touch())); err != nil {
		return err
	}
	if e.state() == partial {
		return d.markHere(c)
	}
	return nil
}

// allocate gives a block its place and leaves its contents as they were: zeros, or
// the parent's.
func (d *Disk) allocate(block int64) (entry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.allocateLocked(block)
}

func (d *Disk) allocateLocked(block int64) (entry, error) {
	i := d.payloadIndex(block)
	e, err := d.entryLocked(i)
	if err != nil || e.state() >= present {
		return e, err
	}
	next := present
	if d.info.HasParent && e.state() == notPresent {
		next = partial
		if err := d.clearBits(block); err != nil {
			return 0, err
		}
	}
	off := e.off()
	switch {
	case e.state() == undefined || off == 0: // a place given here is not to be trusted
		off, err = d.place(d.blockSize)
	default:
		err = d.note(d.s.Zero(off, d.blockSize, d.touch()))
	}
	if err != nil {
		return 0, err
	}
	e = makeEntry(off, next)
	return e, d.setEntry(i, e)
}

// Zero makes a range read as zeros. Whole blocks of disks that are not fixed are
// unmapped; they keep their place in the file, and the store takes the space back.
func (d *Disk) Zero(off, n int64) (store.Pos, error) {
	if err := d.inside(off, n); err != nil {
		return 0, err
	}
	if err := d.beginChange(); err != nil {
		return 0, err
	}
	for n > 0 {
		c := d.piece(off, n)
		if err := d.zeroBlock(c); err != nil {
			return 0, err
		}
		off, n = off+c.n, n-c.n
	}
	return store.Pos(d.last.Load()), nil
}

func (d *Disk) zeroBlock(c piece) error {
	i := d.payloadIndex(c.block)
	e, err := d.entry(d.table.Load(), i)
	if err != nil || e.state() < present && (e.state() != notPresent || !d.info.HasParent) {
		return err // zeros already
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.zeroLocked(i, c)
}

func (d *Disk) zeroLocked(i int64, c piece) error {
	e, err := d.entryLocked(i)
	if err != nil {
		return err
	}
	if e.state() == notPresent && d.info.HasParent {
		if d.whole(c) {
			return d.setEntry(i, makeEntry(0, zero)) // hides the parent
		}
		if e, err = d.allocateLocked(c.block); err != nil {
			return err
		}
	}
	if e.state() < present {
		return nil
	}
	if err := d.note(d.s.Zero(e.off()+c.in, c.n, d.touch())); err != nil {
		return err
	}
	switch {
	case d.whole(c) && !d.info.Fixed:
		return d.setEntry(i, makeEntry(e.off(), unmapped))
	case e.state() == partial:
		return d.markLocked(c)
	}
	return nil
}

// Allocated appends the parts of a range that occupy space.
func (d *Disk) Allocated(off, n int64, to []store.Range) ([]store.Range, error) {
	n = min(n, d.size.Load()-off)
	for n > 0 {
		c := d.piece(off, n)
		e, err := d.entry(d.table.Load(), d.payloadIndex(c.block))
		if err != nil {
			return to, err
		}
		switch e.state() {
		case present:
			mark := len(to)
			if to, err = d.s.Allocated(e.off()+c.in, c.n, to); err != nil {
				return to, err
			}
			for k := mark; k < len(to); k++ {
				to[k].Off += off - e.off() - c.in
			}
		case partial:
			to = append(to, store.Range{Off: off, Len: c.n})
		case notPresent:
			if d.parent != nil {
				if to, err = d.parent.Allocated(off, c.n, to); err != nil {
					return to, err
				}
			}
		}
		off, n = off+c.n, n-c.n
	}
	return to, nil
}

// Here appends the parts of a range that this layer holds itself, as data or as
// zeros over its parent: what was changed since the layer was made.
func (d *Disk) Here(off, n int64, to []store.Range) ([]store.Range, error) {
	n = min(n, d.size.Load()-off)
	for n > 0 {
		c := d.piece(off, n)
		e, err := d.entry(d.table.Load(), d.payloadIndex(c.block))
		if err != nil {
			return to, err
		}
		switch e.state() {
		case notPresent:
		case partial:
			bits, err := d.readBits(c)
			if err != nil {
				return to, err
			}
			first := c.in / d.sector % 8
			for s := int64(0); s < c.n/d.sector; s++ {
				if bit(bits, first+s) {
					to = appendRange(to, off+s*d.sector, d.sector)
				}
			}
		default:
			to = appendRange(to, off, c.n)
		}
		off, n = off+c.n, n-c.n
	}
	return to, nil
}

func appendRange(to []store.Range, off, n int64) []store.Range {
	if k := len(to); k > 0 && to[k-1].Off+to[k-1].Len == off {
		to[k-1].Len += n
		return to
	}
	return append(to, store.Range{Off: off, Len: n})
}

// Flush returns the position behind everything changed so far.
func (d *Disk) Flush() (store.Pos, error) { return store.Pos(d.last.Load()), nil }
