package seglog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

var testVolume = [16]byte{1, 2, 3}

func openTest(t testing.TB, fs vfs.FS) (*Log, []record) {
	t.Helper()
	if err := fs.MkdirAll("log", 0o755); err != nil {
		t.Fatal(err)
	}
	if d, err := fs.OpenDir(""); err == nil {
		d.Sync()
		d.Close()
	}
	l, err := Open(Options{FS: fs, Dir: "log", Volume: testVolume, SegmentSize: 256 << 10, Handles: 2})
	if err != nil {
		t.Fatal(err)
	}
	var got []record
	last, err := l.Replay(0, func(r *Record) error {
		p := make([]byte, r.PayloadLen)
		if err := l.ReadAt(r.Seq, p, r.Payload); err != nil {
			return err
		}
		got = append(got, record{r.Pos, bytes.Clone(r.Body), p})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	live := map[uint64]uint32{}
	for _, s := range l.Segments() {
		live[s.Seq] = s.Slot
	}
	if err := l.Start(live, last, 0); err != nil {
		t.Fatal(err)
	}
	return l, got
}

type record struct {
	pos     Pos
	body    []byte
	payload []byte
}

func add(t testing.TB, l *Log, mu *sync.Mutex, body, payload []byte, more bool) (Pos, uint64, uint32) {
	t.Helper()
	mu.Lock()
	k, err := l.Reserve(len(body), len(payload), more)
	mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	copy(k.Body, body)
	copy(k.Payload, payload)
	k.Commit(checkOf(payload))
	return k.Pos, k.Seq, k.Addr
}

func fill(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	p := make([]byte, n)
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(p[i:], r.Uint64())
	}
	return p
}

// Whatever was waited for comes back after a crash that loses a random part of
// what was not synced, and nothing comes back out of order.
func TestCrash(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			fs := vfs.NewCrashableMem()
			var all []record
			durable := Pos(0)
			for range 6 {
				l, got := openTest(t, fs)
				if uint64(len(got)) < durable {
					t.Fatalf("%d records after the crash, %d were durable", len(got), durable)
				}
				for i, g := range got {
					if g.pos != Pos(i+1) || !bytes.Equal(g.body, all[i].body) || !bytes.Equal(g.payload, all[i].payload) {
						t.Fatalf("record %d came back changed (as %d)", i+1, g.pos)
					}
				}
				all = all[:len(got)]
				var mu sync.Mutex
				for range rng.IntN(60) {
					r := record{body: fill(rng.Uint64(), rng.IntN(200))}
					if rng.IntN(8) == 0 {
						r.body = fill(rng.Uint64(), rng.IntN(12000))
					}
					r.payload = fill(rng.Uint64(), BlockSize*rng.IntN(9))
					r.pos, _, _ = add(t, l, &mu, r.body, r.payload, false)
					all = append(all, r)
					if rng.IntN(4) == 0 {
						if err := l.Wait(r.pos); err != nil {
							t.Fatal(err)
						}
						durable = r.pos
					}
				}
				clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
				l.Close()
				fs = clone
			}
		})
	}
}

