package vhdx

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"gabion/conformance/rig"
	"gabion/store"
)

// life does random writes and zeroing on a disk and on a slice.
func (f *folder) life(rng *rand.Rand, d *Disk, want []byte, steps int) {
	f.t.Helper()
	f.lifeOf(rng, d, want, steps, true)
}

func (f *folder) lifeOf(rng *rand.Rand, d *Disk, want []byte, steps int, zeros bool) {
	f.t.Helper()
	sectors := len(want) / 512
	for range steps {
		off := rng.IntN(sectors)
		n := 1 + rng.IntN(min(sectors-off, 1+rng.IntN(6000)))
		if !zeros || rng.IntN(4) > 0 {
			p := fill(n*512, byte(1+rng.IntN(255)))
			f.write(d, p, int64(off)*512)
			copy(want[off*512:], p)
			continue
		}
		if rng.IntN(2) == 0 { // whole blocks
			off = off / 2048 * 2048
			n = min(2048*(1+rng.IntN(2)), sectors-off)
		}
		f.zero(d, int64(off)*512, int64(n)*512)
		clear(want[off*512 : (off+n)*512])
	}
}

func TestDisksHoldWhatIsWritten(t *testing.T) {
	for _, p := range []Params{{Fixed: true}, {}, {BlockSize: 1 << 20}, {LogicalSector: 4096, BlockSize: 1 << 20}} {
		p.Size = 12<<20 + 4096
		f := newFolder(t)
		d := f.disk("a", p)
		want := make([]byte, p.Size)
		if p.LogicalSector == 4096 {
			p := fill(8192, 7)
			f.write(d, p, 3<<20-4096)
			copy(want[3<<20-4096:], p)
			if _, err := d.WriteAt(p[:512], 0); !errors.Is(err, ErrRange) {
				t.Errorf("half a sector: %v", err)
			}
		} else {
			f.life(rand.New(rand.NewPCG(1, 2)), d, want, 60)
		}
		f.same(d, want)
		f.must(d.Check())
		d.Close()
		d = f.open("a", true)
		f.same(d, want)
		if _, err := d.WriteAt(want[:4096], 0); !errors.Is(err, ErrReadOnly) {
			t.Errorf("write to a read-only disk: %v", err)
		}
		if i := d.Info(); i.Size != p.Size || i.Fixed != p.Fixed || i.HasParent {
			t.Errorf("%+v", i)
		}
		if _, err := d.WriteAt(make([]byte, 4096), p.Size); !errors.Is(err, ErrRange) {
			t.Errorf("write behind the end: %v", err)
		}
	}
}

func TestChainOfLayers(t *testing.T) {
	f := newFolder(t)
	rng := rand.New(rand.NewPCG(3, 4))
	want := make([]byte, 6<<20+512)
	d := f.disk("0", Params{Size: int64(len(want)), BlockSize: 1 << 20})
	f.life(rng, d, want, 8)
	d.Close()
	names := []string{"0", "1", "2", "3"}
	frozen := [][]byte{bytes.Clone(want)}
	for i := range 3 {
		d = f.child(names[i+1], names[i])
		f.life(rng, d, want, 25)
		f.same(d, want)
		f.must(d.Check())
		d.Close()
		frozen = append(frozen, bytes.Clone(want))
	}
	for i, name := range names {
		d := f.open(name, true)
		f.same(d, frozen[i])
		d.Close()
	}
	// Whoever writes to a parent breaks its children.
	p := f.open("1", false)
	f.write(p, fill(512, 1), 0)
	p.Close()
	s, err := f.stream("2")
	f.must(err)
	if _, err := Open(s, Options{Parent: f.stream}); !errors.Is(err, ErrParent) {
		t.Errorf("child of a changed parent: %v", err)
	}
}

func TestHereTellsChanges(t *testing.T) {
	f := newFolder(t)
	f.disk("p", Params{Size: 8 << 20, BlockSize: 1 << 20}).Close()
	d := f.child("c", "p")
	f.write(d, fill(1024, 5), 2<<20+512)
	f.zero(d, 4<<20, 1<<20)
	got, err := d.Here(0, 8<<20, nil)
	f.must(err)
	if len(got) != 2 || got[0] != (store.Range{Off: 2<<20 + 512, Len: 1024}) || got[1] != (store.Range{Off: 4 << 20, Len: 1 << 20}) {
		t.Errorf("%v", got)
	}
}

