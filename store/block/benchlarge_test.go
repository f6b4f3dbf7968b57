package block

import (
	"fmt"
	"sync/atomic"
	"testing"

	"gabion/store"
)

// BenchmarkLargeRead reads 1 MiB in turn from the page cache, alone and with others: alone, two
// processors share a read.
func BenchmarkLargeRead(b *testing.B) {
	for _, readers := range []int{1, 8} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			const size = 128 << 20
			_, s := benchVolume(b, size)
			b.SetBytes(1 << 20)
			b.ReportAllocs()
			var next atomic.Int64
			read := func(p []byte) {
				if _, err := s.ReadAt(p, next.Add(1<<20)%size); err != nil {
					b.Error(err)
				}
			}
			used := cpu()
			b.ResetTimer()
			if readers == 1 {
				p := make([]byte, 1<<20)
				for range b.N {
					read(p)
				}
			} else {
				b.SetParallelism(readers / 2)
				b.RunParallel(func(pb *testing.PB) {
					p := make([]byte, 1<<20)
					for pb.Next() {
						read(p)
					}
				})
			}
			b.ReportMetric(float64((cpu()-used).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// BenchmarkStream overwrites a file of 128 MiB by 1 MiB again and again, as fast as the log takes
// it, which syncs all the while.
func BenchmarkStream(b *testing.B) {
	const size = 128 << 20
	v, s := benchVolume(b, size)
	p := noise(1 << 20)
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	used := cpu()
	b.ResetTimer()
	for i := range b.N {
		p[i%len(p)]++
		if _, err := s.WriteAt(p, int64(i)<<20%size, store.Touch{}); err != nil {
			b.Fatal(err)
		}
	}
	if err := v.Sync(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64((cpu()-used).Microseconds())/float64(b.N), "cpu-µs/op")
}
