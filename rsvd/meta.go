package rsvd

import (
	"errors"
	"strings"
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	wire "gabion/protocol/rsvd"
	"gabion/rsvd/scsi"
	"gabion/rsvd/vhdx"
	"gabion/store"
)

// transaction is a meta operation by its TransactionId. All but the making of
// snapshots end with their request; those go through stages over several.
type transaction struct {
	id        dtyp.GUID
	open      *Open
	request   wire.CreateSnapshot // of the first request
	stage     wire.Stage          // last that was completed
	holdsGate bool
	timedOut  bool
	taken     bool
	timer     *time.Timer
}

// maxTransactions bounds how many ended transactions can be asked for.
const maxTransactions = 64

// metaStart is [MS-RSVD] 3.2.5.5.7.
func (c *call) metaStart() {
	var r wire.MetaStart
	if r.Decode(c.payload) != nil {
		c.fail(ntstatus.BufferTooSmall)
		return
	}
	data := c.payload[wire.MetaStartSize:]
	if c.o.snapshot != nil {
		c.end(ntstatus.InvalidDeviceRequest, 0)
		return
	}
	switch r.Type {
	case wire.MetaCreateSnapshot:
		c.createSnapshot(r.TransactionID, data)
	case wire.MetaOptimize: // always succeeds ([MS-RSVD] 3.2.5.5.7.2)
		c.o.disk.ended(r.TransactionID)
		c.end(ntstatus.Success, 0)
	case wire.MetaExtractSnapshots:
		c.extract(r.TransactionID, data)
	case wire.MetaConvertToVHDSet:
		c.convert(r.TransactionID, data)
	case wire.MetaResize:
		c.resize(r.TransactionID, data)
	case wire.MetaApplySnapshot:
		c.apply(r.TransactionID, data)
	default:
		c.end(ntstatus.InvalidParameter, 0)
	}
}

// decode reads a meta operation's data; a refusal has been sent when it is false.
func (c *call) decode(m interface{ Decode([]byte) error }, data []byte) bool {
	switch err := m.Decode(data); {
	case err == nil:
		return true
	case errors.Is(err, wire.ErrShort):
		c.fail(ntstatus.BufferTooSmall)
	default:
		c.fail(ntstatus.InvalidParameter)
	}
	return false
}

// ended notes a transaction for QUERY_PROGRESS.
func (d *disk) ended(id dtyp.GUID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(&transaction{id: id, stage: wire.StageFinalize})
}

// note adds a transaction to the table; d.mu is held.
func (d *disk) note(t *transaction) {
	for id, old := range d.work {
		if len(d.work) < maxTransactions {
			break
		}
		if old.stage == wire.StageFinalize || old.timedOut {
			delete(d.work, id)
		}
	}
	d.work[t.id] = t
}

// progress is [MS-RSVD] 3.2.5.5.8.
func (c *call) progress() {
	var r wire.ProgressRequest
	if !c.decode(&r, c.payload) {
		return
	}
	d := c.o.disk
	d.mu.Lock()
	t := d.work[r.TransactionID]
	a := wire.ProgressResponse{Complete: uint64(wire.StageFinalize)}
	if t != nil {
		a.Current = uint64(t.stage)
	}
	d.mu.Unlock()
	if t == nil {
		c.end(ntstatus.NotFound, 0)
		return
	}
	c.answer(ntstatus.Success, &a, 0)
}

// exclusively runs fn while no command of anybody runs on the disk.
func (c *call) exclusively(id dtyp.GUID, fn func() (store.Pos, ntstatus.Status)) {
	d := c.o.disk
	ok := d.block(func() {
		pos, status := fn()
		if status == ntstatus.Success {
			d.ended(id)
		}
		d.unblock()
		c.end(status, pos)
	})
	if !ok {
		c.end(ntstatus.SharingViolation, 0)
	}
}

