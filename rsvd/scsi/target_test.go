package scsi

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

func TestInquiryPages(t *testing.T) {
	r := newRig(t)
	std := r.run(0, []byte{0x12, 0, 0, 0, 255}, nil).Data
	if len(std) != 96 || std[4] != 91 || string(std[8:16]) != "GABION  " {
		t.Errorf("standard inquiry % x", std)
	}
	if d := r.run(0, []byte{0x12, 0, 0, 0, 5}, nil).Data; len(d) != 5 {
		t.Errorf("%d bytes in spite of the allocation length", len(d))
	}
	pages := r.run(0, []byte{0x12, 1, 0, 0, 255}, nil).Data[4:]
	for _, p := range pages {
		d := r.run(0, []byte{0x12, 1, p, 1, 0}, nil)
		if d.Status != Good || d.Data[1] != p || int(be.Uint16(d.Data[2:])) != len(d.Data)-4 {
			t.Errorf("page %#x: %v % x", p, d.Status, d.Data)
		}
	}
	if !bytes.Equal(pages, []byte{0x00, 0x80, 0x83, 0x8F, 0xB0, 0xB1, 0xB2}) {
		t.Errorf("pages % x", pages)
	}
	if res := r.run(0, []byte{0x12, 1, 0xC0, 0, 255}, nil); res.Sense != InvalidFieldInCDB {
		t.Errorf("unknown page: %v", res.Sense)
	}
	if res := r.run(0, []byte{0x12, 0, 0x80, 0, 255}, nil); res.Sense != InvalidFieldInCDB {
		t.Errorf("page without EVPD: %v", res.Sense)
	}
}

// Cluster validation wants a SCSI name string, an NAA or an EUI-64 with
// association 0 on page 83h.
func TestDesignatorsNameTheUnit(t *testing.T) {
	d := newRig(t).run(0, []byte{0x12, 1, 0x83, 1, 0}, nil).Data[4:]
	var kinds []byte
	for len(d) > 0 {
		if d[1]&0x30 != 0 {
			t.Errorf("association %d", d[1]>>4&3)
		}
		kinds = append(kinds, d[1]&0xF)
		if d[1]&0xF == 3 && d[4]>>4 != 3 {
			t.Errorf("NAA % x", d[4:12])
		}
		d = d[4+d[3]:]
	}
	if !slices.Equal(kinds, []byte{8, 3, 1}) {
		t.Errorf("designators %v", kinds)
	}
}

func TestCapacityAndMode(t *testing.T) {
	r := newRig(t)
	d := r.run(0, []byte{0x25}, nil).Data
	if be.Uint32(d) != 2047 || be.Uint32(d[4:]) != 512 {
		t.Errorf("READ CAPACITY(10) % x", d)
	}
	d = r.run(0, []byte{0x9E, 0x10, 13: 32}, nil).Data
	if len(d) != 32 || be.Uint64(d) != 2047 || d[13] != 3 || d[14] != 0xC0 {
		t.Errorf("READ CAPACITY(16) % x", d)
	}
	d = r.run(0, []byte{0x1A, 8, 0x08, 0, 255}, nil).Data
	if len(d) != 24 || int(d[0]) != len(d)-1 || d[4] != 8 || d[6]&4 == 0 {
		t.Errorf("caching page % x", d)
	}
	d[4+2] ^= 4
	if res := r.run(0, []byte{0x15, 0x10, 0, 0, 24}, d); res.Sense != InvalidFieldInParameters {
		t.Errorf("MODE SELECT that changes: %v %v", res.Status, res.Sense)
	}
	d[4+2] ^= 4
	r.must(r.run(0, []byte{0x15, 0x10, 0, 0, 24}, d))
	if res := r.run(0, []byte{0x1A, 0, 0xC8, 0, 255}, nil); res.Sense != SavingNotSupported {
		t.Errorf("saved values: %v", res.Sense)
	}
	if d = r.run(0, []byte{0x5A, 0x10, 0x3F, 0, 0, 0, 0, 1, 0}, nil).Data; int(be.Uint16(d)) != len(d)-2 || be.Uint16(d[6:]) != 16 {
		t.Errorf("MODE SENSE(10) % x", d)
	}
	if res := r.run(0, []byte{0x89}, nil); res.Sense != InvalidOperationCode {
		t.Errorf("COMPARE AND WRITE: %v", res.Sense)
	}
	if d = r.run(0, []byte{0xA0, 9: 255}, nil).Data; len(d) != 16 || be.Uint32(d) != 8 {
		t.Errorf("REPORT LUNS % x", d)
	}
}