func TestResize(t *testing.T) {
	for _, p := range []Params{{Fixed: true, BlockSize: 1 << 20}, {BlockSize: 1 << 20}} {
		f := newFolder(t)
		p.Size = 3<<20 + 512
		d := f.disk("a", p)
		want := bytes.Repeat(fill(512, 9), int(p.Size)/512)
		f.write(d, want, 0)
		for _, size := range []int64{5 << 20, 2<<20 + 512, 9 << 20, 1 << 20, 4 << 20} {
			_, err := d.Resize(size)
			f.must(err)
			if int64(len(want)) > size {
				want = want[:size]
			}
			want = append(want, make([]byte, size-int64(len(want)))...)
			f.same(d, want)
			f.must(d.Check())
		}
		f.write(d, fill(512, 3), 4<<20-512)
		copy(want[4<<20-512:], fill(512, 3))
		d.Close()
		f.same(f.open("a", true), want)
	}
}

// A table that outgrows its region moves, and so do the entries in it.
func TestResizeMovesTheTable(t *testing.T) {
	f := newFolder(t)
	d := f.disk("a", Params{Size: 64 << 30, BlockSize: 1 << 20})
	f.write(d, fill(512, 9), 63<<30)
	_, err := d.Resize(300 << 30)
	f.must(err)
	f.write(d, fill(512, 8), 299<<30)
	f.must(d.Check())
	d.Close()
	d = f.open("a", true)
	b := make([]byte, 512)
	for off, want := range map[int64]byte{63 << 30: 9, 299 << 30: 8, 200 << 30: 0} {
		f.must(d.ReadAt(b, off))
		if b[0] != want {
			t.Errorf("at %d: %d", off, b[0])
		}
	}
}

// A larger child does not show what a larger parent holds behind the child's old end.
func TestGrownChildShowsZeros(t *testing.T) {
	f := newFolder(t)
	d := f.disk("p", Params{Size: 4 << 20, BlockSize: 1 << 20})
	f.write(d, fill(4<<20, 1), 0)
	d.Close()
	d = f.child("c", "p")
	for _, size := range []int64{1<<20 + 512, 6 << 20} {
		_, err := d.Resize(size)
		f.must(err)
	}
	f.same(d, append(fill(1<<20+512, 1), make([]byte, 5<<20-512)...))
	f.must(d.Check())
}

func TestSet(t *testing.T) {
	f := newFolder(t)
	s := f.create("a.vhds")
	_, err := WriteSet(s, "a_9ac15b72.avhdx", store.Touch{})
	f.must(err)
	if name, err := ReadSet(s); name != "a_9ac15b72.avhdx" || err != nil {
		t.Errorf("%q, %v", name, err)
	}
	for _, bad := range []string{`..\x`, "", "a:b"} {
		s := f.create("bad" + string(rune('a'+len(bad))))
		_, err = WriteSet(s, bad, store.Touch{})
		f.must(err)
		if _, err := ReadSet(s); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := ReadSet(f.create("empty")); !errors.Is(err, ErrNotVHDX) {
		t.Errorf("empty file: %v", err)
	}
}

// Damage at every place of the structures is refused or harmless, never a panic,
// and a refusal says what is wrong.
func TestDamageIsRefused(t *testing.T) {
	for name, damage := range map[string]func(b []byte){
		"identifier":    func(b []byte) { b[0] = 'x' },
		"both headers":  func(b []byte) { b[headerOffsets[0]+9]++; b[headerOffsets[1]+9]++ },
		"both regions":  func(b []byte) { b[regionOffset+17]++; b[regionOffset+regionSize+17]++ },
		"metadata":      func(b []byte) { b[newMetadata] = 0 },
		"virtual size":  func(b []byte) { b[newMetadata+metadataHead+8+7] = 0x7F },
		"table state":   func(b []byte) { b[newTableAt] = 5 },
		"table place":   func(b []byte) { b[newTableAt], b[newTableAt+4] = 6, 0xFF },
		"table overlap": func(b []byte) { b[newTableAt], b[newTableAt+2] = 6, 0x30 },
	} {
		f := newFolder(t)
		s := f.create("a")
		_, err := Create(s, Params{Size: 8 << 20}, store.Touch{})
		f.must(err)
		b := make([]byte, s.Sizes().Size)
		s.ReadAt(b, 0)
		damage(b)
		s.WriteAt(b, 0, store.Touch{})
		if _, err := Open(s, Options{}); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNotVHDX) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// One damaged copy of two is no harm.
	f := newFolder(t)
	s := f.create("a")
	_, err := Create(s, Params{Size: 8 << 20}, store.Touch{})
	f.must(err)
	s.WriteAt([]byte{1}, headerOffsets[1], store.Touch{})
	s.WriteAt([]byte{1}, regionOffset, store.Touch{})
	if _, err := Open(s, Options{}); err != nil {
		t.Error(err)
	}
}

func TestQemuReadsOurs(t *testing.T) {
	rig.Need(t, "qemu-img")
	for name, p := range map[string]Params{"fixed": {Fixed: true}, "dynamic": {}, "small": {BlockSize: 1 << 20}} {
		f := newFolder(t)
		p.Size = 20 << 20
		d := f.disk("a.vhdx", p)
		want := make([]byte, p.Size)
		f.life(rand.New(rand.NewPCG(5, 6)), d, want, 30)
		for round := range 2 {
			path := f.export("a.vhdx")
			run(t, "qemu-img", "check", "-f", "vhdx", path)
			run(t, "qemu-img", "convert", "-f", "vhdx", "-O", "raw", path, path+".raw")
			got, err := os.ReadFile(path + ".raw")
			f.must(err)
			if !bytes.Equal(got, want) {
				t.Errorf("%s, round %d: qemu reads something else", name, round)
			}
			_, err = d.Resize(40 << 20)
			f.must(err)
			want = append(want, make([]byte, 40<<20-len(want))...)
			f.write(d, fill(4096, 0xEE), 39<<20)
			copy(want[39<<20:], fill(4096, 0xEE))
		}
	}
}

func TestWeReadQemus(t *testing.T) {
	rig.Need(t, "qemu-img", "qemu-io")
	for _, o := range []string{"subformat=dynamic,block_size=1M", "subformat=fixed", "subformat=fixed,block_state_zero=off", "subformat=dynamic,block_state_zero=off"} {
		f := newFolder(t)
		path := t.TempDir() + "/q.vhdx"
		run(t, "qemu-img", "create", "-f", "vhdx", "-o", o, path, "16M")
		run(t, "qemu-io", "-f", "vhdx", "-c", "write -P 0xa5 1536k 1M", "-c", "write -P 0x11 15M 4k", path)
		want := make([]byte, 16<<20)
		copy(want[1536<<10:], fill(1<<20, 0xA5))
		copy(want[15<<20:], fill(4096, 0x11))
		f.load("q", path)
		d := f.open("q", false)
		f.same(d, want)
		f.life(rand.New(rand.NewPCG(7, 8)), d, want, 20)
		d.Close()
		out := f.export("q")
		run(t, "qemu-img", "convert", "-f", "vhdx", "-O", "raw", out, out+".raw")
		got, err := os.ReadFile(out + ".raw")
		f.must(err)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: qemu does not read back what we wrote", o)
		}
	}
}

