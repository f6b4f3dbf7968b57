package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gabion/protocol/archive"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/server/object"
	"gabion/server/versions"
	"gabion/server/vm"
	"gabion/store"
	"gabion/store/memvol"
)

type silent struct{}

func (silent) BreakOplock(*object.Open, object.OplockLevel, bool) {}
func (silent) BreakLease(object.LeaseBreak)                       {}
func (silent) Changed([]*object.Open)                             {}
func (silent) Closed(*object.Open)                                {}

type oneShare struct{}

func (oneShare) Folder(share string) (string, string, bool) {
	return "vms", "", strings.EqualFold(share, "vms")
}
func (oneShare) Names() []string { return []string{"vms"} }

// array is one end of a transfer.
type array struct {
	*testing.T
	vol store.Volume
	c   *versions.Changer
	vms *vm.Book
}

func newArray(t *testing.T) *array {
	t.Helper()
	a := &array{T: t, vol: memvol.New(memvol.Options{})}
	tree, st := object.New(object.Config{Breaker: silent{}}).Mount(a.vol).Tree("", object.TreeOptions{})
	if st != ntstatus.Success {
		t.Fatal(st)
	}
	book, err := versions.OpenBook(a.vol, nil)
	a.ok(err)
	a.c = &versions.Changer{Book: book, Tree: tree}
	a.vms, err = vm.Open(a.vol, oneShare{})
	a.ok(err)
	return a
}

func (a *array) ok(err error) {
	a.Helper()
	if err != nil {
		a.Fatal(err)
	}
}

func (a *array) open(path string) store.Node {
	a.Helper()
	n, err := vm.Walk(a.vol, store.Live, path)
	a.ok(err)
	a.Cleanup(n.Close)
	return n
}

var when = store.Times{Creation: 100, LastAccess: 200, LastWrite: 300, Change: 400}

func (a *array) dir(parent, name string) store.Node {
	a.Helper()
	n, _, err := a.vol.Create(a.open(parent), name, store.Init{Dir: true, Times: when, Blobs: map[store.BlobKind][]byte{store.BlobSecurity: security(name)}})
	a.ok(err)
	a.Cleanup(n.Close)
	return n
}

// security is a descriptor that depends on a name.
func security(name string) []byte {
	return (&dtyp.SecurityDescriptor{
		Control: dtyp.SelfRelative | dtyp.DACLPresent, Owner: dtyp.MakeSID(5, 21, 1, 2, 3, uint32(len(name))), Group: dtyp.BuiltinAdministrators,
		DACL: dtyp.NewACL(dtyp.ACE{Type: dtyp.AccessAllowed, Mask: dtyp.FileAllAccess, SID: dtyp.Everyone}),
	}).Encode()
}

func (a *array) file(parent, name string) store.Node {
	a.Helper()
	n, _, err := a.vol.Create(a.open(parent), name, store.Init{FileAttributes: 0x21, Times: when})
	a.ok(err)
	a.Cleanup(n.Close)
	return n
}

func (a *array) write(n store.Node, stream string, p []byte, off int64) {
	a.Helper()
	s, err := n.Stream(stream)
	if errors.Is(err, store.ErrNotFound) {
		s, _, err = n.CreateStream(stream)
	}
	a.ok(err)
	defer s.Close()
	_, err = s.WriteAt(p, off, store.Touch{LastWrite: 500 + dtyp.Filetime(off)})
	a.ok(err)
}

func (a *array) snap(name, target string) versions.Info {
	a.Helper()
	t, err := a.vms.Resolve(target)
	a.ok(err)
	i, err := a.c.Book.Create(name, t.IDs(), versions.Meta{})
	a.ok(err)
	return i
}

func (a *array) export(target string, s versions.Info, base *versions.Info, from archive.Mark) []byte {
	a.Helper()
	t, err := a.vms.Resolve(target)
	a.ok(err)
	var b bytes.Buffer
	a.ok((&Export{Volume: a.vol, Target: t, Snap: s, Base: base, From: from}).Write(a.Context(), &b))
	return b.Bytes()
}

func (a *array) importTo(target string, r io.Reader, edit func(*Import)) (*Result, error) {
	a.Helper()
	t, err := a.vms.Resolve(target)
	a.ok(err)
	m := &Import{Changer: a.c, Dest: t.Places[0]}
	if edit != nil {
		edit(m)
	}
	return m.Read(a.Context(), r)
}

