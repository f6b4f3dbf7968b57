package seglog

import (
	"bytes"
	"testing"
)

func FuzzGroup(f *testing.F) {
	area := make([]byte, BlockSize)
	h := header{seq: 3, first: 9, synced: 8, blocks: 2, hdr: 1, count: 1, stream: streamMoved}
	h.used = movedRecord(area, []byte("body"), BlockSize, 1, 2, false)
	h.put(area, &testVolume)
	f.Add(area)
	f.Fuzz(func(t *testing.T, b []byte) {
		var h header
		if !h.peek(b, &testVolume) || int(h.hdr)*BlockSize > len(b) {
			return
		}
		h.records(b[:int(h.hdr)*BlockSize], 0, func(r *Record) error { //nolint:errcheck // must not panic
			if int(r.Payload)+int(r.PayloadLen) > int(h.blocks)*BlockSize {
				t.Fatal("payload outside the group")
			}
			return nil
		})
	})
}

func TestHeaderRoundTrip(t *testing.T) {
	area := make([]byte, 2*BlockSize)
	h := header{seq: 3, first: 9, synced: 8, blocks: 5, hdr: 2, count: 7, stream: 1, used: 5000}
	h.put(area, &testVolume)
	var got header
	if !got.peek(area, &testVolume) || !sealed(area) || got != h {
		t.Errorf("%+v came back as %+v", h, got)
	}
	for _, at := range []int{0, 5, 9, 30, 61, 4000, 8000} {
		b := bytes.Clone(area)
		b[at] ^= 1
		var x header
		if x.peek(b, &testVolume) && sealed(b) {
			t.Errorf("a flipped bit at %d goes unnoticed", at)
		}
	}
}
