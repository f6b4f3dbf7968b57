package krb5

import (
	"encoding/asn1"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	asn1tag "golang.org/x/crypto/cryptobyte/asn1"
)

// OID is the mechanism's object identifier (RFC 1964 1). It frames tokens also
// where SPNEGO calls the mechanism by Microsoft's truncated one.
var OID = asn1.ObjectIdentifier{1, 2, 840, 113554, 1, 2, 2}

// TokenID says what a framed token is (RFC 4121 4.1, RFC 1964 1.2).
type TokenID uint16

const (
	TokenAPReq   TokenID = 0x0100
	TokenAPRep   TokenID = 0x0200
	TokenError   TokenID = 0x0300
	TokenMIC1964 TokenID = 0x0101
)

func (t TokenID) String() string {
	switch t {
	case TokenAPReq:
		return "AP-REQ"
	case TokenAPRep:
		return "AP-REP"
	case TokenError:
		return "KRB-ERROR"
	case TokenMIC1964:
		return "MIC"
	}
	return fmt.Sprintf("token %04x", uint16(t))
}

// DecodeToken opens the frame of a token (RFC 2743 3.1). body is a part of b.
func DecodeToken(b []byte) (id TokenID, body []byte, err error) {
	s := cryptobyte.String(b)
	var in cryptobyte.String
	var oid asn1.ObjectIdentifier
	var n uint16
	if !s.ReadASN1(&in, appTag(0)) || !s.Empty() || !in.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(OID) || !in.ReadUint16(&n) {
		return 0, nil, malformed("GSS-API token")
	}
	return TokenID(n), in, nil
}

// IsToken reports whether b begins like a token of this mechanism.
func IsToken(b []byte) bool {
	s := cryptobyte.String(b)
	var in cryptobyte.String
	var oid asn1.ObjectIdentifier
	return s.ReadASN1(&in, appTag(0)) && in.ReadASN1ObjectIdentifier(&oid) && oid.Equal(OID)
}

// EncodeToken frames a token.
func EncodeToken(id TokenID, body []byte) []byte {
	var w cryptobyte.Builder
	w.AddASN1(asn1tag.Tag(appTag(0)), func(w *cryptobyte.Builder) {
		w.AddASN1ObjectIdentifier(OID)
		w.AddUint16(uint16(id))
		w.AddBytes(body)
	})
	return w.BytesOrPanic()
}

// ChecksumGSS is the type of the authenticator's checksum that carries what the
// client asks of the GSS-API context (RFC 4121 4.1.1).
const ChecksumGSS int32 = 0x8003

// Context flags (RFC 4121 4.1.1.1, RFC 4757 7.1).
const (
	FlagDelegate uint32 = 0x0001
	FlagMutual   uint32 = 0x0002
	FlagReplay   uint32 = 0x0004
	FlagSequence uint32 = 0x0008
	FlagConf     uint32 = 0x0010
	FlagInteg    uint32 = 0x0020
	FlagDCE      uint32 = 0x1000
	FlagIdentify uint32 = 0x2000
	FlagExtended uint32 = 0x4000
)

const (
	gssChecksum   = 24
	bindingLength = 16
)

// ContextRequest is the content of a ChecksumGSS. A delegated credential that may
// follow is not decoded: this server acts for nobody.
type ContextRequest struct {
	Bindings [bindingLength]byte
	Flags    uint32
}

// DecodeContextRequest reads the checksum's value.
func DecodeContextRequest(b []byte) (r ContextRequest, err error) {
	if len(b) < gssChecksum || binary.LittleEndian.Uint32(b) != bindingLength {
		return r, malformed("GSS-API checksum")
	}
	copy(r.Bindings[:], b[4:])
	r.Flags = binary.LittleEndian.Uint32(b[20:])
	return r, nil
}

// Encode writes the checksum's value.
func (r *ContextRequest) Encode() []byte {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, gssChecksum), bindingLength)
	b = append(b, r.Bindings[:]...)
	return binary.LittleEndian.AppendUint32(b, r.Flags)
}

// Flags of per-message tokens (RFC 4121 4.2.2).
const (
	SentByAcceptor uint8 = 1
	Sealed         uint8 = 2
	AcceptorSubkey uint8 = 4
)

// MessageHeaderLen is the length of the header of a per-message token.
const MessageHeaderLen = 16

// MessageHeader is the header of a MIC or Wrap token (RFC 4121 4.2.6).
type MessageHeader struct {
	Wrap     bool // else MIC
	Flags    uint8
	EC, RRC  uint16 // Wrap only
	Sequence uint64
}

// DecodeMessageHeader reads the header at the beginning of b.
func DecodeMessageHeader(b []byte) (h MessageHeader, err error) {
	if len(b) < MessageHeaderLen {
		return h, malformed("per-message token")
	}
	id, fill := binary.BigEndian.Uint16(b), b[3]
	h.Wrap = id == 0x0504
	h.Flags = b[2]
	h.EC, h.RRC = binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	h.Sequence = binary.BigEndian.Uint64(b[8:])
	filled := h.EC == 0xffff && h.RRC == 0xffff
	if !h.Wrap {
		h.EC, h.RRC = 0, 0
	}
	if id != 0x0504 && id != 0x0404 || fill != 0xff || !h.Wrap && !filled {
		return h, malformed("per-message token")
	}
	return h, nil
}

// Append writes the header.
func (h *MessageHeader) Append(b []byte) []byte {
	if h.Wrap {
		b = append(b, 5, 4, h.Flags, 0xff)
		b = binary.BigEndian.AppendUint16(b, h.EC)
		b = binary.BigEndian.AppendUint16(b, h.RRC)
	} else {
		b = append(b, 4, 4, h.Flags, 0xff, 0xff, 0xff, 0xff, 0xff)
	}
	return binary.BigEndian.AppendUint64(b, h.Sequence)
}
