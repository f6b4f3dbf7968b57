package client

import (
	"net"
	"net/netip"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// Tree is a connected share.
type Tree struct {
	Session  *Session
	ID       uint32
	Response smb2.TreeConnectResponse
	// Encrypt seals requests of the tree; Connect sets it as the share asks.
	Encrypt bool
}

// Connect connects to a share by its name.
func (s *Session) Connect(share string) (*Tree, error) {
	host, _, err := net.SplitHostPort(s.Conn.nc.RemoteAddr().String())
	if err != nil {
		host = "server"
	}
	return s.ConnectPath(`\\` + host + `\` + share)
}

// ConnectPath connects to \\server\share.
func (s *Session) ConnectPath(path string) (*Tree, error) {
	return s.ConnectWith(&smb2.TreeConnectRequest{Path: dtyp.EncodeUTF16(path)})
}

// ConnectWith sends a TREE_CONNECT built by hand.
func (s *Session) ConnectWith(m *smb2.TreeConnectRequest) (*Tree, error) {
	t := &Tree{Session: s}
	r, err := s.Call(m, &t.Response)
	if err != nil {
		return nil, err
	}
	t.ID = r.Header.TreeID()
	t.Encrypt = t.Response.ShareFlags&smb2.ShareFlagEncryptData != 0 && s.CanEncrypt()
	return t, nil
}

// On returns the tree as another channel of its session sees it.
func (t *Tree) On(channel *Session) *Tree {
	c := *t
	c.Session = channel
	return &c
}

// Disconnect gives the tree up.
func (t *Tree) Disconnect() error {
	_, err := t.Call(&smb2.Empty{Of: smb2.CommandTreeDisconnect}, nil)
	return err
}

// Request wraps a body for this tree.
func (t *Tree) Request(m smb2.Message) *Request {
	return &Request{Body: m, Tree: t, Session: t.Session}
}

// Call sends a request of the tree and decodes its response into out.
func (t *Tree) Call(m, out smb2.Message) (*Response, error) {
	return t.Session.Conn.do(t.Request(m), out)
}

// Start sends a request of the tree and does not wait.
func (t *Tree) Start(m smb2.Message) (*Pending, error) { return t.Session.Conn.Start(t.Request(m)) }

// Ioctl sends an FSCTL without a file.
func (t *Tree) Ioctl(code uint32, input []byte, maxOutput uint32) ([]byte, error) {
	return t.ioctl(smb2.AnyFileID, code, input, maxOutput)
}

func (t *Tree) ioctl(id smb2.FileID, code uint32, input []byte, maxOutput uint32) ([]byte, error) {
	var out smb2.IoctlResponse
	_, err := t.Call(&smb2.IoctlRequest{CtlCode: code, FileID: id, Input: input, MaxOutputResponse: maxOutput, Flags: smb2.IoctlIsFsctl}, &out)
	return out.Output, err
}

// ValidateNegotiate asks the server what it agreed to ([MS-SMB2] 3.2.5.5) and
// compares it with what was received.
func (t *Tree) ValidateNegotiate() error {
	c := t.Session.Conn
	in := smb2.ValidateNegotiateInfoRequest{Capabilities: c.Sent.Capabilities, GUID: c.Sent.ClientGUID, SecurityMode: c.Sent.SecurityMode, Dialects: c.Sent.Dialects}
	b, err := t.Ioctl(smb2.FsctlValidateNegotiateInfo, in.AppendTo(nil), smb2.ValidateNegotiateInfoResponseSize)
	if err != nil {
		return err
	}
	var out smb2.ValidateNegotiateInfoResponse
	if err := out.Decode(b); err != nil {
		return err
	}
	if out.Dialect != c.Dialect || out.Capabilities != c.Response.Capabilities || out.GUID != c.Response.ServerGUID || out.SecurityMode != c.Response.SecurityMode {
		return ntstatus.AccessDenied
	}
	return nil
}

// Interfaces asks for the server's network interfaces.
func (t *Tree) Interfaces() ([]smb2.NetworkInterfaceInfo, error) {
	b, err := t.Ioctl(smb2.FsctlQueryNetworkInterfaceInfo, nil, 65536)
	if err != nil {
		return nil, err
	}
	return smb2.DecodeNetworkInterfaces(b)
}

// Addresses are the addresses of Interfaces.
func Addresses(list []smb2.NetworkInterfaceInfo) []netip.Addr {
	var out []netip.Addr
	for _, n := range list {
		if n.Address.IsValid() {
			out = append(out, n.Address)
		}
	}
	return out
}
