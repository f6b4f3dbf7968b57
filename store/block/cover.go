package block

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"gabion/store"
)

// living is the numbers of the snapshots that exist, hidden ones included, in order.
type living []uint64

// newestUpTo returns the newest that is at most n, 0 for none.
func (l living) newestUpTo(n uint64) uint64 {
	i, found := slices.BinarySearch(l, n)
	if found {
		return n
	}
	if i == 0 {
		return 0
	}
	return l[i-1]
}

// within reports whether one lies in (from, to].
func (l living) within(from, to uint64) bool { return l.newestUpTo(to) > from }

// snapTable is what is known of snapshots in memory. Its lists are replaced, never changed.
type snapTable struct {
	live atomic.Pointer[living]
	all  atomic.Pointer[snapList]

	mu    sync.RWMutex         // guards the rest; a leaf
	names map[string]*snapshot // those that can be found: everybody waits while one is taken, so that reads nothing
}

// snapList is the snapshots in order, those that are being deleted included.
type snapList []*snapshot

// search returns the place of a snapshot and whether it is there.
func (l snapList) search(id uint64) (int, bool) {
	return slices.BinarySearchFunc(l, id, func(s *snapshot, id uint64) int { return cmp.Compare(s.id, id) })
}

// list returns the snapshots in order.
func (t *snapTable) list() snapList { return *t.all.Load() }

// find returns a snapshot, nil if there is none.
func (t *snapTable) find(id uint64) *snapshot {
	l := t.list()
	if i, ok := l.search(id); ok {
		return l[i]
	}
	return nil
}

func (t *snapTable) init() {
	t.load(snapList{}, living{})
}

// load replaces all that is known.
func (t *snapTable) load(all snapList, live living) {
	t.live.Store(&live)
	t.all.Store(&all)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.names = make(map[string]*snapshot, len(all))
	for _, s := range all {
		if s.named() {
			t.names[s.name] = s
		}
	}
}

// byName returns the snapshot of a name, nil if there is none.
func (t *snapTable) byName(name string) *snapshot {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.names[name]
}

// call lets a snapshot be found by its name, or no longer.
func (t *snapTable) call(s *snapshot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.named() {
		t.names[s.name] = s
	} else if now := t.names[s.name]; now != nil && now.id == s.id {
		delete(t.names, s.name)
	}
}

// put adds a snapshot or replaces it. Caller holds epoch for writing, or opens the volume.
func (t *snapTable) put(s *snapshot) {
	all := t.list()
	i, there := all.search(s.id)
	old := all[i:]
	if there {
		old = old[1:]
	}
	all = slices.Concat(all[:i], snapList{s}, old)
	t.all.Store(&all)
	t.call(s)
	t.lives(s.id, !s.doomed)
}

// remove forgets a snapshot. Caller holds epoch for writing.
func (t *snapTable) remove(id uint64) {
	all := t.list()
	if i, ok := all.search(id); ok {
		all = slices.Concat(all[:i], all[i+1:])
		t.all.Store(&all)
	}
	t.lives(id, false)
}

// lives notes whether a snapshot exists.
func (t *snapTable) lives(id uint64, yes bool) {
	l := *t.live.Load()
	i, there := slices.BinarySearch(l, id)
	switch {
	case yes && !there:
		l = slices.Concat(l[:i], living{id}, l[i:])
	case !yes && there:
		l = slices.Concat(l[:i], l[i+1:])
	default:
		return
	}
	t.live.Store(&l)
}

// label returns the version under which to write a key whose newest version is
// old, for a file covered up to cover: the newest living snapshot that sees
// it, or in place when none does.
func (t *snapTable) label(old, cover uint64) uint64 {
	if cover <= old {
		return old
	}
	return max(old, t.live.Load().newestUpTo(cover))
}

// coverOf computes the newest snapshot that covers a live file: by itself, by an
// earlier place, or by a directory above it.
// n is its inode if it is open or idle.
func (v *Volume) coverOf(id store.FileID, n *inode) uint64 {
	cover := v.ownCover(id)
	var parents []store.FileID
	var err error
	if n != nil {
		parents, err = n.parents()
	} else {
		parents, err = v.foldersOf(id)
	}
	if err != nil {
		return v.version // too much costs space only
	}
	// A directory has one parent; a file with several names asks for each.
	for _, p := range parents {
		cover = max(cover, v.coverOfDir(p))
	}
	if id != store.RootID {
		cover = max(cover, v.ownCover(store.RootID))
	}
	return cover
}

func (v *Volume) coverOfDir(id store.FileID) uint64 {
	if n := v.peek(id); n != nil {
		return n.covered()
	}
	return v.coverOf(id, nil)
}

func (v *Volume) ownCover(id store.FileID) uint64 {
	if n := v.peek(id); n != nil {
		return n.own.Load()
	}
	f, err := v.find(inodeKey(nil, id, 0), newest)
	if err != nil {
		return v.version
	}
	var a attrs
	if err := a.decode(f.value); err != nil {
		return v.version
	}
	return a.cover
}

// labelIn is the label of a key that belongs to a directory.
func (v *Volume) labelIn(dir store.FileID, old uint64) uint64 {
	return v.snaps.label(old, v.coverOfDir(dir))
}
