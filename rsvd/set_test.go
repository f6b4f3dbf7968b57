package rsvd

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	wire "gabion/protocol/rsvd"
	"gabion/rsvd/scsi"
	"gabion/rsvd/vhdx"
	"gabion/store"
)

func worlds(t *testing.T, run func(t *testing.T, w *world)) {
	t.Run("model", func(t *testing.T) { run(t, newWorld(t)) })
	t.Run("engine", func(t *testing.T) { run(t, engineWorld(t)) })
}

func TestSnapshotsOfASet(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.set("s")
		c := w.open("s.vhds", 1)
		c.wrote(sectors(1, 1), 0)
		a := c.snap(1)
		c.close()
		c = w.open("s.vhds", 1)
		c.wrote(sectors(1, 2), 0)
		c.wrote(sectors(1, 2), 9<<20)
		w.restart()
		c = w.open("s.vhds", 1)
		b := c.snap(2)

		var list wire.SnapshotListResponse
		c.ask(wire.VHDSetQueryInformation, &list, &wire.SetQueryRequest{Information: wire.SnapshotList, SnapshotType: wire.SnapshotVM})
		if !slices.Equal(list.IDs, []dtyp.GUID{a, b}) || !list.Complete {
			t.Errorf("%+v", list)
		}
		short := c.start(wire.VHDSetQueryInformation, 33, &wire.SetQueryRequest{Information: wire.SnapshotList, SnapshotType: wire.SnapshotVM})
		if err := list.Decode(short.body); err != nil || list.Complete || list.Count != 2 {
			t.Errorf("%+v, %v", list, err)
		}
		var entry wire.SnapshotEntryResponse
		c.ask(wire.VHDSetQueryInformation, &entry, &wire.SetQueryRequest{Information: wire.SnapshotEntry, SnapshotType: wire.SnapshotVM, SnapshotID: b})
		if entry.SnapshotID != b || !entry.Valid || entry.Type != wire.SnapshotVM || entry.CreationTime == 0 {
			t.Errorf("%+v", entry)
		}

		var changes wire.ChangesResponse
		c.ask(wire.QueryVirtualDiskChanges, &changes, &wire.ChangesRequest{Target: b, Limit: a, Type: wire.SnapshotVM, Length: 1024})
		if len(changes.Ranges) != 1 || changes.Ranges[0].Offset != 0 || changes.Processed != 1024 {
			t.Errorf("%+v", changes)
		}
		c.ask(wire.QueryVirtualDiskChanges, &changes, &wire.ChangesRequest{Target: b, Limit: a, Type: wire.SnapshotVM, Length: diskSize})
		if len(changes.Ranges) != 2 || changes.Ranges[1].Offset != 9<<20 || changes.Ranges[1].Length > 64<<10 {
			t.Errorf("%+v", changes)
		}
		one := c.start(wire.QueryVirtualDiskChanges, 16+16+24, &wire.ChangesRequest{Target: b, Limit: a, Type: wire.SnapshotVM, Length: diskSize})
		if err := changes.Decode(one.body); err != nil || len(changes.Ranges) != 1 || changes.Processed != 9<<20 {
			t.Errorf("%+v, %v", changes, err)
		}

		old, s := w.try("s.vhds", nil, &wire.TargetSpecifier{SnapshotType: wire.SnapshotVM, SnapshotID: a})
		if s != ntstatus.Success || old.byteAt(0) != 1 || old.byteAt(9<<20) != 0 {
			t.Fatalf("open by target specifier: %v", s)
		}
		if s := old.write(sectors(1, 9), 0); s&^0xFF != ntstatus.SVHDXErrorStored {
			t.Errorf("write to a snapshot: %v", s)
		}
		old.close()

		other := w.open("s.vhds", 2)
		c.ask(wire.MetaOperationStart, nil, meta(9, wire.MetaApplySnapshot), &wire.ApplySnapshot{Type: wire.SnapshotVM, SnapshotID: a})
		if c.byteAt(0) != 1 || c.byteAt(9<<20) != 0 {
			t.Error("the disk is not what it was")
		}
		if _, s := other.read(512, 0); s != ntstatus.SVHDXUnitAttentionOperatingDefinitionChanged {
			t.Errorf("the other initiator: %v", s)
		}
		c.wrote(sectors(1, 5), 1<<20)
		for _, id := range []dtyp.GUID{a, b} {
			c.ask(wire.DeleteSnapshot, nil, &wire.DeleteSnapshotRequest{SnapshotID: id, Type: wire.SnapshotVM})
		}
		if left, _ := w.vol.Snapshots().List(c.DiskID()); len(left) != 0 {
			t.Errorf("the store still has %v", left)
		}
		if c.byteAt(0) != 1 || c.byteAt(1<<20) != 5 {
			t.Error("deleting snapshots changed the disk")
		}
	})
}

