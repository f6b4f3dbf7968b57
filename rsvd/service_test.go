package rsvd

import (
	"bytes"
	"testing"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	wire "gabion/protocol/rsvd"
	"gabion/protocol/smb2"
	"gabion/rsvd/scsi"
	"gabion/rsvd/vhdx"
	"gabion/store"
)

func TestContextIsJudged(t *testing.T) {
	w := newWorld(t)
	w.disk("a.vhdx", vhdx.Params{})
	v1, v2 := deviceContext(1, initiator(1)).AppendTo(nil), deviceContext(2, initiator(1)).AppendTo(nil)
	edit := func(b []byte, at int, v byte) []byte {
		b = bytes.Clone(b)
		b[at] = v
		return b
	}
	for name, c := range map[string]struct {
		raw  []byte
		want ntstatus.Status
	}{
		"version 1":          {v1, ntstatus.Success},
		"version 2":          {v2, ntstatus.Success},
		"short":              {v1[:167], ntstatus.BufferTooSmall},
		"short version 2":    {v2[:191], ntstatus.BufferTooSmall},
		"version 0":          {edit(v1, 0, 0), ntstatus.InvalidParameter},
		"version 3":          {edit(v2, 0, 3), ntstatus.InvalidParameter},
		"HasInitiatorId 2":   {edit(v1, 4, 2), ntstatus.InvalidParameter},
		"host name too long": {edit(v1, 40, 128), ntstatus.InvalidParameter},
		"host name odd":      {edit(v1, 40, 3), ntstatus.InvalidParameter},
	} {
		o, status := w.try("a.vhdx", c.raw, nil)
		if status != c.want {
			t.Errorf("%s: %v, want %v", name, status, c.want)
		}
		if status != ntstatus.Success {
			continue
		}
		if got := len(o.Context().AppendTo(nil)); got != len(c.raw) {
			t.Errorf("%s: answer of %d bytes to %d", name, got, len(c.raw))
		}
		o.close()
	}
}

func TestVersionOneServer(t *testing.T) {
	w := newWorld(t)
	w.disk("a.vhdx", vhdx.Params{})
	w.set("s")
	w.svc = New(Options{Version: wire.Version1})
	if _, s := w.try("a.vhdx", deviceContext(2, initiator(1)).AppendTo(nil), nil); s != ntstatus.InvalidParameter {
		t.Errorf("version 2 context: %v", s)
	}
	v1 := deviceContext(1, initiator(1)).AppendTo(nil)
	if _, s := w.try("s.vhds", v1, nil); s != ntstatus.SVHDXWrongFileType {
		t.Errorf("VHD set: %v", s)
	}
	c, _ := w.try("a.vhdx", v1, nil)
	if a := c.start(wire.QuerySafeSize, 4096); a.header.Status != ntstatus.SVHDXVersionMismatch || len(a.body) != 0 {
		t.Errorf("version 2 operation: %v", a.header)
	}
	if r := w.svc.Support(w.vol, c.DiskID(), c.Open); r.Support != wire.SupportVersion1 || r.HandleState != wire.HandleShared {
		t.Errorf("%+v", r)
	}
}

