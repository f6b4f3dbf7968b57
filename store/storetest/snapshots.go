package storetest

import (
	"bytes"
	"slices"
	"sync"

	"gabion/store"
)

func testSnapshotStable(k *kit) {
	d := k.mkdir(k.root, "d")
	f, g := k.create(d, "f", store.Init{FileAttributes: 0x20, Times: times(1)}), k.file(d, "g")
	s := k.data(f)
	p := pattern(1, 200<<10)
	k.write(s, p, 0)
	k.write(k.stream(f, "n"), []byte("named"), 0)
	_, err := f.Update(store.Change{Blobs: map[store.BlobKind][]byte{store.BlobSecurity: []byte("sd1")}})
	k.ok(err)
	before := k.attr(f)
	v := k.snap("s1")

	// Change everything there is.
	k.write(s, pattern(2, 50000), 3333)
	_, err = s.SetSize(100<<10, store.Touch{LastWrite: 9, Change: 9, SetAttributes: 2})
	k.ok(err)
	_, err = f.Update(store.Change{Blobs: map[store.BlobKind][]byte{store.BlobSecurity: []byte("sd2")}})
	k.ok(err)
	_, err = f.RemoveStream("n")
	k.ok(err)
	_, err = k.v.Rename(d, "f", k.root, "moved", false)
	k.ok(err)
	_, err = k.v.Unlink(d, "g")
	k.ok(err)
	k.file(d, "new")
	k.ok(k.v.Sync())

	old, err := k.v.Root(v)
	k.ok(err)
	defer old.Close()
	k.listed(old, "d")
	od, _, err := k.v.Open(old, "D")
	k.ok(err)
	defer od.Close()
	k.listed(od, "f", "g")
	of, e, err := k.v.Open(od, "f")
	k.ok(err)
	defer of.Close()
	if of.View() != v || of.ID() != f.ID() || e.Attr != before || k.attr(of) != before {
		k.Errorf("view %d id %d\nentry %+v\nattr  %+v\nwant  %+v", of.View(), of.ID(), e.Attr, k.attr(of), before)
	}
	k.holds(k.data(of), p)
	n, err := of.Stream("n")
	k.ok(err)
	defer n.Close()
	k.holds(n, []byte("named"))
	if b, _ := of.Blob(store.BlobSecurity); string(b) != "sd1" {
		k.Errorf("security %q", b)
	}
	ns, err := of.Names()
	k.ok(err)
	if !slices.Equal(ns, []store.LinkName{{Parent: d.ID(), Name: "f"}}) {
		k.Errorf("names %v", ns)
	}
	k.in(v, g.ID())

	// And a second snapshot sees the second state, the first still the first.
	v2 := k.snap("s2")
	k.write(s, pattern(3, 100<<10), 0)
	want := append(append(bytes.Clone(p[:3333]), pattern(2, 50000)...), p[53333:100<<10]...)
	k.holds(k.data(k.in(v2, f.ID())), want)
	k.holds(k.data(k.in(v, f.ID())), p)
	k.holds(s, pattern(3, 100<<10))
}

func testSnapshotReadOnly(k *kit) {
	f := k.file(k.root, "f")
	k.write(k.data(f), []byte("x"), 0)
	k.stream(f, "n")
	v := k.snap("s")
	root, n := k.in(v, store.RootID), k.in(v, f.ID())
	s := k.data(n)
	for what, call := range map[string]func() error{
		"Create":        func() error { _, _, err := k.v.Create(root, "x", store.Init{}); return err },
		"Link":          func() error { _, err := k.v.Link(f, root, "x", false); return err },
		"Link of":       func() error { _, err := k.v.Link(n, k.root, "x", false); return err },
		"Rename":        func() error { _, err := k.v.Rename(root, "f", root, "x", false); return err },
		"Rename into":   func() error { _, err := k.v.Rename(k.root, "f", root, "x", false); return err },
		"Unlink":        func() error { _, err := k.v.Unlink(root, "f"); return err },
		"Update":        func() error { _, err := n.Update(store.Change{Times: times(1)}); return err },
		"CreateStream":  func() error { _, _, err := n.CreateStream("m"); return err },
		"RemoveStream":  func() error { _, err := n.RemoveStream("n"); return err },
		"RenameStream":  func() error { _, err := n.RenameStream("n", "m", false); return err },
		"WriteAt":       func() error { _, err := s.WriteAt([]byte("y"), 0, store.Touch{}); return err },
		"Zero":          func() error { _, err := s.Zero(0, 1, store.Touch{}); return err },
		"SetSize":       func() error { _, err := s.SetSize(0, store.Touch{}); return err },
		"SetAllocation": func() error { _, err := s.SetAllocation(0, store.Touch{}); return err },
		"SetValidData":  func() error { _, err := s.SetValidData(1, store.Touch{}); return err },
		"CloneFrom":     func() error { _, err := s.CloneFrom(0, s, 0, 1, store.Touch{}); return err },
	} {
		err := call()
		if k.fails(err, store.ErrReadOnly); err == nil {
			k.Errorf("%s", what)
		}
	}
	k.holds(s, []byte("x"))
}

