package rsvd

import (
	"errors"
	"slices"

	"gabion/protocol/dtyp"
	"gabion/rsvd/scsi"
	"gabion/rsvd/vhdx"
	"gabion/store"
)

// Status is what an administrator sees of a shared disk. A disk that nobody has open has
// no more than its reservations.
type Status struct {
	Volume                   dtyp.GUID
	File                     store.FileID
	Name                     string // of the payload file, without its folder
	Opens                    int
	Reads, Writes, Conflicts int64
	ReadBytes, WrittenBytes  int64
	Aborted                  int64
	Reservations             scsi.State
	Info                     vhdx.Info
	Blocked                  bool
	Snapshots                int
	Initiators               []Initiator
}

// Initiator is an open as an administrator sees it.
type Initiator struct {
	ID   dtyp.GUID
	Host string
}

// Disks lists the shared disks that are open.
func (s *Service) Disks() []Status {
	s.mu.Lock()
	var disks []*disk
	for _, d := range s.disks {
		disks = append(disks, d)
	}
	s.mu.Unlock()
	var list []Status
	for _, d := range disks {
		d.loading.Lock()
		if d.target != nil {
			list = append(list, d.status())
		}
		d.loading.Unlock()
	}
	slices.SortFunc(list, func(a, b Status) int { return int(a.File) - int(b.File) })
	return list
}

func (d *disk) status() Status {
	st := Status{Volume: d.key.volume, File: d.key.file, Reads: d.reads.Load(), Writes: d.writes.Load(), Conflicts: d.conflicts.Load(),
		ReadBytes: d.readBytes.Load(), WrittenBytes: d.writtenBytes.Load(), Aborted: d.aborted.Load(),
		Reservations: d.target.Record().State, Info: d.medium.Info()}
	if names, err := d.node.Names(); err == nil && len(names) > 0 {
		st.Name = names[0].Name
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	st.Opens, st.Blocked, st.Snapshots = len(d.opens), d.blocked, len(d.snaps)
	for o := range d.opens {
		st.Initiators = append(st.Initiators, Initiator{o.initiator, o.context.HostName()})
	}
	return st
}

// Reservations lists the disks of a volume that are open or that have registrations.
func (s *Service) Reservations(v store.Volume) ([]Status, error) {
	list := slices.DeleteFunc(s.Disks(), func(d Status) bool { return d.Volume != v.Info().GUID })
	open := len(list)
	err := v.KV().Scan(bucket, reservationKey, func(key string, value []byte) bool {
		var r scsi.Record
		id, ok := fileOfKey(key)
		if !ok || r.Decode(value) != nil || slices.ContainsFunc(list[:open], func(d Status) bool { return d.File == id }) {
			return true
		}
		list = append(list, Status{Volume: v.Info().GUID, File: id, Reservations: r.State})
		return true
	})
	for i := range list[open:] {
		st := &list[open+i]
		n, e := v.OpenID(store.Live, st.File)
		if e != nil {
			continue // the file is gone; its record goes with the next start
		}
		if names, e := n.Names(); e == nil && len(names) > 0 {
			st.Name = names[0].Name
		}
		n.Close()
	}
	return list, err
}

// ClearReservations takes all registrations and the reservation of a disk away, by the file
// or by the set that names it.
func (s *Service) ClearReservations(v store.Volume, file store.FileID) (store.Pos, error) {
	if d := s.find(v, file); d != nil {
		d.loading.Lock()
		defer d.loading.Unlock()
		if d.target != nil {
			return d.target.Reset()
		}
	}
	return v.KV().Apply([]store.KVEdit{{Bucket: bucket, Key: keyOf(reservationKey, file)}})
}

// Container opens the disk in a file, or in the file that a set names, for reading beside
// whoever uses it; what is being written may be seen in part. active is the payload's name.
func Container(v store.Volume, node store.Node, name string, folder Folder) (box *vhdx.Disk, active string, err error) {
	active = name
	data, err := node.Data()
	if err != nil {
		return nil, "", err
	}
	if set, e := vhdx.ReadSet(data); e == nil {
		data.Close()
		n, e := folder.Open(set)
		if e != nil {
			return nil, "", e
		}
		defer n.Close()
		active = set
		if data, err = n.Data(); err != nil {
			return nil, "", err
		}
	} else if !errors.Is(e, vhdx.ErrNotVHDX) {
		data.Close()
		return nil, "", e
	}
	box, err = vhdx.Open(data, vhdx.Options{ReadOnly: true, Parent: parents(folder)})
	if err != nil {
		data.Close()
	}
	return box, active, err
}

// Check verifies the disk that a file is the payload or the set of, if it is open; ok is
// false when it is not.
func (s *Service) Check(v store.Volume, file store.FileID) (err error, ok bool) {
	d := s.find(v, file)
	if d == nil {
		return nil, false
	}
	d.loading.Lock()
	defer d.loading.Unlock()
	if d.target == nil {
		return nil, false
	}
	return d.medium.Load().Check(), true
}

// Copy copies all of a disk to another one of the same size and closes that.
func Copy(to, from *vhdx.Disk) (store.Pos, error) {
	i := from.Info()
	ranges, err := from.Allocated(0, i.Size, nil)
	if err != nil {
		to.Close()
		return 0, err
	}
	return copyRanges(to, from, ranges, i.LogicalSector)
}
