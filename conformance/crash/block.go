package crash

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// BlockSize is the size of what is stamped.
const BlockSize = 4096

// A block names its writer, its place and the write it comes from, so that whatever
// is found after a crash can be told apart.
//
//	0 magic u32, writer u32, block u64, seq u64, CRC of the rest u32; then filling
const (
	magic      = 0x4b434c42
	headerSize = 28
)

// Stamp fills p with the block that write seq of a writer puts at a place.
func Stamp(p []byte, writer uint32, place, seq uint64) {
	binary.LittleEndian.PutUint32(p, magic)
	binary.LittleEndian.PutUint32(p[4:], writer)
	binary.LittleEndian.PutUint64(p[8:], place)
	binary.LittleEndian.PutUint64(p[16:], seq)
	x := seq*0x9E3779B97F4A7C15 + place
	for i := headerSize; i+8 <= len(p); i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(p[i:], x)
	}
	binary.LittleEndian.PutUint32(p[24:], crc32.ChecksumIEEE(p[headerSize:]))
}

// Inspect returns the write a block comes from, 0 for a block of zeros.
func Inspect(p []byte, writer uint32, place uint64) (seq uint64, err error) {
	zero := true
	for _, b := range p {
		zero = zero && b == 0
	}
	switch {
	case zero:
		return 0, nil
	case binary.LittleEndian.Uint32(p) != magic:
		return 0, errors.New("not a block of this test")
	case binary.LittleEndian.Uint32(p[4:]) != writer || binary.LittleEndian.Uint64(p[8:]) != place:
		return 0, errors.New("a block of another place")
	case binary.LittleEndian.Uint32(p[24:]) != crc32.ChecksumIEEE(p[headerSize:]):
		return 0, errors.New("a torn block")
	}
	return binary.LittleEndian.Uint64(p[16:]), nil
}
