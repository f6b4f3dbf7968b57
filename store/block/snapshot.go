package block

import (
	"fmt"
	"slices"

	"gabion/protocol/dtyp"
	"gabion/store"
)

// snapshot is one snapshot as the table knows it. It is not changed once it is there.
type snapshot struct {
	id     uint64
	name   string
	taken  dtyp.Filetime
	scope  []store.FileID
	hidden bool // taken for a clone or a pin
	doomed bool // being deleted
}

const (
	snapHidden = 1 << 0
	snapDoomed = 1 << 1
)

func (s *snapshot) public() store.Snapshot {
	return store.Snapshot{View: store.View(s.id), Name: s.name, Taken: s.taken, Scope: s.scope[:len(s.scope):len(s.scope)]}
}

// named reports whether the snapshot can be found by its name.
func (s *snapshot) named() bool { return !s.hidden && !s.doomed }

func (s *snapshot) encode() []byte {
	flags := uint64(0)
	if s.hidden {
		flags |= snapHidden
	}
	if s.doomed {
		flags |= snapDoomed
	}
	b := fieldBytes(field(field(nil, fTime, uint64(s.taken)), fSnapFlags, flags), fName, s.name)
	var scope []byte
	for _, id := range s.scope {
		scope = le.AppendUint64(scope, uint64(id))
	}
	return fieldBytes(b, fScope, scope)
}

func (s *snapshot) decode(b []byte) error {
	return eachField(b, func(id byte, v uint64, data []byte) {
		switch id {
		case fTime:
			s.taken = dtyp.Filetime(v)
		case fSnapFlags:
			s.hidden, s.doomed = v&snapHidden != 0, v&snapDoomed != 0
		case fName:
			s.name = string(data)
		case fScope:
			for ; len(data) >= 8; data = data[8:] {
				s.scope = append(s.scope, store.FileID(le.Uint64(data)))
			}
		}
	})
}

func snapKey(id uint64) []byte       { return key64(nil, kSnap, id) }
func snapNameKey(name string) []byte { return append([]byte{kSnapBy}, name...) }

func (v *Volume) loadSnapshots() error {
	all, l := snapList{}, living{}
	err := v.scan([]byte{kSnap}, nil, func(key, value []byte) (bool, error) {
		s := &snapshot{id: be.Uint64(key[1:])}
		err := s.decode(value)
		if all = append(all, s); s.doomed {
			v.work.doom(s.id)
		} else {
			l = append(l, s.id)
		}
		return true, err
	})
	v.snaps.load(all, l)
	return err
}

// snapshots implements store.Snapshots.
type snapshots struct{ v *Volume }

// Snapshots implements store.Volume.
func (v *Volume) Snapshots() store.Snapshots { return snapshots{v} }

// view returns the snapshot of a view that can be read.
func (v *Volume) snapshotOf(view store.View) (*snapshot, error) {
	s := v.snaps.find(uint64(view))
	if s == nil || !s.named() {
		return nil, fmt.Errorf("snapshot %d: %w", view, store.ErrNotFound)
	}
	return s, nil
}

// doomed reports whether the snapshot of a view is being deleted: its contents last while
// it is open, so nothing may come to depend on them. Caller holds epoch.
func (v *Volume) doomed(view store.View) bool {
	if view == store.Live {
		return false
	}
	s := v.snaps.find(uint64(view))
	return s == nil || s.doomed
}

// inView reports whether a snapshot covers a file: by naming it, or a directory
// that it was below. The names of what is covered are as they were, so the walk
// up stays within the snapshot until it meets its scope.
func (v *Volume) inView(view store.View, id store.FileID) error {
	s, err := v.snapshotOf(view)
	if err != nil {
		return err
	}
	ok, err := v.covers(s, id, 0)
	if err == nil && !ok {
		err = fmt.Errorf("file %d in snapshot %d: %w", id, view, store.ErrNotFound)
	}
	return err
}

func (v *Volume) covers(s *snapshot, id store.FileID, depth int) (bool, error) {
	if slices.Contains(s.scope, id) {
		return true, nil
	}
	if slices.Contains(s.scope, store.RootID) {
		f, err := v.find(inodeKey(nil, id, 0), maxVersion(store.View(s.id)))
		return f.live(), err
	}
	if id == store.RootID || depth > 1000 {
		return false, nil
	}
	found := false
	err := v.eachLink(id, maxVersion(store.View(s.id)), func(l link) error {
		ok, err := v.covers(s, l.parent, depth+1)
		found = found || ok
		return err
	})
	return found, err
}

// Create implements store.Snapshots.
func (s snapshots) Create(name string, scope []store.FileID) (store.Snapshot, store.Pos, error) {
	v := s.v
	if name == "" {
		return store.Snapshot{}, 0, store.ErrName
	}
	if len(scope) == 0 {
		return store.Snapshot{}, 0, fmt.Errorf("snapshot of nothing: %w", store.ErrInvalid)
	}
	if err := v.admit(addsNames); err != nil {
		return store.Snapshot{}, 0, err
	}
	nodes, err := v.openAll(scope)
	if err != nil {
		return store.Snapshot{}, 0, err
	}
	defer func() {
		for _, n := range nodes {
			n.release()
		}
	}()
	v.epoch.Lock()
	snap, pos, err := v.takeSnapshot(name, scope, nodes)
	v.epoch.Unlock()
	if err != nil {
		return store.Snapshot{}, 0, err
	}
	return snap.public(), pos, nil
}

