package peer

import (
	"context"
	"testing"

	"gabion/odx"
	"gabion/store"
)

// BenchmarkFetch is the link alone: both arrays in memory, in one process.
func BenchmarkFetch(b *testing.B) {
	x, y := newArray(b), newArray(b)
	root, _ := x.vol.Root(store.Live)
	n, _, err := x.vol.Create(root, "f", store.Init{})
	if err != nil {
		b.Fatal(err)
	}
	s, _ := n.Data()
	const size = 64 << 20
	p := make([]byte, 1<<20)
	for i := range p {
		p[i] = byte(i*7 + i>>8)
	}
	for off := int64(0); off < size; off += 1 << 20 {
		if _, err := s.WriteAt(p, off, store.Touch{}); err != nil {
			b.Fatal(err)
		}
	}
	tok, _, _, err := x.tokens.Issue(s, 0, size, 0, odx.Issuer{})
	if err != nil {
		b.Fatal(err)
	}
	y.trust(b, x, x.serve(b))
	x.trust(b, y, "")
	src, err := y.tokens.Open(tok[:])
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		if n, err := src.Remote(context.Background(), 0, size, func([]byte, int64) error { return nil }); err != nil || n != size {
			b.Fatal(n, err)
		}
	}
}
