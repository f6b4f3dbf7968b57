package block

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/protocol/dtyp"
	"gabion/store"
)

// ticking is a clock that a test moves.
type ticking struct{ t time.Time }

func (c *ticking) now() time.Time                   { return c.t }
func (c *ticking) in(d time.Duration) dtyp.Filetime { return dtyp.FiletimeOf(c.t.Add(d)) }

func addPin(t testing.TB, v *Volume, name string, s store.Stream, n int64, until dtyp.Filetime) {
	t.Helper()
	p := store.Pin{Range: store.Range{Len: n}, Expires: until}
	copy(p.ID[:], name)
	if _, pos, err := v.Pins().Add(p, s); err != nil || v.Wait(pos) != nil {
		t.Fatal(err)
	}
}

func usePin(v *Volume, name string) (store.Stream, error) {
	var id store.PinID
	copy(id[:], name)
	_, s, err := v.Pins().Use(id)
	return s, err
}

// finish does all background work.
func finish(t testing.TB, v *Volume) {
	t.Helper()
	for {
		if more, err := v.Step(); err != nil {
			t.Fatal(err)
		} else if !more {
			return
		}
	}
}

func checkVolume(t testing.TB, v *Volume) {
	t.Helper()
	if err := verify(v); err != nil {
		t.Error(err)
	}
}

// A pin outlives the process, its file and its time's changes; what it held goes with it.
func TestPinLife(t *testing.T) {
	fs, clock := vfs.NewMem(), &ticking{time.Now()}
	open := func() *Volume {
		v, err := Open(Options{Dir: "vol", FS: fs, SegmentSize: 256 << 10, Manual: true, Now: clock.now})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := open()
	n, s := newFile(t, v, "f")
	want := bytes.Repeat([]byte("pinned! "), 64<<10)
	if _, err := s.WriteAt(want, 0, store.Touch{}); err != nil {
		t.Fatal(err)
	}
	addPin(t, v, "a", s, int64(len(want)), clock.in(time.Minute))
	root, _ := v.Root(store.Live)
	if _, err := v.Unlink(root, "f"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	n.Close()
	root.Close()
	finish(t, v)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v = open()
	defer func() { v.Close() }()
	finish(t, v)
	held, err := usePin(v, "a")
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := held.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("a restart changed what is pinned (%v)", err)
	}
	clock.t = clock.t.Add(time.Minute)
	finish(t, v)
	if _, err := usePin(v, "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an expired pin: %v", err)
	}
	if _, err := held.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the pin expired under its user (%v)", err)
	}
	held.Close()
	finish(t, v)
	if st := v.Stats(); st.LiveBytes != 0 || st.Snapshots != 0 {
		t.Errorf("%d bytes and %d snapshots are left of an expired pin", st.LiveBytes, st.Snapshots)
	}
	checkVolume(t, v)
}

