package storetest

import (
	"bytes"

	"gabion/store"
)

// testDiffers: outside of the ranges that are told, two streams hold the same, and what shares its
// blocks is not told.
func testDiffers(k *kit) {
	const n = 3 << 20
	f, g := k.file(k.root, "f"), k.file(k.root, "g")
	s, d := k.data(f), k.data(g)
	k.write(s, pattern(1, n), 0)
	v := k.snap("s")
	old := k.data(k.in(v, f.ID()))
	_, err := d.CloneFrom(0, old, 0, n, store.Touch{})
	k.ok(err)
	ranges := func(x, y store.Stream) (list []store.Range) {
		k.ok(x.DiffersFrom(y, func(r store.Range) bool {
			if l := len(list); r.Len <= 0 || l > 0 && list[l-1].Off+list[l-1].Len > r.Off {
				k.Errorf("range %v behind %v", r, list)
			}
			list = append(list, r)
			return true
		}))
		return list
	}
	for what, list := range map[string][]store.Range{"live": ranges(s, old), "clone": ranges(d, old), "both": ranges(s, d), "itself": ranges(s, s)} {
		if len(list) > 0 {
			k.Errorf("%s differs in %v", what, list)
		}
	}
	k.write(d, pattern(2, 100), 5000)
	k.write(d, pattern(3, 4096), 1<<20)
	k.write(s, pattern(4, 10), 2<<20)
	_, err = d.SetSize(n+5000, store.Touch{})
	k.ok(err)
	total := int64(0)
	list := ranges(d, s)
	for _, r := range list {
		total += r.Len
	}
	if total > 4*4096+5000 {
		k.Errorf("too much: %v", list)
	}
	x, y := make([]byte, n+5000), make([]byte, n+5000)
	_, err = d.ReadAt(x, 0)
	k.ok(err)
	_, _ = s.ReadAt(y, 0)
	for _, r := range list {
		copy(x[r.Off:r.Off+r.Len], y[r.Off:])
	}
	if !bytes.Equal(x, y) {
		k.Errorf("a difference is missing in %v", list)
	}
	calls := 0
	k.ok(d.DiffersFrom(s, func(store.Range) bool { calls++; return false }))
	if calls != 1 {
		k.Errorf("%d calls after false", calls)
	}
}
