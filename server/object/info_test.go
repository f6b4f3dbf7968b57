package object

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

func encodeEA(name, value string) []byte {
	return fscc.EncodeEAs([]fscc.EA{{Name: name, Value: []byte(value)}})
}

// TestTimes: what moves the times, and what the user froze or set stays.
func TestTimes(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		o := w.create("f")
		info := func() Info {
			t.Helper()
			i, st := o.Info()
			w.want("info", st, ntstatus.Success)
			return i
		}
		changed := func(what string, op func(), write, change bool) {
			t.Helper()
			before := info()
			time.Sleep(time.Second)
			op()
			after := info()
			if (after.LastWriteTime != before.LastWriteTime) != write || (after.ChangeTime != before.ChangeTime) != change {
				t.Errorf("%s: write time %v → %v, change time %v → %v", what, before.LastWriteTime, after.LastWriteTime, before.ChangeTime, after.ChangeTime)
			}
			if after.CreationTime != before.CreationTime {
				t.Errorf("%s: creation time moved", what)
			}
		}
		write := func() { w.write(o, "x", 0) }
		changed("write", write, true, true)
		changed("end of file", func() { o.SetEndOfFile(10) }, true, true)
		changed("allocation", func() { o.SetAllocation(1 << 20) }, false, true)
		changed("attributes", func() { o.SetBasic(BasicChange{FileAttributes: attrHidden}) }, false, true)
		changed("rename", func() { w.rename(o, "g", 0) }, false, true)
		changed("EA", func() { o.SetEA(encodeEA("A", "b")) }, false, true)
		changed("read", func() { w.read(o, 1, 0) }, false, false)
		changed("nothing", func() { o.SetBasic(BasicChange{}) }, false, false)
		o.SetBasic(BasicChange{LastWrite: -1})
		changed("write, frozen", write, false, true)
		o.SetBasic(BasicChange{LastWrite: -2})
		changed("write, thawed", write, true, true)
		o.SetBasic(BasicChange{LastWrite: 12345})
		if i := info(); i.LastWriteTime != 12345 {
			t.Errorf("write time %v", i.LastWriteTime)
		}
		changed("write, set", write, false, true)
		o.SetBasic(BasicChange{Change: -1})
		changed("attributes, change frozen", func() { o.SetBasic(BasicChange{FileAttributes: attrSystem}) }, false, false)
		two := w.create("g")
		changed("write by another open", func() { w.write(two, "y", 0) }, true, true)
		w.close(two)
		_, st := o.SetBasic(BasicChange{Creation: -3})
		w.want("below -2", st, ntstatus.InvalidParameter)
		w.close(o)
		synctest.Wait()
		w.idle()
	})
}

func TestAttributes(t *testing.T) {
	w := newWorld(t)
	o := w.create("f")
	set := func(o *Open, attrs uint32) (ntstatus.Status, uint32) {
		_, st := o.SetBasic(BasicChange{FileAttributes: attrs})
		i, _ := o.Info()
		return st, i.FileAttributes
	}
	for _, tt := range []struct {
		set  uint32
		st   ntstatus.Status
		want uint32
	}{
		{attrNormal, ntstatus.Success, attrNormal},
		{attrReadonly | attrHidden, ntstatus.Success, attrReadonly | attrHidden},
		{attrCompressed | attrArchive, ntstatus.Success, attrArchive},
		{attrDirectory, ntstatus.InvalidParameter, attrArchive},
		{attrTemporary, ntstatus.Success, attrTemporary},
	} {
		if st, got := set(o, tt.set); st != tt.st || got != tt.want {
			t.Errorf("set %#x: %v %#x", tt.set, st, got)
		}
	}
	w.write(o, "x", 0)
	if i, _ := o.Info(); i.FileAttributes&attrArchive == 0 {
		t.Error("a write does not set ARCHIVE")
	}
	d := w.create("d", folder)
	if st, _ := set(d, attrTemporary); st != ntstatus.InvalidParameter {
		t.Errorf("temporary directory: %v", st)
	}
	if st, got := set(d, attrDirectory|attrHidden); st != ntstatus.Success || got != attrDirectory|attrHidden {
		t.Errorf("%v %#x", st, got)
	}
	s := w.create("f", read)
	if st, _ := set(s, attrHidden); st != ntstatus.AccessDenied {
		t.Errorf("without the right: %v", st)
	}
	w.close(o, d, s)
	w.idle()
}

