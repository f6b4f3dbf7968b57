package fault

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"gabion/conformance/client"
	"gabion/conformance/crash"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

const (
	blockSize = crash.BlockSize
	blocks    = 1024
	depth     = 6  // requests outstanding on a disk
	longest   = 32 // blocks of one request
)

// disk is a virtual disk: what was acknowledged of it, and who has it open.
type disk struct {
	rig  *rigging
	id   uint32
	app  dtyp.GUID // AppInstanceId
	rngs [depth]*rand.Rand

	mu      sync.Mutex
	freed   *sync.Cond
	handle  *handle        // nil while it moves; guarded by mu
	moved   chan struct{}  // closed when handle is taken away; guarded by mu
	version uint64         // AppInstanceVersion; guarded by mu
	seq     uint64         // of the last write; guarded by mu
	block   [blocks]place  // guarded by mu
	log     [4096]logEntry // of acknowledgements, the latest; guarded by mu
	logged  int            // guarded by mu
}

// place is what is known of a block.
type place struct {
	acked uint64 // the write it has to show
	maybe uint64 // or this one, which was not acknowledged and is not repeated
	busy  bool   // a request concerns it
}

// logEntry is a line of the log of acknowledgements.
type logEntry struct {
	at     time.Time
	host   string
	what   string
	first  int
	n      int
	seq    uint64
	result string
}

func newDisk(r *rigging, id uint32) *disk {
	d := &disk{rig: r, id: id, app: dtyp.GUID{0: 0xA9, 15: byte(id)}, moved: make(chan struct{})}
	d.freed = sync.NewCond(&d.mu)
	for i := range d.rngs {
		d.rngs[i] = rand.New(rand.NewPCG(r.seed, uint64(id)<<8|uint64(i)))
	}
	return d
}

func (d *disk) name() string { return fmt.Sprintf("disk%d.vhdx", d.id) }

// openOn makes h the host that has the disk. A host that had it is not asked.
func (d *disk) openOn(h *host) error {
	d.mu.Lock()
	old := d.handle
	d.version++
	version := smb2.AppInstanceVersion{High: 1, Low: d.version}
	if old != nil {
		old.host.mu.Lock()
		old.leaving = true
		old.host.mu.Unlock()
	}
	d.mu.Unlock()
	f := &handle{
		name: d.name(), guid: dtyp.NewGUID(), persistent: true,
		lease: &smb2.Lease{V2: true, Key: smb2.LeaseKey{0: byte(d.id), 1: h.guid[15], 2: byte(version.Low), 3: byte(version.Low >> 8)}},
		request: func() *smb2.CreateRequest {
			m := client.OpenFile(d.name())
			m.CreateOptions |= smb2.OptionNoIntermediateBuffering
			m = client.WithContext(m, smb2.ContextAppInstanceID, &smb2.AppInstanceID{ID: d.app})
			return client.WithContext(m, smb2.ContextAppInstanceVersion, &version)
		},
	}
	if err := h.open(f); err != nil {
		return fmt.Errorf("%s opens %s: %w", h.name, d.name(), err)
	}
	d.mu.Lock()
	close(d.moved)
	d.handle, d.moved = f, make(chan struct{})
	d.mu.Unlock()
	d.freed.Broadcast()
	if old != nil {
		old.host.forget(old)
	}
	return nil
}

// current is the handle to use, and what is closed when it is no longer.
func (d *disk) current() (*handle, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.handle, d.moved
}

// take claims blocks for a request that no other one concerns.
func (d *disk) take(rng *rand.Rand) (first, n int) {
	n = 1 + rng.IntN(4)
	if rng.IntN(8) == 0 {
		n = 1 + rng.IntN(longest)
	}
	first = rng.IntN(blocks - n + 1)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.claim(first, n)
	return first, n
}

// claim waits for blocks. Caller holds mu.
func (d *disk) claim(first, n int) {
	for !d.free(first, n) {
		d.freed.Wait()
	}
	for i := range n {
		d.block[first+i].busy = true
	}
}

func (d *disk) free(first, n int) bool {
	for _, b := range d.block[first : first+n] {
		if b.busy {
			return false
		}
	}
	return true
}

func (d *disk) known(first, n int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.block[first : first+n] {
		if b.maybe != 0 {
			return false
		}
	}
	return true
}

func (d *disk) release(first, n int) {
	for i := range n {
		d.block[first+i].busy = false
	}
}

// work keeps one request outstanding until stop is closed.
func (d *disk) work(i int, stop <-chan struct{}) {
	rng := d.rngs[i]
	for {
		select {
		case <-stop:
			return
		default:
		}
		first, n := d.take(rng)
		began := time.Now()
		// What a write without acknowledgement has left is looked at before the next one.
		if rng.IntN(100) < 60 && d.known(first, n) {
			d.write(first, n)
		} else {
			d.read(first, n)
		}
		d.rig.took(d, began)
	}
}

