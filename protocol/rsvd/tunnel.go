package rsvd

import (
	"encoding/binary"
	"errors"
	"fmt"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
)

var (
	// ErrShort: the message is smaller than its structure.
	ErrShort = errors.New("rsvd: message is too short")
	// ErrMalformed: a field has a value that it cannot have.
	ErrMalformed = errors.New("rsvd: malformed message")
)

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

var le = binary.LittleEndian

// Protocol versions ([MS-RSVD] 1.7).
const (
	Version1 uint32 = 1
	Version2 uint32 = 2
)

// Name suffix of a shared open, and the sizes servers check.
const (
	SharedSuffix = ":SharedVirtualDisk"

	TunnelHeaderSize = 16
	SenseSize        = 20 // RSVD_SCSI_SENSE_BUFFER_SIZE
	CDBSize          = 16 // RSVD_CDB_GENERIC_LENGTH
)

// Operation is a tunnel operation code ([MS-RSVD] 2.2.2).
type Operation uint32

const (
	GetInitialInfo              Operation = 0x02001001
	SCSI                        Operation = 0x02001002
	CheckConnectionStatus       Operation = 0x02001003
	SRBStatus                   Operation = 0x02001004
	GetDiskInfo                 Operation = 0x02001005
	ValidateDisk                Operation = 0x02001006
	MetaOperationStart          Operation = 0x02002101
	MetaOperationQueryProgress  Operation = 0x02002002
	VHDSetQueryInformation      Operation = 0x02002005
	DeleteSnapshot              Operation = 0x02002006
	ChangeTrackingGetParameters Operation = 0x02002008
	ChangeTrackingStart         Operation = 0x02002009
	ChangeTrackingStop          Operation = 0x0200200A
	QueryVirtualDiskChanges     Operation = 0x0200200C
	QuerySafeSize               Operation = 0x0200200D
)

var operationNames = map[Operation]string{
	GetInitialInfo: "GET_INITIAL_INFO", SCSI: "SCSI", CheckConnectionStatus: "CHECK_CONNECTION_STATUS", SRBStatus: "SRB_STATUS",
	GetDiskInfo: "GET_DISK_INFO", ValidateDisk: "VALIDATE_DISK", MetaOperationStart: "META_OPERATION_START",
	MetaOperationQueryProgress: "META_OPERATION_QUERY_PROGRESS", VHDSetQueryInformation: "VHDSET_QUERY_INFORMATION",
	DeleteSnapshot: "DELETE_SNAPSHOT", ChangeTrackingGetParameters: "CHANGE_TRACKING_GET_PARAMETERS",
	ChangeTrackingStart: "CHANGE_TRACKING_START", ChangeTrackingStop: "CHANGE_TRACKING_STOP",
	QueryVirtualDiskChanges: "QUERY_VIRTUAL_DISK_CHANGES", QuerySafeSize: "QUERY_SAFE_SIZE",
}

func (o Operation) String() string {
	if s, ok := operationNames[o]; ok {
		return s
	}
	return fmt.Sprintf("operation %#x", uint32(o))
}

// Known reports whether o is an operation of any version.
func (o Operation) Known() bool { return operationNames[o] != "" }

// OfRSVD reports whether the protocol identifier is this protocol's.
func (o Operation) OfRSVD() bool { return o>>24 == 2 }

// Version is the version bits; an operation of version 1 says 1.
func (o Operation) Version() uint32 { return uint32(o) >> 12 & 0xFFF }

// TunnelHeader is SVHDX_TUNNEL_OPERATION_HEADER ([MS-RSVD] 2.2.4.11).
type TunnelHeader struct {
	Operation Operation
	Status    ntstatus.Status
	RequestID uint64
}

func (h *TunnelHeader) Decode(b []byte) error {
	if len(b) < TunnelHeaderSize {
		return ErrShort
	}
	*h = TunnelHeader{Operation(le.Uint32(b)), ntstatus.Status(le.Uint32(b[4:])), le.Uint64(b[8:])}
	return nil
}

