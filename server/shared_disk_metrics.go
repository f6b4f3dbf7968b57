package server

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"gabion/rsvd"
)

// diskMetrics are the figures of every shared disk that is open, by the name of its payload
// file and its id.
type diskMetrics struct{ disks *rsvd.Service }

// diskMetric is one row: what it is and where it comes from.
type diskMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*rsvd.Status) float64
}

var diskMetricRows = func() []diskMetric {
	row := func(name, help string, kind prometheus.ValueType, value func(*rsvd.Status) float64) diskMetric {
		return diskMetric{prometheus.NewDesc("gabion_shared_disk_"+name, help, []string{"disk", "file"}, nil), kind, value}
	}
	counter := func(name, help string, value func(*rsvd.Status) int64) diskMetric {
		return row(name, help, prometheus.CounterValue, func(s *rsvd.Status) float64 { return float64(value(s)) })
	}
	gauge := func(name, help string, value func(*rsvd.Status) float64) diskMetric {
		return row(name, help, prometheus.GaugeValue, value)
	}
	truth := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	return []diskMetric{
		counter("reads_total", "READs of the virtual disk.", func(s *rsvd.Status) int64 { return s.Reads }),
		counter("writes_total", "WRITEs of the virtual disk.", func(s *rsvd.Status) int64 { return s.Writes }),
		counter("read_bytes_total", "Bytes read from the virtual disk.", func(s *rsvd.Status) int64 { return s.ReadBytes }),
		counter("written_bytes_total", "Bytes written to the virtual disk.", func(s *rsvd.Status) int64 { return s.WrittenBytes }),
		counter("reservation_conflicts_total", "Commands refused because of a reservation.", func(s *rsvd.Status) int64 { return s.Conflicts }),
		counter("aborted_total", "Commands ended by PREEMPT AND ABORT.", func(s *rsvd.Status) int64 { return s.Aborted }),
		gauge("opens", "Shared opens, those that wait for their hosts included.", func(s *rsvd.Status) float64 { return float64(s.Opens) }),
		gauge("registrations", "Registered initiators.", func(s *rsvd.Status) float64 { return float64(len(s.Reservations.Registrations)) }),
		gauge("reserved", "1 while there is a persistent reservation.", func(s *rsvd.Status) float64 { return truth(s.Reservations.Type != 0) }),
		gauge("blocked", "1 while a snapshot holds the disk still.", func(s *rsvd.Status) float64 { return truth(s.Blocked) }),
		gauge("snapshots", "Snapshots of the VHD set.", func(s *rsvd.Status) float64 { return float64(s.Snapshots) }),
		gauge("size_bytes", "Size of the virtual disk.", func(s *rsvd.Status) float64 { return float64(s.Info.Size) }),
		gauge("file_bytes", "Size of its container.", func(s *rsvd.Status) float64 { return float64(s.Info.FileSize) }),
	}
}()

// Describe implements prometheus.Collector.
func (m diskMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, r := range diskMetricRows {
		ch <- r.desc
	}
}

// Collect implements prometheus.Collector.
func (m diskMetrics) Collect(ch chan<- prometheus.Metric) {
	disks := m.disks.Disks()
	for i := range disks {
		d := &disks[i]
		for _, r := range diskMetricRows {
			ch <- prometheus.MustNewConstMetric(r.desc, r.kind, r.value(d), d.Name, strconv.FormatUint(uint64(d.File), 10))
		}
	}
}
