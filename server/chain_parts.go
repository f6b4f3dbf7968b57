package server

import "gabion/protocol/smbcrypto"

// takeParts is take for a message that goes on in parts, which the store lent. The parts are signed and
// sent from where they lie, and sealed from there into the reply's buffer; where that cannot be, they
// are copied there first.
func (ch *chain) takeParts(first *buffer) *buffer {
	ch.vec = append(ch.vec[:0], first.data)
	size := 0
	for _, p := range ch.parts.List {
		ch.vec = append(ch.vec, p.Data)
		size += len(p.Data)
	}
	defer func() { clear(ch.vec) }()
	whole := smbcrypto.Whole(ch.vec)
	if ch.encrypted {
		if !whole || !ch.sealer.keys.out.InPieces() {
			return ch.takeWhole(first, size)
		}
		first.signer = nil
		b := ch.sealer.sealPieces(first, ch.vec, len(first.data)+size)
		ch.parts.Release()
		return b
	}
	if first.signer != nil {
		if !whole || !first.signer.SignPieces(ch.vec) {
			return ch.takeWhole(first, size)
		}
		first.signer = nil
	}
	return ch.link(first, size)
}

// takeWhole puts size bytes of parts behind what they follow.
func (ch *chain) takeWhole(first *buffer, size int) *buffer {
	n := len(first.data)
	first.data = first.mem[headroom : headroom+n+size]
	ch.parts.CopyTo(first.data[n:])
	ch.first = first
	return ch.take()
}

// link makes a message of what first holds and of the parts. The memory of first, where parts may
// be, goes last, and the credits with it.
func (ch *chain) link(first *buffer, size int) *buffer {
	const at = headroom - frameHeader
	putFrameHeader(first.mem[at:], len(first.data)+size)
	list := newPiece(first.mem[at:headroom+len(first.data)], nil)
	last := list
	parts := ch.parts.List
	for _, p := range parts[:len(parts)-1] {
		last.next = newPiece(p.Data, p.Loan)
		last = last.next
	}
	p := parts[len(parts)-1]
	first.data, first.loan = p.Data, p.Loan
	last.next = first
	clear(parts)
	ch.parts.List = parts[:0]
	return list
}

// SignPieces implements signer.
func (k keySigner) SignPieces(pieces [][]byte) bool {
	if !k.s.InPieces() {
		return false
	}
	scratch := scratches.Get().(*smbcrypto.Scratch)
	k.s.SignPieces(pieces, scratch)
	scratches.Put(scratch)
	return true
}

// sealPieces encrypts a message that lies in pieces, size bytes together, into the buffer that holds
// the first.
func (s *session) sealPieces(b *buffer, pieces [][]byte, size int) *buffer {
	frame := b.mem[frameHeader : headroom+size]
	scratch := scratches.Get().(*smbcrypto.Scratch)
	s.keys.out.SealPieces(frame, pieces, s.id, scratch)
	scratches.Put(scratch)
	putFrameHeader(b.mem, len(frame))
	b.data = b.mem[:headroom+size]
	return b
}