// dump describes everything below a path.
func (a *array) dump(path string) (out []string) {
	a.Helper()
	links := map[store.FileID]string{}
	var list func(n store.Node, at string)
	list = func(n store.Node, at string) {
		attr, err := n.Attr()
		a.ok(err)
		line := fmt.Sprintf("%q dir=%v attributes=%x times=%d,%d,%d,%d tag=%x ea=%d", at, attr.Dir, attr.FileAttributes,
			attr.CreationTime, attr.LastAccessTime, attr.LastWriteTime, attr.ChangeTime, attr.ReparseTag, attr.EASize)
		if attr.Dir && at == "" {
			line = `""`
		}
		if !attr.Dir && attr.Links > 1 {
			if first, ok := links[attr.ID]; ok {
				out = append(out, fmt.Sprintf("%q is %q", at, first))
				return
			}
			links[attr.ID] = at
		}
		for _, k := range []store.BlobKind{store.BlobSecurity, store.BlobEA, store.BlobReparse} {
			b, err := n.Blob(k)
			a.ok(err)
			line += fmt.Sprintf(" %d=%q", k, b)
		}
		names := []string{}
		if !attr.Dir {
			names = append(names, "")
		}
		streams, err := n.Streams()
		a.ok(err)
		for _, s := range streams {
			names = append(names, s.Name)
		}
		for _, name := range names {
			s, err := n.Stream(name)
			a.ok(err)
			z := s.Sizes()
			p := make([]byte, z.Size)
			if _, err := s.ReadAt(p, 0); err != nil && err != io.EOF {
				a.Fatal(err)
			}
			ranges, err := s.Allocated(0, z.Size, nil)
			a.ok(err)
			s.Close()
			line += fmt.Sprintf(" %q:%d,%d,%x,%v", name, z.Size, z.ValidData, hash(p), ranges)
		}
		out = append(out, line)
		if attr.Dir {
			a.ok(vm.Each(a.vol, n, func(e store.Entry) error {
				c, _, err := a.vol.Open(n, e.Name)
				a.ok(err)
				defer c.Close()
				list(c, at+"/"+e.Name)
				return nil
			}))
		}
	}
	list(a.open(path), "")
	return out
}

func hash(p []byte) (h uint64) {
	for _, b := range p {
		h = h*1099511628211 + uint64(b) + 1
	}
	return h
}

func noise(seed uint64, n int) []byte {
	p := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = r.Read(p)
	return p
}

// same compares two dumps.
func (a *array) same(got, want []string) {
	a.Helper()
	if slices.Equal(got, want) {
		return
	}
	for i := range max(len(got), len(want)) {
		g, w := "-", "-"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			a.Fatalf("\n got %s\nwant %s", g, w)
		}
	}
}

// fill makes a folder with everything that files can have.
func fill(t *testing.T) *array {
	a := newArray(t)
	a.dir("", "src")
	a.dir("src", "sub")
	a.dir("src", "empty")
	big := a.file("src", "big.vhdx")
	a.write(big, "", noise(1, 3<<20), 0)
	a.write(big, "", noise(2, 100000), 10<<20) // a hole ahead
	s, err := big.Data()
	a.ok(err)
	_, err = s.SetSize(20<<20, store.Touch{LastWrite: 777})
	a.ok(err)
	s.Close()
	f := a.file("src/sub", "f")
	a.write(f, "", []byte("hello"), 0)
	a.write(f, "Zone", noise(3, 2<<20), 0)
	a.write(f, "empty", nil, 0)
	ea := uint32(12)
	_, err = f.Update(store.Change{Blobs: map[store.BlobKind][]byte{store.BlobSecurity: security("f"), store.BlobEA: []byte("ea")}, EASize: &ea})
	a.ok(err)
	_, err = a.vol.Link(f, a.open("src"), "z-link", false)
	a.ok(err)
	d := a.dir("src", "streams")
	a.write(d, "of a folder", []byte("x"), 0)
	r := a.file("src", "reparse")
	tag := uint32(0xA000000C)
	_, err = r.Update(store.Change{Blobs: map[store.BlobKind][]byte{store.BlobReparse: []byte("target")}, ReparseTag: &tag})
	a.ok(err)
	a.file("src", "nothing")
	return a
}

// change alters what fill made.
func (a *array) change() {
	big := a.open("src/big.vhdx")
	a.write(big, "", noise(9, 4096), 1<<20)
	s, err := big.Data()
	a.ok(err)
	_, err = s.Zero(2<<20, 1<<20, store.Touch{LastWrite: 900})
	a.ok(err)
	_, err = s.SetSize(21<<20, store.Touch{LastWrite: 901})
	a.ok(err)
	s.Close()
	_, err = a.vol.Unlink(a.open("src"), "nothing")
	a.ok(err)
	_, err = a.vol.Rename(a.open("src"), "empty", a.open("src"), "renamed", false)
	a.ok(err)
	a.write(a.file("src/sub", "new"), "", noise(4, 5000), 0)
	attrs := uint32(2)
	_, err = a.open("src/reparse").Update(store.Change{FileAttributes: &attrs})
	a.ok(err)
}

