package block

import (
	"fmt"
	"sync"

	"gabion/store"
)

// chunks checks every version of every chunk map, and its data.
func (c *checker) chunks() error { return c.scan(kChunk, (&chunkWalk{c: c}).visit) }

// chunkWalk looks at the versions of chunk maps, newest first.
type chunkWalk struct {
	c    *checker
	last *chunkMap // the version before, of the same chunk
	body []byte
}

func (w *chunkWalk) visit(key, value []byte) error {
	c := w.c
	if len(key) != 25 {
		c.found(Problem{What: fmt.Sprintf("index: malformed key %x", key)})
		return nil
	}
	b, _ := versionOf(key)
	id := chunkID{file: store.FileID(be.Uint64(b[1:])), stream: be.Uint32(b[9:]), chunk: be.Uint32(b[13:])}
	m := new(chunkMap)
	if _, err := m.apply(value, nil); err != nil {
		c.damage(id, 0, chunkBlocks, err)
		return nil
	}
	c.sum.Chunks++
	if string(b) != string(w.body) {
		w.last, w.body = nil, append(w.body[:0], b...)
		c.bounds(id, m)
	}
	if err := c.data(id, m, w.last); err != nil {
		return err
	}
	w.last = m
	return nil
}

// bounds checks that a live chunk holds nothing behind the stream's size.
func (c *checker) bounds(id chunkID, m *chunkMap) {
	if c.pacer != nil || len(m.pieces) == 0 {
		return // pending clones are those of now
	}
	k := c.stream(streamRef{id.file, id.stream})
	size := k.size
	if !k.ok || c.v.pendings.lookup(streamRef{id.file, id.stream}, id.chunk, newest) != nil {
		return
	}
	p := &m.pieces[len(m.pieces)-1]
	if end := int64(id.chunk)*chunkSize + int64(p.end())*blockSize; end > roundUp(size) {
		c.damage(id, p.block, p.n, fmt.Errorf("data behind the size %d", size))
	}
}

func (c *checker) damage(id chunkID, block, n uint8, err error) {
	c.found(Problem{
		File: id.file, Stream: c.stream(streamRef{id.file, id.stream}).name, What: err.Error(),
		Range: store.Range{Off: int64(id.chunk)*chunkSize + int64(block)*blockSize, Len: int64(n) * blockSize},
	})
}

// wide is memory for all of a chunk.
var wide = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// data reads and verifies what m holds and last, a newer version just verified, does not.
func (c *checker) data(id chunkID, m, last *chunkMap) error {
	if c.how.SkipData {
		return nil
	}
	n := 0
	for i := range m.pieces {
		if p := &m.pieces[i]; p.stored() {
			n += int(p.n) * blockSize
		}
	}
	if err := c.pause(n); err != nil {
		return err
	}
	buf := wide.Get().(*[chunkSize]byte)
	defer wide.Put(buf)
	for i := range m.pieces {
		p := &m.pieces[i]
		if !p.stored() {
			continue
		}
		for b := p.block; b < p.end(); {
			e := b
			for e < p.end() && !seen(last, p, e) {
				e++
			}
			if err := c.blocks(id, m, p, b, e, buf[:int(e-b)*blockSize]); err != nil {
				return err
			}
			b = max(e, b+1)
		}
	}
	if c.how.Progress != nil {
		c.how.Progress(c.sum.Bytes, c.total)
	}
	return nil
}

// seen reports whether the version before had block b of p too.
func seen(last *chunkMap, p *piece, b uint8) bool {
	if last == nil {
		return false
	}
	q, ok := last.at(b)
	return ok && q.same(p, b)
}

// blocks verifies blocks [b, e) of p: all at once, and one by one to find which are damaged.
func (c *checker) blocks(id chunkID, m *chunkMap, p *piece, b, e uint8, buf []byte) error {
	c.sum.Bytes += int64(len(buf))
	if len(buf) == 0 || c.v.space.readBlocks(p, &m.crc, buf, b) == nil {
		return nil
	}
	for ; b < e; b++ {
		err := c.v.space.readBlocks(p, &m.crc, buf[:blockSize], b)
		if err == nil || !c.still(id, p, b) {
			continue
		}
		if e := c.v.check(); e != nil {
			return e
		}
		// What it was read from may have moved on between the two, and come back.
		if err = c.v.space.readBlocks(p, &m.crc, buf[:blockSize], b); err != nil {
			off, _ := p.extent(b)
			c.damage(id, b, 1, fmt.Errorf("%w (%s)", err, c.v.space.where(p.container, off*sectorSize)))
		}
	}
	return nil
}

// pause waits until n bytes more may be read.
func (c *checker) pause(n int) error {
	if c.pacer != nil {
		return c.pacer(n)
	}
	c.v.takeTurn(n, c.v.dead)
	return nil
}

// still reports whether some version of a chunk holds a block where it was not readable:
// on a running volume it may have moved on.
func (c *checker) still(id chunkID, p *piece, b uint8) bool {
	all, err := c.v.versions(chunkBody(nil, id.file, id.stream, id.chunk))
	if err != nil {
		return true
	}
	for _, s := range all {
		if q, ok := s.m.at(b); ok && q.same(p, b) {
			return true
		}
	}
	return false
}
