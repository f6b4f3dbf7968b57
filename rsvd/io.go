package rsvd

import (
	"gabion/protocol/ntstatus"
	wire "gabion/protocol/rsvd"
	"gabion/rsvd/scsi"
	"gabion/store"
)

// senseError is what SRB_STATUS tells about a failed READ or WRITE.
type senseError struct {
	valid  bool
	srb    uint8
	status scsi.Status
	sense  [wire.SenseSize]byte
}

// senseRing keeps the last 256 errors by a key that is the low byte of the status
// the client got ([MS-RSVD] 3.2.1.2 and 3.2.1.3).
type senseRing struct {
	sequence uint8
	slots    map[uint8]senseError
}

// senseEntry is the size of an error in what decode reads: key, SrbStatus, ScsiStatus,
// sense.
const senseEntry = 3 + wire.SenseSize

// decode takes over what an earlier life of the open had stored.
func (r *senseRing) decode(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if (len(b)-1)%senseEntry != 0 {
		return false
	}
	r.sequence, r.slots = b[0], map[uint8]senseError{}
	for b = b[1:]; len(b) > 0; b = b[senseEntry:] {
		r.slots[b[0]] = senseError{true, b[1], scsi.Status(b[2]), [wire.SenseSize]byte(b[3:senseEntry])}
	}
	return true
}

// Sense is the sense ring for who keeps it over restarts, nil while it is empty.
func (o *Open) Sense() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sense.slots == nil {
		return nil
	}
	b := append(make([]byte, 0, 1+len(o.sense.slots)*senseEntry), o.sense.sequence)
	for key, e := range o.sense.slots {
		b = append(b, key, e.srb, byte(e.status))
		b = append(b, e.sense[:]...)
	}
	return b
}

// Stored reports whether a status names an error in the sense ring.
func Stored(s ntstatus.Status) bool { return s&^0xFF == ntstatus.SVHDXErrorStored }

// keep stores an error and returns the status that names it.
func (o *Open) keep(e senseError) ntstatus.Status {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sense.slots == nil {
		o.sense.slots = map[uint8]senseError{}
	}
	o.sense.sequence++
	e.valid = true
	o.sense.slots[o.sense.sequence] = e
	return ntstatus.SVHDXErrorStored | ntstatus.Status(o.sense.sequence)
}

// noInitiator is the error of data access without an InitiatorId, with the sense
// bytes that [MS-RSVD] 3.2.5.3 gives.
var noInitiator = senseError{srb: wire.SrbAborted, status: scsi.CheckCondition, sense: [wire.SenseSize]byte{0: 0xF0, 7: 0x0A}}

// taskAborted is what a READ or WRITE ends with that PREEMPT AND ABORT has ended.
var taskAborted = senseError{srb: wire.SrbAborted, status: scsi.TaskAborted}

func stored(s scsi.Sense) senseError {
	e := senseError{srb: wire.SrbError, status: scsi.CheckCondition}
	s.AppendTo(e.sense[:0])
	return e
}

// attentionStatus maps a unit attention to the status that tells it ([MS-RSVD] 2.2.3).
func attentionStatus(s scsi.Sense) ntstatus.Status {
	switch s {
	case scsi.CapacityChanged:
		return ntstatus.SVHDXUnitAttentionCapacityDataChanged
	case scsi.ReservationsPreempted:
		return ntstatus.SVHDXUnitAttentionReservationsPreempted
	case scsi.ReservationsReleased:
		return ntstatus.SVHDXUnitAttentionReservationsReleased
	case scsi.RegistrationsPreempted:
		return ntstatus.SVHDXUnitAttentionRegistrationsPreempted
	case scsi.OperatingDefinitionChange:
		return ntstatus.SVHDXUnitAttentionOperatingDefinitionChanged
	}
	return ntstatus.SVHDXUnitAttentionAvailable
}

// Read reads from the virtual disk and calls done once with the number of bytes,
// which is all of them or none ([MS-RSVD] 3.2.5.3). p stays the callee's until then. A
// request that has to wait is returned.
func (o *Open) Read(p []byte, off uint64, done func(int, ntstatus.Status)) *Waiting {
	if status, ok := o.admissible(off, len(p)); !ok {
		done(0, status)
		return nil
	}
	if o.disk.enter(o) != entered {
		return o.passing(nil, func() func() {
			n, status := o.read(p, int64(off))
			return func() { done(n, status) }
		}, func(s ntstatus.Status) { done(0, s) }, func() { done(0, o.keep(taskAborted)) })
	}
	n, status := o.read(p, int64(off))
	o.disk.exit(o)
	done(n, status)
	return nil
}

