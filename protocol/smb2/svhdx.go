package smb2

import "gabion/protocol/dtyp"

// Versions of SVHDXOpenDevice.
const (
	SVHDXVersion1 uint32 = 1 // RSVD_ECP_CONTEXT_VERSION_1
	SVHDXVersion2 uint32 = 2 // RSVD_ECP_CONTEXT_VERSION_2
)

// OriginatorFlags of SVHDXOpenDevice.
const (
	SVHDXOriginatorPVHDParser uint32 = 0x00000001
	SVHDXOriginatorVHDMP      uint32 = 0x00000004
)

// SVHDXOpenDevice is the create context that opens a shared virtual disk, in both
// versions, as request and as response ([MS-RSVD] 2.2.4.12, 2.2.4.31 to 2.2.4.33).
// The fields behind InitiatorHostName exist in version 2; a request leaves them zero.
type SVHDXOpenDevice struct {
	Version                 uint32
	HasInitiatorID          bool
	InitiatorID             dtyp.GUID
	Flags                   uint32
	OriginatorFlags         uint32
	OpenRequestID           uint64
	InitiatorHostNameLength uint16
	InitiatorHostName       [126]byte // UTF-16LE; the length counts bytes

	VirtualDiskPropertiesInitialized uint32
	ServerServiceVersion             uint32
	VirtualSectorSize                uint32
	PhysicalSectorSize               uint32
	VirtualSize                      uint64
}

const (
	svhdxV1Size = 168
	svhdxV2Size = 192
)

// Decode reads the context's data. What Version means to the length is checked
// for the versions that exist; a version that does not exist needs no more than the
// first version's fields, so that the server can answer
// STATUS_SVHDX_VERSION_MISMATCH.
func (c *SVHDXOpenDevice) Decode(b []byte) error {
	const name = "SVHDX_OPEN_DEVICE context"
	if len(b) < svhdxV1Size {
		return malformed(name, "DataLength")
	}
	*c = SVHDXOpenDevice{
		Version:                 le.Uint32(b),
		HasInitiatorID:          b[4] != 0,
		InitiatorID:             dtyp.GUID(b[8:24]),
		Flags:                   le.Uint32(b[24:]),
		OriginatorFlags:         le.Uint32(b[28:]),
		OpenRequestID:           le.Uint64(b[32:]),
		InitiatorHostNameLength: le.Uint16(b[40:]),
		InitiatorHostName:       [126]byte(b[42:168]),
	}
	if int(c.InitiatorHostNameLength) > len(c.InitiatorHostName) {
		return malformed(name, "InitiatorHostNameLength")
	}
	if c.Version != SVHDXVersion2 {
		return nil
	}
	if len(b) < svhdxV2Size {
		return malformed(name, "DataLength")
	}
	c.VirtualDiskPropertiesInitialized = le.Uint32(b[168:])
	c.ServerServiceVersion = le.Uint32(b[172:])
	c.VirtualSectorSize = le.Uint32(b[176:])
	c.PhysicalSectorSize = le.Uint32(b[180:])
	c.VirtualSize = le.Uint64(b[184:])
	return nil
}

// AppendTo appends the context's data in the form of c.Version.
func (c *SVHDXOpenDevice) AppendTo(b []byte) []byte {
	size := svhdxV1Size
	if c.Version == SVHDXVersion2 {
		size = svhdxV2Size
	}
	b, p := grow(b, size)
	le.PutUint32(p, c.Version)
	if c.HasInitiatorID {
		p[4] = 1
	}
	copy(p[8:], c.InitiatorID[:])
	le.PutUint32(p[24:], c.Flags)
	le.PutUint32(p[28:], c.OriginatorFlags)
	le.PutUint64(p[32:], c.OpenRequestID)
	le.PutUint16(p[40:], c.InitiatorHostNameLength)
	copy(p[42:], c.InitiatorHostName[:])
	if size == svhdxV2Size {
		le.PutUint32(p[168:], c.VirtualDiskPropertiesInitialized)
		le.PutUint32(p[172:], c.ServerServiceVersion)
		le.PutUint32(p[176:], c.VirtualSectorSize)
		le.PutUint32(p[180:], c.PhysicalSectorSize)
		le.PutUint64(p[184:], c.VirtualSize)
	}
	return b
}

// HostName returns the initiator's computer name.
func (c *SVHDXOpenDevice) HostName() string {
	n := min(int(c.InitiatorHostNameLength), len(c.InitiatorHostName))
	return dtyp.DecodeUTF16(c.InitiatorHostName[:n&^1])
}
