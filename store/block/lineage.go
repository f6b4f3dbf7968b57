package block

import (
	"fmt"
	"slices"

	"gabion/store"
)

// lineage answers for one file which of many snapshots cover it: it reads the history of the
// file's links, and of those of the folders above it, once.
type lineage struct {
	v     *Volume
	files map[store.FileID]*ancestry
}

// ancestry is what is known of one file in all versions.
type ancestry struct {
	inode history
	links []linkHistory
}

type linkHistory struct {
	parent store.FileID
	history
}

// history is the versions of a key, newest first, and whether there was something.
type history []was

type was struct {
	version uint64
	live    bool
}

// at reports whether there was something for who sees versions up to max.
func (h history) at(max uint64) bool {
	i, _ := slices.BinarySearchFunc(h, max, func(e was, max uint64) int {
		switch {
		case e.version > max:
			return -1
		case e.version < max:
			return 1
		}
		return 0
	})
	return i < len(h) && h[i].live
}

// of reads what is known of a file.
func (l *lineage) of(id store.FileID) (*ancestry, error) {
	if a := l.files[id]; a != nil {
		return a, nil
	}
	a := &ancestry{}
	body := inodeKey(nil, id, 0)
	err := l.v.scan(body, nil, func(key, value []byte) (bool, error) {
		if len(key) == len(body)+8 {
			_, version := versionOf(key)
			a.inode = append(a.inode, was{version, len(value) > 0})
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	var last []byte
	err = l.v.scan(key64(nil, kLink, uint64(id)), nil, func(key, value []byte) (bool, error) {
		body, version := versionOf(key)
		if last == nil || string(body) != string(last) {
			last = append(last[:0], body...)
			a.links = append(a.links, linkHistory{parent: store.FileID(be.Uint64(body[9:]))})
		}
		k := &a.links[len(a.links)-1]
		k.history = append(k.history, was{version, len(value) > 0})
		return true, nil
	})
	l.files[id] = a
	return a, err
}

// covered is Volume.covers by what was read.
func (l *lineage) covered(s *snapshot, id store.FileID, depth int) (bool, error) {
	if slices.Contains(s.scope, id) {
		return true, nil
	}
	if depth > 1000 {
		return false, fmt.Errorf("file %d is below itself", id)
	}
	a, err := l.of(id)
	if err != nil {
		return false, err
	}
	max := maxVersion(store.View(s.id))
	if slices.Contains(s.scope, store.RootID) {
		return a.inode.at(max), nil
	}
	for i := range a.links {
		if !a.links[i].at(max) {
			continue
		}
		if ok, err := l.covered(s, a.links[i].parent, depth+1); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// Versions implements store.Snapshots: a snapshot's number is in the markers of what was changed
// since it was taken and before the next one was.
func (s snapshots) Versions(id store.FileID) ([]store.Snapshot, error) {
	list, err := s.List(id)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	touched := s.v.pendings.versionsOf(id)
	it := scanner{v: s.v}
	defer it.close()
	// A snapshot that does not cover the file may stand between two that do.
	numbers := *s.v.snaps.live.Load()
	out := list[:0]
	for i, sn := range list {
		next := ^uint64(0)
		if i+1 < len(list) {
			next = uint64(list[i+1].View)
		}
		at, _ := slices.BinarySearch(numbers, uint64(sn.View))
		differs := false
		for ; at < len(numbers) && numbers[at] < next && !differs; at++ {
			if differs = touched[numbers[at]]; !differs {
				if differs, err = it.marked(numbers[at], id); err != nil {
					return nil, err
				}
			}
		}
		if differs {
			out = append(out, sn)
		}
	}
	return out, nil
}

// marked reports whether something of a file was changed first in a version.
func (it *scanner) marked(version uint64, id store.FileID) (found bool, err error) {
	for _, kind := range [...]byte{kBlob, kChunk, kInode, kStream} {
		prefix := key64(key64(nil, kMarker, version)[:9:9], kind, uint64(id))
		err = it.scan(prefix, nil, func([]byte, []byte) (bool, error) {
			found = true
			return false, nil
		})
		if found || err != nil {
			break
		}
	}
	return found, err
}
