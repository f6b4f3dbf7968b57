package rsvd

import (
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	wire "gabion/protocol/rsvd"
	"gabion/store"
)

// querySet is [MS-RSVD] 3.2.5.5.9.
func (c *call) querySet() {
	var r wire.SetQueryRequest
	entry, list := wire.SnapshotEntry, wire.SnapshotList
	if r.Decode(c.payload) != nil {
		c.fail(ntstatus.BufferTooSmall)
		return
	}
	switch r.Information {
	case entry, list, wire.OptimizeNeeded, wire.CdpSnapshotRoot, wire.CdpSnapshotActiveList, wire.CdpSnapshotInactiveList:
	default:
		r.Information = 0
	}
	switch {
	case !c.o.set:
		c.fail(ntstatus.InvalidDeviceRequest)
	case r.Information == 0, r.Information == entry && !r.SnapshotType.Valid(), r.Information == list && r.SnapshotType != wire.SnapshotVM:
		c.fail(ntstatus.InvalidParameter1)
	case r.Information != entry && r.Information != list && r.SnapshotType != wire.SnapshotNone:
		c.fail(ntstatus.InvalidParameter)
	default:
		c.answerSet(r)
	}
}

func (c *call) answerSet(r wire.SetQueryRequest) {
	d := c.o.disk
	d.mu.Lock()
	snaps := d.snaps
	d.mu.Unlock()
	switch r.Information {
	case wire.SnapshotList:
		c.answerList(snaps.ids(wire.SnapshotVM, false))
	case wire.CdpSnapshotActiveList:
		c.answerList(snaps.ids(wire.SnapshotCDP, true))
	case wire.CdpSnapshotInactiveList:
		c.answerList(snaps.ids(wire.SnapshotCDP, false))
	case wire.OptimizeNeeded: // snapshots are no layers, there is nothing to collapse
		c.answer(ntstatus.Success, &wire.OptimizeNeededResponse{}, 0)
	case wire.SnapshotEntry:
		e, ok := snaps.find(r.SnapshotID)
		if !ok || e.kind != r.SnapshotType {
			c.end(ntstatus.NotFound, 0)
			return
		}
		c.answer(ntstatus.Success, &wire.SnapshotEntryResponse{Information: wire.SnapshotEntry, CreationTime: uint64(e.created), Type: e.kind,
			Valid: c.exists(e), SnapshotID: e.id}, 0)
	case wire.CdpSnapshotRoot:
		ids := snaps.ids(wire.SnapshotCDP, true)
		if len(ids) == 0 {
			c.end(ntstatus.NotFound, 0)
			return
		}
		e, _ := snaps.find(ids[0])
		c.answer(ntstatus.Success, &wire.SnapshotEntryResponse{Information: wire.CdpSnapshotRoot, CreationTime: uint64(e.created), Type: e.kind,
			Valid: c.exists(e), SnapshotID: r.SnapshotID, ParentID: e.previous, LogFileID: e.logFile}, 0)
	}
}

// exists reports whether the store still has a snapshot's data.
func (c *call) exists(e snapshot) bool {
	n, err := c.o.disk.nodeOf(e)
	if err != nil {
		return false
	}
	n.Close()
	return true
}

func (c *call) answerList(ids []dtyp.GUID) {
	r := wire.SnapshotListResponse{Complete: true, Count: uint32(len(ids)), IDs: ids}
	if r.Size() > c.room {
		r.Complete, r.IDs = false, nil
	}
	if r.Size() > c.room {
		c.fail(ntstatus.BufferTooSmall)
		return
	}
	c.answer(ntstatus.Success, &r, 0)
}

// deleteSnapshot is [MS-RSVD] 3.2.5.5.10. References without data are not kept,
// whatever the type.
func (c *call) deleteSnapshot() {
	var r wire.DeleteSnapshotRequest
	if r.Decode(c.payload) != nil {
		c.fail(ntstatus.BufferTooSmall)
		return
	}
	if r.PersistReference != 0 {
		c.end(ntstatus.InvalidParameter, 0)
		return
	}
	d := c.o.disk
	d.mu.Lock()
	e, ok := d.snaps.find(r.SnapshotID)
	active := d.snaps.ids(wire.SnapshotCDP, true)
	d.mu.Unlock()
	switch {
	case !ok || e.kind != r.Type:
		c.end(ntstatus.NotFound, 0)
		return
	case e.active && active[0] != e.id:
		c.fail(ntstatus.SharingViolation)
		return
	}
	pos, err := d.drop(e, c.o.folder)
	c.end(statusOf(err), pos)
}