func TestBlocks(t *testing.T) {
	r := newRig(t)
	one, two := bytes.Repeat([]byte{1}, 512), bytes.Repeat([]byte{2}, 512)
	r.must(r.run(0, []byte{0x2A, 0, 0, 0, 0, 4, 0, 0, 2}, append(bytes.Clone(one), two...)))
	if d := r.run(0, []byte{0x88, 9: 5, 13: 1}, nil).Data; !bytes.Equal(d, two) {
		t.Errorf("READ(16) % x", d[:8])
	}
	if res := r.run(0, []byte{0x2F, 2, 0, 0, 0, 4, 0, 0, 1}, two); res.Sense != MiscompareDuringVerify {
		t.Errorf("VERIFY: %v", res.Sense)
	}
	r.must(r.run(0, []byte{0x2F, 2, 0, 0, 0, 4, 0, 0, 1}, one))
	d := r.run(0, []byte{0x9E, 0x12, 12: 1}, nil).Data
	if len(d) != 8+3*16 || d[8+12] != 1 || be.Uint64(d[24:]) != 4 || be.Uint32(d[32:]) != 2 || d[36] != 0 {
		t.Errorf("GET LBA STATUS % x", d)
	}
	r.must(r.run(0, []byte{0x93, 0, 9: 8, 13: 2}, two))
	if d := r.run(0, []byte{0x28, 5: 9, 8: 1}, nil).Data; !bytes.Equal(d, two) {
		t.Errorf("after WRITE SAME % x", d[:8])
	}
	list := make([]byte, 24)
	be.PutUint16(list, 22)
	be.PutUint16(list[2:], 16)
	be.PutUint64(list[8:], 4)
	be.PutUint32(list[16:], 5)
	r.must(r.run(0, []byte{0x42, 8: 24}, list))
	if d := r.run(0, []byte{0x28, 5: 4, 8: 6}, nil).Data; !allZero(d[:5*512]) || !bytes.Equal(d[5*512:], two) {
		t.Error("UNMAP hit other blocks than told")
	}
	for _, cdb := range [][]byte{{0x28, 2: 0xFF, 8: 1}, {0x28, 5: 0xFF, 4: 7, 8: 2}, {0x2A, 4: 8, 8: 1}, {0x88, 2: 0xFF, 13: 1}, {0x42, 8: 24}} {
		if cdb[0] == 0x42 {
			be.PutUint64(list[8:], 1<<63)
		}
		if res := r.run(0, cdb, list); res.Sense != BlockAddressOutOfRange {
			t.Errorf("% x: %v %v", cdb, res.Status, res.Sense)
		}
	}
	if res := r.run(0, []byte{0x2A, 8: 2}, one); res.Sense != ParameterListLengthError {
		t.Errorf("short data-out: %v", res.Sense)
	}
	r.disk.fail = errors.New("broken")
	if res := r.run(0, []byte{0x28, 8: 1}, nil); res.Sense != UnrecoveredReadError {
		t.Errorf("failed read: %v", res.Sense)
	}
	if res := r.run(0, []byte{0x2A, 8: 1}, one); res.Sense != WriteError {
		t.Errorf("failed write: %v", res.Sense)
	}
}

