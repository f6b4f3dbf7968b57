package transfer

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gabion/protocol/ntstatus"
	"gabion/server/object"
	"gabion/server/versions"
	"gabion/server/vm"
	"gabion/store"
	"gabion/store/block"
)

// BenchmarkTransfer exports a disk of GABION_EXPORT_GIB that does not compress, whole and, after one
// percent of it was written in pieces of 64 KiB, by its difference, and imports both into another folder.
// GABION_BENCH_DIR is where the volume is.
func BenchmarkTransfer(b *testing.B) {
	dir, size := os.Getenv("GABION_BENCH_DIR"), int64(64<<20)
	if dir == "" {
		dir = b.TempDir()
	}
	if n, err := strconv.ParseInt(os.Getenv("GABION_EXPORT_GIB"), 10, 64); err == nil {
		size = n << 30
	}
	vol, err := block.Open(block.Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	must(err)
	defer vol.Close()
	tree, st := object.New(object.Config{Breaker: silent{}}).Mount(vol).Tree("", object.TreeOptions{})
	if st != ntstatus.Success {
		b.Fatal(st)
	}
	book, err := versions.OpenBook(vol, nil)
	must(err)
	c := &versions.Changer{Book: book, Tree: tree}
	vms, err := vm.Open(vol, oneShare{})
	must(err)
	root, err := vol.Root(store.Live)
	must(err)
	for _, name := range []string{"src", "dst"} {
		_, _, err := vol.Create(root, name, store.Init{Dir: true})
		must(err)
	}
	src, _, err := vol.Open(root, "src")
	must(err)
	f, _, err := vol.Create(src, "disk.vhdx", store.Init{})
	must(err)
	s, err := f.Data()
	must(err)
	const piece = 64 << 10
	noise := make([]byte, piece+1<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	r := rand.New(rand.NewPCG(1, 2))
	write := func(i int64) {
		off := r.IntN(1 << 20)
		noise[off]++
		_, err := s.WriteAt(noise[off:off+piece], i*piece, store.Touch{LastWrite: 1})
		must(err)
	}
	for i := range size / piece {
		write(i)
	}
	must(vol.Sync())
	target, err := vms.Resolve("vms/src")
	must(err)
	dst, err := vms.Resolve("vms/dst")
	must(err)
	snap := func(name string) versions.Info {
		i, err := book.Create(name, target.IDs(), versions.Meta{})
		must(err)
		return i
	}
	rate := func(n int64, began time.Time) float64 { return float64(n) / 1e9 / time.Since(began).Seconds() }
	one := snap("one")
	uncache(b, dir)
	began := time.Now()
	must((&Export{Volume: vol, Target: target, Snap: one}).Write(b.Context(), io.Discard))
	b.ReportMetric(rate(size, began), "export-GB/s")
	move := func(x *Export) {
		pr, pw := io.Pipe()
		go func() { pw.CloseWithError(x.Write(context.Background(), pw)) }()
		_, err := (&Import{Changer: c, Dest: dst.Places[0]}).Read(b.Context(), pr)
		must(err)
	}
	for i := range size / piece {
		if r.IntN(100) == 0 {
			write(i)
		}
	}
	two := snap("two")
	before := vol.Stats()
	var sent counter
	began = time.Now()
	must((&Export{Volume: vol, Target: target, Snap: two, Base: &one}).Write(b.Context(), &sent))
	after := vol.Stats()
	b.Logf("difference: %d bytes sent in %v, %d read, %.3f %% of %d", sent, time.Since(began), after.DataRead-before.DataRead,
		float64(after.DataRead-before.DataRead)*100/float64(size), size)
	if os.Getenv("GABION_EXPORT_IMPORT") != "" || size < 1<<30 {
		began = time.Now()
		move(&Export{Volume: vol, Target: target, Snap: one})
		b.ReportMetric(rate(size, began), "import-GB/s")
		move(&Export{Volume: vol, Target: target, Snap: two, Base: &one})
	}
}

// uncache has the kernel forget what it holds of the volume's files, so that the disk is measured.
func uncache(b *testing.B, dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "log", "*.seg"))
	for _, name := range files {
		var f *os.File
		if f, err = os.Open(name); err != nil {
			break
		}
		err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		f.Close()
	}
	if err != nil {
		b.Fatal(err)
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
