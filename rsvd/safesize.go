package rsvd

import (
	"encoding/binary"

	"gabion/rsvd/vhdx"
)

// safeSize is the smallest size of the virtual disk that cuts off no partition: the
// end of the last one, and for GPT the room its backup table needs. A disk without
// a partition table that is understood keeps its size.
func safeSize(d *vhdx.Disk) (int64, error) {
	g := d.Geometry()
	sector := int64(g.SectorSize)
	if g.Size < 2*sector {
		return g.Size, nil
	}
	head := make([]byte, 2*sector)
	if err := d.ReadAt(head, 0); err != nil {
		return 0, err
	}
	end, err := int64(0), error(nil)
	switch {
	case string(head[sector:sector+8]) == "EFI PART":
		end, err = gptEnd(d, head[sector:], sector, g.Size)
	case head[510] == 0x55 && head[511] == 0xAA:
		end = mbrEnd(head, sector)
	}
	if err != nil {
		return 0, err
	}
	if end <= 0 || end > g.Size {
		return g.Size, nil
	}
	return end, nil
}

// gptEnd reads a GPT (UEFI 5.3): header at sector 1, entries where it says.
func gptEnd(d *vhdx.Disk, header []byte, sector, size int64) (int64, error) {
	const maxEntries, lastUsed = 1024, 40
	le := binary.LittleEndian
	at, n, each := int64(le.Uint64(header[72:])), int64(le.Uint32(header[80:])), int64(le.Uint32(header[84:]))
	if n == 0 || n > maxEntries || each < 128 || each > 4096 || at < 2 || at > size/sector {
		return 0, nil
	}
	table := make([]byte, (n*each+sector-1)/sector*sector)
	if at*sector+int64(len(table)) > size {
		return 0, nil
	}
	if err := d.ReadAt(table, at*sector); err != nil {
		return 0, err
	}
	last := at + int64(len(table))/sector - 1
	for e := table[:n*each]; len(e) > 0; e = e[each:] {
		if [16]byte(e[:16]) == [16]byte{} {
			continue
		}
		l := le.Uint64(e[lastUsed:])
		if l >= uint64(size/sector) {
			return 0, nil
		}
		last = max(last, int64(l))
	}
	return (last + 1 + int64(len(table))/sector + 1) * sector, nil
}

func mbrEnd(b []byte, sector int64) int64 {
	const first, each = 446, 16
	end := int64(0)
	for i := range 4 {
		e := b[first+i*each:]
		if e[4] != 0 {
			end = max(end, (int64(binary.LittleEndian.Uint32(e[8:]))+int64(binary.LittleEndian.Uint32(e[12:])))*sector)
		}
	}
	return end
}
