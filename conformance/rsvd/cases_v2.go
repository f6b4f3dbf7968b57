package rsvd

import (
	"errors"
	"fmt"

	"gabion/protocol/dtyp"
	wire "gabion/protocol/rsvd"
)

// meta begins a meta operation.
func meta(kind wire.MetaOperation) *wire.MetaStart {
	return &wire.MetaStart{TransactionID: dtyp.NewGUID(), Type: kind}
}

// Snapshot takes a VM snapshot in the two calls that hosts make.
func (d *Disk) Snapshot(kind wire.SnapshotType, id dtyp.GUID) error {
	m := meta(wire.MetaCreateSnapshot)
	first := &wire.CreateSnapshot{Type: kind, Stages: [6]wire.Stage{wire.StageInitialize}, SnapshotID: id}
	if kind == wire.SnapshotVM {
		first.Flags = wire.SnapshotEnableTracking
	}
	second := &wire.CreateSnapshot{Type: kind, SnapshotID: id,
		Stages: [6]wire.Stage{wire.StageBlockIO, wire.StageSwitchObjectStore, wire.StageUnblockIO, wire.StageFinalize}}
	pad := raw(make([]byte, 24)) // as the test suite sends it
	if err := d.Ask(wire.MetaOperationStart, nil, m, first, pad); err != nil {
		return err
	}
	return d.Ask(wire.MetaOperationStart, nil, m, second, pad)
}

func (d *Disk) entry(id dtyp.GUID) (r wire.SnapshotEntryResponse, err error) {
	err = d.Ask(wire.VHDSetQueryInformation, &r, &wire.SetQueryRequest{Information: wire.SnapshotEntry, SnapshotType: wire.SnapshotVM, SnapshotID: id})
	return r, err
}

// DeleteSnapshot deletes one.
func (d *Disk) DeleteSnapshot(kind wire.SnapshotType, id dtyp.GUID) error {
	return d.Ask(wire.DeleteSnapshot, nil, &wire.DeleteSnapshotRequest{SnapshotID: id, Type: kind})
}

// checkpoint takes a VM snapshot and waits for its entry.
func (d *Disk) checkpoint() (dtyp.GUID, error) {
	id := dtyp.NewGUID()
	if err := d.Snapshot(wire.SnapshotVM, id); err != nil {
		return id, err
	}
	r, err := d.entry(id)
	return id, errors.Join(err, want("Valid", r.Valid, true))
}

func snapshotList(e *Env) error {
	return e.with(SetName, 2, func(d *Disk) error {
		var r wire.SnapshotListResponse
		return d.Ask(wire.VHDSetQueryInformation, &r, &wire.SetQueryRequest{Information: wire.SnapshotList, SnapshotType: wire.SnapshotVM})
	})
}

func snapshotEntry(e *Env) error {
	return e.with(SetName, 2, func(d *Disk) error {
		id, err := d.checkpoint()
		if err != nil {
			return err
		}
		r, err := d.entry(id)
		return errors.Join(err, want("type", r.Information, wire.SnapshotEntry), d.DeleteSnapshot(wire.SnapshotVM, id))
	})
}

func convertToSet(e *Env) error {
	d, err := e.open(DiskName, 2)
	if err != nil {
		return err
	}
	const name = "ConvertedSharedVHDSName.vhds"
	_ = remove(d, name)
	if err := d.Ask(wire.MetaOperationStart, nil, meta(wire.MetaConvertToVHDSet), &wire.ConvertToVHDSet{Destination: name}, raw(make([]byte, 4))); err != nil {
		return err
	}
	if err := d.Close(); err != nil {
		return err
	}
	return e.with(name, 2, func(d *Disk) error {
		var r wire.DiskInfoResponse
		return errors.Join(d.Ask(wire.GetDiskInfo, &r, raw(make([]byte, 56))), want("DiskFormat", r.DiskFormat, wire.DiskFormatVHDSet))
	})
}

func createDeleteCheckpoint(e *Env) error {
	return e.with(SetName, 2, func(d *Disk) error {
		id, err := d.checkpoint()
		return errors.Join(err, d.DeleteSnapshot(wire.SnapshotVM, id))
	})
}

