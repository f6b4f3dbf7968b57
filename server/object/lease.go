package object

import (
	"strings"

	"gabion/protocol/ntstatus"
)

// checkLeaseKey refuses a lease key that is in use for another name ([MS-SMB2]
// 3.3.5.9.8, 3.3.5.9.11 "Path Name Validation").
func (c *creation) checkLeaseKey() ntstatus.Status {
	if c.req.Oplock != OplockLease || c.req.Lease == nil {
		return ntstatus.Success
	}
	fs := c.fs()
	fs.leaseMu.Lock()
	defer fs.leaseMu.Unlock()
	g := fs.leases[leaseID{c.req.Client, c.req.Lease.Key}]
	if g == nil || g.deleteOnClose || strings.EqualFold(g.path, c.leasePath()) {
		return ntstatus.Success
	}
	return ntstatus.InvalidParameter
}

// leasePath is Lease.Filename: the path from the volume's root with the stream.
func (c *creation) leasePath() string {
	p := c.tree.prefix
	for _, d := range c.path.dirs {
		p = joinPath(p, d)
	}
	if c.path.name != "" {
		p = joinPath(p, c.path.name)
	}
	if c.path.stream != "" {
		p += ":" + c.path.stream
	}
	return p
}

// acquire grants the oplock or lease the request asks for, as far as it can be
// had ([MS-FSA] 2.1.5.18). Caller holds File.mu.
func (c *creation) acquire(o *Open) {
	switch {
	case o.stream.sharedDisk():
	case c.req.Oplock == OplockLease && c.req.Lease != nil:
		// [MS-SMB2] 3.3.5.9.8: directories have leases of version 2 only.
		if !o.IsDir() || c.req.Lease.V2 {
			c.acquireLease(o)
		}
	case o.IsDir():
	case c.req.Oplock == OplockII, c.req.Oplock == OplockExclusive, c.req.Oplock == OplockBatch:
		c.acquireOplock(o)
	}
}

func (c *creation) acquireOplock(o *Open) {
	want := c.req.Oplock.caching()
	if c.tree.opt.ForceLevelII {
		want = CacheRead
	}
	possible := o.stream.possible(o, false)
	if want&CacheWrite != 0 && possible&CacheWrite == 0 {
		want = CacheRead
	}
	if want &= possible; want&CacheRead == 0 || want == CacheRead && o.stream.locksBlockReading() {
		return
	}
	g := &grant{stream: o.stream, state: breakState{Held: want}}
	g.join(o)
	g.count(0, want)
	o.stream.grants = append(o.stream.grants, g)
}

func (c *creation) acquireLease(o *Open) {
	lr := c.req.Lease
	want := lr.State.legal()
	if c.tree.opt.ForceLevelII {
		want &^= CacheWrite
	}
	if o.IsDir() {
		want &^= CacheWrite
	}
	fs := c.fs()
	fs.leaseMu.Lock()
	g := fs.leases[o.leaseID]
	fresh := g == nil
	if fresh {
		g = &grant{
			stream: o.stream, state: breakState{Lease: true}, id: o.leaseID, path: c.leasePath(),
			v2: lr.V2, epoch: lr.Epoch, hasParent: lr.V2 && lr.HasParent,
		}
		if g.hasParent {
			g.parent = lr.ParentKey
		}
		fs.leases[g.id] = g
	}
	if g.stream == o.stream && c.options&optDeleteOnClose != 0 {
		g.deleteOnClose = true
	}
	fs.leaseMu.Unlock()
	if g.stream != o.stream {
		return // the key of a file that is going: no caching here
	}
	g.join(o)
	possible := o.stream.possible(o, true)
	if fresh {
		o.stream.grants = append(o.stream.grants, g)
		// The first request gets the part that can be had.
		want = (want & possible).legal()
	}
	if want&CacheWrite == 0 && o.stream.locksBlockReading() {
		return
	}
	if next, ok := g.state.upgrade(want, possible); ok {
		g.count(g.state.Held, next.Held)
		g.state = next
		if g.v2 {
			g.epoch++
		}
		fs.changed(g.opens, &c.later)
	}
}

// join makes o share in g.
func (g *grant) join(o *Open) {
	g.opens = append(g.opens, o)
	o.grant.Store(g)
}

// possible is the most that can be granted to o beside what others have and do
// ([MS-FSA] 2.1.5.18.1, 2.1.5.18.2). Caller holds File.mu.
func (s *Stream) possible(o *Open, lease bool) Caching {
	p := cacheRWH
	if s.deletePending || o.link.deletePending {
		p &^= CacheHandle
	}
	for _, other := range s.opens {
		if other != o && !(lease && other.leaseID == o.leaseID) && !other.stat() {
			p &^= CacheWrite
		}
	}
	for _, g := range s.grants {
		switch {
		case g.own(o) || g.state.Held == 0:
			continue
		case g.state.Held&CacheWrite != 0:
			return 0
		case lease && !g.state.Lease:
			p &^= CacheHandle // level II and handle caching exclude each other
		case !lease && g.state.Lease && g.state.Held&CacheHandle != 0:
			return 0
		}
		p &^= CacheWrite
	}
	return p
}

// stat reports whether the open can neither read nor write nor delete: it is in nobody's way.
func (o *Open) stat() bool {
	return o.desired&^(fileReadAttributes|fileWriteAttributes|accessReadControl|accessSynchronize) == 0
}

// moveLeases gives the leases of f their new name after a rename.
func (f *File) moveLeases(path string) {
	fs := f.vol.fs
	fs.leaseMu.Lock()
	defer fs.leaseMu.Unlock()
	for _, s := range f.streams {
		for _, g := range s.grants {
			if g.state.Lease {
				g.path = path
				if s.name != "" {
					g.path += ":" + s.name
				}
			}
		}
	}
}
