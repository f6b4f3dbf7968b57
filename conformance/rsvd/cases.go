package rsvd

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	wire "gabion/protocol/rsvd"
	"gabion/protocol/smb2"
)

// The names of the images, as the test suite copies them.
const (
	DiskName    = "test.vhdx"
	SetName     = "rsvd.vhds"
	PayloadName = "rsvd_9ac15b72-2a6d-44b2-ba7c-f5f06831c74a.avhdx"
)

const (
	diskSize   = 1 << 30
	sectorSize = 512
)

// Env is what a case runs in: a server and the images, copied anew before each.
type Env struct {
	Server                Server
	Disk, Set, SetPayload []byte
	hosts                 []*Host
}

// Case is one row of the test suite.
type Case struct {
	Name string
	Run  func(*Env) error
}

// Cases are those of WindowsProtocolTestSuites' RSVD part, under its names.
var Cases = []Case{
	{"BVT_OpenCloseSharedVHD_V1", openCloseV1},
	{"BVT_OpenCloseSharedVHD_V2", openCloseV2},
	{"ReconnectSharedVHDWithoutDeviceContext", reconnect},
	{"BVT_QuerySharedVirtualDiskSupport", querySupport},
	{"BVT_TunnelGetFileInfoToSharedVHD", fileInfo},
	{"BVT_TunnelSCSIToSharedVHD", readCapacity},
	{"BVT_TunnelCheckConnectionStatusToSharedVHD", checkConnection},
	{"BVT_TunnelSRBStatusToSharedVHD", srbStatus},
	{"BVT_TunnelGetDiskInfoToSharedVHD", diskInfo},
	{"BVT_TunnelValidateDiskToSharedVHD", validateDisk},
	{"BVT_ReadSharedVHD", readDisk},
	{"BVT_WriteSharedVHD", writeDisk},
	{"TwoClientsReadSameSharedVHD", twoClients(readSector)},
	{"TwoClientsWriteSameSharedVHD", twoClients(writeSector)},
	{"BVT_TunnelSCSIPersistentReserve_RegisterAndReserve", registerAndReserve},
	{"BVT_TunnelSCSIPersistentReserve_ReserveConflict", reserveConflict},
	{"BVT_TunnelSCSIPersistentReserve_ReserveAndRelease", reserveAndRelease},
	{"BVT_TunnelSCSIPersistentReserve_Preempt", preempt},
	{"BVT_Query_VHDSet_FileInfo_SnapshotList", snapshotList},
	{"BVT_Query_VHDSet_FileInfo_SnapshotEntry", snapshotEntry},
	{"BVT_Convert_VHDFile_to_VHDSetFile", convertToSet},
	{"BVT_Create_Delete_Checkpoint", createDeleteCheckpoint},
	{"BVT_QueryVirtualDiskChanges", queryChanges},
	{"BVT_ApplySnapshot", applySnapshot},
	{"BVT_OpenSharedVHDSetByTargetSpecifier", openByTarget},
	{"BVT_Extract_VHDSet", extractSnapshot},
	{"BVT_Optimize", optimize},
	{"BVT_Resize", resize},
	{"BVT_ChangeTracking", changeTracking},
}

// Do copies the images and runs a case.
func (e *Env) Do(c Case) error {
	defer e.closeHosts()
	copying := e.Server
	copying.Dial = nil // no part of the case
	h, err := copying.Connect()
	if err != nil {
		return err
	}
	e.hosts = append(e.hosts, h)
	for name, content := range map[string][]byte{DiskName: e.Disk, SetName: e.Set, PayloadName: e.SetPayload} {
		if err := h.Upload(name, content); err != nil {
			return fmt.Errorf("copying %s: %w", name, err)
		}
	}
	return c.Run(e)
}

func (e *Env) closeHosts() {
	for _, h := range e.hosts {
		h.Close()
	}
	e.hosts = nil
}

// host connects a further host.
func (e *Env) host() (*Host, error) {
	h, err := e.Server.Connect()
	if err == nil {
		e.hosts = append(e.hosts, h)
	}
	return h, err
}

// open connects a host that opens a disk under a new InitiatorId.
func (e *Env) open(name string, version uint32) (*Disk, error) {
	h, err := e.host()
	if err != nil {
		return nil, err
	}
	d, err := h.Open(name, How{Version: version, Initiator: dtyp.NewGUID()})
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", name, err)
	}
	return d, nil
}

// again closes a disk and opens it anew, as the same host.
func (d *Disk) again() (*Disk, error) {
	if err := d.Close(); err != nil {
		return nil, err
	}
	name := d.Name[:len(d.Name)-len(Suffix)]
	how := d.How
	how.Initiator = dtyp.NewGUID()
	return (&Host{Tree: d.Tree}).Open(name, how)
}

