package server

import (
	"encoding/binary"
	"time"

	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server/object"
)

// snapshots is FSCTL_SRV_ENUMERATE_SNAPSHOTS [MS-SMB2] 3.3.5.15.1.
func (c *control) snapshots() {
	const least = 16
	if c.room() < least {
		c.fail(ntstatus.InvalidParameter)
		return
	}
	times, status := c.f.obj.Snapshots()
	if status != ntstatus.Success {
		c.fail(status)
		return
	}
	var out smb2.SrvSnapshotArray
	for _, t := range times {
		out.Snapshots = append(out.Snapshots, t.Time().Format("@GMT-2006.01.02-15.04.05"))
	}
	c.ok(out.AppendTo(nil, c.req.MaxOutputResponse))
}

// The timeout of resilient opens: MaxResiliencyTimeout, and what 0 stands for (note 401).
const (
	maxResiliencyTimeout     = 300 * time.Second
	defaultResiliencyTimeout = 120 * time.Second
)

// resiliency is FSCTL_LMR_REQUEST_RESILIENCY [MS-SMB2] 3.3.5.15.9.
func (c *control) resiliency() {
	var x smb2.NetworkResiliencyRequest
	if x.Decode(c.req.Input) != nil {
		c.fail(ntstatus.InvalidParameter)
		return
	}
	timeout := time.Duration(x.Timeout) * time.Millisecond
	if timeout.Truncate(time.Second) > maxResiliencyTimeout {
		c.fail(ntstatus.InvalidParameter)
		return
	}
	if timeout == 0 {
		timeout = defaultResiliencyTimeout
	}
	old := c.f.obj.Durable()
	d := old
	d.Owner = c.r.owner()
	if d.Kind == object.Persistent { // it stays that: Open.IsPersistent is another variable
		d.Timeout = max(d.Timeout, timeout)
	} else {
		d.Kind, d.Timeout = object.Resilient, timeout
	}
	c.f.obj.SetDurable(d)
	pos, err := c.f.record()
	if err != nil {
		c.f.obj.SetDurable(old)
		c.fail(ntstatus.InsufficientResources)
		return
	}
	c.done(pos, ntstatus.Success)
}

// getCompression: a client sees nothing compressed ([MS-FSCC] 2.3.18).
func (c *control) getCompression() {
	c.fits((&fscc.CompressionState{CompressionState: fscc.CompressionFormatNone}).Append(nil))
}

// setCompression accepts that a file is not compressed, as file systems do that cannot
// compress ([MS-FSCC] 2.3.67).
func (c *control) setCompression() {
	var x fscc.CompressionState
	switch {
	case x.Decode(c.req.Input) != nil, x.CompressionState > fscc.CompressionFormatLZNT1:
		c.fail(ntstatus.InvalidParameter)
	case x.CompressionState != fscc.CompressionFormatNone:
		c.fail(ntstatus.NotSupported)
	default:
		c.ok(nil)
	}
}

// getIntegrity is [MS-FSCC] 2.3.20. Every block has a checksum here whatever clients say; files
// have no integrity state of their own.
func (c *control) getIntegrity() {
	unit := uint32(c.f.obj.Tree().Store().Info().BlockSize)
	c.fits((&fscc.GetIntegrityInformation{
		ChecksumAlgorithm: fscc.ChecksumTypeNone, ChecksumChunkSizeInBytes: unit, ClusterSizeInBytes: unit,
	}).Append(nil))
}

// setIntegrity accepts the one state there is ([MS-FSCC] 2.3.73).
func (c *control) setIntegrity() {
	var x fscc.SetIntegrityInformation
	if x.Decode(c.req.Input) != nil || x.Flags&^fscc.ChecksumEnforcementOff != 0 {
		c.fail(ntstatus.InvalidParameter)
		return
	}
	switch x.ChecksumAlgorithm {
	case fscc.ChecksumTypeNone, fscc.ChecksumTypeUnchanged:
		c.ok(nil)
	case fscc.ChecksumTypeCRC32, fscc.ChecksumTypeCRC64:
		c.fail(ntstatus.NotSupported)
	default:
		c.fail(ntstatus.InvalidParameter)
	}
}

func (c *control) createOrGetObjectID() { c.objectID(true) }
func (c *control) getObjectID()         { c.objectID(false) }

// objectID is [MS-FSA] 2.1.5.10.1 and 2.1.5.10.13.
func (c *control) objectID(create bool) {
	if c.room() < fscc.ObjectIDBufferSize {
		c.fail(ntstatus.InvalidParameter)
		return
	}
	id, pos, status := c.f.obj.ObjectID(create)
	c.durable(pos, status, id[:])
}

// setObjectID is [MS-FSA] 2.1.5.10.35.
func (c *control) setObjectID() {
	if len(c.req.Input) != fscc.ObjectIDBufferSize {
		c.fail(ntstatus.InvalidParameter)
		return
	}
	c.done(c.f.obj.SetObjectID([64]byte(c.req.Input)))
}

// setObjectIDExtended changes what follows the id itself ([MS-FSA] 2.1.5.10.36).
func (c *control) setObjectIDExtended() {
	const extended = 48
	if len(c.req.Input) != extended {
		c.fail(ntstatus.InvalidParameter)
		return
	}
	id, _, status := c.f.obj.ObjectID(false)
	if status != ntstatus.Success {
		c.fail(status)
		return
	}
	copy(id[16:], c.req.Input)
	c.done(c.f.obj.SetObjectID(id))
}

// deleteObjectID is [MS-FSA] 2.1.5.10.2.
func (c *control) deleteObjectID() { c.done(c.f.obj.SetObjectID([64]byte{})) }

// getReparsePoint is [MS-FSA] 2.1.5.10.14: what fits of it.
func (c *control) getReparsePoint() {
	b, status := c.f.obj.ReparsePoint()
	if status != ntstatus.Success {
		c.fail(status)
		return
	}
	fixed := 8 // REPARSE_DATA_BUFFER
	if len(b) >= 4 && binary.LittleEndian.Uint32(b)&0x80000000 == 0 {
		fixed = 24 // REPARSE_GUID_DATA_BUFFER
	}
	switch {
	case c.room() < fixed:
		c.fail(ntstatus.BufferTooSmall)
	case len(b) > c.room():
		c.r.respondIoctl(ntstatus.BufferOverflow, &c.req, b[:c.room()])
	default:
		c.ok(b)
	}
}

// setReparsePoint is [MS-SMB2] 3.3.5.15.13, [MS-FSA] 2.1.5.10.37.
func (c *control) setReparsePoint() { c.done(c.f.obj.SetReparsePoint(c.req.Input)) }

// deleteReparsePoint is [MS-FSA] 2.1.5.10.3.
func (c *control) deleteReparsePoint() { c.done(c.f.obj.DeleteReparsePoint(c.req.Input)) }
