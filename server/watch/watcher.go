package watch

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gabion/server/object"
	"gabion/store"
)

// Watcher watches one volume. Its methods are safe for concurrent use.
type Watcher struct {
	vol *object.Volume
	log *slog.Logger
	// Name is what a file is called in reports.
	Name func(store.FileID) string
	// Now is the clock.
	Now func() time.Time

	raised *prometheus.CounterVec

	mu      sync.Mutex // guards the rest
	last    time.Time
	files   map[store.FileID]*file
	samples []sample
	level   int
	alerts  []Alert
}

// file is what is known of a file that was written to.
type file struct {
	written, over, sampled, dense uint64
	usual                         usual
	idle                          int   // intervals without a write
	began                         int64 // bytes allocated when it was first seen
	now                           int64
	since                         time.Time
}

// Alert is something out of the ordinary about a file.
type Alert struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"`
	Path string    `json:"path"`
	id   store.FileID
}

// Grower is a file that takes more room than a day ago.
type Grower struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
}

// Space is how the volume fills.
type Space struct {
	Level   int           // 80, 90 or 95 %, or 0
	FullIn  time.Duration // 0: never, or it cannot be said yet
	Growers []Grower
}

const (
	alertTime   = time.Hour // for which an alert stands
	maxAlerts   = 1000
	forgetAfter = 24 * time.Hour
	maxGrowers  = 5
)

// New makes a watcher; r takes its metrics.
func New(vol *object.Volume, log *slog.Logger, r prometheus.Registerer) *Watcher {
	w := &Watcher{
		vol: vol, log: log, Now: time.Now, files: map[store.FileID]*file{},
		raised: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gabion_file_alerts_total",
			Help: "Files that were overwritten much faster than usual (overwrite-rate) or with data that does not compress any more (incompressibility)."}, []string{"kind"}),
	}
	w.raised.WithLabelValues(OverwriteRate)
	w.raised.WithLabelValues(Incompressibility)
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	r.MustRegister(w.raised,
		gauge("gabion_file_alerts", "Alerts of the last hour.", func() float64 { return float64(len(w.Alerts())) }),
		gauge("gabion_volume_used_bytes", "Bytes of the volume that are taken.", func() float64 { return float64(vol.Store().Space().Used) }),
		gauge("gabion_volume_capacity_bytes", "Bytes that the volume has.", func() float64 { return float64(vol.Store().Space().Total) }),
		gauge("gabion_volume_full_level", "80, 90 or 95 when the volume is that full, in percent, else 0.", func() float64 { return float64(w.Space().Level) }),
		gauge("gabion_volume_full_in_seconds", "When the volume is full at the pace of the last hour; 0: never, or it cannot be said.", func() float64 { return w.Space().FullIn.Seconds() }))
	return w
}

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	t := time.NewTicker(Interval)
	defer t.Stop()
	for {
		w.Look()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// Look compares with what was when it was last called.
func (w *Watcher) Look() {
	now := w.Now()
	space := w.vol.Store().Space()
	w.mu.Lock()
	defer w.mu.Unlock()
	seconds := now.Sub(w.last).Seconds()
	first := w.last.IsZero()
	w.last = now
	w.samples = append(w.samples, sample{now, space.Total - space.Free})
	for len(w.samples) > 1 && now.Sub(w.samples[0].at) > paceOf {
		w.samples = w.samples[1:]
	}
	w.fill(&space)
	w.alerts = slices.DeleteFunc(w.alerts, func(a Alert) bool { return now.Sub(a.At) >= alertTime })
	if first || seconds <= 0 {
		return
	}
	w.vol.Active(func(id store.FileID, a *object.Activity) bool {
		return w.file(id, a, now, seconds)
	})
}

// fill says when the volume passes a mark. Caller holds mu.
func (w *Watcher) fill(s *store.Space) {
	level := Level(s.Total-s.Free, s.Total)
	if level > w.level {
		args := []any{"percent", level, "free", s.Free}
		if d := fullIn(w.samples, s.Free); d > 0 {
			args = append(args, "full_in", d.Round(time.Minute).String())
		}
		for _, g := range w.growers() {
			args = append(args, slog.Group("grower", "path", g.Path, "bytes", g.Bytes))
		}
		w.log.Warn("the volume fills up", args...)
	}
	w.level = level
}

// file looks at one file, and reports whether to go on with it. Caller holds mu.
func (w *Watcher) file(id store.FileID, a *object.Activity, now time.Time, seconds float64) bool {
	f := w.files[id]
	if f == nil {
		f = &file{since: now, began: -1}
		w.files[id] = f
	}
	written, over, sampled, dense := a.Written.Load(), a.Overwritten.Load(), a.Sampled.Load(), a.Dense.Load()
	d := delta{over: float64(over-f.over) / seconds, sampled: float64(sampled - f.sampled), dense: float64(dense - f.dense)}
	wrote := written != f.written
	f.written, f.over, f.sampled, f.dense = written, over, sampled, dense
	f.idle++
	if wrote {
		f.idle = 0
		f.now = w.allocated(id)
		if f.began < 0 {
			f.began = max(0, f.now-int64(written))
		}
		for _, kind := range f.usual.judge(d) {
			w.raise(id, kind, now)
		}
	}
	f.usual.learn(d)
	if f.idle > int(forgetAfter/Interval) {
		delete(w.files, id)
		return false
	}
	return true
}

// allocated is the room that a file takes.
func (w *Watcher) allocated(id store.FileID) int64 {
	n, err := w.vol.Store().OpenID(store.Live, id)
	if err != nil {
		return 0
	}
	defer n.Close()
	a, err := n.Attr()
	if err != nil {
		return 0
	}
	return a.Allocated
}

// raise raises an alert unless it stands already. Caller holds mu.
func (w *Watcher) raise(id store.FileID, kind string, now time.Time) {
	for i := range w.alerts {
		if w.alerts[i].id == id && w.alerts[i].Kind == kind {
			w.alerts[i].At = now
			return
		}
	}
	a := Alert{At: now.UTC(), Kind: kind, Path: w.name(id), id: id}
	w.raised.WithLabelValues(kind).Inc()
	w.log.Warn("a file is written out of the ordinary", "kind", kind, "path", a.Path)
	if len(w.alerts) < maxAlerts {
		w.alerts = append(w.alerts, a)
	}
}

func (w *Watcher) name(id store.FileID) string {
	if w.Name == nil {
		return ""
	}
	return w.Name(id)
}

// Alerts are those that stand, oldest first.
func (w *Watcher) Alerts() []Alert {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.alerts)
}

// Space tells how the volume fills.
func (w *Watcher) Space() Space {
	s := w.vol.Store().Space()
	w.mu.Lock()
	defer w.mu.Unlock()
	return Space{Level: Level(s.Total-s.Free, s.Total), FullIn: fullIn(w.samples, s.Free), Growers: w.growers()}
}

// growers are the files that have grown most since they were first written to, at most a day ago.
// Caller holds mu.
func (w *Watcher) growers() []Grower {
	type grown struct {
		id    store.FileID
		bytes int64
	}
	var list []grown
	for id, f := range w.files {
		if f.began >= 0 && f.now > f.began {
			list = append(list, grown{id, f.now - f.began})
		}
	}
	slices.SortFunc(list, func(x, y grown) int { return cmp.Compare(y.bytes, x.bytes) })
	out := []Grower{}
	for _, g := range list[:min(len(list), maxGrowers)] {
		out = append(out, Grower{w.name(g.id), g.bytes})
	}
	return out
}