func TestWrongFilesAreRefused(t *testing.T) {
	w := newWorld(t)
	w.disk("p.vhdx", vhdx.Params{})
	w.disk("child.vhdx", vhdx.Params{Size: 1 << 20, Parent: &vhdx.ParentRef{Linkage: initiator(9), RelativePath: "p.vhdx"}})
	w.set("lost")
	w.must(func() error { _, err := w.vol.Unlink(w.dir.Dir, "lost_1.avhdx"); return err }())
	for _, name := range []string{"text.vhdx", "bad.vhdx", "bad.vhds"} {
		n, err := w.dir.Create(name)
		w.must(err)
		s, err := n.Data()
		w.must(err)
		content := []byte("hello")
		if name == "bad.vhdx" {
			content = append([]byte("vhdxfile"), make([]byte, 2<<20)...)
		}
		_, err = s.WriteAt(content, 0, store.Touch{})
		w.must(err)
	}
	context := deviceContext(2, initiator(1)).AppendTo(nil)
	for name, want := range map[string]ntstatus.Status{
		"text.vhdx": ntstatus.SVHDXWrongFileType, "bad.vhdx": ntstatus.FileCorruptError, "bad.vhds": ntstatus.SVHDXWrongFileType,
		"child.vhdx": ntstatus.SVHDXWrongFileType, "lost.vhds": ntstatus.ObjectNameNotFound,
	} {
		if _, s := w.try(name, context, nil); s != want {
			t.Errorf("%s: %v, want %v", name, s, want)
		}
	}
	if len(w.svc.Disks()) != 0 || len(w.svc.disks) != 0 {
		t.Error("refused disks stay in the table")
	}
}

func TestInformation(t *testing.T) {
	w := newWorld(t)
	w.disk("a.vhdx", vhdx.Params{Size: 1 << 30})
	c := w.open("a.vhdx", 1)
	if x := c.Context(); x.VirtualSize != 1<<30 || x.VirtualSectorSize != 512 || x.PhysicalSectorSize != 4096 || x.ServerServiceVersion != 2 || x.VirtualDiskPropertiesInitialized != 1 {
		t.Errorf("%+v", x)
	}
	var i wire.InitialInfoResponse
	if c.ask(wire.GetInitialInfo, &i); i != (wire.InitialInfoResponse{ServerVersion: 2, SectorSize: 512, PhysicalSectorSize: 4096, VirtualSize: 1 << 30}) {
		t.Errorf("%+v", i)
	}
	var d wire.DiskInfoResponse
	if c.ask(wire.GetDiskInfo, &d); d.DiskType != wire.DiskTypeDynamic || d.DiskFormat != wire.DiskFormatVHDX || d.FileSize != 4<<20 || !d.IsMounted || !d.Is4kAligned {
		t.Errorf("%+v", d)
	}
	var v wire.ValidateDiskResponse
	if c.ask(wire.ValidateDisk, &v); !v.IsValidDisk {
		t.Error("disk is not valid")
	}
	c.ask(wire.CheckConnectionStatus, nil)
	var z wire.SafeSizeResponse
	if c.ask(wire.QuerySafeSize, &z); z.SafeVirtualSize != 1<<30 {
		t.Errorf("safe size %d", z.SafeVirtualSize)
	}
	for op, room := range map[wire.Operation]int{wire.GetInitialInfo: 39, wire.GetDiskInfo: 71, wire.ValidateDisk: 16, wire.QuerySafeSize: 23} {
		if a := c.start(op, room); a.status != ntstatus.BufferTooSmall {
			t.Errorf("%v into %d bytes: %v", op, room, a.status)
		}
	}
	for op, want := range map[wire.Operation]ntstatus.Status{0x01001001: ntstatus.InvalidDeviceRequest, wire.SCSI: ntstatus.InvalidParameter, wire.CheckConnectionStatus: ntstatus.BufferOverflow} {
		if a := c.start(op, 15); a.status != want {
			t.Errorf("%v: %v, want %v", op, a.status, want)
		}
	}
	for op, want := range map[wire.Operation]ntstatus.Status{0x02003001: ntstatus.SVHDXVersionMismatch, 0x02001FFF: ntstatus.InvalidParameter} {
		if a := c.start(op, 4096); a.header.Status != want || len(a.body) != 0 {
			t.Errorf("%v: %v, want %v", op, a.header, want)
		}
	}
	c.Tunnel(make([]byte, 15), 4096, func(_ []byte, _ store.Pos, s ntstatus.Status) {
		if s != ntstatus.BufferTooSmall {
			t.Errorf("15 bytes: %v", s)
		}
	})
}

