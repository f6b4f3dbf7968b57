package seglog

import (
	"encoding/binary"
	"hash/crc32"
)

// Pos is a record's position in the log; positions have no gaps.
type Pos = uint64

const (
	// BlockSize is what groups and payloads are aligned to.
	BlockSize = 4096

	headerSize   = 64
	recordHeader = 32
	magic        = 'G' | 'B'<<8 | 'L'<<16 | 'G'<<24

	streamRecords = 0
	streamMoved   = 1
)

// Kinds of records.
const (
	KindEdits = 1
	KindMoved = 2
	// KindVoid was given up; it takes a position and nothing else.
	KindVoid = 3
)

const (
	flagSpilled = 1 << 0 // the body lies in the payload
	flagMore    = 1 << 1 // the change goes on in the next record
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CRC is the checksum used throughout the store.
func CRC(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// Check folds the CRCs of a payload's blocks into a record's check.
func Check(crcs []uint32) uint32 {
	var sum uint32
	var b [4]byte
	for _, c := range crcs {
		binary.LittleEndian.PutUint32(b[:], c)
		sum = crc32.Update(sum, castagnoli, b[:])
	}
	return sum
}

// checkOf computes the check of a payload.
func checkOf(p []byte) uint32 {
	var sum uint32
	var b [4]byte
	for ; len(p) > 0; p = p[BlockSize:] {
		binary.LittleEndian.PutUint32(b[:], CRC(p[:BlockSize]))
		sum = crc32.Update(sum, castagnoli, b[:])
	}
	return sum
}

// header is a decoded group header.
type header struct {
	seq    uint64
	first  Pos
	synced Pos
	blocks uint32 // of the whole group
	hdr    uint16 // blocks of the header
	count  uint16
	stream uint8
	used   uint32
}

// put encodes h into area, the whole header area, and seals it with its CRC.
func (h *header) put(area []byte, volume *[16]byte) {
	le := binary.LittleEndian
	le.PutUint32(area[0:], magic)
	copy(area[8:24], volume[:])
	le.PutUint64(area[24:], h.seq)
	le.PutUint64(area[32:], h.first)
	le.PutUint64(area[40:], h.synced)
	le.PutUint32(area[48:], h.blocks)
	le.PutUint16(area[52:], h.hdr)
	le.PutUint16(area[54:], h.count)
	area[56], area[57], area[58], area[59] = h.stream, 0, 0, 0
	le.PutUint32(area[60:], h.used)
	le.PutUint32(area[4:], CRC(area[8:]))
}

// peek decodes the fixed part of a header without verifying the CRC, which may
// cover more than the block at hand.
func (h *header) peek(b []byte, volume *[16]byte) bool {
	le := binary.LittleEndian
	if len(b) < BlockSize || le.Uint32(b) != magic || [16]byte(b[8:24]) != *volume {
		return false
	}
	h.seq, h.first, h.synced = le.Uint64(b[24:]), le.Uint64(b[32:]), le.Uint64(b[40:])
	h.blocks, h.hdr, h.count = le.Uint32(b[48:]), le.Uint16(b[52:]), le.Uint16(b[54:])
	h.stream, h.used = b[56], le.Uint32(b[60:])
	return h.hdr > 0 && uint32(h.hdr) <= h.blocks && h.seq > 0 &&
		h.used >= headerSize && h.used <= uint32(h.hdr)*BlockSize
}

// sealed verifies the CRC of a whole header area.
func sealed(area []byte) bool {
	return binary.LittleEndian.Uint32(area[4:]) == CRC(area[8:])
}

// Record is one record as replay finds it. Body is valid during the callback only.
type Record struct {
	Pos   Pos
	Kind  uint16
	Seq   uint64
	Group uint32 // offset of the group in its segment
	Body  []byte
	// Payload is where the record's data lies in the segment.
	Payload, PayloadLen uint32
	More                bool

	check, bodyCheck uint32
	spilled          uint32 // bytes of the body's blocks in the payload
}

// records walks the records of a verified header area. base is the group's
// offset in the segment.
func (h *header) records(area []byte, base uint32, fn func(*Record) error) error {
	le := binary.LittleEndian
	at := uint32(headerSize)
	data := base + uint32(h.hdr)*BlockSize
	end := base + h.blocks*BlockSize
	for i := range uint64(h.count) {
		if at+recordHeader > h.used {
			return errGroup
		}
		b := area[at:]
		r := Record{Pos: h.first + i, Kind: le.Uint16(b), Seq: h.seq, Group: base}
		flags, size, blocks := le.Uint16(b[2:]), le.Uint32(b[4:]), le.Uint32(b[8:])
		r.check, r.bodyCheck = le.Uint32(b[12:]), le.Uint32(b[16:])
		r.More = flags&flagMore != 0
		at += recordHeader
		if flags&flagSpilled != 0 {
			r.spilled = roundUp(size)
			r.Body = nil
			if size > end-data || r.spilled > end-data {
				return errGroup
			}
		} else {
			if size > h.used-at {
				return errGroup
			}
			r.Body = area[at : at+size : at+size]
			at += align8(size)
		}
		r.Payload = data + r.spilled
		if blocks > (end-r.Payload)/BlockSize {
			return errGroup
		}
		r.PayloadLen = blocks * BlockSize
		if r.spilled > 0 {
			r.Body = make([]byte, size) // filled by the caller
		}
		data = r.Payload + r.PayloadLen
		if err := fn(&r); err != nil {
			return err
		}
	}
	return nil
}

func roundUp(n uint32) uint32 { return (n + BlockSize - 1) &^ (BlockSize - 1) }
func align8(n uint32) uint32  { return (n + 7) &^ 7 }
