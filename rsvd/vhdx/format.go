package vhdx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"gabion/protocol/dtyp"
)

var (
	// ErrNotVHDX: the file is something else.
	ErrNotVHDX = errors.New("not a VHDX file")
	// ErrCorrupt is wrapped by everything that is wrong inside a VHDX file.
	ErrCorrupt = errors.New("VHDX file is corrupt")
	// ErrUnsupported: the file requires something this package does not know.
	ErrUnsupported = errors.New("VHDX file requires an unknown feature")
	// ErrParent: the parent of a differencing disk is missing or was changed.
	ErrParent = errors.New("parent of differencing disk")
	// ErrRange: an offset or length outside the disk or not a whole sector.
	ErrRange = errors.New("range outside the disk or not whole sectors")
	// ErrReadOnly: the disk was opened read-only.
	ErrReadOnly = errors.New("disk is open read-only")
)

func corrupt(format string, a ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, a...)...)
}

const (
	kib = 1 << 10
	mib = 1 << 20

	headerSize   = 4 * kib
	regionSize   = 64 * kib
	metadataHead = 64 * kib
	sectorSize   = 4 * kib // unit of the log

	// MaxSize is the largest virtual disk.
	MaxSize = 64 << 40

	minBlock, maxBlock = 1 * mib, 256 * mib
	maxLog             = 128 * mib
	maxItems           = 2047
	maxDepth           = 64
)

var headerOffsets = [2]int64{64 * kib, 128 * kib}

const regionOffset = 192 * kib // two copies, one behind the other

var le = binary.LittleEndian

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is CRC-32C over b with the four bytes at off taken as zero.
func checksum(b []byte, off int) uint32 {
	var zero [4]byte
	c := crc32.Update(0, castagnoli, b[:off])
	c = crc32.Update(c, castagnoli, zero[:])
	return crc32.Update(c, castagnoli, b[off+4:])
}

var (
	regionBAT      = dtyp.MustParseGUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
	regionMetadata = dtyp.MustParseGUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")

	itemFileParameters = dtyp.MustParseGUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
	itemDiskSize       = dtyp.MustParseGUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
	itemDiskID         = dtyp.MustParseGUID("beca12ab-b2e6-4523-93ef-c309e000c746")
	itemLogicalSector  = dtyp.MustParseGUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
	itemPhysicalSector = dtyp.MustParseGUID("cda348c7-445d-4471-9cc9-e9885251c556")
	itemParentLocator  = dtyp.MustParseGUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")
	locatorVHDX        = dtyp.MustParseGUID("b04aefb7-d19e-4a81-b789-25b8e9445913")
)

// header is one of the two headers ([MS-VHDX] 2.2.2).
type header struct {
	sequence             uint64
	fileWrite, dataWrite dtyp.GUID
	log                  dtyp.GUID // zero: nothing to replay
	logVersion, version  uint16
	logLength            uint32
	logOffset            uint64
}

// decodeHeader returns false unless signature and checksum are right.
func decodeHeader(b []byte) (h header, ok bool) {
	if len(b) < headerSize || string(b[:4]) != "head" || le.Uint32(b[4:]) != checksum(b[:headerSize], 4) {
		return h, false
	}
	return header{
		sequence: le.Uint64(b[8:]), fileWrite: dtyp.GUID(b[16:32]), dataWrite: dtyp.GUID(b[32:48]), log: dtyp.GUID(b[48:64]),
		logVersion: le.Uint16(b[64:]), version: le.Uint16(b[66:]), logLength: le.Uint32(b[68:]), logOffset: le.Uint64(b[72:]),
	}, true
}

func (h *header) encode() []byte {
	b := make([]byte, headerSize)
	copy(b, "head")
	le.PutUint64(b[8:], h.sequence)
	copy(b[16:], h.fileWrite[:])
	copy(b[32:], h.dataWrite[:])
	copy(b[48:], h.log[:])
	le.PutUint16(b[64:], h.logVersion)
	le.PutUint16(b[66:], h.version)
	le.PutUint32(b[68:], h.logLength)
	le.PutUint64(b[72:], h.logOffset)
	le.PutUint32(b[4:], checksum(b, 4))
	return b
}

