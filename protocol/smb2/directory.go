package smb2

import "fmt"

// QueryDirectoryFlags is the Flags of QUERY_DIRECTORY ([MS-SMB2] 2.2.33).
type QueryDirectoryFlags uint8

// SMB2_RESTART_SCANS and its like.
const (
	QueryDirectoryRestartScans      QueryDirectoryFlags = 0x01
	QueryDirectoryReturnSingleEntry QueryDirectoryFlags = 0x02
	QueryDirectoryIndexSpecified    QueryDirectoryFlags = 0x04
	QueryDirectoryReopen            QueryDirectoryFlags = 0x10
)

// QueryDirectoryRequest is [MS-SMB2] 2.2.33.
type QueryDirectoryRequest struct {
	FileInformationClass uint8
	Flags                QueryDirectoryFlags
	FileIndex            uint32
	FileID               FileID
	FileName             []byte // the search pattern, UTF-16LE
	OutputBufferLength   uint32
}

const queryDirectoryRequestFixed = 32

// Command returns CommandQueryDirectory.
func (m *QueryDirectoryRequest) Command() Command { return CommandQueryDirectory }

// Decode reads msg, header included.
func (m *QueryDirectoryRequest) Decode(msg []byte) error {
	const name = "QUERY_DIRECTORY request"
	b, err := body(msg, name, 33, queryDirectoryRequestFixed)
	if err != nil {
		return err
	}
	*m = QueryDirectoryRequest{
		FileInformationClass: b[2],
		Flags:                QueryDirectoryFlags(b[3]),
		FileIndex:            le.Uint32(b[4:]),
		FileID:               getFileID(b[8:]),
		OutputBufferLength:   le.Uint32(b[28:]),
	}
	m.FileName, err = region(msg, name, "FileNameOffset",
		uint32(le.Uint16(b[24:])), uint32(le.Uint16(b[26:])), HeaderSize+queryDirectoryRequestFixed)
	return err
}

// AppendTo appends the body.
func (m *QueryDirectoryRequest) AppendTo(b []byte) []byte {
	b, p := grow(b, queryDirectoryRequestFixed)
	le.PutUint16(p, 33)
	p[2], p[3] = m.FileInformationClass, uint8(m.Flags)
	le.PutUint32(p[4:], m.FileIndex)
	putFileID(p[8:], m.FileID)
	if len(m.FileName) > 0 {
		le.PutUint16(p[24:], HeaderSize+queryDirectoryRequestFixed)
	}
	le.PutUint16(p[26:], uint16(len(m.FileName)))
	le.PutUint32(p[28:], m.OutputBufferLength)
	return append(b, m.FileName...)
}

func (m *QueryDirectoryRequest) String() string {
	return fmt.Sprintf("QUERY_DIRECTORY class=%d flags=%#x index=%d fid=%x:%x pattern=%s length=%d", m.FileInformationClass,
		uint8(m.Flags), m.FileIndex, m.FileID.Persistent, m.FileID.Volatile, printName(m.FileName), m.OutputBufferLength)
}

// QueryDirectoryResponse is [MS-SMB2] 2.2.34.
type QueryDirectoryResponse struct{ Buffer []byte }

// Command returns CommandQueryDirectory.
func (m *QueryDirectoryResponse) Command() Command { return CommandQueryDirectory }

// Decode reads msg, header included.
func (m *QueryDirectoryResponse) Decode(msg []byte) (err error) {
	m.Buffer, err = decodeOutputBuffer(msg, "QUERY_DIRECTORY response")
	return err
}

// AppendTo appends the body.
func (m *QueryDirectoryResponse) AppendTo(b []byte) []byte { return appendOutputBuffer(b, m.Buffer) }

func (m *QueryDirectoryResponse) String() string {
	return fmt.Sprintf("QUERY_DIRECTORY buffer=%d", len(m.Buffer))
}

// WatchTree is SMB2_WATCH_TREE: changes anywhere below the directory.
const WatchTree uint16 = 0x0001

// CompletionFilter selects changes ([MS-SMB2] 2.2.35).
type CompletionFilter uint32

// FILE_NOTIFY_CHANGE_*.
const (
	NotifyFileName    CompletionFilter = 0x00000001
	NotifyDirName     CompletionFilter = 0x00000002
	NotifyAttributes  CompletionFilter = 0x00000004
	NotifySize        CompletionFilter = 0x00000008
	NotifyLastWrite   CompletionFilter = 0x00000010
	NotifyLastAccess  CompletionFilter = 0x00000020
	NotifyCreation    CompletionFilter = 0x00000040
	NotifyEA          CompletionFilter = 0x00000080
	NotifySecurity    CompletionFilter = 0x00000100
	NotifyStreamName  CompletionFilter = 0x00000200
	NotifyStreamSize  CompletionFilter = 0x00000400
	NotifyStreamWrite CompletionFilter = 0x00000800
	NotifyAll         CompletionFilter = 0x00000FFF
)

// ChangeNotifyRequest is [MS-SMB2] 2.2.35.
type ChangeNotifyRequest struct {
	Flags              uint16
	OutputBufferLength uint32
	FileID             FileID
	CompletionFilter   CompletionFilter
}

const changeNotifyRequestFixed = 32

// Command returns CommandChangeNotify.
func (m *ChangeNotifyRequest) Command() Command { return CommandChangeNotify }

// Decode reads msg, header included.
func (m *ChangeNotifyRequest) Decode(msg []byte) error {
	b, err := body(msg, "CHANGE_NOTIFY request", 32, changeNotifyRequestFixed)
	if err != nil {
		return err
	}
	*m = ChangeNotifyRequest{
		Flags: le.Uint16(b[2:]), OutputBufferLength: le.Uint32(b[4:]),
		FileID: getFileID(b[8:]), CompletionFilter: CompletionFilter(le.Uint32(b[24:])),
	}
	return nil
}

// AppendTo appends the body.
func (m *ChangeNotifyRequest) AppendTo(b []byte) []byte {
	b, p := grow(b, changeNotifyRequestFixed)
	le.PutUint16(p, 32)
	le.PutUint16(p[2:], m.Flags)
	le.PutUint32(p[4:], m.OutputBufferLength)
	putFileID(p[8:], m.FileID)
	le.PutUint32(p[24:], uint32(m.CompletionFilter))
	return b
}

func (m *ChangeNotifyRequest) String() string {
	return fmt.Sprintf("CHANGE_NOTIFY fid=%x:%x flags=%#x filter=%#x length=%d",
		m.FileID.Persistent, m.FileID.Volatile, m.Flags, uint32(m.CompletionFilter), m.OutputBufferLength)
}

// ChangeNotifyResponse is [MS-SMB2] 2.2.36.
type ChangeNotifyResponse struct{ Buffer []byte }

// Command returns CommandChangeNotify.
func (m *ChangeNotifyResponse) Command() Command { return CommandChangeNotify }

// Decode reads msg, header included.
func (m *ChangeNotifyResponse) Decode(msg []byte) (err error) {
	m.Buffer, err = decodeOutputBuffer(msg, "CHANGE_NOTIFY response")
	return err
}

// AppendTo appends the body.
func (m *ChangeNotifyResponse) AppendTo(b []byte) []byte { return appendOutputBuffer(b, m.Buffer) }

func (m *ChangeNotifyResponse) String() string {
	return fmt.Sprintf("CHANGE_NOTIFY buffer=%d", len(m.Buffer))
}
