package pac

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"reflect"
	"strings"
	"testing"

	"gabion/protocol/dtyp"
)

// example is the PAC of [MS-PAC] 3.
func example(t testing.TB) []byte {
	text, err := os.ReadFile("testdata/ms-pac-3.hex")
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSpecificationExample(t *testing.T) {
	b := example(t)
	p, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	l := &p.Logon
	domain := dtyp.MustParseSID("S-1-5-21-397955417-626881126-188441444")
	if l.Account != "lzhu" || l.FullName != "Liqiang(Larry) Zhu" || l.LogonServer != "NTDEV-DC-05" || l.DomainName != "NTDEV" ||
		l.Domain != domain || l.User() != domain.WithRID(0x2c7997) || l.PrimaryGroup != 513 {
		t.Errorf("%+v", l)
	}
	if len(l.Groups) != 26 || l.Groups[0] != (Membership{0x0033c461, 7}) || len(l.ExtraSIDs) != 13 {
		t.Errorf("%d groups, %d extra SIDs", len(l.Groups), len(l.ExtraSIDs))
	}
	if got := l.ExtraSIDs[0].SID.String(); got != "S-1-5-21-773533881-1816936887-355810188-513" {
		t.Errorf("first extra SID %s", got)
	}
	if p.Client.Name != "lzhu" || p.Client.AuthTime != 0x01C66A650ED94900 {
		t.Errorf("%+v", p.Client)
	}
	if p.Server.Kind != HMACMD5 || hex.EncodeToString(p.Server.Value) != "41edce9a34815d3aef7bc98874805d25" ||
		hex.EncodeToString(p.KDC.Value) != "f7a534dab2c02986efe0fbe5110a4f32" {
		t.Errorf("%+v %+v", p.Server, p.KDC)
	}
	want := bytes.Clone(b)
	for _, s := range [][]byte{p.Server.Value, p.KDC.Value} {
		clear(want[bytes.Index(want, s):][:16])
	}
	if !bytes.Equal(p.Signed(), want) {
		t.Error("the signed bytes are not the PAC with both signatures zeroed")
	}
}

func full(groups int) *PAC {
	flags := uint32(1)
	domain := dtyp.MakeSID(5, 21, 1, 2, 3)
	p := &PAC{
		Logon: LogonInfo{
			LogonTime: 1, LogoffTime: 1<<63 - 1, KickOffTime: 3, Account: "alice", FullName: "Alice", LogonServer: "DC1", DomainName: "GABION",
			Domain: domain, UserID: 1105, PrimaryGroup: 513, UserFlags: UserExtraSIDs | UserResourceGroups, UserAccountControl: 0x10,
			ExtraSIDs:      []Group{{dtyp.MakeSID(18, 1), 7}, {dtyp.MakeSID(5, 32, 544), 7}},
			ResourceDomain: domain, ResourceGroups: []Membership{{1200, GroupResource | 7}},
		},
		Client:     ClientInfo{116444736000000000, "alice"},
		Server:     Signature{Kind: HMACSHA196AES256, Value: make([]byte, 12)},
		KDC:        Signature{Kind: HMACMD5, Value: make([]byte, 16), RODC: 7},
		UPN:        &UPNInfo{UPN: "alice@gabion.test", DNSDomain: "GABION.TEST", Constructed: true, Account: "alice", SID: domain.WithRID(1105)},
		Delegation: &Delegation{Target: "cifs/filesrv", Transited: []string{"HV1$@GABION.TEST", "HV2$@GABION.TEST"}},
		Attributes: &flags,
		Requestor:  domain.WithRID(1105),
	}
	for i := range groups {
		p.Logon.Groups = append(p.Logon.Groups, Membership{2000 + uint32(i), 7})
	}
	return p
}

func TestRoundTrip(t *testing.T) {
	for _, groups := range []int{0, 1, 1000} {
		want := full(groups)
		got, err := Decode(want.Encode())
		if err != nil {
			t.Fatal(err)
		}
		want.signed = got.signed
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%d groups:\n got %+v\nwant %+v", groups, got, want)
		}
	}
}