// What is allocated of a large file is found in pieces, and no more of it than there is room for.
func TestAllocatedOfLargeFile(t *testing.T) {
	w := newWorld(t)
	o := w.create("f")
	o.SetSparse(true)
	const block = 4096
	o.SetEndOfFile(1 << 40)
	want := []store.Range{{Off: 0, Len: block}, {Off: 2 * block, Len: block}, {Off: rangesStep - block, Len: 2 * block},
		{Off: 100 << 30, Len: block}, {Off: 1<<40 - 2*block, Len: 2 * block}}
	for _, r := range want {
		w.write(o, strings.Repeat("x", int(r.Len)), r.Off)
	}
	got, st := o.Allocated(0, 1<<40, 100)
	w.want("all", st, ntstatus.Success)
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	got, st = o.Allocated(block, 1<<39, 1)
	w.want("two", st, ntstatus.Success)
	if len(got) <= 1 || got[0] != want[1] {
		t.Errorf("with room for one: %v", got)
	}
	w.close(o)
}

func TestSparse(t *testing.T) {
	w := newWorld(t)
	o := w.create("f")
	o.SetEndOfFile(1 << 20)
	w.write(o, "data", 512<<10)
	ranges := func() []store.Range {
		t.Helper()
		r, st := o.Allocated(0, 1<<20, 100)
		w.want("allocated", st, ntstatus.Success)
		return r
	}
	if i, _ := o.Info(); i.FileAttributes&attrSparse != 0 {
		t.Error("sparse without having been asked for")
	}
	if r := ranges(); len(r) != 1 || r[0].Len != 1<<20 {
		t.Errorf("a file that is not sparse: %v", r)
	}
	o.SetSparse(true)
	if r := ranges(); len(r) != 1 || r[0].Off != 512<<10 || r[0].Len != 4096 {
		t.Errorf("sparse: %v", r)
	}
	_, st := o.Zero(512<<10, 1<<20)
	w.want("zero", st, ntstatus.Success)
	if r := ranges(); len(r) != 0 {
		t.Errorf("zeroed: %v", r)
	}
	if got := w.read(o, 4, 512<<10); got != "\x00\x00\x00\x00" {
		t.Errorf("%q", got)
	}
	_, st = o.Zero(10, 5)
	w.want("zero backwards", st, ntstatus.InvalidParameter)
	_, st = o.Zero(2<<20, 3<<20)
	w.want("zero beyond the end", st, ntstatus.Success)
	if i, _ := o.Info(); i.Stream.Size != 1<<20 {
		t.Errorf("size %d", i.Stream.Size)
	}
	w.close(o)
	w.idle()
}

