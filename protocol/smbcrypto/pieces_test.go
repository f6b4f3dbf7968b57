package smbcrypto

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"math/rand/v2"
	"testing"

	"gabion/protocol/smb2"
)

// split cuts m behind its header's block into pieces of whole cipher blocks, but for the last.
func split(rng *rand.Rand, m []byte) [][]byte {
	cut := min(len(m), 80)
	pieces := [][]byte{bytes.Clone(m[:cut])}
	for m = m[cut:]; len(m) > 0; {
		n := min(len(m), blockSize*(1+rng.IntN(300)))
		pieces = append(pieces, bytes.Clone(m[:n]))
		m = m[n:]
	}
	return pieces
}

// A message signed in pieces bears the signature that it has as a whole.
func TestSignPieces(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var scratch Scratch
	for i := range 200 {
		var key [16]byte
		for j := range key {
			key[j] = byte(rng.Uint32())
		}
		s, _ := NewSigner(smb2.SigningAESGMAC, key)
		m := message(16+rng.IntN(1<<uint(4+i%14)), smb2.FlagServerToRedir, smb2.CommandRead)
		pieces := split(rng, m)
		if !Whole(pieces) {
			t.Fatal("pieces are not whole")
		}
		s.Sign(m, &scratch)
		s.SignPieces(pieces, &scratch)
		if !bytes.Equal(bytes.Join(pieces, nil), m) {
			t.Fatalf("%d bytes in %d pieces: another message", len(m), len(pieces))
		}
	}
}

// A message sealed in pieces, wherever they lie, is sealed as it is as a whole.
func TestSealPieces(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var scratch Scratch
	for i := range 200 {
		c := []smb2.Cipher{smb2.CipherAES128GCM, smb2.CipherAES256GCM}[i%2]
		key := make([]byte, KeySize(c))
		for j := range key {
			key[j] = byte(rng.Uint32())
		}
		s, err := NewSealer(c, key)
		if err != nil {
			t.Fatal(err)
		}
		m := message(rng.IntN(1<<uint(4+i%14)), smb2.FlagServerToRedir, smb2.CommandRead)
		whole := append(make([]byte, smb2.TransformHeaderSize), m...)
		h := smb2.PutTransformHeader(whole, uint32(len(m)), 9)
		s.nonce(h.Nonce())
		frame := append(bytes.Clone(whole), make([]byte, Overhead)...)[:len(whole)]
		s.SealAs(whole)

		pieces := split(rng, m)
		apart := make([][]byte, len(pieces))
		at := smb2.TransformHeaderSize
		for j, p := range pieces {
			apart[j] = bytes.Clone(p)
			in := frame[at : at+len(p)]
			if at += len(p); rng.IntN(2) == 0 {
				pieces[j] = in // it lies where it goes
			} else {
				clear(in)
			}
		}
		before := bytes.Join(apart, nil)
		outside := bytes.Join(pieces, nil)
		if !bytes.Equal(before, outside) {
			t.Fatal("pieces differ before")
		}
		s.sealPieces(frame, pieces, &scratch)
		if !bytes.Equal(frame, whole) {
			t.Fatalf("%d bytes in %d pieces: sealed otherwise", len(m), len(pieces))
		}
		if plain, err := s.Open(bytes.Clone(frame), &scratch); err != nil || !bytes.Equal(plain, m) {
			t.Fatalf("%d bytes in %d pieces do not open: %v", len(m), len(pieces), err)
		}
		for j := range pieces {
			if &pieces[j][0] != &frame[smb2.TransformHeaderSize] && cap(pieces[j]) == len(apart[j]) && !bytes.Equal(pieces[j], apart[j]) {
				t.Fatal("a piece that lay elsewhere was written to")
			}
		}
	}
}