func TestMemberships(t *testing.T) {
	domain := dtyp.MakeSID(5, 21, 1, 2, 3)
	tests := map[string]struct {
		change func(*LogonInfo)
		user   string
		want   string
	}{
		"all": {func(*LogonInfo) {}, "1105", "513 2000 S-1-18-1 S-1-5-32-544 1200"},
		"primary group listed again": {func(l *LogonInfo) { l.Groups = append(l.Groups, Membership{513, 7}) }, "1105",
			"513 2000 S-1-18-1 S-1-5-32-544 1200"},
		"extra SIDs without their flag":      {func(l *LogonInfo) { l.UserFlags &^= UserExtraSIDs }, "1105", "513 2000 1200"},
		"resource groups without their flag": {func(l *LogonInfo) { l.UserFlags &^= UserResourceGroups }, "1105", "513 2000 S-1-18-1 S-1-5-32-544"},
		"user is the first extra SID":        {func(l *LogonInfo) { l.UserID = 0 }, "S-1-18-1", "513 2000 S-1-5-32-544 1200"},
	}
	for name, tt := range tests {
		l := full(1).Logon
		tt.change(&l)
		short := func(s dtyp.SID) string { return strings.TrimPrefix(s.String(), domain.String()+"-") }
		var got []string
		for _, g := range l.Memberships() {
			got = append(got, short(g.SID))
		}
		if user := short(l.User()); user != tt.user || strings.Join(got, " ") != tt.want {
			t.Errorf("%s: user %s, groups %s", name, user, got)
		}
	}
}

// Every way to say more than there is.
func TestMalformed(t *testing.T) {
	good := full(3).Encode()
	buffer := func(b []byte, i int) []byte { return b[headerLen+infoLen*i:] }
	at := func(b []byte, i int) []byte { return b[binary.LittleEndian.Uint64(buffer(b, i)[8:]):] }
	put := binary.LittleEndian.PutUint32
	tests := map[string]func(b []byte) []byte{
		"empty":                  func([]byte) []byte { return nil },
		"version":                func(b []byte) []byte { b[4] = 1; return b },
		"more buffers than fit":  func(b []byte) []byte { put(b, 1<<31); return b },
		"buffer behind the end":  func(b []byte) []byte { binary.LittleEndian.PutUint64(buffer(b, 0)[8:], 1<<40); return b },
		"buffer over the end":    func(b []byte) []byte { put(buffer(b, 0)[4:], 1<<20); return b },
		"buffer not aligned":     func(b []byte) []byte { buffer(b, 0)[8]++; return b },
		"no logon information":   func(b []byte) []byte { put(buffer(b, 0), 99); return b },
		"no server signature":    func(b []byte) []byte { put(buffer(b, 6), 99); return b },
		"unknown signature":      func(b []byte) []byte { put(at(b, 6), 99); return b },
		"short signature":        func(b []byte) []byte { put(buffer(b, 6)[4:], 10); return b },
		"big-endian":             func(b []byte) []byte { at(b, 0)[1] = 0; return b },
		"null logon information": func(b []byte) []byte { put(at(b, 0)[16:], 0); return b },
		"2^32-1 groups":          func(b []byte) []byte { put(at(b, 0)[20+108:], 1<<32-1); return b },
		"other group count":      func(b []byte) []byte { put(at(b, 0)[20+108:], 2); return b },
		"groups nowhere":         func(b []byte) []byte { put(at(b, 0)[20+112:], 0); return b },
		"client name too long":   func(b []byte) []byte { at(b, 1)[8] = 0xf0; return b },
		"UPN behind the end":     func(b []byte) []byte { at(b, 2)[3] = 0xff; return b },
	}
	for name, spoil := range tests {
		if p, err := Decode(spoil(bytes.Clone(good))); err == nil {
			t.Errorf("%s: accepted as %v", name, p)
		}
	}
	for n := range good {
		if _, err := Decode(good[:n]); err == nil && n < len(good)-7 {
			t.Errorf("accepted when cut to %d of %d bytes", n, len(good))
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(example(f))
	f.Add(full(3).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Decode(b)
		if err != nil {
			return
		}
		p.Logon.User()
		p.Logon.Memberships()
		again, err := Decode(p.Encode())
		if err != nil {
			t.Fatalf("re-encoded: %v", err)
		}
		again.signed = p.signed
		if !reflect.DeepEqual(again.Logon.Memberships(), p.Logon.Memberships()) {
			t.Errorf("re-encoded:\n got %v\nwant %v", again, p)
		}
	})
}
