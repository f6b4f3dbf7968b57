// Code generated from fixed.txt by go test -generate. DO NOT EDIT.

package fscc

import "gabion/protocol/dtyp"

// AccessInformation is FILE_ACCESS_INFORMATION ([MS-FSCC] 2.4.1).
type AccessInformation struct {
	AccessFlags dtyp.AccessMask
}

// AccessInformationSize is its length in bytes.
const AccessInformationSize = 4

// Append appends the wire form.
func (x *AccessInformation) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, uint32(x.AccessFlags))
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *AccessInformation) Decode(b []byte) error {
	if len(b) < AccessInformationSize {
		return malformed("FILE_ACCESS_INFORMATION")
	}
	x.AccessFlags = dtyp.AccessMask(le.Uint32(b[0:]))
	return nil
}

// AlignmentInformation is FILE_ALIGNMENT_INFORMATION ([MS-FSCC] 2.4.3).
type AlignmentInformation struct {
	AlignmentRequirement uint32
}

// AlignmentInformationSize is its length in bytes.
const AlignmentInformationSize = 4

// Append appends the wire form.
func (x *AlignmentInformation) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, x.AlignmentRequirement)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *AlignmentInformation) Decode(b []byte) error {
	if len(b) < AlignmentInformationSize {
		return malformed("FILE_ALIGNMENT_INFORMATION")
	}
	x.AlignmentRequirement = le.Uint32(b[0:])
	return nil
}

// AllocationInformation is FILE_ALLOCATION_INFORMATION ([MS-FSCC] 2.4.4).
type AllocationInformation struct {
	AllocationSize int64
}

// AllocationInformationSize is its length in bytes.
const AllocationInformationSize = 8

// Append appends the wire form.
func (x *AllocationInformation) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, uint64(x.AllocationSize))
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *AllocationInformation) Decode(b []byte) error {
	if len(b) < AllocationInformationSize {
		return malformed("FILE_ALLOCATION_INFORMATION")
	}
	x.AllocationSize = int64(le.Uint64(b[0:]))
	return nil
}

// AttributeTagInformation is FILE_ATTRIBUTE_TAG_INFORMATION ([MS-FSCC] 2.4.6).
type AttributeTagInformation struct {
	FileAttributes uint32
	ReparseTag     uint32
}

// AttributeTagInformationSize is its length in bytes.
const AttributeTagInformationSize = 8

// Append appends the wire form.
func (x *AttributeTagInformation) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, x.FileAttributes)
	dst = le.AppendUint32(dst, x.ReparseTag)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *AttributeTagInformation) Decode(b []byte) error {
	if len(b) < AttributeTagInformationSize {
		return malformed("FILE_ATTRIBUTE_TAG_INFORMATION")
	}
	x.FileAttributes = le.Uint32(b[0:])
	x.ReparseTag = le.Uint32(b[4:])
	return nil
}

// BasicInformation is FILE_BASIC_INFORMATION ([MS-FSCC] 2.4.7).
type BasicInformation struct {
	CreationTime   dtyp.Filetime
	LastAccessTime dtyp.Filetime
	LastWriteTime  dtyp.Filetime
	ChangeTime     dtyp.Filetime
	FileAttributes uint32
}

// BasicInformationSize is its length in bytes.
const BasicInformationSize = 40

// Append appends the wire form.
func (x *BasicInformation) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, uint64(x.CreationTime))
	dst = le.AppendUint64(dst, uint64(x.LastAccessTime))
	dst = le.AppendUint64(dst, uint64(x.LastWriteTime))
	dst = le.AppendUint64(dst, uint64(x.ChangeTime))
	dst = le.AppendUint32(dst, x.FileAttributes)
	dst = append(dst, 0, 0, 0, 0)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *BasicInformation) Decode(b []byte) error {
	if len(b) < BasicInformationSize {
		return malformed("FILE_BASIC_INFORMATION")
	}
	x.CreationTime = dtyp.Filetime(le.Uint64(b[0:]))
	x.LastAccessTime = dtyp.Filetime(le.Uint64(b[8:]))
	x.LastWriteTime = dtyp.Filetime(le.Uint64(b[16:]))
	x.ChangeTime = dtyp.Filetime(le.Uint64(b[24:]))
	x.FileAttributes = le.Uint32(b[32:])
	return nil
}

// CompressionInformation is FILE_COMPRESSION_INFORMATION ([MS-FSCC] 2.4.9).
type CompressionInformation struct {
	CompressedFileSize   int64
	CompressionFormat    uint16
	CompressionUnitShift uint8
	ChunkShift           uint8
	ClusterShift         uint8
}

// CompressionInformationSize is its length in bytes.
const CompressionInformationSize = 16

// Append appends the wire form.
func (x *CompressionInformation) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, uint64(x.CompressedFileSize))
	dst = le.AppendUint16(dst, x.CompressionFormat)
	dst = append(dst, x.CompressionUnitShift)
	dst = append(dst, x.ChunkShift)
	dst = append(dst, x.ClusterShift)
	dst = append(dst, 0, 0, 0)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *CompressionInformation) Decode(b []byte) error {
	if len(b) < CompressionInformationSize {
		return malformed("FILE_COMPRESSION_INFORMATION")
	}
	x.CompressedFileSize = int64(le.Uint64(b[0:]))
	x.CompressionFormat = le.Uint16(b[8:])
	x.CompressionUnitShift = b[10]
	x.ChunkShift = b[11]
	x.ClusterShift = b[12]
	return nil
}

// DispositionInformation is FILE_DISPOSITION_INFORMATION ([MS-FSCC] 2.4.11).
type DispositionInformation struct {
	DeletePending bool
}

// DispositionInformationSize is its length in bytes.
const DispositionInformationSize = 1

// Append appends the wire form.
func (x *DispositionInformation) Append(dst []byte) []byte {
	dst = appendBool(dst, x.DeletePending)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *DispositionInformation) Decode(b []byte) error {
	if len(b) < DispositionInformationSize {
		return malformed("FILE_DISPOSITION_INFORMATION")
	}
	x.DeletePending = b[0] != 0
	return nil
}

// DispositionInformationEx is FILE_DISPOSITION_INFORMATION_EX ([MS-FSCC] 2.4.12).
type DispositionInformationEx struct {
	Flags uint32
}

// DispositionInformationExSize is its length in bytes.
const DispositionInformationExSize = 4

