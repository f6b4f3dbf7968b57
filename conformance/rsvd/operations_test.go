package rsvd

import (
	"bytes"
	"errors"
	"testing"

	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	wire "gabion/protocol/rsvd"
	"gabion/protocol/smb2"
)

// array is a running server with a disk "a.vhdx", a set "s.vhds" and a first host.
type array struct {
	*testing.T
	Server
	*Host
}

const smallDisk = 64 << 20

func newArray(t *testing.T, args ...string) *array {
	_, s := start(t, args...)
	a := &array{T: t, Server: s}
	a.Host = a.host()
	must(t, a.Upload("a.vhdx", dynamic(t, smallDisk)))
	must(t, a.Upload("s.vhds", setOf(t, "s_1.avhdx")))
	must(t, a.Upload("s_1.avhdx", dynamic(t, smallDisk)))
	return a
}

func (a *array) host() *Host {
	a.Helper()
	h, err := a.Server.Connect()
	must(a.T, err)
	a.Cleanup(h.Close)
	return h
}

func initiator(n byte) dtyp.GUID { return dtyp.GUID{n, 15: 0xC1} }

func (a *array) disk(name string, n byte) *Disk {
	a.Helper()
	d, err := a.Open(name, How{Initiator: initiator(n)})
	must(a.T, err)
	return d
}

// is wants a status as the error.
func (a *array) is(what string, err error, want ntstatus.Status) {
	a.Helper()
	if got, ok := client.Status(err); !ok || got != want {
		a.Errorf("%s: %v, not %v", what, err, want)
	}
}

// file opens a file as an ordinary client.
func (a *array) file(name string, access dtyp.AccessMask, share smb2.ShareAccess) (*client.File, error) {
	m := client.OpenFile(name)
	m.DesiredAccess, m.ShareAccess, m.CreateDisposition = access, share, smb2.DispositionOpen
	return a.Tree.Create(m)
}

func TestShareSaysWhatItIs(t *testing.T) {
	_, s := start(t, "--share", "plain,path=plain", "--share", "ca,ca,path=ca")
	for name, want := range map[string]smb2.ShareCapabilities{
		"disks": smb2.ShareCapContinuousAvailability | smb2.ShareCapScaleout | smb2.ShareCapCluster,
		"ca":    smb2.ShareCapContinuousAvailability, "plain": 0,
	} {
		s.Share = name
		h, err := s.Connect()
		must(t, err)
		if got := h.Tree.Response.Capabilities; got != want {
			t.Errorf("%s: capabilities %#x, not %#x", name, got, want)
		}
		// Without the service its control codes and the create context do not exist.
		m := client.WithContext(client.OpenFile("f"), smb2.ContextSVHDXOpenDevice, raw{1, 2, 3})
		f, err := h.Tree.Create(m)
		must(t, err)
		_, err = Support(f)
		if got, _ := client.Status(err); name != "disks" && got != ntstatus.InvalidDeviceRequest || name == "disks" && err != nil {
			t.Errorf("%s: support query: %v", name, err)
		}
		for _, code := range []fscc.FSCTL{fscc.FsctlSvhdxSyncTunnelRequest, fscc.FsctlSvhdxAsyncTunnelRequest} {
			_, err := f.Ioctl(uint32(code), make([]byte, 16), Room)
			if got, _ := client.Status(err); got != ntstatus.InvalidDeviceRequest {
				t.Errorf("%s: tunnel on an ordinary open: %v", name, err)
			}
		}
		f.Close()
		h.Close()
	}
}

// On a scale-out share clients cache reads at most.
func TestScaleOutShareGrantsReadCaching(t *testing.T) {
	a := newArray(t)
	m := client.WithLease(client.OpenFile("f"), smb2.Lease{V2: true, Key: smb2.LeaseKey{1}, State: smb2.LeaseReadCaching | smb2.LeaseHandleCaching | smb2.LeaseWriteCaching})
	f, err := a.Tree.Create(m)
	must(t, err)
	if l, ok := f.Lease(); !ok || l.State != smb2.LeaseReadCaching {
		t.Errorf("lease %v", l.State)
	}
	f.Close()
	m = client.OpenFile("g")
	m.RequestedOplockLevel = smb2.OplockLevelBatch
	if f, err = a.Tree.Create(m); err != nil || f.Response.OplockLevel != smb2.OplockLevelII {
		t.Errorf("oplock %v, %v", f.Response.OplockLevel, err)
	}
}

