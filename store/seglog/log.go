package seglog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options of Open.
type Options struct {
	FS          vfs.FS
	Dir         string
	Volume      [16]byte
	SegmentSize int64
	// Buffer bounds the bytes that wait to be written; 0 is 32 MiB.
	Buffer int64
	// Prewrite fills new segments with zeros, unless the log streams.
	Prewrite bool
	// Reserve is how many free segments Prepare keeps beside the next one, for a time
	// when no others can be had.
	Reserve int
	// Leap chooses a number below n; nil is chance. No two openings may come to the same.
	Leap func(n uint64) uint64
	// Handles bounds the segment files that are kept open; 0 is 384.
	Handles int
	// Failed is called once, when a write or sync failed and the log stopped.
	Failed func(error)
}

// ErrStopped reports a log that failed earlier.
var ErrStopped = errors.New("log stopped")

// Log is an open log.
type Log struct {
	opt   Options
	dir   vfs.File
	table table
	files handles

	preparing sync.Mutex   // one segment is made ahead at a time
	hurried   atomic.Int32 // who waits for one: it is not filled

	durable atomic.Uint64 // highest durable position
	seq     atomic.Uint64 // highest seq ever given out
	broken  []*slot       // whose head Open could not read, though there is something

	mu      sync.Mutex // guards everything below
	last    Pos        // highest position given out
	cur     *slot      // where stream 0 goes on
	off     int64      // in cur: where the log ends
	slabs   []*slab    // with bytes not yet written, or current; in log order
	spare   []*memory
	larges  []*large // reserved since the last flush began, in log order
	open    *group   // takes records; part of the last slab
	pending int64    // bytes reserved and not yet written
	early   int64    // how many of them wake the background; 0 never
	dirty   []*slot  // written since the last sync, held once for each time they are listed
	err     error

	leading bool   // somebody writes and syncs
	next    *batch // waits for the next sync
	flying  *batch // waits for the running one, which reaches target
	target  Pos
	company int    // who waited for the last sync, besides its leader
	calls   []call // OnDurable, in order of position
	direct  direct // used by who leads
	copied  sync.Cond
	kick    chan struct{}
	used    chan struct{} // a segment was taken, or could not be made a while ago
	closing bool
	done    chan struct{}  // closed when the background has ended
	quit    chan struct{}  // closed before that
	helper  sync.WaitGroup // who prepares segments
	stats   Stats
	asked   Stats // when fills was asked last
}

// Stats counts what the log did.
type Stats struct {
	Groups, Syncs, Bytes uint64
}

// slab is a contiguous stretch of a segment in memory.
type slab struct {
	slot    *slot
	seq     uint64
	base    int64 // segment offset of buf[0]
	mem     *memory
	buf     []byte // its part of mem
	used    int    // reserved bytes
	written int
	groups  []*group // closed or open, not yet written
	refs    int      // readers copying out of it
}

// memory is what slabs lie in, which are several when large records lie between them in the segment.
type memory struct {
	buf   []byte
	users int
}

// group is a group being filled, or closed and waiting to be written.
type group struct {
	slab    *slab
	at      int // offset in the slab
	h       header
	pending atomic.Int32 // records whose bytes are still being copied
	passing atomic.Int64 // bytes that nobody is likely to read soon
}

func (g *group) area() []byte { return g.slab.buf[g.at : g.at+int(g.h.hdr)*BlockSize] }

const slabSize = 4 << 20

// MaxPayload is the most a record may carry, body included.
func (l *Log) MaxPayload() int { return int(min(1<<20+32<<10, l.opt.SegmentSize/4)) }

// SegmentSize returns the size of every segment.
func (l *Log) SegmentSize() int64 { return l.opt.SegmentSize }

// Ticket is a reserved place in the log. The holder fills Body and Payload and
// calls Commit, soon and always: the group is not written before.
type Ticket struct {
	Pos   Pos
	Seq   uint64
	Group uint32 // offset of the group
	// Addr is the offset of the payload in segment Seq.
	Addr    uint32
	Body    []byte
	Payload []byte

	log    *Log
	g      *group
	rec    []byte // the record's header
	own    *large // instead of g
	spills bool
}

// Reserve gives the next position to a record with a body of so many bytes and
// a payload of so many, a multiple of BlockSize. Calls must not overlap: their
// order is the log's order and the caller's business.
func (l *Log) Reserve(body, payload int, more bool) (Ticket, error) {
	spills := recordHeader+int(align8(uint32(body))) > BlockSize-headerSize
	extra := payload
	if spills {
		extra += int(roundUp(uint32(body)))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	g, err := l.place(body, extra, spills)
	if err != nil {
		return Ticket{}, err
	}
	l.last++
	l.pending += int64(extra)
	h := &g.h
	rec := g.area()[h.used : h.used+recordHeader]
	h.used += recordHeader
	t := Ticket{Pos: l.last, Seq: g.slab.seq, Group: uint32(g.slab.base) + uint32(g.at), log: l, g: g, rec: rec, spills: spills}
	s := g.slab
	if spills {
		t.Body = s.buf[s.used : s.used+body]
		pad := s.buf[s.used+body : s.used+int(roundUp(uint32(body)))]
		clear(pad)
		s.used += int(roundUp(uint32(body)))
	} else {
		t.Body = g.area()[h.used : int(h.used)+body]
		h.used += align8(uint32(body))
	}
	t.Addr = uint32(s.base) + uint32(s.used)
	t.Payload = s.buf[s.used : s.used+payload : s.used+payload]
	s.used += payload
	l.off = s.base + int64(s.used)
	h.count++
	h.blocks += uint32(extra / BlockSize)
	g.pending.Add(1)
	l.hasten()
	putRecord(rec, body, payload, more, spills)
	return t, nil
}

// hasten has the background write when there is much. Caller holds mu.
func (l *Log) hasten() {
	if l.early > 0 && l.pending >= l.early && !l.leading {
		l.poke()
	}
}

// putRecord encodes what is known of a record when it is reserved.
func putRecord(rec []byte, body, payload int, more, spills bool) {
	le := binary.LittleEndian
	var flags uint16
	if spills {
		flags |= flagSpilled
	}
	if more {
		flags |= flagMore
	}
	le.PutUint16(rec[0:], KindEdits)
	le.PutUint16(rec[2:], flags)
	le.PutUint32(rec[4:], uint32(body))
	le.PutUint32(rec[8:], uint32(payload/BlockSize))
}

// Passing says, ahead of Commit, that nobody is likely to read the payload soon: it need not
// stay in memory.
func (t *Ticket) Passing() {
	if t.own != nil {
		t.own.pass = true
		return
	}
	t.g.passing.Add(int64(len(t.Payload)))
}

// Commit says that Body and Payload are filled. check is Check of the payload's blocks.
func (t *Ticket) Commit(check uint32) {
	binary.LittleEndian.PutUint32(t.rec[12:], check)
	if t.spills {
		binary.LittleEndian.PutUint32(t.rec[16:], CRC(t.Body))
	}
	if t.g.pending.Add(-1) == 0 {
		l := t.log
		l.mu.Lock()
		l.copied.Broadcast()
		l.mu.Unlock()
	}
}

// place returns the open group with room for a record, opening another group,
// slab or segment as needed. Caller holds mu.
func (l *Log) place(body, extra int, spills bool) (*group, error) {
	if l.err != nil {
		return nil, l.err
	}
	need := recordHeader
	if !spills {
		need += int(align8(uint32(body)))
	}
	if g := l.open; g != nil {
		s := g.slab
		if int(g.h.used)+need <= len(g.area()) && s.used+extra <= len(s.buf) && g.h.count < 1<<16-1 {
			return g, nil
		}
		l.open = nil
	}
	s, err := l.room(BlockSize + extra)
	if err != nil {
		return nil, err
	}
	g := &group{slab: s, at: s.used}
	g.h = header{seq: s.seq, first: l.last + 1, hdr: 1, blocks: 1, used: headerSize, stream: streamRecords}
	s.used += BlockSize
	l.off = s.base + int64(s.used)
	l.pending += BlockSize
	clear(g.area())
	s.groups = append(s.groups, g)
	l.open = g
	return g, nil
}

// room returns a slab with n bytes to spare at the log's end. Caller holds mu,
// which is released while a segment is made.
func (l *Log) room(n int) (*slab, error) {
	if s := l.tail(); s != nil && s.used+n <= len(s.buf) {
		return s, nil
	}
	if err := l.reach(n); err != nil {
		return nil, err
	}
	size := int(min(max(int64(n), slabSize), l.opt.SegmentSize-l.off))
	m := l.memory(size)
	s := &slab{slot: l.cur, seq: l.cur.seq.Load(), base: l.off, mem: m, buf: m.buf[:size]}
	l.slabs = append(l.slabs, s)
	return s, nil
}

// tail returns the slab that ends where the log does, nil if there is none. Caller holds mu.
func (l *Log) tail() *slab {
	if k := len(l.slabs); k > 0 {
		if s := l.slabs[k-1]; s.slot == l.cur && s.seq == s.slot.seq.Load() && s.base+int64(s.used) == l.off {
			return s
		}
	}
	return nil
}

// reach sees to it that n bytes have room in the segment at the log's end. Caller holds mu, which
// is released while a segment is made.
func (l *Log) reach(n int) error {
	if int64(n) > l.opt.SegmentSize {
		return fmt.Errorf("record of %d bytes in segments of %d", n, l.opt.SegmentSize)
	}
	if l.cur == nil || l.off+int64(n) > l.opt.SegmentSize {
		return l.roll()
	}
	return nil
}

// roll begins the next segment.
func (l *Log) roll() error {
	l.mu.Unlock()
	s, err := l.claim()
	l.mu.Lock()
	if err != nil {
		return err
	}
	if l.err != nil {
		return l.err
	}
	l.table.use(s, l.seq.Add(1))
	l.cur, l.off = s, 0
	l.ahead()
	return nil
}

// memory returns memory for n bytes. Caller holds mu.
func (l *Log) memory(n int) *memory {
	for i, m := range slices.Backward(l.spare) { // the warmest first
		if len(m.buf) >= n {
			l.spare = append(l.spare[:i], l.spare[i+1:]...)
			m.users = 1
			return m
		}
	}
	return &memory{buf: make([]byte, max(n, int(min(slabSize, l.opt.SegmentSize)))), users: 1}
}

// recycle drops slabs that are wholly written and not in use. Caller holds mu.
func (l *Log) recycle() {
	keep, last := l.slabs[:0], l.tail()
	for _, s := range l.slabs {
		if s.written < s.used || s.refs > 0 || (l.open != nil && l.open.slab == s) {
			keep = append(keep, s)
			continue
		}
		if s == last {
			// Go on in the same memory, which is warm.
			if s.mem.users == 1 {
				s.buf = s.mem.buf
			}
			s.base += int64(s.used)
			s.buf = s.buf[:min(int64(cap(s.buf)), l.opt.SegmentSize-s.base)]
			s.used, s.written = 0, 0
			keep = append(keep, s)
			continue
		}
		if s.mem.users--; s.mem.users == 0 && int64(len(l.spare)) < max(4, l.opt.Buffer/slabSize) {
			l.spare = append(l.spare, s.mem)
		}
	}
	clear(l.slabs[len(keep):])
	l.slabs = keep
}

// Last returns the highest position given out.
func (l *Log) Last() Pos {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// Durable returns the highest durable position.
func (l *Log) Durable() Pos { return l.durable.Load() }

// Err returns the error that stopped the log.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Stats returns the counters.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// Void gives up a reserved record: it stays in the log as one of no kind.
func (t *Ticket) Void() {
	binary.LittleEndian.PutUint16(t.rec[0:], KindVoid)
	binary.LittleEndian.PutUint16(t.rec[2:], binary.LittleEndian.Uint16(t.rec[2:])&^flagMore)
	clear(t.Body)
	if t.own != nil {
		t.voidLarge()
		return
	}
	clear(t.Payload)
	t.Commit(checkOf(t.Payload))
}