// Append appends the wire form.
func (x *DispositionInformationEx) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, x.Flags)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *DispositionInformationEx) Decode(b []byte) error {
	if len(b) < DispositionInformationExSize {
		return malformed("FILE_DISPOSITION_INFORMATION_EX")
	}
	x.Flags = le.Uint32(b[0:])
	return nil
}

// EaInformation is FILE_EA_INFORMATION ([MS-FSCC] 2.4.13).
type EaInformation struct {
	EaSize uint32
}

// EaInformationSize is its length in bytes.
const EaInformationSize = 4

// Append appends the wire form.
func (x *EaInformation) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, x.EaSize)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *EaInformation) Decode(b []byte) error {
	if len(b) < EaInformationSize {
		return malformed("FILE_EA_INFORMATION")
	}
	x.EaSize = le.Uint32(b[0:])
	return nil
}

// EndOfFileInformation is FILE_END_OF_FILE_INFORMATION ([MS-FSCC] 2.4.14).
type EndOfFileInformation struct {
	EndOfFile int64
}

// EndOfFileInformationSize is its length in bytes.
const EndOfFileInformationSize = 8

// Append appends the wire form.
func (x *EndOfFileInformation) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, uint64(x.EndOfFile))
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *EndOfFileInformation) Decode(b []byte) error {
	if len(b) < EndOfFileInformationSize {
		return malformed("FILE_END_OF_FILE_INFORMATION")
	}
	x.EndOfFile = int64(le.Uint64(b[0:]))
	return nil
}

// IdInformation is FILE_ID_INFORMATION ([MS-FSCC] 2.4.26).
type IdInformation struct {
	VolumeSerialNumber uint64
	FileID             [16]byte
}

// IdInformationSize is its length in bytes.
const IdInformationSize = 24

// Append appends the wire form.
func (x *IdInformation) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, x.VolumeSerialNumber)
	dst = append(dst, x.FileID[:]...)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *IdInformation) Decode(b []byte) error {
	if len(b) < IdInformationSize {
		return malformed("FILE_ID_INFORMATION")
	}
	x.VolumeSerialNumber = le.Uint64(b[0:])
	copy(x.FileID[:], b[8:])
	return nil
}

// InternalInformation is FILE_INTERNAL_INFORMATION ([MS-FSCC] 2.4.27).
type InternalInformation struct {
	IndexNumber uint64
}

// InternalInformationSize is its length in bytes.
const InternalInformationSize = 8

// Append appends the wire form.
func (x *InternalInformation) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, x.IndexNumber)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *InternalInformation) Decode(b []byte) error {
	if len(b) < InternalInformationSize {
		return malformed("FILE_INTERNAL_INFORMATION")
	}
	x.IndexNumber = le.Uint64(b[0:])
	return nil
}

// ModeInformation is FILE_MODE_INFORMATION ([MS-FSCC] 2.4.31).
type ModeInformation struct {
	Mode uint32
}

// ModeInformationSize is its length in bytes.
const ModeInformationSize = 4

// Append appends the wire form.
func (x *ModeInformation) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, x.Mode)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *ModeInformation) Decode(b []byte) error {
	if len(b) < ModeInformationSize {
		return malformed("FILE_MODE_INFORMATION")
	}
	x.Mode = le.Uint32(b[0:])
	return nil
}

// NetworkOpenInformation is FILE_NETWORK_OPEN_INFORMATION ([MS-FSCC] 2.4.34).
type NetworkOpenInformation struct {
	CreationTime   dtyp.Filetime
	LastAccessTime dtyp.Filetime
	LastWriteTime  dtyp.Filetime
	ChangeTime     dtyp.Filetime
	AllocationSize int64
	EndOfFile      int64
	FileAttributes uint32
}

// NetworkOpenInformationSize is its length in bytes.
const NetworkOpenInformationSize = 56

// Append appends the wire form.
func (x *NetworkOpenInformation) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, uint64(x.CreationTime))
	dst = le.AppendUint64(dst, uint64(x.LastAccessTime))
	dst = le.AppendUint64(dst, uint64(x.LastWriteTime))
	dst = le.AppendUint64(dst, uint64(x.ChangeTime))
	dst = le.AppendUint64(dst, uint64(x.AllocationSize))
	dst = le.AppendUint64(dst, uint64(x.EndOfFile))
	dst = le.AppendUint32(dst, x.FileAttributes)
	dst = append(dst, 0, 0, 0, 0)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *NetworkOpenInformation) Decode(b []byte) error {
	if len(b) < NetworkOpenInformationSize {
		return malformed("FILE_NETWORK_OPEN_INFORMATION")
	}
	x.CreationTime = dtyp.Filetime(le.Uint64(b[0:]))
	x.LastAccessTime = dtyp.Filetime(le.Uint64(b[8:]))
	x.LastWriteTime = dtyp.Filetime(le.Uint64(b[16:]))
	x.ChangeTime = dtyp.Filetime(le.Uint64(b[24:]))
	x.AllocationSize = int64(le.Uint64(b[32:]))
	x.EndOfFile = int64(le.Uint64(b[40:]))
	x.FileAttributes = le.Uint32(b[48:])
	return nil
}

// ObjectIDInformation is FILE_OBJECTID_INFORMATION_TYPE_1 ([MS-FSCC] 2.4.36.1).
type ObjectIDInformation struct {
	FileReferenceNumber uint64
	ObjectID            dtyp.GUID
	BirthVolumeID       dtyp.GUID
	BirthObjectID       dtyp.GUID
	DomainID            dtyp.GUID
}

// ObjectIDInformationSize is its length in bytes.
const ObjectIDInformationSize = 72

// Append appends the wire form.
func (x *ObjectIDInformation) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, x.FileReferenceNumber)
	dst = append(dst, x.ObjectID[:]...)
	dst = append(dst, x.BirthVolumeID[:]...)
	dst = append(dst, x.BirthObjectID[:]...)
	dst = append(dst, x.DomainID[:]...)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *ObjectIDInformation) Decode(b []byte) error {
	if len(b) < ObjectIDInformationSize {
		return malformed("FILE_OBJECTID_INFORMATION_TYPE_1")
	}
	x.FileReferenceNumber = le.Uint64(b[0:])
	copy(x.ObjectID[:], b[8:])
	copy(x.BirthVolumeID[:], b[24:])
	copy(x.BirthObjectID[:], b[40:])
	copy(x.DomainID[:], b[56:])
	return nil
}

// PipeInformation is FILE_PIPE_INFORMATION ([MS-FSCC] 2.4.37).
type PipeInformation struct {
	ReadMode       uint32
	CompletionMode uint32
}

// PipeInformationSize is its length in bytes.
const PipeInformationSize = 8

