package server

import (
	"encoding/binary"
	"errors"

	"gabion/protocol/dtyp"
	wire "gabion/protocol/rsvd"
	"gabion/protocol/smb2"
	"gabion/server/object"
	"gabion/server/qos"
)

// openRecord is what survives of an open: the object store's part and what file knows.
type openRecord struct {
	Share string
	Name  string
	User  string

	DesiredAccess, ShareAccess, CreateOptions uint32

	Action     uint32
	AppVersion *smb2.AppInstanceVersion
	State      object.OpenState
	Disk       *diskRecord
	Flow       *qos.Association
}

// recordVersion is the first byte of a record; another one is of another version of this
// program and not understood.
const recordVersion = 2

var errRecord = errors.New("not a record of a persistent open")

// append encodes the record behind b.
func (rec *openRecord) append(b []byte) []byte {
	c := recordCodec{b: append(b, recordVersion)}
	rec.fields(&c)
	return c.b
}

// decode reads a record; nothing of it refers to b afterwards.
func (rec *openRecord) decode(b []byte) error {
	if len(b) == 0 || b[0] != recordVersion {
		return errRecord
	}
	c := recordCodec{b: b[1:], reads: true}
	if rec.fields(&c); c.failed || len(c.b) > 0 {
		return errRecord
	}
	return nil
}

// fields are the record's layout, in order, for reading and writing alike.
func (rec *openRecord) fields(c *recordCodec) {
	c.string(&rec.Share)
	c.string(&rec.Name)
	c.string(&rec.User)
	c.uint32(&rec.DesiredAccess)
	c.uint32(&rec.ShareAccess)
	c.uint32(&rec.CreateOptions)
	c.uint32(&rec.Action)
	if has := rec.AppVersion != nil; c.bool(&has) {
		if rec.AppVersion == nil {
			rec.AppVersion = new(smb2.AppInstanceVersion)
		}
		c.uint64(&rec.AppVersion.High)
		c.uint64(&rec.AppVersion.Low)
	}
	stateFields(c, &rec.State)
	if has := rec.Disk != nil; c.bool(&has) {
		if rec.Disk == nil {
			rec.Disk = new(diskRecord)
		}
		diskFields(c, rec.Disk)
	}
	if has := rec.Flow != nil; c.bool(&has) {
		if rec.Flow == nil {
			rec.Flow = new(qos.Association)
		}
		flowFields(c, rec.Flow)
	}
}

// flowFields are those of the flow that a host has associated the open with.
func flowFields(c *recordCodec, a *qos.Association) {
	c.guid(&a.Flow)
	c.guid(&a.Policy)
	c.guid(&a.Initiator)
	c.uint64(&a.Limit)
	c.uint64(&a.Reservation)
	c.uint64(&a.Bandwidth)
	c.string(&a.Name)
	c.string(&a.Node)
}

// diskFields are those of a shared virtual disk.
func diskFields(c *recordCodec, d *diskRecord) {
	c.bytes(&d.Context)
	if has := d.Target != nil; c.bool(&has) {
		if d.Target == nil {
			d.Target = new(wire.TargetSpecifier)
		}
		c.uint32(&d.Target.Namespace)
		c.uint32((*uint32)(&d.Target.SnapshotType))
		c.guid(&d.Target.SnapshotID)
	}
	c.bytes(&d.Sense)
}

// stateFields are those of the object store's part.
func stateFields(c *recordCodec, s *object.OpenState) {
	c.uint64((*uint64)(&s.File))
	c.string(&s.Stream)
	c.string(&s.Path)
	c.uint32(&s.DesiredAccess)
	c.uint32(&s.Access)
	c.uint32(&s.ShareAccess)
	c.uint32(&s.Options)
	c.uint32(&s.Mode)
	c.bool(&s.DeleteOnClose)
	c.bool(&s.DeletePending)
	c.int64(&s.Position)
	c.guid(&s.Client)
	c.guid(&s.AppID)
	c.uint8((*uint8)(&s.Durable.Kind))
	c.guid(&s.Durable.CreateGUID)
	c.string(&s.Durable.Owner)
	c.int64((*int64)(&s.Durable.Timeout))
	c.bool(&s.KeepWrite)
	c.bool(&s.KeepChange)
	c.bool(&s.KeepAccess)
	if has := s.Grant != nil; c.bool(&has) {
		if s.Grant == nil {
			s.Grant = new(object.GrantState)
		}
		grantFields(c, s.Grant)
	}
	recordList(c, &s.Locks, 17, func(l *object.LockRange) {
		c.uint64(&l.Off)
		c.uint64(&l.Len)
		c.bool(&l.Exclusive)
	})
	recordList(c, &s.LockSequences, 2, func(l *object.LockSequence) {
		c.uint8(&l.Index)
		c.uint8(&l.Number)
	})
}

