package scsi

import (
	"fmt"
	"testing"
)

// The conflict tables of SPC-4 (5.13.1, tables 65 and 66) and SBC-3 (4.17, table
// 13) as data. Columns, for an initiator that is not the holder:
//
//	1  Write Exclusive, registered or not        4  Exclusive Access RO/AR, not registered
//	2  Exclusive Access, registered or not       5  any RO or AR type, registered
//	3  Write Exclusive RO/AR, not registered
//
// A is allowed, C is RESERVATION CONFLICT. A holder is always allowed.
var conflictTable = []struct {
	name string
	cdb  []byte
	row  string
}{
	{"TEST UNIT READY", []byte{0x00}, "AAAAA"},
	{"REQUEST SENSE", []byte{0x03, 0, 0, 0, 18}, "AAAAA"},
	{"INQUIRY", []byte{0x12, 0, 0, 0, 96}, "AAAAA"},
	{"REPORT LUNS", []byte{0xA0, 0, 0, 0, 0, 0, 0, 0, 0, 16}, "AAAAA"},
	{"READ CAPACITY(10)", []byte{0x25}, "AAAAA"},
	{"READ CAPACITY(16)", []byte{0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32}, "AAAAA"},
	{"PERSISTENT RESERVE IN", []byte{0x5E, 0, 0, 0, 0, 0, 0, 0, 64}, "AAAAA"},
	{"READ(6)", []byte{0x08, 0, 0, 0, 1}, "ACACA"},
	{"READ(10)", []byte{0x28, 0, 0, 0, 0, 0, 0, 0, 1}, "ACACA"},
	{"READ(12)", []byte{0xA8, 0, 0, 0, 0, 0, 0, 0, 0, 1}, "ACACA"},
	{"READ(16)", []byte{0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, "ACACA"},
	{"VERIFY(10)", []byte{0x2F, 0, 0, 0, 0, 0, 0, 0, 1}, "ACACA"},
	{"VERIFY(16)", []byte{0x8F, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, "ACACA"},
	{"GET LBA STATUS", []byte{0x9E, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64}, "ACACA"},
	{"MODE SENSE(6)", []byte{0x1A, 0, 0x3F, 0, 255}, "ACACA"},
	{"MODE SENSE(10)", []byte{0x5A, 0, 0x3F, 0, 0, 0, 0, 0, 255}, "ACACA"},
	{"WRITE(6)", []byte{0x0A, 0, 0, 0, 1}, "CCCCA"},
	{"WRITE(10)", []byte{0x2A, 0, 0, 0, 0, 0, 0, 0, 1}, "CCCCA"},
	{"WRITE(12)", []byte{0xAA, 0, 0, 0, 0, 0, 0, 0, 0, 1}, "CCCCA"},
	{"WRITE(16)", []byte{0x8A, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, "CCCCA"},
	{"WRITE AND VERIFY(10)", []byte{0x2E, 0, 0, 0, 0, 0, 0, 0, 1}, "CCCCA"},
	{"WRITE AND VERIFY(16)", []byte{0x8E, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, "CCCCA"},
	{"WRITE SAME(10)", []byte{0x41, 0, 0, 0, 0, 0, 0, 0, 1}, "CCCCA"},
	{"WRITE SAME(16)", []byte{0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, "CCCCA"},
	{"UNMAP", []byte{0x42}, "CCCCA"},
	{"SYNCHRONIZE CACHE(10)", []byte{0x35}, "CCCCA"},
	{"SYNCHRONIZE CACHE(16)", []byte{0x91}, "CCCCA"},
	{"MODE SELECT(6)", []byte{0x15}, "CCCCA"},
	{"MODE SELECT(10)", []byte{0x55}, "CCCCA"},
	{"START STOP UNIT, START 1", []byte{0x1B, 0, 0, 0, 1}, "AAAAA"},
	{"START STOP UNIT, START 0", []byte{0x1B}, "CCCCA"},
	{"PREVENT ALLOW, PREVENT 0", []byte{0x1E}, "AAAAA"},
	{"PREVENT ALLOW, PREVENT 1", []byte{0x1E, 0, 0, 0, 1}, "CCCCA"},
	// By what they do to the medium; their parameters are malformed here.
	{"POPULATE TOKEN", []byte{0x83, 0x10}, "ACACA"},
	{"WRITE USING TOKEN", []byte{0x83, 0x11}, "CCCCA"},
	{"RECEIVE ROD TOKEN INFORMATION", []byte{0x84, 0x07}, "AAAAA"},
	{"RESERVE(6)", []byte{0x16}, "CCCCC"},
	{"RELEASE(6)", []byte{0x17}, "CCCCC"},
	{"RESERVE(10)", []byte{0x56}, "CCCCC"},
	{"RELEASE(10)", []byte{0x57}, "CCCCC"},
}

func column(ty Type, registered bool) int {
	switch {
	case ty == WriteExclusive:
		return 0
	case ty == ExclusiveAccess:
		return 1
	case registered:
		return 4
	case ty == WriteExclusiveRegistrantsOnly || ty == WriteExclusiveAllRegistrants:
		return 2
	}
	return 3
}

const (
	holder = iota
	registrant
	stranger
)

// reserved is a unit that holder has reserved and where registrant is registered.
func reserved(t *testing.T, ty Type) *rig {
	r := newRig(t)
	r.must(r.out(holder, Register, 0, 0, 0x10))
	r.must(r.out(registrant, Register, 0, 0, 0x11))
	if ty != NoReservation {
		r.must(r.out(holder, Reserve, ty, 0x10, 0))
	}
	return r
}

func TestEveryCellOfTheConflictTable(t *testing.T) {
	sector := make([]byte, 512)
	for _, c := range conflictTable {
		for _, ty := range append([]Type{NoReservation}, types...) {
			r := reserved(t, ty)
			for _, i := range []int{holder, registrant, stranger} {
				want := byte('A')
				switch {
				case c.row == "CCCCC": // SPC-2 commands conflict with any registration
					want = 'C'
				case ty != NoReservation && i != holder:
					want = c.row[column(ty, i == registrant)]
				}
				res := r.run(i, c.cdb, sector)
				if got := res.Status == ReservationConflict; got != (want == 'C') {
					t.Errorf("%s under %v by initiator %d: %v, table says %c", c.name, ty, i, res.Status, want)
				} else if !got && res.Status != Good && c.cdb[0]&^7 != 0x80 {
					t.Errorf("%s under %v by initiator %d: %v %v", c.name, ty, i, res.Status, res.Sense)
				}
			}
		}
	}
}

// A command that exists and has no row would escape the table.
func TestConflictTableIsComplete(t *testing.T) {
	rows := map[string]bool{}
	for _, c := range conflictTable {
		var cdb CDB
		copy(cdb[:], c.cdb)
		rows[cdb.Name()] = true
	}
	for _, o := range operations {
		if !rows[o.name] {
			t.Errorf("%s has no row", o.name)
		}
	}
}

// PERSISTENT RESERVE OUT while a reservation exists (SPC-4 table 66): with right
// key, by an unregistered initiator, a registered one that is no holder, and the
// holder. G is GOOD, C conflict, E CHECK CONDITION. The second row is for All
// Registrants types, where everybody registered is a holder.
var outTable = []struct {
	action       Action
	single, many string
}{
	{Register, "GGG", "GGG"},
	{RegisterAndIgnore, "GGG", "GGG"},
	{Reserve, "CCG", "CGG"},
	{Release, "CGG", "CGG"},
	{Clear, "CGG", "CGG"},
	{Preempt, "CGG", "CGG"},
	{PreemptAndAbort, "CGG", "CGG"},
	{RegisterAndMove, "CCG", "CCC"},
}

func TestEveryCellOfPersistentReserveOut(t *testing.T) {
	for _, row := range outTable {
		for _, ty := range types {
			cells := row.single
			if ty.allRegistrants() {
				cells = row.many
			}
			for column, i := range []int{stranger, registrant, holder} {
				r := reserved(t, ty)
				key := []uint64{0x10, 0x11, 0x12}[i]
				actionKey := uint64(0x77)
				switch row.action {
				case Register:
					if i == stranger {
						key = 0
					}
				case Preempt, PreemptAndAbort:
					actionKey = 0x10
				}
				res := r.out(i, row.action, ty, key, actionKey)
				want := map[byte]Status{'G': Good, 'C': ReservationConflict}[cells[column]]
				if res.Status != want {
					t.Errorf("action %d under %v by initiator %d: %v %v, want %v", row.action, ty, i, res.Status, res.Sense, want)
				}
				if row.action == Register || row.action == RegisterAndIgnore || i == stranger {
					continue
				}
				r = reserved(t, ty)
				before := r.Record()
				if res := r.out(i, row.action, ty, key+0x100, actionKey); res.Status != ReservationConflict {
					t.Errorf("action %d under %v with a wrong key: %v", row.action, ty, res.Status)
				}
				if after := r.Record(); fmt.Sprint(after) != fmt.Sprint(before) {
					t.Errorf("action %d with a wrong key changed %v to %v", row.action, before, after)
				}
			}
		}
	}
}