// Append appends the wire form.
func (x *PipeInformation) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, x.ReadMode)
	dst = le.AppendUint32(dst, x.CompletionMode)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *PipeInformation) Decode(b []byte) error {
	if len(b) < PipeInformationSize {
		return malformed("FILE_PIPE_INFORMATION")
	}
	x.ReadMode = le.Uint32(b[0:])
	x.CompletionMode = le.Uint32(b[4:])
	return nil
}

// PipeLocalInformation is FILE_PIPE_LOCAL_INFORMATION ([MS-FSCC] 2.4.38).
type PipeLocalInformation struct {
	NamedPipeType          uint32
	NamedPipeConfiguration uint32
	MaximumInstances       uint32
	CurrentInstances       uint32
	InboundQuota           uint32
	ReadDataAvailable      uint32
	OutboundQuota          uint32
	WriteQuotaAvailable    uint32
	NamedPipeState         uint32
	NamedPipeEnd           uint32
}

// PipeLocalInformationSize is its length in bytes.
const PipeLocalInformationSize = 40

// Append appends the wire form.
func (x *PipeLocalInformation) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, x.NamedPipeType)
	dst = le.AppendUint32(dst, x.NamedPipeConfiguration)
	dst = le.AppendUint32(dst, x.MaximumInstances)
	dst = le.AppendUint32(dst, x.CurrentInstances)
	dst = le.AppendUint32(dst, x.InboundQuota)
	dst = le.AppendUint32(dst, x.ReadDataAvailable)
	dst = le.AppendUint32(dst, x.OutboundQuota)
	dst = le.AppendUint32(dst, x.WriteQuotaAvailable)
	dst = le.AppendUint32(dst, x.NamedPipeState)
	dst = le.AppendUint32(dst, x.NamedPipeEnd)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *PipeLocalInformation) Decode(b []byte) error {
	if len(b) < PipeLocalInformationSize {
		return malformed("FILE_PIPE_LOCAL_INFORMATION")
	}
	x.NamedPipeType = le.Uint32(b[0:])
	x.NamedPipeConfiguration = le.Uint32(b[4:])
	x.MaximumInstances = le.Uint32(b[8:])
	x.CurrentInstances = le.Uint32(b[12:])
	x.InboundQuota = le.Uint32(b[16:])
	x.ReadDataAvailable = le.Uint32(b[20:])
	x.OutboundQuota = le.Uint32(b[24:])
	x.WriteQuotaAvailable = le.Uint32(b[28:])
	x.NamedPipeState = le.Uint32(b[32:])
	x.NamedPipeEnd = le.Uint32(b[36:])
	return nil
}

// PipeRemoteInformation is FILE_PIPE_REMOTE_INFORMATION ([MS-FSCC] 2.4.39).
type PipeRemoteInformation struct {
	CollectDataTime        dtyp.Filetime
	MaximumCollectionCount uint32
}

// PipeRemoteInformationSize is its length in bytes.
const PipeRemoteInformationSize = 12

// Append appends the wire form.
func (x *PipeRemoteInformation) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, uint64(x.CollectDataTime))
	dst = le.AppendUint32(dst, x.MaximumCollectionCount)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *PipeRemoteInformation) Decode(b []byte) error {
	if len(b) < PipeRemoteInformationSize {
		return malformed("FILE_PIPE_REMOTE_INFORMATION")
	}
	x.CollectDataTime = dtyp.Filetime(le.Uint64(b[0:]))
	x.MaximumCollectionCount = le.Uint32(b[8:])
	return nil
}

// PositionInformation is FILE_POSITION_INFORMATION ([MS-FSCC] 2.4.40).
type PositionInformation struct {
	CurrentByteOffset int64
}

// PositionInformationSize is its length in bytes.
const PositionInformationSize = 8

// Append appends the wire form.
func (x *PositionInformation) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, uint64(x.CurrentByteOffset))
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *PositionInformation) Decode(b []byte) error {
	if len(b) < PositionInformationSize {
		return malformed("FILE_POSITION_INFORMATION")
	}
	x.CurrentByteOffset = int64(le.Uint64(b[0:]))
	return nil
}

// ReparsePointInformation is FILE_REPARSE_POINT_INFORMATION ([MS-FSCC] 2.4.44).
type ReparsePointInformation struct {
	FileReferenceNumber uint64
	Tag                 uint32
}

// ReparsePointInformationSize is its length in bytes.
const ReparsePointInformationSize = 12

// Append appends the wire form.
func (x *ReparsePointInformation) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, x.FileReferenceNumber)
	dst = le.AppendUint32(dst, x.Tag)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *ReparsePointInformation) Decode(b []byte) error {
	if len(b) < ReparsePointInformationSize {
		return malformed("FILE_REPARSE_POINT_INFORMATION")
	}
	x.FileReferenceNumber = le.Uint64(b[0:])
	x.Tag = le.Uint32(b[8:])
	return nil
}

// StandardInformation is FILE_STANDARD_INFORMATION ([MS-FSCC] 2.4.47).
type StandardInformation struct {
	AllocationSize int64
	EndOfFile      int64
	NumberOfLinks  uint32
	DeletePending  bool
	Directory      bool
}

// StandardInformationSize is its length in bytes.
const StandardInformationSize = 24

// Append appends the wire form.
func (x *StandardInformation) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, uint64(x.AllocationSize))
	dst = le.AppendUint64(dst, uint64(x.EndOfFile))
	dst = le.AppendUint32(dst, x.NumberOfLinks)
	dst = appendBool(dst, x.DeletePending)
	dst = appendBool(dst, x.Directory)
	dst = append(dst, 0, 0)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *StandardInformation) Decode(b []byte) error {
	if len(b) < StandardInformationSize {
		return malformed("FILE_STANDARD_INFORMATION")
	}
	x.AllocationSize = int64(le.Uint64(b[0:]))
	x.EndOfFile = int64(le.Uint64(b[8:]))
	x.NumberOfLinks = le.Uint32(b[16:])
	x.DeletePending = b[20] != 0
	x.Directory = b[21] != 0
	return nil
}

// StandardLinkInformation is FILE_STANDARD_LINK_INFORMATION ([MS-FSCC] 2.4.48).
type StandardLinkInformation struct {
	NumberOfAccessibleLinks uint32
	TotalNumberOfLinks      uint32
	DeletePending           bool
	Directory               bool
}

// StandardLinkInformationSize is its length in bytes.
const StandardLinkInformationSize = 12