// region is an entry of the region table ([MS-VHDX] 2.2.3).
type region struct {
	id       dtyp.GUID
	off      uint64
	length   uint32
	required bool
}

func decodeRegions(b []byte) ([]region, bool) {
	if len(b) < regionSize || string(b[:4]) != "regi" || le.Uint32(b[4:]) != checksum(b[:regionSize], 4) {
		return nil, false
	}
	n := le.Uint32(b[8:])
	if n > maxItems {
		return nil, false
	}
	list := make([]region, n)
	for i := range list {
		e := b[16+32*i:]
		list[i] = region{dtyp.GUID(e[:16]), le.Uint64(e[16:]), le.Uint32(e[24:]), le.Uint32(e[28:])&1 != 0}
	}
	return list, true
}

// encodeRegions returns both copies.
func encodeRegions(list []region) []byte {
	b := make([]byte, 2*regionSize)
	copy(b, "regi")
	le.PutUint32(b[8:], uint32(len(list)))
	for i, r := range list {
		e := b[16+32*i:]
		copy(e, r.id[:])
		le.PutUint64(e[16:], r.off)
		le.PutUint32(e[24:], r.length)
		if r.required {
			e[28] = 1
		}
	}
	le.PutUint32(b[4:], checksum(b[:regionSize], 4))
	copy(b[regionSize:], b[:regionSize])
	return b
}

// item is an entry of the metadata table ([MS-VHDX] 2.6.1.2).
type item struct {
	id                           dtyp.GUID
	off, length                  uint32 // from the region's start
	user, virtualDisk, mandatory bool
}

func decodeItems(b []byte) ([]item, error) {
	if len(b) < metadataHead || string(b[:8]) != "metadata" {
		return nil, corrupt("metadata table has no signature")
	}
	n := int(le.Uint16(b[10:]))
	if n > maxItems {
		return nil, corrupt("metadata table of %d entries", n)
	}
	list := make([]item, n)
	for i := range list {
		e := b[32+32*i:]
		flags := e[24]
		list[i] = item{dtyp.GUID(e[:16]), le.Uint32(e[16:]), le.Uint32(e[20:]), flags&1 != 0, flags&2 != 0, flags&4 != 0}
	}
	return list, nil
}

// state of a payload block or a sector bitmap block ([MS-VHDX] 2.5.1).
type state uint8

const (
	notPresent state = 0
	undefined  state = 1
	zero       state = 2
	unmapped   state = 3
	present    state = 6
	partial    state = 7
)

// entry is an entry of the block allocation table.
type entry uint64

const entryReserved = (1<<20 - 1) &^ 7

func makeEntry(off int64, s state) entry { return entry(uint64(off)/mib<<20 | uint64(s)) }
func (e entry) state() state             { return state(e & 7) }
func (e entry) off() int64               { return int64(e>>20) * mib }

// layout turns positions on the disk into places in the table.
type layout struct {
	blockSize  int64
	sector     int64
	chunkRatio int64 // payload blocks per sector bitmap block
	parent     bool
}

func newLayout(blockSize, sector int64, parent bool) layout {
	return layout{blockSize, sector, 1 << 23 * sector / blockSize, parent}
}

func (l *layout) blocks(size int64) int64       { return (size + l.blockSize - 1) / l.blockSize }
func (l *layout) payloadIndex(n int64) int64    { return n + n/l.chunkRatio }
func (l *layout) bitmapIndex(chunk int64) int64 { return chunk*(l.chunkRatio+1) + l.chunkRatio }

// entries is the number of table entries of a disk ([MS-VHDX] 2.5).
func (l *layout) entries(size int64) int64 {
	n := l.blocks(size)
	if n == 0 {
		return 0
	}
	if l.parent {
		return (n + l.chunkRatio - 1) / l.chunkRatio * (l.chunkRatio + 1)
	}
	return n + (n-1)/l.chunkRatio
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }
