package seglog

import "encoding/binary"

// A large record is a group of its own. Its payload is not copied into a buffer: its writer puts
// header and payload into the file, beside all others, and the leader has only to wait for that
// ahead of its sync. What a crash may leave of it is what it may leave of any group
// that was not synced.

// LeastLarge is the payload from which a record is better written by its writer.
const LeastLarge = 64 << 10

// mostLargeHeader bounds the header of a large record's group.
const mostLargeHeader = 4 * BlockSize

// large is such a group, from its reservation until it is synced.
type large struct {
	slot *slot // held all the while
	off  int64 // in the segment
	h    header
	area []byte // the header area
	pass bool   // past the page cache in any case
	done bool   // written, or failed; guarded by Log.mu
}

func (x *large) size() int64 { return int64(x.h.blocks) * BlockSize }

// headerAreas are of one block, which nearly all are.
var headerAreas = make(chan []byte, 64)

func headerArea(blocks int) []byte {
	if blocks == 1 {
		select {
		case b := <-headerAreas:
			clear(b)
			return b
		default:
		}
	}
	return make([]byte, blocks*BlockSize)
}

func (x *large) free() {
	if len(x.area) == BlockSize {
		select {
		case headerAreas <- x.area:
		default:
		}
	}
	x.area = nil
}

// ReserveLarge is Reserve for a record whose payload Write is given where it lies.
func (l *Log) ReserveLarge(body, payload int, more bool) (Ticket, error) {
	used := headerSize + recordHeader + int(align8(uint32(body)))
	head := int(roundUp(uint32(used)))
	if payload < LeastLarge || head > mostLargeHeader {
		return l.Reserve(body, payload, more)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return Ticket{}, l.err
	}
	n := head + payload
	l.open = nil
	if err := l.reach(n); err != nil {
		return Ticket{}, err
	}
	if _, err := l.files.hold(l.cur); err != nil {
		return Ticket{}, err
	}
	x := &large{slot: l.cur, off: l.off, area: headerArea(head / BlockSize)}
	l.last++
	x.h = header{seq: l.cur.seq.Load(), first: l.last, hdr: uint16(head / BlockSize), blocks: uint32(n / BlockSize),
		count: 1, used: uint32(used), stream: streamRecords}
	l.skip(int64(n))
	l.pending += int64(n)
	l.larges = append(l.larges, x)
	l.hasten()
	rec := x.area[headerSize:]
	putRecord(rec, body, payload, more, false)
	return Ticket{Pos: l.last, Seq: x.h.seq, Group: uint32(x.off), Addr: uint32(x.off) + uint32(head),
		Body: rec[recordHeader:][:body], log: l, rec: rec, own: x}, nil
}

// skip moves the log's end n bytes on, over what needs no memory. Caller holds mu.
func (l *Log) skip(n int64) {
	s := l.tail()
	l.off += n
	if s == nil {
		return
	}
	if s.used == s.written && s.refs == 0 {
		s.base, s.used, s.written = l.off, 0, 0
		s.buf = s.buf[:min(int64(cap(s.buf)), l.opt.SegmentSize-l.off)]
		return
	}
	rest := s.buf[s.used:] // s.buf stays as it is: it is read without mu
	if int64(len(rest)) > l.opt.SegmentSize-l.off {
		rest = rest[:l.opt.SegmentSize-l.off]
	}
	if len(rest) > BlockSize {
		s.mem.users++
		l.slabs = append(l.slabs, &slab{slot: s.slot, seq: s.seq, base: l.off, mem: s.mem, buf: rest})
	}
}

// Write fills in a record's payload and commits it. check is Check of the payload's blocks.
func (t *Ticket) Write(payload [][]byte, check uint32) {
	if t.own == nil {
		to := t.Payload
		for _, p := range payload {
			to = to[copy(to, p):]
		}
		t.Commit(check)
		return
	}
	binary.LittleEndian.PutUint32(t.rec[12:], check)
	t.send(payload)
}

// send writes the group of a large record. A failure stops the log.
func (t *Ticket) send(payload [][]byte) {
	l, x := t.log, t.own
	x.h.synced = l.durable.Load()
	x.h.put(x.area, &l.opt.Volume)
	err := l.writeLarge(x, payload)
	x.free()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.fail(err)
	}
	x.done = true
	l.copied.Broadcast()
}

// writeLarge puts a group into its file.
func (l *Log) writeLarge(x *large, payload [][]byte) error {
	pieces := joined(x.area, payload)
	if x.pass && x.size() > leastPast && l.direct.send(l, x.slot, pieces, x.off) {
		return nil
	}
	f, off := *x.slot.file.Load(), x.off
	for _, p := range pieces {
		if _, err := f.WriteAt(p, off); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}

// leastPast is how large a group must be to go past the page cache.
const leastPast = 256 << 10

// joined lists what is to be written; slices that lie together are one.
func joined(area []byte, payload [][]byte) [][]byte {
	list := append(make([][]byte, 0, 8), area)
	for _, p := range payload {
		if k := len(list) - 1; k > 0 && cap(list[k]) > len(list[k]) && len(p) > 0 && &list[k][:len(list[k])+1][len(list[k])] == &p[0] {
			list[k] = list[k][:len(list[k])+len(p)]
			continue
		}
		list = append(list, p)
	}
	return list
}

// voidLarge gives a large record up: its group holds nothing then.
func (t *Ticket) voidLarge() {
	binary.LittleEndian.PutUint32(t.rec[8:], 0)
	binary.LittleEndian.PutUint32(t.rec[12:], 0)
	t.send(nil)
}