// Append appends the wire form.
func (x *StandardLinkInformation) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, x.NumberOfAccessibleLinks)
	dst = le.AppendUint32(dst, x.TotalNumberOfLinks)
	dst = appendBool(dst, x.DeletePending)
	dst = appendBool(dst, x.Directory)
	dst = append(dst, 0, 0)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *StandardLinkInformation) Decode(b []byte) error {
	if len(b) < StandardLinkInformationSize {
		return malformed("FILE_STANDARD_LINK_INFORMATION")
	}
	x.NumberOfAccessibleLinks = le.Uint32(b[0:])
	x.TotalNumberOfLinks = le.Uint32(b[4:])
	x.DeletePending = b[8] != 0
	x.Directory = b[9] != 0
	return nil
}

// ValidDataLengthInformation is FILE_VALID_DATA_LENGTH_INFORMATION ([MS-FSCC] 2.4.50).
type ValidDataLengthInformation struct {
	ValidDataLength int64
}

// ValidDataLengthInformationSize is its length in bytes.
const ValidDataLengthInformationSize = 8

// Append appends the wire form.
func (x *ValidDataLengthInformation) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, uint64(x.ValidDataLength))
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *ValidDataLengthInformation) Decode(b []byte) error {
	if len(b) < ValidDataLengthInformationSize {
		return malformed("FILE_VALID_DATA_LENGTH_INFORMATION")
	}
	x.ValidDataLength = int64(le.Uint64(b[0:]))
	return nil
}

// StatInformation is FILE_STAT_INFORMATION (ntifs.h, not in [MS-FSCC]).
type StatInformation struct {
	FileID          uint64
	CreationTime    dtyp.Filetime
	LastAccessTime  dtyp.Filetime
	LastWriteTime   dtyp.Filetime
	ChangeTime      dtyp.Filetime
	AllocationSize  int64
	EndOfFile       int64
	FileAttributes  uint32
	ReparseTag      uint32
	NumberOfLinks   uint32
	EffectiveAccess dtyp.AccessMask
}

// StatInformationSize is its length in bytes.
const StatInformationSize = 72

// Append appends the wire form.
func (x *StatInformation) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, x.FileID)
	dst = le.AppendUint64(dst, uint64(x.CreationTime))
	dst = le.AppendUint64(dst, uint64(x.LastAccessTime))
	dst = le.AppendUint64(dst, uint64(x.LastWriteTime))
	dst = le.AppendUint64(dst, uint64(x.ChangeTime))
	dst = le.AppendUint64(dst, uint64(x.AllocationSize))
	dst = le.AppendUint64(dst, uint64(x.EndOfFile))
	dst = le.AppendUint32(dst, x.FileAttributes)
	dst = le.AppendUint32(dst, x.ReparseTag)
	dst = le.AppendUint32(dst, x.NumberOfLinks)
	dst = le.AppendUint32(dst, uint32(x.EffectiveAccess))
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *StatInformation) Decode(b []byte) error {
	if len(b) < StatInformationSize {
		return malformed("FILE_STAT_INFORMATION")
	}
	x.FileID = le.Uint64(b[0:])
	x.CreationTime = dtyp.Filetime(le.Uint64(b[8:]))
	x.LastAccessTime = dtyp.Filetime(le.Uint64(b[16:]))
	x.LastWriteTime = dtyp.Filetime(le.Uint64(b[24:]))
	x.ChangeTime = dtyp.Filetime(le.Uint64(b[32:]))
	x.AllocationSize = int64(le.Uint64(b[40:]))
	x.EndOfFile = int64(le.Uint64(b[48:]))
	x.FileAttributes = le.Uint32(b[56:])
	x.ReparseTag = le.Uint32(b[60:])
	x.NumberOfLinks = le.Uint32(b[64:])
	x.EffectiveAccess = dtyp.AccessMask(le.Uint32(b[68:]))
	return nil
}

// CaseSensitiveInformation is FILE_CASE_SENSITIVE_INFORMATION (ntifs.h, not in [MS-FSCC]).
type CaseSensitiveInformation struct {
	Flags uint32
}

// CaseSensitiveInformationSize is its length in bytes.
const CaseSensitiveInformationSize = 4

// Append appends the wire form.
func (x *CaseSensitiveInformation) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, x.Flags)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *CaseSensitiveInformation) Decode(b []byte) error {
	if len(b) < CaseSensitiveInformationSize {
		return malformed("FILE_CASE_SENSITIVE_INFORMATION")
	}
	x.Flags = le.Uint32(b[0:])
	return nil
}

// FsControlInformation is FILE_FS_CONTROL_INFORMATION ([MS-FSCC] 2.5.2).
type FsControlInformation struct {
	FreeSpaceStartFiltering int64
	FreeSpaceThreshold      int64
	FreeSpaceStopFiltering  int64
	DefaultQuotaThreshold   uint64
	DefaultQuotaLimit       uint64
	FileSystemControlFlags  uint32
}

// FsControlInformationSize is its length in bytes.
const FsControlInformationSize = 48

// Append appends the wire form.
func (x *FsControlInformation) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, uint64(x.FreeSpaceStartFiltering))
	dst = le.AppendUint64(dst, uint64(x.FreeSpaceThreshold))
	dst = le.AppendUint64(dst, uint64(x.FreeSpaceStopFiltering))
	dst = le.AppendUint64(dst, x.DefaultQuotaThreshold)
	dst = le.AppendUint64(dst, x.DefaultQuotaLimit)
	dst = le.AppendUint32(dst, x.FileSystemControlFlags)
	dst = append(dst, 0, 0, 0, 0)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *FsControlInformation) Decode(b []byte) error {
	if len(b) < FsControlInformationSize {
		return malformed("FILE_FS_CONTROL_INFORMATION")
	}
	x.FreeSpaceStartFiltering = int64(le.Uint64(b[0:]))
	x.FreeSpaceThreshold = int64(le.Uint64(b[8:]))
	x.FreeSpaceStopFiltering = int64(le.Uint64(b[16:]))
	x.DefaultQuotaThreshold = le.Uint64(b[24:])
	x.DefaultQuotaLimit = le.Uint64(b[32:])
	x.FileSystemControlFlags = le.Uint32(b[40:])
	return nil
}

// FsFullSizeInformation is FILE_FS_FULL_SIZE_INFORMATION ([MS-FSCC] 2.5.4).
type FsFullSizeInformation struct {
	TotalAllocationUnits           int64
	CallerAvailableAllocationUnits int64
	ActualAvailableAllocationUnits int64
	SectorsPerAllocationUnit       uint32
	BytesPerSector                 uint32
}