func TestContexts(t *testing.T) {
	a := newArray(t)
	good := How{Initiator: initiator(1)}.context().AppendTo(nil)
	edit := func(f func([]byte) []byte) []byte { return f(bytes.Clone(good)) }
	for name, c := range map[string]struct {
		context []byte
		want    ntstatus.Status
	}{
		"none":             {nil, ntstatus.InvalidParameter},
		"short":            {good[:167], ntstatus.BufferTooSmall},
		"short for v2":     {good[:191], ntstatus.BufferTooSmall},
		"version 3":        {edit(func(b []byte) []byte { b[0] = 3; return b }), ntstatus.InvalidParameter},
		"HasInitiatorId 2": {edit(func(b []byte) []byte { b[4] = 2; return b }), ntstatus.InvalidParameter},
		"long host name":   {edit(func(b []byte) []byte { b[40] = 128; return b }), ntstatus.InvalidParameter},
		"odd host name":    {edit(func(b []byte) []byte { b[40] = 3; return b }), ntstatus.InvalidParameter},
	} {
		m := How{}.Request("a.vhdx")
		m.Contexts = nil
		if c.context != nil {
			m = client.WithContext(m, smb2.ContextSVHDXOpenDevice, raw(c.context))
		}
		_, err := a.Tree.Create(m)
		a.is(name, err, c.want)
	}
	for name, want := range map[string]ntstatus.Status{"none.vhdx": ntstatus.ObjectNameNotFound, "text.vhdx": ntstatus.SVHDXWrongFileType,
		"broken.vhdx": ntstatus.FileCorruptError, "lost.vhds": ntstatus.ObjectNameNotFound} {
		switch name {
		case "text.vhdx":
			must(t, a.Upload(name, make([]byte, 1<<20)))
		case "broken.vhdx":
			b := dynamic(t, smallDisk)
			clear(b[64<<10 : 256<<10])
			must(t, a.Upload(name, b))
		case "lost.vhds":
			must(t, a.Upload(name, setOf(t, "nowhere.avhdx")))
		}
		_, err := a.Open(name, How{Initiator: initiator(1)})
		a.is(name, err, want)
	}
	if f, err := a.file("none.vhdx", dtyp.FileReadData, smb2.ShareAll); err == nil {
		t.Error("an open of a disk that is not there made a file")
		f.Close()
	}
	d := a.disk("A.VHDX", 1) // and the suffix ignores case
	m := d.How.Request("a.vhdx")
	m.Name = dtyp.EncodeUTF16("a.vhdx:sharedvirtualdisk")
	f, err := a.Tree.Create(m)
	must(t, err)
	f.Close()
	// Version 1 of the context gets version 1 of the answer.
	v1, err := a.Open("a.vhdx", How{Version: 1, Initiator: initiator(2)})
	must(t, err)
	if data, _ := v1.Context(smb2.ContextSVHDXOpenDevice); len(data) != 168 {
		t.Errorf("answer of %d bytes", len(data))
	}
}

