package block

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
)

// limited is a volume with folders a, a/b and c.
type limited struct {
	*testing.T
	v       *Volume
	root    store.Node
	a, b, c store.Node
}

func newLimited(t *testing.T) *limited {
	v, err := Open(Options{Dir: "vol", FS: vfs.NewMem(), SegmentSize: 256 << 10, CacheSize: 8 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	x := &limited{T: t, v: v}
	if x.root, err = v.Root(store.Live); err != nil {
		t.Fatal(err)
	}
	x.a, x.c = x.make(x.root, "a", true), x.make(x.root, "c", true)
	x.b = x.make(x.a, "b", true)
	return x
}

func (x *limited) make(in store.Node, name string, dir bool) store.Node {
	x.Helper()
	n, _, err := x.v.Create(in, name, store.Init{Dir: dir})
	if err != nil {
		x.Fatal(err)
	}
	return n
}

func (x *limited) data(n store.Node) store.Stream {
	x.Helper()
	s, err := n.Data()
	if err != nil {
		x.Fatal(err)
	}
	return s
}

func (x *limited) limit(dir store.Node, blocks int64) {
	x.Helper()
	if err := x.v.SetQuota(dir.ID(), blocks*blockSize); err != nil {
		x.Fatal(err)
	}
}

// used asserts what a folder holds.
func (x *limited) used(dir store.Node, blocks int64) {
	x.Helper()
	if used, _, ok := x.v.Quota(dir.ID()); !ok || used != blocks*blockSize {
		x.Errorf("%d bytes are charged (%v), want %d blocks", used, ok, blocks)
	}
}

// What one file of a restore gives up another takes, in the same folder or in one below the same limit.
func TestQuotaOfRestore(t *testing.T) {
	x := newLimited(t)
	f, g := x.make(x.a, "f", false), x.make(x.a, "g", false)
	h, i := x.make(x.b, "h", false), x.make(x.b, "i", false)
	sizes := func(f4, g4, h4, i4 int64) {
		t.Helper()
		blocks := []int64{f4, g4, h4, i4}
		for k, n := range []store.Node{f, g, h, i} { // in this order, or the limit is in the way
			x.ok(x.data(n).SetSize(blocks[k]*blockSize, store.Touch{}))
		}
	}
	sizes(6, 1, 4, 1)
	snap, _, err := x.v.Snapshots().Create("s", []store.FileID{store.RootID})
	if err != nil {
		t.Fatal(err)
	}
	sizes(1, 5, 1, 5)
	x.limit(x.a, 12)
	x.limit(x.b, 6)
	all := []store.FileID{f.ID(), g.ID(), h.ID(), i.ID()}
	x.ok(x.v.Snapshots().Restore(all, snap.View))
	x.used(x.a, 12)
	sizes(1, 5, 0, 1)
	x.limit(x.a, 11)
	x.full(x.v.Snapshots().Restore(all, snap.View))
	x.used(x.a, 7)
}

// full asserts that a change fails for want of quota.
func (x *limited) full(_ store.Pos, err error) {
	x.Helper()
	if !errors.Is(err, store.ErrNoSpace) {
		x.Errorf("%v, want no space", err)
	}
}

func (x *limited) ok(_ store.Pos, err error) {
	x.Helper()
	if err != nil {
		x.Error(err)
	}
}

func TestQuota(t *testing.T) {
	x := newLimited(t)
	n := x.make(x.b, "f", false)
	s := x.data(n)
	x.ok(s.WriteAt(make([]byte, 3*blockSize), 0, store.Touch{}))
	if _, _, ok := x.v.Quota(x.a.ID()); ok {
		t.Error("a quota that nobody set")
	}
	x.limit(x.a, 10)
	x.used(x.a, 3) // what was there counts
	x.used(x.b, 3) // a folder below has it as well
	if _, _, ok := x.v.Quota(x.c.ID()); ok {
		t.Error("another folder is limited too")
	}
	x.ok(s.SetSize(10*blockSize, store.Touch{}))
	x.used(x.a, 10)
	x.full(s.WriteAt(make([]byte, 1), 10*blockSize, store.Touch{}))
	x.full(s.SetSize(10*blockSize+1, store.Touch{}))
	x.full(s.SetAllocation(11*blockSize, store.Touch{}))
	if _, _, err := x.v.Create(x.b, "g", store.Init{Allocation: 1}); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("a file with an allocation: %v", err)
	}
	x.used(x.a, 10)
	// What adds nothing is done: within the size, names, reading, and taking away.
	x.ok(s.WriteAt(stamp(1, 1), 9*blockSize, store.Touch{}))
	g := x.make(x.b, "g", false)
	x.full(x.data(g).CloneFrom(0, s, 0, 2*blockSize, store.Touch{}))
	named, _, err := g.CreateStream("side")
	if err != nil {
		t.Fatal(err)
	}
	x.full(named.WriteAt(stamp(1, 1), 0, store.Touch{}))
	if _, err := s.ReadAt(make([]byte, 9), 0); err != nil {
		t.Error(err)
	}
	x.ok(s.SetSize(4*blockSize, store.Touch{}))
	x.used(x.a, 4)
	// Clones, named streams and allocations count as what they show.
	x.ok(x.data(g).CloneFrom(0, s, 0, 4*blockSize, store.Touch{}))
	x.ok(named.WriteAt(stamp(1, 1), 0, store.Touch{}))
	x.used(x.a, 9)
	x.ok(g.RemoveStream("side"))
	x.used(x.a, 8)
	x.ok(named.WriteAt(make([]byte, 9*blockSize), 0, store.Touch{})) // it has no name any more
	x.used(x.a, 8)
	// Another limit below counts for both.
	x.limit(x.b, 9)
	x.used(x.b, 8)
	x.full(s.SetSize(6*blockSize, store.Touch{}))
	x.limit(x.b, 20)
	x.full(s.SetSize(7*blockSize, store.Touch{}))
	x.used(x.a, 8)
	// The tighter of the two is told.
	if used, limit, _ := x.v.Quota(x.b.ID()); used != 8*blockSize || limit != 10*blockSize {
		t.Errorf("below, %d of %d", used, limit)
	}
	// A removed file counts for nothing, also while it is open.
	x.ok(x.v.Unlink(x.b, "f"))
	x.used(x.a, 4)
	x.ok(s.WriteAt(make([]byte, 20*blockSize), 0, store.Touch{}))
	x.used(x.a, 4)
	// No name crosses.
	for what, err := range map[string]error{
		"renaming in":  errOf(x.v.Rename(x.root, "c", x.a, "c", false)),
		"renaming out": errOf(x.v.Rename(x.b, "g", x.c, "g", false)),
		"up":           errOf(x.v.Rename(x.b, "g", x.a, "g", false)),
		"linking":      errOf(x.v.Link(g, x.a, "g", false)),
	} {
		if !errors.Is(err, store.ErrQuotaBorder) {
			t.Errorf("%s: %v", what, err)
		}
	}
	x.ok(x.v.Link(g, x.b, "h", false))
	x.ok(x.v.Rename(x.b, "g", x.b, "i", false))
	x.used(x.a, 4)
	x.ok(x.v.Unlink(x.b, "h"))
	x.used(x.a, 4)
	// A restore is charged what the file will be.
	snap, _, err := x.v.Snapshots().Create("s", []store.FileID{store.RootID})
	if err != nil {
		t.Fatal(err)
	}
	x.ok(x.data(g).SetSize(0, store.Touch{}))
	x.used(x.a, 0)
	x.limit(x.a, 3)
	x.full(x.v.Snapshots().Restore([]store.FileID{g.ID()}, snap.View))
	x.used(x.a, 0)
	x.limit(x.a, 4)
	x.ok(x.v.Snapshots().Restore([]store.FileID{g.ID()}, snap.View))
	x.used(x.a, 4)
	// So is a file that takes another's data; its own streams stay, and count.
	to := x.make(x.b, "to", false)
	if _, _, err := to.CreateStream("side"); err != nil {
		t.Fatal(err)
	}
	replace := []store.Replacement{{To: to.ID(), From: g.ID()}}
	x.full(x.v.Snapshots().Replace(replace, snap.View))
	x.used(x.a, 4)
	x.limit(x.a, 9)
	side, err := to.Stream("side")
	if err != nil {
		t.Fatal(err)
	}
	x.ok(side.SetSize(1, store.Touch{}))
	x.ok(x.v.Snapshots().Replace(replace, snap.View))
	x.used(x.a, 9)
	x.ok(x.v.Unlink(x.b, "to"))
	x.used(x.a, 4)
	x.limit(x.b, 0)
	x.ok(x.v.Link(g, x.a, "j", false))
	if err := x.v.SetQuota(x.b.ID(), 1<<20); !errors.Is(err, store.ErrQuotaBorder) {
		t.Errorf("a quota on a folder that shares a file with another: %v", err)
	}
	x.ok(x.v.Unlink(x.a, "j"))
	x.limit(x.b, 20)
	x.used(x.b, 4)
	x.limit(x.b, 0)
	x.limit(x.a, 0)
	if _, _, ok := x.v.Quota(x.b.ID()); ok {
		t.Error("a quota that was ended")
	}
	x.ok(x.data(g).SetSize(100*blockSize, store.Touch{}))
}

func errOf(_ store.Pos, err error) error { return err }

// What was charged bit by bit is what counting anew finds, also if the limit was set while files
// changed.
func TestQuotaIsExact(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { testQuotaIsExact(t, seed) })
	}
}

