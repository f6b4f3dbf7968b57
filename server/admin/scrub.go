package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gabion/auth"
)

// Scrubber is what reads all that a running volume holds, again and again, and verifies it.
type Scrubber struct {
	Start  func() error // an error: a pass runs already
	Stop   func() bool  // false: none did
	Status func() ScrubStatus
}

// ScrubStatus says what the scrubber does and found.
type ScrubStatus struct {
	Running  bool   `json:"running"`
	Began    string `json:"began"`    // the pass that runs, or ran last; "": none
	Finished string `json:"finished"` // the last full pass
	Next     string `json:"next"`     // when the next is due; "": when it is asked for
	Passes   uint64 `json:"passes"`   // full ones, since the start
	Done     int64  `json:"done_bytes"`
	Total    int64  `json:"total_bytes"`
	Rate     int64  `json:"rate_bytes"` // per second, at most; 0: no limit
	Verified uint64 `json:"verified_bytes"`
	// Problems are those of the last full pass, or of this one if they are more; Damage has the
	// first of them.
	Problems int64    `json:"problems"`
	Damage   []Damage `json:"damage"`
	// LeftOut names what the last full pass did not compare, because that is too much for one; the
	// next pass goes on there.
	LeftOut []string `json:"left_out"`
}

// ScrubTime is how times are written, "" for none.
func ScrubTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

var scrubOperations = []Operation{{
	Name: "volume scrub status", Method: "GET", Path: "/v1/volume/scrub", Role: auth.RoleReadOnly,
	Summary: "Show how far the scrubber is that verifies the running volume, and what it found",
	Example: "gabion volume scrub status",
	Run: withScrubber(func(s *Scrubber) (any, error) {
		return s.Status(), nil
	}),
}, {
	Name: "volume scrub start", Method: "POST", Path: "/v1/volume/scrub", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Have the scrubber begin a pass over the volume now",
	Example: "gabion volume scrub start",
	Run: withScrubber(func(s *Scrubber) (any, error) {
		if err := s.Start(); err != nil {
			return nil, Errorf(http.StatusConflict, "%v", err)
		}
		return nil, nil
	}),
}, {
	Name: "volume scrub stop", Method: "DELETE", Path: "/v1/volume/scrub", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Stop the scrubber's pass; the next begins when it is due",
	Example: "gabion volume scrub stop",
	Run: withScrubber(func(s *Scrubber) (any, error) {
		if !s.Stop() {
			return nil, Errorf(http.StatusConflict, "no scrub is running")
		}
		return nil, nil
	}),
}}

// withScrubber refuses where the engine has none.
func withScrubber(run func(*Scrubber) (any, error)) func(context.Context, *System, *Call) (any, error) {
	return func(_ context.Context, s *System, _ *Call) (any, error) {
		if s.Scrub == nil {
			return nil, Errorf(http.StatusNotImplemented, "the volume has no scrubber")
		}
		return run(s.Scrub)
	}
}

// Collect registers the scrubber's metrics.
func (s *Scrubber) Collect(r prometheus.Registerer) {
	gauge := func(name, help string, value func(ScrubStatus) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(s.Status()) })
	}
	r.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "gabion_scrub_verified_bytes_total", Help: "Bytes of data that the scrubber verified."},
			func() float64 { return float64(s.Status().Verified) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "gabion_scrub_passes_total", Help: "Full passes of the scrubber over the volume."},
			func() float64 { return float64(s.Status().Passes) }),
		gauge("gabion_scrub_problems", "Damages that the scrubber's last full pass found, or the present one if those are more.",
			func(st ScrubStatus) float64 { return float64(st.Problems) }),
		gauge("gabion_scrub_running", "1 while a pass of the scrubber runs.",
			func(st ScrubStatus) float64 {
				if st.Running {
					return 1
				}
				return 0
			}),
		gauge("gabion_scrub_finished_timestamp_seconds", "When the last full pass came to its end; 0: never.",
			func(st ScrubStatus) float64 {
				t, err := time.Parse(time.RFC3339, st.Finished)
				if err != nil {
					return 0
				}
				return float64(t.Unix())
			}))
}