func queryChanges(e *Env) error {
	d, err := e.open(SetName, 2)
	if err != nil {
		return err
	}
	older, err := d.checkpoint()
	if err != nil {
		return err
	}
	if d, err = d.again(); err != nil {
		return err
	}
	if _, err := d.WriteAt(randomSector(), 0); err != nil {
		return err
	}
	newer, err := d.checkpoint()
	if err != nil {
		return err
	}
	var r wire.ChangesResponse
	if err := d.Ask(wire.QueryVirtualDiskChanges, &r, &wire.ChangesRequest{Target: newer, Limit: older, Type: wire.SnapshotVM, Length: 1024}); err != nil {
		return err
	}
	if len(r.Ranges) != 1 || r.Ranges[0].Offset != 0 {
		return fmt.Errorf("changes %+v", r)
	}
	return errors.Join(d.DeleteSnapshot(wire.SnapshotVM, older), d.DeleteSnapshot(wire.SnapshotVM, newer), d.Close())
}

func applySnapshot(e *Env) error {
	d, err := e.open(SetName, 2)
	if err != nil {
		return err
	}
	before := make([]byte, sectorSize)
	if _, err := d.ReadAt(before, 0); err != nil {
		return err
	}
	id, err := d.checkpoint()
	if err != nil {
		return err
	}
	if d, err = d.again(); err != nil {
		return err
	}
	if _, err := d.WriteAt(randomSector(), 0); err != nil {
		return err
	}
	return errors.Join(
		d.Ask(wire.MetaOperationStart, nil, meta(wire.MetaApplySnapshot), &wire.ApplySnapshot{Type: wire.SnapshotVM, SnapshotID: id}),
		sameSector(d, before), d.DeleteSnapshot(wire.SnapshotVM, id), d.Close())
}

func openByTarget(e *Env) error {
	d, err := e.open(SetName, 2)
	if err != nil {
		return err
	}
	id, err := d.checkpoint()
	if err != nil {
		return err
	}
	tree := d.Tree
	if err := d.Close(); err != nil {
		return err
	}
	s, err := (&Host{Tree: tree}).Open(SetName, How{Snapshot: &wire.TargetSpecifier{SnapshotType: wire.SnapshotVM, SnapshotID: id}})
	if err != nil {
		return err
	}
	return s.Close()
}

func extractSnapshot(e *Env) error {
	return e.with(SetName, 2, func(d *Disk) error {
		id, err := d.checkpoint()
		if err != nil {
			return err
		}
		name := dtyp.NewGUID().String()
		return errors.Join(
			d.Ask(wire.MetaOperationStart, nil, meta(wire.MetaExtractSnapshots),
				&wire.ExtractSnapshots{Type: wire.SnapshotVM, Source: id, Destination: name}, raw(make([]byte, 4))),
			d.DeleteSnapshot(wire.SnapshotVM, id), remove(d, name))
	})
}

func optimize(e *Env) error {
	return e.with(SetName, 2, func(d *Disk) error { return d.Ask(wire.MetaOperationStart, nil, meta(wire.MetaOptimize)) })
}

func resize(e *Env) error {
	d, err := e.open(SetName, 2)
	if err != nil {
		return err
	}
	const size = 0x80000000
	if err := d.Ask(wire.MetaOperationStart, nil, meta(wire.MetaResize), &wire.Resize{NewSize: size}, raw(make([]byte, 4))); err != nil {
		return err
	}
	if d, err = d.again(); err != nil {
		return err
	}
	if d.Answer == nil {
		return errors.New("no response context")
	}
	return errors.Join(want("VirtualSize", d.Answer.VirtualSize, size), d.Close())
}

func changeTracking(e *Env) error {
	h, err := e.host()
	if err != nil {
		return err
	}
	const log = "ChangeTracking.log"
	if err := h.Upload(log, nil); err != nil {
		return err
	}
	return e.with(SetName, 2, func(d *Disk) error {
		var at wire.TrackingParametersResponse
		var stop wire.TrackingStopResponse
		return errors.Join(
			d.Ask(wire.ChangeTrackingStart, nil, &wire.TrackingStartRequest{TransactionID: dtyp.NewGUID(), LogFileID: dtyp.NewGUID(), LogFileName: log}),
			writeSector(d), d.Ask(wire.ChangeTrackingGetParameters, &at), want("ChangeTrackingStatus", at.Status, wire.TrackingActive),
			d.Ask(wire.ChangeTrackingStop, &stop), want("ChangeTrackingStatus", stop.Status, wire.TrackingActive), remove(d, log))
	})
}
