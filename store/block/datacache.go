package block

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gabion/store"
)

// The data cache keeps data that was read and verified, in pages of 64 KiB of a stream. A page says of
// each of its blocks which stored one it holds. What is stored at an address of a container never changes:
// a container's number is never given out again, and what the cleaner moves keeps its address. So nothing
// need be told of writes, clones or restores; whoever finds a page compares its addresses and
// checksums with those in the chunk map, and what differs is read anew.

const (
	pageSize   = 64 << 10
	pageBlocks = pageSize / blockSize
	// leastCached is how large a read must be to use the cache: a smaller one gains little by it.
	leastCached = pageSize / 2
)

// pageID names a page of a stream, in whichever view: most of what views hold is the same.
type pageID struct {
	file   store.FileID
	stream uint32
	page   uint64
}

// address names what a block of a stream holds: a stored block, or zeros if there is none.
type address struct {
	container uint64
	at        uint64 // the offset, and in its last byte which block of a frame, from 1
}

func (p *piece) address(b uint8) address {
	switch p.kind {
	case opRaw:
		return address{p.container, uint64(p.off+uint32(b-p.block)*blockSize) << 8}
	case opPacked:
		return address{p.container, uint64(p.off)<<8 | uint64(p.first+(b-p.block)+1)}
	}
	return address{}
}

// contents is what blocks of a page hold, or should hold.
type contents struct {
	known uint16 // one bit for each block: nothing is said of others
	of    [pageBlocks]address
	crc   [pageBlocks]uint32
}

// same returns those blocks that hold the same in both.
func (c *contents) same(o *contents) uint16 {
	same := c.known & o.known
	for b := range pageBlocks {
		if c.of[b] != o.of[b] || c.crc[b] != o.crc[b] {
			same &^= 1 << b
		}
	}
	return same
}

// page is memory of the cache. Once it is in the table its data and contents do not change until
// nobody refers to it: a page of which a part is out of date is replaced by another.
type page struct {
	cache *dataCache
	shard *pageShard
	id    pageID
	mem   []byte
	has   contents
	used  atomic.Bool  // since the clock's hand last passed
	refs  atomic.Int32 // who reads or fills it; one for the table. From 0 it rises under the shard's mu only
	// listed says that it is in the table; guarded by the shard's mu.
	listed bool
}

// Release implements store.Loan.
func (w *page) Release() {
	if w.refs.Add(-1) == 0 && w.cache.closed.Load() {
		w.cache.unmap()
	}
}

// dataCache is the volume's cache of data. Each shard has its own pages and evicts by a clock.
type dataCache struct {
	shards []pageShard
	least  int    // how large a read must be to use it
	mem    []byte // of all pages; outside the heap unless small
	mapped bool   // guarded by ending

	closed atomic.Bool
	ending sync.Mutex

	hits, misses atomic.Uint64 // bytes
}

type pageShard struct {
	mu     sync.Mutex // guards the rest
	all    map[pageID]*page
	own    []page
	hand   int
	ghosts [][ghostWays]uint32 // pages read lately that are not in the table
}

// ghostWays is how many pages share a row of ghosts.
const ghostWays = 4

// leastMapped is the size from which a cache lies outside the heap, where the garbage collector
// does not count it; smaller ones are for tests.
const leastMapped = 8 << 20

