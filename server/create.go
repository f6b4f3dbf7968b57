package server

import (
	"strings"

	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server/object"
	"gabion/store"
)

// create answers CREATE [MS-SMB2] 3.3.5.9, whose phases are the steps:
//
//	decode                 sizes, name, create contexts
//	begin                  a CREATE and its replays are carried out one after the other
//	replay, reconnect      3.3.5.9 (replay), 3.3.5.9.7, 3.3.5.9.12: an open there is already
//	validate               "Path Name Validation", what can be refused at once
//	evict                  3.3.5.9.13
//	sharedDisk             3.3.5.9.14, before anything is opened
//	execute                "Open Execution", by the object store, which may wait for breaks
//	opened                 "Successful Open Initialization", durability
//	respond                "Response Construction"
func create(r *request) {
	c := &creation{r: r}
	for _, step := range [...]func(*creation) bool{
		(*creation).decode, (*creation).pipe, (*creation).begin, (*creation).replay, (*creation).reconnect, (*creation).validate, (*creation).sharedDisk, (*creation).evict,
	} {
		if !step(c) {
			c.end()
			return
		}
	}
	c.execute()
}

// creation is a CREATE on its way. A step returns false when it has answered.
type creation struct {
	r    *request
	req  smb2.CreateRequest
	ctx  createContexts
	name string // as sent
	path string // name without :SharedVirtualDisk
	disk *diskRequest
	obj  object.CreateRequest
	// lower is the oplock level a replay is answered with, if below the open's.
	lower *smb2.OplockLevel
	// running has the CREATE under key from begin to end. The request may be gone by then.
	running *createTable
	key     createKey
	waiting
}

// fail ends the CREATE with an error.
func (c *creation) fail(status ntstatus.Status) bool {
	c.r.fail(status)
	return false
}

