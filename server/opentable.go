package server

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// openTable is GlobalOpenTable [MS-SMB2] 3.3.1.5. An open is found by the volatile
// part of its FileId without a lock: it is the place in the table, and a number
// that makes ids of former tenants of that place invalid.
type openTable struct {
	chunks [maxOpens / chunkSize]atomic.Pointer[openChunk]

	mu         sync.Mutex
	free       []uint32         // places given back; guarded by mu
	used       uint32           // places ever used; guarded by mu
	generation uint32           // guarded by mu
	durable    map[uint64]*open // by persistent id; guarded by mu
	epoch      uint64           // upper bits of the persistent ids of this process; guarded by mu
	last       uint64           // lower bits of the last one; guarded by mu
}

type openChunk [chunkSize]atomic.Pointer[open]

const (
	chunkSize = 1024
	maxOpens  = 4 << 20 // about 1 GiB of opens; the table of chunks takes 32 KiB
)

func (t *openTable) init() {
	t.durable = map[uint64]*open{}
	t.generation = rand.Uint32()
	t.adopt(uint64(rand.Uint32()))
}

// incarnationShift leaves 24 bits of a persistent id to the server's incarnation, and to each
// incarnation more opens than it lives to see.
const incarnationShift = 40

// adopt makes the persistent ids those of an incarnation of the server.
func (t *openTable) adopt(incarnation uint64) {
	t.mu.Lock()
	t.epoch = incarnation << incarnationShift
	t.mu.Unlock()
}

// add gives o its FileId and makes it reachable. With persistent not 0 that is its
// persistent part, which must not be in use.
func (t *openTable) add(o *open, persistent uint64) ntstatus.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	var place uint32
	switch n := len(t.free); {
	case n > 0:
		place = t.free[n-1]
		t.free = t.free[:n-1]
	case t.used < maxOpens:
		place = t.used
		t.used++
	default:
		return ntstatus.TooManyOpenedFiles
	}
	chunk := t.chunks[place/chunkSize].Load()
	if chunk == nil {
		chunk = new(openChunk)
		t.chunks[place/chunkSize].Store(chunk)
	}
	if persistent == 0 {
		persistent = t.nextID()
	}
	// Neither half of a FileId is ever 0 or all ones.
	t.generation++
	if t.generation == 0 || t.generation == ^uint32(0) {
		t.generation = 1
	}
	o.id = smb2.FileID{Persistent: persistent, Volatile: uint64(t.generation)<<32 | uint64(place)}
	t.durable[persistent] = o
	chunk[place%chunkSize].Store(o)
	return ntstatus.Success
}

// nextID is a persistent id that was never used. Caller holds mu.
func (t *openTable) nextID() uint64 {
	for {
		t.last++
		if id := t.epoch | t.last; t.durable[id] == nil {
			return id
		}
	}
}

// reserve returns the persistent id of an open that no session has yet.
func (t *openTable) reserve() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.nextID()
}

// find returns the open with a FileId, nil if there is none.
func (t *openTable) find(id smb2.FileID) *open {
	place := uint32(id.Volatile)
	if place >= maxOpens {
		return nil
	}
	chunk := t.chunks[place/chunkSize].Load()
	if chunk == nil {
		return nil
	}
	if o := chunk[place%chunkSize].Load(); o != nil && o.id == id {
		return o
	}
	return nil
}

// byPersistent returns the attached open with a persistent id, nil if there is none.
func (t *openTable) byPersistent(id uint64) *open {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.durable[id]
}

// remove makes o unreachable.
func (t *openTable) remove(o *open) {
	place := uint32(o.id.Volatile)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.chunks[place/chunkSize].Load()[place%chunkSize].CompareAndSwap(o, nil) {
		return
	}
	if t.durable[o.id.Persistent] == o {
		delete(t.durable, o.id.Persistent)
	}
	t.free = append(t.free, place)
}

// all lists the opens.
func (t *openTable) all() []*open {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*open, 0, len(t.durable))
	for _, o := range t.durable {
		list = append(list, o)
	}
	return list
}

func (t *openTable) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.durable)
}
