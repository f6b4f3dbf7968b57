package odx

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/protocol/ntstatus"
)

// Copies as Windows makes them: in chunks, of any length, to the byte.
func TestCopyEngine(t *testing.T) {
	s := rig.Start(t)
	tree := connect(t, s, "vms")
	for _, size := range []int{256 << 10, 1<<20 + 1, 5<<20 - 511, 9<<20 + 4097, 33 << 20} {
		f, data := filled(t, tree, fmt.Sprint("s", size), size, uint64(size))
		g := file(t, tree, fmt.Sprint("t", size))
		r, err := (&Engine{Chunk: 2 << 20}).Copy(f, g, uint64(size))
		must(t, err)
		if r.Refused != nil || r.Copied != 0 || r.Tokens != 1 || r.Writes != (size+2<<20-1)/(2<<20) {
			t.Errorf("%d bytes: %+v", size, r)
		}
		holds(t, "copied", g, data)
		if _, err := g.ReadAt(make([]byte, 1), int64(size)); err == nil {
			t.Errorf("%d bytes: the copy is longer", size)
		}
	}
}

// A token that goes in the middle: the engine falls back to where it was, and does not hold it against
// the volume.
func TestFallBack(t *testing.T) {
	s := rig.Start(t)
	tree := connect(t, s, "vms")
	f, data := filled(t, tree, "source", 8<<20, 1)
	g := file(t, tree, "target")
	steps := 0
	e := &Engine{Chunk: 1 << 20, Between: func() {
		if steps++; steps == 4 {
			ask(t, s, nil, "offload", "revoke", "all")
		}
	}}
	r, err := e.Copy(f, g, 8<<20)
	must(t, err)
	if r.Refused != ntstatus.InvalidToken || r.Deny || r.Apart || r.Offloaded != 3<<20 || r.Copied != 5<<20 {
		t.Errorf("the copy went %+v", r)
	}
	holds(t, "fallen back", g, data)
	off := rig.Start(t, "--share", "vms,no-odx")
	tree = connect(t, off, "vms")
	f, data = filled(t, tree, "source", 1<<20, 1)
	g = file(t, tree, "target")
	r, err = e.Copy(f, g, 1<<20)
	must(t, err)
	if r.Refused != ntstatus.NotSupported || !r.Deny || r.Copied != 1<<20 {
		t.Errorf("where offload is off the copy went %+v", r)
	}
	holds(t, "copied without offload", g, data)
}

// A source that is written all the time: the copy is the source at the instant of the token. Every
// write stamps a block with a number that only grows, in order of the blocks, so an instant shows
// numbers that fall at most once.
func TestCopyUnderWrites(t *testing.T) {
	s := rig.Start(t, "--share", "vms")
	tree := connect(t, s, "vms")
	const blocks = 512
	f := file(t, tree, "source")
	stamped := func(n uint64) []byte { return bytes.Repeat([]byte{byte(n), byte(n >> 8), byte(n >> 16), 1}, 1024) }
	number := func(p []byte) uint64 { return uint64(p[0]) | uint64(p[1])<<8 | uint64(p[2])<<16 }
	for b := range int64(blocks) {
		write(t, f, stamped(0), b*4096)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	other := file(t, connect(t, s, "vms"), "source")
	wg.Go(func() {
		for n := uint64(1); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := other.WriteAt(stamped((n+blocks-1)/blocks), int64((n-1)%blocks)*4096); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 20 {
		g := file(t, tree, fmt.Sprint("copy", i))
		r, err := (&Engine{Chunk: 256 << 10, Between: func() { time.Sleep(time.Millisecond) }}).Copy(f, g, blocks*4096)
		must(t, err)
		if r.Refused != nil {
			t.Fatalf("%+v", r)
		}
		p := contents(t, g, 0, blocks*4096)
		last, falls := number(p), 0
		for b := range blocks {
			block := p[b*4096 : (b+1)*4096]
			n := number(block)
			if !bytes.Equal(block, stamped(n)) {
				t.Fatalf("copy %d: block %d is torn", i, b)
			}
			switch {
			case n == last:
			case n+1 == last:
				falls++
			default:
				t.Fatalf("copy %d: block %d has number %d behind %d", i, b, n, last)
			}
			last = n
		}
		if falls > 1 {
			t.Fatalf("copy %d shows %d instants", i, falls+1)
		}
	}
	close(stop)
	wg.Wait()
}

// A client that is killed with the server in the middle of clones finds every reference
// right: what check counts.
func TestKillDuringClones(t *testing.T) {
	s := rig.Start(t)
	tree := connect(t, s, "vms")
	f, data := filled(t, tree, "template", 48<<20, 1)
	must(t, f.Flush())
	for round := range 8 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; ; i++ {
				if err := cloneOnce(tree, f, fmt.Sprintf("r%d-%d", round, i), 48<<20); err != nil {
					return
				}
			}
		}()
		time.Sleep(time.Duration(20+37*round) * time.Millisecond)
		s.Kill()
		<-done
		if out, stderr, err := s.Command("check"); err != nil {
			t.Fatalf("round %d: check: %v\n%s%s", round, err, out, stderr)
		}
		must(t, s.Run())
		tree = connect(t, s, "vms")
		f = file(t, tree, "template")
		holds(t, "the template", f, data)
	}
}

// cloneOnce copies by token, in parts, and changes and removes some of it.
func cloneOnce(tree *client.Tree, f *client.File, name string, size uint64) error {
	g, err := tree.Create(client.OpenFile(name))
	if err != nil {
		return err
	}
	if _, err := (&Engine{Chunk: 20 << 20}).Copy(f, g, size); err != nil {
		return err
	}
	if _, err := g.WriteAt(random(size, 100_000), 5_000_000); err != nil {
		return err
	}
	if err := Truncate(g, 30<<20); err != nil {
		return err
	}
	return g.Close()
}