func (h *TunnelHeader) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, uint32(h.Operation))
	b = le.AppendUint32(b, uint32(h.Status))
	return le.AppendUint64(b, h.RequestID)
}

func (h TunnelHeader) String() string {
	return fmt.Sprintf("%v #%d %v", h.Operation, h.RequestID, h.Status)
}

// InitialInfoResponse is SVHDX_TUNNEL_INITIAL_INFO_RESPONSE ([MS-RSVD] 2.2.4.14).
type InitialInfoResponse struct {
	ServerVersion      uint32
	SectorSize         uint32
	PhysicalSectorSize uint32
	VirtualSize        uint64
}

func (r *InitialInfoResponse) Decode(b []byte) error {
	if len(b) < 24 {
		return ErrShort
	}
	*r = InitialInfoResponse{le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:]), le.Uint64(b[16:])}
	return nil
}

func (r *InitialInfoResponse) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, r.ServerVersion)
	b = le.AppendUint32(b, r.SectorSize)
	b = le.AppendUint32(b, r.PhysicalSectorSize)
	b = le.AppendUint32(b, 0)
	return le.AppendUint64(b, r.VirtualSize)
}

// Disposition of a SCSI request. The specification's prose has the first two the
// other way round; the wire, and its own example, are like this.
const (
	DataOut  uint8 = 0 // initiator to disk
	DataIn   uint8 = 1 // disk to initiator
	DataNone uint8 = 2
)

// SrbFlags of a SCSI request that mean something.
const (
	SrbDataIn  uint32 = 0x40
	SrbDataOut uint32 = 0x80
)

// SRB status values ([MS-RSVD] 2.2.5).
const (
	SrbPending        uint8 = 0x00
	SrbSuccess        uint8 = 0x01
	SrbAborted        uint8 = 0x02
	SrbError          uint8 = 0x04
	SrbInvalidRequest uint8 = 0x06
	SrbNoDevice       uint8 = 0x08
	SrbTimeout        uint8 = 0x0A
	SrbDataOverrun    uint8 = 0x12
)

const scsiFixed = 36

// SCSIRequest is SVHDX_TUNNEL_SCSI_REQUEST ([MS-RSVD] 2.2.4.7). The fields are as
// they came, so that a refusal can repeat them; Check judges them.
type SCSIRequest struct {
	Length             uint16
	CDBLength          uint8
	SenseInfoExLength  uint8
	Disposition        uint8
	SrbFlags           uint32
	DataTransferLength uint32
	CDB                [CDBSize]byte
	Data               []byte
}

func (r *SCSIRequest) Decode(b []byte) error {
	if len(b) < scsiFixed {
		return ErrShort
	}
	*r = SCSIRequest{Length: le.Uint16(b), CDBLength: b[4], SenseInfoExLength: b[5], Disposition: b[6],
		SrbFlags: le.Uint32(b[8:]), DataTransferLength: le.Uint32(b[12:]), CDB: [CDBSize]byte(b[16:32]), Data: b[scsiFixed:len(b):len(b)]}
	return nil
}

// Check applies the tests of [MS-RSVD] 3.2.5.5.5.
func (r *SCSIRequest) Check() error {
	switch {
	case r.Length != scsiFixed:
		return malformed("Length")
	case r.SenseInfoExLength > SenseSize:
		return malformed("SenseInfoExLength")
	case r.CDBLength > CDBSize:
		return malformed("CDBLength")
	case r.Disposition == DataIn && uint64(r.DataTransferLength) < uint64(len(r.Data)),
		r.Disposition == DataOut && uint64(r.DataTransferLength) > uint64(len(r.Data)):
		return malformed("DataTransferLength")
	}
	return nil
}

