package block

import (
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gabion/store"
	"gabion/store/crashfs"
)

// A segment that holds nothing and cannot be read does not keep others from being given back; it is tried
// again later.
func TestSegmentThatCannotBeRead(t *testing.T) {
	var bad atomic.Pointer[string]
	var later atomic.Int64
	fs, _ := crashfs.Mem(nil, crashfs.Options{Inject: func(e crashfs.Event) *crashfs.Fault {
		if p := bad.Load(); p != nil && e.Op == crashfs.OpRead && strings.HasSuffix(e.Path, *p) {
			return &crashfs.Fault{Err: syscall.EIO}
		}
		return nil
	}})
	v, err := Open(Options{Dir: "vol", FS: fs, SegmentSize: 256 << 10, CacheSize: 8 << 20, Manual: true,
		Now: func() time.Time { return time.Now().Add(time.Duration(later.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	v.eager, v.cleaner.most = true, 32<<10
	n, s := newFile(t, v, "f")
	defer n.Close()
	defer s.Close()
	write := func(step int, round uint64) {
		t.Helper()
		for b := 0; b < 400; b += step {
			if _, err := s.WriteAt(stamp(b, round), int64(b)*blockSize, store.Touch{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := v.flushNow(); err != nil {
			t.Fatal(err)
		}
		if err := v.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	work := func() {
		t.Helper()
		for range 1000 {
			more, err := v.Step()
			if err != nil {
				t.Fatal(err)
			}
			if !more {
				return
			}
		}
	}
	write(1, 1)
	write(2, 2) // half of each segment is left
	work()
	if v.wrote.moved.Load() == 0 {
		t.Fatal("nothing was cleaned")
	}
	write(1, 3) // nothing is left of them
	empty := func() (list []*segment) {
		for _, g := range v.space.segs {
			if g.moved && g.live <= 0 && g.seq != v.cleaner.current() {
				list = append(list, g)
			}
		}
		return list
	}
	list := empty()
	if len(list) < 2 {
		t.Fatalf("%d segments of moved data are empty", len(list))
	}
	first := list[0]
	for _, g := range list {
		if g.seq < first.seq {
			first = g
		}
	}
	path := fmt.Sprintf("%08d.seg", first.slot)
	bad.Store(&path)
	work()
	if list = empty(); len(list) != 1 || list[0] != first {
		t.Errorf("%d empty segments are left, want the one that cannot be read", len(list))
	}
	bad.Store(nil)
	later.Store(int64(2 * shunFor))
	work()
	if list = empty(); len(list) != 0 {
		t.Errorf("%d empty segments are left though all can be read again", len(list))
	}
	if err := verify(v); err != nil {
		t.Error(err)
	}
}
