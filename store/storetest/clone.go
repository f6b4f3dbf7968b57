package storetest

import (
	"bytes"

	"gabion/store"
)

func (k *kit) clone(to store.Stream, dst int64, from store.Stream, src, n int64) {
	k.Helper()
	_, err := to.CloneFrom(dst, from, src, n, store.Touch{})
	k.ok(err)
}

func testClone(k *kit) {
	a, b := k.data(k.file(k.root, "a")), k.data(k.file(k.root, "b"))
	p := pattern(1, 1<<20+777)
	k.write(a, p, 0)
	k.clone(b, 0, a, 0, int64(len(p))) // up to the source's size, which is not aligned
	k.holds(b, p)
	want := bytes.Clone(p)
	copy(want[8192:], p[65536:65536+40960])
	k.clone(b, 8192, a, 65536, 40960)
	k.holds(b, want)
	// Beyond the end the target grows.
	k.clone(b, 2<<20, a, 4096, 4096)
	want = append(want, make([]byte, 2<<20-len(want))...)
	want = append(want, p[4096:8192]...)
	k.holds(b, want)
	if v := b.Sizes().ValidData; v != int64(len(want)) {
		k.Errorf("valid data length %d, want %d", v, len(want))
	}
	k.ok(k.v.Sync())
	k.holds(a, p)
	k.holds(b, want)
}

func testCloneIndependent(k *kit) {
	an := k.file(k.root, "a")
	a, b, c := k.data(an), k.data(k.file(k.root, "b")), k.stream(an, "c")
	p := pattern(1, 256<<10)
	k.write(a, p, 0)
	k.clone(b, 0, a, 0, 256<<10)
	k.clone(c, 0, b, 0, 256<<10)
	k.write(a, pattern(2, 9999), 5001)
	k.holds(b, p)
	k.holds(c, p)
	wantB := bytes.Clone(p)
	copy(wantB[100001:], pattern(3, 777))
	k.write(b, pattern(3, 777), 100001)
	k.holds(b, wantB)
	k.holds(c, p)
	wantA := bytes.Clone(p)
	copy(wantA[5001:], pattern(2, 9999))
	k.holds(a, wantA)
	// The source may go.
	_, err := a.SetSize(0, store.Touch{})
	k.ok(err)
	_, err = k.v.Unlink(k.root, "b")
	k.ok(err)
	k.ok(k.v.Sync())
	k.holds(c, p)
}

func testCloneSelf(k *kit) {
	s := k.data(k.file(k.root, "f"))
	p := pattern(1, 64<<10)
	k.write(s, p, 0)
	k.clone(s, 32<<10, s, 0, 32<<10)
	copy(p[32<<10:], p[:32<<10])
	k.holds(s, p)
	k.clone(s, 64<<10, s, 4096, 8192)
	p = append(p, p[4096:4096+8192]...)
	k.holds(s, p)
	for _, c := range [][3]int64{{0, 0, 4096}, {4096, 0, 8192}, {0, 4096, 8192}} {
		_, err := s.CloneFrom(c[0], s, c[1], c[2], store.Touch{})
		k.fails(err, store.ErrInvalid)
	}
	k.holds(s, p)
}

func testCloneHole(k *kit) {
	a, b := k.data(k.file(k.root, "a")), k.data(k.file(k.root, "b"))
	_, err := a.SetSize(1<<40, store.Touch{})
	k.ok(err)
	k.write(a, []byte("middle"), 512<<30)
	k.write(b, pattern(1, 1<<20), 0)
	k.clone(b, 0, a, 0, 1<<40)
	if z := b.Sizes(); z.Size != 1<<40 {
		k.Errorf("sizes %+v", z)
	}
	if got := k.read(b, 0, 1<<20); !bytes.Equal(got, make([]byte, 1<<20)) {
		k.Error("the hole did not replace the data")
	}
	if got := k.read(b, 512<<30, 6); string(got) != "middle" {
		k.Errorf("middle holds %q", got)
	}
	rs, err := b.Allocated(0, 1<<40, nil)
	k.ok(err)
	if total(rs) > 1<<20 || !covers(rs, 512<<30, 512<<30+6) {
		k.Errorf("allocated %v", rs)
	}
}

// A long chain of clones, each changed a little, while the older ones go.
func testCloneChain(k *kit) {
	want := pattern(1, 128<<10)
	last := k.data(k.file(k.root, "f"))
	k.write(last, want, 0)
	for i := range 40 {
		name := string(rune('a'+i%26)) + string(rune('0'+i/26))
		next := k.data(k.file(k.root, name))
		k.clone(next, 0, last, 0, 128<<10)
		at := i * 3331
		k.write(next, pattern(uint64(i), 100), int64(at%(128<<10-100)))
		copy(want[at%(128<<10-100):], pattern(uint64(i), 100))
		if i%3 == 0 {
			_, err := last.SetSize(0, store.Touch{})
			k.ok(err)
		}
		k.holds(next, want)
		last = next
	}
}

func testCloneInvalid(k *kit) {
	a, b := k.data(k.file(k.root, "a")), k.data(k.file(k.root, "b"))
	k.write(a, pattern(1, 10000), 0)
	k.write(b, pattern(2, 20000), 0)
	for _, c := range []struct {
		err         error
		dst, src, n int64
	}{
		{store.ErrInvalid, 1, 0, 4096},
		{store.ErrInvalid, 0, 512, 4096},
		{store.ErrInvalid, 0, 0, 100},
		{store.ErrInvalid, 0, 8192, 4096}, // past the source's size
		{store.ErrInvalid, 0, 1 << 20, 4096},
		{store.ErrInvalid, -4096, 0, 4096},
		{store.ErrInvalid, 0, -4096, 4096},
		{store.ErrInvalid, 0, 0, -4096},
		{store.ErrTooLarge, store.MaxSize - 4096, 0, 8192},
	} {
		_, err := b.CloneFrom(c.dst, a, c.src, c.n, store.Touch{})
		if k.fails(err, c.err); err == nil {
			k.Errorf("%+v", c)
		}
	}
	k.clone(b, 0, a, 0, 0)
	k.holds(b, pattern(2, 20000))
}

func testCloneFromSnapshot(k *kit) {
	n := k.file(k.root, "a")
	a := k.data(n)
	p := pattern(1, 100<<10)
	k.write(a, p, 0)
	v := k.snap("s")
	k.write(a, pattern(2, 100<<10), 0)
	old := k.data(k.in(v, n.ID()))
	b := k.data(k.file(k.root, "b"))
	k.clone(b, 0, old, 0, 100<<10)
	k.holds(b, p)
	// Onto the file itself: ranges of another view do not overlap.
	k.clone(a, 0, old, 0, 50<<10&^4095)
	k.holds(a, append(bytes.Clone(p[:50<<10&^4095]), pattern(2, 100<<10)[50<<10&^4095:]...))
	_, err := k.v.Snapshots().Delete(v)
	k.ok(err)
	k.ok(k.v.Sync())
	k.holds(b, p)
	_, err = old.CloneFrom(0, a, 0, 4096, store.Touch{})
	k.fails(err, store.ErrReadOnly)
}