func TestUnitAttentions(t *testing.T) {
	r := reserved(t, WriteExclusiveRegistrantsOnly)
	r.must(r.out(registrant, Preempt, ExclusiveAccess, 0x11, 0x10))
	r.must(r.run(holder, []byte{0x12, 4: 96}, nil))
	// A conflict takes precedence and leaves the condition pending.
	if res := r.run(holder, []byte{0x28, 8: 1}, nil); res.Status != ReservationConflict {
		t.Errorf("READ by the preempted: %v", res.Status)
	}
	if res := r.run(holder, []byte{0x00}, nil); res.Sense != RegistrationsPreempted {
		t.Errorf("first command: %v", res.Sense)
	}
	r.must(r.run(holder, []byte{0x00}, nil))
	r.Raise(CapacityChanged, who(holder), who(registrant))
	if d := r.run(holder, []byte{0x03, 4: 18}, nil).Data; len(d) != 18 || d[2] != 6 || d[12] != 0x2A || d[13] != 9 {
		t.Errorf("REQUEST SENSE % x", d)
	}
	if d := r.run(holder, []byte{0x03, 4: 18}, nil).Data; d[2] != 0 {
		t.Errorf("second REQUEST SENSE % x", d)
	}
}

// A preempting initiator hears GOOD only when the victim's write has ended.
func TestPreemptWaitsForWritesInFlight(t *testing.T) {
	for _, a := range []Action{Preempt, PreemptAndAbort, Clear} {
		r := reserved(t, WriteExclusiveRegistrantsOnly)
		var k Ticket
		if _, ok := r.Begin(&k, who(holder), AccessWrite); !ok {
			t.Fatal("holder may not write")
		}
		var read Ticket
		if _, ok := r.Begin(&read, who(holder), AccessRead); !ok {
			t.Fatal("holder may not read")
		}
		cdb, list := out(a, WriteExclusive, 0x11, 0x10)
		c := &Command{Initiator: who(registrant), DataOut: list}
		copy(c.CDB[:], cdb)
		ended := 0
		r.Execute(c, func(res Result) {
			ended++
			r.must(res)
		})
		if want := map[Action]int{Clear: 1}[a]; ended != want {
			t.Fatalf("action %d answered %d times before the write ended", a, ended)
		}
		if _, ok := r.Begin(new(Ticket), who(holder), AccessWrite); ok && a != Clear {
			t.Error("the victim began another write")
		}
		r.End(&k)
		if a == PreemptAndAbort && ended != 0 {
			t.Error("answered before the victim's read ended")
		}
		r.End(&read)
		if ended != 1 {
			t.Errorf("action %d answered %d times", a, ended)
		}
	}
}

func TestReserveInShowsTheState(t *testing.T) {
	r := reserved(t, WriteExclusiveAllRegistrants)
	d := r.run(stranger, []byte{0x5E, 0, 8: 255}, nil).Data
	if be.Uint32(d) != 2 || be.Uint32(d[4:]) != 16 || be.Uint64(d[8:]) != 0x10 || be.Uint64(d[16:]) != 0x11 {
		t.Errorf("READ KEYS % x", d)
	}
	d = r.run(stranger, []byte{0x5E, 0, 8: 12}, nil).Data
	if len(d) != 12 || be.Uint32(d[4:]) != 16 {
		t.Errorf("cut READ KEYS % x", d)
	}
	d = r.run(stranger, []byte{0x5E, 1, 8: 255}, nil).Data
	if len(d) != 24 || be.Uint64(d[8:]) != 0 || d[21] != 7 {
		t.Errorf("READ RESERVATION % x", d)
	}
	d = r.run(stranger, []byte{0x5E, 2, 8: 255}, nil).Data
	if !bytes.Equal(d, []byte{0, 8, 5, 0x90, 0xEA, 1, 0, 0}) {
		t.Errorf("REPORT CAPABILITIES % x", d)
	}
	d = r.run(stranger, []byte{0x5E, 3, 7: 4, 8: 0}, nil).Data[8:]
	for i := range 2 {
		n := int(be.Uint32(d[20:]))
		if be.Uint64(d) != uint64(0x10+i) || d[12] != 1 || d[13] != 7 || parseTransportID(d[24:24+n]) != who(i) {
			t.Errorf("READ FULL STATUS of %d: % x", i, d[:24+n])
		}
		d = d[24+n:]
	}
	if len(d) != 0 {
		t.Errorf("% x behind the last descriptor", d)
	}
}

