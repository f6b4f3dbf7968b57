package seglog

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Segment is a segment as Open found it.
type Segment struct {
	Seq   uint64
	Slot  uint32
	First Pos
	Moved bool // a segment of the cleaner
}

// DamageError reports a log that is broken below a position known durable.
type DamageError struct {
	Seq    uint64
	Offset int64
	Pos    Pos // the first position missing
	Synced Pos
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("log damaged: segment %d at %d, position %d, though %d was durable", e.Seq, e.Offset, e.Pos, e.Synced)
}

// Open opens the log in opt.Dir, which exists. Replay and Start make it usable.
func Open(opt Options) (*Log, error) {
	if opt.Buffer == 0 {
		opt.Buffer = 32 << 20
	}
	if opt.Handles == 0 {
		opt.Handles = defaultHandles
	}
	l := &Log{opt: opt, next: newBatch(), kick: make(chan struct{}, 1), used: make(chan struct{}, 1)}
	l.copied.L = &l.mu
	l.files = handles{fs: opt.FS, path: l.slotPath, max: opt.Handles}
	l.table.used = map[uint64]*slot{}
	dir, err := opt.FS.OpenDir(opt.Dir)
	if err != nil {
		return nil, err
	}
	l.dir = dir
	nums, err := l.listSlots()
	if err == nil {
		err = l.openSlots(nums)
	}
	if err != nil {
		l.abandon()
		return nil, err
	}
	return l, nil
}

func (l *Log) abandon() {
	l.files.closeAll()
	l.dir.Close()
}

// openSlots looks into every slot file for its use.
func (l *Log) openSlots(nums []uint32) error {
	buf := make([]byte, BlockSize)
	for _, num := range nums {
		s := &slot{num: num}
		l.table.next = num + 1
		h, ok, err := l.openSlot(s, buf)
		if vfs.IsNoSpaceError(err) {
			// Its creation did not finish, and cannot.
			if err = l.files.drop(s); err == nil {
				err = l.opt.FS.Remove(l.slotPath(num))
			}
			if err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		if !ok || l.table.used[h.seq] != nil {
			if !ok && [BlockSize]byte(buf) != [BlockSize]byte{} {
				l.broken = append(l.broken, s)
			}
			l.table.free = append(l.table.free, s)
			continue
		}
		s.written.Store(l.opt.SegmentSize)
		s.seq.Store(h.seq)
		s.first, s.moved = h.first, h.stream == streamMoved
		l.table.used[h.seq] = s
		l.seq.Store(max(l.seq.Load(), h.seq))
	}
	return nil
}

// openSlot reads the header that a slot begins with.
func (l *Log) openSlot(s *slot, buf []byte) (h header, ok bool, err error) {
	f, err := l.files.hold(s)
	if err != nil {
		return h, false, err
	}
	defer s.release()
	fi, err := f.Stat()
	if err != nil {
		return h, false, err
	}
	if fi.Size() < l.opt.SegmentSize {
		// Its creation did not finish; nothing was ever in it.
		if err := l.prewrite(f, l.opt.Prewrite); err != nil {
			return h, false, err
		}
	}
	return l.header(s, 0, buf)
}

// header reads and verifies the group header at off. The area, as far as it
// fits buf, is left there.
func (l *Log) header(s *slot, off int64, buf []byte) (h header, ok bool, err error) {
	if off+BlockSize > l.opt.SegmentSize {
		return h, false, nil
	}
	if err := l.readSlot(s, buf[:BlockSize], off); err != nil {
		return h, false, err
	}
	if !h.peek(buf, &l.opt.Volume) || off+int64(h.blocks)*BlockSize > l.opt.SegmentSize {
		return h, false, nil
	}
	area := buf[:BlockSize]
	if h.hdr > 1 {
		area = make([]byte, int(h.hdr)*BlockSize)
		if err := l.readSlot(s, area, off); err != nil {
			return h, false, err
		}
	}
	return h, sealed(area), nil
}

// readSlot reads from a slot's file; what lies behind its end reads as zeros.
func (l *Log) readSlot(s *slot, p []byte, off int64) error {
	f, err := l.files.hold(s)
	if err != nil {
		return err
	}
	defer s.release()
	n, err := f.ReadAt(p, off)
	if err == io.EOF {
		clear(p[n:])
		err = nil
	}
	return err
}

// Segments lists the segments that Open found, by seq.
func (l *Log) Segments() []Segment {
	var out []Segment
	for seq, s := range l.table.used {
		out = append(out, Segment{seq, s.num, s.first, s.moved})
	}
	slices.SortFunc(out, func(a, b Segment) int {
		if a.Seq < b.Seq {
			return -1
		}
		return 1
	})
	return out
}

// Start makes the log writable. live names the segments that hold something,
// with their slots; all others are free. Positions go on after last.
func (l *Log) Start(live map[uint64]uint32, last Pos, every time.Duration) error {
	for seq, s := range l.table.used {
		if num, ok := live[seq]; !ok || num != s.num {
			l.table.retire(seq)
		}
	}
	for seq, num := range live {
		l.seq.Store(max(l.seq.Load(), seq))
		if l.table.used[seq] != nil {
			continue
		}
		// Its first header is damaged; the rest can still be read.
		for i, s := range l.table.free {
			if s.num == num {
				l.table.free = slices.Delete(l.table.free, i, i+1)
				l.table.use(s, seq)
				s.written.Store(l.opt.SegmentSize)
				break
			}
		}
	}
	// A crash may have left groups of segments whose heads never reached the disk.
	// Their numbers must not be given out again, or such a group could follow on a
	// new one and come to life.
	leap := l.opt.Leap
	if leap == nil {
		leap = rand.Uint64N
	}
	l.seq.Add(1 + leap(1<<24))
	l.last = last
	l.durable.Store(last)
	l.done, l.quit = make(chan struct{}), make(chan struct{})
	if every > 0 {
		l.early = l.opt.Buffer / earlyPart
	}
	go l.background(every)
	if every > 0 {
		l.helper.Go(l.prepareAhead)
	}
	return nil
}

// Slot returns the slot that a segment lies in.
func (l *Log) Slot(seq uint64) (uint32, bool) {
	s := l.table.find(seq)
	if s == nil {
		return 0, false
	}
	return s.num, true
}

// Release frees a segment: nothing in it is needed any more, also after a crash.
func (l *Log) Release(seq uint64) { l.table.retire(seq) }

// Counts returns the number of segments in use and of free slots.
func (l *Log) Counts() (used, free int) { return l.table.counts() }

// LastSeq returns the highest seq given out.
func (l *Log) LastSeq() uint64 { return l.seq.Load() }

// SetLimit bounds the number of slots; 0 is no bound.
func (l *Log) SetLimit(slots int64) { l.table.limit.Store(slots) }
