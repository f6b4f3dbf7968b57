package dtyp

import (
	"bytes"
	"reflect"
	"testing"
	"time"
)

func TestUTF16RoundTrip(t *testing.T) {
	for _, c := range []struct {
		wtf8  string
		utf16 []byte
	}{
		{"", nil},
		{"abcde", []byte("a\x00b\x00c\x00d\x00e\x00")},
		{"é€", []byte{0xE9, 0, 0xAC, 0x20}},
		{"\U0001F600", []byte{0x3D, 0xD8, 0x00, 0xDE}},
		{"a\xED\xA0\xBDb", []byte{'a', 0, 0x3D, 0xD8, 'b', 0}},       // high without low
		{"\xED\xB8\x80", []byte{0x00, 0xDE}},                         // low without high
		{"\xED\xB8\x80\xED\xA0\xBD", []byte{0x00, 0xDE, 0x3D, 0xD8}}, // wrong order
		{"\uFFFD", []byte{0xFD, 0xFF}},
	} {
		if got := EncodeUTF16(c.wtf8); !bytes.Equal(got, c.utf16) {
			t.Errorf("%q encodes to % x", c.wtf8, got)
		}
		if got := DecodeUTF16(c.utf16); got != c.wtf8 {
			t.Errorf("% x decodes to %q", c.utf16, got)
		}
		if n := UTF16Len(c.wtf8); 2*n != len(c.utf16) {
			t.Errorf("%q has %d units", c.wtf8, n)
		}
	}
	if got := EncodeUTF16("\xFF"); !bytes.Equal(got, []byte{0xFD, 0xFF}) {
		t.Errorf("a stray byte encodes to % x", got)
	}
}

func FuzzUTF16(f *testing.F) {
	f.Add([]byte("a\x00\x3d\xd8\x00\xde"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := DecodeUTF16(b)
		if got := EncodeUTF16(s); !bytes.Equal(got, b[:len(b)&^1]) {
			t.Fatalf("% x became %q and % x", b, s, got)
		}
		if UTF16Len(s) != len(b)/2 {
			t.Fatalf("%q: length %d", s, UTF16Len(s))
		}
	})
}

func TestUTF16Allocations(t *testing.T) {
	b := EncodeUTF16("disk0.vhdx-é")
	if n := testing.AllocsPerRun(100, func() { DecodeUTF16(b) }); n > 1 {
		t.Errorf("DecodeUTF16: %v allocations", n)
	}
}

func TestSIDText(t *testing.T) {
	for _, s := range []string{"S-1-1-0", "S-1-5-21-1-2-3-4294967295", "S-1-0x0123456789ab-7", "S-1-5"} {
		sid, err := ParseSID(s)
		if err != nil || sid.String() != s {
			t.Errorf("%s: %v, %v", s, sid, err)
		}
		again, rest, err := DecodeSID(append(sid.Append(nil), 1, 2))
		if err != nil || again != sid || len(rest) != 2 {
			t.Errorf("%s: wire form: %v, %v", s, again, err)
		}
	}
	for _, s := range []string{"", "S-1", "S-1-", "S-2-5-1", "S-1-5-x", "S-1-5-4294967296", "S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14-15-16"} {
		if sid, err := ParseSID(s); err == nil {
			t.Errorf("%q accepted as %v", s, sid)
		}
	}
	admin := MakeSID(5, 21, 1, 2, 3).WithRID(500)
	if admin.RID() != 500 || admin.Domain() != MakeSID(5, 21, 1, 2, 3) || admin.Authority() != 5 || admin.Count() != 5 {
		t.Errorf("parts of %v", admin)
	}
}

func TestFiletime(t *testing.T) {
	when := time.Date(2024, 2, 29, 12, 34, 56, 123456700, time.UTC)
	if f := FiletimeOf(when); f != 133536836961234567 || !f.Time().Equal(when) {
		t.Errorf("%d, %v", f, f.Time())
	}
}

