package block

import "slices"

// near.go finds the versions of a key on either side of a snapshot without reading the others.

// edge is a version of a key, if there is one.
type edge struct {
	version uint64
	ok      bool
}

// near is the versions of a key around a snapshot: the one that the snapshot saw, the one before
// that, and the first that it did not see.
type near struct{ older, seen, next edge }

// near finds the versions around snapshot id.
func (s *scanner) near(body []byte, id uint64) (n near, err error) {
	if n.next, err = s.above(body, id-1); err != nil {
		return n, err
	}
	below := [...]*edge{&n.seen, &n.older}
	i := 0
	for ok := s.it.SeekGE(at(body, id-1)); ok && i < len(below); ok = s.it.Next() {
		if e, ok := s.edge(body); ok {
			*below[i] = e
			i++
		}
	}
	return n, s.v.indexError(s.it.Error())
}

// above finds the oldest version of a key that is newer than version.
func (s *scanner) above(body []byte, version uint64) (edge, error) {
	if err := s.only(body); err != nil {
		return edge{}, err
	}
	for ok := s.it.SeekLT(at(body, version)); ok; ok = s.it.Prev() {
		if e, ok := s.edge(body); ok {
			return e, nil
		}
	}
	return edge{}, s.v.indexError(s.it.Error())
}

// edge is the version that the iterator stands at, unless it is of a longer key.
func (s *scanner) edge(body []byte) (edge, bool) {
	key := s.it.Key()
	if len(key) != len(body)+8 {
		return edge{}, false
	}
	_, version := versionOf(key)
	return edge{version, true}, true
}

// only confines the iterator to the versions of a key.
func (s *scanner) only(body []byte) error {
	upper := append(slices.Clone(body), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0)
	return s.bounds(upper[:len(body)], upper)
}

// version reads one version of a key.
func (s *scanner) version(body []byte, version uint64) (state, error) {
	key := at(body, version)
	if err := s.only(body); err != nil {
		return state{}, err
	}
	if !s.it.SeekGE(key) || string(s.it.Key()) != string(key) {
		if err := s.it.Error(); err != nil {
			return state{}, s.v.indexError(err)
		}
		return state{version: version}, nil
	}
	value, err := s.it.ValueAndErr()
	if err != nil {
		return state{}, s.v.indexError(err)
	}
	return stateOf(key, value)
}

// unref drops the references of versions of a chunk that go. Older and next stay on either side, if
// they are there: what lies further off holds nothing together with those that go.
func (s *scanner) unref(c *change, body []byte, older edge, gone []state, next edge) error {
	var all, kept []state
	if older.ok {
		o, err := s.version(body, older.version)
		if err != nil {
			return err
		}
		all, kept = append(all, o), append(kept, o)
	}
	all = append(all, gone...)
	if next.ok {
		n, err := s.version(body, next.version)
		if err != nil {
			return err
		}
		all, kept = append(all, n), append(kept, n)
	}
	unref(c, all, kept)
	return nil
}

// unseen lists the versions that go with a snapshot, from the one on that it saw, and the first behind
// them, which stays. seen says whether somebody else sees that version, which ends where above begins.
func (s *scanner) unseen(body []byte, n near, seen func(above edge) bool) (gone []state, first edge, err error) {
	first = n.next
	if n.seen.ok {
		st, goes, err := s.goes(body, n, seen(n.next))
		if err != nil {
			return nil, edge{}, err
		}
		if !goes {
			return nil, n.seen, nil
		}
		gone = append(gone, st)
	}
	if n.older.ok {
		return gone, first, nil
	}
	// In front of all others, nothing and nothing at all look alike.
	for first.ok {
		st, err := s.version(body, first.version)
		if err != nil {
			return nil, edge{}, err
		}
		if !st.nothing() {
			break
		}
		gone = append(gone, st)
		if first, err = s.above(body, first.version); err != nil {
			return nil, edge{}, err
		}
	}
	return gone, first, nil
}

// goes decides on the version that the snapshot saw, and reads it if there is need.
func (s *scanner) goes(body []byte, n near, seen bool) (st state, goes bool, err error) {
	if seen && n.older.ok {
		return st, false, nil
	}
	if st, err = s.version(body, n.seen.version); err != nil {
		return st, false, err
	}
	switch {
	case !n.older.ok:
		return st, !seen || st.nothing(), nil
	case body[0] == kInode && !n.next.ok && len(st.value) == 0:
		return st, false, nil // the tombstone hides what is older
	}
	return st, true, nil
}
