package srvsvc

import (
	"strings"
	"testing"

	"gabion/protocol/dcerpc"
)

func TestNames(t *testing.T) {
	for _, c := range []struct {
		name        string
		kind, flags uint32
		want        uint32
	}{
		{"share", NameShare, 0, Success},
		{"", NameShare, 0, InvalidName},
		{strings.Repeat("x", 80), NameShare, 0, Success},
		{strings.Repeat("x", 81), NameShare, 0, InvalidName},
		{"a/b", NameShare, 0, InvalidName},
		{"a\x01", NameShare, 0, InvalidName},
		{"a*", NameShare, 0, Success},
		{"a*", NameComputer, 0, InvalidName},
		{" a", NameComputer, 0, InvalidName},
		{"a b", NameDomain, 0, InvalidName},
		{"", NamePassword, 0, Success},
		{"a*b", NameMessageDest, 0, InvalidName},
		{"ab*", NameMessageDest, 0, Success},
		{"a", 0, 0, InvalidParameter},
		{"a", 14, 0, InvalidParameter},
		{"a", NameShare, 1, InvalidParameter},
	} {
		if got := ValidateName(c.name, c.kind, c.flags); got != c.want {
			t.Errorf("%q as %d with flags %#x: %d", c.name, c.kind, c.flags, got)
		}
	}
}

func TestCanonicalNameNeedsRoom(t *testing.T) {
	b := EncodeNameCanonicalize("AB", 3, Success)
	if len(b) != 4+6+2+4 || b[len(b)-4] != Success {
		t.Errorf("%x", b)
	}
	if b := EncodeNameCanonicalize("AB", 2, Success); b[len(b)-4] != BufTooSmall&0xFF {
		t.Errorf("%x", b)
	}
}

// addStub is NetrShareAdd as a client sends it.
func addStub(level uint32, security []byte) []byte {
	var w dcerpc.Writer
	w.Pointer(nil)
	w.Uint32(level)
	w.Uint32(level)
	w.Pointer(func(w *dcerpc.Writer) {
		w.StringPointer("disks")
		w.Uint32(TypeDisk)
		w.StringPointer("for hosts")
		w.Uint32(0)
		w.Uint32(Unlimited)
		w.Uint32(0)
		w.StringPointer(`C:\disks`)
		w.Pointer(nil)
		if level == 503 {
			w.StringPointer("*")
		}
		if level != 2 {
			w.Uint32(uint32(len(security)))
			w.Pointer(func(w *dcerpc.Writer) {
				w.Uint32(uint32(len(security)))
				w.Raw(security)
			})
		}
	})
	w.Flush()
	w.Pointer(nil)
	return w.Bytes()
}

func TestShareAdd(t *testing.T) {
	for _, level := range []uint32{2, 502, 503} {
		s, known, err := DecodeShareAdd(dcerpc.Stub{Data: addStub(level, []byte("descriptor"))})
		if err != nil || !known || s.Name != "disks" || s.Remark != "for hosts" || s.Path != `C:\disks` || s.MaxUses != Unlimited {
			t.Errorf("level %d: %+v, %v, %v", level, s, known, err)
		}
		if want := level != 2; (string(s.Security) == "descriptor") != want {
			t.Errorf("level %d: descriptor %q", level, s.Security)
		}
	}
	if _, known, err := DecodeShareAdd(dcerpc.Stub{Data: addStub(1, nil)}); known || err != nil {
		t.Errorf("level 1: %v, %v", known, err)
	}
}

func FuzzEdits(f *testing.F) {
	f.Add(addStub(2, nil))
	f.Add(addStub(503, []byte{1, 2, 3}))
	f.Fuzz(func(t *testing.T, stub []byte) {
		DecodeShareAdd(dcerpc.Stub{Data: stub})
		DecodeShareSetInfo(dcerpc.Stub{Data: stub})
		DecodeShareName(dcerpc.Stub{Data: stub})
		DecodeName(dcerpc.Stub{Data: stub})
		DecodeNameCompare(dcerpc.Stub{Data: stub})
		DecodeTransportEnum(dcerpc.Stub{Data: stub})
		if _, room, _, _, err := DecodeNameCanonicalize(dcerpc.Stub{Data: stub}); err == nil && room > maxOutbuf {
			t.Fatal(room)
		}
	})
}
