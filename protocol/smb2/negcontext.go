package smb2

import "fmt"

// NegotiateContextType is the ContextType of SMB2_NEGOTIATE_CONTEXT
// ([MS-SMB2] 2.2.3.1).
type NegotiateContextType uint16

// The negotiate contexts.
const (
	NegotiatePreauthIntegrity NegotiateContextType = 0x0001
	NegotiateEncryption       NegotiateContextType = 0x0002
	NegotiateCompression      NegotiateContextType = 0x0003
	NegotiateNetName          NegotiateContextType = 0x0005
	NegotiateTransport        NegotiateContextType = 0x0006
	NegotiateRDMATransform    NegotiateContextType = 0x0007
	NegotiateSigning          NegotiateContextType = 0x0008
	NegotiateReserved         NegotiateContextType = 0x0100
)

// HashAlgorithm is a preauthentication integrity hash ([MS-SMB2] 2.2.3.1.1).
type HashAlgorithm uint16

// HashSHA512 is the only one there is.
const HashSHA512 HashAlgorithm = 0x0001

// Cipher is an encryption algorithm ([MS-SMB2] 2.2.3.1.2). 0 in a response means
// that none is shared.
type Cipher uint16

// The ciphers.
const (
	CipherAES128CCM Cipher = 0x0001
	CipherAES128GCM Cipher = 0x0002
	CipherAES256CCM Cipher = 0x0003
	CipherAES256GCM Cipher = 0x0004
)

func (c Cipher) String() string {
	switch c {
	case CipherAES128CCM:
		return "AES-128-CCM"
	case CipherAES128GCM:
		return "AES-128-GCM"
	case CipherAES256CCM:
		return "AES-256-CCM"
	case CipherAES256GCM:
		return "AES-256-GCM"
	}
	return fmt.Sprintf("Cipher(%d)", uint16(c))
}

// SigningAlgorithm is how messages are signed ([MS-SMB2] 2.2.3.1.7).
type SigningAlgorithm uint16

// The signing algorithms.
const (
	SigningHMACSHA256 SigningAlgorithm = 0x0000
	SigningAESCMAC    SigningAlgorithm = 0x0001
	SigningAESGMAC    SigningAlgorithm = 0x0002
)

func (a SigningAlgorithm) String() string {
	switch a {
	case SigningHMACSHA256:
		return "HMAC-SHA256"
	case SigningAESCMAC:
		return "AES-CMAC"
	case SigningAESGMAC:
		return "AES-GMAC"
	}
	return fmt.Sprintf("SigningAlgorithm(%d)", uint16(a))
}

// CompressionAlgorithm is one of [MS-SMB2] 2.2.3.1.3.
type CompressionAlgorithm uint16

// The compression algorithms.
const (
	CompressionNone        CompressionAlgorithm = 0x0000
	CompressionLZNT1       CompressionAlgorithm = 0x0001
	CompressionLZ77        CompressionAlgorithm = 0x0002
	CompressionLZ77Huffman CompressionAlgorithm = 0x0003
	CompressionPatternV1   CompressionAlgorithm = 0x0004
	CompressionLZ4         CompressionAlgorithm = 0x0005
)

// SMB2_COMPRESSION_CAPABILITIES_FLAG_CHAINED.
const CompressionCapabilitiesChained uint32 = 0x00000001

// SMB2_ACCEPT_TRANSPORT_LEVEL_SECURITY.
const AcceptTransportLevelSecurity uint32 = 0x00000001

// RDMATransform is one of [MS-SMB2] 2.2.3.1.6.
type RDMATransform uint16

// The RDMA transforms.
const (
	RDMATransformNone       RDMATransform = 0x0000
	RDMATransformEncryption RDMATransform = 0x0001
	RDMATransformSigning    RDMATransform = 0x0002
)

// NegotiateContextReader walks a negotiate context list. Type and Data are valid
// after Next returned true; Data aliases the message.
type NegotiateContextReader struct {
	Type NegotiateContextType
	Data []byte

	rest []byte
	left int
	err  error
	// begun makes the padding belong to the entry behind it: the last has none.
	begun bool
	used  int
}

