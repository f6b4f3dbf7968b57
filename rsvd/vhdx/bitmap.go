package vhdx

// A sector bitmap block is 1 MiB and has a bit for each of the 2^23 sectors of its
// chunk, lowest bit of the lowest byte first; 1 means the sector is in this file
// ([MS-VHDX] 2.4). Bits of one block are whole bytes, because a block has at least
// 256 sectors.

func bit(b []byte, n int64) bool { return b[n/8]>>(n%8)&1 != 0 }

// bitRange is where in a bitmap block the bits of part of a payload block lie.
func (d *Disk) bitRange(c piece) (chunk, firstByte, lastByte int64) {
	base := c.block % d.chunkRatio * (d.blockSize / d.sector)
	first, end := base+c.in/d.sector, base+(c.in+c.n)/d.sector
	return c.block / d.chunkRatio, first / 8, (end - 1) / 8
}

// readBits returns the bytes that hold the bits of a part of a block; the first
// sector's bit is bit in/sector%8 of the first byte.
func (d *Disk) readBits(c piece) ([]byte, error) {
	chunk, first, last := d.bitRange(c)
	e, err := d.entry(d.table.Load(), d.bitmapIndex(chunk))
	if err != nil {
		return nil, err
	}
	return d.bitsAt(e, first, last)
}

func (d *Disk) bitsAt(e entry, first, last int64) ([]byte, error) {
	b := make([]byte, last-first+1)
	if e.state() != present {
		return nil, corrupt("partially present block without sector bitmap")
	}
	return b, d.readFull(b, e.off()+first)
}

// clearBits prepares the bitmap for a block that is about to be partially present:
// all of its sectors are in the parent. d.mu is held.
func (d *Disk) clearBits(block int64) error {
	chunk, first, last := d.bitRange(piece{block, 0, d.blockSize})
	i := d.bitmapIndex(chunk)
	e, err := d.entryLocked(i)
	if err != nil {
		return err
	}
	if e.state() != present {
		off, err := d.place(mib)
		if err != nil {
			return err
		}
		return d.setEntry(i, makeEntry(off, present))
	}
	return d.note(d.s.Zero(e.off()+first, last-first+1, d.touch()))
}

// markHere records that sectors of a partially present block are in this file.
func (d *Disk) markHere(c piece) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.markLocked(c)
}

func (d *Disk) markLocked(c piece) error {
	i := d.payloadIndex(c.block)
	e, err := d.entryLocked(i)
	if err != nil || e.state() != partial { // completed or unmapped meanwhile
		return err
	}
	chunk, firstByte, lastByte := d.bitRange(piece{c.block, 0, d.blockSize})
	bitmap, err := d.entryLocked(d.bitmapIndex(chunk))
	if err != nil {
		return err
	}
	bits, err := d.bitsAt(bitmap, firstByte, lastByte)
	if err != nil {
		return err
	}
	first, end := c.in/d.sector, (c.in+c.n)/d.sector
	for s := first; s < end; s++ {
		bits[s/8] |= 1 << (s % 8)
	}
	lo, hi := first/8, (end-1)/8+1
	if err := d.note(d.s.WriteAt(bits[lo:hi], bitmap.off()+firstByte+lo, d.touch())); err != nil {
		return err
	}
	for _, b := range bits {
		if b != 0xFF {
			return nil
		}
	}
	return d.setEntry(i, makeEntry(e.off(), present))
}
