package rsvd

import (
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"gabion/protocol/dtyp"
)

type message interface {
	Decode([]byte) error
	AppendTo([]byte) []byte
}

var (
	one = dtyp.MustParseGUID("9ac15b72-2a6d-44b2-ba7c-f5f06831c74a")
	two = dtyp.MustParseGUID("00112233-4455-6677-8899-aabbccddeeff")
)

// messages are one of each, and the sizes that MS-RSVD gives them.
var messages = []struct {
	m    message
	size int
}{
	{&TunnelHeader{SCSI, 0xC05CFF07, 3}, 16},
	{&InitialInfoResponse{2, 512, 4096, 1 << 30}, 24},
	{&SCSIRequest{36, 10, 20, DataIn, 0x20014A, 8, [16]byte{0x25}, make([]byte, 8)}, 44},
	{&SCSIResponse{true, 4, 2, 10, DataIn, 0x40, [20]byte{0x70}, []byte{1, 2}}, 38},
	{&SRBStatusRequest{7}, 28},
	{&SRBStatusResponse{7, true, 2, 2, [20]byte{0xF0}}, 24},
	{&DiskInfoResponse{DiskTypeDynamic, DiskFormatVHDX, 1 << 20, one, true, true, 4 << 20, two}, 56},
	{&ValidateDiskResponse{true}, 1},
	{&SupportResponse{SupportVersion2, HandleShared}, 8},
	{&TargetSpecifier{0, SnapshotVM, one}, 24},
	{&MetaStart{one, MetaApplySnapshot}, 24},
	{&CreateSnapshot{Type: SnapshotVM, Flags: 1, Stages: [6]Stage{StageInitialize, StageBlockIO}, SnapshotID: one}, 52},
	{&CreateSnapshot{Type: SnapshotCDP, Stages: [6]Stage{StageInitialize}, SnapshotID: one, LogFileID: two}, 76},
	{&ExtractSnapshots{SnapshotVM, 1, one, two, "name"}, 58},
	{&ConvertToVHDSet{"a.vhds"}, 18},
	{&Resize{2 << 30, true, false, true}, 12},
	{&ApplySnapshot{SnapshotVM, one}, 20},
	{&MetaReply{5}, 4},
	{&ProgressRequest{one}, 16},
	{&ProgressResponse{1, 2}, 16},
	{&SetQueryRequest{SnapshotEntry, SnapshotVM, one}, 24},
	{&SnapshotListResponse{true, 2, []dtyp.GUID{one, two}}, 48},
	{&SnapshotListResponse{Count: 9}, 16},
	{&SnapshotEntryResponse{SnapshotEntry, 5, SnapshotVM, true, one, two, one}, 72},
	{&OptimizeNeededResponse{true}, 12},
	{&DeleteSnapshotRequest{one, 0, SnapshotVM}, 24},
	{&TrackingParametersResponse{TrackingNotInitialized, 77}, 16},
	{&TrackingStartRequest{TransactionID: one, LogFileID: two, MaxLogFileSize: 9, Append: true}, 56},
	{&TrackingStopResponse{1}, 4},
	{&ChangesRequest{one, two, SnapshotVM, 512, 1024}, 56},
	{&ChangesResponse{1024, []ChangedRange{{0, 512}}}, 40},
	{&SafeSizeResponse{1 << 30}, 8},
}

func TestRoundTrip(t *testing.T) {
	for _, c := range messages {
		b := c.m.AppendTo(nil)
		if len(b) != c.size {
			t.Errorf("%T has %d bytes, want %d", c.m, len(b), c.size)
		}
		got := reflect.New(reflect.TypeOf(c.m).Elem()).Interface().(message)
		if err := got.Decode(b); err != nil || !reflect.DeepEqual(got, c.m) {
			t.Errorf("%+v became %+v, %v", c.m, got, err)
		}
		for n := range b {
			if err := got.Decode(b[:n]); err == nil && n < c.size && !shortable(c.m, n) {
				t.Errorf("%T decodes from %d of %d bytes", c.m, n, c.size)
			}
		}
	}
}

// shortable: messages whose last part is data without a length of its own.
func shortable(m message, n int) bool {
	switch m.(type) {
	case *SCSIRequest:
		return n >= scsiFixed
	}
	return false
}

// The READ CAPACITY(10) request of [MS-RSVD] 4.2, with the CDB in wire order, and
// what the specification's names of operations come to.
func TestReadCapacityExample(t *testing.T) {
	b, err := hex.DecodeString(strings.ReplaceAll("24000000 10140100 4a012000 08000000 25000000000000000000000000000000 00000000 0000000000000000", " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	var r SCSIRequest
	if err := r.Decode(b); err != nil || r.Check() != nil || r.CDBLength != 16 || r.Disposition != DataIn || r.DataTransferLength != 8 || r.CDB[0] != 0x25 || len(r.Data) != 8 {
		t.Errorf("%+v, %v, %v", r, err, r.Check())
	}
	for o, want := range map[Operation]uint32{GetInitialInfo: 1, MetaOperationStart: 2, 0x02003001: 3} {
		if !o.OfRSVD() || o.Version() != want {
			t.Errorf("%v: version %d", o, o.Version())
		}
	}
}

func TestSCSIRequestCheck(t *testing.T) {
	good := SCSIRequest{Length: 36, CDBLength: 16, SenseInfoExLength: 20, Disposition: DataOut, DataTransferLength: 4, Data: make([]byte, 4)}
	if good.Check() != nil {
		t.Error(good.Check())
	}
	for name, spoil := range map[string]func(*SCSIRequest){
		"Length":            func(r *SCSIRequest) { r.Length = 35 },
		"SenseInfoExLength": func(r *SCSIRequest) { r.SenseInfoExLength = 21 },
		"CDBLength":         func(r *SCSIRequest) { r.CDBLength = 17 },
		"short data-out":    func(r *SCSIRequest) { r.DataTransferLength = 5 },
		"long data-in":      func(r *SCSIRequest) { r.Disposition, r.DataTransferLength = DataIn, 3 },
	} {
		r := good
		if spoil(&r); !errors.Is(r.Check(), ErrMalformed) {
			t.Errorf("%s: %v", name, r.Check())
		}
	}
}

// Lengths of names are never believed.
func TestNamesMustFillTheirLength(t *testing.T) {
	for _, name := range []string{"6100", "00000000", "610062006300", "610000006200 0000", "61 0000"} {
		raw, _ := hex.DecodeString(strings.ReplaceAll(name, " ", ""))
		b := append(le.AppendUint32(nil, uint32(len(raw))), raw...)
		var r ConvertToVHDSet
		if err := r.Decode(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %q, %v", name, r.Destination, err)
		}
	}
	var r ConvertToVHDSet
	if err := r.Decode([]byte{0xFF, 0xFF, 0xFF, 0xFF, 0, 0}); !errors.Is(err, ErrShort) {
		t.Error(err)
	}
}

func FuzzMessages(f *testing.F) {
	for i, c := range messages {
		f.Add(uint8(i), c.m.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		typ := reflect.TypeOf(messages[int(kind)%len(messages)].m).Elem()
		m, again := reflect.New(typ).Interface().(message), reflect.New(typ).Interface().(message)
		if m.Decode(b) != nil {
			return
		}
		if r, ok := m.(*CreateSnapshot); ok && (r.ParametersPayloadSize != 0) {
			return // the payload itself is not kept
		}
		if err := again.Decode(m.AppendTo(nil)); err != nil || !reflect.DeepEqual(m, again) {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
	})
}
