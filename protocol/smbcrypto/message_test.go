package smbcrypto

import (
	"bytes"
	"testing"

	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

func message(n int, flags smb2.HeaderFlags, c smb2.Command) []byte {
	m := smb2.AppendHeader(nil, &smb2.HeaderFields{Command: c, Flags: flags, MessageID: 77, SessionID: 5, Status: ntstatus.Success})
	for i := range n {
		m = append(m, byte(i*31))
	}
	return m
}

var algorithms = []smb2.SigningAlgorithm{smb2.SigningHMACSHA256, smb2.SigningAESCMAC, smb2.SigningAESGMAC}

func TestSignVerify(t *testing.T) {
	for _, a := range algorithms {
		s, err := NewSigner(a, [16]byte{1, 2, 3})
		if err != nil {
			t.Fatal(err)
		}
		var scratch Scratch
		for _, n := range []int{0, 1, 4, 15, 16, 17, 4096} {
			m := message(n, 0, smb2.CommandWrite)
			s.Sign(m, &scratch)
			if !smb2.Header(m).IsSigned() || bytes.Equal(smb2.Header(m).Signature(), make([]byte, 16)) {
				t.Fatalf("%s: not signed", a)
			}
			before := bytes.Clone(m)
			if !s.Verify(m, &scratch) || !bytes.Equal(m, before) {
				t.Fatalf("%s %d: own signature refused, or message changed", a, n)
			}
			for _, i := range []int{0, 24, 48, 63, len(m) - 1} {
				m[i] ^= 1
				if s.Verify(m, &scratch) {
					t.Errorf("%s: changed byte %d went unnoticed", a, i)
				}
				m[i] ^= 1
			}
			if s.Verify(m[:len(m)-1], &scratch) {
				t.Errorf("%s: truncation went unnoticed", a)
			}
		}
		if s.Verify(make([]byte, 10), &scratch) {
			t.Errorf("%s: verified nothing", a)
		}
	}
	if _, err := NewSigner(9, [16]byte{}); err == nil {
		t.Error("signer of an unknown algorithm")
	}
}

// CMAC over the message in place is CMAC over the message with zeros.
func TestCMACInPlace(t *testing.T) {
	s, _ := NewSigner(smb2.SigningAESCMAC, [16]byte{9})
	for n := range 70 {
		m := message(n, smb2.FlagSigned, smb2.CommandRead)
		want := CMAC(s.cmac.block, nil, m)
		s.Sign(m, nil)
		if !bytes.Equal(smb2.Header(m).Signature(), want) {
			t.Fatalf("%d bytes", n)
		}
	}
}

// The roles of [MS-SMB2] 3.1.4.1 keep the nonces of request, response and CANCEL of
// one MessageId apart.
func TestGMACRoles(t *testing.T) {
	for _, v := range []struct {
		flags smb2.HeaderFlags
		c     smb2.Command
		want  uint32
	}{
		{0, smb2.CommandRead, 0}, {smb2.FlagServerToRedir, smb2.CommandRead, 1}, {0, smb2.CommandCancel, 2},
	} {
		if got := gmacRole(smb2.Header(message(4, v.flags, v.c))); got != v.want {
			t.Errorf("%v %v: %d", v.flags, v.c, got)
		}
	}
}

var ciphers = []smb2.Cipher{smb2.CipherAES128CCM, smb2.CipherAES128GCM, smb2.CipherAES256CCM, smb2.CipherAES256GCM}

func frame(n, spare int) []byte {
	f := make([]byte, smb2.TransformHeaderSize+n, smb2.TransformHeaderSize+n+spare)
	for i := range f[smb2.TransformHeaderSize:] {
		f[smb2.TransformHeaderSize+i] = byte(i)
	}
	return f
}

func TestSealOpen(t *testing.T) {
	for _, c := range ciphers {
		s, err := NewSealer(c, bytes.Repeat([]byte{3}, KeySize(c)))
		if err != nil {
			t.Fatal(err)
		}
		var scratch Scratch
		for _, spare := range []int{0, Overhead} {
			for _, n := range []int{1, 15, 16, 17, 64, 5000} {
				f := frame(n, spare)
				plain := bytes.Clone(f[smb2.TransformHeaderSize:])
				s.Seal(f, 42)
				// A byte encrypts to itself under one nonce of 256.
				if n > 8 && bytes.Equal(f[smb2.TransformHeaderSize:], plain) {
					t.Fatalf("%s: not encrypted", c)
				}
				h, err := smb2.ParseTransformHeader(f)
				if err != nil || h.SessionID() != 42 || h.Flags() != smb2.TransformEncrypted {
					t.Fatalf("%s: header %s %v", c, h, err)
				}
				for _, i := range []int{4, 19, 20, 36, 45, 51, 52, len(f) - 1} {
					bad := append(make([]byte, 0, len(f)+spare), f...)
					bad[i] ^= 0x80
					if _, err := s.Open(bad, &scratch); err == nil {
						t.Errorf("%s: changed byte %d went unnoticed", c, i)
					}
				}
				got, err := s.Open(f, &scratch)
				if err != nil || !bytes.Equal(got, plain) || &got[0] != &f[smb2.TransformHeaderSize] {
					t.Fatalf("%s %d+%d: %v", c, n, spare, err)
				}
			}
		}
	}
}

func TestNoncesDiffer(t *testing.T) {
	s, _ := NewSealer(smb2.CipherAES128GCM, make([]byte, 16))
	seen := map[string]bool{}
	for range 1000 {
		f := frame(8, Overhead)
		s.Seal(f, 1)
		n := string(smb2.TransformHeader(f[:smb2.TransformHeaderSize]).Nonce())
		if seen[n] {
			t.Fatal("nonce repeated")
		}
		seen[n] = true
	}
}

func TestSealerRefusesWrongKeys(t *testing.T) {
	for _, c := range append(ciphers, 0, 9) {
		if _, err := NewSealer(c, make([]byte, 24)); err == nil {
			t.Errorf("%s took a 24-byte key", c)
		}
	}
}

func TestDataPathDoesNotAllocate(t *testing.T) {
	scratch := new(Scratch)
	m := message(4096, 0, smb2.CommandWrite)
	for _, a := range algorithms[1:] {
		s, _ := NewSigner(a, [16]byte{1})
		if n := testing.AllocsPerRun(50, func() { s.Sign(m, scratch); s.Verify(m, scratch) }); n != 0 {
			t.Errorf("%s: %v allocations", a, n)
		}
	}
	for _, c := range []smb2.Cipher{smb2.CipherAES128GCM, smb2.CipherAES256GCM} {
		s, _ := NewSealer(c, make([]byte, KeySize(c)))
		f := frame(4096, Overhead)
		if n := testing.AllocsPerRun(50, func() {
			s.Seal(f, 1)
			if _, err := s.Open(f, scratch); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", c, n)
		}
	}
}

func FuzzOpen(f *testing.F) {
	g := frame(20, Overhead)
	s, _ := NewSealer(smb2.CipherAES128CCM, make([]byte, 16))
	s.Seal(g, 1)
	f.Add(g)
	f.Add([]byte{})
	gcm, _ := NewSealer(smb2.CipherAES128GCM, make([]byte, 16))
	f.Fuzz(func(t *testing.T, b []byte) {
		var scratch Scratch
		s.Open(bytes.Clone(b), &scratch)
		gcm.Open(bytes.Clone(b), &scratch)
	})
}

func BenchmarkSign(b *testing.B) {
	for _, a := range algorithms {
		b.Run(a.String(), func(b *testing.B) {
			s, _ := NewSigner(a, [16]byte{1})
			m, scratch := message(65536, 0, smb2.CommandWrite), new(Scratch)
			b.SetBytes(int64(len(m)))
			b.ReportAllocs()
			for b.Loop() {
				s.Sign(m, scratch)
			}
		})
	}
}

func BenchmarkSeal(b *testing.B) {
	for _, c := range ciphers {
		b.Run(c.String(), func(b *testing.B) {
			s, _ := NewSealer(c, make([]byte, KeySize(c)))
			f := frame(65536, Overhead)
			b.SetBytes(int64(len(f)))
			b.ReportAllocs()
			for b.Loop() {
				s.Seal(f, 1)
			}
		})
	}
}
