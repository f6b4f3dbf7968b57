package smb2

import (
	"fmt"
	"strings"
)

// Command is the operation code of a header ([MS-SMB2] 2.2.1.2).
type Command uint16

// The commands.
const (
	CommandNegotiate                  Command = 0x0000
	CommandSessionSetup               Command = 0x0001
	CommandLogoff                     Command = 0x0002
	CommandTreeConnect                Command = 0x0003
	CommandTreeDisconnect             Command = 0x0004
	CommandCreate                     Command = 0x0005
	CommandClose                      Command = 0x0006
	CommandFlush                      Command = 0x0007
	CommandRead                       Command = 0x0008
	CommandWrite                      Command = 0x0009
	CommandLock                       Command = 0x000A
	CommandIoctl                      Command = 0x000B
	CommandCancel                     Command = 0x000C
	CommandEcho                       Command = 0x000D
	CommandQueryDirectory             Command = 0x000E
	CommandChangeNotify               Command = 0x000F
	CommandQueryInfo                  Command = 0x0010
	CommandSetInfo                    Command = 0x0011
	CommandOplockBreak                Command = 0x0012
	CommandServerToClientNotification Command = 0x0013
)

// NumCommands is the number of commands a client may send (the notification is
// the server's alone): the length of a table indexed by Command.
const NumCommands = 0x13

var commandNames = [...]string{
	"NEGOTIATE", "SESSION_SETUP", "LOGOFF", "TREE_CONNECT", "TREE_DISCONNECT",
	"CREATE", "CLOSE", "FLUSH", "READ", "WRITE", "LOCK", "IOCTL", "CANCEL", "ECHO",
	"QUERY_DIRECTORY", "CHANGE_NOTIFY", "QUERY_INFO", "SET_INFO", "OPLOCK_BREAK",
	"SERVER_TO_CLIENT_NOTIFICATION",
}

func (c Command) String() string {
	if int(c) < len(commandNames) {
		return commandNames[c]
	}
	return fmt.Sprintf("Command(%#x)", uint16(c))
}

// HeaderFlags is the Flags field of a header ([MS-SMB2] 2.2.1.2).
type HeaderFlags uint32

// SMB2_FLAGS_*.
const (
	FlagServerToRedir     HeaderFlags = 0x00000001
	FlagAsyncCommand      HeaderFlags = 0x00000002
	FlagRelatedOperations HeaderFlags = 0x00000004
	FlagSigned            HeaderFlags = 0x00000008
	FlagPriorityMask      HeaderFlags = 0x00000070
	FlagDFSOperations     HeaderFlags = 0x10000000
	FlagReplayOperation   HeaderFlags = 0x20000000
)

// Priority is the requested I/O priority of SMB 3.1.1, 0 to 7.
func (f HeaderFlags) Priority() uint8 { return uint8(f & FlagPriorityMask >> 4) }

func (f HeaderFlags) String() string {
	return flagString(uint64(f), []flagName{
		{uint64(FlagServerToRedir), "RESPONSE"}, {uint64(FlagAsyncCommand), "ASYNC"},
		{uint64(FlagRelatedOperations), "RELATED"}, {uint64(FlagSigned), "SIGNED"},
		{uint64(FlagDFSOperations), "DFS"}, {uint64(FlagReplayOperation), "REPLAY"},
	})
}

type flagName struct {
	bit  uint64
	name string
}

// flagString joins the names of the bits of v; what has no name is printed in
// hexadecimal.
func flagString(v uint64, names []flagName) string {
	if v == 0 {
		return "0"
	}
	var parts []string
	for _, n := range names {
		if v&n.bit == n.bit {
			parts = append(parts, n.name)
			v &^= n.bit
		}
	}
	if v != 0 {
		parts = append(parts, fmt.Sprintf("%#x", v))
	}
	return strings.Join(parts, "|")
}

// Dialect is a dialect revision number ([MS-SMB2] 2.2.3).
type Dialect uint16

// The dialects. DialectWildcard appears only in the response to a multi-protocol
// negotiate that offered "SMB 2.???".
const (
	Dialect202      Dialect = 0x0202
	Dialect210      Dialect = 0x0210
	Dialect300      Dialect = 0x0300
	Dialect302      Dialect = 0x0302
	Dialect311      Dialect = 0x0311
	DialectWildcard Dialect = 0x02FF
)

func (d Dialect) String() string {
	switch d {
	case Dialect202:
		return "2.0.2"
	case Dialect210:
		return "2.1"
	case Dialect300:
		return "3.0"
	case Dialect302:
		return "3.0.2"
	case Dialect311:
		return "3.1.1"
	case DialectWildcard:
		return "2.???"
	}
	return fmt.Sprintf("Dialect(%#04x)", uint16(d))
}

// Is3x reports a dialect of the SMB 3.x family.
func (d Dialect) Is3x() bool { return d >= Dialect300 && d != DialectWildcard }
