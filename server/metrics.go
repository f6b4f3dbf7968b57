package server

import (
	"context"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// metrics are the server's counters, named by domain noun and unit.
type metrics struct {
	accepted, refused, closed prometheus.Counter
	bytesIn, bytesOut         prometheus.Counter
	logons, authFailures      prometheus.Counter
	badSignatures, panics     prometheus.Counter
	sessions                  prometheus.Gauge
	requests                  [smb2.NumCommands]prometheus.Counter
	rejections                *prometheus.CounterVec
	offload                   *offloadMetrics
}

func newMetrics(s *Server, r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "gabion_smb_" + name, Help: help})
		if r != nil {
			r.MustRegister(c)
		}
		return c
	}
	m := &metrics{
		accepted:      counter("connections_accepted_total", "Connections accepted."),
		refused:       counter("connections_refused_total", "Connections refused because of a limit."),
		closed:        counter("connections_closed_total", "Connections that have ended."),
		bytesIn:       counter("received_bytes_total", "Bytes of messages received."),
		bytesOut:      counter("sent_bytes_total", "Bytes of messages sent."),
		logons:        counter("authentications_total", "Completed authentications."),
		authFailures:  counter("authentication_failures_total", "Failed authentications."),
		badSignatures: counter("bad_signatures_total", "Messages with a wrong signature."),
		panics:        counter("panics_total", "Panics that ended a connection."),
		sessions:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "gabion_smb_sessions", Help: "Sessions."}),
		rejections: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gabion_smb_errors_total",
			Help: "Requests answered with an error."}, []string{"command", "status"}),
	}
	m.offload = newOffloadMetrics(s, r)
	byCommand := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gabion_smb_requests_total", Help: "Requests."}, []string{"command"})
	for i := range m.requests {
		m.requests[i] = byCommand.WithLabelValues(strings.ToLower(smb2.Command(i).String()))
	}
	if r != nil {
		r.MustRegister(m.sessions, m.rejections, byCommand, diskMetrics{s.cfg.SharedDisks},
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gabion_smb_connections", Help: "Connections."},
				func() float64 { return float64(len(s.allConns())) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gabion_smb_payload_budget_bytes", Help: "Payload that clients may have in flight."},
				func() float64 { return float64(s.budget.total * creditSize) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gabion_smb_payload_lent_bytes", Help: "Payload that the credits of clients stand for."},
				func() float64 { return float64(s.budget.taken.Load() * creditSize) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gabion_smb_opens", Help: "Opens of files, directories and pipes."},
				func() float64 { return float64(s.opens.count()) }))
	}
	return m
}

// expected are the failures that clients provoke in daily work: counted like the
// others, logged only in detail.
var expected = map[ntstatus.Status]bool{
	ntstatus.ObjectNameNotFound: true, ntstatus.ObjectPathNotFound: true, ntstatus.ObjectNameCollision: true,
	ntstatus.NoMoreFiles: true, ntstatus.NoSuchFile: true, ntstatus.EndOfFile: true, ntstatus.BufferOverflow: true,
	ntstatus.Cancelled: true, ntstatus.NotifyEnumDir: true, ntstatus.NotifyCleanup: true, ntstatus.FsDriverRequired: true,
	ntstatus.NotSupported: true, ntstatus.InvalidDeviceRequest: true, ntstatus.FileClosed: true,
}

// rejected counts a request that is answered with an error, and logs it.
func (s *Server) rejected(r *request, status ntstatus.Status) {
	s.metrics.rejections.WithLabelValues(r.row.name, status.String()).Inc()
	level := levelRejected
	if expected[status] {
		level = levelExpected
	}
	if !s.log.Enabled(context.Background(), level) {
		return
	}
	args := []any{"client", r.conn.remote, "command", r.row.name, "status", status, "message", r.hdr.MessageID}
	if r.session != nil {
		if who := r.session.identity.Load(); who != nil {
			args = append(args, "user", who.User)
		}
	}
	if r.tree != nil {
		args = append(args, "share", r.tree.share.Name)
	}
	s.log.Log(context.Background(), level, "request rejected", args...)
}

// The levels of rejected requests in the log.
const (
	levelRejected = slog.LevelInfo
	levelExpected = slog.LevelDebug
)
