package block

import (
	"encoding/binary"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"gabion/store"
	"gabion/store/seglog"
)

// Operations of an edit.
const (
	editSet    = 1
	editMerge  = 2
	editDelete = 3
)

// change is one change being planned: the edits of the index, the data that goes
// with them, and what they do to reference counts.
type change struct {
	body    []byte
	parts   []part
	fixups  []fixup
	payload [][]byte // whole blocks
	crcs    []uint32 // of the payload's blocks
	refs    []refChange
	done    int // refs that are edits already
	bytes   int // of payload
	base    int // where the addresses of the part begin
	rel     int // address of the next payload
	places  []place
	passing bool         // nobody is likely to read the payload soon
	cover   uint64       // snapshot that covers the inode from now on, 0 for none
	then    func() error // runs under order when the change is applied
}

// unplaced is the container of a piece whose data is part of a change not yet
// committed; its offset is an address of the change.
const unplaced = ^uint64(0)

// place is where the log put a part: addresses of the change from rel on.
type place struct {
	rel  int
	seq  uint64
	addr uint32
}

// resolve gives a piece of a committed change its address.
func (c *change) resolve(p *piece) {
	if p.container != unplaced || !p.stored() {
		return
	}
	for i := len(c.places) - 1; i >= 0; i-- {
		if at := c.places[i]; int(p.off) >= at.rel {
			p.container, p.off = at.seq, at.addr+p.off-uint32(at.rel)
			return
		}
	}
}

// part is what fits one record; most changes have one.
type part struct {
	body, payload, bytes, crcs int // where body, payload slices, payload bytes and CRCs end
	rel                        int // where its addresses begin
}

// fixup is an address in the body that is known when the log has given it out.
type fixup struct {
	at  int // of container and offset in the body
	rel int // address of the change
}

// refChange adds to or takes from the references of sectors of a container.
type refChange struct {
	container uint64
	off, n    uint32 // sectors
	by        int32
}

var changes = sync.Pool{New: func() any { return new(change) }}

func newChange() *change { return changes.Get().(*change) }

func (c *change) free() {
	clear(c.payload)
	*c = change{body: c.body[:0], parts: c.parts[:0], fixups: c.fixups[:0], payload: c.payload[:0],
		crcs: c.crcs[:0], refs: c.refs[:0], places: c.places[:0]}
	if cap(c.body) <= 64<<10 {
		changes.Put(c)
	}
}

func (c *change) edit(op byte, key []byte) {
	c.body = append(c.body, op)
	c.body = binary.AppendUvarint(c.body, uint64(len(key)))
	c.body = append(c.body, key...)
}

func (c *change) set(key, value []byte)   { c.edit(editSet, key); c.value(value) }
func (c *change) merge(key, value []byte) { c.edit(editMerge, key); c.value(value) }
func (c *change) del(key []byte)          { c.edit(editDelete, key) }

func (c *change) value(b []byte) {
	c.body = binary.AppendUvarint(c.body, uint64(len(b)))
	c.body = append(c.body, b...)
}

// mark notes that a versioned key was changed first in version; 0 needs no mark.
func (c *change) mark(version uint64, body []byte) {
	if version > 0 {
		c.edit(editSet, markerKey(nil, version, body))
		c.value(nil)
	}
}

// put sets a versioned key whose newest version is old, for a file whose label
// is now label.
func (c *change) put(body []byte, old found, label uint64, value []byte) {
	if old.ok && old.version >= label {
		c.set(at(body, old.version), value)
		return
	}
	c.set(at(body, label), value)
	if old.ok {
		c.mark(label, body)
	}
}

// remove deletes a versioned key: by a tombstone if an older version may have to stay.
func (c *change) remove(body []byte, old found, label uint64) {
	switch {
	case !old.ok:
	case old.version < label:
		c.set(at(body, label), nil)
		c.mark(label, body)
	case old.version == 0:
		c.del(at(body, 0))
	default:
		c.set(at(body, old.version), nil)
		c.mark(old.version, body)
	}
}

// ref notes a change of references.
func (c *change) ref(container uint64, off, n uint32, by int32) {
	if k := len(c.refs); k > c.done {
		r := &c.refs[k-1]
		if r.container == container && r.by == by && r.off+r.n == off {
			r.n += n
			return
		}
	}
	c.refs = append(c.refs, refChange{container, off, n, by})
}

// refEdits turns the reference changes collected since the last call into edits,
// region by region.
func (c *change) refEdits() {
	for _, r := range c.refs[c.done:] {
		for r.n > 0 {
			reg := r.off / regionSects
			in := r.off % regionSects
			n := min(r.n, regionSects-in)
			var kb [16]byte
			var vb [16]byte
			c.merge(regionKey(kb[:0], kCounts, r.container, uint16(reg)), appendInterval(vb[:0], 0, interval{in, n, r.by}))
			r.off += n
			r.n -= n
		}
	}
	c.done = len(c.refs)
}

// data adds whole blocks of payload, whose CRCs were appended before, and returns
// their address in the change.
func (c *change) data(p []byte) int {
	rel := c.rel
	c.payload = append(c.payload, p)
	c.bytes += len(p)
	c.rel += len(p)
	return rel
}

// cut ends a part.
func (c *change) cut() {
	c.parts = append(c.parts, part{len(c.body), len(c.payload), c.bytes, len(c.crcs), c.base})
	// A gap keeps pieces of two parts from looking adjacent.
	c.rel += blockSize
	c.base = c.rel
}

