package smbcrypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"

	"gabion/protocol/smb2"
)

// Scratch is working memory for signing and sealing. The zero value is ready; it
// must not be used by two goroutines at once, and should live as long as the
// goroutine that uses it, because it cannot be on the stack.
type Scratch struct {
	nonce [12]byte
	long  [blockSize]byte // a nonce of GCM's other kind
	state [blockSize]byte
	tag   [sha256.Size]byte
}

// signatureOffset is where the signature stands in a message; it is the fourth
// block of sixteen bytes.
const signatureOffset = 48

// Signer signs and verifies messages with one key ([MS-SMB2] 3.1.4.1).
type Signer struct {
	algorithm smb2.SigningAlgorithm
	key       [16]byte
	cmac      *cmac
	gmac      cipher.AEAD
	point     lazyPoint // of gmac
}

// NewSigner returns a Signer; an algorithm that does not exist is an error.
func NewSigner(algorithm smb2.SigningAlgorithm, key [16]byte) (*Signer, error) {
	s := &Signer{algorithm: algorithm, key: key}
	if algorithm == smb2.SigningHMACSHA256 {
		return s, nil
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	switch algorithm {
	case smb2.SigningAESCMAC:
		s.cmac = newCMAC(block)
	case smb2.SigningAESGMAC:
		s.gmac, err = cipher.NewGCM(block)
		s.point.block = block
	default:
		err = errors.New("smbcrypto: unknown signing algorithm")
	}
	return s, err
}

// DefaultSigning is the algorithm of a dialect without a negotiated one.
func DefaultSigning(d smb2.Dialect) smb2.SigningAlgorithm {
	if d.Is3x() {
		return smb2.SigningAESCMAC
	}
	return smb2.SigningHMACSHA256
}

// Algorithm returns what the Signer was made for.
func (s *Signer) Algorithm() smb2.SigningAlgorithm { return s.algorithm }

// Sign sets SMB2_FLAGS_SIGNED and the signature of msg, one message of a chain from
// its header to the next one's. NextCommand and the padding must be final.
func (s *Signer) Sign(msg []byte, scratch *Scratch) {
	h := smb2.Header(msg[:smb2.HeaderSize])
	h.SetFlags(h.Flags() | smb2.FlagSigned)
	s.sum(msg, scratch)
}

// Verify reports whether msg bears its signature. msg is as before when Verify
// returns, but is written to meanwhile.
func (s *Signer) Verify(msg []byte, scratch *Scratch) bool {
	if len(msg) < smb2.HeaderSize {
		return false
	}
	field := msg[signatureOffset : signatureOffset+blockSize]
	got := [blockSize]byte(field)
	s.sum(msg, scratch)
	ok := subtle.ConstantTimeCompare(got[:], field) == 1
	copy(field, got[:])
	return ok
}

// sum computes the signature into its field.
func (s *Signer) sum(msg []byte, scratch *Scratch) {
	field := msg[signatureOffset : signatureOffset+blockSize]
	clear(field)
	switch s.algorithm {
	case smb2.SigningAESCMAC:
		s.cmac.sum(field, msg[:signatureOffset], msg[signatureOffset+blockSize:])
	case smb2.SigningAESGMAC:
		n := scratch.gmacNonce(msg[:smb2.HeaderSize])
		copy(field, s.gmac.Seal(scratch.tag[:0], n, nil, msg))
	default:
		m := hmac.New(sha256.New, s.key[:])
		m.Write(msg)
		copy(field, m.Sum(scratch.tag[:0]))
	}
}

// gmacNonce is the nonce of a message's signature.
func (scratch *Scratch) gmacNonce(h smb2.Header) []byte {
	n := scratch.nonce[:]
	binary.LittleEndian.PutUint64(n, h.MessageID())
	binary.LittleEndian.PutUint32(n[8:], gmacRole(h))
	return n
}

// gmacRole is the second part of the GMAC nonce: bit 0 for the server, bit 1 for a
// CANCEL request, whose MessageId is that of another request.
func gmacRole(h smb2.Header) uint32 {
	switch {
	case h.IsResponse():
		return 1
	case h.Command() == smb2.CommandCancel:
		return 2
	}
	return 0
}
