package qos

import (
	"math/bits"
	"time"
)

// stats is what the data path measured of a flow, from its beginning. Guarded by enforcer.mu.
type stats struct {
	arrived, served uint64 // normalised units
	ops, bytes      uint64
	waits           uint64 // requests that had to wait
	queue, device   int64  // ns, summed over requests
	presence        int64  // ns × units: what it had in the array, waiting or being served
	serving         int
	peak            int // most requests that were here at once since the last step
	recent          *latencies
}

// add counts a request that is done.
func (s *stats) add(now int64, t *Ticket) {
	s.served += uint64(t.r.Units)
	s.ops++
	s.bytes += uint64(t.r.Bytes)
	s.device += now - t.admitted
	s.presence += (now - t.arrived) * int64(t.r.Units)
	if s.recent == nil {
		s.recent = new(latencies)
	}
	s.recent.add(now - t.arrived)
}

// latencies is a histogram of the last five to ten seconds, 9 % per bucket.
type latencies struct {
	turned       int64
	now, earlier [buckets]uint32
}

const (
	octaves = 24 // from a microsecond to 16 s
	parts   = 8
	buckets = octaves * parts
)

func bucket(ns int64) int {
	us := uint64(max(ns, 0)) >> 7 // an eighth of 1.024 µs
	if us < 2*parts {
		return int(us)
	}
	e := bits.Len64(us) - 4
	return min(e*parts+int(us>>e), buckets-1)
}

// upper is the largest latency that falls into a bucket.
func upper(b int) time.Duration {
	if b < 2*parts {
		return time.Duration(b+1) << 7
	}
	e := b/parts - 1
	return time.Duration(b-e*parts+1) << (e + 7)
}

func (l *latencies) add(ns int64) { l.now[bucket(ns)]++ }

// turn forgets what is old.
func (l *latencies) turn(now int64) {
	const half = int64(5 * time.Second)
	switch age := now - l.turned; {
	case age > 2*half:
		*l = latencies{turned: now}
	case age > half:
		l.earlier, l.now, l.turned = l.now, [buckets]uint32{}, now
	}
}

// quantile is the latency that q of the requests did not exceed, 0 without any.
func (l *latencies) quantile(q float64) time.Duration {
	var n uint64
	for i := range l.now {
		n += uint64(l.now[i]) + uint64(l.earlier[i])
	}
	if n == 0 {
		return 0
	}
	want := uint64(q * float64(n))
	for i := range l.now {
		k := uint64(l.now[i]) + uint64(l.earlier[i])
		if k > want {
			return upper(i)
		}
		want -= k
	}
	return upper(buckets - 1)
}
