package block

import (
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
)

// What lives in each segment after a kill, wherever the tally is behind the index and the
// log, is what counting anew finds.
func TestTally(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	fs := vfs.NewCrashableMem()
	open := func(fs vfs.FS) *Volume {
		v, err := Open(Options{Dir: "vol", FS: fs, SegmentSize: 256 << 10, Capacity: 8 << 20, Manual: true, Pack: true})
		if err != nil {
			t.Fatal(err)
		}
		v.eager = true
		return v
	}
	v := open(fs)
	const blocks = 4 << 20 / blockSize
	n, s := newFile(t, v, "disk")
	c, clone := newFile(t, v, "clone")
	behind := 0
	for round := range 40 {
		for i := range 300 {
			p := stamp(rng.IntN(blocks), uint64(round*1000+i))
			if _, err := s.WriteAt(p, rng.Int64N(blocks)*blockSize, store.Touch{}); err != nil {
				t.Fatal(err)
			}
		}
		if round%8 == 3 {
			if _, err := clone.CloneFrom(0, s, 0, s.Sizes().Size&^(blockSize-1), store.Touch{}); err != nil {
				t.Fatal(err)
			}
		}
		switch rng.IntN(4) {
		case 0:
			v.work.wake(wantFlush)
		case 1:
			if err := v.index.Flush(); err != nil { // without a tally
				t.Fatal(err)
			}
		}
		settle(v, rng.IntN(60))
		if err := v.Sync(); err != nil {
			t.Fatal(err)
		}
		k := open(fs.CrashClone(vfs.CrashCloneCfg{}))
		if k.since > 0 {
			behind++
		}
		got := livingBySegment(k)
		if err := k.space.recountAll(); err != nil {
			t.Fatal(err)
		}
		if want := livingBySegment(k); !maps.Equal(got, want) {
			t.Fatalf("round %d: segments hold %v, counted anew %v", round, got, want)
		}
		if live := livingBySegment(v); !maps.Equal(got, live) {
			t.Fatalf("round %d: segments hold %v, before the kill %v", round, got, live)
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if behind == 0 {
		t.Error("the tally was never behind")
	}
	for _, x := range []interface{ Close() }{s, n, clone, c} {
		x.Close()
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

// livingBySegment returns the live bytes of the segments that hold any.
func livingBySegment(v *Volume) map[uint64]int64 {
	out := map[uint64]int64{}
	for seq, g := range v.space.segs {
		if g.live > 0 {
			out[seq] = g.live
		}
	}
	return out
}
