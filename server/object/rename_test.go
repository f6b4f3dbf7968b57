package object

import (
	"testing"
	"testing/synctest"

	"gabion/protocol/ntstatus"
	"gabion/store"
	"gabion/store/memvol"
)

type posOf = store.Pos

func TestRename(t *testing.T) {
	w := newWorld(t)
	w.make("d", folder)
	w.make(`d\in`)
	w.make("there")
	w.make("hidden", attributes(attrReadonly))
	for _, tt := range []struct {
		name   string
		target string
		flags  uint32
		want   ntstatus.Status
	}{
		{"plain", "g", 0, ntstatus.Success},
		{"case only", "G", 0, ntstatus.Success},
		{"itself", "G", 0, ntstatus.Success},
		{"into a directory", `d\g`, 0, ntstatus.Success},
		{"back", "f", 0, ntstatus.Success},
		{"taken", "there", 0, ntstatus.ObjectNameCollision},
		{"replacing", "there", RenameReplaceIfExists, ntstatus.Success},
		{"onto a directory", "d", RenameReplaceIfExists, ntstatus.AccessDenied},
		{"onto read-only", "hidden", RenameReplaceIfExists, ntstatus.AccessDenied},
		{"onto read-only by force", "hidden", RenameReplaceIfExists | RenameIgnoreReadOnly, ntstatus.Success},
		{"nowhere", `nowhere\g`, 0, ntstatus.ObjectPathNotFound},
		{"no name", "", 0, ntstatus.ObjectNameInvalid},
		{"bad name", "a*b", 0, ntstatus.ObjectNameInvalid},
		{"leading backslash", `\g`, 0, ntstatus.InvalidParameter},
		{"a stream of another file", "g:s", 0, ntstatus.InvalidParameter},
	} {
		o := w.create("f")
		w.write(o, "mine", 0)
		w.want(tt.name, w.rename(o, tt.target, tt.flags), tt.want)
		if tt.want == ntstatus.Success {
			if o.Path() != tt.target {
				t.Errorf("%s: path %q", tt.name, o.Path())
			}
			w.want(tt.name+": old name", w.try("f", disposition(dispOpen)).Status, map[bool]ntstatus.Status{true: ntstatus.Success, false: ntstatus.ObjectNameNotFound}[tt.target == "f"])
			two := w.create(tt.target, disposition(dispOpen), access(fileReadData))
			if got := w.read(two, 10, 0); got != "mine" {
				t.Errorf("%s: read %q", tt.name, got)
			}
			w.close(two)
			w.rename(o, "f", RenameReplaceIfExists)
		}
		w.close(o)
		for _, x := range w.vol.opensOf(o.ID()) {
			x.Close() // the open that try made
		}
	}
	w.idle()
}

func TestRenameNeedsAccess(t *testing.T) {
	w := newWorld(t)
	w.make("f")
	o := w.create("f", read)
	w.want("without DELETE", w.rename(o, "g", 0), ntstatus.AccessDenied)
	w.close(o)
	o = w.create("f")
	w.want("mark", w.dispose(o, DispositionDelete), ntstatus.Success)
	w.want("being deleted", w.rename(o, "g", 0), ntstatus.AccessDenied)
	w.close(o)
	w.make("d", folder, func(r *CreateRequest) { r.Security = sddl(t, "O:SYG:SYD:P(A;OICI;FA;;;SY)(A;OICI;FR;;;WD)") })
	o = w.create("mine", as(somebody))
	w.want("into a directory without FILE_ADD_FILE", w.rename(o, `d\mine`, 0), ntstatus.AccessDenied)
	w.close(o)
	// The directory is opened for the purpose and shares reading and writing.
	o = w.create("g")
	d := w.create("d", folder, access(accessDelete))
	w.want("directory open for DELETE", w.rename(o, `d\g`, 0), ntstatus.SharingViolation)
	w.close(d)
	d = w.create("d", folder, read, share(shareRead))
	w.want("directory not shared for writing", w.rename(o, `d\g`, 0), ntstatus.SharingViolation)
	w.close(d, o)
	w.idle()
}

