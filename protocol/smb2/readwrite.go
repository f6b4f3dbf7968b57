package smb2

import "fmt"

// Channel says how a READ's or WRITE's payload travels ([MS-SMB2] 2.2.19, 2.2.21).
type Channel uint32

// SMB2_CHANNEL_*.
const (
	ChannelNone             Channel = 0x00000000
	ChannelRDMAV1           Channel = 0x00000001
	ChannelRDMAV1Invalidate Channel = 0x00000002
	ChannelRDMATransform    Channel = 0x00000003
)

// ReadFlags is the Flags of a READ request ([MS-SMB2] 2.2.19).
type ReadFlags uint8

// SMB2_READFLAG_*.
const (
	ReadFlagUnbuffered        ReadFlags = 0x01
	ReadFlagRequestCompressed ReadFlags = 0x02
)

// ReadRequest is [MS-SMB2] 2.2.19.
type ReadRequest struct {
	Padding        uint8
	Flags          ReadFlags
	Length         uint32
	Offset         uint64
	FileID         FileID
	MinimumCount   uint32
	Channel        Channel
	RemainingBytes uint32
	ChannelInfo    []byte
}

const readRequestFixed = 48

// Command returns CommandRead.
func (m *ReadRequest) Command() Command { return CommandRead }

// Decode reads msg, header included. Channel information is looked for only when
// Channel announces it: otherwise its place MUST be ignored.
func (m *ReadRequest) Decode(msg []byte) error {
	const name = "READ request"
	b, err := body(msg, name, 49, readRequestFixed)
	if err != nil {
		return err
	}
	*m = ReadRequest{
		Padding:        b[2],
		Flags:          ReadFlags(b[3]),
		Length:         le.Uint32(b[4:]),
		Offset:         le.Uint64(b[8:]),
		FileID:         getFileID(b[16:]),
		MinimumCount:   le.Uint32(b[32:]),
		Channel:        Channel(le.Uint32(b[36:])),
		RemainingBytes: le.Uint32(b[40:]),
	}
	if m.Channel == ChannelNone {
		return nil
	}
	m.ChannelInfo, err = region(msg, name, "ReadChannelInfoOffset",
		uint32(le.Uint16(b[44:])), uint32(le.Uint16(b[46:])), HeaderSize+readRequestFixed)
	return err
}

// AppendTo appends the body, with the one byte of Buffer that StructureSize counts.
func (m *ReadRequest) AppendTo(b []byte) []byte {
	b, p := grow(b, readRequestFixed)
	le.PutUint16(p, 49)
	p[2], p[3] = m.Padding, uint8(m.Flags)
	le.PutUint32(p[4:], m.Length)
	le.PutUint64(p[8:], m.Offset)
	putFileID(p[16:], m.FileID)
	le.PutUint32(p[32:], m.MinimumCount)
	le.PutUint32(p[36:], uint32(m.Channel))
	le.PutUint32(p[40:], m.RemainingBytes)
	if len(m.ChannelInfo) == 0 {
		return append(b, 0)
	}
	le.PutUint16(p[44:], HeaderSize+readRequestFixed)
	le.PutUint16(p[46:], uint16(len(m.ChannelInfo)))
	return append(b, m.ChannelInfo...)
}

func (m *ReadRequest) String() string {
	return fmt.Sprintf("READ fid=%x:%x offset=%d length=%d minimum=%d flags=%#x channel=%d",
		m.FileID.Persistent, m.FileID.Volatile, m.Offset, m.Length, m.MinimumCount, uint8(m.Flags), m.Channel)
}

// ReadResponseFlagRDMATransform is SMB2_READFLAG_RESPONSE_RDMA_TRANSFORM.
const ReadResponseFlagRDMATransform uint32 = 0x00000001

// ReadResponse is [MS-SMB2] 2.2.20. Data aliases the message after Decode.
type ReadResponse struct {
	DataRemaining uint32
	Flags         uint32
	Data          []byte
}

// ReadResponseFixed is the length of a READ response's body before its data, which
// follows at once: header and this make room for PutReadResponse.
const ReadResponseFixed = 16

// Command returns CommandRead.
func (m *ReadResponse) Command() Command { return CommandRead }

// Decode reads msg, header included.
func (m *ReadResponse) Decode(msg []byte) error {
	const name = "READ response"
	b, err := body(msg, name, 17, ReadResponseFixed)
	if err != nil {
		return err
	}
	m.DataRemaining = le.Uint32(b[8:])
	m.Flags = le.Uint32(b[12:])
	m.Data, err = region(msg, name, "DataOffset", uint32(b[2]), le.Uint32(b[4:]), HeaderSize+ReadResponseFixed)
	return err
}

// AppendTo appends the body with a copy of Data; the server's data path uses
// PutReadResponse.
func (m *ReadResponse) AppendTo(b []byte) []byte {
	b, p := grow(b, ReadResponseFixed)
	PutReadResponse(p, uint32(len(m.Data)), m.DataRemaining, m.Flags)
	return append(b, m.Data...)
}

