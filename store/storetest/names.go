package storetest

import (
	"fmt"
	"slices"
	"strings"

	"gabion/store"
)

func testLookup(k *kit) {
	_, err := k.v.Lookup(k.root, "absent")
	k.fails(err, store.ErrNotFound)
	_, _, err = k.v.Open(k.root, "absent")
	k.fails(err, store.ErrNotFound)

	d := k.mkdir(k.root, "Dir")
	f := k.file(d, "File.vhdx")
	e, err := k.v.Lookup(d, "File.vhdx")
	k.ok(err)
	if e.ID != f.ID() || e.Dir || e.Name != "File.vhdx" {
		k.Errorf("entry %+v", e)
	}
	n, e2, err := k.v.Open(k.root, "Dir")
	k.ok(err)
	defer n.Close()
	if n.ID() != d.ID() || !n.IsDir() || !e2.Dir || e2.ID != d.ID() {
		k.Errorf("opened %d dir %v, entry %+v", n.ID(), n.IsDir(), e2)
	}
	byID := k.in(store.Live, f.ID())
	ns, err := byID.Names()
	k.ok(err)
	if !slices.Equal(ns, []store.LinkName{{Parent: d.ID(), Name: "File.vhdx"}}) {
		k.Errorf("names %v", ns)
	}
}

func testCase(k *kit) {
	f := k.file(k.root, "Grüße Ωmega.TXT")
	for _, name := range []string{"grüße ωmega.txt", "GRÜßE ΩMEGA.TXT", "Grüße Ωmega.TXT"} {
		e, err := k.v.Lookup(k.root, name)
		k.ok(err)
		if e.ID != f.ID() || e.Name != "Grüße Ωmega.TXT" {
			k.Errorf("%q found %d %q", name, e.ID, e.Name)
		}
		_, _, err = k.v.Create(k.root, name, store.Init{})
		k.fails(err, store.ErrExist)
	}
	// ß has no simple upper-case form, so these are two names.
	k.file(k.root, "GRÜSSE ΩMEGA.TXT")
	// An unpaired surrogate is a character like any other.
	a, b := k.file(k.root, "x\xed\xa0\x80y"), k.file(k.root, "x\xed\xb0\x80y")
	if a.ID() == b.ID() {
		k.Error("two surrogates are one name")
	}
	e, err := k.v.Lookup(k.root, "X\xed\xa0\x80Y")
	k.ok(err)
	if e.ID != a.ID() || e.Name != "x\xed\xa0\x80y" {
		k.Errorf("found %+v", e)
	}
}

func testInvalidNames(k *kit) {
	f := k.file(k.root, "f")
	for _, name := range []string{"", ".", "..", "a/b", "a\\b", "a\x00b", strings.Repeat("x", 256), strings.Repeat("😀", 128)} {
		_, _, err := k.v.Create(k.root, name, store.Init{})
		k.fails(err, store.ErrName)
		_, err = k.v.Link(f, k.root, name, false)
		k.fails(err, store.ErrName)
		_, err = k.v.Rename(k.root, "f", k.root, name, false)
		k.fails(err, store.ErrName)
	}
	for _, name := range []string{strings.Repeat("x", 255), strings.Repeat("😀", 127) + "x", strings.Repeat("ä", 255)} {
		k.file(k.root, name)
		e, err := k.v.Lookup(k.root, name)
		k.ok(err)
		if e.Name != name {
			k.Errorf("long name came back as %q", e.Name)
		}
	}
}

func testReadDir(k *kit) {
	d := k.mkdir(k.root, "d")
	k.listed(d)
	var want []string
	for i := range 300 {
		name := fmt.Sprintf("%s%03d", []string{"file", "FILE"}[i%2], i)
		k.file(d, name)
		want = append(want, name)
	}
	for _, max := range []int{1, 7, 100, 299, 300, 301} {
		if got := k.names(d, max); !slices.Equal(got, want) {
			k.Errorf("pages of %d: %d names, want %d", max, len(got), len(want))
		}
	}
	es, err := k.v.ReadDir(d, "file0995", 2, []store.Entry{{Name: "kept"}})
	k.ok(err)
	if len(es) != 3 || es[0].Name != "kept" || es[1].Name != "file100" || es[2].Name != "FILE101" {
		k.Errorf("after an absent name: %v", es)
	}
	// Entries of a subdirectory or of a neighbour do not show.
	k.file(k.mkdir(d, "sub"), "inner")
	k.listed(k.root, "d")
	if got := k.names(d, 1000); len(got) != 301 {
		k.Errorf("%d entries, want 301", len(got))
	}
}

