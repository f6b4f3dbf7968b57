package block

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
)

// flipAt flips a bit of a file.
func flipAt(t *testing.T, fs vfs.FS, path string, off int64) {
	t.Helper()
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b[:], off); err != nil {
		t.Fatal(err)
	}
}

// awaitScrub waits until a pass has come to its end.
func awaitScrub(t *testing.T, v *Volume, passes uint64) (st ScrubStatus) {
	t.Helper()
	becomes(t, v, fmt.Sprintf("%d passes", passes), func() bool {
		st = v.ScrubStatus()
		return st.Passes >= passes && !st.Running
	})
	return st
}

// becomes waits until something is true of a volume, which fails the test when it takes for ever.
func becomes(t *testing.T, v *Volume, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if err := v.Stopped(); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// pass verifies the volume once, as if that were due.
func (s *scrubber) pass() error { return s.begin(true).run() }

// A bit that flips in a segment of a running volume is found by the next pass, which names the file,
// the stream and the range; it is known after a restart; and forgotten once the data was
// written anew.
func TestScrubFindsDamage(t *testing.T) {
	for _, pack := range []bool{false, true} {
		t.Run(fmt.Sprintf("pack=%v", pack), func(t *testing.T) { testScrubFindsDamage(t, pack) })
	}
}

func testScrubFindsDamage(t *testing.T, pack bool) {
	fs := vfs.NewMem()
	open := func() *Volume {
		v, err := Open(Options{Dir: "vol", FS: fs, SegmentSize: 256 << 10, CacheSize: 8 << 20, Pack: pack})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := open()
	root, err := v.Root(store.Live)
	if err != nil {
		t.Fatal(err)
	}
	dir, _, err := v.Create(root, "vms", store.Init{Dir: true})
	if err != nil {
		t.Fatal(err)
	}
	n, _, err := v.Create(dir, "disk.vhdx", store.Init{})
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := n.CreateStream("side")
	if err != nil {
		t.Fatal(err)
	}
	var data []byte
	for b := range 100 {
		data = append(data, stamp(b, 1)...)
	}
	if _, err := s.WriteAt(data, 0, store.Touch{}); err != nil {
		t.Fatal(err)
	}
	if err := v.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := v.StartScrub(); err != nil {
		t.Fatal(err)
	}
	if st := awaitScrub(t, v, 1); st.Problems != 0 || len(st.Found) != 0 || st.Done != int64(len(data)) || st.Finished.IsZero() {
		t.Errorf("a healthy volume: %+v", st)
	}

	const block = 70 // of chunk 1
	all, err := v.versions(chunkBody(nil, n.ID(), s.(*handle).no, 1))
	if err != nil || len(all) == 0 {
		t.Fatal(len(all), err)
	}
	p, ok := all[0].m.at(block - chunkBlocks)
	if !ok {
		t.Fatal("the block is not stored")
	}
	from := p.off // a frame is damaged as a whole
	if !pack {
		off, _ := p.extent(block - chunkBlocks)
		from = off * sectorSize
	}
	file, place, _ := strings.Cut(v.space.where(p.container, from), " at ")
	var at int64
	fmt.Sscan(place, &at)
	flipAt(t, fs, "vol/"+file, at+8)
	if err := v.StartScrub(); err != nil {
		t.Fatal(err)
	}
	want := Problem{File: n.ID(), Path: `\vms\disk.vhdx`, Stream: "side", Range: store.Range{Off: block * blockSize, Len: blockSize}}
	check := func(st ScrubStatus) {
		t.Helper()
		hit := false
		for _, x := range st.Found {
			if !strings.Contains(x.What, file) {
				t.Errorf("%v does not name %s", x, file)
			}
			x.What = ""
			hit = hit || x == want
		}
		if !hit || !pack && st.Problems != 1 || st.Problems != int64(len(st.Found)) {
			t.Errorf("found %v (%d problems), want %v", st.Found, st.Problems, want)
		}
	}
	check(awaitScrub(t, v, 2))
	if got := v.Stats(); got.ScrubProblems == 0 || got.ScrubbedBytes < 2*uint64(len(data)) {
		t.Errorf("the figures say %+v", got)
	}
	s.Close()
	n.Close()
	dir.Close()
	root.Close()
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v = open()
	check(v.ScrubStatus())
	if n, err = v.OpenID(store.Live, n.ID()); err != nil {
		t.Fatal(err)
	}
	if s, err = n.Stream("side"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.WriteAt(data, 0, store.Touch{}); err != nil {
		t.Fatal(err)
	}
	if err := v.StartScrub(); err != nil {
		t.Fatal(err)
	}
	if st := awaitScrub(t, v, 1); st.Problems != 0 || len(st.Found) != 0 {
		t.Errorf("after it was written anew: %+v", st)
	}
	s.Close()
	n.Close()
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

// A bit that flips in a table of the index is found too.
func TestScrubFindsDamageOfIndex(t *testing.T) {
	fs := vfs.NewMem()
	v, err := Open(Options{Dir: "vol", FS: fs, SegmentSize: 256 << 10, CacheSize: 8 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	n, s := newFile(t, v, "f")
	for b := range 100 {
		if _, err := s.WriteAt(stamp(b, 1), int64(b)*blockSize, store.Touch{}); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	n.Close()
	if err := v.flushNow(); err != nil {
		t.Fatal(err)
	}
	levels, err := v.index.SSTables()
	if err != nil {
		t.Fatal(err)
	}
	name := ""
	for _, l := range levels {
		for _, x := range l {
			name = "index/" + x.BackingSSTNum.String() + ".sst"
		}
	}
	flipAt(t, fs, "vol/"+name, 20)
	if err := v.scrub.pass(); err != nil {
		t.Fatal(err)
	}
	st := v.ScrubStatus()
	hit := false
	for _, x := range st.Found {
		hit = hit || strings.Contains(x.What, name)
	}
	if !hit {
		t.Errorf("found %v, want something about %s", st.Found, name)
	}
	v.Close()
}

// Passes begin when they are due, are told to stop, and none outlives the volume.
func TestScrubRuns(t *testing.T) {
	v, err := Open(Options{Dir: "vol", FS: vfs.NewMem(), SegmentSize: 256 << 10, CacheSize: 8 << 20, Scrub: ScrubOptions{Every: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	awaitScrub(t, v, 3) // there is nothing to read yet
	// A pass that has read something can only be stopped.
	v.TakeTurns(func(_ int, stop <-chan struct{}) {
		if v.ScrubStatus().Done > 0 {
			<-stop
		}
	})
	n, s := newFile(t, v, "f")
	buf := make([]byte, 8*chunkSize)
	rand.NewChaCha8([32]byte{}).Read(buf)
	if _, err := s.WriteAt(buf, 0, store.Touch{}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	n.Close()
	amidst := func() bool {
		st := v.ScrubStatus()
		return st.Running && st.Done > 0
	}
	becomes(t, v, "a pass reads", amidst)
	before := v.ScrubStatus()
	if !v.StopScrub() {
		t.Error("no pass was stopped")
	}
	becomes(t, v, "the next one reads", func() bool { return amidst() && v.ScrubStatus().Began.After(before.Began) })
	if st := v.ScrubStatus(); st.Passes != before.Passes {
		t.Errorf("%d full passes, %d before one was stopped", st.Passes, before.Passes)
	}
	if err := v.StartScrub(); err != ErrScrubbing {
		t.Errorf("a second pass at the same time: %v", err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if v.ScrubStatus().Running {
		t.Error("a pass outlived its volume")
	}
}

// A pass reads no faster than its rate, however much it could.
func TestScrubRate(t *testing.T) {
	const chunks, rate = 16, 64 * chunkSize
	v, err := Open(Options{Dir: "vol", FS: vfs.NewMem(), SegmentSize: 256 << 10, CacheSize: 8 << 20, Manual: true, Scrub: ScrubOptions{Rate: rate}})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	n, s := newFile(t, v, "f")
	defer n.Close()
	defer s.Close()
	buf := make([]byte, chunks*chunkSize)
	rand.NewChaCha8([32]byte{}).Read(buf)
	if _, err := s.WriteAt(buf, 0, store.Touch{}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := v.scrub.pass(); err != nil {
		t.Fatal(err)
	}
	// The last chunk is read as soon as those ahead of it are paid for.
	if took, least := time.Since(began), (chunks-1)*time.Second*chunkSize/rate; took < least {
		t.Errorf("%d bytes in %v, less than %v", len(buf), took, least)
	}
}

// A pass verifies what is on the disk, not what its writer may be copying to the log's memory still.
func TestScrubReadsTheDisk(t *testing.T) {
	v, _ := manual(t)
	n, s := newFile(t, v, "f")
	defer n.Close()
	defer s.Close()
	pos, err := s.WriteAt(stamp(0, 1), 0, store.Touch{})
	if err != nil {
		t.Fatal(err)
	}
	if v.log.Durable() >= uint64(pos) {
		t.Fatal("it is durable at once: this test proves nothing")
	}
	reads := 0
	v.TakeTurns(func(int, <-chan struct{}) {
		if reads++; v.log.Durable() < uint64(pos) {
			t.Error("it reads what is not durable")
		}
	})
	if err := v.scrub.pass(); err != nil || reads == 0 {
		t.Fatal(reads, err)
	}
}

// Beside writes, clones, snapshots, removals, flushes and cleaning a scrubber finds nothing.
func TestScrubBesideWork(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { testScrubBesideWork(t, seed) })
	}
}

func testScrubBesideWork(t *testing.T, seed uint64) {
	v, err := Open(Options{Dir: "vol", FS: vfs.NewMem(), SegmentSize: 256 << 10, CacheSize: 8 << 20, Manual: true, Pack: seed%2 == 1, Scrub: ScrubOptions{Rate: 64 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	v.eager, v.few, v.cleaner.most = true, 1, 32<<10
	rng := rand.New(rand.NewPCG(seed, 3))
	root, err := v.Root(store.Live)
	if err != nil {
		t.Fatal(err)
	}
	var passes int
	stop := make(chan struct{})
	var wg sync.WaitGroup
	end := sync.OnceFunc(func() {
		close(stop)
		wg.Wait()
	})
	defer end()
	wg.Go(func() {
		for {
			if err := v.scrub.pass(); err != nil {
				t.Error(err)
				return
			}
			passes++
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	fail := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	var snaps []store.View
	const names = 6
	for i := range 400 {
		name := fmt.Sprintf("f%d", rng.IntN(names))
		n, _, err := v.Open(root, name)
		if isNotFound(err) {
			n, _, err = v.Create(root, name, store.Init{})
		}
		if err != nil {
			t.Fatal(err)
		}
		s, err := n.Data()
		if err != nil {
			t.Fatal(err)
		}
		switch op := rng.IntN(40); {
		case op < 28:
			b := rng.IntN(3 * chunkBlocks)
			var p []byte
			for k := range 1 + rng.IntN(20) {
				p = append(p, stamp(b+k, uint64(i))...)
			}
			_, err = s.WriteAt(p, int64(b)*blockSize, store.Touch{})
		case op < 30:
			_, err = s.Zero(int64(rng.IntN(chunkSize)), int64(rng.IntN(2*chunkSize)), store.Touch{})
		case op < 32:
			_, err = s.SetSize(int64(rng.IntN(3*chunkSize)), store.Touch{})
		case op < 34:
			to, _, e := v.Open(root, fmt.Sprintf("f%d", rng.IntN(names)))
			if e != nil {
				break
			}
			d, e := to.Data()
			if e == nil && to.ID() != n.ID() && s.Sizes().Size >= chunkSize {
				_, err = d.CloneFrom(chunkSize, s, 0, chunkSize, store.Touch{})
			}
			d.Close()
			to.Close()
		case op < 36 && len(snaps) < 5:
			var x store.Snapshot
			x, _, err = v.Snapshots().Create(fmt.Sprint(i), []store.FileID{store.RootID})
			snaps = append(snaps, x.View)
		case op < 38 && len(snaps) > 0:
			k := rng.IntN(len(snaps))
			_, err = v.Snapshots().Delete(snaps[k])
			snaps = append(snaps[:k], snaps[k+1:]...)
		default:
			_, err = v.Unlink(root, name)
		}
		fail(err)
		s.Close()
		n.Close()
		if i%10 == 0 {
			background(v)
		}
	}
	end()
	if st := v.ScrubStatus(); st.Problems != 0 || len(st.Found) != 0 {
		t.Errorf("seed %d: found %v", seed, st.Found)
	}
	if v.wrote.moved.Load() == 0 || passes == 0 {
		t.Errorf("%d passes beside the cleaning of %d bytes", passes, v.wrote.moved.Load())
	}
	t.Logf("%d passes, %d bytes moved", passes, v.wrote.moved.Load())
	root.Close()
	fail(verify(v))
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}
