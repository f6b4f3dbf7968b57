package block

import (
	"cmp"
	"slices"
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

// snapTable is what is known of snapshots in memory.
type snapTable struct {
	live   atomic.Pointer[living]
	byID   atomic.Pointer[map[uint64]*snapshot] // copied on change
	sorted atomic.Pointer[sortedSnaps]
}

// sortedSnaps are the snapshots of a table in order, made when somebody asks for a list.
type sortedSnaps struct {
	of   *map[uint64]*snapshot
	list []*snapshot
}

// list returns the snapshots in order.
func (t *snapTable) list() []*snapshot {
	m := t.byID.Load()
	if s := t.sorted.Load(); s != nil && s.of == m {
		return s.list
	}
	s := &sortedSnaps{m, make([]*snapshot, 0, len(*m))}
	for _, sn := range *m {
		s.list = append(s.list, sn)
	}
	slices.SortFunc(s.list, func(a, b *snapshot) int { return cmp.Compare(a.id, b.id) })
	t.sorted.Store(s)
	return s.list
}

func (t *snapTable) init() {
	t.live.Store(&living{})
	t.byID.Store(&map[uint64]*snapshot{})
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
func (v *Volume) coverOf(id store.FileID) uint64 {
	cover := v.ownCover(id)
	// A directory has one parent; a file with several names asks for each.
	if err := v.eachLink(id, newest, func(l link) error {
		cover = max(cover, v.coverOfDir(l.parent))
		return nil
	}); err != nil {
		return v.version // too much costs space only
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
	return v.coverOf(id)
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
