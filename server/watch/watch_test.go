package watch

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gabion/auth"
	"gabion/protocol/ntstatus"
	"gabion/server/object"
	"gabion/store"
	"gabion/store/memvol"
)

func TestJudge(t *testing.T) {
	calm := usual{intervals: 100, over: 1 << 20, sampled: 100, dense: 0.1}
	for _, tt := range []struct {
		what string
		u    usual
		d    delta
		want string
	}{
		{"as ever", calm, delta{over: 1 << 20, sampled: 50, dense: 5}, ""},
		{"busier", calm, delta{over: 5 << 20, sampled: 50, dense: 5}, ""},
		{"a jump", calm, delta{over: 9 << 20, sampled: 50, dense: 5}, OverwriteRate},
		{"encrypted", calm, delta{over: 1 << 20, sampled: 50, dense: 50}, Incompressibility},
		{"both", calm, delta{over: 90 << 20, sampled: 50, dense: 49}, OverwriteRate + " " + Incompressibility},
		{"few samples", calm, delta{over: 1 << 20, sampled: 3, dense: 3}, ""},
		{"always encrypted", usual{intervals: 100, over: 1 << 20, sampled: 100, dense: 0.95}, delta{over: 1 << 20, sampled: 50, dense: 50}, ""},
		{"unknown", usual{intervals: 2}, delta{over: 90 << 20, sampled: 50, dense: 50}, ""},
		{"little of nothing", usual{intervals: 100}, delta{over: 1 << 20}, ""},
		{"much of nothing", usual{intervals: 100}, delta{over: 3 << 20}, OverwriteRate},
	} {
		if got := strings.Join(tt.u.judge(tt.d), " "); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.what, got, tt.want)
		}
	}
	// What lasts becomes usual.
	u, n := calm, 0
	for d := (delta{over: 20 << 20}); len(u.judge(d)) > 0 && n < 1000; n++ {
		u.learn(d)
	}
	if n < 3 || n > 30 {
		t.Errorf("usual after %d intervals", n)
	}
}

func TestFullIn(t *testing.T) {
	start := time.Date(2027, 1, 31, 10, 0, 0, 0, time.UTC)
	line := func(n int, perMinute int64) (s []sample) {
		for i := range n {
			s = append(s, sample{start.Add(time.Duration(i) * time.Minute), 1000 + int64(i)*perMinute})
		}
		return s
	}
	for _, tt := range []struct {
		s    []sample
		free int64
		want time.Duration
	}{
		{line(10, 100), 6000, time.Hour},
		{line(10, 0), 6000, 0},
		{line(10, -5), 6000, 0},
		{line(3, 100), 6000, 0},
		{nil, 6000, 0},
	} {
		if got := fullIn(tt.s, tt.free); got.Round(time.Second) != tt.want {
			t.Errorf("%v", got)
		}
	}
	for used, want := range map[int64]int{0: 0, 799: 0, 800: 80, 900: 90, 949: 90, 950: 95, 1000: 95} {
		if got := Level(used, 1000); got != want {
			t.Errorf("%d of 1000: %d", used, got)
		}
	}
}

type silent struct{}

func (silent) BreakOplock(*object.Open, object.OplockLevel, bool) {}
func (silent) BreakLease(object.LeaseBreak)                       {}
func (silent) Changed([]*object.Open)                             {}
func (silent) Closed(*object.Open)                                {}

// A machine writes its disk as ever, then an intruder encrypts it: both are noticed once, by the
// metric too, and what grows is named.
func TestWatcher(t *testing.T) {
	vol := object.New(object.Config{Breaker: silent{}}).Mount(memvol.New(memvol.Options{Capacity: 10 << 20}))
	tree, st := vol.Tree("", object.TreeOptions{})
	if st != ntstatus.Success {
		t.Fatal(st)
	}
	now := time.Date(2027, 1, 31, 10, 0, 0, 0, time.UTC)
	var said bytes.Buffer
	registry := prometheus.NewRegistry()
	w := New(vol, slog.New(slog.NewTextHandler(&said, nil)), registry)
	w.Now = func() time.Time { return now }
	w.Name = func(id store.FileID) string { return fmt.Sprint("file ", id) }
	o, st := tree.CreateWait(t.Context(), &object.CreateRequest{Token: auth.System, Path: "disk", Disposition: 2, DesiredAccess: 3, ShareAccess: 7})
	if st != ntstatus.Success {
		t.Fatal(st)
	}
	defer o.Close()
	text := bytes.Repeat([]byte("a quiet day in the office, nothing to report. "), 3000)[:128<<10]
	noise := make([]byte, 128<<10)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	write := func(p []byte, times int) {
		t.Helper()
		for i := range times {
			if _, st := o.Write(p, int64(i%16)*int64(len(p)), false); st != ntstatus.Success {
				t.Fatal(st)
			}
		}
	}
	turn := func() { now = now.Add(Interval); w.Look() }
	w.Look()
	for range 60 {
		write(text, 16)
		turn()
	}
	if a := w.Alerts(); len(a) != 0 {
		t.Fatalf("on a quiet day: %v", a)
	}
	for range 3 {
		write(noise, 640)
		turn()
	}
	kinds := []string{}
	for _, a := range w.Alerts() {
		kinds = append(kinds, a.Kind)
	}
	slices.Sort(kinds)
	if !slices.Equal(kinds, []string{Incompressibility, OverwriteRate}) {
		t.Errorf("alerts: %v\n%s", kinds, said.String())
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := 0.0
	for _, f := range families {
		if f.GetName() == "gabion_file_alerts_total" {
			for _, m := range f.Metric {
				counted += m.GetCounter().GetValue()
			}
		}
	}
	if counted != 2 {
		t.Errorf("the metric counts %v", counted)
	}
	if s := w.Space(); len(s.Growers) != 1 || s.Growers[0].Bytes < 2<<20 {
		t.Errorf("%+v", s)
	}
	// The volume fills up.
	for range 10 {
		now = now.Add(time.Minute)
		w.Look()
	}
	if _, st := o.Write(noise, 9<<20-1, false); st != ntstatus.Success {
		t.Fatal(st)
	}
	for i := range int64(56) {
		if _, st := o.Write(noise, 2<<20+i*int64(len(noise)), false); st != ntstatus.Success {
			t.Fatal(st)
		}
	}
	turn()
	if s := w.Space(); s.Level < 80 || s.FullIn <= 0 || !strings.Contains(said.String(), "fills up") {
		t.Errorf("%+v\n%s", s, said.String())
	}
	now = now.Add(2 * time.Hour)
	w.Look()
	if a := w.Alerts(); len(a) != 0 {
		t.Errorf("alerts of long ago: %v", a)
	}
}