// FsFullSizeInformationSize is its length in bytes.
const FsFullSizeInformationSize = 32

// Append appends the wire form.
func (x *FsFullSizeInformation) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, uint64(x.TotalAllocationUnits))
	dst = le.AppendUint64(dst, uint64(x.CallerAvailableAllocationUnits))
	dst = le.AppendUint64(dst, uint64(x.ActualAvailableAllocationUnits))
	dst = le.AppendUint32(dst, x.SectorsPerAllocationUnit)
	dst = le.AppendUint32(dst, x.BytesPerSector)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *FsFullSizeInformation) Decode(b []byte) error {
	if len(b) < FsFullSizeInformationSize {
		return malformed("FILE_FS_FULL_SIZE_INFORMATION")
	}
	x.TotalAllocationUnits = int64(le.Uint64(b[0:]))
	x.CallerAvailableAllocationUnits = int64(le.Uint64(b[8:]))
	x.ActualAvailableAllocationUnits = int64(le.Uint64(b[16:]))
	x.SectorsPerAllocationUnit = le.Uint32(b[24:])
	x.BytesPerSector = le.Uint32(b[28:])
	return nil
}

// FsObjectIDInformation is FILE_FS_OBJECTID_INFORMATION ([MS-FSCC] 2.5.6).
type FsObjectIDInformation struct {
	ObjectID     dtyp.GUID
	ExtendedInfo [48]byte
}

// FsObjectIDInformationSize is its length in bytes.
const FsObjectIDInformationSize = 64

// Append appends the wire form.
func (x *FsObjectIDInformation) Append(dst []byte) []byte {
	dst = append(dst, x.ObjectID[:]...)
	dst = append(dst, x.ExtendedInfo[:]...)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *FsObjectIDInformation) Decode(b []byte) error {
	if len(b) < FsObjectIDInformationSize {
		return malformed("FILE_FS_OBJECTID_INFORMATION")
	}
	copy(x.ObjectID[:], b[0:])
	copy(x.ExtendedInfo[:], b[16:])
	return nil
}

// FsSectorSizeInformation is FILE_FS_SECTOR_SIZE_INFORMATION ([MS-FSCC] 2.5.7).
type FsSectorSizeInformation struct {
	LogicalBytesPerSector                                 uint32
	PhysicalBytesPerSectorForAtomicity                    uint32
	PhysicalBytesPerSectorForPerformance                  uint32
	FileSystemEffectivePhysicalBytesPerSectorForAtomicity uint32
	Flags                                                 uint32
	ByteOffsetForSectorAlignment                          uint32
	ByteOffsetForPartitionAlignment                       uint32
}

// FsSectorSizeInformationSize is its length in bytes.
const FsSectorSizeInformationSize = 28

// Append appends the wire form.
func (x *FsSectorSizeInformation) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, x.LogicalBytesPerSector)
	dst = le.AppendUint32(dst, x.PhysicalBytesPerSectorForAtomicity)
	dst = le.AppendUint32(dst, x.PhysicalBytesPerSectorForPerformance)
	dst = le.AppendUint32(dst, x.FileSystemEffectivePhysicalBytesPerSectorForAtomicity)
	dst = le.AppendUint32(dst, x.Flags)
	dst = le.AppendUint32(dst, x.ByteOffsetForSectorAlignment)
	dst = le.AppendUint32(dst, x.ByteOffsetForPartitionAlignment)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *FsSectorSizeInformation) Decode(b []byte) error {
	if len(b) < FsSectorSizeInformationSize {
		return malformed("FILE_FS_SECTOR_SIZE_INFORMATION")
	}
	x.LogicalBytesPerSector = le.Uint32(b[0:])
	x.PhysicalBytesPerSectorForAtomicity = le.Uint32(b[4:])
	x.PhysicalBytesPerSectorForPerformance = le.Uint32(b[8:])
	x.FileSystemEffectivePhysicalBytesPerSectorForAtomicity = le.Uint32(b[12:])
	x.Flags = le.Uint32(b[16:])
	x.ByteOffsetForSectorAlignment = le.Uint32(b[20:])
	x.ByteOffsetForPartitionAlignment = le.Uint32(b[24:])
	return nil
}

// FsSizeInformation is FILE_FS_SIZE_INFORMATION ([MS-FSCC] 2.5.8).
type FsSizeInformation struct {
	TotalAllocationUnits     int64
	AvailableAllocationUnits int64
	SectorsPerAllocationUnit uint32
	BytesPerSector           uint32
}

// FsSizeInformationSize is its length in bytes.
const FsSizeInformationSize = 24

// Append appends the wire form.
func (x *FsSizeInformation) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, uint64(x.TotalAllocationUnits))
	dst = le.AppendUint64(dst, uint64(x.AvailableAllocationUnits))
	dst = le.AppendUint32(dst, x.SectorsPerAllocationUnit)
	dst = le.AppendUint32(dst, x.BytesPerSector)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *FsSizeInformation) Decode(b []byte) error {
	if len(b) < FsSizeInformationSize {
		return malformed("FILE_FS_SIZE_INFORMATION")
	}
	x.TotalAllocationUnits = int64(le.Uint64(b[0:]))
	x.AvailableAllocationUnits = int64(le.Uint64(b[8:]))
	x.SectorsPerAllocationUnit = le.Uint32(b[16:])
	x.BytesPerSector = le.Uint32(b[20:])
	return nil
}

// FsDeviceInformation is FILE_FS_DEVICE_INFORMATION ([MS-FSCC] 2.5.10).
type FsDeviceInformation struct {
	DeviceType      uint32
	Characteristics uint32
}

// FsDeviceInformationSize is its length in bytes.
const FsDeviceInformationSize = 8

// Append appends the wire form.
func (x *FsDeviceInformation) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, x.DeviceType)
	dst = le.AppendUint32(dst, x.Characteristics)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *FsDeviceInformation) Decode(b []byte) error {
	if len(b) < FsDeviceInformationSize {
		return malformed("FILE_FS_DEVICE_INFORMATION")
	}
	x.DeviceType = le.Uint32(b[0:])
	x.Characteristics = le.Uint32(b[4:])
	return nil
}

// ObjectIDBuffer is FILE_OBJECTID_BUFFER ([MS-FSCC] 2.1.3.1).
type ObjectIDBuffer struct {
	ObjectID      dtyp.GUID
	BirthVolumeID dtyp.GUID
	BirthObjectID dtyp.GUID
	DomainID      dtyp.GUID
}

