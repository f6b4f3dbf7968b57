package block

import (
	"fmt"
	"testing"

	"gabion/protocol/dtyp"
	"gabion/store"
)

// benchDir opens a volume with a directory of so many files.
func benchDir(b *testing.B, files int) (*Volume, store.Node) {
	b.Helper()
	v, err := Open(Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	root, err := v.Root(store.Live)
	if err != nil {
		b.Fatal(err)
	}
	d, _, err := v.Create(root, "dir", store.Init{Dir: true})
	if err != nil {
		b.Fatal(err)
	}
	for i := range files {
		n, _, err := v.Create(d, fmt.Sprintf("file %d.vhdx", i), store.Init{Blobs: map[store.BlobKind][]byte{store.BlobSecurity: noise(100)}})
		if err != nil {
			b.Fatal(err)
		}
		n.Close()
	}
	b.Cleanup(func() {
		d.Close()
		root.Close()
		if err := v.Close(); err != nil {
			b.Error(err)
		}
	})
	b.ReportAllocs()
	return v, d
}

// BenchmarkOpen opens files by name and reads what every open needs.
func BenchmarkOpen(b *testing.B) {
	const files = 1000
	v, d := benchDir(b, files)
	i := 0
	for b.Loop() {
		n, _, err := v.Open(d, fmt.Sprintf("file %d.vhdx", i%files))
		if err == nil {
			_, err = n.Blob(store.BlobSecurity)
		}
		if err != nil {
			b.Fatal(err)
		}
		n.Close()
		i++
	}
}

// BenchmarkCreateUnlink makes files and removes them, as a directory's times change.
func BenchmarkCreateUnlink(b *testing.B) {
	v, d := benchDir(b, 0)
	i := 0
	for b.Loop() {
		name := fmt.Sprintf("file %d.vhdx", i)
		n, _, err := v.Create(d, name, store.Init{})
		if err == nil {
			n.Close()
			_, err = d.Update(store.Change{Times: store.Times{LastWrite: dtyp.Filetime(i + 1)}})
		}
		if err == nil {
			_, err = v.Unlink(d, name)
		}
		if err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkReadDir lists a directory of 1000 entries.
func BenchmarkReadDir(b *testing.B) {
	v, d := benchDir(b, 1000)
	var list []store.Entry
	for b.Loop() {
		var err error
		if list, err = v.ReadDir(d, "", 2000, list[:0]); err != nil || len(list) != 1000 {
			b.Fatal(len(list), err)
		}
	}
}