// PutReadResponse writes the fixed part of a READ response over p, all of it: the
// payload of dataLength bytes lies, or will be sent, right behind.
func PutReadResponse(p []byte, dataLength, dataRemaining, flags uint32) {
	_ = p[ReadResponseFixed-1]
	le.PutUint16(p, 17)
	p[2], p[3] = HeaderSize+ReadResponseFixed, 0
	le.PutUint32(p[4:], dataLength)
	le.PutUint32(p[8:], dataRemaining)
	le.PutUint32(p[12:], flags)
}

func (m *ReadResponse) String() string {
	return fmt.Sprintf("READ data=%d remaining=%d flags=%#x", len(m.Data), m.DataRemaining, m.Flags)
}

// WriteFlags is the Flags of a WRITE request ([MS-SMB2] 2.2.21).
type WriteFlags uint32

// SMB2_WRITEFLAG_*.
const (
	WriteFlagWriteThrough WriteFlags = 0x00000001
	WriteFlagUnbuffered   WriteFlags = 0x00000002
)

// WriteRequest is [MS-SMB2] 2.2.21. Data aliases the message after Decode.
type WriteRequest struct {
	Offset         uint64
	FileID         FileID
	Channel        Channel
	RemainingBytes uint32
	ChannelInfo    []byte
	Flags          WriteFlags
	DataOffset     uint16 // as received; AppendTo sets its own
	Data           []byte
}

// WriteRequestFixed is the length of a WRITE request's body before its Buffer.
const WriteRequestFixed = 48

// Command returns CommandWrite.
func (m *WriteRequest) Command() Command { return CommandWrite }

// Decode reads msg, header included.
func (m *WriteRequest) Decode(msg []byte) error {
	const name = "WRITE request"
	b, err := body(msg, name, 49, WriteRequestFixed)
	if err != nil {
		return err
	}
	*m = WriteRequest{
		DataOffset:     le.Uint16(b[2:]),
		Offset:         le.Uint64(b[8:]),
		FileID:         getFileID(b[16:]),
		Channel:        Channel(le.Uint32(b[32:])),
		RemainingBytes: le.Uint32(b[36:]),
		Flags:          WriteFlags(le.Uint32(b[44:])),
	}
	const min = HeaderSize + WriteRequestFixed
	m.Data, err = region(msg, name, "DataOffset", uint32(m.DataOffset), le.Uint32(b[4:]), min)
	if err != nil || m.Channel == ChannelNone {
		return err
	}
	m.ChannelInfo, err = region(msg, name, "WriteChannelInfoOffset",
		uint32(le.Uint16(b[40:])), uint32(le.Uint16(b[42:])), min)
	return err
}

// AppendTo appends the body: channel information first, then a copy of Data.
func (m *WriteRequest) AppendTo(b []byte) []byte {
	return append(m.AppendFixed(b, uint32(len(m.Data))), m.Data...)
}

// AppendFixed appends the body up to the data, of which length bytes are sent
// right behind by the caller.
func (m *WriteRequest) AppendFixed(b []byte, length uint32) []byte {
	b, p := grow(b, WriteRequestFixed)
	le.PutUint16(p, 49)
	dataOffset := HeaderSize + WriteRequestFixed + len(m.ChannelInfo)
	le.PutUint16(p[2:], uint16(dataOffset))
	le.PutUint32(p[4:], length)
	le.PutUint64(p[8:], m.Offset)
	putFileID(p[16:], m.FileID)
	le.PutUint32(p[32:], uint32(m.Channel))
	le.PutUint32(p[36:], m.RemainingBytes)
	le.PutUint32(p[44:], uint32(m.Flags))
	if len(m.ChannelInfo) > 0 {
		le.PutUint16(p[40:], HeaderSize+WriteRequestFixed)
		le.PutUint16(p[42:], uint16(len(m.ChannelInfo)))
		b = append(b, m.ChannelInfo...)
	}
	return b
}

func (m *WriteRequest) String() string {
	return fmt.Sprintf("WRITE fid=%x:%x offset=%d length=%d flags=%#x channel=%d",
		m.FileID.Persistent, m.FileID.Volatile, m.Offset, len(m.Data), uint32(m.Flags), m.Channel)
}

// WriteResponse is [MS-SMB2] 2.2.22.
type WriteResponse struct {
	Count     uint32
	Remaining uint32 // reserved
}

// WriteResponseFixed is the length of a WRITE response's body.
const WriteResponseFixed = 16

// Command returns CommandWrite.
func (m *WriteResponse) Command() Command { return CommandWrite }

// Decode reads msg, header included.
func (m *WriteResponse) Decode(msg []byte) error {
	b, err := body(msg, "WRITE response", 17, WriteResponseFixed)
	if err != nil {
		return err
	}
	m.Count, m.Remaining = le.Uint32(b[4:]), le.Uint32(b[8:])
	return nil
}

// AppendTo appends the body, without the byte of Buffer that StructureSize counts:
// 2.2.22 has no Buffer.
func (m *WriteResponse) AppendTo(b []byte) []byte {
	b, p := grow(b, WriteResponseFixed)
	le.PutUint16(p, 17)
	le.PutUint32(p[4:], m.Count)
	le.PutUint32(p[8:], m.Remaining)
	return b
}

func (m *WriteResponse) String() string { return fmt.Sprintf("WRITE count=%d", m.Count) }
