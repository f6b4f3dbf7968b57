package storetest

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"sync"

	"gabion/store"
)

const block = 4096

func testWrite(k *kit) {
	s := k.data(k.file(k.root, "f"))
	if z := s.Sizes(); z.Size != 0 || z.ValidData != 0 {
		k.Errorf("new stream has %+v", z)
	}
	want := pattern(1, 3<<20)
	k.write(s, want, 0)
	k.holds(s, want)
	if z := s.Sizes(); z.ValidData != 3<<20 || z.Allocated < 3<<20 {
		k.Errorf("sizes %+v", z)
	}
	copy(want[1<<20:], pattern(2, 64<<10))
	k.write(s, pattern(2, 64<<10), 1<<20)
	k.holds(s, want)
	if st, ok := s.(store.Streamer); ok {
		copy(want[600<<10:], pattern(3, 2<<20))
		_, err := st.StreamAt(pattern(3, 2<<20), 600<<10, store.Touch{})
		k.ok(err)
		k.holds(s, want)
	}
	if st, ok := s.(store.Summed); ok {
		for i, n := range []int{1 << 20, 64<<10 + 100, 4095} { // the last block is whole or not
			p := pattern(uint64(4+i), n)
			copy(want[256<<10:], p)
			_, err := st.WriteSummed(p, sumsOf(p), 256<<10, store.Touch{})
			k.ok(err)
			k.holds(s, want)
		}
	}
	k.ok(k.v.Sync())
	k.holds(s, want)
	// A second Node of the file is the same file.
	k.holds(k.data(k.in(store.Live, k.fileID("f"))), want)
	k.write(s, nil, 10<<20)
	k.holds(s, want)
}

// sumsOf returns what store.Summed asks for.
func sumsOf(p []byte) []uint32 {
	var sums []uint32
	for ; len(p) >= 4<<10; p = p[4<<10:] {
		sums = append(sums, crc32.Checksum(p[:4<<10], crc32.MakeTable(crc32.Castagnoli)))
	}
	return sums
}

func (k *kit) fileID(name string) store.FileID {
	k.Helper()
	e, err := k.v.Lookup(k.root, name)
	k.ok(err)
	return e.ID
}

// Writes at every kind of odd place, checked against a byte slice.
func testOddWrites(k *kit) {
	s := k.data(k.file(k.root, "f"))
	var want []byte
	for i, w := range []struct{ off, n int }{
		{1, 1}, {4095, 2}, {0, 4096}, {4096, 4096}, {100, 9000}, {8191, 1}, {8192, 1}, {65535, 2}, {65536, 65536},
		{131071, 4098}, {200000, 1}, {12288, 4096}, {12287, 4098}, {0, 131072}, {3, 131072}, {262144 - 3, 7}, {1<<20 - 5, 11},
	} {
		if end := w.off + w.n; end > len(want) {
			want = append(want, make([]byte, end-len(want))...)
		}
		p := pattern(uint64(i), w.n)
		copy(want[w.off:], p)
		k.write(s, p, int64(w.off))
		k.holds(s, want)
	}
	k.ok(k.v.Sync())
	k.holds(s, want)
	for _, r := range []struct{ off, n int }{{0, 1}, {4095, 2}, {4096, 4096}, {5000, 100000}, {65535, 2}, {1 << 20, 6}} {
		if got := k.read(s, int64(r.off), r.n); !bytes.Equal(got, want[r.off:min(r.off+r.n, len(want))]) {
			k.Errorf("read [%d,+%d) differs at %d", r.off, r.n, mismatch(got, want[r.off:]))
		}
	}
}

func testEOF(k *kit) {
	s := k.data(k.file(k.root, "f"))
	p := make([]byte, 10)
	eof := func(off int64) {
		k.Helper()
		if n, err := s.ReadAt(p, off); n != 0 || err != io.EOF {
			k.Errorf("ReadAt(%d) = %d, %v, want io.EOF", off, n, err)
		}
	}
	eof(0)
	eof(100)
	k.write(s, []byte("12345"), 0)
	if n, err := s.ReadAt(p, 0); n != 5 || err != nil {
		k.Errorf("short read = %d, %v, want 5, nil", n, err)
	}
	if n, err := s.ReadAt(p[:2], 3); n != 2 || err != nil {
		k.Errorf("read up to the end = %d, %v, want 2, nil", n, err)
	}
	eof(5)
	eof(store.MaxSize)
}

func testSetSize(k *kit) {
	s := k.data(k.file(k.root, "f"))
	size := func(n int64) {
		k.Helper()
		_, err := s.SetSize(n, store.Touch{})
		k.ok(err)
	}
	want := pattern(1, 20000)
	k.write(s, want, 0)
	size(10001)
	k.holds(s, want[:10001])
	if v := s.Sizes().ValidData; v != 10001 {
		k.Errorf("valid data %d after truncation", v)
	}
	// What was cut off does not come back.
	size(20000)
	k.holds(s, append(bytes.Clone(want[:10001]), make([]byte, 9999)...))
	size(0)
	k.holds(s, nil)
	size(9000)
	k.holds(s, make([]byte, 9000))
	k.write(s, []byte("x"), 8999)
	size(8999)
	size(9000)
	k.holds(s, make([]byte, 9000))
}

