package memvol

import (
	"bytes"
	"io"
	"maps"
	"slices"

	"gabion/store"
)

const blockSize = 4096

// block is never changed once it is in a map, so maps may share it.
type block [blockSize]byte

var zeroBlock block

// data is the contents of one stream. A block that is not in the map reads as
// zeros. Bytes at or past size are zero in every block.
type data struct {
	size, valid int64
	alloc       int64 // as set by SetAllocation, block aligned
	blocks      map[int64]*block
}

func (d *data) clone() data {
	c := *d
	c.blocks = maps.Clone(d.blocks)
	return c
}

func roundUp(n int64) int64 { return (n + blockSize - 1) &^ (blockSize - 1) }

func (d *data) sizes(sparse bool) store.Sizes {
	a := int64(len(d.blocks)) * blockSize
	if !sparse {
		a = max(roundUp(d.size), d.alloc)
	}
	return store.Sizes{Size: d.size, Allocated: a, ValidData: d.valid}
}

func (d *data) readAt(p []byte, off int64) (int, error) {
	if off >= d.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), d.size-off)]
	n := len(p)
	for len(p) > 0 {
		in := off % blockSize
		b := d.blocks[off/blockSize]
		if b == nil {
			b = &zeroBlock
		}
		c := copy(p, b[in:])
		p, off = p[c:], off+int64(c)
	}
	return n, nil
}

func (d *data) put(i int64, b *block) {
	if d.blocks == nil {
		d.blocks = make(map[int64]*block)
	}
	d.blocks[i] = b
}

// change replaces block i by a copy that edit has seen.
func (d *data) change(i int64, edit func(*block)) {
	var b block
	if old := d.blocks[i]; old != nil {
		b = *old
	}
	edit(&b)
	d.put(i, &b)
}

func (d *data) writeAt(p []byte, off int64) {
	end := off + int64(len(p))
	for len(p) > 0 {
		n := 0
		d.change(off/blockSize, func(b *block) { n = copy(b[off%blockSize:], p) })
		p, off = p[n:], off+int64(n)
	}
	d.grow(end)
}

// grow makes size and valid data length reach at least end.
func (d *data) grow(end int64) {
	d.size = max(d.size, end)
	d.valid = max(d.valid, end)
}

// keys returns the numbers of the blocks in [from, to), in order.
func (d *data) keys(from, to int64) []int64 {
	var ks []int64
	for k := range d.blocks {
		if from <= k && k < to {
			ks = append(ks, k)
		}
	}
	slices.Sort(ks)
	return ks
}

// zero clears [off, end): whole blocks go, others are cleared in part.
func (d *data) zero(off, end int64) {
	end = min(end, d.size)
	if end == d.size {
		end = roundUp(end) // nothing lives behind the size
	}
	for _, k := range d.keys(off/blockSize, (end+blockSize-1)/blockSize) {
		lo, hi := max(off-k*blockSize, 0), min(end-k*blockSize, blockSize)
		if lo == 0 && hi == blockSize {
			delete(d.blocks, k)
		} else if lo < hi {
			d.change(k, func(b *block) { clear(b[lo:hi]) })
		}
	}
}

func (d *data) setSize(n int64) {
	if n < d.size {
		d.zero(n, d.size)
		d.alloc = 0
	}
	d.size = n
	d.valid = min(d.valid, n)
}

func (d *data) allocated(off, n int64, to []store.Range) []store.Range {
	end := min(off+n, d.size)
	first := len(to)
	for _, k := range d.keys(off/blockSize, (end+blockSize-1)/blockSize) {
		lo, hi := max(k*blockSize, off), min((k+1)*blockSize, end)
		to = appendRange(to, first, lo, hi)
	}
	return to
}

// appendRange adds [lo, hi), merging it with the last range from index first on.
func appendRange(to []store.Range, first int, lo, hi int64) []store.Range {
	if lo >= hi {
		return to
	}
	if l := len(to); l > first && to[l-1].Off+to[l-1].Len == lo {
		to[l-1].Len += hi - lo
		return to
	}
	return append(to, store.Range{Off: lo, Len: hi - lo})
}

// cloneFrom makes [dst, dst+n) equal to [src, src+n) of from. dst and src
// are block aligned; a partial last block ends at both sizes.
func (d *data) cloneFrom(dst int64, from *data, src, n int64) {
	shared := make(map[int64]*block)
	for _, k := range from.keys(src/blockSize, (src+n+blockSize-1)/blockSize) {
		shared[k] = from.blocks[k]
	}
	d.grow(dst + n)
	d.zero(dst, dst+n)
	for k, b := range shared {
		d.put(k+(dst-src)/blockSize, b)
	}
}

// diff lists where two streams differ; beyond the smaller size everything does.
func diff(a, b *data) []store.Range {
	lo, hi := min(a.size, b.size), max(a.size, b.size)
	all := make(map[int64]struct{})
	for k := range a.blocks {
		all[k] = struct{}{}
	}
	for k := range b.blocks {
		all[k] = struct{}{}
	}
	var out []store.Range
	for _, k := range slices.Sorted(maps.Keys(all)) {
		x, y := a.blocks[k], b.blocks[k]
		if x == y {
			continue
		}
		if x == nil {
			x = &zeroBlock
		}
		if y == nil {
			y = &zeroBlock
		}
		if !bytes.Equal(x[:], y[:]) {
			out = appendRange(out, 0, k*blockSize, min((k+1)*blockSize, lo))
		}
	}
	return appendRange(out, 0, lo, hi)
}
