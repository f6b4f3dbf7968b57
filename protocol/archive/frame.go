package archive

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// Type is what a frame holds.
type Type uint8

// The types of frames.
const (
	TypeBegin    Type = 1
	TypeEntry    Type = 2
	TypeData     Type = 3
	TypeZero     Type = 4
	TypeStream   Type = 5
	TypeEntryEnd Type = 6
	TypeEnd      Type = 7
	TypeFailure  Type = 8 // the sender could not go on
)

func (t Type) String() string {
	names := [...]string{"0", "begin", "entry", "data", "zero", "stream", "end of entry", "end", "failure"}
	if int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("Type(%d)", uint8(t))
}

const (
	magic   = 0x46584247 // "GBXF"
	version = 1
	// HeaderSize is the length of a frame's header.
	HeaderSize = 24
	// DataHead is what a Data frame's payload has ahead of the data.
	DataHead = 8
	// MaxData bounds the data of a frame, MaxPayload every payload.
	MaxData    = 1 << 20
	MaxPayload = MaxData + DataHead
)

var (
	le    = binary.LittleEndian
	table = crc32.MakeTable(crc32.Castagnoli)
)

// Header is a frame's header.
type Header struct {
	Type   Type
	Seq    uint64
	Length uint32
	check  uint32
	first  [20]byte
}

// Errors of frames that cannot be what a sender sent.
var (
	ErrMagic    = errors.New("this is no frame of a gabion export")
	ErrVersion  = errors.New("a format of another version")
	ErrChecksum = errors.New("the checksum does not match")
	ErrLength   = errors.New("the frame is too long")
	ErrPayload  = errors.New("malformed payload")
)

// Seal fills in the header in the first HeaderSize bytes of a frame whose payload is the rest.
func Seal(frame []byte, t Type, seq uint64) {
	le.PutUint32(frame, magic)
	frame[4], frame[5], frame[6], frame[7] = byte(t), version, 0, 0
	le.PutUint64(frame[8:], seq)
	le.PutUint32(frame[16:], uint32(len(frame)-HeaderSize))
	c := crc32.Update(0, table, frame[:20])
	le.PutUint32(frame[20:], crc32.Update(c, table, frame[HeaderSize:]))
}

// AppendFrame appends a whole frame.
func AppendFrame(b []byte, t Type, seq uint64, payload []byte) []byte {
	n := len(b)
	b = append(append(b, make([]byte, HeaderSize)...), payload...)
	Seal(b[n:], t, seq)
	return b
}

// AppendJSON appends a frame with a JSON payload.
func AppendJSON(b []byte, t Type, seq uint64, v any) ([]byte, error) {
	payload, err := json.Marshal(v)
	if err != nil {
		return b, err
	}
	if len(payload) > MaxPayload {
		return b, ErrLength
	}
	return AppendFrame(b, t, seq, payload), nil
}

// DecodeHeader reads a header; what it says of the payload is not verified yet.
func DecodeHeader(b []byte) (h Header, err error) {
	if len(b) < HeaderSize {
		return h, ErrMagic
	}
	switch {
	case le.Uint32(b) != magic:
		return h, ErrMagic
	case b[5] != version:
		return h, fmt.Errorf("%w: %d", ErrVersion, b[5])
	case le.Uint32(b[16:]) > MaxPayload:
		return h, fmt.Errorf("%w: %d bytes", ErrLength, le.Uint32(b[16:]))
	}
	h = Header{Type: Type(b[4]), Seq: le.Uint64(b[8:]), Length: le.Uint32(b[16:]), check: le.Uint32(b[20:])}
	copy(h.first[:], b)
	return h, nil
}

// Verify checks the header and its payload against the checksum.
func (h *Header) Verify(payload []byte) error {
	if uint32(len(payload)) != h.Length || crc32.Update(crc32.Update(0, table, h.first[:]), table, payload) != h.check {
		return ErrChecksum
	}
	return nil
}

// Data takes a Data payload apart; the data is part of the payload.
func Data(payload []byte) (off int64, data []byte, err error) {
	if len(payload) < DataHead || le.Uint64(payload) > 1<<62 {
		return 0, nil, ErrPayload
	}
	return int64(le.Uint64(payload)), payload[DataHead:], nil
}