func TestExtract(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.set("s")
		c := w.open("s.vhds", 1)
		c.wrote(sectors(2048, 1), 0)
		a := c.snap(1)
		c.wrote(sectors(1, 2), 512)
		b := c.snap(2)
		c.wrote(sectors(1, 3), 1024)
		c.ask(wire.MetaOperationStart, nil, meta(5, wire.MetaExtractSnapshots), &wire.ExtractSnapshots{Type: wire.SnapshotVM, Source: b, Destination: "full"})
		c.ask(wire.MetaOperationStart, nil, meta(6, wire.MetaExtractSnapshots), &wire.ExtractSnapshots{Type: wire.SnapshotVM, Source: b, Limit: a, Destination: "delta"})
		var p wire.ProgressResponse
		if c.ask(wire.MetaOperationQueryProgress, &p, &wire.ProgressRequest{TransactionID: dtyp.GUID{6}}); p.Current != p.Complete {
			t.Errorf("%+v", p)
		}
		full := w.open("full", 1)
		if got, _ := full.read(4*512, 0); !bytes.Equal(got, slices.Concat(sectors(1, 1), sectors(1, 2), sectors(2, 1))) {
			t.Error("the full extract is not the snapshot")
		}
		if _, s := w.try("delta", deviceContext(2, initiator(1)).AppendTo(nil), nil); s != ntstatus.SVHDXWrongFileType {
			t.Errorf("differencing disk opened by itself: %v", s)
		}
		n, err := w.dir.Open("delta")
		w.must(err)
		data, err := n.Data()
		w.must(err)
		base, err := w.vol.OpenID(func() store.View { e, _ := c.disk.snapshot(a); return e.view }(), c.DiskID())
		w.must(err)
		d, err := vhdx.Open(data, vhdx.Options{ReadOnly: true, Parent: func(string) (store.Stream, error) { return base.Data() }})
		w.must(err)
		got := make([]byte, 4*512)
		w.must(d.ReadAt(got, 0))
		if !bytes.Equal(got, slices.Concat(sectors(1, 1), sectors(1, 2), sectors(2, 1))) {
			t.Error("delta over its base is not the snapshot")
		}
		if here, _ := d.Here(0, diskSize, nil); len(here) != 1 || here[0].Len > 64<<10 {
			t.Errorf("delta holds %v", here)
		}
		for name, want := range map[string]ntstatus.Status{`a\b`: ntstatus.InvalidParameter, "a:b": ntstatus.InvalidParameter, "full": 0} {
			r := c.start(wire.MetaOperationStart, 4096, meta(7, wire.MetaExtractSnapshots), &wire.ExtractSnapshots{Type: wire.SnapshotVM, Source: b, Destination: name})
			if r.status != want || want == 0 && r.header.Status != ntstatus.ObjectNameCollision {
				t.Errorf("%q: %v, %v", name, r.status, r.header.Status)
			}
		}
	})
}

func TestConvertKeepsTheDisk(t *testing.T) {
	w := newWorld(t)
	w.disk("a.vhdx", vhdx.Params{})
	c := w.open("a.vhdx", 1)
	c.wrote(sectors(1, 4), 0)
	c.reserveOut(scsi.RegisterAndIgnore, 0, 0, 0xA1, true)
	c.reserveOut(scsi.Reserve, scsi.ExclusiveAccess, 0xA1, 0, false)
	page := c.scsi([]byte{0x12, 1, 0x83, 1, 0}, nil, 256).Data
	c.ask(wire.MetaOperationStart, nil, meta(1, wire.MetaConvertToVHDSet), &wire.ConvertToVHDSet{Destination: "Converted.vhds"})
	c.wrote(sectors(1, 5), 512)
	c.close()
	c = w.open("Converted.vhds", 1)
	var d wire.DiskInfoResponse
	if c.ask(wire.GetDiskInfo, &d); d.DiskFormat != wire.DiskFormatVHDSet {
		t.Errorf("format %d", d.DiskFormat)
	}
	if c.byteAt(0) != 4 || c.byteAt(512) != 5 || !bytes.Equal(page, c.scsi([]byte{0x12, 1, 0x83, 1, 0}, nil, 256).Data) {
		t.Error("another disk")
	}
	if s := w.open("Converted.vhds", 2).write(sectors(1, 1), 0); s != ntstatus.SVHDXReservationConflict {
		t.Errorf("the reservation did not come along: %v", s)
	}
	if _, err := w.dir.Open("a.vhdx"); err == nil {
		t.Error("the old name is still there")
	}
	for _, bad := range []string{"x.vhdx", ".vhds", `a\x.vhds`} {
		if r := c.start(wire.MetaOperationStart, 4096, meta(2, wire.MetaConvertToVHDSet), &wire.ConvertToVHDSet{Destination: bad}); r.status != ntstatus.InvalidParameter {
			t.Errorf("%q: %v", bad, r.status)
		}
	}
}

