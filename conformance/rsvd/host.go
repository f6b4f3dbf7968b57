package rsvd

import (
	"fmt"
	"net"
	"time"

	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	wire "gabion/protocol/rsvd"
	"gabion/protocol/smb2"
)

// Suffix makes a name mean the disk in the file.
const Suffix = ":SharedVirtualDisk"

// Room is the MaxOutputResponse of tunnel requests.
const Room = 4096

// Host is a host's session with a share.
type Host struct {
	Conn *client.Conn
	Tree *client.Tree
	GUID dtyp.GUID // ClientGuid
}

// Server says where a host connects to, and as whom.
type Server struct {
	Addr, Share string
	Credentials client.Credentials
	Options     client.Options
	Dial        func(addr string) (net.Conn, error) // nil is TCP
}

// Connect makes a new host.
func (s Server) Connect() (*Host, error) { return s.ConnectAs(dtyp.NewGUID()) }

// ConnectAs connects a host that has been there before.
func (s Server) ConnectAs(guid dtyp.GUID) (*Host, error) {
	dial := s.Dial
	if dial == nil {
		dial = func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) }
	}
	nc, err := dial(s.Addr)
	if err != nil {
		return nil, err
	}
	c := client.NewConn(nc, s.Options)
	h := &Host{Conn: c, GUID: guid}
	if err = c.Negotiate(client.Negotiation{ClientGUID: guid}); err == nil {
		var session *client.Session
		if session, err = c.Login(s.Credentials); err == nil {
			h.Tree, err = session.Connect(s.Share)
		}
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return h, nil
}

// Close drops the connection.
func (h *Host) Close() { h.Conn.Close() }

