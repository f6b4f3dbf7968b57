package block

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gabion/store"
)

// load is writers that overwrite blocks of a file, and what became of it.
type load struct {
	ops  int64
	rate float64
	cpu  time.Duration // per operation
	lat  []time.Duration
}

// picker chooses blocks.
type picker func(r *rand.Rand) int64

func uniform(blocks int64) picker { return func(r *rand.Rand) int64 { return r.Int64N(blocks) } }

// skewed gives nine of ten writes to a tenth of the blocks, spread over all.
func skewed(blocks int64) picker {
	return func(r *rand.Rand) int64 {
		if r.IntN(10) > 0 {
			return r.Int64N(blocks/10) * 10
		}
		return r.Int64N(blocks)
	}
}

// overwrite runs writers, each waiting for its block to be durable, until stop closes or
// they have written so many.
func (b *bench) overwrite(v *Volume, s store.Stream, writers int, pick picker, most int64, stop <-chan struct{}) load {
	var l load
	var mu sync.Mutex
	var wg sync.WaitGroup
	var next, ops atomic.Int64
	began, used := time.Now(), cpu()
	for w := range writers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), rand.Uint64()))
			buf := noise(blockSize)
			le.PutUint64(buf, r.Uint64())
			var lat []time.Duration
			for next.Add(1) <= most {
				select {
				case <-stop:
					most = 0
				default:
				}
				if most == 0 {
					break
				}
				le.PutUint64(buf[8:], r.Uint64())
				at := time.Now()
				pos, err := s.WriteAt(buf, pick(r)*blockSize, store.Touch{})
				if err == nil {
					err = v.Wait(pos)
				}
				if err != nil {
					b.Error(err)
					return
				}
				lat = append(lat, time.Since(at))
				ops.Add(1)
			}
			mu.Lock()
			l.lat = append(l.lat, lat...)
			mu.Unlock()
		})
	}
	wg.Wait()
	l.ops = ops.Load()
	l.rate = float64(l.ops) / time.Since(began).Seconds()
	l.cpu = (cpu() - used) / time.Duration(max(l.ops, 1))
	return l
}

// forever is enough operations for any time.
const forever = int64(1) << 60

// overwriteFor is overwrite for a time.
func (b *bench) overwriteFor(v *Volume, s store.Stream, writers int, pick picker, d time.Duration) load {
	stop := make(chan struct{})
	time.AfterFunc(d, func() { close(stop) })
	return b.overwrite(v, s, writers, pick, forever, stop)
}

// benchTime is how long a run lasts.
var benchTime = time.Duration(envInt("GABION_BENCH_SECONDS", 3)) * time.Second

func (b *bench) durable() {
	size := b.sized(1 << 30)
	path := b.plain(size)
	v := b.volume(Options{})
	s := b.file(v, "disk", size)
	// The log goes on in segments made ready for small writes, as fio's file is.
	b.overwrite(v, s, 64, uniform(size/blockSize), 3*defaultSegmentSize/blockSize, nil)
	for _, c := range []struct {
		writers int
		asked   float64
		goal    string
	}{{1, 0.7, "0.8"}, {16, 0.9, "1.0"}, {64, 1.2, "1.3"}} {
		var ratio, rate, per, p99 []float64
		for range b.runs {
			f := b.fio(path, "--rw=randwrite", "--bs=4k", "--fdatasync=1", "--time_based", fmt.Sprintf("--runtime=%d", int(benchTime.Seconds())), fmt.Sprintf("--numjobs=%d", c.writers))
			l := b.overwriteFor(v, s, c.writers, uniform(size/blockSize), benchTime)
			ratio = append(ratio, l.rate/f.iops)
			rate = append(rate, l.rate)
			per = append(per, float64(l.cpu)/1e3)
			p99 = append(p99, float64(percentile(l.lat, 0.99))/1e6)
			b.Logf("%d writers: fio %.0f/s, store %.0f/s (%.2f), %.1f µs CPU, p99 %.2f ms", c.writers, f.iops, l.rate, l.rate/f.iops, float64(l.cpu)/1e3, float64(percentile(l.lat, 0.99))/1e6)
		}
		what := fmt.Sprintf("durable 4 KiB random overwrites, %d writers, against fio", c.writers)
		b.line(what, fmt.Sprintf("≥ %.1f (goal %s)", c.asked, c.goal), median(ratio) >= c.asked, "%s; %.0f/s", spread(ratio), median(rate))
		switch c.writers {
		case 16:
			b.line("CPU per write, 16 writers", "≤ 24 µs (goal 20)", median(per) <= 24, "%s µs", spread(per))
		case 64:
			b.line("p99 of a durable write, 64 writers", "< 8 ms", median(p99) < 8, "%s ms", spread(p99))
		}
	}
}