func TestSupportTellsTheHandleState(t *testing.T) {
	w := newWorld(t)
	w.disk("a.vhdx", vhdx.Params{})
	n, err := w.dir.Open("a.vhdx")
	w.must(err)
	state := func(o *Open) uint32 { return w.svc.Support(w.vol, n.ID(), o).HandleState }
	if state(nil) != wire.HandleNone {
		t.Error("shared before anybody opened it")
	}
	c := w.open("a.vhdx", 1)
	if state(nil) != wire.HandleFileShared || state(c.Open) != wire.HandleShared {
		t.Error("shared open is not seen")
	}
	raw := deviceContext(2, initiator(2))
	raw.OriginatorFlags = smb2.SVHDXOriginatorVHDMP
	if _, s := w.try("a.vhdx", raw.AppendTo(nil), nil); s != ntstatus.VHDShared {
		t.Errorf("container opened while it is shared: %v", s)
	}
	c.close()
	if state(nil) != wire.HandleNone {
		t.Error("shared after the last close")
	}
	o, s := w.try("a.vhdx", raw.AppendTo(nil), nil)
	if s != ntstatus.Success {
		t.Fatal(s)
	}
	if o.IsDisk() {
		t.Error("an open of the container's bytes is one of the disk")
	}
	o.close()
	w.set("s")
	set, err := w.dir.Open("s.vhds")
	w.must(err)
	w.open("s.vhds", 1)
	if r := w.svc.Support(w.vol, set.ID(), nil); r.HandleState != wire.HandleFileShared || !w.svc.InUse(w.vol, set.ID()) {
		t.Error("an open through the set is not seen on the set")
	}
}

func TestReadCapacityThroughTheTunnel(t *testing.T) {
	w := newWorld(t)
	w.disk("a.vhdx", vhdx.Params{})
	c := w.open("a.vhdx", 1)
	r := wire.SCSIRequest{Length: 36, CDBLength: 16, SenseInfoExLength: 20, Disposition: wire.DataIn, SrbFlags: 0x20014A, DataTransferLength: 8, CDB: [16]byte{0x25}, Data: make([]byte, 8)}
	a := c.start(wire.SCSI, 4096, &r)
	if len(a.body) != 36+8 || a.body[0] != 36 || a.body[2] != 1 || a.body[3] != 0 || a.body[6] != 1 || bigEndian.Uint32(a.body[36:]) != diskSize/512-1 {
		t.Errorf("% x", a.body)
	}
	r.CDB[0] = 0x89
	var res wire.SCSIResponse
	if c.ask(wire.SCSI, &res, &r); !res.SenseInfoAutoGenerated || res.SrbStatus != wire.SrbError || res.ScsiStatus != 2 || res.Sense[2] != 5 || res.Sense[12] != 0x20 {
		t.Errorf("%+v", res)
	}
	r.SenseInfoExLength = 21
	if a := c.start(wire.SCSI, 4096, &r); a.header.Status != ntstatus.InvalidParameter || len(a.body) != 36 {
		t.Errorf("%v, % x", a.header, a.body)
	}
	if a := c.start(wire.SCSI, 4096, echo{1, 2, 3}); a.header.Status != ntstatus.InvalidParameter || len(a.body) != 36 {
		t.Errorf("%v, % x", a.header, a.body)
	}
	stranger, _ := w.try("a.vhdx", deviceContext(2, dtyp.GUID{}).AppendTo(nil), nil)
	if a := stranger.start(wire.SCSI, 4096, &r); a.header.Status != ntstatus.InvalidHandle {
		t.Errorf("without initiator: %v", a.header)
	}
	// The client's buffer bounds the data.
	big := scsiRequest([]byte{0x28, 8: 8}, nil, 4096)
	if a := c.start(wire.SCSI, 1000, big); a.status != ntstatus.Success || len(a.body) != 1000-16 {
		t.Errorf("%v, %d bytes", a.status, len(a.body))
	}
}