// decode reads the request and its create contexts.
func (c *creation) decode() bool {
	if err := c.req.Decode(c.r.msg); err != nil || len(c.req.Name)%2 != 0 {
		return c.fail(ntstatus.InvalidParameter)
	}
	var status ntstatus.Status
	if c.ctx, status = c.r.parseContexts(c.req.CreateContexts()); status != ntstatus.Success {
		return c.fail(status)
	}
	// Deviation: a slash is taken for the separator that systems which use it as one mean
	// by it, instead of being refused.
	c.name = strings.ReplaceAll(dtyp.DecodeUTF16(c.req.Name), "/", `\`)
	c.path = c.name
	return true
}

// pipe hands CREATE on IPC$ over.
func (c *creation) pipe() bool {
	if !c.r.tree.share.IsPipe() {
		return true
	}
	pipeCreate(c.r, &c.req)
	return false
}

// validate is what the server itself checks before it asks the object store, which
// verifies names, options and access.
func (c *creation) validate() bool {
	switch {
	case c.req.ImpersonationLevel > smb2.ImpersonationDelegate:
		return c.fail(ntstatus.BadImpersonationLevel)
	case c.req.CreateOptions&smb2.OptionOpenByFileID != 0:
		return c.fail(ntstatus.NotSupported) // [MS-SMB2] 2.2.13
	// "If the FILE_DELETE_ON_CLOSE flag is set and Treeconnect.MaximalAccess does not
	// include DELETE"
	case c.req.CreateOptions&smb2.OptionDeleteOnClose != 0 && c.r.tree.maximalAccess&uint32(dtyp.Delete) == 0:
		return c.fail(ntstatus.AccessDenied)
	}
	return true
}

// execute is "Open Execution".
func (c *creation) execute() {
	lease, status := c.ctx.leaseRequest(c.req.RequestedOplockLevel, c.r.dialect())
	if status != ntstatus.Success {
		c.end()
		c.fail(status)
		return
	}
	r, share := c.r, c.r.tree.share
	f := &file{server: r.server(), share: share, client: r.conn.client, user: r.session.identity.Load().User, asked: c.req, name: c.name}
	f.asked.Name, f.asked.Contexts = nil, nil
	c.obj = object.CreateRequest{
		Token: r.tree.tokenAt(c.path),
		Path:  c.path,

		DesiredAccess:  uint32(c.req.DesiredAccess),
		FileAttributes: c.req.FileAttributes,
		ShareAccess:    uint32(c.req.ShareAccess),
		Disposition:    uint32(c.req.CreateDisposition),
		Options:        uint32(c.req.CreateOptions),
		MaximalAccess:  r.tree.maximalAccess,

		Oplock:   object.OplockLevel(c.req.RequestedOplockLevel),
		Lease:    lease,
		Client:   r.conn.client,
		Security: c.ctx.sd,
		EA:       c.ctx.ea,
		Tag:      f,
	}
	if lease == nil && c.req.RequestedOplockLevel == smb2.OplockLevelLease {
		c.obj.Oplock = object.OplockNone
	}
	c.cacheLess()
	c.asDisk()
	if c.ctx.allocation != nil {
		c.obj.Allocation = int64(c.ctx.allocation.Size)
	}
	if c.ctx.timewarp != nil {
		c.obj.Timewarp = c.ctx.timewarp.Timestamp
	}
	c.setApp(f)
	c.setRecord(f)
	p := share.Tree.Create(&c.obj, func(res object.CreateResult, status ntstatus.Status) {
		c.audit(&res, status)
		if c.containerShared(status) {
			if status == ntstatus.Success {
				res.Open.Close()
			}
			status = ntstatus.VHDShared
		}
		if status != ntstatus.Success {
			r.server().forget(f)
			c.end()
			c.failed(&res, c.reason(status))
			return
		}
		if c.disk != nil {
			c.openDisk(f, &res)
			return
		}
		c.opened(f, &res)
	})
	if p == nil {
		return
	}
	c.until(r, p, func() {
		if !c.outlivesConnection() {
			p.Cancel()
		}
	})
}

// setApp is what Successful Open Initialization says of AppInstanceId.
func (c *creation) setApp(f *file) {
	if c.ctx.app == nil {
		return
	}
	f.app.id = c.ctx.app.ID
	c.obj.AppID = c.ctx.app.ID
	if c.r.dialect() == smb2.Dialect311 {
		f.app.version = c.ctx.appVersion
	}
}

// failed is "Failed Open Handling".
func (c *creation) failed(res *object.CreateResult, status ntstatus.Status) {
	if status == ntstatus.StoppedOnSymlink && res.Reparse != nil {
		if data, ok := symlinkError(res.Reparse); ok {
			c.r.failSized(status, data)
			return
		}
	}
	c.r.fail(status)
}

// symlinkError is [MS-SMB2] 2.2.2.2.1.
func symlinkError(at *object.Reparse) ([]byte, bool) {
	var data fscc.ReparseData
	var link fscc.SymlinkData
	if data.Decode(at.Data) != nil || link.Decode(&data) != nil {
		return nil, false
	}
	e := smb2.SymlinkError{
		UnparsedPathLength: uint16(at.Unparsed),
		SubstituteName:     dtyp.EncodeUTF16(link.SubstituteName),
		PrintName:          dtyp.EncodeUTF16(link.PrintName),
	}
	if link.Relative {
		e.Flags = smb2.SymlinkRelative
	}
	return e.AppendTo(nil), true
}

// opened is "Successful Open Initialization".
func (c *creation) opened(f *file, res *object.CreateResult) {
	f.obj, f.action = res.Open, smb2.CreateAction(res.Action)
	f.bind(c.r.owner())
	o, status := c.r.newOpen(f, f.persistent)
	if status != ntstatus.Success {
		if !c.orphan(f, res) {
			f.unbind()
			res.Open.Close()
			c.r.server().forget(f)
		}
		c.end()
		c.fail(status)
		return
	}
	f.attach(o)
	c.makeDurable(f, res)
	o.release()
	c.end()
	resp := c.response(f, res.Action, &res.Info)
	b := smb2.NewContextBuilder(make([]byte, 0, smallBody))
	if res.Oplock == object.OplockLease {
		addLease(&b, &res.Lease)
	}
	c.addDurable(&b, f)
	c.addInfo(&b, f, &res.Info)
	c.addDisk(&b, f)
	c.respond(f, resp, &b, c.recorded(f, res.Pos))
}

// cacheLess is what 3.3.5.9, 3.3.5.9.8 and 3.3.5.9.11 say of shares of type
// STYPE_CLUSTER_SOFS: clients cache reads at most.
func (c *creation) cacheLess() {
	if !c.r.server().ScaleOut(c.r.tree.share) || !c.r.dialect().Is3x() {
		return
	}
	if c.obj.Oplock == object.OplockBatch {
		c.obj.Oplock = object.OplockII
	}
	if c.obj.Lease != nil {
		c.obj.Lease.State &= object.CacheRead
	}
}

// response is "Response Construction", without the contexts.
func (c *creation) response(f *file, action uint32, i *object.Info) *smb2.CreateResponse {
	resp := &smb2.CreateResponse{
		OplockLevel:    smb2.OplockLevel(f.obj.Oplock()),
		CreateAction:   smb2.CreateAction(action),
		CreationTime:   i.CreationTime,
		LastAccessTime: i.LastAccessTime,
		LastWriteTime:  i.LastWriteTime,
		ChangeTime:     i.ChangeTime,
		AllocationSize: uint64(i.Stream.Allocated),
		EndOfFile:      uint64(i.Stream.Size),
		FileAttributes: i.FileAttributes,
		FileID:         f.id,
	}
	if c.r.dialect().Is3x() && i.ReparseTag != 0 && c.req.CreateOptions&smb2.OptionOpenReparsePoint == 0 {
		resp.Flags |= smb2.CreateFlagReparsePoint
	}
	return resp
}

func addLease(b *smb2.ContextBuilder, li *object.LeaseInfo) {
	l := leaseResponse(li)
	b.Add(smb2.ContextLease, l.AppendTo(nil))
}

// addInfo adds what the client wants to know of the file: 3.3.5.9.5, 3.3.5.9.9.
func (c *creation) addInfo(b *smb2.ContextBuilder, f *file, i *object.Info) {
	if m := c.ctx.maximal; m != nil {
		var resp smb2.MaximalAccessResponse
		if m.HasTimestamp && m.Timestamp != 0 && m.Timestamp == i.ChangeTime {
			resp.QueryStatus = ntstatus.NoneMapped
		} else {
			granted, status := f.obj.MaximalAccess(c.r.tree.maximalAccess)
			resp.QueryStatus, resp.MaximalAccess = status, dtyp.AccessMask(granted)
		}
		b.Add(smb2.ContextMaximalAccess, resp.AppendTo(nil))
	}
	if c.ctx.onDisk {
		id := smb2.OnDiskID{DiskFileID: uint64(f.obj.ID()), VolumeID: volumeID(f.obj.Tree().Store())}
		b.Add(smb2.ContextOnDiskID, id.AppendTo(nil))
	}
}

// respond sends the response when what the CREATE did is durable.
func (c *creation) respond(f *file, resp *smb2.CreateResponse, contexts *smb2.ContextBuilder, pos store.Pos) {
	resp.Contexts = contexts.Bytes()
	body := resp.AppendTo(c.r.reserve(smallBody + len(resp.Contexts)))
	c.r.whenDurable(f.obj.Tree(), pos, func() {
		c.r.finish(ntstatus.Success, body)
		f.nowAnswered()
	})
}
