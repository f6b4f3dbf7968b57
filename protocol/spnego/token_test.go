package spnego

import (
	"encoding/asn1"
	"encoding/hex"
	"reflect"
	"testing"
)

func TestInitRoundTrip(t *testing.T) {
	mechs := []asn1.ObjectIdentifier{Kerberos, NTLMSSP}
	for _, want := range []Init{
		{Mechs: mechs},
		{Mechs: mechs, Token: []byte("token")},
		{Mechs: mechs, Token: []byte{}, MIC: []byte("mic")},
		{Mechs: mechs, Hint: "not_defined_in_RFC4178@please_ignore"},
		{Mechs: mechs, Hint: "x", MIC: []byte("mic")},
	} {
		want.MechList = EncodeMechList(want.Mechs)
		got, err := DecodeInit(want.Append(nil))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v: %+v, %v", want, got, err)
		}
	}
}

func TestRespRoundTrip(t *testing.T) {
	for _, want := range []Resp{
		{State: NoState, Token: []byte("token")},
		{State: AcceptIncomplete, Mech: NTLMSSP, Token: []byte("challenge")},
		{State: AcceptCompleted, MIC: []byte("mic")},
	} {
		got, err := DecodeResp(want.Append(nil))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v: %+v, %v", want, got, err)
		}
	}
}

// The NegTokenInit that Windows 10 sends with an NTLMSSP NEGOTIATE inside.
func TestWindowsInit(t *testing.T) {
	b, _ := hex.DecodeString("604806062b0601050502a03e303ca00e300c060a2b06010401823702020aa22a04284e544c4d5353500001000000978208e2000000000000000000000000000000000a00614a0000000f")
	v, err := DecodeInit(b)
	if err != nil || len(v.Mechs) != 1 || !v.Mechs[0].Equal(NTLMSSP) || string(v.Token[:7]) != "NTLMSSP" {
		t.Errorf("%+v, %v", v, err)
	}
}

func FuzzDecode(f *testing.F) {
	i := Init{Mechs: []asn1.ObjectIdentifier{NTLMSSP}, Token: []byte{1}, Hint: "h"}
	f.Add(i.Append(nil))
	r := Resp{State: RequestMIC, Mech: NTLMSSP, Token: []byte{1}, MIC: []byte{2}}
	f.Add(r.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := DecodeInit(b); err == nil {
			if _, err := DecodeInit(v.Append(nil)); err != nil {
				t.Errorf("re-encoded: %v", err)
			}
		}
		if v, err := DecodeResp(b); err == nil {
			if _, err := DecodeResp(v.Append(nil)); err != nil {
				t.Errorf("re-encoded: %v", err)
			}
		}
	})
}
