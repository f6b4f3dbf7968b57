package object

import (
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

// viewAt finds the snapshot of the tree taken at a time, to the second.
func (t *Tree) viewAt(at dtyp.Filetime) (store.View, ntstatus.Status) {
	list, err := t.vol.store.Snapshots().List(t.root.id)
	if err != nil {
		return 0, t.vol.fs.statusOf(err)
	}
	for i := len(list) - 1; i >= 0; i-- {
		if second(list[i].Taken) == second(at) && !hidden(&list[i]) {
			return list[i].View, ntstatus.Success
		}
	}
	return 0, ntstatus.ObjectNameNotFound
}

// Snapshots lists the times of the snapshots that show this file, newest first
// (FSCTL_SRV_ENUMERATE_SNAPSHOTS).
func (o *Open) Snapshots() ([]dtyp.Filetime, ntstatus.Status) {
	if st := o.enter(); st != ntstatus.Success {
		return nil, st
	}
	defer o.leave()
	list, err := o.tree.vol.store.Snapshots().List(o.file.id)
	if err != nil {
		return nil, o.tree.vol.fs.statusOf(err)
	}
	var ts []dtyp.Filetime
	for _, s := range slices.Backward(list) {
		if !hidden(&s) {
			ts = append(ts, s.Taken)
		}
	}
	return ts, ntstatus.Success
}

// clientID makes the ids of a snapshot's files differ from those of the live ones and of other
// snapshots: ids grow from below, the view's bits come from above.
func clientID(v store.View, id store.FileID) store.FileID {
	return id ^ store.FileID(bits.Reverse64(uint64(v)))
}