// Next advances. It returns false after the last context and at a malformed one.
func (r *NegotiateContextReader) Next() bool {
	if r.left == 0 || r.err != nil {
		return false
	}
	b := r.rest
	if r.begun {
		skip := align8(r.used)
		if skip > len(b) {
			r.err = malformed("NEGOTIATE context", "truncated")
			return false
		}
		b = b[skip:]
	}
	if len(b) < 8 {
		r.err = malformed("NEGOTIATE context", "truncated")
		return false
	}
	n := int(le.Uint16(b[2:]))
	if len(b) < 8+n {
		r.err = malformed("NEGOTIATE context", "DataLength")
		return false
	}
	r.Type = NegotiateContextType(le.Uint16(b))
	r.Data = b[8 : 8+n : 8+n]
	r.rest, r.used, r.begun = b, 8+n, true
	r.left--
	return true
}

// Err returns the reason for a premature end.
func (r *NegotiateContextReader) Err() error { return r.err }

// NegotiateContext is one entry of a list to be sent: its type and what can append
// its data.
type NegotiateContext interface {
	ContextType() NegotiateContextType
	AppendTo(b []byte) []byte
}

// AppendNegotiateContexts appends the list to b, each entry aligned relative to
// the start of the list, and returns it with the count that goes beside it.
func AppendNegotiateContexts(b []byte, list ...NegotiateContext) ([]byte, uint16) {
	start := len(b)
	for _, c := range list {
		b = pad8(b, start)
		at := len(b)
		b, _ = grow(b, 8)
		b = c.AppendTo(b)
		le.PutUint16(b[at:], uint16(c.ContextType()))
		le.PutUint16(b[at+2:], uint16(len(b)-at-8))
	}
	return b, uint16(len(list))
}

// RawNegotiateContext is a context of any type and content.
type RawNegotiateContext struct {
	Type NegotiateContextType
	Data []byte
}

// ContextType returns c.Type.
func (c RawNegotiateContext) ContextType() NegotiateContextType { return c.Type }

// AppendTo appends c.Data.
func (c RawNegotiateContext) AppendTo(b []byte) []byte { return append(b, c.Data...) }

// PreauthIntegrityCapabilities is [MS-SMB2] 2.2.3.1.1.
type PreauthIntegrityCapabilities struct {
	HashAlgorithms []HashAlgorithm
	Salt           []byte // aliases the message after Decode
}

// ContextType returns NegotiatePreauthIntegrity.
func (c *PreauthIntegrityCapabilities) ContextType() NegotiateContextType {
	return NegotiatePreauthIntegrity
}

// Decode reads the context's data.
func (c *PreauthIntegrityCapabilities) Decode(b []byte) error {
	const name = "PREAUTH_INTEGRITY_CAPABILITIES"
	if len(b) < 4 {
		return malformed(name, "truncated")
	}
	n, salt := int(le.Uint16(b)), int(le.Uint16(b[2:]))
	if len(b) < 4+2*n+salt {
		return malformed(name, "HashAlgorithmCount")
	}
	c.HashAlgorithms = decodeUint16s(c.HashAlgorithms, b[4:4+2*n])
	c.Salt = b[4+2*n : 4+2*n+salt]
	return nil
}

// AppendTo appends the context's data.
func (c *PreauthIntegrityCapabilities) AppendTo(b []byte) []byte {
	b = le.AppendUint16(b, uint16(len(c.HashAlgorithms)))
	b = le.AppendUint16(b, uint16(len(c.Salt)))
	b = appendUint16s(b, c.HashAlgorithms)
	return append(b, c.Salt...)
}

// EncryptionCapabilities is [MS-SMB2] 2.2.3.1.2.
type EncryptionCapabilities struct{ Ciphers []Cipher }

// ContextType returns NegotiateEncryption.
func (c *EncryptionCapabilities) ContextType() NegotiateContextType { return NegotiateEncryption }

// Decode reads the context's data.
func (c *EncryptionCapabilities) Decode(b []byte) (err error) {
	c.Ciphers, err = decodeCounted(c.Ciphers, b, 2, "ENCRYPTION_CAPABILITIES", "CipherCount")
	return err
}

// AppendTo appends the context's data.
func (c *EncryptionCapabilities) AppendTo(b []byte) []byte {
	return appendUint16s(le.AppendUint16(b, uint16(len(c.Ciphers))), c.Ciphers)
}

// CompressionCapabilities is [MS-SMB2] 2.2.3.1.3.
type CompressionCapabilities struct {
	Flags      uint32
	Algorithms []CompressionAlgorithm
}

