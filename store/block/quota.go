package block

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"gabion/store"
)

// A limit on a folder makes it a domain. Each file belongs to the nearest one above it, which
// passes on what it is charged to those above. Because no name crosses the border of a domain, a
// file stays in its own for ever, however often it is renamed; so it is looked up once for each open inode.
//
// Domains are charged where sizes change, with the inode locked; nothing about them is on
// disk. What a folder holds is counted when its limit is set, in a state of the index taken while
// no change is half made: what comes later is charged on top.

// domain is a folder with a limit.
type domain struct {
	dir   store.FileID
	limit atomic.Int64
	used  atomic.Int64
	ready atomic.Bool // used is complete
	up    *domain     // the next one above; changed with epoch held for writing
}

// quotaTable holds a volume's domains.
type quotaTable struct {
	setting sync.Mutex   // held while limits are set; outside of epoch
	mu      sync.RWMutex // guards byDir; a leaf
	byDir   map[store.FileID]*domain
	gen     atomic.Uint64 // changes with the set of domains, with epoch held for writing; 0: there never was one
}

// charge adds n to what a domain and those above hold, unless that is too much for one.
func (d *domain) charge(n int64) error {
	if n == 0 {
		return nil
	}
	for x := d; x != nil; x = x.up {
		if now := x.used.Add(n); n > 0 && x.ready.Load() && now > x.limit.Load() {
			for y := d; y != x.up; y = y.up {
				y.used.Add(-n)
			}
			return fmt.Errorf("%w: quota of %d bytes", store.ErrNoSpace, x.limit.Load())
		}
	}
	return nil
}

// release takes off n.
func (d *domain) release(n int64) {
	for ; d != nil; d = d.up {
		d.used.Add(-n)
	}
}

func (t *quotaTable) at(dir store.FileID) *domain {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byDir[dir]
}

// domain returns the inode's, nil without one. Caller holds epoch.
func (n *inode) domain() (*domain, error) {
	gen := n.v.quotas.gen.Load()
	if gen == 0 {
		return nil, nil
	}
	if n.quotaAt.Load() != gen {
		d, err := n.v.domainOf(n.id)
		if err != nil {
			return nil, fmt.Errorf("quota of file %d: %w", n.id, err)
		}
		n.quota.Store(d)
		n.quotaAt.Store(gen)
	}
	return n.quota.Load(), nil
}

// domainOf finds the domain of a file or directory.
func (v *Volume) domainOf(id store.FileID) (*domain, error) {
	for {
		if d := v.quotas.at(id); d != nil || id == store.RootID {
			return d, nil
		}
		parent := store.FileID(0)
		if err := v.eachLink(id, newest, func(l link) error {
			parent = l.parent
			return nil
		}); err != nil || parent == 0 {
			return nil, err
		}
		id = parent
	}
}

// sameDomain refuses a name that would lead from one domain to another. Caller holds names.
func (v *Volume) sameDomain(from, to *inode) error {
	if from == to {
		return nil
	}
	a, err := from.domain()
	if err != nil {
		return err
	}
	b, err := to.domain()
	if err == nil && a != b {
		err = store.ErrQuotaBorder
	}
	return err
}

// nominal returns what the streams of a live file say they allocate. Caller holds mu.
func (n *inode) nominal() (int64, error) {
	var bytes int64
	if n.data != nil {
		bytes = n.data.sizes().public().Allocated
	}
	err := n.v.scanVersions(key64(nil, kStream, uint64(n.id)), nil, newest, func(_ []byte, f found) (bool, error) {
		var e streamEntry
		err := e.decode(f.value)
		if s := n.streams[e.no]; err == nil && s != nil {
			bytes += s.sizes().public().Allocated
		} else if err == nil {
			var z sizes
			z, _, err = n.streamSizes(e.no)
			bytes += z.public().Allocated
		}
		return true, err
	})
	return bytes, err
}

// charging is a change of a file that may change what it allocates in ways that only looking
// before and after tells.
type charging struct {
	n   *inode
	d   *domain
	was int64
}

// charging begins one. Caller holds epoch and mu.
func (n *inode) charging() (charging, error) {
	d, err := n.domain()
	if err != nil || d == nil || n.gone.Load() {
		return charging{}, err
	}
	c := charging{n: n, d: d}
	c.was, err = n.nominal()
	return c, err
}

