package rsvd

import (
	"bytes"
	"testing"

	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	wire "gabion/protocol/rsvd"
	"gabion/protocol/smb2"
)

func sector(b byte) []byte { return bytes.Repeat([]byte{b}, sectorSize) }

func (a *array) write(d *Disk, b byte, off int64) {
	a.Helper()
	if _, err := d.WriteAt(sector(b), off); err != nil {
		a.Fatalf("write: %v", err)
	}
}

// holds wants a sector to be filled with one byte.
func (a *array) holds(d *Disk, off int64, b byte) {
	a.Helper()
	p := make([]byte, sectorSize)
	if _, err := d.ReadAt(p, off); err != nil || !bytes.Equal(p, sector(b)) {
		a.Errorf("sector at %d begins with %d, not %d; %v", off, p[0], b, err)
	}
}

// begin starts a tunnel request without waiting for its answer.
func (d *Disk) begin(op wire.Operation, parts ...encoder) (*client.Pending, error) {
	d.next++
	in := (&wire.TunnelHeader{Operation: op, RequestID: d.next}).AppendTo(nil)
	for _, p := range parts {
		in = p.AppendTo(in)
	}
	return d.Tree.Start(&smb2.IoctlRequest{CtlCode: uint32(fscc.FsctlSvhdxAsyncTunnelRequest), FileID: d.ID, Input: in, MaxOutputResponse: Room, Flags: smb2.IoctlIsFsctl})
}

// stage carries one stage of a snapshot out.
func (d *Disk) stage(m *wire.MetaStart, kind wire.SnapshotType, id dtyp.GUID, s ...wire.Stage) error {
	r := &wire.CreateSnapshot{Type: kind, SnapshotID: id}
	copy(r.Stages[:], s)
	return statusOf(d.Tunnel(wire.MetaOperationStart, m, r))
}

// Between BlockIO and UnblockIO everybody's I/O waits, with an interim response, and can be
// cancelled; it is not in the snapshot.
func TestSnapshotHoldsTheDiskStill(t *testing.T) {
	a := newArray(t)
	owner, other := a.disk("s.vhds", 1), a.disk("s.vhds", 2)
	a.write(other, 1, 0)
	m, id := meta(wire.MetaCreateSnapshot), dtyp.NewGUID()
	must(t, owner.stage(m, wire.SnapshotVM, id, wire.StageInitialize))
	must(t, owner.stage(m, wire.SnapshotVM, id, wire.StageBlockIO))
	write, err := other.Tree.Start(&smb2.WriteRequest{FileID: other.ID, Data: sector(2)})
	must(t, err)
	if _, final, err := write.Interim(); final || err != nil {
		t.Fatalf("a write in the frozen moment: final %v, %v", final, err)
	}
	read, err := other.Tree.Start(&smb2.ReadRequest{FileID: other.ID, Length: sectorSize})
	must(t, err)
	interim, final, err := read.Interim()
	if final || err != nil {
		t.Fatalf("a read in the frozen moment: final %v, %v", final, err)
	}
	must(t, read.Cancel(interim.Header.AsyncID()))
	a.is("cancelled read", read.Done(), ntstatus.Cancelled)
	if r, err := other.SCSI([]byte{0x00, 5: 0}, nil, 0); err != nil || r.ScsiStatus != Good {
		t.Errorf("TEST UNIT READY: %v %#x", err, r.ScsiStatus)
	}
	// Another meta operation has to wait its turn.
	a.is("resize", statusOf(other.Tunnel(wire.MetaOperationStart, meta(wire.MetaResize), &wire.Resize{NewSize: 128 << 20})), ntstatus.SharingViolation)
	must(t, owner.stage(m, wire.SnapshotVM, id, wire.StageSwitchObjectStore))
	if write.Finished() {
		t.Error("the write was answered before UnblockIO")
	}
	must(t, owner.stage(m, wire.SnapshotVM, id, wire.StageUnblockIO, wire.StageFinalize))
	must(t, write.Done())
	a.holds(other, 0, 2)
	var p wire.ProgressResponse
	must(t, owner.Ask(wire.MetaOperationQueryProgress, &p, &wire.ProgressRequest{TransactionID: m.TransactionID}))
	if p.Current != p.Complete {
		t.Errorf("progress %+v", p)
	}
	snap, err := a.Open("s.vhds", How{Snapshot: &wire.TargetSpecifier{SnapshotType: wire.SnapshotVM, SnapshotID: id}})
	must(t, err)
	a.holds(snap, 0, 1)
	_, err = snap.WriteAt(sector(3), 0)
	if got, _ := client.Status(err); got&^0xFF != ntstatus.SVHDXErrorStored {
		t.Errorf("write to a snapshot: %v", err)
	}
}

