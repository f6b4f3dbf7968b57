package smbcrypto

import (
	"encoding/binary"

	"gabion/protocol/smb2"
)

// A message that lies in pieces need not be put together to be signed by GMAC or sealed by GCM.

// InPieces reports whether SignPieces works with the algorithm.
func (s *Signer) InPieces() bool { return s.gmac != nil }

// SignPieces is Sign for a message that lies in pieces, see Whole; the first holds its header.
func (s *Signer) SignPieces(pieces [][]byte, scratch *Scratch) {
	h := smb2.Header(pieces[0][:smb2.HeaderSize])
	h.SetFlags(h.Flags() | smb2.FlagSigned)
	field := pieces[0][signatureOffset : signatureOffset+blockSize]
	clear(field)
	nonce := scratch.gmacNonce(h)
	// A tag is (hash + lengths)·h + mask; that of nothing is the mask.
	mask := elementOf(s.gmac.Seal(scratch.tag[:0], nonce, nil, nil))
	p := s.point.get()
	var sum, ends element
	last, total := -1, 0
	for _, b := range pieces {
		if len(b) != last {
			last, ends = len(b), lengths(len(b), 0).times(p.h)
		}
		tag := elementOf(s.gmac.Seal(scratch.tag[:0], nonce, nil, b))
		sum = p.shift(sum, blocksOf(len(b))).plus(tag).plus(mask).plus(ends)
		total += len(b)
	}
	sum.plus(lengths(total, 0).times(p.h)).plus(mask).put(field)
}

// InPieces reports whether SealPieces works with the cipher.
func (s *Sealer) InPieces() bool { return s.gcm != nil }

// SealPieces is Seal for a message that lies in pieces, see Whole, and is to lie behind the transform header in frame, which
// has room for Overhead behind it. A piece may lie where it goes; otherwise it is not written to.
func (s *Sealer) SealPieces(frame []byte, pieces [][]byte, sessionID uint64, scratch *Scratch) {
	h := smb2.PutTransformHeader(frame, uint32(len(frame)-smb2.TransformHeaderSize), sessionID)
	s.nonce(h.Nonce())
	s.sealPieces(frame, pieces, scratch)
}

// sealPieces is SealPieces with the transform header as the caller wrote it. Each piece is sealed with the
// nonce that makes the cipher count on where the piece before it ended.
func (s *Sealer) sealPieces(frame []byte, pieces [][]byte, scratch *Scratch) {
	h := smb2.TransformHeader(frame[:smb2.TransformHeaderSize])
	p := s.point.get()
	counter, nonce := scratch.state[:], scratch.long[:]
	copy(counter, h.Nonce()[:12])
	ad := h.AssociatedData()
	sum := p.shift(elementOf(ad), 3).plus(p.shift(elementOf(ad[blockSize:]), 2))
	var ends element
	last, at := -1, smb2.TransformHeaderSize
	done := 0 // blocks
	for _, b := range pieces {
		binary.BigEndian.PutUint32(counter[12:], uint32(1+done))
		p.nonce(counter, nonce)
		// The tag goes behind the text, where the next piece may lie already.
		next := frame[at+len(b) : at+len(b)+Overhead : at+len(b)+Overhead]
		kept := [Overhead]byte(next)
		out := p.gcm.Seal(frame[at:at:at+len(b)+Overhead], nonce, b, nil)
		tag := elementOf(out[len(b):])
		copy(next, kept[:])
		p.block.Encrypt(counter, counter)
		mask := elementOf(counter)
		copy(counter, h.Nonce()[:12])
		if len(b) != last {
			last, ends = len(b), lengths(0, len(b)).times(p.h)
		}
		n := blocksOf(len(b))
		sum = p.shift(sum, n).plus(tag).plus(mask).plus(ends)
		at += len(b)
		done += n
	}
	binary.BigEndian.PutUint32(counter[12:], 1)
	p.block.Encrypt(counter, counter)
	sum.plus(lengths(len(ad), at-smb2.TransformHeaderSize).times(p.h)).plus(elementOf(counter)).put(h.Signature())
}