// ObjectIDBufferSize is its length in bytes.
const ObjectIDBufferSize = 64

// Append appends the wire form.
func (x *ObjectIDBuffer) Append(dst []byte) []byte {
	dst = append(dst, x.ObjectID[:]...)
	dst = append(dst, x.BirthVolumeID[:]...)
	dst = append(dst, x.BirthObjectID[:]...)
	dst = append(dst, x.DomainID[:]...)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *ObjectIDBuffer) Decode(b []byte) error {
	if len(b) < ObjectIDBufferSize {
		return malformed("FILE_OBJECTID_BUFFER")
	}
	copy(x.ObjectID[:], b[0:])
	copy(x.BirthVolumeID[:], b[16:])
	copy(x.BirthObjectID[:], b[32:])
	copy(x.DomainID[:], b[48:])
	return nil
}

// DuplicateExtentsData is SMB2_DUPLICATE_EXTENTS_DATA ([MS-FSCC] 2.3.7.2).
type DuplicateExtentsData struct {
	SourceFileID     [16]byte
	SourceFileOffset int64
	TargetFileOffset int64
	ByteCount        int64
}

// DuplicateExtentsDataSize is its length in bytes.
const DuplicateExtentsDataSize = 40

// Append appends the wire form.
func (x *DuplicateExtentsData) Append(dst []byte) []byte {
	dst = append(dst, x.SourceFileID[:]...)
	dst = le.AppendUint64(dst, uint64(x.SourceFileOffset))
	dst = le.AppendUint64(dst, uint64(x.TargetFileOffset))
	dst = le.AppendUint64(dst, uint64(x.ByteCount))
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *DuplicateExtentsData) Decode(b []byte) error {
	if len(b) < DuplicateExtentsDataSize {
		return malformed("SMB2_DUPLICATE_EXTENTS_DATA")
	}
	copy(x.SourceFileID[:], b[0:])
	x.SourceFileOffset = int64(le.Uint64(b[16:]))
	x.TargetFileOffset = int64(le.Uint64(b[24:]))
	x.ByteCount = int64(le.Uint64(b[32:]))
	return nil
}

// DuplicateExtentsDataEx is SMB2_DUPLICATE_EXTENTS_DATA_EX ([MS-FSCC] 2.3.9.2).
type DuplicateExtentsDataEx struct {
	StructureSize    uint64
	SourceFileID     [16]byte
	SourceFileOffset int64
	TargetFileOffset int64
	ByteCount        int64
	Flags            uint32
}

// DuplicateExtentsDataExSize is its length in bytes.
const DuplicateExtentsDataExSize = 56

// Append appends the wire form.
func (x *DuplicateExtentsDataEx) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, x.StructureSize)
	dst = append(dst, x.SourceFileID[:]...)
	dst = le.AppendUint64(dst, uint64(x.SourceFileOffset))
	dst = le.AppendUint64(dst, uint64(x.TargetFileOffset))
	dst = le.AppendUint64(dst, uint64(x.ByteCount))
	dst = le.AppendUint32(dst, x.Flags)
	dst = append(dst, 0, 0, 0, 0)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *DuplicateExtentsDataEx) Decode(b []byte) error {
	if len(b) < DuplicateExtentsDataExSize {
		return malformed("SMB2_DUPLICATE_EXTENTS_DATA_EX")
	}
	x.StructureSize = le.Uint64(b[0:])
	copy(x.SourceFileID[:], b[8:])
	x.SourceFileOffset = int64(le.Uint64(b[24:]))
	x.TargetFileOffset = int64(le.Uint64(b[32:]))
	x.ByteCount = int64(le.Uint64(b[40:]))
	x.Flags = le.Uint32(b[48:])
	return nil
}

// CompressionState is FSCTL_GET_COMPRESSION ([MS-FSCC] 2.3.18).
type CompressionState struct {
	CompressionState uint16
}

// CompressionStateSize is its length in bytes.
const CompressionStateSize = 2

// Append appends the wire form.
func (x *CompressionState) Append(dst []byte) []byte {
	dst = le.AppendUint16(dst, x.CompressionState)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *CompressionState) Decode(b []byte) error {
	if len(b) < CompressionStateSize {
		return malformed("FSCTL_GET_COMPRESSION")
	}
	x.CompressionState = le.Uint16(b[0:])
	return nil
}

// GetIntegrityInformation is FSCTL_GET_INTEGRITY_INFORMATION_BUFFER ([MS-FSCC] 2.3.20).
type GetIntegrityInformation struct {
	ChecksumAlgorithm        uint16
	Flags                    uint32
	ChecksumChunkSizeInBytes uint32
	ClusterSizeInBytes       uint32
}

// GetIntegrityInformationSize is its length in bytes.
const GetIntegrityInformationSize = 16

// Append appends the wire form.
func (x *GetIntegrityInformation) Append(dst []byte) []byte {
	dst = le.AppendUint16(dst, x.ChecksumAlgorithm)
	dst = append(dst, 0, 0)
	dst = le.AppendUint32(dst, x.Flags)
	dst = le.AppendUint32(dst, x.ChecksumChunkSizeInBytes)
	dst = le.AppendUint32(dst, x.ClusterSizeInBytes)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *GetIntegrityInformation) Decode(b []byte) error {
	if len(b) < GetIntegrityInformationSize {
		return malformed("FSCTL_GET_INTEGRITY_INFORMATION_BUFFER")
	}
	x.ChecksumAlgorithm = le.Uint16(b[0:])
	x.Flags = le.Uint32(b[4:])
	x.ChecksumChunkSizeInBytes = le.Uint32(b[8:])
	x.ClusterSizeInBytes = le.Uint32(b[12:])
	return nil
}

// SetIntegrityInformation is FSCTL_SET_INTEGRITY_INFORMATION_BUFFER ([MS-FSCC] 2.3.73).
type SetIntegrityInformation struct {
	ChecksumAlgorithm uint16
	Flags             uint32
}

// SetIntegrityInformationSize is its length in bytes.
const SetIntegrityInformationSize = 8

// Append appends the wire form.
func (x *SetIntegrityInformation) Append(dst []byte) []byte {
	dst = le.AppendUint16(dst, x.ChecksumAlgorithm)
	dst = append(dst, 0, 0)
	dst = le.AppendUint32(dst, x.Flags)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *SetIntegrityInformation) Decode(b []byte) error {
	if len(b) < SetIntegrityInformationSize {
		return malformed("FSCTL_SET_INTEGRITY_INFORMATION_BUFFER")
	}
	x.ChecksumAlgorithm = le.Uint16(b[0:])
	x.Flags = le.Uint32(b[4:])
	return nil
}

