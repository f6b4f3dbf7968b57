package block

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"gabion/store"
	"gabion/store/seglog"
)

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }

// admit is passed ahead of every change, before its locks: it refuses a stopped
// volume, waits while the log's buffer is full, and keeps what adds something (n bytes, at
// least one for names and the like) out of the segments that deletes, the cleaner and
// changes in place need.
func (v *Volume) admit(n int64) error {
	if err := v.check(); err != nil {
		return err
	}
	if n > 0 {
		if _, free := v.log.Counts(); free < logReserve {
			v.log.Restock(logReserve) // ahead of data, lest that takes the last ones
		}
		if v.tight() {
			if err := v.makeRoom(); err != nil {
				return err
			}
		}
	}
	if v.crowded() {
		return fmt.Errorf("%w: the index cannot be flushed", store.ErrNoSpace)
	}
	return v.stopError(v.log.Admit())
}

// crowded reports that one more table in memory would stall the index until the disk has space.
func (v *Volume) crowded() bool {
	return v.reserve.starved.Load() && v.index.Metrics().MemTable.Count >= indexMemTables-1
}

// addsNames is what is admitted for a change that makes a name, a stream or a snapshot.
const addsNames = 1

// reserveSlots are the segments of a capacity that data may not take: one each for records of
// deletes and for the cleaner's output, and what a flush of the index may need. On a
// file system without space there are logReserve.
const reserveSlots = 4

// limit is how many segments there may be, 0 for as many as the file system takes. The
// capacity counts data; headers of small groups take a little more.
func (v *Volume) limit() int64 {
	if v.opt.Capacity == 0 {
		return 0
	}
	n := (v.opt.Capacity + v.id.segmentSize - 1) / v.id.segmentSize
	return n + n/32 + 2*reserveSlots
}

// available is how many segments could still be begun.
func (v *Volume) available() int64 {
	n := int64(1 << 40)
	used, free := v.log.Counts()
	if limit := v.limit(); limit > 0 {
		n = limit - int64(used)
	}
	if v.log.Short() {
		n = min(n, int64(free)+reserveSlots-logReserve)
	}
	return n
}

// tight says that data must wait for the cleaner.
func (v *Volume) tight() bool { return v.available() <= reserveSlots }

// slack is how many segments the cleaner keeps available.
func (v *Volume) slack() int64 { return max(2*reserveSlots, v.limit()/128) }

// pressed says that the cleaner should hurry.
func (v *Volume) pressed() bool { return v.available() <= v.slack()*3/4 }

// wantsCleaning says whether garbage has to be turned into segments. Without a
// capacity it may be a third of what lives, or some segments.
func (v *Volume) wantsCleaning() bool {
	if v.eager || v.available() < v.slack() {
		return true
	}
	if v.limit() > 0 {
		return false
	}
	used, _ := v.log.Counts()
	live := v.space.living()
	garbage := int64(used)*v.id.segmentSize - live
	return garbage > max(live/3, 16*v.id.segmentSize)
}

// makeRoom cleans in the foreground until data has room again, which slows writers down
// to the pace of the cleaner.
func (v *Volume) makeRoom() error {
	h := &v.work
	if h.vain.same(v) {
		return fmt.Errorf("%w: nothing left to clean", store.ErrNoSpace)
	}
	h.step.Lock()
	defer h.step.Unlock()
	v.log.Prepare() // there may be space again
	flushed := false
	for v.tight() {
		more, err := v.stepLocked()
		if err != nil {
			return err
		}
		if more {
			flushed = false
			continue
		}
		if flushed {
			// Copies that somebody may still want to make give way to writes.
			evicted, err := v.evictPin()
			if err != nil {
				return err
			}
			if evicted {
				flushed = false
				continue
			}
			h.vain.note(v)
			return fmt.Errorf("%w: nothing left to clean", store.ErrNoSpace)
		}
		// Retired segments wait for their records, others for the index to pass them.
		if err := v.Sync(); err != nil {
			return err
		}
		if err := v.flushNow(); err != nil {
			h.vain.note(v)
			return err
		}
		if last, err := v.flushed(); err == nil && v.mirror.needs() < last {
			if err := v.mirror.drop(); err != nil {
				return err
			}
		}
		v.releaseRetired()
		flushed = true
	}
	return nil
}

