package storetest

import (
	"bytes"
	"strings"

	"gabion/store"
)

func testBirth(k *kit) {
	sd := []byte(strings.Repeat("security", 200))
	n := k.create(k.root, "f", store.Init{
		FileAttributes: 0x20 | 0x2, Times: times(3), EASize: 17, Allocation: 100000,
		Blobs: map[store.BlobKind][]byte{store.BlobSecurity: sd, store.BlobEA: []byte("ea")},
	})
	a := k.attr(n)
	want := store.Attr{ID: n.ID(), FileAttributes: 0x22, CreationTime: times(3).Creation, LastAccessTime: times(3).LastAccess,
		LastWriteTime: times(3).LastWrite, ChangeTime: times(3).Change, Links: 1, EASize: 17, Sizes: a.Sizes}
	if a != want {
		k.Errorf("got  %+v\nwant %+v", a, want)
	}
	if a.Size != 0 || a.ValidData != 0 || a.Allocated < 100000 {
		k.Errorf("sizes %+v", a.Sizes)
	}
	b, err := n.Blob(store.BlobSecurity)
	k.ok(err)
	if !bytes.Equal(b, sd) {
		k.Errorf("security %q", b)
	}
	if b, err = n.Blob(store.BlobReparse); err != nil || b != nil {
		k.Errorf("absent blob is %q, %v", b, err)
	}
	d := k.create(k.root, "d", store.Init{Dir: true, FileAttributes: 0x10000})
	if a := k.attr(d); !a.Dir || a.Size != 0 || a.FileAttributes != 0x10000 {
		k.Errorf("directory %+v", a)
	}
}

func testUpdate(k *kit) {
	n := k.create(k.root, "f", store.Init{FileAttributes: 0x20, Times: times(1)})
	other := k.in(store.Live, n.ID())
	before := k.attr(n)
	_, err := n.Update(store.Change{})
	k.ok(err)
	if a := k.attr(n); a != before {
		k.Errorf("an empty change made %+v of %+v", a, before)
	}
	fa, ea, tag := uint32(0x1), uint32(99), uint32(0xA0000003)
	_, err = n.Update(store.Change{FileAttributes: &fa, EASize: &ea, ReparseTag: &tag,
		Times: store.Times{LastWrite: 5, Change: 6}, Blobs: map[store.BlobKind][]byte{store.BlobReparse: []byte("rp")}})
	k.ok(err)
	want := before
	want.FileAttributes, want.EASize, want.ReparseTag, want.LastWriteTime, want.ChangeTime = fa, ea, tag, 5, 6
	if a := k.attr(other); a != want {
		k.Errorf("got  %+v\nwant %+v", a, want)
	}
	zero := uint32(0)
	_, err = n.Update(store.Change{FileAttributes: &zero, ReparseTag: &zero, EASize: &zero})
	k.ok(err)
	if a := k.attr(n); a.FileAttributes != 0 || a.ReparseTag != 0 || a.EASize != 0 || a.ChangeTime != 6 {
		k.Errorf("cleared: %+v", a)
	}
	_, err = k.root.Update(store.Change{Times: store.Times{LastWrite: 77}})
	k.ok(err)
	if a := k.attr(k.root); a.LastWriteTime != 77 {
		k.Errorf("root %+v", a)
	}
}

