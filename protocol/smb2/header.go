package smb2

import (
	"fmt"

	"gabion/protocol/ntstatus"
)

// HeaderSize is the length of the SMB2 header, and the value of its
// StructureSize ([MS-SMB2] 2.2.1).
const HeaderSize = 64

// The four protocol identifiers a frame can begin with.
const (
	ProtocolSMB2        uint32 = 0x424D53FE // [MS-SMB2] 2.2.1
	ProtocolTransform   uint32 = 0x424D53FD // [MS-SMB2] 2.2.41
	ProtocolCompression uint32 = 0x424D53FC // [MS-SMB2] 2.2.42
	ProtocolSMB1        uint32 = 0x424D53FF // [MS-CIFS] 2.2.3.1
)

// Protocol returns the first four bytes of a frame as an identifier, 0 if there
// are fewer.
func Protocol(frame []byte) uint32 {
	if len(frame) < 4 {
		return 0
	}
	return le.Uint32(frame)
}

// Header is the 64-byte packet header seen in place ([MS-SMB2] 2.2.1). It aliases
// the message: setters change what goes on the wire. Make one with ParseHeader or
// AppendHeader; methods on a shorter slice panic.
type Header []byte

// Offsets of the header's fields.
const (
	offProtocolID    = 0
	offStructureSize = 4
	offCreditCharge  = 6
	offStatus        = 8 // ChannelSequence in a request of SMB 3.x
	offCommand       = 12
	offCredits       = 14
	offFlags         = 16
	offNextCommand   = 20
	offMessageID     = 24
	offAsyncID       = 32 // async form
	offReserved      = 32 // sync form
	offTreeID        = 36 // sync form
	offSessionID     = 40
	offSignature     = 48
)

// ParseHeader checks identifier, StructureSize and length and returns the header
// of msg, which it aliases.
func ParseHeader(msg []byte) (Header, error) {
	if len(msg) < HeaderSize {
		return nil, malformed("header", "truncated")
	}
	if le.Uint32(msg) != ProtocolSMB2 {
		return nil, malformed("header", "ProtocolId")
	}
	if le.Uint16(msg[offStructureSize:]) != HeaderSize {
		return nil, malformed("header", "StructureSize")
	}
	return Header(msg[:HeaderSize:HeaderSize]), nil
}

// CreditCharge is the number of credits the request consumes.
func (h Header) CreditCharge() uint16 { return le.Uint16(h[offCreditCharge:]) }

// Status is the result in a response.
func (h Header) Status() ntstatus.Status { return ntstatus.Status(le.Uint32(h[offStatus:])) }

// ChannelSequence is the client's channel change counter in a request of SMB 3.x.
func (h Header) ChannelSequence() uint16 { return le.Uint16(h[offStatus:]) }

// Command is the operation.
func (h Header) Command() Command { return Command(le.Uint16(h[offCommand:])) }

// Credits is CreditRequest in a request, CreditResponse in a response.
func (h Header) Credits() uint16 { return le.Uint16(h[offCredits:]) }

// Flags says how to process the message, and which form the header has.
func (h Header) Flags() HeaderFlags { return HeaderFlags(le.Uint32(h[offFlags:])) }

// NextCommand is the offset of the next header of a compound, 0 in the last.
func (h Header) NextCommand() uint32 { return le.Uint32(h[offNextCommand:]) }

// MessageID pairs a response with its request.
func (h Header) MessageID() uint64 { return le.Uint64(h[offMessageID:]) }

// AsyncID is meaningful when FlagAsyncCommand is set.
func (h Header) AsyncID() uint64 { return le.Uint64(h[offAsyncID:]) }

// TreeID is meaningful when FlagAsyncCommand is not set.
func (h Header) TreeID() uint32 { return le.Uint32(h[offTreeID:]) }

// SessionID names the session.
func (h Header) SessionID() uint64 { return le.Uint64(h[offSessionID:]) }

// Signature is the place of the signature; it aliases the message.
func (h Header) Signature() []byte { return h[offSignature : offSignature+16] }

// IsResponse reports SMB2_FLAGS_SERVER_TO_REDIR.
func (h Header) IsResponse() bool { return h.Flags()&FlagServerToRedir != 0 }

// IsAsync reports that the header has the async form.
func (h Header) IsAsync() bool { return h.Flags()&FlagAsyncCommand != 0 }

// IsRelated reports SMB2_FLAGS_RELATED_OPERATIONS.
func (h Header) IsRelated() bool { return h.Flags()&FlagRelatedOperations != 0 }

// IsSigned reports SMB2_FLAGS_SIGNED.
func (h Header) IsSigned() bool { return h.Flags()&FlagSigned != 0 }

// SetCreditCharge sets CreditCharge.
func (h Header) SetCreditCharge(v uint16) { le.PutUint16(h[offCreditCharge:], v) }

// SetStatus sets Status.
func (h Header) SetStatus(v ntstatus.Status) { le.PutUint32(h[offStatus:], uint32(v)) }

// SetChannelSequence sets ChannelSequence and clears the Reserved field behind it.
func (h Header) SetChannelSequence(v uint16) { le.PutUint32(h[offStatus:], uint32(v)) }

// SetCommand sets Command.
func (h Header) SetCommand(v Command) { le.PutUint16(h[offCommand:], uint16(v)) }

// SetCredits sets CreditRequest or CreditResponse.
func (h Header) SetCredits(v uint16) { le.PutUint16(h[offCredits:], v) }