// SetIntegrityInformationEx is FSCTL_SET_INTEGRITY_INFORMATION_BUFFER_EX ([MS-FSCC] 2.3.75).
type SetIntegrityInformationEx struct {
	EnableIntegrity             uint8
	KeepIntegrityStateUnchanged uint8
	Flags                       uint32
	Version                     uint8
}

// SetIntegrityInformationExSize is its length in bytes.
const SetIntegrityInformationExSize = 16

// Append appends the wire form.
func (x *SetIntegrityInformationEx) Append(dst []byte) []byte {
	dst = append(dst, x.EnableIntegrity)
	dst = append(dst, x.KeepIntegrityStateUnchanged)
	dst = append(dst, 0, 0)
	dst = le.AppendUint32(dst, x.Flags)
	dst = append(dst, x.Version)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *SetIntegrityInformationEx) Decode(b []byte) error {
	if len(b) < SetIntegrityInformationExSize {
		return malformed("FSCTL_SET_INTEGRITY_INFORMATION_BUFFER_EX")
	}
	x.EnableIntegrity = b[0]
	x.KeepIntegrityStateUnchanged = b[1]
	x.Flags = le.Uint32(b[4:])
	x.Version = b[8]
	return nil
}

// NTFSVolumeData is NTFS_VOLUME_DATA_BUFFER ([MS-FSCC] 2.3.22).
type NTFSVolumeData struct {
	VolumeSerialNumber           uint64
	NumberSectors                int64
	TotalClusters                int64
	FreeClusters                 int64
	TotalReserved                int64
	BytesPerSector               uint32
	BytesPerCluster              uint32
	BytesPerFileRecordSegment    uint32
	ClustersPerFileRecordSegment uint32
	MftValidDataLength           int64
	MftStartLcn                  int64
	Mft2StartLcn                 int64
	MftZoneStart                 int64
	MftZoneEnd                   int64
}

// NTFSVolumeDataSize is its length in bytes.
const NTFSVolumeDataSize = 96

// Append appends the wire form.
func (x *NTFSVolumeData) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, x.VolumeSerialNumber)
	dst = le.AppendUint64(dst, uint64(x.NumberSectors))
	dst = le.AppendUint64(dst, uint64(x.TotalClusters))
	dst = le.AppendUint64(dst, uint64(x.FreeClusters))
	dst = le.AppendUint64(dst, uint64(x.TotalReserved))
	dst = le.AppendUint32(dst, x.BytesPerSector)
	dst = le.AppendUint32(dst, x.BytesPerCluster)
	dst = le.AppendUint32(dst, x.BytesPerFileRecordSegment)
	dst = le.AppendUint32(dst, x.ClustersPerFileRecordSegment)
	dst = le.AppendUint64(dst, uint64(x.MftValidDataLength))
	dst = le.AppendUint64(dst, uint64(x.MftStartLcn))
	dst = le.AppendUint64(dst, uint64(x.Mft2StartLcn))
	dst = le.AppendUint64(dst, uint64(x.MftZoneStart))
	dst = le.AppendUint64(dst, uint64(x.MftZoneEnd))
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *NTFSVolumeData) Decode(b []byte) error {
	if len(b) < NTFSVolumeDataSize {
		return malformed("NTFS_VOLUME_DATA_BUFFER")
	}
	x.VolumeSerialNumber = le.Uint64(b[0:])
	x.NumberSectors = int64(le.Uint64(b[8:]))
	x.TotalClusters = int64(le.Uint64(b[16:]))
	x.FreeClusters = int64(le.Uint64(b[24:]))
	x.TotalReserved = int64(le.Uint64(b[32:]))
	x.BytesPerSector = le.Uint32(b[40:])
	x.BytesPerCluster = le.Uint32(b[44:])
	x.BytesPerFileRecordSegment = le.Uint32(b[48:])
	x.ClustersPerFileRecordSegment = le.Uint32(b[52:])
	x.MftValidDataLength = int64(le.Uint64(b[56:]))
	x.MftStartLcn = int64(le.Uint64(b[64:]))
	x.Mft2StartLcn = int64(le.Uint64(b[72:]))
	x.MftZoneStart = int64(le.Uint64(b[80:]))
	x.MftZoneEnd = int64(le.Uint64(b[88:]))
	return nil
}

// ZeroData is FILE_ZERO_DATA_INFORMATION ([MS-FSCC] 2.3.85).
type ZeroData struct {
	FileOffset      int64
	BeyondFinalZero int64
}

// ZeroDataSize is its length in bytes.
const ZeroDataSize = 16

// Append appends the wire form.
func (x *ZeroData) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, uint64(x.FileOffset))
	dst = le.AppendUint64(dst, uint64(x.BeyondFinalZero))
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *ZeroData) Decode(b []byte) error {
	if len(b) < ZeroDataSize {
		return malformed("FILE_ZERO_DATA_INFORMATION")
	}
	x.FileOffset = int64(le.Uint64(b[0:]))
	x.BeyondFinalZero = int64(le.Uint64(b[8:]))
	return nil
}

// AllocatedRange is FILE_ALLOCATED_RANGE_BUFFER ([MS-FSCC] 2.3.51).
type AllocatedRange struct {
	FileOffset int64
	Length     int64
}

// AllocatedRangeSize is its length in bytes.
const AllocatedRangeSize = 16

// Append appends the wire form.
func (x *AllocatedRange) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, uint64(x.FileOffset))
	dst = le.AppendUint64(dst, uint64(x.Length))
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *AllocatedRange) Decode(b []byte) error {
	if len(b) < AllocatedRangeSize {
		return malformed("FILE_ALLOCATED_RANGE_BUFFER")
	}
	x.FileOffset = int64(le.Uint64(b[0:]))
	x.Length = int64(le.Uint64(b[8:]))
	return nil
}

// FileRegion is FILE_REGION_INFO ([MS-FSCC] 2.3.56.1).
type FileRegion struct {
	FileOffset int64
	Length     int64
	Usage      uint32
}

// FileRegionSize is its length in bytes.
const FileRegionSize = 24

// Append appends the wire form.
func (x *FileRegion) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, uint64(x.FileOffset))
	dst = le.AppendUint64(dst, uint64(x.Length))
	dst = le.AppendUint32(dst, x.Usage)
	dst = append(dst, 0, 0, 0, 0)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *FileRegion) Decode(b []byte) error {
	if len(b) < FileRegionSize {
		return malformed("FILE_REGION_INFO")
	}
	x.FileOffset = int64(le.Uint64(b[0:]))
	x.Length = int64(le.Uint64(b[8:]))
	x.Usage = le.Uint32(b[16:])
	return nil
}