func testSnapshotNames(k *kit) {
	sn := k.v.Snapshots()
	v := k.snap("daily")
	_, _, err := sn.Create("daily", []store.FileID{store.RootID})
	k.fails(err, store.ErrExist)
	_, _, err = sn.Create("none", nil)
	k.fails(err, store.ErrInvalid)
	_, _, err = sn.Create("absent", []store.FileID{1 << 60})
	k.fails(err, store.ErrNotFound)
	_, err = sn.Find("absent")
	k.fails(err, store.ErrNotFound)
	got, err := sn.Find("daily")
	k.ok(err)
	if got.View != v || got.Name != "daily" || got.Taken == 0 || !slices.Equal(got.Scope, []store.FileID{store.RootID}) {
		k.Errorf("found %+v", got)
	}
	_, err = sn.Delete(v)
	k.ok(err)
	_, err = sn.Delete(v)
	k.fails(err, store.ErrNotFound)
	if again := k.snap("daily"); again == v {
		k.Error("a view is used twice")
	}
}

func testSnapshotScope(k *kit) {
	a, b := k.mkdir(k.root, "a"), k.mkdir(k.root, "b")
	fa, fb, g := k.file(a, "f"), k.file(b, "f"), k.file(k.root, "g")
	for i, n := range []store.Node{fa, fb, g} {
		k.write(k.data(n), pattern(uint64(i), 10000), 0)
	}
	v := k.snap("some", a.ID(), g.ID())
	for i, n := range []store.Node{fa, fb, g} {
		k.write(k.data(n), pattern(uint64(i+10), 10000), 0)
	}
	k.holds(k.data(k.in(v, fa.ID())), pattern(0, 10000))
	k.holds(k.data(k.in(v, g.ID())), pattern(2, 10000))
	k.listed(k.in(v, a.ID()), "f")
	_, err := k.v.OpenID(v, fb.ID())
	k.fails(err, store.ErrNotFound)
	_, err = k.v.Root(v)
	k.fails(err, store.ErrNotFound)

	// A directory moved out of the scope stays in the snapshot.
	_, err = k.v.Rename(k.root, "a", b, "a", false)
	k.ok(err)
	k.listed(k.in(v, a.ID()), "f")
	k.holds(k.data(k.in(v, fa.ID())), pattern(0, 10000))
	k.holds(k.data(fa), pattern(10, 10000))
}

func testSnapshotList(k *kit) {
	list := func(id store.FileID) (names []string) {
		k.Helper()
		ss, err := k.v.Snapshots().List(id)
		k.ok(err)
		for _, s := range ss {
			names = append(names, s.Name)
		}
		return names
	}
	if got := list(store.RootID); len(got) != 0 {
		k.Errorf("new volume has snapshots %q", got)
	}
	d, e := k.mkdir(k.root, "d"), k.mkdir(k.root, "e")
	f := k.file(d, "f")
	k.snap("zebra")
	v := k.snap("only d", d.ID())
	k.snap("only e", e.ID())
	k.snap("ant")
	for _, c := range []struct {
		id   store.FileID
		want []string
	}{
		{store.RootID, []string{"zebra", "only d", "only e", "ant"}},
		{d.ID(), []string{"zebra", "only d", "ant"}},
		{f.ID(), []string{"zebra", "only d", "ant"}},
		{e.ID(), []string{"zebra", "only e", "ant"}},
	} {
		if got := list(c.id); !slices.Equal(got, c.want) {
			k.Errorf("snapshots of %d: %q, want %q", c.id, got, c.want)
		}
	}
	_, err := k.v.Snapshots().Delete(v)
	k.ok(err)
	if got := list(f.ID()); !slices.Equal(got, []string{"zebra", "ant"}) {
		k.Errorf("after delete: %q", got)
	}
}

