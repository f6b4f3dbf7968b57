package block

import (
	"fmt"
	"math/bits"

	"github.com/cockroachdb/pebble/v2"

	"gabion/store"
)

// Usage says what takes a volume's space, counted exactly at one state of the index.
// Pending clones count when they become real.
type Usage struct {
	Live         int64 // what the live files refer to
	Shared       int64 // with more than one reference
	SnapshotHeld int64 // what only snapshots refer to
	Snapshots    []SnapshotUsage
	Files        map[store.FileID]FileUsage
}

// SnapshotUsage is one snapshot's.
type SnapshotUsage struct {
	Name   string
	View   store.View
	Unique int64 // given back if this one were deleted, and no other
}

// FileUsage is one file's. What it shares counts in full for each that shares it.
type FileUsage struct {
	Live, Shared int64
	SnapshotHeld int64
}

// Usage counts what takes the space: it reads all chunk maps, but no data.
func (v *Volume) Usage() (Usage, error) {
	if err := v.check(); err != nil {
		return Usage{}, err
	}
	c := &checker{v: v, how: CheckOptions{SkipData: true}, weight: v.window}
	v.epoch.Lock()
	c.hold(v.index.NewSnapshot())
	c.segs = map[uint64]bool{}
	v.space.mu.RLock()
	for seq := range v.space.segs {
		c.segs[seq] = true
	}
	v.space.mu.RUnlock()
	u := &usage{checker: c, out: Usage{Files: map[store.FileID]FileUsage{}}, unique: map[uint64]int64{}, living: *v.snaps.live.Load()}
	all := v.snaps.list()
	v.epoch.Unlock()
	defer c.drop()
	var from regionID
	for more := true; more; {
		var end regionID
		if len(c.segs)*v.space.regions() > c.most() { // which regions it can be of is found by counting them
			all, err := c.window(from)
			if err != nil {
				return u.out, err
			}
			end = all.end
		}
		w := newWindow(from, end)
		if err := w.load(c); err != nil {
			return u.out, err
		}
		if err := u.count(w); err != nil {
			return u.out, err
		}
		from, more = w.end, w.end != regionID{}
	}
	if c.sum.Problems > 0 {
		return u.out, fmt.Errorf("%d problems: the volume needs a check", c.sum.Problems)
	}
	for _, s := range all {
		if !s.hidden && !s.doomed {
			u.out.Snapshots = append(u.out.Snapshots, SnapshotUsage{s.name, store.View(s.id), u.unique[s.id]})
		}
	}
	v.space.mu.Lock()
	v.space.held = u.out.SnapshotHeld
	v.space.mu.Unlock()
	return u.out, nil
}

// usage is a count in progress.
type usage struct {
	*checker
	out    Usage
	unique map[uint64]int64
	living living

	file store.FileID
	dead bool
	end  uint64 // version that a dead file died in
}

// count counts what lies in a window of regions.
func (u *usage) count(w *window) error {
	held := map[regionID]*sectors{}
	var all []state
	var body []byte
	flush := func() error {
		if len(all) == 0 {
			return nil
		}
		if err := u.lookUp(store.FileID(be.Uint64(body[1:]))); err != nil {
			return err
		}
		for b := range uint8(chunkBlocks) {
			u.block(w, held, all, b)
		}
		all = all[:0]
		return nil
	}
	err := u.scan(kChunk, func(key, value []byte) error {
		b, version := versionOf(key)
		if string(b) != string(body) {
			if err := flush(); err != nil {
				return err
			}
			body = append(body[:0], b...)
		}
		m := new(chunkMap)
		if _, err := m.apply(value, nil); err != nil {
			return err
		}
		all = append(all, state{version: version, m: m}) // newest first
		return nil
	})
	if err == nil {
		err = flush()
	}
	for id, h := range held {
		for i, x := range h {
			if at := w.counts[id]; at != nil {
				x &^= at.refs[i]
			}
			u.out.SnapshotHeld += int64(bits.OnesCount64(x)) * sectorSize
		}
	}
	for _, at := range w.counts {
		for i, x := range at.refs {
			u.out.Live += int64(bits.OnesCount64(x)) * sectorSize
			for ; x != 0; x &= x - 1 {
				if at.is(i*64+bits.TrailingZeros64(x)) < 0 {
					u.out.Shared += sectorSize
				}
			}
		}
	}
	return err
}

// lookUp finds out whether a file is dead, and since when.
func (u *usage) lookUp(id store.FileID) error {
	if id == u.file {
		return nil
	}
	prefix := inodeKey(nil, id, 0)
	it, err := u.snap.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return err
	}
	defer it.Close()
	u.file, u.dead, u.end = id, true, newest
	if it.First() {
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		_, u.end = versionOf(it.Key())
		u.dead = len(value) == 0
	}
	return it.Error()
}

// block counts one block of a chunk, whose versions are given newest first.
func (u *usage) block(w *window, held map[regionID]*sectors, all []state, b uint8) {
	upper := uint64(newest)
	if u.dead {
		upper = u.end
	}
	for i := 0; i < len(all); {
		p, ok := all[i].m.at(b)
		j := i + 1
		for ; ok && j < len(all); j++ {
			if q, same := all[j].m.at(b); !same || !q.same(&p, b) {
				break
			}
		}
		if live := i == 0 && !u.dead; ok && p.stored() {
			u.run(w, held, &p, b, live, all[j-1].version, upper)
		}
		upper = all[j-1].version
		i = j
	}
}

// run counts one block that versions from on hold, as seen by the snapshots up to upper.
func (u *usage) run(w *window, held map[regionID]*sectors, p *piece, b uint8, live bool, from, upper uint64) {
	f := u.out.Files[u.file]
	only := uint64(0) // the one snapshot that sees it
	if last := u.living.newestUpTo(upper); !live && last > from && u.living.newestUpTo(last-1) <= from {
		only = last
	}
	off, n := p.extent(b)
	for s := off; s < off+n; s++ {
		id := regionID{p.container, uint16(s / regionSects)}
		if !w.holds(id) {
			continue
		}
		at := w.at(id)
		shared := at.is(int(s%regionSects)) < 0
		switch {
		case live:
			at.refs.add(int(s % regionSects))
			f.Live += sectorSize
			if shared {
				f.Shared += sectorSize
			}
		default:
			if held[id] == nil {
				held[id] = new(sectors)
			}
			held[id].add(int(s % regionSects))
			f.SnapshotHeld += sectorSize
			if only != 0 && !shared {
				u.unique[only] += sectorSize
			}
		}
	}
	u.out.Files[u.file] = f
}