func TestRegisterAndMove(t *testing.T) {
	r := newRig(t)
	r.must(r.out(0, Register, 0, 0, 0x10))
	r.must(r.out(0, Reserve, WriteExclusive, 0x10, 0))
	r.must(r.out(0, RegisterAndMove, 0, 0x10, 0x99))
	s := r.Record().State
	if key, _ := s.Key(who(1)); key != 0x99 || !s.Holds(who(1)) || s.Holds(who(0)) || s.Type != WriteExclusive {
		t.Errorf("after the move: %+v", s)
	}
}

func TestMalformedReserveOut(t *testing.T) {
	r := reserved(t, WriteExclusive)
	cdb, list := out(Register, 0, 0x10, 0x20)
	list[20] = 8 // SPEC_I_PT
	if res := r.run(holder, cdb, list); res.Sense != InvalidFieldInParameters {
		t.Errorf("SPEC_I_PT: %v", res.Sense)
	}
	cdb[8] = 23
	if res := r.run(holder, cdb, list); res.Sense != ParameterListLengthError {
		t.Errorf("23 bytes: %v", res.Sense)
	}
	cdb[1], cdb[8] = 8, 24
	if res := r.run(holder, cdb, list); res.Sense != InvalidFieldInCDB {
		t.Errorf("REPLACE LOST RESERVATION: %v", res.Sense)
	}
	if res := r.out(holder, Release, ExclusiveAccess, 0x10, 0); res.Sense != InvalidRelease {
		t.Errorf("RELEASE of another type: %v", res.Sense)
	}
}

// What cannot be logged did not happen.
func TestUnsavedChangeHasNoEffect(t *testing.T) {
	r := reserved(t, NoReservation)
	r.fail = errors.New("log is broken")
	if res := r.out(holder, Reserve, WriteExclusive, 0x10, 0); res.Status != CheckCondition {
		t.Errorf("RESERVE: %v", res.Status)
	}
	if s := r.Record().State; s.Type != NoReservation {
		t.Errorf("%v is held", s.Type)
	}
}

func TestResetTellsEverybody(t *testing.T) {
	r := reserved(t, ExclusiveAccess)
	if _, err := r.Reset(); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{holder, registrant} {
		if res := r.run(i, []byte{0x00}, nil); res.Sense != ReservationsPreempted {
			t.Errorf("initiator %d: %v", i, res.Sense)
		}
	}
	r.must(r.run(stranger, []byte{0x2A, 8: 1}, make([]byte, 512)))
}

func TestRegistrationTableIsBounded(t *testing.T) {
	r := newRig(t)
	for i := range MaxRegistrations {
		c := &Command{Initiator: Initiator{byte(i), byte(i >> 8), 1}}
		cdb, list := out(Register, 0, 0, 1)
		copy(c.CDB[:], cdb)
		c.DataOut = list
		r.Execute(c, r.must)
	}
	if res := r.out(300, Register, 0, 0, 1); res.Sense != TooManyRegistrations {
		t.Errorf("one too many: %v %v", res.Status, res.Sense)
	}
}

func FuzzRecord(f *testing.F) {
	s := Record{State: State{Generation: 3, APTPL: true, Type: WriteExclusive, Holder: who(0), Registrations: []Registration{{who(0), 1}}},
		Attentions: []Attention{{who(1), CapacityChanged}}}
	f.Add(s.AppendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, again Record
		if r.Decode(b) != nil {
			return
		}
		if err := again.Decode(r.AppendTo(nil)); err != nil || !again.State.Equal(&r.State) || !slices.Equal(again.Attentions, r.Attentions) {
			t.Fatalf("%+v became %+v: %v", r, again, err)
		}
	})
}

func FuzzExecute(f *testing.F) {
	for _, c := range conflictTable {
		f.Add(c.cdb, make([]byte, 512))
	}
	cdb, list := out(Register, 0, 0, 1)
	f.Add(cdb, list)
	f.Fuzz(func(t *testing.T, cdb, data []byte) {
		r := newRig(t)
		c := &Command{Initiator: who(0), DataOut: data, MaxIn: 1 << 16}
		copy(c.CDB[:], cdb)
		n := 0
		r.Execute(c, func(res Result) {
			n++
			if len(res.Data) > c.MaxIn {
				t.Errorf("%d bytes of data-in", len(res.Data))
			}
		})
		if n != 1 {
			t.Errorf("completed %d times", n)
		}
	})
}
