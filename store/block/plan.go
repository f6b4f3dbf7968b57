package block

import (
	"bytes"
	"encoding/binary"
	"sync"

	"gabion/store"
	"gabion/store/seglog"
)

// plan is a change of a stream's data being planned: the chunks that it holds
// locked and what becomes of their maps. Chunks are locked in ascending order.
type plan struct {
	s       *stream
	c       *change
	limit   int // bytes of a record
	pack    bool
	large   bool     // the change writes much at once
	sums    []uint32 // of whole blocks, from block summed of the stream on, if they are known
	summed  int64
	chunks  []*planned
	temps   []*[blockSize]byte
	packers []*packer
	lazy    []*pending // pending clones that the change makes
	above   uint64     // their version
	edit    []piece    // scratch of flush

	// Most changes are of one chunk, by few pieces: what they need is here.
	first  planned
	units  [4]unit
	single [4]*planned
}

// planned is a locked chunk with the pieces that will be put into it.
type planned struct {
	ck    *chunk
	label uint64
	up    bool // the map is written under a newer version, or for the first time
	units []unit
	done  int // units that are edits already
}

type unit struct {
	piece
	crc []uint32
}

func newPlan(s *stream) *plan { return newPlanIn(s, newChange()) }

var plans = sync.Pool{New: func() any { return new(plan) }}

// newPlanIn begins a plan that is part of a larger change.
func newPlanIn(s *stream, c *change) *plan {
	p := plans.Get().(*plan)
	p.s, p.c, p.limit = s, c, s.n.v.log.MaxPayload()
	p.chunks, p.first.units = p.single[:0], p.units[:0]
	return p
}

// free releases locks and memory, committed or not. The plan must not be used any more.
func (p *plan) free() {
	c := p.c
	p.release()
	c.free()
}

// release is free for a plan that is part of a larger change.
func (p *plan) release() {
	for _, pl := range p.chunks {
		pl.ck.mu.Unlock()
		pl.ck.unpin()
	}
	for _, b := range p.temps {
		blocks.Put(b)
	}
	for _, k := range p.packers {
		packers.Put(k)
	}
	*p = plan{edit: p.edit[:0]}
	plans.Put(p)
}

// lock takes a chunk into the plan.
func (p *plan) lock(i uint32) (*planned, error) {
	if k := len(p.chunks); k > 0 && p.chunks[k-1].ck.id.chunk == i {
		return p.chunks[k-1], nil
	}
	p.flush()
	cc := &p.s.n.v.chunks
	ck := cc.get(p.s.chunkID(i))
	ck.mu.Lock()
	pl := &p.first
	if len(p.chunks) > 0 {
		pl = &planned{}
	}
	pl.ck = ck
	p.chunks = append(p.chunks, pl)
	if err := cc.load(ck); err != nil {
		return nil, p.s.corrupt(i, 0, chunkSize, err)
	}
	if ck.virtual {
		err := p.s.n.v.realiseChunk(ck)
		if err == nil {
			err = cc.load(ck)
		}
		if err != nil {
			return nil, err
		}
	}
	pl.label = p.s.n.label(ck.version)
	pl.up = !ck.exists || pl.label > ck.version
	return pl, nil
}

// put plans that a piece comes in place of what is there.
func (p *plan) put(pl *planned, q piece, crc []uint32) error {
	pl.units = append(pl.units, unit{q, crc})
	if pl.up {
		return nil // the older version keeps its references
	}
	cc := &p.s.n.v.chunks
	for j := pl.ck.m.find(q.block); j < len(pl.ck.m.pieces) && pl.ck.m.pieces[j].block < q.end(); j++ {
		old := pl.ck.m.pieces[j]
		if !old.stored() {
			continue
		}
		if err := cc.loadPrev(pl.ck); err != nil {
			return err
		}
		for b := max(old.block, q.block); b < min(old.end(), q.end()); b++ {
			if prev := pl.ck.prev; prev != nil {
				if was, ok := prev.at(b); ok && was.same(&old, b) {
					continue
				}
			}
			off, n := old.extent(b)
			p.c.ref(old.container, off, n, -1)
		}
	}
	return nil
}

// flush turns the units planned for the last chunk into an edit.
func (p *plan) flush() {
	if len(p.chunks) == 0 {
		return
	}
	pl := p.chunks[len(p.chunks)-1]
	if pl.done == len(pl.units) {
		return
	}
	var kb [64]byte
	body := chunkBody(kb[:0], pl.ck.id.file, pl.ck.id.stream, pl.ck.id.chunk)
	if pl.up && pl.done == 0 {
		m := pl.ck.m.clone()
		for _, u := range pl.units {
			m.set(u.piece, u.crc)
		}
		p.c.pieces(editSet, at(body, pl.label), true, m.pieces, func(q *piece) []uint32 { return m.crc[q.block:] })
		p.c.mark(pl.label, body)
	} else {
		p.edit = p.edit[:0]
		for i := range pl.units[pl.done:] {
			p.edit = append(p.edit, pl.units[pl.done+i].piece)
		}
		i := pl.done
		p.c.pieces(editMerge, at(body, pl.label), false, p.edit, func(*piece) []uint32 {
			i++
			return pl.units[i-1].crc
		})
	}
	pl.done = len(pl.units)
}

