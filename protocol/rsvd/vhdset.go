package rsvd

import "gabion/protocol/dtyp"

// SetInformation is what VHDSET_QUERY_INFORMATION asks for ([MS-RSVD] 2.2.4.19).
type SetInformation uint32

const (
	SnapshotList            SetInformation = 2
	SnapshotEntry           SetInformation = 5
	OptimizeNeeded          SetInformation = 8
	CdpSnapshotRoot         SetInformation = 9
	CdpSnapshotActiveList   SetInformation = 0x0A
	CdpSnapshotInactiveList SetInformation = 0x0C
)

// SetQueryRequest is SVHDX_TUNNEL_VHDSET_QUERY_INFORMATION_REQUEST.
type SetQueryRequest struct {
	Information  SetInformation
	SnapshotType SnapshotType
	SnapshotID   dtyp.GUID
}

// Decode wants the exact size.
func (r *SetQueryRequest) Decode(b []byte) error {
	if len(b) != 24 {
		return ErrShort
	}
	*r = SetQueryRequest{SetInformation(le.Uint32(b)), SnapshotType(le.Uint32(b[4:])), dtyp.GUID(b[8:24])}
	return nil
}

func (r *SetQueryRequest) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, uint32(r.Information))
	b = le.AppendUint32(b, uint32(r.SnapshotType))
	return append(b, r.SnapshotID[:]...)
}

// SnapshotListResponse lists snapshots. When they do not fit, Complete is false,
// IDs is empty and Count tells how many there are.
type SnapshotListResponse struct {
	Complete bool
	Count    uint32
	IDs      []dtyp.GUID
}

const snapshotListFixed = 16

// Size is the size of the response with the 16 bytes of the header, as the
// specification counts it against the client's buffer.
func (r *SnapshotListResponse) Size() int {
	return TunnelHeaderSize + snapshotListFixed + 16*len(r.IDs)
}

func (r *SnapshotListResponse) Decode(b []byte) error {
	if len(b) < snapshotListFixed {
		return ErrShort
	}
	*r = SnapshotListResponse{Complete: b[8] != 0, Count: le.Uint32(b[12:])}
	if !r.Complete {
		return nil
	}
	if uint64(len(b)-snapshotListFixed) < 16*uint64(r.Count) {
		return ErrShort
	}
	for i := range r.Count {
		r.IDs = append(r.IDs, dtyp.GUID(b[snapshotListFixed+16*i:][:16]))
	}
	return nil
}

func (r *SnapshotListResponse) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, uint32(SnapshotList))
	b = append(b, 0, 0, 0, 0, boolByte(r.Complete), 0, 0, 0)
	b = le.AppendUint32(b, r.Count)
	if r.Complete {
		for _, id := range r.IDs {
			b = append(b, id[:]...)
		}
	}
	return b
}

// SnapshotEntryResponse describes one snapshot, or the root of the CDP ones.
type SnapshotEntryResponse struct {
	Information  SetInformation // SnapshotEntry or CdpSnapshotRoot
	CreationTime uint64         // milliseconds since 1 January 1970
	Type         SnapshotType
	Valid        bool
	SnapshotID   dtyp.GUID
	ParentID     dtyp.GUID
	LogFileID    dtyp.GUID
}

func (r *SnapshotEntryResponse) Decode(b []byte) error {
	if len(b) < 72 {
		return ErrShort
	}
	*r = SnapshotEntryResponse{SetInformation(le.Uint32(b)), le.Uint64(b[8:]), SnapshotType(le.Uint32(b[16:])), le.Uint32(b[20:]) != 0,
		dtyp.GUID(b[24:40]), dtyp.GUID(b[40:56]), dtyp.GUID(b[56:72])}
	return nil
}

func (r *SnapshotEntryResponse) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, uint32(r.Information))
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, r.CreationTime)
	b = le.AppendUint32(b, uint32(r.Type))
	b = le.AppendUint32(b, uint32(boolByte(r.Valid)))
	b = append(b, r.SnapshotID[:]...)
	b = append(b, r.ParentID[:]...)
	return append(b, r.LogFileID[:]...)
}

