package block

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
)

// logReserve is how many free segments the log keeps that data may not take when the file
// system has no space for others: one for the records of deletes and one for the cleaner.
const logReserve = 2

// reserve is what lets the index be flushed and compacted when the file system is full: a file
// that gives its space up, and free segments beyond those that the log needs. Once there is
// space again the file comes back. A second, small one is kept for an opening, which writes a
// MANIFEST before it knows which segments are free.
type reserve struct {
	v *Volume
	// starved: the index found no space and there was none to give. Until it does, changes
	// are refused, because it would stall on them for ever.
	starved atomic.Bool

	mu             sync.Mutex // guards the rest; a leaf
	there, opening bool       // the files exist
	tried          time.Time
}

const (
	reserveFile     = "RESERVE"
	openReserveFile = "RESERVE.open"
	openReserveSize = 512 << 10
)

// restock is how often the reserve is looked after.
const restock = 5 * time.Second

func (r *reserve) init(v *Volume) {
	r.v = v
	_, err := v.opt.FS.Stat(r.path(reserveFile))
	r.there = err == nil
	_, err = v.opt.FS.Stat(r.path(openReserveFile))
	r.opening = err == nil
}

func (r *reserve) path(name string) string { return r.v.opt.FS.PathJoin(r.v.opt.Dir, name) }

// give frees some space and reports whether there was any to free.
func (r *reserve) give() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.there {
		r.there, r.tried = false, r.v.opt.Now()
		return r.remove(reserveFile)
	}
	if !r.v.running.Load() {
		there := r.opening
		r.opening = false
		return there && r.remove(openReserveFile)
	}
	_, free := r.v.log.Counts()
	n, err := r.v.log.Trim(max(1, free-1))
	return n > 0 && err == nil
}

func (r *reserve) remove(name string) bool {
	fs := r.v.opt.FS
	return fs.Remove(r.path(name)) == nil && syncDir(fs, r.v.opt.Dir) == nil
}

// squeeze turns segments that wait for the index to pass them into free ones, ahead of all other
// work, when the log is about to run out of them: what follows needs records.
func (v *Volume) squeeze() (bool, error) {
	if _, free := v.log.Counts(); !v.log.Short() || free > 1 {
		return false, nil
	}
	v.releaseRetired()
	more, err := v.retire()
	if err != nil {
		return false, err
	}
	if more {
		if err := v.log.Sync(); err != nil {
			return false, v.stopError(err)
		}
		v.releaseRetired()
		return true, nil
	}
	last := v.log.Last()
	if last < v.work.squeezed+16 {
		return false, nil
	}
	v.work.squeezed = last
	if err := v.flushNow(); err != nil && !errors.Is(err, store.ErrNoSpace) {
		return false, err
	}
	return true, nil
}

// stock makes the files that are missing if there is space for twice as much.
func (r *reserve) stock() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.v.opt.Now()
	if r.there && r.opening || r.v.log.Short() || now.Sub(r.tried) < restock {
		return nil
	}
	r.tried = now
	var err error
	if !r.opening {
		r.opening, err = r.make(openReserveFile, openReserveSize)
	}
	if err == nil && !r.there {
		r.there, err = r.make(reserveFile, max(r.v.id.segmentSize, 2*r.v.opt.memTable()))
	}
	return err
}

// make makes one file, and reports whether there was space.
func (r *reserve) make(name string, size int64) (bool, error) {
	fs := r.v.opt.FS
	if du, err := fs.GetDiskUsage(r.v.opt.Dir); err == nil && int64(du.AvailBytes) < 2*size {
		return false, nil
	}
	f, err := fs.Create(r.path(name), vfs.WriteCategoryUnspecified)
	if err == nil {
		if err = f.Preallocate(0, size); err == nil {
			_, err = f.WriteAt(zeroBlock[:], size-blockSize)
		}
		if err == nil {
			err = f.Sync()
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}
	switch {
	case err == nil:
		return true, syncDir(fs, r.v.opt.Dir)
	case vfs.IsNoSpaceError(err):
		return false, fs.Remove(r.path(name))
	}
	return false, err
}
