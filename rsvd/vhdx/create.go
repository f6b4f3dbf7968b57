package vhdx

import (
	"fmt"

	"gabion/protocol/dtyp"
	"gabion/store"
)

// Params of a new disk. Zero values are what Hyper-V chooses.
type Params struct {
	Size           int64
	BlockSize      int64 // 32 MiB, or 2 MiB with a parent
	LogicalSector  int64 // 512
	PhysicalSector int64 // 4096
	Fixed          bool
	DiskID         dtyp.GUID  // random; a child has its parent's
	Parent         *ParentRef // makes a differencing disk
}

func (p Params) withDefaults() Params {
	if p.BlockSize == 0 {
		p.BlockSize = 32 * mib
		if p.Parent != nil {
			p.BlockSize = 2 * mib
		}
	}
	if p.LogicalSector == 0 {
		p.LogicalSector = 512
	}
	if p.PhysicalSector == 0 {
		p.PhysicalSector = 4096
	}
	if p.DiskID.IsZero() {
		p.DiskID = dtyp.NewGUID()
	}
	return p
}

const (
	newLog      = 1 * mib
	newMetadata = 2 * mib
	newTableAt  = 3 * mib
)

// Create makes a disk in an empty stream. Fixed disks have all their blocks, which
// are holes in the store until they are written.
func Create(s store.Stream, p Params, t store.Touch) (store.Pos, error) {
	p = p.withDefaults()
	info := Info{Size: p.Size, BlockSize: p.BlockSize, LogicalSector: p.LogicalSector, PhysicalSector: p.PhysicalSector}
	if err := info.check(); err != nil {
		return 0, fmt.Errorf("%w: %w", store.ErrInvalid, err)
	}
	if p.Fixed && p.Parent != nil {
		return 0, fmt.Errorf("%w: a differencing disk is not fixed", store.ErrInvalid)
	}
	l := newLayout(p.BlockSize, p.LogicalSector, p.Parent != nil)
	tableSize := max(roundUp(l.entries(p.Size)*8, mib), mib)
	end := int64(newTableAt) + tableSize
	payload := end
	if p.Fixed {
		end += l.blocks(p.Size) * p.BlockSize
	}
	if _, err := s.SetSize(end, t); err != nil {
		return 0, err
	}
	if p.Fixed {
		if err := writeFixedTable(s, &l, p.Size, newTableAt, payload, 0, t); err != nil {
			return 0, err
		}
	}
	if _, err := s.WriteAt(metadata(p), newMetadata, t); err != nil {
		return 0, err
	}
	return s.WriteAt(headSection(tableSize), 0, t)
}

// headSection is the identifier, the headers and the region tables.
func headSection(tableSize int64) []byte {
	b := make([]byte, regionOffset, regionOffset+2*regionSize)
	copy(b, "vhdxfile")
	copy(b[8:], dtyp.EncodeUTF16("Gabion"))
	h := header{sequence: 1, fileWrite: dtyp.NewGUID(), dataWrite: dtyp.NewGUID(), version: 1, logLength: newMetadata - newLog, logOffset: newLog}
	for _, off := range headerOffsets {
		copy(b[off:], h.encode())
		h.sequence++
	}
	return append(b, encodeRegions([]region{
		{regionBAT, newTableAt, uint32(tableSize), true},
		{regionMetadata, newMetadata, newTableAt - newMetadata, true},
	})...)
}

// metadata is the metadata region up to its last item.
func metadata(p Params) []byte {
	parameters := make([]byte, 8)
	le.PutUint32(parameters, uint32(p.BlockSize))
	switch {
	case p.Parent != nil:
		parameters[4] = 2
	case p.Fixed:
		parameters[4] = 1
	}
	const virtualDisk, required = 2, 4
	type content struct {
		id    dtyp.GUID
		flags byte
		data  []byte
	}
	items := []content{
		{itemFileParameters, required, parameters},
		{itemDiskSize, virtualDisk | required, le.AppendUint64(nil, uint64(p.Size))},
		{itemDiskID, virtualDisk | required, p.DiskID[:]},
		{itemLogicalSector, virtualDisk | required, le.AppendUint32(nil, uint32(p.LogicalSector))},
		{itemPhysicalSector, virtualDisk | required, le.AppendUint32(nil, uint32(p.PhysicalSector))},
	}
	if p.Parent != nil {
		items = append(items, content{itemParentLocator, required, p.Parent.encode()})
	}
	b := make([]byte, metadataHead)
	copy(b, "metadata")
	le.PutUint16(b[10:], uint16(len(items)))
	for i, it := range items {
		e := b[32+32*i:]
		copy(e, it.id[:])
		le.PutUint32(e[16:], uint32(len(b)))
		le.PutUint32(e[20:], uint32(len(it.data)))
		e[24] = it.flags
		b = append(b, it.data...)
	}
	return b
}

// writeFixedTable gives the blocks from first on consecutive places.
func writeFixedTable(s store.Stream, l *layout, size, table, place, first int64, t store.Touch) error {
	const step = mib / 8
	n, blocks := l.entries(size), l.blocks(size)
	for at := l.payloadIndex(first); at < n; at += step {
		count := min(step, n-at)
		b := make([]byte, count*8)
		for i := range count {
			if (at+i)%(l.chunkRatio+1) == l.chunkRatio || first >= blocks {
				continue // sector bitmap
			}
			le.PutUint64(b[8*i:], uint64(makeEntry(place, present)))
			place += l.blockSize
			first++
		}
		if _, err := s.WriteAt(b, table+at*8, t); err != nil {
			return err
		}
	}
	return nil
}