// ContextType returns NegotiateCompression.
func (c *CompressionCapabilities) ContextType() NegotiateContextType { return NegotiateCompression }

// Decode reads the context's data.
func (c *CompressionCapabilities) Decode(b []byte) (err error) {
	c.Algorithms, err = decodeCounted(c.Algorithms, b, 8, "COMPRESSION_CAPABILITIES", "CompressionAlgorithmCount")
	if err == nil {
		c.Flags = le.Uint32(b[4:])
	}
	return err
}

// AppendTo appends the context's data.
func (c *CompressionCapabilities) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, uint32(uint16(len(c.Algorithms))))
	b = le.AppendUint32(b, c.Flags)
	return appendUint16s(b, c.Algorithms)
}

// NetName is SMB2_NETNAME_NEGOTIATE_CONTEXT_ID ([MS-SMB2] 2.2.3.1.4): the name the
// client connects to, as UTF-16LE without an end mark. It aliases the message
// after Decode.
type NetName struct{ Name []byte }

// ContextType returns NegotiateNetName.
func (c *NetName) ContextType() NegotiateContextType { return NegotiateNetName }

// Decode reads the context's data.
func (c *NetName) Decode(b []byte) error {
	if len(b)%2 != 0 {
		return malformed("NETNAME_NEGOTIATE_CONTEXT", "DataLength")
	}
	c.Name = b
	return nil
}

// AppendTo appends the context's data.
func (c *NetName) AppendTo(b []byte) []byte { return append(b, c.Name...) }

// TransportCapabilities is [MS-SMB2] 2.2.3.1.5.
type TransportCapabilities struct{ Flags uint32 }

// ContextType returns NegotiateTransport.
func (c *TransportCapabilities) ContextType() NegotiateContextType { return NegotiateTransport }

// Decode reads the context's data.
func (c *TransportCapabilities) Decode(b []byte) error {
	if len(b) < 4 {
		return malformed("TRANSPORT_CAPABILITIES", "truncated")
	}
	c.Flags = le.Uint32(b)
	return nil
}

// AppendTo appends the context's data.
func (c *TransportCapabilities) AppendTo(b []byte) []byte { return le.AppendUint32(b, c.Flags) }

// RDMATransformCapabilities is [MS-SMB2] 2.2.3.1.6.
type RDMATransformCapabilities struct{ Transforms []RDMATransform }

// ContextType returns NegotiateRDMATransform.
func (c *RDMATransformCapabilities) ContextType() NegotiateContextType {
	return NegotiateRDMATransform
}

// Decode reads the context's data.
func (c *RDMATransformCapabilities) Decode(b []byte) (err error) {
	c.Transforms, err = decodeCounted(c.Transforms, b, 8, "RDMA_TRANSFORM_CAPABILITIES", "TransformCount")
	return err
}

// AppendTo appends the context's data.
func (c *RDMATransformCapabilities) AppendTo(b []byte) []byte {
	b = le.AppendUint64(b, uint64(uint16(len(c.Transforms))))
	return appendUint16s(b, c.Transforms)
}

// SigningCapabilities is [MS-SMB2] 2.2.3.1.7.
type SigningCapabilities struct{ Algorithms []SigningAlgorithm }

// ContextType returns NegotiateSigning.
func (c *SigningCapabilities) ContextType() NegotiateContextType { return NegotiateSigning }

// Decode reads the context's data.
func (c *SigningCapabilities) Decode(b []byte) (err error) {
	c.Algorithms, err = decodeCounted(c.Algorithms, b, 2, "SIGNING_CAPABILITIES", "SigningAlgorithmCount")
	return err
}

// AppendTo appends the context's data.
func (c *SigningCapabilities) AppendTo(b []byte) []byte {
	return appendUint16s(le.AppendUint16(b, uint16(len(c.Algorithms))), c.Algorithms)
}

// decodeCounted reads a list whose 16-bit count stands first and whose entries
// begin at offset fixed.
func decodeCounted[T ~uint16](list []T, b []byte, fixed int, structure, field string) ([]T, error) {
	if len(b) < fixed {
		return list[:0], malformed(structure, "truncated")
	}
	n := int(le.Uint16(b))
	if len(b) < fixed+2*n {
		return list[:0], malformed(structure, field)
	}
	return decodeUint16s(list, b[fixed:fixed+2*n]), nil
}
