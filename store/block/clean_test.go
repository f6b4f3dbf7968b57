package block

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
)

// newFile makes a file in the root of v and opens its data.
func newFile(t testing.TB, v *Volume, name string) (store.Node, store.Stream) {
	t.Helper()
	root, err := v.Root(store.Live)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	n, _, err := v.Create(root, name, store.Init{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := n.Data()
	if err != nil {
		t.Fatal(err)
	}
	return n, s
}

func stamp(block int, round uint64) []byte {
	p := make([]byte, blockSize)
	for i := 0; i < blockSize; i += 16 {
		binary.LittleEndian.PutUint64(p[i:], uint64(block))
		binary.LittleEndian.PutUint64(p[i+8:], round+1)
	}
	return p
}

// A volume that is 75 % full takes overwrites of many times its capacity, and every
// block, also in a snapshot and a clone, is what was written last.
func TestCleaning(t *testing.T) {
	t.Run("raw", func(t *testing.T) { testCleaning(t, 1, false) })
	t.Run("packed", func(t *testing.T) { testCleaning(t, 20, true) })
}

func testCleaning(t *testing.T, most int, pack bool) {
	fs := vfs.NewMem()
	open := func() *Volume {
		v, err := Open(Options{Dir: "vol", FS: fs, SegmentSize: 256 << 10, Capacity: 16 << 20, Manual: true})
		if err != nil {
			t.Fatal(err)
		}
		v.cleaner.most = 16 << 10 // other work comes between the steps of one segment
		return v
	}
	v := open()
	n, s := newFile(t, v, "disk")
	const blocks = 12 << 20 / blockSize
	now := make([]uint64, blocks)
	rng := rand.New(rand.NewPCG(1, 2))
	write := func(i int, round uint64) {
		t.Helper()
		s.(store.Packer).SetPacking(pack)
		var p []byte
		for k := i; k < min(i+1+rng.IntN(most), blocks); k++ {
			p = append(p, stamp(k, round)...)
			now[k] = round
		}
		if _, err := s.WriteAt(p, int64(i)*blockSize, store.Touch{}); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	contents := func(s store.Stream, want []uint64) {
		t.Helper()
		p := make([]byte, blockSize)
		for i := range want {
			if _, err := s.ReadAt(p, int64(i)*blockSize); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(p, stamp(i, want[i])) {
				t.Fatalf("block %d is not of round %d", i, want[i])
			}
		}
	}
	for i := range blocks {
		write(i, 0)
	}
	for round := uint64(1); round < 30_000; round++ {
		write(rng.IntN(blocks), round)
		if round%10_000 == 0 {
			contents(s, now)
			if err := verify(v); err != nil {
				t.Fatal(err)
			}
			s.Close()
			n.Close()
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
			v = open()
			var err error
			if n, err = v.OpenID(store.Live, 2); err != nil {
				t.Fatal(err)
			}
			if s, err = n.Data(); err != nil {
				t.Fatal(err)
			}
		}
	}
	contents(s, now)
	if used := v.Space().Used; used != 12<<20 && !pack || used > 12<<20 {
		t.Errorf("%d bytes in use, want %d", used, 12<<20)
	}
	if v.wrote.moved.Load() == 0 {
		t.Error("nothing was cleaned")
	}
	s.Close()
	n.Close()
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

// A full volume refuses data, still reads and deletes, and takes data again when
// space is free.
func TestFullVolume(t *testing.T) {
	v, err := Open(Options{Dir: "vol", FS: vfs.NewMem(), SegmentSize: 256 << 10, Capacity: 8 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	_, keep := newFile(t, v, "keep")
	if _, err := keep.WriteAt(stamp(1, 1), 0, store.Touch{}); err != nil {
		t.Fatal(err)
	}
	root, err := v.Root(store.Live)
	if err != nil {
		t.Fatal(err)
	}
	for cycle := range 3 {
		n, s := newFile(t, v, "big")
		buf := make([]byte, 64<<10)
		rand.NewChaCha8([32]byte{byte(cycle)}).Read(buf)
		var total int64
		for {
			_, err := s.WriteAt(buf, total, store.Touch{})
			if errors.Is(err, store.ErrNoSpace) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if total += int64(len(buf)); total > 8<<20 {
				t.Fatal("more fits than the capacity")
			}
		}
		if total < 6<<20 {
			t.Errorf("cycle %d: full after %d bytes", cycle, total)
		}
		p := make([]byte, blockSize)
		if _, err := keep.ReadAt(p, 0); err != nil || !bytes.Equal(p, stamp(1, 1)) {
			t.Fatalf("read of a full volume: %v", err)
		}
		s.Close()
		n.Close()
		if _, err := v.Unlink(root, "big"); err != nil {
			t.Fatalf("delete on a full volume: %v", err)
		}
		settle(v, 10000)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

// A frame that is larger than a step of the cleaner, and of which one block lives at either end or between, is
// not left behind in part: what no reference is left to is needed to unpack the rest.
func TestCleaningKeepsFramesWhole(t *testing.T) {
	for _, left := range []int{0, 6, 13} {
		t.Run(fmt.Sprint(left), func(t *testing.T) { testFrameStays(t, left, false) })
	}
}

// Volumes may hold frames that were moved in parts. Both parts stay as long as one of them has references.
func TestCleaningKeepsPartsOfFrames(t *testing.T) {
	for _, left := range []int{0, 6, 13} {
		t.Run(fmt.Sprint(left), func(t *testing.T) { testFrameStays(t, left, true) })
	}
}

func testFrameStays(t *testing.T, left int, parts bool) {
	fs := vfs.NewMem()
	open := func() *Volume {
		v, err := Open(Options{Dir: "vol", FS: fs, SegmentSize: 256 << 10, Pack: true, Manual: true})
		if err != nil {
			t.Fatal(err)
		}
		v.eager, v.cleaner.most = true, 16<<10
		return v
	}
	v := open()
	n, s := newFile(t, v, "f")
	write := func(p []byte, block int) {
		t.Helper()
		if _, err := s.WriteAt(p, int64(block)*blockSize, store.Touch{}); err != nil {
			t.Fatal(err)
		}
	}
	rng := rand.NewChaCha8([32]byte{})
	const blocks = 14 // as many as a record of these segments has room for
	frame := make([]byte, blocks*blockSize)
	for i := 0; i < len(frame); i += blockSize {
		rng.Read(frame[i : i+blockSize*3/4]) // takes three quarters: more than two steps
	}
	other := make([]byte, 1<<20)
	rng.Read(other)
	write(frame, 0)
	write(other, 256) // other segments follow
	write(other[:left*blockSize], 0)
	write(other[:(blocks-left-1)*blockSize], left+1)
	write(other, 256)
	holds := func() {
		t.Helper()
		p := make([]byte, blockSize)
		if _, err := s.ReadAt(p, int64(left)*blockSize); err != nil || !bytes.Equal(p, frame[left*blockSize:][:blockSize]) {
			t.Errorf("what is left of the frame: %v", err)
		}
		if err := verify(v); err != nil {
			t.Error(err)
		}
	}
	for range 100 { // steps, with what was forgotten written over
		if err := errors.Join(v.flushNow(), v.Sync()); err != nil {
			t.Fatal(err)
		}
		if c := &v.cleaner; parts && c.victim == nil {
			if g, err := c.choose(); err != nil {
				t.Fatal(err)
			} else if g != nil {
				if c.runs, c.frames, err = c.living(g); err != nil {
					t.Fatal(err)
				}
				c.victim = g
			}
		}
		settle(v, 1)
		write(other[:64<<10], 256)
		holds()
		if t.Failed() {
			break
		}
	}
	if v.wrote.moved.Load() == 0 {
		t.Error("nothing was cleaned")
	}
	s.Close()
	n.Close()
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v = open()
	defer v.Close()
	var err error
	if n, err = v.OpenID(store.Live, 2); err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if s, err = n.Data(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	holds()
}