// resize is [MS-RSVD] 3.2.5.5.7.5.
func (c *call) resize(id dtyp.GUID, data []byte) {
	var r wire.Resize
	if !c.decode(&r, data) {
		return
	}
	g := c.o.disk.medium.Geometry()
	size := int64(min(r.NewSize, 1<<62))
	switch {
	case r.ShrinkToMinimumSafeSize && (r.NewSize != 0 || r.ExpandOnly || r.AllowUnsafe):
		c.fail(ntstatus.InvalidParameter1)
		return
	case r.ExpandOnly && size < g.Size,
		!r.ShrinkToMinimumSafeSize && (size == 0 || size%int64(g.SectorSize) != 0 || size > vhdx.MaxSize):
		c.fail(ntstatus.InvalidParameter)
		return
	}
	c.exclusively(id, func() (store.Pos, ntstatus.Status) { return c.o.resizeTo(size, r) })
}

func (o *Open) resizeTo(size int64, r wire.Resize) (store.Pos, ntstatus.Status) {
	d := o.disk
	box := d.medium.Load()
	if before := box.Geometry().Size; r.ShrinkToMinimumSafeSize || size < before && !r.AllowUnsafe {
		safe, err := safeSize(box)
		switch {
		case err != nil:
			return 0, statusOf(err)
		case r.ShrinkToMinimumSafeSize:
			size = safe
		case size < safe:
			return 0, ntstatus.InvalidParameter
		}
	}
	pos, err := box.Resize(size)
	if err == nil {
		pos, err = d.target.Raise(scsi.CapacityChanged, d.others(o.initiator)...)
	}
	return pos, statusOf(err)
}

// apply is [MS-RSVD] 3.2.5.5.7.6.
func (c *call) apply(id dtyp.GUID, data []byte) {
	var r wire.ApplySnapshot
	if !c.decode(&r, data) {
		return
	}
	if r.Type != wire.SnapshotVM && r.Type != wire.SnapshotWriteable {
		c.fail(ntstatus.InvalidParameter1)
		return
	}
	d := c.o.disk
	e, ok := d.snapshot(r.SnapshotID)
	if !ok || e.kind != r.Type {
		c.end(ntstatus.NotFound, 0)
		return
	}
	c.exclusively(id, func() (store.Pos, ntstatus.Status) {
		before := d.medium.Geometry().Size
		pos, err := d.apply(e, c.o.folder)
		others := d.others(c.o.initiator)
		if err == nil {
			pos, err = d.target.Raise(scsi.OperatingDefinitionChange, others...)
		}
		if err == nil && d.medium.Geometry().Size != before {
			pos, err = d.target.Raise(scsi.CapacityChanged, others...)
		}
		return pos, statusOf(err)
	})
}

// component reports whether a name is one legal path component ([MS-FSCC] 2.1.5).
func component(name string) bool {
	return name != "" && name != "." && name != ".." && dtyp.UTF16Len(name) <= store.MaxNameLen && fscc.ValidFileName(name)
}

// extract is [MS-RSVD] 3.2.5.5.7.3.
func (c *call) extract(id dtyp.GUID, data []byte) {
	var r wire.ExtractSnapshots
	if !c.decode(&r, data) {
		return
	}
	source, ok := c.o.disk.snapshot(r.Source)
	limit, limited := c.o.disk.snapshot(r.Limit)
	switch {
	case !component(r.Destination), !ok, !r.Limit.IsZero() && !limited:
		c.fail(ntstatus.InvalidParameter)
		return
	case r.Flags != 0 && (r.Type != wire.SnapshotVM || r.Flags != wire.ExtractDeleteOnClose):
		c.end(ntstatus.InvalidParameter2, 0)
		return
	case r.Flags == wire.ExtractDeleteOnClose && c.o.rights&MayDelete == 0:
		c.end(ntstatus.AccessDenied, 0)
		return
	}
	var base *snapshot
	if limited {
		base = &limit
	}
	to, err := c.o.folder.Create(r.Destination)
	if err != nil {
		c.end(statusOf(err), 0)
		return
	}
	defer to.Close()
	pos, err := c.o.disk.extract(to, source, base, c.o.folder)
	if err == nil {
		d := c.o.disk
		d.ended(id)
		d.mu.Lock()
		c.o.pendingDelete = c.o.pendingDelete || r.Flags == wire.ExtractDeleteOnClose
		d.mu.Unlock()
	}
	c.end(statusOf(err), pos)
}