// gone says that the file has no name any more.
func (c charging) gone() { c.d.release(c.was) }

// over charges what the change brought; it was allowed.
func (c charging) over() {
	if c.d == nil {
		return
	}
	now, err := c.n.nominal()
	if err != nil {
		c.n.v.out.Error("a file's quota is not known", "file", c.n.id, "error", err)
		return
	}
	c.d.release(c.was - now)
}

// restoreCharge is what a restore charges, once for each domain.
type restoreCharge []domainCharge

type domainCharge struct {
	d     *domain
	bytes int64
}

// add adds n to what a domain is charged.
func (c restoreCharge) add(d *domain, n int64) restoreCharge {
	for i := range c {
		if c[i].d == d {
			c[i].bytes += n
			return c
		}
	}
	return append(c, domainCharge{d, n})
}

func (c restoreCharge) undo() {
	for _, x := range c {
		x.d.release(x.bytes)
	}
}

// charge charges what the files will allocate more than now. What one gives up another may take,
// also below the same domain. Caller holds their mu.
func (r *restoring) charge() (restoreCharge, error) {
	var all restoreCharge
	for _, f := range r.files {
		n := f.to.inode
		d, err := n.domain()
		if err != nil {
			return nil, err
		}
		if d == nil {
			continue
		}
		more := int64(0)
		for _, s := range f.streams {
			more += s.from.stream.sizes().public().Allocated
			if !s.fresh {
				more -= s.stream.sizes().public().Allocated
			}
		}
		for _, e := range f.gone {
			if s := n.streams[e.no]; s != nil {
				more -= s.sizes().public().Allocated
			} else if z, _, err := n.streamSizes(e.no); err == nil {
				more -= z.public().Allocated
			} else {
				return nil, err
			}
		}
		all = all.add(d, more)
	}
	slices.SortFunc(all, func(a, b domainCharge) int { return cmp.Compare(a.bytes, b.bytes) })
	for i, x := range all {
		if err := x.d.charge(x.bytes); err != nil {
			all[:i].undo()
			return nil, err
		}
	}
	return all, nil
}

// SetQuota implements store.Quotas.
func (v *Volume) SetQuota(dir store.FileID, limit int64) error {
	if err := v.check(); err != nil {
		return err
	}
	if limit < 0 {
		return store.ErrInvalid
	}
	t := &v.quotas
	t.setting.Lock()
	defer t.setting.Unlock()
	old := t.at(dir)
	switch {
	case limit == 0 && old == nil:
		return nil
	case limit == 0:
		return v.changeDomains(func() { delete(t.byDir, dir) })
	case old != nil:
		old.limit.Store(limit)
		return nil
	}
	n, err := v.OpenID(store.Live, dir)
	if err != nil {
		return err
	}
	defer n.Close()
	if !n.IsDir() {
		return store.ErrNotDir
	}
	d := &domain{dir: dir}
	d.limit.Store(limit)
	c := nominalCount{v: v}
	err = v.changeDomains(func() {
		if t.byDir == nil {
			t.byDir = map[store.FileID]*domain{}
		}
		t.byDir[dir] = d
		c.snap = v.index.NewSnapshot()
	})
	if c.snap != nil {
		defer c.close()
	}
	var held int64
	if err == nil {
		held, err = c.below(dir)
	}
	if err != nil {
		_ = v.changeDomains(func() { delete(t.byDir, dir) })
		return fmt.Errorf("quota of folder %d: %w", dir, err)
	}
	d.used.Add(held)
	d.ready.Store(true)
	return nil
}

// changeDomains changes the set of domains while there is no change of anything else.
func (v *Volume) changeDomains(change func()) error {
	t := &v.quotas
	v.epoch.Lock()
	defer v.epoch.Unlock()
	t.mu.Lock()
	change()
	all := make([]*domain, 0, len(t.byDir))
	for _, d := range t.byDir {
		all = append(all, d)
	}
	t.mu.Unlock()
	t.gen.Add(1)
	var unknown []error
	for _, d := range all {
		d.up = nil
		if d.dir == store.RootID {
			continue
		}
		parent := store.FileID(0)
		err := v.eachLink(d.dir, newest, func(l link) error {
			parent = l.parent
			return nil
		})
		if err == nil && parent != 0 { // else it was removed
			d.up, err = v.domainOf(parent)
		}
		if err != nil {
			unknown = append(unknown, fmt.Errorf("folder above folder %d: %w", d.dir, err))
		}
	}
	return errors.Join(unknown...)
}