func testRename(k *kit) {
	a, b := k.mkdir(k.root, "a"), k.mkdir(k.root, "b")
	f := k.file(a, "f")
	k.write(k.data(f), []byte("hello"), 0)

	_, err := k.v.Rename(a, "absent", b, "g", false)
	k.fails(err, store.ErrNotFound)
	_, err = k.v.Rename(a, "f", b, "G", false)
	k.ok(err)
	k.listed(a)
	k.listed(b, "G")
	ns, err := f.Names()
	k.ok(err)
	if !slices.Equal(ns, []store.LinkName{{Parent: b.ID(), Name: "G"}}) {
		k.Errorf("names %v", ns)
	}
	// A change of case only, without and with replace.
	_, err = k.v.Rename(b, "g", b, "g", false)
	k.ok(err)
	k.listed(b, "g")
	_, err = k.v.Rename(b, "g", b, "G", true)
	k.ok(err)
	k.listed(b, "G")
	if l := k.attr(f).Links; l != 1 {
		k.Errorf("%d links", l)
	}
	// A directory moves with what is in it.
	_, err = k.v.Rename(k.root, "b", a, "sub", false)
	k.ok(err)
	k.listed(k.root, "a")
	sub, _, err := k.v.Open(a, "sub")
	k.ok(err)
	defer sub.Close()
	k.listed(sub, "G")
	k.holds(k.data(f), []byte("hello"))
}

func testRenameReplace(k *kit) {
	f, g := k.file(k.root, "f"), k.file(k.root, "g")
	k.write(k.data(f), []byte("f"), 0)
	k.write(k.data(g), []byte("g"), 0)
	_, err := k.v.Rename(k.root, "f", k.root, "G", false)
	k.fails(err, store.ErrExist)
	k.listed(k.root, "f", "g")
	_, err = k.v.Rename(k.root, "f", k.root, "G", true)
	k.ok(err)
	k.listed(k.root, "G")
	e, err := k.v.Lookup(k.root, "g")
	k.ok(err)
	if e.ID != f.ID() {
		k.Error("the replaced file is still there")
	}
	if l := k.attr(g).Links; l != 0 {
		k.Errorf("replaced file has %d links", l)
	}
	k.holds(k.data(g), []byte("g")) // still open

	full, empty, moved := k.mkdir(k.root, "full"), k.mkdir(k.root, "empty"), k.mkdir(k.root, "moved")
	k.file(full, "x")
	k.file(moved, "y")
	_, err = k.v.Rename(k.root, "moved", k.root, "full", true)
	k.fails(err, store.ErrNotEmpty)
	_, err = k.v.Rename(k.root, "moved", k.root, "empty", true)
	k.ok(err)
	k.listed(k.root, "empty", "full", "G")
	_, _, err = k.v.Create(empty, "z", store.Init{})
	k.fails(err, store.ErrNotFound)
}

func testRenameBelowItself(k *kit) {
	a := k.mkdir(k.root, "a")
	b := k.mkdir(a, "b")
	c := k.mkdir(b, "c")
	for _, to := range []store.Node{a, b, c} {
		_, err := k.v.Rename(k.root, "a", to, "x", false)
		k.fails(err, store.ErrInvalid)
	}
	_, err := k.v.Rename(b, "c", k.root, "c", false)
	k.ok(err)
	_, err = k.v.Rename(k.root, "a", c, "a", false)
	k.ok(err)
	k.listed(k.root, "c")
	_, err = k.v.Rename(k.root, "c", b, "c", false)
	k.fails(err, store.ErrInvalid)
}

func testLink(k *kit) {
	d := k.mkdir(k.root, "d")
	f, g := k.file(k.root, "f"), k.file(k.root, "g")
	k.write(k.data(f), []byte("one"), 0)
	_, err := k.v.Link(f, d, "second", false)
	k.ok(err)
	if l := k.attr(f).Links; l != 2 {
		k.Errorf("%d links, want 2", l)
	}
	n, e, err := k.v.Open(d, "SECOND")
	k.ok(err)
	defer n.Close()
	if e.ID != f.ID() || e.Links != 2 {
		k.Errorf("entry %+v", e)
	}
	k.write(k.data(n), []byte("two"), 0)
	k.holds(k.data(f), []byte("two"))
	if ns, err := f.Names(); err != nil || len(ns) != 2 {
		k.Errorf("names %v, %v", ns, err)
	}

	_, err = k.v.Link(f, k.root, "G", false)
	k.fails(err, store.ErrExist)
	_, err = k.v.Link(f, k.root, "G", true)
	k.ok(err)
	if a, b := k.attr(f).Links, k.attr(g).Links; a != 3 || b != 0 {
		k.Errorf("links %d and %d, want 3 and 0", a, b)
	}
	_, err = k.v.Link(d, k.root, "dirlink", false)
	k.fails(err, store.ErrIsDir)
	_, err = k.v.Link(f, k.root, "d", true)
	k.fails(err, store.ErrIsDir)
	_, err = k.v.Link(g, k.root, "again", false)
	k.fails(err, store.ErrNotFound)

	for i, l := range []struct {
		dir  store.Node
		name string
	}{{k.root, "f"}, {d, "second"}, {k.root, "g"}} {
		if got := k.attr(f).Links; got != uint32(3-i) {
			k.Errorf("%d links, want %d", got, 3-i)
		}
		_, err := k.v.Unlink(l.dir, l.name)
		k.ok(err)
	}
	k.listed(k.root, "d")

	// A rename onto another link of the same file leaves one.
	h := k.file(k.root, "h")
	_, err = k.v.Link(h, k.root, "i", false)
	k.ok(err)
	_, err = k.v.Rename(k.root, "h", k.root, "i", true)
	k.ok(err)
	k.listed(k.root, "d", "i")
	if l := k.attr(h).Links; l != 1 {
		k.Errorf("%d links, want 1", l)
	}
}