func TestWholeAndDifference(t *testing.T) {
	a, b := fill(t), newArray(t)
	b.dir("", "dst")
	one := a.snap("one", "vms/src")
	want := a.dump("src")
	stream := a.export("vms/src", one, nil, archive.Mark{})
	a.change()
	two := a.snap("two", "vms/src")
	if again := a.export("vms/src", one, nil, archive.Mark{}); !bytes.Equal(again, stream) {
		t.Error("the same export twice differs")
	}
	diff := a.export("vms/src", two, &one, archive.Mark{})
	if len(diff) > 100<<10 {
		t.Errorf("the difference has %d bytes", len(diff))
	}
	if _, err := b.importTo("vms/dst", bytes.NewReader(diff), nil); !errors.Is(err, ErrBase) {
		t.Errorf("without its base: %v", err)
	}
	res, err := b.importTo("vms/dst", bytes.NewReader(stream), nil)
	b.ok(err)
	b.same(b.dump("dst"), want)
	if res.Bytes < 5<<20 || res.Entries != 9 {
		t.Errorf("%+v", res)
	}
	if _, err := b.importTo("vms/dst", bytes.NewReader(stream), nil); !errors.Is(err, ErrInWay) {
		t.Errorf("onto what is there: %v", err)
	}
	_, err = b.importTo("vms/dst", bytes.NewReader(stream), func(m *Import) { m.Replace = true })
	b.ok(err)
	b.same(b.dump("dst"), want)

	b.write(b.open("dst/sub/f"), "", []byte("touched"), 0)
	if _, err := b.importTo("vms/dst", bytes.NewReader(diff), nil); !errors.Is(err, ErrChanged) {
		t.Errorf("onto what changed: %v", err)
	}
	_, err = b.importTo("vms/dst", bytes.NewReader(diff), func(m *Import) { m.Options.Force = true })
	b.ok(err)
	b.same(b.dump("dst"), a.dump("src"))
}

// A stream cut at any frame is refused with its place, and goes on from the mark it names, also
// in the middle of a file, whether the part is read by a new import or appended.
func TestCutAndContinued(t *testing.T) {
	a := fill(t)
	one := a.snap("one", "vms/src")
	want := a.dump("src")
	stream := a.export("vms/src", one, nil, archive.Mark{})
	var cuts []int64
	for r := NewReader(bytes.NewReader(stream)); ; {
		if _, err := r.Next(); err != nil {
			break
		}
		cuts = append(cuts, r.Position())
	}
	for i, at := range cuts[:len(cuts)-1] {
		if i%3 != 0 && i > 6 {
			continue // enough of the same kind
		}
		b := newArray(t)
		b.dir("", "dst")
		_, err := b.importTo("vms/dst", bytes.NewReader(stream[:at+int64(i%20)]), nil)
		var broken *BrokenError
		if !errors.As(err, &broken) || !errors.Is(err, ErrCut) || broken.Position != at {
			t.Fatalf("cut at %d: %v", at, err)
		}
		rest := a.export("vms/src", one, nil, broken.Mark)
		if i%2 == 0 {
			if _, err := b.importTo("vms/dst", bytes.NewReader(rest), nil); err != nil {
				t.Fatalf("from %v: %v", broken.Mark, err)
			}
		} else {
			b = newArray(t)
			b.dir("", "dst")
			if _, err := b.importTo("vms/dst", io.MultiReader(bytes.NewReader(stream[:at]), bytes.NewReader(rest)), nil); err != nil {
				t.Fatalf("appended from %v: %v", broken.Mark, err)
			}
		}
		b.same(b.dump("dst"), want)
	}
}

