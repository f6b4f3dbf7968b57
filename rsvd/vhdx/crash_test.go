package vhdx

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"gabion/conformance/rig"
	"gabion/protocol/dtyp"
	"gabion/store"
)

// tape records what is done to a stream, in order. The store keeps some prefix of
// it through a crash.
type tape struct {
	store.Stream
	changes []func(store.Stream) error
}

func (s *tape) record(f func(store.Stream) error) (store.Pos, error) {
	s.changes = append(s.changes, f)
	return store.Pos(len(s.changes)), f(s.Stream)
}

func (s *tape) WriteAt(p []byte, off int64, t store.Touch) (store.Pos, error) {
	p = bytes.Clone(p)
	return s.record(func(s store.Stream) error { _, err := s.WriteAt(p, off, t); return err })
}

func (s *tape) Zero(off, n int64, t store.Touch) (store.Pos, error) {
	return s.record(func(s store.Stream) error { _, err := s.Zero(off, n, t); return err })
}

func (s *tape) SetSize(n int64, t store.Touch) (store.Pos, error) {
	return s.record(func(s store.Stream) error { _, err := s.SetSize(n, t); return err })
}

// step is one write or zeroing of a disk, and how much tape it and those before it
// had used.
type step struct {
	off, n int64
	with   byte
	end    int
}

// At any of a thousand crash points the file opens, its table is sound, every
// operation that had finished is there, and of the one under way each sector is old
// or new.
func TestCrashPoints(t *testing.T) {
	points := 0
	for seed := uint64(0); points < 1000; seed++ {
		points += crashRun(t, seed)
	}
	t.Logf("%d crash points", points)
}

const crashSize = 2 << 20

func crashRun(t *testing.T, seed uint64) int {
	rng := rand.New(rand.NewPCG(seed, 1))
	f, after := newFolder(t), newFolder(t)
	differencing := seed%2 == 0
	old := make([]byte, crashSize)
	for _, f := range []*folder{f, after} {
		p := f.disk("p", Params{Size: crashSize, BlockSize: 1 << 20, DiskID: testID})
		if differencing {
			old = fill(crashSize, 0xAA)
			f.write(p, old, 0)
		}
		p.Close()
	}
	name := "p"
	if differencing {
		name = "c"
		i := f.open("p", true).Info()
		f.child(name, "p").Close()
		// The copy's parent is another file with another identity; borrow it.
		_, err := Create(after.create(name), Params{Size: crashSize, BlockSize: 1 << 20, DiskID: i.DiskID,
			Parent: &ParentRef{Linkage: after.open("p", true).Info().DataWrite, RelativePath: "p"}}, store.Touch{})
		f.must(err)
	}
	raw, err := f.stream(name)
	f.must(err)
	rec := &tape{Stream: raw}
	d, err := Open(rec, Options{Parent: f.stream})
	f.must(err)
	var steps []step
	for range 60 {
		n := int64(1+rng.IntN(64)) * 512
		s := step{off: rng.Int64N((crashSize-n)/512) * 512, n: n, with: byte(1 + rng.IntN(250))}
		switch rng.IntN(6) {
		case 0:
			s.with = 0
		case 1:
			s.off, s.n, s.with = s.off>>20<<20, 1<<20, 0
		case 2:
			s.off, s.n = s.off>>20<<20, 1<<20
		}
		if s.with == 0 {
			f.zero(d, s.off, s.n)
		} else {
			f.write(d, fill(int(s.n), s.with), s.off)
		}
		s.end = len(rec.changes)
		steps = append(steps, s)
	}
	copyOf, err := after.stream(name)
	f.must(err)
	done := 0
	got := make([]byte, crashSize)
	for k, change := range rec.changes {
		f.must(change(copyOf))
		for done < len(steps) && steps[done].end <= k+1 {
			copy(old[steps[done].off:], fill(int(steps[done].n), steps[done].with))
			done++
		}
		crashed, err := Open(copyOf, Options{ReadOnly: true, Parent: after.stream})
		if err != nil {
			t.Fatalf("seed %d, change %d: %v", seed, k, err)
		}
		f.must(crashed.ReadAt(got, 0))
		if crashed.parent != nil {
			crashed.parent.Close()
		}
		if bytes.Equal(got, old) {
			continue
		}
		var now step
		if done < len(steps) {
			now = steps[done]
		}
		for i := 0; i < len(got); i += 512 {
			g, was := got[i:i+512], old[i:i+512]
			under := int64(i) >= now.off && int64(i) < now.off+now.n
			if !bytes.Equal(g, was) && !(under && bytes.Equal(g, fill(512, now.with))) {
				t.Fatalf("seed %d, change %d of %d, during %+v: sector at %#x begins with %#x, was %#x", seed, k, len(rec.changes), now, i, g[0], was[0])
			}
		}
	}
	return len(rec.changes)
}