func testHole(k *kit) {
	const far = 5<<40 + 123
	s := k.data(k.file(k.root, "f"))
	k.write(s, []byte("near"), 10)
	k.write(s, []byte("far"), far)
	if z := s.Sizes(); z.Size != far+3 {
		k.Errorf("size %d", z.Size)
	}
	if got := k.read(s, far-1000, 2000); !bytes.Equal(got, append(make([]byte, 1000), "far"...)) {
		k.Errorf("%d bytes at the far end", len(got))
	}
	if got := k.read(s, 1<<40, 1<<16); !bytes.Equal(got, make([]byte, 1<<16)) {
		k.Error("a hole does not read as zeros")
	}
	rs, err := s.Allocated(0, store.MaxSize, nil)
	k.ok(err)
	k.inOrder(rs)
	if !covers(rs, 10, 14) || !covers(rs, far, far+3) || total(rs) > 2<<20 {
		k.Errorf("allocated %v", rs)
	}
	rs, err = s.Allocated(1<<20, 1<<40, []store.Range{{Off: 1, Len: 1}})
	k.ok(err)
	if len(rs) != 1 || rs[0] != (store.Range{Off: 1, Len: 1}) {
		k.Errorf("a hole has %v", rs)
	}
	_, err = s.SetSize(store.MaxSize, store.Touch{})
	k.ok(err)
	if n, err := s.ReadAt(make([]byte, 100), store.MaxSize-50); n != 50 || err != nil {
		k.Errorf("read at the very end = %d, %v", n, err)
	}
	k.write(s, []byte("last"), store.MaxSize-4)
	if got := k.read(s, store.MaxSize-8, 100); string(got) != "\x00\x00\x00\x00last" {
		k.Errorf("very end holds %q", got)
	}
}

func (k *kit) inOrder(rs []store.Range) {
	k.Helper()
	for i, r := range rs {
		if r.Len <= 0 || i > 0 && rs[i-1].Off+rs[i-1].Len > r.Off {
			k.Errorf("ranges out of order: %v", rs)
		}
	}
}

func total(rs []store.Range) (n int64) {
	for _, r := range rs {
		n += r.Len
	}
	return n
}

// covers reports whether rs hold all of [lo, hi).
func covers(rs []store.Range, lo, hi int64) bool {
	for _, r := range rs {
		if r.Off <= lo && lo < r.Off+r.Len {
			lo = r.Off + r.Len
		}
	}
	return lo >= hi
}

func testZero(k *kit) {
	s := k.data(k.file(k.root, "f"))
	want := pattern(1, 1<<20)
	k.write(s, want, 0)
	for _, r := range []struct{ off, n int }{{0, 1}, {4096, 4096}, {10000, 100}, {16384 - 1, 4098}, {40000, 100000}, {1<<20 - 10, 10}, {500000, 0}} {
		_, err := s.Zero(int64(r.off), int64(r.n), store.Touch{})
		k.ok(err)
		clear(want[r.off : r.off+r.n])
		k.holds(s, want)
	}
	// Past the size nothing happens, and the size stays.
	for _, r := range []struct{ off, n int64 }{{1 << 20, 100}, {1 << 30, 1 << 30}, {1<<20 - 5000, 1 << 20}, {store.MaxSize, 1}} {
		_, err := s.Zero(r.off, r.n, store.Touch{})
		k.ok(err)
		if r.off < 1<<20 {
			clear(want[r.off:])
		}
		k.holds(s, want)
	}
	_, err := s.Zero(0, 1<<20, store.Touch{})
	k.ok(err)
	k.holds(s, make([]byte, 1<<20))
	rs, err := s.Allocated(0, 1<<20, nil)
	k.ok(err)
	if total(rs) != 0 {
		k.Errorf("zeroed stream has %v allocated", rs)
	}
	k.write(s, []byte("again"), 5)
	k.holds(s, append(append(make([]byte, 5), "again"...), make([]byte, 1<<20-10)...))
}

func testValidData(k *kit) {
	s := k.data(k.file(k.root, "f"))
	valid := func(want int64) {
		k.Helper()
		if v := s.Sizes().ValidData; v != want {
			k.Errorf("valid data length %d, want %d", v, want)
		}
	}
	_, err := s.SetSize(100000, store.Touch{})
	k.ok(err)
	valid(0)
	k.write(s, []byte("x"), 4999)
	valid(5000)
	_, err = s.SetValidData(60000, store.Touch{})
	k.ok(err)
	valid(60000)
	_, err = s.SetValidData(100001, store.Touch{})
	k.fails(err, store.ErrInvalid)
	_, err = s.SetValidData(59999, store.Touch{})
	k.fails(err, store.ErrInvalid)
	valid(60000)
	want := make([]byte, 100000)
	want[4999] = 'x'
	k.holds(s, want)
	_, err = s.SetSize(50000, store.Touch{})
	k.ok(err)
	valid(50000)
	_, err = s.SetSize(100000, store.Touch{})
	k.ok(err)
	valid(50000)
}

