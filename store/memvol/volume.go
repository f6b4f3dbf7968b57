package memvol

import (
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"gabion/protocol/dtyp"
	"gabion/store"
)

// Options of New; the zero value is a volume of 1 TiB.
type Options struct {
	Capacity int64 // bytes that live data may take, default 1 TiB
	// Now is the clock of snapshots and of the root's times.
	Now func() time.Time
	// Fault, when set, is asked with a method's name ("WriteAt") before the
	// method does anything; an error of it is returned instead.
	Fault func(method string) error
}

// Volume implements store.Volume.
type Volume struct {
	opt  Options
	info store.Info

	mu     sync.Mutex // guards everything below and all that hangs off it
	live   tree
	snaps  []*snapshot // oldest first
	pins   []*pin      // oldest first
	kv     map[string]map[string][]byte
	lastID store.FileID
	last   store.View
	pos    store.Pos
	closed bool

	held    int // open Holds
	durable store.Pos
	waiting []waiter
}

type waiter struct {
	pos store.Pos
	fn  func(error)
}

var _ store.Volume = (*Volume)(nil)

// New makes an empty volume.
func New(opt Options) *Volume {
	if opt.Capacity == 0 {
		opt.Capacity = 1 << 40
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	v := &Volume{opt: opt, live: tree{}, kv: map[string]map[string][]byte{}, lastID: store.RootID}
	rand.Read(v.info.GUID[:])
	v.info.Serial = uint32(v.info.GUID[0]) | uint32(v.info.GUID[1])<<8 | 1<<16
	v.info.Created = dtyp.FiletimeOf(opt.Now())
	v.info.BlockSize = blockSize
	c := v.info.Created
	v.live[store.RootID] = newInode(store.RootID, store.Init{Dir: true, Times: store.Times{Creation: c, LastAccess: c, LastWrite: c, Change: c}})
	return v
}

func newInode(id store.FileID, init store.Init) *inode {
	n := &inode{id: id, dir: init.Dir, attrs: init.FileAttributes, times: init.Times, eaSize: init.EASize,
		blobs: map[store.BlobKind][]byte{}, streams: map[string]*stream{}}
	n.setBlobs(init.Blobs)
	if init.Dir {
		n.children = map[string]dirent{}
	} else {
		n.unnamed = &stream{data: data{alloc: roundUp(init.Allocation)}}
	}
	return n
}

// enter locks the volume for method; on an error it is not locked.
func (v *Volume) enter(method string) error {
	if v.opt.Fault != nil {
		if err := v.opt.Fault(method); err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
	}
	v.mu.Lock()
	if v.closed {
		v.mu.Unlock()
		return fmt.Errorf("%s: volume closed: %w", method, store.ErrStopped)
	}
	return nil
}

// done is the position of a change just made.
func (v *Volume) done() store.Pos {
	v.pos++
	if v.held == 0 {
		v.durable = v.pos
	}
	return v.pos
}

func (v *Volume) Info() store.Info { return v.info }

func (v *Volume) Space() store.Space {
	v.mu.Lock()
	defer v.mu.Unlock()
	live := map[*block]bool{}
	v.live.eachBlock(func(b *block) { live[b] = true })
	held := map[*block]bool{}
	hold := func(b *block) {
		if !live[b] {
			held[b] = true
		}
	}
	for _, s := range v.snaps {
		s.tree.eachBlock(hold)
	}
	for _, p := range v.pins {
		for _, b := range p.data.blocks {
			hold(b)
		}
	}
	sp := store.Space{Total: v.opt.Capacity, SnapshotHeld: int64(len(held)) * blockSize}
	sp.Used = int64(len(live))*blockSize + sp.SnapshotHeld
	sp.Free = max(0, sp.Total-sp.Used)
	return sp
}

func (t tree) eachBlock(fn func(*block)) {
	for _, n := range t {
		if n.unnamed != nil {
			for _, b := range n.unnamed.blocks {
				fn(b)
			}
		}
		for _, s := range n.streams {
			for _, b := range s.blocks {
				fn(b)
			}
		}
	}
}

// room refuses a change that adds n bytes to what the capacity allows. Only
// a volume with a small capacity is worth the count.
func (v *Volume) room(n int64) error {
	if v.opt.Capacity >= 1<<40 {
		return nil
	}
	for {
		used := n
		for _, t := range append([]tree{v.live}, v.trees()...) {
			t.eachBlock(func(*block) { used += blockSize })
		}
		for _, p := range v.pins {
			used += int64(len(p.data.blocks)) * blockSize
		}
		switch {
		case used <= v.opt.Capacity:
			return nil
		case len(v.pins) == 0:
			return store.ErrNoSpace
		}
		v.pins = v.pins[1:]
	}
}

func (v *Volume) trees() []tree {
	var ts []tree
	for _, s := range v.snaps {
		ts = append(ts, s.tree)
	}
	return ts
}

// tree returns the inodes of a view.
func (v *Volume) tree(view store.View) (tree, error) {
	if view == store.Live {
		return v.live, nil
	}
	s, err := v.snap(view)
	if err != nil {
		return nil, err
	}
	return s.tree, nil
}

// Hold keeps all later changes from becoming durable until release is called:
// Wait blocks and OnDurable waits meanwhile.
func (v *Volume) Hold() (release func()) {
	v.mu.Lock()
	v.held++
	v.mu.Unlock()
	return sync.OnceFunc(func() {
		v.mu.Lock()
		if v.held--; v.held > 0 {
			v.mu.Unlock()
			return
		}
		v.durable = v.pos
		ws := v.waiting
		v.waiting = nil
		v.mu.Unlock()
		for _, w := range ws {
			w.fn(nil)
		}
	})
}

func (v *Volume) Wait(p store.Pos) error {
	c := make(chan error, 1)
	v.OnDurable(p, func(err error) { c <- err })
	return <-c
}

func (v *Volume) OnDurable(p store.Pos, fn func(error)) {
	if err := v.enter("Wait"); err != nil {
		fn(err)
		return
	}
	if p > v.durable {
		v.waiting = append(v.waiting, waiter{p, fn})
		v.mu.Unlock()
		return
	}
	v.mu.Unlock()
	fn(nil)
}

func (v *Volume) Sync() error {
	v.mu.Lock()
	p := v.pos
	v.mu.Unlock()
	return v.Wait(p)
}

func (v *Volume) Close() error {
	v.mu.Lock()
	ws := v.waiting
	v.waiting, v.closed = nil, true
	v.mu.Unlock()
	for _, w := range ws {
		w.fn(nil)
	}
	return nil
}

// Reopen returns the volume as it is found after Close: same contents, no open
// Nodes. The receiver must not be used any more.
func (v *Volume) Reopen() *Volume {
	v.Close()
	return &Volume{opt: v.opt, info: v.info, live: v.live, snaps: slices.Clone(v.snaps), pins: slices.Clone(v.pins), kv: v.kv,
		lastID: v.lastID, last: v.last, pos: v.pos, durable: v.pos}
}

// Copy returns an independent volume in the same state, without open Nodes.
func (v *Volume) Copy() *Volume {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := &Volume{opt: v.opt, info: v.info, live: tree{}, snaps: slices.Clone(v.snaps), pins: slices.Clone(v.pins), kv: map[string]map[string][]byte{},
		lastID: v.lastID, last: v.last, pos: v.pos, durable: v.pos}
	for id, n := range v.live {
		c.live[id] = n.clone()
	}
	for b, m := range v.kv {
		c.kv[b] = maps.Clone(m) // values are never changed in place
	}
	return c
}