// pieces adds an edit whose value is a chunk map or a delta of one.
func (c *change) pieces(op byte, key []byte, reset bool, ps []piece, crc func(*piece) []uint32) {
	size := 0
	if reset {
		size++
	}
	for i := range ps {
		size += 3
		if ps[i].stored() {
			size += 12 + 4*int(ps[i].n)
		}
		if ps[i].kind == opPacked {
			size += 4
		}
	}
	c.edit(op, key)
	c.body = binary.AppendUvarint(c.body, uint64(size))
	if reset {
		c.body = append(c.body, opReset)
	}
	for i := range ps {
		q := &ps[i]
		if q.stored() && q.container == unplaced {
			c.fixups = append(c.fixups, fixup{len(c.body) + addrOffset, int(q.off)})
		}
		c.body = appendPiece(c.body, *q, crc(q))
	}
}

// commit commits the plan with new sizes and times, then brings the cached maps
// up to date.
func (p *plan) commit(z sizes, t store.Touch) (store.Pos, error) {
	p.flush()
	pos, err := p.commitLazy(z, t)
	if err == nil {
		p.committed()
	}
	return pos, err
}

// committed brings the cached maps up to date with what was committed.
func (p *plan) committed() {
	cc := &p.s.n.v.chunks
	for _, pl := range p.chunks {
		if len(pl.units) == 0 {
			continue
		}
		ck := pl.ck
		if pl.up {
			ck.older, ck.prev, ck.hasPrev = ck.exists, nil, true
			if ck.exists {
				ck.prev = ck.m.clone()
			}
			ck.exists, ck.version = true, pl.label
		}
		for _, u := range pl.units {
			p.c.resolve(&u.piece)
			ck.m.set(u.piece, u.crc)
		}
		if p.large {
			ck.fresh = true
			ck.asked.Store(false)
		}
		cc.resized(ck)
	}
}

// leastStream is how large a write is that tells how the file is used.
const leastStream = 256 << 10

// unread reports whether all that the change writes was written before in pieces as large, and nobody
// has read it since: that will hardly be different this time.
func (p *plan) unread() bool {
	for _, pl := range p.chunks {
		if !pl.ck.fresh || pl.ck.asked.Load() {
			return false
		}
	}
	return true
}

