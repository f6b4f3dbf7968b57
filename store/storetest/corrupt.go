package storetest

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
	"gabion/store/crashfs"
	"gabion/store/memvol"
)

// Corrupt flips single bits in the files of volumes and checks that no read gives wrong
// data: it gives the right bytes or an error, and a name is there, or its
// directory reports an error. Half of the volumes were closed, half were killed, with the
// bit in what was durable a while before.
func Corrupt(t *testing.T, of Engines, flips int) {
	var refused, damaged, harmless atomic.Int64
	simulate(t, Int("GABION_SIM_FLIPS", flips), func(seed uint64) (int, error) {
		v, err := victimOf(of(seed), seed)
		if err != nil {
			return 0, err
		}
		const each = 12
		for i := range each {
			outcome, err := v.flip(i)
			if err != nil {
				return i, err
			}
			switch outcome {
			case opensNot:
				refused.Add(1)
			case reports:
				damaged.Add(1)
			case harmlessFlip:
				harmless.Add(1)
			}
		}
		return each, nil
	})
	t.Logf("of the flips %d made the volume refuse to open, %d were reported by reads, %d hit nothing", refused.Load(), damaged.Load(), harmless.Load())
}

type outcome int

const (
	opensNot outcome = iota
	reports
	harmlessFlip
)

// victim is a volume's files with the state they hold.
type victim struct {
	e     Engine
	rng   *rand.Rand
	base  vfs.FS
	bytes []place // that may be flipped
	want  Dump
}

type place struct {
	path     string
	off, len int64
}

// victimOf fills a volume.
func victimOf(e Engine, seed uint64) (*victim, error) {
	rng := rand.New(rand.NewPCG(seed, 7))
	base := vfs.NewMem()
	fs, _ := crashfs.Mem(base, crashfs.Options{})
	vol, err := e.Open(fs)
	if err != nil {
		return nil, err
	}
	m := memvol.New(memvol.Options{})
	g := NewGenerator(rng, m, "", OpReopen, OpOpen, OpClose)
	x, mx := NewExecutor(vol, e.Idle), NewExecutor(m, nil)
	work := func(ops int) error {
		for range ops {
			op := g.Next()
			want, _, _ := mx.Do(op)
			if got, _, err := x.Do(op); got != want {
				return fmt.Errorf("%v gives %s (%v), want %s", op, got, err, want)
			}
		}
		return vol.Sync()
	}
	v := &victim{e: e, rng: rng, base: base}
	var before map[place]string
	if err := work(60 + rng.IntN(100)); err != nil {
		return nil, err
	}
	if rng.IntN(2) == 0 {
		err = vol.Close()
	} else {
		before = places(base, "/")
		for range 3 { // so that the log ends somewhere else
			if err := work(10); err != nil {
				return nil, err
			}
		}
	}
	if err != nil {
		return nil, err
	}
	if v.want, err = Take(m); err != nil {
		return nil, err
	}
	if err := fs.Crash(rng, 0); err != nil {
		return nil, err
	}
	vol.Close() // if it was not
	for at, data := range places(base, "/") {
		if before == nil || before[at] == data {
			v.bytes = append(v.bytes, at)
		}
	}
	slices.SortFunc(v.bytes, func(a, b place) int { return cmp.Or(strings.Compare(a.path, b.path), cmp.Compare(a.off, b.off)) })
	return v, nil
}

// places returns the stretches of all files that are not zeros.
func places(fs vfs.FS, dir string) map[place]string {
	out := map[place]string{}
	names, err := fs.List(dir)
	if err != nil {
		return out
	}
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		fi, err := fs.Stat(path)
		switch {
		case err != nil || strings.HasPrefix(name, ".staging"):
		case fi.IsDir():
			maps.Copy(out, places(fs, path))
		default:
			data, err := readFile(fs, path)
			if err != nil {
				continue
			}
			for at := 0; at < len(data); at += 64 {
				p := data[at:min(at+64, len(data))]
				if !allZero(p) {
					out[place{path, int64(at), int64(len(p))}] = string(p)
				}
			}
		}
	}
	return out
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