func testUnlink(k *kit) {
	_, err := k.v.Unlink(k.root, "absent")
	k.fails(err, store.ErrNotFound)
	d := k.mkdir(k.root, "d")
	k.file(d, "f")
	_, err = k.v.Unlink(k.root, "d")
	k.fails(err, store.ErrNotEmpty)
	_, err = k.v.Unlink(d, "F")
	k.ok(err)
	_, err = k.v.Unlink(k.root, "D")
	k.ok(err)
	k.listed(k.root)
	_, err = k.v.Lookup(k.root, "d")
	k.fails(err, store.ErrNotFound)
}

func testOrphan(k *kit) {
	n, _, err := k.v.Create(k.root, "f", store.Init{Times: times(1), Blobs: map[store.BlobKind][]byte{store.BlobSecurity: []byte("sd")}})
	k.ok(err)
	s, err := n.Data()
	k.ok(err)
	named, _, err := n.CreateStream("n")
	k.ok(err)
	k.write(s, pattern(1, 10000), 0)
	_, err = k.v.Unlink(k.root, "f")
	k.ok(err)
	k.file(k.root, "f") // the name is free at once
	if a := k.attr(n); a.Links != 0 || a.Size != 10000 {
		k.Errorf("orphan %+v", a)
	}
	if ns, err := n.Names(); err != nil || len(ns) != 0 {
		k.Errorf("orphan has names %v, %v", ns, err)
	}
	k.holds(s, pattern(1, 10000))
	k.write(s, pattern(2, 10000), 5000)
	k.write(named, []byte("n"), 0)
	k.holds(s, append(pattern(1, 5000), pattern(2, 10000)...))
	k.holds(named, []byte("n"))
	b, err := n.Blob(store.BlobSecurity)
	k.ok(err)
	if string(b) != "sd" {
		k.Errorf("blob %q", b)
	}
	id := n.ID()
	named.Close()
	s.Close()
	n.Close()
	_, err = k.v.OpenID(store.Live, id)
	k.fails(err, store.ErrNotFound)
}

func testRemovedDirectory(k *kit) {
	d := k.mkdir(k.root, "d")
	f := k.file(k.root, "f")
	_, err := k.v.Unlink(k.root, "d")
	k.ok(err)
	_, _, err = k.v.Create(d, "x", store.Init{})
	k.fails(err, store.ErrNotFound)
	_, err = k.v.Link(f, d, "x", false)
	k.fails(err, store.ErrNotFound)
	_, err = k.v.Rename(k.root, "f", d, "x", false)
	k.fails(err, store.ErrNotFound)
	k.listed(d)
	k.listed(k.root, "f")
}

func testNotDir(k *kit) {
	f := k.file(k.root, "f")
	_, err := k.v.Lookup(f, "x")
	k.fails(err, store.ErrNotDir)
	_, _, err = k.v.Open(f, "x")
	k.fails(err, store.ErrNotDir)
	_, err = k.v.ReadDir(f, "", 10, nil)
	k.fails(err, store.ErrNotDir)
	_, _, err = k.v.Create(f, "x", store.Init{})
	k.fails(err, store.ErrNotDir)
	_, err = k.v.Unlink(f, "x")
	k.fails(err, store.ErrNotDir)
	_, err = k.v.Rename(k.root, "f", f, "x", false)
	k.fails(err, store.ErrNotDir)
	_, err = k.v.Link(f, f, "x", false)
	k.fails(err, store.ErrNotDir)
	_, err = k.root.Data()
	k.fails(err, store.ErrIsDir)
}

func testIDs(k *kit) {
	seen := map[store.FileID]bool{store.RootID: true}
	for i := range 50 {
		n, _, err := k.v.Create(k.root, "f", store.Init{Dir: i%3 == 0})
		k.ok(err)
		if seen[n.ID()] || n.ID() == 0 {
			k.Errorf("id %d is not new", n.ID())
		}
		seen[n.ID()] = true
		n.Close()
		_, err = k.v.Unlink(k.root, "f")
		k.ok(err)
	}
}
