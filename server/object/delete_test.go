package object

import (
	"testing"
	"testing/synctest"

	"gabion/protocol/ntstatus"
)

func TestDeleteOnClose(t *testing.T) {
	w := newWorld(t)
	o := w.create("f", options(optDeleteOnClose))
	two := w.create("f")
	w.close(o)
	if i, _ := two.Info(); !i.DeletePending || i.Links != 0 {
		t.Errorf("%+v", i)
	}
	w.want("open while it goes", w.try("f").Status, ntstatus.DeletePending)
	w.want("create while it goes", w.try("f", disposition(dispCreate)).Status, ntstatus.DeletePending)
	if w.list("") != "f" {
		t.Error("gone before the last close")
	}
	w.close(two)
	if s := w.list(""); s != "" {
		t.Error("left:", s)
	}
	w.idle()
}

func TestDisposition(t *testing.T) {
	w := newWorld(t)
	w.make("f")
	o := w.create("f", read)
	w.want("without DELETE", w.dispose(o, DispositionDelete), ntstatus.AccessDenied)
	w.close(o)
	o = w.create("f")
	w.want("mark", w.dispose(o, DispositionDelete), ntstatus.Success)
	w.want("open", w.try("f").Status, ntstatus.DeletePending)
	w.want("take back", w.dispose(o, 0), ntstatus.Success)
	w.close(w.create("f"))
	w.want("mark again", w.dispose(o, DispositionDelete), ntstatus.Success)
	w.close(o)
	if s := w.list(""); s != "" {
		t.Error("left:", s)
	}
	w.make("ro", attributes(attrReadonly))
	o = w.create("ro", access(accessDelete|fileWriteAttributes))
	w.want("read-only", w.dispose(o, DispositionDelete), ntstatus.CannotDelete)
	w.want("read-only ignored", w.dispose(o, DispositionDelete|DispositionIgnoreReadonly), ntstatus.Success)
	w.close(o)
	o = w.create("", folder)
	w.want("root", w.dispose(o, DispositionDelete), ntstatus.CannotDelete)
	w.close(o)
	w.idle()
}

func TestDeleteDirectory(t *testing.T) {
	w := newWorld(t)
	w.make("d", folder)
	w.make(`d\f`)
	o := w.create("d", folder)
	w.want("not empty", w.dispose(o, DispositionDelete), ntstatus.DirectoryNotEmpty)
	w.close(o)
	w.close(w.create("d", folder, options(optDeleteOnClose)))
	if w.list("") != "d" {
		t.Error("a directory with entries was deleted on close")
	}
	w.close(w.create(`d\f`, options(optDeleteOnClose)))
	o = w.create("d", folder)
	w.want("mark", w.dispose(o, DispositionDelete), ntstatus.Success)
	w.want("create below", w.try(`d\new`).Status, ntstatus.DeletePending)
	w.close(o)
	if s := w.list(""); s != "" {
		t.Error("left:", s)
	}
	w.idle()
}

func TestDeleteStream(t *testing.T) {
	w := newWorld(t)
	w.make("f:s")
	w.make("f:t")
	o := w.create("f:s")
	w.want("mark", w.dispose(o, DispositionDelete), ntstatus.Success)
	w.want("open it", w.try("f:s").Status, ntstatus.DeletePending)
	w.close(w.create("f"))
	w.close(o)
	o = w.create("f")
	list, _ := o.Streams()
	if len(list) != 2 || list[1].Name != "t" {
		t.Errorf("%+v", list)
	}
	// The file goes with all its streams, and waits for who has one open.
	s := w.create("f:t", read, share(shareRead|shareWrite|shareDelete))
	w.want("mark", w.dispose(o, DispositionDelete), ntstatus.Success)
	w.close(o)
	w.want("open", w.try("f").Status, ntstatus.DeletePending)
	w.close(s)
	w.want("gone", w.try("f", disposition(dispOpen)).Status, ntstatus.ObjectNameNotFound)
	w.idle()
}

func TestPosixDelete(t *testing.T) {
	w := newWorld(t)
	one, two := w.create("f"), w.create("f")
	w.write(one, "old", 0)
	w.want("mark", w.dispose(one, DispositionDelete|DispositionPosixSemantics), ntstatus.Success)
	w.close(one)
	if s := w.list(""); s != "" {
		t.Error("left:", s)
	}
	fresh := w.create("f", disposition(dispCreate))
	if got := w.read(two, 10, 0); got != "old" {
		t.Errorf("read %q through the old open", got)
	}
	w.close(two, fresh)
	if s := w.list(""); s != "f" {
		t.Error("the new file went with the old:", s)
	}
	w.idle()
}

func TestDeleteHardLink(t *testing.T) {
	w := newWorld(t)
	o := w.create("a")
	w.want("link", w.statusOp(func(done doneFunc) *Pending { return o.Link("b", 0, done) }), ntstatus.Success)
	if i, _ := o.Info(); i.Links != 2 {
		t.Errorf("%d links", i.Links)
	}
	b := w.create("b")
	w.want("mark b", w.dispose(b, DispositionDelete), ntstatus.Success)
	if i, _ := o.Info(); i.Links != 1 || i.DeletePending {
		t.Errorf("%+v", i)
	}
	w.close(w.create("a"))
	w.close(b)
	if s := w.list(""); s != "a" {
		t.Error("left:", s)
	}
	w.close(o)
	w.idle()
}

func TestDeleteBreaksHandles(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		one := w.create("f", leased("k1", "RH"))
		two := w.create("f", client("c2"))
		var got ntstatus.Status = ntstatus.Pending
		two.SetDisposition(DispositionDelete, func(_ posOf, st ntstatus.Status) { got = st })
		synctest.Wait()
		w.expect("k1: RH → R epoch 2 ack")
		if got != ntstatus.Pending {
			t.Fatal(got)
		}
		w.fs.AcknowledgeLease(key("c1"), key("k1"), CacheRead)
		synctest.Wait()
		w.want("after the break", got, ntstatus.Success)
		w.close(one, two)
		w.idle()
	})
}

func TestClosedOpen(t *testing.T) {
	w := newWorld(t)
	o := w.create("f")
	w.close(o)
	_, _, st := o.Close()
	w.want("close again", st, ntstatus.FileClosed)
	_, st = o.Read(make([]byte, 1), 0)
	w.want("read", st, ntstatus.FileClosed)
	_, st = o.Write([]byte("x"), 0, false)
	w.want("write", st, ntstatus.FileClosed)
	w.want("lock", w.lockNow(o, 0, 1, true), ntstatus.FileClosed)
	w.want("rename", w.rename(o, "g", 0), ntstatus.FileClosed)
	w.idle()
}