// OptimizeNeededResponse says whether MetaOptimize would gain anything.
type OptimizeNeededResponse struct{ Needed bool }

func (r *OptimizeNeededResponse) Decode(b []byte) error {
	if len(b) < 12 {
		return ErrShort
	}
	r.Needed = le.Uint32(b[8:]) != 0
	return nil
}

func (r *OptimizeNeededResponse) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, uint32(OptimizeNeeded))
	b = le.AppendUint32(b, 0)
	return le.AppendUint32(b, uint32(boolByte(r.Needed)))
}

// DeleteSnapshotRequest is SVHDX_TUNNEL_DELETE_SNAPSHOT_REQUEST.
type DeleteSnapshotRequest struct {
	SnapshotID       dtyp.GUID
	PersistReference uint32
	Type             SnapshotType
}

func (r *DeleteSnapshotRequest) Decode(b []byte) error {
	if len(b) < 24 {
		return ErrShort
	}
	*r = DeleteSnapshotRequest{dtyp.GUID(b[:16]), le.Uint32(b[16:]), SnapshotType(le.Uint32(b[20:]))}
	return nil
}

func (r *DeleteSnapshotRequest) AppendTo(b []byte) []byte {
	b = append(b, r.SnapshotID[:]...)
	b = le.AppendUint32(b, r.PersistReference)
	return le.AppendUint32(b, uint32(r.Type))
}

// Change tracking states, carried in bodies ([MS-RSVD] 2.2.3).
const (
	TrackingActive         uint32 = 0
	TrackingNotInitialized uint32 = 0xC03A0020
	TrackingLogTooLarge    uint32 = 0xC03A0021
	TrackingChangedOffline uint32 = 0xC03A0022
	TrackingInvalidState   uint32 = 0xC03A0023
	TrackingInconsistent   uint32 = 0xC03A0024
)

// TrackingParametersResponse answers CHANGE_TRACKING_GET_PARAMETERS.
type TrackingParametersResponse struct {
	Status      uint32
	LogFileSize uint64
}

func (r *TrackingParametersResponse) Decode(b []byte) error {
	if len(b) < 16 {
		return ErrShort
	}
	*r = TrackingParametersResponse{le.Uint32(b), le.Uint64(b[8:])}
	return nil
}

func (r *TrackingParametersResponse) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, r.Status)
	b = le.AppendUint32(b, 0)
	return le.AppendUint64(b, r.LogFileSize)
}

// TrackingStartRequest is SVHDX_CHANGE_TRACKING_START_REQUEST. Its file name must
// be empty nowadays; LogFileNameLength is what the client said.
type TrackingStartRequest struct {
	TransactionID     dtyp.GUID
	LogFileNameLength uint32
	LogFileID         dtyp.GUID
	MaxLogFileSize    uint64 // 0: no bound
	Append            bool
	LogFileName       string
}

func (r *TrackingStartRequest) Decode(b []byte) error {
	if len(b) < 56 {
		return ErrShort
	}
	*r = TrackingStartRequest{TransactionID: dtyp.GUID(b[:16]), LogFileNameLength: le.Uint32(b[20:]), LogFileID: dtyp.GUID(b[24:40]),
		MaxLogFileSize: le.Uint64(b[40:]), Append: le.Uint32(b[48:]) != 0}
	if r.LogFileNameLength == 0 {
		return nil
	}
	off := uint64(le.Uint32(b[16:]))
	if off < 56 || off+uint64(r.LogFileNameLength) > uint64(len(b)) {
		return malformed("LogFileNameLength")
	}
	var err error
	r.LogFileName, err = terminated(b[off : off+uint64(r.LogFileNameLength)])
	return err
}

