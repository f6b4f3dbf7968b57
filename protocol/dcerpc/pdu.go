package dcerpc

import (
	"encoding/binary"
	"errors"
	"fmt"

	"gabion/protocol/dtyp"
)

// PacketType is a PDU's PTYPE (C706 12.6.4).
type PacketType uint8

const (
	TypeRequest      PacketType = 0
	TypeResponse     PacketType = 2
	TypeFault        PacketType = 3
	TypeBind         PacketType = 11
	TypeBindAck      PacketType = 12
	TypeBindNak      PacketType = 13
	TypeAlterContext PacketType = 14
	TypeAlterResp    PacketType = 15
	TypeAuth3        PacketType = 16
	TypeCoCancel     PacketType = 18
	TypeOrphaned     PacketType = 19
)

// pfc_flags (C706 12.6.3.1).
const (
	FlagFirst         = 0x01
	FlagLast          = 0x02
	FlagHeaderSigning = 0x04 // in bind and alter_context (MS-RPCE 2.2.2.3)
	FlagConcurrent    = 0x10
	FlagDidNotExecute = 0x20
	FlagMaybe         = 0x40
	FlagObject        = 0x80
)

// HeaderLen is the size of the common header.
const HeaderLen = 16

// authTrailerLen is sec_trailer without its token (MS-RPCE 2.2.2.11).
const authTrailerLen = 8

// ErrMalformed is what every decoder of this package returns for bad input.
var ErrMalformed = errors.New("malformed DCE/RPC data")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// Header is the common header (C706 12.6.3.1).
type Header struct {
	Minor      uint8
	Type       PacketType
	Flags      uint8
	FragLength uint16
	AuthLength uint16
	CallID     uint32
	// BigEndian is the order of a decoded PDU's integers. What is encoded is always
	// little-endian.
	BigEndian bool
}

// reader reads a part of the PDU whose alignment begins where the part does.
func (h *Header) reader(b []byte) *Reader { return Stub{b, h.BigEndian}.Reader() }

// DecodeHeader reads the common header of b.
func DecodeHeader(b []byte) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, malformed("%d bytes of a header", len(b))
	}
	if b[0] != 5 || b[1] > 1 {
		return Header{}, malformed("RPC version %d.%d", b[0], b[1])
	}
	// ASCII and IEEE floating point; integers in either order (C706 14.2.4).
	if b[4]&^0x10 != 0 || b[5] != 0 {
		return Header{}, malformed("data representation %02x%02x", b[4], b[5])
	}
	h := Header{Minor: b[1], Type: PacketType(b[2]), Flags: b[3], BigEndian: b[4] == 0}
	r := h.reader(b[8:])
	h.FragLength, h.AuthLength, h.CallID = r.Uint16(), r.Uint16(), r.Uint32()
	if int(h.FragLength) < HeaderLen {
		return Header{}, malformed("fragment of %d bytes", h.FragLength)
	}
	return h, nil
}

// AppendTo appends the header; FragLength and AuthLength are as given.
func (h *Header) AppendTo(b []byte) []byte {
	b = append(b, 5, h.Minor, byte(h.Type), h.Flags, 0x10, 0, 0, 0)
	b = binary.LittleEndian.AppendUint16(b, h.FragLength)
	b = binary.LittleEndian.AppendUint16(b, h.AuthLength)
	return binary.LittleEndian.AppendUint32(b, h.CallID)
}

// Auth is a security trailer with its token (MS-RPCE 2.2.2.11).
type Auth struct {
	Type      uint8 // auth_type: 9 SPNEGO, 10 NTLM, 16 Kerberos
	Level     uint8 // auth_level: 2 connect … 5 integrity, 6 privacy
	PadLength uint8
	ContextID uint32
	Token     []byte // part of the input when decoded
}

// Fragment is one PDU taken apart: its body without padding and trailer.
type Fragment struct {
	Header
	Body []byte // part of the input
	Auth *Auth  // nil without authentication
}

// DecodeFragment takes one whole PDU apart.
func DecodeFragment(b []byte) (Fragment, error) {
	h, err := DecodeHeader(b)
	if err != nil {
		return Fragment{}, err
	}
	if len(b) != int(h.FragLength) {
		return Fragment{}, malformed("fragment length %d of %d bytes", h.FragLength, len(b))
	}
	f := Fragment{Header: h, Body: b[HeaderLen:]}
	if h.AuthLength == 0 {
		return f, nil
	}
	tail := int(h.AuthLength) + authTrailerLen
	if tail > len(f.Body) {
		return Fragment{}, malformed("authentication length %d", h.AuthLength)
	}
	at := len(f.Body) - tail
	t := f.Body[at:]
	f.Auth = &Auth{Type: t[0], Level: t[1], PadLength: t[2], ContextID: h.reader(t[4:]).Uint32(), Token: t[authTrailerLen:]}
	if int(f.Auth.PadLength) > at {
		return Fragment{}, malformed("authentication padding of %d bytes", f.Auth.PadLength)
	}
	f.Body = f.Body[:at-int(f.Auth.PadLength)]
	return f, nil
}

