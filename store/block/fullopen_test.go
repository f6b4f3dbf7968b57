package block

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"gabion/store"
	"gabion/store/crashfs"
)

// On a disk without space, and nothing in reserve, a volume whose log has more than the index does not
// take for ever to open, however much that is; it opens when there is space again, with all that it had.
func TestOpenOnFullDisk(t *testing.T) {
	for _, c := range []struct {
		logged, free int64
		opens        bool // that may be over before the index finds no space
	}{
		{3 << 20, 0, false}, {3 << 20, 64 << 10, true}, {7500 << 10, 64 << 10, true}, // one table in memory gets full, or some
		{14 << 20, 64 << 10, false}, // more than may wait
	} {
		t.Run(fmt.Sprintf("logged=%d,free=%d", c.logged, c.free), func(t *testing.T) {
			space := &crashfs.Space{}
			space.Free.Store(64 << 20)
			fs, _ := crashfs.Mem(nil, crashfs.Options{Space: space})
			value := func(i int64) []byte {
				b := make([]byte, 16<<10)
				rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}).Read(b)
				return b
			}
			v, err := Open(Options{Dir: "vol", FS: fs, SegmentSize: 256 << 10, CacheSize: 1 << 30, Manual: true})
			if err != nil {
				t.Fatal(err)
			}
			n := c.logged / (16 << 10)
			for i := range n {
				if _, err := v.KV().Apply([]store.KVEdit{{Bucket: "b", Key: fmt.Sprint(i), Value: value(i)}}); err != nil {
					t.Fatal(err)
				}
			}
			if err := v.Sync(); err != nil {
				t.Fatal(err)
			}
			v.stop(errors.New("as if the process ended"))
			v.Close()
			for _, name := range []string{reserveFile, openReserveFile} {
				if err := fs.Remove("vol/" + name); err != nil && !isNotExist(err) {
					t.Fatal(err)
				}
			}
			had := space.Free.Swap(c.free)
			if v, err = openWithin(t, Options{Dir: "vol", FS: fs, CacheSize: 2 << 20, Manual: true}); err == nil {
				if !c.opens {
					t.Error("opened without space")
				}
				if err := v.Close(); err != nil {
					t.Error(err)
				}
			}
			space.Free.Add(had)
			if v, err = openWithin(t, Options{Dir: "vol", FS: fs, CacheSize: 2 << 20, Manual: true}); err != nil {
				t.Fatal(err)
			}
			for i := range n {
				if got, err := v.KV().Get("b", fmt.Sprint(i)); err != nil || !bytes.Equal(got, value(i)) {
					t.Fatalf("value %d: %v", i, err)
				}
			}
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// openWithin opens a volume, and fails the test when that takes for ever.
func openWithin(t *testing.T, opt Options) (*Volume, error) {
	t.Helper()
	type opened struct {
		v   *Volume
		err error
	}
	done := make(chan opened, 1)
	go func() {
		v, err := Open(opt)
		done <- opened{v, err}
	}()
	select {
	case o := <-done:
		return o.v, o.err
	case <-time.After(time.Minute):
		t.Fatal("the opening does not come to its end")
	}
	return nil, nil
}
