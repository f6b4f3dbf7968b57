package smbcrypto

import (
	"crypto/cipher"
	"crypto/subtle"
)

const blockSize = 16

// cmac is AES-CMAC (RFC 4493) with its two subkeys.
type cmac struct {
	block  cipher.Block
	k1, k2 [blockSize]byte
}

func newCMAC(block cipher.Block) *cmac {
	c := &cmac{block: block}
	var l [blockSize]byte
	block.Encrypt(l[:], l[:])
	c.k1 = double(l)
	c.k2 = double(c.k1)
	return c
}

// double multiplies by x in GF(2^128) (RFC 4493 2.3).
func double(in [blockSize]byte) (out [blockSize]byte) {
	var carry byte
	for i := blockSize - 1; i >= 0; i-- {
		out[i] = in[i]<<1 | carry
		carry = in[i] >> 7
	}
	out[blockSize-1] ^= 0x87 & -carry
	return out
}

// sum computes the MAC of head, sixteen zero bytes and tail into state, which must
// be zero and have a block's length; head must be whole blocks.
// That is a message whose signature field is the state: the field counts as zeros
// and so needs no other place for the computation than itself.
func (c *cmac) sum(state, head, tail []byte) {
	state = state[:blockSize]
	for ; len(head) > 0; head = head[blockSize:] {
		subtle.XORBytes(state, state, head[:blockSize])
		c.block.Encrypt(state, state)
	}
	if len(tail) == 0 { // the zeros end the message
		subtle.XORBytes(state, state, c.k1[:])
		c.block.Encrypt(state, state)
		return
	}
	c.block.Encrypt(state, state) // the zeros
	c.finish(state, tail)
}

// finish absorbs the rest of a message, at least one byte or the whole empty
// message, and leaves the MAC in state.
func (c *cmac) finish(state, b []byte) {
	for ; len(b) > blockSize; b = b[blockSize:] {
		subtle.XORBytes(state, state, b[:blockSize])
		c.block.Encrypt(state, state)
	}
	subtle.XORBytes(state, state, b)
	if len(b) == blockSize {
		subtle.XORBytes(state, state, c.k1[:])
	} else {
		state[len(b)] ^= 0x80
		subtle.XORBytes(state, state, c.k2[:])
	}
	c.block.Encrypt(state, state)
}

// CMAC appends the AES-CMAC of msg under block to dst.
func CMAC(block cipher.Block, dst, msg []byte) []byte {
	n := len(dst)
	dst = append(dst, make([]byte, blockSize)...)
	newCMAC(block).finish(dst[n:], msg)
	return dst
}
