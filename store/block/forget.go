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
	v.snaps.update(func(m map[uint64]*snapshot) { delete(m, id) })
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
		if err := v.forgetKey(c, id, body, gone, end); err != nil {
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

// forgetKey prunes a key for a deleted snapshot and moves or removes its marker.
func (v *Volume) forgetKey(c *change, id uint64, body []byte, dead bool, end uint64) error {
	kept, err := v.prune(c, body, dead, end)
	if err != nil {
		return err
	}
	c.del(markerKey(nil, id, body))
	p := v.snaps.live.Load().newestUpTo(id - 1)
	// The snapshot before sees an older version, or, of a chunk, a file or a link, that there
	// was none: differences are found by markers.
	if len(kept) > 0 && (kept[0].version < p || body[0] == kChunk || body[0] == kInode || body[0] == kLink) {
		c.mark(p, body)
	}
	return nil
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
	var file store.FileID
	var end uint64
	dead := false
	for _, body := range bodies {
		if len(held) == stepKeys/4 || len(c.body)+32*len(c.refs) > stepBytes {
			break
		}
		key := chunkID{file: store.FileID(be.Uint64(body[1:])), stream: be.Uint32(body[9:]), chunk: be.Uint32(body[13:])}
		if key.file != file {
			var err error
			if end, dead, err = v.death(key.file); err != nil {
				return 0, err
			}
			file = key.file
		}
		ck := v.chunks.get(key)
		ck.mu.Lock()
		held = append(held, ck)
		if err := v.realiseChunk(ck); err != nil {
			return 0, err
		}
		if err := v.forgetKey(c, id, body, dead, end); err != nil {
			return 0, err
		}
		c.room(v.log.MaxPayload(), maxEdits)
	}
	if _, err := v.commit(c); err != nil {
		return 0, err
	}
	for _, ck := range held {
		ck.loaded = false
	}
	return len(held), nil
}