// convert is [MS-RSVD] 3.2.5.5.7.4: the file gets a name of its own beside the new
// set, which becomes the name to open it by.
func (c *call) convert(id dtyp.GUID, data []byte) {
	var r wire.ConvertToVHDSet
	if !c.decode(&r, data) {
		return
	}
	base, ok := strings.CutSuffix(strings.ToLower(r.Destination), ".vhds")
	if !ok || base == "" || !component(r.Destination) {
		c.fail(ntstatus.InvalidParameter)
		return
	}
	c.exclusively(id, func() (store.Pos, ntstatus.Status) {
		if c.o.set || strings.HasSuffix(strings.ToLower(c.o.name), ".avhdx") {
			return 0, ntstatus.InvalidDeviceRequest // it is in a set
		}
		pos, err := c.o.toSet(r.Destination)
		return pos, statusOf(err)
	})
}

func (o *Open) toSet(name string) (store.Pos, error) {
	active := name[:len(name)-len(".vhds")] + "_" + dtyp.NewGUID().String() + ".avhdx"
	if !component(active) {
		return 0, store.ErrName
	}
	set, err := o.folder.Create(name)
	if err != nil {
		return 0, err
	}
	defer set.Close()
	s, err := set.Data()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	if _, err := vhdx.WriteSet(s, active, o.disk.touch()); err != nil {
		return 0, err
	}
	if _, err := o.folder.Rename(o.name, active); err != nil {
		return 0, err
	}
	o.disk.mu.Lock()
	for x := range o.disk.opens {
		x.name = active
	}
	o.disk.mu.Unlock()
	return o.disk.target.Raise(scsi.OperatingDefinitionChange, o.disk.others(o.initiator)...)
}

// createSnapshot is [MS-RSVD] 3.2.5.5.7.1.
func (c *call) createSnapshot(id dtyp.GUID, data []byte) {
	var r wire.CreateSnapshot
	if !c.decode(&r, data) {
		return
	}
	if s, inHeader := judgeSnapshot(&r); s != ntstatus.Success {
		if inHeader {
			c.end(s, 0)
		} else {
			c.fail(s)
		}
		return
	}
	if !c.o.set {
		c.fail(ntstatus.InvalidDeviceRequest)
		return
	}
	d := c.o.disk
	d.mu.Lock()
	t := d.work[id]
	if t == nil {
		t = &transaction{id: id, open: c.o, request: r}
		d.note(t)
	}
	wrong := t.request.SnapshotID != r.SnapshotID || t.request.Type != r.Type || t.stage >= r.Stages[0]
	late := t.timedOut
	d.mu.Unlock()
	switch {
	case late:
		c.snapshotDone(&r, ntstatus.IOTimeout, 0)
	case wrong:
		c.snapshotDone(&r, ntstatus.InvalidParameter, 0)
	default:
		c.stages(t, &r, 0, 0)
	}
}