// Deleting snapshots out of order leaves the others and the file as they are.
func testSnapshotDelete(k *kit) {
	const snaps = 12
	n := k.file(k.root, "f")
	s := k.data(n)
	want := pattern(0, 40*block)
	k.write(s, want, 0)
	var views []store.View
	var states [][]byte
	for i := range snaps {
		views = append(views, k.snap(string(rune('a'+i))))
		states = append(states, bytes.Clone(want))
		for j := range 3 {
			at := (i*7 + j*11) % 39 * block
			k.write(s, pattern(uint64(i*3+j), block+100), int64(at))
			copy(want[at:], pattern(uint64(i*3+j), block+100))
		}
	}
	for _, i := range []int{5, 0, 11, 6, 4, 1, 10} {
		_, err := k.v.Snapshots().Delete(views[i])
		k.ok(err)
		states[i] = nil
		_, err = k.v.OpenID(views[i], n.ID())
		k.fails(err, store.ErrNotFound)
		for j, st := range states {
			if st != nil {
				k.holds(k.data(k.in(views[j], n.ID())), st)
			}
		}
		k.holds(s, want)
	}
}

func (k *kit) diff(id store.FileID, stream string, a, b store.View) []store.Range {
	k.Helper()
	var rs []store.Range
	k.ok(k.v.Snapshots().Diff(id, stream, a, b, func(r store.Range) bool {
		rs = append(rs, r)
		return true
	}))
	k.inOrder(rs)
	return rs
}

func testDiff(k *kit) {
	n := k.file(k.root, "f")
	s := k.data(n)
	k.write(s, pattern(1, 8<<20), 0)
	v1 := k.snap("1")
	if rs := k.diff(n.ID(), "", v1, store.Live); len(rs) != 0 {
		k.Errorf("unchanged file differs in %v", rs)
	}
	k.write(s, pattern(2, 10), 1<<20)
	k.write(s, pattern(3, 5000), 5<<20)
	v2 := k.snap("2")
	_, err := s.Zero(3<<20, 64<<10, store.Touch{})
	k.ok(err)
	_, err = s.SetSize(9<<20, store.Touch{})
	k.ok(err)
	k.write(s, []byte("end"), 9<<20-3)

	check := func(a, b store.View, limit int64, want ...store.Range) {
		k.Helper()
		for _, rs := range [][]store.Range{k.diff(n.ID(), "", a, b), k.diff(n.ID(), "", b, a)} {
			for _, w := range want {
				if !covers(rs, w.Off, w.Off+w.Len) {
					k.Errorf("%v lacks %v", rs, w)
				}
			}
			if total(rs) > limit {
				k.Errorf("%v: more than %d bytes", rs, limit)
			}
		}
	}
	first := []store.Range{{Off: 1 << 20, Len: 10}, {Off: 5 << 20, Len: 5000}}
	second := []store.Range{{Off: 3 << 20, Len: 64 << 10}, {Off: 9<<20 - 3, Len: 3}}
	check(v1, v2, 256<<10, first...)
	check(v2, store.Live, 256<<10+1<<20, second...)
	check(v1, store.Live, 512<<10+1<<20, append(first, second...)...)

	calls := 0
	k.ok(k.v.Snapshots().Diff(n.ID(), "", v1, store.Live, func(store.Range) bool { calls++; return false }))
	if calls != 1 {
		k.Errorf("%d calls after false", calls)
	}
	k.fails(k.v.Snapshots().Diff(1<<60, "", v1, v2, nil), store.ErrNotFound)
	k.fails(k.v.Snapshots().Diff(n.ID(), "absent", v1, v2, nil), store.ErrNotFound)
}

