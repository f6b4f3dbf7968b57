package relay

import (
	"bytes"
	"strings"
	"testing"
)

func FuzzRequest(f *testing.F) {
	f.Add((&Request{Offset: 512, Length: 1 << 20}).Append(nil))
	f.Add([]byte("GBR1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Request
		if r.Decode(b) != nil {
			return
		}
		if !bytes.Equal(r.Append(nil), b) {
			t.Errorf("%v is not what was read", &r)
		}
		if r.Offset+r.Length < r.Offset || int64(r.Offset+r.Length) < 0 {
			t.Errorf("%v overflows", &r)
		}
	})
}

func FuzzRecord(f *testing.F) {
	for _, r := range []Record{{Data, MaxData}, {Hole, 7}, {End, 0}, {Failed, FailedToken}} {
		var b [RecordSize]byte
		r.Put(b[:])
		f.Add(b[:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Record
		if r.Decode(b) != nil {
			return
		}
		again := make([]byte, RecordSize)
		if r.Put(again); !bytes.Equal(again, b) {
			t.Errorf("%v is not what was read", r)
		}
	})
}

func TestStrings(t *testing.T) {
	r := Request{Offset: 1, Length: 2}
	copy(r.Token[:], "secret")
	if s := r.String(); strings.Contains(s, "secret") || s != "Request [1,+2)" {
		t.Error(s)
	}
	if s := (Record{Hole, 3}).String(); s != "Hole 3" {
		t.Error(s)
	}
	if s := Kind(9).String(); s != "Kind(9)" {
		t.Error(s)
	}
}
