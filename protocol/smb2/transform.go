package smb2

import "fmt"

// TransformHeaderSize is the length of SMB2 TRANSFORM_HEADER ([MS-SMB2] 2.2.41).
const TransformHeaderSize = 52

// TransformEncrypted is the only value of Flags/EncryptionAlgorithm: "encrypted" in
// 3.1.1, AES-128-CCM before.
const TransformEncrypted uint16 = 0x0001

// Offsets of the transform header's fields.
const (
	offTransformSignature = 4
	offTransformNonce     = 20
	offTransformSize      = 36
	offTransformFlags     = 42
	offTransformSessionID = 44
)

// TransformHeader is the header of an encrypted message seen in place. It aliases
// the frame.
type TransformHeader []byte

// ParseTransformHeader checks identifier and length, and that the frame holds the
// whole message, no more and no less ([MS-SMB2] 3.3.5.2.1.1).
func ParseTransformHeader(frame []byte) (TransformHeader, error) {
	const name = "TRANSFORM_HEADER"
	if len(frame) < TransformHeaderSize {
		return nil, malformed(name, "truncated")
	}
	if le.Uint32(frame) != ProtocolTransform {
		return nil, malformed(name, "ProtocolId")
	}
	h := TransformHeader(frame[:TransformHeaderSize:TransformHeaderSize])
	if uint64(h.OriginalMessageSize()) != uint64(len(frame)-TransformHeaderSize) {
		return nil, malformed(name, "OriginalMessageSize")
	}
	return h, nil
}

// PutTransformHeader writes a header over the first bytes of frame, all of them
// but signature and nonce, which it clears for the sealer to fill.
func PutTransformHeader(frame []byte, messageSize uint32, sessionID uint64) TransformHeader {
	h := TransformHeader(frame[:TransformHeaderSize:TransformHeaderSize])
	clear(h)
	le.PutUint32(h, ProtocolTransform)
	le.PutUint32(h[offTransformSize:], messageSize)
	le.PutUint16(h[offTransformFlags:], TransformEncrypted)
	le.PutUint64(h[offTransformSessionID:], sessionID)
	return h
}

// Signature is the authentication tag's place.
func (h TransformHeader) Signature() []byte {
	return h[offTransformSignature : offTransformSignature+16]
}

// Nonce is the nonce's place: 11 bytes of it for CCM, 12 for GCM.
func (h TransformHeader) Nonce() []byte { return h[offTransformNonce : offTransformNonce+16] }

// OriginalMessageSize is the length of the message.
func (h TransformHeader) OriginalMessageSize() uint32 { return le.Uint32(h[offTransformSize:]) }

// Flags is Flags or EncryptionAlgorithm.
func (h TransformHeader) Flags() uint16 { return le.Uint16(h[offTransformFlags:]) }

// SessionID names the session whose keys were used.
func (h TransformHeader) SessionID() uint64 { return le.Uint64(h[offTransformSessionID:]) }

// AssociatedData is what the tag covers besides the message: the header from Nonce
// to its end ([MS-SMB2] 3.1.4.3).
func (h TransformHeader) AssociatedData() []byte { return h[offTransformNonce:TransformHeaderSize] }

func (h TransformHeader) String() string {
	return fmt.Sprintf("TRANSFORM sid=%#x size=%d flags=%#x nonce=%x", h.SessionID(), h.OriginalMessageSize(), h.Flags(), h.Nonce())
}

// CompressionChained is SMB2_COMPRESSION_FLAG_CHAINED.
const CompressionChained uint16 = 0x0001

// CompressionHeader is SMB2 COMPRESSION_TRANSFORM_HEADER in either form
// ([MS-SMB2] 2.2.42). It is parsed so that it can be named when it is refused;
// nothing here decompresses.
type CompressionHeader struct {
	OriginalSize uint32
	Algorithm    CompressionAlgorithm
	Flags        uint16
	// Offset is the offset of the compressed data behind the header in the
	// unchained form, Length of the first payload in the chained form.
	Offset uint32
}

// CompressionHeaderSize is the length of the unchained form, and of the chained
// form with its first payload header.
const CompressionHeaderSize = 16

// Decode reads the start of a frame.
func (h *CompressionHeader) Decode(frame []byte) error {
	const name = "COMPRESSION_TRANSFORM_HEADER"
	if len(frame) < CompressionHeaderSize {
		return malformed(name, "truncated")
	}
	if le.Uint32(frame) != ProtocolCompression {
		return malformed(name, "ProtocolId")
	}
	*h = CompressionHeader{
		OriginalSize: le.Uint32(frame[4:]), Algorithm: CompressionAlgorithm(le.Uint16(frame[8:])),
		Flags: le.Uint16(frame[10:]), Offset: le.Uint32(frame[12:]),
	}
	if uint64(h.Offset) > uint64(len(frame)-CompressionHeaderSize) {
		return malformed(name, "Offset")
	}
	return nil
}

