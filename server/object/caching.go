package object

import (
	"strings"

	"gabion/protocol/dtyp"
)

// Caching is what a client may keep to itself: the lease bits of
// [MS-SMB2] 2.2.13.2.8. Oplocks are expressed by the same bits: level II is R, exclusive
// RW, batch RWH.
type Caching uint8

// The bits of Caching.
const (
	CacheRead   Caching = 1 // R: reads
	CacheHandle Caching = 2 // H: handles after close
	CacheWrite  Caching = 4 // W: writes

	cacheRH  = CacheRead | CacheHandle
	cacheRW  = CacheRead | CacheWrite
	cacheRWH = CacheRead | CacheWrite | CacheHandle
)

// String prints the letters in use, "RWH" or "-".
func (c Caching) String() string {
	if c&cacheRWH == 0 {
		return "-"
	}
	var b strings.Builder
	for _, l := range [...]struct {
		bit  Caching
		name byte
	}{{CacheRead, 'R'}, {CacheWrite, 'W'}, {CacheHandle, 'H'}} {
		if c&l.bit != 0 {
			b.WriteByte(l.name)
		}
	}
	return b.String()
}

// legal reduces c to a combination that can be granted: nothing, R, RH, RW or
// RWH ([MS-FSA] 2.1.4.12). Without R there is nothing.
func (c Caching) legal() Caching {
	if c&CacheRead == 0 {
		return 0
	}
	return c & cacheRWH
}

// OplockLevel is the oplock level byte of [MS-SMB2] 2.2.13.
type OplockLevel uint8

// The oplock levels.
const (
	OplockNone      OplockLevel = 0x00
	OplockII        OplockLevel = 0x01
	OplockExclusive OplockLevel = 0x08
	OplockBatch     OplockLevel = 0x09
	OplockLease     OplockLevel = 0xFF
)

// caching expresses an oplock level in lease bits.
func (l OplockLevel) caching() Caching {
	switch l {
	case OplockII:
		return CacheRead
	case OplockExclusive:
		return cacheRW
	case OplockBatch:
		return cacheRWH
	}
	return 0
}

// oplockOf is the inverse of caching; combinations no oplock has count as level II.
func oplockOf(c Caching) OplockLevel {
	switch c {
	case cacheRWH:
		return OplockBatch
	case cacheRW:
		return OplockExclusive
	case 0:
		return OplockNone
	}
	return OplockII
}

// LeaseRequest is the lease create context of either version.
type LeaseRequest struct {
	Key       dtyp.GUID
	State     Caching
	V2        bool
	HasParent bool // SMB2_LEASE_FLAG_PARENT_LEASE_KEY_SET
	ParentKey dtyp.GUID
	Epoch     uint16
}

// LeaseInfo is what a lease response context says.
type LeaseInfo struct {
	LeaseRequest
	Breaking bool // SMB2_LEASE_FLAG_BREAK_IN_PROGRESS
}

// Breaker sends the object store's indications to clients; the server core
// implements it. Methods are called with no lock held, in the order in which the
// state changed, must not block and must not call back into this package, except that
// Changed exports.
type Breaker interface {
	// BreakOplock sends an oplock break notification ([MS-SMB2] 3.3.4.6): the
	// open's oplock goes to the level to, once that is acknowledged if it has to be.
	BreakOplock(o *Open, to OplockLevel, ackRequired bool)
	// BreakLease sends a lease break notification on any channel of the client
	// ([MS-SMB2] 3.3.4.7).
	BreakLease(b LeaseBreak)
	// Changed says that Export returns something new for these persistent opens, which are
	// of one file. It comes before whatever the change makes possible: what is
	// recorded of them now precedes everything that others do because of it.
	Changed(opens []*Open)
	// Closed says that the object store closed an open by itself: a durable open that
	// timed out or stood in the way of another, an eviction, a forced close.
	Closed(o *Open)
}

// LeaseBreak is one lease break notification ([MS-SMB2] 2.2.23.2).
type LeaseBreak struct {
	Client      dtyp.GUID
	Key         dtyp.GUID
	Current     Caching
	New         Caching
	Epoch       uint16 // 0 for a version 1 lease
	AckRequired bool
	Number      uint64 // of all breaks that clients were told of, see FS.Breaks
}
