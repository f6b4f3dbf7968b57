package crashfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, fs vfs.FS, name, data string, sync bool) {
	t.Helper()
	f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	ok(t, err)
	_, err = f.WriteAt([]byte(data), 0)
	ok(t, err)
	if sync {
		ok(t, f.SyncData())
	}
	ok(t, f.Close())
}

func syncDir(t *testing.T, fs vfs.FS, name string) {
	t.Helper()
	d, err := fs.OpenDir(name)
	ok(t, err)
	ok(t, d.Sync())
	ok(t, d.Close())
}

// dump lists every file with its contents.
func dump(t *testing.T, fs vfs.FS, dir string) string {
	t.Helper()
	var b strings.Builder
	names, err := fs.List(dir)
	ok(t, err)
	slices.Sort(names)
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		if strings.HasPrefix(name, ".staging") {
			continue
		}
		fi, err := fs.Stat(path)
		ok(t, err)
		if fi.IsDir() {
			fmt.Fprintf(&b, "%s/\n%s", path, dump(t, fs, path))
			continue
		}
		f, err := fs.Open(path)
		ok(t, err)
		data, err := io.ReadAll(f)
		ok(t, err)
		ok(t, f.Close())
		if len(data) > 40 {
			fmt.Fprintf(&b, "%s %d bytes %x\n", path, len(data), rand.New(rand.NewPCG(uint64(len(data)), hash(data))).Uint64())
		} else {
			fmt.Fprintf(&b, "%s %q\n", path, data)
		}
	}
	return b.String()
}

func hash(p []byte) (h uint64) {
	for _, c := range p {
		h = h*1099511628211 + uint64(c)
	}
	return h
}

