package smb2

import "fmt"

// Values of StructureSize by which the messages of OPLOCK_BREAK are told apart.
const (
	OplockBreakSize            = 24
	LeaseBreakSize             = 36
	LeaseBreakNotificationSize = 44
)

// BreakStructureSize returns StructureSize of an OPLOCK_BREAK message, 0 if there is
// none: one of the three constants above when the message is sound.
func BreakStructureSize(msg []byte) int {
	if len(msg) < HeaderSize+2 {
		return 0
	}
	return int(le.Uint16(msg[HeaderSize:]))
}

// UnsolicitedMessageID is the MessageId of break notifications and of the server to
// client notification ([MS-SMB2] 3.3.4.6, 3.3.4.7).
const UnsolicitedMessageID = ^uint64(0)

// OplockBreak is the notification, the acknowledgment and the response of an oplock
// break ([MS-SMB2] 2.2.23.1, 2.2.24.1, 2.2.25.1), which have one form.
type OplockBreak struct {
	OplockLevel OplockLevel
	FileID      FileID
}

// Command returns CommandOplockBreak.
func (m *OplockBreak) Command() Command { return CommandOplockBreak }

// Decode reads msg, header included.
func (m *OplockBreak) Decode(msg []byte) error {
	b, err := body(msg, "OPLOCK_BREAK", OplockBreakSize, OplockBreakSize)
	if err != nil {
		return err
	}
	m.OplockLevel, m.FileID = OplockLevel(b[2]), getFileID(b[8:])
	return nil
}

// AppendTo appends the body.
func (m *OplockBreak) AppendTo(b []byte) []byte {
	b, p := grow(b, OplockBreakSize)
	le.PutUint16(p, OplockBreakSize)
	p[2] = uint8(m.OplockLevel)
	putFileID(p[8:], m.FileID)
	return b
}

func (m *OplockBreak) String() string {
	return fmt.Sprintf("OPLOCK_BREAK level=%s fid=%x:%x", m.OplockLevel, m.FileID.Persistent, m.FileID.Volatile)
}

// NotifyBreakLeaseAckRequired is SMB2_NOTIFY_BREAK_LEASE_FLAG_ACK_REQUIRED.
const NotifyBreakLeaseAckRequired uint32 = 0x01

// LeaseBreakNotification is [MS-SMB2] 2.2.23.2.
type LeaseBreakNotification struct {
	NewEpoch          uint16
	Flags             uint32
	LeaseKey          LeaseKey
	CurrentLeaseState LeaseState
	NewLeaseState     LeaseState
	BreakReason       uint32 // reserved
	AccessMaskHint    uint32 // reserved
	ShareMaskHint     uint32 // reserved
}

// Command returns CommandOplockBreak.
func (m *LeaseBreakNotification) Command() Command { return CommandOplockBreak }

// Decode reads msg, header included.
func (m *LeaseBreakNotification) Decode(msg []byte) error {
	b, err := body(msg, "lease break notification", LeaseBreakNotificationSize, LeaseBreakNotificationSize)
	if err != nil {
		return err
	}
	*m = LeaseBreakNotification{
		NewEpoch:          le.Uint16(b[2:]),
		Flags:             le.Uint32(b[4:]),
		LeaseKey:          LeaseKey(b[8:24]),
		CurrentLeaseState: LeaseState(le.Uint32(b[24:])),
		NewLeaseState:     LeaseState(le.Uint32(b[28:])),
		BreakReason:       le.Uint32(b[32:]),
		AccessMaskHint:    le.Uint32(b[36:]),
		ShareMaskHint:     le.Uint32(b[40:]),
	}
	return nil
}

