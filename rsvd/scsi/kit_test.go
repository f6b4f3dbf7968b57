package scsi

import (
	"sync"
	"testing"
	"time"

	"gabion/store"
)

// ram is a Disk in memory.
type ram struct {
	mu    sync.Mutex // guards data, pos
	data  []byte
	pos   store.Pos
	fixed bool
	fail  error
	kept  map[[16]byte]*ramCopy
	// wrote, when set, is called by WriteAt with the first byte of the data.
	wrote func(byte)
}

func (r *ram) Geometry() Geometry {
	return Geometry{Size: int64(len(r.data)), SectorSize: 512, PhysicalSector: 4096, BlockSize: 1 << 20, Fixed: r.fixed}
}

func (r *ram) ReadAt(p []byte, off int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	copy(p, r.data[off:off+int64(len(p))])
	return r.fail
}

func (r *ram) WriteAt(p []byte, off int64) (store.Pos, error) {
	if r.wrote != nil {
		r.wrote(p[0])
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	copy(r.data[off:off+int64(len(p))], p)
	r.pos++
	return r.pos, r.fail
}

func (r *ram) Zero(off, n int64) (store.Pos, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.data[off : off+n])
	r.pos++
	return r.pos, r.fail
}

func (r *ram) Allocated(off, n int64, to []store.Range) ([]store.Range, error) {
	for end := off + n; off < end; off += 512 {
		if !allZero(r.data[off : off+512]) {
			to = append(to, store.Range{Off: off, Len: 512})
		}
	}
	return to, nil
}

func (r *ram) Flush() (store.Pos, error) { return r.pos, nil }

// ramCopy is what a token of a ram disk stands for.
type ramCopy struct{ secret, data []byte }

func (c *ramCopy) Size() int64    { return int64(len(c.data)) }
func (c *ramCopy) Secret() []byte { return c.secret }
func (c *ramCopy) Close()         {}
func (c *ramCopy) ReadAt(p []byte, off int64) error {
	copy(p, c.data[off:])
	return nil
}

func (r *ram) Freeze(id [16]byte, secret []byte, ranges []store.Range, _ time.Duration) (store.Pos, error) {
	c := &ramCopy{secret: secret}
	for _, g := range ranges {
		c.data = append(c.data, r.data[g.Off:g.Off+g.Len]...)
	}
	if r.kept == nil {
		r.kept = map[[16]byte]*ramCopy{}
	}
	r.kept[id] = c
	return r.pos, nil
}

func (r *ram) Frozen(id [16]byte) (Frozen, error) {
	if c := r.kept[id]; c != nil {
		return c, nil
	}
	return nil, store.ErrNotFound
}

func (r *ram) Thaw(id [16]byte) { delete(r.kept, id) }

// rig is a target on a ram disk with its journal.
type rig struct {
	*Target
	t     *testing.T
	disk  *ram
	saved []byte
	pos   store.Pos
	fail  error
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, disk: &ram{data: make([]byte, 1<<20)}}
	r.start(Record{})
	return r
}

func (r *rig) start(rec Record) {
	r.Target = New(Config{Disk: r.disk, Record: rec, Copier: r.disk, Identity: Identity{Vendor: "GABION", Product: "Shared VHDX", Revision: "1", Unique: [16]byte{0xF1, 2, 3}},
		Save: func(rec Record) (store.Pos, error) {
			if r.fail != nil {
				return 0, r.fail
			}
			r.saved = rec.AppendTo(nil)
			r.pos++
			return r.pos, nil
		}})
}

func who(n int) Initiator { return Initiator{0: byte(n + 1), 15: 0xA0} }

func (r *rig) run(i int, cdb []byte, out []byte) Result {
	r.t.Helper()
	c := &Command{Initiator: who(i), DataOut: out, MaxIn: 1 << 20}
	copy(c.CDB[:], cdb)
	var res *Result
	r.Execute(c, func(x Result) { res = &x })
	if res == nil {
		r.t.Fatalf("%s did not complete", c.CDB.Name())
	}
	return *res
}

// out builds PERSISTENT RESERVE OUT.
func out(a Action, ty Type, key, actionKey uint64) (cdb, list []byte) {
	cdb = []byte{0x5F, byte(a), byte(ty), 0, 0, 0, 0, 0, 24, 0}
	list = be.AppendUint64(nil, key)
	list = be.AppendUint64(list, actionKey)
	return cdb, append(list, make([]byte, 8)...)
}

func (r *rig) out(i int, a Action, ty Type, key, actionKey uint64) Result {
	r.t.Helper()
	cdb, list := out(a, ty, key, actionKey)
	if a == RegisterAndMove { // to the next initiator
		id := transportID(who(i + 1))
		be.PutUint32(list[20:], uint32(len(id)))
		list = append(list, id...)
		be.PutUint32(cdb[5:], uint32(len(list)))
	}
	return r.run(i, cdb, list)
}

func (r *rig) must(res Result) {
	r.t.Helper()
	if res.Status != Good {
		r.t.Fatalf("%v %v, want GOOD", res.Status, res.Sense)
	}
}

var types = []Type{WriteExclusive, ExclusiveAccess, WriteExclusiveRegistrantsOnly, ExclusiveAccessRegistrantsOnly,
	WriteExclusiveAllRegistrants, ExclusiveAccessAllRegistrants}