func readFile(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// copyTree copies a directory between file systems, flipping one bit.
func copyTree(to, from vfs.FS, dir string, at place, bit int) error {
	if err := to.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	names, err := from.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := from.PathJoin(dir, name)
		fi, err := from.Stat(path)
		if err != nil {
			return err
		}
		if fi.IsDir() {
			if err := copyTree(to, from, path, at, bit); err != nil {
				return err
			}
			continue
		}
		data, err := readFile(from, path)
		if err != nil {
			return err
		}
		if path == at.path && at.off+int64(bit/8) < int64(len(data)) {
			data[at.off+int64(bit/8)] ^= 1 << (bit % 8)
		}
		f, err := to.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		if _, err := f.Write(data); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// flip flips one bit of a copy and reads everything.
func (v *victim) flip(i int) (o outcome, err error) {
	at := v.bytes[v.rng.IntN(len(v.bytes))]
	bit := v.rng.IntN(int(at.len) * 8)
	where := fmt.Sprintf("flip %d: bit %d of byte %d of %s", i, bit%8, at.off+int64(bit/8), at.path)
	fs := vfs.NewMem()
	if err := copyTree(fs, v.base, "/", at, bit); err != nil {
		return 0, err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: panic: %v", where, p)
		}
	}()
	vol, err := v.e.Open(fs)
	if err != nil {
		return opensNot, nil
	}
	defer vol.Close()
	got, failed, err := takeAll(vol)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", where, err)
	}
	for _, k := range slices.Sorted(maps.Keys(v.want)) {
		if g, ok := got[k]; (!ok || g != v.want[k]) && !covered(failed, k, strings.TrimPrefix(v.want[k], "same as ")) {
			return 0, fmt.Errorf("%s: %s is %q, want %q, without an error", where, k, g, v.want[k])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := v.want[k]; !ok && !covered(failed, k) {
			return 0, fmt.Errorf("%s: %s is there: %q", where, k, got[k])
		}
	}
	if len(failed) > 0 {
		return reports, v.checked(vol, where, at.path)
	}
	return harmlessFlip, nil
}

// checked makes sure that a check finds what reads reported, and names the file on the disk.
func (v *victim) checked(vol store.Volume, where, path string) error {
	if v.e.Check == nil {
		return nil
	}
	switch err := v.e.Check(vol); {
	case err == nil:
		return fmt.Errorf("%s: reads fail, a check finds nothing", where)
	case !strings.Contains(err.Error(), path[strings.LastIndexByte(path, '/')+1:]):
		return fmt.Errorf("%s: the check does not name the file: %w", where, err)
	}
	return nil
}

// covered reports whether an error was returned for a place or one above it.
func covered(failed []string, keys ...string) bool {
	return slices.ContainsFunc(failed, func(f string) bool {
		return slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, f) })
	})
}

// takeAll is Take that goes on after errors; it returns the places that failed.
func takeAll(v store.Volume) (Dump, []string, error) {
	d := Dump{}
	t := &taker{v: v, d: d, goOn: true}
	walk := func(at string, view store.View, id store.FileID) error {
		t.first = map[store.FileID]string{}
		return t.tolerate(at, t.walk(at, view, id, "", store.Entry{}))
	}
	if err := walk("", store.Live, store.RootID); err != nil {
		return nil, nil, err
	}
	ss, err := v.Snapshots().List(store.RootID)
	if err != nil {
		t.failed = append(t.failed, "snapshots", "@")
	}
	names := ""
	for _, s := range ss {
		names += " " + s.Name
		for i, id := range s.Scope {
			if err := walk(fmt.Sprintf("@%s#%d", s.Name, i), s.View, id); err != nil {
				return nil, nil, fmt.Errorf("snapshot %q: %w", s.Name, err)
			}
		}
	}
	d["snapshots"] = names
	for _, b := range buckets {
		err := v.KV().Scan(b, "", func(key string, value []byte) bool {
			d["kv "+b+"/"+key] = fmt.Sprintf("%d bytes %x", len(value), sum(value))
			return true
		})
		t.tolerate("kv "+b+"/", err)
	}
	err = t.tolerate("pin ", t.pins())
	return d, t.failed, err
}