func TestResizeWhileOpen(t *testing.T) {
	w := newWorld(t)
	w.set("s")
	c, other := w.open("s.vhds", 1), w.open("s.vhds", 2)
	resize := func(r wire.Resize) *answer {
		return c.start(wire.MetaOperationStart, 4096, meta(1, wire.MetaResize), &r)
	}
	if a := resize(wire.Resize{NewSize: 0x80000000}); a.status != 0 || a.header.Status != 0 {
		t.Fatalf("%v, %v", a.status, a.header)
	}
	if _, s := other.read(512, 0); s != ntstatus.SVHDXUnitAttentionCapacityDataChanged {
		t.Errorf("the other initiator: %v", s)
	}
	other.wrote(sectors(1, 1), 0x7FFFFE00)
	for _, c := range []struct {
		r    wire.Resize
		want ntstatus.Status
	}{
		{wire.Resize{NewSize: 1 << 20, ExpandOnly: true}, ntstatus.InvalidParameter},
		{wire.Resize{NewSize: 100}, ntstatus.InvalidParameter},
		{wire.Resize{}, ntstatus.InvalidParameter},
		{wire.Resize{NewSize: 1, ShrinkToMinimumSafeSize: true}, ntstatus.InvalidParameter1},
	} {
		if a := resize(c.r); a.status != c.want {
			t.Errorf("%+v: %v", c.r, a.status)
		}
	}
	if a := resize(wire.Resize{NewSize: 1 << 20}); a.header.Status != ntstatus.InvalidParameter {
		t.Errorf("unsafe shrink: %v", a.header)
	}
	if a := resize(wire.Resize{NewSize: 1 << 20, AllowUnsafe: true}); a.status != 0 || a.header.Status != 0 {
		t.Errorf("allowed shrink: %v", a.header)
	}
	c.close()
	other.close()
	if x := w.open("s.vhds", 1).Context(); x.VirtualSize != 1<<20 {
		t.Errorf("reopened with %d bytes", x.VirtualSize)
	}
}

func TestShrinkToPartitions(t *testing.T) {
	w := newWorld(t)
	w.disk("a.vhdx", vhdx.Params{})
	c := w.open("a.vhdx", 1)
	mbr := make([]byte, 512)
	mbr[510], mbr[511] = 0x55, 0xAA
	mbr[446+4], mbr[446+8], mbr[446+13] = 7, 8, 0x40 // 0x4000 sectors from sector 8
	c.wrote(mbr, 0)
	var z wire.SafeSizeResponse
	if c.ask(wire.QuerySafeSize, &z); z.SafeVirtualSize != (0x4000+8)*512 {
		t.Errorf("%d", z.SafeVirtualSize)
	}
	c.ask(wire.MetaOperationStart, nil, meta(1, wire.MetaResize), &wire.Resize{ShrinkToMinimumSafeSize: true})
	if g := c.geometry(); g.Size != (0x4000+8)*512 {
		t.Errorf("%d bytes", g.Size)
	}
}