func grantFields(c *recordCodec, g *object.GrantState) {
	c.bool(&g.Lease)
	c.guid(&g.Key)
	c.bool(&g.V2)
	c.bool(&g.HasParent)
	c.guid(&g.Parent)
	c.uint16(&g.Epoch)
	c.uint8((*uint8)(&g.Held))
	c.bool(&g.Breaking)
	c.uint8((*uint8)(&g.To))
	c.uint8((*uint8)(&g.Required))
}

// recordCodec writes fields behind b, or reads them from its front. Numbers are little-endian, a
// string or list has its length in front.
type recordCodec struct {
	b      []byte
	reads  bool
	failed bool
}

// place is where a field of n bytes is; nil when it is missing.
func (c *recordCodec) place(n int) []byte {
	if !c.reads {
		for range n {
			c.b = append(c.b, 0)
		}
		return c.b[len(c.b)-n:]
	}
	if c.failed || n > len(c.b) {
		c.failed = true
		return nil
	}
	p := c.b[:n]
	c.b = c.b[n:]
	return p
}

func (c *recordCodec) uint8(v *uint8) {
	switch p := c.place(1); {
	case p == nil:
	case c.reads:
		*v = p[0]
	default:
		p[0] = *v
	}
}

func (c *recordCodec) uint16(v *uint16) {
	switch p := c.place(2); {
	case p == nil:
	case c.reads:
		*v = binary.LittleEndian.Uint16(p)
	default:
		binary.LittleEndian.PutUint16(p, *v)
	}
}

func (c *recordCodec) uint32(v *uint32) {
	switch p := c.place(4); {
	case p == nil:
	case c.reads:
		*v = binary.LittleEndian.Uint32(p)
	default:
		binary.LittleEndian.PutUint32(p, *v)
	}
}

func (c *recordCodec) uint64(v *uint64) {
	switch p := c.place(8); {
	case p == nil:
	case c.reads:
		*v = binary.LittleEndian.Uint64(p)
	default:
		binary.LittleEndian.PutUint64(p, *v)
	}
}

func (c *recordCodec) int64(v *int64) {
	u := uint64(*v)
	c.uint64(&u)
	*v = int64(u)
}

// bool also returns what it has written or read.
func (c *recordCodec) bool(v *bool) bool {
	var b uint8
	if *v {
		b = 1
	}
	c.uint8(&b)
	c.failed = c.failed || b > 1
	*v = b == 1
	return *v
}

func (c *recordCodec) guid(g *dtyp.GUID) {
	switch p := c.place(len(g)); {
	case p == nil:
	case c.reads:
		copy(g[:], p)
	default:
		copy(p, g[:])
	}
}

func (c *recordCodec) string(s *string) {
	n := uint32(len(*s))
	c.uint32(&n)
	if !c.reads {
		c.b = append(c.b, *s...)
		return
	}
	if uint64(n) > uint64(len(c.b)) {
		c.failed = true
		return
	}
	*s = string(c.place(int(n)))
}

// bytes makes no difference between empty and nil.
func (c *recordCodec) bytes(b *[]byte) {
	s := string(*b)
	if c.string(&s); c.reads && len(s) > 0 {
		*b = []byte(s)
	}
}

// recordList is a list of elements of a size.
func recordList[T any](c *recordCodec, list *[]T, size int, element func(*T)) {
	n := uint32(len(*list))
	c.uint32(&n)
	if c.reads {
		if c.failed || uint64(n)*uint64(size) > uint64(len(c.b)) {
			c.failed = true
			return
		}
		if *list = nil; n > 0 {
			*list = make([]T, n)
		}
	}
	for i := range *list {
		element(&(*list)[i])
	}
}

// encode makes the record of f, whose open is in a state.
func (f *file) encode(state object.OpenState) []byte {
	rec := openRecord{
		Share: f.share.Name, Name: f.name, User: f.user,
		DesiredAccess: uint32(f.asked.DesiredAccess), ShareAccess: uint32(f.asked.ShareAccess), CreateOptions: uint32(f.asked.CreateOptions),
		Action: uint32(f.action), AppVersion: f.app.version, State: state,
	}
	if f.disk != nil {
		rec.Disk = f.disk.record()
	}
	if f.binding != nil {
		rec.Flow = f.binding.Association()
	}
	return rec.append(make([]byte, 0, 256+len(rec.Name)+len(state.Path)))
}

// restored is the file of a record, but for its open.
func (rec *openRecord) restored(s *Server, share *Share, id uint64) *file {
	f := &file{
		server: s, share: share, client: rec.State.Client, user: rec.User, name: rec.Name, action: smb2.CreateAction(rec.Action),
		app: appInstance{id: rec.State.AppID, version: rec.AppVersion}, persistent: id, recovered: true, recorded: true,
	}
	f.asked.DesiredAccess, f.asked.ShareAccess = dtyp.AccessMask(rec.DesiredAccess), smb2.ShareAccess(rec.ShareAccess)
	f.asked.CreateOptions = smb2.CreateOptions(rec.CreateOptions)
	f.id.Persistent = id
	return f
}