// write plans the bytes of b at off.
func (p *plan) write(b []byte, off int64) error {
	for len(b) > 0 {
		in := int(off % chunkSize)
		n := min(len(b), chunkSize-in)
		pl, err := p.lock(uint32(off / chunkSize))
		if err == nil {
			err = p.writeChunk(pl, b[:n], in)
		}
		if err != nil {
			return err
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

// writeChunk plans bytes of one chunk: a part of a block at either end is
// completed with what is there.
func (p *plan) writeChunk(pl *planned, b []byte, in int) error {
	if skip := in % blockSize; skip != 0 || len(b) < blockSize {
		n := min(len(b), blockSize-skip)
		if err := p.patch(pl, b[:n], in); err != nil {
			return err
		}
		b, in = b[n:], in+n
	}
	if whole := len(b) &^ (blockSize - 1); whole > 0 {
		if err := p.writeBlocks(pl, b[:whole], uint8(in/blockSize)); err != nil {
			return err
		}
		b, in = b[whole:], in+whole
	}
	if len(b) > 0 {
		return p.patch(pl, b, in)
	}
	return nil
}

// patch plans a block of which b replaces the bytes from in on.
func (p *plan) patch(pl *planned, b []byte, in int) error {
	t, err := p.block(pl, uint8(in/blockSize))
	if err != nil {
		return err
	}
	copy(t[in%blockSize:], b)
	return p.writeBlocks(pl, t[:], uint8(in/blockSize))
}

// block returns a copy of a block of a locked chunk.
func (p *plan) block(pl *planned, b uint8) (*[blockSize]byte, error) {
	t := blocks.Get().(*[blockSize]byte)
	p.temps = append(p.temps, t)
	q, ok := pl.ck.m.at(b)
	if !ok {
		clear(t[:])
		return t, nil
	}
	if err := p.s.n.v.space.readBlocks(&q, &pl.ck.m.crc, t[:], b); err != nil {
		return nil, p.s.corrupt(pl.ck.id.chunk, int(b)*blockSize, blockSize, err)
	}
	return t, nil
}

var zeroBlock [blockSize]byte

func isZero(b []byte) bool {
	return binary.LittleEndian.Uint64(b) == 0 && bytes.Equal(b, zeroBlock[:])
}

// writeBlocks plans whole blocks, zeros apart from data, in runs that fit a record.
func (p *plan) writeBlocks(pl *planned, b []byte, block uint8) error {
	most := max(1, (p.limit-maxEdits)/blockSize)
	for len(b) > 0 {
		zero := isZero(b[:blockSize])
		n := 1
		for n*blockSize < len(b) && (zero || n < most) && isZero(b[n*blockSize:][:blockSize]) == zero {
			n++
		}
		q := piece{kind: opZeros, block: block, n: uint8(n)}
		var crc []uint32
		if !zero && p.pack && n > 1 {
			n = min(n, maxFrame)
			if packed, err := p.writePacked(pl, b[:n*blockSize], block); packed || err != nil {
				if err != nil {
					return err
				}
				b = b[n*blockSize:]
				block += uint8(n)
				continue
			}
		}
		if !zero {
			p.room(n * blockSize)
			p.sum(pl, b[:n*blockSize], block)
			crc = p.c.crcs[len(p.c.crcs)-n:]
			q.kind, q.container = opRaw, unplaced
			q.off = uint32(p.c.data(b[:n*blockSize]))
		}
		if err := p.put(pl, q, crc); err != nil {
			return err
		}
		b = b[n*blockSize:]
		block += uint8(n)
	}
	return nil
}

// sum adds the CRCs of blocks that are about to be data of the change.
func (p *plan) sum(pl *planned, b []byte, block uint8) {
	n := len(b) / blockSize
	at := int64(pl.ck.id.chunk)*chunkBlocks + int64(block) - p.summed
	if at >= 0 && at+int64(n) <= int64(len(p.sums)) {
		p.c.crcs = append(p.c.crcs, p.sums[at:at+int64(n)]...)
		return
	}
	for i := range n {
		p.c.crcs = append(p.c.crcs, seglog.CRC(b[i*blockSize:][:blockSize]))
	}
}

// maxEdits is what the edits that go with a run of blocks take at most.
const maxEdits = 6 << 10

// room begins another record if this one cannot take n bytes more.
func (p *plan) room(n int) {
	if p.c.fits(p.limit, n+maxEdits) {
		return
	}
	p.flush()
	p.c.room(p.limit, n+maxEdits)
}

// clear plans that [from, to) reads as zeros. Behind to nothing may be stored if
// to is the stream's size. Many chunks are cleared by a pending clone of nothing, which
// takes the stream's lock for writing.
func (p *plan) clear(from, to int64) error {
	if to == p.s.size.Load() {
		to = roundUp(to)
	}
	if from >= to {
		return nil
	}
	first, end := uint32((from+chunkSize-1)/chunkSize), uint32(to/chunkSize)
	if first < end {
		many, err := p.s.many(first, end)
		if err != nil {
			return err
		}
		if many {
			if err := p.clearEach(from, int64(first)*chunkSize); err != nil {
				return err
			}
			p.wipe(first, end)
			return p.clearEach(int64(end)*chunkSize, to)
		}
	}
	return p.clearEach(from, to)
}

// clearEach clears chunk by chunk.
func (p *plan) clearEach(from, to int64) error {
	if from >= to {
		return nil
	}
	list, err := p.s.chunkList(from, to-from)
	if err != nil {
		return err
	}
	for _, i := range list {
		base := int64(i) * chunkSize
		p.room(0)
		pl, err := p.lock(i)
		if err == nil {
			err = p.clearChunk(pl, int(max(from-base, 0)), int(min(to-base, chunkSize)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) clearChunk(pl *planned, from, to int) error {
	if len(pl.ck.m.pieces) == 0 {
		return nil
	}
	lo, hi := (from+blockSize-1)/blockSize, to/blockSize
	if lo > hi { // within one block
		return p.clearPart(pl, from, to)
	}
	if from < lo*blockSize {
		if err := p.clearPart(pl, from, lo*blockSize); err != nil {
			return err
		}
	}
	if lo < hi {
		// Only what is there needs to go, which keeps deltas small.
		i := pl.ck.m.find(uint8(lo))
		if i < len(pl.ck.m.pieces) && int(pl.ck.m.pieces[i].block) < hi {
			if err := p.put(pl, piece{kind: opHole, block: uint8(lo), n: uint8(hi - lo)}, nil); err != nil {
				return err
			}
		}
	}
	if hi*blockSize < to {
		return p.clearPart(pl, hi*blockSize, to)
	}
	return nil
}

// clearPart zeros a part of one block, if there is anything in it.
func (p *plan) clearPart(pl *planned, from, to int) error {
	if q, ok := pl.ck.m.at(uint8(from / blockSize)); !ok || q.kind == opZeros {
		return nil
	}
	return p.patch(pl, zeroBlock[:to-from], from)
}

// chunksOf lists the chunks of a stream from first to last that have keys.
func (v *Volume) chunksOf(id store.FileID, no, first, last uint32) ([]uint32, error) {
	var list []uint32
	prefix := be.AppendUint32(key64(nil, kChunk, uint64(id)), no)
	err := v.scan(prefix, chunkBody(nil, id, no, first), func(key, _ []byte) (bool, error) {
		i := be.Uint32(key[13:])
		if i > last {
			return false, nil
		}
		if k := len(list); k == 0 || list[k-1] != i {
			list = append(list, i)
		}
		return true, nil
	})
	return list, err
}
