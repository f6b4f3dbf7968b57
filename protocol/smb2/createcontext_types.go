package smb2

import (
	"fmt"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
)

// LeaseKey names a lease within one client ([MS-SMB2] 2.2.13.2.8).
type LeaseKey [16]byte

// LeaseState is what a lease lets the client cache ([MS-SMB2] 2.2.13.2.8).
type LeaseState uint32

// SMB2_LEASE_*_CACHING.
const (
	LeaseNone          LeaseState = 0x00
	LeaseReadCaching   LeaseState = 0x01
	LeaseHandleCaching LeaseState = 0x02
	LeaseWriteCaching  LeaseState = 0x04
)

func (s LeaseState) String() string {
	if s == 0 {
		return "none"
	}
	var out string
	for _, f := range []struct {
		bit LeaseState
		c   string
	}{{LeaseReadCaching, "R"}, {LeaseHandleCaching, "H"}, {LeaseWriteCaching, "W"}} {
		if s&f.bit != 0 {
			out += f.c
		}
	}
	if s &^= 7; s != 0 {
		out += fmt.Sprintf("+%#x", uint32(s))
	}
	return out
}

// LeaseFlags is the Flags of a lease context ([MS-SMB2] 2.2.14.2.10, 2.2.13.2.10).
type LeaseFlags uint32

// SMB2_LEASE_FLAG_*.
const (
	LeaseFlagBreakInProgress   LeaseFlags = 0x02
	LeaseFlagParentLeaseKeySet LeaseFlags = 0x04
)

// Lease is SMB2_CREATE_REQUEST_LEASE, SMB2_CREATE_RESPONSE_LEASE and their second
// versions ([MS-SMB2] 2.2.13.2.8, 2.2.13.2.10, 2.2.14.2.10, 2.2.14.2.11): which of
// them is told by the length of the data.
type Lease struct {
	V2             bool
	Key            LeaseKey
	State          LeaseState
	Flags          LeaseFlags
	Duration       uint64   // reserved
	ParentLeaseKey LeaseKey // V2
	Epoch          uint16   // V2
	Reserved       uint16   // V2
}

const (
	leaseV1Size = 32
	leaseV2Size = 52
)

// Decode reads the context's data.
func (c *Lease) Decode(b []byte) error {
	if len(b) != leaseV1Size && len(b) != leaseV2Size {
		return malformed("lease context", "DataLength")
	}
	*c = Lease{
		Key:      LeaseKey(b[:16]),
		State:    LeaseState(le.Uint32(b[16:])),
		Flags:    LeaseFlags(le.Uint32(b[20:])),
		Duration: le.Uint64(b[24:]),
	}
	if len(b) == leaseV2Size {
		c.V2 = true
		c.ParentLeaseKey = LeaseKey(b[32:48])
		c.Epoch = le.Uint16(b[48:])
		c.Reserved = le.Uint16(b[50:])
	}
	return nil
}

// AppendTo appends the context's data.
func (c *Lease) AppendTo(b []byte) []byte {
	b = append(b, c.Key[:]...)
	b = le.AppendUint32(b, uint32(c.State))
	b = le.AppendUint32(b, uint32(c.Flags))
	b = le.AppendUint64(b, c.Duration)
	if c.V2 {
		b = append(b, c.ParentLeaseKey[:]...)
		b = le.AppendUint16(b, c.Epoch)
		b = le.AppendUint16(b, c.Reserved)
	}
	return b
}

// DurableRequest is SMB2_CREATE_DURABLE_HANDLE_REQUEST ([MS-SMB2] 2.2.13.2.3):
// sixteen reserved bytes.
type DurableRequest struct{ Reserved [16]byte }

// Decode reads the context's data.
func (c *DurableRequest) Decode(b []byte) error {
	if len(b) != 16 {
		return malformed("DHnQ context", "DataLength")
	}
	c.Reserved = [16]byte(b)
	return nil
}

// AppendTo appends the context's data.
func (c *DurableRequest) AppendTo(b []byte) []byte { return append(b, c.Reserved[:]...) }

// DurableResponse is SMB2_CREATE_DURABLE_HANDLE_RESPONSE ([MS-SMB2] 2.2.14.2.3).
type DurableResponse struct{ Reserved uint64 }

// Decode reads the context's data.
func (c *DurableResponse) Decode(b []byte) error {
	if len(b) != 8 {
		return malformed("DHnQ response context", "DataLength")
	}
	c.Reserved = le.Uint64(b)
	return nil
}

// AppendTo appends the context's data.
func (c *DurableResponse) AppendTo(b []byte) []byte { return le.AppendUint64(b, c.Reserved) }

