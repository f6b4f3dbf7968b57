package smb2

import (
	"fmt"

	"gabion/protocol/dtyp"
)

// OplockLevel is a level of opportunistic lock ([MS-SMB2] 2.2.13).
type OplockLevel uint8

// SMB2_OPLOCK_LEVEL_*.
const (
	OplockLevelNone      OplockLevel = 0x00
	OplockLevelII        OplockLevel = 0x01
	OplockLevelExclusive OplockLevel = 0x08
	OplockLevelBatch     OplockLevel = 0x09
	OplockLevelLease     OplockLevel = 0xFF
)

func (l OplockLevel) String() string {
	switch l {
	case OplockLevelNone:
		return "none"
	case OplockLevelII:
		return "II"
	case OplockLevelExclusive:
		return "exclusive"
	case OplockLevelBatch:
		return "batch"
	case OplockLevelLease:
		return "lease"
	}
	return fmt.Sprintf("OplockLevel(%#x)", uint8(l))
}

// ImpersonationLevel is [MS-SMB2] 2.2.13.
type ImpersonationLevel uint32

// The impersonation levels.
const (
	ImpersonationAnonymous      ImpersonationLevel = 0
	ImpersonationIdentification ImpersonationLevel = 1
	ImpersonationImpersonation  ImpersonationLevel = 2
	ImpersonationDelegate       ImpersonationLevel = 3
)

// ShareAccess is what an open lets others do ([MS-SMB2] 2.2.13).
type ShareAccess uint32

// FILE_SHARE_*.
const (
	ShareRead   ShareAccess = 0x00000001
	ShareWrite  ShareAccess = 0x00000002
	ShareDelete ShareAccess = 0x00000004
	ShareAll                = ShareRead | ShareWrite | ShareDelete
)

func (s ShareAccess) String() string {
	return flagString(uint64(s), []flagName{{1, "R"}, {2, "W"}, {4, "D"}})
}

// CreateDisposition is what to do when the file exists, and when not
// ([MS-SMB2] 2.2.13).
type CreateDisposition uint32

// The create dispositions.
const (
	DispositionSupersede   CreateDisposition = 0
	DispositionOpen        CreateDisposition = 1
	DispositionCreate      CreateDisposition = 2
	DispositionOpenIf      CreateDisposition = 3
	DispositionOverwrite   CreateDisposition = 4
	DispositionOverwriteIf CreateDisposition = 5
)

func (d CreateDisposition) String() string {
	names := [...]string{"SUPERSEDE", "OPEN", "CREATE", "OPEN_IF", "OVERWRITE", "OVERWRITE_IF"}
	if int64(d) < int64(len(names)) {
		return names[d]
	}
	return fmt.Sprintf("CreateDisposition(%d)", uint32(d))
}

// CreateOptions is [MS-SMB2] 2.2.13.
type CreateOptions uint32

// The create options.
const (
	OptionDirectoryFile           CreateOptions = 0x00000001
	OptionWriteThrough            CreateOptions = 0x00000002
	OptionSequentialOnly          CreateOptions = 0x00000004
	OptionNoIntermediateBuffering CreateOptions = 0x00000008
	OptionSynchronousIOAlert      CreateOptions = 0x00000010
	OptionSynchronousIONonalert   CreateOptions = 0x00000020
	OptionNonDirectoryFile        CreateOptions = 0x00000040
	OptionCompleteIfOplocked      CreateOptions = 0x00000100
	OptionNoEAKnowledge           CreateOptions = 0x00000200
	OptionOpenRemoteInstance      CreateOptions = 0x00000400
	OptionRandomAccess            CreateOptions = 0x00000800
	OptionDeleteOnClose           CreateOptions = 0x00001000
	OptionOpenByFileID            CreateOptions = 0x00002000
	OptionOpenForBackupIntent     CreateOptions = 0x00004000
	OptionNoCompression           CreateOptions = 0x00008000
	OptionOpenRequiringOplock     CreateOptions = 0x00010000
	OptionDisallowExclusive       CreateOptions = 0x00020000
	OptionReserveOpfilter         CreateOptions = 0x00100000
	OptionOpenReparsePoint        CreateOptions = 0x00200000
	OptionOpenNoRecall            CreateOptions = 0x00400000
	OptionOpenForFreeSpaceQuery   CreateOptions = 0x00800000
)

// CreateAction is what CREATE did ([MS-SMB2] 2.2.14).
type CreateAction uint32

