package block

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"

	"gabion/store"
)

// benchVolume opens a volume on a real disk with one file of size bytes.
func benchVolume(b testing.TB, size int64) (*Volume, store.Stream) {
	b.Helper()
	dir, err := os.MkdirTemp(os.Getenv("GABION_BENCH_DIR"), "bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	v, err := Open(Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	root, err := v.Root(store.Live)
	if err != nil {
		b.Fatal(err)
	}
	n, _, err := v.Create(root, "disk", store.Init{})
	if err != nil {
		b.Fatal(err)
	}
	s, err := n.Data()
	if err != nil {
		b.Fatal(err)
	}
	buf := noise(1 << 20)
	for off := int64(0); off < size; off += int64(len(buf)) {
		if _, err := s.WriteAt(buf, off, store.Touch{}); err != nil {
			b.Fatal(err)
		}
	}
	if err := v.Sync(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		s.Close()
		n.Close()
		root.Close()
		if err := v.Close(); err != nil {
			b.Error(err)
		}
	})
	return v, s
}

func noise(n int) []byte {
	p := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(p)
	return p
}

// BenchmarkDurableWrite writes 4 KiB at random places and waits for each.
func BenchmarkDurableWrite(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			v, s := benchVolume(b, 256<<20)
			b.SetBytes(4096)
			b.ReportAllocs()
			b.SetParallelism((writers + 1) / 2)
			var seed atomic.Uint64
			began, first := v.log.Stats().Syncs, v.log.Last()
			used := cpu()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				r := rand.New(rand.NewPCG(seed.Add(1), 1))
				buf := noise(4096)
				for pb.Next() {
					buf[r.IntN(4096)]++
					pos, err := s.WriteAt(buf, r.Int64N(256<<20/4096)*4096, store.Touch{})
					if err == nil {
						err = v.Wait(pos)
					}
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(cpu()-used)/1e3/float64(b.N), "cpu-µs/op")
			b.ReportMetric(float64(v.log.Last()-first)/float64(max(v.log.Stats().Syncs-began, 1)), "records/sync")
		})
	}
}

// BenchmarkRead reads from a file that was written in one go, or overwritten at random.
func BenchmarkRead(b *testing.B) {
	for _, c := range []struct {
		size      int
		scattered bool
	}{{4096, false}, {4096, true}, {64 << 10, true}, {1 << 20, false}, {1 << 20, true}} {
		b.Run(fmt.Sprintf("size=%d/scattered=%v", c.size, c.scattered), func(b *testing.B) {
			_, s := benchVolume(b, 256<<20)
			if c.scattered {
				for _, i := range rand.Perm(256 << 20 / 4096) {
					if _, err := s.WriteAt(noise(4096), int64(i)*4096, store.Touch{}); err != nil {
						b.Fatal(err)
					}
				}
			}
			buf := make([]byte, c.size)
			b.SetBytes(int64(c.size))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				off := rand.Int64N(256<<20/int64(c.size)) * int64(c.size)
				if _, err := s.ReadAt(buf, off); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCloneFile clones a sparse file of 20 GiB that holds 1 GiB in random
// pieces of 64 KiB, while the background makes earlier clones real.
func BenchmarkCloneFile(b *testing.B) {
	v, s := benchVolume(b, 0)
	buf := noise(64 << 10)
	for range 1 << 30 / len(buf) {
		if _, err := s.WriteAt(buf, rand.Int64N(20<<30/int64(len(buf)))*int64(len(buf)), store.Touch{}); err != nil {
			b.Fatal(err)
		}
	}
	root, err := v.Root(store.Live)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	size := s.Sizes().Size
	b.ResetTimer()
	for i := range b.N {
		n, _, err := v.Create(root, fmt.Sprint("clone", i), store.Init{})
		if err != nil {
			b.Fatal(err)
		}
		c, err := n.Data()
		if err != nil {
			b.Fatal(err)
		}
		pos, err := c.CloneFrom(0, s, 0, size, store.Touch{})
		if err == nil {
			err = v.Wait(pos)
		}
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
		n.Close()
	}
}

// BenchmarkSnapshot takes snapshots of a volume that is being written.
func BenchmarkSnapshot(b *testing.B) {
	v, s := benchVolume(b, 64<<20)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := noise(4096)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := s.WriteAt(buf, rand.Int64N(64<<20/4096)*4096, store.Touch{}); err != nil {
				b.Error(err)
				return
			}
		}
	}()
	b.ResetTimer()
	for i := range b.N {
		if _, _, err := v.Snapshots().Create(fmt.Sprint("s", i), []store.FileID{store.RootID}); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	close(stop)
	<-done
}
