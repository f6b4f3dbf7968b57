package block

import (
	"slices"
	"time"

	"gabion/store"
)

// heldEvery is how often what snapshots and pins keep is added up anew, if anything changed: so
// Space is true to what was so long ago, and as long as a pass takes; while other work never
// ends, twice that.
const heldEvery = 30 * time.Second

// heldPass adds up what only snapshots and pins keep, in bounded steps: of every key that
// has a marker, what older versions hold and the newest does not; of files that are gone, everything.
// Blocks that a clone shares with a live file count as well, so the sum is an upper bound.
type heldPass struct {
	running bool
	pos     uint64 // of the log when the pass began, or the last one did
	began   time.Time
	cursor  []byte
	sum     int64
	dead    []store.FileID
}

// heldLate says that a pass must have its steps although there is other work. Caller holds
// house.step.
func (v *Volume) heldLate() bool {
	return !v.opt.Manual && v.opt.Now().Sub(v.held.began) > 2*v.opt.held
}

// measureHeld does a step of a pass, when one is due. Caller holds house.step.
func (v *Volume) measureHeld() (bool, error) {
	p := &v.held
	if !p.running {
		now, pos := v.opt.Now(), v.log.Last()
		if uint64(pos) == p.pos {
			return false, nil
		}
		if wait := v.opt.held - now.Sub(p.began); !v.opt.Manual && wait > 0 {
			v.work.pokeIn(alarmHeld, wait)
			return false, nil
		}
		*p = heldPass{running: true, pos: uint64(pos), began: now, cursor: []byte{kMarker}}
	}
	more, err := v.heldMarkers(p)
	if err == nil && !more {
		more, err = v.heldDead(p)
	}
	if err != nil || more {
		return true, err
	}
	p.running = false
	v.space.mu.Lock()
	v.space.held = p.sum
	v.space.mu.Unlock()
	return false, nil
}

// heldMarkers looks at the next keys that have markers.
func (v *Volume) heldMarkers(p *heldPass) (more bool, err error) {
	if p.cursor == nil {
		return false, nil
	}
	var found [][]byte
	err = v.scan([]byte{kMarker}, p.cursor, func(key, _ []byte) (bool, error) {
		found = append(found, slices.Clone(key))
		return len(found) < stepKeys, nil
	})
	if err != nil {
		return false, err
	}
	for _, key := range found {
		if len(key) < 10 || key[9] != kChunk && key[9] != kInode {
			continue
		}
		version, body := be.Uint64(key[1:]), key[9:]
		all, err := v.versions(body)
		if err != nil {
			return false, err
		}
		if len(all) == 0 || all[len(all)-1].version != version {
			continue // it is looked at with its newest marker
		}
		newest := all[len(all)-1]
		switch {
		case body[0] == kChunk:
			p.sum += heldBytes(all[:len(all)-1], newest.m)
		case len(newest.value) == 0 && be.Uint32(body[9:]) == 0:
			p.dead = append(p.dead, store.FileID(be.Uint64(body[1:])))
		}
	}
	if len(found) < stepKeys {
		p.cursor = nil
		return false, nil
	}
	p.cursor = append(found[len(found)-1], 0)
	return true, nil
}

// heldDead looks at the next chunks of files that are gone.
func (v *Volume) heldDead(p *heldPass) (more bool, err error) {
	for n := 0; len(p.dead) > 0; {
		prefix := key64(nil, kChunk, uint64(p.dead[0]))
		var body []byte
		var all []state
		add := func() {
			slices.Reverse(all)
			p.sum += heldBytes(all, nil)
			all = all[:0]
		}
		full := false
		err := v.scan(prefix, p.cursor, func(key, value []byte) (bool, error) {
			b, _ := versionOf(key)
			if !slices.Equal(b, body) {
				if add(); n >= 8*stepKeys {
					full, p.cursor = true, slices.Clone(b)
					return false, nil
				}
				body = slices.Clone(b)
				n++
			}
			s, err := stateOf(key, value)
			all = append(all, s)
			return true, err
		})
		if err != nil || full {
			return full, err
		}
		add()
		p.dead, p.cursor = p.dead[1:], nil
	}
	return false, nil
}

// heldBytes counts what versions of a chunk hold that another version does not.
func heldBytes(older []state, newest *chunkMap) (n int64) {
	var x [8]piece
	for b := range uint8(chunkBlocks) {
		for _, q := range runs(x[:0], older, b) {
			if newest != nil {
				if now, ok := newest.at(b); ok && now.same(&q, b) {
					continue
				}
			}
			_, sectors := q.extent(b)
			n += int64(sectors) * sectorSize
		}
	}
	return n
}