func (o *Open) read(p []byte, off int64) (int, ntstatus.Status) {
	if o.snapshot != nil {
		return o.readResult(len(p), o.snapshot.ReadAt(p, off))
	}
	k := tickets.Get().(*scsi.Ticket)
	defer tickets.Put(k)
	if r, ok := o.disk.target.Begin(k, o.initiator, scsi.AccessRead); !ok {
		return 0, o.refused(r)
	}
	defer o.disk.target.End(k)
	o.disk.reads.Add(1)
	o.disk.readBytes.Add(int64(len(p)))
	return o.readResult(len(p), o.disk.medium.ReadAt(p, off))
}

func (o *Open) readResult(n int, err error) (int, ntstatus.Status) {
	if err != nil {
		return 0, o.keep(stored(scsi.UnrecoveredReadError))
	}
	return n, ntstatus.Success
}

// Write writes all of p to the virtual disk and calls done once with the position
// that makes it durable ([MS-RSVD] 3.2.5.4). p stays the callee's until then. A request
// that has to wait is returned.
func (o *Open) Write(p []byte, off uint64, done func(store.Pos, ntstatus.Status)) *Waiting {
	if status, ok := o.admissible(off, len(p)); !ok {
		done(0, status)
		return nil
	}
	if o.snapshot != nil && o.branch == nil {
		done(0, o.keep(stored(scsi.WriteProtected)))
		return nil
	}
	if o.disk.enter(o) != entered {
		return o.passing(nil, func() func() {
			pos, status := o.write(p, int64(off))
			return func() { done(pos, status) }
		}, func(s ntstatus.Status) { done(0, s) }, func() { done(0, o.keep(taskAborted)) })
	}
	pos, status := o.write(p, int64(off))
	o.disk.exit(o)
	done(pos, status)
	return nil
}

func (o *Open) write(p []byte, off int64) (store.Pos, ntstatus.Status) {
	if o.branch != nil {
		pos, err := o.snapshot.WriteAt(p, off)
		if err != nil {
			return 0, o.keep(stored(scsi.WriteSense(err)))
		}
		return pos, ntstatus.Success
	}
	k := tickets.Get().(*scsi.Ticket)
	defer tickets.Put(k)
	if r, ok := o.disk.target.Begin(k, o.initiator, scsi.AccessWrite); !ok {
		return r.Pos, o.refused(r)
	}
	defer o.disk.target.End(k)
	o.disk.writes.Add(1)
	o.disk.writtenBytes.Add(int64(len(p)))
	pos, err := o.disk.medium.WriteAt(p, off)
	if err != nil {
		return 0, o.keep(stored(scsi.WriteSense(err)))
	}
	return pos, ntstatus.Success
}

// admissible judges a READ or WRITE before the reservations do; an empty one
// succeeds at once.
func (o *Open) admissible(off uint64, n int) (ntstatus.Status, bool) {
	if o.initiator.IsZero() && o.snapshot == nil {
		return o.keep(noInitiator), false
	}
	if o.options&noIntermediateBuffering == 0 && o.snapshot == nil {
		return ntstatus.NotSupported, false
	}
	g := o.disk.medium.Geometry()
	if o.snapshot != nil {
		g = o.snapshot.Geometry()
	}
	sector := uint64(g.SectorSize)
	switch {
	case off%sector != 0 || uint64(n)%sector != 0:
		return ntstatus.InvalidParameter, false
	case off > uint64(g.Size) || uint64(n) > uint64(g.Size)-off:
		return o.keep(stored(scsi.BlockAddressOutOfRange)), false
	case n == 0:
		return ntstatus.Success, false
	}
	return ntstatus.Success, true
}

// refused maps what the logical unit said instead of admitting a READ or WRITE.
func (o *Open) refused(r scsi.Result) ntstatus.Status {
	switch {
	case r.Status == scsi.ReservationConflict:
		o.disk.conflicts.Add(1)
		return ntstatus.SVHDXReservationConflict
	case r.Sense.UnitAttention():
		return attentionStatus(r.Sense)
	}
	return o.keep(stored(r.Sense))
}

// Flush returns the position behind everything written to the disk so far.
func (o *Open) Flush() (store.Pos, ntstatus.Status) {
	if o.snapshot != nil {
		pos, err := o.snapshot.Flush()
		return pos, statusOf(err)
	}
	pos, err := o.disk.medium.Flush()
	return pos, statusOf(err)
}
