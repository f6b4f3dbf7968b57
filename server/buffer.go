package server

import (
	"sync"

	"gabion/store"
)

// Every outgoing message is built behind this much room, so that it can be sealed
// and framed where it lies: a transport header, then a transform header.
const (
	frameHeader = 4  // [MS-SMB2] 2.1: a zero byte and a 24-bit length
	transform   = 52 // [MS-SMB2] 2.2.41
	headroom    = frameHeader + transform
	smb2Header  = 64 // [MS-SMB2] 2.2.1

	// trailer is room behind a message for padding and a cipher's tag.
	trailer = 8 + 16
)

// classes are the sizes of pooled memory: powers of two of payload, and what the
// headers of a message add; large ones have room besides to lay the payload as a device wants it.
var classes = [...]int{512, 2 << 10, 4<<10 + overhead, 16<<10 + overhead, 64<<10 + overhead + pageSize,
	128<<10 + overhead + pageSize, 256<<10 + overhead + pageSize, 512<<10 + overhead + pageSize,
	1<<20 + overhead + pageSize, 2<<20 + overhead + pageSize, 4<<20 + overhead + pageSize, 8<<20 + overhead + pageSize}

const (
	pageSize   = 4 << 10
	overhead   = 1 << 10
	maxMessage = 8<<20 + overhead - headroom // largest message a buffer carries
)

var pools [len(classes)]sync.Pool

// buffer is pooled memory for one frame. It has one owner at a time: the reader
// until a chain is made of it, the chain until its requests are answered; a reply
// buffer belongs to its request, then to the chain, then to the outgoing queue,
// which releases it. Whoever owns it may use all of mem.
type buffer struct {
	mem    []byte
	data   []byte // the part that is the message
	class  int
	next   *buffer    // in a chain's replies, then in the outgoing queue
	charge int        // credits to be given back when the message has left
	signer signer     // signs the message when its chain is complete
	loan   store.Loan // that data is in the store's memory
	sums   sums       // of the payload, if they were made as it came in
}

// piece is the class of a buffer without memory of its own.
const piece = -2

var pieces = sync.Pool{New: func() any { return &buffer{class: piece} }}

// newPiece returns a buffer for a part of a message that lies elsewhere.
func newPiece(data []byte, loan store.Loan) *buffer {
	b := pieces.Get().(*buffer)
	b.data, b.loan = data, loan
	return b
}

// newBuffer returns a buffer with at least n bytes of memory.
func newBuffer(n int) *buffer {
	for c, size := range classes {
		if n > size {
			continue
		}
		if b, ok := pools[c].Get().(*buffer); ok {
			return b
		}
		return &buffer{mem: make([]byte, size), class: c}
	}
	return &buffer{mem: make([]byte, n), class: -1}
}

// release returns b to its pool. The caller must not use it any more.
func (b *buffer) release() {
	if b.loan != nil {
		b.loan.Release()
	}
	b.data, b.next, b.charge, b.signer, b.loan = nil, nil, 0, nil, nil
	b.sums.from, b.sums.list = 0, b.sums.list[:0]
	switch {
	case b.class >= 0:
		pools[b.class].Put(b)
	case b.class == piece:
		pieces.Put(b)
	}
}
