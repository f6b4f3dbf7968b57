package server

import "testing"

func TestWindow(t *testing.T) {
	w := newWindow()
	if w.consume(1, 1) || !w.consume(0, 1) || w.consume(0, 1) {
		t.Fatal("a fresh window holds exactly the id 0")
	}
	w.grant(300)
	if w.consume(1, 301) {
		t.Fatal("a range beyond the window was accepted")
	}
	if !w.consume(2, 150) || w.consume(100, 1) || w.consume(1, 2) {
		t.Fatal("ids used out of order must be refused a second time")
	}
	if w.low != 1 || w.free != 150 {
		t.Fatalf("low %d free %d, want 1 and 150", w.low, w.free)
	}
	if !w.consume(1, 1) || w.low != 152 || w.free != 149 {
		t.Fatalf("low %d free %d, want 152 and 149", w.low, w.free)
	}
	if got := w.room(149); got != 0 {
		t.Fatalf("room for %d more in a full window", got)
	}
}

func TestWindowSkippedID(t *testing.T) {
	w := newWindow()
	w.consume(0, 1)
	w.grant(8192)
	for id := uint64(2); id <= 8192; id++ {
		if !w.consume(id, 1) {
			t.Fatalf("id %d refused", id)
		}
		if w.room(8192) != 0 {
			t.Fatal("the window grew past the id that was skipped")
		}
	}
	if !w.consume(1, 1) || w.room(8192) != 8192 || w.free != 0 {
		t.Fatalf("after the skipped id: room %d, free %d", w.room(8192), w.free)
	}
}

func TestWindowLongRun(t *testing.T) {
	w := newWindow()
	id := uint64(0)
	for range 100000 {
		n := int(id%7) + 1
		if r := w.room(512); r > 0 {
			w.grant(r)
		}
		if !w.consume(id, n) {
			t.Fatalf("id %d+%d refused", id, n)
		}
		id += uint64(n)
	}
	for i, word := range w.used {
		if word != 0 {
			t.Fatalf("used[%d] = %#x in an empty window", i, word)
		}
	}
}

func TestBudget(t *testing.T) {
	b := newBudget(100 * creditSize)
	b.conns.Store(3)
	if b.share() != maxWindow || b.take(80) != 80 || b.share() != 25 {
		t.Fatalf("share %d after 80 of 100", b.share())
	}
	if b.take(50) != 20 || b.take(1) != 0 {
		t.Fatal("more was taken than there is")
	}
	b.force(1)
	b.give(101)
	if b.taken.Load() != 0 {
		t.Fatal("what was taken and given does not balance")
	}
}
