package object

import (
	"testing"

	"gabion/protocol/ntstatus"
)

// lockNow is a lock that may not wait.
func (w *world) lockNow(o *Open, off, n uint64, exclusive bool) ntstatus.Status {
	w.t.Helper()
	var got ntstatus.Status
	if p := o.Lock(LockRange{off, n, exclusive}, false, func(st ntstatus.Status) { got = st }); p != nil {
		w.t.Fatal("waits")
	}
	return got
}

func TestLockConflicts(t *testing.T) {
	const top = ^uint64(0)
	for _, tt := range []struct {
		off1, len1 uint64
		ex1        bool
		off2, len2 uint64
		ex2        bool
		other, own bool // may another open, may the same, have the second
	}{
		{0, 10, true, 10, 10, true, true, true},
		{0, 10, true, 9, 10, true, false, false},
		{0, 10, true, 9, 10, false, false, true},
		{0, 10, false, 5, 10, false, true, true},
		{0, 10, false, 5, 10, true, false, false},
		// Zero length: between two bytes.
		{0, 0, true, 0, 0, true, true, true},
		{0, 0, true, 0, 10, true, true, true},
		{0, 10, true, 0, 0, true, true, true},
		{5, 0, true, 5, 10, true, true, true},
		{5, 0, true, 0, 5, true, true, true},
		{5, 0, true, 0, 10, true, false, false},
		{0, 10, true, 5, 0, false, false, true},
		{5, 0, true, 5, 0, true, true, true},
		// The end of the range.
		{top, 1, true, top, 1, true, false, false},
		{top - 1, 2, true, 0, 10, true, true, true},
		{top, 0, true, top, 0, true, true, true},
		{0, top, true, top - 1, 1, true, false, false},
		{0, top, true, top, 1, true, true, true},
	} {
		w := newWorld(t)
		one, two := w.create("f"), w.create("f", client("c2"))
		w.want("first", w.lockNow(one, tt.off1, tt.len1, tt.ex1), ntstatus.Success)
		for _, who := range []struct {
			o  *Open
			ok bool
		}{{two, tt.other}, {one, tt.own}} {
			want := ntstatus.Success
			if !who.ok {
				want = ntstatus.LockNotGranted
			}
			if st := w.lockNow(who.o, tt.off2, tt.len2, tt.ex2); st != want {
				t.Errorf("%+v: %v, want %v", tt, st, want)
			} else if who.ok {
				w.want("unlock", who.o.Unlock(tt.off2, tt.len2), ntstatus.Success)
			}
		}
		w.close(one, two)
		w.idle()
	}
}

func TestLockRanges(t *testing.T) {
	w := newWorld(t)
	o := w.create("f")
	w.want("wraps", w.lockNow(o, ^uint64(0), 2, true), ntstatus.InvalidLockRange)
	w.want("unlock that wraps", o.Unlock(^uint64(0), 2), ntstatus.InvalidLockRange)
	w.want("lock", w.lockNow(o, 0, 10, true), ntstatus.Success)
	w.want("unlock a part", o.Unlock(0, 5), ntstatus.RangeNotLocked)
	w.want("unlock", o.Unlock(0, 10), ntstatus.Success)
	w.want("unlock again", o.Unlock(0, 10), ntstatus.RangeNotLocked)
	d := w.create("d", folder)
	w.want("directory", w.lockNow(d, 0, 1, true), ntstatus.InvalidParameter)
	stat := w.create("f", access(fileReadAttributes))
	w.want("no data access", w.lockNow(stat, 0, 1, false), ntstatus.AccessDenied)
	w.close(o, d, stat)
	w.idle()
}

func TestLockAgainstIO(t *testing.T) {
	w := newWorld(t)
	one, two := w.create("f"), w.create("f", client("c2"))
	w.write(one, "0123456789", 0)
	w.want("exclusive", w.lockNow(one, 0, 5, true), ntstatus.Success)
	w.want("shared", w.lockNow(one, 5, 5, false), ntstatus.Success)
	b := make([]byte, 5)
	for _, tt := range []struct {
		o           *Open
		off         int64
		read, write ntstatus.Status
	}{
		{one, 0, ntstatus.Success, ntstatus.Success},
		{one, 5, ntstatus.Success, ntstatus.FileLockConflict},
		{two, 0, ntstatus.FileLockConflict, ntstatus.FileLockConflict},
		{two, 5, ntstatus.Success, ntstatus.FileLockConflict},
		{two, 10, ntstatus.EndOfFile, ntstatus.Success},
	} {
		if _, st := tt.o.Read(b, tt.off); st != tt.read {
			t.Errorf("read at %d: %v, want %v", tt.off, st, tt.read)
		}
		if _, st := tt.o.Write(b, tt.off, false); st != tt.write {
			t.Errorf("write at %d: %v, want %v", tt.off, st, tt.write)
		}
	}
	if _, st := two.Write(nil, 0, false); st != ntstatus.Success {
		t.Errorf("write of nothing: %v", st)
	}
	w.close(one)
	w.write(two, "x", 0)
	w.close(two)
	w.idle()
}

