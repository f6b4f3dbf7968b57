package versions

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"gabion/server/vm"
	"gabion/store"
	"gabion/store/block"
	"gabion/store/crashfs"
)

// The power fails at one sync after the other of a sync of three disks: afterwards all of them are
// production's, or none is, and what was acknowledged is there.
func TestSyncIsAllOrNothing(t *testing.T) {
	outcome := map[string]int{}
	for at := int64(1); ; at++ {
		acknowledged := false
		for seed := range uint64(2) {
			said, found := crashInSync(t, at, seed)
			if outcome[found]++; said && found != "new" {
				t.Errorf("crash at sync %d: the sync was acknowledged and the disks are %s", at, found)
			}
			acknowledged = acknowledged || said
		}
		if acknowledged {
			break
		}
	}
	if outcome["old"] == 0 || outcome["new"] == 0 {
		t.Errorf("outcomes %v: the crashes missed the change", outcome)
	}
}

// hasty is a volume whose disk is synced after each replacement, as another writer might have it
// done: what takes two of them can be cut in two.
type hasty struct{ store.Volume }

func (h hasty) Snapshots() store.Snapshots { return hastySnapshots{h.Volume.Snapshots(), h.Volume} }

type hastySnapshots struct {
	store.Snapshots
	volume store.Volume
}

func (s hastySnapshots) Replace(list []store.Replacement, v store.View) (store.Pos, error) {
	pos, err := s.Snapshots.Replace(list, v)
	if err == nil {
		err = s.volume.Sync()
	}
	return pos, err
}

// crashInSync crashes at a sync of the disk, and says whether the sync was acknowledged before and
// what the disks are afterwards.
func crashInSync(t *testing.T, at int64, seed uint64) (said bool, found string) {
	t.Helper()
	sizes := []int64{40 << 10, 500 << 10, 20 << 10}
	var disk *crashfs.FS
	var began, after int64 // syncs when the sync began, and as many later comes the crash
	rng := rand.New(rand.NewPCG(uint64(at), seed))
	disk, base := crashfs.Mem(nil, crashfs.Options{OnSync: func(n int64, done bool) {
		if after == 0 {
			began = n
		} else if n >= began+(at+1)/2 && done == (at%2 == 0) {
			disk.Crash(rng, 50) //nolint:errcheck // what it leaves is looked at
		}
	}})
	vol, err := block.Open(block.Options{Dir: "vol", FS: disk, SegmentSize: 1 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldOn(t, hasty{vol})
	w.dir("prod")
	w.dir("dev")
	for i, n := range sizes {
		w.put(fmt.Sprintf("prod/%d.vhdx", i), 'n', n, 1)
		w.put(fmt.Sprintf("dev/%d.vhdx", i), 'o', n/2, 1)
	}
	s := w.snap("nightly", "vm:prod", Meta{})
	w.ok(vol.Sync())
	disks := func(target string, s *Info) []vm.Disk {
		list, err := w.c.Book.Disks(w.target(target), s)
		w.ok(err)
		return list
	}
	pairs, err := Match(disks("vm:prod", &s), disks("vm:dev", nil), nil)
	w.ok(err)
	after = at
	_, err = w.c.Sync(t.Context(), pairs, s, "vm:dev", Options{})
	said = err == nil && !disk.Detached()
	if err := disk.Crash(rng, 50); err != nil {
		t.Fatal(err)
	}
	vol.Close() //nolint:errcheck // its disk is gone

	disk, _ = crashfs.Mem(base, crashfs.Options{})
	if vol, err = block.Open(block.Options{Dir: "vol", FS: disk, SegmentSize: 1 << 20, Manual: true}); err != nil {
		t.Fatal(err)
	}
	defer vol.Close()
	w = newWorldOn(t, vol)
	var are []string
	for i, n := range sizes {
		is := "torn"
		for what, want := range map[string]string{
			"new": fmt.Sprintf("%d.vhdx=n*%d", i, n), "old": fmt.Sprintf("%d.vhdx=o*%d", i, n/2),
		} {
			if slices.Contains(w.tree("dev"), want) {
				is = what
			}
		}
		are = append(are, is)
	}
	if are = slices.Compact(are); len(are) != 1 || are[0] == "torn" {
		t.Errorf("crash at sync %d: the disks are %v, %v", at, are, w.tree("dev"))
	}
	return said, are[0]
}
