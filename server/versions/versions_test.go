package versions

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/server/object"
	"gabion/server/vm"
	"gabion/store"
	"gabion/store/memvol"
)

// silent is a Breaker that nobody listens to.
type silent struct{}

func (silent) BreakOplock(*object.Open, object.OplockLevel, bool) {}
func (silent) BreakLease(object.LeaseBreak)                       {}
func (silent) Changed([]*object.Open)                             {}
func (silent) Closed(*object.Open)                                {}

// oneShare is the share vms on the whole volume.
type oneShare struct{}

func (oneShare) Folder(share string) (string, string, bool) {
	return "vms", "", strings.EqualFold(share, "vms")
}
func (oneShare) Names() []string { return []string{"vms"} }

// world is a volume with what works on it.
type world struct {
	*testing.T
	vol store.Volume
	c   *Changer
	vms *vm.Book
	now time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, memvol.New(memvol.Options{}))
}

func newWorldOn(t *testing.T, vol store.Volume) *world {
	t.Helper()
	w := &world{T: t, now: time.Date(2027, 1, 31, 10, 0, 0, 0, time.UTC), vol: vol}
	tree, st := object.New(object.Config{Breaker: silent{}}).Mount(w.vol).Tree("", object.TreeOptions{})
	if st != ntstatus.Success {
		t.Fatal(st)
	}
	book, err := OpenBook(w.vol, func() time.Time { return w.now })
	w.ok(err)
	w.c = &Changer{Book: book, Tree: tree}
	w.vms, err = vm.Open(w.vol, oneShare{})
	w.ok(err)
	return w
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// open opens a path.
func (w *world) open(path string) store.Node {
	w.Helper()
	n, err := vm.Walk(w.vol, store.Live, path)
	w.ok(err)
	w.Cleanup(n.Close)
	return n
}

// dir makes a folder.
func (w *world) dir(path string) {
	w.Helper()
	parent, name := split(path)
	n, _, err := w.vol.Create(w.open(parent), name, store.Init{Dir: true, Times: store.Times{Creation: 1, LastAccess: 1, LastWrite: 1, Change: 1}})
	w.ok(err)
	n.Close()
}

func split(path string) (parent, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

// put writes a file of one kind of byte, and sets its write time to when.
func (w *world) put(path string, b byte, size, when int64) {
	w.Helper()
	n, err := vm.Walk(w.vol, store.Live, path)
	if errors.Is(err, store.ErrNotFound) {
		parent, name := split(path)
		n, _, err = w.vol.Create(w.open(parent), name, store.Init{Times: store.Times{Creation: 1, LastAccess: 1, LastWrite: 1, Change: 1}})
	}
	w.ok(err)
	defer n.Close()
	s, err := n.Data()
	w.ok(err)
	defer s.Close()
	_, err = s.SetSize(size, store.Touch{})
	w.ok(err)
	_, err = s.WriteAt(bytes.Repeat([]byte{b}, int(size)), 0, store.Touch{LastWrite: dtyp.Filetime(when)})
	w.ok(err)
}

// tree lists what is below a path, each file with its first byte and size.
func (w *world) tree(path string) (out []string) {
	w.Helper()
	var list func(n store.Node, at string)
	list = func(n store.Node, at string) {
		w.ok(vm.Each(w.vol, n, func(e store.Entry) error {
			c, _, err := w.vol.Open(n, e.Name)
			w.ok(err)
			defer c.Close()
			if e.Dir {
				out = append(out, at+e.Name+"/")
				list(c, at+e.Name+"/")
				return nil
			}
			s, err := c.Data()
			w.ok(err)
			defer s.Close()
			p := make([]byte, s.Sizes().Size)
			_, _ = s.ReadAt(p, 0)
			first := "empty"
			if len(p) > 0 {
				first = string(p[0])
			}
			if !bytes.Equal(p, bytes.Repeat([]byte(first)[:min(1, len(p))], len(p))) {
				first = "mixed"
			}
			out = append(out, fmt.Sprintf("%s%s=%s*%d", at, e.Name, first, len(p)))
			return nil
		}))
	}
	list(w.open(path), "")
	slices.Sort(out)
	return out
}

func (w *world) snap(name string, target string, m Meta) Info {
	w.Helper()
	t, err := w.vms.Resolve(target)
	w.ok(err)
	i, err := w.c.Book.Create(name, t.IDs(), m)
	w.ok(err)
	return i
}

func (w *world) target(text string) *vm.Target {
	w.Helper()
	t, err := w.vms.Parse(text)
	w.ok(err)
	return t
}

func (w *world) same(what string, got, want []string) {
	w.Helper()
	if !slices.Equal(got, want) {
		w.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// client opens a file as an SMB client does.
func (w *world) client(path string, access, share uint32) *object.Open {
	w.Helper()
	o, st := w.c.Tree.CreateWait(w.Context(), &object.CreateRequest{
		Token: auth.System, Path: strings.ReplaceAll(path, "/", `\`), Disposition: 1, DesiredAccess: access, ShareAccess: share, Options: 0x40,
	})
	if st != ntstatus.Success {
		w.Fatal(st)
	}
	return o
}

// A folder that was ravaged becomes what it was, and what was there before is in the
// safety snapshot.
func TestRestoreFolder(t *testing.T) {
	w := newWorld(t)
	for _, d := range []string{"docs", "docs/old", "docs/kind", "other"} {
		w.dir(d)
	}
	w.put("docs/a", 'a', 10000, 1)
	w.put("docs/b", 'b', 5000, 1)
	w.put("docs/same", 's', 5000, 1)
	w.put("docs/old/c", 'c', 1<<20, 1)
	w.put("other/x", 'x', 10, 1)
	before := w.tree("docs")
	s := w.snap("good", "vms/docs", Meta{})

	w.put("docs/a", 'A', 20000, 2)
	w.put("other/x", 'X', 10, 2)
	_, err := w.vol.Rename(w.open("docs"), "b", w.open("docs"), "b.locked", false)
	w.ok(err)
	_, err = w.vol.Unlink(w.open("docs/old"), "c")
	w.ok(err)
	_, err = w.vol.Unlink(w.open("docs"), "old")
	w.ok(err)
	_, err = w.vol.Unlink(w.open("docs"), "kind")
	w.ok(err)
	w.put("docs/kind", 'k', 1, 2)
	w.dir("docs/new")
	w.put("docs/new/ransom.txt", 'r', 100, 2)
	ruined := w.tree("docs")

	// The file that did not change may be in use.
	o := w.client("docs/same", 1, 7)
	defer o.Close()
	r, err := w.c.Restore(t.Context(), w.target("vms/docs"), s, Options{})
	w.ok(err)
	w.same("restored", w.tree("docs"), before)
	w.same("other", w.tree("other"), []string{"x=X*10"})
	if a, _ := w.open("docs/a").Attr(); a.LastWriteTime != 1 {
		t.Errorf("write time %v", a.LastWriteTime)
	}
	if r.Files != 9 || r.Safety == "" || r.Bytes == 0 {
		t.Errorf("%+v", r)
	}
	// And back again.
	safe, err := w.c.Book.Find(r.Safety)
	w.ok(err)
	_, err = w.c.Restore(t.Context(), w.target("vms/docs"), safe, Options{NoSafety: true})
	w.ok(err)
	w.same("ruined again", w.tree("docs"), ruined)
	// Once more, keeping what is new.
	_, err = w.c.Restore(t.Context(), w.target("vms/docs"), s, Options{KeepNew: true})
	w.ok(err)
	got := w.tree("docs")
	for _, want := range append(before, "new/ransom.txt=r*100", "b.locked=b*5000") {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing in %v", want, got)
		}
	}
	r, err = w.c.Restore(t.Context(), w.target("vms/docs"), s, Options{KeepNew: true})
	if err != nil || r.Files != 0 || r.Safety != "" {
		t.Errorf("nothing to do: %+v %v", r, err)
	}
}

// A file or folder that is gone comes back.
func TestRestoreWhatIsGone(t *testing.T) {
	w := newWorld(t)
	w.dir("vm1")
	w.put("vm1/disk.vhdx", 'd', 9000, 1)
	all := w.snap("all", "vms", Meta{})
	_, err := w.vol.Unlink(w.open("vm1"), "disk.vhdx")
	w.ok(err)
	_, err = w.c.Restore(t.Context(), w.target("vms/vm1/disk.vhdx"), all, Options{})
	w.ok(err)
	w.same("file", w.tree(""), []string{"vm1/", "vm1/disk.vhdx=d*9000"})
	_, err = w.vol.Unlink(w.open("vm1"), "disk.vhdx")
	w.ok(err)
	_, err = w.vol.Unlink(w.open(""), "vm1")
	w.ok(err)
	_, err = w.c.Restore(t.Context(), w.target("vms/vm1"), all, Options{})
	w.ok(err)
	w.same("folder", w.tree(""), []string{"vm1/", "vm1/disk.vhdx=d*9000"})
	if _, err := w.c.Restore(t.Context(), w.target("vms/never"), all, Options{}); !errors.Is(err, ErrNothing) {
		t.Errorf("what was never there: %v", err)
	}
}

func TestInUse(t *testing.T) {
	w := newWorld(t)
	w.put("a", 'a', 5000, 1)
	w.put("b", 'b', 5000, 1)
	s := w.snap("s", "vms", Meta{})
	w.put("a", 'A', 5000, 2)
	w.put("b", 'B', 5000, 2)
	o := w.client("b", 3, 7)
	changed := w.tree("")
	var inUse *InUseError
	_, err := w.c.Restore(t.Context(), w.target("vms"), s, Options{})
	if !errors.As(err, &inUse) || inUse.Path != "b" {
		t.Fatalf("in use: %v", err)
	}
	w.same("nothing happened", w.tree(""), changed)
	if list, _ := w.c.Book.List(store.RootID); len(list) != 1 {
		t.Errorf("a safety snapshot without need: %v", list)
	}
	_, err = w.c.Restore(t.Context(), w.target("vms"), s, Options{Force: true})
	w.ok(err)
	w.same("forced", w.tree(""), []string{"a=a*5000", "b=b*5000"})
	if _, st := o.Write([]byte("late"), 0, false); st != ntstatus.FileClosed {
		t.Errorf("a write after that: %v", st)
	}
	// The files are given back.
	for _, name := range []string{"a", "b"} {
		w.client(name, 3, 0).Close()
	}
}

func TestSync(t *testing.T) {
	w := newWorld(t)
	for _, d := range []string{"prod", "dev"} {
		w.dir(d)
		w.put(d+"/os.vhdx", d[0], 1<<20, 1)
		w.put(d+"/data.vhdx", d[1], 300000, 1)
		w.put(d+"/vm.cfg", 'c', 10, 1)
	}
	w.put("dev/own.vhdx", 'o', 4096, 1)
	s := w.snap("nightly", "vm:prod", Meta{})
	w.put("prod/os.vhdx", 'n', 1<<20, 2)
	disks := func(target string, s *Info) []vm.Disk {
		list, err := w.c.Book.Disks(w.target(target), s)
		w.ok(err)
		return list
	}
	from, to := disks("vm:prod", &s), disks("vm:dev", nil)
	if _, err := Match(from, to, nil); !errors.Is(err, ErrMapping) {
		t.Errorf("own.vhdx has no source: %v", err)
	}
	if _, err := Match(from, to, []string{"none.vhdx"}); !errors.Is(err, ErrMapping) {
		t.Errorf("unknown disk: %v", err)
	}
	pairs, err := Match(from, to, []string{"os.vhdx", "data.vhdx=own.vhdx"})
	w.ok(err)
	before := w.tree("dev")
	r, err := w.c.Sync(t.Context(), pairs, s, "vm:dev", Options{})
	w.ok(err)
	w.same("synced", w.tree("dev"), []string{"data.vhdx=e*300000", "os.vhdx=p*1048576", "own.vhdx=r*300000", "vm.cfg=c*10"})
	w.same("the source", w.tree("prod"), []string{"data.vhdx=r*300000", "os.vhdx=n*1048576", "vm.cfg=c*10"})
	if r.Bytes < 1<<20 || r.Safety == "" {
		t.Errorf("%+v", r)
	}
	r2, err := w.c.Sync(t.Context(), pairs, s, "vm:dev", Options{})
	if err != nil || r2.Bytes != 0 {
		t.Errorf("once more: %+v %v", r2, err)
	}
	safe, err := w.c.Book.Find(r.Safety)
	w.ok(err)
	for _, name := range []string{"os.vhdx", "own.vhdx"} {
		_, err = w.c.Restore(t.Context(), w.target("vms/dev/"+name), safe, Options{})
		w.ok(err)
	}
	w.same("undone", w.tree("dev"), before)
}

func TestDiff(t *testing.T) {
	w := newWorld(t)
	w.dir("d")
	w.put("d/same", 's', 5000, 1)
	w.put("d/changed", 'a', 1<<20, 1)
	w.put("d/gone", 'g', 5000, 1)
	a := w.snap("a", "vms/d", Meta{})
	n := w.open("d/changed")
	s, err := n.Data()
	w.ok(err)
	defer s.Close()
	_, err = s.WriteAt([]byte("new"), 8192, store.Touch{LastWrite: 3})
	w.ok(err)
	_, err = w.vol.Unlink(w.open("d"), "gone")
	w.ok(err)
	w.put("d/new", 'n', 4096, 2)
	b := w.snap("b", "vms/d", Meta{})
	w.put("d/new", 'N', 4096, 3)
	list, err := w.c.Book.Collect(w.target("vms/d"), Side{&a}, Side{&b})
	w.ok(err)
	var got []string
	for _, f := range list {
		got = append(got, fmt.Sprint(f.Path, " ", f.Change, " ", f.Ranges))
	}
	w.same("diff", got, []string{"vms/d/changed changed [[8192 4096]]", "vms/d/gone removed []", "vms/d/new added [[0 4096]]"})
	list, err = w.c.Book.Collect(w.target("vms/d"), Side{&b}, Side{})
	if err != nil || len(list) != 1 || list[0].Path != "vms/d/new" {
		t.Errorf("to now: %v %v", list, err)
	}
}

func TestImmutable(t *testing.T) {
	w := newWorld(t)
	w.snap("kept", "vms", Meta{Until: w.now.Add(time.Hour)})
	var immutable *ImmutableError
	if err := w.c.Book.Delete("kept", nil); !errors.As(err, &immutable) {
		t.Errorf("deleted: %v", err)
	}
	if _, err := w.c.Book.Lock("kept", w.now.Add(time.Minute)); !errors.Is(err, ErrShorter) {
		t.Errorf("shortened: %v", err)
	}
	_, err := w.c.Book.Lock("kept", w.now.Add(2*time.Hour))
	w.ok(err)
	// It is known after a restart.
	again, err := OpenBook(w.vol, func() time.Time { return w.now.Add(90 * time.Minute) })
	w.ok(err)
	if err := again.Delete("kept", nil); !errors.As(err, &immutable) {
		t.Errorf("deleted after a restart: %v", err)
	}
	broken := errors.New("the log is full")
	if err := again.Delete("kept", func(Info) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("deleted without a record: %v", err)
	}
	recorded := 0
	w.ok(again.Delete("kept", func(i Info) error { recorded++; return nil }))
	if recorded != 1 {
		t.Errorf("recorded %d times", recorded)
	}
	w.snap("later", "vms", Meta{Until: w.now.Add(time.Hour)})
	w.now = w.now.Add(time.Hour)
	w.ok(w.c.Book.Delete("later", nil))
	if _, err := w.c.Book.Find("later"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

// A snapshot with a name of the array's own would go at the next start.
func TestReservedNames(t *testing.T) {
	w := newWorld(t)
	for name, want := range map[string]error{
		"fsrvp-mine": store.ErrName, "fsrvp-": store.ErrName, "rsvd-0000000000000002-x": store.ErrName,
		"fsrvp": nil, "my fsrvp-1": nil, "FSRVP-x": nil,
	} {
		if _, err := w.c.Book.Create(name, []store.FileID{store.RootID}, Meta{}); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}
}