// AppendTo appends the PDU with lengths and padding filled in.
func (f *Fragment) AppendTo(b []byte) []byte {
	start := len(b)
	h := f.Header
	b = append(h.AppendTo(b), f.Body...)
	if f.Auth != nil {
		pad := -len(f.Body) & 3
		b = append(b, make([]byte, pad)...)
		b = append(b, f.Auth.Type, f.Auth.Level, byte(pad), 0)
		b = binary.LittleEndian.AppendUint32(b, f.Auth.ContextID)
		b = append(b, f.Auth.Token...)
		binary.LittleEndian.PutUint16(b[start+10:], uint16(len(f.Auth.Token)))
	}
	binary.LittleEndian.PutUint16(b[start+8:], uint16(len(b)-start))
	return b
}

// Syntax is an abstract or transfer syntax: an interface and its version.
type Syntax struct {
	UUID    dtyp.GUID
	Version uint32 // major in the low 16 bits
}

// MustSyntax makes a Syntax of a UUID in registry form.
func MustSyntax(uuid string, major, minor uint16) Syntax {
	g, err := dtyp.ParseGUID(uuid)
	if err != nil {
		panic(err)
	}
	return Syntax{g, uint32(minor)<<16 | uint32(major)}
}

// NDR is the transfer syntax that every peer offers.
var NDR = MustSyntax("8a885d04-1ceb-11c9-9fe8-08002b104860", 2, 0)

// featurePrefix begins the pseudo transfer syntax of bind-time feature
// negotiation; the last eight bytes carry a bit mask (MS-RPCE 3.3.1.5.3).
var featurePrefix = [8]byte{0x2c, 0x1c, 0xb7, 0x6c, 0x12, 0x98, 0x40, 0x45}

// Features returns the offered bits if s is a bind-time feature negotiation.
func (s Syntax) Features() (uint64, bool) {
	if [8]byte(s.UUID[:8]) != featurePrefix || s.Version != 1 {
		return 0, false
	}
	return binary.LittleEndian.Uint64(s.UUID[8:]), true
}

func appendSyntax(b []byte, s Syntax) []byte {
	b = append(b, s.UUID[:]...)
	return binary.LittleEndian.AppendUint32(b, s.Version)
}

// Context is one presentation context element of a bind (C706 12.6.3.1).
type Context struct {
	ID       uint16
	Abstract Syntax
	Transfer []Syntax
}

// Bind is the body of bind and alter_context.
type Bind struct {
	MaxXmit, MaxRecv uint16
	Group            uint32
	Contexts         []Context
}

// limits of what a bind may carry: enough for every real client.
const (
	maxContexts = 64
	maxTransfer = 16
)

// DecodeBind reads the body of a bind or alter_context.
func (f *Fragment) DecodeBind() (Bind, error) {
	r := f.reader(f.Body)
	v := Bind{MaxXmit: r.Uint16(), MaxRecv: r.Uint16(), Group: r.Uint32()}
	n := int(r.Uint8())
	r.Skip(3)
	if n > maxContexts {
		return v, malformed("%d presentation contexts", n)
	}
	for range n {
		c := Context{ID: r.Uint16()}
		m := int(r.Uint8())
		r.Skip(1)
		if m > maxTransfer {
			return v, malformed("%d transfer syntaxes", m)
		}
		c.Abstract = r.syntax()
		for range m {
			c.Transfer = append(c.Transfer, r.syntax())
		}
		v.Contexts = append(v.Contexts, c)
	}
	return v, r.Err()
}

// AppendTo appends the body.
func (v *Bind) AppendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, v.MaxXmit)
	b = binary.LittleEndian.AppendUint16(b, v.MaxRecv)
	b = binary.LittleEndian.AppendUint32(b, v.Group)
	b = append(b, byte(len(v.Contexts)), 0, 0, 0)
	for _, c := range v.Contexts {
		b = binary.LittleEndian.AppendUint16(b, c.ID)
		b = append(b, byte(len(c.Transfer)), 0)
		b = appendSyntax(b, c.Abstract)
		for _, t := range c.Transfer {
			b = appendSyntax(b, t)
		}
	}
	return b
}

// Result values of one context (C706 12.6.3.1, MS-RPCE 2.2.2.4).
const (
	ResultAccept            = 0
	ResultProviderRejection = 2
	ResultNegotiateAck      = 3

	ReasonAbstractSyntax = 1 // not supported
	ReasonTransferSyntax = 2 // none of them supported
)

// Result answers one presentation context. For ResultNegotiateAck Reason is the
// mask of accepted features.
type Result struct {
	Result, Reason uint16
	Transfer       Syntax
}

