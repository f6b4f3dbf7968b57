package ntlm

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"

	"gabion/protocol/dtyp"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

var (
	serverChallenge = [8]byte{1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}
	clientChallenge = [8]byte{0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa}
)

// The NTLMv2 example of MS-NLMP 4.2.4.
func TestSpecificationExample(t *testing.T) {
	h := HashPassword("Password")
	if got := h.responseKey("User", "Domain"); !bytes.Equal(got[:], unhex("0c868a403bfd7a93a3001ef22ef02e3f")) {
		t.Errorf("NTOWFv2 %x", got)
	}
	var info TargetInfo
	info.AddString(AvDomainName, "Domain")
	info.AddString(AvComputerName, "Server")
	response, base := Respond(h, "User", "Domain", serverChallenge, clientChallenge, 0, info.Bytes())
	if !bytes.Equal(response[:16], unhex("68cd0ab851e51c96aabc927bebef6a1c")) {
		t.Errorf("NTProofStr %x", response[:16])
	}
	if !bytes.Equal(base[:], unhex("8de40ccadbc14a82f15cb0ad0de95ca3")) {
		t.Errorf("SessionBaseKey %x", base)
	}
	random := [16]byte(bytes.Repeat([]byte{0x55}, 16))
	if got := EncryptKey(base, random); !bytes.Equal(got[:], unhex("c5dad2544fc9799094ce1ce90bc9d03e")) {
		t.Errorf("encrypted session key %x", got)
	}
	// 4.2.4.4: GSS_WRAP of "Plaintext".
	flags := uint32(0xe28a8233)
	s := NewSecurity(flags, random, true)
	text := dtyp.EncodeUTF16("Plaintext")
	sig := s.Seal(text)
	if !bytes.Equal(text, unhex("54e50165bf1936dc996020c1811b0f06fb5f")) || !bytes.Equal(sig[:], unhex("010000007fb38ec5c55d497600000000")) {
		t.Errorf("sealed %x, signature %x", text, sig)
	}
	server := NewSecurity(flags, random, false)
	if !server.Unseal(text, sig[:]) || dtyp.DecodeUTF16(text) != "Plaintext" {
		t.Errorf("unsealed %q", dtyp.DecodeUTF16(text))
	}

	r, err := DecodeResponse(response)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := r.Verify(h, "uSER", "Domain", serverChallenge); !ok || got != base {
		t.Errorf("verify: %x, %v", got, ok)
	}
	for name, try := range map[string]func() bool{
		"password":  func() bool { _, ok := r.Verify(HashPassword("password"), "User", "Domain", serverChallenge); return ok },
		"domain":    func() bool { _, ok := r.Verify(h, "User", "domain", serverChallenge); return ok },
		"challenge": func() bool { _, ok := r.Verify(h, "User", "Domain", clientChallenge); return ok },
	} {
		if try() {
			t.Errorf("accepted with another %s", name)
		}
	}
}

func TestMessagesRoundTrip(t *testing.T) {
	n := Negotiate{Flags: 0xe2088297}
	if got, err := DecodeNegotiate(n.Encode()); err != nil || got != n {
		t.Errorf("%+v, %v", got, err)
	}
	c := Challenge{Flags: 0x628a8215, TargetName: "ARRAY", ServerChallenge: serverChallenge, TargetInfo: []byte{0, 0, 0, 0}}
	if got, err := DecodeChallenge(c.Encode()); err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("%+v, %v", got, err)
	}
	a := Authenticate{Flags: FlagUnicode, LMResponse: make([]byte, 24), NTResponse: []byte("response"), Domain: "D", User: "Jörg",
		Workstation: "WS", SessionKey: make([]byte, 16), MIC: bytes.Repeat([]byte{7}, 16)}
	b := a.Encode()
	got, err := DecodeAuthenticate(b)
	if err != nil || !reflect.DeepEqual(got, a) {
		t.Errorf("%+v, %v", got, err)
	}
	mic := MIC([16]byte{1}, []byte("n"), []byte("c"), b)
	SetMIC(b, mic)
	if again := MIC([16]byte{1}, []byte("n"), []byte("c"), b); again != mic {
		t.Error("the MIC depends on itself")
	}
}

func FuzzDecode(f *testing.F) {
	n := Negotiate{Flags: 1}
	f.Add(n.Encode())
	c := Challenge{TargetName: "A", TargetInfo: []byte{0, 0, 0, 0}}
	f.Add(c.Encode())
	a := Authenticate{User: "u", NTResponse: make([]byte, 60)}
	f.Add(a.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = DecodeNegotiate(b)
		if c, err := DecodeChallenge(b); err == nil {
			_, _ = FindAv(c.TargetInfo, AvTimestamp)
		}
		if a, err := DecodeAuthenticate(b); err == nil {
			if r, err := DecodeResponse(a.NTResponse); err == nil {
				_, _ = FindAv(r.AvPairs, AvFlags)
			}
			MIC([16]byte{}, nil, nil, b)
		}
	})
}