func testQuotaIsExact(t *testing.T, seed uint64) {
	x := newLimited(t)
	dirs := []store.Node{x.a, x.b, x.c}
	var snap store.Snapshot
	links := seed%2 == 0
	work := func(rng *rand.Rand, who int) {
		for i := range 400 {
			in := dirs[rng.IntN(len(dirs))]
			name := fmt.Sprintf("%d f%d", who, rng.IntN(5))
			n, _, err := x.v.Open(in, name)
			if isNotFound(err) {
				n, _, err = x.v.Create(in, name, store.Init{Allocation: int64(rng.IntN(3 * blockSize))})
			}
			if errors.Is(err, store.ErrNoSpace) {
				continue
			}
			if err != nil {
				t.Error(err)
				return
			}
			s, err := n.Data()
			if rng.IntN(3) == 0 {
				if s, err = n.Stream("side"); isNotFound(err) {
					s, _, err = n.CreateStream("side")
				}
			}
			if err != nil {
				t.Error(err)
				return
			}
			size := int64(rng.IntN(8 * blockSize))
			switch rng.IntN(12) {
			case 0, 1, 2, 3:
				_, err = s.WriteAt(make([]byte, rng.IntN(3*blockSize)), size, store.Touch{})
			case 4:
				_, err = s.SetSize(size, store.Touch{})
			case 5:
				_, err = s.SetAllocation(size, store.Touch{})
			case 6:
				_, err = x.v.Rename(in, name, dirs[rng.IntN(len(dirs))], fmt.Sprintf("%d f%d", who, rng.IntN(5)), true)
			case 7:
				if !links {
					break
				}
				_, err = x.v.Link(n, in, fmt.Sprintf("%d f%d", who, rng.IntN(5)), true)
			case 8:
				_, err = x.v.Unlink(in, name)
			case 9:
				_, err = n.RemoveStream("side")
			case 10:
				_, err = n.RenameStream([]string{"side", ""}[rng.IntN(2)], []string{"", "side", "other"}[rng.IntN(3)], true)
			case 11:
				if who == 0 && i > 100 && snap.View == 0 {
					snap, _, err = x.v.Snapshots().Create("s", []store.FileID{store.RootID})
				} else if who == 0 && snap.View != 0 {
					_, err = x.v.Snapshots().Restore([]store.FileID{n.ID()}, snap.View)
				}
			}
			if err != nil && !errors.Is(err, store.ErrNoSpace) && !isNotFound(err) && !errors.Is(err, store.ErrQuotaBorder) &&
				!errors.Is(err, store.ErrInvalid) && !errors.Is(err, store.ErrExist) {
				t.Error(err)
			}
			s.Close()
			n.Close()
		}
	}
	limit := func() {
		x.limit(x.a, 60)
		x.limit(x.b, 20)
	}
	if links {
		limit() // else a file might get names on both sides first
	}
	var wg sync.WaitGroup
	for who := range 3 {
		wg.Go(func() { work(rand.New(rand.NewPCG(seed, uint64(who))), who) })
	}
	if !links {
		limit()
	}
	wg.Wait()
	for _, d := range []store.Node{x.a, x.b} {
		charged := x.v.quotas.at(d.ID()).used.Load()
		c := nominalCount{v: x.v, snap: x.v.index.NewSnapshot()}
		counted, err := c.below(d.ID())
		c.close()
		if err != nil || counted != charged {
			t.Errorf("seed %d: %d bytes are charged, %d are there (%v)", seed, charged, counted, err)
		}
		t.Logf("%d bytes", counted)
	}
	if err := verify(x.v); err != nil {
		t.Error(err)
	}
}

// What counting takes when a limit is set.
func BenchmarkSetQuota(b *testing.B) {
	v, err := Open(Options{Dir: "vol", FS: vfs.NewMem(), Manual: true})
	if err != nil {
		b.Fatal(err)
	}
	root, err := v.Root(store.Live)
	if err != nil {
		b.Fatal(err)
	}
	const files = 100_000
	for i := range files {
		n, _, err := v.Create(root, fmt.Sprintf("file %d", i), store.Init{})
		if err != nil {
			b.Fatal(err)
		}
		n.Close()
	}
	for b.Loop() {
		if err := v.SetQuota(store.RootID, 1<<40); err != nil {
			b.Fatal(err)
		}
		if err := v.SetQuota(store.RootID, 0); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/files, "µs/file")
}
