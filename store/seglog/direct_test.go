package seglog

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// What passes the page cache is read back, over what the cache held of the file before, and
// comes back when the log is opened again.
func TestPassing(t *testing.T) {
	opt := Options{FS: vfs.Default, Dir: t.TempDir(), Volume: testVolume, SegmentSize: 16 << 20, Buffer: 4 << 20}
	direct := true
	if f, err := os.OpenFile(filepath.Join(opt.Dir, "probe"), os.O_CREATE|os.O_WRONLY|syscall.O_DIRECT, 0o600); err == nil {
		f.Close()
	} else if direct = !notDirect(err); direct {
		t.Fatal(err)
	}
	var want []record
	for round := range 3 {
		l, err := Open(opt)
		if err != nil {
			t.Fatal(err)
		}
		last, err := l.Replay(0, func(r *Record) error {
			p := make([]byte, r.PayloadLen)
			if err := l.ReadAt(r.Seq, p, r.Payload); err != nil {
				return err
			}
			if w := want[r.Pos-1]; !bytes.Equal(r.Body, w.body) || !bytes.Equal(p, w.payload) {
				return fmt.Errorf("record %d came back changed", r.Pos)
			}
			return nil
		})
		if err != nil || last != Pos(len(want)) {
			t.Fatalf("%d of %d records came back: %v", last, len(want), err)
		}
		live := map[uint64]uint32{}
		for _, s := range l.Segments() {
			live[s.Seq] = s.Slot
		}
		if err := l.Start(live, last, time.Hour); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		for i := range 40 {
			r := record{body: fill(uint64(round), i), payload: fill(uint64(round*100+i), 700<<10&^(BlockSize-1))}
			reserve := l.Reserve
			if i%2 == 0 {
				reserve = l.ReserveLarge // goes from where it lies
			}
			k, err := reserve(len(r.body), len(r.payload), false)
			if err != nil {
				t.Fatal(err)
			}
			copy(k.Body, r.body)
			if i%10 != 9 {
				k.Passing()
			}
			done := passed(l)
			k.Write([][]byte{r.payload}, checkOf(r.payload))
			if direct && k.own != nil && passed(l) == done {
				t.Errorf("record %d did not pass the cache", k.Pos)
			}
			want = append(want, r)
			if err := l.Admit(); err != nil {
				t.Fatal(err)
			}
			if i%7 == 6 {
				if err := l.Wait(k.Pos); err != nil {
					t.Fatal(err)
				}
				// What follows is in the cache now, as it was.
				_ = l.readSlot(l.table.find(k.Seq), make([]byte, 8<<20), 0)
			}
			p := make([]byte, len(r.payload))
			if err := l.ReadAt(k.Seq, p, k.Addr); err != nil || !bytes.Equal(p, r.payload) {
				t.Fatalf("record %d: %v", k.Pos, err)
			}
			add(t, l, &mu, nil, nil, false)
			want = append(want, record{payload: []byte{}})
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if direct && l.direct.done == 0 {
			t.Error("nothing passed the cache")
		}
	}
}

// passed counts the writes that passed the page cache.
func passed(l *Log) int {
	l.direct.mu.Lock()
	defer l.direct.mu.Unlock()
	return l.direct.done
}