// Between BlockIO and UnblockIO nobody's data moves; commands that came meanwhile
// complete afterwards, in the order they came.
func TestBlockedDiskParksCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set("s")
		a, b := w.open("s.vhds", 1), w.open("s.vhds", 2)
		stage := func(id byte, stages ...wire.Stage) *answer {
			r := wire.CreateSnapshot{Type: wire.SnapshotVM, SnapshotID: dtyp.GUID{id, 9}}
			copy(r.Stages[:], stages)
			return a.start(wire.MetaOperationStart, 4096, meta(id, wire.MetaCreateSnapshot), &r)
		}
		ok := func(r *answer) {
			t.Helper()
			if !r.done || r.status != 0 || r.header.Status != 0 {
				t.Fatalf("done %v, %v, %v", r.done, r.status, r.header.Status)
			}
		}
		ok(stage(1, wire.StageInitialize, wire.StageBlockIO))
		var order []string
		b.Write(sectors(1, 7), 0, func(_ store.Pos, s ntstatus.Status) { order = append(order, "write "+s.String()) })
		b.Read(make([]byte, 512), 0, func(_ int, s ntstatus.Status) { order = append(order, "read "+s.String()) })
		cdb := b.start(wire.SCSI, 4096, scsiRequest([]byte{0x2A, 8: 1}, sectors(1, 8), 0))
		if b.scsi([]byte{0x00}, nil, 0).ScsiStatus != 0 || len(order) != 0 || cdb.done {
			t.Error("data moved in the frozen moment, or TEST UNIT READY did not pass")
		}
		if r := stage(2, wire.StageInitialize, wire.StageBlockIO); r.header.Status != ntstatus.SharingViolation {
			t.Errorf("second block: %v", r.header.Status)
		}
		ok(stage(1, wire.StageSwitchObjectStore, wire.StageUnblockIO))
		if got := strings.Join(order, ", "); got != "write STATUS_SUCCESS, read STATUS_SUCCESS" || !cdb.done {
			t.Errorf("after unblocking: %s, %v", got, cdb.done)
		}
		ok(stage(1, wire.StageFinalize))
		if r := stage(1, wire.StageFinalize); r.header.Status != ntstatus.InvalidParameter {
			t.Errorf("a stage twice: %v", r.header.Status)
		}

		// A host that forgets to unblock freezes nobody for long.
		ok(stage(3, wire.StageInitialize, wire.StageBlockIO, wire.StageSwitchObjectStore))
		order = nil
		b.Write(sectors(1, 7), 0, func(_ store.Pos, s ntstatus.Status) { order = append(order, s.String()) })
		<-time31()
		synctest.Wait()
		if len(order) != 1 {
			t.Error("the write still waits")
		}
		if r := stage(3, wire.StageUnblockIO); r.header.Status != ntstatus.IOTimeout {
			t.Errorf("too late: %v", r.header.Status)
		}
		if _, exists := a.disk.snapshot(dtyp.GUID{3, 9}); exists {
			t.Error("the failed snapshot exists")
		}
		// Nor does one whose open ends.
		ok(stage(4, wire.StageInitialize, wire.StageBlockIO))
		order = nil
		b.Write(sectors(1, 7), 0, func(_ store.Pos, s ntstatus.Status) { order = append(order, s.String()) })
		a.close()
		if len(order) != 1 {
			t.Error("the write still waits after the close")
		}
		b.close()
	})
}

func TestSnapshotRequestsAreJudged(t *testing.T) {
	w := newWorld(t)
	w.set("s")
	w.disk("a.vhdx", vhdx.Params{})
	c, plain := w.open("s.vhds", 1), w.open("a.vhdx", 1)
	type stages = [6]wire.Stage
	for name, e := range map[string]struct {
		c      *client
		r      wire.CreateSnapshot
		status ntstatus.Status
		header ntstatus.Status
	}{
		"type":            {c, wire.CreateSnapshot{Type: 2, Stages: stages{1}}, 0, ntstatus.InvalidParameter1},
		"no stage":        {c, wire.CreateSnapshot{Type: 1}, 0, ntstatus.InvalidParameter2},
		"flag late":       {c, wire.CreateSnapshot{Type: 1, Flags: 1, Stages: stages{2}}, 0, ntstatus.InvalidParameter5},
		"unknown flag":    {c, wire.CreateSnapshot{Type: 1, Flags: 2, Stages: stages{1}}, 0, ntstatus.InvalidParameter5},
		"gap":             {c, wire.CreateSnapshot{Type: 1, Stages: stages{1, 0, 2}}, ntstatus.InvalidParameter3, 0},
		"descending":      {c, wire.CreateSnapshot{Type: 1, Stages: stages{2, 1}}, ntstatus.InvalidParameter4, 0},
		"log name":        {c, wire.CreateSnapshot{Type: 3, Stages: stages{1}, LogFileNameLength: 2}, ntstatus.InvalidParameter6, 0},
		"not a set":       {plain, wire.CreateSnapshot{Type: 1, Stages: stages{1}}, ntstatus.InvalidDeviceRequest, 0},
		"writeable flag":  {c, wire.CreateSnapshot{Type: 4, Flags: 1, Stages: stages{1}}, 0, ntstatus.InvalidParameter5},
		"payload claimed": {c, wire.CreateSnapshot{Type: 1, Stages: stages{1}, ParametersPayloadSize: 1}, ntstatus.BufferTooSmall, 0},
	} {
		a := e.c.start(wire.MetaOperationStart, 4096, meta(1, wire.MetaCreateSnapshot), &e.r)
		if a.status != e.status || a.header.Status != e.header {
			t.Errorf("%s: %v, %v", name, a.status, a.header.Status)
		}
	}
	if a := c.start(wire.MetaOperationStart, 4096, meta(1, 6)); a.header.Status != ntstatus.InvalidParameter {
		t.Errorf("unknown operation: %v", a.header)
	}
	for _, q := range []struct {
		c    *client
		r    wire.SetQueryRequest
		want ntstatus.Status
	}{
		{plain, wire.SetQueryRequest{Information: wire.SnapshotList, SnapshotType: 1}, ntstatus.InvalidDeviceRequest},
		{c, wire.SetQueryRequest{Information: 3}, ntstatus.InvalidParameter1},
		{c, wire.SetQueryRequest{Information: wire.SnapshotEntry}, ntstatus.InvalidParameter1},
		{c, wire.SetQueryRequest{Information: wire.SnapshotList, SnapshotType: 3}, ntstatus.InvalidParameter1},
		{c, wire.SetQueryRequest{Information: wire.OptimizeNeeded, SnapshotType: 1}, ntstatus.InvalidParameter},
	} {
		if a := q.c.start(wire.VHDSetQueryInformation, 4096, &q.r); a.status != q.want {
			t.Errorf("%+v: %v", q.r, a.status)
		}
	}
}

