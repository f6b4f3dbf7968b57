package block

import (
	"testing"

	"gabion/store"
)

// What goes past the page cache is overwritten in large pieces again, without having been read.
func TestUnread(t *testing.T) {
	v, _ := manual(t)
	n, s := newFile(t, v, "f")
	defer n.Close()
	defer s.Close()
	if _, err := s.WriteAt(noise(1<<20), 0, store.Touch{}); err != nil {
		t.Fatal(err)
	}
	st := s.(*handle)
	big, small := noise(512<<10), noise(blockSize)
	write := func(p []byte) bool {
		t.Helper()
		w := newPlan(st.stream)
		w.large = len(p) >= leastStream
		if err := w.write(p, 0); err != nil {
			t.Fatal(err)
		}
		unread := w.unread()
		_, err := w.commit(st.stream.sizes(), store.Touch{})
		w.free()
		if err != nil {
			t.Fatal(err)
		}
		return unread
	}
	read := func(off int64) {
		t.Helper()
		if _, err := s.ReadAt(make([]byte, 10), off); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		what string
		do   func()
		want bool
	}{
		{"after being laid out and read", func() { read(0) }, false},
		{"again", func() {}, true},
		{"after a small write", func() { write(small) }, true},
		{"after a read of its second chunk", func() { read(chunkSize + 5) }, false},
		{"after a read behind it", func() { read(512 << 10) }, true},
		{"after its maps left memory", func() { v.chunks.init(v, v.opt.CacheSize*3/8) }, false},
		{"again", func() {}, true},
	} {
		c.do()
		if got := write(big); got != c.want {
			t.Errorf("%s: unread is %v", c.what, got)
		}
	}
}
