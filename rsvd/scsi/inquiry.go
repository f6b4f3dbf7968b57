package scsi

import (
	"encoding/hex"
	"math/bits"
	"slices"
)

// VPD pages of this unit, ascending.
var vpdPages = []byte{0x00, 0x80, 0x83, 0xB0, 0xB1, 0xB2}

// vpdThirdPartyCopy is there where copies are.
const vpdThirdPartyCopy = 0x8F

// inquiry is INQUIRY (SPC-4 6.6).
func (t *Target) inquiry(c *Command) Result {
	allocation := uint32(be.Uint16(c.CDB[3:]))
	if c.CDB[1]&1 == 0 {
		if c.CDB[2] != 0 {
			return check(InvalidFieldInCDB)
		}
		return c.dataIn(t.standardInquiry(), allocation)
	}
	var body []byte
	g := t.disk.Geometry()
	switch c.CDB[2] {
	case 0x00:
		body = vpdPages
		if t.copier != nil {
			body = slices.Insert(slices.Clone(vpdPages), slices.Index(vpdPages, 0xB0), vpdThirdPartyCopy)
		}
	case 0x80:
		body = []byte(t.serial())
	case 0x83:
		body = t.designators()
	case vpdThirdPartyCopy:
		if t.copier == nil {
			return check(InvalidFieldInCDB)
		}
		body = t.thirdPartyCopy()
	case 0xB0:
		body = blockLimits(&g)
	case 0xB1:
		body = make([]byte, 0x3C)
		body[1] = 1 // does not rotate
	case 0xB2:
		body = provisioning(&g)
	default:
		return check(InvalidFieldInCDB)
	}
	page := append([]byte{0, c.CDB[2], byte(len(body) >> 8), byte(len(body))}, body...)
	return c.dataIn(page, allocation)
}

func (t *Target) standardInquiry() []byte {
	const versionSPC4, responseFormat, commandQueueing, size = 6, 2, 0x02, 96
	b := make([]byte, size)
	b[2], b[3], b[4], b[7] = versionSPC4, responseFormat, size-5, commandQueueing
	if t.copier != nil {
		b[5] = 0x08 // 3PC
	}
	pad(b[8:16], t.id.Vendor)
	pad(b[16:32], t.id.Product)
	pad(b[32:36], t.id.Revision)
	// Version descriptors: SAM-5, SPC-4, SBC-3.
	for i, v := range []uint16{0x00A0, 0x0460, 0x04C0} {
		be.PutUint16(b[58+2*i:], v)
	}
	return b
}

func pad(to []byte, s string) {
	n := copy(to, s)
	for ; n < len(to); n++ {
		to[n] = ' '
	}
}

func (t *Target) serial() string { return hex.EncodeToString(t.id.Unique[:]) }

// designators are the names of the unit for VPD page 83h. Cluster validation wants
// one of a SCSI name string, an NAA or an EUI-64 for the logical unit itself
// ([MS-CSVP]); the locally assigned NAA is the one that needs no registered vendor
// number.
func (t *Target) designators() []byte {
	const binary, ascii, utf8 = 1, 2, 3
	const vendorID, naa, nameString = 1, 3, 8
	local := t.localNAA()
	name := append([]byte("naa."+hex.EncodeToString(local)), 0)
	for len(name)%4 != 0 {
		name = append(name, 0)
	}
	vendor := make([]byte, 8)
	pad(vendor, t.id.Vendor)
	vendor = append(vendor, t.serial()...)

	var b []byte
	for _, d := range []struct {
		set, kind byte
		data      []byte
	}{{utf8, nameString, name}, {binary, naa, local}, {ascii, vendorID, vendor}} {
		b = append(b, d.set, d.kind, 0, byte(len(d.data)))
		b = append(b, d.data...)
	}
	return b
}

// localNAA is the unit's locally assigned NAA name.
func (t *Target) localNAA() []byte {
	const locallyAssigned = 0x30
	local := append([]byte(nil), t.id.Unique[:8]...)
	local[0] = local[0]&0x0F | locallyAssigned
	return local
}

