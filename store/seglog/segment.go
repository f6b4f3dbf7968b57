package seglog

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

var (
	// ErrGone: the segment is no longer in use; whoever held its address must
	// look again where its data went.
	ErrGone = errors.New("segment was recycled")
	// ErrNoSpace: no segment can be had. Nothing was changed.
	ErrNoSpace = errors.New("no space for another segment")

	errGroup = errors.New("malformed group")
)

// slot is one segment file.
type slot struct {
	num uint32
	handle
	seq     atomic.Uint64 // its use, 0 when free
	written atomic.Int64  // bytes of this use that the file holds
	first   Pos           // of the use that Open found
	moved   bool          // likewise
}

// table maps segments to slots.
type table struct {
	mu   sync.RWMutex
	used map[uint64]*slot // by seq; guarded by mu
	free []*slot          // recycled or prepared; guarded by mu
	next uint32           // number of the next new slot; guarded by mu
	idle int              // of free, from the front: not taken since Idle was asked; guarded by mu
	// limit is the largest number of slots that may exist.
	limit atomic.Int64
	short atomic.Bool // the file system had no space for the last one
}

func (t *table) find(seq uint64) *slot {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.used[seq]
}

// acquire holds the slot of a segment against recycling; ErrGone when it is not in use.
func (l *Log) acquire(seq uint64) (*slot, vfs.File, error) {
	s := l.table.find(seq)
	if s == nil {
		return nil, nil, ErrGone
	}
	f, err := l.files.hold(s)
	if s.seq.Load() == seq {
		return s, f, err
	}
	if err == nil {
		s.release()
	}
	return nil, nil, ErrGone
}

// retire makes a segment's slot free. Its last readers may still be inside; take waits for them.
func (t *table) retire(seq uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.used[seq]
	if s == nil {
		return
	}
	delete(t.used, seq)
	s.seq.Store(0)
	t.free = append(t.free, s)
}

// take returns a free slot that nobody reads, or nil: the one last freed or filled, which
// leaves those in reserve alone as long as there are others.
func (t *table) take() *slot {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, s := range slices.Backward(t.free) {
		if s.users.Load() == 0 {
			t.free = append(t.free[:i], t.free[i+1:]...)
			t.idle = min(t.idle, len(t.free))
			return s
		}
	}
	return nil
}

// oldest is take for a slot that will not be used again: the one that has been free longest.
func (t *table) oldest() *slot {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, s := range t.free {
		if s.users.Load() == 0 {
			t.free = append(t.free[:i], t.free[i+1:]...)
			t.idle = min(t.idle, len(t.free))
			return s
		}
	}
	return nil
}

func (t *table) use(s *slot, seq uint64) {
	s.written.Store(0)
	s.seq.Store(seq)
	t.mu.Lock()
	t.used[seq] = s
	t.mu.Unlock()
}

func (t *table) counts() (used, free int) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.used), len(t.free)
}

const suffix = ".seg"

func (l *Log) slotPath(num uint32) string {
	return l.opt.FS.PathJoin(l.opt.Dir, fmt.Sprintf("%08d%s", num, suffix))
}

// listSlots returns the numbers of the slot files that exist.
func (l *Log) listSlots() ([]uint32, error) {
	names, err := l.opt.FS.List(l.opt.Dir)
	if err != nil {
		return nil, err
	}
	var nums []uint32
	for _, name := range names {
		if base, ok := strings.CutSuffix(name, suffix); ok {
			if n, err := strconv.ParseUint(base, 10, 32); err == nil {
				nums = append(nums, uint32(n))
			}
		}
	}
	sort.Slice(nums, func(i, j int) bool { return nums[i] < nums[j] })
	return nums, nil
}

// zeros is what new segments are written with: a device syncs overwrites twice
// as fast as first writes.
var zeros [1 << 20]byte

// create makes a new slot file, allocated, and durable in its directory. fill
// says whether to write it with zeros.
func (l *Log) create(fill bool) (*slot, error) {
	t := &l.table
	t.mu.Lock()
	if lim := t.limit.Load(); lim > 0 && int64(len(t.used)+len(t.free)) >= lim {
		t.mu.Unlock()
		return nil, ErrNoSpace
	}
	num := t.next
	t.next++
	t.mu.Unlock()

	path := l.slotPath(num)
	f, err := l.opt.FS.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err == nil {
		if err = l.prewrite(f, fill); err == nil {
			err = l.dir.Sync()
		}
	}
	if err != nil {
		if f != nil {
			f.Close()
			l.opt.FS.Remove(path)
		}
		if vfs.IsNoSpaceError(err) {
			t.short.Store(true)
			return nil, fmt.Errorf("%w: %v", ErrNoSpace, err)
		}
		return nil, err
	}
	t.short.Store(false)
	s := &slot{num: num}
	l.files.add(s, f)
	return s, nil
}

