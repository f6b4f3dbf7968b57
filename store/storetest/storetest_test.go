package storetest

import (
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
	"gabion/store/memvol"
)

func TestModelKeepsTheContract(t *testing.T) {
	Run(t, func(testing.TB) store.Volume { return memvol.New(memvol.Options{}) })
}

// model is memvol as an engine: a comparison with itself proves that generator,
// executor and dump tell nothing but the state.
func model() Engine {
	volumes := map[vfs.FS]*memvol.Volume{}
	return Engine{Open: func(fs vfs.FS) (store.Volume, error) {
		v := volumes[fs]
		if v == nil {
			v = memvol.New(memvol.Options{})
		} else {
			v = v.Reopen()
		}
		volumes[fs] = v
		return v, nil
	}}
}

func TestModelAgreesWithItself(t *testing.T) {
	Metamorphic(t, func(uint64) Engine { return model() }, 3000)
}

// Every kind of operation must succeed often, or the comparison is worth little.
func TestGeneratorReachesEverything(t *testing.T) {
	m := memvol.New(memvol.Options{})
	g := NewGenerator(rand.New(rand.NewPCG(1, 1)), m, "", OpReopen)
	x := NewExecutor(m, nil)
	var tried, done [kinds]int
	for range 15000 {
		op := g.Next()
		_, _, err := x.Do(op)
		tried[op.Kind]++
		if err == nil {
			done[op.Kind]++
		}
	}
	for k := range kinds {
		t.Logf("%-16v %5d of %5d", k, done[k], tried[k])
		if k != OpReopen && done[k]*4 < tried[k] || done[k] < 20 && k != OpReopen {
			t.Errorf("%v: only %d of %d succeed", k, done[k], tried[k])
		}
	}
}

// kept is an engine that keeps its volume in memory between opens.
func kept(lose bool) Engine {
	var last, opened *memvol.Volume
	return Engine{Open: func(fs vfs.FS) (store.Volume, error) {
		switch {
		case last == nil:
			last = memvol.New(memvol.Options{})
		case lose:
			last = opened
		default:
			last = last.Reopen()
		}
		opened = last.Copy()
		return last, nil
	}}
}

func TestCrashAcceptsDurableStates(t *testing.T) {
	for seed := range uint64(30) {
		if err := newSim(kept(false), seed).run(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// An engine that forgets what it was waited for is found out.
func TestCrashFindsLoss(t *testing.T) {
	found := 0
	for seed := range uint64(30) {
		if err := newSim(kept(true), seed).run(); err != nil {
			found++
		}
	}
	if found < 25 {
		t.Errorf("found in %d of 30 runs", found)
	}
}