func TestConcurrentWaiters(t *testing.T) {
	l, _ := openTest(t, vfs.NewMem())
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 50 {
				p := fill(uint64(w*100+i), BlockSize)
				pos, seq, addr := add(t, l, &mu, []byte("body"), p, false)
				got := make([]byte, BlockSize)
				if err := l.ReadAt(seq, got, addr); err != nil || !bytes.Equal(got, p) {
					t.Errorf("read of a pending record: %v", err)
				}
				if i%2 == 0 {
					if err := l.Wait(pos); err != nil {
						t.Error(err)
					}
				} else {
					c := make(chan error, 1)
					l.OnDurable(pos, func(err error) { c <- err })
					if err := <-c; err != nil {
						t.Error(err)
					}
				}
				if l.Durable() < pos {
					t.Errorf("position %d is not durable", pos)
				}
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// A change of several records appears with its last one or not at all, and its
// remains never join what is written later.
func TestIncompleteChange(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := openTest(t, fs)
	var mu sync.Mutex
	add(t, l, &mu, []byte("a"), nil, false)
	add(t, l, &mu, []byte("b1"), nil, true)
	l.Close()
	l, got := openTest(t, fs)
	if len(got) != 1 || string(got[0].body) != "a" {
		t.Fatalf("found %v", got)
	}
	if pos, _, _ := add(t, l, &mu, []byte("c"), nil, false); pos != 2 {
		t.Errorf("position %d follows 1", pos)
	}
	l.Close()
	if _, got = openTest(t, fs); len(got) != 2 || string(got[1].body) != "c" {
		t.Fatalf("found %v", got)
	}
}

func TestDamageIsNotATornTail(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := openTest(t, fs)
	var mu sync.Mutex
	for i := range 10 {
		pos, _, _ := add(t, l, &mu, []byte("x"), fill(uint64(i), BlockSize), false)
		if err := l.Wait(pos); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	f, err := fs.OpenReadWrite("log/00000000.seg", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte{0xff}, 4*2*BlockSize+100) // the fifth group's header
	f.Close()
	l, err = Open(Options{FS: fs, Dir: "log", Volume: testVolume, SegmentSize: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	var d *DamageError
	if _, err := l.Replay(0, func(*Record) error { return nil }); !errors.As(err, &d) || d.Pos != 5 {
		t.Fatalf("got %v, want damage at position 5", err)
	}
}

func TestFailedSyncIsFinal(t *testing.T) {
	mem := vfs.NewMem()
	var broken errorfs.InjectorFunc
	fail := false
	broken = func(op errorfs.Op) error {
		if fail && (op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSync) {
			return errors.New("device gone")
		}
		return nil
	}
	l, _ := openTest(t, errorfs.Wrap(mem, broken))
	var mu sync.Mutex
	pos, _, _ := add(t, l, &mu, []byte("x"), nil, false)
	fail = true
	if err := l.Wait(pos); !errors.Is(err, ErrStopped) {
		t.Fatalf("got %v", err)
	}
	fail = false
	if err := l.Wait(pos); !errors.Is(err, ErrStopped) {
		t.Fatalf("a second try got %v", err)
	}
	if _, err := l.Reserve(1, 0, false); !errors.Is(err, ErrStopped) {
		t.Fatalf("reserve got %v", err)
	}
}

// A break that only a group far behind it tells from a torn tail: one sync covered
// the broken group and the whole of the next segment's head.
func TestDamageAheadOfALongSync(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := openTest(t, fs)
	var mu sync.Mutex
	var last Pos
	for i := range 80 { // one group in each of two segments and more
		last, _, _ = add(t, l, &mu, nil, fill(uint64(i), 2*BlockSize), false)
		if i%8 == 7 {
			l.mu.Lock()
			l.open = nil // the next record begins a group
			l.mu.Unlock()
		}
	}
	if err := l.Wait(last); err != nil {
		t.Fatal(err)
	}
	last, _, _ = add(t, l, &mu, []byte("later"), nil, false)
	if err := l.Wait(last); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	breakAt(t, fs, "log/00000000.seg", 17*BlockSize+200, 0) // in the header of the second group
	l, err := Open(Options{FS: fs, Dir: "log", Volume: testVolume, SegmentSize: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Replay(0, func(*Record) error { return nil })
	var damage *DamageError
	if !errors.As(err, &damage) {
		t.Errorf("replay: %v, want a DamageError", err)
	}
}

// breakAt flips a bit of a file, or clears n bytes of it.
func breakAt(t *testing.T, fs vfs.FS, name string, at int64, n int) {
	t.Helper()
	f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, max(n, 1))
	if n == 0 {
		if _, err := f.ReadAt(p, at); err != nil {
			t.Fatal(err)
		}
		p[0] ^= 4
	}
	if _, err := f.WriteAt(p, at); err != nil {
		t.Fatal(err)
	}
}

// A segment whose head is damaged is missed, also when it is the last one.
func TestDamagedHead(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := openTest(t, fs)
	var mu sync.Mutex
	for i := range 40 { // into the second segment
		pos, _, _ := add(t, l, &mu, nil, fill(uint64(i), 2*BlockSize), false)
		if err := l.Wait(pos); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	breakAt(t, fs, "log/00000001.seg", 200, 0)
	l, err := Open(Options{FS: fs, Dir: "log", Volume: testVolume, SegmentSize: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Replay(0, func(*Record) error { return nil })
	var damage *DamageError
	if !errors.As(err, &damage) {
		t.Errorf("replay: %v, want a DamageError", err)
	}
}

// What a crash left behind a lost group stays dead, also when new groups of the same size
// take the lost one's place.
func TestNothingComesBackToLife(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := openTest(t, fs)
	var mu sync.Mutex
	first, _, _ := add(t, l, &mu, []byte("lost"), nil, false)
	l.mu.Lock()
	l.open = nil // the next record begins a group
	l.mu.Unlock()
	second, _, _ := add(t, l, &mu, []byte("left behind"), nil, false)
	if err := l.Wait(second); err != nil {
		t.Fatal(err)
	}
	l.Close()
	breakAt(t, fs, "log/00000000.seg", 0, BlockSize) // the crash
	l, got := openTest(t, fs)
	if len(got) != 0 {
		t.Fatalf("%d records without the first", len(got))
	}
	again, _, _ := add(t, l, &mu, []byte("new!"), nil, false)
	if again != first {
		t.Fatalf("position %d, want %d", again, first)
	}
	if err := l.Wait(again); err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, got = openTest(t, fs)
	if len(got) != 1 || string(got[0].body) != "new!" {
		t.Errorf("replayed %d records", len(got))
	}
}
