package smbcrypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"sync/atomic"

	"gabion/protocol/smb2"
)

// Overhead is the spare capacity behind a frame with which GCM works in place.
const Overhead = 16

// ErrUnauthentic is what Open returns for a frame that this key did not seal.
var ErrUnauthentic = errors.New("smbcrypto: message authentication failed")

// Sealer encrypts or decrypts the messages of one direction of a session
// ([MS-SMB2] 3.1.4.3).
type Sealer struct {
	cipher smb2.Cipher
	gcm    cipher.AEAD  // GCM
	block  cipher.Block // CCM
	point  lazyPoint    // GCM
	// The nonce is a counter and random bytes behind it. The counter alone makes it
	// unique under this key, which one Sealer holds.
	next   atomic.Uint64
	suffix [4]byte
}

// KeySize returns the length of a cipher's key, 0 if there is no such cipher.
func KeySize(c smb2.Cipher) int {
	switch c {
	case smb2.CipherAES128CCM, smb2.CipherAES128GCM:
		return 16
	case smb2.CipherAES256CCM, smb2.CipherAES256GCM:
		return 32
	}
	return 0
}

// NewSealer returns a Sealer for one direction's key.
func NewSealer(c smb2.Cipher, key []byte) (*Sealer, error) {
	if n := KeySize(c); n == 0 || n != len(key) {
		return nil, errors.New("smbcrypto: cipher and key do not match")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	s := &Sealer{cipher: c}
	if _, err := rand.Read(s.suffix[:]); err != nil {
		return nil, err
	}
	if c == smb2.CipherAES128CCM || c == smb2.CipherAES256CCM {
		s.block = block
		return s, nil
	}
	s.gcm, err = cipher.NewGCM(block)
	s.point.block = block
	return s, err
}

// Cipher returns what the Sealer was made for.
func (s *Sealer) Cipher() smb2.Cipher { return s.cipher }

// Seal encrypts frame[52:] in place and writes the transform header before it. It
// uses the spare capacity of frame: where the bytes behind belong to someone else,
// limit it.
func (s *Sealer) Seal(frame []byte, sessionID uint64) {
	h := smb2.PutTransformHeader(frame, uint32(len(frame)-smb2.TransformHeaderSize), sessionID)
	s.nonce(h.Nonce())
	s.SealAs(frame)
}

// nonce writes a nonce that this key has not had.
func (s *Sealer) nonce(n []byte) {
	binary.LittleEndian.PutUint64(n, s.next.Add(1))
	if s.gcm != nil {
		copy(n[8:12], s.suffix[:])
	} else {
		copy(n[8:ccmNonceSize], s.suffix[:])
	}
}

// SealAs is Seal with the transform header as the caller wrote it, nonce and all,
// but for the signature.
func (s *Sealer) SealAs(frame []byte) {
	h := smb2.TransformHeader(frame[:smb2.TransformHeaderSize])
	msg := frame[smb2.TransformHeaderSize:]
	if s.gcm == nil {
		ccmSeal(s.block, h.Signature(), h.Nonce()[:ccmNonceSize], msg, h.AssociatedData())
		return
	}
	out := s.gcm.Seal(msg[:0], h.Nonce()[:12], msg, h.AssociatedData())
	copy(h.Signature(), out[len(msg):])
	if len(msg) > 0 && &out[0] != &msg[0] {
		copy(msg, out)
	}
}

// Open verifies and decrypts a whole frame in place and returns the message, a
// sub-slice of it. Like Seal it uses the spare capacity of frame. On error the
// message's bytes are gone.
func (s *Sealer) Open(frame []byte, scratch *Scratch) ([]byte, error) {
	h, err := smb2.ParseTransformHeader(frame)
	if err != nil {
		return nil, err
	}
	msg := frame[smb2.TransformHeaderSize:]
	if s.gcm == nil {
		if !ccmOpen(s.block, h.Signature(), h.Nonce()[:ccmNonceSize], msg, h.AssociatedData(), scratch) {
			return nil, ErrUnauthentic
		}
		return msg, nil
	}
	if cap(msg)-len(msg) < Overhead {
		return s.openCopy(h, msg)
	}
	if _, err := s.gcm.Open(msg[:0], h.Nonce()[:12], append(msg, h.Signature()...), h.AssociatedData()); err != nil {
		return nil, ErrUnauthentic
	}
	return msg, nil
}

// openCopy is Open for a frame without spare capacity.
func (s *Sealer) openCopy(h smb2.TransformHeader, msg []byte) ([]byte, error) {
	sealed := append(append(make([]byte, 0, len(msg)+Overhead), msg...), h.Signature()...)
	if _, err := s.gcm.Open(msg[:0], h.Nonce()[:12], sealed, h.AssociatedData()); err != nil {
		return nil, ErrUnauthentic
	}
	return msg, nil
}