// A host that goes away in the frozen moment does not leave the others frozen.
func TestFrozenDiskThaws(t *testing.T) {
	a := newArray(t)
	dying := a.host()
	owner, err := dying.Open("s.vhds", How{Initiator: initiator(1)})
	must(t, err)
	other := a.disk("s.vhds", 2)
	for name, end := range map[string]func(){"close": func() { owner.Close() }, "lost connection": func() { dying.Close() }} {
		m, id := meta(wire.MetaCreateSnapshot), dtyp.NewGUID()
		must(t, owner.stage(m, wire.SnapshotVM, id, wire.StageInitialize, wire.StageBlockIO))
		write, err := other.Tree.Start(&smb2.WriteRequest{FileID: other.ID, Data: sector(2)})
		must(t, err)
		_, _, err = write.Interim()
		must(t, err)
		end()
		if err := write.Done(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		dying = a.host()
		owner, err = dying.Open("s.vhds", How{Initiator: initiator(1)})
		must(t, err)
	}
	// CDP: the time limit.
	m, id := meta(wire.MetaCreateSnapshot), dtyp.NewGUID()
	must(t, owner.stage(m, wire.SnapshotCDP, id, wire.StageInitialize, wire.StageBlockIO))
	if _, err := other.WriteAt(sector(3), 0); err != nil {
		t.Errorf("write after the time limit: %v", err)
	}
	a.is("stage after the time limit", owner.stage(m, wire.SnapshotCDP, id, wire.StageSwitchObjectStore), ntstatus.IOTimeout)
}

func TestSetOperations(t *testing.T) {
	a := newArray(t)
	d := a.disk("s.vhds", 1)
	a.write(d, 1, 0)
	first, err := d.checkpoint()
	must(t, err)
	a.write(d, 2, 0)
	a.write(d, 2, 8<<20)
	second, err := d.checkpoint()
	must(t, err)
	var list wire.SnapshotListResponse
	query := func(kind wire.SetInformation, of wire.SnapshotType, into decoder) {
		t.Helper()
		must(t, d.Ask(wire.VHDSetQueryInformation, into, &wire.SetQueryRequest{Information: kind, SnapshotType: of}))
	}
	query(wire.SnapshotList, wire.SnapshotVM, &list)
	if !list.Complete || len(list.IDs) != 2 || list.IDs[0] != first || list.IDs[1] != second {
		t.Errorf("snapshots %+v", list)
	}
	_, payload, err := d.TunnelRoom(wire.VHDSetQueryInformation, 40, &wire.SetQueryRequest{Information: wire.SnapshotList, SnapshotType: wire.SnapshotVM})
	if err != nil || list.Decode(payload) != nil || list.Complete || list.Count != 2 {
		t.Errorf("without room: %+v, %v", list, err)
	}
	var needed wire.OptimizeNeededResponse
	query(wire.OptimizeNeeded, wire.SnapshotNone, &needed)
	var changes wire.ChangesResponse
	must(t, d.Ask(wire.QueryVirtualDiskChanges, &changes, &wire.ChangesRequest{Target: second, Limit: first, Type: wire.SnapshotVM, Length: smallDisk}))
	if len(changes.Ranges) != 2 || changes.Ranges[0].Offset != 0 || changes.Ranges[1].Offset > 8<<20 || changes.Processed != smallDisk {
		t.Errorf("changes %+v", changes)
	}
	must(t, d.Ask(wire.MetaOperationStart, nil, meta(wire.MetaApplySnapshot), &wire.ApplySnapshot{Type: wire.SnapshotVM, SnapshotID: first}))
	a.holds(d, 0, 1)
	a.holds(d, 8<<20, 0)
	full := dtyp.NewGUID().String() + ".vhdx"
	must(t, d.Ask(wire.MetaOperationStart, nil, meta(wire.MetaExtractSnapshots), &wire.ExtractSnapshots{Type: wire.SnapshotVM, Source: second, Destination: full}))
	copied := a.disk(full, 9)
	a.holds(copied, 0, 2)
	a.holds(copied, 8<<20, 2)
	var safe wire.SafeSizeResponse
	must(t, d.Ask(wire.QuerySafeSize, &safe))
	if safe.SafeVirtualSize != smallDisk {
		t.Errorf("safe size %d of a disk without partitions", safe.SafeVirtualSize)
	}
	a.is("unknown snapshot", statusOf(d.Tunnel(wire.MetaOperationStart, meta(wire.MetaApplySnapshot), &wire.ApplySnapshot{Type: wire.SnapshotVM, SnapshotID: dtyp.NewGUID()})), ntstatus.NotFound)
	a.is("a reference without data", statusOf(d.Tunnel(wire.DeleteSnapshot, &wire.DeleteSnapshotRequest{SnapshotID: first, PersistReference: 1, Type: wire.SnapshotVM})), ntstatus.InvalidParameter)
	must(t, d.DeleteSnapshot(wire.SnapshotVM, first))
	must(t, d.DeleteSnapshot(wire.SnapshotVM, second))
	a.is("deleted twice", statusOf(d.Tunnel(wire.DeleteSnapshot, &wire.DeleteSnapshotRequest{SnapshotID: first, Type: wire.SnapshotVM})), ntstatus.NotFound)
	plain := a.disk("a.vhdx", 1)
	a.is("snapshot of what is no set", plain.stage(meta(wire.MetaCreateSnapshot), wire.SnapshotVM, first, wire.StageInitialize), ntstatus.InvalidDeviceRequest)
}

func TestChangeTrackingLists(t *testing.T) {
	a := newArray(t)
	d := a.disk("s.vhds", 1)
	log := dtyp.NewGUID()
	a.is("a named log", statusOf(d.Tunnel(wire.ChangeTrackingStart, &wire.TrackingStartRequest{LogFileName: "x"})), ntstatus.InvalidParameter)
	must(t, d.Ask(wire.ChangeTrackingStart, nil, &wire.TrackingStartRequest{TransactionID: dtyp.NewGUID(), LogFileID: log}))
	one, two := dtyp.NewGUID(), dtyp.NewGUID()
	must(t, d.Snapshot(wire.SnapshotCDP, one))
	a.write(d, 1, 0)
	must(t, d.Snapshot(wire.SnapshotCDP, two))
	ids := func(kind wire.SetInformation) []dtyp.GUID {
		t.Helper()
		var list wire.SnapshotListResponse
		must(t, d.Ask(wire.VHDSetQueryInformation, &list, &wire.SetQueryRequest{Information: kind}))
		return list.IDs
	}
	if got := ids(wire.CdpSnapshotActiveList); len(got) != 2 || got[0] != one {
		t.Errorf("active %v", got)
	}
	var root wire.SnapshotEntryResponse
	must(t, d.Ask(wire.VHDSetQueryInformation, &root, &wire.SetQueryRequest{Information: wire.CdpSnapshotRoot}))
	_, _, err := d.Tunnel(wire.DeleteSnapshot, &wire.DeleteSnapshotRequest{SnapshotID: two, Type: wire.SnapshotCDP})
	a.is("deleting the second active one", err, ntstatus.SharingViolation)
	var at wire.TrackingParametersResponse
	must(t, d.Ask(wire.ChangeTrackingGetParameters, &at))
	must(t, d.Ask(wire.ChangeTrackingStop, new(wire.TrackingStopResponse)))
	if at.Status != wire.TrackingActive || len(ids(wire.CdpSnapshotActiveList)) != 0 || len(ids(wire.CdpSnapshotInactiveList)) != 2 {
		t.Errorf("status %#x, active %v, inactive %v", at.Status, ids(wire.CdpSnapshotActiveList), ids(wire.CdpSnapshotInactiveList))
	}
	must(t, d.DeleteSnapshot(wire.SnapshotCDP, two))
	must(t, d.DeleteSnapshot(wire.SnapshotCDP, one))
}

// Conversion keeps the opens, the reservations and the name that guests see; the file gets
// another name, the set the one to open it by.
func TestConvertKeepsTheDisk(t *testing.T) {
	a := newArray(t)
	d, other := a.disk("a.vhdx", 1), a.disk("a.vhdx", 2)
	a.write(d, 7, 0)
	must(t, d.step(RegisterAndIgnore, 0, keyOne, Good))
	must(t, d.step(Reserve, keyOne, 0, Good))
	before, err := d.Designator()
	must(t, err)
	must(t, d.Ask(wire.MetaOperationStart, nil, meta(wire.MetaConvertToVHDSet), &wire.ConvertToVHDSet{Destination: "c.vhds"}))
	a.is("twice", statusOf(d.Tunnel(wire.MetaOperationStart, meta(wire.MetaConvertToVHDSet), &wire.ConvertToVHDSet{Destination: "d.vhds"})), ntstatus.InvalidDeviceRequest)
	if _, err := a.file("d.vhds", dtyp.FileReadData, smb2.ShareAll); err == nil {
		t.Error("a refused conversion left a set")
	}
	_, err = a.file("a.vhdx", dtyp.FileReadData, smb2.ShareAll)
	a.is("the old name", err, ntstatus.ObjectNameNotFound)
	_, err = other.WriteAt(sector(1), 0)
	a.is("write by another", err, ntstatus.SVHDXReservationConflict)
	set := a.disk("c.vhds", 3)
	a.holds(set, 0, 7)
	if after, err := set.Designator(); err != nil || !bytes.Equal(before, after) {
		t.Errorf("designator % x became % x, %v", before, after, err)
	}
	if _, key, kind, err := set.Reservation(); err != nil || key != keyOne || kind != WriteExclusiveRegistrantsOnly {
		t.Errorf("reservation %x of type %d, %v", key, kind, err)
	}
}

func TestExtractDeletesTheSourceAtClose(t *testing.T) {
	a := newArray(t)
	d := a.disk("s.vhds", 1)
	id, err := d.checkpoint()
	must(t, err)
	must(t, d.Ask(wire.MetaOperationStart, nil, meta(wire.MetaExtractSnapshots),
		&wire.ExtractSnapshots{Type: wire.SnapshotVM, Flags: wire.ExtractDeleteOnClose, Source: id, Destination: "x.vhdx"}))
	must(t, d.Close())
	_, err = a.file("s.vhds", dtyp.FileReadData, smb2.ShareAll)
	a.is("the set", err, ntstatus.ObjectNameNotFound)
	must(t, a.disk("x.vhdx", 1).Close())
}

func TestResizeTellsTheOthers(t *testing.T) {
	a := newArray(t)
	d, other := a.disk("a.vhdx", 1), a.disk("a.vhdx", 2)
	must(t, d.Ask(wire.MetaOperationStart, nil, meta(wire.MetaResize), &wire.Resize{NewSize: 2 * smallDisk}))
	_, err := other.ReadAt(make([]byte, sectorSize), 0)
	a.is("first read of another", err, ntstatus.SVHDXUnitAttentionCapacityDataChanged)
	a.holds(other, 2*smallDisk-sectorSize, 0)
	a.is("shrinking by ExpandOnly", statusOf(d.Tunnel(wire.MetaOperationStart, meta(wire.MetaResize), &wire.Resize{NewSize: smallDisk, ExpandOnly: true})), ntstatus.InvalidParameter)
	must(t, d.Ask(wire.MetaOperationStart, nil, meta(wire.MetaResize), &wire.Resize{NewSize: smallDisk, AllowUnsafe: true}))
	var r wire.InitialInfoResponse
	must(t, other.Ask(wire.GetInitialInfo, &r))
	if r.VirtualSize != smallDisk {
		t.Errorf("size %d", r.VirtualSize)
	}
}

// A writeable snapshot is a branch: it begins as the disk was, what is written to it by its
// specifier stays there, over a restart too, and applying it brings that to the disk.
func TestWriteableSnapshot(t *testing.T) {
	r, s := start(t)
	a := &array{T: t, Server: s}
	a.Host = a.host()
	must(t, a.Upload("s.vhds", setOf(t, "s_1.avhdx")))
	must(t, a.Upload("s_1.avhdx", dynamic(t, smallDisk)))
	d := a.disk("s.vhds", 1)
	a.write(d, 1, 0)
	id := dtyp.NewGUID()
	must(t, d.Snapshot(wire.SnapshotWriteable, id))
	target := How{Snapshot: &wire.TargetSpecifier{SnapshotType: wire.SnapshotWriteable, SnapshotID: id}}
	one, err := a.Open("s.vhds", target)
	must(t, err)
	two, err := a.Open("s.vhds", target)
	must(t, err)
	a.write(one, 2, 0)
	a.write(one, 3, 32<<20)
	a.write(d, 4, 8<<20)
	a.holds(two, 0, 2)
	a.holds(two, 32<<20, 3)
	a.holds(two, 8<<20, 0)
	a.holds(d, 0, 1)
	a.holds(d, 32<<20, 0)
	_, _, err = d.Tunnel(wire.GetInitialInfo)
	must(t, err)
	a.is("deleted while it is open", statusOf(d.Tunnel(wire.DeleteSnapshot, &wire.DeleteSnapshotRequest{SnapshotID: id, Type: wire.SnapshotWriteable})), ntstatus.SharingViolation)
	must(t, one.Flush())
	must(t, one.Close())
	must(t, two.Close())
	must(t, d.Close())
	r.Kill()
	must(t, r.Run())
	a.Server = serverOf(r)
	a.Host = a.host()
	d = a.disk("s.vhds", 1)
	one, err = a.Open("s.vhds", target)
	must(t, err)
	a.holds(one, 0, 2)
	a.holds(d, 0, 1)
	must(t, one.Close())
	must(t, d.Ask(wire.MetaOperationStart, nil, meta(wire.MetaApplySnapshot), &wire.ApplySnapshot{Type: wire.SnapshotWriteable, SnapshotID: id}))
	a.holds(d, 0, 2)
	a.holds(d, 32<<20, 3)
	a.holds(d, 8<<20, 0)
	a.write(d, 5, 0)
	one, err = a.Open("s.vhds", target)
	must(t, err)
	a.holds(one, 0, 2)
	must(t, one.Close())
	must(t, d.DeleteSnapshot(wire.SnapshotWriteable, id))
	_, err = a.Open("s.vhds", target)
	a.is("after it was deleted", err, ntstatus.ObjectNameNotFound)
	_, err = a.file("s_"+id.String()+".avhdx", dtyp.FileReadData, smb2.ShareAll)
	a.is("its file", err, ntstatus.ObjectNameNotFound)
	a.holds(d, 0, 5)
}