// All shared opens are one opener towards everybody else, of the set and of what it names.
func TestOrdinaryOpens(t *testing.T) {
	a := newArray(t)
	for _, c := range []struct{ disk, file string }{{"a.vhdx", "a.vhdx"}, {"s.vhds", "s.vhds"}, {"s.vhds", "s_1.avhdx"}} {
		w, err := a.file(c.file, dtyp.FileReadData|dtyp.FileWriteData, smb2.ShareAll)
		must(t, err)
		_, err = a.Open(c.disk, How{Initiator: initiator(1)})
		a.is(c.file+": disk beside a writer", err, ntstatus.SharingViolation)
		w.Close()

		one, two := a.disk(c.disk, 1), a.disk(c.disk, 2)
		for what, access := range map[string]dtyp.AccessMask{"write": dtyp.FileWriteData, "delete": dtyp.Delete, "append": dtyp.FileAppendData} {
			_, err = a.file(c.file, access, smb2.ShareAll)
			a.is(c.file+": "+what, err, ntstatus.SharingViolation)
		}
		_, err = a.file(c.file, dtyp.FileReadData, smb2.ShareRead)
		a.is(c.file+": read that shares no writing", err, ntstatus.SharingViolation)
		r, err := a.file(c.file, dtyp.FileReadData, smb2.ShareAll)
		must(t, err)
		if s, err := Support(r); err != nil || s.HandleState != wire.HandleFileShared {
			t.Errorf("%s: handle state %d, %v", c.file, s.HandleState, err)
		}
		r.Close()
		attributes, err := a.file(c.file, dtyp.FileReadAttributes, 0)
		must(t, err)
		attributes.Close()
		_, err = a.Open(c.file, How{Originator: smb2.SVHDXOriginatorVHDMP, Initiator: initiator(3)})
		if got, _ := client.Status(err); got != ntstatus.VHDShared && got != ntstatus.SharingViolation {
			t.Errorf("%s: container with the suffix: %v", c.file, err)
		}
		m := How{Originator: smb2.SVHDXOriginatorVHDMP, Initiator: initiator(3)}.Request(c.file)
		m.Name = dtyp.EncodeUTF16(c.file)
		_, err = a.Tree.Create(m)
		a.is(c.file+": container without the suffix", err, ntstatus.VHDShared)
		must(t, one.Close())
		must(t, two.Close())
		f, err := a.Tree.Create(m)
		must(t, err)
		if s, err := Support(f); err != nil || s.HandleState != wire.HandleNone {
			t.Errorf("%s: handle state %d, %v", c.file, s.HandleState, err)
		}
		f.Close()
	}
}

// The container's bytes by SVHDX_ORIGINATOR_VHDMP.
func TestContainerBytes(t *testing.T) {
	a := newArray(t)
	d, err := a.Open("a.vhdx", How{Originator: smb2.SVHDXOriginatorVHDMP})
	must(t, err)
	p := make([]byte, 8)
	if _, err := d.ReadAt(p, 0); err != nil || string(p) != "vhdxfile" {
		t.Errorf("%q, %v", p, err)
	}
	_, _, err = d.Tunnel(wire.GetInitialInfo)
	a.is("tunnel", err, ntstatus.InvalidDeviceRequest)
	must(t, d.Close())
	d, err = a.Open("a.vhdx", How{Originator: smb2.SVHDXOriginatorVHDMP, Options: smb2.OptionNonDirectoryFile})
	must(t, err)
	_, err = d.ReadAt(p, 0)
	a.is("buffered read", err, ntstatus.NotSupported)
}

// A host that caches the container loses that with the first shared open, and gets none
// while there is one.
func TestNobodyCachesASharedDisk(t *testing.T) {
	a := newArray(t)
	other := a.host()
	m := client.WithLease(client.OpenFile("a.vhdx"), smb2.Lease{V2: true, Key: smb2.LeaseKey{7}, State: smb2.LeaseReadCaching})
	m.DesiredAccess = dtyp.FileReadData
	reader, err := other.Tree.Create(m)
	must(t, err)
	if l, _ := reader.Lease(); l.State != smb2.LeaseReadCaching {
		t.Fatalf("lease %v", l.State)
	}
	d := a.disk("a.vhdx", 1)
	b, err := other.Conn.Break()
	must(t, err)
	if lb, err := b.LeaseBreak(); err != nil || lb.NewLeaseState != 0 {
		t.Errorf("break to %v, %v", lb.NewLeaseState, err)
	}
	m = client.WithLease(client.OpenFile("a.vhdx"), smb2.Lease{V2: true, Key: smb2.LeaseKey{8}, State: smb2.LeaseReadCaching})
	m.DesiredAccess = dtyp.FileReadData
	again, err := other.Tree.Create(m)
	must(t, err)
	if l, _ := again.Lease(); l.State != 0 || d.Response.OplockLevel != smb2.OplockLevelNone {
		t.Errorf("lease %v beside a shared open", l.State)
	}
}

