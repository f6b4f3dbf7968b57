package sqos

import (
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"gabion/protocol/dtyp"
)

var full = Request{
	Version: Version11, Options: SetLogicalFlowID | GetStatus,
	FlowID:   dtyp.MustParseGUID("b13a32e4-e2ad-5db2-a4f8-5cd3be9d696e"),
	PolicyID: dtyp.MustParseGUID("04b4f24e-b3e9-4594-adaa-e327528de54b"), InitiatorID: dtyp.MustParseGUID("1b9e4dc6-9ff8-418f-8785-8065bcff7284"),
	Limit: 200, Reservation: 100, IoCountIncrement: 1, NormalizedIoCountIncrement: 2, LatencyIncrement: 3, LowerLatencyIncrement: 4,
	BandwidthLimit: 1600, KilobyteCountIncrement: 8,
}

func TestRequestRoundTrip(t *testing.T) {
	for _, v := range []Version{Version10, Version11} {
		r := full
		r.Version = v
		if v == Version10 {
			r.BandwidthLimit, r.KilobyteCountIncrement = 0, 0
		}
		b := r.AppendNamed(nil, "vm", "host.example")
		if want := v.RequestSize() + 2*len("vm"+"host.example"); len(b) != want {
			t.Errorf("%v: %d bytes, want %d", v, len(b), want)
		}
		var got Request
		if err := got.Decode(b); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%v: %+v became %+v, %v", v, r, got, err)
		}
		vm, node, err := got.Names(b)
		if err != nil || vm != "vm" || node != "host.example" {
			t.Errorf("names %q %q, %v", vm, node, err)
		}
		for n := range v.RequestSize() {
			if err := got.Decode(b[:n]); !errors.Is(err, ErrShort) {
				t.Fatalf("%v: %d bytes give %v", v, n, err)
			}
		}
	}
}

// The first request of the specification's example, [MS-SQOS] 4.2.
func TestSpecifiedExample(t *testing.T) {
	b, err := hex.DecodeString(strings.ReplaceAll("0101 0000 01000000 E4323AB1ADE2B25DA4F85CD3BE9D696E", " ", "") + strings.Repeat("00", 104))
	if err != nil {
		t.Fatal(err)
	}
	var r Request
	if err := r.Decode(b); err != nil || r.Version != Version11 || r.Options != SetLogicalFlowID || r.FlowID != full.FlowID {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestNamesOutsideTheMessage(t *testing.T) {
	for _, c := range []struct {
		version Version
		span    Span
		ok      bool
	}{
		{Version11, Span{128, 4}, true},
		{Version11, Span{0, 0}, true},
		{Version11, Span{9999, 0}, true}, // nothing to look for
		{Version11, Span{0, 4}, false},
		{Version11, Span{112, 4}, false},
		{Version10, Span{112, 4}, true},
		{Version10, Span{104, 4}, false},
		{Version11, Span{128, 3}, false},
		{Version11, Span{658, 4}, true},
		{Version11, Span{659, 4}, false},
		{Version11, Span{0xFFFF, 4}, false},
		{Version11, Span{128, NameSize}, true},
		{Version11, Span{128, NameSize + 2}, false},
	} {
		for _, node := range []bool{false, true} {
			r := full
			r.Version = c.version
			if node {
				r.InitiatorNodeName = c.span
			} else {
				r.InitiatorName = c.span
			}
			b := r.AppendFixed(nil)
			b = append(b, make([]byte, 662-len(b))...)
			if _, _, err := r.Names(b); (err == nil) != c.ok {
				t.Errorf("%v %+v node %v: %v", c.version, c.span, node, err)
			}
		}
	}
}

func TestUnknownVersion(t *testing.T) {
	b := full.AppendFixed(nil)
	b[0], b[1] = 0xFF, 0xFF
	if err := new(Request).Decode(b); !errors.Is(err, ErrRevision) {
		t.Error(err)
	}
}

func TestResponseRoundTrip(t *testing.T) {
	for _, v := range []Version{Version10, Version11} {
		r := Response{Version: v, FlowID: full.FlowID, PolicyID: full.PolicyID, InitiatorID: full.InitiatorID,
			TimeToLive: 3981, Status: StatusUnknownPolicyID, MaximumIoRate: 200, MinimumIoRate: 100, BaseIoSize: 8192}
		if v == Version11 {
			r.MaximumBandwidth = 1600
		}
		b := r.AppendTo(nil)
		var got Response
		if err := got.Decode(b); err != nil || got != r || len(b) != v.ResponseSize() {
			t.Errorf("%+v became %+v of %d bytes, %v", r, got, len(b), err)
		}
		if err := got.Decode(b[:len(b)-1]); !errors.Is(err, ErrShort) {
			t.Error(err)
		}
	}
}

// [MS-SQOS] 4.1.
func TestNormalized(t *testing.T) {
	for bytes, want := range map[int]int{0: 1, 512: 1, 4096: 1, 8192: 1, 8193: 2, 12288: 2, 16384: 2, 65536: 8, 1 << 20: 128} {
		if got := Normalized(bytes, DefaultBaseIOSize); got != want {
			t.Errorf("%d bytes are %d, want %d", bytes, got, want)
		}
	}
}

func FuzzRequest(f *testing.F) {
	r := full
	f.Add(r.AppendNamed(nil, "vm", "host"))
	r.Version = Version10
	f.Add(r.AppendNamed(nil, "", "host"))
	f.Add([]byte{1, 1, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Request
		if r.Decode(b) != nil {
			return
		}
		vm, node, err := r.Names(b)
		if len(vm) > 3*NameSize || len(node) > 3*NameSize {
			t.Fatal("name longer than allowed")
		}
		again := r.AppendFixed(nil)
		var second Request
		if err := second.Decode(again); err != nil || second != r {
			t.Fatalf("%+v became %+v, %v", r, second, err)
		}
		if err != nil || len(vm) > 0 && len(node) > 0 && len(b) == 0 {
			return
		}
		named := r.AppendNamed(nil, vm, node)
		if err := second.Decode(named); err != nil {
			t.Fatal(err)
		}
		if vm2, node2, err := second.Names(named); err != nil || vm2 != vm || node2 != node {
			t.Fatalf("names %q %q became %q %q, %v", vm, node, vm2, node2, err)
		}
	})
}

func FuzzResponse(f *testing.F) {
	f.Add((&Response{Version: Version11, TimeToLive: 4000}).AppendTo(nil))
	f.Add((&Response{Version: Version10}).AppendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, second Response
		if r.Decode(b) != nil {
			return
		}
		if err := second.Decode(r.AppendTo(nil)); err != nil || second != r {
			t.Fatalf("%+v became %+v, %v", r, second, err)
		}
	})
}
