package object

import (
	"testing"
	"testing/synctest"
	"time"

	"gabion/protocol/ntstatus"
)

// bubble runs a test in virtual time.
func bubble(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { fn(t, newWorld(t)) })
}

// leaseState returns what the key holds now, by asking with an open of that key for nothing.
func (w *world) leaseState(path, name string) string {
	w.t.Helper()
	o := w.create(path, leased(name, ""), disposition(dispOpen))
	defer w.close(o)
	li, ok := o.Lease()
	if !ok {
		return "none"
	}
	s := li.State.String()
	if li.Breaking {
		s += " breaking"
	}
	return s
}

func TestLeaseRequests(t *testing.T) {
	for _, tt := range []struct{ want, got string }{
		{"", "-"}, {"R", "R"}, {"H", "-"}, {"W", "-"}, {"RH", "RH"}, {"RW", "RW"}, {"WH", "-"}, {"RWH", "RWH"},
	} {
		w := newWorld(t)
		o := w.create("f", leased("k", tt.want))
		if li, ok := o.Lease(); !ok || li.State.String() != tt.got {
			t.Errorf("asked for %s: %v %v", tt.want, li.State, ok)
		}
		w.close(o)
		w.idle()
	}
}

func TestDirectoryLeases(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct{ want, got string }{{"RWH", "RH"}, {"RW", "R"}, {"RH", "RH"}, {"R", "R"}} {
		o := w.create("d", folder, leased("k", tt.want))
		if li, ok := o.Lease(); !ok || li.State.String() != tt.got {
			t.Errorf("asked for %s: %v %v", tt.want, li.State, ok)
		}
		w.close(o)
	}
	o := w.create("d", folder, leased("k", "RH"), func(r *CreateRequest) { r.Lease.V2 = false })
	if o.Oplock() != OplockNone {
		t.Error("a version 1 lease on a directory")
	}
	w.close(o)
	o = w.create("d", folder, oplock(OplockBatch))
	if o.Oplock() != OplockNone {
		t.Error("an oplock on a directory")
	}
	w.close(o)
	w.idle()
}

func TestLeaseUpgrade(t *testing.T) {
	states := []string{"", "R", "RH", "RW", "RWH"}
	for _, held := range states {
		for _, more := range states {
			w := newWorld(t)
			one := w.create("f", leased("k", held))
			two := w.create("f", leased("k", more))
			want := letters(held)
			if want&^letters(more) == 0 {
				want = letters(more)
			}
			if li, _ := two.Lease(); li.State != want {
				t.Errorf("%s upgraded to %s: %v", held, more, li.State)
			}
			w.expect()
			w.close(one, two)
			w.idle()
		}
	}
}

func TestLeaseUpgradeContended(t *testing.T) {
	for _, tt := range []struct{ held, other, want, got string }{
		{"R", "R", "RW", "R"}, {"R", "R", "RH", "RH"}, {"R", "R", "RWH", "R"},
		{"R", "RH", "RH", "RH"}, {"R", "RH", "RWH", "R"}, {"RH", "R", "RW", "RH"},
		{"RH", "R", "RWH", "RH"}, {"RH", "RH", "RWH", "RH"},
	} {
		w := newWorld(t)
		one := w.create("f", leased("k1", tt.held))
		two := w.create("f", leased("k2", tt.other))
		three := w.create("f", leased("k1", tt.want))
		if li, _ := three.Lease(); li.State.String() != tt.got {
			t.Errorf("%s beside %s upgraded to %s: %v", tt.held, tt.other, tt.want, li.State)
		}
		w.expect()
		w.close(one, two, three)
	}
}

func TestLeaseContention(t *testing.T) {
	for _, tt := range []struct{ held, want, left, got string }{
		{"R", "R", "R", "R"}, {"R", "RH", "R", "RH"}, {"R", "RW", "R", "R"}, {"R", "RWH", "R", "RH"},
		{"RH", "R", "RH", "R"}, {"RH", "RH", "RH", "RH"}, {"RH", "RW", "RH", "R"}, {"RH", "RWH", "RH", "RH"},
		{"RW", "R", "R", "R"}, {"RW", "RH", "R", "RH"}, {"RW", "RW", "R", "R"}, {"RW", "RWH", "R", "RH"},
		{"RWH", "R", "RH", "R"}, {"RWH", "RH", "RH", "RH"}, {"RWH", "RW", "RH", "R"}, {"RWH", "RWH", "RH", "RH"},
	} {
		bubble(t, func(t *testing.T, w *world) {
			w.answer = true
			one := w.create("f", leased("k1", tt.held))
			out := w.try("f", leased("k2", tt.want), client("c2"))
			synctest.Wait()
			if !out.finished() || out.Status != ntstatus.Success || out.Lease.State.String() != tt.got {
				t.Errorf("%s against %s: %v %v", tt.want, tt.held, out.Status, out.Lease.State)
			}
			if li, _ := one.Lease(); li.State.String() != tt.left {
				t.Errorf("%s against %s: left %v", tt.want, tt.held, li.State)
			}
			w.close(one, out.Open)
			w.idle()
		})
	}
}

