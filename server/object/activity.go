package object

import (
	"sync/atomic"

	"gabion/store"
)

// Activity counts what is written to a file, for as long as somebody looks at it.
type Activity struct {
	Written     atomic.Uint64 // bytes
	Overwritten atomic.Uint64 // of these, where there was something before
	Sampled     atomic.Uint64 // writes that were looked into
	Dense       atomic.Uint64 // of these, what would not compress
	writes      atomic.Uint64
}

const (
	// sampleEvery is how many writes pass between two that are looked into.
	sampleEvery = 8
	sampleSize  = 1024
	// denseBelow tells random bytes from others by the sum of the squares of how often
	// each value occurs among sampleSize bytes: about 5,120 for random ones, 19,000 for text.
	denseBelow = 6500
	// maxActive bounds the files that are counted at a time.
	maxActive = 100_000
)

// dense reports whether data looks random: encrypted, or compressed already.
func dense(p []byte) bool {
	if len(p) < sampleSize {
		return false
	}
	at := (len(p) - sampleSize) / 2
	var count [256]uint16
	for _, b := range p[at : at+sampleSize] {
		count[b]++
	}
	sum := 0
	for _, n := range count {
		sum += int(n) * int(n)
	}
	return sum < denseBelow
}

// count notes a write to the file, whose stream had a size before it.
func (f *File) count(p []byte, off, size int64) {
	a := f.activity.Load()
	if a == nil {
		if a = f.vol.activityOf(f.id); a == nil {
			return
		}
		f.activity.Store(a)
	}
	a.Written.Add(uint64(len(p)))
	if over := min(off+int64(len(p)), size) - off; over > 0 {
		a.Overwritten.Add(uint64(over))
	}
	if a.writes.Add(1)%sampleEvery == 1 && len(p) >= sampleSize {
		a.Sampled.Add(1)
		if dense(p) {
			a.Dense.Add(1)
		}
	}
}

// activityOf returns a file's counters, nil if too many are counted.
func (v *Volume) activityOf(id store.FileID) *Activity {
	if a, ok := v.active.Load(id); ok {
		return a.(*Activity)
	}
	if v.actives.Load() >= maxActive {
		return nil
	}
	a, there := v.active.LoadOrStore(id, new(Activity))
	if !there {
		v.actives.Add(1)
	}
	return a.(*Activity)
}

// Active calls fn for every file that was written to; where fn returns false the file's counters are
// forgotten.
func (v *Volume) Active(fn func(store.FileID, *Activity) bool) {
	v.active.Range(func(id, a any) bool {
		if !fn(id.(store.FileID), a.(*Activity)) {
			v.active.Delete(id)
			v.actives.Add(-1)
			if f := v.live(store.Live, id.(store.FileID)); f != nil {
				f.activity.Store(nil)
				f.release()
			}
		}
		return true
	})
}
