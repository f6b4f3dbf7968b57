package schedule

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"gabion/server/versions"
	"gabion/server/vm"
	"gabion/store"
	"gabion/store/block"
)

// BenchmarkTenThousand lists, creates and expires among ten thousand snapshots on the real store.
func BenchmarkTenThousand(b *testing.B) {
	vol, err := block.Open(block.Options{Dir: b.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer vol.Close()
	root, err := vol.Root(store.Live)
	if err != nil {
		b.Fatal(err)
	}
	f, _, err := vol.Create(root, "disk.vhdx", store.Init{})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	s, err := f.Data()
	if err != nil {
		b.Fatal(err)
	}
	book, err := versions.OpenBook(vol, nil)
	if err != nil {
		b.Fatal(err)
	}
	machines, err := vm.Open(vol, oneShare{})
	if err != nil {
		b.Fatal(err)
	}
	k, err := Open(book, machines, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	k.Now = func() time.Time { return now }
	hourly := Schedule{Name: "hourly", Target: "vms", Every: "1h", Keep: Keep{Last: 10000}}
	page := make([]byte, 4096)
	for i := range 10000 {
		page[0] = byte(i)
		if _, err := s.WriteAt(page, int64(i%1000)*65536, store.Touch{}); err != nil {
			b.Fatal(err)
		}
		if _, err := book.Create(fmt.Sprintf("hourly-%05d", i), []store.FileID{store.RootID}, versions.Meta{Target: "vms", Schedule: "hourly"}); err != nil {
			b.Fatal(err)
		}
	}
	worst := func(b *testing.B, do func()) {
		var most time.Duration
		for b.Loop() {
			began := time.Now()
			do()
			most = max(most, time.Since(began))
		}
		b.ReportMetric(float64(most.Microseconds())/1000, "ms-worst")
	}
	b.Run("list", func(b *testing.B) {
		worst(b, func() {
			if list, err := book.List(store.RootID); err != nil || len(list) < 9000 {
				b.Fatal(len(list), err)
			}
		})
	})
	b.Run("list-file", func(b *testing.B) {
		worst(b, func() {
			if list, err := book.List(f.ID()); err != nil || len(list) < 9000 {
				b.Fatal(len(list), err)
			}
		})
	})
	b.Run("take", func(b *testing.B) {
		worst(b, func() {
			now = now.Add(time.Second)
			if _, err := k.take(&hourly, now); err != nil {
				b.Fatal(err)
			}
		})
	})
	b.Run("expire", func(b *testing.B) {
		worst(b, func() {
			taken, err := k.taken()
			if err != nil {
				b.Fatal(err)
			}
			hourly.Keep.Last = len(taken["hourly"]) - 1
			k.expire(&hourly, now, taken["hourly"])
		})
	})
}
