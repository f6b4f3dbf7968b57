package smbcrypto

import (
	"crypto/cipher"
	"encoding/binary"
	"math/bits"
	"sync/atomic"
)

// GCM's hash is a polynomial in a secret point H of a field of 2^128 elements [NIST SP 800-38D] 6.4. So the
// hash of a message follows from those of its pieces, which the standard library computes: this file has
// the few multiplications that put them together. They take the same time whatever they multiply.

// element is of the field: bit i of lo, hi is the coefficient of x^i, x^(64+i).
type element struct{ lo, hi uint64 }

// elementOf reads a block, whose first bit is the coefficient of x^0 [NIST SP 800-38D] 6.3.
func elementOf(b []byte) element {
	return element{bits.Reverse64(binary.BigEndian.Uint64(b)), bits.Reverse64(binary.BigEndian.Uint64(b[8:]))}
}

func (a element) put(b []byte) {
	binary.BigEndian.PutUint64(b, bits.Reverse64(a.lo))
	binary.BigEndian.PutUint64(b[8:], bits.Reverse64(a.hi))
}

func (a element) plus(b element) element { return element{a.lo ^ b.lo, a.hi ^ b.hi} }

// times multiplies modulo x^128 + x^7 + x^2 + x + 1.
func (a element) times(b element) element {
	z1, z0 := carryless(a.lo, b.lo)
	z3, z2 := carryless(a.hi, b.hi)
	m1, m0 := carryless(a.lo^a.hi, b.lo^b.hi)
	m0 ^= z0 ^ z2
	m1 ^= z1 ^ z3
	z1 ^= m0
	z2 ^= m1
	z1 ^= z3 ^ z3<<1 ^ z3<<2 ^ z3<<7
	z2 ^= z3>>63 ^ z3>>62 ^ z3>>57
	z0 ^= z2 ^ z2<<1 ^ z2<<2 ^ z2<<7
	z1 ^= z2>>63 ^ z2>>62 ^ z2>>57
	return element{z0, z1}
}

// carryless is the product of polynomials.
func carryless(a, b uint64) (hi, lo uint64) {
	return bits.Reverse64(carrylessLow(bits.Reverse64(a), bits.Reverse64(b))) >> 1, carrylessLow(a, b)
}

// carrylessLow is the lower half of the product. Ordinary multiplication of every fourth bit
// carries into the three between, where nothing else is; more than fifteen never meet in one place but the topmost.
func carrylessLow(a, b uint64) uint64 {
	const m0, m1, m2, m3 = 0x1111111111111111, 0x2222222222222222, 0x4444444444444444, 0x8888888888888888
	a0, a1, a2, a3 := a&m0, a&m1, a&m2, a&m3
	b0, b1, b2, b3 := b&m0, b&m1, b&m2, b&m3
	return (a0*b0^a1*b3^a2*b2^a3*b1)&m0 | (a0*b1^a1*b0^a2*b3^a3*b2)&m1 |
		(a0*b2^a1*b1^a2*b0^a3*b3)&m2 | (a0*b3^a1*b2^a2*b1^a3*b0)&m3
}

// point is a key's H with what is needed of it over and over.
type point struct {
	block   cipher.Block
	gcm     cipher.AEAD // with nonces of 16 bytes
	h       element
	powers  [maxPower]element // h^(2^i)
	inverse element
}

// maxPower is enough for the blocks of any message.
const maxPower = 24

func newPoint(block cipher.Block) *point {
	var b [blockSize]byte
	block.Encrypt(b[:], b[:])
	p := &point{block: block, h: elementOf(b[:])}
	p.gcm, _ = cipher.NewGCMWithNonceSize(block, blockSize) // every block cipher of 16 bytes has one
	// The inverse is h^(2^128-2): the product of all h^(2^i) but the first.
	p.inverse = element{lo: 1}
	square := p.h
	for i := range 128 {
		if i < maxPower {
			p.powers[i] = square
		}
		if i > 0 {
			p.inverse = p.inverse.times(square)
		}
		square = square.times(square)
	}
	return p
}

// lazyPoint makes a key's point when it is needed first: most sessions never do.
type lazyPoint struct {
	block cipher.Block
	made  atomic.Pointer[point]
}

func (l *lazyPoint) get() *point {
	p := l.made.Load()
	if p == nil {
		p = newPoint(l.block)
		l.made.Store(p)
	}
	return p
}

// shift is a·h^n; n is no secret.
func (p *point) shift(a element, n int) element {
	for ; n > 0; n &= n - 1 {
		a = a.times(p.powers[bits.TrailingZeros(uint(n))])
	}
	return a
}

// lengths is the block at the end of what is hashed: the lengths in bits of additional data and text.
func lengths(additional, text int) element {
	return element{bits.Reverse64(uint64(additional) * 8), bits.Reverse64(uint64(text) * 8)}
}

// nonce returns the 16 bytes that GCM hashes to counter block j [NIST SP 800-38D] 7.1: (n·h + lengths)·h = j.
func (p *point) nonce(j []byte, to []byte) {
	elementOf(j).times(p.inverse).plus(lengths(0, blockSize)).times(p.inverse).put(to)
}

func blocksOf(n int) int { return (n + blockSize - 1) / blockSize }

// Whole reports whether pieces end at whole cipher blocks, but for the last: others cannot be signed or
// sealed piece by piece.
func Whole(pieces [][]byte) bool {
	for _, p := range pieces[:max(len(pieces)-1, 0)] {
		if len(p)%blockSize != 0 {
			return false
		}
	}
	return true
}