func (r *SCSIRequest) AppendTo(b []byte) []byte {
	b = le.AppendUint16(b, r.Length)
	b = append(b, 0, 0, r.CDBLength, r.SenseInfoExLength, r.Disposition, 0)
	b = le.AppendUint32(b, r.SrbFlags)
	b = le.AppendUint32(b, r.DataTransferLength)
	b = append(b, r.CDB[:]...)
	b = append(b, 0, 0, 0, 0)
	return append(b, r.Data...)
}

// SCSIResponse is SVHDX_TUNNEL_SCSI_RESPONSE ([MS-RSVD] 2.2.4.8). The sense area is
// always as long as it can be, so that readers of both kinds, those that believe
// SenseInfoExLength and those that believe Length, find the data.
type SCSIResponse struct {
	SenseInfoAutoGenerated bool
	SrbStatus              uint8
	ScsiStatus             uint8
	CDBLength              uint8
	Disposition            uint8
	SrbFlags               uint32
	Sense                  [SenseSize]byte
	Data                   []byte
}

// SCSIResponseSize is the size of a response without data.
const SCSIResponseSize = scsiFixed

func (r *SCSIResponse) Decode(b []byte) error {
	if len(b) < scsiFixed {
		return ErrShort
	}
	if le.Uint16(b) != scsiFixed || b[5] != SenseSize {
		return malformed("Length")
	}
	*r = SCSIResponse{SenseInfoAutoGenerated: b[2]&0x80 != 0, SrbStatus: b[2] & 0x7F, ScsiStatus: b[3], CDBLength: b[4],
		Disposition: b[6], SrbFlags: le.Uint32(b[8:]), Sense: [SenseSize]byte(b[16:36])}
	n := le.Uint32(b[12:])
	if uint64(n) > uint64(len(b)-scsiFixed) {
		return ErrShort
	}
	r.Data = b[scsiFixed : scsiFixed+n : scsiFixed+n]
	return nil
}

func (r *SCSIResponse) AppendTo(b []byte) []byte {
	b = le.AppendUint16(b, scsiFixed)
	b = append(b, srbByte(r.SenseInfoAutoGenerated, r.SrbStatus), r.ScsiStatus, r.CDBLength, SenseSize, r.Disposition, 0)
	b = le.AppendUint32(b, r.SrbFlags)
	b = le.AppendUint32(b, uint32(len(r.Data)))
	b = append(b, r.Sense[:]...)
	return append(b, r.Data...)
}

func srbByte(auto bool, status uint8) byte {
	if auto {
		return status&0x7F | 0x80
	}
	return status & 0x7F
}

// SRBStatusRequest is SVHDX_TUNNEL_SRB_STATUS_REQUEST ([MS-RSVD] 2.2.4.3).
type SRBStatusRequest struct{ StatusKey uint8 }

func (r *SRBStatusRequest) Decode(b []byte) error {
	if len(b) < 28 {
		return ErrShort
	}
	r.StatusKey = b[0]
	return nil
}

func (r *SRBStatusRequest) AppendTo(b []byte) []byte {
	return append(append(b, r.StatusKey), make([]byte, 27)...)
}

// SRBStatusResponse is SVHDX_TUNNEL_SRB_STATUS_RESPONSE ([MS-RSVD] 2.2.4.4).
type SRBStatusResponse struct {
	StatusKey              uint8
	SenseInfoAutoGenerated bool
	SrbStatus              uint8
	ScsiStatus             uint8
	Sense                  [SenseSize]byte
}

func (r *SRBStatusResponse) Decode(b []byte) error {
	if len(b) < 4 || len(b) < 4+int(b[3]) {
		return ErrShort
	}
	if b[3] > SenseSize {
		return malformed("SenseInfoExLength")
	}
	*r = SRBStatusResponse{StatusKey: b[0], SenseInfoAutoGenerated: b[1]&0x80 != 0, SrbStatus: b[1] & 0x7F, ScsiStatus: b[2]}
	copy(r.Sense[:], b[4:4+b[3]])
	return nil
}

func (r *SRBStatusResponse) AppendTo(b []byte) []byte {
	b = append(b, r.StatusKey, srbByte(r.SenseInfoAutoGenerated, r.SrbStatus), r.ScsiStatus, SenseSize)
	return append(b, r.Sense[:]...)
}