// write overwrites blocks that the caller has claimed.
func (d *disk) write(first, n int) {
	f, moved := d.current()
	d.mu.Lock()
	d.seq++
	seq := d.seq
	d.note(f, "write", first, n, seq, "sent")
	d.mu.Unlock()
	p := make([]byte, n*blockSize)
	for i := range n {
		crash.Stamp(p[i*blockSize:(i+1)*blockSize], d.id, uint64(first+i), seq)
	}
	var out smb2.WriteResponse
	err := f.call(func(id smb2.FileID) smb2.Message {
		return &smb2.WriteRequest{FileID: id, Offset: uint64(first * blockSize), Data: p}
	}, &out, moved)
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.freed.Broadcast()
	defer d.release(first, n)
	d.note(f, "write", first, n, seq, fmt.Sprint(err))
	switch {
	case err == nil && int(out.Count) == len(p):
		for i := range n {
			d.block[first+i].acked, d.block[first+i].maybe = seq, 0
		}
		d.rig.count("writes")
		return
	case err == errGone, err == ntstatus.DiskFull:
		// Not acknowledged: what it shows, the next reader sees.
		for i := range n {
			d.block[first+i].maybe = seq
		}
		d.rig.count(map[bool]string{true: "writes cut off by a move", false: "writes refused by a full disk"}[err == errGone])
		return
	}
	d.rig.violation("disk %d: write of %d bytes: %d, %v", d.id, len(p), out.Count, err)
}

// read checks blocks that the caller has claimed.
func (d *disk) read(first, n int) {
	var out smb2.ReadResponse
	var f *handle
	for {
		var moved <-chan struct{}
		f, moved = d.current()
		err := f.call(func(id smb2.FileID) smb2.Message {
			return &smb2.ReadRequest{FileID: id, Offset: uint64(first * blockSize), Length: uint32(n * blockSize)}
		}, &out, moved)
		if err == errGone {
			select {
			case <-moved:
			case <-d.rig.over:
				d.mu.Lock()
				d.release(first, n)
				d.mu.Unlock()
				return
			}
			continue
		}
		if err != nil {
			d.rig.violation("disk %d: read of block %d: %v", d.id, first, err)
		}
		break
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.freed.Broadcast()
	defer d.release(first, n)
	if len(out.Data) != n*blockSize {
		d.rig.violation("disk %d: read %d bytes at block %d, not %d", d.id, len(out.Data), first, n*blockSize)
		return
	}
	for i := range n {
		d.compare(f, first+i, out.Data[i*blockSize:(i+1)*blockSize])
	}
	d.rig.count("reads")
}

// compare holds a block against the log. Caller holds mu.
func (d *disk) compare(f *handle, at int, p []byte) {
	b := &d.block[at]
	seq, err := crash.Inspect(p, d.id, uint64(at))
	switch {
	case err != nil:
		d.rig.violation("disk %d block %d: torn: %v\n%s", d.id, at, err, d.history(at))
	case seq == b.acked:
		if b.maybe != 0 {
			d.note(f, "read", at, 1, seq, "shows the old write")
		}
	case seq == b.maybe:
		d.note(f, "read", at, 1, seq, "shows the new write")
		b.acked = seq
	case seq < b.acked:
		d.rig.violation("disk %d block %d: lost: shows write %d, acknowledged is %d\n%s", d.id, at, seq, b.acked, d.history(at))
	default:
		d.rig.violation("disk %d block %d: shows write %d, not %d\n%s", d.id, at, seq, b.acked, d.history(at))
	}
	// Once seen it is what the block shows: a write without acknowledgement must not land later.
	b.maybe = 0
}

// verify reads the whole disk.
func (d *disk) verify() {
	for first := 0; first < blocks; first += 64 {
		d.mu.Lock()
		d.claim(first, 64)
		d.mu.Unlock()
		d.read(first, 64)
	}
}

// note writes a line into the log. Caller holds mu.
func (d *disk) note(f *handle, what string, first, n int, seq uint64, result string) {
	d.log[d.logged%len(d.log)] = logEntry{time.Now(), f.host.name, what, first, n, seq, result}
	d.logged++
}

// history is what the log says of a block. Caller holds mu.
func (d *disk) history(at int) (text string) {
	for i := max(0, d.logged-len(d.log)); i < d.logged; i++ {
		if e := d.log[i%len(d.log)]; e.first <= at && at < e.first+e.n {
			text += fmt.Sprintf("  %s %s %s [%d,+%d) %d: %s\n", e.at.Format("15:04:05.000000"), e.host, e.what, e.first, e.n, e.seq, e.result)
		}
	}
	return text + d.rig.recent()
}
