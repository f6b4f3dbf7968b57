package block

import (
	"fmt"
	"testing"

	"gabion/store"
)

// What each snapshot, file and clone takes is counted to the byte, also where little is counted at a time; and so a
// check that counts little at a time finds nothing.
func TestUsage(t *testing.T) {
	for _, window := range []int{0, 1, 40} {
		t.Run(fmt.Sprint(window), func(t *testing.T) { testUsage(t, window) })
	}
}

func testUsage(t *testing.T, window int) {
	v, root := manual(t)
	v.window = window
	n, s := newFile(t, v, "f")
	write := func(s store.Stream, from, to int, seed uint64) {
		t.Helper()
		for b := from; b < to; b++ {
			if _, err := s.WriteAt(stamp(b, seed), int64(b)*blockSize, store.Touch{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	snap := func(name string) store.View {
		t.Helper()
		sn, _, err := v.Snapshots().Create(name, []store.FileID{store.RootID})
		if err != nil {
			t.Fatal(err)
		}
		return sn.View
	}
	check := func(what string, live, shared, held int64, unique ...int64) {
		t.Helper()
		settle(v, 10000)
		u, err := v.Usage()
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for _, s := range u.Snapshots {
			got = append(got, s.Unique/blockSize)
		}
		same := len(got) == len(unique)
		for i := 0; same && i < len(got); i++ {
			same = got[i] == unique[i]
		}
		if u.Live/blockSize != live || u.Shared/blockSize != shared || u.SnapshotHeld/blockSize != held || !same {
			t.Errorf("%s: %d live, %d shared, %d held, %d unique; want %d, %d, %d, %d", what, u.Live/blockSize, u.Shared/blockSize,
				u.SnapshotHeld/blockSize, got, live, shared, held, unique)
		}
		if err := verify(v); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if sp := v.Space(); sp.SnapshotHeld != u.SnapshotHeld || sp.Used != u.Live+u.SnapshotHeld {
			t.Errorf("%s: %+v", what, sp)
		}
	}
	write(s, 0, 100, 1)
	check("written", 100, 0, 0)
	one := snap("one")
	check("snapshot", 100, 0, 0, 0)
	write(s, 0, 30, 2)
	check("30 overwritten", 100, 0, 30, 30)
	snap("two")
	write(s, 20, 50, 3)
	// one sees 0…49 of seed 1 alone; two 20…29 of seed 2; both 30…49 of seed 1.
	check("30 more", 100, 0, 60, 30, 10)
	_, c := newFile(t, v, "clone")
	if _, err := c.CloneFrom(0, s, 0, 10*blockSize, store.Touch{}); err != nil {
		t.Fatal(err)
	}
	check("clone", 100, 10, 60, 30, 10)
	s.Close()
	n.Close()
	if _, err := v.Unlink(root, "f"); err != nil {
		t.Fatal(err)
	}
	// Of the 100 blocks that lived, two sees 0…19 and 50…99; 10 of them the clone has too.
	check("removed", 10, 10, 120, 30, 20)
	if _, err := v.Snapshots().Delete(one); err != nil {
		t.Fatal(err)
	}
	check("one deleted", 10, 10, 90, 90)
}