// DurableReconnect is SMB2_CREATE_DURABLE_HANDLE_RECONNECT ([MS-SMB2] 2.2.13.2.4).
type DurableReconnect struct{ FileID FileID }

// Decode reads the context's data.
func (c *DurableReconnect) Decode(b []byte) error {
	if len(b) != 16 {
		return malformed("DHnC context", "DataLength")
	}
	c.FileID = getFileID(b)
	return nil
}

// AppendTo appends the context's data.
func (c *DurableReconnect) AppendTo(b []byte) []byte {
	b = le.AppendUint64(b, c.FileID.Persistent)
	return le.AppendUint64(b, c.FileID.Volatile)
}

// DurableFlags is the Flags of the second version of durable handle contexts.
type DurableFlags uint32

// DurableFlagPersistent asks for, or grants, a persistent handle.
const DurableFlagPersistent DurableFlags = 0x00000002

// DurableRequestV2 is SMB2_CREATE_DURABLE_HANDLE_REQUEST_V2 ([MS-SMB2] 2.2.13.2.11).
type DurableRequestV2 struct {
	Timeout    uint32 // milliseconds
	Flags      DurableFlags
	Reserved   uint64
	CreateGUID dtyp.GUID
}

// Decode reads the context's data.
func (c *DurableRequestV2) Decode(b []byte) error {
	if len(b) != 32 {
		return malformed("DH2Q context", "DataLength")
	}
	*c = DurableRequestV2{
		Timeout: le.Uint32(b), Flags: DurableFlags(le.Uint32(b[4:])),
		Reserved: le.Uint64(b[8:]), CreateGUID: dtyp.GUID(b[16:]),
	}
	return nil
}

// AppendTo appends the context's data.
func (c *DurableRequestV2) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, c.Timeout)
	b = le.AppendUint32(b, uint32(c.Flags))
	b = le.AppendUint64(b, c.Reserved)
	return append(b, c.CreateGUID[:]...)
}

// DurableResponseV2 is SMB2_CREATE_DURABLE_HANDLE_RESPONSE_V2 ([MS-SMB2] 2.2.14.2.12).
type DurableResponseV2 struct {
	Timeout uint32 // milliseconds
	Flags   DurableFlags
}

// Decode reads the context's data.
func (c *DurableResponseV2) Decode(b []byte) error {
	if len(b) != 8 {
		return malformed("DH2Q response context", "DataLength")
	}
	c.Timeout, c.Flags = le.Uint32(b), DurableFlags(le.Uint32(b[4:]))
	return nil
}

// AppendTo appends the context's data.
func (c *DurableResponseV2) AppendTo(b []byte) []byte {
	return le.AppendUint32(le.AppendUint32(b, c.Timeout), uint32(c.Flags))
}

// DurableReconnectV2 is SMB2_CREATE_DURABLE_HANDLE_RECONNECT_V2 ([MS-SMB2] 2.2.13.2.12).
type DurableReconnectV2 struct {
	FileID     FileID
	CreateGUID dtyp.GUID
	Flags      DurableFlags
}

// Decode reads the context's data.
func (c *DurableReconnectV2) Decode(b []byte) error {
	if len(b) != 36 {
		return malformed("DH2C context", "DataLength")
	}
	c.FileID, c.CreateGUID, c.Flags = getFileID(b), dtyp.GUID(b[16:32]), DurableFlags(le.Uint32(b[32:]))
	return nil
}

// AppendTo appends the context's data.
func (c *DurableReconnectV2) AppendTo(b []byte) []byte {
	b = le.AppendUint64(b, c.FileID.Persistent)
	b = le.AppendUint64(b, c.FileID.Volatile)
	b = append(b, c.CreateGUID[:]...)
	return le.AppendUint32(b, uint32(c.Flags))
}

// MaximalAccessRequest is SMB2_CREATE_QUERY_MAXIMAL_ACCESS_REQUEST
// ([MS-SMB2] 2.2.13.2.5). Without a time stamp the context has no data.
type MaximalAccessRequest struct {
	HasTimestamp bool
	Timestamp    dtyp.Filetime
}

// Decode reads the context's data.
func (c *MaximalAccessRequest) Decode(b []byte) error {
	switch len(b) {
	case 0:
		*c = MaximalAccessRequest{}
	case 8:
		*c = MaximalAccessRequest{HasTimestamp: true, Timestamp: getFiletime(b)}
	default:
		return malformed("MxAc context", "DataLength")
	}
	return nil
}

// AppendTo appends the context's data.
func (c *MaximalAccessRequest) AppendTo(b []byte) []byte {
	if !c.HasTimestamp {
		return b
	}
	return le.AppendUint64(b, uint64(c.Timestamp))
}

