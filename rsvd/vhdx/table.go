package vhdx

import (
	"sync/atomic"
)

const perPage = sectorSize / 8

type page [perPage]atomic.Uint64

// table is the block allocation table; its pages are read when first needed.
type table struct {
	off, length int64
	entries     int64
	pages       []atomic.Pointer[page]
}

func newTable(off, length, entries int64) *table {
	return &table{off: off, length: length, entries: entries, pages: make([]atomic.Pointer[page], (entries+perPage-1)/perPage)}
}

// entry returns entry i of the table.
func (d *Disk) entry(t *table, i int64) (entry, error) {
	p := t.pages[i/perPage].Load()
	if p == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		var err error
		if p, err = d.loadPage(t, i/perPage); err != nil {
			return 0, err
		}
	}
	return entry(p[i%perPage].Load()), nil
}

// loadPage reads a page of the table unless it is there; d.mu is held.
func (d *Disk) loadPage(t *table, n int64) (*page, error) {
	if p := t.pages[n].Load(); p != nil {
		return p, nil
	}
	var raw [sectorSize]byte
	if err := d.readFull(raw[:], t.off+n*sectorSize); err != nil {
		return nil, err
	}
	p := new(page)
	for i := range p {
		p[i].Store(le.Uint64(raw[8*i:]))
	}
	t.pages[n].Store(p)
	return p, nil
}

// entryLocked is entry for callers that hold d.mu.
func (d *Disk) entryLocked(i int64) (entry, error) {
	t := d.table.Load()
	p, err := d.loadPage(t, i/perPage)
	if err != nil {
		return 0, err
	}
	return entry(p[i%perPage].Load()), nil
}

// setEntry changes an entry in the file and then in memory, so that whoever acts
// on the new entry does so later in the log; d.mu is held.
func (d *Disk) setEntry(i int64, e entry) error {
	t := d.table.Load()
	p, err := d.loadPage(t, i/perPage)
	if err != nil {
		return err
	}
	var raw [8]byte
	le.PutUint64(raw[:], uint64(e))
	if err := d.note(d.s.WriteAt(raw[:], t.off+8*i, d.touch())); err != nil {
		return err
	}
	p[i%perPage].Store(uint64(e))
	return nil
}

// place extends the file by n bytes at its end; d.mu is held.
func (d *Disk) place(n int64) (int64, error) {
	off := d.fileSize
	return off, d.extend(off + roundUp(n, mib))
}

// Check reads all of the table and verifies that everything lies where it may
// ([MS-VHDX] 2.5).
func (d *Disk) Check() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	used := newUnits(d.fileSize)
	used.take(int64(d.head.logOffset), int64(d.head.logLength))
	for _, r := range d.regions {
		used.take(int64(r.off), int64(r.length))
	}
	t := d.table.Load()
	blocks := d.blocks(d.size.Load())
	c := checker{d: d, used: used, blocks: blocks}
	buf := make([]byte, mib)
	for first := int64(0); first < t.entries; first += mib / 8 {
		n := min(t.entries-first, mib/8)
		if err := d.readFull(buf[:n*8], t.off+first*8); err != nil {
			return err
		}
		for i := range n {
			if e := entry(le.Uint64(buf[8*i:])); e != 0 {
				if err := c.entry(first+i, e); err != nil {
					return err
				}
			}
			if err := c.endOfChunk(first + i); err != nil {
				return err
			}
		}
	}
	return nil
}

// checker walks over the table once.
type checker struct {
	d       *Disk
	used    *units
	blocks  int64
	partial bool // the chunk has a partially present block
	bitmap  bool // the chunk has its bitmap
}

func (c *checker) entry(i int64, e entry) error {
	d := c.d
	if e&entryReserved != 0 {
		return corrupt("BAT entry %d is %#x", i, uint64(e))
	}
	size := d.blockSize
	switch s := e.state(); {
	case c.isBitmap(i):
		if s != notPresent && (s != present || !d.info.HasParent) {
			return corrupt("sector bitmap entry %d has state %d", i, s)
		}
		size = mib
		c.bitmap = s == present
	case i-i/(d.chunkRatio+1) >= c.blocks:
		if s != notPresent {
			return corrupt("BAT entry %d behind the end of the disk is %#x", i, uint64(e))
		}
	case s == partial && d.info.HasParent:
		c.partial = true
	case s > unmapped && s != present:
		return corrupt("BAT entry %d has state %d", i, s)
	}
	if e.state() == undefined { // its place may be stale
		return nil
	}
	if e.off() == 0 {
		if e.state() >= present {
			return corrupt("BAT entry %d has no place", i)
		}
		return nil
	}
	if !c.used.take(e.off(), size) {
		return corrupt("BAT entry %d at %d overlaps or lies outside the file", i, e.off())
	}
	return nil
}

func (c *checker) isBitmap(i int64) bool {
	return i%(c.d.chunkRatio+1) == c.d.chunkRatio
}

func (c *checker) endOfChunk(i int64) error {
	if !c.isBitmap(i) {
		return nil
	}
	if c.partial && !c.bitmap {
		return corrupt("chunk at BAT entry %d has no sector bitmap", i)
	}
	c.partial, c.bitmap = false, false
	return nil
}

// units are the MiB of a file that are taken.
type units struct {
	bits []uint64
	n    int64
}

func newUnits(fileSize int64) *units {
	n := (fileSize + mib - 1) / mib
	u := &units{bits: make([]uint64, n/64+1), n: n}
	u.bits[0] = 1 // the header section
	return u
}

// take marks a range and reports whether it was free and inside the file.
func (u *units) take(off, n int64) bool {
	first, end := off/mib, (off+n+mib-1)/mib
	if off < 0 || n < 0 || off > u.n*mib || end > u.n {
		return false
	}
	free := true
	for i := first; i < end; i++ {
		bit := uint64(1) << (i % 64)
		free = free && u.bits[i/64]&bit == 0
		u.bits[i/64] |= bit
	}
	return free
}