func TestEAs(t *testing.T) {
	w := newWorld(t)
	o := w.create("f", func(r *CreateRequest) { r.EA = encodeEA("one", "1") })
	size := func() uint32 { i, _ := o.Info(); return i.EASize }
	if size() != 4+5+3+1 {
		t.Errorf("EA size %d", size())
	}
	o.SetEA(encodeEA("TWO", "22"))
	o.SetEA(encodeEA("One", ""))
	b, _ := o.EA()
	list, err := fscc.DecodeEAs(b)
	if err != nil || len(list) != 1 || list[0].Name != "TWO" {
		t.Errorf("%v %v", list, err)
	}
	_, st := o.SetEA(encodeEA("bad*name", "x"))
	w.want("bad name", st, ntstatus.InvalidEAName)
	_, st = o.SetEA([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	w.want("bad list", st, ntstatus.EAListInconsistent)
	big := make([]byte, 60000)
	o.SetEA(encodeEA("BIG", string(big)))
	_, st = o.SetEA(encodeEA("MORE", string(big)))
	w.want("too much", st, ntstatus.EATooLarge)
	o.SetEA(encodeEA("BIG", ""))
	o.SetEA(encodeEA("TWO", ""))
	if b, _ := o.EA(); b != nil || size() != 0 {
		t.Errorf("left %d bytes, size %d", len(b), size())
	}
	w.close(o)
	w.idle()
}

func TestReparsePoints(t *testing.T) {
	w := newWorld(t)
	sl := fscc.SymlinkData{SubstituteName: "target", PrintName: "target", Relative: true}
	rd := sl.Reparse(reparseSymlink)
	link := rd.Append(nil)
	o := w.create("f")
	_, st := o.ReparsePoint()
	w.want("none", st, ntstatus.NotAReparsePoint)
	_, st = o.SetReparsePoint(link)
	w.want("set", st, ntstatus.Success)
	if b, _ := o.ReparsePoint(); string(b) != string(link) {
		t.Errorf("got %x", b)
	}
	if i, _ := o.Info(); i.FileAttributes&attrReparsePoint == 0 {
		t.Error("attribute missing")
	}
	w.close(o)
	out := w.try("f", disposition(dispOpen))
	if out.Status != ntstatus.StoppedOnSymlink || out.Reparse == nil || out.Reparse.Unparsed != 0 {
		t.Errorf("%v %+v", out.Status, out.Reparse)
	}
	out = w.try(`f\a\bc`, disposition(dispOpen))
	if out.Status != ntstatus.StoppedOnSymlink || out.Reparse == nil || out.Reparse.Unparsed != 2*len(`\a\bc`) {
		t.Errorf("%v %+v", out.Status, out.Reparse)
	}
	o = w.create("f", options(optOpenReparsePoint))
	_, st = o.SetReparsePoint(append([]byte{0x03, 0, 0, 0xA0}, link[4:]...))
	w.want("another tag", st, ntstatus.IOReparseTagMismatch)
	_, st = o.DeleteReparsePoint([]byte{0x0C, 0, 0, 0xA0, 0, 0, 0, 0})
	w.want("delete", st, ntstatus.Success)
	w.close(o)
	w.close(w.create("f"))
	d := w.create("d", folder)
	w.make(`d\x`)
	_, st = d.SetReparsePoint(link)
	w.want("directory with entries", st, ntstatus.DirectoryNotEmpty)
	w.close(d)
	w.idle()
}

func TestObjectID(t *testing.T) {
	w := newWorld(t)
	o := w.create("f")
	_, _, st := o.ObjectID(false)
	w.want("none", st, ntstatus.ObjectidNotFound)
	id, _, st := o.ObjectID(true)
	w.want("made", st, ntstatus.Success)
	if again, _, _ := o.ObjectID(true); again != id || id == [64]byte{} {
		t.Error("a second id")
	}
	_, st = o.SetObjectID([64]byte{})
	w.want("delete", st, ntstatus.Success)
	_, _, st = o.ObjectID(false)
	w.want("deleted", st, ntstatus.ObjectidNotFound)
	w.close(o)
}

func TestStreams(t *testing.T) {
	w := newWorld(t)
	w.make("f:One")
	w.make("f:two")
	o := w.create("f:one", access(fileReadData))
	if o.StreamName() != "One" {
		t.Errorf("name %q", o.StreamName())
	}
	list, _ := o.Streams()
	if len(list) != 3 || list[0].Name != "" || list[1].Name != "One" {
		t.Errorf("%+v", list)
	}
	w.close(o)
	// Overwriting the file takes its streams away.
	w.close(w.create("f", disposition(dispOverwrite)))
	o = w.create("f")
	if list, _ := o.Streams(); len(list) != 1 {
		t.Errorf("%+v", list)
	}
	w.close(o)
	w.make("d", folder)
	w.make("d:s")
	o = w.create("d", folder)
	if list, _ := o.Streams(); len(list) != 1 || list[0].Name != "s" {
		t.Errorf("%+v", list)
	}
	w.close(o)
	w.idle()
}

func TestReadWriteLimits(t *testing.T) {
	w := newWorld(t)
	o := w.create("f")
	for _, tt := range []struct {
		name string
		got  ntstatus.Status
		want ntstatus.Status
	}{
		{"read of an empty file", second2(o.Read(make([]byte, 1), 0)), ntstatus.EndOfFile},
		{"read of nothing", second2(o.Read(nil, 100)), ntstatus.Success},
		{"negative", second2(o.Read(make([]byte, 1), -1)), ntstatus.InvalidParameter},
		{"overflow", second2(o.Read(make([]byte, 2), 1<<63-1)), ntstatus.InvalidParameter},
		{"write too far", second2(o.Write([]byte("x"), store.MaxSize, false)), ntstatus.InvalidParameter},
		{"write overflow", second2(o.Write([]byte("xx"), 1<<63-1, false)), ntstatus.InvalidParameter},
		{"size too large", second2(o.SetEndOfFile(store.MaxSize + 1)), ntstatus.InvalidParameter},
		{"size negative", second2(o.SetEndOfFile(-1)), ntstatus.InvalidParameter},
	} {
		w.want(tt.name, tt.got, tt.want)
	}
	a := w.create("f", access(fileAppendData))
	w.write(o, "abc", 0)
	_, st := a.Write([]byte("x"), 1, false)
	w.want("append-only inside the file", st, ntstatus.AccessDenied)
	w.write(a, "def", -1)
	if got := w.read(o, 10, 0); got != "abcdef" {
		t.Errorf("%q", got)
	}
	d := w.create("d", folder)
	w.want("read of a directory", second2(d.Read(make([]byte, 1), 0)), ntstatus.InvalidDeviceRequest)
	w.close(o, a, d)
	w.idle()
}

func second2[T any](_ T, st ntstatus.Status) ntstatus.Status { return st }

func TestWriteThrough(t *testing.T) {
	w := newWorld(t)
	plain := w.create("f")
	through := w.create("f", options(optWriteThrough))
	tree, _ := w.vol.Tree("", TreeOptions{Share: "ca", ContinuouslyAvailable: true})
	w.tree, tree = tree, w.tree
	ca := w.create("f")
	for _, tt := range []struct {
		name  string
		o     *Open
		asked bool
		wait  bool
	}{
		{"plain", plain, false, false}, {"asked", plain, true, true},
		{"mode", through, false, true}, {"share", ca, false, true},
	} {
		pos, st := tt.o.Write([]byte("x"), 0, tt.asked)
		if st != ntstatus.Success || (pos != 0) != tt.wait {
			t.Errorf("%s: %v %v", tt.name, pos, st)
		}
	}
	if ca.Options()&optWriteThrough == 0 {
		t.Error("no FILE_WRITE_THROUGH on a continuously available share")
	}
	if pos, _ := plain.Flush(); pos == 0 {
		t.Error("nothing to wait for after a write")
	}
	w.close(plain, through, ca)
	w.tree.Close()
	w.tree = tree
}

func TestReadDir(t *testing.T) {
	w := newWorld(t)
	w.make("d", folder)
	for _, n := range []string{"b.txt", "A.txt", "c", "long name.data", "ünïcode"} {
		w.make(`d\` + n)
	}
	query := func(o *Open, q DirQuery, max int) (names []string, st ntstatus.Status) {
		st = o.ReadDir(q, func(e *DirEntry) bool {
			if len(names) == max {
				return false
			}
			names = append(names, e.Name)
			return true
		})
		return names, st
	}
	join := func(n []string) (s string) {
		for _, x := range n {
			s += x + "|"
		}
		return s
	}
	for _, tt := range []struct {
		pattern, want string
		st            ntstatus.Status
	}{
		{"*", ".|..|A.txt|b.txt|c|long name.data|ünïcode|", ntstatus.Success},
		{"", ".|..|A.txt|b.txt|c|long name.data|ünïcode|", ntstatus.Success},
		{"*.TXT", "A.txt|b.txt|", ntstatus.Success},
		{"a.txt", "A.txt|", ntstatus.Success},
		{"?", ".|c|", ntstatus.Success},
		{"ÜNÏ*", "ünïcode|", ntstatus.Success},
		{"none", "", ntstatus.NoSuchFile},
		{`a\b`, "", ntstatus.ObjectNameInvalid},
	} {
		o := w.create("d", folder, read)
		n, st := query(o, DirQuery{Pattern: tt.pattern}, 100)
		if join(n) != tt.want || st != tt.st {
			t.Errorf("%q: %s %v", tt.pattern, join(n), st)
		}
		if tt.st == ntstatus.Success {
			n, st = query(o, DirQuery{}, 100)
			if len(n) != 0 || st != ntstatus.NoMoreFiles {
				t.Errorf("%q at the end: %v %v", tt.pattern, n, st)
			}
		}
		w.close(o)
	}
	o := w.create("d", folder, read)
	var all []string
	for {
		n, st := query(o, DirQuery{Pattern: "*"}, 2)
		if st == ntstatus.NoMoreFiles {
			break
		}
		w.want("in parts", st, ntstatus.Success)
		all = append(all, n...)
	}
	if join(all) != ".|..|A.txt|b.txt|c|long name.data|ünïcode|" {
		t.Error("in parts:", join(all))
	}
	n, _ := query(o, DirQuery{Restart: true, Single: true}, 100)
	if join(n) != ".|" {
		t.Error("restarted:", n)
	}
	n, _ = query(o, DirQuery{Reopen: true, Pattern: "c"}, 100)
	if join(n) != "c|" {
		t.Error("reopened:", n)
	}
	_, st := query(o, DirQuery{Restart: true, Pattern: "*"}, 0)
	w.want("buffer too small", st, ntstatus.InfoLengthMismatch)
	w.close(o)
	o = w.create("d", folder, access(fileReadAttributes))
	_, st = query(o, DirQuery{}, 1)
	w.want("without the right", st, ntstatus.AccessDenied)
	w.close(o)
	w.idle()
}

func TestAccessBasedEnumeration(t *testing.T) {
	w := newWorld(t)
	w.make("seen")
	w.make("secret", func(r *CreateRequest) { r.Security = sddl(t, "O:SYG:SYD:P(A;;FA;;;SY)") })
	tree, _ := w.vol.Tree("", TreeOptions{Share: "abe", AccessBasedEnumeration: true})
	w.tree, tree = tree, w.tree
	o := w.create("", folder, read, as(somebody))
	var names string
	o.ReadDir(DirQuery{}, func(e *DirEntry) bool { names += e.Name + "|"; return true })
	if names != "seen|" {
		t.Error(names)
	}
	w.close(o)
	w.tree.Close()
	w.tree = tree
}

func TestSecurity(t *testing.T) {
	w := newWorld(t)
	o := w.create("f", as(somebody), access(fileAllAccess))
	b, st := o.Security(7)
	w.want("query", st, ntstatus.Success)
	sd, err := dtyp.DecodeSecurityDescriptor(b)
	if err != nil || sd.Owner != somebody.User {
		t.Errorf("%v %v", sd, err)
	}
	_, st = o.Security(8)
	w.want("SACL without the right", st, ntstatus.AccessDenied)
	set := func(info uint32, text string) ntstatus.Status {
		return w.statusOp(func(done doneFunc) *Pending { return o.SetSecurity(info, sddl(t, text), done) })
	}
	w.want("foreign owner", set(1, "O:SYG:SYD:"), ntstatus.InvalidOwner)
	w.want("DACL", set(4, "O:SYG:SYD:(A;;FR;;;WD)"), ntstatus.Success)
	w.want("new open", w.try("f", as(somebody), access(fileWriteData)).Status, ntstatus.AccessDenied)
	w.write(o, "the open keeps what it was granted", 0)
	w.close(o)
	// The owner may always change the DACL.
	w.close(w.create("f", as(somebody), access(accessWriteDAC|accessReadControl)))
	w.idle()
}