func TestBrokenStreams(t *testing.T) {
	a := fill(t)
	stream := a.export("vms/src", a.snap("one", "vms/src"), nil, archive.Mark{})
	for _, tt := range []struct {
		what string
		edit func(p []byte) []byte
		want error
	}{
		{"a flipped bit", func(p []byte) []byte { p[len(p)/2] ^= 4; return p }, nil},
		{"another file", func([]byte) []byte { return []byte("this is not an export at all, really") }, archive.ErrMagic},
		{"nothing", func([]byte) []byte { return nil }, ErrCut},
		{"no end", func(p []byte) []byte { return p[:len(p)-archive.HeaderSize-30] }, ErrCut},
		{"a part twice", func(p []byte) []byte { return append(p, p...) }, ErrOther},
		{"another's part", func(p []byte) []byte {
			b, _ := archive.AppendJSON(p, archive.TypeBegin, 0, archive.Begin{ID: "x"})
			return b
		}, ErrOther},
		{"the sender's failure", func(p []byte) []byte {
			b, _ := archive.AppendJSON(nil, archive.TypeBegin, 0, archive.Begin{ID: "x"})
			b, _ = archive.AppendJSON(b, archive.TypeFailure, 1, archive.Failure{Message: "bad block"})
			return b
		}, ErrSender},
		{"a way out", func(p []byte) []byte {
			b, _ := archive.AppendJSON(nil, archive.TypeBegin, 0, archive.Begin{ID: "x"})
			b, _ = archive.AppendJSON(b, archive.TypeEntry, 1, archive.Entry{Path: "../up", Action: archive.Whole})
			return b
		}, ErrPath},
		{"data beyond the size", func(p []byte) []byte {
			b, _ := archive.AppendJSON(nil, archive.TypeBegin, 0, archive.Begin{ID: "x"})
			b, _ = archive.AppendJSON(b, archive.TypeEntry, 1, archive.Entry{Path: "up", Action: archive.Whole})
			return archive.AppendFrame(b, archive.TypeData, 2, make([]byte, 100))
		}, archive.ErrPayload},
		{"a missing frame", func(p []byte) []byte {
			b, _ := archive.AppendJSON(nil, archive.TypeBegin, 0, archive.Begin{ID: "x"})
			b, _ = archive.AppendJSON(b, archive.TypeEnd, 2, archive.End{})
			return b
		}, ErrSequence},
		{"a mark of nothing", func(p []byte) []byte {
			b, _ := archive.AppendJSON(nil, archive.TypeBegin, 0, archive.Begin{ID: "x", From: archive.Mark{Entries: 3}})
			return b
		}, ErrMark},
	} {
		b := newArray(t)
		b.dir("", "dst")
		_, err := b.importTo("vms/dst", bytes.NewReader(tt.edit(bytes.Clone(stream))), nil)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
}

// A machine of several places has each under its own name.
func TestMachine(t *testing.T) {
	a, b := newArray(t), newArray(t)
	a.dir("", "one")
	a.dir("", "two")
	a.write(a.file("one", "disk.vhdx"), "", noise(1, 10000), 0)
	a.write(a.file("two", "disk.vhdx"), "", noise(2, 10000), 0)
	_, err := a.vms.Add("m", []string{"vms/one/disk.vhdx", "vms/two/disk.vhdx"})
	a.ok(err)
	s := a.snap("s", "vm:m")
	b.dir("", "dst")
	_, err = b.importTo("vms/dst", bytes.NewReader(a.export("vm:m", s, nil, archive.Mark{})), nil)
	b.ok(err)
	dump := b.dump("dst")
	if len(dump) != 3 || !strings.Contains(dump[1], "/disk.vhdx") || !strings.Contains(dump[2], "/disk.vhdx~2") {
		t.Errorf("%v", dump)
	}
}

type brokenPipe struct{ left int }

func (p *brokenPipe) Write(b []byte) (int, error) {
	if p.left -= len(b); p.left < 0 {
		return 0, errors.New("broken pipe")
	}
	return len(b), nil
}

// A receiver that goes, and a caller that gives up, end an export.
func TestExportEnds(t *testing.T) {
	a := fill(t)
	s := a.snap("s", "vms/src")
	target, err := a.vms.Resolve("vms/src")
	a.ok(err)
	x := &Export{Volume: a.vol, Target: target, Snap: s}
	for _, n := range []int{0, 1000, 2 << 20} {
		if err := x.Write(t.Context(), &brokenPipe{n}); err == nil {
			t.Errorf("after %d bytes: no error", n)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := x.Write(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func FuzzReader(f *testing.F) {
	b, _ := archive.AppendJSON(nil, archive.TypeBegin, 0, archive.Begin{ID: "x"})
	b, _ = archive.AppendJSON(b, archive.TypeEntry, 1, archive.Entry{Path: "a", Action: archive.Whole, Stream: archive.Stream{Size: 100}})
	d := archive.AppendFrame(b, archive.TypeData, 2, make([]byte, 108))
	d = archive.AppendFrame(d, archive.TypeEntryEnd, 3, nil)
	d, _ = archive.AppendJSON(d, archive.TypeEnd, 4, archive.End{Entries: 1})
	f.Add(d, true)
	f.Add(b, false)
	f.Fuzz(func(t *testing.T, p []byte, mend bool) {
		if mend { // let the checksums be right, so that what is behind them is reached
			for at := 0; at+archive.HeaderSize <= len(p); {
				h, err := archive.DecodeHeader(p[at:])
				if err != nil || at+archive.HeaderSize+int(h.Length) > len(p) {
					break
				}
				end := at + archive.HeaderSize + int(h.Length)
				archive.Seal(p[at:end], h.Type, h.Seq)
				at = end
			}
		}
		r := NewReader(bytes.NewReader(p))
		last := archive.Mark{}
		for {
			fr, err := r.Next()
			if err != nil {
				break
			}
			if fr.Type != archive.TypeBegin && later(last, r.Mark()) {
				t.Fatalf("%v after %v", r.Mark(), last)
			}
			last = r.Mark()
		}
	})
}
