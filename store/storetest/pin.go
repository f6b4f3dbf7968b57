package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"gabion/protocol/dtyp"
	"gabion/store"
)

// pinID makes different ids of different numbers.
func pinID(n int) (id store.PinID) {
	copy(id[:], fmt.Sprintf("pin%013d", n))
	return id
}

func in(d time.Duration) dtyp.Filetime { return dtyp.FiletimeOf(time.Now().Add(d)) }

func (k *kit) pin(n int, s store.Stream, off, length int64) store.Pin {
	k.Helper()
	p, pos, err := k.v.Pins().Add(store.Pin{ID: pinID(n), Range: store.Range{Off: off, Len: length}, Expires: in(time.Hour), Note: []byte("note")}, s)
	k.ok(err)
	k.ok(k.v.Wait(pos))
	return p
}

// use opens a pin's stream.
func (k *kit) use(n int) (store.Pin, store.Stream) {
	k.Helper()
	p, s, err := k.v.Pins().Use(pinID(n))
	k.ok(err)
	k.Cleanup(s.Close)
	return p, s
}

// What a pin holds outlives writes, truncation and the file.
func testPinStable(k *kit) {
	n := k.file(k.root, "f")
	s := k.data(n)
	p := pattern(1, 1<<20+777)
	k.write(s, p, 0)
	got := k.pin(1, s, 4096, 1<<20-4096)
	if got.File != n.ID() || got.Taken == 0 || got.Range.Off != 4096 {
		k.Errorf("pin %+v", got)
	}
	k.write(s, pattern(2, 300<<10), 5000)
	_, old := k.use(1)
	k.holds(old, p)
	_, err := s.SetSize(100, store.Touch{})
	k.ok(err)
	k.holds(old, p)
	_, err = k.v.Unlink(k.root, "f")
	k.ok(err)
	s.Close()
	n.Close()
	k.ok(k.v.Sync())
	info, again := k.use(1)
	k.holds(again, p)
	if string(info.Note) != "note" || info.Stream != "" || info.Taken != got.Taken {
		k.Errorf("pin %+v", info)
	}
	_, err = again.WriteAt([]byte("x"), 0, store.Touch{})
	k.fails(err, store.ErrReadOnly)
}

func testPinClone(k *kit) {
	a := k.data(k.file(k.root, "a"))
	p := pattern(1, 40<<20)
	k.write(a, p, 0)
	k.pin(1, a, 0, int64(len(p)))
	k.write(a, pattern(2, 1<<20), 3<<20)
	_, old := k.use(1)
	b := k.data(k.file(k.root, "b"))
	k.clone(b, 0, old, 0, int64(len(p)))
	// Onto the source itself, and once more in parts.
	k.clone(a, 0, old, 0, 20<<20)
	c := k.data(k.file(k.root, "c"))
	k.clone(c, 8<<20, old, 4<<20, 8<<20)
	_, err := k.v.Pins().Release(pinID(1))
	k.ok(err)
	old.Close()
	k.ok(k.v.Sync())
	k.holds(b, p)
	k.holds(a, p)
	k.holds(c, append(make([]byte, 8<<20), p[4<<20:12<<20]...))
	k.ok(k.v.Sync())
}

func testPinStreams(k *kit) {
	n := k.file(k.root, "f")
	s := k.stream(n, "ads")
	k.write(k.data(n), pattern(3, 5000), 0)
	k.write(s, pattern(1, 100_000), 0)
	k.pin(1, s, 0, 100_000)
	_, err := n.RenameStream("ads", "other", false)
	k.ok(err)
	k.write(s, pattern(2, 100_000), 0)
	info, old := k.use(1)
	k.holds(old, pattern(1, 100_000))
	if info.Stream != "ads" {
		k.Errorf("pin of stream %q", info.Stream)
	}
	// What a snapshot shows may be pinned too, and outlives the snapshot.
	v := k.snap("s")
	k.write(s, pattern(4, 100_000), 0)
	then, err := k.in(v, n.ID()).Stream("other")
	k.ok(err)
	defer then.Close()
	k.pin(2, then, 0, 50_000)
	_, err = k.v.Snapshots().Delete(v)
	k.ok(err)
	_, old = k.use(2)
	k.holds(old, pattern(2, 100_000))
}

func testPinGone(k *kit) {
	n := k.file(k.root, "f")
	s := k.data(n)
	k.write(s, pattern(1, 10_000), 0)
	ps := k.v.Pins()
	k.pin(1, s, 0, 10_000)
	_, _, err := ps.Add(store.Pin{ID: pinID(1), Expires: in(time.Hour)}, s)
	k.fails(err, store.ErrExist)
	_, _, err = ps.Add(store.Pin{ID: pinID(2), Range: store.Range{Off: 8192, Len: 4096}, Expires: in(time.Hour)}, s)
	k.fails(err, store.ErrInvalid)
	// A use outlives the pin.
	_, old := k.use(1)
	pos, err := ps.Release(pinID(1))
	k.ok(err)
	k.ok(k.v.Wait(pos))
	k.write(s, pattern(2, 10_000), 0)
	k.holds(old, pattern(1, 10_000))
	_, _, err = ps.Use(pinID(1))
	k.fails(err, store.ErrNotFound)
	_, err = ps.Release(pinID(1))
	k.fails(err, store.ErrNotFound)
	_, err = ps.Renew(pinID(1), in(time.Hour))
	k.fails(err, store.ErrNotFound)
	// What has expired is gone; renewing keeps it.
	k.pin(3, s, 0, 4096)
	k.pin(4, s, 0, 4096)
	_, err = ps.Renew(pinID(3), in(-time.Second))
	k.ok(err)
	_, _, err = ps.Use(pinID(3))
	k.fails(err, store.ErrNotFound)
	list, err := ps.List()
	k.ok(err)
	if len(list) != 1 || list[0].ID != pinID(4) {
		k.Errorf("left are %v", list)
	}
}

// The number of pins is bounded: the oldest go.
func testPinBound(k *kit) {
	s := k.data(k.file(k.root, "f"))
	want := pattern(1, 8192)
	k.write(s, want, 0)
	const extra = 3
	for i := range store.MaxPins + extra {
		_, _, err := k.v.Pins().Add(store.Pin{ID: pinID(i), Range: store.Range{Len: 8192}, Expires: in(time.Hour)}, s)
		k.ok(err)
		if i == extra+1 {
			k.write(s, pattern(2, 100), 0) // pins before and after it differ
		}
	}
	list, err := k.v.Pins().List()
	k.ok(err)
	if len(list) != store.MaxPins || !slices.IsSortedFunc(list, func(a, b store.Pin) int { return int(int64(a.Taken) - int64(b.Taken)) }) {
		k.Errorf("%d pins left", len(list))
	}
	for i := range extra {
		_, _, err := k.v.Pins().Use(pinID(i))
		k.fails(err, store.ErrNotFound)
	}
	_, first := k.use(extra)
	k.holds(first, want)
	_, last := k.use(extra + 2)
	copy(want, pattern(2, 100))
	if got := k.read(last, 0, 8192); !bytes.Equal(got, want) {
		k.Error("the later pin shows the earlier state")
	}
}
