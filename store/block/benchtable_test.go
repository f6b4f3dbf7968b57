package block

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gabion/store"
)

// TestBench makes the table of store/BENCH.md: every line of what the store promises about
// speed, measured on a real disk, where another program is the measure interleaved with it.
//
//	GABION_BENCH_DIR=/some/dir go test ./store/block -run TestBench -timeout 0 -v
//
// GABION_BENCH_ONLY names the subjects to measure, separated by commas; what was measured
// before stays in results.json of the directory. GABION_BENCH_RUNS is the number of
// interleaved runs, GABION_BENCH_SECONDS how long each lasts, GABION_BENCH_SCALE the share of the full
// size in per cent.
func TestBench(t *testing.T) {
	dir := os.Getenv("GABION_BENCH_DIR")
	if dir == "" {
		t.Skip("GABION_BENCH_DIR is not set")
	}
	b := &bench{T: t, dir: dir, runs: envInt("GABION_BENCH_RUNS", 9), scale: int64(envInt("GABION_BENCH_SCALE", 100))}
	b.load()
	only := os.Getenv("GABION_BENCH_ONLY")
	for _, s := range benchSubjects {
		if only != "" && !slices.Contains(strings.Split(only, ","), s.name) {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			sub := *b
			sub.T, sub.subject, sub.found = t, s.name, nil
			s.run(&sub)
			b.results[s.name] = benchResult{sub.found, benchConditions(sub.runs, sub.scale)}
			b.save()
		})
	}
}

var benchSubjects = []struct {
	name string
	run  func(*bench)
}{
	{"durable", (*bench).durable},
	{"sequential", (*bench).sequential},
	{"reads", (*bench).reads},
	{"cached", (*bench).cached},
	{"fragmented", (*bench).fragmented},
	{"uniform", func(b *bench) { b.steady(false) }},
	{"skewed", func(b *bench) { b.steady(true) }},
	{"shared", (*bench).sharedCleaning},
	{"snapshots", (*bench).snapshots},
	{"deletion", (*bench).deletion},
	{"beside", (*bench).beside},
	{"clone64k", func(b *bench) { b.clones(64 << 10) }},
	{"clone4k", func(b *bench) { b.clones(4 << 10) }},
	{"open", (*bench).open},
	{"memory", (*bench).memory},
	{"rebuild", (*bench).rebuild},
}

// bench measures one subject.
type bench struct {
	*testing.T
	dir     string
	runs    int
	scale   int64
	subject string
	found   []benchLine
	results map[string]benchResult
}

// benchLine is one line of the table.
type benchLine struct{ What, Asked, Seen, Met string }

type benchResult struct {
	Lines      []benchLine
	Conditions string
}

func envInt(name string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return def
}

func benchConditions(runs int, scale int64) string {
	load, _ := os.ReadFile("/proc/loadavg")
	f := strings.Fields(string(load))
	if len(f) == 0 {
		f = []string{"?"}
	}
	return fmt.Sprintf("%s, load %s at the end, %d runs, %d %% of full size", time.Now().UTC().Format("2006-01-02 15:04"), f[0], runs, scale)
}

