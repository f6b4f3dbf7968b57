package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gabion/odx"
)

// offloadMetrics count tokens and offloaded copies.
type offloadMetrics struct {
	tokens  *prometheus.CounterVec // by kind
	refused *prometheus.CounterVec // by reason
	copied  *prometheus.CounterVec // bytes, by source
	writes  *prometheus.CounterVec // by source
	seconds *prometheus.CounterVec // by source
}

func newOffloadMetrics(s *Server, r prometheus.Registerer) *offloadMetrics {
	vec := func(name, help, label string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gabion_odx_" + name, Help: help}, []string{label})
		if r != nil {
			r.MustRegister(c)
		}
		return c
	}
	m := &offloadMetrics{
		tokens:  vec("tokens_issued_total", "Offload tokens handed out.", "kind"),
		refused: vec("tokens_refused_total", "Offload tokens that were not honoured.", "reason"),
		copied:  vec("copied_bytes_total", "Bytes that offloaded writes put into files.", "source"),
		writes:  vec("writes_total", "Offloaded writes.", "source"),
		seconds: vec("write_seconds_total", "Time that offloaded writes took.", "source"),
	}
	if r != nil {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gabion_odx_tokens", Help: "Offload tokens that are valid."},
			func() float64 {
				if s.cfg.Tokens == nil {
					return 0
				}
				list, err := s.cfg.Tokens.List()
				if err != nil {
					return 0
				}
				return float64(len(list))
			}))
	}
	return m
}

func (m *offloadMetrics) issued(zero bool) {
	kind := "data"
	if zero {
		kind = "zero"
	}
	m.tokens.WithLabelValues(kind).Inc()
}

func (m *offloadMetrics) wrote(src *odx.Source, n int64, took time.Duration) {
	from := "local"
	switch {
	case src.Zero:
		from = "zero"
	case src.Remote != nil:
		from = "peer"
	}
	m.writes.WithLabelValues(from).Inc()
	m.copied.WithLabelValues(from).Add(float64(n))
	m.seconds.WithLabelValues(from).Add(took.Seconds())
}