// Both are the same with a message of several megabytes, whose counter passes 2^16.
func TestLargePieces(t *testing.T) {
	m := message(4<<20, smb2.FlagServerToRedir, smb2.CommandRead)
	var scratch Scratch
	s, _ := NewSigner(smb2.SigningAESGMAC, [16]byte{7})
	pieces := [][]byte{bytes.Clone(m[:80]), m[80 : 80+1<<20], m[80+1<<20:]}
	s.SignPieces(pieces, &scratch)
	whole := bytes.Join(pieces, nil)
	if !s.Verify(whole, &scratch) {
		t.Error("signature refused")
	}
	e, _ := NewSealer(smb2.CipherAES256GCM, bytes.Repeat([]byte{3}, 32))
	frame := make([]byte, smb2.TransformHeaderSize+len(m), smb2.TransformHeaderSize+len(m)+Overhead)
	e.SealPieces(frame, pieces, 1, &scratch)
	if plain, err := e.Open(frame, &scratch); err != nil || !bytes.Equal(plain, whole) {
		t.Errorf("does not open: %v", err)
	}
}

// The field's arithmetic is that of GCM: a nonce solved for gives the counter block asked for.
func TestNonceForCounter(t *testing.T) {
	block, _ := aes.NewCipher(bytes.Repeat([]byte{5}, 16))
	p := newPoint(block)
	if one := (element{lo: 1}); p.h.times(p.inverse) != one || p.shift(one, 6) != p.h.times(p.h).times(p.h).times(p.h).times(p.h).times(p.h) {
		t.Fatal("inverse or powers are wrong")
	}
	want, _ := cipher.NewGCM(block)
	short := bytes.Repeat([]byte{8}, 12)
	j := append(bytes.Clone(short), 0, 0, 0, 1)
	long := make([]byte, blockSize)
	p.nonce(j, long)
	text := []byte("as if it had been the short one")
	if !bytes.Equal(p.gcm.Seal(nil, long, text, nil), want.Seal(nil, short, text, nil)) {
		t.Error("sealed otherwise")
	}
}

func BenchmarkPieces(b *testing.B) {
	whole := make([]byte, smb2.TransformHeaderSize+80+1<<20, 2<<20)
	data := make([]byte, 128<<20)
	var scratch Scratch
	run := func(name string, f func(pieces [][]byte, i int)) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(1 << 20)
			b.ReportAllocs()
			pieces := make([][]byte, 17)
			pieces[0] = whole[smb2.TransformHeaderSize : smb2.TransformHeaderSize+80]
			copy(pieces[0], message(16, smb2.FlagServerToRedir, smb2.CommandRead))
			for i := 0; b.Loop(); i++ {
				for j := range 16 {
					at := (i*16 + j) % (len(data) / (64 << 10)) * (64 << 10)
					pieces[j+1] = data[at : at+64<<10]
				}
				f(pieces, i)
			}
		})
	}
	s, _ := NewSigner(smb2.SigningAESGMAC, [16]byte{7})
	e, _ := NewSealer(smb2.CipherAES128GCM, bytes.Repeat([]byte{3}, 16))
	gather := func(pieces [][]byte) {
		at := smb2.TransformHeaderSize + 80
		for _, p := range pieces[1:] {
			at += copy(whole[at:], p)
		}
	}
	run("sign whole", func(pieces [][]byte, i int) {
		gather(pieces)
		s.Sign(whole[smb2.TransformHeaderSize:], &scratch)
	})
	run("sign pieces", func(pieces [][]byte, i int) { s.SignPieces(pieces, &scratch) })
	run("seal whole", func(pieces [][]byte, i int) {
		gather(pieces)
		e.Seal(whole, 1)
	})
	run("seal pieces", func(pieces [][]byte, i int) { e.SealPieces(whole, pieces, 1, &scratch) })
	for _, n := range []int{80, 64 << 10} {
		run(fmt.Sprintf("point %d", n), func(pieces [][]byte, i int) { newPoint(e.point.block) })
	}
}