func (b *bench) sequential() {
	size := b.sized(2 << 30)
	path := b.plain(size)
	v := b.volume(Options{})
	s := b.file(v, "disk", size)
	run := func(durable bool) float64 {
		buf := noise(1 << 20)
		began := time.Now()
		for off := int64(0); off < size; off += int64(len(buf)) {
			stir(buf)
			pos, err := s.WriteAt(buf, off, store.Touch{})
			if err == nil && durable {
				err = v.Wait(pos)
			}
			b.must(err)
		}
		return float64(size) / time.Since(began).Seconds()
	}
	settle := func() {
		syscall.Sync()
		b.must(v.Sync())
	}
	var durable, buffered, rate, rate2 []float64
	for range b.runs {
		settle()
		f := b.fio(path, "--rw=write", "--bs=1m", "--fdatasync=1", fmt.Sprintf("--size=%d", size/4))
		settle()
		r := run(true)
		durable, rate = append(durable, r/f.bw), append(rate, r/1e6)
		settle()
		f2 := b.fio(path, "--rw=write", "--bs=1m", fmt.Sprintf("--size=%d", size))
		settle()
		r2 := run(false)
		buffered, rate2 = append(buffered, r2/f2.bw), append(rate2, r2/1e6)
		b.Logf("durable: fio %.0f MB/s, store %.0f; buffered: fio %.0f, store %.0f", f.bw/1e6, r/1e6, f2.bw/1e6, r2/1e6)
	}
	b.line("durable sequential 1 MiB writes against fio", "≥ 3", median(durable) >= 3, "%s; %.0f MB/s", spread(durable), median(rate))
	b.line("buffered sequential 1 MiB writes against fio", "≥ 0.9", median(buffered) >= 0.9, "%s; %.0f MB/s", spread(buffered), median(rate2))
}

// readLoop reads blocks of n bytes for a time and returns the rate and CPU per read.
func (b *bench) readLoop(read func(p []byte, off int64) (int, error), size int64, n int, random bool) (rate float64, per time.Duration) {
	p := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	ops := 0
	began, used := time.Now(), cpu()
	for off := int64(0); ops%64 != 0 || time.Since(began) < benchTime/3; ops++ {
		if random {
			off = r.Int64N(size/int64(n)) * int64(n)
		} else if off += int64(n); off+int64(n) > size {
			off = 0
		}
		_, err := read(p, off)
		b.must(err)
	}
	return float64(ops) / time.Since(began).Seconds(), (cpu() - used) / time.Duration(ops)
}

func (b *bench) reads() {
	size := b.sized(1 << 30)
	f, err := os.Open(b.plain(size))
	b.must(err)
	defer f.Close()
	v := b.volume(Options{})
	s := b.file(v, "disk", size)
	b.readLoop(s.ReadAt, size, 1<<20, false)
	var over, ours, bare, seq []float64
	for range b.runs {
		_, p := b.readLoop(f.ReadAt, size, blockSize, true)
		_, o := b.readLoop(s.ReadAt, size, blockSize, true)
		// Asked: o ≤ 1.5·p + 2 µs.
		over = append(over, (float64(o)-2000)/float64(p))
		ours, bare = append(ours, float64(o)/1e3), append(bare, float64(p)/1e3)
		p1, _ := b.readLoop(f.ReadAt, size, 1<<20, false)
		o1, _ := b.readLoop(s.ReadAt, size, 1<<20, false)
		seq = append(seq, o1/p1)
	}
	b.line("CPU of a 4 KiB random read from page cache, less 2 µs, against pread", "≤ 1.5", median(over) <= 1.5, "%s; %.2f µs against %.2f µs", spread(over), median(ours), median(bare))
	b.line("sequential 1 MiB reads of what is not in the cache of data, against pread", "≥ 0.85", median(seq) >= 0.85, "%s", spread(seq))
}

