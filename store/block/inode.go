package block

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"gabion/store"
)

// inode is a file or directory that is open in one view. All Nodes of it share it.
type inode struct {
	v    *Volume
	id   store.FileID
	view store.View
	dir  bool

	refs       int    // guarded by its shard of the inodeTable
	next, prev *inode // ring of the shard while idle; guarded by it

	gone    atomic.Bool   // the last name was removed
	own     atomic.Uint64 // attrs.cover
	cover   atomic.Uint64
	coverAt atomic.Uint64 // Volume.coverGen+1 when cover was computed; 0: never
	folders atomic.Pointer[folders]
	links   atomic.Uint64 // changes of its links
	quota   atomic.Pointer[domain]
	quotaAt atomic.Uint64 // quotaTable.gen when quota was found; 0: never

	mu      sync.Mutex // guards what follows
	a       attrs      // sizes are those of data, see inode.attrs
	version uint64     // of the stored record
	deltas  int        // merged into that since it was written whole, at most
	stale   bool       // the directory entries show older attributes
	data    *stream    // the unnamed stream; nil for a directory
	streams map[uint32]*stream

	security []byte // a copy of the blob, if secured
	secured  bool
}

type inodeID struct {
	id   store.FileID
	view store.View
}

const (
	inodeShards = 16
	// idlePerShard is how many inodes a shard keeps that nobody has open.
	idlePerShard = 512
	// maxDeltas bounds what a reader of a record has to merge.
	maxDeltas = 32
)

// inodeTable holds the open inodes, and live ones that were open lately: most are soon
// opened again, and their directory entries need not be brought up to date in between.
type inodeTable struct {
	shards  [inodeShards]inodeShard
	staleMu sync.RWMutex
	stale   map[store.FileID]struct{} // whose entries are stale
}

type inodeShard struct {
	mu    sync.Mutex // guards the rest
	open  map[inodeID]*inode
	idle  inode // head of the ring; its next was used last
	count int   // of idle inodes
}

func (t *inodeTable) init() {
	for i := range t.shards {
		s := &t.shards[i]
		s.open = map[inodeID]*inode{}
		s.idle.next, s.idle.prev = &s.idle, &s.idle
	}
	t.stale = map[store.FileID]struct{}{}
}

// hold takes a reference. Caller holds mu.
func (s *inodeShard) hold(n *inode) {
	if n.next != nil {
		s.unlink(n)
	}
	n.refs++
}

func (s *inodeShard) unlink(n *inode) {
	n.prev.next, n.next.prev = n.next, n.prev
	n.next, n.prev = nil, nil
	s.count--
}

// park makes n idle. When that is one too many it returns another with a
// reference, to be let go. Caller holds mu.
func (s *inodeShard) park(n *inode) *inode {
	h := &s.idle
	n.next, n.prev = h.next, h
	h.next.prev, h.next = n, n
	if s.count++; s.count <= idlePerShard {
		return nil
	}
	oldest := h.prev
	s.hold(oldest)
	return oldest
}

func (t *inodeTable) isStale(id store.FileID) bool {
	t.staleMu.RLock()
	defer t.staleMu.RUnlock()
	_, ok := t.stale[id]
	return ok
}

func (t *inodeTable) setStale(id store.FileID, on bool) {
	t.staleMu.Lock()
	defer t.staleMu.Unlock()
	if on {
		t.stale[id] = struct{}{}
	} else {
		delete(t.stale, id)
	}
}

// maxVersion is the bound of a view: snapshot s sees what is older than s.
func maxVersion(view store.View) uint64 { return uint64(view) - 1 }

