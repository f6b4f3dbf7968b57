package odx

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gabion/conformance/client"
	"gabion/conformance/rig"
)

// evict drops what the page cache has of the files below a directory.
func evict(t *testing.T, dir string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_ = unix.Fdatasync(int(f.Fd()))
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	}))
}

// processor is the time that a process used.
func processor(t *testing.T, s *rig.Server) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID()))
	must(t, err)
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// netcat copies a file through the loopback and syncs it.
func netcat(t *testing.T, from, to string) time.Duration {
	t.Helper()
	out, err := os.Create(to)
	must(t, err)
	defer out.Close()
	in, err := os.Open(from)
	must(t, err)
	defer in.Close()
	receive := exec.Command("nc", "-l", "-N", "127.0.0.1", "4830")
	receive.Stdout = out
	must(t, receive.Start())
	time.Sleep(200 * time.Millisecond) // it has no way to say that it listens
	began := time.Now()
	send := exec.Command("nc", "-N", "127.0.0.1", "4830")
	send.Stdin = in
	must(t, send.Run())
	must(t, receive.Wait())
	must(t, syscall.Fdatasync(int(out.Fd())))
	return time.Since(began)
}

// TestMeasurePeers copies a file between two arrays and by nc with a final fdatasync, in
// turns, from a cold cache and from a warm one.
func TestMeasurePeers(t *testing.T) {
	size := measure(t)
	rig.Need(t, "nc")
	a, b := pair(t)
	from, to := connect(t, a, "vms"), connect(t, b, "vms")
	f := file(t, from, "disk.vhdx")
	scatter(t, f, size, 1<<20)
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	p, err := os.Create(plain)
	must(t, err)
	_, err = io.Copy(p, bufio.NewReaderSize(io.NewSectionReader(f, 0, size), 1<<20))
	must(t, err)
	must(t, p.Close())
	mib := float64(size >> 20)
	for round := range 3 {
		for _, cold := range []bool{true, false} {
			if cold {
				evict(t, a.Data)
			}
			g := file(t, to, "copy")
			ca, cb := processor(t, a), processor(t, b)
			began := time.Now()
			r, err := (&Engine{Chunk: 256 << 20}).Copy(f, g, uint64(size))
			odx := time.Since(began)
			must(t, err)
			if r.Refused != nil {
				t.Fatal(r.Refused)
			}
			ca, cb = processor(t, a)-ca, processor(t, b)-cb
			if round == 0 && cold && digest(t, f, size) != digest(t, g, size) {
				t.Fatal("the copy differs")
			}
			must(t, g.Close())
			remove(t, to, "copy")
			if cold {
				evict(t, dir)
			}
			nc := netcat(t, plain, filepath.Join(dir, "copy"))
			must(t, os.Remove(filepath.Join(dir, "copy")))
			t.Logf("round %d, cold %v: between arrays %.0f MiB/s, nc and fdatasync %.0f MiB/s: %.0f %%; CPU per MiB %.2f ms at the source, %.2f ms at the target",
				round, cold, mib/odx.Seconds(), mib/nc.Seconds(), 100*nc.Seconds()/odx.Seconds(), ca.Seconds()*1000/mib, cb.Seconds()*1000/mib)
		}
	}
}

func remove(t *testing.T, tree *client.Tree, name string) {
	t.Helper()
	m := client.OpenFile(name)
	m.CreateOptions |= 0x1000 // FILE_DELETE_ON_CLOSE
	must(t, open(t, tree, m).Close())
}
