package smb2

import (
	"fmt"

	"gabion/protocol/dtyp"
)

// CloseFlags is the Flags of CLOSE ([MS-SMB2] 2.2.15, 2.2.16).
type CloseFlags uint16

// CloseFlagPostqueryAttrib asks for, or announces, the attributes at closing.
const CloseFlagPostqueryAttrib CloseFlags = 0x0001

// CloseRequest is [MS-SMB2] 2.2.15.
type CloseRequest struct {
	Flags  CloseFlags
	FileID FileID
}

const closeRequestFixed = 24

// Command returns CommandClose.
func (m *CloseRequest) Command() Command { return CommandClose }

// Decode reads msg, header included.
func (m *CloseRequest) Decode(msg []byte) error {
	b, err := body(msg, "CLOSE request", 24, closeRequestFixed)
	if err != nil {
		return err
	}
	m.Flags, m.FileID = CloseFlags(le.Uint16(b[2:])), getFileID(b[8:])
	return nil
}

// AppendTo appends the body.
func (m *CloseRequest) AppendTo(b []byte) []byte {
	b, p := grow(b, closeRequestFixed)
	le.PutUint16(p, 24)
	le.PutUint16(p[2:], uint16(m.Flags))
	putFileID(p[8:], m.FileID)
	return b
}

func (m *CloseRequest) String() string {
	return fmt.Sprintf("CLOSE fid=%x:%x flags=%#x", m.FileID.Persistent, m.FileID.Volatile, uint16(m.Flags))
}

// CloseResponse is [MS-SMB2] 2.2.16.
type CloseResponse struct {
	Flags          CloseFlags
	CreationTime   dtyp.Filetime
	LastAccessTime dtyp.Filetime
	LastWriteTime  dtyp.Filetime
	ChangeTime     dtyp.Filetime
	AllocationSize uint64
	EndOfFile      uint64
	FileAttributes uint32
}

const closeResponseFixed = 60

// Command returns CommandClose.
func (m *CloseResponse) Command() Command { return CommandClose }

// Decode reads msg, header included.
func (m *CloseResponse) Decode(msg []byte) error {
	b, err := body(msg, "CLOSE response", 60, closeResponseFixed)
	if err != nil {
		return err
	}
	*m = CloseResponse{
		Flags:          CloseFlags(le.Uint16(b[2:])),
		CreationTime:   getFiletime(b[8:]),
		LastAccessTime: getFiletime(b[16:]),
		LastWriteTime:  getFiletime(b[24:]),
		ChangeTime:     getFiletime(b[32:]),
		AllocationSize: le.Uint64(b[40:]),
		EndOfFile:      le.Uint64(b[48:]),
		FileAttributes: le.Uint32(b[56:]),
	}
	return nil
}

// AppendTo appends the body.
func (m *CloseResponse) AppendTo(b []byte) []byte {
	b, p := grow(b, closeResponseFixed)
	le.PutUint16(p, 60)
	le.PutUint16(p[2:], uint16(m.Flags))
	putFiletime(p[8:], m.CreationTime)
	putFiletime(p[16:], m.LastAccessTime)
	putFiletime(p[24:], m.LastWriteTime)
	putFiletime(p[32:], m.ChangeTime)
	le.PutUint64(p[40:], m.AllocationSize)
	le.PutUint64(p[48:], m.EndOfFile)
	le.PutUint32(p[56:], m.FileAttributes)
	return b
}

func (m *CloseResponse) String() string {
	return fmt.Sprintf("CLOSE flags=%#x size=%d attributes=%#x", uint16(m.Flags), m.EndOfFile, m.FileAttributes)
}

// FlushRequest is [MS-SMB2] 2.2.17; its response is Empty.
type FlushRequest struct {
	Reserved1 uint16
	Reserved2 uint32
	FileID    FileID
}

const flushRequestFixed = 24

// Command returns CommandFlush.
func (m *FlushRequest) Command() Command { return CommandFlush }

