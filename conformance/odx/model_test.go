package odx

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// world is files and tokens on the server, and what they must hold.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	trees []*client.Tree
	names []string
	files []*client.File // one handle each, of changing sessions
	data  [][]byte
	held  []held
	log   []string
}

// held is a token and the bytes that it stands for.
type held struct {
	token [512]byte
	bytes []byte
}

const fileSize = 640 << 10 // three chunks of the store, the last not full

// fatal ends the world, whose goroutine this is, and with it the test when the others are through.
func (w *world) fatal(format string, args ...any) {
	w.t.Helper()
	w.t.Errorf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(w.log, "\n"))
	runtime.Goexit()
}

func (w *world) ok(err error) {
	if err != nil {
		w.t.Helper()
		w.fatal("%v", err)
	}
}

func (w *world) did(format string, args ...any) { w.log = append(w.log, fmt.Sprintf(format, args...)) }

func newWorld(t *testing.T, seed uint64, trees []*client.Tree) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), trees: trees}
	w.did("seed %d", seed)
	for i := range 3 {
		w.names = append(w.names, fmt.Sprintf("f%d-%d", seed, i))
		w.files = append(w.files, nil)
		w.data = append(w.data, nil)
		w.reopen(i)
		size := []int{fileSize, fileSize, 70_000}[i]
		w.data[i] = random(seed*3+uint64(i), size)
		if w.rng.IntN(3) == 0 { // a hole in the middle, or none
			clear(w.data[i][size/4 : size/2])
			_, err := w.files[i].WriteAt(w.data[i][:size/4], 0)
			w.ok(err)
			_, err = w.files[i].WriteAt(w.data[i][size/2:], int64(size/2))
			w.ok(err)
		} else {
			_, err := w.files[i].WriteAt(w.data[i], 0)
			w.ok(err)
		}
	}
	return w
}

// reopen opens a file in some session, closing what was open.
func (w *world) reopen(i int) {
	if w.files[i] != nil {
		w.ok(w.files[i].Close())
	}
	f, err := w.trees[w.rng.IntN(len(w.trees))].Create(client.OpenFile(w.names[i]))
	w.ok(err)
	w.files[i] = f
}

// within chooses a range in whole units of a file.
func (w *world) within(size, unit int) (off, n int) {
	off = w.rng.IntN(max(size/unit, 1)) * unit
	if w.rng.IntN(3) == 0 {
		off = off / 4096 * 4096
	}
	n = (1 + w.rng.IntN(64)) * unit
	switch w.rng.IntN(4) {
	case 0:
		n = (size - off + unit - 1) / unit * unit
	case 1:
		n = (1 + w.rng.IntN(1024)) * unit
	}
	return off, max(n, unit)
}

func (w *world) step() {
	i := w.rng.IntN(len(w.files))
	f, data := w.files[i], w.data[i]
	switch w.rng.IntN(12) {
	case 0, 1:
		off, n := w.within(len(data), 1)
		n = min(n, 1<<16)
		p := random(w.rng.Uint64(), n)
		w.did("write %d [%d,+%d)", i, off, n)
		_, err := f.WriteAt(p, int64(off))
		w.ok(err)
		w.data[i] = append(data[:min(off, len(data))], append(p, data[min(off+n, len(data)):]...)...)
	case 2, 3, 4:
		w.read(i)
	case 5, 6, 7, 8:
		w.write(i)
	case 9:
		w.did("reopen %d", i)
		w.reopen(i)
	case 10:
		size := w.rng.IntN(fileSize)
		w.did("truncate %d to %d", i, size)
		w.ok(Truncate(f, int64(size)))
		w.data[i] = append(data[:min(size, len(data))], make([]byte, max(size-len(data), 0))...)
	case 11:
		if w.rng.IntN(2) == 0 {
			w.did("remove %d", i)
			w.ok(f.SetInfo(smb2.InfoFile, uint8(fscc.FileDispositionInformation), 0, []byte{1}))
			w.data[i] = nil
			w.reopen(i)
			return
		}
		off, n := w.within(len(data), 4096)
		n = min(n, max(len(data)-off, 0))
		w.did("zero %d [%d,+%d)", i, off, n)
		_, err := f.Ioctl(uint32(fscc.FsctlSetZeroData), (&fscc.ZeroData{FileOffset: int64(off), BeyondFinalZero: int64(off + n)}).Append(nil), 0)
		w.ok(err)
		if n > 0 {
			clear(data[off : off+n])
		}
	}
}

