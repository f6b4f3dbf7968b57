package rsvd

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	wire "gabion/protocol/rsvd"
	"gabion/rsvd/vhdx"
	"gabion/store"
)

// snapshot is one snapshot of a VHD set: a view of the payload file in the store.
type snapshot struct {
	id       dtyp.GUID
	kind     wire.SnapshotType
	tracked  bool // made with change tracking
	active   bool // CDP: of the running change tracking
	view     store.View
	created  int64 // milliseconds since 1970
	logFile  dtyp.GUID
	previous dtyp.GUID    // CDP: the snapshot before it
	branch   store.FileID // writeable: the file with what was written to it; 0 for others
}

// snapshots are those of one disk, oldest first.
type snapshots []snapshot

func (s snapshots) find(id dtyp.GUID) (snapshot, bool) {
	for _, e := range s {
		if e.id == id {
			return e, true
		}
	}
	return snapshot{}, false
}

// ids lists snapshots of a kind; for CDP ones active selects.
func (s snapshots) ids(kind wire.SnapshotType, active bool) []dtyp.GUID {
	var list []dtyp.GUID
	for _, e := range s {
		if e.kind == kind && (kind != wire.SnapshotCDP || e.active == active) {
			list = append(list, e.id)
		}
	}
	return list
}

// SnapshotPrefix begins the names of the store's snapshots that are snapshots of a virtual
// disk; those that no disk knows of are removed.
const SnapshotPrefix = "rsvd-"

var be = binary.BigEndian

const (
	snapshotRecord = 1
	snapshotSize   = 1 + 1 + 4 + 8 + 8 + 16 + 16 + 8
	flagTracked    = 1
	flagActive     = 2
)

var errRecord = errors.New("rsvd: malformed record")

func (e *snapshot) encode() []byte {
	flags := byte(0)
	if e.tracked {
		flags |= flagTracked
	}
	if e.active {
		flags |= flagActive
	}
	b := []byte{snapshotRecord, flags}
	b = be.AppendUint32(b, uint32(e.kind))
	b = be.AppendUint64(b, uint64(e.view))
	b = be.AppendUint64(b, uint64(e.created))
	b = append(b, e.logFile[:]...)
	b = append(b, e.previous[:]...)
	return be.AppendUint64(b, uint64(e.branch))
}

func decodeSnapshot(id dtyp.GUID, b []byte) (snapshot, error) {
	if len(b) != snapshotSize || b[0] != snapshotRecord {
		return snapshot{}, errRecord
	}
	return snapshot{id: id, tracked: b[1]&flagTracked != 0, active: b[1]&flagActive != 0, kind: wire.SnapshotType(be.Uint32(b[2:])),
		view: store.View(be.Uint64(b[6:])), created: int64(be.Uint64(b[14:])), logFile: dtyp.GUID(b[22:38]), previous: dtyp.GUID(b[38:54]),
		branch: store.FileID(be.Uint64(b[54:]))}, nil
}

func snapshotRow(file store.FileID, id dtyp.GUID) string {
	return keyOf(snapshotKey, file) + "/" + id.String()
}

func loadSnapshots(kv store.KV, file store.FileID) (snapshots, error) {
	var list snapshots
	var failed error
	prefix := keyOf(snapshotKey, file) + "/"
	err := kv.Scan(bucket, prefix, func(key string, value []byte) bool {
		id, err := dtyp.ParseGUID(strings.TrimPrefix(key, prefix))
		if err == nil {
			var e snapshot
			e, err = decodeSnapshot(id, value)
			list = append(list, e)
		}
		failed = err
		return err == nil
	})
	slices.SortFunc(list, func(a, b snapshot) int { return cmp.Compare(a.view, b.view) })
	return list, cmp.Or(err, failed)
}

// dropOrphans deletes snapshots in the store that a crash kept from getting, or
// from losing, their record.
func (d *disk) dropOrphans(known snapshots) error {
	list, err := d.vol.Snapshots().List(d.key.file)
	if err != nil {
		return err
	}
	for _, s := range list {
		ours := strings.HasPrefix(s.Name, fmt.Sprintf("%s%016x-", SnapshotPrefix, uint64(d.key.file)))
		if ours && !slices.ContainsFunc(known, func(e snapshot) bool { return e.view == s.View }) {
			if _, err := d.vol.Snapshots().Delete(s.View); err != nil {
				return err
			}
		}
	}
	return nil
}

