package smbcrypto

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"math/rand/v2"
	"strconv"
	"testing"
)

// both returns the package's GCM and the standard library's under one key.
func both(t testing.TB, key []byte) (ours, theirs cipher.AEAD) {
	block, err := aes.NewCipher(key)
	if err == nil {
		ours, err = newGCM(key, block)
	}
	if err == nil {
		theirs, err = cipher.NewGCM(block)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

// agree holds GCM to the standard library's: sealed in place and apart, opened, and refused
// when a bit differs.
func agree(t *testing.T, key, nonce, msg, ad []byte) {
	t.Helper()
	ours, theirs := both(t, key)
	want := theirs.Seal(nil, nonce, msg, ad)
	if got := ours.Seal([]byte{1, 2}, nonce, msg, ad)[2:]; !bytes.Equal(got, want) {
		t.Fatalf("key %d, message %d, associated %d: sealed differently", len(key), len(msg), len(ad))
	}
	place := append(make([]byte, 0, len(msg)+Overhead), msg...)
	if got := ours.Seal(place[:0], nonce, place, ad); !bytes.Equal(got, want) || len(msg) > 0 && &got[0] != &place[0] {
		t.Fatalf("key %d, message %d, associated %d: differently in place", len(key), len(msg), len(ad))
	}
	sealed := bytes.Clone(want)
	got, err := ours.Open(sealed[:0], nonce, sealed, ad)
	if err != nil || !bytes.Equal(got, msg) {
		t.Fatalf("key %d, message %d, associated %d: %v", len(key), len(msg), len(ad), err)
	}
	for _, at := range []int{0, len(want) / 2, len(want) - 1} {
		bad := bytes.Clone(want)
		bad[at] ^= 4
		if _, err := ours.Open(bad[:0], nonce, bad, ad); err == nil {
			t.Fatalf("message %d: changed byte %d went unnoticed", len(msg), at)
		}
		if !bytes.Equal(bad[:len(msg)], make([]byte, len(msg))) {
			t.Fatalf("message %d: something is left of what is not authentic", len(msg))
		}
	}
}

func TestGCMAgrees(t *testing.T) {
	r := rand.NewChaCha8([32]byte{7})
	bytesOf := func(n int) []byte {
		b := make([]byte, n)
		r.Read(b)
		return b
	}
	for _, size := range []int{16, 32} {
		for _, n := range []int{0, 1, 2047, 2048, 2049, 4096, wideStepOdd - 1, wideStepOdd, wideStepOdd + 1, 65536, 1<<20 + 80} {
			for _, ad := range []int{0, 13, 32, 240, 241, 255, 256, 2064, 4096 + 64} {
				agree(t, bytesOf(size), bytesOf(12), bytesOf(n), bytesOf(ad))
			}
		}
		for n := 2048; n < 2048+530; n++ {
			agree(t, bytesOf(size), bytesOf(12), bytesOf(n), bytesOf(n%40))
			agree(t, bytesOf(size), bytesOf(12), nil, bytesOf(n))
		}
	}
}

// wideStepOdd is where a message takes several steps.
const wideStepOdd = 16<<10 + 256

func FuzzGCM(f *testing.F) {
	f.Add(make([]byte, 16), make([]byte, 12), []byte("message"), []byte("ad"), uint16(300))
	f.Fuzz(func(t *testing.T, key, nonce, msg, ad []byte, times uint16) {
		if len(key) >= 32 {
			key = key[:32]
		} else {
			key = append(bytes.Clone(key), make([]byte, 16)...)[:16]
		}
		nonce = append(bytes.Clone(nonce), make([]byte, 12)...)[:12]
		agree(t, key, nonce, bytes.Repeat(msg, min(int(times), 1<<16/(len(msg)+1))), ad)
	})
}

func BenchmarkGCM(b *testing.B) {
	for _, n := range []int{4 << 10, 64 << 10, 1 << 20} {
		for _, mode := range []string{"seal", "open", "mac"} {
			b.Run(mode+"/"+strconv.Itoa(n>>10)+"k", func(b *testing.B) {
				g, _ := both(b, make([]byte, 16))
				msg, nonce, tag := make([]byte, n, n+Overhead), make([]byte, 12), make([]byte, 0, Overhead)
				sealed := g.Seal(nil, nonce, msg, nil)
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					switch mode {
					case "seal":
						g.Seal(msg[:0], nonce, msg[:n], nil)
					case "open":
						g.Open(sealed[:0], nonce, sealed, nil) //nolint:errcheck // it costs the same
					default:
						g.Seal(tag, nonce, nil, msg)
					}
				}
			})
		}
	}
}
