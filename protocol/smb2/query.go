package smb2

import "fmt"

// InfoType says what QUERY_INFO and SET_INFO are about ([MS-SMB2] 2.2.37).
type InfoType uint8

// SMB2_0_INFO_*.
const (
	InfoFile       InfoType = 0x01
	InfoFileSystem InfoType = 0x02
	InfoSecurity   InfoType = 0x03
	InfoQuota      InfoType = 0x04
)

func (t InfoType) String() string {
	switch t {
	case InfoFile:
		return "file"
	case InfoFileSystem:
		return "filesystem"
	case InfoSecurity:
		return "security"
	case InfoQuota:
		return "quota"
	}
	return fmt.Sprintf("InfoType(%d)", uint8(t))
}

// SecurityInformation selects parts of a security descriptor in
// AdditionalInformation ([MS-SMB2] 2.2.37).
type SecurityInformation = uint32

// *_SECURITY_INFORMATION.
const (
	SecurityOwner     SecurityInformation = 0x00000001
	SecurityGroup     SecurityInformation = 0x00000002
	SecurityDACL      SecurityInformation = 0x00000004
	SecuritySACL      SecurityInformation = 0x00000008
	SecurityLabel     SecurityInformation = 0x00000010
	SecurityAttribute SecurityInformation = 0x00000020
	SecurityScope     SecurityInformation = 0x00000040
	SecurityBackup    SecurityInformation = 0x00010000
)

// Flags of a QUERY_INFO for FileFullEaInformation ([MS-SMB2] 2.2.37).
const (
	ScanRestart           uint32 = 0x00000001 // SL_RESTART_SCAN
	ScanReturnSingleEntry uint32 = 0x00000002 // SL_RETURN_SINGLE_ENTRY
	ScanIndexSpecified    uint32 = 0x00000004 // SL_INDEX_SPECIFIED
)

// QueryInfoRequest is [MS-SMB2] 2.2.37.
type QueryInfoRequest struct {
	InfoType              InfoType
	FileInfoClass         uint8
	OutputBufferLength    uint32
	AdditionalInformation uint32
	Flags                 uint32
	FileID                FileID
	Input                 []byte
}

const queryInfoRequestFixed = 40

// Command returns CommandQueryInfo.
func (m *QueryInfoRequest) Command() Command { return CommandQueryInfo }

// Decode reads msg, header included.
func (m *QueryInfoRequest) Decode(msg []byte) error {
	const name = "QUERY_INFO request"
	b, err := body(msg, name, 41, queryInfoRequestFixed)
	if err != nil {
		return err
	}
	*m = QueryInfoRequest{
		InfoType:              InfoType(b[2]),
		FileInfoClass:         b[3],
		OutputBufferLength:    le.Uint32(b[4:]),
		AdditionalInformation: le.Uint32(b[16:]),
		Flags:                 le.Uint32(b[20:]),
		FileID:                getFileID(b[24:]),
	}
	m.Input, err = region(msg, name, "InputBufferOffset", uint32(le.Uint16(b[8:])), le.Uint32(b[12:]), HeaderSize+queryInfoRequestFixed)
	return err
}

// AppendTo appends the body.
func (m *QueryInfoRequest) AppendTo(b []byte) []byte {
	b, p := grow(b, queryInfoRequestFixed)
	le.PutUint16(p, 41)
	p[2], p[3] = uint8(m.InfoType), m.FileInfoClass
	le.PutUint32(p[4:], m.OutputBufferLength)
	le.PutUint32(p[12:], uint32(len(m.Input)))
	le.PutUint32(p[16:], m.AdditionalInformation)
	le.PutUint32(p[20:], m.Flags)
	putFileID(p[24:], m.FileID)
	if len(m.Input) > 0 {
		le.PutUint16(p[8:], HeaderSize+queryInfoRequestFixed)
	}
	return append(b, m.Input...)
}

func (m *QueryInfoRequest) String() string {
	return fmt.Sprintf("QUERY_INFO type=%s class=%d length=%d additional=%#x flags=%#x fid=%x:%x input=%d", m.InfoType,
		m.FileInfoClass, m.OutputBufferLength, m.AdditionalInformation, m.Flags, m.FileID.Persistent, m.FileID.Volatile, len(m.Input))
}

// QueryQuotaInfo is SMB2_QUERY_QUOTA_INFO, the input of a quota query
// ([MS-SMB2] 2.2.37.1). SIDBuffer aliases its source after Decode: a list of
// FILE_GET_QUOTA_INFORMATION of SIDListLength bytes, or a SID at StartSIDOffset.
type QueryQuotaInfo struct {
	ReturnSingle   bool
	RestartScan    bool
	SIDListLength  uint32
	StartSIDLength uint32
	StartSIDOffset uint32
	SIDBuffer      []byte
}

const queryQuotaInfoFixed = 16

// Decode reads the input buffer of the query.
func (q *QueryQuotaInfo) Decode(b []byte) error {
	const name = "QUERY_QUOTA_INFO"
	if len(b) < queryQuotaInfoFixed {
		return malformed(name, "truncated")
	}
	*q = QueryQuotaInfo{
		ReturnSingle: b[0] != 0, RestartScan: b[1] != 0,
		SIDListLength: le.Uint32(b[4:]), StartSIDLength: le.Uint32(b[8:]), StartSIDOffset: le.Uint32(b[12:]),
		SIDBuffer: b[queryQuotaInfoFixed:],
	}
	n := uint64(len(q.SIDBuffer))
	if uint64(q.SIDListLength) > n {
		return malformed(name, "SidListLength")
	}
	if q.StartSIDLength > 0 && uint64(q.StartSIDOffset)+uint64(q.StartSIDLength) > n {
		return malformed(name, "StartSidOffset")
	}
	return nil
}

