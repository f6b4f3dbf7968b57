package qos

import (
	"cmp"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// collector tells Prometheus of flows and policies when it asks. Of flows the busiest have
// series of their own, the rest is one sum, so that hosts cannot make the monitoring grow.
type collector struct {
	s *Service

	ops, bytes, units, rate, wait, device, p99, waiting, maximum, status *prometheus.Desc
	policyRate, policyFlows, policyMaximum, policyMinimum                *prometheus.Desc
	capacity, queued, serving, count                                     *prometheus.Desc
}

// flowSeries and policySeries bound how many have series of their own.
const (
	flowSeries   = 200
	policySeries = 200
	restOfFlows  = "other"
)

func newCollector(s *Service) *collector {
	flow := []string{"flow", "vm", "share", "path", "policy"}
	policy := []string{"policy", "type"}
	desc := func(name, help string, labels []string) *prometheus.Desc {
		return prometheus.NewDesc("gabion_qos_"+name, help, labels, nil)
	}
	return &collector{s: s,
		ops:           desc("flow_operations_total", "Reads and writes done.", flow),
		bytes:         desc("flow_bytes_total", "Bytes read and written.", flow),
		units:         desc("flow_normalized_operations_total", "Normalised I/O done.", flow),
		rate:          desc("flow_normalized_iops", "Normalised I/O per second of the last second.", flow),
		wait:          desc("flow_queue_seconds", "Average wait of a request for its turn.", flow),
		device:        desc("flow_device_seconds", "Average time of a request in the store.", flow),
		p99:           desc("flow_latency_p99_seconds", "99th percentile of a request's time in the array.", flow),
		waiting:       desc("flow_waiting_requests", "Requests that wait for their turn.", flow),
		maximum:       desc("flow_maximum_iops", "Limit that the host is told, 0 if none.", flow),
		status:        desc("flow_status", "Status of [MS-SQOS] 2.2.2.1: 0 is ok.", flow),
		policyRate:    desc("policy_normalized_iops", "Normalised I/O per second of all flows of a policy.", policy),
		policyFlows:   desc("policy_flows", "Flows of a policy.", policy),
		policyMaximum: desc("policy_maximum_iops", "Limit of a policy, 0 if none.", policy),
		policyMinimum: desc("policy_minimum_iops", "Reservation of a policy.", policy),
		capacity:      desc("capacity_iops", "What the array can do in normalised I/O per second, 0 if it is not known.", nil),
		queued:        desc("waiting_requests", "Requests that wait for their turn.", nil),
		serving:       desc("serving_requests", "Requests that the store works on.", nil),
		count:         desc("flows", "Flows.", nil),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.ops, c.bytes, c.units, c.rate, c.wait, c.device, c.p99, c.waiting, c.maximum, c.status,
		c.policyRate, c.policyFlows, c.policyMaximum, c.policyMinimum, c.capacity, c.queued, c.serving, c.count} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	top := c.s.Top(1)
	gauge(c.capacity, top.Capacity)
	gauge(c.queued, float64(top.Waiting))
	gauge(c.serving, float64(top.Serving))
	all := c.s.views()
	gauge(c.count, float64(len(all)))
	for _, v := range bounded(all) {
		labels := []string{v.Flow, v.VM, v.Share, v.Path, v.Policy}
		for _, m := range []struct {
			d *prometheus.Desc
			v float64
		}{{c.rate, v.Norm}, {c.wait, v.Queue / 1e6}, {c.device, v.Device / 1e6}, {c.p99, v.P99 / 1e6}, {c.waiting, float64(v.Waiting)},
			{c.maximum, float64(v.Maximum)}, {c.status, float64(v.Status)}} {
			gauge(m.d, m.v, labels...)
		}
		if v.Flow == restOfFlows {
			continue // who belongs to it changes, so it cannot be counted up
		}
		for _, m := range []struct {
			d *prometheus.Desc
			v uint64
		}{{c.ops, v.ops}, {c.bytes, v.bytes}, {c.units, v.served}} {
			ch <- prometheus.MustNewConstMetric(m.d, prometheus.CounterValue, float64(m.v), labels...)
		}
	}
	uses := c.s.PolicyUses()
	for _, p := range uses[:min(len(uses), policySeries)] {
		labels := []string{p.Name, p.Kind.String()}
		gauge(c.policyRate, p.Norm, labels...)
		gauge(c.policyFlows, float64(p.Flows), labels...)
		gauge(c.policyMaximum, float64(p.Maximum), labels...)
		gauge(c.policyMinimum, float64(p.Minimum), labels...)
	}
}

// bounded keeps the flows that did most and sums the rest up. No two have the same labels.
func bounded(all []View) []View {
	slices.SortFunc(all, func(a, b View) int {
		return cmp.Or(cmp.Compare(b.served, a.served), cmp.Compare(a.Flow, b.Flow), cmp.Compare(a.Path, b.Path))
	})
	rest := View{Flow: restOfFlows}
	seen := map[[5]string]bool{}
	var out []View
	for _, v := range all {
		labels := [5]string{v.Flow, v.VM, v.Share, v.Path, v.Policy}
		if len(out) < flowSeries && !seen[labels] {
			seen[labels] = true
			out = append(out, v)
			continue
		}
		rest.Norm, rest.Waiting = rest.Norm+v.Norm, rest.Waiting+v.Waiting
	}
	return append(out, rest)
}
