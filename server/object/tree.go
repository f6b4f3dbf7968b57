package object

import (
	"strings"
	"sync/atomic"

	"gabion/protocol/ntstatus"
	"gabion/store"
)

// TreeOptions are what a share says about its files.
type TreeOptions struct {
	// Share is the share's name; opens of one file by two shares are different
	// to AppInstanceId and lease names.
	Share string
	// View is store.Live, or a snapshot that the whole tree shows read-only.
	View store.View
	// ReadOnly refuses every change with STATUS_MEDIA_WRITE_PROTECTED.
	ReadOnly bool
	// ContinuouslyAvailable makes every change durable before its reply.
	ContinuouslyAvailable bool
	// AccessBasedEnumeration hides entries the user may not read.
	AccessBasedEnumeration bool
	// ForceLevelII grants level II at most ([MS-SMB2] 3.3.5.9 step on
	// SHI1005_FLAGS_FORCE_LEVELII_OPLOCK).
	ForceLevelII bool
	// Compress is what Tree.Compress sets at first.
	Compress bool
}

// Tree is a share's window on a volume. But for Compress it is immutable; it is safe for concurrent use.
type Tree struct {
	vol    *Volume
	root   *File  // referenced
	prefix string // the root's path on the volume
	opt    TreeOptions

	compress atomic.Bool
}

// Compress has what is written through the tree's opens to come compressed where that makes it
// smaller, or not any more. A file that is open by two shares is compressed if one of them says so.
func (t *Tree) Compress(on bool) { t.compress.Store(on) }

// pack makes a stream that is opened by the tree do as the tree says.
func (t *Tree) pack(s store.Stream) {
	if p, ok := s.(store.Packer); ok && t.compress.Load() {
		p.SetPacking(true)
	}
}

// Volume returns the volume the tree shows.
func (t *Tree) Volume() *Volume { return t.vol }

// Path is the tree's root, relative to the volume's.
func (t *Tree) Path() string { return t.prefix }

// Options returns what the tree was made with.
func (t *Tree) Options() TreeOptions { return t.opt }

// Store returns the block store behind the tree.
func (t *Tree) Store() store.Volume { return t.vol.store }

// Space is what the tree's folder may take: its volume's, or less where there is a quota. Left is
// what the volume has free.
func (t *Tree) Space() (space store.Space, left int64) {
	space = t.vol.store.Space()
	left = space.Free
	q, ok := t.vol.store.(store.Quotas)
	if !ok || t.opt.View != store.Live {
		return space, left
	}
	if used, limit, ok := q.Quota(t.root.id); ok {
		space.Total = min(space.Total, limit)
		space.Used = used
		space.Free = min(space.Free, max(0, limit-used))
	}
	return space, left
}

// OnDurable calls fn when p is durable or the volume failed; see
// store.Volume.OnDurable. With p zero fn runs at once.
func (t *Tree) OnDurable(p store.Pos, fn func(error)) {
	if p == 0 {
		fn(nil)
		return
	}
	t.vol.store.OnDurable(p, fn)
}

// RootID is the folder that the tree shows.
func (t *Tree) RootID() store.FileID { return t.root.id }

// In makes a window on the same folder in a snapshot, opt.View.
func (t *Tree) In(opt TreeOptions) (*Tree, ntstatus.Status) {
	n, err := t.vol.store.OpenID(opt.View, t.root.id)
	if err != nil {
		return nil, t.vol.fs.statusOf(err)
	}
	return t.vol.window(n, t.prefix, opt), ntstatus.Success
}

// relative makes a path from the volume's root one from the tree's.
func (t *Tree) relative(path string) string {
	if t.prefix == "" {
		return path
	}
	return strings.TrimPrefix(strings.TrimPrefix(path, t.prefix), `\`)
}

// FS returns the object store the tree is part of.
func (t *Tree) FS() *FS { return t.vol.fs }
