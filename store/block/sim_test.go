package block

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
	"gabion/store/storetest"
)

// tinyCache holds so little that something is evicted all the time.
const tinyCache = 5 * pageSize

// engineOf is the block store with small segments and chunks, so that much happens in few operations. Odd
// seeds compress; GABION_SIM_PACK=0 or 1 says it for all.
func engineOf(seed uint64) storetest.Engine {
	pack := storetest.Int("GABION_SIM_PACK", int(seed%2)) == 1
	rng := rand.New(rand.NewPCG(seed, 8))
	return storetest.Engine{
		Open: func(fs vfs.FS) (store.Volume, error) {
			v, err := Open(Options{Dir: "vol", FS: fs, SegmentSize: 256 << 10, CacheSize: 8 << 20, Pack: pack, Manual: true, leap: rng.Uint64N, DataCache: tinyCache})
			if err != nil {
				return nil, err
			}
			v.eager, v.few, v.cleaner.most = true, 1, 32<<10
			v.data.least = 1
			return v, nil
		},
		Idle:  func(v store.Volume) { background(v.(*Volume)) },
		Check: verify,
	}
}

// verify fails with what a check of the volume finds.
func verify(v store.Volume) error {
	var found []error
	_, err := v.(*Volume).Check(CheckOptions{Found: func(p Problem) {
		if len(found) < 10 {
			found = append(found, errors.New(p.String()))
		}
	}})
	return errors.Join(append(found, err, needless(v.(*Volume)))...)
}

// background does what the background does, and now and then flushes the index or
// compacts it, which takes a running volume hundreds of megabytes to want.
func background(v *Volume) {
	switch v.log.Last() % 5 {
	case 0, 1:
		v.work.wake(wantFlush)
		settle(v, 1)
		fallthrough // when it is over is chance, and what is cleaned follows from it
	case 2:
		if done, err := v.index.AsyncFlush(); err == nil {
			await(v, done)
		}
	case 3:
		done := make(chan struct{})
		go func() {
			defer close(done)
			v.index.Compact(context.Background(), []byte{0}, []byte{0xff}, false) //nolint:errcheck // nothing is asked of it
		}()
		await(v, done)
	}
	if v.log.Last()%7 == 0 {
		v.mirror.take() //nolint:errcheck // a disk that fails leaves the last one
	}
	settle(v, 20)
}

// await waits for the index, which never answers once the volume stopped or its disk is full.
func await(v *Volume, done <-chan struct{}) {
	for v.Stopped() == nil && !v.reserve.starved.Load() {
		select {
		case <-done:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// settle lets background work run for some steps.
func settle(v *Volume, steps int) {
	for range steps {
		if more, err := v.Step(); err != nil || !more {
			return
		}
	}
}

func TestMetamorphic(t *testing.T) { storetest.Metamorphic(t, engineOf, 3000) }
func TestCrash(t *testing.T)       { storetest.Crash(t, engineOf, 100) }
func TestFaults(t *testing.T)      { storetest.Faults(t, engineOf, 50) }