func (v *Volume) openAll(ids []store.FileID) ([]*inode, error) {
	var nodes []*inode
	for _, id := range ids {
		n, err := v.open1(id, store.Live, false)
		if err != nil {
			for _, n := range nodes {
				n.release()
			}
			return nil, err
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

// second is one in units of FILETIME. Clients name snapshots by the second.
const second = 10_000_000

// takeSnapshot makes a snapshot of what is below nodes. Caller holds epoch for writing.
func (v *Volume) takeSnapshot(name string, scope []store.FileID, nodes []*inode) (*snapshot, store.Pos, error) {
	if v.snaps.byName(name) != nil {
		return nil, 0, fmt.Errorf("snapshot %q: %w", name, store.ErrExist)
	}
	taken := dtyp.FiletimeOf(v.opt.Now())
	for _, o := range slices.Backward(v.snaps.list()) {
		if !o.hidden { // those before are older
			taken = max(taken, (o.taken/second+1)*second)
			break
		}
	}
	for _, n := range nodes {
		if n.gone.Load() {
			return nil, 0, fmt.Errorf("file %d: %w", n.id, store.ErrNotFound)
		}
	}
	snap := &snapshot{id: v.version + 1, name: name, taken: taken, scope: slices.Clone(scope)}
	c := newChange()
	defer c.free()
	c.set(counterKey("version"), le.AppendUint64(nil, snap.id))
	c.set(snapKey(snap.id), snap.encode())
	c.set(snapNameKey(name), le.AppendUint64(nil, snap.id))
	v.coverBy(c, nodes, snap.id)
	pos, err := v.commit(c)
	if err != nil {
		return nil, 0, err
	}
	v.covered(nodes, snap)
	return snap, pos, nil
}

// coverBy notes in the inodes that a snapshot covers them. Caller holds epoch for writing.
func (v *Volume) coverBy(c *change, nodes []*inode, id uint64) {
	for _, n := range nodes {
		c.merge(at(inodeKey(nil, n.id, 0), n.version), field(nil, fCover, id))
	}
}

// covered does in memory what coverBy logged.
func (v *Volume) covered(nodes []*inode, snap *snapshot) {
	v.version = snap.id
	v.snaps.put(snap)
	dirs := false
	for _, n := range nodes {
		n.mu.Lock()
		n.a.cover = snap.id
		n.own.Store(snap.id)
		n.coverAt.Store(0)
		n.mu.Unlock()
		dirs = dirs || n.dir
	}
	if dirs {
		v.coverGen.Add(1)
	}
}

// List implements store.Snapshots.
func (s snapshots) List(id store.FileID) ([]store.Snapshot, error) {
	if err := s.v.check(); err != nil {
		return nil, err
	}
	l := lineage{v: s.v, files: map[store.FileID]*ancestry{}}
	all := s.v.snaps.list()
	out := make([]store.Snapshot, 0, len(all))
	for _, sn := range all {
		if sn.hidden || sn.doomed {
			continue
		}
		if id != store.RootID {
			if ok, err := l.covered(sn, id, 0); err != nil {
				return nil, err
			} else if !ok {
				continue
			}
		}
		out = append(out, sn.public())
	}
	return out, nil
}

// Find implements store.Snapshots.
func (s snapshots) Find(name string) (store.Snapshot, error) {
	if err := s.v.check(); err != nil {
		return store.Snapshot{}, err
	}
	sn := s.v.snaps.byName(name)
	if sn == nil {
		return store.Snapshot{}, fmt.Errorf("snapshot %q: %w", name, store.ErrNotFound)
	}
	return sn.public(), nil
}

// Delete implements store.Snapshots. The snapshot is gone at once; what only it
// kept goes in the background.
func (s snapshots) Delete(view store.View) (store.Pos, error) {
	v := s.v
	if err := v.admit(0); err != nil {
		return 0, err
	}
	v.epoch.Lock()
	defer v.epoch.Unlock()
	sn, err := v.snapshotOf(view)
	if err != nil {
		return 0, err
	}
	d := *sn
	if v.needed(d.id) {
		d.hidden = true // it goes when the last pending clone or pin does
	} else {
		d.doomed = true
	}
	c := newChange()
	defer c.free()
	c.set(snapKey(d.id), d.encode())
	c.del(snapNameKey(d.name))
	pos, err := v.commit(c)
	if err != nil {
		return 0, err
	}
	v.snaps.put(&d)
	if d.doomed {
		v.work.doom(d.id)
	}
	return pos, nil
}

// needed reports whether a pending clone or a pin names a view.
func (v *Volume) needed(view uint64) bool { return v.pendings.names(view) || v.pins.names(view) }

// doomHidden deletes the hidden snapshots that no pending clone or pin names any more, and reports whether
// there were any.
func (v *Volume) doomHidden() (bool, error) {
	if !v.pendings.unpinned.Swap(false) {
		return false, nil
	}
	v.epoch.Lock()
	defer v.epoch.Unlock()
	c := newChange()
	defer c.free()
	var doomed []*snapshot
	for _, s := range v.snaps.list() {
		if s.hidden && !s.doomed && !v.needed(s.id) {
			d := *s
			d.doomed = true
			doomed = append(doomed, &d)
			c.set(snapKey(d.id), d.encode())
		}
	}
	if len(doomed) == 0 {
		return false, nil
	}
	if _, err := v.commit(c); err != nil {
		return false, err
	}
	for _, d := range doomed {
		v.snaps.put(d)
		v.work.doom(d.id)
	}
	return true, nil
}