// Values of DiskInfoResponse.
const (
	DiskTypeFixed    uint32 = 2
	DiskTypeDynamic  uint32 = 3
	DiskFormatVHDX   uint32 = 3
	DiskFormatVHDSet uint32 = 4
)

// DiskInfoResponse is SVHDX_TUNNEL_DISK_INFO_RESPONSE ([MS-RSVD] 2.2.4.6).
type DiskInfoResponse struct {
	DiskType, DiskFormat, BlockSize uint32
	LinkageID                       dtyp.GUID
	IsMounted, Is4kAligned          bool
	FileSize                        uint64
	VirtualDiskID                   dtyp.GUID
}

func (r *DiskInfoResponse) Decode(b []byte) error {
	if len(b) < 56 {
		return ErrShort
	}
	*r = DiskInfoResponse{le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:]), dtyp.GUID(b[12:28]), b[28] != 0, b[29] != 0,
		le.Uint64(b[32:]), dtyp.GUID(b[40:56])}
	return nil
}

func (r *DiskInfoResponse) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, r.DiskType)
	b = le.AppendUint32(b, r.DiskFormat)
	b = le.AppendUint32(b, r.BlockSize)
	b = append(b, r.LinkageID[:]...)
	b = append(b, boolByte(r.IsMounted), boolByte(r.Is4kAligned), 0, 0)
	b = le.AppendUint64(b, r.FileSize)
	return append(b, r.VirtualDiskID[:]...)
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// ValidateDiskResponse is SVHDX_TUNNEL_VALIDATE_DISK_RESPONSE ([MS-RSVD] 2.2.4.10).
type ValidateDiskResponse struct{ IsValidDisk bool }

func (r *ValidateDiskResponse) Decode(b []byte) error {
	if len(b) < 1 {
		return ErrShort
	}
	r.IsValidDisk = b[0] != 0
	return nil
}

func (r *ValidateDiskResponse) AppendTo(b []byte) []byte { return append(b, boolByte(r.IsValidDisk)) }

// Values of SupportResponse.
const (
	SupportVersion1 uint32 = 1
	SupportVersion2 uint32 = 7 // with snapshots of all types

	HandleNone       uint32 = 0
	HandleFileShared uint32 = 1
	HandleShared     uint32 = 3
)

// SupportResponse is SVHDX_SHARED_VIRTUAL_DISK_SUPPORT_RESPONSE ([MS-RSVD] 2.2.4.16).
type SupportResponse struct{ Support, HandleState uint32 }

func (r *SupportResponse) Decode(b []byte) error {
	if len(b) < 8 {
		return ErrShort
	}
	*r = SupportResponse{le.Uint32(b), le.Uint32(b[4:])}
	return nil
}

func (r *SupportResponse) AppendTo(b []byte) []byte {
	return le.AppendUint32(le.AppendUint32(b, r.Support), r.HandleState)
}

// TargetSpecifierName names the extended attribute that opens a snapshot.
const TargetSpecifierName = "RSVD_TARGET_SPECIFIER_EA"

// TargetSpecifier is RSVD_BLOCK_DEVICE_TARGET_SPECIFIER with the snapshot it names
// ([MS-RSVD] 2.2.4.34 and 2.2.4.35).
type TargetSpecifier struct {
	Namespace    uint32
	SnapshotType SnapshotType
	SnapshotID   dtyp.GUID
}

func (r *TargetSpecifier) Decode(b []byte) error {
	if len(b) < 24 {
		return ErrShort
	}
	*r = TargetSpecifier{le.Uint32(b), SnapshotType(le.Uint32(b[4:])), dtyp.GUID(b[8:24])}
	return nil
}

func (r *TargetSpecifier) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, r.Namespace)
	b = le.AppendUint32(b, uint32(r.SnapshotType))
	return append(b, r.SnapshotID[:]...)
}
