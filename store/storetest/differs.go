package storetest

import (
	"bytes"

	"gabion/store"
)

// testDiffers: outside of the ranges that are told, two streams hold the same, and what shares its
// blocks is not told.
func testDiffers(k *kit) {
	const n = 3 << 20
	f, g := k.file(k.root, "f"), k.file(k.root, "g")
	s, d := k.data(f), k.data(g)
	k.write(s, pattern(1, n), 0)
	v := k.snap("s")
	old := k.data(k.in(v, f.ID()))
	_, err := d.CloneFrom(0, old, 0, n, store.Touch{})
	k.ok(err)
	ranges := func(x, y store.Stream) (list []store.Range) {
		k.ok(x.DiffersFrom(y, func(r store.Range) bool {
			if l := len(list); r.Len <= 0 || l > 0 && list[l-1].Off+list[l-1].Len > r.Off {
				k.Errorf("range %v behind %v", r, list)
			}
			list = append(list, r)
			return true
		}))
		return list
	}
	for what, list := range map[string][]store.Range{"live": ranges(s, old), "clone": ranges(d, old), "both": ranges(s, d), "itself": ranges(s, s)} {
		if len(list) > 0 {
			k.Errorf("%s differs in %v", what, list)
		}
	}
	k.write(d, pattern(2, 100), 5000)
	k.write(d, pattern(3, 4096), 1<<20)
	k.write(s, pattern(4, 10), 2<<20)
	_, err = d.SetSize(n+5000, store.Touch{})
	k.ok(err)
	total := int64(0)
	list := ranges(d, s)
	for _, r := range list {
		total += r.Len
	}
	if total > 4*4096+5000 {
		k.Errorf("too much: %v", list)
	}
	x, y := make([]byte, n+5000), make([]byte, n+5000)
	_, err = d.ReadAt(x, 0)
	k.ok(err)
	_, _ = s.ReadAt(y, 0)
	for _, r := range list {
		copy(x[r.Off:r.Off+r.Len], y[r.Off:])
	}
	if !bytes.Equal(x, y) {
		k.Errorf("a difference is missing in %v", list)
	}
	calls := 0
	k.ok(d.DiffersFrom(s, func(store.Range) bool { calls++; return false }))
	if calls != 1 {
		k.Errorf("%d calls after false", calls)
	}
}

// testVersions: of the snapshots of a file those count that differ from what came after, and no
// two have the same second.
func testVersions(k *kit) {
	d := k.mkdir(k.root, "d")
	f, g := k.file(d, "f"), k.file(d, "g")
	s := k.data(f)
	k.write(s, pattern(1, 500<<10), 0)
	k.snap("a")
	k.write(k.data(g), pattern(2, 10), 0)
	k.snap("b")
	k.write(s, pattern(3, 10), 300<<10)
	k.snap("c", d.ID())
	k.snap("d", g.ID())
	_, err := f.Update(store.Change{Blobs: map[store.BlobKind][]byte{store.BlobSecurity: []byte("x")}})
	k.ok(err)
	k.snap("e", f.ID())
	k.write(k.stream(f, "n"), []byte("y"), 0)
	k.snap("f")
	k.snap("g")
	is := func(want string) {
		list, err := k.v.Snapshots().Versions(f.ID())
		k.ok(err)
		got := ""
		for _, s := range list {
			got += s.Name
		}
		if got != want {
			k.Errorf("versions %q, want %q", got, want)
		}
	}
	is("bce")
	_, err = s.CloneFrom(0, k.data(g), 0, 10, store.Touch{})
	if err == nil {
		k.Errorf("a clone of ten bytes into the middle")
	}
	_, err = s.Zero(0, 400<<10, store.Touch{})
	k.ok(err)
	is("bceg")
	c, err := k.v.Snapshots().Find("c")
	k.ok(err)
	_, err = k.v.Snapshots().Delete(c.View)
	k.ok(err)
	is("beg")
	all, err := k.v.Snapshots().List(store.RootID)
	k.ok(err)
	for i := 1; i < len(all); i++ {
		if all[i].Taken/1e7 <= all[i-1].Taken/1e7 {
			k.Errorf("%q and %q are of the same second", all[i-1].Name, all[i].Name)
		}
	}
}