func TestLeaseAndOplock(t *testing.T) {
	for _, tt := range []struct {
		held string
		want OplockLevel
		left string
		got  OplockLevel
	}{
		{"R", OplockII, "R", OplockII}, {"R", OplockExclusive, "R", OplockII}, {"R", OplockBatch, "R", OplockII},
		{"RH", OplockII, "RH", OplockNone}, {"RH", OplockBatch, "RH", OplockNone},
		{"RW", OplockII, "R", OplockII}, {"RW", OplockBatch, "R", OplockII},
		{"RWH", OplockII, "RH", OplockNone}, {"RWH", OplockBatch, "RH", OplockNone},
	} {
		bubble(t, func(t *testing.T, w *world) {
			w.answer = true
			one := w.create("f", leased("k", tt.held))
			out := w.try("f", oplock(tt.want), client("c2"))
			synctest.Wait()
			if li, _ := one.Lease(); out.Oplock != tt.got || li.State.String() != tt.left {
				t.Errorf("oplock %d against %s: %d, left %v", tt.want, tt.held, out.Oplock, li.State)
			}
			w.close(one, out.Open)
		})
	}
	for _, held := range []OplockLevel{OplockII, OplockExclusive, OplockBatch} {
		for _, want := range []string{"R", "RH", "RW", "RWH"} {
			bubble(t, func(t *testing.T, w *world) {
				w.answer = true
				one := w.create("f", oplock(held))
				out := w.try("f", leased("k", want), client("c2"))
				synctest.Wait()
				if one.Oplock() != OplockII || out.Lease.State != CacheRead {
					t.Errorf("%s against oplock %d: %v, left %d", want, held, out.Lease.State, one.Oplock())
				}
				w.close(one, out.Open)
			})
		}
	}
}

func TestStatOpens(t *testing.T) {
	for _, tt := range []struct {
		access uint32
		quiet  bool
	}{
		{fileReadData, false}, {fileWriteData, false}, {fileReadEA, false}, {fileWriteEA, false}, {fileExecute, false},
		{fileReadAttributes, true}, {fileWriteAttributes, true}, {accessDelete, false}, {accessReadControl, true},
		{accessWriteDAC, false}, {accessWriteOwner, false}, {accessSynchronize, true},
	} {
		bubble(t, func(t *testing.T, w *world) {
			w.answer = true
			one := w.create("f", leased("k", "RWH"))
			out := w.try("f", access(tt.access), disposition(dispOpen))
			synctest.Wait()
			if tt.quiet {
				w.expect()
			} else {
				w.expect("k: RWH → RH epoch 2 ack")
			}
			w.close(one, out.Open)
		})
	}
	// Nor does a stat open keep others from a lease.
	w := newWorld(t)
	w.make("f")
	one := w.create("f", access(fileReadAttributes))
	two := w.create("f", leased("k", "RWH"))
	if li, _ := two.Lease(); li.State != cacheRWH {
		t.Errorf("beside a stat open: %v", li.State)
	}
	w.close(one, two)
}

func TestBreakWaits(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		one := w.create("f", leased("k1", "RWH"))
		out := w.try("f", client("c2"))
		synctest.Wait()
		w.expect("k1: RWH → RH epoch 2 ack")
		if out.finished() {
			t.Fatal("did not wait")
		}
		if s := w.leaseState("f", "k1"); s != "RWH breaking" {
			t.Error(s)
		}
		for _, c := range []Caching{cacheRWH, cacheRW, CacheWrite} {
			_, st := w.fs.AcknowledgeLease(key("c1"), key("k1"), c)
			w.want("acknowledging too much", st, ntstatus.RequestNotAccepted)
		}
		if out.finished() {
			t.Fatal("went on without acknowledgement")
		}
		_, st := w.fs.AcknowledgeLease(key("c1"), key("k1"), 0)
		w.want("acknowledge", st, ntstatus.Success)
		_, st = w.fs.AcknowledgeLease(key("c1"), key("k1"), 0)
		w.want("acknowledge again", st, ntstatus.Unsuccessful)
		synctest.Wait()
		if !out.finished() || out.Status != ntstatus.Success {
			t.Fatalf("%v", out.Status)
		}
		w.close(one, out.Open)
		w.idle()
	})
}

