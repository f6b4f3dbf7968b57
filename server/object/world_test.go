package object

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/store"
	"gabion/store/memvol"
)

// world is an object store on a volume in memory, with a Breaker that writes
// down what it is told.
type world struct {
	t    *testing.T
	fs   *FS
	vol  *Volume
	tree *Tree

	// answer, if set, acknowledges every break as asked, on its own goroutine.
	answer bool

	mu   sync.Mutex
	told []string
}

// newWorld makes an empty one.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, memvol.New(memvol.Options{}))
}

// newWorldOn is newWorld on a volume of its own.
func newWorldOn(t *testing.T, v store.Volume) *world {
	t.Helper()
	w := &world{t: t}
	w.fs = New(Config{
		Breaker: w, Stopped: func(err error) { t.Error(err) },
		Left: func(path string, _ error) { w.say("left %s", path) },
	})
	t.Cleanup(func() { v.Close() })
	w.vol = w.fs.Mount(v)
	tree, st := w.vol.Tree("", TreeOptions{Share: "vms"})
	if st != ntstatus.Success {
		t.Fatal(st)
	}
	w.tree = tree
	return w
}

func (w *world) BreakOplock(o *Open, to OplockLevel, ackRequired bool) {
	w.say("oplock %v → %v", o.Tag(), to.caching())
	if w.answer && ackRequired {
		go o.AcknowledgeOplock(to)
	}
}

func (w *world) BreakLease(b LeaseBreak) {
	ack := ""
	if b.AckRequired {
		ack = " ack"
	}
	w.say("%s: %v → %v epoch %d%s", keyName(b.Key), b.Current, b.New, b.Epoch, ack)
	if w.answer && b.AckRequired {
		go w.fs.AcknowledgeLease(b.Client, b.Key, b.New)
	}
}

func (w *world) Changed([]*Open) {}

func (w *world) Closed(o *Open) { w.say("closed %v", o.Tag()) }

func (w *world) say(format string, args ...any) {
	w.mu.Lock()
	w.told = append(w.told, fmt.Sprintf(format, args...))
	w.mu.Unlock()
}

// expect checks what the Breaker was told since the last call.
func (w *world) expect(want ...string) {
	w.t.Helper()
	w.mu.Lock()
	got := w.told
	w.told = nil
	w.mu.Unlock()
	if strings.Join(got, "; ") != strings.Join(want, "; ") {
		w.t.Errorf("told %q, want %q", got, want)
	}
}

// key makes a lease key or client id of a name.
func key(name string) (g dtyp.GUID) {
	copy(g[:], name)
	return g
}

func keyName(g dtyp.GUID) string { return strings.TrimRight(string(g[:]), "\x00") }

// somebody is an ordinary user, administrator one with every right.
var (
	administrator = auth.System
	somebody      = ordinary(1001)
)

func ordinary(rid uint32) *Token {
	return &Token{
		Name: fmt.Sprint("user", rid), User: dtyp.MakeSID(5, 21, 1, 2, 3, rid),
		Groups:     []auth.Group{{SID: dtyp.Everyone, Attributes: auth.GroupDefault}, {SID: dtyp.AuthenticatedUsers, Attributes: auth.GroupDefault}},
		Privileges: auth.PrivilegeSet(auth.SeChangeNotify),
	}
}

// option changes a create request.
type option func(*CreateRequest)

func access(a uint32) option      { return func(r *CreateRequest) { r.DesiredAccess = a } }
func share(s uint32) option       { return func(r *CreateRequest) { r.ShareAccess = s } }
func disposition(d uint32) option { return func(r *CreateRequest) { r.Disposition = d } }
func options(o uint32) option     { return func(r *CreateRequest) { r.Options |= o } }
func attributes(a uint32) option  { return func(r *CreateRequest) { r.FileAttributes = a } }
func as(t *Token) option          { return func(r *CreateRequest) { r.Token = t } }
func oplock(l OplockLevel) option {
	return func(r *CreateRequest) { r.Oplock = l }
}
func client(name string) option { return func(r *CreateRequest) { r.Client = key(name) } }
func tag(s string) option       { return func(r *CreateRequest) { r.Tag = s } }

// leased asks for a version 2 lease; state is letters.
func leased(name, state string) option {
	return func(r *CreateRequest) {
		r.Oplock = OplockLease
		r.Lease = &LeaseRequest{Key: key(name), State: letters(state), V2: true}
	}
}

// under names the parent's lease key.
func under(name string) option {
	return func(r *CreateRequest) { r.Lease.HasParent, r.Lease.ParentKey = true, key(name) }
}

func letters(s string) (c Caching) {
	for _, l := range s {
		switch l {
		case 'R':
			c |= CacheRead
		case 'W':
			c |= CacheWrite
		case 'H':
			c |= CacheHandle
		}
	}
	return c
}

