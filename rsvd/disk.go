package rsvd

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gabion/protocol/dtyp"
	"gabion/rsvd/scsi"
	"gabion/rsvd/vhdx"
	"gabion/store"
)

// Keys in the volume's KV. Each ends in the payload's file id; snapshots have
// their own id behind it.
const (
	bucket         = "rsvd"
	reservationKey = "reservation/"
	snapshotKey    = "snapshot/"
	trackingKey    = "tracking/"
)

func keyOf(kind string, id store.FileID) string { return fmt.Sprintf("%s%016x", kind, uint64(id)) }

func fileOfKey(key string) (store.FileID, bool) {
	n, err := strconv.ParseUint(key[strings.LastIndexByte(key, '/')+1:], 16, 64)
	return store.FileID(n), err == nil
}

// errDifferencing: a layer of a chain is not a disk of its own.
var errDifferencing = errors.New("differencing disk opened without its set")

// disk is one shared virtual disk.
type disk struct {
	svc   *Service
	key   diskKey
	vol   store.Volume
	users int // guarded by Service.mu

	loading sync.Mutex // serialises load and release
	// Set by load.
	node   store.Node
	medium medium
	target *scsi.Target

	reads, writes, conflicts atomic.Int64
	readBytes, writtenBytes  atomic.Int64
	aborted                  atomic.Int64

	mu        sync.Mutex // guards everything below
	opens     map[*Open]struct{}
	left      sync.Cond // an open that is being closed is no longer busy
	entered   int       // commands between enter and exit
	blocked   bool
	idle      func()     // waits for entered to become 0
	parked    []*Waiting // requests that wait for the gate
	snaps     snapshots
	branches  map[dtyp.GUID]*branch // writeable snapshots that are open
	tracking  tracking
	work      map[dtyp.GUID]*transaction
	exclusive bool // an operation has the gate
}

func newDisk(s *Service, key diskKey, v store.Volume) *disk {
	d := &disk{svc: s, key: key, vol: v, opens: map[*Open]struct{}{}, work: map[dtyp.GUID]*transaction{}}
	d.left.L = &d.mu
	return d
}

// load opens the container and brings back what the KV knows of the disk.
func (d *disk) load(node store.Node, folder Folder, set bool) error {
	var record scsi.Record
	kv := d.vol.KV()
	raw, err := kv.Get(bucket, keyOf(reservationKey, d.key.file))
	if err == nil {
		err = record.Decode(raw)
	} else if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	if err != nil {
		return err
	}
	snaps, err := loadSnapshots(kv, d.key.file)
	if err == nil {
		err = d.dropOrphans(snaps)
	}
	if err != nil {
		return err
	}
	tracking, err := loadTracking(kv, d.key.file)
	if err != nil {
		return err
	}
	own, err := d.vol.OpenID(store.Live, node.ID())
	if err != nil {
		return err
	}
	if !set {
		folder = nil
	}
	box, err := d.container(own, folder, false)
	if errors.Is(err, vhdx.ErrParent) && !set {
		err = errDifferencing
	}
	if err != nil {
		own.Close()
		return err
	}
	d.node = own
	d.medium.Store(box)
	d.mu.Lock()
	d.snaps, d.tracking = snaps, tracking
	d.mu.Unlock()
	id := d.svc.opt.Identity
	id.Unique = d.unique()
	d.target = scsi.New(scsi.Config{Disk: &d.medium, Identity: id, Record: record, Save: d.save, Abort: d.abort, Copier: copier{d}})
	return nil
}

// container opens the VHDX in a node; its parents lie in the same folder.
func (d *disk) container(n store.Node, folder Folder, readOnly bool) (*vhdx.Disk, error) {
	s, err := n.Data()
	if err != nil {
		return nil, err
	}
	box, err := vhdx.Open(s, vhdx.Options{ReadOnly: readOnly, Parent: parents(folder), Touch: d.touch})
	if err != nil {
		s.Close()
		return nil, err
	}
	return box, nil
}