func TestLockWaits(t *testing.T) {
	w := newWorld(t)
	one, two, three := w.create("f"), w.create("f"), w.create("f")
	w.want("lock", w.lockNow(one, 0, 10, true), ntstatus.Success)
	var order []string
	pend := func(o *Open, name string, exclusive bool) *Pending {
		p := o.Lock(LockRange{0, 10, exclusive}, true, func(st ntstatus.Status) { order = append(order, name+" "+st.String()) })
		if p == nil {
			t.Fatal(name, "did not wait")
		}
		return p
	}
	expect := func(want ...string) {
		t.Helper()
		if len(order) != len(want) {
			t.Fatalf("%q, want %q", order, want)
		}
		for i := range want {
			if order[i] != want[i] {
				t.Errorf("%q, want %q", order, want)
			}
		}
		order = nil
	}
	pend(two, "shared2", false)
	pend(three, "shared3", false)
	x := pend(two, "exclusive2", true)
	expect()
	w.want("unlock", one.Unlock(0, 10), ntstatus.Success)
	expect("shared2 STATUS_SUCCESS", "shared3 STATUS_SUCCESS")
	x.Cancel()
	x.Cancel()
	expect("exclusive2 STATUS_CANCELLED")
	pend(one, "one", true)
	w.close(one)
	expect("one STATUS_RANGE_NOT_LOCKED")
	pend(three, "last", true)
	w.want("unlock", three.Unlock(0, 10), ntstatus.Success)
	w.close(two)
	expect("last STATUS_SUCCESS")
	w.close(three)
	w.idle()
}

func TestUnlockOrder(t *testing.T) {
	w := newWorld(t)
	o := w.create("f")
	w.want("exclusive", w.lockNow(o, 0, 10, true), ntstatus.Success)
	w.want("shared on top", w.lockNow(o, 0, 10, false), ntstatus.Success)
	w.want("unlock", o.Unlock(0, 10), ntstatus.Success)
	if l := o.Locks(); len(l) != 1 || l[0].Exclusive {
		t.Errorf("left %+v", l)
	}
	w.close(o)
	w.idle()
}

func TestLockBreaksReaders(t *testing.T) {
	w := newWorld(t)
	one := w.create("f", leased("k1", "RH"))
	two := w.create("f", leased("k2", "RH"), client("c2"))
	w.write(one, "x", 0)
	w.expect("k2: RH → - epoch 2 ack")
	w.fs.AcknowledgeLease(key("c2"), key("k2"), 0)
	w.want("lock", w.lockNow(two, 0, 1, true), ntstatus.Success)
	w.expect("k1: RH → - epoch 2 ack")
	// A lock inside the allocation forbids shared caching, one beyond does not.
	three := w.create("f", leased("k3", "RH"))
	if li, _ := three.Lease(); li.State != 0 {
		t.Errorf("granted %v beside a lock", li.State)
	}
	w.want("unlock", two.Unlock(0, 1), ntstatus.Success)
	w.want("lock far away", w.lockNow(two, 1<<40, 1, true), ntstatus.Success)
	four := w.create("f", leased("k4", "RH"))
	if li, _ := four.Lease(); li.State != cacheRH {
		t.Errorf("granted %v beside a lock beyond the end", li.State)
	}
	w.close(one, two, three, four)
	w.idle()
}

func TestLockSequences(t *testing.T) {
	w := newWorld(t)
	o := w.create("f")
	word := func(index, number uint32) uint32 { return index<<4 | number }
	begin := func(index, number uint32, want LockTurn) {
		t.Helper()
		if got := o.LockBegin(word(index, number)); got != want {
			t.Errorf("%d of %d: %v, want %v", number, index, got, want)
		}
	}
	for _, index := range []uint32{0, 65, 1 << 20} {
		o.LockEnd(word(index, 1), true)
		begin(index, 1, LockProceed) // not verified
	}
	for _, index := range []uint32{1, 64} {
		begin(index, 3, LockProceed)
		begin(index, 3, LockRunning)
		o.LockEnd(word(index, 3), true)
		begin(index, 3, LockReplayed)
		begin(index, 2, LockProceed) // comes late
		o.LockWithdraw(word(index, 2))
		begin(index, 3, LockReplayed)
		begin(index, 4, LockProceed)
		o.LockEnd(word(index, 4), false)
		begin(index, 3, LockProceed) // one that failed leaves the entry void
	}
	w.close(o)
}