// Decode reads msg, header included.
func (m *FlushRequest) Decode(msg []byte) error {
	b, err := body(msg, "FLUSH request", 24, flushRequestFixed)
	if err != nil {
		return err
	}
	m.Reserved1, m.Reserved2, m.FileID = le.Uint16(b[2:]), le.Uint32(b[4:]), getFileID(b[8:])
	return nil
}

// AppendTo appends the body.
func (m *FlushRequest) AppendTo(b []byte) []byte {
	b, p := grow(b, flushRequestFixed)
	le.PutUint16(p, 24)
	le.PutUint16(p[2:], m.Reserved1)
	le.PutUint32(p[4:], m.Reserved2)
	putFileID(p[8:], m.FileID)
	return b
}

func (m *FlushRequest) String() string {
	return fmt.Sprintf("FLUSH fid=%x:%x", m.FileID.Persistent, m.FileID.Volatile)
}

// LockFlags is the Flags of a lock element ([MS-SMB2] 2.2.26.1).
type LockFlags uint32

// SMB2_LOCKFLAG_*.
const (
	LockFlagSharedLock      LockFlags = 0x00000001
	LockFlagExclusiveLock   LockFlags = 0x00000002
	LockFlagUnlock          LockFlags = 0x00000004
	LockFlagFailImmediately LockFlags = 0x00000010
)

// LockElement is SMB2_LOCK_ELEMENT ([MS-SMB2] 2.2.26.1).
type LockElement struct {
	Offset   uint64
	Length   uint64
	Flags    LockFlags
	Reserved uint32
}

// LockRequest is [MS-SMB2] 2.2.26; its response is Empty.
type LockRequest struct {
	// LockSequence holds LockSequenceNumber in its lowest 4 bits and
	// LockSequenceIndex above.
	LockSequence uint32
	FileID       FileID
	Locks        []LockElement
}

const (
	lockRequestFixed = 24
	lockElementSize  = 24
)

// Command returns CommandLock.
func (m *LockRequest) Command() Command { return CommandLock }

// SequenceNumber is LockSequenceNumber.
func (m *LockRequest) SequenceNumber() uint8 { return uint8(m.LockSequence & 0xF) }

// SequenceIndex is LockSequenceIndex.
func (m *LockRequest) SequenceIndex() uint32 { return m.LockSequence >> 4 }

// Decode reads msg, header included, into the capacity of Locks. LockCount 0 is for
// the handler to refuse.
func (m *LockRequest) Decode(msg []byte) error {
	const name = "LOCK request"
	b, err := body(msg, name, 48, lockRequestFixed)
	if err != nil {
		return err
	}
	n := int(le.Uint16(b[2:]))
	if len(b) < lockRequestFixed+n*lockElementSize {
		return malformed(name, "LockCount")
	}
	m.LockSequence, m.FileID, m.Locks = le.Uint32(b[4:]), getFileID(b[8:]), m.Locks[:0]
	for p := b[lockRequestFixed:]; n > 0; n, p = n-1, p[lockElementSize:] {
		m.Locks = append(m.Locks, LockElement{
			Offset: le.Uint64(p), Length: le.Uint64(p[8:]),
			Flags: LockFlags(le.Uint32(p[16:])), Reserved: le.Uint32(p[20:]),
		})
	}
	return nil
}

// AppendTo appends the body.
func (m *LockRequest) AppendTo(b []byte) []byte {
	b, p := grow(b, lockRequestFixed)
	le.PutUint16(p, 48)
	le.PutUint16(p[2:], uint16(len(m.Locks)))
	le.PutUint32(p[4:], m.LockSequence)
	putFileID(p[8:], m.FileID)
	for _, l := range m.Locks {
		b = le.AppendUint64(b, l.Offset)
		b = le.AppendUint64(b, l.Length)
		b = le.AppendUint32(b, uint32(l.Flags))
		b = le.AppendUint32(b, l.Reserved)
	}
	return b
}

func (m *LockRequest) String() string {
	return fmt.Sprintf("LOCK fid=%x:%x sequence=%#x locks=%v", m.FileID.Persistent, m.FileID.Volatile, m.LockSequence, m.Locks)
}
