package smbcrypto

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
)

// ccmNonceSize is the nonce of SMB ([MS-SMB2] 2.2.41), which leaves four bytes for
// the length of the message. The functions below follow the nonce they get, so that
// the document's own vectors can test them; the tag has its full length always but
// for the m that the first block declares.
const (
	ccmNonceSize = 11
	ccmTagSize   = 16
)

// ccmSeal encrypts msg in place and writes the tag, for which tag is also the
// working memory.
func ccmSeal(block cipher.Block, tag, nonce, msg, ad []byte) {
	ccmMAC(block, tag, nonce, msg, ad, ccmTagSize)
	ccmCrypt(block, tag, nonce, msg)
}

// ccmOpen decrypts msg in place and reports whether tag is its tag; if not, msg is
// cleared.
func ccmOpen(block cipher.Block, tag, nonce, msg, ad []byte, s *Scratch) bool {
	got := s.state[:]
	copy(got, tag)
	ccmCrypt(block, got, nonce, msg)
	want := s.tag[:ccmTagSize]
	ccmMAC(block, want, nonce, msg, ad, ccmTagSize)
	if subtle.ConstantTimeCompare(got, want) != 1 {
		clear(msg)
		return false
	}
	return true
}

// ccmMAC is the authentication of RFC 3610 2.2 into mac, for tags of m bytes.
func ccmMAC(block cipher.Block, mac, nonce, msg, ad []byte, m byte) {
	mac = mac[:blockSize]
	// B_0: flags, nonce, length of the message. The nonce lies over the upper bytes
	// of a length that never needs them.
	binary.BigEndian.PutUint64(mac[8:], uint64(len(msg)))
	mac[0] = (m-2)/2<<3 | byte(14-len(nonce))
	if len(ad) > 0 {
		mac[0] |= 0x40
	}
	copy(mac[1:], nonce)
	block.Encrypt(mac, mac)
	if len(ad) > 0 {
		// Two bytes of length, then the data, padded with zeros. Associated data here
		// is 32 bytes of a transform header, far below the next form of the length.
		n := min(len(ad), blockSize-2)
		mac[0] ^= byte(len(ad) >> 8)
		mac[1] ^= byte(len(ad))
		subtle.XORBytes(mac[2:], mac[2:], ad[:n])
		block.Encrypt(mac, mac)
		absorb(block, mac, ad[n:])
	}
	absorb(block, mac, msg)
}

// absorb runs CBC-MAC over b, padded with zeros.
func absorb(block cipher.Block, mac, b []byte) {
	for len(b) > 0 {
		n := min(len(b), blockSize)
		subtle.XORBytes(mac, mac, b[:n])
		block.Encrypt(mac, mac)
		b = b[n:]
	}
}

// ccmCrypt applies the key stream of RFC 3610 2.3: block 0 to the tag, the rest to
// the message.
func ccmCrypt(block cipher.Block, tag, nonce, msg []byte) {
	var counter [blockSize]byte
	counter[0] = byte(14 - len(nonce))
	copy(counter[1:], nonce)
	stream := cipher.NewCTR(block, counter[:])
	stream.XORKeyStream(tag[:blockSize], tag[:blockSize])
	stream.XORKeyStream(msg, msg)
}