func TestRenameDirectory(t *testing.T) {
	w := newWorld(t)
	w.make("d", folder)
	w.make(`d\sub`, folder)
	w.make(`d\sub\f`)
	d := w.create("d", folder)
	f := w.create(`d\sub\f`, read)
	w.want("open below", w.rename(d, "e", 0), ntstatus.AccessDenied)
	w.close(f)
	w.want("below itself", w.rename(d, `d\sub\d`, 0), ntstatus.InvalidParameter)
	w.want("rename", w.rename(d, "e", 0), ntstatus.Success)
	w.close(w.create(`e\sub\f`, disposition(dispOpen)))
	w.want("old path", w.try(`d\sub\f`, disposition(dispOpen)).Status, ntstatus.ObjectPathNotFound)
	w.make("target", folder)
	w.want("onto a directory", w.rename(d, "target", RenameReplaceIfExists), ntstatus.AccessDenied)
	w.want("onto an empty one, POSIX", w.rename(d, "target", RenameReplaceIfExists|RenamePosixSemantics), ntstatus.Success)
	w.close(d)
	if s := w.list("target"); s != "sub" {
		t.Error("listing:", s)
	}
	w.idle()
}

// TestRenameDirectoryAsks: clients that only keep handles below a directory are
// asked to close them.
func TestRenameDirectoryAsks(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.make("d", folder)
		f := w.create(`d\f`, leased("k1", "RWH"))
		d := w.create("d", folder)
		got := ntstatus.Pending
		d.Rename("e", 0, func(_ posOf, st ntstatus.Status) { got = st })
		synctest.Wait()
		w.expect("k1: RWH → RW epoch 2 ack")
		w.close(f)
		synctest.Wait()
		w.want("after the close", got, ntstatus.Success)

		f = w.create(`e\f`, leased("k1", "RWH"))
		got = ntstatus.Pending
		d.Rename("d", 0, func(_ posOf, st ntstatus.Status) { got = st })
		synctest.Wait()
		w.fs.AcknowledgeLease(key("c1"), key("k1"), cacheRW)
		synctest.Wait()
		w.want("kept open", got, ntstatus.AccessDenied)
		w.close(d, f)
		w.idle()
	})
}

func TestRenameOntoOpenFile(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		f := w.create("f")
		g := w.create("g", leased("k1", "RWH"))
		start := func() *ntstatus.Status {
			got := ntstatus.Pending
			f.Rename("g", RenameReplaceIfExists, func(_ posOf, st ntstatus.Status) { got = st })
			synctest.Wait()
			return &got
		}
		got := start()
		w.expect("k1: RWH → RW epoch 2 ack")
		w.fs.AcknowledgeLease(key("c1"), key("k1"), cacheRW)
		synctest.Wait()
		w.want("kept open", *got, ntstatus.AccessDenied)
		got = start()
		w.expect()
		w.want("no handle to ask for", *got, ntstatus.AccessDenied)
		w.close(g)
		g = w.create("g", leased("k1", "RWH"))
		got = start()
		w.close(g)
		synctest.Wait()
		w.want("closed when asked", *got, ntstatus.Success)
		w.close(f)
		w.idle()
	})
}

func TestRenameWaitsForHandles(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		one := w.create("f", leased("k1", "RH"))
		two := w.create("f", leased("k2", "RH"), read)
		got := ntstatus.Pending
		p := one.Rename("g", 0, func(_ posOf, st ntstatus.Status) { got = st })
		synctest.Wait()
		w.expect("k2: RH → R epoch 2 ack")
		w.want("while it waits", w.try("g", disposition(dispOpen)).Status, ntstatus.ObjectNameNotFound)
		p.Cancel()
		w.want("cancelled", got, ntstatus.Cancelled)
		got = ntstatus.Pending
		one.Rename("g", 0, func(_ posOf, st ntstatus.Status) { got = st })
		w.fs.AcknowledgeLease(key("c1"), key("k2"), CacheRead)
		synctest.Wait()
		w.want("after the break", got, ntstatus.Success)
		w.expect()
		w.close(one, two)
		w.idle()
	})
}

