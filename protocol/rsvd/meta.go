package rsvd

import (
	"strings"

	"gabion/protocol/dtyp"
)

// SnapshotType of a VHD set's snapshot.
type SnapshotType uint32

const (
	SnapshotNone      SnapshotType = 0
	SnapshotVM        SnapshotType = 1
	SnapshotCDP       SnapshotType = 3
	SnapshotWriteable SnapshotType = 4
)

// Valid reports whether a snapshot can be of this type.
func (t SnapshotType) Valid() bool {
	return t == SnapshotVM || t == SnapshotCDP || t == SnapshotWriteable
}

// MetaOperation is the type of a long operation ([MS-RSVD] 2.2.4.17).
type MetaOperation uint32

const (
	MetaResize MetaOperation = iota
	MetaCreateSnapshot
	MetaOptimize
	MetaExtractSnapshots
	MetaConvertToVHDSet
	MetaApplySnapshot
)

// MetaStart is SVHDX_META_OPERATION_START_REQUEST without the data, whose form
// depends on Type ([MS-RSVD] 2.2.4.17).
type MetaStart struct {
	TransactionID dtyp.GUID
	Type          MetaOperation
}

// MetaStartSize is where the data of a meta operation begins.
const MetaStartSize = 24

func (r *MetaStart) Decode(b []byte) error {
	if len(b) < MetaStartSize {
		return ErrShort
	}
	*r = MetaStart{dtyp.GUID(b[:16]), MetaOperation(le.Uint32(b[16:]))}
	return nil
}

func (r *MetaStart) AppendTo(b []byte) []byte {
	b = append(b, r.TransactionID[:]...)
	b = le.AppendUint32(b, uint32(r.Type))
	return le.AppendUint32(b, 0)
}

// Stage of making a snapshot; stages are asked for in ascending order.
type Stage uint32

const (
	StageInvalid Stage = iota
	StageInitialize
	StageBlockIO
	StageSwitchObjectStore
	StageUnblockIO
	StageFinalize
)

// SnapshotEnableTracking asks for change tracking from this snapshot on.
const SnapshotEnableTracking uint32 = 1

// CreateSnapshot is SVHDX_META_OPERATION_CREATE_SNAPSHOT with its CDP parameters
// ([MS-RSVD] 2.2.4.17.1 and 2.2.4.17.1.1).
type CreateSnapshot struct {
	Type                  SnapshotType
	Flags                 uint32
	Stages                [6]Stage
	SnapshotID            dtyp.GUID
	ParametersPayloadSize uint32
	LogFileNameLength     uint32
	LogFileID             dtyp.GUID
}

func (r *CreateSnapshot) Decode(b []byte) error {
	if len(b) < 52 || uint64(len(b)) < 52+uint64(le.Uint32(b[48:])) {
		return ErrShort
	}
	*r = CreateSnapshot{Type: SnapshotType(le.Uint32(b)), Flags: le.Uint32(b[4:]), SnapshotID: dtyp.GUID(b[32:48]), ParametersPayloadSize: le.Uint32(b[48:])}
	for i := range r.Stages {
		r.Stages[i] = Stage(le.Uint32(b[8+4*i:]))
	}
	if r.Type == SnapshotCDP {
		if len(b) < 52+24 {
			return ErrShort
		}
		r.LogFileNameLength, r.LogFileID = le.Uint32(b[56:]), dtyp.GUID(b[60:76])
	}
	return nil
}

func (r *CreateSnapshot) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, uint32(r.Type))
	b = le.AppendUint32(b, r.Flags)
	for _, s := range r.Stages {
		b = le.AppendUint32(b, uint32(s))
	}
	b = append(b, r.SnapshotID[:]...)
	b = le.AppendUint32(b, r.ParametersPayloadSize)
	if r.Type == SnapshotCDP {
		b = le.AppendUint32(b, 76)
		b = le.AppendUint32(b, r.LogFileNameLength)
		b = append(b, r.LogFileID[:]...)
	}
	return b
}

// ExtractDeleteOnClose removes the source when the open is closed.
const ExtractDeleteOnClose uint32 = 1

// ExtractSnapshots is SVHDX_META_OPERATION_EXTRACT ([MS-RSVD] 2.2.4.17.2).
type ExtractSnapshots struct {
	Type          SnapshotType
	Flags         uint32
	Source, Limit dtyp.GUID // Limit zero: a full disk
	Destination   string
}

func (r *ExtractSnapshots) Decode(b []byte) error {
	if len(b) < 48 || uint64(len(b)) < 48+uint64(le.Uint32(b[44:])) {
		return ErrShort
	}
	name, err := terminated(b[48 : 48+le.Uint32(b[44:])])
	*r = ExtractSnapshots{SnapshotType(le.Uint32(b)), le.Uint32(b[8:]), dtyp.GUID(b[12:28]), dtyp.GUID(b[28:44]), name}
	return err
}

