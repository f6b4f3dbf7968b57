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
	got, err := (&Fragment{Body: want.AppendTo(nil)}).DecodeBind()
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

// A peer whose integers have the other order says the same.
func TestBigEndian(t *testing.T) {
	h, err := DecodeHeader([]byte{5, 0, 0, 3, 0, 0, 0, 0, 0, 40, 0, 8, 0, 0, 1, 2})
	if want := (Header{Flags: 3, FragLength: 40, AuthLength: 8, CallID: 0x102, BigEndian: true}); err != nil || h != want {
		t.Errorf("%+v, %v", h, err)
	}
	r := Stub{Data: []byte{0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3,
		0x4b, 0x32, 0x4f, 0xc8, 0x16, 0x70, 0x01, 0xd3, 0x12, 0x78, 0x5a, 0x47, 0xbf, 0x6e, 0xe1, 0x88,
		0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 'A', 0, 0}, BigEndian: true}.Reader()
	if a, b, c, g, s := r.Uint16(), r.Uint32(), r.Uint64(), r.GUID(), r.String(); a != 1 || b != 2 || c != 3 || g != srvsvc.UUID || s != "A" || r.Err() != nil {
		t.Errorf("%d %d %d %v %q %v", a, b, c, g, s, r.Err())
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
		if v, err := d.DecodeBind(); err == nil {
			if again, err := (&Fragment{Body: v.AppendTo(nil)}).DecodeBind(); err != nil || !reflect.DeepEqual(v, again) {
				t.Errorf("bind changed: %+v %+v %v", v, again, err)
			}
		}
		if v, err := DecodeBindAck(d.Body); err == nil && len(v.Results) < 256 {
			_, _ = DecodeBindAck(v.AppendTo(nil))
		}
		_, _ = d.DecodeRequest()
		_, _ = DecodeResponse(d.Body)
		_, _ = DecodeFault(d.Body)
		r := d.reader(d.Body)
		for r.Err() == nil {
			_ = r.String()
		}
	})
}