func TestReadAndWrite(t *testing.T) {
	for name, w := range map[string]*world{"model": newWorld(t), "engine": engineWorld(t)} {
		w.disk("a.vhdx", vhdx.Params{})
		a, b := w.open("a.vhdx", 1), w.open("a.vhdx", 2)
		a.wrote(sectors(3, 7), 5<<20+512)
		if got, s := b.read(4*512, 5<<20); s != ntstatus.Success || !bytes.Equal(got, append(sectors(1, 0), sectors(3, 7)...)) {
			t.Errorf("%s: %v", name, s)
		}
		if r := b.scsi([]byte{0x28, 4: 0x28, 5: 0x01, 8: 1}, nil, 512); !bytes.Equal(r.Data, sectors(1, 7)) {
			t.Errorf("%s: the tunnel reads something else", name)
		}
		for _, c := range []struct {
			n    int
			off  uint64
			want ntstatus.Status
		}{{512, 1, ntstatus.InvalidParameter}, {100, 0, ntstatus.InvalidParameter}, {0, 0, ntstatus.Success}, {0, diskSize, ntstatus.Success}} {
			if s := a.write(make([]byte, c.n), c.off); s != c.want {
				t.Errorf("%s: write %d at %d: %v", name, c.n, c.off, s)
			}
		}
		if _, s := a.read(1024, diskSize-512); s&^0xFF != ntstatus.SVHDXErrorStored {
			t.Errorf("%s: read past the end: %v", name, s)
		}
		st := w.svc.Disks()
		if len(st) != 1 || st[0].Opens != 2 || st[0].Writes != 1 || st[0].Reads != 1 {
			t.Errorf("%s: %+v", name, st)
		}
		a.close()
		b.close()
		c := w.open("a.vhdx", 1)
		if c.byteAt(5<<20+512) != 7 {
			t.Errorf("%s: lost after the last close", name)
		}
		c.close()
	}
}

func TestSenseRing(t *testing.T) {
	w := newWorld(t)
	w.disk("a.vhdx", vhdx.Params{})
	c, _ := w.try("a.vhdx", deviceContext(2, dtyp.GUID{}).AppendTo(nil), nil)
	if a := c.start(wire.SRBStatus, 4096, &wire.SRBStatusRequest{StatusKey: 1}); a.header.Status != ntstatus.SVHDXErrorNotAvailable {
		t.Errorf("nothing stored: %v", a.header)
	}
	for i := range 300 {
		_, s := c.read(512, 0)
		if want := ntstatus.SVHDXErrorStored | ntstatus.Status(uint8(i+1)); s != want {
			t.Fatalf("error %d: %v, want %v", i, s, want)
		}
		var r wire.SRBStatusResponse
		c.ask(wire.SRBStatus, &r, &wire.SRBStatusRequest{StatusKey: uint8(s)})
		if r.StatusKey != uint8(s) || r.SrbStatus != wire.SrbAborted || r.ScsiStatus != 2 || r.Sense[0] != 0xF0 || r.Sense[7] != 0x0A {
			t.Fatalf("%+v", r)
		}
	}
	if a := c.start(wire.SRBStatus, 39, &wire.SRBStatusRequest{StatusKey: 1}); a.status != ntstatus.InvalidParameter {
		t.Errorf("39 bytes: %v", a.status)
	}
}

func TestBufferedOpensDoNoIO(t *testing.T) {
	w := newWorld(t)
	w.disk("a.vhdx", vhdx.Params{})
	c := w.open("a.vhdx", 1)
	c.options = 0
	if _, s := c.read(512, 0); s != ntstatus.NotSupported {
		t.Errorf("read: %v", s)
	}
	if s := c.write(sectors(1, 1), 0); s != ntstatus.NotSupported {
		t.Errorf("write: %v", s)
	}
}