func TestOnlyWhatIsSyncedSurvives(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, fs vfs.FS)
		want string
	}{
		{"nothing", func(t *testing.T, fs vfs.FS) { write(t, fs, "/d/new", "x", false) }, "/d/\n/d/old \"old\"\n"},
		{"file without its directory", func(t *testing.T, fs vfs.FS) { write(t, fs, "/d/new", "x", true) }, "/d/\n/d/old \"old\"\n"},
		{"directory without the data", func(t *testing.T, fs vfs.FS) {
			write(t, fs, "/d/new", "x", false)
			syncDir(t, fs, "/d")
		}, "/d/\n/d/new \"\"\n/d/old \"old\"\n"},
		{"both", func(t *testing.T, fs vfs.FS) {
			write(t, fs, "/d/new", "x", true)
			syncDir(t, fs, "/d")
		}, "/d/\n/d/new \"x\"\n/d/old \"old\"\n"},
		{"overwrite", func(t *testing.T, fs vfs.FS) { write(t, fs, "/d/old", "newer", false) }, "/d/\n/d/old \"old\"\n"},
		{"synced overwrite", func(t *testing.T, fs vfs.FS) { write(t, fs, "/d/old", "newer", true) }, "/d/\n/d/old \"newer\"\n"},
		{"rename", func(t *testing.T, fs vfs.FS) { ok(t, fs.Rename("/d/old", "/d/new")) }, "/d/\n/d/old \"old\"\n"},
		{"synced rename", func(t *testing.T, fs vfs.FS) {
			ok(t, fs.Rename("/d/old", "/d/new"))
			syncDir(t, fs, "/d")
		}, "/d/\n/d/new \"old\"\n"},
		{"rename over", func(t *testing.T, fs vfs.FS) {
			write(t, fs, "/d/tmp", "tmp", true)
			ok(t, fs.Rename("/d/tmp", "/d/old"))
			syncDir(t, fs, "/d")
		}, "/d/\n/d/old \"tmp\"\n"},
		{"rename over, not synced", func(t *testing.T, fs vfs.FS) {
			write(t, fs, "/d/tmp", "tmp", true)
			syncDir(t, fs, "/d")
			ok(t, fs.Rename("/d/tmp", "/d/old"))
		}, "/d/\n/d/old \"old\"\n/d/tmp \"tmp\"\n"},
		{"remove", func(t *testing.T, fs vfs.FS) { ok(t, fs.Remove("/d/old")) }, "/d/\n/d/old \"old\"\n"},
		{"synced remove", func(t *testing.T, fs vfs.FS) {
			ok(t, fs.Remove("/d/old"))
			syncDir(t, fs, "/d")
		}, "/d/\n"},
		{"reuse", func(t *testing.T, fs vfs.FS) {
			f, err := fs.ReuseForWrite("/d/old", "/d/again", vfs.WriteCategoryUnspecified)
			ok(t, err)
			_, err = f.Write([]byte("O"))
			ok(t, err)
			ok(t, f.Sync())
			ok(t, f.Close())
		}, "/d/\n/d/old \"Old\"\n"},
		{"directory without its parent", func(t *testing.T, fs vfs.FS) {
			ok(t, fs.MkdirAll("/d/sub", 0o755))
			write(t, fs, "/d/sub/f", "f", true)
			syncDir(t, fs, "/d/sub")
		}, "/d/\n/d/old \"old\"\n"},
		{"directory with its parent", func(t *testing.T, fs vfs.FS) {
			ok(t, fs.MkdirAll("/d/sub", 0o755))
			write(t, fs, "/d/sub/f", "f", true)
			syncDir(t, fs, "/d/sub")
			syncDir(t, fs, "/d")
		}, "/d/\n/d/old \"old\"\n/d/sub/\n/d/sub/f \"f\"\n"},
		{"link", func(t *testing.T, fs vfs.FS) {
			ok(t, fs.Link("/d/old", "/d/more"))
			syncDir(t, fs, "/d")
			write(t, fs, "/d/more", "both", true)
		}, "/d/\n/d/more \"both\"\n/d/old \"both\"\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			first, base := Mem(nil, Options{})
			ok(t, first.MkdirAll("/d", 0o755))
			write(t, first, "/d/old", "old", true)
			syncDir(t, first, "/d")
			syncDir(t, first, "/")
			fs, _ := Mem(base, Options{})
			c.do(t, fs)
			before := dump(t, fs, "/")
			ok(t, fs.Crash(rand.New(rand.NewPCG(1, 1)), 0))
			if got := dump(t, fs, "/"); got != before {
				t.Errorf("the crash shows in the running file system:\n%s\nwas\n%s", got, before)
			}
			if got := dump(t, base, "/"); got != c.want {
				t.Errorf("left:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

// What the file system shows, and what it leaves behind, is what Pebble's own
// crashable memory file system does.
func TestAgreesWithPebble(t *testing.T) {
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 2))
		fs, base := Mem(nil, Options{})
		other := vfs.NewCrashableMem()
		both := []vfs.FS{fs, other}
		for _, f := range both {
			ok(t, f.MkdirAll("/a", 0o755))
		}
		pick := func() string { return fmt.Sprintf("/a/%c", 'a'+rng.IntN(4)) }
		for range 60 {
			name, second, off, what := pick(), pick(), rng.Int64N(20000), rng.IntN(8)
			data := bytes.Repeat([]byte{byte(rng.IntN(256))}, 1+rng.IntN(9000))
			var results []string
			for _, f := range both {
				var err error
				switch what {
				case 0, 1, 2:
					var h vfs.File
					if h, err = f.OpenReadWrite(name, vfs.WriteCategoryUnspecified); err == nil {
						_, err = h.WriteAt(bytes.Clone(data), off)
						if what > 0 {
							err = errors.Join(err, h.Sync())
						}
						err = errors.Join(err, h.Close())
					}
				case 3:
					err = f.Rename(name, second)
				case 4:
					err = f.Remove(name)
				case 5:
					err = f.Link(name, second)
				case 6, 7:
					syncDir(t, f, []string{"/", "/a"}[what-6])
				}
				results = append(results, fmt.Sprint(err == nil))
			}
			if results[0] != results[1] {
				t.Fatalf("seed %d: operation %d on %s, %s: %v", seed, what, name, second, results)
			}
		}
		if a, b := dump(t, fs, "/"), dump(t, other, "/"); a != b {
			t.Fatalf("seed %d: shows\n%s\nwant\n%s", seed, a, b)
		}
		ok(t, fs.Crash(rng, 0))
		if a, b := dump(t, base, "/"), dump(t, other.CrashClone(vfs.CrashCloneCfg{}), "/"); a != b {
			t.Fatalf("seed %d: left\n%s\nwant\n%s", seed, a, b)
		}
	}
}

// Whatever part stays, a page is old, new, or a mixture of sectors of both.
func TestCrashKeepsAnySubset(t *testing.T) {
	kept, lost, torn := 0, 0, 0
	for seed := range uint64(20) {
		fs, base := Mem(nil, Options{})
		write(t, fs, "/f", strings.Repeat("o", 40*pageSize), true)
		syncDir(t, fs, "/")
		write(t, fs, "/f", strings.Repeat("n", 40*pageSize), false)
		ok(t, fs.Crash(rand.New(rand.NewPCG(seed, 0)), 50))
		f, err := base.Open("/f")
		ok(t, err)
		data, err := io.ReadAll(f)
		ok(t, err)
		for p := range slices.Chunk(data, pageSize) {
			switch n := bytes.Count(p, []byte("n")); {
			case n == 0:
				lost++
			case n == pageSize:
				kept++
			case n%sectorSize == 0:
				torn++
			default:
				t.Fatalf("%d bytes of a page changed", n)
			}
		}
	}
	if kept < 100 || lost < 100 || torn < 10 {
		t.Errorf("kept %d, lost %d, torn %d of 800", kept, lost, torn)
	}
}

// A rename is never half done, in the sense that the file has no name at all.
func TestRenameLosesNoFile(t *testing.T) {
	for seed := range uint64(50) {
		fs, base := Mem(nil, Options{})
		write(t, fs, "/a", "a", true)
		syncDir(t, fs, "/")
		ok(t, fs.Rename("/a", "/b"))
		ok(t, fs.Crash(rand.New(rand.NewPCG(seed, 0)), 50))
		if got := dump(t, base, "/"); got == "" {
			t.Fatalf("seed %d: no name is left", seed)
		}
	}
}

// The page cache outlives a process, but no power cut.
func TestKillWithoutPowerCut(t *testing.T) {
	fs, base := Mem(nil, Options{})
	write(t, fs, "/a", "a", true)
	syncDir(t, fs, "/")
	f, err := fs.OpenReadWrite("/b", vfs.WriteCategoryUnspecified)
	ok(t, err)
	_, err = f.Write([]byte("b"))
	ok(t, err)
	next := fs.Kill()
	go func() {
		f.Write([]byte("late"))
		t.Error("a killed process writes")
	}()
	go func() {
		f.Sync()
		t.Error("a killed process syncs")
	}()
	if got := dump(t, next, "/"); got != "/a \"a\"\n/b \"b\"\n" {
		t.Errorf("the next process sees %s", got)
	}
	ok(t, next.Crash(rand.New(rand.NewPCG(1, 1)), 0))
	if got := dump(t, base, "/"); got != "/a \"a\"\n" {
		t.Errorf("left %s", got)
	}
}

func TestInjectedFaults(t *testing.T) {
	mem := func(i Injector) vfs.FS {
		fs, _ := Mem(nil, Options{Inject: i})
		return fs
	}
	t.Run("failed sync loses its pages", func(t *testing.T) {
		fs, base := Mem(nil, Options{Inject: In("f", Nth(OpSync, 2, syscall.EIO))})
		write(t, fs, "/f", "first", true)
		syncDir(t, fs, "/")
		f, err := fs.OpenReadWrite("/f", vfs.WriteCategoryUnspecified)
		ok(t, err)
		_, err = f.WriteAt([]byte("second"), 0)
		ok(t, err)
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("sync: %v", err)
		}
		ok(t, f.Sync()) // claims success, as Linux does
		p := make([]byte, 6)
		if _, err := f.ReadAt(p, 0); err != nil || string(p) != "second" {
			t.Errorf("read %q, %v", p, err)
		}
		if got := dump(t, base, "/"); got != "/f \"first\"\n" {
			t.Errorf("left %s", got)
		}
	})
	t.Run("space", func(t *testing.T) {
		s := &Space{}
		s.Free.Store(10)
		fs, _ := Mem(nil, Options{Space: s})
		f, err := fs.Create("/f", vfs.WriteCategoryUnspecified)
		ok(t, err)
		_, err = f.Write([]byte("12345678"))
		ok(t, err)
		n, err := f.Write([]byte("90ab"))
		if n != 2 || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("wrote %d, %v", n, err)
		}
		if n, err := f.WriteAt([]byte("xxxxxxxxxx"), 0); n != 10 || err != nil {
			t.Errorf("overwrite: %d, %v", n, err)
		}
		s.Free.Add(100)
		if err := f.Preallocate(0, 1000); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("allocate: %v", err)
		}
		ok(t, f.Preallocate(0, 100))
		_, err = f.WriteAt(make([]byte, 90), 10)
		ok(t, err)
		if u, err := fs.GetDiskUsage("/"); err != nil || u.AvailBytes != 10 || u.TotalBytes != 110 {
			t.Errorf("usage %+v, %v", u, err)
		}
		ok(t, f.Close())
		ok(t, fs.Remove("/f"))
		if s.Free.Load() != 110 {
			t.Errorf("%d bytes are free when nothing is left", s.Free.Load())
		}
	})
	t.Run("short writes", func(t *testing.T) {
		fs := mem(Chance(rand.New(rand.NewPCG(1, 1)), OpWrite, 1, syscall.EIO))
		f, err := fs.Create("/f", vfs.WriteCategoryUnspecified)
		ok(t, err)
		n, err := f.Write(make([]byte, 1000))
		if !errors.Is(err, syscall.EIO) || n < 0 || n >= 1000 {
			t.Errorf("wrote %d, %v", n, err)
		}
		fi, err := f.Stat()
		ok(t, err)
		if fi.Size() != int64(n) {
			t.Errorf("size %d, want %d", fi.Size(), n)
		}
	})
	t.Run("read-only", func(t *testing.T) {
		_, base := Mem(nil, Options{})
		first, _ := Mem(base, Options{})
		write(t, first, "/f", "x", true)
		syncDir(t, first, "/")
		fs, _ := Mem(base, Options{Inject: ReadOnly})
		if got := dump(t, fs, "/"); got != "/f \"x\"\n" {
			t.Errorf("shows %s", got)
		}
		for what, err := range map[string]error{
			"create": func() error { _, err := fs.Create("/g", vfs.WriteCategoryUnspecified); return err }(),
			"open":   func() error { _, err := fs.OpenReadWrite("/f", vfs.WriteCategoryUnspecified); return err }(),
			"rename": fs.Rename("/f", "/g"), "remove": fs.Remove("/f"), "mkdir": fs.MkdirAll("/d", 0o755),
		} {
			if !errors.Is(err, syscall.EROFS) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// Pebble with its own log on the disk through crashfs: what was committed is
// there, and nothing is written to the directory past the loss.
func TestPebbleOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	for round := range 5 {
		fs, err := Parse("lose", dir)
		ok(t, err)
		db, err := pebble.Open(dir, &pebble.Options{FS: fs, MemTableSize: 64 << 10, Logger: quiet{}})
		ok(t, err)
		for r := range round {
			for i := range 100 {
				v, c, err := db.Get(fmt.Appendf(nil, "%d-%d", r, i))
				ok(t, err)
				if !bytes.HasPrefix(v, fmt.Appendf(nil, "%d", r)) {
					t.Fatalf("value %q", v)
				}
				ok(t, c.Close())
			}
		}
		for i := range 100 {
			ok(t, db.Set(fmt.Appendf(nil, "%d-%d", round, i), fmt.Appendf(nil, "%d%2000d", round, i), pebble.Sync))
		}
		ok(t, fs.(*FS).Crash(rand.New(rand.NewPCG(uint64(round), 0)), 25*round))
		ok(t, db.Close())
	}
}

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(f string, a ...any) {
	panic(fmt.Sprintf(f, a...))
}

func TestParse(t *testing.T) {
	for _, bad := range []string{"", "bogus", "nosync", "failsync=x", "lose=1"} {
		if _, err := Parse(bad, filepath.Join(t.TempDir(), "d")); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	dir := filepath.Join(t.TempDir(), "d")
	fs, err := Parse("lose,nosync=log,failsync=3,space=1000,readonly", dir)
	ok(t, err)
	if err := fs.MkdirAll(dir, 0o755); !errors.Is(err, syscall.EROFS) {
		t.Errorf("mkdir: %v", err)
	}
	if _, err := os.Stat(dir + ".unsynced"); err != nil {
		t.Error(err)
	}
}