var (
	read   = access(fileGenericRead)
	folder = options(optDirectoryFile)
)

// outcomeOf is what a create came to; done is false while it waits.
type outcomeOf struct {
	CreateResult
	Status ntstatus.Status
	done   chan struct{}
	p      *Pending
}

func (o *outcomeOf) finished() bool {
	select {
	case <-o.done:
		return true
	default:
		return false
	}
}

// try creates without expecting anything.
func (w *world) try(path string, opts ...option) *outcomeOf {
	w.t.Helper()
	r := &CreateRequest{
		Token: administrator, Path: path, DesiredAccess: fileAllAccess, ShareAccess: shareRead | shareWrite | shareDelete,
		Disposition: dispOpenIf, Client: key("c1"), Tag: path,
	}
	for _, o := range opts {
		o(r)
	}
	out := &outcomeOf{done: make(chan struct{})}
	out.p = w.tree.Create(r, func(res CreateResult, st ntstatus.Status) {
		out.CreateResult, out.Status = res, st
		close(out.done)
	})
	if out.p == nil && !out.finished() {
		w.t.Fatal("create neither completed nor pending")
	}
	return out
}

// create opens and demands success.
func (w *world) create(path string, opts ...option) *Open {
	w.t.Helper()
	out := w.try(path, opts...)
	if !out.finished() {
		w.t.Fatalf("create of %q waits", path)
	}
	if out.Status != ntstatus.Success {
		w.t.Fatalf("create of %q: %v", path, out.Status)
	}
	return out.Open
}

// make creates something and closes it.
func (w *world) make(path string, opts ...option) {
	w.t.Helper()
	w.close(w.create(path, opts...))
}

func (w *world) close(opens ...*Open) {
	w.t.Helper()
	for _, o := range opens {
		if _, _, st := o.Close(); st != ntstatus.Success {
			w.t.Fatalf("close: %v", st)
		}
	}
}

func (w *world) want(what string, got, want ntstatus.Status) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// idle demands that nothing is live but the tree's root.
func (w *world) idle() {
	w.t.Helper()
	w.vol.mu.Lock()
	defer w.vol.mu.Unlock()
	if len(w.vol.files) != 1 {
		w.t.Errorf("%d live files at the end", len(w.vol.files))
	}
	w.fs.leaseMu.Lock()
	defer w.fs.leaseMu.Unlock()
	if len(w.fs.leases) != 0 {
		w.t.Errorf("%d leases at the end", len(w.fs.leases))
	}
}

func (w *world) write(o *Open, s string, off int64) {
	w.t.Helper()
	if _, st := o.Write([]byte(s), off, false); st != ntstatus.Success {
		w.t.Fatal("write:", st)
	}
}

func (w *world) read(o *Open, n int, off int64) string {
	w.t.Helper()
	b := make([]byte, n)
	k, st := o.Read(b, off)
	if st != ntstatus.Success {
		w.t.Fatal("read:", st)
	}
	return string(b[:k])
}

// statusOp runs an operation that completes with a position and a status.
func (w *world) statusOp(op func(func(store.Pos, ntstatus.Status)) *Pending) ntstatus.Status {
	w.t.Helper()
	got, ok := ntstatus.Pending, false
	op(func(_ store.Pos, st ntstatus.Status) { got, ok = st, true })
	if !ok {
		return ntstatus.Pending
	}
	return got
}

func (w *world) rename(o *Open, to string, flags uint32) ntstatus.Status {
	return w.statusOp(func(done func(store.Pos, ntstatus.Status)) *Pending { return o.Rename(to, flags, done) })
}

func (w *world) dispose(o *Open, flags uint32) ntstatus.Status {
	return w.statusOp(func(done func(store.Pos, ntstatus.Status)) *Pending { return o.SetDisposition(flags, done) })
}

// list returns the names of a directory.
func (w *world) list(path string) string {
	w.t.Helper()
	d := w.create(path, folder, read)
	defer w.close(d)
	var names []string
	d.ReadDir(DirQuery{}, func(e *DirEntry) bool {
		if e.Name != "." && e.Name != ".." {
			names = append(names, e.Name)
		}
		return true
	})
	return strings.Join(names, " ")
}

type doneFunc = func(store.Pos, ntstatus.Status)

func sddl(t *testing.T, text string) []byte {
	t.Helper()
	sd, err := dtyp.ParseSDDL(text, dtyp.SID{})
	if err != nil {
		t.Fatal(err)
	}
	return sd.Encode()
}

func contextOf(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

type rootID = store.FileID

const rootFile = store.RootID

// idleSoon is idle for tests whose goroutines may still be on their way out.
func (w *world) idleSoon() {
	w.t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		w.vol.mu.Lock()
		n := len(w.vol.files)
		w.vol.mu.Unlock()
		if n == 1 {
			break
		}
	}
	w.idle()
}