// blockLimits is VPD page B0h (SBC-3 6.6.3) behind its header.
func blockLimits(g *Geometry) []byte {
	const writeSameNonZero, alignmentValid = 1, 1 << 31
	b := make([]byte, 0x3C)
	sector := uint32(g.SectorSize)
	b[0] = writeSameNonZero
	be.PutUint16(b[2:], uint16(max(1, g.PhysicalSector/g.SectorSize)))
	be.PutUint32(b[4:], MaxTransfer/sector)
	be.PutUint32(b[8:], MaxTransfer/8/sector)
	be.PutUint32(b[16:], maxUnmapBlocks)
	be.PutUint32(b[20:], maxUnmapDescriptors)
	granularity := uint32(max(g.PhysicalSector, 4096)) / sector
	if !g.Fixed && g.BlockSize > 0 {
		granularity = uint32(g.BlockSize) / sector
	}
	be.PutUint32(b[24:], granularity)
	be.PutUint32(b[28:], alignmentValid)
	be.PutUint64(b[32:], uint64(maxWriteSameBytes/sector))
	return b
}

const (
	lbpUnmap, lbpWriteSame16, lbpWriteSame10, lbpReadsZero = 0x80, 0x40, 0x20, 0x04
	provisionedResource, provisionedThin                   = 1, 2
)

// provisioning is VPD page B2h (SBC-3 6.6.4) behind its header.
func provisioning(g *Geometry) []byte {
	kind := byte(provisionedThin)
	if g.Fixed {
		kind = provisionedResource
	}
	return []byte{0, lbpUnmap | lbpWriteSame16 | lbpWriteSame10 | lbpReadsZero, kind, 0}
}

// reportLUNs is REPORT LUNS (SPC-4 6.33): there is LUN 0 and no other.
func (t *Target) reportLUNs(c *Command) Result {
	const wellKnownOnly = 1
	b := make([]byte, 16)
	switch c.CDB[2] {
	case 0, 2:
		be.PutUint32(b, 8)
	case wellKnownOnly:
		b = b[:8]
	default:
		return check(InvalidFieldInCDB)
	}
	return c.dataIn(b, be.Uint32(c.CDB[6:]))
}

// requestSense returns a pending unit attention, else no sense (SPC-4 6.39).
func (t *Target) requestSense(c *Command) Result {
	if c.CDB[1]&1 != 0 { // descriptor format
		return check(InvalidFieldInCDB)
	}
	t.mu.Lock()
	s, _ := t.attention.take(c.Initiator)
	pos := t.pos
	t.mu.Unlock()
	r := c.dataIn(s.AppendTo(nil), uint32(c.CDB[4]))
	r.Pos = pos
	return r
}

// readCapacity10 is READ CAPACITY(10) (SBC-3 5.15).
func (t *Target) readCapacity10(c *Command) Result {
	g := t.disk.Geometry()
	last := uint64(g.Size)/uint64(g.SectorSize) - 1
	var b [8]byte
	be.PutUint32(b[:], uint32(min(last, 1<<32-1)))
	be.PutUint32(b[4:], uint32(g.SectorSize))
	return c.dataIn(b[:], uint32(len(b)))
}

// readCapacity16 is READ CAPACITY(16) (SBC-3 5.16).
func (t *Target) readCapacity16(c *Command) Result {
	const provisioned, readsZero = 0x80, 0x40
	g := t.disk.Geometry()
	b := make([]byte, 32)
	be.PutUint64(b, uint64(g.Size)/uint64(g.SectorSize)-1)
	be.PutUint32(b[8:], uint32(g.SectorSize))
	b[13] = byte(bits.Len(uint(g.PhysicalSector/g.SectorSize)) - 1)
	b[14] = provisioned | readsZero
	return c.dataIn(b, be.Uint32(c.CDB[10:]))
}
