package block

import (
	"slices"

	"gabion/store"
)

// state is one version of a versioned key.
type state struct {
	version uint64
	value   []byte
	m       *chunkMap // of a chunk's key
}

// nothing reports whether the version is as good as none.
func (s *state) nothing() bool { return len(s.value) == 0 || s.m != nil && len(s.m.pieces) == 0 }

// versions lists the versions of a key, oldest first.
func (v *Volume) versions(body []byte) ([]state, error) {
	var out []state
	err := v.scan(body, nil, func(key, value []byte) (bool, error) {
		if len(key) != len(body)+8 {
			return true, nil
		}
		s, err := stateOf(key, value)
		out = append(out, s)
		return true, err
	})
	slices.Reverse(out)
	return out, err
}

// stateOf decodes one version of a key.
func stateOf(key, value []byte) (state, error) {
	_, version := versionOf(key)
	s := state{version: version, value: append([]byte(nil), value...)}
	if key[0] == kChunk {
		s.m = new(chunkMap)
		if _, err := s.m.apply(value, nil); err != nil {
			return s, err
		}
	}
	return s, nil
}

// pruneVersions plans the removal of the versions of a key, oldest first, that nobody sees: none of the
// living snapshots and, for the newest, not the live volume either if the file
// died in version end. It returns what stays.
func (v *Volume) pruneVersions(c *change, body []byte, all []state, dead bool, end uint64) []state {
	l := *v.snaps.live.Load()
	var kept []state
	for i, s := range all {
		seen := false
		switch {
		case i+1 < len(all):
			seen = l.within(s.version, all[i+1].version)
		case dead && body[0] == kInode && len(s.value) == 0:
			seen = len(kept) > 0 // the tombstone hides what is older
		case dead:
			seen = l.within(s.version, end)
		default:
			seen = true
		}
		// Nothing and nothing at all look alike.
		if seen && len(kept) == 0 && s.nothing() {
			seen = false
		}
		if seen {
			kept = append(kept, s)
		} else {
			c.del(at(body, s.version))
		}
	}
	if body[0] == kChunk && len(kept) < len(all) {
		unref(c, all, kept)
	}
	return kept
}

// unref drops the references of what lay in all and does not in kept. A block
// that consecutive versions share has one reference.
func unref(c *change, all, kept []state) {
	var x, y [8]piece
	for b := range uint8(chunkBlocks) {
		before, after := runs(x[:0], all, b), runs(y[:0], kept, b)
		for _, p := range before {
			i := slices.IndexFunc(after, func(q piece) bool { return q.same(&p, b) })
			if i >= 0 {
				after = slices.Delete(after, i, i+1)
				continue
			}
			off, n := p.extent(b)
			c.ref(p.container, off, n, -1)
		}
	}
}

// runs appends what block b held, once for consecutive versions that hold the same.
func runs(out []piece, states []state, b uint8) []piece {
	var last piece
	have := false
	for _, s := range states {
		p, ok := s.m.at(b)
		ok = ok && p.stored()
		if ok && !(have && p.same(&last, b)) {
			out = append(out, p)
		}
		last, have = p, ok
	}
	return out
}

const (
	stepKeys  = 128 // index keys that a background step may visit
	stepBytes = 48 << 10
	stepFiles = 64 // that a step may remove
)

// death returns whether a file is dead, and since which version: its newest
// inode is a tombstone.
func (v *Volume) death(id store.FileID) (end uint64, dead bool, err error) {
	f, err := v.find(inodeKey(nil, id, 0), newest)
	if err != nil {
		return 0, false, err
	}
	if !f.ok {
		return newest, true, nil
	}
	return f.version, len(f.value) == 0, nil
}

// removeOrphan does a step of removing a file, or a stream, that has no name, and others
// behind it as long as the step has room.
func (v *Volume) removeOrphan(o orphan) error {
	if n := v.peek(o.id); n != nil && o.whole {
		v.work.finishedOrphans(0, 1) // its last Close queues it again
		return nil
	}
	if err := v.admit(0); err != nil {
		return err
	}
	if more, err := v.dropPending(o); more || err != nil {
		return err
	}
	v.epoch.RLock()
	defer v.epoch.RUnlock()
	c := newChange()
	defer c.free()
	in := &scanner{v: v}
	defer in.close()
	done := 0
	for more := true; more; {
		last, err := v.planRemoval(c, in, o)
		if err != nil {
			v.work.removing = nil
			v.work.finishedOrphans(done, 1)
			return err
		}
		if !last {
			break
		}
		done++
		o, more = v.anotherOrphan(c, done)
	}
	if len(c.body) > 0 || len(c.refs) > 0 {
		if _, err := v.commit(c); err != nil {
			v.work.finishedOrphans(0, 1)
			return err
		}
	}
	v.work.finishedOrphans(0, done)
	return nil
}

// planRemoval plans a step of removing an orphan and reports whether it was the last.
func (v *Volume) planRemoval(c *change, in *scanner, o orphan) (bool, error) {
	if o.whole {
		return v.removeFile(c, in, o.id)
	}
	return v.removeStream(c, o.id, o.stream)
}

// anotherOrphan returns the file at place i of the queue if a change that removes
// those ahead may remove it too. What they are planned from is the index, so no two
// may be of the same file.
func (v *Volume) anotherOrphan(c *change, i int) (orphan, bool) {
	if i >= stepFiles || len(c.body)+32*len(c.refs) > stepBytes/2 {
		return orphan{}, false
	}
	v.work.mu.Lock()
	q := v.work.orphans[:min(i+1, len(v.work.orphans))]
	v.work.mu.Unlock()
	if len(q) <= i || !q[i].whole || slices.ContainsFunc(q[:i], func(o orphan) bool { return o.id == q[i].id }) {
		return orphan{}, false
	}
	if v.peek(q[i].id) != nil || v.pendings.of(q[i]) != nil {
		return orphan{}, false
	}
	return q[i], true
}

