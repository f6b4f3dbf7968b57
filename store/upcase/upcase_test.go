package upcase

import (
	"bytes"
	"sort"
	"strings"
	"testing"

	"gabion/protocol/dtyp"
)

func TestNamesThatAreTheSame(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"disk.vhdx", "DISK.VHDX", true},
		{"disk", "disk1", false},
		{"äöü", "ÄÖÜ", true},
		{"straße", "STRASSE", false},
		{"ß", "ẞ", false},
		{"ı", "I", false},
		{"ſ", "S", false},
		{"\u00b5", "\u039c", false},
		{"\u03c2", "\u03c3", true},
		{"\u00ff", "\u0178", true},
		{"\u01c5", "\u01c4", false},
		{"\u01c6", "\u01c4", true},
		{"\u0450", "\u0400", true},
		{"\u1e9b", "\u1e60", false},
		{"\u1f51", "\u1f59", true},
		{"ａ", "Ａ", true},
		{"\U00010428", "\U00010400", false},
		{"a\xed\xa0\x80", "A\xed\xa0\x80", true},
		{"[", "{", false},
	} {
		if got := Default().Equal(c.a, c.b); got != c.same {
			t.Errorf("Equal(%q, %q) = %v", c.a, c.b, got)
		}
		if got := Default().Key(c.a) == Default().Key(c.b); got != c.same {
			t.Errorf("keys of %q and %q: same = %v", c.a, c.b, got)
		}
	}
}

func TestCompareOrdersAsKeysDo(t *testing.T) {
	names := []string{"", "a", "B", "b1", "A1", "ä", "Ä2", "\uffff", "\U00010000", "\xed\xa0\x80", "\xed\xb0\x80", "zz", "_"}
	for _, a := range names {
		for _, b := range names {
			want := strings.Compare(Default().Key(a), Default().Key(b))
			got := Default().Compare(a, b)
			if (got < 0) != (want < 0) || (got > 0) != (want > 0) {
				t.Errorf("Compare(%q, %q) = %d, keys %d", a, b, got, want)
			}
		}
	}
	sort.Slice(names, func(i, j int) bool { return Default().Compare(names[i], names[j]) < 0 })
}

func TestUpcasingTwiceChangesNothing(t *testing.T) {
	d := Default()
	for u := range d.unit {
		once := d.Unit(uint16(u))
		if isSurrogate(u) && int(once) != u {
			t.Errorf("surrogate %#x mapped", u)
		}
		if d.Unit(once) != once {
			t.Errorf("%#x -> %#x -> %#x", u, once, d.Unit(once))
		}
	}
}

func TestTableSurvivesStorage(t *testing.T) {
	enc := Default().Encode()
	got, err := Decode(enc)
	if err != nil {
		t.Fatal(err)
	}
	if *got != *Default() || !bytes.Equal(got.Encode(), enc) {
		t.Error("table changed by a round trip")
	}
	for _, n := range []int{0, 7, 8, len(enc) - 1} {
		if _, err := Decode(enc[:n]); err == nil {
			t.Errorf("truncated to %d: no error", n)
		}
	}
}

func TestKeyAllocations(t *testing.T) {
	d := Default()
	if n := testing.AllocsPerRun(100, func() { d.Key("DISK0.VHDX") }); n != 0 {
		t.Errorf("upper-case name: %v allocations", n)
	}
	buf := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() { buf = d.Append(buf[:0], "disk-ä.vhdx") }); n != 0 {
		t.Errorf("Append: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { d.Equal("disk-ä.vhdx", "DISK-Ä.VHDX") }); n != 0 {
		t.Errorf("Equal: %v allocations", n)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Default().Encode())
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		tab, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Decode(tab.Encode())
		if err != nil || *again != *tab {
			t.Fatalf("round trip: %v", err)
		}
	})
}

func FuzzKey(f *testing.F) {
	f.Add("Disk.vhdx", "dISK.VHDX")
	f.Add("\xed\xa0\x80", "\u03c2")
	f.Fuzz(func(t *testing.T, a, b string) {
		// Only what came from UTF-16 is a name.
		a, b = dtyp.DecodeUTF16(dtyp.EncodeUTF16(a)), dtyp.DecodeUTF16(dtyp.EncodeUTF16(b))
		d := Default()
		if d.Equal(a, b) != (d.Key(a) == d.Key(b)) {
			t.Fatalf("Equal and Key disagree on %q, %q", a, b)
		}
		if dtyp.UTF16Len(d.Key(a)) != dtyp.UTF16Len(a) {
			t.Fatalf("key of %q has another length", a)
		}
	})
}
