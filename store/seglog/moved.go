package seglog

import (
	"encoding/binary"
	"fmt"
)

// Mover writes the cleaner's log stream: data that moved, which no recovery
// replays. It is used by one goroutine.
type Mover struct {
	l   *Log
	s   *slot // held
	seq uint64
	off int64
	buf []byte
}

// NewMover returns a Mover that begins a segment of its own with its first Write.
func (l *Log) NewMover() *Mover { return &Mover{l: l} }

// Write stores a group of moved data and returns where its payload lies.
// It is durable after Sync.
func (m *Mover) Write(body, payload []byte) (seq uint64, addr uint32, err error) {
	l := m.l
	spills := headerSize+recordHeader+len(body) > BlockSize
	extra := len(payload)
	if spills {
		extra += int(roundUp(uint32(len(body))))
	}
	total := BlockSize + extra
	if int64(total) > l.opt.SegmentSize {
		return 0, 0, fmt.Errorf("group of %d bytes in segments of %d", total, l.opt.SegmentSize)
	}
	if m.s == nil || m.off+int64(total) > l.opt.SegmentSize {
		if err := m.Sync(); err != nil {
			return 0, 0, err
		}
		s, err := l.claim()
		if err != nil {
			return 0, 0, err
		}
		if _, err := l.files.hold(s); err != nil {
			return 0, 0, m.failed(err)
		}
		if m.s != nil {
			m.s.release()
		}
		m.s, m.seq, m.off = s, l.seq.Add(1), 0
		l.table.use(s, m.seq)
	}
	g := m.group(total)
	at := BlockSize
	var bodyCheck uint32
	if spills {
		at += copy(g[at:], body)
		at = int(roundUp(uint32(at)))
		bodyCheck = CRC(body)
	}
	copy(g[at:], payload)
	h := header{seq: m.seq, first: l.Last(), synced: l.Durable(), blocks: uint32(total / BlockSize), hdr: 1, count: 1, stream: streamMoved}
	h.used = movedRecord(g, body, len(payload), checkOf(payload), bodyCheck, spills)
	h.put(g[:BlockSize], &l.opt.Volume)
	if _, err := (*m.s.file.Load()).WriteAt(g, m.off); err != nil {
		return 0, 0, m.failed(err)
	}
	addr = uint32(m.off) + uint32(at)
	m.off += int64(total)
	m.s.written.Store(m.off)
	return m.seq, addr, nil
}

// group returns a zeroed buffer of n bytes.
func (m *Mover) group(n int) []byte {
	if cap(m.buf) < n {
		m.buf = make([]byte, n)
	}
	g := m.buf[:n]
	clear(g)
	return g
}

// Room returns how many bytes of payload the next Write may bring without leaving
// much of a segment unused, allowing for as large a body as fits a block.
func (m *Mover) Room() int {
	left := m.left()
	if m.Full() {
		left = m.l.opt.SegmentSize - moverOverhead
	}
	return int(left &^ (BlockSize - 1))
}

// Full reports whether the next Write begins a segment.
func (m *Mover) Full() bool { return m.s == nil || m.left() < m.l.opt.SegmentSize/64 }

const moverOverhead = 4 * BlockSize

func (m *Mover) left() int64 { return m.l.opt.SegmentSize - m.off - moverOverhead }

// Seq returns the segment that is being filled, 0 for none.
func (m *Mover) Seq() uint64 { return m.seq }

// Sync makes what was written durable.
func (m *Mover) Sync() error {
	if m.s == nil {
		return nil
	}
	if err := (*m.s.file.Load()).SyncData(); err != nil {
		return m.failed(err)
	}
	return nil
}

// failed stops the whole log: a failed write or sync is final.
func (m *Mover) failed(err error) error {
	l := m.l
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail(err)
	return l.err
}

// movedRecord encodes the only record of a group of moved data and returns how
// much of the header area is used.
func movedRecord(area, body []byte, payload int, check, bodyCheck uint32, spills bool) uint32 {
	le := binary.LittleEndian
	rec := area[headerSize:]
	le.PutUint16(rec[0:], KindMoved)
	var flags uint16
	if spills {
		flags = flagSpilled
	}
	le.PutUint16(rec[2:], flags)
	le.PutUint32(rec[4:], uint32(len(body)))
	le.PutUint32(rec[8:], uint32(payload/BlockSize))
	le.PutUint32(rec[12:], check)
	le.PutUint32(rec[16:], bodyCheck)
	used := uint32(headerSize + recordHeader)
	if !spills {
		copy(area[used:], body)
		used += align8(uint32(len(body)))
	}
	return used
}
