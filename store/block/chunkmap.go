package block

import (
	"errors"
	"slices"
)

const (
	blockSize   = 4096
	chunkSize   = 256 << 10
	chunkBlocks = chunkSize / blockSize
)

// Operations of a chunk map's encoding, and the kinds of its pieces.
const (
	opReset  = 0
	opHole   = 1
	opRaw    = 2
	opZeros  = 3
	opPacked = 4
)

var errChunk = errors.New("malformed chunk map")

// piece is a run of blocks of a chunk that lie together.
type piece struct {
	container uint64
	off       uint32 // bytes in the container; of a packed piece, its frame's
	sectors   uint16 // packed: length of the frame
	kind      uint8
	block, n  uint8 // blocks [block, block+n) of the chunk
	frame     uint8 // packed: blocks in the frame
	first     uint8 // packed: the frame's block that is this piece's first
}

func (p *piece) end() uint8 { return p.block + p.n }

// slice returns the part of p that is blocks [from, to).
func (p piece) slice(from, to uint8) piece {
	d := from - p.block
	p.block, p.n = from, to-from
	switch p.kind {
	case opRaw:
		p.off += uint32(d) * blockSize
	case opPacked:
		p.first += d
	}
	return p
}

// same reports whether block b is the very same stored block in p and q.
func (p *piece) same(q *piece, b uint8) bool {
	if p.kind != q.kind || p.container != q.container {
		return false
	}
	switch p.kind {
	case opRaw:
		return p.off+uint32(b-p.block)*blockSize == q.off+uint32(b-q.block)*blockSize
	case opPacked:
		return p.off == q.off && p.first+(b-p.block) == q.first+(b-q.block)
	}
	return true
}

// stored reports whether the piece takes space.
func (p *piece) stored() bool { return p.kind == opRaw || p.kind == opPacked }

// extent returns the sectors of the container that block b of p stands for.
func (p *piece) extent(b uint8) (off, n uint32) {
	if p.kind == opRaw {
		return (p.off + uint32(b-p.block)*blockSize) / sectorSize, blockSize / sectorSize
	}
	i := uint32(p.first + (b - p.block))
	f := uint32(p.frame)
	lo, hi := uint32(p.sectors)*i/f, uint32(p.sectors)*(i+1)/f
	return p.off/sectorSize + lo, hi - lo
}

// chunkMap is a decoded map: pieces by block, and a CRC for every stored block.
type chunkMap struct {
	pieces []piece
	crc    [chunkBlocks]uint32
}