// MaximalAccessResponse is [MS-SMB2] 2.2.14.2.5.
type MaximalAccessResponse struct {
	QueryStatus   ntstatus.Status
	MaximalAccess dtyp.AccessMask
}

// Decode reads the context's data.
func (c *MaximalAccessResponse) Decode(b []byte) error {
	if len(b) != 8 {
		return malformed("MxAc response context", "DataLength")
	}
	c.QueryStatus, c.MaximalAccess = ntstatus.Status(le.Uint32(b)), dtyp.AccessMask(le.Uint32(b[4:]))
	return nil
}

// AppendTo appends the context's data.
func (c *MaximalAccessResponse) AppendTo(b []byte) []byte {
	return le.AppendUint32(le.AppendUint32(b, uint32(c.QueryStatus)), uint32(c.MaximalAccess))
}

// AllocationSize is SMB2_CREATE_ALLOCATION_SIZE ([MS-SMB2] 2.2.13.2.6).
type AllocationSize struct{ Size uint64 }

// Decode reads the context's data.
func (c *AllocationSize) Decode(b []byte) error {
	if len(b) != 8 {
		return malformed("AlSi context", "DataLength")
	}
	c.Size = le.Uint64(b)
	return nil
}

// AppendTo appends the context's data.
func (c *AllocationSize) AppendTo(b []byte) []byte { return le.AppendUint64(b, c.Size) }

// Timewarp is SMB2_CREATE_TIMEWARP_TOKEN ([MS-SMB2] 2.2.13.2.7).
type Timewarp struct{ Timestamp dtyp.Filetime }

// Decode reads the context's data.
func (c *Timewarp) Decode(b []byte) error {
	if len(b) != 8 {
		return malformed("TWrp context", "DataLength")
	}
	c.Timestamp = getFiletime(b)
	return nil
}

// AppendTo appends the context's data.
func (c *Timewarp) AppendTo(b []byte) []byte { return le.AppendUint64(b, uint64(c.Timestamp)) }

// OnDiskID is the response to SMB2_CREATE_QUERY_ON_DISK_ID ([MS-SMB2] 2.2.14.2.9);
// the request has no data.
type OnDiskID struct {
	DiskFileID uint64
	VolumeID   uint64
	Reserved   [16]byte
}

// Decode reads the context's data.
func (c *OnDiskID) Decode(b []byte) error {
	if len(b) != 32 {
		return malformed("QFid response context", "DataLength")
	}
	c.DiskFileID, c.VolumeID, c.Reserved = le.Uint64(b), le.Uint64(b[8:]), [16]byte(b[16:])
	return nil
}

// AppendTo appends the context's data.
func (c *OnDiskID) AppendTo(b []byte) []byte {
	b = le.AppendUint64(b, c.DiskFileID)
	b = le.AppendUint64(b, c.VolumeID)
	return append(b, c.Reserved[:]...)
}

// AppInstanceID is SMB2_CREATE_APP_INSTANCE_ID ([MS-SMB2] 2.2.13.2.13).
type AppInstanceID struct{ ID dtyp.GUID }

// Decode reads the context's data.
func (c *AppInstanceID) Decode(b []byte) error {
	if len(b) != 20 {
		return malformed("APP_INSTANCE_ID context", "DataLength")
	}
	if le.Uint16(b) != 20 {
		return malformed("APP_INSTANCE_ID context", "StructureSize")
	}
	c.ID = dtyp.GUID(b[4:])
	return nil
}

// AppendTo appends the context's data.
func (c *AppInstanceID) AppendTo(b []byte) []byte {
	return append(le.AppendUint32(b, 20), c.ID[:]...)
}

// AppInstanceVersion is SMB2_CREATE_APP_INSTANCE_VERSION ([MS-SMB2] 2.2.13.2.15).
type AppInstanceVersion struct{ High, Low uint64 }

// Decode reads the context's data.
func (c *AppInstanceVersion) Decode(b []byte) error {
	if len(b) != 24 {
		return malformed("APP_INSTANCE_VERSION context", "DataLength")
	}
	if le.Uint16(b) != 24 {
		return malformed("APP_INSTANCE_VERSION context", "StructureSize")
	}
	c.High, c.Low = le.Uint64(b[8:]), le.Uint64(b[16:])
	return nil
}

// AppendTo appends the context's data.
func (c *AppInstanceVersion) AppendTo(b []byte) []byte {
	b = le.AppendUint64(b, 24)
	b = le.AppendUint64(b, c.High)
	return le.AppendUint64(b, c.Low)
}

// Less orders versions.
func (c AppInstanceVersion) Less(o AppInstanceVersion) bool {
	return c.High < o.High || c.High == o.High && c.Low < o.Low
}
