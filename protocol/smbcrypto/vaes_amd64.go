package smbcrypto

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"

	"golang.org/x/sys/cpu"
)

// The standard library's GCM uses one block per instruction; processors with AVX-512, VAES
// and VPCLMULQDQ do four, which makes the large messages of bulk transfers two to four times
// as cheap. What is short stays with the standard library, as do other processors.

var wide = cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL &&
	cpu.X86.HasAVX512VAES && cpu.X86.HasAVX512VPCLMULQDQ && cpu.X86.HasAES

//go:noescape
func subWord(x uint32) uint32

// ghashUnits absorbs units of 256 bytes.
//
//go:noescape
func ghashUnits(powers *[256]byte, acc *[blockSize]byte, p *byte, units int)

// ctrUnits encrypts units of 256 bytes in counter mode and moves the counter on.
//
//go:noescape
func ctrUnits(keys *[240]byte, rounds int, counter *[blockSize]byte, dst, src *byte, units int)

const (
	unit = 256
	// wideFrom is how long a message must be for its two incomplete units to pay.
	wideFrom = 2048
	// wideStep is how much is encrypted before it is authenticated: it stays in the
	// innermost cache meanwhile.
	wideStep = 8 << 10
)

// wideGCM is AES-GCM (NIST SP 800-38D) with nonces of 12 bytes. A message may be where it
// goes to, or apart from it.
type wideGCM struct {
	short  cipher.AEAD
	keys   [240]byte // round keys
	rounds int
	powers [unit]byte // of H, from the sixteenth down to the first
}

// newGCM returns AES-GCM under a key of 16 or 32 bytes, of which block is the cipher.
func newGCM(key []byte, block cipher.Block) (cipher.AEAD, error) {
	short, err := cipher.NewGCM(block)
	if err != nil || !wide || len(key) != 16 && len(key) != 32 {
		return short, err
	}
	g := &wideGCM{short: short, rounds: len(key)/4 + 6}
	g.expand(key)
	h := make([]byte, blockSize)
	block.Encrypt(h, h)
	g.raise([blockSize]byte(h))
	return g, nil
}

// expand is KeyExpansion of FIPS 197 5.2, on little-endian words.
func (g *wideGCM) expand(key []byte) {
	le := binary.LittleEndian
	nk := len(key) / 4
	copy(g.keys[:], key)
	rcon := uint32(1)
	for i := nk; i < 4*(g.rounds+1); i++ {
		t := le.Uint32(g.keys[4*(i-1):])
		switch {
		case i%nk == 0:
			t = subWord(bits.RotateLeft32(t, -8)) ^ rcon
			if rcon <<= 1; rcon > 0xff {
				rcon = 0x1b
			}
		case nk > 6 && i%nk == 4:
			t = subWord(t)
		}
		le.PutUint32(g.keys[4*i:], t^le.Uint32(g.keys[4*(i-nk):]))
	}
}

// raise fills powers. A table with H alone in the last place multiplies the last block of a
// unit by it.
func (g *wideGCM) raise(h [blockSize]byte) {
	var once [unit]byte
	doubled(once[unit-blockSize:], &h)
	power := h
	for at := unit - blockSize; ; at -= blockSize {
		doubled(g.powers[at:], &power)
		if at == 0 {
			return
		}
		var p [unit]byte
		copy(p[unit-blockSize:], power[:])
		power = [blockSize]byte{}
		ghashUnits(&once, &power, &p[0], 1)
	}
}

// doubled writes h times x, in the order of bytes that the multiplication wants.
func doubled(out []byte, h *[blockSize]byte) {
	hi, lo := binary.BigEndian.Uint64(h[:]), binary.BigEndian.Uint64(h[8:])
	carry := hi >> 63
	hi, lo = hi<<1|lo>>63, lo<<1
	binary.LittleEndian.PutUint64(out, lo^carry)
	binary.LittleEndian.PutUint64(out[8:], hi^0xc200000000000000&-carry)
}

// absorb hashes whole units and returns the rest.
func (g *wideGCM) absorb(acc *[blockSize]byte, p []byte) []byte {
	if n := len(p) / unit; n > 0 {
		ghashUnits(&g.powers, acc, &p[0], n)
		p = p[n*unit:]
	}
	return p
}