func (l *Log) prewrite(f vfs.File, fill bool) error {
	if err := f.Preallocate(0, l.opt.SegmentSize); err != nil {
		return err
	}
	step := int64(len(zeros))
	if !fill {
		step = BlockSize // the last block gives the file its length
	}
	for off := max(0, l.opt.SegmentSize-step); ; off -= step {
		if off < 0 {
			off = 0
		}
		if _, err := f.WriteAt(zeros[:min(step, l.opt.SegmentSize)], off); err != nil {
			return err
		}
		if off == 0 || !fill || l.behind() || l.ending() {
			break
		}
		// By pieces: the log's own syncs would wait behind all of it at the end.
		if err := f.SyncData(); err != nil {
			return err
		}
	}
	return f.Sync()
}

// behind reports that more has been taken of the reserve than a segment in the making puts back:
// somebody may wait for it.
func (l *Log) behind() bool {
	_, free := l.table.counts()
	return free < l.opt.Reserve || l.hurried.Load() > 0
}

// ending reports that the log is being closed.
func (l *Log) ending() bool {
	select {
	case <-l.quit:
		return true
	default:
		return false
	}
}

// claim returns a slot for a new segment. Somebody waits: a new one is not filled.
func (l *Log) claim() (*slot, error) {
	if s := l.table.take(); s != nil {
		return s, nil
	}
	return l.create(false)
}

// Prepare makes the next segment ahead of its use, so that no writer waits for it, and
// those in reserve. One more is made where the file system had no space: that tells whether it
// has some now.
func (l *Log) Prepare() {
	l.preparing.Lock()
	defer l.preparing.Unlock()
	for tried := false; ; tried = true {
		_, free := l.table.counts()
		if free > l.opt.Reserve && (tried || !l.Short()) || l.ending() {
			return
		}
		if !l.add(free == l.opt.Reserve && l.fills()) {
			return
		}
	}
}

// add makes a free segment and reports whether it could; whoever needs it learns why not.
// Caller holds preparing.
func (l *Log) add(fill bool) bool {
	s, err := l.create(fill)
	if err != nil {
		return false
	}
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	l.table.free = append(l.table.free, s)
	return true
}

// Restock makes segments until there are n free ones, for somebody who waits for them: it does
// not wait until one that Prepare makes is filled.
func (l *Log) Restock(n int) {
	l.hurried.Add(1)
	defer l.hurried.Add(-1)
	l.preparing.Lock()
	defer l.preparing.Unlock()
	for {
		if _, free := l.table.counts(); free >= n || l.ending() || !l.add(false) {
			return
		}
	}
}

// Short reports whether the file system had no space when a segment was last to be made.
func (l *Log) Short() bool { return l.table.short.Load() }

// streamSync is how much a sync has to take with it on average for zeros to cost
// more than they save.
const streamSync = 1 << 20

// fills says whether the segment to be made next is worth filling, by what
// happened since this was asked last.
func (l *Log) fills() bool {
	if !l.opt.Prewrite {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	bytes, syncs := l.stats.Bytes-l.asked.Bytes, l.stats.Syncs-l.asked.Syncs
	l.asked = l.stats
	return bytes < streamSync*max(syncs, 1)
}

// Idle returns how many slots have been free ever since it was asked last.
func (l *Log) Idle() int {
	t := &l.table
	t.mu.Lock()
	defer t.mu.Unlock()
	idle := t.idle
	t.idle = len(t.free)
	return idle
}

// Trim removes free segments beyond keep from the file system and reports how
// many went.
func (l *Log) Trim(keep int) (int, error) {
	n := 0
	for {
		if _, free := l.table.counts(); free <= keep {
			return n, nil
		}
		s := l.table.oldest()
		if s == nil {
			return n, nil
		}
		if err := l.files.drop(s); err != nil {
			return n, err
		}
		l.direct.forget(s.num)
		if err := l.opt.FS.Remove(l.slotPath(s.num)); err != nil {
			return n, err
		}
		n++
	}
}
