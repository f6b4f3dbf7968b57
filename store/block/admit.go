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
// volume, waits while the log's buffer is full, and keeps data (n bytes) out of
// the segments that deletes, the cleaner and metadata need.
func (v *Volume) admit(n int64) error {
	if err := v.check(); err != nil {
		return err
	}
	if n > 0 && v.tight() {
		if err := v.makeRoom(); err != nil {
			return err
		}
	}
	return v.stopError(v.log.Admit())
}

// reserveSlots are the segments that data may not take: one each for records of
// deletes and for the cleaner's output, and what a flush of the index may need.
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
	limit := v.limit()
	if limit == 0 {
		return 1 << 40
	}
	used, _ := v.log.Counts()
	return limit - int64(used)
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
	if v.eager {
		return true
	}
	if v.limit() > 0 {
		return v.available() < v.slack()
	}
	used, _ := v.log.Counts()
	v.space.mu.RLock()
	live := v.space.live
	v.space.mu.RUnlock()
	garbage := int64(used)*v.id.segmentSize - live
	return garbage > max(live/3, 16*v.id.segmentSize)
}

// makeRoom cleans in the foreground until data has room again, which slows writers down
// to the pace of the cleaner.
func (v *Volume) makeRoom() error {
	h := &v.work
	h.step.Lock()
	defer h.step.Unlock()
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
			return fmt.Errorf("%w: nothing left to clean", store.ErrNoSpace)
		}
		// Retired segments wait for their records, others for the index to pass them.
		if err := v.Sync(); err != nil {
			return err
		}
		if err := v.flushNow(); err != nil {
			return err
		}
		v.releaseRetired()
		flushed = true
	}
	return nil
}

// trim gives free slots beyond what is soon used again back to the file system.
func (v *Volume) trim() error {
	if v.limit() > 0 {
		return nil // they are the volume's
	}
	used, _ := v.log.Counts()
	_, err := v.log.Trim(max(8, used/8))
	return err
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
			if more, err = v.Step(); err != nil {
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
	if sp.Total > 0 {
		sp.Free = max(0, sp.Total-sp.Used)
		return sp
	}
	sp.Total, sp.Free = v.disk.usage(v)
	sp.Free = min(sp.Free, sp.Total)
	return sp
}

// disk remembers what the file system offers, which is too dear to ask for
// every write.
type disk struct {
	mu          sync.Mutex // guards the rest
	asked       time.Time
	total, free int64
	live        int64 // of the log when asked
}

// unmeasured is the size of a file system that does not tell.
const unmeasured = 1 << 50

func (d *disk) usage(v *Volume) (total, free int64) {
	v.space.mu.RLock()
	live := v.space.live
	v.space.mu.RUnlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := v.opt.Now(); d.asked.IsZero() || now.Sub(d.asked) > time.Second {
		d.asked, d.live = now, live
		du, err := v.opt.FS.GetDiskUsage(v.opt.Dir)
		if err != nil {
			d.total, d.free = unmeasured, unmeasured-live
		} else {
			_, slots := v.log.Counts()
			d.total, d.free = int64(du.TotalBytes), int64(du.AvailBytes)+int64(slots)*v.id.segmentSize
		}
	}
	return d.total, max(0, d.free-max(0, live-d.live))
}
