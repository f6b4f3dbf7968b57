package server

import (
	"math"
	"testing"
)

func TestSequenceLog(t *testing.T) {
	var l sequenceLog
	told := uint64(0)
	note := func(sequence uint16, breaks uint64) {
		told = breaks
		l.note(sequence, func() uint64 { return told })
	}
	passed := func(sequence uint16, want uint64) {
		t.Helper()
		if got := l.passed(sequence); got != want {
			t.Errorf("passed %d at break %d, want %d", sequence, got, want)
		}
	}
	passed(7, math.MaxUint64)
	note(0xFFFF, 1)
	passed(0xFFFF, math.MaxUint64)
	passed(0xFFFE, math.MaxUint64) // nobody knows since when
	note(0xFFFF, 2)
	note(0, 3)
	note(0xFFFF, 4)
	passed(0xFFFF, 3)
	note(2, 5)
	passed(1, 5)
	passed(0, 5)
	passed(0xFFFF, 3)
	passed(2, math.MaxUint64)
	for i := range uint16(100) {
		note(3+i, 10+uint64(i))
	}
	passed(101, 109)
	if n := len(l.raised); n > sequencesKept {
		t.Errorf("%d kept", n)
	}
}
