package object

import (
	"fmt"
	"strings"
	"testing"

	"gabion/protocol/ntstatus"
)

// watcher collects what one directory open is told.
type watcher struct {
	w      *world
	o      *Open
	filter uint32
	tree   bool
}

func (w *world) watch(path string, filter uint32, tree bool) *watcher {
	w.t.Helper()
	r := &watcher{w, w.create(path, folder, read), filter, tree}
	// The first request fixes the filter and starts the collection.
	r.o.Notify(filter, tree, 4096, func([]NotifyEvent, ntstatus.Status) {}).Cancel()
	return r
}

var actionNames = [...]string{1: "+", 2: "-", 3: "~", 4: "old", 5: "new", 6: "+:", 7: "-:", 8: "~:"}

// take returns what has been collected, "" for nothing.
func (r *watcher) take() string {
	r.w.t.Helper()
	var b []string
	p := r.o.Notify(r.filter, r.tree, 4096, func(events []NotifyEvent, st ntstatus.Status) {
		if st != ntstatus.Success && st != ntstatus.Cancelled {
			b = append(b, st.String())
		}
		for _, e := range events {
			b = append(b, actionNames[e.Action]+" "+e.Name)
		}
	})
	p.Cancel()
	return strings.Join(b, ", ")
}

func (r *watcher) expect(what, want string) {
	r.w.t.Helper()
	if got := r.take(); got != want {
		r.w.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestNotifyEvents(t *testing.T) {
	w := newWorld(t)
	w.make("d", folder)
	w.make(`d\sub`, folder)
	all := w.watch("d", notifyEverything, true)
	flat := w.watch("d", notifyAnyName, false)
	both := func(what, deep, shallow string) {
		t.Helper()
		all.expect(what, deep)
		flat.expect(what, shallow)
	}
	w.make(`d\f`)
	both("create", "+ f", "+ f")
	w.make(`d\sub\g`)
	both("create below", `+ sub\g`, "")
	o := w.create(`d\f`)
	w.write(o, "x", 0)
	both("write", "", "")
	w.close(o)
	both("close after write", "~ f", "")
	o = w.create(`d\f`)
	o.SetBasic(BasicChange{FileAttributes: attrHidden})
	w.close(o)
	both("attributes", "~ f", "")
	o = w.create(`d\f`)
	w.want("rename", w.rename(o, `d\g`, 0), ntstatus.Success)
	both("rename", "old f, new g", "old f, new g")
	w.want("move", w.rename(o, `d\sub\h`, 0), ntstatus.Success)
	both("move", `- g, + sub\h`, "- g")
	w.want("move out", w.rename(o, `out`, 0), ntstatus.Success)
	both("move out", `- sub\h`, "")
	w.want("move in", w.rename(o, `d\f`, 0), ntstatus.Success)
	both("move in", "+ f", "+ f")
	w.close(o)
	w.make(`d\f:s`)
	both("stream", "+: f:s", "")
	o = w.create(`d\f:s`)
	w.write(o, "x", 0)
	w.close(o)
	both("stream written", "~: f:s", "")
	w.close(w.create(`d\f:s`, options(optDeleteOnClose)))
	both("stream deleted", "-: f:s", "")
	w.close(w.create(`d\f`, disposition(dispOverwrite), attributes(attrHidden)))
	both("overwrite", "~ f", "")
	w.close(w.create(`d\f`, options(optDeleteOnClose)))
	both("delete", "- f", "- f")
	w.close(w.create(`d\sub\g`, options(optDeleteOnClose)))
	all.take()
	w.close(w.create(`d\sub`, options(optDeleteOnClose)))
	both("rmdir", "- sub", "- sub")
	d := w.create("d", folder, access(fileWriteAttributes))
	d.SetBasic(BasicChange{FileAttributes: attrHidden})
	w.close(d)
	both("the directory itself", "", "")
	w.close(all.o, flat.o)
	w.idle()
}

func TestNotifyFilters(t *testing.T) {
	for _, tt := range []struct {
		name string
		op   func(w *world, o *Open)
		want uint32
	}{
		{"attributes", func(w *world, o *Open) { o.SetBasic(BasicChange{FileAttributes: attrHidden}) }, notifyAttributes},
		{"write time", func(w *world, o *Open) { o.SetBasic(BasicChange{LastWrite: 1000}) }, notifyLastWrite},
		{"access time", func(w *world, o *Open) { o.SetBasic(BasicChange{LastAccess: 1000}) }, notifyLastAccess},
		{"creation time", func(w *world, o *Open) { o.SetBasic(BasicChange{Creation: 1000}) }, notifyCreation},
		{"write", func(w *world, o *Open) { w.write(o, "x", 0) }, notifySize | notifyLastWrite},
		{"security", func(w *world, o *Open) {
			w.statusOp(func(done doneFunc) *Pending { return o.SetSecurity(4, sddl(w.t, "O:SYG:SYD:(A;;FA;;;WD)"), done) })
		}, notifySecurity},
		{"EA", func(w *world, o *Open) { o.SetEA(encodeEA("A", "b")) }, notifyEA},
		// Who does not watch names learns of a rename as a change.
		{"rename", func(w *world, o *Open) { w.rename(o, `d\g`, 0) }, notifyFileName | notifyAttributes | notifyCreation},
		{"delete", func(w *world, o *Open) { w.dispose(o, DispositionDelete) }, notifyFileName},
	} {
		for bit := uint32(1); bit <= notifyStreamWrite; bit <<= 1 {
			w := newWorld(t)
			w.make("d", folder)
			w.make(`d\f`)
			r := w.watch("d", bit, false)
			o := w.create(`d\f`)
			tt.op(w, o)
			w.close(o)
			if got := r.take(); (got != "") != (tt.want&bit != 0) {
				t.Errorf("%s, filter %#x: %q", tt.name, bit, got)
			}
			w.close(r.o)
		}
	}
}

func TestNotifyRequests(t *testing.T) {
	w := newWorld(t)
	w.make("d", folder)
	var got []string
	note := func(name string) func([]NotifyEvent, ntstatus.Status) {
		return func(e []NotifyEvent, st ntstatus.Status) { got = append(got, fmt.Sprintf("%s%d%v", name, len(e), st)) }
	}
	expect := func(want ...string) {
		t.Helper()
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%q, want %q", got, want)
		}
		got = nil
	}
	o := w.create("d", folder, read)
	o.Notify(notifyAnyName, false, 4096, note("a"))
	o.Notify(notifyAnyName, false, 4096, note("b"))
	w.make(`d\one`)
	expect("a1STATUS_SUCCESS")
	w.make(`d\two`)
	expect("b1STATUS_SUCCESS")
	w.make(`d\three`)
	w.make(`d\four`)
	o.Notify(0, true, 4096, note("c"))
	expect("c2STATUS_SUCCESS")
	// What does not fit is not told.
	w.make(`d\five`)
	o.Notify(notifyAnyName, false, 8, note("d"))
	expect("d0STATUS_NOTIFY_ENUM_DIR")
	for i := range 300 {
		w.make(fmt.Sprintf(`d\file%d`, i))
	}
	o.Notify(notifyAnyName, false, 1<<20, note("e"))
	expect("e0STATUS_NOTIFY_ENUM_DIR")
	o.Notify(notifyAnyName, false, 4096, note("f"))
	w.close(o)
	expect("f0STATUS_NOTIFY_CLEANUP")

	f := w.create("f")
	f.Notify(notifyAnyName, false, 4096, note("g"))
	expect("g0STATUS_INVALID_PARAMETER")
	w.close(f)
	o = w.create("d", folder, access(fileReadAttributes))
	o.Notify(notifyAnyName, false, 4096, note("h"))
	expect("h0STATUS_ACCESS_DENIED")
	w.close(o)
	w.idle()
}

func TestNotifyOfDeletedDirectory(t *testing.T) {
	for _, onClose := range []bool{false, true} {
		w := newWorld(t)
		w.make("d", folder)
		o := w.create("d", folder, read)
		var got ntstatus.Status
		o.Notify(notifyAnyName, false, 4096, func(_ []NotifyEvent, st ntstatus.Status) { got = st })
		if onClose {
			w.close(w.create("d", folder, options(optDeleteOnClose)))
		} else {
			x := w.create("d", folder)
			w.want("mark", w.dispose(x, DispositionDelete), ntstatus.Success)
			w.close(x)
		}
		w.want("waiting", got, ntstatus.DeletePending)
		o.Notify(notifyAnyName, false, 4096, func(_ []NotifyEvent, st ntstatus.Status) { got = st })
		w.want("a new request", got, ntstatus.DeletePending)
		w.close(o)
		w.idle()
	}
}

func TestWatchFollowsItsDirectory(t *testing.T) {
	w := newWorld(t)
	w.make("d", folder)
	r := w.watch("d", notifyAnyName, true)
	d := w.create("d", folder)
	w.want("rename", w.rename(d, "elsewhere", 0), ntstatus.Success)
	w.close(d)
	w.make(`elsewhere\sub`, folder)
	w.make(`elsewhere\sub\f`)
	r.expect("after the rename", `+ sub, + sub\f`)
	w.close(r.o)
	w.idle()
}

// TestNotifyIsBounded: what watches collect is bounded for all of them together. Who would have more is told to look.
func TestNotifyIsBounded(t *testing.T) {
	w := newWorld(t)
	t0 := &w.vol.notify
	var watches []*Open
	status := map[ntstatus.Status]int{}
	collect := func(o *Open) *Pending {
		return o.Notify(notifyFileName, true, 8<<20, func(_ []NotifyEvent, st ntstatus.Status) { status[st]++ })
	}
	for range 300 {
		o := w.create("", folder)
		collect(o).Cancel()
		watches = append(watches, o)
	}
	for i := range 500 {
		w.make(fmt.Sprintf("%s%03d", strings.Repeat("x", 250), i))
		if t0.bytes > maxNotifyBytes {
			t.Fatalf("%d bytes are kept", t0.bytes)
		}
	}
	for _, o := range watches {
		collect(o)
	}
	if t0.bytes != 0 || status[ntstatus.Success] == 0 || status[ntstatus.NotifyEnumDir] == 0 || status[ntstatus.Success]+status[ntstatus.NotifyEnumDir] != 300 {
		t.Errorf("%v, %d bytes kept", status, t0.bytes)
	}
	w.make("one more")
	w.close(watches...)
	if t0.bytes != 0 {
		t.Errorf("%d bytes kept of what is closed", t0.bytes)
	}
	w.idle()
}