// TestBreakTwice is an overwrite that comes while a break for another open is
// under way: the client gives up its lease in steps, and both wait to the end.
func TestBreakTwice(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		one := w.create("f", leased("k1", "RWH"))
		plain := w.try("f", client("c2"))
		over := w.try("f", client("c2"), disposition(dispOverwrite))
		synctest.Wait()
		w.expect("k1: RWH → RH epoch 2 ack")
		w.fs.AcknowledgeLease(key("c1"), key("k1"), cacheRH)
		synctest.Wait()
		w.expect("k1: RH → R epoch 2 ack")
		w.close(w.create("f", leased("k1", "")))
		synctest.Wait()
		if plain.finished() || over.finished() {
			t.Error("went on before the break was over")
		}
		w.fs.AcknowledgeLease(key("c1"), key("k1"), CacheRead)
		synctest.Wait()
		w.expect("k1: R → - epoch 2")
		if !plain.finished() || plain.Action != ActionOpened || !over.finished() || over.Action != ActionOverwritten {
			t.Errorf("%+v %+v", plain, over)
		}
		w.close(one, plain.Open, over.Open)
		w.idle()
	})
}

// TestBreakWithoutWaiting: R and H stand in nobody's way.
func TestBreakWithoutWaiting(t *testing.T) {
	w := newWorld(t)
	one := w.create("f", leased("k1", "RH"))
	w.make("f", disposition(dispOverwrite), client("c2"))
	w.expect("k1: RH → - epoch 2 ack")
	w.make("f", disposition(dispOverwrite), client("c2"))
	w.expect()
	if s := w.leaseState("f", "k1"); s != "RH breaking" {
		t.Error(s)
	}
	w.fs.AcknowledgeLease(key("c1"), key("k1"), 0)
	w.close(one)
	one = w.create("f", leased("k1", "R"))
	two := w.create("f", leased("k2", "R"), client("c2"))
	w.write(two, "x", 0)
	w.expect("k1: R → - epoch 2")
	w.write(two, "y", 0)
	w.expect()
	w.close(one, two)
	w.idle()
}

func TestBreakTimeout(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		one := w.create("f", leased("k1", "RWH"))
		start := time.Now()
		out := w.try("f", leased("k2", "RWH"), client("c2"))
		<-out.done
		if d := time.Since(start); d != 35*time.Second {
			t.Errorf("waited %v", d)
		}
		if out.Lease.State != cacheRH {
			t.Errorf("granted %v", out.Lease.State)
		}
		if s := w.leaseState("f", "k1"); s != "-" {
			t.Error(s)
		}
		if _, _, current := w.fs.AcknowledgeBreak(w.fs.BreakOf(key("c1"), key("k1"))-1, key("c1"), key("k1"), cacheRH); current {
			t.Error("an acknowledgement of another break was taken")
		}
		_, st := w.fs.AcknowledgeLease(key("c1"), key("k1"), cacheRH)
		w.want("late", st, ntstatus.Unsuccessful)
		w.close(one, out.Open)
		w.idle()
	})
}

func TestBreakCancelled(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		one := w.create("f", leased("k1", "RWH"))
		out := w.try("f", client("c2"))
		synctest.Wait()
		out.p.Cancel()
		synctest.Wait()
		if !out.finished() || out.Status != ntstatus.Cancelled {
			t.Errorf("%v", out.Status)
		}
		out.p.Cancel()
		w.close(one)
		synctest.Wait()
		w.idle()
	})
}

