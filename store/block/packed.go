package block

import (
	"errors"
	"sync"

	"github.com/pierrec/lz4/v4"

	"gabion/store/seglog"
)

// A frame is up to 64 KiB of data compressed as one. It takes the space of a record
// for itself, in whole blocks, so it is made only where it saves a block or more.

// maxFrame is how many blocks a frame holds at most: reading one block unpacks all.
const maxFrame = 16

var errFrame = errors.New("damaged frame")

// frameHead is the length of the LZ4 block that follows.
const frameHead = 4

// packer is memory for making or unpacking a frame.
type packer struct {
	lz4.Compressor
	in, out [(maxFrame + 1) * blockSize]byte
}

var packers = sync.Pool{New: func() any { return new(packer) }}

// writePacked plans b as a frame and reports whether that pays.
func (p *plan) writePacked(pl *planned, b []byte, block uint8) (bool, error) {
	n := len(b) / blockSize
	k := packers.Get().(*packer)
	// Kept until the change is over: the payload points into it.
	size, err := k.CompressBlock(b, k.out[frameHead:n*blockSize])
	if err != nil || size == 0 || size+frameHead > (n-1)*blockSize {
		packers.Put(k)
		return false, nil //nolint:nilerr // what does not shrink is stored as it is
	}
	p.packers = append(p.packers, k)
	le.PutUint32(k.out[:], uint32(size))
	whole := int(roundUp(max(int64(size)+frameHead, int64(n)*sectorSize))) // a sector stands for each block
	clear(k.out[frameHead+size : whole])
	p.room(whole)
	for i := 0; i < whole; i += blockSize {
		p.c.crcs = append(p.c.crcs, seglog.CRC(k.out[i:i+blockSize]))
	}
	crc := make([]uint32, n)
	for i := range crc {
		crc[i] = seglog.CRC(b[i*blockSize : (i+1)*blockSize])
	}
	q := piece{kind: opPacked, block: block, n: uint8(n), container: unplaced, frame: uint8(n), sectors: uint16(whole / sectorSize)}
	q.off = uint32(p.c.data(k.out[:whole]))
	return true, p.put(pl, q, crc)
}

// unpack decompresses the frame of q and copies the blocks from b on.
func (s *space) unpack(q *piece, p []byte, b uint8) error {
	if q.frame > maxFrame || int(q.sectors)*sectorSize > maxFrame*blockSize || q.sectors == 0 {
		return errFrame
	}
	k := packers.Get().(*packer)
	defer packers.Put(k)
	in := k.in[:int(q.sectors)*sectorSize]
	if err := s.read(q.container, in, q.off); err != nil {
		return err
	}
	n := int(le.Uint32(in))
	if n > len(in)-frameHead {
		return errFrame
	}
	out := k.out[:int(q.frame)*blockSize]
	if m, err := lz4.UncompressBlock(in[frameHead:frameHead+n], out); err != nil || m != len(out) {
		return errFrame
	}
	copy(p, out[int(q.first+(b-q.block))*blockSize:])
	return nil
}
