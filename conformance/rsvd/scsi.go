package rsvd

import (
	"encoding/binary"
	"fmt"

	wire "gabion/protocol/rsvd"
)

var be = binary.BigEndian

// Request is a SCSI request with data in one direction.
func Request(cdb []byte, out []byte, in int) *wire.SCSIRequest {
	r := &wire.SCSIRequest{Length: 36, CDBLength: uint8(len(cdb)), SenseInfoExLength: wire.SenseSize, Disposition: wire.DataIn,
		SrbFlags: wire.SrbDataIn, DataTransferLength: uint32(in)}
	if out != nil {
		r.Disposition, r.SrbFlags, r.DataTransferLength, r.Data = wire.DataOut, wire.SrbDataOut, uint32(len(out)), out
	}
	copy(r.CDB[:], cdb)
	return r
}

// SCSI sends a command.
func (d *Disk) SCSI(cdb []byte, out []byte, in int) (r wire.SCSIResponse, err error) {
	err = d.Ask(wire.SCSI, &r, Request(cdb, out, in))
	return r, err
}

// The status bytes that matter here.
const (
	Good                byte = 0x00
	CheckCondition      byte = 0x02
	ReservationConflict byte = 0x18
	TaskAborted         byte = 0x40
)

// Service actions of PERSISTENT RESERVE OUT.
const (
	Register byte = iota
	Reserve
	Release
	Clear
	Preempt
	PreemptAndAbort
	RegisterAndIgnore
)

// Types of reservations.
const (
	WriteExclusive                 byte = 1
	ExclusiveAccess                byte = 3
	WriteExclusiveRegistrantsOnly  byte = 5
	ExclusiveAccessRegistrantsOnly byte = 6
	WriteExclusiveAllRegistrants   byte = 7
	ExclusiveAccessAllRegistrants  byte = 8
)

// ReserveOut sends PERSISTENT RESERVE OUT with a key and a service action key.
func (d *Disk) ReserveOut(action, kind byte, key, actionKey uint64) (wire.SCSIResponse, error) {
	return d.reserveOut(action, kind, key, actionKey, false)
}

func (d *Disk) reserveOut(action, kind byte, key, actionKey uint64, persist bool) (wire.SCSIResponse, error) {
	list := append(be.AppendUint64(be.AppendUint64(nil, key), actionKey), make([]byte, 8)...)
	if persist {
		list[20] = 1 // APTPL
	}
	return d.SCSI([]byte{0x5F, action, kind, 0, 0, 0, 0, 0, 24, 0}, list, 0)
}

// Keys is READ KEYS: PRgeneration and the keys.
func (d *Disk) Keys() (generation uint32, keys []uint64, err error) {
	r, err := d.SCSI([]byte{0x5E, 0, 0, 0, 0, 0, 0, 8, 0, 0}, nil, 2048)
	if err != nil || len(r.Data) < 8 {
		return 0, nil, fmt.Errorf("READ KEYS: %w", err)
	}
	for b := r.Data[8:]; len(b) >= 8; b = b[8:] {
		keys = append(keys, be.Uint64(b))
	}
	return be.Uint32(r.Data), keys, nil
}

// Reservation is READ RESERVATION: kind is 0 when there is none.
func (d *Disk) Reservation() (generation uint32, key uint64, kind byte, err error) {
	r, err := d.SCSI([]byte{0x5E, 1, 0, 0, 0, 0, 0, 1, 0, 0}, nil, 256)
	if err != nil || len(r.Data) < 8 {
		return 0, 0, 0, fmt.Errorf("READ RESERVATION: %w", err)
	}
	if len(r.Data) >= 24 {
		key, kind = be.Uint64(r.Data[8:]), r.Data[21]&0xF
	}
	return be.Uint32(r.Data), key, kind, nil
}

// Designator returns the designators of VPD page 83h.
func (d *Disk) Designator() ([]byte, error) {
	r, err := d.SCSI([]byte{0x12, 1, 0x83, 1, 0, 0}, nil, 256)
	if err != nil {
		return nil, err
	}
	if r.ScsiStatus != Good || len(r.Data) < 8 {
		return nil, fmt.Errorf("VPD page 83h: status %#x, %d bytes", r.ScsiStatus, len(r.Data))
	}
	return r.Data[4:], nil
}
