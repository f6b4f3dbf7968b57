package block

import (
	"errors"
	"sync"

	"github.com/pierrec/lz4/v4"
)

var errFrame = errors.New("damaged frame")

var frames = sync.Pool{New: func() any { return new([2 * chunkSize]byte) }}

// unpack decompresses the frame of q and copies the blocks from b on.
func (s *space) unpack(q *piece, p []byte, b uint8) error {
	buf := frames.Get().(*[2 * chunkSize]byte)
	defer frames.Put(buf)
	in := buf[:int(q.sectors)*sectorSize]
	if len(in) < 4 || len(in) > chunkSize || int(q.frame) > chunkBlocks {
		return errFrame
	}
	if err := s.read(q.container, in, q.off); err != nil {
		return err
	}
	n := int(le.Uint32(in))
	if n > len(in)-4 {
		return errFrame
	}
	out := buf[chunkSize : chunkSize+int(q.frame)*blockSize]
	if k, err := lz4.UncompressBlock(in[4:4+n], out); err != nil || k != len(out) {
		return errFrame
	}
	copy(p, out[int(q.first+(b-q.block))*blockSize:])
	return nil
}
