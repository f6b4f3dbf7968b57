package object

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"gabion/protocol/ntstatus"
	"gabion/store"
)

// holders counts who may do what with a file at the moment, apart from the
// object store's own books.
type holders struct {
	mu    sync.Mutex
	files map[store.FileID]*[3]int // opens that write, that let nobody else write, all with data access
}

// enter notes an open with its access and share mode, and complains if it should not stand.
func (h *holders) enter(t *testing.T, o *Open) (leave func()) {
	writes, alone := o.has(fileWriteData), o.ShareAccess()&shareWrite == 0
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.files[o.ID()]
	if c == nil {
		c = new([3]int)
		h.files[o.ID()] = c
	}
	if writes && c[1] > 0 || alone && c[0] > 0 {
		t.Errorf("file %d: writers %d, deniers %d, yet an open that writes %v and denies %v", o.ID(), c[0], c[1], writes, alone)
	}
	add := func(n int) {
		if writes {
			c[0] += n
		}
		if alone {
			c[1] += n
		}
		c[2] += n
	}
	add(1)
	return func() {
		h.mu.Lock()
		add(-1)
		h.mu.Unlock()
	}
}

// TestManyClients lets clients open, write, lock, rename, watch and delete the
// same few files at once. Nothing may deadlock, share modes hold, and in the end
// nothing is left open.
func TestManyClients(t *testing.T) {
	w := newWorld(t)
	w.answer = true
	for _, d := range []string{"d0", "d1"} {
		w.make(d, folder)
	}
	h := &holders{files: map[store.FileID]*[3]int{}}
	var wg sync.WaitGroup
	for i := range 8 {
		c := &randomClient{w: w, h: h, rng: rand.New(rand.NewPCG(1, uint64(i))), name: fmt.Sprint("c", i)}
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 300 {
				c.step(t)
			}
		}()
	}
	wg.Wait()
	w.idleSoon()
}

type randomClient struct {
	w    *world
	h    *holders
	rng  *rand.Rand
	name string
}

func (c *randomClient) path() string {
	return fmt.Sprintf(`d%d\f%d`, c.rng.IntN(2), c.rng.IntN(3))
}

// open makes a request of everything that can be combined.
func (c *randomClient) open() (*Open, ntstatus.Status) {
	path := c.path()
	opts := []option{client(c.name), tag(c.name), disposition(uint32(c.rng.IntN(6)))}
	opts = append(opts, share(uint32(c.rng.IntN(8))|shareRead), access([]uint32{
		fileGenericRead | accessDelete, fileGenericRead | fileWriteData | accessDelete, fileWriteData, fileAllAccess,
	}[c.rng.IntN(4)]))
	switch c.rng.IntN(4) {
	case 0:
		opts = append(opts, leased(c.name+path, []string{"R", "RH", "RW", "RWH"}[c.rng.IntN(4)]))
	case 1:
		opts = append(opts, oplock([]OplockLevel{OplockII, OplockExclusive, OplockBatch}[c.rng.IntN(3)]))
	}
	if c.rng.IntN(6) == 0 {
		opts = append(opts, options(optDeleteOnClose), access(fileAllAccess))
	}
	r := &CreateRequest{Token: administrator, Path: path}
	for _, o := range opts {
		o(r)
	}
	type answer struct {
		o  *Open
		st ntstatus.Status
	}
	done := make(chan answer, 1)
	p := c.w.tree.Create(r, func(res CreateResult, st ntstatus.Status) { done <- answer{res.Open, st} })
	if c.rng.IntN(10) == 0 {
		p.Cancel()
	}
	a := <-done
	return a.o, a.st
}

func (c *randomClient) step(t *testing.T) {
	o, st := c.open()
	if o == nil {
		switch st {
		case ntstatus.SharingViolation, ntstatus.ObjectNameNotFound, ntstatus.ObjectNameCollision, ntstatus.DeletePending,
			ntstatus.Cancelled, ntstatus.InvalidParameter, ntstatus.ObjectPathNotFound:
		default:
			t.Errorf("create: %v", st)
		}
		return
	}
	leave := c.h.enter(t, o)
	wait := make(chan ntstatus.Status, 1)
	done := func(_ store.Pos, st ntstatus.Status) { wait <- st }
	for range c.rng.IntN(4) {
		switch c.rng.IntN(7) {
		case 0:
			o.Write([]byte("data"), c.rng.Int64N(100), false)
		case 1:
			o.Read(make([]byte, 10), c.rng.Int64N(100))
		case 2:
			p := o.Lock(LockRange{uint64(c.rng.IntN(10)), 5, c.rng.IntN(2) == 0}, c.rng.IntN(2) == 0, func(st ntstatus.Status) { wait <- st })
			p.Cancel()
			<-wait
		case 3:
			o.Rename(c.path(), uint32(c.rng.IntN(2)), done)
			<-wait
		case 4:
			o.SetDisposition(uint32(c.rng.IntN(2)), done)
			<-wait
		case 5:
			o.SetBasic(BasicChange{FileAttributes: attrTemporary * uint32(c.rng.IntN(2))})
		case 6:
			c.listAndWatch()
		}
	}
	leave()
	if _, _, st := o.Close(); st != ntstatus.Success {
		t.Errorf("close: %v", st)
	}
}

// listAndWatch opens a directory for a moment, now and then to rename it.
func (c *randomClient) listAndWatch() {
	r := &CreateRequest{
		Token: administrator, Path: fmt.Sprint("d", c.rng.IntN(2)), Options: optDirectoryFile, Disposition: dispOpen,
		DesiredAccess: fileGenericRead | accessDelete, ShareAccess: 7, Client: key(c.name),
	}
	done := make(chan *Open, 1)
	c.w.tree.Create(r, func(res CreateResult, _ ntstatus.Status) { done <- res.Open })
	d := <-done
	if d == nil {
		return
	}
	p := d.Notify(notifyEverything, true, 1000, func([]NotifyEvent, ntstatus.Status) {})
	d.ReadDir(DirQuery{}, func(*DirEntry) bool { return true })
	wait := make(chan ntstatus.Status, 1)
	d.Rename(r.Path+"x", 0, func(_ store.Pos, st ntstatus.Status) { wait <- st })
	if <-wait == ntstatus.Success {
		d.Rename(r.Path, 0, func(_ store.Pos, st ntstatus.Status) { wait <- st })
		<-wait
	}
	p.Cancel()
	d.Close()
}
