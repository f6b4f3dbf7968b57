package block

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
)

// cached opens a volume in memory with a cache of data of so many bytes, that does nothing by itself.
func cached(t testing.TB, fs vfs.FS, size int64) *Volume {
	t.Helper()
	v, err := Open(Options{Dir: "vol", FS: fs, SegmentSize: 256 << 10, CacheSize: 8 << 20, DataCache: size, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// stamps is the content of n blocks from block first on.
func stamps(first, n int, round uint64) []byte {
	var p []byte
	for b := first; b < first+n; b++ {
		p = append(p, stamp(b, round)...)
	}
	return p
}

// readParts reads by ReadParts what must be want, and returns what was lent.
func readParts(t testing.TB, s store.Stream, want []byte, off int64) *store.Parts {
	t.Helper()
	parts := new(store.Parts)
	n, err := s.(store.Lender).ReadParts(make([]byte, len(want)), off, parts)
	if err != nil || n != len(want) {
		t.Fatalf("%d bytes at %d: %d, %v", len(want), off, n, err)
	}
	same(t, parts, want)
	return parts
}

// same fails unless parts hold want.
func same(t testing.TB, parts *store.Parts, want []byte) {
	t.Helper()
	var got []byte
	for _, p := range parts.List {
		got = append(got, p.Data...)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("lent other data")
	}
}

func write(t testing.TB, s store.Stream, p []byte, off int64) {
	t.Helper()
	if _, err := s.WriteAt(p, off, store.Touch{}); err != nil {
		t.Fatal(err)
	}
}

// What was read twice comes from memory; what was overwritten since comes from the log, and no more of
// it; and that the cleaner moves it changes nothing.
func TestDataCacheHits(t *testing.T) {
	for _, pack := range []bool{false, true} {
		t.Run(fmt.Sprintf("pack=%v", pack), func(t *testing.T) {
			v := cached(t, vfs.NewMem(), 4<<20)
			n, s := newFile(t, v, "disk")
			defer n.Close()
			defer s.Close()
			s.(store.Packer).SetPacking(pack)
			want := stamps(0, 256, 0)
			write(t, s, want, 0)
			// reads reads all and tells how much came from the log.
			reads := func() uint64 {
				t.Helper()
				before := v.Stats()
				readParts(t, s, want, 0).Release()
				after := v.Stats()
				if n := after.DataHits + after.DataMisses - before.DataHits - before.DataMisses; n != uint64(len(want)) {
					t.Errorf("%d bytes were counted", n)
				}
				return after.DataRead - before.DataRead
			}
			reads()
			if reads() == 0 {
				t.Error("cached at the first read")
			}
			for range 3 {
				if n := reads(); n != 0 {
					t.Errorf("%d bytes were read again", n)
				}
			}
			copy(want[100*blockSize:], stamps(100, 1, 1))
			write(t, s, stamps(100, 1, 1), 100*blockSize)
			if n := reads(); n != blockSize {
				t.Errorf("%d bytes were read for a block that was overwritten", n)
			}
			for i := range 40 {
				copy(want[i*5*blockSize:], stamps(i*5, 1, 2))
				write(t, s, stamps(i*5, 1, 2), int64(i)*5*blockSize)
			}
			reads()
			v.eager = true
			v.Sync() //nolint:errcheck // the reads tell
			moved := v.Stats().MovedBytes
			other, beside := newFile(t, v, "other")
			defer other.Close()
			defer beside.Close()
			for i := range 40 {
				write(t, beside, stamp(0, uint64(i)), 0) // what the background does goes by the log's position
				background(v)
			}
			if v.Stats().MovedBytes == moved {
				t.Fatal("nothing was moved")
			}
			if n := reads(); n != 0 {
				t.Errorf("%d bytes were read again that had only moved", n)
			}
		})
	}
}

// Reads at odd places, over the end and over holes are the same from the cache.
func TestDataCacheOddReads(t *testing.T) {
	v := cached(t, vfs.NewMem(), 1<<20)
	v.data.least = 1
	n, s := newFile(t, v, "disk")
	defer n.Close()
	defer s.Close()
	want := make([]byte, 700<<10+77)
	for _, at := range []int{0, 5, 64, 65, 120, 174} {
		b := stamps(at, 1, 0)
		copy(want[at*blockSize:], b)
		write(t, s, b[:min(len(b), len(want)-at*blockSize)], int64(at)*blockSize)
	}
	if _, err := s.SetSize(int64(len(want)), store.Touch{}); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 250 {
		off := rng.IntN(len(want))
		k := 1 + rng.IntN(min(300<<10, len(want)-off))
		readParts(t, s, want[off:off+k], int64(off)).Release()
		p := make([]byte, k+10)
		if got, err := s.ReadAt(p, int64(off)); err != nil || !bytes.Equal(p[:got], want[off:min(off+len(p), len(want))]) {
			t.Fatalf("%d bytes at %d: %d, %v", len(p), off, got, err)
		}
	}
	if st := v.Stats(); st.DataHits == 0 || st.DataBorrowed != 0 || st.DataCached > 1<<20 {
		t.Errorf("figures %+v", st)
	}
}

// One pass over cold data leaves nothing in the cache, in large steps or small ones.
func TestDataCacheOnePass(t *testing.T) {
	for _, step := range []int{1 << 20, 64 << 10, 32 << 10} {
		v := cached(t, vfs.NewMem(), 1<<20)
		n, s := newFile(t, v, "disk")
		want := stamps(0, 1024, 0)
		write(t, s, want, 0)
		for off := 0; off < len(want); off += step {
			readParts(t, s, want[off:off+step], int64(off)).Release()
		}
		if st := v.Stats(); st.DataCached != 0 || st.DataHits != 0 {
			t.Errorf("steps of %d left %d bytes", step, st.DataCached)
		}
		s.Close()
		n.Close()
	}
}

// What was lent stays as it is, whatever is written and read meanwhile; when all memory is lent, reads do
// without; and the memory goes with the last loan, even if the volume went before.
func TestDataCacheLoans(t *testing.T) {
	for _, size := range []int64{8 * pageSize, leastMapped} {
		v := cached(t, vfs.NewMem(), size)
		n, s := newFile(t, v, "disk")
		blocks := int(min(2*size, 1<<20) / blockSize)
		want := stamps(0, blocks, 0)
		write(t, s, want, 0)
		var lent []*store.Parts
		for range 3 { // the second fills the cache, the third finds what it can
			lent = append(lent, readParts(t, s, want, 0))
		}
		if st := v.Stats(); st.DataBorrowed != min(size, 1<<20) {
			t.Errorf("%d of %d bytes are lent", st.DataBorrowed, size)
		}
		now := stamps(0, blocks, 1)
		write(t, s, now, 0)
		for range 3 {
			readParts(t, s, now, 0).Release()
		}
		for _, l := range lent {
			same(t, l, want)
		}
		lent[0].Release()
		s.Close()
		n.Close()
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		same(t, lent[1], want)
		same(t, lent[2], want)
		lent[1].Release()
		if size >= leastMapped && !v.data.mapped {
			t.Error("memory is gone while it is lent")
		}
		lent[2].Release()
		if _, borrowed := v.data.holds(); borrowed != 0 || v.data.mapped {
			t.Errorf("%d bytes are still lent; mapped: %v", borrowed, v.data.mapped)
		}
	}
}

// A bit that flips on the disk is reported by a read that goes there, and leaves nothing in the cache. What was
// cached before is right still; and whoever verifies the disk finds it.
func TestDataCacheCorruption(t *testing.T) {
	fs := vfs.NewMem()
	v := cached(t, fs, 4<<20)
	n, s := newFile(t, v, "disk")
	defer n.Close()
	defer s.Close()
	want := stamps(0, 64, 0)
	write(t, s, want, 0)
	if err := v.Sync(); err != nil {
		t.Fatal(err)
	}
	flip := func(block uint8) {
		t.Helper()
		all, err := v.versions(chunkBody(nil, n.ID(), s.(*handle).no, 0))
		if err != nil || len(all) == 0 {
			t.Fatal(len(all), err)
		}
		p, _ := all[0].m.at(block)
		off, _ := p.extent(block)
		file, place, _ := strings.Cut(v.space.where(p.container, off*sectorSize), " at ")
		var at int64
		fmt.Sscan(place, &at)
		flipAt(t, fs, "vol/"+file, at+8)
	}
	flip(40)
	var damage *store.CorruptError
	for range 4 {
		parts := new(store.Parts)
		_, err := s.(store.Lender).ReadParts(make([]byte, len(want)), 0, parts)
		if !errors.As(err, &damage) || len(parts.List) != 0 {
			t.Fatalf("read of a damaged block: %v, %d parts", err, len(parts.List))
		}
		if _, err := s.ReadAt(make([]byte, len(want)), 0); !errors.As(err, &damage) {
			t.Fatalf("read of a damaged block: %v", err)
		}
	}
	if damage.Range.Off > 40*blockSize || damage.Range.Off+damage.Range.Len <= 40*blockSize {
		t.Errorf("reported %v", damage.Range)
	}
	if _, borrowed := v.data.holds(); borrowed != 0 {
		t.Errorf("%d bytes are lent to nobody", borrowed)
	}
	flip(40)
	for range 3 {
		readParts(t, s, want, 0).Release()
	}
	flip(40)
	readParts(t, s, want, 0).Release()
	found := 0
	if _, err := v.Check(CheckOptions{Found: func(Problem) { found++ }}); err != nil || found == 0 {
		t.Errorf("a check found %d damages, %v", found, err)
	}
}

// Readers, writers and the cleaner at once, in a cache much too small: each block read is one that was written
// there, not older than what was there when the read began, and stays so while it is lent.
func TestDataCacheRace(t *testing.T) {
	const blocks = 512
	v, err := Open(Options{Dir: "vol", FS: vfs.NewMem(), SegmentSize: 256 << 10, CacheSize: 8 << 20, DataCache: 12 * pageSize})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	v.work.step.Lock() // the background runs already
	v.eager, v.cleaner.most = true, 32<<10
	v.work.step.Unlock()
	n, s := newFile(t, v, "disk")
	defer n.Close()
	defer s.Close()
	write(t, s, stamps(0, blocks, 0), 0)
	var done [blocks]atomic.Uint64 // rounds written
	var group sync.WaitGroup
	for g := range 2 {
		group.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for round := uint64(1); round <= 300; round++ {
				b := rng.IntN(blocks/2-4)*2 + g // a block has one writer
				if _, err := s.WriteAt(stamp(b, round), int64(b)*blockSize, store.Touch{}); err != nil {
					t.Error(err)
					return
				}
				done[b].Store(round)
			}
		})
	}
	for g := range 3 {
		group.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 2))
			p := make([]byte, 48*blockSize)
			parts := new(store.Parts)
			for range 60 {
				b := rng.IntN(blocks - 48)
				var least [48]uint64
				for i := range least {
					least[i] = done[b+i].Load()
				}
				if _, err := s.(store.Lender).ReadParts(p, int64(b)*blockSize, parts); err != nil {
					t.Error(err)
					return
				}
				at := b
				for _, part := range parts.List {
					for d := part.Data; len(d) > 0; d = d[blockSize:] {
						round := binary.LittleEndian.Uint64(d[8:]) - 1
						if round < least[at-b] || !bytes.Equal(d[:blockSize], stamp(at, round)) {
							t.Errorf("block %d holds round %d, %d was written before", at, round, least[at-b])
						}
						at++
					}
				}
				parts.Release()
			}
		})
	}
	group.Wait()
	if st := v.Stats(); st.DataBorrowed != 0 {
		t.Errorf("%d bytes are still lent", st.DataBorrowed)
	}
}

