package smb2

import "fmt"

// SessionSetupFlags is the Flags of a SESSION_SETUP request ([MS-SMB2] 2.2.5).
type SessionSetupFlags uint8

// SessionFlagBinding binds the session to another connection.
const SessionFlagBinding SessionSetupFlags = 0x01

// SessionFlags is what the server says of a session ([MS-SMB2] 2.2.6).
type SessionFlags uint16

// SMB2_SESSION_FLAG_*.
const (
	SessionFlagIsGuest     SessionFlags = 0x0001
	SessionFlagIsNull      SessionFlags = 0x0002
	SessionFlagEncryptData SessionFlags = 0x0004
)

// SessionSetupRequest is [MS-SMB2] 2.2.5.
type SessionSetupRequest struct {
	Flags             SessionSetupFlags
	SecurityMode      uint8 // SecurityMode in one byte
	Capabilities      Capabilities
	Channel           uint32 // reserved
	PreviousSessionID uint64
	SecurityBuffer    []byte
}

const sessionSetupRequestFixed = 24

// Command returns CommandSessionSetup.
func (m *SessionSetupRequest) Command() Command { return CommandSessionSetup }

// Decode reads msg, header included.
func (m *SessionSetupRequest) Decode(msg []byte) error {
	const name = "SESSION_SETUP request"
	b, err := body(msg, name, 25, sessionSetupRequestFixed)
	if err != nil {
		return err
	}
	*m = SessionSetupRequest{
		Flags:             SessionSetupFlags(b[2]),
		SecurityMode:      b[3],
		Capabilities:      Capabilities(le.Uint32(b[4:])),
		Channel:           le.Uint32(b[8:]),
		PreviousSessionID: le.Uint64(b[16:]),
	}
	m.SecurityBuffer, err = region(msg, name, "SecurityBufferOffset",
		uint32(le.Uint16(b[12:])), uint32(le.Uint16(b[14:])), HeaderSize+sessionSetupRequestFixed)
	return err
}

// AppendTo appends the body.
func (m *SessionSetupRequest) AppendTo(b []byte) []byte {
	b, p := grow(b, sessionSetupRequestFixed)
	le.PutUint16(p, 25)
	p[2] = uint8(m.Flags)
	p[3] = m.SecurityMode
	le.PutUint32(p[4:], uint32(m.Capabilities))
	le.PutUint32(p[8:], m.Channel)
	le.PutUint16(p[12:], HeaderSize+sessionSetupRequestFixed)
	le.PutUint16(p[14:], uint16(len(m.SecurityBuffer)))
	le.PutUint64(p[16:], m.PreviousSessionID)
	return append(b, m.SecurityBuffer...)
}

func (m *SessionSetupRequest) String() string {
	return fmt.Sprintf("SESSION_SETUP flags=%#x mode=%#x caps=%s previous=%#x token=%d",
		uint8(m.Flags), m.SecurityMode, m.Capabilities, m.PreviousSessionID, len(m.SecurityBuffer))
}

// SessionSetupResponse is [MS-SMB2] 2.2.6.
type SessionSetupResponse struct {
	SessionFlags   SessionFlags
	SecurityBuffer []byte
}

const sessionSetupResponseFixed = 8

// Command returns CommandSessionSetup.
func (m *SessionSetupResponse) Command() Command { return CommandSessionSetup }

// Decode reads msg, header included.
func (m *SessionSetupResponse) Decode(msg []byte) error {
	const name = "SESSION_SETUP response"
	b, err := body(msg, name, 9, sessionSetupResponseFixed)
	if err != nil {
		return err
	}
	m.SessionFlags = SessionFlags(le.Uint16(b[2:]))
	m.SecurityBuffer, err = region(msg, name, "SecurityBufferOffset",
		uint32(le.Uint16(b[4:])), uint32(le.Uint16(b[6:])), HeaderSize+sessionSetupResponseFixed)
	return err
}

// AppendTo appends the body.
func (m *SessionSetupResponse) AppendTo(b []byte) []byte {
	b, p := grow(b, sessionSetupResponseFixed)
	le.PutUint16(p, 9)
	le.PutUint16(p[2:], uint16(m.SessionFlags))
	le.PutUint16(p[4:], HeaderSize+sessionSetupResponseFixed)
	le.PutUint16(p[6:], uint16(len(m.SecurityBuffer)))
	return append(b, m.SecurityBuffer...)
}

func (m *SessionSetupResponse) String() string {
	return fmt.Sprintf("SESSION_SETUP flags=%#x token=%d", uint16(m.SessionFlags), len(m.SecurityBuffer))
}

// Empty is the four-byte body, StructureSize and Reserved, that LOGOFF,
// TREE_DISCONNECT, ECHO and CANCEL have as requests, and those but CANCEL, with
// FLUSH and LOCK, as responses ([MS-SMB2] 2.2.7, 2.2.11, 2.2.28, 2.2.30, 2.2.18, 2.2.27).
type Empty struct {
	// Of is the command, which the body does not tell; Decode takes it from the header.
	Of Command
}

const emptyFixed = 4

// Command returns m.Of.
func (m *Empty) Command() Command { return m.Of }

// Decode reads msg, header included.
func (m *Empty) Decode(msg []byte) error {
	if _, err := body(msg, "empty message", 4, emptyFixed); err != nil {
		return err
	}
	m.Of = Header(msg).Command()
	return nil
}

// AppendTo appends the body.
func (m *Empty) AppendTo(b []byte) []byte { return append(b, 4, 0, 0, 0) }

func (m *Empty) String() string { return m.Of.String() }