// AppendTo appends the structure.
func (q *QueryQuotaInfo) AppendTo(b []byte) []byte {
	b, p := grow(b, queryQuotaInfoFixed)
	p[0], p[1] = boolByte(q.ReturnSingle), boolByte(q.RestartScan)
	le.PutUint32(p[4:], q.SIDListLength)
	le.PutUint32(p[8:], q.StartSIDLength)
	le.PutUint32(p[12:], q.StartSIDOffset)
	return append(b, q.SIDBuffer...)
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// SetInfoRequest is [MS-SMB2] 2.2.39.
type SetInfoRequest struct {
	InfoType              InfoType
	FileInfoClass         uint8
	AdditionalInformation uint32
	FileID                FileID
	Buffer                []byte
}

const setInfoRequestFixed = 32

// Command returns CommandSetInfo.
func (m *SetInfoRequest) Command() Command { return CommandSetInfo }

// Decode reads msg, header included.
func (m *SetInfoRequest) Decode(msg []byte) error {
	const name = "SET_INFO request"
	b, err := body(msg, name, 33, setInfoRequestFixed)
	if err != nil {
		return err
	}
	*m = SetInfoRequest{
		InfoType:              InfoType(b[2]),
		FileInfoClass:         b[3],
		AdditionalInformation: le.Uint32(b[12:]),
		FileID:                getFileID(b[16:]),
	}
	m.Buffer, err = region(msg, name, "BufferOffset", uint32(le.Uint16(b[8:])), le.Uint32(b[4:]), HeaderSize+setInfoRequestFixed)
	return err
}

// AppendTo appends the body.
func (m *SetInfoRequest) AppendTo(b []byte) []byte {
	b, p := grow(b, setInfoRequestFixed)
	le.PutUint16(p, 33)
	p[2], p[3] = uint8(m.InfoType), m.FileInfoClass
	le.PutUint32(p[4:], uint32(len(m.Buffer)))
	le.PutUint16(p[8:], HeaderSize+setInfoRequestFixed)
	le.PutUint32(p[12:], m.AdditionalInformation)
	putFileID(p[16:], m.FileID)
	return append(b, m.Buffer...)
}

func (m *SetInfoRequest) String() string {
	return fmt.Sprintf("SET_INFO type=%s class=%d additional=%#x fid=%x:%x buffer=%d", m.InfoType,
		m.FileInfoClass, m.AdditionalInformation, m.FileID.Persistent, m.FileID.Volatile, len(m.Buffer))
}

// SetInfoResponse is [MS-SMB2] 2.2.40: nothing but StructureSize.
type SetInfoResponse struct{}

// Command returns CommandSetInfo.
func (m *SetInfoResponse) Command() Command { return CommandSetInfo }

// Decode reads msg, header included.
func (m *SetInfoResponse) Decode(msg []byte) error {
	_, err := body(msg, "SET_INFO response", 2, 2)
	return err
}

// AppendTo appends the body.
func (m *SetInfoResponse) AppendTo(b []byte) []byte { return append(b, 2, 0) }

func (m *SetInfoResponse) String() string { return "SET_INFO" }

// OutputBufferFixed is the length of the body before the buffer in the responses to
// QUERY_DIRECTORY, CHANGE_NOTIFY and QUERY_INFO.
const OutputBufferFixed = 8

// PutOutputBuffer writes that fixed part over p: length bytes follow right behind.
func PutOutputBuffer(p []byte, length uint32) {
	_ = p[OutputBufferFixed-1]
	le.PutUint16(p, 9)
	le.PutUint16(p[2:], HeaderSize+OutputBufferFixed)
	le.PutUint32(p[4:], length)
}

func decodeOutputBuffer(msg []byte, structure string) ([]byte, error) {
	b, err := body(msg, structure, 9, OutputBufferFixed)
	if err != nil {
		return nil, err
	}
	return region(msg, structure, "OutputBufferOffset", uint32(le.Uint16(b[2:])), le.Uint32(b[4:]), HeaderSize+OutputBufferFixed)
}

// appendOutputBuffer appends the body of such a response.
func appendOutputBuffer(b, buffer []byte) []byte {
	b, p := grow(b, OutputBufferFixed)
	PutOutputBuffer(p, uint32(len(buffer)))
	return append(b, buffer...)
}

// QueryInfoResponse is [MS-SMB2] 2.2.38.
type QueryInfoResponse struct{ Buffer []byte }

// Command returns CommandQueryInfo.
func (m *QueryInfoResponse) Command() Command { return CommandQueryInfo }

// Decode reads msg, header included.
func (m *QueryInfoResponse) Decode(msg []byte) (err error) {
	m.Buffer, err = decodeOutputBuffer(msg, "QUERY_INFO response")
	return err
}

// AppendTo appends the body.
func (m *QueryInfoResponse) AppendTo(b []byte) []byte { return appendOutputBuffer(b, m.Buffer) }

func (m *QueryInfoResponse) String() string {
	return fmt.Sprintf("QUERY_INFO buffer=%d", len(m.Buffer))
}