// Upload writes a file of the share.
func (h *Host) Upload(name string, content []byte) error {
	m := client.OpenFile(name)
	m.CreateDisposition = smb2.DispositionOverwriteIf
	f, err := h.Tree.Create(m)
	if err != nil {
		return err
	}
	const step = 1 << 20
	for off := 0; off < len(content) && err == nil; off += step {
		_, err = f.WriteAt(content[off:min(off+step, len(content))], int64(off))
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// How says how a disk is opened; the zero value is what Hyper-V does.
type How struct {
	Version    uint32 // of the context; 0 is 2
	Initiator  dtyp.GUID
	NoID       bool // HasInitiatorId is 0, whatever Initiator says
	Host       string
	Originator uint32 // 0 is PVHDPARSER
	Persistent dtyp.GUID
	Options    smb2.CreateOptions // 0 is FILE_NO_INTERMEDIATE_BUFFERING
	Access     dtyp.AccessMask    // 0 is what hosts ask for
	Snapshot   *wire.TargetSpecifier
}

// Access is what hosts ask for.
const Access = dtyp.FileReadData | dtyp.FileWriteData | dtyp.FileReadAttributes | dtyp.ReadControl

// Request is the CREATE of a disk.
func (h How) Request(name string) *smb2.CreateRequest {
	if h.Options == 0 {
		h.Options = smb2.OptionNoIntermediateBuffering
	}
	if h.Access == 0 {
		h.Access = Access
	}
	m := &smb2.CreateRequest{
		Name: dtyp.EncodeUTF16(name + Suffix), ImpersonationLevel: smb2.ImpersonationImpersonation, DesiredAccess: h.Access,
		ShareAccess: smb2.ShareAll, CreateDisposition: smb2.DispositionOpen, CreateOptions: h.Options,
	}
	if h.Snapshot != nil {
		const needEA = 0x80
		ea := fscc.EncodeEAs([]fscc.EA{{Flags: needEA, Name: wire.TargetSpecifierName, Value: h.Snapshot.AppendTo(nil)}})
		return client.WithContext(m, smb2.ContextEABuffer, raw(ea))
	}
	m = client.WithContext(m, smb2.ContextSVHDXOpenDevice, h.context())
	if !h.Persistent.IsZero() {
		m = client.WithContext(m, smb2.ContextDurableRequestV2, &smb2.DurableRequestV2{Flags: smb2.DurableFlagPersistent, CreateGUID: h.Persistent})
	}
	return m
}

type raw []byte

func (r raw) AppendTo(b []byte) []byte { return append(b, r...) }

func (h How) context() *smb2.SVHDXOpenDevice {
	c := &smb2.SVHDXOpenDevice{Version: h.Version, HasInitiatorID: !h.NoID, InitiatorID: h.Initiator, OriginatorFlags: h.Originator}
	if c.Version == 0 {
		c.Version = smb2.SVHDXVersion2
	}
	if c.OriginatorFlags == 0 {
		c.OriginatorFlags = smb2.SVHDXOriginatorPVHDParser
	}
	if h.Host == "" {
		h.Host = "Client01"
	}
	c.InitiatorHostNameLength = uint16(copy(c.InitiatorHostName[:], dtyp.EncodeUTF16(h.Host)))
	return c
}

// Disk is a shared open.
type Disk struct {
	*client.File
	How    How
	Answer *smb2.SVHDXOpenDevice // the response context, nil if there was none
	next   uint64
}

// Open opens a disk.
func (h *Host) Open(name string, how How) (*Disk, error) {
	f, err := h.Tree.Create(how.Request(name))
	if err != nil {
		return nil, err
	}
	d := &Disk{File: f, How: how}
	if data, ok := f.Context(smb2.ContextSVHDXOpenDevice); ok {
		d.Answer = new(smb2.SVHDXOpenDevice)
		if err := d.Answer.Decode(data); err != nil {
			return d, err
		}
	}
	return d, nil
}

// Reopen reclaims a persistent open on another connection, as the host that had it.
func (h *Host) Reopen(d *Disk) (*Disk, error) {
	m := How{Options: d.How.Options, Access: d.How.Access}.Request("")
	m.Name = dtyp.EncodeUTF16(d.Name)
	m.Contexts = nil
	m = client.WithContext(m, smb2.ContextDurableReconnectV2, &smb2.DurableReconnectV2{
		FileID: d.ID, CreateGUID: d.How.Persistent, Flags: smb2.DurableFlagPersistent})
	f, err := h.Tree.Create(m)
	if err != nil {
		return nil, err
	}
	f.Name = d.Name
	return &Disk{File: f, How: d.How, next: d.next}, nil
}

// Reclaim is Reopen as hosts do it: again and again, because the server may not have
// noticed yet that the old connection is gone.
func (h *Host) Reclaim(d *Disk) (*Disk, error) {
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		again, err := h.Reopen(d)
		if s, ok := client.Status(err); err == nil || !ok || s != ntstatus.ObjectNameNotFound && s != ntstatus.FileNotAvailable || time.Now().After(end) {
			return again, err
		}
	}
}

type encoder interface{ AppendTo([]byte) []byte }

type decoder interface{ Decode([]byte) error }

// Tunnel sends an operation and returns its header's status and its payload. The error is
// that of the FSCTL.
func (d *Disk) Tunnel(op wire.Operation, parts ...encoder) (ntstatus.Status, []byte, error) {
	return d.TunnelRoom(op, Room, parts...)
}

// TunnelRoom is Tunnel with another MaxOutputResponse.
func (d *Disk) TunnelRoom(op wire.Operation, room uint32, parts ...encoder) (ntstatus.Status, []byte, error) {
	d.next++
	in := (&wire.TunnelHeader{Operation: op, RequestID: d.next}).AppendTo(nil)
	for _, p := range parts {
		in = p.AppendTo(in)
	}
	code := fscc.FsctlSvhdxSyncTunnelRequest
	if op == wire.MetaOperationStart {
		code = fscc.FsctlSvhdxAsyncTunnelRequest
	}
	out, err := d.Ioctl(uint32(code), in, room)
	if err != nil {
		return 0, nil, err
	}
	var h wire.TunnelHeader
	switch {
	case h.Decode(out) != nil:
		return 0, nil, fmt.Errorf("%v: %d bytes are no header", op, len(out))
	case h.Operation != op, h.RequestID != d.next:
		return 0, nil, fmt.Errorf("%v %d: answer has %v", op, d.next, h)
	}
	return h.Status, out[wire.TunnelHeaderSize:], nil
}

// Ask wants success on both channels and decodes the payload.
func (d *Disk) Ask(op wire.Operation, into decoder, parts ...encoder) error {
	status, payload, err := d.Tunnel(op, parts...)
	switch {
	case err != nil:
		return fmt.Errorf("%v: %w", op, err)
	case status != ntstatus.Success:
		return fmt.Errorf("%v: header: %w", op, status)
	case into == nil:
		return nil
	}
	if err := into.Decode(payload); err != nil {
		return fmt.Errorf("%v: %w", op, err)
	}
	return nil
}

// Support asks FSCTL_QUERY_SHARED_VIRTUAL_DISK_SUPPORT of any open.
func Support(f *client.File) (r wire.SupportResponse, err error) {
	out, err := f.Ioctl(uint32(fscc.FsctlQuerySharedVirtualDiskSupport), nil, 8)
	if err == nil {
		err = r.Decode(out)
	}
	return r, err
}

// remove deletes a file beside a disk.
func remove(d *Disk, name string) error {
	m := client.OpenFile(name)
	m.CreateDisposition = smb2.DispositionOpen
	m.CreateOptions |= smb2.OptionDeleteOnClose
	f, err := d.Tree.Create(m)
	if err != nil {
		return err
	}
	return f.Close()
}