// cached reads what a server's cache of data holds, and compares it with reading the page cache.
func (b *bench) cached() {
	const size = 128 << 20
	f, err := os.Open(b.plain(size))
	b.must(err)
	defer f.Close()
	s := b.file(b.volume(Options{DataCache: max(DefaultDataCache(), 2*size)}), "disk", size)
	for range 3 {
		b.readLoop(s.ReadAt, size, 1<<20, false)
	}
	parts := new(store.Parts)
	lend := func(p []byte, off int64) (int, error) {
		n, err := s.(store.Lender).ReadParts(p, off, parts)
		parts.Release()
		return n, err
	}
	var copied, lent []float64
	for range b.runs {
		bare, _ := b.readLoop(f.ReadAt, size, 1<<20, false)
		c, _ := b.readLoop(s.ReadAt, size, 1<<20, false)
		l, _ := b.readLoop(lend, size, 1<<20, false)
		copied, lent = append(copied, c/bare), append(lent, l/bare)
	}
	b.line("sequential 1 MiB reads of what is in the cache of data, lent as to clients, against pread", "≥ 0.85", median(lent) >= 0.85, "%s; %s copied", spread(lent), spread(copied))
}

func (b *bench) fragmented() {
	size := b.sized(1 << 30)
	v := b.volume(Options{})
	fresh := b.file(v, "fresh", size)
	s := b.file(v, "disk", size)
	r := rand.New(rand.NewPCG(3, 4))
	buf := noise(blockSize)
	for _, i := range r.Perm(int(size / blockSize)) {
		le.PutUint64(buf, r.Uint64())
		_, err := s.WriteAt(buf, int64(i)*blockSize, store.Touch{})
		b.must(err)
	}
	b.must(v.Sync())
	for _, n := range []int{4 << 10, 64 << 10} {
		var ratio []float64
		for range b.runs {
			was, _ := b.readLoop(fresh.ReadAt, size, n, true)
			is, _ := b.readLoop(s.ReadAt, size, n, true)
			ratio = append(ratio, is/was)
		}
		b.line(fmt.Sprintf("random reads of %d KiB after the file was overwritten in random 4 KiB pieces, against before", n>>10), "≥ 0.6", median(ratio) >= 0.6, "%s", spread(ratio))
	}
}

// steady fills a volume to 80 % and overwrites it until the cleaner does as much as it
// ever will.
func (b *bench) steady(skew bool) {
	capacity := b.sized(4 << 30)
	size := capacity * 8 / 10 &^ (1<<20 - 1)
	v := b.volume(Options{Capacity: capacity})
	s := b.file(v, "disk", size)
	blocks := size / blockSize
	pick, name, asked := uniform(blocks), "uniform", 3.4
	if skew {
		pick, name, asked = skewed(blocks), "90/10", 2.5
	}
	fresh := b.overwriteFor(v, s, 16, pick, benchTime)
	rounds := int64(3)
	b.overwrite(v, s, 64, pick, rounds*blocks, nil)
	was := v.Stats()
	aged := b.overwrite(v, s, 16, pick, blocks, nil)
	b.must(v.flushNow())
	is := v.Stats()
	user := float64(aged.ops * blockSize)
	log, moved, index := float64(is.LogBytes-was.LogBytes)/user, float64(is.MovedBytes-was.MovedBytes)/user, float64(is.IndexBytes-was.IndexBytes)/user
	p0, p1 := percentile(fresh.lat, 0.99), percentile(aged.lat, 0.99)
	what := "at 80 % of capacity, " + name + " overwrites, 16 writers: "
	b.line(what+"rate against fresh", "≥ 0.4", aged.rate >= 0.4*fresh.rate, "%.2f; %.0f/s after %.0f/s", aged.rate/fresh.rate, aged.rate, fresh.rate)
	b.line(what+"bytes written per user byte", fmt.Sprintf("≤ %.1f", asked), log+moved+index <= asked, "%.2f (log %.2f, cleaner %.2f, index %.2f)", log+moved+index, log, moved, index)
	b.line(what+"p99 of a durable write against fresh", "≤ 5", p1 <= 5*p0, "%.1f; %v after %v, longest %v", float64(p1)/float64(p0), p1.Round(time.Microsecond), p0.Round(time.Microsecond), percentile(aged.lat, 1).Round(time.Millisecond))
}
