package block

import (
	"slices"
	"testing"

	"gabion/store"
)

// A file that no snapshot covers comes into a directory that one does, by a rename or a link. The directory
// differs from then on, also when snapshots in between go.
func TestChangedArrivals(t *testing.T) {
	v, root := manual(t)
	made := func(in store.Node, name string, dir bool) store.Node {
		n, _, err := v.Create(in, name, store.Init{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.Close)
		return n
	}
	from, to := made(root, "from", true), made(root, "to", true)
	f := made(from, "f", false)
	made(from, "g", false)
	snap := func(name string) store.View {
		s, _, err := v.Snapshots().Create(name, []store.FileID{to.ID()})
		if err != nil {
			t.Fatal(err)
		}
		return s.View
	}
	done := func(_ store.Pos, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	forget := func(view store.View) {
		t.Helper()
		done(v.Snapshots().Delete(view))
		finish(t, v)
	}
	differs := func(a, b store.View, want bool) {
		t.Helper()
		for _, ab := range [][2]store.View{{a, b}, {b, a}} {
			var got []store.FileID
			if err := v.Snapshots().Changed(ab[0], ab[1], func(id store.FileID) bool { got = append(got, id); return true }); err != nil {
				t.Fatal(err)
			}
			if slices.Contains(got, to.ID()) != want {
				t.Errorf("views %d: changed %v, with directory %d: want %v", ab, got, to.ID(), want)
			}
		}
	}
	first := snap("first")
	differs(first, store.Live, false)
	done(v.Rename(from, "g", to, "g", false))
	differs(first, store.Live, true)
	second := snap("second")
	differs(first, second, true)
	differs(second, store.Live, false)
	done(v.Link(f, to, "f", false))
	differs(second, store.Live, true)
	third := snap("third")
	differs(second, third, true)
	forget(second)
	differs(first, third, true)
	done(v.Link(f, to, "again", false))
	fourth := snap("fourth")
	differs(third, fourth, true)
	forget(third)
	fifth := snap("fifth")
	differs(fourth, fifth, false)
	done(v.Unlink(to, "again"))
	differs(fifth, store.Live, true)
	forget(fifth)
	differs(fourth, store.Live, true)
	done(v.Unlink(to, "f"))
	done(v.Unlink(to, "g"))
	differs(first, store.Live, false)
}
