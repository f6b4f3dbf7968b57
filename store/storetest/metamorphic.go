package storetest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
	"gabion/store/memvol"
)

// Engine is an implementation under test that keeps its bytes on a vfs.
type Engine struct {
	// Open opens or makes the volume on fs.
	Open func(fs vfs.FS) (store.Volume, error)
	// Idle lets background work run; may be nil.
	Idle func(store.Volume)
	// Check verifies a volume's own structures; may be nil.
	Check func(store.Volume) error
}

// Engines makes the engine of a seed, so that seeds cover its variants, and whatever it leaves
// to chance comes from the seed.
type Engines func(seed uint64) Engine

// Int reads a number from the environment, to make runs longer or to repeat one.
func Int(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// history keeps the last operations for a failure's message.
type history struct {
	ops  []string
	from int
}

func (h *history) add(op Op, result string) {
	h.ops = append(h.ops, fmt.Sprintf("%v → %.200s", op, result))
	if len(h.ops) > 60 {
		h.ops = h.ops[1:]
		h.from++
	}
}

func (h *history) String() string {
	s := ""
	for i, o := range h.ops {
		s += fmt.Sprintf("%6d %s\n", h.from+i, o)
	}
	return s
}

// Metamorphic performs operations on an engine and on the model, and compares
// every result, and the full dumps every now and then. GABION_SIM_SEED repeats a seed
// and GABION_SIM_OPS sets the number of operations.
func Metamorphic(t *testing.T, of Engines, ops int) {
	ops = Int("GABION_SIM_OPS", ops)
	if one := Int("GABION_SIM_SEED", -1); one >= 0 {
		metamorphic(t, of, uint64(one), ops)
		return
	}
	for _, seed := range []uint64{1, 2} { // fixed: a run judges the change, not luck
		t.Run(fmt.Sprint(seed), func(t *testing.T) { metamorphic(t, of, seed, ops) })
	}
}

func metamorphic(t *testing.T, of Engines, seed uint64, ops int) {
	e := of(seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	fs := vfs.NewMem()
	v, err := e.Open(fs)
	if err != nil {
		t.Fatal(err)
	}
	m := memvol.New(memvol.Options{})
	var h history
	fail := func(format string, args ...any) {
		t.Helper()
		t.Fatalf("GABION_SIM_SEED=%d: %s\nafter:\n%s", seed, fmt.Sprintf(format, args...), &h)
	}
	x, mx := NewExecutor(v, e.Idle), NewExecutor(m, nil)
	g := NewGenerator(rng, m, "")
	compare := func() {
		t.Helper()
		got, err := Take(x.v)
		if err != nil {
			fail("dump: %v", err)
		}
		want, err := Take(mx.v)
		if err != nil {
			fail("dump of the model: %v", err)
		}
		if diff := Compare(got, want); len(diff) > 0 {
			fail("the volume is not as the model:\n%s", lines(diff))
		}
	}
	interval := max(ops/200, 50)
	for i := range ops {
		op := g.Next()
		if op.Kind == OpReopen {
			x.Release()
			mx.Release()
			if err := x.v.Close(); err != nil {
				fail("close: %v", err)
			}
			if v, err = e.Open(fs); err != nil {
				fail("reopen: %v", err)
			}
			m = m.Reopen()
			x, mx, g.model = NewExecutor(v, e.Idle), NewExecutor(m, nil), m
			h.add(op, "")
			compare()
			continue
		}
		want, _, _ := mx.Do(op)
		got, _, err := x.Do(op)
		h.add(op, got)
		if got != want {
			fail("result %s (%v), want %s", got, err, want)
		}
		if i%interval == interval-1 {
			compare()
			if e.Check != nil {
				if err := e.Check(x.v); err != nil {
					fail("check: %v", err)
				}
			}
		}
	}
	x.Release()
	mx.Release()
	compare()
	if err := x.v.Close(); err != nil {
		fail("close: %v", err)
	}
}

func lines(s []string) string {
	out := ""
	for _, l := range s {
		out += l + "\n"
	}
	return out
}