func TestRenameStream(t *testing.T) {
	w := newWorld(t)
	o := w.create("f:one")
	w.write(o, "data", 0)
	w.make("f:full")
	x := w.create("f:full")
	w.write(x, "full", 0)
	w.close(x)
	w.make("f:empty")
	for _, tt := range []struct {
		target string
		flags  uint32
		want   ntstatus.Status
	}{
		{":two", 0, ntstatus.Success},
		{":TWO:$DATA", 0, ntstatus.Success},
		{":", 0, ntstatus.InvalidParameter},
		{":a:b:c", 0, ntstatus.InvalidParameter},
		{":full", 0, ntstatus.ObjectNameCollision},
		{":full", RenameReplaceIfExists, ntstatus.InvalidParameter},
		{":empty", RenameReplaceIfExists, ntstatus.Success},
		{"::$DATA", RenameReplaceIfExists, ntstatus.Success},
	} {
		w.want(tt.target, w.rename(o, tt.target, tt.flags), tt.want)
	}
	w.close(o)
	o = w.create("f", read)
	if got := w.read(o, 10, 0); got != "data" {
		t.Errorf("the unnamed stream holds %q", got)
	}
	w.close(o)
	w.idle()
}

func TestHardLinks(t *testing.T) {
	w := newWorld(t)
	w.make("d", folder)
	w.make("there")
	o := w.create("f")
	link := func(target string, flags uint32) ntstatus.Status {
		return w.statusOp(func(done doneFunc) *Pending { return o.Link(target, flags, done) })
	}
	w.want("link", link(`d\g`, 0), ntstatus.Success)
	w.want("taken", link("there", 0), ntstatus.ObjectNameCollision)
	w.want("replacing", link("there", RenameReplaceIfExists), ntstatus.Success)
	w.want("onto a directory", link("d", RenameReplaceIfExists), ntstatus.AccessDenied)
	if n, _ := o.Names(); len(n) != 3 {
		t.Errorf("%+v", n)
	}
	g := w.create(`d\g`, disposition(dispOpen))
	if g.ID() != o.ID() || g.Path() != `d\g` || o.Path() != "f" {
		t.Errorf("%d %d %q %q", g.ID(), o.ID(), g.Path(), o.Path())
	}
	d := w.create("d", folder)
	w.want("of a directory", w.statusOp(func(done doneFunc) *Pending { return d.Link("x", 0, done) }), ntstatus.FileIsADirectory)
	w.close(o, g, d)
	w.idle()
}

// TestFailedRenameOverOpenFile: a rename with POSIX semantics that the store refuses leaves the file that has the
// name what it was: it is opened by it, and deleting it takes the name away.
func TestFailedRenameOverOpenFile(t *testing.T) {
	for _, link := range []bool{false, true} {
		failing := false
		w := newWorldOn(t, memvol.New(memvol.Options{Fault: func(method string) error {
			if failing && (method == "Rename" || method == "Link") {
				return store.ErrNoSpace
			}
			return nil
		}}))
		o, target := w.create("f"), w.create("target")
		w.write(target, "target", 0)
		over := func() ntstatus.Status {
			if link {
				return w.statusOp(func(done func(store.Pos, ntstatus.Status)) *Pending {
					return o.Link("target", RenameReplaceIfExists|RenamePosixSemantics, done)
				})
			}
			return w.rename(o, "target", RenameReplaceIfExists|RenamePosixSemantics)
		}
		failing = true
		w.want("refused", over(), ntstatus.DiskFull)
		failing = false
		again := w.create("target", disposition(dispOpen))
		w.want("marked for deletion", w.dispose(target, DispositionDelete), ntstatus.Success)
		w.want("another open of it", w.try("target", disposition(dispOpen)).Status, ntstatus.DeletePending)
		w.close(again, target)
		if s := w.list(""); s != "f" {
			t.Errorf("there is %q", s)
		}
		target = w.create("target")
		w.write(target, "target", 0)
		w.want("over it", over(), ntstatus.Success)
		if s := w.read(target, 10, 0); s != "target" {
			t.Errorf("what had the name reads %q", s)
		}
		w.want("marked for deletion", w.dispose(target, DispositionDelete), ntstatus.Success)
		w.close(target, o)
		if s, want := w.list(""), map[bool]string{false: "target", true: "f target"}[link]; s != want {
			t.Errorf("there is %q, want %q", s, want)
		}
		w.idle()
	}
}