func (w *world) read(i int) {
	data := w.data[i]
	off, n := w.within(len(data), Sector)
	out, err := Read(w.files[i], uint64(off), uint64(n), 0)
	w.did("read %d [%d,+%d) of %d: %v, %d bytes, flags %d", i, off, n, len(data), err, out.TransferLength, out.Flags)
	if off >= len(data) {
		if err != ntstatus.EndOfFile {
			w.fatal("OFFLOAD_READ past the end: %v", err)
		}
		return
	}
	w.ok(err)
	k := int(out.TransferLength)
	if k == 0 || k > n || k%Sector != 0 {
		w.fatal("a transfer of %d bytes of %d", k, n)
	}
	p := make([]byte, k)
	copy(p, data[off:])
	if out.Flags&fscc.OffloadReadAllZeroBeyondCurrentRange != 0 && off+k < len(data) && !bytes.Equal(data[off+k:], make([]byte, len(data)-off-k)) {
		w.fatal("zeros are promised where there is data")
	}
	w.held = append(w.held, held{out.Token, p})
}

func (w *world) write(i int) {
	data := w.data[i]
	h := held{ZeroToken(), nil}
	if len(w.held) > 0 && w.rng.IntN(8) > 0 {
		h = w.held[w.rng.IntN(len(w.held))]
	}
	off, n := w.within(len(data), Sector)
	from := 0
	if len(h.bytes) > 0 && h.token != ZeroToken() {
		from, n = w.within(len(h.bytes), Sector)
		if w.rng.IntN(2) == 0 {
			off = (off &^ 4095) + from&4095
		}
	}
	written, err := Write(w.files[i], uint64(off), uint64(n), uint64(from), h.token)
	w.did("write %d [%d,+%d) from %d of a token for %d: %v, %d bytes", i, off, n, from, len(h.bytes), err, written)
	if off >= len(data) {
		if err != ntstatus.EndOfFile {
			w.fatal("OFFLOAD_WRITE past the end: %v", err)
		}
		return
	}
	if err == ntstatus.BeyondVdl {
		return // after a truncation upwards; what is there stays
	}
	w.ok(err)
	k := int(written)
	if k == 0 || k > n || k%Sector != 0 {
		w.fatal("%d bytes written of %d", k, n)
	}
	for b := off; b < min(off+k, len(data)); b++ {
		v := byte(0)
		if at := from + b - off; h.token != ZeroToken() && at < len(h.bytes) {
			v = h.bytes[at]
		}
		data[b] = v
	}
}

// verify compares every file.
func (w *world) verify() {
	for i, f := range w.files {
		got := make([]byte, len(w.data[i])+1)
		n, _ := f.ReadAt(got, 0)
		if !bytes.Equal(got[:n], w.data[i]) {
			at := 0
			for at < min(n, len(w.data[i])) && got[at] == w.data[i][at] {
				at++
			}
			w.fatal("file %d has %d bytes, want %d, and differs from byte %d on", i, n, len(w.data[i]), at)
		}
	}
}

// A thousand random interleavings of writes, truncations, removals, reopening and offloaded
// transfers by two sessions: every token stands for the bytes of its instant. Some go on beside each
// other, so that one sync of a slow disk is for several.
func TestInterleavings(t *testing.T) {
	s := rig.Start(t, "--share", "vms")
	const atOnce, batch = 8, 50
	runs := 1000
	if testing.Short() {
		runs = 100
	}
	var trees [atOnce][]*client.Tree
	for i := range trees {
		trees[i] = []*client.Tree{connect(t, s, "vms"), connect(t, s, "vms")}
	}
	for first := 0; first < runs && !t.Failed(); first += batch {
		var wg sync.WaitGroup
		for i := range atOnce {
			wg.Go(func() {
				for seed := first + i; seed < first+batch; seed += atOnce {
					newWorld(t, uint64(seed), trees[i]).live()
				}
			})
		}
		wg.Wait()
		ask(t, s, nil, "offload", "revoke", "all")
	}
	must(t, s.Stop())
	if out, stderr, err := s.Command("check"); err != nil {
		t.Errorf("check: %v\n%s%s", err, out, stderr)
	}
}

// live is all that happens in a world.
func (w *world) live() {
	for range 24 {
		w.step()
	}
	w.verify()
	for i, f := range w.files {
		w.ok(f.SetInfo(smb2.InfoFile, uint8(fscc.FileDispositionInformation), 0, []byte{1}))
		w.ok(f.Close())
		w.files[i] = nil
	}
}
