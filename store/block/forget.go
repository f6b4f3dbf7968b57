package block

import (
	"slices"

	"gabion/store"
)

// inUse reports whether an inode is open in a view.
func (t *inodeTable) inUse(view store.View) bool {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for id := range s.open {
			if id.view == view {
				s.mu.Unlock()
				return true
			}
		}
		s.mu.Unlock()
	}
	return false
}

// removeSnapshot does a step of removing what only a deleted snapshot kept: it
// works off the snapshot's markers.
func (v *Volume) removeSnapshot(id uint64) error {
	if err := v.admit(0); err != nil {
		return err
	}
	prefix := key64(nil, kMarker, id)
	var bodies [][]byte
	err := v.scan(prefix, nil, func(key, _ []byte) (bool, error) {
		bodies = append(bodies, slices.Clone(key[9:]))
		return len(bodies) < stepKeys, nil
	})
	if err != nil {
		v.work.finishedDoomed()
		return err
	}
	if len(bodies) == 0 {
		v.work.finishedDoomed()
		return v.snapshotGone(id)
	}
	var chunks, others [][]byte
	for _, b := range bodies {
		if b[0] == kChunk {
			chunks = append(chunks, b)
		} else {
			others = append(others, b)
		}
	}
	if err = v.forgetOthers(id, others); err == nil {
		err = v.forgetChunks(id, chunks)
	}
	if err != nil {
		v.work.finishedDoomed()
	}
	return err
}

func (v *Volume) snapshotGone(id uint64) error {
	v.epoch.Lock()
	defer v.epoch.Unlock()
	c := newChange()
	defer c.free()
	c.del(snapKey(id))
	if _, err := v.commit(c); err != nil {
		return err
	}
	v.snaps.remove(id)
	v.chunks.forget(func(k chunkID) bool { return k.view == store.View(id) })
	return nil
}

// forgetOthers works off markers of names, inodes and what belongs to them. Nothing
// else may change them meanwhile; the steps are short.
func (v *Volume) forgetOthers(id uint64, bodies [][]byte) error {
	if len(bodies) == 0 {
		return nil
	}
	v.epoch.Lock()
	defer v.epoch.Unlock()
	c := newChange()
	defer c.free()
	in := &scanner{v: v}
	defer in.close()
	var dead []store.FileID
	for _, body := range bodies {
		file := store.FileID(be.Uint64(body[1:]))
		var end uint64
		gone := false
		if body[0] == kInode || body[0] == kBlob || body[0] == kStream {
			var err error
			if end, gone, err = v.death(file); err != nil {
				return err
			}
		}
		if gone && body[0] == kInode && be.Uint32(body[9:]) == 0 {
			// Its chunks may go too; the tombstone stays until they have been looked at.
			dead = append(dead, file)
			c.set(orphanKey(nil, file), nil)
			v.rehome(c, id, body)
			c.room(v.log.MaxPayload(), maxEdits)
			continue
		}
		if _, err := v.forgetKey(c, in, id, body, gone, end); err != nil {
			return err
		}
		c.room(v.log.MaxPayload(), maxEdits)
	}
	if _, err := v.commit(c); err != nil {
		return err
	}
	for _, file := range dead {
		v.work.orphan(orphan{id: file, whole: true})
	}
	return nil
}

// rehome moves a marker to the newest living snapshot below, where the key's older versions
// are looked at next.
func (v *Volume) rehome(c *change, id uint64, body []byte) {
	c.del(markerKey(nil, id, body))
	if p := v.snaps.live.Load().newestUpTo(id - 1); p > 0 {
		c.mark(p, body)
	}
}

// forgetKey removes the version of a key that only a deleted snapshot saw, and moves or removes the
// key's marker. Only the versions on either side of the snapshot can be concerned, so a key that was
// changed between many snapshots costs no more than another. It reports whether a version goes.
func (v *Volume) forgetKey(c *change, in *scanner, id uint64, body []byte, dead bool, end uint64) (bool, error) {
	c.del(markerKey(nil, id, body))
	n, err := in.near(body, id)
	if err != nil {
		return false, err
	}
	living := *v.snaps.live.Load()
	gone, first, err := in.unseen(body, n, func(above edge) bool {
		if above.ok {
			return living.within(n.seen.version, above.version)
		}
		return !dead || living.within(n.seen.version, end)
	})
	if err != nil {
		return false, err
	}
	for _, s := range gone {
		c.del(at(body, s.version))
	}
	if body[0] == kChunk && len(gone) > 0 {
		if err := in.unref(c, body, n.older, gone, first); err != nil {
			return false, err
		}
	}
	// The snapshot before sees an older version, or, of a chunk, a file or a link, that there
	// was none: differences are found by markers.
	p := living.newestUpTo(id - 1)
	traced := body[0] == kChunk || body[0] == kInode || body[0] == kLink
	if n.older.ok || first.ok && (traced || first.version < p) {
		c.mark(p, body)
	}
	return len(gone) > 0, nil
}

// forgetChunks works off markers of chunks, in the order of their keys, with the
// chunks locked.
func (v *Volume) forgetChunks(id uint64, bodies [][]byte) error {
	for len(bodies) > 0 {
		n, err := v.forgetSome(id, bodies)
		if err != nil {
			return err
		}
		bodies = bodies[n:]
	}
	return nil
}

// forgetSome works off some markers as one change and returns how many.
func (v *Volume) forgetSome(id uint64, bodies [][]byte) (int, error) {
	v.epoch.RLock()
	defer v.epoch.RUnlock()
	c := newChange()
	defer c.free()
	var held []*chunk
	defer func() {
		for _, ck := range held {
			ck.mu.Unlock()
			ck.unpin()
		}
	}()
	for _, body := range bodies[:min(len(bodies), stepKeys/4)] {
		ck := v.chunks.get(chunkID{file: store.FileID(be.Uint64(body[1:])), stream: be.Uint32(body[9:]), chunk: be.Uint32(body[13:])})
		ck.mu.Lock()
		held = append(held, ck)
		if err := v.realiseChunk(ck); err != nil {
			return 0, err
		}
	}
	in := &scanner{v: v} // it sees them as they are now that they are locked and real
	defer in.close()
	var file store.FileID
	var end uint64
	dead, done := false, 0
	for done < len(held) && len(c.body)+32*len(c.refs) <= stepBytes {
		ck, body := held[done], bodies[done]
		if done++; ck.id.file != file {
			var err error
			if end, dead, err = v.death(ck.id.file); err != nil {
				return 0, err
			}
			file = ck.id.file
		}
		changed, err := v.forgetKey(c, in, id, body, dead, end)
		if err != nil {
			return 0, err
		}
		if changed {
			defer func() { ck.loaded = false }() // while it is locked
		}
		c.room(v.log.MaxPayload(), maxEdits)
	}
	_, err := v.commit(c)
	return done, err
}