// PutData writes the offset into a Data payload.
func PutData(payload []byte, off int64) { le.PutUint64(payload, uint64(off)) }

// Zero takes a Zero payload apart.
func Zero(payload []byte) (off, n int64, err error) {
	if len(payload) != 16 || le.Uint64(payload) > 1<<62 || le.Uint64(payload[8:]) > 1<<62 {
		return 0, 0, ErrPayload
	}
	return int64(le.Uint64(payload)), int64(le.Uint64(payload[8:])), nil
}

// AppendZero appends a Zero payload.
func AppendZero(b []byte, off, n int64) []byte {
	return le.AppendUint64(le.AppendUint64(b, uint64(off)), uint64(n))
}

// Mark is a place in a stream: where it can be continued.
type Mark struct {
	Entries int64 `json:"entries"` // complete ones
	Streams int64 `json:"streams"` // complete ones of the entry after those
	Offset  int64 `json:"offset"`  // in the stream after those
}

// String is the mark as it is written on command lines.
func (m Mark) String() string { return fmt.Sprintf("%d:%d:%d", m.Entries, m.Streams, m.Offset) }

// ParseMark is the reverse of String.
func ParseMark(text string) (m Mark, err error) {
	n, err := fmt.Sscanf(text+";", "%d:%d:%d;", &m.Entries, &m.Streams, &m.Offset)
	if err != nil || n != 3 || m.Entries < 0 || m.Streams < 0 || m.Offset < 0 || m.String() != text {
		return Mark{}, fmt.Errorf("%q is no mark of an export such as 3:0:1048576", text)
	}
	return m, nil
}

// Begin says what a part is of.
type Begin struct {
	// ID is the same for all parts of one export.
	ID       string    `json:"id"`
	Volume   string    `json:"volume"`
	Target   string    `json:"target"`
	Snapshot string    `json:"snapshot"`
	View     uint64    `json:"view"`
	Taken    time.Time `json:"taken"`
	// Base is the snapshot that the stream says the difference from; "" in a full one.
	Base     string `json:"base,omitempty"`
	BaseView uint64 `json:"base_view,omitempty"`
	Total    int64  `json:"total"` // bytes of data in all parts, about
	From     Mark   `json:"from"`
}

// What becomes of an entry.
const (
	Whole   = "whole"   // all of its contents follow
	Changed = "changed" // it was in the base, and what changed follows
	Same    = "same"    // it was in the base with these contents: attributes only
	Removed = "removed" // it was in the base
	Link    = "link"    // a further name of the entry at Target
)

// Entry is a file or folder.
type Entry struct {
	Path   string `json:"path"` // with slashes; "" is the folder itself that was exported
	Action string `json:"action"`
	Dir    bool   `json:"dir,omitempty"`
	Target string `json:"target,omitempty"`

	Attributes uint32            `json:"attributes,omitempty"`
	Creation   uint64            `json:"creation,omitempty"` // FILETIMEs
	LastAccess uint64            `json:"last_access,omitempty"`
	LastWrite  uint64            `json:"last_write,omitempty"`
	Change     uint64            `json:"change,omitempty"`
	ReparseTag uint32            `json:"reparse_tag,omitempty"`
	EASize     uint32            `json:"ea_size,omitempty"`
	Blobs      map[string][]byte `json:"blobs,omitempty"` // security, ea, reparse

	Stream // of the unnamed stream
	// Names are the named streams that the entry has.
	Names []string `json:"names,omitempty"`
}

// Stream is a stream of data.
type Stream struct {
	Name      string `json:"name,omitempty"`
	Size      int64  `json:"size"`
	ValidData int64  `json:"valid_data,omitempty"`
}

// End closes a part; its figures are of the whole stream.
type End struct {
	Entries int64 `json:"entries"`
	Data    int64 `json:"data"` // bytes in this part's Data frames
}

// Failure says why the sender could not go on.
type Failure struct {
	Message string `json:"message"`
}

// Decode reads a JSON payload.
func Decode(payload []byte, v any) error {
	if err := json.Unmarshal(payload, v); err != nil {
		return fmt.Errorf("%w: %v", ErrPayload, err)
	}
	return nil
}