// TestBreakBySharing: handle caching is broken when it keeps an open alive that
// conflicts, and nothing else.
func TestBreakBySharing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.answer = true
		one := w.create("f", leased("k1", "RWH"), share(0))
		out := w.try("f", leased("k2", "RWH"), client("c2"), disposition(dispOverwrite))
		synctest.Wait()
		w.want("create", out.Status, ntstatus.SharingViolation)
		w.expect("k1: RWH → RW epoch 2 ack")
		w.close(one)

		w.answer = false
		one = w.create("f", leased("k1", "RH"), share(0))
		out = w.try("f", client("c2"))
		synctest.Wait()
		w.expect("k1: RH → R epoch 2 ack")
		if out.finished() {
			t.Fatal("did not wait")
		}
		w.close(one)
		synctest.Wait()
		if !out.finished() || out.Status != ntstatus.Success {
			t.Errorf("after the close: %v", out.Status)
		}
		w.close(out.Open)
		w.idle()
	})
}

func TestLeaseKeyOfAnotherFile(t *testing.T) {
	w := newWorld(t)
	one := w.create("f", leased("k", "RWH"))
	w.make("g")
	for _, path := range []string{"g", "new", "f:s"} {
		w.want(path, w.try(path, leased("k", "R")).Status, ntstatus.InvalidParameter)
	}
	w.close(w.create("F::$DATA", leased("k", "R")))
	w.close(w.create("g", leased("k", "R"), client("c2")))
	w.want("rename", w.rename(one, "h", 0), ntstatus.Success)
	w.expect()
	w.close(w.create("h", leased("k", "R")))
	w.close(one)
	w.idle()
}

func TestOplockBreaks(t *testing.T) {
	for _, tt := range []struct {
		held OplockLevel
		opts []option
		told []string
		left OplockLevel
		got  ntstatus.Status
	}{
		{OplockExclusive, nil, []string{"oplock f → R"}, OplockII, ntstatus.Success},
		{OplockBatch, nil, []string{"oplock f → R"}, OplockII, ntstatus.Success},
		{OplockBatch, []option{disposition(dispOverwrite)}, []string{"oplock f → -"}, OplockNone, ntstatus.Success},
		{OplockII, nil, nil, OplockII, ntstatus.Success},
		{OplockII, []option{disposition(dispOverwrite)}, []string{"oplock f → -"}, OplockNone, ntstatus.Success},
		{OplockBatch, []option{access(fileReadAttributes), disposition(dispOpen)}, nil, OplockBatch, ntstatus.Success},
		{OplockBatch, []option{access(accessReadControl), disposition(dispOpen)}, []string{"oplock f → R"}, OplockII, ntstatus.Success},
		// Sharing is checked before an exclusive oplock, after a batch oplock is broken.
		{OplockExclusive, []option{share(0)}, nil, OplockExclusive, ntstatus.SharingViolation},
		{OplockBatch, []option{share(0)}, []string{"oplock f → R"}, OplockII, ntstatus.SharingViolation},
	} {
		bubble(t, func(t *testing.T, w *world) {
			w.answer = true
			one := w.create("f", oplock(tt.held))
			out := w.try("f", append([]option{tag("two"), client("c2")}, tt.opts...)...)
			synctest.Wait()
			w.expect(tt.told...)
			if one.Oplock() != tt.left || out.Status != tt.got {
				t.Errorf("held %d: left %d, %v", tt.held, one.Oplock(), out.Status)
			}
			w.close(one)
			if out.Open != nil {
				w.close(out.Open)
			}
			w.idle()
		})
	}
}

func TestOplockAcknowledgement(t *testing.T) {
	for _, tt := range []struct {
		held, ack OplockLevel
		st        ntstatus.Status
		left      OplockLevel
	}{
		{OplockBatch, OplockII, ntstatus.Success, OplockII},
		{OplockBatch, OplockNone, ntstatus.Success, OplockNone},
		{OplockBatch, OplockExclusive, ntstatus.Success, OplockNone},
		{OplockExclusive, OplockExclusive, ntstatus.InvalidOplockProtocol, OplockNone},
		{OplockBatch, OplockBatch, ntstatus.InvalidOplockProtocol, OplockNone},
		{OplockBatch, OplockLease, ntstatus.InvalidParameter, OplockNone},
	} {
		bubble(t, func(t *testing.T, w *world) {
			one := w.create("f", oplock(tt.held))
			_, st := one.AcknowledgeOplock(OplockNone)
			w.want("unasked", st, ntstatus.InvalidOplockProtocol)
			out := w.try("f", client("c2"))
			synctest.Wait()
			_, st = one.AcknowledgeOplock(tt.ack)
			w.want("acknowledge", st, tt.st)
			synctest.Wait()
			if one.Oplock() != tt.left || !out.finished() {
				t.Errorf("held %d acknowledged %d: %d", tt.held, tt.ack, one.Oplock())
			}
			w.close(one, out.Open)
			w.idle()
		})
	}
}