// want is an error unless got is as wanted.
func want[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s is %v, not %v", what, got, want)
	}
	return nil
}

func openCloseV1(e *Env) error {
	d, err := e.open(DiskName, 1)
	if err != nil {
		return err
	}
	return errors.Join(d.Close())
}

func openCloseV2(e *Env) error {
	d, err := e.open(SetName, 2)
	if err != nil {
		return err
	}
	if d.Answer == nil {
		return errors.New("no response context")
	}
	return errors.Join(want("Version", d.Answer.Version, 2), want("PhysicalSectorSize", d.Answer.PhysicalSectorSize, 4096),
		want("VirtualSize", d.Answer.VirtualSize, diskSize), d.Close())
}

func reconnect(e *Env) error {
	h, err := e.host()
	if err != nil {
		return err
	}
	how := How{Version: 1, Initiator: dtyp.NewGUID(), NoID: true, Persistent: dtyp.NewGUID(), Options: smb2.OptionNonDirectoryFile}
	d, err := h.Open(DiskName, how)
	if err != nil {
		return err
	}
	list := smb2.NewCreateContextReader(d.Response.Contexts)
	if !list.Next() {
		return fmt.Errorf("no response contexts: %w", list.Err())
	}
	var durable smb2.DurableResponseV2
	if string(list.Name) != smb2.ContextDurableRequestV2 || durable.Decode(list.Data) != nil || durable.Flags&smb2.DurableFlagPersistent == 0 {
		return errors.New("the first response context grants no persistent handle")
	}
	h.Close()
	again, err := e.Server.ConnectAs(h.GUID)
	if err != nil {
		return err
	}
	e.hosts = append(e.hosts, again)
	r, err := again.Reclaim(d)
	if err != nil {
		return fmt.Errorf("reconnect: %w", err)
	}
	return r.Close()
}

func querySupport(e *Env) error {
	d, err := e.open(DiskName, 1)
	if err != nil {
		return err
	}
	r, err := Support(d.File)
	return errors.Join(err, want("SharedVirtualDiskSupport", r.Support, 7), want("SharedVirtualDiskHandleState", r.HandleState, 3), d.Close())
}

func fileInfo(e *Env) error {
	d, err := e.open(DiskName, 1)
	if err != nil {
		return err
	}
	var r wire.InitialInfoResponse
	return errors.Join(d.Ask(wire.GetInitialInfo, &r), want("ServerVersion", r.ServerVersion, 2), want("SectorSize", r.SectorSize, 512),
		want("PhysicalSectorSize", r.PhysicalSectorSize, 4096), want("VirtualSize", r.VirtualSize, diskSize), d.Close())
}

func readCapacity(e *Env) error {
	d, err := e.open(DiskName, 1)
	if err != nil {
		return err
	}
	q := &wire.SCSIRequest{Length: 36, CDBLength: 16, SenseInfoExLength: 20, Disposition: wire.DataIn, SrbFlags: 0x20014A,
		DataTransferLength: 8, CDB: [16]byte{0x25}, Data: make([]byte, 8)}
	status, payload, err := d.Tunnel(wire.SCSI, q)
	if err != nil || status != ntstatus.Success || len(payload) < 44 {
		return fmt.Errorf("header %v, %d bytes, %w", status, len(payload), err)
	}
	return errors.Join(want("Length", payload[0], 36), want("SrbStatus", payload[2], 1), want("ScsiStatus", payload[3], 0),
		want("Disposition", payload[6], 1), want("last block", be.Uint32(payload[36:]), diskSize/sectorSize-1), d.Close())
}

func checkConnection(e *Env) error {
	d, err := e.open(DiskName, 1)
	if err != nil {
		return err
	}
	return errors.Join(d.Ask(wire.CheckConnectionStatus, nil), d.Close())
}

func srbStatus(e *Env) error {
	h, err := e.host()
	if err != nil {
		return err
	}
	d, err := h.Open(DiskName, How{Version: 1, NoID: true})
	if err != nil {
		return err
	}
	_, err = d.ReadAt(make([]byte, sectorSize), 0)
	var status ntstatus.Status
	if !errors.As(err, &status) {
		return fmt.Errorf("READ without an InitiatorId: %w", err)
	}
	var r wire.SRBStatusResponse
	return errors.Join(d.Ask(wire.SRBStatus, &r, &wire.SRBStatusRequest{StatusKey: uint8(status)}),
		want("StatusKey", r.StatusKey, uint8(status)), d.Close())
}

