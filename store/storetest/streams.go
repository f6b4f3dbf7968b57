package storetest

import (
	"strings"

	"gabion/store"
)

func (k *kit) streamNames(n store.Node) string {
	k.Helper()
	ss, err := n.Streams()
	k.ok(err)
	var names []string
	for _, s := range ss {
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}

func testStreams(k *kit) {
	n := k.file(k.root, "f")
	if got := k.streamNames(n); got != "" {
		k.Errorf("new file has streams %q", got)
	}
	_, err := n.Stream("zone")
	k.fails(err, store.ErrNotFound)
	d := k.data(n)
	z, a := k.stream(n, "Zone"), k.stream(n, "alpha")
	if d.Name() != "" || z.Name() != "Zone" {
		k.Errorf("names %q and %q", d.Name(), z.Name())
	}
	_, _, err = n.CreateStream("ZONE")
	k.fails(err, store.ErrExist)
	for _, bad := range []string{"", "a/b", "a\\b", "a\x00b", strings.Repeat("x", 256)} {
		_, _, err = n.CreateStream(bad)
		k.fails(err, store.ErrName)
	}
	k.write(d, pattern(1, 5000), 0)
	k.write(z, pattern(2, 100), 0)
	k.write(a, pattern(3, 70000), 1)
	k.holds(d, pattern(1, 5000))
	again, err := n.Stream("zONE")
	k.ok(err)
	defer again.Close()
	k.holds(again, pattern(2, 100))
	if got := k.streamNames(n); got != "alpha Zone" {
		k.Errorf("streams %q", got)
	}
	ss, err := n.Streams()
	k.ok(err)
	if ss[0].Size != 70001 || ss[1].Size != 100 {
		k.Errorf("streams %+v", ss)
	}
	if s := k.attr(n).Size; s != 5000 {
		k.Errorf("file size %d", s)
	}
}

func testRemoveStream(k *kit) {
	n := k.file(k.root, "f")
	s := k.stream(n, "s")
	k.write(s, []byte("old"), 0)
	_, err := n.RemoveStream("absent")
	k.fails(err, store.ErrNotFound)
	_, err = n.RemoveStream("S")
	k.ok(err)
	if got := k.streamNames(n); got != "" {
		k.Errorf("streams %q", got)
	}
	k.holds(s, []byte("old")) // still open
	k.write(s, []byte("older"), 0)
	fresh := k.stream(n, "s")
	k.holds(fresh, nil)
	k.write(fresh, []byte("new"), 0)
	k.holds(s, []byte("older"))
	k.holds(fresh, []byte("new"))
}

func testRenameStream(k *kit) {
	n := k.file(k.root, "f")
	a, b := k.stream(n, "a"), k.stream(n, "b")
	k.write(a, []byte("A"), 0)
	_, err := n.RenameStream("absent", "x", false)
	k.fails(err, store.ErrNotFound)
	_, err = n.RenameStream("a", "x/y", false)
	k.fails(err, store.ErrName)
	_, err = n.RenameStream("a", "c", false)
	k.ok(err)
	if got := k.streamNames(n); got != "b c" {
		k.Errorf("streams %q", got)
	}
	if a.Name() != "c" {
		k.Errorf("open stream is called %q", a.Name())
	}
	_, err = n.RenameStream("c", "B", false)
	k.fails(err, store.ErrExist)
	_, err = n.RenameStream("c", "B", true) // b is empty
	k.ok(err)
	if got := k.streamNames(n); got != "B" {
		k.Errorf("streams %q", got)
	}
	now, err := n.Stream("b")
	k.ok(err)
	defer now.Close()
	k.holds(now, []byte("A"))
	k.holds(b, nil)
	// [MS-FSA] 2.1.5.15.12.1: only an empty stream can be replaced.
	d := k.stream(n, "d")
	k.write(d, []byte("D"), 0)
	_, err = n.RenameStream("b", "d", true)
	k.fails(err, store.ErrInvalid)
}

func testRenameUnnamed(k *kit) {
	n := k.file(k.root, "f")
	d := k.data(n)
	k.write(d, []byte("data"), 0)
	_, err := n.RenameStream("", "named", false)
	k.ok(err)
	if got := k.streamNames(n); got != "named" {
		k.Errorf("streams %q", got)
	}
	k.holds(k.data(n), nil)
	k.holds(d, []byte("data"))
	if s := k.attr(n).Size; s != 0 {
		k.Errorf("file size %d", s)
	}
	_, err = n.RenameStream("named", "", false)
	k.fails(err, store.ErrExist)
	_, err = n.RenameStream("named", "", true)
	k.ok(err)
	if got := k.streamNames(n); got != "" {
		k.Errorf("streams %q", got)
	}
	k.holds(k.data(n), []byte("data"))
	if s := k.attr(n).Size; s != 4 {
		k.Errorf("file size %d", s)
	}
}

func testDirectoryStreams(k *kit) {
	d := k.mkdir(k.root, "d")
	s := k.stream(d, "s")
	k.write(s, []byte("on a directory"), 0)
	got, err := d.Stream("S")
	k.ok(err)
	defer got.Close()
	k.holds(got, []byte("on a directory"))
	if a := k.attr(d); a.Size != 0 || !a.Dir {
		k.Errorf("directory %+v", a)
	}
	if _, err = d.RenameStream("s", "", true); err == nil {
		k.Error("a directory got an unnamed stream")
	}
}