// TestParentLease: a change of the listing breaks the directory's lease, unless
// the client says that it is its own.
func TestParentLease(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.answer = true
		d := w.create("d", folder, read, leased("dir", "RH"))
		rearm := func() {
			t.Helper()
			synctest.Wait()
			w.mu.Lock()
			w.told = nil
			w.mu.Unlock()
			w.close(w.create("d", folder, read, leased("dir", "RH")))
			if li, _ := d.Lease(); li.State != cacheRH {
				t.Fatalf("rearmed: %v", li.State)
			}
		}
		broken := func(what string, want bool) {
			t.Helper()
			synctest.Wait()
			if li, _ := d.Lease(); li.State == 0 != want {
				t.Errorf("%s: directory lease %v", what, li.State)
			}
			rearm()
		}
		own := w.create(`d\own`, leased("k1", "RWH"), under("dir"))
		broken("create with the parent's key", false)
		other := w.create(`d\other`, leased("k2", "RWH"))
		broken("create without", true)
		w.write(other, "x", 0)
		broken("write", false)
		w.close(other)
		broken("close after write", true)
		w.write(own, "x", 0)
		w.close(own)
		broken("write and close with the key", false)
		o := w.create(`d\own`)
		broken("open", false)
		o.SetBasic(BasicChange{FileAttributes: attrHidden})
		broken("attributes", true)
		o.SetBasic(BasicChange{LastWrite: 1})
		broken("write time", true)
		o.SetEndOfFile(100)
		broken("end of file", true)
		w.want("rename", w.rename(o, `d\new`, 0), ntstatus.Success)
		broken("rename", true)
		w.want("rename away", w.rename(o, `new`, 0), ntstatus.Success)
		broken("rename away", true)
		w.want("link", w.statusOp(func(done doneFunc) *Pending { return o.Link(`d\link`, 0, done) }), ntstatus.Success)
		broken("link", true)
		w.close(o)
		broken("close of what was linked", false)
		o = w.create(`d\link`, options(optDeleteOnClose))
		broken("open to delete", false)
		w.close(o)
		broken("delete", true)
		w.make(`d\s`)
		broken("create", true)
		w.close(w.create(`d\s`, disposition(dispOverwrite)))
		broken("overwrite", true)
		w.close(d)
		w.idle()
	})
}

// TestPanicOfWhoWaited: an operation that panics where it goes on after a wait ends alone, with what else waited
// for the same break.
func TestPanicOfWhoWaited(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var panics []any
		w.fs.cfg.Panicked = func(p any) { panics = append(panics, p) }
		one := w.create("f", leased("k1", "RWH"))
		request := func() *CreateRequest {
			return &CreateRequest{Token: administrator, Path: "f", DesiredAccess: fileAllAccess, ShareAccess: shareRead | shareWrite | shareDelete,
				Disposition: dispOpen, Client: key("c2"), Tag: "f"}
		}
		var made []*Open
		completed := func(res CreateResult, st ntstatus.Status) {
			w.want("create", st, ntstatus.Success)
			made = append(made, res.Open)
		}
		w.tree.Create(request(), completed)
		w.tree.Create(request(), func(res CreateResult, st ntstatus.Status) {
			completed(res, st)
			panic("who waited")
		})
		w.tree.Create(request(), completed)
		step, status := &retry{}, ntstatus.Pending
		step.refuse = func() { status = ntstatus.Cancelled }
		first := true
		step.step = func(again func()) (func(), *waiter) {
			if !first {
				panic("a step")
			}
			first = false
			one.file.mu.Lock()
			defer one.file.mu.Unlock()
			return nil, one.file.wait(again)
		}
		step.start()
		w.fs.AcknowledgeLease(key("c1"), key("k1"), cacheRH)
		synctest.Wait()
		if len(made) != 3 || len(panics) != 2 || panics[0] != "who waited" || panics[1] != "a step" {
			t.Errorf("%d opens, panics %q", len(made), panics)
		}
		w.want("whose step panicked", status, ntstatus.Cancelled)
		w.close(append(made, one)...)
		w.idle()
	})
}
