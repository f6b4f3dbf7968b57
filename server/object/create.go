package object

import (
	"time"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// CreateRequest is what the server passes to open a file ([MS-FSA] 2.1.5.1). It
// must not change until the completion function has run.
type CreateRequest struct {
	Token *Token
	// Path is relative to the tree's root, components separated by backslashes,
	// without a leading one; the last may carry a stream ("name:stream:$DATA").
	// "" is the root. With FILE_OPEN_BY_FILE_ID it is ignored in favour of ByID.
	Path string
	ByID store.FileID

	DesiredAccess  uint32 // as sent; generic bits are mapped here
	FileAttributes uint32
	ShareAccess    uint32
	Disposition    uint32
	Options        uint32
	// MaximalAccess bounds what may be granted: the share's access of the user.
	// 0 means no bound.
	MaximalAccess uint32

	// Oplock is the requested level; with OplockLease, Lease says more.
	Oplock OplockLevel
	Lease  *LeaseRequest
	Client dtyp.GUID // ClientGuid: whose lease

	// The create contexts that change what is created or opened.
	Security   []byte        // SecD: self-relative security descriptor
	EA         []byte        // ExtA: FILE_FULL_EA_INFORMATION list
	Allocation int64         // AlSi
	Timewarp   dtyp.Filetime // TWrp: open the snapshot of that time
	AppID      dtyp.GUID     // AppInstanceId, recorded on the open

	// SharedDisk makes the open one of a shared virtual disk's, see Open.shared.
	SharedDisk bool

	// Record, if set, is asked for what the side store is to hold of the open when it makes a new
	// file, in the same step: nobody finds the file without it. The state is the open's but
	// for Durable and the lease, which is decided later.
	Record func(OpenState) []store.KVEdit

	// Tag is the server's own word about the open, there before the first break of it
	// can be indicated.
	Tag any
}

// CreateResult is the outcome of a create.
type CreateResult struct {
	Open   *Open
	Action uint32 // ActionOpened …
	Oplock OplockLevel
	Lease  LeaseInfo // valid when Oplock is OplockLease
	Info   Info
	Pos    store.Pos
	// Used are the privileges without which the open would not have been checked as
	// it was, whatever came of it; Gained the rights that they gave.
	Used   auth.Privileges
	Gained uint32
	// Reparse is set with STATUS_STOPPED_ON_SYMLINK and
	// STATUS_IO_REPARSE_TAG_NOT_HANDLED.
	Reparse *Reparse
}

// Reparse says where a path ran into a reparse point.
type Reparse struct {
	Data []byte // REPARSE_DATA_BUFFER as stored
	// Unparsed is how many bytes of UTF-16 of the path lie behind the component
	// that is the reparse point ([MS-SMB2] 2.2.2.2.1 UnparsedPathLength).
	Unparsed int
}

// Create opens or creates a file. done is called once, with a result whose Open
// is set on success. The returned Pending is nil when done has been called before
// Create returned; otherwise the create waits for a break, can be cancelled, and done
// may already be running on another goroutine.
func (t *Tree) Create(req *CreateRequest, done func(CreateResult, ntstatus.Status)) *Pending {
	c := &creation{tree: t, req: req}
	if st := c.validate(); st != ntstatus.Success {
		done(CreateResult{}, st)
		return nil
	}
	r := &retry{refuse: func() { done(CreateResult{}, ntstatus.Cancelled) }}
	r.step = func(again func()) (func(), *waiter) {
		one := *c // a resumed attempt may begin before the one that queued it has returned
		res, st, w := one.attempt(again)
		if w != nil {
			return nil, w
		}
		res.Used, res.Gained = one.used, one.gained
		return func() { done(res, st) }, nil
	}
	return r.start()
}

// creation is one CREATE on its way.
type creation struct {
	tree    *Tree
	req     *CreateRequest
	path    parsedPath
	view    store.View
	options uint32
	desired uint32 // generic rights mapped

	// What follows starts anew with every attempt.
	remaining uint32 // Open.RemainingDesiredAccess
	granted   uint32 // Open.GrantedAccess
	implied   uint32 // rights only the disposition asked for
	share     uint32 // Open.SharingMode
	backup    bool
	restore   bool
	used      auth.Privileges
	gained    uint32 // rights by them
	attrs     uint32 // DesiredFileAttributes
	later     later
}

func (c *creation) fs() *FS { return c.tree.vol.fs }

// readonly is Volume.IsReadOnly for this open.
func (c *creation) readonly() bool { return c.tree.opt.ReadOnly || c.view != store.Live }

// validate is [MS-FSA] 2.1.5.1 phases 1 and 2.
func (c *creation) validate() ntstatus.Status {
	r := c.req
	c.desired = mapGeneric(r.DesiredAccess)
	c.options = r.Options &^ (optCompleteIfOplocked | optSynchronousIOAlert | optSynchronousIONonalert | optOpenForFreeSpaceQuery)
	if r.Options&optNoIntermediateBuffer != 0 {
		c.desired &^= fileAppendData // [MS-SMB2] 3.3.5.9
	}
	switch {
	case c.desired == accessSystemSecurity && !hasPrivilege(r.Token, privSecurity):
		return ntstatus.PrivilegeNotHeld
	case c.desired&^accessSystemSecurity == 0, r.DesiredAccess&invalidAccess != 0:
		return ntstatus.AccessDenied
	}
	if st := c.validateOptions(); st != ntstatus.Success {
		return st
	}
	if r.MaximalAccess != 0 && c.desired&^(r.MaximalAccess|maximumAllowed|accessSystemSecurity) != 0 {
		return ntstatus.AccessDenied
	}
	if r.Options&optOpenByFileID == 0 && !c.isQuotaIndex() {
		var st ntstatus.Status
		if c.path, st = parsePath(r.Path); st != ntstatus.Success {
			return st
		}
	}
	if c.path.trailing && r.Options&optNonDirectoryFile != 0 {
		return ntstatus.ObjectNameInvalid
	}
	if st := c.selectView(); st != ntstatus.Success {
		return st
	}
	if c.readonly() {
		switch r.Disposition {
		case dispCreate, dispSupersede, dispOverwrite, dispOverwriteIf:
			return ntstatus.MediaWriteProtected
		}
	}
	if c.tree.opt.ContinuouslyAvailable {
		c.options |= optWriteThrough // [MS-SMB2] 3.3.5.9
	}
	return ntstatus.Success
}

// validateOptions checks the values of the request against each other.
// Deviation from [MS-FSA]: FILE_SYNCHRONOUS_IO_* and FILE_COMPLETE_IF_OPLOCKED
// are ignored, as [MS-SMB2] 3.3.5.9 clears them.
func (c *creation) validateOptions() ntstatus.Status {
	o, d := c.req.Options, c.req.Disposition
	switch {
	case o&0xFF000000 != 0:
		return ntstatus.InvalidParameter
	case o&(optCreateTreeConnection|optReserveOpfilter) != 0,
		o&optOpenByFileID != 0 && c.req.ByID == 0:
		// [MS-SMB2] 2.2.13: not on the wire
		return ntstatus.NotSupported
	case c.req.ShareAccess&^(shareRead|shareWrite|shareDelete) != 0,
		d > dispOverwriteIf,
		c.req.FileAttributes&^attrKnown != 0,
		o&optDeleteOnClose != 0 && c.desired&(accessDelete|maximumAllowed) == 0,
		o&optDirectoryFile != 0 && o&optNonDirectoryFile != 0,
		o&optDirectoryFile != 0 && d != dispCreate && d != dispOpen && d != dispOpenIf:
		return ntstatus.InvalidParameter
	case c.req.FileAttributes&attrEncrypted != 0:
		return ntstatus.AccessDenied // no encryption here: as without a certificate
	}
	return ntstatus.Success
}

// attrKnown are the attributes a create may name; those that cannot be set are
// dropped later.
const attrKnown = attrSettable | attrDirectory | attrNormal | attrSparse | attrReparsePoint | attrCompressed | attrEncrypted

// selectView finds the snapshot that a @GMT- component or a timewarp context names.
func (c *creation) selectView() ntstatus.Status {
	c.view = c.tree.opt.View
	at := c.req.Timewarp
	if c.path.gmt != 0 {
		at = c.path.gmt
	}
	if at == 0 {
		return ntstatus.Success
	}
	v, st := c.tree.viewAt(at)
	c.view = v
	return st
}

// reset prepares the next attempt: [MS-FSA] 2.1.5.1 phases 3 and 4.
func (c *creation) reset() {
	c.remaining, c.granted, c.implied = c.desired, 0, 0
	c.share = c.req.ShareAccess
	if c.req.SharedDisk {
		c.share = sharedDiskSharing
	}
	c.attrs = c.req.FileAttributes
	c.backup, c.restore = false, false
	c.used, c.gained = 0, 0
	if c.req.Options&optOpenForBackupIntent == 0 {
		return
	}
	d := c.req.Disposition
	if (d == dispOpen || d == dispOpenIf || d == dispOverwriteIf) && hasPrivilege(c.req.Token, privBackup) {
		c.backup = true
		c.grantByPrivilege(privBackup, accessReadControl|accessSystemSecurity|fileGenericRead|fileTraverse)
	}
	if hasPrivilege(c.req.Token, privRestore) {
		c.restore = true
		c.grantByPrivilege(privRestore, accessWriteDAC|accessWriteOwner|accessSystemSecurity|fileGenericWrite|fileAddFile|fileAddSubdirectory|accessDelete)
	}
}

func (c *creation) grantByPrivilege(p auth.Privilege, rights uint32) {
	before := c.granted
	if c.remaining&maximumAllowed != 0 {
		c.granted |= rights
	} else {
		c.granted |= c.remaining & rights
	}
	c.remaining &^= c.granted
	c.byPrivilege(p, c.granted&^before)
}

// byPrivilege notes for the audit that a privilege gave rights.
func (c *creation) byPrivilege(p auth.Privilege, rights uint32) {
	if rights != 0 {
		c.used |= auth.PrivilegeSet(p)
		c.gained |= rights
	}
}

// require adds a right that the disposition implies ([MS-FSA] 2.1.5.1.2): the
// restore privilege gives it, else it has to be allowed. It counts for access and sharing, but the
// open does not keep it, as FileAccessInformation of Windows shows.
func (c *creation) require(right uint32) {
	c.implied |= right &^ c.desired
	if c.restore {
		c.byPrivilege(privRestore, right&^c.granted)
		c.granted |= right
	} else {
		c.remaining |= right &^ c.granted
	}
}

// attempt tries once: a result, or the place in the queue where it waits.
func (c *creation) attempt(again func()) (CreateResult, ntstatus.Status, *waiter) {
	c.reset()
	defer c.later.run()
	if st := c.checkLeaseKey(); st != ntstatus.Success {
		return CreateResult{}, st, nil
	}
	for {
		res, st, w, retry := c.locateAndOpen(again)
		if !retry {
			return res, st, w
		}
	}
}

// newOpen makes the Open of f's stream s; the caller has done every check and
// holds f.mu. The reference to f passes to the open.
func (c *creation) newOpen(f *File, s *Stream, l *Link) *Open {
	o := &Open{
		tree: c.tree, file: f, stream: s, link: l,
		desired: c.desired, access: c.kept(), options: c.options,
		backup: c.backup, restore: c.restore, client: c.req.Client, appID: c.req.AppID,
		share: c.share, mode: c.options & optModeMask, shared: c.req.SharedDisk,
		deleteOnClose: c.options&optDeleteOnClose != 0,
		created:       time.Now(),
	}
	o.token.Store(c.req.Token)
	o.SetTag(c.req.Tag)
	if lr := c.req.Lease; lr != nil && c.req.Oplock == OplockLease {
		o.leaseID = leaseID{c.req.Client, lr.Key}
		if lr.HasParent {
			o.parentKey = leaseID{c.req.Client, lr.ParentKey}
		}
	}
	c.tree.pack(s.data)
	s.opens = append(s.opens, o)
	l.opens++
	return o
}

// kept is what the open is granted for its life.
func (c *creation) kept() uint32 {
	if c.desired&maximumAllowed != 0 {
		return c.granted
	}
	return c.granted &^ c.implied
}

// result fills in the result once the open stands; an open that cannot be described is taken
// back. Caller holds f.mu.
func (c *creation) result(o *Open, action uint32, pos store.Pos) (CreateResult, ntstatus.Status) {
	c.acquire(o)
	info, st := o.info()
	if st != ntstatus.Success {
		o.unmake()
		return CreateResult{}, st
	}
	res := CreateResult{Open: o, Action: action, Oplock: o.oplock(), Info: info, Pos: pos}
	if g := o.grantOf(); g != nil && g.state.Lease {
		res.Lease = g.info()
	}
	c.fs().register(o)
	return res, ntstatus.Success
}