func testBlobs(k *kit) {
	n := k.file(k.root, "f")
	kinds := []store.BlobKind{store.BlobSecurity, store.BlobEA, store.BlobReparse, store.BlobObjectID}
	for i, kind := range kinds {
		p := pattern(uint64(i), 100+60000*(i%2))
		_, err := n.Update(store.Change{Blobs: map[store.BlobKind][]byte{kind: p}})
		k.ok(err)
		p[0]++ // the store must have made its copy
	}
	for i, kind := range kinds {
		b, err := n.Blob(kind)
		k.ok(err)
		want := pattern(uint64(i), 100+60000*(i%2))
		if !bytes.Equal(b, want) {
			k.Fatalf("blob %d: %d bytes, want %d", kind, len(b), len(want))
		}
		b[0]++ // and hand one out
		if b, _ = n.Blob(kind); !bytes.Equal(b, want) {
			k.Errorf("blob %d is shared with the caller", kind)
		}
	}
	_, err := n.Update(store.Change{Blobs: map[store.BlobKind][]byte{store.BlobEA: {}}})
	k.ok(err)
	if b, err := n.Blob(store.BlobEA); err != nil || b != nil {
		k.Errorf("removed blob is %d bytes, %v", len(b), err)
	}
	if b, err := n.Blob(store.BlobSecurity); err != nil || b == nil {
		k.Errorf("other blob is %v, %v", b, err)
	}
}

// Every method that changes data carries the times.
func testTouch(k *kit) {
	n := k.create(k.root, "f", store.Init{Times: times(1), FileAttributes: 2})
	s, named, src := k.data(n), k.stream(n, "n"), k.data(k.file(k.root, "src"))
	k.write(src, pattern(1, 8192), 0)
	steps := map[string]func(store.Touch) (store.Pos, error){
		"WriteAt":       func(t store.Touch) (store.Pos, error) { return s.WriteAt(pattern(1, 8192), 0, t) },
		"Zero":          func(t store.Touch) (store.Pos, error) { return s.Zero(0, 100, t) },
		"SetSize":       func(t store.Touch) (store.Pos, error) { return s.SetSize(20000, t) },
		"SetValidData":  func(t store.Touch) (store.Pos, error) { return s.SetValidData(s.Sizes().Size, t) },
		"SetAllocation": func(t store.Touch) (store.Pos, error) { return s.SetAllocation(1<<20, t) },
		"CloneFrom":     func(t store.Touch) (store.Pos, error) { return s.CloneFrom(0, src, 0, 4096, t) },
		"named WriteAt": func(t store.Touch) (store.Pos, error) { return named.WriteAt([]byte("x"), 0, t) },
	}
	i := uint64(10)
	for name, step := range steps {
		i++
		at := times(i)
		before := k.attr(n)
		_, err := step(store.Touch{LastWrite: at.LastWrite, Change: at.Change, SetAttributes: 0x20})
		k.ok(err)
		a := k.attr(n)
		if a.LastWriteTime != at.LastWrite || a.ChangeTime != at.Change || a.FileAttributes != 0x22 ||
			a.CreationTime != before.CreationTime || a.LastAccessTime != before.LastAccessTime {
			k.Errorf("%s: %+v", name, a)
		}
		_, err = step(store.Touch{})
		k.ok(err)
		if b := k.attr(n); b.LastWriteTime != at.LastWrite || b.ChangeTime != at.Change {
			k.Errorf("%s without times: %+v", name, b)
		}
	}
}

// A listing shows the same as the node.
func testEntry(k *kit) {
	n := k.file(k.root, "f")
	s := k.data(n)
	check := func(what string) {
		k.Helper()
		want := k.attr(n)
		e, err := k.v.Lookup(k.root, "f")
		k.ok(err)
		if e.Attr != want {
			k.Errorf("%s: Lookup %+v\nAttr   %+v", what, e.Attr, want)
		}
		es, err := k.v.ReadDir(k.root, "", 10, nil)
		k.ok(err)
		if len(es) != 1 || es[0].Attr != want {
			k.Errorf("%s: ReadDir %+v\nAttr    %+v", what, es, want)
		}
	}
	check("new")
	k.write(s, pattern(1, 12345), 0)
	check("written")
	_, err := s.SetSize(1<<30, store.Touch{LastWrite: 9})
	k.ok(err)
	check("extended")
	fa := uint32(0x200)
	_, err = n.Update(store.Change{FileAttributes: &fa})
	k.ok(err)
	check("sparse")
	_, err = s.SetSize(1, store.Touch{})
	k.ok(err)
	check("truncated")
	k.ok(k.v.Sync())
	check("synced")
}