// room cuts the change if a part with so many bytes more would be larger than
// limit. What belongs to one part is added between two calls.
func (c *change) room(limit, more int) {
	if !c.fits(limit, more) {
		c.refEdits()
		c.cut()
	}
}

// fits reports whether the part has room for so many bytes more. A part with
// nothing in it always has.
func (c *change) fits(limit, more int) bool {
	var p part
	if n := len(c.parts); n > 0 {
		p = c.parts[n-1]
	}
	size := len(c.body) - p.body + c.bytes - p.bytes
	if size == 0 && len(c.refs) == c.done {
		return true
	}
	return size+32*(len(c.refs)-c.done)+more <= limit
}

// apply decodes a body's edits into a batch.
func applyEdits(b *pebble.Batch, body []byte) error {
	for len(body) > 0 {
		op := body[0]
		key, rest, ok := takeBytes(body[1:])
		if !ok || len(key) == 0 {
			return errEdits
		}
		body = rest
		if op == editDelete {
			if err := b.Delete(key, nil); err != nil {
				return err
			}
			continue
		}
		value, rest, ok := takeBytes(body)
		if !ok {
			return errEdits
		}
		body = rest
		var err error
		switch op {
		case editSet:
			err = b.Set(key, value, nil)
		case editMerge:
			err = b.Merge(key, value, nil)
		default:
			err = errEdits
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func takeBytes(b []byte) (v, rest []byte, ok bool) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return nil, nil, false
	}
	b = b[k:]
	return b[:n], b[n:], true
}

// commit logs and applies a change. When it returns without an error the
// change is visible. Space must have been admitted before (Volume.admit).
func (v *Volume) commit(c *change) (store.Pos, error) {
	if err := v.check(); err != nil {
		return 0, err
	}
	c.refEdits()
	c.cut()
	var buf [4]seglog.Ticket
	tickets := buf[:0]
	v.space.prepare(c.refs)
	v.order.Lock()
	var from part
	for i, p := range c.parts {
		reserve := v.log.ReserveLarge
		if c.passing && !seglog.Aligned(c.payload[from.payload:p.payload]) {
			reserve = v.log.Reserve // what cannot go past the page cache from where it lies is copied first
		}
		t, err := reserve(p.body-from.body, p.bytes-from.bytes, i < len(c.parts)-1)
		if err != nil {
			for i := range tickets {
				tickets[i].Void()
			}
			v.order.Unlock()
			return 0, v.logError(err)
		}
		tickets = append(tickets, t)
		from = p
	}
	err := v.applyLocked(c, tickets)
	v.order.Unlock()

	from = part{}
	for i, p := range c.parts {
		t := &tickets[i]
		if c.passing {
			t.Passing()
		}
		t.Write(c.payload[from.payload:p.payload], seglog.Check(c.crcs[from.crcs:p.crcs]))
		from = p
	}
	if err != nil {
		// The log has what the index has not.
		v.stop(err)
		return 0, v.Stopped()
	}
	return store.Pos(tickets[len(tickets)-1].Pos), nil
}

// applyLocked completes the bodies with the addresses that the log gave out and
// puts all edits into the index as one batch. Caller holds order.
func (v *Volume) applyLocked(c *change, tickets []seglog.Ticket) error {
	fix := c.fixups
	from := part{}
	v.batch.Reset()
	var failed error
	for i, p := range c.parts {
		t := &tickets[i]
		for len(fix) > 0 && fix[0].at < p.body {
			le.PutUint64(c.body[fix[0].at:], t.Seq)
			le.PutUint32(c.body[fix[0].at+8:], t.Addr+uint32(fix[0].rel-p.rel))
			fix = fix[1:]
		}
		copy(t.Body, c.body[from.body:p.body])
		c.places = append(c.places, place{p.rel, t.Seq, t.Addr})
		v.space.record(v.batch, t.Seq, t.Addr, p.bytes-from.bytes)
		if err := applyEdits(v.batch, c.body[from.body:p.body]); err != nil {
			failed = err
		}
		v.since += logged(p.body - from.body + p.bytes - from.bytes)
		from = p
	}
	if failed != nil {
		return failed
	}
	if err := v.space.refs(c.refs); err != nil {
		return err
	}
	t := &tickets[len(tickets)-1]
	if err := v.applyBatch(applied{t.Pos, t.Seq, t.Group}); err != nil {
		return err
	}
	if v.since >= flushEvery {
		v.since = 0
		v.work.wake(wantFlush)
	}
	if c.then != nil {
		return c.then()
	}
	return nil
}

// applyBatch adds the applied position to the batch and applies it. Caller holds order.
func (v *Volume) applyBatch(at applied) error {
	var b [20]byte
	le.PutUint64(b[:], at.pos)
	le.PutUint64(b[8:], at.seq)
	le.PutUint32(b[16:], at.group)
	if err := v.batch.Set([]byte{kApplied}, b[:], nil); err != nil {
		return err
	}
	v.at = at
	return v.index.Apply(v.batch, pebble.NoSync)
}

// flushEvery is how many bytes of log the index may lag behind.
const flushEvery = 256 << 20

// logged is what a record counts for towards flushEvery: small ones take longer to replay
// than to read.
func logged(bytes int) int64 { return int64(bytes) + 1<<10 }
