package odx

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"gabion/conformance/client"
	"gabion/conformance/rig"
)

// measure is how many MiB the measurements work on; they run when they are asked for:
//
//	GABION_MEASURE=10240 go test -v -timeout 1h -run Measure ./conformance/odx
func measure(t *testing.T) int64 {
	n, err := strconv.ParseInt(os.Getenv("GABION_MEASURE"), 10, 64)
	if err != nil {
		t.Skip("GABION_MEASURE does not say how many MiB")
	}
	return n << 20
}

// scatter fills a file with incompressible pieces in random order.
func scatter(t *testing.T, f *client.File, size, piece int64) {
	t.Helper()
	order := rand.New(rand.NewPCG(1, 2)).Perm(int(size / piece))
	source := random(7, 64<<20)
	next := make(chan int, 64)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			p := make([]byte, piece)
			for i := range next {
				copy(p, source[(int64(i)*8191*8)%(int64(len(source))-piece):])
				p[0], p[1], p[2], p[3] = byte(i), byte(i>>8), byte(i>>16), byte(i>>24)
				if _, err := f.WriteAt(p, int64(i)*piece); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for _, i := range order {
		next <- i
	}
	close(next)
	wg.Wait()
	must(t, f.Flush())
}

// digest is the SHA-256 of a file.
func digest(t *testing.T, f *client.File, size int64) [32]byte {
	t.Helper()
	const step, ahead = 1 << 20, 8
	type part struct {
		p   []byte
		err error
	}
	parts := make([]chan part, ahead)
	read := func(i int64) chan part {
		c := make(chan part, 1)
		go func() {
			p := make([]byte, min(step, size-i*step))
			_, err := f.ReadAt(p, i*step)
			if err == io.EOF {
				err = nil
			}
			c <- part{p, err}
		}()
		return c
	}
	h := sha256.New()
	n := (size + step - 1) / step
	for i := range min(int64(ahead), n) {
		parts[i] = read(i)
	}
	for i := range n {
		x := <-parts[i%ahead]
		must(t, x.err)
		h.Write(x.p)
		if i+ahead < n {
			parts[i%ahead] = read(i + ahead)
		}
	}
	return [32]byte(h.Sum(nil))
}

type stats struct {
	DataWritten, DataRead, LiveBytes, IndexSize, Pending int64
}

// TestMeasureCopy copies a file of random pieces by ODX.
func TestMeasureCopy(t *testing.T) {
	size := measure(t)
	for _, piece := range []int64{64 << 10, 4 << 10} {
		if piece == 4<<10 && os.Getenv("GABION_MEASURE_4K") == "" {
			continue
		}
		s := rig.Start(t)
		tree := connect(t, s, "vms")
		f := file(t, tree, "disk.vhdx")
		began := time.Now()
		scatter(t, f, size, piece)
		t.Logf("%d MiB in random pieces of %d KiB: written in %v", size>>20, piece>>10, time.Since(began))
		for i := range 5 {
			g := file(t, tree, "copy"+strconv.Itoa(i))
			var before, after stats
			ask(t, s, &before, "volume", "stats")
			began := time.Now()
			r, err := (&Engine{Chunk: 256 << 20}).Copy(f, g, uint64(size))
			took := time.Since(began)
			ask(t, s, &after, "volume", "stats")
			must(t, err)
			if r.Refused != nil {
				t.Fatal(r.Refused)
			}
			t.Logf("copy %d: %v, %d tokens, %d writes; data read %d, written %d; live bytes %+d", i, took, r.Tokens, r.Writes,
				after.DataRead-before.DataRead, after.DataWritten-before.DataWritten, after.LiveBytes-before.LiveBytes)
			if i == 0 {
				if digest(t, g, size) != digest(t, f, size) {
					t.Fatal("the copy differs")
				}
				t.Log("equal by SHA-256")
			}
			must(t, g.Close())
		}
		s.Kill()
		must(t, os.RemoveAll(s.Data))
	}
}

// TestMeasureZero zeroes 1 TB, also of a disk that holds data.
func TestMeasureZero(t *testing.T) {
	measure(t)
	s := rig.Start(t)
	tree := connect(t, s, "vms")
	const size = 1e12 / (1 << 20) * (1 << 20)
	for _, data := range []int64{0, 256 << 20} {
		f := file(t, tree, "disk"+strconv.FormatInt(data, 10))
		must(t, Truncate(f, int64(size)))
		if data > 0 {
			scatter(t, f, data, 64<<10)
		}
		began := time.Now()
		n, writes := uint64(0), 0
		for n < uint64(size) {
			k, err := Write(f, n, min(uint64(size)-n, 256<<20), 0, ZeroToken())
			must(t, err)
			n += k
			writes++
		}
		t.Logf("1 TB over %d MiB of data: %v in %d writes of 256 MiB", data>>20, time.Since(began), writes)
		if data > 0 {
			scatter(t, f, data, 64<<10)
		}
		began = time.Now()
		k, err := Write(f, 0, uint64(size), 0, ZeroToken())
		must(t, err)
		t.Logf("1 TB over %d MiB of data: %v in one write of %d bytes", data>>20, time.Since(began), k)
	}
}