// vain remembers how the volume stood when cleaning gained nothing, so that the many
// writers of a full volume do not all try.
type vain struct {
	mu         sync.Mutex // guards the rest; a leaf
	at         time.Time
	live       int64
	used, free int
}

func (x *vain) note(v *Volume) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.at, x.live = v.opt.Now(), v.space.living()
	x.used, x.free = v.log.Counts()
}

// same reports whether nothing changed, and no second passed, since then.
func (x *vain) same(v *Volume) bool {
	if v.work.queued() {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	used, free := v.log.Counts()
	since := v.opt.Now().Sub(x.at)
	return used == x.used && free == x.free && v.space.living() == x.live && since >= 0 && since < time.Second
}

// trimEvery is how long a slot must have been free to go: what a burst of writes needs again
// and again stays, because new files cost allocation, their first writes and memory.
const trimEvery = 30 * time.Second

// trim gives free slots that were not used for a while, beyond a few, back to the file
// system. Caller holds step.
func (v *Volume) trim() error {
	if v.limit() > 0 {
		return nil // they are the volume's
	}
	h, now := &v.work, v.opt.Now()
	used, free := v.log.Counts()
	keep := max(8, used/8)
	if free <= keep && h.trimmed.IsZero() {
		return nil
	}
	if since := now.Sub(h.trimmed); since >= 0 && since < trimEvery {
		return nil
	}
	idle := v.log.Idle()
	first := h.trimmed.IsZero()
	h.trimmed = now
	if first {
		idle = 0
	}
	if _, err := v.log.Trim(max(keep, free-idle)); err != nil {
		return err
	}
	if _, free := v.log.Counts(); free <= keep {
		h.trimmed = time.Time{}
	} else if !v.opt.Manual {
		h.pokeIn(alarmTrim, trimEvery)
	}
	return nil
}

// logError makes an error of the log one of the store.
func (v *Volume) logError(err error) error {
	if errors.Is(err, seglog.ErrNoSpace) {
		return fmt.Errorf("%w: %w", store.ErrNoSpace, err)
	}
	return v.stopError(err)
}

// allowance refuses a change that would add n bytes to what the capacity allows.
func (v *Volume) allowance(n int64) error {
	if n <= 0 {
		return nil
	}
	if n > v.Space().Free {
		return store.ErrNoSpace
	}
	return nil
}

// relieve lets pins go, oldest first, while n bytes more are more than there is room for. Caller
// holds no lock.
func (v *Volume) relieve(n int64) error {
	for n > 0 && v.pins.count() > 0 && v.allowance(n) != nil {
		if _, err := v.evictPin(); err != nil {
			return err
		}
		for more := true; more && v.allowance(n) != nil; {
			var err error
			if more, err = v.hurry(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Space implements store.Volume.
func (v *Volume) Space() store.Space {
	s := &v.space
	s.mu.RLock()
	sp := store.Space{Total: v.opt.Capacity, Used: s.live, SnapshotHeld: s.held}
	s.mu.RUnlock()
	if len(*v.snaps.live.Load()) == 0 {
		sp.SnapshotHeld = 0
	}
	sp.SnapshotHeld = min(sp.SnapshotHeld, sp.Used)
	total, room := v.disk.usage(v)
	if sp.Total == 0 {
		sp.Total = total
	}
	sp.Free = max(0, min(sp.Total-sp.Used, room-sp.Used))
	return sp
}

// disk remembers what the file system offers, which is too dear to ask for
// every write.
type disk struct {
	mu    sync.Mutex // guards the rest
	asked time.Time
	total int64
	room  int64 // what the log may hold: its segments and what it can still make
}

// unmeasured is the size of a file system that does not tell.
const unmeasured = 1 << 50

// usage returns the size of the file system and what the log may hold on it.
func (d *disk) usage(v *Volume) (total, room int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := v.opt.Now(); d.asked.IsZero() || now.Sub(d.asked) > time.Second || now.Before(d.asked) {
		d.asked = now
		d.total, d.room = unmeasured, unmeasured
		if du, err := v.opt.FS.GetDiskUsage(v.opt.Dir); err == nil {
			used, free := v.log.Counts()
			d.total = int64(du.TotalBytes)
			// Not the reserve, nor a segment that is being filled for each stream of the log.
			d.room = int64(du.AvailBytes) + int64(used+free-logReserve-2)*v.id.segmentSize
		}
	}
	return d.total, max(0, d.room)
}