// The create actions.
const (
	ActionSuperseded  CreateAction = 0
	ActionOpened      CreateAction = 1
	ActionCreated     CreateAction = 2
	ActionOverwritten CreateAction = 3
)

// CreateRequest is [MS-SMB2] 2.2.13.
type CreateRequest struct {
	SecurityFlags        uint8 // reserved
	RequestedOplockLevel OplockLevel
	ImpersonationLevel   ImpersonationLevel
	SMBCreateFlags       uint64 // reserved
	Reserved             uint64
	DesiredAccess        dtyp.AccessMask
	FileAttributes       uint32
	ShareAccess          ShareAccess
	CreateDisposition    CreateDisposition
	CreateOptions        CreateOptions
	Name                 []byte // UTF-16LE, relative to the share
	// Contexts is the raw create context list, checked by Decode. Read it with
	// CreateContexts, build it with ContextBuilder.
	Contexts []byte
}

const createRequestFixed = 56

// Command returns CommandCreate.
func (m *CreateRequest) Command() Command { return CommandCreate }

// CreateContexts returns a reader of the contexts.
func (m *CreateRequest) CreateContexts() CreateContextReader {
	return CreateContextReader{rest: m.Contexts}
}

// Decode reads msg, header included, and walks the context list once so that a
// later walk cannot fail ([MS-SMB2] 3.3.5.9 refuses a broken list before
// anything else happens).
func (m *CreateRequest) Decode(msg []byte) error {
	const name = "CREATE request"
	b, err := body(msg, name, 57, createRequestFixed)
	if err != nil {
		return err
	}
	*m = CreateRequest{
		SecurityFlags:        b[2],
		RequestedOplockLevel: OplockLevel(b[3]),
		ImpersonationLevel:   ImpersonationLevel(le.Uint32(b[4:])),
		SMBCreateFlags:       le.Uint64(b[8:]),
		Reserved:             le.Uint64(b[16:]),
		DesiredAccess:        dtyp.AccessMask(le.Uint32(b[24:])),
		FileAttributes:       le.Uint32(b[28:]),
		ShareAccess:          ShareAccess(le.Uint32(b[32:])),
		CreateDisposition:    CreateDisposition(le.Uint32(b[36:])),
		CreateOptions:        CreateOptions(le.Uint32(b[40:])),
	}
	const min = HeaderSize + createRequestFixed
	if m.Name, err = region(msg, name, "NameOffset", uint32(le.Uint16(b[44:])), uint32(le.Uint16(b[46:])), min); err != nil {
		return err
	}
	m.Contexts, err = contextRegion(msg, name, b[48:], min)
	return err
}

// contextRegion reads CreateContextsOffset and CreateContextsLength at p and
// checks the list they name.
func contextRegion(msg []byte, structure string, p []byte, min int) ([]byte, error) {
	off, n := le.Uint32(p), le.Uint32(p[4:])
	list, err := region(msg, structure, "CreateContextsOffset", off, n, min)
	if err != nil {
		return nil, err
	}
	if n > 0 && off%8 != 0 {
		return nil, malformed(structure, "CreateContextsOffset")
	}
	r := CreateContextReader{rest: list}
	for r.Next() {
	}
	return list, r.Err()
}

// AppendTo appends the body. Buffer has at least one byte, as 2.2.13 demands.
func (m *CreateRequest) AppendTo(b []byte) []byte {
	start := len(b)
	b, p := grow(b, createRequestFixed)
	le.PutUint16(p, 57)
	p[2] = m.SecurityFlags
	p[3] = uint8(m.RequestedOplockLevel)
	le.PutUint32(p[4:], uint32(m.ImpersonationLevel))
	le.PutUint64(p[8:], m.SMBCreateFlags)
	le.PutUint64(p[16:], m.Reserved)
	le.PutUint32(p[24:], uint32(m.DesiredAccess))
	le.PutUint32(p[28:], m.FileAttributes)
	le.PutUint32(p[32:], uint32(m.ShareAccess))
	le.PutUint32(p[36:], uint32(m.CreateDisposition))
	le.PutUint32(p[40:], uint32(m.CreateOptions))
	le.PutUint16(p[44:], HeaderSize+createRequestFixed)
	le.PutUint16(p[46:], uint16(len(m.Name)))
	b = append(b, m.Name...)
	if len(m.Contexts) > 0 {
		b = pad8(b, start)
		le.PutUint32(b[start+48:], uint32(HeaderSize+len(b)-start))
		le.PutUint32(b[start+52:], uint32(len(m.Contexts)))
		b = append(b, m.Contexts...)
	}
	if len(b) == start+createRequestFixed {
		b = append(b, 0)
	}
	return b
}