// init makes a cache of so many bytes. Its memory is taken as it is used.
func (c *dataCache) init(size int64) error {
	n := int(size / pageSize)
	if n == 0 {
		return nil
	}
	if size < leastMapped {
		c.mem = make([]byte, n*pageSize)
	} else {
		mem, err := unix.Mmap(-1, 0, n*pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
		if err != nil {
			return err
		}
		unix.Madvise(mem, unix.MADV_HUGEPAGE) //nolint:errcheck // it is only faster
		c.mem, c.mapped = mem, true
	}
	shards := min(16, max(1, n/64))
	c.least = leastCached
	c.shards = make([]pageShard, shards)
	for i := range c.shards {
		s := &c.shards[i]
		from, to := i*n/shards, (i+1)*n/shards
		s.all = make(map[pageID]*page, to-from)
		s.own = make([]page, to-from)
		s.ghosts = make([][ghostWays]uint32, max(1, (to-from)/2))
		for j := range s.own {
			at := (from + j) * pageSize
			w := &s.own[j]
			w.cache, w.shard, w.mem = c, s, c.mem[at:at+pageSize:at+pageSize]
		}
	}
	return nil
}

func (id *pageID) hash() uint64 {
	h := uint64(id.file)*0x9E3779B97F4A7C15 ^ (id.page+1)*0xC2B2AE3D27D4EB4F ^ uint64(id.stream)*0x165667B19E3779F9
	h ^= h >> 29
	return h * 0xBF58476D1CE4E5B9
}

func (c *dataCache) shard(h uint64) *pageShard { return &c.shards[(h>>32)*uint64(len(c.shards))>>32] }

// find returns the page, held, or nil.
func (c *dataCache) find(s *pageShard, id pageID) *page {
	s.mu.Lock()
	w := s.all[id]
	if w != nil {
		w.refs.Add(1)
	}
	s.mu.Unlock()
	if w != nil && !w.used.Load() {
		w.used.Store(true)
	}
	return w
}

// again notes that a page was read which is not there, and reports whether it was read before, not
// long ago: then it is worth its place.
func (s *pageShard) again(h uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	row := &s.ghosts[h%uint64(len(s.ghosts))]
	tag := uint32(h>>32) | 1
	for i, t := range row {
		if t == tag {
			copy(row[i:], row[i+1:])
			row[ghostWays-1] = 0
			return true
		}
	}
	copy(row[1:], row[:])
	row[0] = tag
	return false
}

// take returns a page to be filled, held by the caller alone; nil if all are in use.
func (c *dataCache) take(s *pageShard) *page {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.closed.Load() {
		return nil
	}
	for range 2 * len(s.own) {
		w := &s.own[s.hand]
		if s.hand++; s.hand == len(s.own) {
			s.hand = 0
		}
		switch {
		case w.refs.Load() == 0:
			w.refs.Store(1)
		case !w.listed || w.refs.Load() > 1 || w.used.Swap(false):
			continue
		default:
			delete(s.all, w.id)
			w.listed = false // the table's reference is the caller's now
		}
		return w
	}
	return nil
}

// enter puts a filled page into the table in place of the one that is there.
func (c *dataCache) enter(w *page) {
	s := w.shard
	s.mu.Lock()
	old := s.all[w.id]
	if c.closed.Load() {
		s.mu.Unlock()
		return
	}
	w.refs.Add(1)
	w.listed = true
	w.used.Store(old != nil)
	s.all[w.id] = w
	if old != nil {
		old.listed = false
	}
	s.mu.Unlock()
	if old != nil {
		old.Release()
	}
}

// close empties the cache. Its memory goes when nobody reads it any more.
func (c *dataCache) close() {
	if len(c.shards) == 0 || c.closed.Swap(true) {
		return
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for id, w := range s.all {
			delete(s.all, id)
			w.listed = false
			w.refs.Add(-1)
		}
		s.mu.Unlock()
	}
	c.unmap()
}

// unmap gives the memory back unless somebody reads it.
func (c *dataCache) unmap() {
	c.ending.Lock()
	defer c.ending.Unlock()
	if _, borrowed := c.holds(); !c.mapped || borrowed > 0 {
		return
	}
	c.mapped = false
	unix.Munmap(c.mem) //nolint:errcheck // it was mapped by us
}

// holds counts the bytes of pages in the table, and of those that somebody refers to.
func (c *dataCache) holds() (cached, borrowed int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for j := range s.own {
			refs := s.own[j].refs.Load()
			if s.own[j].listed {
				cached += pageSize
				refs--
			}
			if refs > 0 {
				borrowed += pageSize
			}
		}
		s.mu.Unlock()
	}
	return cached, borrowed
}