func (r *ExtractSnapshots) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, uint32(r.Type))
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, r.Flags)
	b = append(b, r.Source[:]...)
	b = append(b, r.Limit[:]...)
	return appendTerminated(b, r.Destination)
}

// ConvertToVHDSet is SVHDX_META_OPERATION_CONVERT_TO_VHDSET ([MS-RSVD] 2.2.4.17.3).
type ConvertToVHDSet struct{ Destination string }

func (r *ConvertToVHDSet) Decode(b []byte) error {
	if len(b) < 4 || uint64(len(b)) < 4+uint64(le.Uint32(b)) {
		return ErrShort
	}
	var err error
	r.Destination, err = terminated(b[4 : 4+le.Uint32(b)])
	return err
}

func (r *ConvertToVHDSet) AppendTo(b []byte) []byte { return appendTerminated(b, r.Destination) }

// terminated reads a name that must fill its bytes up to a final NUL exactly: its
// length is never believed beyond that.
func terminated(b []byte) (string, error) {
	if len(b) < 4 || len(b)%2 != 0 || b[len(b)-1]|b[len(b)-2] != 0 {
		return "", malformed("file name")
	}
	name := dtyp.DecodeUTF16(b[:len(b)-2])
	if strings.Contains(name, "\x00") {
		return "", malformed("file name")
	}
	return name, nil
}

func appendTerminated(b []byte, name string) []byte {
	b = le.AppendUint32(b, uint32(2*dtyp.UTF16Len(name)+2))
	return append(dtyp.AppendUTF16(b, name), 0, 0)
}

// Resize is SVHDX_META_OPERATION_RESIZE_VIRTUAL_DISK ([MS-RSVD] 2.2.4.17.4).
type Resize struct {
	NewSize                                          uint64
	ExpandOnly, AllowUnsafe, ShrinkToMinimumSafeSize bool
}

func (r *Resize) Decode(b []byte) error {
	if len(b) < 12 {
		return ErrShort
	}
	*r = Resize{le.Uint64(b), b[8] != 0, b[9] != 0, b[10] != 0}
	return nil
}

func (r *Resize) AppendTo(b []byte) []byte {
	return append(le.AppendUint64(b, r.NewSize), boolByte(r.ExpandOnly), boolByte(r.AllowUnsafe), boolByte(r.ShrinkToMinimumSafeSize), 0)
}

// ApplySnapshot is SVHDX_APPLY_SNAPSHOT_PARAMS ([MS-RSVD] 2.2.4.36).
type ApplySnapshot struct {
	Type       SnapshotType
	SnapshotID dtyp.GUID
}

func (r *ApplySnapshot) Decode(b []byte) error {
	if len(b) < 20 {
		return ErrShort
	}
	*r = ApplySnapshot{SnapshotType(le.Uint32(b)), dtyp.GUID(b[4:20])}
	return nil
}

func (r *ApplySnapshot) AppendTo(b []byte) []byte {
	return append(le.AppendUint32(b, uint32(r.Type)), r.SnapshotID[:]...)
}

// MetaReply is SVHDX_META_OPERATION_REPLY, sent for CDP snapshots only.
type MetaReply struct{ ChangeTrackingErrorStatus uint32 }

func (r *MetaReply) Decode(b []byte) error {
	if len(b) < 4 {
		return ErrShort
	}
	r.ChangeTrackingErrorStatus = le.Uint32(b)
	return nil
}

func (r *MetaReply) AppendTo(b []byte) []byte {
	return le.AppendUint32(b, r.ChangeTrackingErrorStatus)
}

// ProgressRequest is SVHDX_META_OPERATION_QUERY_PROGRESS_REQUEST.
type ProgressRequest struct{ TransactionID dtyp.GUID }

func (r *ProgressRequest) Decode(b []byte) error {
	if len(b) < 16 {
		return ErrShort
	}
	r.TransactionID = dtyp.GUID(b[:16])
	return nil
}

func (r *ProgressRequest) AppendTo(b []byte) []byte { return append(b, r.TransactionID[:]...) }

// ProgressResponse is SVHDX_META_OPERATION_QUERY_PROGRESS_RESPONSE; equal values
// mean that the operation has ended.
type ProgressResponse struct{ Current, Complete uint64 }

func (r *ProgressResponse) Decode(b []byte) error {
	if len(b) < 16 {
		return ErrShort
	}
	*r = ProgressResponse{le.Uint64(b), le.Uint64(b[8:])}
	return nil
}

func (r *ProgressResponse) AppendTo(b []byte) []byte {
	return le.AppendUint64(le.AppendUint64(b, r.Current), r.Complete)
}
