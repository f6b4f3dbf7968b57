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
// volume and waits while the log's buffer is full.
func (v *Volume) admit(int64) error {
	if err := v.check(); err != nil {
		return err
	}
	return v.stopError(v.log.Admit())
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
	if sp := v.Space(); n > sp.Free {
		return store.ErrNoSpace
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