// trackingParameters is [MS-RSVD] 3.2.5.5.11.
func (c *call) trackingParameters() {
	d := c.o.disk
	d.mu.Lock()
	active := d.tracking.active
	d.mu.Unlock()
	r := wire.TrackingParametersResponse{Status: wire.TrackingActive}
	if !active {
		r.Status = wire.TrackingNotInitialized
	}
	c.answer(ntstatus.Success, &r, 0)
}

// trackingStart is [MS-RSVD] 3.2.5.5.12.
func (c *call) trackingStart() {
	var r wire.TrackingStartRequest
	switch err := r.Decode(c.payload); {
	case err == wire.ErrShort:
		c.fail(ntstatus.BufferTooSmall)
		return
	case err != nil, r.LogFileNameLength != 0 && !(c.o.svc.opt.AcceptLogNames && component(r.LogFileName)):
		c.fail(ntstatus.InvalidParameter)
		return
	}
	pos, err := c.o.disk.setTracking(tracking{true, r.LogFileID}, r.Append)
	c.end(statusOf(err), pos)
}

// trackingStop is [MS-RSVD] 3.2.5.5.13.
func (c *call) trackingStop() {
	d := c.o.disk
	d.mu.Lock()
	active := d.tracking.active
	d.mu.Unlock()
	r := wire.TrackingStopResponse{Status: wire.TrackingActive}
	if !active {
		r.Status = wire.TrackingNotInitialized
		c.answer(ntstatus.Success, &r, 0)
		return
	}
	pos, err := d.setTracking(tracking{}, false)
	c.answer(statusOf(err), &r, pos)
}

// queryChanges is [MS-RSVD] 3.2.5.5.14.
func (c *call) queryChanges() {
	var r wire.ChangesRequest
	if r.Decode(c.payload) != nil {
		c.fail(ntstatus.BufferTooSmall)
		return
	}
	if r.Type != wire.SnapshotVM {
		c.fail(ntstatus.InvalidParameter)
		return
	}
	target, ok1 := c.o.disk.snapshot(r.Target)
	limit, ok2 := c.o.disk.snapshot(r.Limit)
	switch {
	case !ok1 || !ok2:
		c.end(ntstatus.NotFound, 0)
	case !target.tracked || !limit.tracked:
		c.end(ntstatus.Status(wire.TrackingInvalidState), 0)
	default:
		c.answerChanges(r, target, limit)
	}
}

func (c *call) answerChanges(r wire.ChangesRequest, target, limit snapshot) {
	ranges, size, err := c.changed(r, target, limit)
	if err != nil {
		c.end(statusOf(err), 0)
		return
	}
	a := wire.ChangesResponse{Processed: r.Length}
	if r.Offset > uint64(size) || r.Length > uint64(size)-r.Offset {
		a.Processed = uint64(size) - min(r.Offset, uint64(size))
	}
	for i, g := range ranges {
		if i == wire.ChangesRoom(c.room) {
			a.Processed = uint64(g.Off) - r.Offset // the client goes on from here
			break
		}
		a.Ranges = append(a.Ranges, wire.ChangedRange{Offset: uint64(g.Off), Length: uint64(g.Len)})
	}
	c.answer(ntstatus.Success, &a, 0)
}

func (c *call) changed(r wire.ChangesRequest, target, limit snapshot) ([]store.Range, int64, error) {
	d := c.o.disk
	newer, err := d.at(target, c.o.folder)
	if err != nil {
		return nil, 0, err
	}
	defer newer.Close()
	older, err := d.at(limit, c.o.folder)
	if err != nil {
		return nil, 0, err
	}
	defer older.Close()
	size := newer.Info().Size
	if r.Offset >= uint64(size) || r.Length == 0 {
		return nil, size, nil
	}
	n := int64(min(r.Length, uint64(size)-r.Offset))
	ranges, err := d.changes(older, newer, limit, target, int64(r.Offset), n)
	return ranges, size, err
}