// A crash in the middle of resizing leaves the old size or the new one and nothing
// between.
func TestCrashWhileResizing(t *testing.T) {
	for _, p := range []Params{{BlockSize: 1 << 20}, {BlockSize: 1 << 20, Fixed: true}} {
		p.Size, p.DiskID = 126<<30, testID
		if p.Fixed {
			p.Size = 8 << 20
		}
		f, after := newFolder(t), newFolder(t)
		for _, f := range []*folder{f, after} {
			f.disk("a", p).Close()
		}
		raw, err := f.stream("a")
		f.must(err)
		rec := &tape{Stream: raw}
		d, err := Open(rec, Options{})
		f.must(err)
		f.write(d, fill(512, 3), 7<<20)
		before := len(rec.changes)
		for _, size := range []int64{p.Size * 3, p.Size / 2} {
			_, err = d.Resize(size)
			f.must(err)
		}
		copyOf, err := after.stream("a")
		f.must(err)
		for k, change := range rec.changes {
			f.must(change(copyOf))
			crashed, err := Open(copyOf, Options{ReadOnly: true})
			if err != nil {
				t.Fatalf("change %d: %v", k, err)
			}
			if s := crashed.size.Load(); s != p.Size && s != p.Size*3 && s != p.Size/2 {
				t.Errorf("change %d: size %d", k, s)
			}
			b := make([]byte, 512)
			if crashed.size.Load() > 7<<20 && k >= before && !p.Fixed {
				if f.must(crashed.ReadAt(b, 7<<20)); b[0] != 3 {
					t.Errorf("change %d: byte %d", k, b[0])
				}
			}
		}
	}
}

// logOf builds a log with one entry per list of patches, the last of which is the
// newest sequence.
func logOf(id dtyp.GUID, fileSize int64, entries ...[]patch) []byte {
	log := make([]byte, newMetadata-newLog)
	at := 0
	for n, patches := range entries {
		seq := uint64(n + 7)
		b := make([]byte, sectorSize)
		copy(b, "loge")
		le.PutUint64(b[16:], seq)
		le.PutUint32(b[24:], uint32(len(patches)))
		copy(b[32:], id[:])
		le.PutUint64(b[48:], uint64(fileSize))
		le.PutUint64(b[56:], uint64(fileSize))
		for i, p := range patches {
			e := b[64+32*i:]
			le.PutUint64(e[16:], uint64(p.off))
			le.PutUint64(e[24:], seq)
			if p.data == nil {
				copy(e, "zero")
				le.PutUint64(e[8:], uint64(p.n))
				continue
			}
			copy(e, "desc")
			copy(e[8:16], p.data)
			copy(e[4:8], p.data[sectorSize-4:])
			s := bytes.Clone(p.data)
			copy(s, "data")
			le.PutUint32(s[4:], uint32(seq>>32))
			le.PutUint32(s[sectorSize-4:], uint32(seq))
			b = append(b, s...)
		}
		le.PutUint32(b[8:], uint32(len(b)))
		le.PutUint32(b[12:], 0) // tail: the first entry
		le.PutUint32(b[4:], checksum(b, 4))
		at += copy(log[at:], b)
	}
	return log
}

func TestLogIsReplayed(t *testing.T) {
	for _, readOnly := range []bool{true, false} {
		f := newFolder(t)
		f.disk("a", Params{Size: 8 << 20, BlockSize: 1 << 20}).Close()
		s, err := f.stream("a")
		f.must(err)
		size := s.Sizes().Size
		table := make([]byte, sectorSize)
		s.ReadAt(table, newTableAt)
		le.PutUint64(table, uint64(makeEntry(size, present)))
		stale := fill(sectorSize, 0xFF)
		_, err = s.SetSize(size+1<<20, store.Touch{})
		f.must(err)
		_, err = s.WriteAt(fill(512, 0x5C), size, store.Touch{})
		f.must(err)
		log := logOf(testID, size+1<<20, []patch{{newTableAt, stale, sectorSize}, {newTableAt + sectorSize, nil, sectorSize}}, []patch{{newTableAt, table, sectorSize}})
		_, err = s.WriteAt(log, newLog, store.Touch{})
		f.must(err)
		h, _ := decodeHeader(headSection(mib)[headerOffsets[1]:])
		h.log, h.sequence = testID, 100
		_, err = s.WriteAt(h.encode(), headerOffsets[0], store.Touch{})
		f.must(err)

		d := f.open("a", readOnly)
		want := make([]byte, 8<<20)
		copy(want, fill(512, 0x5C))
		f.same(d, want)
		d.Close()
		if h, _ := decodeHeader(read(s, headerOffsets[0], headerSize)); h.log.IsZero() == readOnly {
			t.Errorf("read-only %v: log is %v", readOnly, h.log)
		}
		f.same(f.open("a", true), want)
	}
}

