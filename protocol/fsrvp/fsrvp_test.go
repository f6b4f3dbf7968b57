package fsrvp

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"

	"gabion/protocol/dcerpc"
	"gabion/protocol/dtyp"
)

var (
	set  = dtyp.MustParseGUID("11111111-2222-3333-4444-555555555555")
	copy = dtyp.MustParseGUID("aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee")
)

func TestRequestsRoundTrip(t *testing.T) {
	full := Request{Context: CtxNASRollback, ClientID: set, SetID: set, CopyID: copy, ShareName: `\\array\vms`, TimeoutMS: 1800000, Level: 1}
	for op := range uint16(OpPrepareShadowCopySet + 1) {
		stub := full.AppendTo(op, nil)
		q, ok, err := DecodeRequest(op, dcerpc.Stub{Data: stub})
		if !ok || err != nil {
			t.Fatalf("method %d: %v, %v", op, ok, err)
		}
		if again := q.AppendTo(op, nil); !bytes.Equal(again, stub) {
			t.Errorf("method %d: %x came back as %x", op, stub, again)
		}
		for cut := range stub {
			if _, _, err := DecodeRequest(op, dcerpc.Stub{Data: stub[:cut]}); err == nil {
				t.Errorf("method %d: %d of %d bytes were enough", op, cut, len(stub))
			}
		}
	}
	if _, ok, _ := DecodeRequest(13, dcerpc.Stub{}); ok {
		t.Error("there is a method 13")
	}
}

// The two methods about a mapping have their GUIDs in different orders.
func TestOrderOfIdentifiers(t *testing.T) {
	q := Request{SetID: set, CopyID: copy, ShareName: "x"}
	if b := q.AppendTo(OpGetShareMapping, nil); !bytes.Equal(b[:16], copy[:]) {
		t.Errorf("GetShareMapping begins with %x", b[:16])
	}
	if b := q.AppendTo(OpDeleteShareMapping, nil); !bytes.Equal(b[:16], set[:]) {
		t.Errorf("DeleteShareMapping begins with %x", b[:16])
	}
}

func TestResponsesRoundTrip(t *testing.T) {
	mapping := &Mapping{SetID: set, CopyID: copy, ShareUNC: `\\array\vms`, ExposedShare: "vms@{x}", Created: 133_000_000_000_000_000}
	for op, p := range map[uint16]Response{
		OpGetSupportedVersion: {MinVersion: 1, MaxVersion: 1},
		OpSetContext:          {Result: UnsupportedContext},
		OpStartShadowCopySet:  {ID: set},
		OpAddToShadowCopySet:  {Result: ObjectAlreadyExists},
		OpIsPathSupported:     {Supported: true, Owner: "ARRAY"},
		OpIsPathShadowCopied:  {Present: true, Compatibility: 3},
		OpGetShareMapping:     {Level: 1, Mapping: mapping},
		OpDeleteShareMapping:  {Result: ObjectNotFound},
	} {
		got, err := DecodeResponse(op, p.AppendTo(op, nil))
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("method %d: %+v, %v, want %+v", op, got, err, p)
		}
	}
	failed := Response{Level: 7, Result: InvalidArgument}
	if b := failed.AppendTo(OpGetShareMapping, nil); hex.EncodeToString(b) != "0700000057000780" {
		t.Errorf("another level is answered with %x", b)
	}
	failed = Response{Result: ObjectNotFound}
	if b := failed.AppendTo(OpIsPathSupported, nil); hex.EncodeToString(b) != "000000000000000008230480" {
		t.Errorf("a failed IsPathSupported is answered with %x", b)
	}
}

func TestContexts(t *testing.T) {
	for c, want := range map[Context]bool{
		CtxBackup: true, CtxFileShareBackup: true, CtxNASRollback: true, CtxAppRollback: true,
		CtxBackup | AttrAutoRecovery: true, CtxNASRollback | AttrNoAutoRecovery: true, AttrFileShare: true,
		AttrAutoRecovery | AttrNoAutoRecovery: false, AttrPersistent: false, 0x80: false,
	} {
		if c.Valid() != want {
			t.Errorf("context %#x: valid %v, want %v", c, c.Valid(), want)
		}
	}
}

func FuzzRequests(f *testing.F) {
	q := Request{ShareName: `\\array\vms\`, SetID: set}
	for op := range uint16(OpPrepareShadowCopySet + 1) {
		f.Add(op, q.AppendTo(op, nil))
	}
	f.Fuzz(func(t *testing.T, op uint16, stub []byte) {
		DecodeRequest(op, dcerpc.Stub{Data: stub})
		DecodeResponse(op, stub)
	})
}
