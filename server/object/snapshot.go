package object

import (
	"errors"
	"math/bits"
	"slices"
	"strings"
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// parseGMT reads an @GMT- token ([MS-SMB2] 2.2.32.2: "@GMT-YYYY.MM.DD-HH.MM.SS").
func parseGMT(s string) (dtyp.Filetime, bool) {
	// Every component of every path comes here.
	if !strings.HasPrefix(s, "@GMT-") {
		return 0, false
	}
	t, err := time.Parse("@GMT-2006.01.02-15.04.05", s)
	if err != nil {
		return 0, false
	}
	return dtyp.FiletimeOf(t), true
}

// GMTToken is the @GMT- token of a snapshot's time.
func GMTToken(t dtyp.Filetime) string { return t.Time().Format("@GMT-2006.01.02-15.04.05") }

// second is t without what an @GMT- token cannot say.
func second(t dtyp.Filetime) dtyp.Filetime { return t / 1e7 * 1e7 }

// HiddenSnapshot begins the names of snapshots that a backup took for itself: users do not
// see them among the previous versions, as on Windows.
const HiddenSnapshot = "fsrvp-"

func hidden(s *store.Snapshot) bool { return strings.HasPrefix(s.Name, HiddenSnapshot) }

// viewAt finds the snapshot taken at a time, to the second: of those that cover the tree the newest,
// else one of a part of it.
func (t *Tree) viewAt(at dtyp.Filetime) (store.View, ntstatus.Status) {
	list, err := t.vol.store.Snapshots().List(store.RootID)
	if err != nil {
		return 0, t.vol.fs.statusOf(err)
	}
	found := store.Live
	for _, s := range slices.Backward(list) {
		if second(s.Taken) != second(at) || hidden(&s) {
			continue
		}
		n, err := t.vol.store.OpenID(s.View, t.root.id)
		if err == nil {
			n.Close()
			return s.View, ntstatus.Success
		}
		if found == store.Live {
			found = s.View
		}
	}
	if found != store.Live {
		return found, ntstatus.Success
	}
	return 0, ntstatus.ObjectNameNotFound
}

// maxVersions is how many versions of a file are listed.
const maxVersions = 512

// Snapshots lists the times of the snapshots that show this file, newest first
// (FSCTL_SRV_ENUMERATE_SNAPSHOTS): of a file those in which it differs from the next newer one.
func (o *Open) Snapshots() ([]dtyp.Filetime, ntstatus.Status) {
	if st := o.enter(); st != ntstatus.Success {
		return nil, st
	}
	defer o.leave()
	snaps := o.tree.vol.store.Snapshots()
	list := snaps.Versions
	if o.IsDir() {
		list = snaps.List
	}
	all, err := list(o.file.id)
	if err == nil && slices.ContainsFunc(all, func(s store.Snapshot) bool { return hidden(&s) }) {
		all, err = o.unhidden(all)
	}
	if err != nil {
		return nil, o.tree.vol.fs.statusOf(err)
	}
	var ts []dtyp.Filetime
	for _, s := range slices.Backward(all) {
		if len(ts) == maxVersions {
			break
		}
		ts = append(ts, s.Taken)
	}
	return ts, ntstatus.Success
}

// unhidden takes the hidden snapshots out of a list of versions. One that shows the file as some
// visible snapshot before it does, which is why that is not listed, gives its place to it.
func (o *Open) unhidden(versions []store.Snapshot) (list []store.Snapshot, err error) {
	all, err := o.tree.vol.store.Snapshots().List(o.file.id)
	if err != nil {
		return nil, err
	}
	older := store.View(0) // of the version before
	for _, v := range versions {
		for _, s := range slices.Backward(all) {
			if s.View <= v.View && s.View > older && !hidden(&s) {
				list = append(list, s)
				break
			}
		}
		older = v.View
	}
	return list, nil
}

// inView opens what a name of a directory led to in the create's view. On the way to what the view
// covers names are those of now: a snapshot of a folder or file says nothing about the folders above.
func (c *creation) inView(dir store.Node, name string) (store.Node, store.Entry, error) {
	v := c.tree.vol
	n, e, err := v.open(dir, name)
	if err != nil || n.View() == c.view {
		return n, e, err
	}
	old, err := v.store.OpenID(c.view, n.ID())
	if errors.Is(err, store.ErrNotFound) {
		return n, e, nil
	}
	n.Close()
	return old, e, err
}

// clientID makes the ids of a snapshot's files differ from those of the live ones and of other
// snapshots: ids grow from below, the view's bits come from above.
func clientID(v store.View, id store.FileID) store.FileID {
	return id ^ store.FileID(bits.Reverse64(uint64(v)))
}