func (r *TrackingStartRequest) AppendTo(b []byte) []byte {
	b = append(b, r.TransactionID[:]...)
	b = le.AppendUint32(b, 56)
	at := len(b)
	b = le.AppendUint32(b, 0)
	b = append(b, r.LogFileID[:]...)
	b = le.AppendUint64(b, r.MaxLogFileSize)
	b = le.AppendUint32(b, uint32(boolByte(r.Append)))
	b = le.AppendUint32(b, 0)
	if r.LogFileName != "" {
		start := len(b)
		b = append(dtyp.AppendUTF16(b, r.LogFileName), 0, 0)
		le.PutUint32(b[at:], uint32(len(b)-start))
	}
	return b
}

// TrackingStopResponse answers CHANGE_TRACKING_STOP.
type TrackingStopResponse struct{ Status uint32 }

func (r *TrackingStopResponse) Decode(b []byte) error {
	if len(b) < 4 {
		return ErrShort
	}
	r.Status = le.Uint32(b)
	return nil
}

func (r *TrackingStopResponse) AppendTo(b []byte) []byte { return le.AppendUint32(b, r.Status) }

// ChangesRequest is SVHDX_TUNNEL_QUERY_VIRTUAL_DISK_CHANGES_REQUEST.
type ChangesRequest struct {
	Target, Limit dtyp.GUID
	Type          SnapshotType
	Offset        uint64
	Length        uint64
}

func (r *ChangesRequest) Decode(b []byte) error {
	if len(b) < 56 {
		return ErrShort
	}
	*r = ChangesRequest{dtyp.GUID(b[:16]), dtyp.GUID(b[16:32]), SnapshotType(le.Uint32(b[32:])), le.Uint64(b[40:]), le.Uint64(b[48:])}
	return nil
}

func (r *ChangesRequest) AppendTo(b []byte) []byte {
	b = append(b, r.Target[:]...)
	b = append(b, r.Limit[:]...)
	b = le.AppendUint32(b, uint32(r.Type))
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, r.Offset)
	return le.AppendUint64(b, r.Length)
}

// ChangedRange is a part of the virtual disk.
type ChangedRange struct{ Offset, Length uint64 }

// ChangesResponse lists changed ranges of the first Processed bytes asked for.
type ChangesResponse struct {
	Processed uint64
	Ranges    []ChangedRange
}

const (
	changesFixed = 16
	changedRange = 24
)

// ChangesRoom is how many ranges fit into a client's buffer.
func ChangesRoom(output int) int {
	return max(0, output-TunnelHeaderSize-changesFixed) / changedRange
}

func (r *ChangesResponse) Decode(b []byte) error {
	if len(b) < changesFixed {
		return ErrShort
	}
	n := le.Uint32(b[8:])
	if uint64(len(b)-changesFixed) < changedRange*uint64(n) {
		return ErrShort
	}
	*r = ChangesResponse{Processed: le.Uint64(b)}
	for i := range n {
		e := b[changesFixed+changedRange*i:]
		r.Ranges = append(r.Ranges, ChangedRange{le.Uint64(e), le.Uint64(e[8:])})
	}
	return nil
}

func (r *ChangesResponse) AppendTo(b []byte) []byte {
	b = le.AppendUint64(b, r.Processed)
	b = le.AppendUint32(b, uint32(len(r.Ranges)))
	b = le.AppendUint32(b, 0)
	for _, c := range r.Ranges {
		b = le.AppendUint64(b, c.Offset)
		b = le.AppendUint64(b, c.Length)
		b = le.AppendUint64(b, 0)
	}
	return b
}

// SafeSizeResponse answers QUERY_SAFE_SIZE.
type SafeSizeResponse struct{ SafeVirtualSize uint64 }

func (r *SafeSizeResponse) Decode(b []byte) error {
	if len(b) < 8 {
		return ErrShort
	}
	r.SafeVirtualSize = le.Uint64(b)
	return nil
}

func (r *SafeSizeResponse) AppendTo(b []byte) []byte { return le.AppendUint64(b, r.SafeVirtualSize) }