// dropPending does a step of ending the pending clones of what is being removed: one
// that a snapshot sees is made real.
func (v *Volume) dropPending(o orphan) (bool, error) {
	p := v.pendings.of(o)
	if p == nil {
		return false, nil
	}
	if v.snaps.live.Load().within(p.version, newest) {
		return true, v.realiseSome(p)
	}
	v.epoch.RLock()
	defer v.epoch.RUnlock()
	t := &v.pendings
	t.cutting.Lock()
	defer t.cutting.Unlock()
	c := newChange()
	defer c.free()
	var e pendEdit
	if p = t.of(o); p == nil {
		return true, nil
	}
	e.cut(c, p, p.first, p.end())
	if _, err := v.commit(c); err != nil {
		return true, err
	}
	t.change(e.gone, e.new)
	return true, nil
}

// removeFile plans a step and reports whether it was the last.
func (v *Volume) removeFile(c *change, in *scanner, id store.FileID) (bool, error) {
	body := inodeKey(nil, id, 0)
	f, err := v.find(body, newest)
	if err != nil {
		return false, err
	}
	label := v.snaps.label(f.version, v.version)
	if f.live() && label > 0 {
		// From here on nobody but snapshots sees it.
		c.set(at(body, label), nil)
		c.mark(label, body)
		return false, nil
	}
	end := uint64(newest)
	if f.ok {
		end = f.version
	}
	var cursor *removal
	if cursor = v.work.removing; cursor == nil || cursor.id != id {
		cursor = &removal{id: id, prefixes: []byte{kChunk, kStream, kBlob, kInode}}
		v.work.removing = cursor
	}
	done, err := v.removeKeys(c, in, cursor, end)
	switch {
	case err != nil:
	case done:
		v.work.removing = nil
		c.del(orphanKey(nil, id))
	case f.live() && cursor.prefixes[0] != kInode:
		c.set(at(body, 0), nil) // a snapshot from now on does not see it
	}
	return done, err
}

// removal is how far the removal of a file got.
type removal struct {
	id       store.FileID
	prefixes []byte
	from     []byte
}

// removeKeys prunes the keys of a dead file, as many as a step may.
func (v *Volume) removeKeys(c *change, in *scanner, r *removal, end uint64) (bool, error) {
	type key struct {
		body []byte
		all  []state
	}
	for n := 0; len(r.prefixes) > 0; {
		prefix := key64(nil, r.prefixes[0], uint64(r.id))
		var keys []key
		full := false
		err := in.scan(prefix, r.from, func(k, value []byte) (bool, error) {
			body, _ := versionOf(k)
			if len(keys) == 0 || !slices.Equal(keys[len(keys)-1].body, body) {
				if n == stepKeys {
					full = true
					return false, nil
				}
				keys = append(keys, key{body: slices.Clone(body)})
				n++
			}
			s, err := stateOf(k, value)
			last := &keys[len(keys)-1]
			last.all = append(last.all, s)
			return true, err
		})
		if err != nil {
			return false, err
		}
		for _, k := range keys {
			if len(c.body)+32*len(c.refs) > stepBytes {
				r.from = k.body
				return false, nil
			}
			slices.Reverse(k.all)
			v.pruneVersions(c, k.body, k.all, true, end)
			c.room(v.log.MaxPayload(), maxEdits)
		}
		if full {
			// The step may be full before the first key of a prefix.
			if n := len(keys); n > 0 {
				r.from = after(keys[n-1].body)
			}
			return false, nil
		}
		r.prefixes, r.from = r.prefixes[1:], nil
	}
	return true, nil
}

// removeStream plans a step of removing what a named stream held, and reports
// whether it was the last.
func (v *Volume) removeStream(c *change, id store.FileID, no uint32) (bool, error) {
	if _, dead, err := v.death(id); dead || err != nil {
		// It goes, or went, with its file, whose tombstone does not say what covers it.
		c.del(orphanStreamKey(nil, id, no))
		return err == nil, err
	}
	cover := v.coverOf(id, nil)
	list, err := v.chunksOf(id, no, 0, ^uint32(0))
	if err != nil {
		return false, err
	}
	left := false
	for _, i := range list {
		if len(c.body)+32*len(c.refs) > stepBytes {
			left = true
			break
		}
		if err := v.dropChunk(c, id, no, i, cover); err != nil {
			return false, err
		}
		c.room(v.log.MaxPayload(), maxEdits)
	}
	if left {
		return false, nil
	}
	body := inodeKey(nil, id, no)
	f, err := v.find(body, newest)
	if err != nil {
		return false, err
	}
	c.remove(body, f, v.snaps.label(f.version, cover))
	c.del(orphanStreamKey(nil, id, no))
	v.chunks.forget(func(k chunkID) bool { return k.file == id && k.stream == no && k.view == store.Live })
	return true, nil
}

// dropChunk plans that a live chunk becomes empty.
func (v *Volume) dropChunk(c *change, id store.FileID, no, i uint32, cover uint64) error {
	body := chunkBody(nil, id, no, i)
	all, err := v.versions(body)
	if err != nil || len(all) == 0 {
		return err
	}
	last := all[len(all)-1]
	if len(last.m.pieces) == 0 {
		return nil
	}
	if label := v.snaps.label(last.version, cover); label > last.version {
		c.set(at(body, label), []byte{opReset})
		c.mark(label, body)
		return nil
	}
	kept := all[:len(all)-1]
	unref(c, all, kept)
	if len(kept) > 0 {
		c.set(at(body, last.version), []byte{opReset})
	} else {
		c.del(at(body, last.version))
	}
	return nil
}