// parents opens parent layers by name: only those in the same folder, because a
// path inside a file that a client wrote must not lead anywhere else.
func parents(folder Folder) func(string) (store.Stream, error) {
	if folder == nil {
		return nil
	}
	return func(path string) (store.Stream, error) {
		name := strings.TrimPrefix(strings.TrimPrefix(path, `.\`), "./")
		if !component(name) {
			return nil, store.ErrNotFound
		}
		n, err := folder.Open(name)
		if err != nil {
			return nil, err
		}
		defer n.Close()
		return n.Data()
	}
}

func (d *disk) touch() store.Touch {
	now := dtyp.FiletimeOf(d.svc.opt.Now())
	return store.Touch{LastWrite: now, Change: now}
}

// unique names the disk in VPD page 83h: a copy of a container is another disk,
// although it has the same Virtual Disk ID inside.
func (d *disk) unique() (u [16]byte) {
	h := sha256.New()
	h.Write([]byte("gabion shared disk"))
	h.Write(d.key.volume[:])
	binary.Write(h, binary.BigEndian, uint64(d.key.file))
	copy(u[:], h.Sum(nil))
	return u
}

func (d *disk) save(r scsi.Record) (store.Pos, error) {
	return d.vol.KV().Apply([]store.KVEdit{{Bucket: bucket, Key: keyOf(reservationKey, d.key.file), Value: r.AppendTo(nil)}})
}

// closed takes an open out and ends what it had under way.
func (d *disk) closed(o *Open) {
	d.shut(o)
	d.mu.Lock()
	delete(d.opens, o)
	last := true
	for other := range d.opens {
		last = last && other.initiator != o.initiator
	}
	var stuck []*transaction
	for _, t := range d.work {
		if t.open == o && t.holdsGate {
			stuck = append(stuck, t)
		}
	}
	d.mu.Unlock()
	for _, t := range stuck {
		d.abandon(t)
	}
	if last && !o.initiator.IsZero() {
		d.target.Forget(o.initiator)
	}
}

// dispose is the end of the last shared open: without APTPL the reservations go
// with it. d.loading is held and nobody else knows the disk.
func (d *disk) dispose() store.Pos {
	var pos store.Pos
	if r := d.target.Record(); !r.State.APTPL {
		pos, _ = d.vol.KV().Apply([]store.KVEdit{{Bucket: bucket, Key: keyOf(reservationKey, d.key.file)}})
	}
	d.target = nil
	d.medium.Load().Close()
	d.node.Close()
	return pos
}

// openedThrough reports whether an open came by way of a file.
func (d *disk) openedThrough(file store.FileID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for o := range d.opens {
		if o.file == file {
			return true
		}
	}
	return false
}

// others are the initiators with an open, except one.
func (d *disk) others(except scsi.Initiator) []scsi.Initiator {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []scsi.Initiator
	for o := range d.opens {
		if o.initiator != except && !o.initiator.IsZero() {
			list = append(list, o.initiator)
		}
	}
	return list
}

// medium is the container as it is now; applying a snapshot opens it anew.
type medium struct{ atomic.Pointer[vhdx.Disk] }

func (m *medium) Geometry() scsi.Geometry              { return m.Load().Geometry() }
func (m *medium) Info() vhdx.Info                      { return m.Load().Info() }
func (m *medium) ReadAt(p []byte, off int64) error     { return m.Load().ReadAt(p, off) }
func (m *medium) Flush() (store.Pos, error)            { return m.Load().Flush() }
func (m *medium) Zero(off, n int64) (store.Pos, error) { return m.Load().Zero(off, n) }
func (m *medium) WriteAt(p []byte, off int64) (store.Pos, error) {
	return m.Load().WriteAt(p, off)
}

func (m *medium) Allocated(off, n int64, to []store.Range) ([]store.Range, error) {
	return m.Load().Allocated(off, n, to)
}

// tickets are those of READ and WRITE between Begin and End.
var tickets = sync.Pool{New: func() any { return new(scsi.Ticket) }}

// Timers of snapshots: how long the disk may stay blocked.
const (
	cdpBlockLimit = 700 * time.Millisecond // [MS-RSVD] 3.2.2, note on the value
	vmBlockLimit  = 30 * time.Second
)
