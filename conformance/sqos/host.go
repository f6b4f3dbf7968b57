package sqos

import (
	"fmt"
	"time"

	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	wire "gabion/protocol/sqos"
)

// Room is the MaxOutputResponse of control requests.
const Room = 4096

// Server says where a host connects to, and as whom.
type Server struct {
	Addr, Share string
	Credentials client.Credentials
	Options     client.Options
}

// Host is a host's session with a share.
type Host struct {
	Conn *client.Conn
	Tree *client.Tree
	GUID dtyp.GUID // ClientGuid
}

// Connect makes a new host.
func (s Server) Connect() (*Host, error) { return s.ConnectAs(dtyp.NewGUID()) }

// ConnectAs connects a host that has been there before.
func (s Server) ConnectAs(guid dtyp.GUID) (*Host, error) {
	c, err := client.Dial(s.Addr, s.Options)
	if err != nil {
		return nil, err
	}
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

// Disk is an open of a virtual disk's file.
type Disk struct{ *client.File }

// Open opens a file as the test suite does.
func (h *Host) Open(name string) (Disk, error) {
	f, err := h.Tree.Create(client.OpenFile(name))
	return Disk{f}, err
}

// OpenPersistent asks for a persistent handle.
func (h *Host) OpenPersistent(name string, id dtyp.GUID) (Disk, error) {
	m := client.WithContext(client.OpenFile(name), smb2.ContextDurableRequestV2,
		&smb2.DurableRequestV2{Flags: smb2.DurableFlagPersistent, CreateGUID: id})
	f, err := h.Tree.Create(m)
	if err == nil {
		if _, is := f.Context(smb2.ContextDurableRequestV2); !is {
			err = fmt.Errorf("the open of %s is not persistent", name)
		}
	}
	return Disk{f}, err
}

// Reclaim takes a persistent open back. It is asked for again and again, because the server may
// not have noticed yet that the old connection is gone.
func (h *Host) Reclaim(d Disk, id dtyp.GUID) (Disk, error) {
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		m := client.WithContext(client.OpenFile(d.Name), smb2.ContextDurableReconnectV2,
			&smb2.DurableReconnectV2{FileID: d.ID, CreateGUID: id, Flags: smb2.DurableFlagPersistent})
		f, err := h.Tree.Create(m)
		if s, ok := client.Status(err); err == nil || !ok || s != ntstatus.ObjectNameNotFound && s != ntstatus.FileNotAvailable || time.Now().After(end) {
			return Disk{f}, err
		}
	}
}

// Say is a control request with the names of a virtual machine and its host.
type Say struct {
	wire.Request
	Initiator, Node string
}

// Raw sends a message as it is.
func (d Disk) Raw(message []byte, room uint32) (*wire.Response, error) {
	b, err := d.Ioctl(uint32(fscc.FsctlStorageQosControl), message, room)
	if err != nil || len(b) == 0 {
		return nil, err
	}
	r := new(wire.Response)
	return r, r.Decode(b)
}

// Control sends a request; the response is nil unless GET_STATUS asks for one.
func (d Disk) Control(s Say) (*wire.Response, error) {
	return d.Raw(s.AppendNamed(nil, s.Initiator, s.Node), Room)
}

// Status polls.
func (d Disk) Status(v wire.Version) (*wire.Response, error) {
	return d.Control(Say{Request: wire.Request{Version: v, Options: wire.GetStatus}})
}