// LevelTrimRange is FILE_LEVEL_TRIM_RANGE ([MS-FSCC] 2.3.13.1).
type LevelTrimRange struct {
	Offset uint64
	Length uint64
}

// LevelTrimRangeSize is its length in bytes.
const LevelTrimRangeSize = 16

// Append appends the wire form.
func (x *LevelTrimRange) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, x.Offset)
	dst = le.AppendUint64(dst, x.Length)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *LevelTrimRange) Decode(b []byte) error {
	if len(b) < LevelTrimRangeSize {
		return malformed("FILE_LEVEL_TRIM_RANGE")
	}
	x.Offset = le.Uint64(b[0:])
	x.Length = le.Uint64(b[8:])
	return nil
}

// OffloadReadInput is FSCTL_OFFLOAD_READ_INPUT ([MS-FSCC] 2.3.41).
type OffloadReadInput struct {
	Size            uint32
	Flags           uint32
	TokenTimeToLive uint32
	FileOffset      uint64
	CopyLength      uint64
}

// OffloadReadInputSize is its length in bytes.
const OffloadReadInputSize = 32

// Append appends the wire form.
func (x *OffloadReadInput) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, x.Size)
	dst = le.AppendUint32(dst, x.Flags)
	dst = le.AppendUint32(dst, x.TokenTimeToLive)
	dst = append(dst, 0, 0, 0, 0)
	dst = le.AppendUint64(dst, x.FileOffset)
	dst = le.AppendUint64(dst, x.CopyLength)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *OffloadReadInput) Decode(b []byte) error {
	if len(b) < OffloadReadInputSize {
		return malformed("FSCTL_OFFLOAD_READ_INPUT")
	}
	x.Size = le.Uint32(b[0:])
	x.Flags = le.Uint32(b[4:])
	x.TokenTimeToLive = le.Uint32(b[8:])
	x.FileOffset = le.Uint64(b[16:])
	x.CopyLength = le.Uint64(b[24:])
	return nil
}

// OffloadReadOutput is FSCTL_OFFLOAD_READ_OUTPUT ([MS-FSCC] 2.3.42).
type OffloadReadOutput struct {
	Size           uint32
	Flags          uint32
	TransferLength uint64
	Token          [512]byte
}

// OffloadReadOutputSize is its length in bytes.
const OffloadReadOutputSize = 528

// Append appends the wire form.
func (x *OffloadReadOutput) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, x.Size)
	dst = le.AppendUint32(dst, x.Flags)
	dst = le.AppendUint64(dst, x.TransferLength)
	dst = append(dst, x.Token[:]...)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *OffloadReadOutput) Decode(b []byte) error {
	if len(b) < OffloadReadOutputSize {
		return malformed("FSCTL_OFFLOAD_READ_OUTPUT")
	}
	x.Size = le.Uint32(b[0:])
	x.Flags = le.Uint32(b[4:])
	x.TransferLength = le.Uint64(b[8:])
	copy(x.Token[:], b[16:])
	return nil
}

// OffloadWriteInput is FSCTL_OFFLOAD_WRITE_INPUT ([MS-FSCC] 2.3.43).
type OffloadWriteInput struct {
	Size           uint32
	Flags          uint32
	FileOffset     uint64
	CopyLength     uint64
	TransferOffset uint64
	Token          [512]byte
}

// OffloadWriteInputSize is its length in bytes.
const OffloadWriteInputSize = 544

// Append appends the wire form.
func (x *OffloadWriteInput) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, x.Size)
	dst = le.AppendUint32(dst, x.Flags)
	dst = le.AppendUint64(dst, x.FileOffset)
	dst = le.AppendUint64(dst, x.CopyLength)
	dst = le.AppendUint64(dst, x.TransferOffset)
	dst = append(dst, x.Token[:]...)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *OffloadWriteInput) Decode(b []byte) error {
	if len(b) < OffloadWriteInputSize {
		return malformed("FSCTL_OFFLOAD_WRITE_INPUT")
	}
	x.Size = le.Uint32(b[0:])
	x.Flags = le.Uint32(b[4:])
	x.FileOffset = le.Uint64(b[8:])
	x.CopyLength = le.Uint64(b[16:])
	x.TransferOffset = le.Uint64(b[24:])
	copy(x.Token[:], b[32:])
	return nil
}

// OffloadWriteOutput is FSCTL_OFFLOAD_WRITE_OUTPUT ([MS-FSCC] 2.3.44).
type OffloadWriteOutput struct {
	Size          uint32
	Flags         uint32
	LengthWritten uint64
}

// OffloadWriteOutputSize is its length in bytes.
const OffloadWriteOutputSize = 16

// Append appends the wire form.
func (x *OffloadWriteOutput) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, x.Size)
	dst = le.AppendUint32(dst, x.Flags)
	dst = le.AppendUint64(dst, x.LengthWritten)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *OffloadWriteOutput) Decode(b []byte) error {
	if len(b) < OffloadWriteOutputSize {
		return malformed("FSCTL_OFFLOAD_WRITE_OUTPUT")
	}
	x.Size = le.Uint32(b[0:])
	x.Flags = le.Uint32(b[4:])
	x.LengthWritten = le.Uint64(b[8:])
	return nil
}

// MarkHandleInformation is MARK_HANDLE_INFO ([MS-FSCC] 2.3.39).
type MarkHandleInformation struct {
	CopyNumber   uint32
	VolumeHandle uint64
	HandleInfo   uint32
}

// MarkHandleInformationSize is its length in bytes.
const MarkHandleInformationSize = 24

// Append appends the wire form.
func (x *MarkHandleInformation) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, x.CopyNumber)
	dst = append(dst, 0, 0, 0, 0)
	dst = le.AppendUint64(dst, x.VolumeHandle)
	dst = le.AppendUint32(dst, x.HandleInfo)
	dst = append(dst, 0, 0, 0, 0)
	return dst
}

// Decode reads the wire form; bytes behind it are ignored.
func (x *MarkHandleInformation) Decode(b []byte) error {
	if len(b) < MarkHandleInformationSize {
		return malformed("MARK_HANDLE_INFO")
	}
	x.CopyNumber = le.Uint32(b[0:])
	x.VolumeHandle = le.Uint64(b[8:])
	x.HandleInfo = le.Uint32(b[16:])
	return nil
}
