package smb2

import "fmt"

// Control codes that [MS-SMB2] 2.2.31 lists; the others are MS-FSCC's.
const (
	FsctlDFSGetReferrals           uint32 = 0x00060194
	FsctlDFSGetReferralsEx         uint32 = 0x000601B0
	FsctlSetReparsePoint           uint32 = 0x000900A4
	FsctlFileLevelTrim             uint32 = 0x00098208
	FsctlPipePeek                  uint32 = 0x0011400C
	FsctlPipeWait                  uint32 = 0x00110018
	FsctlPipeTransceive            uint32 = 0x0011C017
	FsctlSrvCopychunk              uint32 = 0x001440F2
	FsctlSrvCopychunkWrite         uint32 = 0x001480F2
	FsctlSrvEnumerateSnapshots     uint32 = 0x00144064
	FsctlSrvRequestResumeKey       uint32 = 0x00140078
	FsctlSrvReadHash               uint32 = 0x001441BB
	FsctlLMRRequestResiliency      uint32 = 0x001401D4
	FsctlQueryNetworkInterfaceInfo uint32 = 0x001401FC
	FsctlValidateNegotiateInfo     uint32 = 0x00140204
)

// IoctlIsFsctl is SMB2_0_IOCTL_IS_FSCTL.
const IoctlIsFsctl uint32 = 0x00000001

// IoctlRequest is [MS-SMB2] 2.2.31.
type IoctlRequest struct {
	CtlCode           uint32
	FileID            FileID
	Input             []byte
	MaxInputResponse  uint32
	Output            []byte // OutputCount MUST be 0; what is there anyway
	MaxOutputResponse uint32
	Flags             uint32
}

const ioctlRequestFixed = 56

// Command returns CommandIoctl.
func (m *IoctlRequest) Command() Command { return CommandIoctl }

// Decode reads msg, header included.
func (m *IoctlRequest) Decode(msg []byte) error {
	const name = "IOCTL request"
	b, err := body(msg, name, 57, ioctlRequestFixed)
	if err != nil {
		return err
	}
	*m = IoctlRequest{
		CtlCode:           le.Uint32(b[4:]),
		FileID:            getFileID(b[8:]),
		MaxInputResponse:  le.Uint32(b[32:]),
		MaxOutputResponse: le.Uint32(b[44:]),
		Flags:             le.Uint32(b[48:]),
	}
	const min = HeaderSize + ioctlRequestFixed
	if m.Input, err = region(msg, name, "InputOffset", le.Uint32(b[24:]), le.Uint32(b[28:]), min); err != nil {
		return err
	}
	m.Output, err = region(msg, name, "OutputOffset", le.Uint32(b[36:]), le.Uint32(b[40:]), min)
	return err
}

// AppendTo appends the body.
func (m *IoctlRequest) AppendTo(b []byte) []byte {
	start := len(b)
	b, p := grow(b, ioctlRequestFixed)
	le.PutUint16(p, 57)
	le.PutUint32(p[4:], m.CtlCode)
	putFileID(p[8:], m.FileID)
	le.PutUint32(p[32:], m.MaxInputResponse)
	le.PutUint32(p[44:], m.MaxOutputResponse)
	le.PutUint32(p[48:], m.Flags)
	return appendInputOutput(b, start, 24, 36, m.Input, m.Output)
}

// appendInputOutput appends the two buffers of an IOCTL and fills their
// offset/count fields, which stand at in and out of the body that begins at start.
func appendInputOutput(b []byte, start, in, out int, input, output []byte) []byte {
	le.PutUint32(b[start+in:], uint32(HeaderSize+len(b)-start))
	le.PutUint32(b[start+in+4:], uint32(len(input)))
	b = append(b, input...)
	if len(output) > 0 {
		b = pad8(b, start)
		le.PutUint32(b[start+out:], uint32(HeaderSize+len(b)-start))
		le.PutUint32(b[start+out+4:], uint32(len(output)))
		b = append(b, output...)
	}
	return b
}

func (m *IoctlRequest) String() string {
	return fmt.Sprintf("IOCTL code=%#x fid=%x:%x input=%d output=%d max=%d/%d flags=%#x", m.CtlCode,
		m.FileID.Persistent, m.FileID.Volatile, len(m.Input), len(m.Output), m.MaxInputResponse, m.MaxOutputResponse, m.Flags)
}

// IoctlResponse is [MS-SMB2] 2.2.32.
type IoctlResponse struct {
	CtlCode uint32
	FileID  FileID
	Input   []byte
	Output  []byte
	Flags   uint32 // reserved
}

// IoctlResponseFixed is the length of an IOCTL response's body before its Buffer.
const IoctlResponseFixed = 48

// Command returns CommandIoctl.
func (m *IoctlResponse) Command() Command { return CommandIoctl }

// Decode reads msg, header included.
func (m *IoctlResponse) Decode(msg []byte) error {
	const name = "IOCTL response"
	b, err := body(msg, name, 49, IoctlResponseFixed)
	if err != nil {
		return err
	}
	*m = IoctlResponse{CtlCode: le.Uint32(b[4:]), FileID: getFileID(b[8:]), Flags: le.Uint32(b[40:])}
	const min = HeaderSize + IoctlResponseFixed
	if m.Input, err = region(msg, name, "InputOffset", le.Uint32(b[24:]), le.Uint32(b[28:]), min); err != nil {
		return err
	}
	m.Output, err = region(msg, name, "OutputOffset", le.Uint32(b[32:]), le.Uint32(b[36:]), min)
	return err
}

// AppendTo appends the body. InputOffset is set even without input, and
// OutputOffset is InputOffset+InputCount rounded up, as 2.2.32 words it.
func (m *IoctlResponse) AppendTo(b []byte) []byte {
	start := len(b)
	b, p := grow(b, IoctlResponseFixed)
	le.PutUint16(p, 49)
	le.PutUint32(p[4:], m.CtlCode)
	putFileID(p[8:], m.FileID)
	le.PutUint32(p[40:], m.Flags)
	return appendInputOutput(b, start, 24, 32, m.Input, m.Output)
}

func (m *IoctlResponse) String() string {
	return fmt.Sprintf("IOCTL code=%#x fid=%x:%x input=%d output=%d", m.CtlCode,
		m.FileID.Persistent, m.FileID.Volatile, len(m.Input), len(m.Output))
}