func TestCommandsOnADisk(t *testing.T) {
	a := newArray(t)
	d := a.disk("a.vhdx", 1)
	a.is("LOCK", d.Lock(smb2.LockElement{Length: 1, Flags: smb2.LockFlagExclusiveLock}), ntstatus.LockNotGranted)
	must(t, d.Flush())
	standard, err := d.QueryInfo(smb2.InfoFile, uint8(fscc.FileStandardInformation), 0, 24)
	must(t, err)
	var info fscc.StandardInformation
	if info.Decode(standard) != nil || info.EndOfFile != smallDisk || d.Response.EndOfFile != smallDisk {
		t.Errorf("size %d", info.EndOfFile)
	}
	_, err = d.QueryInfo(smb2.InfoFile, uint8(fscc.FileStandardInformation), 0, 23)
	a.is("short query", err, ntstatus.BufferTooSmall)
	set := func(class fscc.FileInformationClass, n int) error {
		return d.SetInfo(smb2.InfoFile, uint8(class), 0, make([]byte, n))
	}
	a.is("rename", set(fscc.FileRenameInformation, 32), ntstatus.NotSupported)
	a.is("link", set(fscc.FileLinkInformation, 32), ntstatus.InvalidParameter)
	a.is("end of file", set(fscc.FileEndOfFileInformation, 8), ntstatus.NotSupported)
	a.is("disposition", set(fscc.FileDispositionInformation, 1), ntstatus.NotSupported)
	for code, want := range map[fscc.FSCTL]ntstatus.Status{
		fscc.FsctlSetZeroData: ntstatus.InvalidDeviceRequest, fscc.FsctlSetSparse: ntstatus.InvalidDeviceRequest,
		fscc.FsctlSrvRequestResumeKey: ntstatus.InvalidDeviceRequest, fscc.FsctlFileLevelTrim: ntstatus.InvalidDeviceRequest,
		fscc.FsctlOffloadRead: ntstatus.OffloadReadFileNotSupported, fscc.FsctlOffloadWrite: ntstatus.OffloadWriteFileNotSupported,
	} {
		_, err := d.Ioctl(uint32(code), make([]byte, 16), 64)
		a.is(code.String(), err, want)
	}
	closing, err := d.CloseWith(smb2.CloseFlagPostqueryAttrib)
	must(t, err)
	if closing.EndOfFile != smallDisk {
		t.Errorf("size at close %d", closing.EndOfFile)
	}
}

