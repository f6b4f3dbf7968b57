package dcerpc

import (
	"bytes"
	"reflect"
	"testing"
)

var srvsvc = MustSyntax("4b324fc8-1670-01d3-1278-5a47bf6ee188", 3, 0)

func TestBindRoundTrip(t *testing.T) {
	want := Bind{MaxXmit: 4280, MaxRecv: 4280, Group: 7, Contexts: []Context{
		{ID: 0, Abstract: srvsvc, Transfer: []Syntax{NDR}},
		{ID: 1, Abstract: srvsvc, Transfer: []Syntax{NDR, srvsvc}},
	}}
	got, err := DecodeBind(want.AppendTo(nil))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestBindAckRoundTrip(t *testing.T) {
	for _, address := range []string{"", `\PIPE\srvsvc`, "odd"} {
		want := BindAck{MaxXmit: 4280, MaxRecv: 4280, Group: 7, Address: address, Results: []Result{{Transfer: NDR}, {ResultNegotiateAck, 3, Syntax{}}}}
		got, err := DecodeBindAck(want.AppendTo(nil))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", address, got, err)
		}
	}
}

func TestFragmentWithAuthentication(t *testing.T) {
	for n := range 5 {
		f := Fragment{Header: Header{Type: TypeRequest, Flags: FlagFirst | FlagLast, CallID: 9},
			Body: bytes.Repeat([]byte{1}, n), Auth: &Auth{Type: 10, Level: 6, ContextID: 3, Token: []byte("token")}}
		got, err := DecodeFragment(f.AppendTo(nil))
		if err != nil || !bytes.Equal(got.Body, f.Body) || string(got.Auth.Token) != "token" || got.CallID != 9 {
			t.Errorf("body of %d: %+v, %v", n, got, err)
		}
	}
}

func TestFeatures(t *testing.T) {
	s := MustSyntax("6cb71c2c-9812-4540-0300-000000000000", 1, 0)
	if bits, ok := s.Features(); !ok || bits != 3 {
		t.Errorf("features %x, %v", bits, ok)
	}
	if _, ok := NDR.Features(); ok {
		t.Error("NDR taken for a feature negotiation")
	}
}

func TestStringsAndPointers(t *testing.T) {
	var w Writer
	w.Uint32(2)
	for _, s := range []string{"a", "Grüße"} {
		w.StringPointer(s)
	}
	w.Pointer(nil)
	r := NewReader(w.Bytes())
	if n := r.Count(4); n != 2 {
		t.Fatalf("count %d", n)
	}
	for i, want := range []bool{true, true, false} {
		if r.Pointer() != want {
			t.Fatalf("pointer %d is not %v", i, want)
		}
	}
	if a, b := r.String(), r.String(); a != "a" || b != "Grüße" || r.Err() != nil {
		t.Errorf("%q %q %v", a, b, r.Err())
	}
}

func FuzzDecode(f *testing.F) {
	bind := Bind{MaxXmit: 4280, MaxRecv: 4280, Contexts: []Context{{Abstract: srvsvc, Transfer: []Syntax{NDR}}}}
	frag := Fragment{Header: Header{Type: TypeBind, Flags: 3}, Body: bind.AppendTo(nil), Auth: &Auth{Type: 9, Level: 6, Token: []byte{1}}}
	f.Add(frag.AppendTo(nil))
	req := Request{Opnum: 15, Stub: []byte{1, 2, 3}}
	frag = Fragment{Header: Header{Type: TypeRequest, Flags: 3}, Body: req.AppendTo(nil)}
	f.Add(frag.AppendTo(nil))
	ack := BindAck{Address: "x", Results: []Result{{Transfer: NDR}}}
	frag = Fragment{Header: Header{Type: TypeBindAck, Flags: 3}, Body: ack.AppendTo(nil)}
	f.Add(frag.AppendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeFragment(b)
		if err != nil {
			return
		}
		if v, err := DecodeBind(d.Body); err == nil {
			if again, err := DecodeBind(v.AppendTo(nil)); err != nil || !reflect.DeepEqual(v, again) {
				t.Errorf("bind changed: %+v %+v %v", v, again, err)
			}
		}
		if v, err := DecodeBindAck(d.Body); err == nil && len(v.Results) < 256 {
			_, _ = DecodeBindAck(v.AppendTo(nil))
		}
		_, _ = DecodeRequest(d.Body, d.Flags)
		_, _ = DecodeResponse(d.Body)
		_, _ = DecodeFault(d.Body)
		r := NewReader(d.Body)
		for r.Err() == nil {
			_ = r.String()
		}
	})
}
