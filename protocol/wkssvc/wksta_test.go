package wkssvc

import (
	"testing"

	"gabion/protocol/dcerpc"
)

func TestGetInfo(t *testing.T) {
	for _, c := range []struct{ level, result uint32 }{{100, Success}, {101, Success}, {102, Success}, {99, InvalidLevel}} {
		b := EncodeGetInfo(c.level, &Workstation{Name: "ARRAY", Group: "WORKGROUP", Major: 10}, Success)
		r := dcerpc.NewReader(b[len(b)-4:])
		if got := r.Uint32(); got != c.result {
			t.Errorf("level %d: result %d", c.level, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 100, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = DecodeGetInfo(dcerpc.Stub{Data: b}) })
}
