package peer

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"gabion/odx"
	"gabion/protocol/relay"
	"gabion/store"
)

const (
	// ahead is how many parcels are read while one is sent: a disk has work for several
	// requests, and a processor encrypts while another verifies.
	ahead = 3
	// page is what the data of a parcel is aligned to: where the copy out of the page cache
	// ends a few bytes behind a page's beginning, some processors take more than twice the time.
	page = 4096
	// parcelSize has room for a whole Data record and some small ones.
	parcelSize = relay.MaxData + 4096
	// leastPart is the least that what is left of a parcel is worth a read of its own.
	leastPart = 128 << 10
	// window is how far ahead an answer looks for holes.
	window = 64 << 20
)

// answer is one on its way: parcels are filled side by side and sent in order.
type answer struct {
	c           *conn
	src         *odx.Source
	link        *Link
	now         *parcel   // takes records; nil if none does
	queue       []*parcel // being filled, in order
	ranges      []store.Range
	data, holes int64 // bytes that were sent
}

// parcel is what is encrypted at once.
type parcel struct {
	mem         [page + parcelSize]byte
	buf         []byte // records; in mem
	reads       []read
	data, holes int64 // bytes that the records tell of
	done        chan error
}

// read is a part of a parcel's records that comes from the source.
type read struct {
	to  []byte
	off int64
}

func newParcel() any { return &parcel{done: make(chan error, 1)} }

// fill reads what the parcel promises. A panic is the end of this answer alone.
func (p *parcel) fill(src *odx.Source, log *slog.Logger) {
	var err error
	defer func() {
		if r := recover(); r != nil {
			log.Error("panic", "reading for", "another array", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", r)
		}
		p.done <- err
	}()
	for i := range p.reads {
		if err = src.ReadAt(p.reads[i].to, p.reads[i].off); err != nil {
			break
		}
	}
}

// send tells what lies in [off, off+n). What cannot be read was not promised.
func (a *answer) send(off, n int64) error {
	defer a.settle()
	err := a.walk(off, n)
	if err == nil {
		err = a.post()
	}
	for len(a.queue) > 0 && err == nil {
		err = a.deliver()
	}
	return err
}

// settle waits for what is still being filled: the source is closed next. It runs after a panic too.
func (a *answer) settle() {
	for len(a.queue) > 0 {
		<-a.queue[0].done
		a.drop()
	}
	if a.now != nil {
		a.link.parcels.Put(a.now)
		a.now = nil
	}
}

// walk makes records of [off, off+n).
func (a *answer) walk(off, n int64) error {
	for n > 0 {
		k := min(n, window)
		// Ranges are in the stream's own offsets.
		var err error
		if a.ranges, err = a.src.Stream.Allocated(a.src.Off+off, k, a.ranges[:0]); err != nil {
			return err
		}
		at := off
		for _, r := range a.ranges {
			lo, hi := r.Off-a.src.Off, r.Off-a.src.Off+r.Len
			if err := a.hole(lo - at); err != nil {
				return err
			}
			if err := a.bytes(lo, hi-lo); err != nil {
				return err
			}
			at = hi
		}
		if err := a.tail(at, off+k-at); err != nil {
			return err
		}
		off, n = off+k, n-k
	}
	return nil
}

// tail is what is behind the last range of a window: nothing is stored there. Where data
// ends within a sector the rest of that goes as zeros.
func (a *answer) tail(off, n int64) error {
	if odd := -off & (relay.HoleUnit - 1); n > 0 && odd > 0 {
		odd = min(odd, n)
		if err := a.bytes(off, odd); err != nil {
			return err
		}
		n -= odd
	}
	return a.hole(n)
}

func (a *answer) hole(n int64) error {
	for n > 0 {
		k := min(n, relay.MaxHole)
		if _, err := a.record(relay.Record{Kind: relay.Hole, Count: uint32(k / relay.HoleUnit)}, 0); err != nil {
			return err
		}
		a.now.holes += k
		n -= k
	}
	return nil
}

// bytes makes records of data, which is read straight to where it is encrypted.
func (a *answer) bytes(off, n int64) error {
	for n > 0 {
		k := min(n, relay.MaxData)
		if room := a.room() - relay.RecordSize; k > room {
			// What is left is used if it is worth it, in whole blocks.
			if room >= leastPart {
				k = room &^ (page - 1)
			} else if err := a.post(); err != nil {
				return err
			}
		}
		to, err := a.record(relay.Record{Kind: relay.Data, Count: uint32(k)}, k)
		if err != nil {
			return err
		}
		a.now.reads = append(a.now.reads, read{to, off})
		a.now.data += k
		off, n = off+k, n-k
	}
	return nil
}

// room is how many bytes the parcel still takes.
func (a *answer) room() int64 {
	if a.now == nil {
		return parcelSize
	}
	return int64(cap(a.now.buf) - len(a.now.buf))
}

// record puts a record into the parcel and returns its n bytes, to be filled.
func (a *answer) record(r relay.Record, n int64) ([]byte, error) {
	if a.room() < relay.RecordSize+n {
		if err := a.post(); err != nil {
			return nil, err
		}
	}
	if a.now == nil {
		a.now = a.link.parcels.Get().(*parcel)
		a.now.buf = a.now.mem[page-relay.RecordSize:][:0:parcelSize]
		a.now.reads = a.now.reads[:0]
		a.now.data, a.now.holes = 0, 0
	}
	b := a.now.buf
	at := len(b) + relay.RecordSize
	b = b[:at+int(n)]
	r.Put(b[at-relay.RecordSize:])
	a.now.buf = b
	return b[at:], nil
}

// post lets the parcel be filled, and sends one when enough are on their way.
func (a *answer) post() error {
	if a.now == nil {
		return nil
	}
	go a.now.fill(a.src, a.link.log)
	a.queue = append(a.queue, a.now)
	a.now = nil
	if len(a.queue) <= ahead {
		return nil
	}
	return a.deliver()
}

// deliver sends the oldest parcel.
func (a *answer) deliver() error {
	p := a.queue[0]
	defer a.drop()
	if err := <-p.done; err != nil {
		return err
	}
	_ = a.c.SetDeadline(time.Now().Add(stallTime))
	if _, err := a.c.Write(p.buf); err != nil {
		return &brokenError{err}
	}
	a.data, a.holes = a.data+p.data, a.holes+p.holes
	return nil
}

// drop gives the oldest parcel back, which is filled.
func (a *answer) drop() {
	a.link.parcels.Put(a.queue[0])
	a.queue = append(a.queue[:0], a.queue[1:]...)
}

// end sends the last record of an answer, and everything that waits.
func end(c *conn, r relay.Record) error {
	var b [relay.RecordSize]byte
	r.Put(b[:])
	_ = c.SetDeadline(time.Now().Add(stallTime))
	if _, err := c.Write(b[:]); err != nil {
		return err
	}
	return c.flush()
}