// take makes a snapshot of the payload as it is now.
func (d *disk) take(o *Open, id dtyp.GUID, kind wire.SnapshotType, tracked bool, logFile dtyp.GUID) (store.Pos, error) {
	name := fmt.Sprintf("%s%016x-%s", SnapshotPrefix, uint64(d.key.file), id)
	s, _, err := d.vol.Snapshots().Create(name, []store.FileID{d.key.file})
	if err != nil {
		return 0, err
	}
	d.mu.Lock()
	e := snapshot{id: id, kind: kind, tracked: tracked, view: s.View, created: d.svc.opt.Now().UnixMilli(), logFile: logFile}
	if kind == wire.SnapshotCDP {
		e.active = d.tracking.active
		if ids := d.snaps.ids(kind, true); len(ids) > 0 {
			e.previous = ids[len(ids)-1]
		}
	}
	d.mu.Unlock()
	if kind == wire.SnapshotWriteable {
		if e.branch, err = d.makeBranch(o, id); err != nil {
			d.vol.Snapshots().Delete(s.View)
			return 0, err
		}
	}
	pos, err := d.vol.KV().Apply([]store.KVEdit{{Bucket: bucket, Key: snapshotRow(d.key.file, id), Value: e.encode()}})
	if err != nil {
		d.vol.Snapshots().Delete(s.View)
		return 0, err
	}
	d.mu.Lock()
	d.snaps = append(d.snaps, e)
	d.mu.Unlock()
	return pos, nil
}

// drop deletes a snapshot: first what names it, then its data.
func (d *disk) drop(e snapshot, folder Folder) (store.Pos, error) {
	if d.branchInUse(e) {
		return 0, ntstatus.SharingViolation
	}
	if _, err := d.vol.KV().Apply([]store.KVEdit{{Bucket: bucket, Key: snapshotRow(d.key.file, e.id)}}); err != nil {
		return 0, err
	}
	d.mu.Lock()
	d.snaps = slices.DeleteFunc(slices.Clone(d.snaps), func(x snapshot) bool { return x.id == e.id })
	d.mu.Unlock()
	if err := d.removeBranch(e, folder); err != nil {
		return 0, err
	}
	pos, err := d.vol.Snapshots().Delete(e.view)
	if errors.Is(err, store.ErrNotFound) { // an administrator was faster
		err = nil
	}
	return pos, err
}

func (d *disk) snapshot(id dtyp.GUID) (snapshot, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.snaps.find(id)
}

// at opens the container as a snapshot shows it.
func (d *disk) at(e snapshot, folder Folder) (*vhdx.Disk, error) {
	n, err := d.nodeOf(e)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	return d.container(n, folder, true)
}

// openSnapshot makes o show a snapshot ([MS-RSVD] 3.2.5.7).
func (d *disk) openSnapshot(o *Open, id dtyp.GUID) error {
	e, ok := d.snapshot(id)
	if !ok || !o.set {
		return store.ErrNotFound
	}
	if e.branch != 0 && o.rights&MayWrite != 0 {
		return d.openBranch(o, e)
	}
	box, err := d.at(e, o.folder)
	o.snapshot = box
	return err
}

// apply makes the disk what it was in a snapshot; the gate is closed.
func (d *disk) apply(e snapshot, folder Folder) (store.Pos, error) {
	pos, err := d.revert(e)
	if err != nil {
		return 0, err
	}
	box, err := d.container(d.node, folder, false)
	if err != nil {
		return pos, err
	}
	d.medium.Swap(box).Close()
	return pos, nil
}

// extract writes a snapshot to a new file: all of it, or, with a limit, what changed
// since then as a differencing disk.
func (d *disk) extract(to store.Node, source snapshot, limit *snapshot, folder Folder) (store.Pos, error) {
	out, err := to.Data()
	if err != nil {
		return 0, err
	}
	defer out.Close()
	box, err := d.at(source, folder)
	if err != nil {
		return 0, err
	}
	defer box.Close()
	if limit != nil {
		return d.extractSince(out, box, source, *limit, folder)
	}
	if box.Info().HasParent {
		return d.flatten(out, box)
	}
	n, err := d.nodeOf(source)
	if err != nil {
		return 0, err
	}
	defer n.Close()
	from, err := n.Data()
	if err != nil {
		return 0, err
	}
	defer from.Close()
	return out.CloneFrom(0, from, 0, from.Sizes().Size, d.touch())
}

// flatten copies a chain into one disk.
func (d *disk) flatten(out store.Stream, box *vhdx.Disk) (store.Pos, error) {
	i := box.Info()
	if _, err := vhdx.Create(out, vhdx.Params{Size: i.Size, LogicalSector: i.LogicalSector, PhysicalSector: i.PhysicalSector, DiskID: i.DiskID}, d.touch()); err != nil {
		return 0, err
	}
	flat, err := vhdx.Open(keepOpen{out}, vhdx.Options{Touch: d.touch})
	if err != nil {
		return 0, err
	}
	ranges, err := box.Allocated(0, i.Size, nil)
	if err != nil {
		return 0, err
	}
	return copyRanges(flat, box, ranges, i.LogicalSector)
}

