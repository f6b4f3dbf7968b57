package block

import (
	"sync"
	"sync/atomic"

	"gabion/store"
)

// chunkID names a chunk of a stream in a view.
type chunkID struct {
	file   store.FileID
	view   store.View
	stream uint32
	chunk  uint32
}

// chunk is a cached chunk map. A writer holds mu from planning to the end of its
// change, a reader only to copy out what it needs.
type chunk struct {
	id chunkID

	mu      sync.RWMutex // guards what follows up to older
	loaded  bool
	virtual bool // the map is that of a pending clone
	m       chunkMap
	exists  bool   // there is a key for it
	version uint64 // of that key
	older   bool   // there may be keys of older versions
	prev    *chunkMap
	hasPrev bool // prev is known; nil for none
	fresh   bool // written as a part of a large piece since it was loaded

	asked      atomic.Bool // read since it was last written like that
	pins       atomic.Int32
	used       atomic.Bool // since the clock hand last passed
	size       int         // what it counts for; guarded by the shard
	next, back *chunk      // ring of the shard
}

const chunkShards = 64

// chunkCache keeps decoded chunk maps within a budget; it evicts by a clock.
type chunkCache struct {
	v      *Volume
	shards [chunkShards]chunkShard

	hits, misses atomic.Uint64
}

type chunkShard struct {
	mu     sync.Mutex // guards the rest
	all    map[chunkID]*chunk
	hand   *chunk
	size   int
	budget int
}

func (cc *chunkCache) init(v *Volume, budget int64) {
	cc.v = v
	for i := range cc.shards {
		cc.shards[i].all = map[chunkID]*chunk{}
		cc.shards[i].budget = int(budget / chunkShards)
	}
}

func (id *chunkID) shard() int {
	h := (uint64(id.file)*0x9E3779B97F4A7C15 ^ uint64(id.chunk)*0xC2B2AE3D27D4EB4F) + uint64(id.stream)*31 + uint64(id.view)*17
	return int(h >> 58)
}

// get returns the chunk, pinned. It may not be loaded.
func (cc *chunkCache) get(id chunkID) *chunk {
	s := &cc.shards[id.shard()]
	s.mu.Lock()
	c := s.all[id]
	if c == nil {
		c = &chunk{id: id}
		s.all[id] = c
		s.insert(c)
		c.pins.Add(1)
		s.resize(c, chunkOverhead)
	} else {
		c.pins.Add(1)
	}
	s.mu.Unlock()
	if !c.used.Load() {
		c.used.Store(true)
	}
	return c
}

func (c *chunk) unpin() { c.pins.Add(-1) }

// chunkOverhead is what a chunk takes besides its pieces.
const chunkOverhead = 640

// resized accounts for a map that has grown or shrunk. Caller holds c.mu.
func (cc *chunkCache) resized(c *chunk) {
	n := chunkOverhead + 24*cap(c.m.pieces)
	if c.prev != nil {
		n += 300 + 24*cap(c.prev.pieces)
	}
	s := &cc.shards[c.id.shard()]
	s.mu.Lock()
	if c.size != n {
		s.resize(c, n)
	}
	s.mu.Unlock()
}

func (s *chunkShard) insert(c *chunk) {
	if s.hand == nil {
		c.next, c.back = c, c
		s.hand = c
		return
	}
	c.next, c.back = s.hand, s.hand.back
	c.back.next, c.next.back = c, c
}

func (s *chunkShard) drop(c *chunk) {
	if c.next == c {
		s.hand = nil
	} else {
		c.back.next, c.next.back = c.next, c.back
		if s.hand == c {
			s.hand = c.next
		}
	}
	delete(s.all, c.id)
	s.size -= c.size
}

// resize sets what c counts for and evicts others to stay within the budget.
func (s *chunkShard) resize(c *chunk, n int) {
	s.size += n - c.size
	c.size = n
	for steps := 2 * len(s.all); s.size > s.budget && steps > 0; steps-- {
		h := s.hand
		s.hand = h.next
		if h.pins.Load() > 0 || h.used.Swap(false) {
			continue
		}
		s.drop(h)
	}
}

// forget drops what is cached of a file's stream; nobody uses it any more.
func (cc *chunkCache) forget(match func(chunkID) bool) {
	for i := range cc.shards {
		s := &cc.shards[i]
		s.mu.Lock()
		for id, c := range s.all {
			if c.pins.Load() == 0 && match(id) {
				s.drop(c)
			}
		}
		s.mu.Unlock()
	}
}

// load reads the chunk's map from the index. Caller holds mu.
func (cc *chunkCache) load(c *chunk) error {
	if c.loaded {
		return nil
	}
	cc.misses.Add(1)
	var kb [64]byte
	body := chunkBody(kb[:0], c.id.file, c.id.stream, c.id.chunk)
	f, err := cc.v.find(body, maxVersion(c.id.view))
	if err != nil {
		return err
	}
	c.m.reset()
	c.virtual = false
	ref := streamRef{c.id.file, c.id.stream}
	if p := cc.v.pendings.lookup(ref, c.id.chunk, maxVersion(c.id.view)); p != nil && (!f.ok || p.version >= f.version) {
		m, err := cc.v.content(p, c.id.chunk)
		if err != nil {
			return err
		}
		c.m, c.virtual = *m, true
	} else if _, err := c.m.apply(f.value, nil); err != nil {
		return err
	}
	c.exists, c.version, c.loaded = f.ok, f.version, true
	c.older, c.prev, c.hasPrev = f.ok && f.version > 0, nil, false
	cc.resized(c)
	return nil
}

// loadPrev reads the map of the version before the chunk's own. Caller holds mu.
func (cc *chunkCache) loadPrev(c *chunk) error {
	if c.hasPrev || !c.older {
		return nil
	}
	f, err := cc.v.find(chunkBody(nil, c.id.file, c.id.stream, c.id.chunk), c.version-1)
	if err != nil {
		return err
	}
	c.hasPrev, c.older = true, f.ok
	if f.ok {
		c.prev = new(chunkMap)
		if _, err := c.prev.apply(f.value, nil); err != nil {
			return err
		}
	}
	return nil
}
