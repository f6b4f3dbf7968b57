package block

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gabion/store"
)

// rebuild times how long an index takes that is made anew: from all of the log, as large and as small
// records fill it, and from the second index with the log since.
func (b *bench) rebuild() {
	size := b.sized(4 << 30)
	for _, c := range []struct {
		what   string
		piece  int64
		mirror bool // there is a second index, and half as much log behind it as may be
	}{
		{"all of the log, written by 1 MiB", 1 << 20, false},
		{"all of the log, written by 4 KiB at random", blockSize, false},
		{"the second index and the log since, written by 4 KiB at random", blockSize, true},
	} {
		b.Run(c.what, func(t *testing.T) {
			sub := *b
			sub.T = t
			sub.rebuilt(c.what, size, c.piece, c.mirror)
			b.found = sub.found
		})
	}
}

func (b *bench) rebuilt(what string, size, piece int64, mirror bool) {
	opt := Options{Manual: true}
	v := b.volume(opt)
	opt.Dir = filepath.Join(b.dir, b.subject)
	n, s := newFile(b, v, "disk")
	buf := noise(int(piece))
	write := func(bytes int64) {
		for i := range bytes / piece {
			stir(buf)
			_, err := s.WriteAt(buf, i*40503%(size/piece)*piece, store.Touch{})
			b.must(err)
			if i%1024 == 0 {
				b.must(v.log.Admit())
			}
		}
	}
	write(size)
	var behind float64 // GiB
	if mirror {
		b.must(v.flushNow())
		b.must(v.mirror.take())
		began := v.log.Stats().Bytes
		write(mirrorEvery / 2)
		b.must(v.Sync())
		behind = float64(v.log.Stats().Bytes-began) / (1 << 30)
	}
	s.Close()
	n.Close()
	index := float64(v.index.Metrics().DiskSpaceUsage()) / (1 << 20)
	b.must(v.Close())
	logged, records := float64(v.log.Stats().Bytes)/(1<<30), float64(v.log.Last())
	b.forgetPages(filepath.Join(opt.Dir, "log"))
	opt.rebuild = true
	began, used := time.Now(), cpu()
	v, err := Open(opt)
	b.must(err)
	took, by := time.Since(began), cpu()-used
	b.forgetPages(filepath.Join(opt.Dir, "log"))
	began = time.Now()
	sum, err := v.Check(CheckOptions{Found: func(p Problem) { b.Error(p) }})
	b.must(err)
	verified := time.Since(began)
	if sum.Bytes != size {
		b.Errorf("%d bytes were rebuilt of %d", sum.Bytes, size)
	}
	b.must(v.Close())
	if mirror {
		b.line("index made anew from "+what, "to be stated", true, "%v, %v of CPU, for an index of %.0f MiB with %.2f GiB of log behind it", took.Round(10*time.Millisecond), by.Round(10*time.Millisecond), index, behind)
		return
	}
	b.line("index made anew from "+what, "minutes per TiB", true, "%.1f (CPU %.1f): %.2f GiB of log, %.2f million records in %v", took.Minutes()/logged*1024, by.Minutes()/logged*1024, logged, records/1e6, took.Round(10*time.Millisecond))
	b.line("the check that follows, of a volume written like that", "minutes per TiB", true, "%.1f: %.2f GiB read and verified in %v", verified.Minutes()/float64(size)*(1<<40), float64(size)/(1<<30), verified.Round(10*time.Millisecond))
}

// forgetPages lets the page cache go of the files of a directory.
func (b *bench) forgetPages(dir string) {
	list, err := os.ReadDir(dir)
	b.must(err)
	for _, e := range list {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		b.must(err)
		b.must(f.Sync())
		b.must(unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
		b.must(f.Close())
	}
}
