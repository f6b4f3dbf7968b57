package sqos

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"gabion/protocol/dtyp"
)

var le = binary.LittleEndian

// Version is a protocol version ([MS-SQOS] 1.7).
type Version uint16

const (
	Version10 Version = 0x0100
	Version11 Version = 0x0101
)

// Known reports whether the version exists.
func (v Version) Known() bool { return v == Version10 || v == Version11 }

// RequestSize is the size of a request's fixed part, ResponseSize that of a response.
func (v Version) RequestSize() int {
	if v == Version11 {
		return 128
	}
	return 112
}

func (v Version) ResponseSize() int {
	if v == Version11 {
		return 96
	}
	return 88
}

func (v Version) String() string { return fmt.Sprintf("%d.%d", v>>8, v&0xFF) }

// Options is the bitmap of the operations asked for ([MS-SQOS] 2.2.2.2).
type Options uint32

const (
	SetLogicalFlowID Options = 0x01
	SetPolicy        Options = 0x02
	ProbePolicy      Options = 0x04
	GetStatus        Options = 0x08
	UpdateCounters   Options = 0x10

	AllOptions = SetLogicalFlowID | SetPolicy | ProbePolicy | GetStatus | UpdateCounters
)

var optionNames = []string{"SET_LOGICAL_FLOW_ID", "SET_POLICY", "PROBE_POLICY", "GET_STATUS", "UPDATE_COUNTERS"}

