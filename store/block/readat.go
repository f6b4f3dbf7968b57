package block

import (
	"errors"
	"io"
	"sync"

	"gabion/store"
)

// readat.go is how clients read a stream: large reads through the data cache, small ones straight from
// the log.

var partLists = sync.Pool{New: func() any { return new(store.Parts) }}

// ReadAt implements store.Stream.
func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	p, err := h.within(p, off)
	if err != nil {
		return 0, err
	}
	if !h.caches(len(p)) {
		if err := h.readUncached(p, off); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	parts := partLists.Get().(*store.Parts)
	defer partLists.Put(parts)
	if err := h.readCached(p, off, parts); err != nil {
		return 0, err
	}
	parts.CopyTo(p)
	return len(p), nil
}

// ReadParts implements store.Lender.
func (h *handle) ReadParts(p []byte, off int64, parts *store.Parts) (int, error) {
	p, err := h.within(p, off)
	if err != nil {
		return 0, err
	}
	if h.caches(len(p)) {
		err = h.readCached(p, off, parts)
	} else if err = h.readUncached(p, off); err == nil {
		parts.Add(p, nil)
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// within cuts p down to what lies before the end of the stream.
func (h *handle) within(p []byte, off int64) ([]byte, error) {
	if off < 0 {
		return nil, store.ErrInvalid
	}
	if err := h.n.v.check(); err != nil {
		return nil, err
	}
	size := h.size.Load()
	if off >= size {
		return nil, io.EOF
	}
	return p[:min(int64(len(p)), size-off)], nil
}

// caches reports whether a read of so many bytes goes through the data cache.
func (s *stream) caches(n int) bool { return n >= s.n.v.data.least && s.n.v.data.least > 0 }

// splitRead is how large a read must be for two processors to share it, unless others like it
// keep them busy: half its time goes into verifying.
const splitRead = 512 << 10

// splits counts a large read in and reports whether two processors should share it. The caller
// counts it out again.
func (v *Volume) splits(n int) bool { return v.large.Add(1) == 1 && n >= splitRead }

// middle is where a read is split: between chunks.
func middle(n int, off int64) int { return int((off+int64(n)/2)&^(chunkSize-1) - off) }

// readUncached fills p from the log.
func (s *stream) readUncached(p []byte, off int64) error {
	if len(p) < splitRead {
		return s.readChunks(p, off)
	}
	v := s.n.v
	defer v.large.Add(-1)
	if !v.splits(len(p)) {
		return s.readChunks(p, off)
	}
	half := middle(len(p), off)
	done := make(chan error, 1)
	go func() { done <- s.readChunks(p[half:], off+int64(half)) }()
	err := s.readChunks(p[:half], off)
	return errors.Join(err, <-done)
}

// readChunks fills p chunk by chunk.
func (s *stream) readChunks(p []byte, off int64) error {
	for len(p) > 0 {
		in := off % chunkSize
		k := int(min(int64(len(p)), chunkSize-in))
		if err := s.readChunk(uint32(off/chunkSize), p[:k], int(in)); err != nil {
			return err
		}
		p, off = p[k:], off+int64(k)
	}
	return nil
}

// readCached appends to parts what lies at off: from the data cache, or read into p.
func (s *stream) readCached(p []byte, off int64, parts *store.Parts) error {
	v := s.n.v
	had := len(parts.List)
	missed, err := 0, error(nil)
	if s.warm.Load() || len(p) < splitRead {
		missed, err = s.readPages(p, off, parts)
	} else {
		if v.splits(len(p)) {
			missed, err = s.splitCached(p, off, parts)
		} else {
			missed, err = s.readPages(p, off, parts)
		}
		v.large.Add(-1)
	}
	if err != nil {
		giveBack(parts, had)
		return err
	}
	v.data.hits.Add(uint64(len(p) - missed))
	v.data.misses.Add(uint64(missed))
	if warm := missed == 0; s.warm.Load() != warm {
		s.warm.Store(warm)
	}
	return nil
}

// giveBack releases the parts behind the first ones.
func giveBack(parts *store.Parts, keep int) {
	rest := store.Parts{List: parts.List[keep:]}
	rest.Release()
	parts.List = parts.List[:keep]
}

// splitCached is readPages in two halves at the same time.
func (s *stream) splitCached(p []byte, off int64, parts *store.Parts) (missed int, err error) {
	half := middle(len(p), off)
	rest := partLists.Get().(*store.Parts)
	defer partLists.Put(rest)
	type result struct {
		missed int
		err    error
	}
	done := make(chan result, 1)
	go func() {
		missed, err := s.readPages(p[half:], off+int64(half), rest)
		done <- result{missed, err}
	}()
	missed, err = s.readPages(p[:half], off, parts)
	r := <-done
	if err = errors.Join(err, r.err); err != nil {
		rest.Release()
		return 0, err
	}
	for _, t := range rest.List {
		parts.Add(t.Data, t.Loan)
	}
	clear(rest.List)
	rest.List = rest.List[:0]
	return missed + r.missed, nil
}

// readPages is readCached page by page; it tells how many bytes were not in the cache. What it has
// appended when it fails is the caller's to release.
func (s *stream) readPages(p []byte, off int64, parts *store.Parts) (missed int, err error) {
	for len(p) > 0 {
		i, in := uint32(off/chunkSize), int(off%chunkSize)
		k := min(len(p), chunkSize-in)
		var x extents
		if err := s.extents(i, uint8(in/blockSize), uint8((in+k-1)/blockSize), &x); err != nil {
			return missed, s.corrupt(i, in, k, err)
		}
		off += int64(k)
		rest := p[:k]
		p = p[k:]
		late := rest[:0] // what the log is to be asked for, at offset from
		from := in
		for len(rest) > 0 {
			n := min(len(rest), pageSize-in%pageSize)
			where := s.readPage(&x, i, rest[:n], in, parts)
			if where != cachedPage {
				missed += n
			}
			if where == uncachedPage {
				late = late[:len(late)+n]
			} else {
				if err := s.readExtents(&x, i, late, from); err != nil {
					return missed, err
				}
				late, from = rest[n:n], in+n
			}
			rest, in = rest[n:], in+n
		}
		if err := s.readExtents(&x, i, late, from); err != nil {
			return missed, err
		}
	}
	return missed, nil
}

// Where a page was found.
const (
	cachedPage   = iota
	filledPage   // it was read into the cache
	uncachedPage // it is to be read from the log to where parts say it is
)

// zeros is what a page without anything stored holds.
var zeros [pageSize]byte

// readPage reads what lies at offset in of a chunk, of which x says all, no more than the rest of
// a page; or appends p, for the caller to fill.
func (s *stream) readPage(x *extents, chunk uint32, p []byte, in int, parts *store.Parts) (where int) {
	var want contents
	if !x.page(in, len(p), &want) {
		parts.Add(zeros[:len(p)], nil)
		return cachedPage
	}
	c := &s.n.v.data
	id := pageID{s.n.id, s.no, uint64(chunk)*(chunkSize/pageSize) + uint64(in/pageSize)}
	h := id.hash()
	sh := c.shard(h)
	at := in % pageSize
	w := c.find(sh, id)
	var same uint16
	if w != nil {
		if same = w.has.same(&want); same == want.known {
			parts.Add(w.mem[at:at+len(p):at+len(p)], w)
			return cachedPage
		}
		defer w.Release()
	}
	// One pass in small steps comes by the first block once.
	if w != nil || at < blockSize && sh.again(h) {
		if n := c.take(sh); n != nil {
			if n.id = id; s.fill(n, w, same, &want, x, chunk) {
				c.enter(n)
				parts.Add(n.mem[at:at+len(p):at+len(p)], n)
				return filledPage
			}
			n.Release()
		}
	}
	parts.Add(p, nil)
	return uncachedPage
}

// page says what the blocks hold from offset in of the chunk on, and whether anything of it is stored.
func (x *extents) page(in, n int, want *contents) (stored bool) {
	base := in &^ (pageSize - 1) / blockSize
	first, last := in/blockSize, (in+n-1)/blockSize
	want.known = uint16(1<<(last-base+1) - 1<<(first-base))
	for j := range x.pieces[:x.n] {
		q := &x.pieces[j]
		if !q.stored() {
			continue
		}
		for b := max(int(q.block), first); b <= last && b < int(q.end()); b++ {
			want.of[b-base], want.crc[b-base] = q.address(uint8(b)), x.crc[b]
			stored = true
		}
	}
	return stored
}

// fill makes n what old is, if there is one, but for blocks that are wanted and are not the same. It fails if one
// cannot be read.
func (s *stream) fill(n, old *page, same uint16, want *contents, x *extents, chunk uint32) bool {
	n.has = *want
	base := int(n.id.page%(chunkSize/pageSize)) * pageSize
	for b := 0; b < pageBlocks; {
		read := want.known&^same>>b&1 != 0
		from := b
		for b++; b < pageBlocks && (want.known&^same>>b&1 != 0) == read; b++ {
		}
		lo, hi := from*blockSize, b*blockSize
		switch {
		case read:
			if s.readExtents(x, chunk, n.mem[lo:hi], base+lo) != nil {
				return false
			}
		case old != nil:
			copy(n.mem[lo:hi], old.mem[lo:hi])
			for b := from; b < from+(hi-lo)/blockSize; b++ {
				n.has.of[b], n.has.crc[b] = old.has.of[b], old.has.crc[b]
				n.has.known |= old.has.known & (1 << b)
			}
		}
	}
	return true
}