// finish hashes less than a unit, padded with zeros to blocks, and then the block of lengths
// if there is one: at the end of a unit, where their powers are the lowest.
func (g *wideGCM) finish(acc *[blockSize]byte, p []byte, lengths []byte) {
	var u [unit]byte
	n := (len(p)+blockSize-1)&^(blockSize-1) + len(lengths)
	if n == 0 {
		return
	}
	if n > unit {
		g.finish(acc, p, nil)
		g.finish(acc, nil, lengths)
		return
	}
	at := u[unit-n:]
	copy(at, p)
	copy(u[unit-len(lengths):], lengths)
	subtle.XORBytes(at, at, acc[:])
	*acc = [blockSize]byte{}
	ghashUnits(&g.powers, acc, &u[0], 1)
}

// stream applies the key stream from counter on; only the last call may be for other than
// whole units.
func (g *wideGCM) stream(counter *[blockSize]byte, dst, src []byte) {
	if n := len(src) / unit; n > 0 {
		ctrUnits(&g.keys, g.rounds, counter, &dst[0], &src[0], n)
		dst, src = dst[n*unit:], src[n*unit:]
	}
	if len(src) > 0 {
		var u [unit]byte
		ctrUnits(&g.keys, g.rounds, counter, &u[0], &u[0], 1)
		subtle.XORBytes(dst, src, u[:])
	}
}

// run en- or decrypts and computes the tag.
func (g *wideGCM) run(dst, nonce, src, ad []byte, opens bool) (tag [blockSize]byte) {
	var mask, acc, counter, lengths [blockSize]byte
	copy(counter[:], nonce)
	counter[blockSize-1] = 1
	g.stream(&counter, mask[:], mask[:])
	copy(counter[:], nonce)
	binary.BigEndian.PutUint32(counter[12:], 2)

	binary.BigEndian.PutUint64(lengths[:], uint64(len(ad))*8)
	binary.BigEndian.PutUint64(lengths[8:], uint64(len(src))*8)
	rest := g.absorb(&acc, ad)
	if len(src) == 0 {
		g.finish(&acc, rest, lengths[:])
	} else {
		g.finish(&acc, rest, nil)
	}
	for len(src) > 0 {
		n := min(len(src), wideStep)
		last := n == len(src)
		if opens {
			g.authenticate(&acc, src[:n], last, lengths[:])
		}
		g.stream(&counter, dst[:n], src[:n])
		if !opens {
			g.authenticate(&acc, dst[:n], last, lengths[:])
		}
		dst, src = dst[n:], src[n:]
	}
	subtle.XORBytes(tag[:], acc[:], mask[:])
	return tag
}

// authenticate hashes a step of the encrypted message, which only the last leaves incomplete.
func (g *wideGCM) authenticate(acc *[blockSize]byte, p []byte, last bool, lengths []byte) {
	if rest := g.absorb(acc, p); last {
		g.finish(acc, rest, lengths)
	}
}

// NonceSize implements cipher.AEAD.
func (g *wideGCM) NonceSize() int { return g.short.NonceSize() }

// Overhead implements cipher.AEAD.
func (g *wideGCM) Overhead() int { return g.short.Overhead() }

// Seal implements cipher.AEAD.
func (g *wideGCM) Seal(dst, nonce, src, ad []byte) []byte {
	if len(src)+len(ad) < wideFrom || len(nonce) != g.NonceSize() {
		return g.short.Seal(dst, nonce, src, ad)
	}
	n := len(dst)
	dst = slices.Grow(dst, len(src)+blockSize)[:n+len(src)+blockSize]
	tag := g.run(dst[n:n+len(src)], nonce, src, ad, false)
	copy(dst[n+len(src):], tag[:])
	return dst
}

var errOpen = errors.New("smbcrypto: wrong tag")

// Open implements cipher.AEAD.
func (g *wideGCM) Open(dst, nonce, src, ad []byte) ([]byte, error) {
	if len(src)+len(ad) < wideFrom || len(nonce) != g.NonceSize() || len(src) < blockSize {
		return g.short.Open(dst, nonce, src, ad)
	}
	n := len(dst)
	src, want := src[:len(src)-blockSize], src[len(src)-blockSize:]
	dst = slices.Grow(dst, len(src))[:n+len(src)]
	tag := g.run(dst[n:], nonce, src, ad, true)
	if subtle.ConstantTimeCompare(tag[:], want) != 1 {
		clear(dst[n:])
		return nil, errOpen
	}
	return dst, nil
}
