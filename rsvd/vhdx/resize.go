package vhdx

import (
	"gabion/store"
)

// Resize changes the virtual size while the disk stays open. The caller keeps I/O
// away meanwhile. What lies behind a smaller size is lost; growth reads as zeros.
func (d *Disk) Resize(size int64) (store.Pos, error) {
	if size <= 0 || size > MaxSize || size%d.sector != 0 {
		return 0, ErrRange
	}
	if err := d.beginChange(); err != nil {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.size.Load()
	var err error
	switch {
	case size > old:
		err = d.grow(old, size)
	case size < old:
		err = d.shrink(old, size)
	}
	return store.Pos(d.last.Load()), err
}

// grow prepares space, table and contents, and then tells the new size.
func (d *Disk) grow(old, size int64) error {
	t := d.table.Load()
	had, need := t.entries, d.entries(size)
	next := newTable(t.off, t.length, need)
	if need*8 > t.length {
		if err := d.moveTable(next, had, need); err != nil {
			return err
		}
	} else if err := d.note(d.s.Zero(t.off+had*8, (need-had)*8, d.touch())); err != nil {
		return err
	}
	if d.info.Fixed {
		first := d.blocks(old)
		place, err := d.place((d.blocks(size) - first) * d.blockSize)
		if err != nil {
			return err
		}
		if err := writeFixedTable(d.s, &d.layout, size, next.off, place, first, d.touch()); err != nil {
			return err
		}
	}
	d.table.Store(next)
	// What the last block or a longer parent holds behind the old end must not
	// come to light.
	hidden := roundUp(old, d.blockSize)
	if d.parent != nil {
		hidden = max(hidden, d.parent.size.Load())
	}
	if err := d.zeroRange(old, min(hidden, roundUp(size, d.sector))); err != nil {
		return err
	}
	return d.setSize(size)
}

// moveTable copies the table to a larger region at the end of the file and switches
// both region tables in one write.
func (d *Disk) moveTable(next *table, had, need int64) error {
	from := d.table.Load()
	length := roundUp(need*8, mib)
	off, err := d.place(length)
	if err != nil {
		return err
	}
	buf := make([]byte, mib)
	for at := int64(0); at < had*8; at += mib {
		p := buf[:min(mib, had*8-at)]
		if err := d.readFull(p, from.off+at); err != nil {
			return err
		}
		if allZero(p) {
			continue
		}
		if err := d.note(d.s.WriteAt(p, off+at, d.touch())); err != nil {
			return err
		}
	}
	r := d.region(regionBAT)
	r.off, r.length = uint64(off), uint32(length)
	if err := d.note(d.s.WriteAt(encodeRegions(d.regions), regionOffset, d.touch())); err != nil {
		return err
	}
	next.off, next.length = off, length
	return d.note(d.s.Zero(from.off, from.length, d.touch()))
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// shrink drops the blocks behind the new end, tells the new size, and gives their
// space back.
func (d *Disk) shrink(old, size int64) error {
	if err := d.zeroRange(size, min(roundUp(size, d.blockSize), old)); err != nil {
		return err
	}
	t := d.table.Load()
	keep := d.blocks(size)
	var drop []entry
	for n := keep; n < d.blocks(old); n++ {
		e, err := d.entryLocked(d.payloadIndex(n))
		if err != nil {
			return err
		}
		if e != 0 {
			drop = append(drop, e)
		}
	}
	first := d.payloadIndex(keep)
	if !d.info.HasParent {
		first = d.entries(size)
	}
	if err := d.clearEntries(t, first, t.entries, keep); err != nil {
		return err
	}
	d.table.Store(newTable(t.off, t.length, d.entries(size)))
	if err := d.setSize(size); err != nil {
		return err
	}
	for _, e := range drop {
		if e.off() == 0 || e.state() == undefined {
			continue
		}
		if err := d.note(d.s.Zero(e.off(), d.blockSize, d.touch())); err != nil {
			return err
		}
	}
	return nil
}

// clearEntries zeroes payload entries from first on, and the bitmaps of chunks that
// have no block left.
func (d *Disk) clearEntries(t *table, first, end, keep int64) error {
	chunks := (keep + d.chunkRatio - 1) / d.chunkRatio
	for first < end {
		stop := min(end, first/(d.chunkRatio+1)*(d.chunkRatio+1)+d.chunkRatio) // the chunk's bitmap entry
		if first/(d.chunkRatio+1) >= chunks {
			stop = end
		}
		if stop > first {
			if err := d.note(d.s.Zero(t.off+first*8, (stop-first)*8, d.touch())); err != nil {
				return err
			}
		}
		first = stop + 1
	}
	return nil
}

// zeroRange is Zero for callers that hold d.mu; the range may lie behind the end.
func (d *Disk) zeroRange(off, end int64) error {
	for off < end {
		c := d.piece(off, end-off)
		i := d.payloadIndex(c.block)
		if i < d.table.Load().entries {
			if err := d.zeroLocked(i, c); err != nil {
				return err
			}
		}
		off += c.n
	}
	return nil
}

// setSize writes the Virtual Disk Size item; d.mu is held.
func (d *Disk) setSize(size int64) error {
	if err := d.note(d.s.WriteAt(le.AppendUint64(nil, uint64(size)), d.sizeItem, d.touch())); err != nil {
		return err
	}
	d.size.Store(size)
	return nil
}