// open returns the inode with a reference taken. A nameless file is found only if it is open already
// and nameless is set.
func (v *Volume) open1(id store.FileID, view store.View, nameless bool) (*inode, error) {
	s := &v.inodes.shards[id%inodeShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	key := inodeID{id, view}
	n := s.open[key]
	if n == nil {
		var err error
		if n, err = v.loadInode(id, view); err != nil {
			return nil, err
		}
	}
	if n.gone.Load() && !nameless {
		return nil, fmt.Errorf("file %d: %w", id, store.ErrNotFound)
	}
	s.hold(n)
	s.open[key] = n
	return n, nil
}

// peek returns the inode if it is open or idle, without a reference.
func (v *Volume) peek(id store.FileID) *inode {
	s := &v.inodes.shards[id%inodeShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[inodeID{id, store.Live}]
}

func (v *Volume) loadInode(id store.FileID, view store.View) (*inode, error) {
	f, err := v.find(inodeKey(nil, id, 0), maxVersion(view))
	if err != nil {
		return nil, err
	}
	if !f.live() {
		return nil, fmt.Errorf("file %d: %w", id, store.ErrNotFound)
	}
	var a attrs
	if err := a.decode(f.value); err != nil {
		return nil, fmt.Errorf("file %d: %w", id, err)
	}
	n := v.newInode(id, view, a, f.version)
	if view == store.Live {
		n.stale = v.inodes.isStale(id)
	}
	return n, nil
}

// newInode returns the inode of a record.
func (v *Volume) newInode(id store.FileID, view store.View, a attrs, version uint64) *inode {
	n := &inode{v: v, id: id, view: view, dir: a.dir, a: a, version: version, deltas: maxDeltas}
	n.own.Store(a.cover)
	n.gone.Store(a.links == 0 && id != store.RootID)
	if !n.dir {
		n.data = newStream(n, a.data, "", version, a.sizes)
	}
	return n
}

// adopt opens a file that was just made, unless somebody did already, and returns
// its inode with a reference.
func (v *Volume) adopt(n *inode) *inode {
	s := &v.inodes.shards[n.id%inodeShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	key := inodeID{n.id, n.view}
	if first := s.open[key]; first != nil {
		n = first
	}
	s.hold(n)
	s.open[key] = n
	return n
}

// ref takes another reference.
func (n *inode) ref() {
	s := &n.v.inodes.shards[n.id%inodeShards]
	s.mu.Lock()
	n.refs++
	s.mu.Unlock()
}

// release drops a reference. After the last one a live inode stays for a while, and a
// nameless file is given up for removal.
func (n *inode) release() {
	s := &n.v.inodes.shards[n.id%inodeShards]
	var old *inode
	s.mu.Lock()
	n.refs--
	last := n.refs == 0
	if keep := n.view == store.Live && !n.gone.Load(); last && keep {
		old = s.park(n)
		last = false
	} else if last {
		delete(s.open, inodeID{n.id, n.view})
	}
	s.mu.Unlock()
	if last && n.view == store.Live {
		n.v.work.orphan(orphan{id: n.id, whole: true})
	}
	if old != nil {
		old.letGo()
	}
}

// letGo brings the directory entries of an inode that was idle up to date, and
// drops it with the reference that park took unless somebody opened it again.
func (n *inode) letGo() {
	if !n.gone.Load() {
		n.refresh()
	}
	s := &n.v.inodes.shards[n.id%inodeShards]
	s.mu.Lock()
	n.refs--
	last := n.refs == 0
	if last {
		delete(s.open, inodeID{n.id, n.view})
	}
	s.mu.Unlock()
	if last && n.gone.Load() {
		n.v.work.orphan(orphan{id: n.id, whole: true})
	}
}

// attrs returns the current attributes. Caller holds mu or does not mind sizes of
// a change in flight.
func (n *inode) attrs() attrs {
	a := n.a
	if n.data != nil {
		a.sizes = n.data.sizes()
	}
	return a
}

func (n *inode) public() store.Attr {
	n.mu.Lock()
	a := n.attrs()
	n.mu.Unlock()
	return a.public(n.id)
}

// update plans the edits that make the inode's record a. Caller holds mu, and calls
// updated when the change is committed.
func (n *inode) update(c *change, a *attrs) uint64 {
	label := n.label(n.version)
	old := n.attrs()
	body := inodeKey(nil, n.id, 0)
	if label == n.version && n.deltas < maxDeltas {
		var buf [128]byte
		if delta := a.encode(buf[:0], &old); len(delta) > 0 {
			c.merge(at(body, label), delta)
		}
	} else if label == n.version {
		c.set(at(body, label), a.full(nil))
	} else {
		c.set(at(body, label), a.full(nil))
		c.mark(label, body)
	}
	if !n.stale && a.links > 0 {
		c.set(key64(nil, kStale, uint64(n.id)), nil)
	}
	return label
}

func (n *inode) updated(a *attrs, label uint64) {
	if n.deltas++; n.deltas > maxDeltas || label != n.version {
		n.deltas = 0
	}
	n.a = *a
	n.own.Store(a.cover)
	n.version = label
	if !n.stale && a.links > 0 {
		n.stale = true
		n.v.inodes.setStale(n.id, true)
	}
}

// label returns the version under which a key of this file is written whose
// newest version is old: that one, unless a living snapshot sees it.
func (n *inode) label(old uint64) uint64 { return n.v.snaps.label(old, n.covered()) }

// covered returns the newest snapshot that covers the file, living or not.
func (n *inode) covered() uint64 {
	if len(*n.v.snaps.live.Load()) == 0 {
		return 0 // none that matters to anybody
	}
	gen := n.v.coverGen.Load() + 1
	if n.coverAt.Load() == gen {
		return n.cover.Load()
	}
	c := n.v.coverOf(n.id, n)
	n.cover.Store(c)
	n.coverAt.Store(gen)
	return c
}

// folders is what a live file lies in. After every snapshot the first change of a file asks for them,
// while other changes wait for it.
type folders struct {
	links uint64 // inode.links when they were read
	ids   []store.FileID
}

// parents returns the folders that a live file has a name in. Caller holds epoch, which keeps
// snapshots away until a change of links that goes on is over: before and after it the answer is as good.
func (n *inode) parents() ([]store.FileID, error) {
	links := n.links.Load()
	if f := n.folders.Load(); f != nil && f.links == links {
		return f.ids, nil
	}
	ids, err := n.v.foldersOf(n.id)
	if err == nil {
		n.folders.Store(&folders{links, ids})
	}
	return ids, err
}

// foldersOf reads the folders that a live file has a name in.
func (v *Volume) foldersOf(id store.FileID) (ids []store.FileID, err error) {
	err = v.eachLink(id, newest, func(l link) error {
		if !slices.Contains(ids, l.parent) {
			ids = append(ids, l.parent)
		}
		return nil
	})
	return ids, err
}

// refresh brings the entries of a live inode up to date.
func (n *inode) refresh() {
	v := n.v
	n.mu.Lock()
	stale := n.stale
	n.mu.Unlock()
	if !stale || v.check() != nil {
		return
	}
	v.names.Lock()
	defer v.names.Unlock()
	v.epoch.RLock()
	defer v.epoch.RUnlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.stale || n.gone.Load() {
		return
	}
	c := newChange()
	defer c.free()
	a := n.attrs()
	err := v.eachLink(n.id, newest, func(l link) error {
		e := entry{l.name, n.id, a}
		body := nameKey(nil, l.parent, l.up)
		old, err := v.find(body, newest)
		if err != nil {
			return err
		}
		c.put(body, old, v.labelIn(l.parent, old.version), e.encode(nil))
		return nil
	})
	if err != nil {
		return // they stay marked as stale
	}
	c.del(key64(nil, kStale, uint64(n.id)))
	if _, err := v.commit(c); err == nil {
		n.stale = false
		v.inodes.setStale(n.id, false)
	}
}

func (v *Volume) loadStale() error {
	return v.scan([]byte{kStale}, nil, func(key, _ []byte) (bool, error) {
		v.inodes.stale[store.FileID(be.Uint64(key[1:]))] = struct{}{}
		return true, nil
	})
}