// Pins give way before a write is refused, the oldest first, and no more than needed.
func TestPinEviction(t *testing.T) {
	clock := &ticking{time.Now()}
	v, err := Open(Options{Dir: "vol", FS: vfs.NewMem(), SegmentSize: 256 << 10, Capacity: 16 << 20, Manual: true, Now: clock.now})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	_, s := newFile(t, v, "disk")
	const size = 4 << 20
	fill := func(round uint64) {
		t.Helper()
		for b := 0; b < size/blockSize; b++ {
			if _, err := s.WriteAt(stamp(b, round), int64(b)*blockSize, store.Touch{}); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
	}
	const rounds = 12 // of 4 MiB each, all pinned: three times what there is
	for i := range uint64(rounds) {
		fill(i)
		clock.t = clock.t.Add(time.Second)
		addPin(t, v, fmt.Sprint("p", i), s, size, clock.in(time.Hour))
	}
	list, err := v.Pins().List()
	if err != nil || len(list) == 0 || len(list) == rounds {
		t.Fatalf("%d pins left, %v", len(list), err)
	}
	for i := range uint64(rounds) {
		held, err := usePin(v, fmt.Sprint("p", i))
		if gone := int(i) < rounds-len(list); gone != (err != nil) {
			t.Errorf("of %d pins pin %d: %v", len(list), i, err)
		}
		if err != nil {
			continue
		}
		p := make([]byte, blockSize)
		for b := 0; b < size/blockSize; b++ {
			if _, err := held.ReadAt(p, int64(b)*blockSize); err != nil || !bytes.Equal(p, stamp(b, i)) {
				t.Fatalf("pin %d, block %d: %v", i, b, err)
			}
		}
		held.Close()
	}
	// A reservation makes them go too.
	if _, err := s.SetAllocation(15<<20, store.Touch{}); err != nil {
		t.Error(err)
	}
	checkVolume(t, v)
}

// A handle outlives its snapshot, and so does a clone of it; a pin, which would have to keep the
// snapshot, is refused.
func TestCloneOfDeletedSnapshot(t *testing.T) {
	v := openMem(t, vfs.NewMem())
	defer v.Close()
	n, s := newFile(t, v, "f")
	data := make([]byte, chunkSize)
	for i := range int64(2 * fewChunks) {
		if _, err := s.WriteAt(append(stamp(int(i), 1), data[blockSize:]...), i*chunkSize, store.Touch{}); err != nil {
			t.Fatal(err)
		}
	}
	sn, _, err := v.Snapshots().Create("s", []store.FileID{n.ID()})
	if err != nil {
		t.Fatal(err)
	}
	old, err := v.OpenID(sn.View, n.ID())
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	from, err := old.Data()
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	if _, err := v.Snapshots().Delete(sn.View); err != nil {
		t.Fatal(err)
	}
	_, to := newFile(t, v, "g")
	if _, err := to.CloneFrom(0, from, 0, 2*fewChunks*chunkSize, store.Touch{}); err != nil {
		t.Errorf("clone of a snapshot that is being deleted: %v", err)
	}
	if _, _, err := v.Pins().Add(store.Pin{Expires: dtyp.FiletimeOf(time.Now().Add(time.Hour))}, from); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("pin of a snapshot that is being deleted: %v", err)
	}
	from.Close()
	old.Close()
	for more := true; more; {
		if more, err = v.Step(); err != nil {
			t.Fatal(err)
		}
	}
	p := make([]byte, blockSize)
	for i := range int64(2 * fewChunks) {
		if _, err := to.ReadAt(p, i*chunkSize); err != nil || !bytes.Equal(p, stamp(int(i), 1)) {
			t.Fatalf("chunk %d of the clone: %v", i, err)
		}
	}
	checkVolume(t, v)
}

// What pins keep beside the live files counts as held by snapshots.
func TestPinsCountAsHeld(t *testing.T) {
	v, err := Open(Options{Dir: "vol", FS: vfs.NewMem(), SegmentSize: 1 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	held := func(what string, want int64) {
		t.Helper()
		finish(t, v)
		if got := v.Space().SnapshotHeld; got != want {
			t.Errorf("%s: %d bytes are held, want %d", what, got, want)
		}
	}
	n, s := newFile(t, v, "f")
	const blocks = 3000
	for b := range blocks {
		if _, err := s.WriteAt(stamp(b, 0), int64(b)*blockSize, store.Touch{}); err != nil {
			t.Fatal(err)
		}
	}
	held("no pin", 0)
	addPin(t, v, "p", s, blocks*blockSize, dtyp.FiletimeOf(time.Now().Add(time.Hour)))
	held("a pin of what is there", 0)
	for b := 100; b < 1100; b++ {
		if _, err := s.WriteAt(stamp(b, 1), int64(b)*blockSize, store.Touch{}); err != nil {
			t.Fatal(err)
		}
	}
	held("a third was overwritten", 1000*blockSize)
	if _, err := s.SetSize(blockSize, store.Touch{}); err != nil {
		t.Fatal(err)
	}
	held("all but a block is gone", (blocks-1)*blockSize)
	root, _ := v.Root(store.Live)
	if _, err := v.Unlink(root, "f"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	n.Close()
	root.Close()
	held("the file is gone", blocks*blockSize)
	if _, err := v.Pins().Release(store.PinID{'p'}); err != nil {
		t.Fatal(err)
	}
	held("the pin is gone", 0)
}
