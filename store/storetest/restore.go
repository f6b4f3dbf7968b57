package storetest

import (
	"bytes"
	"slices"
	"sync"

	"gabion/store"
)

// A set of files goes back as one, or not at all.
func testRestoreSet(k *kit) {
	d := k.mkdir(k.root, "vm")
	a, b := k.file(d, "a.vhdx"), k.file(d, "b.vhdx")
	k.write(k.data(a), pattern(1, 3<<20), 0)
	k.write(k.data(b), pattern(2, 100<<10), 0)
	k.write(k.stream(a, "state"), pattern(3, 9000), 0)
	k.write(k.stream(d, "of the folder"), []byte("old"), 0)
	v := k.snap("s")
	set := []store.FileID{b.ID(), a.ID(), d.ID(), a.ID()}
	late := k.file(d, "late")
	k.write(k.data(a), pattern(4, 2<<20), 1<<20)
	k.write(k.data(b), pattern(5, 200<<10), 50<<10)
	_, err := a.RemoveStream("state")
	k.ok(err)
	k.write(k.stream(a, "other"), []byte("new"), 0)
	folder, err := d.Stream("of the folder")
	k.ok(err)
	defer folder.Close()
	k.write(folder, []byte("newer"), 0)

	_, err = k.v.Snapshots().Restore(append(slices.Clone(set), late.ID()), v)
	k.fails(err, store.ErrNotFound)
	_, err = k.v.Snapshots().Restore(nil, v)
	k.fails(err, store.ErrInvalid)
	_, err = k.v.Snapshots().Restore(set, store.Live)
	k.fails(err, store.ErrInvalid)
	k.holds(folder, []byte("newer"))
	if got := k.streamNames(a); got != "other" {
		k.Errorf("streams %q after a restore that failed", got)
	}

	pos, err := k.v.Snapshots().Restore(set, v)
	k.ok(err)
	k.ok(k.v.Wait(pos))
	k.holds(k.data(a), pattern(1, 3<<20))
	k.holds(k.data(b), pattern(2, 100<<10))
	k.holds(folder, []byte("old"))
	if got := k.streamNames(a); got != "state" {
		k.Errorf("streams %q", got)
	}
	state, err := a.Stream("state")
	k.ok(err)
	defer state.Close()
	k.holds(state, pattern(3, 9000))
}

// Files take the data of others as one, or none does; what else they have stays.
func testReplace(k *kit) {
	d := k.mkdir(k.root, "vms")
	a, b := k.file(d, "a"), k.file(d, "b")
	x, y := k.file(d, "x"), k.file(d, "y")
	big := pattern(1, 20<<20+5000) // many chunks
	k.write(k.data(a), big, 0)
	k.write(k.data(b), pattern(2, 3000), 0)
	k.write(k.data(x), pattern(3, 100<<10), 0)
	k.write(k.data(y), pattern(4, 21<<20), 0)
	k.write(k.stream(y, "own"), []byte("stays"), 0)
	v := k.snap("s")
	late := k.file(d, "late")
	k.write(k.data(a), pattern(5, 1<<20), 0)

	for _, c := range []struct {
		want error
		list []store.Replacement
		view store.View
	}{
		{store.ErrInvalid, nil, v},
		{store.ErrInvalid, []store.Replacement{{To: x.ID(), From: a.ID()}}, store.Live},
		{store.ErrInvalid, []store.Replacement{{To: x.ID(), From: a.ID()}, {To: x.ID(), From: b.ID()}}, v},
		{store.ErrIsDir, []store.Replacement{{To: x.ID(), From: a.ID()}, {To: d.ID(), From: b.ID()}}, v},
		{store.ErrIsDir, []store.Replacement{{To: x.ID(), From: a.ID()}, {To: y.ID(), From: d.ID()}}, v},
		{store.ErrNotFound, []store.Replacement{{To: x.ID(), From: a.ID()}, {To: y.ID(), From: late.ID()}}, v},
		{store.ErrNotFound, []store.Replacement{{To: x.ID(), From: a.ID()}, {To: 1 << 50, From: b.ID()}}, v},
	} {
		_, err := k.v.Snapshots().Replace(c.list, c.view)
		k.fails(err, c.want)
	}
	k.holds(k.data(x), pattern(3, 100<<10))
	attr := k.attr(y)

	pos, err := k.v.Snapshots().Replace([]store.Replacement{{To: y.ID(), From: b.ID()}, {To: x.ID(), From: a.ID()}, {To: late.ID(), From: y.ID()}}, v)
	k.ok(err)
	k.ok(k.v.Wait(pos))
	k.holds(k.data(x), big)
	k.holds(k.data(y), pattern(2, 3000))
	k.holds(k.data(late), pattern(4, 21<<20))
	own, err := y.Stream("own")
	k.ok(err)
	defer own.Close()
	k.holds(own, []byte("stays"))
	if now := k.attr(y); now.LastWriteTime != attr.LastWriteTime || now.FileAttributes != attr.FileAttributes || now.Size != 3000 {
		k.Errorf("%+v became %+v", attr, now)
	}
	// They are themselves from here on.
	k.write(k.data(x), []byte("x"), 4096)
	copy(big[4096:], "x")
	k.holds(k.data(x), big)
	k.holds(k.data(k.in(v, a.ID())), pattern(1, 20<<20+5000))
	pos, err = k.v.Snapshots().Replace([]store.Replacement{{To: a.ID(), From: a.ID()}, {To: x.ID(), From: x.ID()}}, v)
	k.ok(err)
	k.ok(k.v.Wait(pos))
	k.holds(k.data(a), pattern(1, 20<<20+5000))
	k.holds(k.data(x), pattern(3, 100<<10))
}