func (d *disk) extractSince(out store.Stream, box *vhdx.Disk, source, limit snapshot, folder Folder) (store.Pos, error) {
	base, err := d.at(limit, folder)
	if err != nil {
		return 0, err
	}
	defer base.Close()
	i, parent := box.Info(), vhdx.ParentRef{Linkage: base.Info().DataWrite}
	if names, err := d.node.Names(); err == nil && len(names) > 0 {
		parent.RelativePath = names[0].Name
	}
	if _, err := vhdx.Create(out, vhdx.Params{Size: i.Size, LogicalSector: i.LogicalSector, PhysicalSector: i.PhysicalSector, DiskID: i.DiskID, Parent: &parent}, d.touch()); err != nil {
		return 0, err
	}
	// Nothing is read from the parent while whole sectors are written, so the base
	// as the snapshot shows it may stand in for it.
	child, err := vhdx.Open(keepOpen{out}, vhdx.Options{Touch: d.touch, Parent: func(string) (store.Stream, error) {
		n, err := d.vol.OpenID(limit.view, d.key.file)
		if err != nil {
			return nil, err
		}
		defer n.Close()
		return n.Data()
	}})
	if err != nil {
		return 0, err
	}
	ranges, err := d.changes(base, box, limit, source, 0, i.Size)
	if err != nil {
		return 0, err
	}
	return copyRanges(child, box, ranges, i.LogicalSector)
}

// keepOpen leaves closing to somebody else.
type keepOpen struct{ store.Stream }

func (keepOpen) Close() {}

// copyRanges copies parts of one disk to another of the same size and closes the
// target.
func copyRanges(to, from *vhdx.Disk, ranges []store.Range, sector int64) (store.Pos, error) {
	defer to.Close()
	buf := make([]byte, 1<<20)
	var last store.Pos
	size := from.Info().Size
	for _, r := range ranges {
		off, end := r.Off/sector*sector, min((r.Off+r.Len+sector-1)/sector*sector, size)
		for off < end {
			p := buf[:min(int64(len(buf)), end-off)]
			if err := from.ReadAt(p, off); err != nil {
				return 0, err
			}
			pos, err := to.WriteAt(p, off)
			if err != nil {
				return 0, err
			}
			last = max(last, pos)
			off += int64(len(p))
		}
	}
	pos, err := to.Flush()
	return max(pos, last), err
}

// changes are the ranges of the virtual disk that may differ between two snapshots.
func (d *disk) changes(older, newer *vhdx.Disk, a, b snapshot, off, n int64) ([]store.Range, error) {
	var diff []store.Range
	err := d.vol.Snapshots().Diff(d.key.file, "", a.view, b.view, func(r store.Range) bool {
		diff = append(diff, r)
		return true
	})
	if err != nil {
		return nil, err
	}
	return vhdx.Changes(older, newer, diff, off, n, nil)
}

// tracking is the disk's change tracking. What changed is known from the snapshots,
// so there is no log whose size would grow.
type tracking struct {
	active  bool
	logFile dtyp.GUID
}

func loadTracking(kv store.KV, file store.FileID) (tracking, error) {
	b, err := kv.Get(bucket, keyOf(trackingKey, file))
	if errors.Is(err, store.ErrNotFound) {
		return tracking{}, nil
	}
	if err == nil && len(b) != 16 {
		err = errRecord
	}
	if err != nil {
		return tracking{}, err
	}
	return tracking{true, dtyp.GUID(b)}, nil
}

// setTracking starts or stops tracking; what was active before becomes inactive
// unless the same log goes on.
func (d *disk) setTracking(t tracking, goOn bool) (store.Pos, error) {
	var value []byte
	if t.active {
		value = t.logFile[:]
	}
	edits := []store.KVEdit{{Bucket: bucket, Key: keyOf(trackingKey, d.key.file), Value: value}}
	d.mu.Lock()
	snaps := slices.Clone(d.snaps)
	d.mu.Unlock()
	for i := range snaps {
		if snaps[i].active && !goOn {
			snaps[i].active = false
			edits = append(edits, store.KVEdit{Bucket: bucket, Key: snapshotRow(d.key.file, snaps[i].id), Value: snaps[i].encode()})
		}
	}
	pos, err := d.vol.KV().Apply(edits)
	if err != nil {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tracking, d.snaps = t, snaps
	return pos, nil
}
