package archive

import (
	"bytes"
	"errors"
	"testing"
)

func TestFrame(t *testing.T) {
	f := AppendFrame(nil, TypeData, 7, append(make([]byte, 8), "hello"...))
	PutData(f[HeaderSize:], 4096)
	Seal(f, TypeData, 7)
	h, err := DecodeHeader(f)
	if err != nil || h.Type != TypeData || h.Seq != 7 || h.Length != 13 {
		t.Fatalf("%+v %v", h, err)
	}
	if err := h.Verify(f[HeaderSize:]); err != nil {
		t.Error(err)
	}
	off, data, err := Data(f[HeaderSize:])
	if err != nil || off != 4096 || string(data) != "hello" {
		t.Errorf("%d %q %v", off, data, err)
	}
	// Every flipped bit is noticed.
	for i := range f {
		for bit := range 8 {
			g := bytes.Clone(f)
			g[i] ^= 1 << bit
			h, err := DecodeHeader(g)
			if err == nil && int(h.Length) <= len(g)-HeaderSize {
				err = h.Verify(g[HeaderSize : HeaderSize+h.Length])
			} else if err == nil {
				err = ErrLength
			}
			if err == nil {
				t.Errorf("byte %d bit %d", i, bit)
			}
		}
	}
}

func TestMark(t *testing.T) {
	m := Mark{3, 1, 1 << 40}
	if got, err := ParseMark(m.String()); err != nil || got != m {
		t.Errorf("%v %v", got, err)
	}
	for _, text := range []string{"", "1", "1:2", "1:2:x", "-1:0:0", "1:2:3:4", "01:2:3"} {
		if _, err := ParseMark(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func FuzzFrame(f *testing.F) {
	b, _ := AppendJSON(nil, TypeEntry, 1, &Entry{Path: "a/b", Action: Whole, Stream: Stream{Size: 5}})
	f.Add(b)
	f.Add(AppendFrame(nil, TypeZero, 2, AppendZero(nil, 4096, 8192)))
	f.Add(AppendFrame(nil, TypeData, 3, make([]byte, 20)))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := DecodeHeader(b)
		if err != nil {
			return
		}
		if h.Length > MaxPayload {
			t.Fatal("too long")
		}
		payload := b[HeaderSize:]
		if uint32(len(payload)) < h.Length {
			return
		}
		payload = payload[:h.Length]
		if err := h.Verify(payload); err != nil {
			if !errors.Is(err, ErrChecksum) {
				t.Fatal(err)
			}
			return
		}
		again := AppendFrame(nil, h.Type, h.Seq, payload)
		if !bytes.Equal(again[:6], b[:6]) || !bytes.Equal(again[8:20], b[8:20]) {
			t.Fatalf("%x\n%x", again, b)
		}
		_, _, _ = Data(payload)
		if off, n, err := Zero(payload); err == nil && !bytes.Equal(AppendZero(nil, off, n), payload) {
			t.Fatal("zero")
		}
		var e Entry
		_ = Decode(payload, &e)
	})
}