// AppendTo appends the body.
func (m *LeaseBreakNotification) AppendTo(b []byte) []byte {
	b, p := grow(b, LeaseBreakNotificationSize)
	le.PutUint16(p, LeaseBreakNotificationSize)
	le.PutUint16(p[2:], m.NewEpoch)
	le.PutUint32(p[4:], m.Flags)
	copy(p[8:], m.LeaseKey[:])
	le.PutUint32(p[24:], uint32(m.CurrentLeaseState))
	le.PutUint32(p[28:], uint32(m.NewLeaseState))
	le.PutUint32(p[32:], m.BreakReason)
	le.PutUint32(p[36:], m.AccessMaskHint)
	le.PutUint32(p[40:], m.ShareMaskHint)
	return b
}

func (m *LeaseBreakNotification) String() string {
	return fmt.Sprintf("LEASE_BREAK notification key=%x epoch=%d flags=%#x %s to %s",
		m.LeaseKey, m.NewEpoch, m.Flags, m.CurrentLeaseState, m.NewLeaseState)
}

// LeaseBreak is the acknowledgment and the response of a lease break
// ([MS-SMB2] 2.2.24.2, 2.2.25.2), which have one form.
type LeaseBreak struct {
	Flags         uint32 // reserved
	LeaseKey      LeaseKey
	LeaseState    LeaseState
	LeaseDuration uint64 // reserved
}

// Command returns CommandOplockBreak.
func (m *LeaseBreak) Command() Command { return CommandOplockBreak }

// Decode reads msg, header included.
func (m *LeaseBreak) Decode(msg []byte) error {
	b, err := body(msg, "lease break", LeaseBreakSize, LeaseBreakSize)
	if err != nil {
		return err
	}
	*m = LeaseBreak{
		Flags: le.Uint32(b[4:]), LeaseKey: LeaseKey(b[8:24]),
		LeaseState: LeaseState(le.Uint32(b[24:])), LeaseDuration: le.Uint64(b[28:]),
	}
	return nil
}

// AppendTo appends the body.
func (m *LeaseBreak) AppendTo(b []byte) []byte {
	b, p := grow(b, LeaseBreakSize)
	le.PutUint16(p, LeaseBreakSize)
	le.PutUint32(p[4:], m.Flags)
	copy(p[8:], m.LeaseKey[:])
	le.PutUint32(p[24:], uint32(m.LeaseState))
	le.PutUint64(p[28:], m.LeaseDuration)
	return b
}

func (m *LeaseBreak) String() string {
	return fmt.Sprintf("LEASE_BREAK key=%x state=%s", m.LeaseKey, m.LeaseState)
}

// NotifySessionClosed is SmbNotifySessionClosed.
const NotifySessionClosed uint32 = 0

// ServerNotification is the server to client notification ([MS-SMB2] 2.2.44).
type ServerNotification struct {
	StructureSize    uint16 // as received; AppendTo computes it
	NotificationType uint32
	Notification     []byte // 4 reserved bytes for NotifySessionClosed
}

const serverNotificationFixed = 8

// Command returns CommandServerToClientNotification.
func (m *ServerNotification) Command() Command { return CommandServerToClientNotification }

// Decode reads msg, header included. StructureSize is not judged: its value depends
// on the notification.
func (m *ServerNotification) Decode(msg []byte) error {
	if len(msg) < HeaderSize+serverNotificationFixed {
		return malformed("SERVER_TO_CLIENT_NOTIFICATION", "truncated")
	}
	b := msg[HeaderSize:]
	m.StructureSize, m.NotificationType = le.Uint16(b), le.Uint32(b[4:])
	m.Notification = b[serverNotificationFixed:]
	return nil
}

// AppendTo appends the body.
func (m *ServerNotification) AppendTo(b []byte) []byte {
	b, p := grow(b, serverNotificationFixed)
	le.PutUint16(p, uint16(serverNotificationFixed+len(m.Notification)))
	le.PutUint32(p[4:], m.NotificationType)
	return append(b, m.Notification...)
}

func (m *ServerNotification) String() string {
	return fmt.Sprintf("SERVER_TO_CLIENT_NOTIFICATION type=%d", m.NotificationType)
}