func testAllocation(k *kit) {
	s := k.data(k.file(k.root, "f"))
	alloc := func(n int64) {
		k.Helper()
		_, err := s.SetAllocation(n, store.Touch{})
		k.ok(err)
	}
	alloc(1 << 20)
	if z := s.Sizes(); z.Size != 0 || z.Allocated < 1<<20 {
		k.Errorf("sizes %+v", z)
	}
	want := pattern(1, 20000)
	k.write(s, want, 0)
	if z := s.Sizes(); z.Size != 20000 || z.Allocated < 1<<20 {
		k.Errorf("sizes %+v", z)
	}
	// Below the size it truncates to the allocation, which is in blocks.
	alloc(8192)
	k.holds(s, want[:8192])
	alloc(0)
	k.holds(s, nil)
}

func testLimits(k *kit) {
	n := k.file(k.root, "f")
	s := k.data(n)
	for _, c := range []struct {
		err  error
		call func() (store.Pos, error)
	}{
		{store.ErrTooLarge, func() (store.Pos, error) { return s.WriteAt([]byte("x"), store.MaxSize, store.Touch{}) }},
		{store.ErrTooLarge, func() (store.Pos, error) { return s.WriteAt(make([]byte, 10), store.MaxSize-9, store.Touch{}) }},
		{store.ErrTooLarge, func() (store.Pos, error) { return s.WriteAt([]byte("x"), 1<<63-1, store.Touch{}) }},
		{store.ErrTooLarge, func() (store.Pos, error) { return s.SetSize(store.MaxSize+1, store.Touch{}) }},
		{store.ErrTooLarge, func() (store.Pos, error) { return s.SetAllocation(store.MaxSize+1, store.Touch{}) }},
		{store.ErrInvalid, func() (store.Pos, error) { return s.WriteAt([]byte("x"), -1, store.Touch{}) }},
		{store.ErrInvalid, func() (store.Pos, error) { return s.SetSize(-1, store.Touch{}) }},
		{store.ErrInvalid, func() (store.Pos, error) { return s.SetAllocation(-1, store.Touch{}) }},
		{store.ErrInvalid, func() (store.Pos, error) { return s.Zero(-1, 1, store.Touch{}) }},
		{store.ErrInvalid, func() (store.Pos, error) { return s.Zero(0, -1, store.Touch{}) }},
		{store.ErrInvalid, func() (store.Pos, error) { return s.SetValidData(-1, store.Touch{}) }},
	} {
		_, err := c.call()
		k.fails(err, c.err)
	}
	_, err := s.ReadAt(make([]byte, 1), -1)
	k.fails(err, store.ErrInvalid)
	if z := s.Sizes(); z.Size != 0 {
		k.Errorf("refused calls left %+v", z)
	}
}

func testBufferReuse(k *kit) {
	s := k.data(k.file(k.root, "f"))
	buf := make([]byte, 70000)
	var want []byte
	for i := range 20 {
		copy(buf, pattern(uint64(i), len(buf)))
		want = append(want, buf...)
		k.write(s, buf, int64(i*len(buf)))
		clear(buf)
	}
	k.ok(k.v.Sync())
	k.holds(s, want)
}

// Writers of disjoint blocks do not disturb each other, and a reader sees old or
// new blocks, never a mixture.
func testConcurrentWrites(k *kit) {
	const writers, blocks, rounds = 8, 16, 20
	s := k.data(k.file(k.root, "f"))
	_, err := s.SetSize(writers*blocks*block, store.Touch{})
	k.ok(err)
	var wg sync.WaitGroup
	errs := make(chan error, 2*writers)
	for w := range writers {
		wg.Go(func() {
			for r := range rounds {
				for b := range blocks {
					at := int64(b*writers+w) * block
					pos, err := s.WriteAt(bytes.Repeat([]byte{byte(r + 1)}, block), at, store.Touch{})
					if err == nil && b == 0 {
						err = k.v.Wait(pos)
					}
					if err != nil {
						errs <- err
						return
					}
				}
			}
		})
		wg.Go(func() {
			p := make([]byte, block)
			for i := range rounds * blocks {
				if _, err := s.ReadAt(p, int64((i*7+w)%(writers*blocks))*block); err != nil {
					errs <- err
					return
				}
				if bytes.Count(p, p[:1]) != block {
					errs <- errors.New("a reader saw a mixed block")
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		k.Error(err)
	}
	k.holds(s, bytes.Repeat([]byte{rounds}, writers*blocks*block))
}