func testRestore(k *kit) {
	n, other := k.file(k.root, "f"), k.file(k.root, "other")
	s := k.data(n)
	p := pattern(1, 1<<20+5)
	k.write(s, p, 0)
	k.write(k.data(other), []byte("old"), 0)
	v := k.snap("s")
	k.write(s, pattern(2, 300<<10), 12345)
	k.write(s, pattern(3, 100), 5<<20)
	k.write(k.data(other), []byte("new"), 0)
	after := k.snap("after")
	sizeAfter := s.Sizes().Size

	pos, err := k.v.Snapshots().Restore([]store.FileID{n.ID()}, v)
	k.ok(err)
	k.ok(k.v.Wait(pos))
	k.holds(s, p)
	k.holds(k.data(other), []byte("new"))
	if z := s.Sizes(); z.ValidData != int64(len(p)) {
		k.Errorf("sizes %+v", z)
	}
	// Neither snapshot moved, and one can go forth again.
	k.holds(k.data(k.in(v, n.ID())), p)
	if got := k.data(k.in(after, n.ID())).Sizes().Size; got != sizeAfter {
		k.Errorf("later snapshot has size %d, want %d", got, sizeAfter)
	}
	k.write(s, []byte("and on"), 0)
	k.holds(s, append([]byte("and on"), p[6:]...))
	k.holds(k.data(k.in(v, n.ID())), p)
	_, err = k.v.Snapshots().Restore([]store.FileID{n.ID()}, after)
	k.ok(err)
	if got := k.read(s, 12345, 300<<10); !bytes.Equal(got, pattern(2, 300<<10)) {
		k.Error("restore forward lost the change")
	}

	fresh := k.file(k.root, "fresh")
	_, err = k.v.Snapshots().Restore([]store.FileID{fresh.ID()}, v)
	k.fails(err, store.ErrNotFound)
	_, err = k.v.Snapshots().Restore([]store.FileID{n.ID()}, 1<<60)
	k.fails(err, store.ErrNotFound)
}

func testRestoreStreams(k *kit) {
	n := k.file(k.root, "f")
	kept, gone := k.stream(n, "kept"), k.stream(n, "gone")
	k.write(kept, []byte("kept"), 0)
	k.write(gone, []byte("gone"), 0)
	v := k.snap("s")
	k.write(kept, []byte("changed"), 0)
	_, err := n.RemoveStream("gone")
	k.ok(err)
	k.stream(n, "later")
	_, err = k.v.Snapshots().Restore([]store.FileID{n.ID()}, v)
	k.ok(err)
	if got := k.streamNames(n); got != "gone kept" {
		k.Errorf("streams %q", got)
	}
	k.holds(kept, []byte("kept"))
	back, err := n.Stream("gone")
	k.ok(err)
	defer back.Close()
	k.holds(back, []byte("gone"))
}

// A snapshot holds every write acknowledged before it, of every stream, and one
// instant: each writer writes the same number to its two files in turn.
func testSnapshotUnderLoad(k *kit) {
	const writers, rounds = 4, 60
	var files [writers][2]store.Stream
	var ids [writers][2]store.FileID
	var acked [writers]byte
	var mu sync.Mutex // guards acked
	for w := range writers {
		for i := range 2 {
			n := k.file(k.root, string(rune('a'+w))+string(rune('0'+i)))
			ids[w][i], files[w][i] = n.ID(), k.data(n)
			k.write(files[w][i], make([]byte, 2*block), 0)
		}
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for r := range rounds {
				for i := range 2 {
					if _, err := files[w][i].WriteAt(bytes.Repeat([]byte{byte(r + 1)}, 2*block), 0, store.Touch{}); err != nil {
						k.Error(err)
						return
					}
				}
				mu.Lock()
				acked[w] = byte(r + 1)
				mu.Unlock()
			}
		})
	}
	for i := range 10 {
		mu.Lock()
		least := acked
		mu.Unlock()
		v := k.snap("s" + string(rune('0'+i)))
		for w := range writers {
			a, b := k.read(k.data(k.in(v, ids[w][0])), 0, 2*block), k.read(k.data(k.in(v, ids[w][1])), 0, 2*block)
			if bytes.Count(a, a[:1]) != len(a) || bytes.Count(b, b[:1]) != len(b) {
				k.Error("a snapshot split a write")
			}
			if b[0] < least[w] || a[0] != b[0] && a[0] != b[0]+1 {
				k.Errorf("snapshot shows rounds %d and %d, round %d was acknowledged", a[0], b[0], least[w])
			}
		}
	}
	wg.Wait()
}