// line records a figure.
func (b *bench) line(what, asked string, met bool, format string, args ...any) {
	l := benchLine{what, asked, fmt.Sprintf(format, args...), "no"}
	if met {
		l.Met = "yes"
	}
	b.found = append(b.found, l)
	b.Logf("%s: asked %s, seen %s: %s", l.What, l.Asked, l.Seen, l.Met)
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// sized is a size at the scale of the run.
func (b *bench) sized(n int64) int64 { return n * b.scale / 100 &^ (1<<20 - 1) }

func (b *bench) load() {
	b.results = map[string]benchResult{}
	if raw, err := os.ReadFile(filepath.Join(b.dir, "results.json")); err == nil {
		b.must(json.Unmarshal(raw, &b.results))
	}
}

// save keeps the results and writes the table from them.
func (b *bench) save() {
	raw, err := json.MarshalIndent(b.results, "", " ")
	b.must(err)
	b.must(os.WriteFile(filepath.Join(b.dir, "results.json"), raw, 0o644))
	var t strings.Builder
	t.WriteString(benchIntro)
	t.WriteString("| what | asked | seen | met |\n|---|---|---|---|\n")
	for _, s := range benchSubjects {
		for _, l := range b.results[s.name].Lines {
			fmt.Fprintf(&t, "| %s | %s | %s | %s |\n", l.What, l.Asked, l.Seen, l.Met)
		}
	}
	t.WriteString("\n| subject | measured |\n|---|---|\n")
	for _, s := range benchSubjects {
		if r, ok := b.results[s.name]; ok {
			fmt.Fprintf(&t, "| %s | %s |\n", s.name, r.Conditions)
		}
	}
	b.must(os.WriteFile(filepath.Join(b.dir, "BENCH.md"), []byte(t.String()), 0o644))
}

const benchIntro = `# How fast the store is

Made by ` + "`GABION_BENCH_DIR=DIR go test ./store/block -run TestBench -timeout 0 -v`" + ` (benchtable_test.go), which writes this table to
` + "`DIR/BENCH.md`" + `. What is compared with ` + "`fio`" + ` (3.33, psync engine) or a bare ` + "`pread`" + ` loop is measured in turns with it on the same file system, and the
median of the runs' ratios counts. Data is incompressible. The machine: 2 cores, ext4 on a virtual disk. Latencies are what a writer sees from the call to the
durable reply; a stall is the longest of all.

`

// volume opens a volume in a directory of its own.
func (b *bench) volume(opt Options) *Volume {
	b.Helper()
	opt.Dir = filepath.Join(b.dir, b.subject)
	b.must(os.RemoveAll(opt.Dir))
	b.Cleanup(func() { os.RemoveAll(opt.Dir) })
	v, err := Open(opt)
	b.must(err)
	b.Cleanup(func() { v.Close() }) //nolint:errcheck // the subject is over
	return v
}

// file makes a file of size bytes, written in one go.
func (b *bench) file(v *Volume, name string, size int64) store.Stream {
	b.Helper()
	n, s := newFile(b, v, name)
	b.Cleanup(func() { s.Close(); n.Close() })
	buf := noise(1 << 20)
	for off := int64(0); off < size; off += int64(len(buf)) {
		stir(buf)
		_, err := s.WriteAt(buf, off, store.Touch{})
		b.must(err)
	}
	b.must(v.Sync())
	return s
}

// stir makes a buffer differ from what it was in every block.
func stir(p []byte) {
	for i := 0; i < len(p); i += blockSize {
		le.PutUint64(p[i:], le.Uint64(p[i:])+1)
	}
}

// plain makes an ordinary file of size bytes.
func (b *bench) plain(size int64) string {
	path := filepath.Join(b.dir, "plain")
	f, err := os.Create(path)
	b.must(err)
	b.Cleanup(func() { os.Remove(path) })
	buf := noise(1 << 20)
	for off := int64(0); off < size; off += int64(len(buf)) {
		_, err := f.Write(buf)
		b.must(err)
	}
	b.must(f.Sync())
	b.must(f.Close())
	return path
}

// fioResult is what fio said: operations and bytes per second.
type fioResult struct{ iops, bw float64 }

// fio runs jobs against a file.
func (b *bench) fio(path string, args ...string) fioResult {
	b.Helper()
	args = append([]string{"--name=j", "--filename=" + path, "--ioengine=psync", "--thread", "--group_reporting",
		"--refill_buffers=0", "--norandommap", "--output-format=json", "--allow_file_create=0"}, args...)
	out, err := exec.Command("fio", args...).Output()
	b.must(err)
	var r struct {
		Jobs []struct {
			Read, Write struct {
				IOPS float64 `json:"iops"`
				BW   float64 `json:"bw_bytes"`
			}
		}
	}
	b.must(json.Unmarshal(out[strings.IndexByte(string(out), '{'):], &r))
	j := r.Jobs[0]
	return fioResult{j.Read.IOPS + j.Write.IOPS, j.Read.BW + j.Write.BW}
}

// cpu is the processor time that this process has used.
func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r) //nolint:errcheck // it cannot fail for oneself
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// threadCPU is the processor time that this thread has used: what the caller, locked to it,
// does itself.
func threadCPU() time.Duration {
	const rusageThread = 1
	var r syscall.Rusage
	syscall.Getrusage(rusageThread, &r) //nolint:errcheck // as above
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func median(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	x = slices.Clone(x)
	slices.Sort(x)
	return x[len(x)/2]
}

// spread is the median with the extremes.
func spread(x []float64) string {
	return fmt.Sprintf("%.2f (%.2f–%.2f)", median(x), slices.Min(x), slices.Max(x))
}

func percentile(d []time.Duration, p float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)-1, int(float64(len(d))*p))]
}
