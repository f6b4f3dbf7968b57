package object

import (
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// Durable is what makes an open outlive its connection ([MS-SMB2] 3.3.5.9.6 to 3.3.5.9.12, 3.3.5.15.9).
type Durable struct {
	Kind       DurableKind
	CreateGUID dtyp.GUID
	Owner      string // owner SID in string form: who may reconnect
	Timeout    time.Duration
}

// DurableKind tells the kinds apart; later ones keep more.
type DurableKind uint8

// The kinds.
const (
	NotDurable DurableKind = iota
	DurableV1
	DurableV2
	Resilient
	Persistent
)

// SetDurable records how the open survives a disconnect. Whether it may be
// granted is the server's decision.
func (o *Open) SetDurable(d Durable) {}

// Durable returns what SetDurable recorded.
func (o *Open) Durable() Durable { return Durable{} }

// Disconnect detaches the open from its session. It returns false, having closed the open,
// when nothing keeps it: neither persistent nor resilient nor durable with a batch oplock or an H
// lease ([MS-SMB2] 3.3.7.1). A kept open waits for Reconnect until its timeout.
func (o *Open) Disconnect() (kept bool) { return false }

// Reconnect attaches a disconnected open again; false when it is attached or closed.
// The checks of [MS-SMB2] 3.3.5.9.7 and 3.3.5.9.12 are the server's, before.
func (o *Open) Reconnect(tag any) bool { return false }

// Connected reports whether the open belongs to a session.
func (o *Open) Connected() bool { return true }

// FindCreateGUID finds an open by its CreateGuid.
func (fs *FS) FindCreateGUID(g dtyp.GUID) *Open { return nil }

// FindAppInstance returns the opens with that AppInstanceId on the same path of the same share whose client
// is not client ([MS-SMB2] 3.3.5.9.13).
func (fs *FS) FindAppInstance(t *Tree, app dtyp.GUID, path string, client dtyp.GUID) []*Open {
	return nil
}

// ForceClose closes an open whose session or successor says so: I/O in flight is
// waited for, later I/O gets STATUS_FILE_CLOSED, then Breaker.Closed is called.
func (o *Open) ForceClose() (store.Pos, ntstatus.Status) { return 0, ntstatus.NotImplemented }
