package block

import (
	"sync"

	"gabion/store"
)

// entryCache remembers where names of the live tree lead. Changes of the tree read the
// index; who opens by name asks here first.
type entryCache [16]entryShard

type entryShard struct {
	mu  sync.Mutex // guards the rest
	gen uint64     // counts what was dropped
	all map[entryName]target
}

// entryName is a folded name in a directory.
type entryName struct {
	dir store.FileID
	up  string
}

// target is what a name leads to, and its case-preserved form.
type target struct {
	id   store.FileID
	name string
}

const entriesPerShard = 512

func (n entryName) shard() int {
	h := uint32(n.dir)
	for i := range len(n.up) {
		h = h*31 + uint32(n.up[i])
	}
	return int(h>>4^h) & 15
}

// get returns what is known of a name; if that is nothing, gen is for put.
func (c *entryCache) get(n entryName) (t target, gen uint64, ok bool) {
	s := &c[n.shard()]
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok = s.all[n]
	return t, s.gen, ok
}

// put remembers what the index said since get, unless a name changed meanwhile.
func (c *entryCache) put(n entryName, t target, gen uint64) {
	s := &c[n.shard()]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gen != gen {
		return
	}
	if s.all == nil {
		s.all = map[entryName]target{}
	}
	if len(s.all) >= entriesPerShard {
		for k := range s.all {
			delete(s.all, k)
			break
		}
	}
	s.all[n] = t
}

// drop forgets names. It comes between their change and the end of the operation
// that made it.
func (c *entryCache) drop(names []entryName) {
	for _, n := range names {
		s := &c[n.shard()]
		s.mu.Lock()
		s.gen++
		delete(s.all, n)
		s.mu.Unlock()
	}
}
