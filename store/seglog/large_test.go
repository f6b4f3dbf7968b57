package seglog

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store/crashfs"
)

// addLarge reserves and writes a large record.
func addLarge(t testing.TB, l *Log, r record) Ticket {
	t.Helper()
	k, err := l.ReserveLarge(len(r.body), len(r.payload), false)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.payload) >= LeastLarge && len(r.body) < 8<<10 && k.own == nil {
		t.Fatal("the record is copied")
	}
	copy(k.Body, r.body)
	k.Write([][]byte{r.payload}, checkOf(r.payload))
	return k
}

// Nothing is durable before a large record ahead of it is in its file, whoever waits for it.
func TestLargeHoldsTheSyncUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := openTest(t, vfs.NewMem())
		big := fill(1, LeastLarge)
		k, err := l.ReserveLarge(3, len(big), false)
		if err != nil {
			t.Fatal(err)
		}
		copy(k.Body, "big")
		var mu sync.Mutex
		after, _, _ := add(t, l, &mu, []byte("small"), fill(2, BlockSize), false)
		var waited, called atomic.Bool
		l.OnDurable(k.Pos, func(err error) { called.Store(err == nil) })
		go func() {
			waited.Store(l.Wait(after) == nil)
		}()
		synctest.Wait()
		if waited.Load() || called.Load() || l.Durable() != 0 {
			t.Fatalf("durable up to %d, though record %d is not written", l.Durable(), k.Pos)
		}
		k.Write([][]byte{big}, checkOf(big))
		synctest.Wait()
		if !waited.Load() || !called.Load() || l.Durable() != after {
			t.Fatalf("durable up to %d of %d", l.Durable(), after)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// Small records between large ones, which share their memory, are read before and after they
// are written, and come back.
func TestLargeBesideSmall(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 4))
		fs := vfs.NewMem()
		var all []record
		for range 3 {
			l, got := openTest(t, fs)
			if len(got) != len(all) {
				t.Fatalf("seed %d: %d of %d records came back", seed, len(got), len(all))
			}
			for i := range got {
				if !bytes.Equal(got[i].body, all[i].body) || !bytes.Equal(got[i].payload, all[i].payload) {
					t.Fatalf("seed %d: record %d came back changed", seed, i+1)
				}
			}
			var mu sync.Mutex
			var keys []Ticket
			first := len(all)
			for range 40 {
				r := record{body: fill(rng.Uint64(), rng.IntN(200)), payload: fill(rng.Uint64(), BlockSize*rng.IntN(5))}
				if rng.IntN(3) == 0 {
					r = record{body: fill(rng.Uint64(), rng.IntN(7000)), payload: fill(rng.Uint64(), LeastLarge+BlockSize*rng.IntN(4))}
					keys = append(keys, addLarge(t, l, r))
				} else {
					_, seq, addr := add(t, l, &mu, r.body, r.payload, false)
					keys = append(keys, Ticket{Seq: seq, Addr: addr})
				}
				all = append(all, r)
				for i, k := range keys {
					p := make([]byte, len(all[first+i].payload))
					if err := l.ReadAt(k.Seq, p, k.Addr); err != nil || !bytes.Equal(p, all[first+i].payload) {
						t.Fatalf("seed %d: record %d of %d reads wrong: %v", seed, first+i+1, len(all), err)
					}
				}
				if rng.IntN(8) == 0 {
					if err := l.Sync(); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A large record that is given up leaves a place in the log, and nothing else.
func TestLargeVoid(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := openTest(t, fs)
	addLarge(t, l, record{body: []byte("a"), payload: fill(1, LeastLarge)})
	k, err := l.ReserveLarge(10, LeastLarge, true)
	if err != nil {
		t.Fatal(err)
	}
	k.Void()
	addLarge(t, l, record{body: []byte("b"), payload: fill(2, LeastLarge)})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, got := openTest(t, fs)
	if len(got) != 3 || string(got[0].body) != "a" || len(got[1].payload) != 0 || string(got[2].body) != "b" || !bytes.Equal(got[2].payload, fill(2, LeastLarge)) {
		t.Fatalf("%d records", len(got))
	}
}

// A write of a large record that fails, or is short, stops the log: neither it nor what follows
// is ever acknowledged, and what was before comes back.
func TestLargeWriteFails(t *testing.T) {
	for _, c := range []struct {
		err   error
		short int
	}{{syscall.EIO, 0}, {syscall.ENOSPC, 0}, {syscall.EIO, 20000}, {syscall.ENOSPC, 3 * BlockSize}} {
		for _, header := range []bool{false, true} {
			t.Run(fmt.Sprint(c.err, c.short, header), func(t *testing.T) {
				var armed atomic.Bool
				fs, base := crashfs.Mem(nil, crashfs.Options{Inject: func(e crashfs.Event) *crashfs.Fault {
					if armed.Load() && e.Op == crashfs.OpWrite && (e.Len == BlockSize) == header {
						return &crashfs.Fault{Err: c.err, Short: min(c.short, e.Len)}
					}
					return nil
				}})
				l, _ := openTest(t, fs)
				failed := make(chan error, 1)
				l.opt.Failed = func(err error) { failed <- err }
				k := addLarge(t, l, record{body: []byte("kept"), payload: fill(1, LeastLarge)})
				if err := l.Wait(k.Pos); err != nil {
					t.Fatal(err)
				}
				called := make(chan error, 1)
				next, err := l.ReserveLarge(4, LeastLarge, false)
				if err != nil {
					t.Fatal(err)
				}
				l.OnDurable(next.Pos, func(err error) { called <- err })
				var mu sync.Mutex
				after, _, _ := add(t, l, &mu, []byte("after"), nil, false)
				armed.Store(true)
				next.Write([][]byte{fill(2, LeastLarge)}, checkOf(fill(2, LeastLarge)))
				for _, p := range []Pos{next.Pos, after} {
					if err := l.Wait(p); !errors.Is(err, ErrStopped) || !errors.Is(err, c.err) {
						t.Errorf("waiting for %d got %v", p, err)
					}
				}
				if err := <-called; !errors.Is(err, ErrStopped) {
					t.Errorf("the callback got %v", err)
				}
				if err := <-failed; !errors.Is(err, c.err) {
					t.Errorf("told %v", err)
				}
				if _, err := l.ReserveLarge(4, LeastLarge, false); !errors.Is(err, ErrStopped) {
					t.Errorf("reserve got %v", err)
				}
				armed.Store(false)
				fs.Crash(rand.New(rand.NewPCG(1, 1)), 100)
				l.Close()
				if _, got := openTest(t, base); len(got) != 1 || string(got[0].body) != "kept" {
					t.Errorf("%d records came back", len(got))
				}
			})
		}
	}
}
