package block

import (
	"errors"
	"fmt"
	"sync"

	"gabion/store"
	"gabion/store/seglog"
)

var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

var errChecksum = errors.New("checksum does not match")

// extent is what a chunk map says of a run of blocks.
type extents struct {
	pieces [chunkBlocks]piece
	n      int
	crc    [chunkBlocks]uint32
}

// extents copies what the map of a chunk says of blocks from first to last.
func (s *stream) extents(i uint32, first, last uint8, x *extents) error {
	cc := &s.n.v.chunks
	c := cc.get(s.chunkID(i))
	defer c.unpin()
	if !c.asked.Load() {
		c.asked.Store(true)
	}
	c.mu.RLock()
	if !c.loaded {
		c.mu.RUnlock()
		c.mu.Lock()
		err := cc.load(c)
		c.mu.Unlock()
		if err != nil {
			return err
		}
		c.mu.RLock()
	} else {
		cc.hits.Add(1)
	}
	defer c.mu.RUnlock()
	for j := c.m.find(first); j < len(c.m.pieces) && c.m.pieces[j].block <= last; j++ {
		x.pieces[x.n] = c.m.pieces[j]
		x.n++
	}
	copy(x.crc[first:last+1], c.m.crc[first:last+1])
	return nil
}

// readChunk fills p from offset in of a chunk.
func (s *stream) readChunk(i uint32, p []byte, in int) error {
	var x extents
	if err := s.extents(i, uint8(in/blockSize), uint8((in+len(p)-1)/blockSize), &x); err != nil {
		return s.corrupt(i, in, len(p), err)
	}
	return s.readExtents(&x, i, p, in)
}

// readExtents fills p from offset in of a chunk, of which x says all.
func (s *stream) readExtents(x *extents, i uint32, p []byte, in int) error {
	done := 0 // bytes of p that are filled
	for j := range x.pieces[:x.n] {
		q := &x.pieces[j]
		lo := max(int(q.block)*blockSize, in) - in
		hi := min(int(q.end())*blockSize, in+len(p)) - in
		if hi <= lo {
			continue
		}
		clear(p[done:lo])
		if q.kind == opZeros {
			clear(p[lo:hi])
		} else if err := s.readPiece(q, &x.crc, p[lo:hi], in+lo); err != nil {
			return s.corrupt(i, in+lo, hi-lo, err)
		}
		done = hi
	}
	clear(p[done:])
	return nil
}

// readPiece fills p with what lies at offset in of the chunk, all of it in q.
func (s *stream) readPiece(q *piece, crc *[chunkBlocks]uint32, p []byte, in int) error {
	sp := &s.n.v.space
	if skip := in % blockSize; skip != 0 {
		n := min(len(p), blockSize-skip)
		if err := sp.readPart(q, crc, p[:n], in); err != nil {
			return err
		}
		p, in = p[n:], in+n
	}
	if whole := len(p) &^ (blockSize - 1); whole > 0 {
		if err := sp.readBlocks(q, crc, p[:whole], uint8(in/blockSize)); err != nil {
			return err
		}
		p, in = p[whole:], in+whole
	}
	if len(p) > 0 {
		return sp.readPart(q, crc, p, in)
	}
	return nil
}

// readPart reads less than a block, which must be read and verified whole.
func (s *space) readPart(q *piece, crc *[chunkBlocks]uint32, p []byte, in int) error {
	b := blocks.Get().(*[blockSize]byte)
	defer blocks.Put(b)
	if err := s.readBlocks(q, crc, b[:], uint8(in/blockSize)); err != nil {
		return err
	}
	copy(p, b[in%blockSize:])
	return nil
}

// readBlocks reads whole blocks of q from block b on and verifies them.
func (s *space) readBlocks(q *piece, crc *[chunkBlocks]uint32, p []byte, b uint8) error {
	switch q.kind {
	case opRaw:
		if err := s.read(q.container, p, q.off+uint32(b-q.block)*blockSize); err != nil {
			return err
		}
	case opPacked:
		if err := s.unpack(q, p, b); err != nil {
			return err
		}
	default:
		clear(p)
		return nil
	}
	for ; len(p) > 0; p = p[blockSize:] {
		if seglog.CRC(p[:blockSize]) != crc[b] {
			return fmt.Errorf("container %d: %w", q.container, errChecksum)
		}
		b++
	}
	return nil
}

func (s *stream) corrupt(chunk uint32, in, n int, err error) error {
	if errors.Is(err, seglog.ErrStopped) || s.n.v.check() != nil {
		return s.n.v.stopError(err)
	}
	s.n.mu.Lock()
	name := s.name
	s.n.mu.Unlock()
	return &store.CorruptError{File: s.n.id, Stream: name, Range: store.Range{Off: int64(chunk)*chunkSize + int64(in), Len: int64(n)}, Why: err}
}
