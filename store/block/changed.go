package block

import (
	"maps"
	"slices"

	"gabion/store"
)

// Changed implements store.Snapshots: the markers of the versions between the views lead to the
// files, and their names to the directories.
func (s snapshots) Changed(a, b store.View, fn func(store.FileID) bool) error {
	v := s.v
	if err := v.check(); err != nil {
		return err
	}
	for _, view := range []store.View{a, b} {
		if view != store.Live {
			if _, err := v.snapshotOf(view); err != nil {
				return err
			}
		}
	}
	touched, err := v.touchedFiles(between(a, b))
	if err != nil {
		return err
	}
	all := map[store.FileID]struct{}{}
	for id := range touched {
		if err := v.addChanged(all, id, a, b); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if !fn(id) {
			break
		}
	}
	return nil
}

// touchedFiles returns the files that changes of versions lo to hi were about. Where a pending clone
// becomes real meanwhile there is a marker then.
func (v *Volume) touchedFiles(lo, hi uint64) (map[store.FileID]struct{}, error) {
	ids := v.pendings.targets(lo, hi)
	err := v.scan([]byte{kMarker}, key64(nil, kMarker, lo), func(key, _ []byte) (bool, error) {
		if be.Uint64(key[1:]) > hi {
			return false, nil
		}
		// Entries show attributes, which says nothing of their directory.
		if len(key) >= 18 && key[9] != kName {
			ids[store.FileID(be.Uint64(key[10:]))] = struct{}{}
		}
		return true, nil
	})
	return ids, err
}

// targets returns the files that have pending clones of versions lo to hi.
func (t *pendTable) targets(lo, hi uint64) map[store.FileID]struct{} {
	ids := map[store.FileID]struct{}{}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for ref, ls := range t.streams {
		for _, l := range ls {
			if l.version >= lo && l.version <= hi {
				ids[ref.file] = struct{}{}
			}
		}
	}
	return ids
}

// addChanged adds a file that one of the views has, and the directories where it has a name in
// one of them only.
func (v *Volume) addChanged(all map[store.FileID]struct{}, id store.FileID, a, b store.View) error {
	there := false
	names := map[link]int{}
	for _, view := range []store.View{a, b} {
		seen, err := v.sees(view, id)
		if err != nil {
			return err
		}
		if !seen {
			continue
		}
		there = true
		if err := v.eachLink(id, maxVersion(view), func(l link) error { names[l]++; return nil }); err != nil {
			return err
		}
	}
	if there {
		all[id] = struct{}{}
	}
	for l, n := range names {
		if _, ok := all[l.parent]; n == 2 || ok {
			continue
		}
		for _, view := range []store.View{a, b} {
			if seen, err := v.sees(view, l.parent); err != nil {
				return err
			} else if seen {
				all[l.parent] = struct{}{}
			}
		}
	}
	return nil
}

// sees reports whether a view has a file by some name.
func (v *Volume) sees(view store.View, id store.FileID) (bool, error) {
	f, err := v.find(inodeKey(nil, id, 0), maxVersion(view))
	if err != nil || !f.live() {
		return false, err
	}
	var a attrs
	if err := a.decode(f.value); err != nil || a.links == 0 && id != store.RootID {
		return false, err
	}
	if view == store.Live {
		return true, nil
	}
	if err = v.inView(view, id); isNotFound(err) {
		return false, nil
	}
	return err == nil, err
}