// A snapshot shows a restore whole or not at all, and no write that came after it is lost.
func testRestoreUnderLoad(k *kit) {
	const files, size = 4, 1 << 20
	var ids []store.FileID
	var data []store.Stream
	for i := range files {
		n := k.file(k.root, string(rune('a'+i)))
		ids, data = append(ids, n.ID()), append(data, k.data(n))
		k.write(data[i], bytes.Repeat([]byte{1}, size), 0)
	}
	old := k.snap("old")
	for i := range files {
		k.write(data[i], bytes.Repeat([]byte{2}, size), 0)
	}
	other := k.file(k.root, "other")
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			s, _, err := other.CreateStream("x")
			if err == nil {
				_, err = s.WriteAt(pattern(uint64(i), 5000), 0, store.Touch{})
				s.Close()
			}
			if err == nil {
				_, err = other.RemoveStream("x")
			}
			if err != nil {
				k.Error(err)
				return
			}
		}
	})
	wg.Go(func() {
		defer close(stop)
		_, err := k.v.Snapshots().Restore(ids, old)
		if err == nil {
			_, err = data[0].WriteAt([]byte{3}, 0, store.Touch{})
		}
		if err != nil {
			k.Error(err)
		}
	})
	for i := range 20 {
		v := k.snap("during" + string(rune('a'+i)))
		var seen []byte
		for j := range files {
			p := k.read(k.data(k.in(v, ids[j])), block, size-block)
			if bytes.Count(p, p[:1]) != len(p) {
				k.Errorf("file %d is restored in part", j)
			}
			seen = append(seen, p[0])
		}
		if bytes.Count(seen, seen[:1]) != files {
			k.Errorf("files show %v", seen)
		}
	}
	wg.Wait()
	for i := range files {
		want := bytes.Repeat([]byte{1}, size)
		if i == 0 {
			want[0] = 3
		}
		k.holds(data[i], want)
	}
}

func testChanged(k *kit) {
	d, e := k.mkdir(k.root, "d"), k.mkdir(k.root, "e")
	same, f, gone, renamed := k.file(d, "same"), k.file(d, "f"), k.file(d, "gone"), k.file(d, "renamed")
	for i, n := range []store.Node{same, f, gone, renamed} {
		k.write(k.data(n), pattern(uint64(i), 10000), 0)
	}
	check := func(a, b store.View, want ...store.Node) {
		k.Helper()
		for _, v := range [][2]store.View{{a, b}, {b, a}} {
			var got []store.FileID
			k.ok(k.v.Snapshots().Changed(v[0], v[1], func(id store.FileID) bool { got = append(got, id); return true }))
			if !slices.IsSorted(got) {
				k.Errorf("changed files %v are out of order", got)
			}
			if slices.Contains(got, same.ID()) {
				k.Errorf("changed %v, with the one that is the same", got)
			}
			for _, n := range want {
				if !slices.Contains(got, n.ID()) {
					k.Errorf("changed %v, without %d", got, n.ID())
				}
			}
		}
	}
	v1 := k.snap("1")
	check(v1, store.Live)
	k.write(k.data(f), []byte("x"), 5000)
	_, err := k.v.Unlink(d, "gone")
	k.ok(err)
	born := k.file(e, "born")
	v2 := k.snap("2")
	_, err = k.v.Rename(d, "renamed", e, "moved", false)
	k.ok(err)
	empty := k.mkdir(k.root, "empty")
	check(v1, v2, f, gone, born, e, d)
	check(v2, store.Live, renamed, d, e, empty, k.root)
	check(v1, store.Live, f, gone, born, d, e, renamed, empty, k.root)
	k.snap("3")
	_, err = k.v.Snapshots().Delete(v2)
	k.ok(err)
	check(v1, store.Live, f, gone, born, d, e, renamed, empty, k.root)

	calls := 0
	k.ok(k.v.Snapshots().Changed(v1, store.Live, func(store.FileID) bool { calls++; return false }))
	if calls != 1 {
		k.Errorf("%d calls after false", calls)
	}
	k.fails(k.v.Snapshots().Changed(v1, v2, nil), store.ErrNotFound)
}
