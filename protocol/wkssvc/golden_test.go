package wkssvc

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gabion/protocol/dcerpc"
)

// golden returns a stub captured from smbtorture, rpcclient and smbd.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRequestsOfARealClient(t *testing.T) {
	if level, err := DecodeGetInfo(dcerpc.Stub{Data: golden(t, "get_info_request")}); level != 100 || err != nil {
		t.Errorf("level %d, %v", level, err)
	}
	for _, name := range []string{"transport_enum_request", "user_enum_request"} {
		if q, err := DecodeEnum(dcerpc.Stub{Data: golden(t, name)}); err != nil || q.Level != 0 || !q.HasResume {
			t.Errorf("%s: %+v, %v", name, q, err)
		}
	}
}

func TestWorkstationAsTheReferenceSaysIt(t *testing.T) {
	want := golden(t, "get_info_response")
	got := EncodeGetInfo(100, &Workstation{Name: "REFSRV", Group: "WORKGROUP", Major: 6, Minor: 1}, Success)
	for _, at := range []int{4, 12, 16} { // referent ids are arbitrary
		got[at], want[at] = 0, 0
	}
	// The reference pads behind the names and calls itself another version.
	if !bytes.Equal(got[:20], want[:20]) || len(got) != len(want) || !bytes.Equal(got[28:], want[28:]) {
		t.Errorf("\n got %x\nwant %x", got, want)
	}
}

func FuzzRequests(f *testing.F) {
	for _, n := range []string{"get_info_request", "transport_enum_request", "user_enum_request"} {
		f.Add(golden(f, n))
	}
	f.Fuzz(func(t *testing.T, stub []byte) {
		DecodeGetInfo(dcerpc.Stub{Data: stub})
		DecodeEnum(dcerpc.Stub{Data: stub})
	})
}
