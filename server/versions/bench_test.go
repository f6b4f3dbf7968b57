package versions

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"gabion/protocol/ntstatus"
	"gabion/server/object"
	"gabion/server/vm"
	"gabion/store"
	"gabion/store/block"
)

// BenchmarkSync makes a developer's three disks equal to production's snapshot, once when all of it is
// new and then after both have changed, while a neighbour writes durably. The disks are written in
// random pieces of GABION_SYNC_PIECE KiB that do not compress; GABION_SYNC_GIB is their size together, and
// GABION_BENCH_DIR where they are.
func BenchmarkSync(b *testing.B) {
	dir := os.Getenv("GABION_BENCH_DIR")
	if dir == "" {
		dir = b.TempDir()
	}
	total := number("GABION_SYNC_GIB", 1) << 30
	if os.Getenv("GABION_SYNC_GIB") == "" {
		total = 192 << 20
	}
	piece := number("GABION_SYNC_PIECE", 64) << 10
	vol, err := block.Open(block.Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer vol.Close()
	tree, st := object.New(object.Config{Breaker: silent{}}).Mount(vol).Tree("", object.TreeOptions{})
	if st != ntstatus.Success {
		b.Fatal(st)
	}
	book, err := OpenBook(vol, nil)
	if err != nil {
		b.Fatal(err)
	}
	c := &Changer{Book: book, Tree: tree}
	root, err := vol.Root(store.Live)
	if err != nil {
		b.Fatal(err)
	}
	stream := func(name string, size int64) (store.Stream, vm.Disk) {
		n, _, err := vol.Create(root, name, store.Init{})
		if err != nil {
			b.Fatal(err)
		}
		s, err := n.Data()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.SetSize(size, store.Touch{}); err != nil {
			b.Fatal(err)
		}
		return s, vm.Disk{Place: vm.Place{Share: "vms", Path: name, Full: name, ID: n.ID()}, Name: name, Size: size}
	}
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, piece+1<<20)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	write := func(s store.Stream, size int64, part float64) {
		order := r.Perm(int(size / piece))
		for _, i := range order[:int(float64(len(order))*part)] {
			off := r.IntN(1 << 20)
			noise[off]++
			if _, err := s.WriteAt(noise[off:off+int(piece)], int64(i)*piece, store.Touch{}); err != nil {
				b.Fatal(err)
			}
		}
	}
	var prod, dev []store.Stream
	var pairs []Pair
	var scope []store.FileID
	size := total / 3 / piece * piece
	began := time.Now()
	for i := range 3 {
		p, from := stream(fmt.Sprintf("prod%d.vhdx", i), size)
		d, to := stream(fmt.Sprintf("dev%d.vhdx", i), size)
		prod, dev = append(prod, p), append(dev, d)
		pairs, scope = append(pairs, Pair{from, to}), append(scope, from.ID)
		write(p, size, 1)
	}
	if err := vol.Sync(); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d bytes in pieces of %d written in %v", 3*size, piece, time.Since(began))
	neighbour, _ := stream("neighbour.vhdx", 1<<30)
	stop, waits := foreground(b, vol, neighbour)
	time.Sleep(2 * time.Second)
	quiet := waits()
	sync := func(what string) {
		s, err := book.Create("of "+what, scope, Meta{})
		if err != nil {
			b.Fatal(err)
		}
		waits()
		began := time.Now()
		rep, err := c.Sync(b.Context(), pairs, s, "dev", Options{})
		if err != nil {
			b.Fatal(err)
		}
		took := time.Since(began)
		during := waits()
		time.Sleep(5 * time.Second)
		b.Logf("%s: %v, %d bytes changed; longest wait of a foreground write before %v, during %v, 5 s after %v", what, took, rep.Bytes, quiet, during, waits())
		b.ReportMetric(took.Seconds(), what+"-s")
	}
	sync("first")
	for vol.Stats().Pending > 0 {
		time.Sleep(100 * time.Millisecond)
	}
	b.Log("clones are real")
	for i := range 3 {
		write(prod[i], size, 0.1)
		write(dev[i], size, 0.05)
	}
	if err := vol.Sync(); err != nil {
		b.Fatal(err)
	}
	waits()
	time.Sleep(2 * time.Second)
	quiet = waits()
	sync("again")
	stop()
}

// foreground writes 4 KiB durably, one after the other, until stop; longest returns the longest that
// one took since it was last asked.
func foreground(b *testing.B, vol store.Volume, s store.Stream) (stop func(), longest func() time.Duration) {
	var mu sync.Mutex
	var most time.Duration
	var wg sync.WaitGroup
	end := make(chan struct{})
	wg.Go(func() {
		p := make([]byte, 4096)
		for i := int64(0); ; i++ {
			select {
			case <-end:
				return
			default:
			}
			began := time.Now()
			pos, err := s.WriteAt(p, i%1000*4096, store.Touch{})
			took := time.Since(began)
			if err == nil {
				err = vol.Wait(pos)
			}
			if err != nil {
				b.Error(err)
				return
			}
			mu.Lock()
			most = max(most, took)
			mu.Unlock()
		}
	})
	return func() { close(end); wg.Wait() }, func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		m := most
		most = 0
		return m
	}
}

func number(name string, otherwise int64) int64 {
	if n, err := strconv.ParseInt(os.Getenv(name), 10, 64); err == nil {
		return n
	}
	return otherwise
}