func TestChangeTrackingLists(t *testing.T) {
	w := newWorld(t)
	w.set("s")
	c := w.open("s.vhds", 1)
	status := func() uint32 {
		var r wire.TrackingParametersResponse
		c.ask(wire.ChangeTrackingGetParameters, &r)
		return r.Status
	}
	if status() != wire.TrackingNotInitialized {
		t.Errorf("%#x", status())
	}
	c.ask(wire.ChangeTrackingStart, nil, &wire.TrackingStartRequest{LogFileID: initiator(7), LogFileName: "log"})
	w.restart()
	c = w.open("s.vhds", 1)
	if status() != wire.TrackingActive {
		t.Errorf("after a restart: %#x", status())
	}
	for id := byte(1); id <= 2; id++ {
		c.ask(wire.MetaOperationStart, nil, meta(id, wire.MetaCreateSnapshot), &wire.CreateSnapshot{Type: wire.SnapshotCDP, SnapshotID: dtyp.GUID{id},
			Stages: [6]wire.Stage{wire.StageInitialize, wire.StageBlockIO, wire.StageSwitchObjectStore, wire.StageUnblockIO, wire.StageFinalize}})
	}
	list := func(what wire.SetInformation) []dtyp.GUID {
		var r wire.SnapshotListResponse
		c.ask(wire.VHDSetQueryInformation, &r, &wire.SetQueryRequest{Information: what})
		return r.IDs
	}
	if got := list(wire.CdpSnapshotActiveList); !slices.Equal(got, []dtyp.GUID{{1}, {2}}) {
		t.Errorf("active %v", got)
	}
	if a := c.start(wire.DeleteSnapshot, 4096, &wire.DeleteSnapshotRequest{SnapshotID: dtyp.GUID{2}, Type: wire.SnapshotCDP}); a.status != ntstatus.SharingViolation {
		t.Errorf("the second active one: %v", a.status)
	}
	var stop wire.TrackingStopResponse
	c.ask(wire.ChangeTrackingStop, &stop)
	if got := list(wire.CdpSnapshotInactiveList); len(got) != 2 || len(list(wire.CdpSnapshotActiveList)) != 0 || stop.Status != 0 {
		t.Errorf("inactive %v, %#x", got, stop.Status)
	}
	c.ask(wire.DeleteSnapshot, nil, &wire.DeleteSnapshotRequest{SnapshotID: dtyp.GUID{2}, Type: wire.SnapshotCDP})
	w.svc.opt.AcceptLogNames = false
	if a := c.start(wire.ChangeTrackingStart, 4096, &wire.TrackingStartRequest{LogFileName: "log"}); a.status != ntstatus.InvalidParameter {
		t.Errorf("log name: %v", a.status)
	}
}

// A snapshot that a crash separated from its record is gone after the next start.
func TestOrphanSnapshotsAreDropped(t *testing.T) {
	w := newWorld(t)
	w.set("s")
	c := w.open("s.vhds", 1)
	id := c.snap(1)
	_, err := w.vol.KV().Apply([]store.KVEdit{{Bucket: bucket, Key: snapshotRow(c.DiskID(), id)}})
	w.must(err)
	w.restart()
	w.open("s.vhds", 1)
	if list, _ := w.vol.Snapshots().List(c.DiskID()); len(list) != 0 {
		t.Errorf("%v", list)
	}
}