func (m *CreateRequest) String() string {
	return fmt.Sprintf("CREATE name=%s disposition=%s options=%#x access=%s share=%s attributes=%#x oplock=%s contexts=%s",
		printName(m.Name), m.CreateDisposition, uint32(m.CreateOptions), m.DesiredAccess, m.ShareAccess,
		m.FileAttributes, m.RequestedOplockLevel, contextNames(m.Contexts))
}

// CreateFlags is the Flags of a CREATE response ([MS-SMB2] 2.2.14).
type CreateFlags uint8

// CreateFlagReparsePoint: the last part of the path is a reparse point.
const CreateFlagReparsePoint CreateFlags = 0x01

// CreateResponse is [MS-SMB2] 2.2.14.
type CreateResponse struct {
	OplockLevel    OplockLevel
	Flags          CreateFlags
	CreateAction   CreateAction
	CreationTime   dtyp.Filetime
	LastAccessTime dtyp.Filetime
	LastWriteTime  dtyp.Filetime
	ChangeTime     dtyp.Filetime
	AllocationSize uint64
	EndOfFile      uint64
	FileAttributes uint32
	Reserved2      uint32
	FileID         FileID
	Contexts       []byte // as in CreateRequest
}

const createResponseFixed = 88

// Command returns CommandCreate.
func (m *CreateResponse) Command() Command { return CommandCreate }

// CreateContexts returns a reader of the contexts.
func (m *CreateResponse) CreateContexts() CreateContextReader {
	return CreateContextReader{rest: m.Contexts}
}

// Decode reads msg, header included.
func (m *CreateResponse) Decode(msg []byte) error {
	const name = "CREATE response"
	b, err := body(msg, name, 89, createResponseFixed)
	if err != nil {
		return err
	}
	*m = CreateResponse{
		OplockLevel:    OplockLevel(b[2]),
		Flags:          CreateFlags(b[3]),
		CreateAction:   CreateAction(le.Uint32(b[4:])),
		CreationTime:   getFiletime(b[8:]),
		LastAccessTime: getFiletime(b[16:]),
		LastWriteTime:  getFiletime(b[24:]),
		ChangeTime:     getFiletime(b[32:]),
		AllocationSize: le.Uint64(b[40:]),
		EndOfFile:      le.Uint64(b[48:]),
		FileAttributes: le.Uint32(b[56:]),
		Reserved2:      le.Uint32(b[60:]),
		FileID:         getFileID(b[64:]),
	}
	m.Contexts, err = contextRegion(msg, name, b[80:], HeaderSize+createResponseFixed)
	return err
}

// AppendTo appends the body.
func (m *CreateResponse) AppendTo(b []byte) []byte {
	start := len(b)
	b, p := grow(b, createResponseFixed)
	le.PutUint16(p, 89)
	p[2] = uint8(m.OplockLevel)
	p[3] = uint8(m.Flags)
	le.PutUint32(p[4:], uint32(m.CreateAction))
	putFiletime(p[8:], m.CreationTime)
	putFiletime(p[16:], m.LastAccessTime)
	putFiletime(p[24:], m.LastWriteTime)
	putFiletime(p[32:], m.ChangeTime)
	le.PutUint64(p[40:], m.AllocationSize)
	le.PutUint64(p[48:], m.EndOfFile)
	le.PutUint32(p[56:], m.FileAttributes)
	le.PutUint32(p[60:], m.Reserved2)
	putFileID(p[64:], m.FileID)
	if len(m.Contexts) > 0 {
		le.PutUint32(p[80:], uint32(HeaderSize+len(b)-start))
		le.PutUint32(p[84:], uint32(len(m.Contexts)))
		b = append(b, m.Contexts...)
	}
	return b
}

func (m *CreateResponse) String() string {
	return fmt.Sprintf("CREATE fid=%x:%x action=%d oplock=%s size=%d attributes=%#x contexts=%s",
		m.FileID.Persistent, m.FileID.Volatile, m.CreateAction, m.OplockLevel, m.EndOfFile, m.FileAttributes, contextNames(m.Contexts))
}

// printName shows a name of the wire.
func printName(b []byte) string { return fmt.Sprintf("%q", dtyp.DecodeUTF16(b)) }