// AppendTo appends the header.
func (h *CompressionHeader) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, ProtocolCompression)
	b = le.AppendUint32(b, h.OriginalSize)
	b = le.AppendUint16(b, uint16(h.Algorithm))
	b = le.AppendUint16(b, h.Flags)
	return le.AppendUint32(b, h.Offset)
}

// CompressionPayload is one SMB2_COMPRESSION_CHAINED_PAYLOAD_HEADER with its payload
// ([MS-SMB2] 2.2.42.2.1). Payload aliases the frame.
type CompressionPayload struct {
	Algorithm    CompressionAlgorithm
	Flags        uint16
	OriginalSize uint32 // LZNT1, LZ77, LZ77+Huffman and LZ4 only
	Payload      []byte
}

// DecodeCompressionPayload reads the first payload of a chain, which starts 8 bytes
// into a chained frame, and returns what follows it.
func DecodeCompressionPayload(b []byte) (p CompressionPayload, rest []byte, err error) {
	const name = "COMPRESSION_CHAINED_PAYLOAD_HEADER"
	if len(b) < 8 {
		return p, nil, malformed(name, "truncated")
	}
	n := le.Uint32(b[4:])
	if uint64(n) > uint64(len(b)-8) {
		return p, nil, malformed(name, "Length")
	}
	p = CompressionPayload{Algorithm: CompressionAlgorithm(le.Uint16(b)), Flags: le.Uint16(b[2:]), Payload: b[8 : 8+n]}
	switch p.Algorithm {
	case CompressionLZNT1, CompressionLZ77, CompressionLZ77Huffman, CompressionLZ4:
		if n < 4 {
			return p, nil, malformed(name, "Length")
		}
		p.OriginalSize, p.Payload = le.Uint32(p.Payload), p.Payload[4:]
	}
	return p, b[8+n:], nil
}

// RDMATransformHeader is SMB2_RDMA_TRANSFORM ([MS-SMB2] 2.2.43), the channel
// information of ChannelRDMATransform.
type RDMATransformHeader struct {
	DescriptorOffset uint16
	DescriptorLength uint16
	Channel          Channel
	TransformCount   uint16
}

const rdmaTransformSize = 16

// Decode reads channel information.
func (h *RDMATransformHeader) Decode(b []byte) error {
	const name = "RDMA_TRANSFORM"
	if len(b) < rdmaTransformSize {
		return malformed(name, "truncated")
	}
	*h = RDMATransformHeader{le.Uint16(b), le.Uint16(b[2:]), Channel(le.Uint32(b[4:])), le.Uint16(b[8:])}
	_, err := region(b, name, "RdmaDescriptorOffset", uint32(h.DescriptorOffset), uint32(h.DescriptorLength), rdmaTransformSize)
	return err
}

// AppendTo appends the structure without what follows it.
func (h *RDMATransformHeader) AppendTo(b []byte) []byte {
	b = le.AppendUint16(b, h.DescriptorOffset)
	b = le.AppendUint16(b, h.DescriptorLength)
	b = le.AppendUint32(b, uint32(h.Channel))
	return le.AppendUint64(b, uint64(h.TransformCount))
}

// RDMACryptoTransform is SMB2_RDMA_CRYPTO_TRANSFORM ([MS-SMB2] 2.2.43.1). Signature
// and Nonce alias the source after Decode.
type RDMACryptoTransform struct {
	TransformType RDMATransform
	Signature     []byte
	Nonce         []byte
}

// Decode reads one transform and ignores what follows it.
func (t *RDMACryptoTransform) Decode(b []byte) error {
	const name = "RDMA_CRYPTO_TRANSFORM"
	if len(b) < 8 {
		return malformed(name, "truncated")
	}
	s, n := int(le.Uint16(b[2:])), int(le.Uint16(b[4:]))
	if s > 16 || len(b) < 8+s+n {
		return malformed(name, "SignatureLength")
	}
	t.TransformType, t.Signature, t.Nonce = RDMATransform(le.Uint16(b)), b[8:8+s], b[8+s:8+s+n]
	return nil
}

// AppendTo appends the transform, padded to 8 bytes.
func (t *RDMACryptoTransform) AppendTo(b []byte) []byte {
	start := len(b)
	b = le.AppendUint16(b, uint16(t.TransformType))
	b = le.AppendUint16(b, uint16(len(t.Signature)))
	b = le.AppendUint32(b, uint32(uint16(len(t.Nonce))))
	b = append(b, t.Signature...)
	b = append(b, t.Nonce...)
	return pad8(b, start)
}