// BenchmarkDataCache reads 1 MiB in turn of a file of 128 MiB in the page cache: without a cache of data, with one that
// holds it all, by copy and lent, with one of an eighth, which a pass over it all must leave alone, and
// with everything in pieces of 4 KiB all over the log.
func BenchmarkDataCache(b *testing.B) {
	const size = 128 << 20
	for _, tt := range []struct {
		name      string
		cache     int64
		lent, cut bool
	}{
		{"off", 0, false, false}, {"passed", size / 8, true, false}, {"copied", 2 * size, false, false}, {"lent", 2 * size, true, false},
		{"pieces/off", 0, false, true}, {"pieces/lent", 2 * size, true, true},
	} {
		b.Run(tt.name, func(b *testing.B) {
			v, err := Open(Options{Dir: b.TempDir(), DataCache: tt.cache})
			if err != nil {
				b.Fatal(err)
			}
			defer v.Close()
			n, s := newFile(b, v, "disk")
			defer n.Close()
			defer s.Close()
			p := noise(1 << 20)
			for off := int64(0); off < size; off += 1 << 20 {
				write(b, s, p, off)
			}
			if tt.cut {
				for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(size / blockSize) {
					write(b, s, p[:blockSize], int64(i)*blockSize)
				}
			}
			if err := v.Sync(); err != nil {
				b.Fatal(err)
			}
			parts := new(store.Parts)
			read := func(i int) {
				off := int64(i) << 20 % size
				if !tt.lent {
					_, err = s.ReadAt(p, off)
				} else if _, err = s.(store.Lender).ReadParts(p, off, parts); err == nil {
					parts.Release()
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			for i := range 3 * size >> 20 {
				read(i)
			}
			b.SetBytes(1 << 20)
			b.ReportAllocs()
			used := cpu()
			b.ResetTimer()
			for i := range b.N {
				read(i)
			}
			b.ReportMetric(float64((cpu()-used).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}
