package vhdx

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"gabion/protocol/dtyp"
	"gabion/store"
	"gabion/store/memvol"
)

// folder is a directory of files in memory.
type folder struct {
	t    testing.TB
	vol  *memvol.Volume
	root store.Node
}

func newFolder(t testing.TB) *folder {
	f := &folder{t: t, vol: memvol.New(memvol.Options{})}
	var err error
	f.root, err = f.vol.Root(store.Live)
	f.must(err)
	return f
}

func (f *folder) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) create(name string) store.Stream {
	f.t.Helper()
	n, _, err := f.vol.Create(f.root, name, store.Init{})
	f.must(err)
	s, err := n.Data()
	f.must(err)
	return s
}

func (f *folder) stream(name string) (store.Stream, error) {
	n, _, err := f.vol.Open(f.root, name)
	if err != nil {
		return nil, err
	}
	return n.Data()
}

func (f *folder) open(name string, readOnly bool) *Disk {
	f.t.Helper()
	s, err := f.stream(name)
	f.must(err)
	d, err := Open(s, Options{ReadOnly: readOnly, Parent: f.stream})
	f.must(err)
	return d
}

func (f *folder) disk(name string, p Params) *Disk {
	f.t.Helper()
	_, err := Create(f.create(name), p, store.Touch{})
	f.must(err)
	return f.open(name, false)
}

// child makes a differencing disk over name.
func (f *folder) child(name, parent string) *Disk {
	f.t.Helper()
	p := f.open(parent, true)
	i := p.Info()
	p.Close()
	return f.disk(name, Params{Size: i.Size, BlockSize: 1 << 20, LogicalSector: i.LogicalSector, DiskID: i.DiskID,
		Parent: &ParentRef{Linkage: i.DataWrite, RelativePath: parent, AbsolutePath: `C:\` + parent}})
}

// export copies a file to the real file system, import one from there.
func (f *folder) export(name string) string {
	f.t.Helper()
	s, err := f.stream(name)
	f.must(err)
	path := filepath.Join(f.t.TempDir(), name)
	out, err := os.Create(path)
	f.must(err)
	defer out.Close()
	_, err = io.Copy(out, io.NewSectionReader(reader{s}, 0, s.Sizes().Size))
	f.must(err)
	return path
}

func (f *folder) load(name, path string) {
	f.t.Helper()
	b, err := os.ReadFile(path)
	f.must(err)
	_, err = f.create(name).WriteAt(b, 0, store.Touch{})
	f.must(err)
}

type reader struct{ store.Stream }

func (r reader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.Stream.ReadAt(p, off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	b, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, b)
	}
	return string(b)
}

func fill(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n) }

func (f *folder) write(d *Disk, p []byte, off int64) {
	f.t.Helper()
	_, err := d.WriteAt(p, off)
	f.must(err)
}

func (f *folder) zero(d *Disk, off, n int64) {
	f.t.Helper()
	_, err := d.Zero(off, n)
	f.must(err)
}

// same compares a disk with what it should hold.
func (f *folder) same(d *Disk, want []byte) {
	f.t.Helper()
	got := make([]byte, len(want))
	f.must(d.ReadAt(got, 0))
	if !bytes.Equal(got, want) {
		for i := range want {
			if got[i] != want[i] {
				f.t.Fatalf("byte %#x is %#x, want %#x", i, got[i], want[i])
			}
		}
	}
}

var testID = dtyp.MustParseGUID("9ac15b72-2a6d-44b2-ba7c-f5f06831c74a")
