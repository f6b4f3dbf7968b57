package smb2

import "gabion/protocol/ntstatus"

// Message is any body of this package.
type Message interface {
	// Command is the command the body belongs to.
	Command() Command
	// Decode reads a whole message, header included.
	Decode(msg []byte) error
	// AppendTo appends the body alone.
	AppendTo(b []byte) []byte
	String() string
}

// NewRequest returns an empty request body of c, nil if there is no such command.
// For OPLOCK_BREAK it is the oplock acknowledgment; DecodeRequest tells the two apart.
func NewRequest(c Command) Message {
	switch c {
	case CommandNegotiate:
		return new(NegotiateRequest)
	case CommandSessionSetup:
		return new(SessionSetupRequest)
	case CommandTreeConnect:
		return new(TreeConnectRequest)
	case CommandCreate:
		return new(CreateRequest)
	case CommandClose:
		return new(CloseRequest)
	case CommandFlush:
		return new(FlushRequest)
	case CommandRead:
		return new(ReadRequest)
	case CommandWrite:
		return new(WriteRequest)
	case CommandLock:
		return new(LockRequest)
	case CommandIoctl:
		return new(IoctlRequest)
	case CommandQueryDirectory:
		return new(QueryDirectoryRequest)
	case CommandChangeNotify:
		return new(ChangeNotifyRequest)
	case CommandQueryInfo:
		return new(QueryInfoRequest)
	case CommandSetInfo:
		return new(SetInfoRequest)
	case CommandOplockBreak:
		return new(OplockBreak)
	case CommandLogoff, CommandTreeDisconnect, CommandEcho, CommandCancel:
		return &Empty{Of: c}
	}
	return nil
}

// NewResponse returns an empty body of a successful response to c, nil if there is
// no such command or it has no response.
func NewResponse(c Command) Message {
	switch c {
	case CommandNegotiate:
		return new(NegotiateResponse)
	case CommandSessionSetup:
		return new(SessionSetupResponse)
	case CommandTreeConnect:
		return new(TreeConnectResponse)
	case CommandCreate:
		return new(CreateResponse)
	case CommandClose:
		return new(CloseResponse)
	case CommandRead:
		return new(ReadResponse)
	case CommandWrite:
		return new(WriteResponse)
	case CommandIoctl:
		return new(IoctlResponse)
	case CommandQueryDirectory:
		return new(QueryDirectoryResponse)
	case CommandChangeNotify:
		return new(ChangeNotifyResponse)
	case CommandQueryInfo:
		return new(QueryInfoResponse)
	case CommandSetInfo:
		return new(SetInfoResponse)
	case CommandOplockBreak:
		return new(OplockBreak)
	case CommandServerToClientNotification:
		return new(ServerNotification)
	case CommandLogoff, CommandTreeDisconnect, CommandEcho, CommandFlush, CommandLock:
		return &Empty{Of: c}
	}
	return nil
}

// DecodeMessage decodes one message of a chain by its header: a request, a
// response, or an error response when the body is one. It is for peers, tests and
// printing; the server decodes into the structure its handler owns.
func DecodeMessage(msg []byte) (Header, Message, error) {
	h, err := ParseHeader(msg)
	if err != nil {
		return nil, nil, err
	}
	m := newByHeader(h, msg)
	if m == nil {
		return h, nil, malformed("header", "Command")
	}
	return h, m, m.Decode(msg)
}

func newByHeader(h Header, msg []byte) Message {
	c := h.Command()
	if c == CommandOplockBreak {
		switch BreakStructureSize(msg) {
		case LeaseBreakSize:
			return new(LeaseBreak)
		case LeaseBreakNotificationSize:
			return new(LeaseBreakNotification)
		}
	}
	if !h.IsResponse() {
		return NewRequest(c)
	}
	if isErrorBody(h, msg) {
		return new(ErrorResponse)
	}
	return NewResponse(c)
}

// isErrorBody reports that a response's body is an ERROR response. [MS-SMB2] 3.3.4.4
// lists the statuses with which an ordinary body is sent. An ordinary body that has
// the error's StructureSize 9 is told apart by the status alone; a body of any
// other size is never an error.
func isErrorBody(h Header, msg []byte) bool {
	s := h.Status()
	if s.IsSuccess() && s != ntstatus.Pending && s != ntstatus.NotifyEnumDir && s != ntstatus.NotifyCleanup {
		return false
	}
	if BreakStructureSize(msg) != 9 {
		return false
	}
	switch h.Command() {
	case CommandSessionSetup:
		return s != ntstatus.MoreProcessingRequired
	case CommandQueryInfo, CommandQueryDirectory:
		return s != ntstatus.BufferOverflow
	case CommandChangeNotify:
		return s != ntstatus.NotifyEnumDir && s != ntstatus.NotifyCleanup
	}
	return true
}