// judgeSnapshot checks a request's fields, in the specification's order. Some
// refusals travel in the header.
func judgeSnapshot(r *wire.CreateSnapshot) (s ntstatus.Status, inHeader bool) {
	switch {
	case !r.Type.Valid():
		return ntstatus.InvalidParameter1, true
	case r.Stages[0] == wire.StageInvalid, r.Stages[0] > wire.StageFinalize:
		return ntstatus.InvalidParameter2, true
	case r.Flags != 0 && (r.Type != wire.SnapshotVM || r.Flags != wire.SnapshotEnableTracking || r.Stages[0] != wire.StageInitialize):
		return ntstatus.InvalidParameter5, true
	}
	for i := 1; i < len(r.Stages); i++ {
		this, previous := r.Stages[i], r.Stages[i-1]
		switch {
		case this == wire.StageInvalid:
		case previous == wire.StageInvalid:
			return ntstatus.InvalidParameter3, false
		case this <= previous, this > wire.StageFinalize:
			return ntstatus.InvalidParameter4, false
		}
	}
	if r.LogFileNameLength != 0 {
		return ntstatus.InvalidParameter6, false
	}
	return ntstatus.Success, false
}

// stages runs the stages of a request from one on.
func (c *call) stages(t *transaction, r *wire.CreateSnapshot, from int, pos store.Pos) {
	d := c.o.disk
	for i := from; i < len(r.Stages) && r.Stages[i] != wire.StageInvalid; i++ {
		status := ntstatus.Success
		switch r.Stages[i] {
		case wire.StageBlockIO:
			if !d.block(func() {
				if !d.hold(t) {
					d.unblock()
					c.snapshotDone(r, ntstatus.FileForcedClosed, 0)
					return
				}
				c.stages(t, r, i+1, pos)
			}) {
				c.snapshotDone(r, ntstatus.SharingViolation, 0)
			}
			return
		case wire.StageSwitchObjectStore:
			var err error
			pos, err = d.take(c.o, r.SnapshotID, r.Type, t.request.Flags&wire.SnapshotEnableTracking != 0, r.LogFileID)
			status = statusOf(err)
			d.mu.Lock()
			t.taken = err == nil
			d.mu.Unlock()
		case wire.StageUnblockIO:
			status = d.letGo(t)
		}
		if status != ntstatus.Success {
			d.abandon(t)
			c.snapshotDone(r, status, 0)
			return
		}
		d.mu.Lock()
		t.stage = r.Stages[i]
		d.mu.Unlock()
	}
	c.snapshotDone(r, ntstatus.Success, pos)
}

func (c *call) snapshotDone(r *wire.CreateSnapshot, s ntstatus.Status, pos store.Pos) {
	if r.Type == wire.SnapshotCDP {
		c.answer(s, &wire.MetaReply{}, pos)
		return
	}
	c.end(s, pos)
}

// hold makes t the owner of the closed gate, for a bounded time: a host that dies
// now must not freeze the guests. It returns false when t's open has gone.
func (d *disk) hold(t *transaction) bool {
	limit := vmBlockLimit
	if t.request.Type == wire.SnapshotCDP {
		limit = cdpBlockLimit
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.opens[t.open]; !ok {
		return false
	}
	t.holdsGate, t.stage = true, wire.StageBlockIO
	t.timer = time.AfterFunc(limit, func() {
		defer d.svc.recovered()
		d.abandon(t)
	})
	return true
}

// letGo opens the gate for t, if it was still its own.
func (d *disk) letGo(t *transaction) ntstatus.Status {
	d.mu.Lock()
	held, late := t.holdsGate, t.timedOut
	t.holdsGate = false
	d.mu.Unlock()
	if late {
		return ntstatus.IOTimeout
	}
	if held {
		t.timer.Stop()
		d.unblock()
	}
	return ntstatus.Success
}

// abandon ends a snapshot that will not be finished: its time is over, its open
// was closed, or a stage failed. I/O goes on and the snapshot is dropped.
func (d *disk) abandon(t *transaction) {
	d.mu.Lock()
	held := t.holdsGate
	t.holdsGate, t.timedOut = false, true
	e, taken := d.snaps.find(t.request.SnapshotID)
	taken = taken && t.taken
	t.taken = false
	d.mu.Unlock()
	if held {
		t.timer.Stop()
	}
	if taken {
		d.drop(e, t.open.folder) // what is left of it if this fails can be deleted by its id
	}
	if held {
		d.unblock()
	}
}