func read(s store.Stream, off int64, n int) []byte {
	b := make([]byte, n)
	s.ReadAt(b, off)
	return b
}

func TestLogWithoutSequenceIsCorrupt(t *testing.T) {
	log := logOf(testID, 4<<20, []patch{{3 << 20, nil, sectorSize}})
	if _, err := replayLog(log, testID, 4<<20); err != nil {
		t.Error(err)
	}
	if _, err := replayLog(log, testID, 3<<20); err == nil {
		t.Error("a truncated file is accepted")
	}
	log[100]++
	if _, err := replayLog(log, testID, 4<<20); err == nil {
		t.Error("a damaged entry is accepted")
	}
}

func FuzzReplay(f *testing.F) {
	log := logOf(testID, 4<<20, []patch{{3 << 20, nil, sectorSize}, {2 << 20, fill(sectorSize, 1), sectorSize}})[:4*sectorSize]
	f.Add(log)
	f.Fuzz(func(t *testing.T, log []byte) {
		log = bytes.Clone(log[:len(log)/sectorSize*sectorSize])
		for at := 0; at < len(log); at += sectorSize { // with right checksums
			b := log[at:]
			if n := le.Uint32(b[8:]); n >= sectorSize && n <= uint32(len(b)) {
				le.PutUint32(b[4:], checksum(b[:n], 4))
			}
		}
		r, err := replayLog(log, testID, 1<<40)
		if err != nil {
			return
		}
		overlay(r.patches, make([]byte, 8192), 2<<20)
	})
}

// debianPython is the interpreter that sees Debian's modules.
const debianPython = "/usr/bin/python3"

const chainScript = `
import hashlib, pyvhdi, sys
disk, chain = None, []
for path in sys.argv[1:]:
    child = pyvhdi.file()
    child.open(path)
    if disk is not None:
        assert child.parent_identifier == disk.identifier, (child.parent_identifier, disk.identifier)
        child.set_parent(disk)
    disk = child
    chain.append(disk)
h = hashlib.sha256()
size, at = disk.get_media_size(), 0
while at < size:
    n = min(1 << 20, size - at)
    h.update(disk.read_buffer_at_offset(n, at))
    at += n
print(h.hexdigest())
`

func TestLibvhdiReadsOurChains(t *testing.T) {
	rig.Need(t, debianPython, "vhdiinfo")
	if err := exec.Command(debianPython, "-c", "import pyvhdi").Run(); err != nil {
		if os.Getenv("GABION_CI") != "" {
			t.Fatal("python3-libvhdi is missing although .ci/run installs it")
		}
		t.Skip("python3-libvhdi is not installed")
	}
	f := newFolder(t)
	rng := rand.New(rand.NewPCG(11, 12))
	want := make([]byte, 6<<20)
	d := f.disk("l0", Params{Size: int64(len(want)), BlockSize: 1 << 20})
	f.life(rng, d, want, 10)
	d.Close()
	paths := []string{f.export("l0")}
	for i := range 4 {
		d = f.child(fmt.Sprintf("l%d", i+1), fmt.Sprintf("l%d", i))
		// libvhdi shows the parent through a block that is zero or unmapped here,
		// against [MS-VHDX] 2.5.1.1, so the layers hold writes only.
		f.lifeOf(rng, d, want, 15, false)
		d.Close()
		paths = append(paths, f.export(fmt.Sprintf("l%d", i+1)))
		if !strings.Contains(run(t, "vhdiinfo", paths[i+1]), "Differential") {
			t.Error("vhdiinfo does not call the layer differential")
		}
		ours := fmt.Sprintf("%x", sha256.Sum256(want))
		theirs := strings.TrimSpace(run(t, debianPython, append([]string{"-c", chainScript}, paths...)...))
		if ours != theirs {
			t.Fatalf("libvhdi reads something else through %d layers", i+1)
		}
	}
}