// find returns the index of the first piece that ends after block b.
func (m *chunkMap) find(b uint8) int {
	lo, hi := 0, len(m.pieces)
	for lo < hi {
		mid := (lo + hi) / 2
		if m.pieces[mid].end() <= b {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// at returns the piece that holds block b.
func (m *chunkMap) at(b uint8) (piece, bool) {
	if i := m.find(b); i < len(m.pieces) && m.pieces[i].block <= b {
		return m.pieces[i], true
	}
	return piece{}, false
}

// set puts p in place of what was there; kind opHole only removes.
func (m *chunkMap) set(p piece, crc []uint32) {
	if n := len(m.pieces); p.kind != opHole && (n == 0 || m.pieces[n-1].end() <= p.block) {
		// Behind all others, as a full map is read.
		m.pieces = append(m.pieces, p)
		if p.stored() {
			copy(m.crc[p.block:], crc[:p.n])
		}
		m.join(max(n-1, 0), n+1)
		return
	}
	i := m.find(p.block)
	j := i
	var edge [3]piece
	n := 0
	if i < len(m.pieces) && m.pieces[i].block < p.block {
		edge[n] = m.pieces[i].slice(m.pieces[i].block, p.block)
		n++
	}
	if p.kind != opHole {
		edge[n] = p
		n++
	}
	for j < len(m.pieces) && m.pieces[j].block < p.end() {
		if j++; m.pieces[j-1].end() > p.end() {
			edge[n] = m.pieces[j-1].slice(p.end(), m.pieces[j-1].end())
			n++
		}
	}
	m.pieces = slices.Replace(m.pieces, i, j, edge[:n]...)
	if p.stored() {
		copy(m.crc[p.block:], crc[:p.n])
	}
	m.join(max(i-1, 0), i+n+1)
}

// join makes neighbours among pieces [from, to) one where they continue each other.
func (m *chunkMap) join(from, to int) {
	for i := min(to, len(m.pieces)) - 1; i > from; i-- {
		a, b := &m.pieces[i-1], &m.pieces[i]
		if a.end() != b.block || a.kind != b.kind || a.container != b.container {
			continue
		}
		switch a.kind {
		case opRaw:
			if a.off+uint32(a.n)*blockSize != b.off {
				continue
			}
		case opPacked:
			if a.off != b.off || a.first+a.n != b.first {
				continue
			}
		}
		a.n += b.n
		m.pieces = slices.Delete(m.pieces, i, i+1)
	}
}

func (m *chunkMap) clone() *chunkMap {
	c := *m
	c.pieces = slices.Clone(m.pieces)
	return &c
}

// reset empties m, keeping its memory.
func (m *chunkMap) reset() { m.pieces = m.pieces[:0] }

// appendPiece encodes one operation. The container's address, for a raw or packed piece,
// lies addrOffset bytes into it.
func appendPiece(b []byte, p piece, crc []uint32) []byte {
	b = append(b, p.kind, p.block, p.n-1)
	if !p.stored() {
		return b
	}
	b = le.AppendUint64(b, p.container)
	b = le.AppendUint32(b, p.off)
	if p.kind == opPacked {
		b = le.AppendUint16(b, p.sectors)
		b = append(b, p.frame, p.first)
	}
	for _, c := range crc[:p.n] {
		b = le.AppendUint32(b, c)
	}
	return b
}

const addrOffset = 3

// encode appends the full map.
func (m *chunkMap) encode(b []byte) []byte {
	b = append(b, opReset)
	for _, p := range m.pieces {
		b = appendPiece(b, p, m.crc[p.block:])
	}
	return b
}

// apply performs the operations of an encoded map or delta. holes, when not
// nil, keeps the holes that the delta makes, for a partial merge, and reset is
// returned when the map was reset.
func (m *chunkMap) apply(b []byte, holes *uint64) (reset bool, err error) {
	var crc [chunkBlocks]uint32
	for len(b) > 0 {
		if b[0] == opReset {
			m.reset()
			reset = true
			if holes != nil {
				*holes = 0
			}
			b = b[1:]
			continue
		}
		if len(b) < 3 {
			return reset, errChunk
		}
		p := piece{kind: b[0], block: b[1], n: b[2] + 1}
		if p.n == 0 || int(p.block)+int(p.n) > chunkBlocks {
			return reset, errChunk
		}
		b = b[3:]
		switch p.kind {
		case opHole, opZeros:
		case opRaw, opPacked:
			fixed := 12
			if p.kind == opPacked {
				fixed = 16
			}
			if len(b) < fixed+4*int(p.n) {
				return reset, errChunk
			}
			p.container, p.off = le.Uint64(b), le.Uint32(b[8:])
			if p.kind == opPacked {
				p.sectors, p.frame, p.first = le.Uint16(b[12:]), b[14], b[15]
				if p.frame == 0 || int(p.first)+int(p.n) > int(p.frame) {
					return reset, errChunk
				}
			}
			b = b[fixed:]
			for i := range p.n {
				crc[i] = le.Uint32(b[4*int(i):])
			}
			b = b[4*int(p.n):]
		default:
			return reset, errChunk
		}
		m.set(p, crc[:])
		if holes != nil {
			mask := (^uint64(0) >> (64 - p.n)) << p.block
			if p.kind == opHole {
				*holes |= mask
			} else {
				*holes &^= mask
			}
		}
	}
	return reset, nil
}
