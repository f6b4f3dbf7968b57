package block

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"gabion/store"
	"gabion/store/crashfs"
)

// fullDisk is a volume on a device that gets full.
type fullDisk struct {
	*testing.T
	fs    *crashfs.FS
	space *crashfs.Space
	v     *Volume
	files map[string]int64 // length of each file, whose blocks are stamped
	begun int
}

func newFullDisk(t *testing.T, room int64) *fullDisk {
	d := &fullDisk{T: t, space: &crashfs.Space{}, files: map[string]int64{}}
	d.space.Free.Store(room)
	d.fs, _ = crashfs.Mem(nil, crashfs.Options{Space: d.space})
	d.open()
	return d
}

func (d *fullDisk) open() {
	d.Helper()
	var err error
	if d.v, err = Open(Options{Dir: "vol", FS: d.fs, SegmentSize: 256 << 10, CacheSize: 2 << 20}); err != nil {
		d.Fatal(err)
	}
}

// fill writes files until nothing fits, and returns how much did.
func (d *fullDisk) fill() (total int64) {
	d.Helper()
	root, err := d.v.Root(store.Live)
	if err != nil {
		d.Fatal(err)
	}
	defer root.Close()
	for {
		d.begun++
		name := fmt.Sprintf("file %d", d.begun)
		n, _, err := d.v.Create(root, name, store.Init{})
		if errors.Is(err, store.ErrNoSpace) {
			return total
		}
		if err != nil {
			d.Fatal(err)
		}
		s, err := n.Data()
		if err != nil {
			d.Fatal(err)
		}
		d.files[name] = 0
		for err == nil && d.files[name] < 1<<20 {
			b := bytes.Repeat(stamp(int(d.files[name]), uint64(d.begun)), 16)
			rand.NewChaCha8([32]byte{byte(d.begun)}).Read(b[blockSize:])
			if _, err = s.WriteAt(b, d.files[name], store.Touch{}); err == nil {
				d.files[name] += int64(len(b))
				total += int64(len(b))
			}
		}
		s.Close()
		n.Close()
		if errors.Is(err, store.ErrNoSpace) {
			return total
		}
		if err != nil {
			d.Fatal(err)
		}
	}
}

// intact reads what is there.
func (d *fullDisk) intact() {
	d.Helper()
	root, err := d.v.Root(store.Live)
	if err != nil {
		d.Fatal(err)
	}
	defer root.Close()
	p := make([]byte, blockSize)
	for name, size := range d.files {
		n, _, err := d.v.Open(root, name)
		if err != nil {
			d.Fatal(err)
		}
		s, err := n.Data()
		if err != nil {
			d.Fatal(err)
		}
		var begun int
		fmt.Sscanf(name, "file %d", &begun)
		for off := int64(0); off < size; off += 16 * blockSize {
			if _, err := s.ReadAt(p, off); err != nil || !bytes.Equal(p, stamp(int(off), uint64(begun))) {
				d.Fatalf("%s at %d: %v", name, off, err)
			}
		}
		s.Close()
		n.Close()
	}
}

// remove deletes half of the files.
func (d *fullDisk) remove() (freed int64) {
	d.Helper()
	root, err := d.v.Root(store.Live)
	if err != nil {
		d.Fatal(err)
	}
	defer root.Close()
	half := len(d.files) / 2
	for name, size := range d.files {
		if half--; half < 0 {
			break
		}
		if _, err := d.v.Unlink(root, name); err != nil {
			d.Fatalf("delete on a full disk: %v", err)
		}
		delete(d.files, name)
		freed += size
	}
	if err := d.v.Sync(); err != nil {
		d.Fatalf("sync on a full disk: %v", err)
	}
	return freed
}

func (d *fullDisk) close() {
	d.Helper()
	if err := d.v.Close(); err != nil {
		d.Fatalf("close on a full disk: %v", err)
	}
}

// On a disk without space writes fail cleanly; reads, deletes, closing and opening work; and
// the volume takes data again when files were deleted or the disk got more space.
func TestFullDisk(t *testing.T) {
	d := newFullDisk(t, 24<<20)
	first := d.fill()
	if first < 16<<20 {
		t.Errorf("full after %d bytes of %d", first, 24<<20)
	}
	for cycle := range 3 {
		d.intact()
		freed := d.remove()
		if sp := d.v.Space(); sp.Free <= 0 {
			t.Errorf("%+v after %d bytes were freed", sp, freed)
		}
		if again := d.fill(); again < freed/2 {
			t.Errorf("cycle %d: %d bytes fit where %d were freed", cycle, again, freed)
		}
	}
	d.intact()
	d.close()
	d.open()
	d.intact()
	d.space.Free.Add(8 << 20)
	if more := d.fill(); more < 5<<20 {
		t.Errorf("%d bytes fit into 8 MiB that the disk got", more)
	}
	// Somebody else takes every byte there is.
	d.space.Free.Store(0)
	d.fill()
	d.remove()
	d.close()
	d.open()
	d.intact()
	d.fill()
	d.intact()
	checkVolume(t, d.v)
	d.close()
}