// BindAck is the body of bind_ack and alter_context_resp.
type BindAck struct {
	MaxXmit, MaxRecv uint16
	Group            uint32
	Address          string // secondary address, the pipe's name
	Results          []Result
}

// AppendTo appends the body; it starts at a multiple of 4 within its PDU.
func (v *BindAck) AppendTo(b []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint16(b, v.MaxXmit)
	b = binary.LittleEndian.AppendUint16(b, v.MaxRecv)
	b = binary.LittleEndian.AppendUint32(b, v.Group)
	if v.Address == "" {
		b = append(b, 0, 0)
	} else {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(v.Address)+1))
		b = append(append(b, v.Address...), 0)
	}
	for (len(b)-start)%4 != 0 {
		b = append(b, 0)
	}
	b = append(b, byte(len(v.Results)), 0, 0, 0)
	for _, r := range v.Results {
		b = binary.LittleEndian.AppendUint16(b, r.Result)
		b = binary.LittleEndian.AppendUint16(b, r.Reason)
		b = appendSyntax(b, r.Transfer)
	}
	return b
}

// DecodeBindAck reads the body of a bind_ack or alter_context_resp.
func DecodeBindAck(b []byte) (BindAck, error) {
	r := NewReader(b)
	v := BindAck{MaxXmit: r.Uint16(), MaxRecv: r.Uint16(), Group: r.Uint32()}
	if n := int(r.Uint16()); n > 0 {
		v.Address = string(r.Bytes(n - 1))
		r.Skip(1)
	}
	r.Align(4)
	n := int(r.Uint8())
	r.Skip(3)
	for range n {
		v.Results = append(v.Results, Result{r.Uint16(), r.Uint16(), r.syntax()})
	}
	return v, r.Err()
}

// Reasons of a bind_nak (C706 12.6.3.1).
const (
	NakUnspecified = 0
	NakCongestion  = 1
	NakVersion     = 4
	NakAuthType    = 8 // authentication type not recognised (MS-RPCE 2.2.2.5)
)

// AppendBindNak appends the body of a bind_nak.
func AppendBindNak(b []byte, reason uint16) []byte {
	b = binary.LittleEndian.AppendUint16(b, reason)
	return append(b, 1, 5, 0, 0) // one supported version: 5.0
}

// Request is the body of a request fragment.
type Request struct {
	AllocHint uint32
	ContextID uint16
	Opnum     uint16
	Object    dtyp.GUID // zero without FlagObject
	Stub      []byte    // part of the input
}

// DecodeRequest reads the body of a request.
func (f *Fragment) DecodeRequest() (Request, error) {
	r := f.reader(f.Body)
	v := Request{AllocHint: r.Uint32(), ContextID: r.Uint16(), Opnum: r.Uint16()}
	if f.Flags&FlagObject != 0 {
		v.Object = r.GUID()
	}
	v.Stub = r.Rest()
	return v, r.Err()
}

// AppendTo appends the body.
func (v *Request) AppendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, v.AllocHint)
	b = binary.LittleEndian.AppendUint16(b, v.ContextID)
	b = binary.LittleEndian.AppendUint16(b, v.Opnum)
	if !v.Object.IsZero() {
		b = append(b, v.Object[:]...)
	}
	return append(b, v.Stub...)
}

// Response is the body of a response fragment.
type Response struct {
	AllocHint uint32
	ContextID uint16
	Stub      []byte // part of the input
}

// ResponseLen is the size of a response's body before its stub.
const ResponseLen = 8

// DecodeResponse reads the body of a response.
func DecodeResponse(b []byte) (Response, error) {
	r := NewReader(b)
	v := Response{AllocHint: r.Uint32(), ContextID: r.Uint16()}
	r.Skip(2)
	v.Stub = r.Rest()
	return v, r.Err()
}

// AppendTo appends the body.
func (v *Response) AppendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, v.AllocHint)
	b = binary.LittleEndian.AppendUint16(b, v.ContextID)
	return append(append(b, 0, 0), v.Stub...)
}

// Fault codes (C706 appendix E, MS-RPCE 3.3.3.5, MS-ERREF).
const (
	FaultAccessDenied     = 0x00000005
	FaultBadStubData      = 0x000006F7
	FaultContextMismatch  = 0x1C00001A
	FaultOpRange          = 0x1C010002
	FaultUnknownInterface = 0x1C010003
	FaultProtocol         = 0x1C01000B
	FaultCantPerform      = 0x000006D8
)

// AppendFault appends the body of a fault.
func AppendFault(b []byte, context uint16, status uint32) []byte {
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint16(b, context)
	b = append(b, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, status)
	return append(b, 0, 0, 0, 0)
}

// DecodeFault returns a fault's status.
func DecodeFault(b []byte) (uint32, error) {
	r := NewReader(b)
	r.Skip(8)
	return r.Uint32(), r.Err()
}