func (o Options) String() string {
	var names []string
	for i, name := range optionNames {
		if o&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if rest := o &^ AllOptions; rest != 0 || len(names) == 0 {
		names = append(names, fmt.Sprintf("%#x", uint32(rest)))
	}
	return strings.Join(names, "|")
}

// Status is the state of a logical flow ([MS-SQOS] 2.2.2.1).
type Status uint32

const (
	StatusOk                     Status = 0
	StatusInsufficientThroughput Status = 1
	StatusUnknownPolicyID        Status = 2
	StatusConfigurationMismatch  Status = 4
	StatusNotAvailable           Status = 5
)

func (s Status) String() string {
	switch s {
	case StatusOk:
		return "ok"
	case StatusInsufficientThroughput:
		return "insufficient throughput"
	case StatusUnknownPolicyID:
		return "unknown policy"
	case StatusConfigurationMismatch:
		return "configuration mismatch"
	case StatusNotAvailable:
		return "not available"
	}
	return fmt.Sprintf("Status(%d)", uint32(s))
}

// MarshalText and UnmarshalText give administrators words instead of numbers.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the counterpart of MarshalText.
func (s *Status) UnmarshalText(b []byte) error {
	for _, known := range []Status{StatusOk, StatusInsufficientThroughput, StatusUnknownPolicyID, StatusConfigurationMismatch, StatusNotAvailable} {
		if known.String() == string(b) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("%q is no flow status", b)
}

const (
	// NameSize is STORAGE_QOS_INITIATOR_NAME_SIZE, the longest name in bytes.
	NameSize = 0x200
	// DefaultBaseIOSize is what Windows counts as one normalised I/O.
	DefaultBaseIOSize = 8192
	// leastNameOffset is the bound of [MS-SQOS] 3.2.5.1.2. It is older than the last field of
	// either version; names cannot lie in the fixed part, and Windows says so.
	leastNameOffset = 104
)

var (
	// ErrShort: the message is shorter than the fixed part of its version.
	ErrShort = errors.New("sqos: message too short")
	// ErrRevision: the message is of a version that does not exist.
	ErrRevision = errors.New("sqos: unknown protocol version")
	// ErrName: an initiator's name is too long or not within the message.
	ErrName = errors.New("sqos: name outside its message")
)

// Span is where a name lies.
type Span struct{ Offset, Length uint16 }

// Request is STORAGE_QOS_CONTROL_REQUEST ([MS-SQOS] 2.2.2.2). The names are strings in the
// order in which AppendTo places them; Decode leaves them to Names.
type Request struct {
	Version     Version
	Options     Options
	FlowID      dtyp.GUID
	PolicyID    dtyp.GUID
	InitiatorID dtyp.GUID
	Limit       uint64 // normalised I/O per second, 0: none
	Reservation uint64

	IoCountIncrement           uint64
	NormalizedIoCountIncrement uint64
	LatencyIncrement           uint64 // of 100 ns
	LowerLatencyIncrement      uint64 // the same without the initiator's queues

	// Version 1.1 only.
	BandwidthLimit         uint64 // kilobytes per second, 0: none
	KilobyteCountIncrement uint64

	InitiatorName     Span
	InitiatorNodeName Span
}

// Decode reads the fixed part.
func (r *Request) Decode(b []byte) error {
	if len(b) < 8 {
		return ErrShort
	}
	v := Version(le.Uint16(b))
	if !v.Known() {
		return ErrRevision
	}
	if len(b) < v.RequestSize() {
		return ErrShort
	}
	*r = Request{
		Version: v, Options: Options(le.Uint32(b[4:])),
		FlowID: dtyp.GUID(b[8:24]), PolicyID: dtyp.GUID(b[24:40]), InitiatorID: dtyp.GUID(b[40:56]),
		Limit: le.Uint64(b[56:]), Reservation: le.Uint64(b[64:]),
		InitiatorName:              Span{le.Uint16(b[72:]), le.Uint16(b[74:])},
		InitiatorNodeName:          Span{le.Uint16(b[76:]), le.Uint16(b[78:])},
		IoCountIncrement:           le.Uint64(b[80:]),
		NormalizedIoCountIncrement: le.Uint64(b[88:]),
		LatencyIncrement:           le.Uint64(b[96:]),
		LowerLatencyIncrement:      le.Uint64(b[104:]),
	}
	if v == Version11 {
		r.BandwidthLimit, r.KilobyteCountIncrement = le.Uint64(b[112:]), le.Uint64(b[120:])
	}
	return nil
}

// AppendFixed appends the fixed part alone, with the spans as they are.
func (r *Request) AppendFixed(b []byte) []byte {
	b = le.AppendUint16(b, uint16(r.Version))
	b = le.AppendUint16(b, 0)
	b = le.AppendUint32(b, uint32(r.Options))
	b = append(b, r.FlowID[:]...)
	b = append(b, r.PolicyID[:]...)
	b = append(b, r.InitiatorID[:]...)
	b = le.AppendUint64(b, r.Limit)
	b = le.AppendUint64(b, r.Reservation)
	for _, s := range []Span{r.InitiatorName, r.InitiatorNodeName} {
		b = le.AppendUint16(b, s.Offset)
		b = le.AppendUint16(b, s.Length)
	}
	b = le.AppendUint64(b, r.IoCountIncrement)
	b = le.AppendUint64(b, r.NormalizedIoCountIncrement)
	b = le.AppendUint64(b, r.LatencyIncrement)
	b = le.AppendUint64(b, r.LowerLatencyIncrement)
	if r.Version == Version11 {
		b = le.AppendUint64(b, r.BandwidthLimit)
		b = le.AppendUint64(b, r.KilobyteCountIncrement)
	}
	return b
}

// AppendNamed appends the request with names behind its fixed part, and sets the spans.
func (r *Request) AppendNamed(b []byte, initiator, node string) []byte {
	first, second := dtyp.EncodeUTF16(initiator), dtyp.EncodeUTF16(node)
	at := r.Version.RequestSize()
	r.InitiatorName, r.InitiatorNodeName = Span{}, Span{}
	if len(first) > 0 {
		r.InitiatorName = Span{uint16(at), uint16(len(first))}
	}
	if len(second) > 0 {
		r.InitiatorNodeName = Span{uint16(at + len(first)), uint16(len(second))}
	}
	return append(append(r.AppendFixed(b), first...), second...)
}

// Names returns the initiator's and its node's name, "" for one that is not there.
// b is the whole message that the request was decoded from.
func (r *Request) Names(b []byte) (initiator, node string, err error) {
	if initiator, err = r.name(b, r.InitiatorName); err != nil {
		return "", "", err
	}
	node, err = r.name(b, r.InitiatorNodeName)
	return initiator, node, err
}

func (r *Request) name(b []byte, s Span) (string, error) {
	if s.Length == 0 {
		return "", nil
	}
	end := int(s.Offset) + int(s.Length)
	if s.Length > NameSize || s.Length%2 != 0 || int(s.Offset) < max(leastNameOffset, r.Version.RequestSize()) || end > len(b) {
		return "", ErrName
	}
	return dtyp.DecodeUTF16(b[s.Offset:end]), nil
}

// Response is STORAGE_QOS_CONTROL_RESPONSE ([MS-SQOS] 2.2.2.3).
type Response struct {
	Version       Version
	FlowID        dtyp.GUID
	PolicyID      dtyp.GUID
	InitiatorID   dtyp.GUID
	TimeToLive    uint32 // ms
	Status        Status
	MaximumIoRate uint64 // normalised I/O per second, 0: not limited
	MinimumIoRate uint64
	BaseIoSize    uint32
	// MaximumBandwidth is in kilobytes per second, 0: not limited. Version 1.1 only.
	MaximumBandwidth uint64
}

// Decode reads a response.
func (r *Response) Decode(b []byte) error {
	if len(b) < 8 {
		return ErrShort
	}
	v := Version(le.Uint16(b))
	if !v.Known() {
		return ErrRevision
	}
	if len(b) < v.ResponseSize() {
		return ErrShort
	}
	*r = Response{
		Version: v, FlowID: dtyp.GUID(b[8:24]), PolicyID: dtyp.GUID(b[24:40]), InitiatorID: dtyp.GUID(b[40:56]),
		TimeToLive: le.Uint32(b[56:]), Status: Status(le.Uint32(b[60:])),
		MaximumIoRate: le.Uint64(b[64:]), MinimumIoRate: le.Uint64(b[72:]), BaseIoSize: le.Uint32(b[80:]),
	}
	if v == Version11 {
		r.MaximumBandwidth = le.Uint64(b[88:])
	}
	return nil
}

// AppendTo appends the response.
func (r *Response) AppendTo(b []byte) []byte {
	b = le.AppendUint16(b, uint16(r.Version))
	b = append(b, make([]byte, 6)...) // Reserved, Options
	b = append(b, r.FlowID[:]...)
	b = append(b, r.PolicyID[:]...)
	b = append(b, r.InitiatorID[:]...)
	b = le.AppendUint32(b, r.TimeToLive)
	b = le.AppendUint32(b, uint32(r.Status))
	b = le.AppendUint64(b, r.MaximumIoRate)
	b = le.AppendUint64(b, r.MinimumIoRate)
	b = le.AppendUint32(b, r.BaseIoSize)
	b = le.AppendUint32(b, 0)
	if r.Version == Version11 {
		b = le.AppendUint64(b, r.MaximumBandwidth)
	}
	return b
}

// Normalized is the size of an I/O in normalised units ([MS-SQOS] 4.1), at least one.
func Normalized(bytes, base int) int {
	if bytes <= base {
		return 1
	}
	return (bytes-1)/base + 1
}