// Quota implements store.Quotas.
func (v *Volume) Quota(dir store.FileID) (used, limit int64, ok bool) {
	if v.quotas.gen.Load() == 0 {
		return 0, 0, false
	}
	v.epoch.RLock()
	defer v.epoch.RUnlock()
	d, err := v.domainOf(dir)
	if err != nil {
		return 0, 0, false
	}
	for ; d != nil; d = d.up {
		u, l := max(0, d.used.Load()), d.limit.Load()
		if !ok || l-u < limit-used {
			used, limit, ok = u, l, true
		}
	}
	return used, limit, ok
}

// nominalCount adds up what files allocate in one state of the index.
type nominalCount struct {
	v    *Volume
	snap *pebble.Snapshot
	its  map[byte]*pebble.Iterator // by what keys begin with: opening one costs more than moving it
}

func (c *nominalCount) close() {
	for _, it := range c.its {
		it.Close()
	}
	c.snap.Close()
}

// each calls fn for the live values of the keys with a prefix, which fn must not do with keys that
// begin alike.
func (c *nominalCount) each(prefix []byte, fn func(body, value []byte) error) error {
	it := c.its[prefix[0]]
	if it == nil {
		var err error
		if it, err = c.snap.NewIter(&pebble.IterOptions{LowerBound: prefix[:1], UpperBound: []byte{prefix[0] + 1}}); err != nil {
			return err
		}
		if c.its == nil {
			c.its = map[byte]*pebble.Iterator{}
		}
		c.its[prefix[0]] = it
	}
	var last []byte
	for ok := it.SeekGE(prefix); ok && bytes.HasPrefix(it.Key(), prefix); ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		body, _ := versionOf(it.Key())
		if last != nil && string(last) == string(body) {
			continue
		}
		last = append(last[:0], body...)
		if len(value) > 0 {
			if err := fn(body, value); err != nil {
				return err
			}
		}
	}
	return it.Error()
}

// below adds up the files below a directory.
func (c *nominalCount) below(dir store.FileID) (total int64, err error) {
	seen := map[store.FileID]bool{} // files with several names
	for queue := []store.FileID{dir}; len(queue) > 0; queue = queue[1:] {
		err := c.each(key64(nil, kName, uint64(queue[0])), func(_, value []byte) error {
			var e entry
			if _, err := e.decodeUnnamed(value); err != nil {
				return err
			}
			if e.dir {
				queue = append(queue, e.id)
			}
			n, links, err := c.file(e.id)
			if err == nil && links > 1 && !e.dir {
				if seen[e.id] {
					return nil
				}
				seen[e.id] = true
				err = c.within(e.id, queue[0])
			}
			total += n
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return total, nil
}

// within refuses a file that has names in a directory's domain and in others.
func (c *nominalCount) within(id, dir store.FileID) error {
	d, err := c.v.domainOf(dir)
	if err != nil {
		return err
	}
	return c.each(key64(nil, kLink, uint64(id)), func(body, _ []byte) error {
		o, err := c.v.domainOf(store.FileID(be.Uint64(body[9:])))
		if err == nil && o != d {
			err = fmt.Errorf("file %d has names inside and outside of the folder: %w", id, store.ErrQuotaBorder)
		}
		return err
	})
}

// file adds up the streams of a file or directory.
func (c *nominalCount) file(id store.FileID) (bytes int64, links uint32, err error) {
	records := map[uint32]attrs{}
	if err := c.each(key64(nil, kInode, uint64(id)), func(body, value []byte) error {
		var a attrs
		err := a.decode(value)
		records[be.Uint32(body[9:])] = a
		return err
	}); err != nil {
		return 0, 0, err
	}
	a := records[0]
	if !a.dir {
		bytes = a.sizes.public().Allocated
	}
	if a.next == 0 || a.next == 1 && !a.dir {
		return bytes, a.links, nil // it never had a named one
	}
	var named []uint32
	err = c.each(key64(nil, kStream, uint64(id)), func(_, value []byte) error {
		var e streamEntry
		err := e.decode(value)
		named = append(named, e.no)
		return err
	})
	slices.Sort(named)
	for _, no := range slices.Compact(named) {
		z := records[no].sizes
		bytes += z.public().Allocated
	}
	return bytes, a.links, err
}