func diskInfo(e *Env) error {
	d, err := e.open(DiskName, 1)
	if err != nil {
		return err
	}
	var r wire.DiskInfoResponse
	return errors.Join(d.Ask(wire.GetDiskInfo, &r, raw(make([]byte, 56))), want("DiskFormat", r.DiskFormat, wire.DiskFormatVHDX),
		want("DiskType", r.DiskType, wire.DiskTypeDynamic), want("IsMounted", r.IsMounted, true), want("Is4kAligned", r.Is4kAligned, true),
		want("FileSize", r.FileSize, 4<<20), d.Close())
}

func validateDisk(e *Env) error {
	d, err := e.open(DiskName, 1)
	if err != nil {
		return err
	}
	var r wire.ValidateDiskResponse
	return errors.Join(d.Ask(wire.ValidateDisk, &r, raw(make([]byte, 56))), want("IsValidDisk", r.IsValidDisk, true), d.Close())
}

func readSector(d *Disk) error {
	_, err := d.ReadAt(make([]byte, sectorSize), 0)
	return err
}

func writeSector(d *Disk) error {
	_, err := d.WriteAt(make([]byte, sectorSize), 0)
	return err
}

func readDisk(e *Env) error  { return e.with(DiskName, 1, readSector) }
func writeDisk(e *Env) error { return e.with(DiskName, 1, writeSector) }

func (e *Env) with(name string, version uint32, do func(*Disk) error) error {
	d, err := e.open(name, version)
	if err != nil {
		return err
	}
	return errors.Join(do(d), d.Close())
}

func twoClients(do func(*Disk) error) func(*Env) error {
	return func(e *Env) error {
		one, err := e.open(DiskName, 1)
		if err != nil {
			return err
		}
		if err := do(one); err != nil {
			return err
		}
		two, err := e.open(DiskName, 1)
		if err != nil {
			return err
		}
		return errors.Join(do(two), one.Close(), two.Close())
	}
}

// step is one PERSISTENT RESERVE OUT with the status it must have.
func (d *Disk) step(action byte, key, actionKey uint64, status byte) error {
	kind := byte(0)
	if action != RegisterAndIgnore {
		kind = WriteExclusiveRegistrantsOnly
	}
	r, err := d.ReserveOut(action, kind, key, actionKey)
	if err != nil {
		return err
	}
	return errors.Join(want("ScsiStatus", r.ScsiStatus, status), want("Disposition", r.Disposition, wire.DataOut))
}

const keyOne, keyTwo = 0x1111, 0x2222

func registerAndReserve(e *Env) error {
	return e.with(DiskName, 1, func(d *Disk) error {
		return errors.Join(d.step(RegisterAndIgnore, 0, keyOne, Good), d.step(Reserve, keyOne, 0, Good))
	})
}

// two opens the disk on two hosts.
func (e *Env) two(do func(one, two *Disk) error) error {
	one, err := e.open(DiskName, 1)
	if err != nil {
		return err
	}
	two, err := e.open(DiskName, 1)
	if err != nil {
		return err
	}
	return errors.Join(do(one, two), one.Close(), two.Close())
}

func reserveConflict(e *Env) error {
	return e.two(func(one, two *Disk) error {
		return errors.Join(one.step(RegisterAndIgnore, 0, keyOne, Good), two.step(RegisterAndIgnore, 0, keyTwo, Good),
			one.step(Reserve, keyOne, 0, Good), two.step(Reserve, keyTwo, 0, ReservationConflict))
	})
}

func reserveAndRelease(e *Env) error {
	return e.two(func(one, two *Disk) error {
		return errors.Join(one.step(RegisterAndIgnore, 0, keyOne, Good), one.step(Reserve, keyOne, 0, Good), one.step(Release, keyOne, 0, Good),
			two.step(RegisterAndIgnore, 0, keyTwo, Good), two.step(Reserve, keyTwo, 0, Good))
	})
}

func preempt(e *Env) error {
	return e.two(func(one, two *Disk) error {
		return errors.Join(one.step(RegisterAndIgnore, 0, keyOne, Good), one.step(Reserve, keyOne, 0, Good),
			two.step(RegisterAndIgnore, 0, keyTwo, Good), two.step(Preempt, keyTwo, keyOne, Good))
	})
}

func randomSector() []byte {
	p := make([]byte, sectorSize)
	_, _ = rand.Read(p)
	return p
}

func sameSector(d *Disk, p []byte) error {
	q := make([]byte, sectorSize)
	if _, err := d.ReadAt(q, 0); err != nil {
		return err
	}
	if !bytes.Equal(p, q) {
		return errors.New("sector 0 holds something else")
	}
	return nil
}