func FuzzOpen(f *testing.F) {
	dir := newFolder(f)
	s := dir.create("a")
	if _, err := Create(s, Params{Size: 4 << 20, BlockSize: 1 << 20}, store.Touch{}); err != nil {
		f.Fatal(err)
	}
	base := make([]byte, s.Sizes().Size)
	s.ReadAt(base, 0)
	f.Add(uint32(regionOffset+16), []byte{1, 2, 3}, true)
	f.Add(uint32(newMetadata+32), []byte{0xFF}, true)
	f.Add(uint32(newTableAt), []byte{6, 0, 0x50}, true)
	f.Add(uint32(headerOffsets[1]+48), []byte{1}, true)
	f.Add(uint32(newLog), []byte("loge"), false)
	f.Fuzz(func(t *testing.T, at uint32, p []byte, seal bool) {
		b := bytes.Clone(base)
		copy(b[int(at)%len(b):], p)
		if seal { // damage behind a right checksum
			for _, off := range headerOffsets {
				le.PutUint32(b[off+4:], checksum(b[off:off+headerSize], 4))
			}
			for i := range int64(2) {
				r := b[regionOffset+i*regionSize:][:regionSize]
				le.PutUint32(r[4:], checksum(r, 4))
			}
		}
		dir := newFolder(t)
		s := dir.create("a")
		s.WriteAt(b, 0, store.Touch{})
		d, err := Open(s, Options{Parent: dir.stream})
		if err != nil {
			return
		}
		defer d.Close()
		buf := make([]byte, 8192)
		if d.size.Load() < int64(len(buf)) {
			return
		}
		if _, err := d.WriteAt(fill(8192, 1), 0); err == nil {
			if err := d.ReadAt(buf, 0); err != nil || buf[8191] != 1 {
				t.Errorf("read back %d, %v", buf[8191], err)
			}
		}
	})
}

func FuzzLocator(f *testing.F) {
	f.Add((&ParentRef{Linkage: testID, Linkage2: testID, RelativePath: `..\a.vhdx`, VolumePath: `\\?\Volume{1}\a.vhdx`}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodeLocator(b)
		if err != nil {
			return
		}
		if q, err := decodeLocator(p.encode()); err != nil || *q != *p {
			t.Errorf("%+v became %+v: %v", p, q, err)
		}
	})
}

func FuzzSet(f *testing.F) {
	dir := newFolder(f)
	s := dir.create("a")
	WriteSet(s, "name.avhdx", store.Touch{})
	b := make([]byte, setSize)
	s.ReadAt(b, 0)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if name, err := decodeSet(b); err == nil && name == "" {
			t.Error("empty name")
		}
	})
}