func TestGUID(t *testing.T) {
	const text = "4b324fc8-1670-01d3-1278-5a47bf6ee188"
	g, err := ParseGUID("{" + text + "}")
	if err != nil || g.String() != text || g[0] != 0xc8 {
		t.Errorf("%v, %v", g, err)
	}
	if _, err := ParseGUID(text[1:]); err == nil {
		t.Error("a short GUID is accepted")
	}
}

var descriptors = []string{
	"O:BAG:SYD:P(A;OICI;FA;;;SY)(A;OICIIO;GA;;;CO)(D;;0x1301bf;;;AN)",
	"O:S-1-5-21-1-2-3-500D:AI(A;ID;FR;;;WD)S:(AU;SAFA;FW;;;WD)(ML;;CC;;;HI)",
	"D:NO_ACCESS_CONTROL", "D:", "G:BU",
	"D:(OA;CI;RPWP;4b324fc8-1670-01d3-1278-5a47bf6ee188;;AU)(XA;;FX;;;WD;#61727478)",
}

func TestSDDLAndWireForm(t *testing.T) {
	for _, text := range descriptors {
		sd, err := ParseSDDL(text, SID{})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := sd.SDDL(); got != text {
			t.Errorf("%s became %s", text, got)
		}
		wire := sd.Encode()
		if len(wire) != sd.Len() {
			t.Errorf("%s: Len %d, encoded %d", text, sd.Len(), len(wire))
		}
		again, err := DecodeSecurityDescriptor(wire)
		if err != nil || again.SDDL() != text {
			t.Errorf("%s: wire form: %v, %v", text, again, err)
		}
	}
	for _, bad := range []string{"X:BA", "O:", "D:(A;;FA;;;WD", "D:(Q;;FA;;;WD)", "D:(A;ZZ;FA;;;WD)", "D:(A;;ZZ;;;WD)", "O:DA"} {
		if sd, err := ParseSDDL(bad, SID{}); err == nil {
			t.Errorf("%s accepted as %s", bad, sd.SDDL())
		}
	}
}

func TestSelect(t *testing.T) {
	sd, _ := ParseSDDL("O:BAG:SYD:PAI(A;;FA;;;SY)S:P(AU;SA;FW;;;WD)(ML;;CC;;;HI)", SID{})
	for _, c := range []struct {
		info SecurityInformation
		want string
	}{
		{OwnerSecurityInformation, "O:BA"},
		{GroupSecurityInformation | DACLSecurityInformation, "G:SYD:PAI(A;;FA;;;SY)"},
		{SACLSecurityInformation, "S:P(AU;SA;FW;;;WD)(ML;;CC;;;HI)"},
		{LabelSecurityInformation, "S:P(ML;;CC;;;HI)"},
		{0, ""},
	} {
		if got := sd.Select(c.info).SDDL(); got != c.want {
			t.Errorf("%#x: %s, want %s", uint32(c.info), got, c.want)
		}
	}
}

func TestUnknownACEsSurvive(t *testing.T) {
	raw := []byte{0x7F, 0x13, 12, 0, 1, 2, 3, 4, 5, 6, 7, 8}
	a, rest, err := DecodeACE(raw)
	if err != nil || len(rest) != 0 || !bytes.Equal(a.Append(nil), raw) {
		t.Errorf("%v, %v, % x", a, err, a.Append(nil))
	}
}

func FuzzSecurityDescriptor(f *testing.F) {
	for _, text := range descriptors {
		sd, _ := ParseSDDL(text, SID{})
		f.Add(sd.Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sd, err := DecodeSecurityDescriptor(b)
		if err != nil {
			return
		}
		enc := sd.Encode()
		again, err := DecodeSecurityDescriptor(enc)
		if err != nil || !reflect.DeepEqual(sd, again) {
			t.Fatalf("%v\n%v\n%v", err, sd, again)
		}
		sd.SDDL()
	})
}

func FuzzSDDL(f *testing.F) {
	for _, text := range descriptors {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		sd, err := ParseSDDL(text, MakeSID(5, 21, 1, 2, 3))
		if err != nil {
			return
		}
		again, err := ParseSDDL(sd.SDDL(), SID{})
		if err != nil || again.SDDL() != sd.SDDL() {
			t.Fatalf("%q: %v", sd.SDDL(), err)
		}
	})
}