func TestReadAndWrite(t *testing.T) {
	a := newArray(t)
	d := a.disk("a.vhdx", 1)
	p := bytes.Repeat([]byte("gabion!!"), 1<<16)
	for off := int64(0); off < 4<<20; off += int64(len(p)) {
		if _, err := d.WriteAt(p, off); err != nil {
			t.Fatal(err)
		}
	}
	q := make([]byte, len(p))
	if _, err := d.ReadAt(q, 2<<20); err != nil || !bytes.Equal(p, q) {
		t.Errorf("read back: %v", err)
	}
	_, err := d.ReadAt(q[:100], 0)
	a.is("misaligned length", err, ntstatus.InvalidParameter)
	_, err = d.WriteAt(q[:512], 100)
	a.is("misaligned offset", err, ntstatus.InvalidParameter)
	_, err = d.ReadAt(q[:512], smallDisk)
	var status ntstatus.Status
	if !errors.As(err, &status) || status&^0xFF != ntstatus.SVHDXErrorStored {
		t.Fatalf("behind the end: %v", err)
	}
	var r wire.SRBStatusResponse
	must(t, d.Ask(wire.SRBStatus, &r, &wire.SRBStatusRequest{StatusKey: uint8(status)}))
	if r.Sense[2] != 5 || r.Sense[12] != 0x21 {
		t.Errorf("sense % x", r.Sense)
	}
	a.is("no such error", statusOf(d.Tunnel(wire.SRBStatus, &wire.SRBStatusRequest{StatusKey: 200})), ntstatus.SVHDXErrorNotAvailable)
	buffered, err := a.Open("a.vhdx", How{Initiator: initiator(2), Options: smb2.OptionNonDirectoryFile})
	must(t, err)
	_, err = buffered.ReadAt(q[:512], 0)
	a.is("buffered", err, ntstatus.NotSupported)
	// Who may only read the container can neither write nor reserve.
	reader, err := a.Open("a.vhdx", How{Initiator: initiator(3), Access: dtyp.FileReadData | dtyp.FileReadAttributes})
	must(t, err)
	_, err = reader.WriteAt(q[:512], 0)
	a.is("write without the right", err, ntstatus.AccessDenied)
	a.is("reserve without the right", statusOf(reader.Tunnel(wire.SCSI, Request([]byte{0x5F, RegisterAndIgnore, 8: 24, 9: 0}, make([]byte, 24), 0))), ntstatus.AccessDenied)
	a.is("SCSI write without the right", statusOf(reader.Tunnel(wire.SCSI, Request([]byte{0x2A, 8: 1, 9: 0}, make([]byte, 512), 0))), ntstatus.AccessDenied)
	a.is("resize without the right", statusOf(reader.Tunnel(wire.MetaOperationStart, meta(wire.MetaResize), &wire.Resize{NewSize: 128 << 20})), ntstatus.AccessDenied)
}

// statusOf joins both channels of a tunnel operation.
func statusOf(status ntstatus.Status, _ []byte, err error) error {
	if err != nil {
		return err
	}
	if status != ntstatus.Success {
		return status
	}
	return nil
}

func TestTunnelFraming(t *testing.T) {
	a := newArray(t)
	d := a.disk("a.vhdx", 1)
	send := func(in []byte, room uint32) ([]byte, error) {
		return d.Ioctl(uint32(fscc.FsctlSvhdxSyncTunnelRequest), in, room)
	}
	_, err := send(make([]byte, 15), Room)
	a.is("short", err, ntstatus.BufferTooSmall)
	_, err = send(make([]byte, 16), Room)
	a.is("another protocol", err, ntstatus.InvalidDeviceRequest)
	for op, want := range map[wire.Operation]ntstatus.Status{0x02003001: ntstatus.SVHDXVersionMismatch, 0x02001099: ntstatus.InvalidParameter} {
		status, payload, err := d.Tunnel(op)
		if err != nil || status != want || len(payload) != 0 {
			t.Errorf("%#x: %v, % x, %v", uint32(op), status, payload, err)
		}
	}
	for op, c := range map[wire.Operation]struct {
		room uint32
		want ntstatus.Status
	}{
		wire.GetInitialInfo: {39, ntstatus.BufferTooSmall}, wire.GetDiskInfo: {71, ntstatus.BufferTooSmall}, wire.ValidateDisk: {16, ntstatus.BufferTooSmall},
		wire.QuerySafeSize: {23, ntstatus.BufferTooSmall}, wire.SCSI: {51, ntstatus.InvalidParameter}, wire.SRBStatus: {39, ntstatus.InvalidParameter},
		wire.CheckConnectionStatus: {15, ntstatus.BufferOverflow},
	} {
		_, _, err := d.TunnelRoom(op, c.room, raw(make([]byte, 64)))
		a.is(op.String(), err, c.want)
	}
	f, err := a.file("a.vhdx", dtyp.FileReadData, smb2.ShareAll)
	must(t, err)
	_, err = f.Ioctl(uint32(fscc.FsctlQuerySharedVirtualDiskSupport), nil, 7)
	a.is("support without room", err, ntstatus.BufferTooSmall)
}
