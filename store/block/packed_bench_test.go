package block

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
)

// What compressing costs a write of 64 KiB, whether it helps or not.
func BenchmarkPacking(b *testing.B) {
	random := make([]byte, 64<<10)
	rand.NewChaCha8([32]byte{}).Read(random)
	text := bytes.Repeat([]byte("the quick brown fox and the lazy dog, "), 2000)[:64<<10]
	for _, tt := range []struct {
		name string
		data []byte
		pack bool
	}{{"random/off", random, false}, {"random/on", random, true}, {"text/off", text, false}, {"text/on", text, true}} {
		b.Run(tt.name, func(b *testing.B) {
			v, err := Open(Options{Dir: "vol", FS: vfs.NewMem(), Capacity: 1 << 30, Pack: tt.pack})
			if err != nil {
				b.Fatal(err)
			}
			root, err := v.Root(store.Live)
			if err != nil {
				b.Fatal(err)
			}
			n, _, err := v.Create(root, "f", store.Init{})
			if err != nil {
				b.Fatal(err)
			}
			s, err := n.Data()
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(tt.data)))
			i := 0
			for b.Loop() {
				if _, err := s.WriteAt(tt.data, int64(i%2048)<<16, store.Touch{}); err != nil {
					b.Fatal(err)
				}
				i++
			}
			s.Close()
			n.Close()
			root.Close()
			v.Close()
		})
	}
}
