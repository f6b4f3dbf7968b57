package srvsvc

import (
	"testing"

	"gabion/protocol/dcerpc"
)

func enumStub(level uint32, resume bool) []byte {
	var w dcerpc.Writer
	w.StringPointer(`\\server`)
	w.Flush()
	w.Uint32(level)
	w.Uint32(level)
	w.Pointer(func(w *dcerpc.Writer) { w.Uint32(0); w.Pointer(nil) })
	w.Flush()
	w.Uint32(0xFFFFFFFF)
	if resume {
		w.Pointer(func(w *dcerpc.Writer) { w.Uint32(1) })
	} else {
		w.Pointer(nil)
	}
	return w.Bytes()
}

func TestShareEnumLevel1(t *testing.T) {
	v, err := DecodeShareEnum(dcerpc.Stub{Data: enumStub(1, false)})
	if err != nil || v.Level != 1 || v.HasResume {
		t.Fatalf("%+v, %v", v, err)
	}
	r := dcerpc.NewReader(v.EncodeShareEnum([]Share{{Name: "vms", Remark: "disks", Type: TypeClusterSOFS}, {Name: "IPC$", Type: TypeIPC | TypeSpecial}}))
	if r.Uint64() != 1<<32|1 || !r.Pointer() || r.Uint32() != 2 || !r.Pointer() || r.Count(12) != 2 {
		t.Fatal("the container is wrong")
	}
	var types []uint32
	for range 2 {
		r.Pointer()
		types = append(types, r.Uint32())
		r.Pointer()
	}
	names := []string{r.String(), r.String(), r.String(), r.String()}
	if names[0] != "vms" || names[1] != "disks" || names[2] != "IPC$" || types[0] != TypeDisk || types[1] != TypeIPC|TypeSpecial {
		t.Errorf("%v %v", names, types)
	}
	if total, resume, result := r.Uint32(), r.Pointer(), r.Uint32(); total != 2 || resume || result != Success || r.Err() != nil || r.Left() != 0 {
		t.Errorf("total %d, resume %v, result %d, %v, %d bytes left", total, resume, result, r.Err(), r.Left())
	}
}

func TestUnknownLevel(t *testing.T) {
	v, err := DecodeShareEnum(dcerpc.Stub{Data: enumStub(77, true)})
	if err != nil {
		t.Fatal(err)
	}
	b := v.EncodeShareEnum([]Share{{Name: "x"}})
	if got := b[len(b)-4]; got != InvalidLevel {
		t.Errorf("result %d", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(enumStub(1, true))
	f.Add(enumStub(502, false))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := DecodeShareEnum(dcerpc.Stub{Data: b}); err == nil {
			v.EncodeShareEnum([]Share{{Name: "a", Security: []byte{1}}, {Name: "b"}})
		}
		_, _ = DecodeSessionEnum(dcerpc.Stub{Data: b})
		_, _ = DecodeFileEnum(dcerpc.Stub{Data: b})
		_, _ = DecodeConnectionEnum(dcerpc.Stub{Data: b})
		_, _, _ = DecodeShareGetInfo(dcerpc.Stub{Data: b})
		_, _ = DecodeServerGetInfo(dcerpc.Stub{Data: b})
		_, _, _ = DecodeFileID(dcerpc.Stub{Data: b}, true)
		_, _, _ = DecodeSessionDel(dcerpc.Stub{Data: b})
	})
}