// SetFlags sets Flags.
func (h Header) SetFlags(v HeaderFlags) { le.PutUint32(h[offFlags:], uint32(v)) }

// SetNextCommand sets NextCommand.
func (h Header) SetNextCommand(v uint32) { le.PutUint32(h[offNextCommand:], v) }

// SetMessageID sets MessageId.
func (h Header) SetMessageID(v uint64) { le.PutUint64(h[offMessageID:], v) }

// SetAsyncID sets AsyncId; in the sync form this overwrites Reserved and TreeId.
func (h Header) SetAsyncID(v uint64) { le.PutUint64(h[offAsyncID:], v) }

// SetTreeID sets TreeId; in the async form this overwrites half of AsyncId.
func (h Header) SetTreeID(v uint32) { le.PutUint32(h[offTreeID:], v) }

// SetSessionID sets SessionId.
func (h Header) SetSessionID(v uint64) { le.PutUint64(h[offSessionID:], v) }

// HeaderFields is a header by value, for building one and for keeping one beyond
// the life of its message.
type HeaderFields struct {
	CreditCharge    uint16
	ChannelSequence uint16          // request
	Status          ntstatus.Status // response
	Command         Command
	Credits         uint16
	Flags           HeaderFlags
	NextCommand     uint32
	MessageID       uint64
	AsyncID         uint64 // async form
	Reserved        uint32 // sync form
	TreeID          uint32 // sync form
	SessionID       uint64
	Signature       [16]byte
}

// Fields copies the header. Of ChannelSequence and Status, and of AsyncID and
// TreeID, those are set that the flags make meaningful.
func (h Header) Fields() HeaderFields {
	f := HeaderFields{
		CreditCharge: h.CreditCharge(),
		Command:      h.Command(),
		Credits:      h.Credits(),
		Flags:        h.Flags(),
		NextCommand:  h.NextCommand(),
		MessageID:    h.MessageID(),
		SessionID:    h.SessionID(),
		Signature:    [16]byte(h.Signature()),
	}
	if h.IsResponse() {
		f.Status = h.Status()
	} else {
		f.ChannelSequence = h.ChannelSequence()
	}
	if h.IsAsync() {
		f.AsyncID = h.AsyncID()
	} else {
		f.Reserved, f.TreeID = le.Uint32(h[offReserved:]), h.TreeID()
	}
	return f
}

// AppendHeader appends the 64 bytes that f describes.
func AppendHeader(b []byte, f *HeaderFields) []byte {
	b, p := grow(b, HeaderSize)
	PutHeader(p, f)
	return b
}

// PutHeader writes f over the first 64 bytes of b, all of them.
func PutHeader(b []byte, f *HeaderFields) {
	h := Header(b[:HeaderSize])
	le.PutUint32(h, ProtocolSMB2)
	le.PutUint16(h[offStructureSize:], HeaderSize)
	h.SetCreditCharge(f.CreditCharge)
	if f.Flags&FlagServerToRedir != 0 {
		h.SetStatus(f.Status)
	} else {
		h.SetChannelSequence(f.ChannelSequence)
	}
	h.SetCommand(f.Command)
	h.SetCredits(f.Credits)
	h.SetFlags(f.Flags)
	h.SetNextCommand(f.NextCommand)
	h.SetMessageID(f.MessageID)
	if f.Flags&FlagAsyncCommand != 0 {
		h.SetAsyncID(f.AsyncID)
	} else {
		le.PutUint32(h[offReserved:], f.Reserved)
		h.SetTreeID(f.TreeID)
	}
	h.SetSessionID(f.SessionID)
	copy(h[offSignature:], f.Signature[:])
}

func (h Header) String() string {
	if len(h) < HeaderSize {
		return "short header"
	}
	s := fmt.Sprintf("%s mid=%d charge=%d credits=%d sid=%#x", h.Command(), h.MessageID(), h.CreditCharge(), h.Credits(), h.SessionID())
	if h.IsAsync() {
		s += fmt.Sprintf(" aid=%d", h.AsyncID())
	} else {
		s += fmt.Sprintf(" tid=%#x", h.TreeID())
	}
	if h.IsResponse() {
		s += " status=" + h.Status().String()
	}
	if f := h.Flags(); f != 0 {
		s += " flags=" + f.String()
	}
	if n := h.NextCommand(); n != 0 {
		s += fmt.Sprintf(" next=%d", n)
	}
	return s
}

// Split cuts the first message off a compound chain: msg is it, padding included,
// and rest begins with the next header or is nil. [MS-SMB2] 3.3.5.2.7 wants every
// element 8-byte aligned, and an element is never shorter than its header.
func Split(chain []byte) (msg, rest []byte, err error) {
	h, err := ParseHeader(chain)
	if err != nil {
		return nil, nil, err
	}
	next := h.NextCommand()
	if next == 0 {
		return chain, nil, nil
	}
	if next%8 != 0 || next < HeaderSize || uint64(next) >= uint64(len(chain)) {
		return nil, nil, malformed("header", "NextCommand")
	}
	return chain[:next:next], chain[next:], nil
}

// PadCompound ends the message that starts at b[start], as a link of a chain that
// goes on: it pads to 8 bytes and sets NextCommand.
func PadCompound(b []byte, start int) []byte {
	b = pad8(b, start)
	Header(b[start:]).SetNextCommand(uint32(len(b) - start))
	return b
}