// The life of reservations: they outlive the process, not the last close, unless
// APTPL was asked for.
func TestReservationsOutliveTheProcess(t *testing.T) {
	for _, aptpl := range []bool{false, true} {
		w := newWorld(t)
		w.set("s")
		a := w.open("s.vhds", 1)
		for _, s := range []scsi.Status{a.reserveOut(scsi.RegisterAndIgnore, 0, 0, 0xA1, aptpl), a.reserveOut(scsi.Reserve, scsi.WriteExclusive, 0xA1, 0, false)} {
			if s != scsi.Good {
				t.Fatal(s)
			}
		}
		w.restart() // kill -9
		b := w.open("s.vhds", 2)
		if s := b.write(sectors(1, 1), 0); s != ntstatus.SVHDXReservationConflict {
			t.Errorf("after the restart: %v", s)
		}
		a = w.open("s.vhds", 1)
		a.wrote(sectors(1, 1), 0)
		a.close()
		if s := b.write(sectors(1, 1), 0); s != ntstatus.SVHDXReservationConflict {
			t.Errorf("while the disk is open: %v", s)
		}
		b.close()
		b = w.open("s.vhds", 2)
		if s := b.write(sectors(1, 1), 0); (s == ntstatus.SVHDXReservationConflict) != aptpl {
			t.Errorf("APTPL %v, after the last close: %v", aptpl, s)
		}
		w.restart()
		id := b.DiskID()
		_, err := w.svc.Prune(w.vol, func(store.FileID) bool { return false })
		w.must(err)
		if _, err := w.vol.KV().Get(bucket, keyOf(reservationKey, id)); (err == nil) != aptpl {
			t.Errorf("APTPL %v, after pruning: %v", aptpl, err)
		}
	}
}

// A clone of a reserved disk is another disk, although all its bytes are the same.
func TestCloneIsAnotherDisk(t *testing.T) {
	w := newWorld(t)
	w.disk("a.vhdx", vhdx.Params{})
	a := w.open("a.vhdx", 1)
	a.reserveOut(scsi.RegisterAndIgnore, 0, 0, 0xA1, true)
	a.reserveOut(scsi.Reserve, scsi.ExclusiveAccess, 0xA1, 0, false)
	from, err := a.node.Data()
	w.must(err)
	n, err := w.dir.Create("b.vhdx")
	w.must(err)
	to, err := n.Data()
	w.must(err)
	_, err = to.CloneFrom(0, from, 0, from.Sizes().Size, store.Touch{})
	w.must(err)
	b := w.open("b.vhdx", 2)
	b.wrote(sectors(1, 1), 0)
	page := []byte{0x12, 1, 0x83, 1, 0}
	x, y := a.scsi(page, nil, 256).Data, b.scsi(page, nil, 256).Data
	if bytes.Equal(x, y) {
		t.Error("both have one designator")
	}
	a.close()
	w.must(func() error { _, err := w.vol.Rename(w.dir.Dir, "a.vhdx", w.dir.Dir, "c.vhdx", false); return err }())
	w.restart()
	c := w.open("c.vhdx", 3)
	if got := c.scsi(page, nil, 256).Data; !bytes.Equal(got, x) {
		t.Error("the designator changed with the name")
	}
	if s := c.write(sectors(1, 1), 0); s != ntstatus.SVHDXReservationConflict {
		t.Errorf("renamed disk lost its reservation: %v", s)
	}
}

func TestClearReservations(t *testing.T) {
	w := newWorld(t)
	w.disk("a.vhdx", vhdx.Params{})
	a := w.open("a.vhdx", 1)
	a.reserveOut(scsi.RegisterAndIgnore, 0, 0, 0xA1, true)
	a.reserveOut(scsi.Reserve, scsi.ExclusiveAccess, 0xA1, 0, false)
	if st := w.svc.Disks(); len(st) != 1 || st[0].Reservations.Type != scsi.ExclusiveAccess {
		t.Errorf("%+v", st)
	}
	_, err := w.svc.ClearReservations(w.vol, a.DiskID())
	w.must(err)
	if s := a.write(sectors(1, 1), 0); s != ntstatus.SVHDXUnitAttentionReservationsPreempted {
		t.Errorf("first command of the cleared: %v", s)
	}
	w.open("a.vhdx", 2).wrote(sectors(1, 1), 0)
}
