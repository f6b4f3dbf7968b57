package object

import (
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// OpenState is everything about an open that has to survive the process: what
// [MS-SMB2] 3.3.1.10 keeps for a persistent open, its lease included.
type OpenState struct {
	File          store.FileID
	Stream        string
	Path          string // from the tree's root
	DesiredAccess uint32
	Access        uint32
	ShareAccess   uint32
	Options       uint32
	Mode          uint32
	DeleteOnClose bool
	DeletePending bool
	Position      int64
	Client        dtyp.GUID
	AppID         dtyp.GUID
	Durable       Durable
	Grant         *GrantState
	Locks         []LockRange
	LockSequences []LockSequence
	KeepWrite     bool // the times the user has set or frozen
	KeepChange    bool
	KeepAccess    bool
	SharedDisk    bool `json:",omitempty"`
}

// GrantState is an oplock or lease in an OpenState.
type GrantState struct {
	Lease     bool
	Key       dtyp.GUID
	V2        bool
	HasParent bool
	Parent    dtyp.GUID
	Epoch     uint16
	Held      Caching
	Breaking  bool
	To        Caching
	Required  Caching
}

// LockSequence is one valid entry of Open.LockSequenceArray; Index counts from 1.
type LockSequence struct{ Index, Number uint8 }

// Export returns the state of the open as it is now.
func (o *Open) Export() OpenState {
	f := o.file
	f.mu.Lock()
	defer f.mu.Unlock()
	s := OpenState{
		File: f.id, Stream: o.stream.name, Path: o.tree.relative(o.link.path()),
		DesiredAccess: o.desired, Access: o.access, ShareAccess: o.share, Options: o.options, Mode: o.mode,
		DeleteOnClose: o.deleteOnClose, DeletePending: o.deletePending(), Position: o.position.Load(),
		Client: o.client, AppID: o.appID, Durable: o.durable,
		KeepWrite: o.sticky.write, KeepChange: o.sticky.change, KeepAccess: o.sticky.access,
		SharedDisk: o.shared,
	}
	if g := o.grantOf(); g != nil {
		s.Grant = &GrantState{
			Lease: g.state.Lease, Key: g.id.key, V2: g.v2, HasParent: g.hasParent, Parent: g.parent, Epoch: g.epoch,
			Held: g.state.Held, Breaking: g.state.Breaking, To: g.state.To, Required: g.state.Required,
		}
	}
	for _, h := range o.stream.locks.held {
		if h.o == o {
			s.Locks = append(s.Locks, h.LockRange)
		}
	}
	for i, e := range o.lockSeq {
		if e.valid {
			s.LockSequences = append(s.LockSequences, LockSequence{uint8(i + 1), e.number})
		}
	}
	return s
}

// Import makes the open of an exported state again, disconnected and with its
// timeout running. It checks neither access nor share modes: the open had them.
// Until SetToken, which belongs before Reconnect, it acts for nobody.
func (t *Tree) Import(s OpenState) (*Open, ntstatus.Status) {
	v := t.vol
	f, err := v.holdID(store.Live, s.File)
	if err != nil {
		return nil, v.fs.statusOf(err)
	}
	path, parent, st := t.pathOf(f, s.Path)
	if st != ntstatus.Success {
		f.release()
		return nil, st
	}
	f.mu.Lock()
	o, err := t.restore(f, &s, path, parent)
	f.mu.Unlock()
	if err != nil {
		f.release()
		return nil, v.fs.statusOf(err)
	}
	o.SetDurable(s.Durable)
	v.fs.register(o)
	return o, ntstatus.Success
}

// pathOf finds the path of a file that was opened as path from the tree's root: the same one if
// it still has it, else any.
func (t *Tree) pathOf(f *File, path string) (full string, parent store.FileID, st ntstatus.Status) {
	if links, err := f.node.Names(); err == nil && len(links) > 1 {
		for _, k := range links {
			if full, parent, st = t.vol.pathOfLink(f.view, k); st == ntstatus.Success && t.relative(full) == path {
				return full, parent, st
			}
		}
	}
	return t.vol.pathOf(f.node)
}

// nobody is the token of an open between Import and SetToken.
var nobody = &Token{Anonymous: true, User: dtyp.Anonymous}

// restore is Import with f.mu held.
func (t *Tree) restore(f *File, s *OpenState, path string, parent store.FileID) (*Open, error) {
	str := f.stream(s.Stream)
	if str == nil {
		var data store.Stream
		if !f.dir || s.Stream != "" {
			var err error
			if data, err = f.openData(s.Stream); err != nil {
				return nil, err
			}
		}
		str = f.addStream(s.Stream, data)
	}
	dir, name := splitPath(path)
	l := f.link(parent, name, dir)
	o := &Open{
		tree: t, file: f, stream: str, link: l,
		desired: s.DesiredAccess, access: s.Access, options: s.Options, client: s.Client, appID: s.AppID,
		share: s.ShareAccess, mode: s.Mode, deleteOnClose: s.DeleteOnClose,
		shared: s.SharedDisk,
		sticky: sticky{s.KeepWrite, s.KeepChange, s.KeepAccess}, durable: s.Durable, away: true,
	}
	o.token.Store(nobody)
	o.SetTag(nil)
	o.position.Store(s.Position)
	for _, e := range s.LockSequences {
		if i := int(e.Index) - 1; i >= 0 && i < len(o.lockSeq) {
			o.lockSeq[i].number, o.lockSeq[i].valid = e.Number, true
		}
	}
	t.pack(str.data)
	str.opens = append(str.opens, o)
	l.opens++
	if s.DeletePending {
		if str.main() {
			l.deletePending = true
		} else {
			str.deletePending = true
		}
	}
	for _, r := range s.Locks {
		str.locks.take(byteLock{r, o})
	}
	if s.Grant != nil {
		o.restoreGrant(s.Grant, path)
	}
	o.startScavenger()
	return o, nil
}

// restoreGrant gives an imported open its oplock back, or lets it join its
// lease. A break that was under way is told again at the reconnect.
func (o *Open) restoreGrant(s *GrantState, path string) {
	str := o.stream
	fs := o.tree.vol.fs
	var g *grant
	if s.Lease {
		o.leaseID = leaseID{o.client, s.Key}
		if s.HasParent {
			o.parentKey = leaseID{o.client, s.Parent}
		}
		fs.leaseMu.Lock()
		defer fs.leaseMu.Unlock()
		if g = fs.leases[o.leaseID]; g != nil {
			if g.stream == str {
				g.join(o)
			}
			return
		}
		if str.name != "" {
			path += ":" + str.name
		}
	}
	g = &grant{
		stream: str, id: o.leaseID, path: path, v2: s.V2, hasParent: s.HasParent, parent: s.Parent, epoch: s.Epoch,
		deleteOnClose: o.deleteOnClose,
		state:         breakState{Lease: s.Lease, Held: s.Held, Breaking: s.Breaking, To: s.To, Required: s.Required},
	}
	if s.Breaking {
		g.unsent = breakNotice{Send: true, From: s.Held, To: s.To, Ack: true}
	}
	if s.Lease {
		fs.leases[g.id] = g
	}
	g.join(o)
	g.count(0, s.Held)
	str.grants = append(str.grants, g)
}

// SetToken says on whose behalf a reclaimed open acts from now on: its owner's,
// as the session that reclaims it knows him.
func (o *Open) SetToken(t *Token) { o.token.Store(t) }

// SawEpoch says which epoch the client that reclaims an imported open knows its lease by: the
// last break may have been told, but not recorded.
func (o *Open) SawEpoch(epoch uint16) {
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	if g := o.grantOf(); g != nil && g.v2 && epoch-g.epoch <= 0x7FFF {
		g.epoch = epoch
	}
}

// changed tells the Breaker of those of the opens that are persistent. Caller holds
// File.mu.
func (fs *FS) changed(opens []*Open, l *later) {
	var list []*Open
	for _, o := range opens {
		if o.durable.Kind == Persistent {
			list = append(list, o)
		}
	}
	if list != nil {
		l.add(func() { fs.cfg.Breaker.Changed(list) })
	}
}

// changed is for what all opens of a file have in common. Caller holds mu.
func (f *File) changed(l *later) {
	for _, s := range f.streams {
		f.vol.fs.changed(s.opens, l)
	}
}
