package block

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"gabion/store"
)

// stalls runs durable writers on a file while do runs, and returns the longest wait.
func (b *bench) stalls(v *Volume, s store.Stream, blocks int64, do func()) time.Duration {
	stop, done := make(chan struct{}), make(chan load)
	go func() { done <- b.overwrite(v, s, 4, uniform(blocks), forever, stop) }()
	time.Sleep(200 * time.Millisecond)
	do()
	time.Sleep(200 * time.Millisecond)
	close(stop)
	return percentile((<-done).lat, 1)
}

// extents makes files that together have so many extents of 4 KiB: one is written at
// random, the others are clones of it, made real.
func (b *bench) extents(v *Volume, count, unique int64) []store.Stream {
	unique = min(unique, count)
	n, s := newFile(b, v, "extents")
	b.Cleanup(func() { s.Close(); n.Close() })
	all := []store.Stream{s}
	size := unique * blockSize
	buf := noise(blockSize)
	r := rand.New(rand.NewPCG(9, 9))
	// A permutation without its memory.
	step := int64(2654435761) % unique
	for gcd(step, unique) != 1 {
		step++
	}
	for i := range unique {
		le.PutUint64(buf, r.Uint64())
		_, err := s.WriteAt(buf, i*step%unique*blockSize, store.Touch{})
		b.must(err)
	}
	for made := unique; made < count; made += unique {
		cn, c := newFile(b, v, fmt.Sprint("copy", made/unique))
		b.Cleanup(func() { c.Close(); cn.Close() })
		_, err := c.CloneFrom(0, s, 0, size, store.Touch{})
		b.must(err)
		all = append(all, c)
	}
	for v.pendings.count.Load() > 0 {
		_, err := v.Step()
		b.must(err)
	}
	b.must(v.Sync())
	return all
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func (b *bench) snapshots() {
	for _, extents := range []int64{0, b.scale * 10_000_000 / 100} {
		b.Run(fmt.Sprint(extents), func(t *testing.T) {
			sub := *b
			sub.T = t
			sub.snapshotsAt(extents)
			b.found = sub.found
		})
	}
}

func (b *bench) snapshotsAt(extents int64) {
	v := b.volume(Options{})
	size := int64(64 << 20)
	s := b.file(v, "disk", size)
	where := "at an empty volume"
	if extents > 0 {
		where = fmt.Sprintf("at %.1f million extents", float64(extents)/1e6)
		b.extents(v, extents, 2_500_000)
	}
	quiet := b.stalls(v, s, size/blockSize, func() { time.Sleep(2 * time.Second) })
	var took []time.Duration
	stall := b.stalls(v, s, size/blockSize, func() {
		for i := range 200 {
			at := time.Now()
			_, _, err := v.Snapshots().Create(fmt.Sprint("s", i), []store.FileID{store.RootID})
			b.must(err)
			took = append(took, time.Since(at))
			time.Sleep(10 * time.Millisecond)
		}
	})
	p99 := percentile(took, 0.99)
	b.line("snapshot create under write load, p99, "+where, "< 5 ms", p99 < 5*time.Millisecond, "%v, median %v", p99.Round(time.Microsecond), percentile(took, 0.5).Round(time.Microsecond))
	b.line("longest write meanwhile, "+where, "≤ 50 ms", stall <= 50*time.Millisecond, "%v (without snapshots %v)", stall.Round(time.Millisecond), quiet.Round(time.Millisecond))
}

// deletion deletes one of many snapshots in whose interval little changed.
func (b *bench) deletion() {
	v := b.volume(Options{Manual: true})
	size := int64(1 << 30)
	snaps := int(10_000 * b.scale / 100)
	s := b.file(v, "disk", size)
	chunks := size / chunkSize
	buf := noise(blockSize)
	var views []store.View
	for i := range snaps {
		snap, _, err := v.Snapshots().Create(fmt.Sprint("s", i), []store.FileID{store.RootID})
		b.must(err)
		views = append(views, snap.View)
		for range chunks / 100 {
			stir(buf)
			_, err := s.WriteAt(buf, rand.Int64N(size/blockSize)*blockSize, store.Touch{})
			b.must(err)
		}
	}
	b.must(v.flushNow())
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	full := func() time.Duration {
		used := threadCPU()
		b.must(v.scan(nil, []byte{0}, func(_, _ []byte) (bool, error) { return true, nil }))
		return threadCPU() - used
	}
	full()
	scan := full()
	_, err := v.Snapshots().Delete(views[snaps/2])
	b.must(err)
	used, longest, steps := threadCPU(), time.Duration(0), 0
	for {
		at := time.Now()
		v.work.mu.Lock()
		left := len(v.work.doomed)
		v.work.mu.Unlock()
		if left == 0 {
			break
		}
		_, err := v.Step()
		b.must(err)
		longest = max(longest, time.Since(at))
		steps++
	}
	cost := float64(threadCPU()-used) / float64(scan)
	b.line(fmt.Sprintf("CPU of deleting one of %d snapshots with 1 %% of the chunks changed, against a scan of the index", snaps), "≤ 2 %", cost <= 0.02,
		"%.1f %% of %v, %d steps, longest %v", 100*cost, scan.Round(time.Millisecond), steps, longest.Round(time.Microsecond))
}

// beside writes durably while every second snapshot is deleted in the background, and before.
func (b *bench) beside() {
	v := b.volume(Options{})
	size := b.sized(1 << 30)
	s := b.file(v, "disk", size)
	buf := noise(blockSize)
	var views []store.View
	for i := range int(1000 * b.scale / 100) {
		snap, _, err := v.Snapshots().Create(fmt.Sprint("s", i), []store.FileID{store.RootID})
		b.must(err)
		views = append(views, snap.View)
		for range size / chunkSize / 100 {
			stir(buf)
			_, err := s.WriteAt(buf, rand.Int64N(size/blockSize)*blockSize, store.Touch{})
			b.must(err)
		}
	}
	b.must(v.Sync())
	p99 := func(l load) float64 { return float64(percentile(l.lat, 0.99)) / 1e6 }
	var quiet, busy []float64
	for i := range b.runs {
		quiet = append(quiet, p99(b.overwriteFor(v, s, 4, uniform(size/blockSize), benchTime)))
		part := views[len(views)*i/b.runs : len(views)*(i+1)/b.runs]
		stop, done := make(chan struct{}), make(chan load)
		go func() { done <- b.overwrite(v, s, 4, uniform(size/blockSize), forever, stop) }()
		for k := 0; k < len(part); k += 2 {
			_, err := v.Snapshots().Delete(part[k])
			b.must(err)
		}
		for v.work.queued() {
			time.Sleep(10 * time.Millisecond)
		}
		close(stop)
		busy = append(busy, p99(<-done))
	}
	b.line(fmt.Sprintf("p99 of a durable write while %d snapshots are deleted, against without", len(views)/2), "≤ 1.2", median(busy) <= 1.2*median(quiet),
		"%.2f; %s ms after %s ms", median(busy)/median(quiet), spread(busy), spread(quiet))
}

// clones clones, restores and compares a sparse file while another is being written.
func (b *bench) clones(piece int64) {
	v := b.volume(Options{})
	size, held := b.sized(100<<30), b.sized(10<<30)
	limit := time.Second
	if piece == blockSize {
		limit = 2 * time.Second
	}
	other := b.file(v, "other", 64<<20)
	blocks := int64(64 << 20 / blockSize)
	n, s := newFile(b, v, "disk")
	defer n.Close()
	defer s.Close()
	_, err := s.SetSize(size, store.Touch{})
	b.must(err)
	buf := noise(int(piece))
	r := rand.New(rand.NewPCG(5, 5))
	write := func(count int64) {
		for range count {
			stir(buf)
			_, err := s.WriteAt(buf, r.Int64N(size/piece)*piece, store.Touch{})
			b.must(err)
		}
	}
	write(held / piece)
	b.must(v.Sync())
	name := fmt.Sprintf("of a %d GiB file holding %d GiB in random %d KiB pieces", size>>30, held>>30, piece>>10)
	quiet := b.stalls(v, other, blocks, func() { time.Sleep(2 * time.Second) })
	timed := func(what string, fn func() (store.Pos, error)) {
		var took time.Duration
		stall := b.stalls(v, other, blocks, func() {
			at := time.Now()
			pos, err := fn()
			if err == nil {
				err = v.Wait(pos)
			}
			b.must(err)
			took = time.Since(at)
			for v.pendings.count.Load() > 0 { // what it left to the background stalls nobody either
				time.Sleep(50 * time.Millisecond)
			}
		})
		b.line(what+" "+name, "< "+limit.String(), took < limit, "%v", took.Round(100*time.Microsecond))
		b.line("longest write during the "+what+" and what it leaves to the background", "≤ 50 ms", stall <= 50*time.Millisecond, "%v (without %v)", stall.Round(time.Millisecond), quiet.Round(time.Millisecond))
	}
	cn, c := newFile(b, v, "clone")
	defer cn.Close()
	defer c.Close()
	timed("clone", func() (store.Pos, error) { return c.CloneFrom(0, s, 0, size, store.Touch{}) })
	snap, _, err := v.Snapshots().Create("before", []store.FileID{n.ID()})
	b.must(err)
	write(held / piece / 100)
	at, ranges, chunks := time.Now(), 0, map[int64]bool{}
	b.must(v.Snapshots().Diff(n.ID(), "", snap.View, store.Live, func(r store.Range) bool {
		ranges++
		chunks[r.Off/chunkSize] = true
		return true
	}))
	took := time.Since(at)
	b.line("difference to a snapshot "+name+", 1 % changed", "in proportion to the change", took < limit, "%v for %d chunks of %d: %v each", took.Round(time.Millisecond), len(chunks), size/chunkSize, (took / time.Duration(max(1, len(chunks)))).Round(time.Microsecond))
	timed("restore with 1 % changed", func() (store.Pos, error) { return v.Snapshots().Restore([]store.FileID{n.ID()}, snap.View) })
}

// sharedCleaning cleans segments whose pieces many clones share, and such as nobody does.
func (b *bench) sharedCleaning() {
	measure := func(b *bench, clones int) float64 {
		v := b.volume(Options{Manual: true, SegmentSize: 4 << 20})
		size := int64(16 << 20)
		s := b.file(v, "disk", size)
		half := b.file(v, "half", size)
		r := rand.New(rand.NewPCG(2, 2))
		// Pieces of both lie next to each other; one file then goes.
		buf := noise(blockSize)
		for _, i := range r.Perm(int(size / blockSize)) {
			for _, to := range []store.Stream{s, half} {
				le.PutUint64(buf, r.Uint64())
				_, err := to.WriteAt(buf, int64(i)*blockSize, store.Touch{})
				b.must(err)
			}
		}
		root, err := v.Root(store.Live)
		b.must(err)
		defer root.Close()
		for i := range clones {
			n, c := newFile(b, v, fmt.Sprint("clone", i))
			_, err := c.CloneFrom(0, s, 0, size, store.Touch{})
			b.must(err)
			c.Close()
			n.Close()
			for v.pendings.count.Load() > 0 {
				_, err := v.Step()
				b.must(err)
			}
		}
		_, err = half.SetSize(0, store.Touch{})
		b.must(err)
		b.must(v.flushNow())
		for {
			more, err := v.Step()
			b.must(err)
			if !more {
				break
			}
		}
		b.must(v.flushNow())
		v.eager = true
		moved := v.wrote.moved.Load()
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		used := threadCPU()
		for {
			more, err := v.Step()
			b.must(err)
			if !more {
				break
			}
		}
		bytes := v.wrote.moved.Load() - moved
		b.Logf("%d clones: %v for %d KiB moved", clones, threadCPU()-used, bytes>>10)
		return float64(threadCPU()-used) / float64(max(bytes, 1))
	}
	per := func(clones int) (cost float64) {
		b.Run(fmt.Sprint(clones), func(t *testing.T) {
			sub := *b
			sub.T = t
			cost = measure(&sub, clones)
		})
		return cost
	}
	count := int(1000 * b.scale / 100)
	var ratio []float64
	for range 3 {
		ratio = append(ratio, per(count)/per(0))
	}
	b.line(fmt.Sprintf("CPU of cleaning where %d clones share the pieces, against unshared", count), "≤ 2", median(ratio) <= 2, "%s", spread(ratio))
}

// child runs the test binary again in a role of its own.
func (b *bench) child(role string, args ...string) (*exec.Cmd, *bufio.Scanner) {
	self, err := os.Executable()
	b.must(err)
	cmd := exec.Command(self, "-test.run=^TestBenchChild$", "-test.timeout=0")
	cmd.Env = append(os.Environ(), "GABION_BENCH_ROLE="+role, "GABION_BENCH_ARGS="+strings.Join(args, " "))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	b.must(err)
	b.must(cmd.Start())
	return cmd, bufio.NewScanner(out)
}

// TestBenchChild is what TestBench runs in processes of their own.
func TestBenchChild(t *testing.T) {
	var dir string
	var extents, unique int64
	fmt.Sscan(os.Getenv("GABION_BENCH_ARGS"), &dir, &extents, &unique)
	b := &bench{T: t}
	switch os.Getenv("GABION_BENCH_ROLE") {
	case "":
		t.Skip("for TestBench")
	case "fill": // and go on writing until killed
		v, err := Open(Options{Dir: dir})
		b.must(err)
		all := b.extents(v, extents, unique)
		fmt.Println("filled")
		b.overwrite(v, all[0], 16, uniform(unique), forever, nil)
	case "read":
		v, err := Open(Options{Dir: dir})
		b.must(err)
		r := rand.New(rand.NewPCG(1, 1))
		buf := make([]byte, blockSize)
		root, err := v.Root(store.Live)
		b.must(err)
		entries, err := v.ReadDir(root, "", 1000, nil)
		b.must(err)
		began := time.Now()
		var files []store.Stream
		for _, e := range entries {
			n, err := v.OpenID(store.Live, e.ID)
			b.must(err)
			s, err := n.Data()
			b.must(err)
			files = append(files, s)
		}
		ops := extents / 4 // every chunk many times
		for range ops {
			s := files[r.IntN(len(files))]
			_, err := s.ReadAt(buf, r.Int64N(s.Sizes().Size/blockSize)*blockSize)
			b.must(err)
		}
		fmt.Println("read", ops, time.Since(began))
		runtime.KeepAlive(files)
		fmt.Println("peak", peakRSS())
		b.must(v.Close())
	}
}

// peakRSS is the largest resident size of this process in bytes.
func peakRSS() int64 {
	raw, _ := os.ReadFile("/proc/self/status")
	var kb int64
	if i := bytes.Index(raw, []byte("VmHWM:")); i >= 0 {
		fmt.Sscan(string(raw[i+6:]), &kb)
	}
	return kb << 10
}

// fill makes a volume with so many extents in another process and kills that while
// it writes.
func (b *bench) fill(data string, extents, unique int64) {
	b.must(os.RemoveAll(data))
	b.Cleanup(func() { os.RemoveAll(data) })
	b.must(os.MkdirAll(data, 0o700))
	cmd, out := b.child("fill", filepath.Join(data, "volume"), fmt.Sprint(extents), fmt.Sprint(unique))
	for out.Scan() && out.Text() != "filled" {
	}
	time.Sleep(5 * time.Second)
	b.must(cmd.Process.Kill())
	cmd.Wait() //nolint:errcheck // it was killed
}

// open times the binary from its start to its ready line, after a kill.
func (b *bench) open() {
	bin := filepath.Join(b.dir, "gabion")
	out, err := exec.Command("go", "build", "-o", bin, "gabion/cmd/gabion").CombinedOutput()
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	defer os.Remove(bin)
	data := filepath.Join(b.dir, "open")
	extents := b.scale * 10_000_000 / 100
	b.fill(data, extents, extents/2)
	var took, used []float64
	for range min(b.runs, 5) {
		cmd := exec.Command(bin, "serve", "--data", data, "--listen", "127.0.0.1:"+fmt.Sprint(envInt("GABION_BENCH_PORT", 4640)))
		cmd.Stderr = os.Stderr
		stdout, err := cmd.StdoutPipe()
		b.must(err)
		at := time.Now()
		b.must(cmd.Start())
		lines := bufio.NewScanner(stdout)
		for lines.Scan() && !strings.HasPrefix(lines.Text(), "gabion: ready") {
		}
		took = append(took, time.Since(at).Seconds())
		used = append(used, processCPU(cmd.Process.Pid).Seconds())
		cmd.Process.Kill() //nolint:errcheck // Wait tells
		cmd.Wait()         //nolint:errcheck // it was killed
	}
	b.line(fmt.Sprintf("start of a volume with %.1f million extents after kill -9, exec to ready", float64(extents)/1e6), "< 3 s", median(took) < 3, "%s s, of it CPU %s s", spread(took), spread(used))
}

// processCPU is the processor time that another process has used, in hundredths of a second.
func processCPU(pid int) time.Duration {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	f := strings.Fields(string(raw))
	if len(f) < 15 {
		return 0
	}
	var user, system time.Duration
	fmt.Sscan(f[13], &user)
	fmt.Sscan(f[14], &system)
	return (user + system) * 10 * time.Millisecond
}

func (b *bench) memory() {
	var peaks []float64
	for _, extents := range []int64{b.scale * 16_800_000 / 100, b.scale * 67_000_000 / 100} {
		data := filepath.Join(b.dir, "memory")
		b.fill(data, extents, b.scale*2_000_000/100)
		cmd, out := b.child("read", filepath.Join(data, "volume"), fmt.Sprint(extents), "0")
		var peak int64
		for out.Scan() {
			fmt.Sscanf(out.Text(), "peak %d", &peak)
			b.Log(out.Text())
		}
		b.must(cmd.Wait())
		peaks = append(peaks, float64(peak)/(1<<20))
	}
	b.line("resident after random reads over 16.8 million index entries, default cache", "< 1024 MiB", peaks[0] > 0 && peaks[0] < 1024, "%.0f MiB", peaks[0])
	b.line("the same over 67 million", "≤ 1.2 ×", peaks[1] <= 1.2*peaks[0], "%.2f ×; %.0f MiB", peaks[1]/peaks[0], peaks[1])
}
