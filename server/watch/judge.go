package watch

import (
	"time"
)

// Interval is how often files are looked at.
const Interval = 10 * time.Second

// delta is what was written to a file in an interval.
type delta struct {
	over           float64 // bytes overwritten per second
	sampled, dense float64
}

// usual is what is usual for a file.
type usual struct {
	intervals int     // how many were seen
	over      float64 // bytes overwritten per second
	sampled   float64 // samples that dense is of
	dense     float64 // part of the samples that would not compress
}

// Kinds of alerts.
const (
	OverwriteRate     = "overwrite-rate"
	Incompressibility = "incompressibility"
)

const (
	// A file is overwritten out of the ordinary from so many times the usual, and so many bytes
	// per second, on.
	jump    = 8
	leastBy = 2 << 20
	// Its data is, when so much of it does not compress where usually so little did; the
	// samples on both sides have to be so many.
	denseNow    = 0.9
	denseBefore = 0.5
	leastNow    = 8
	leastBefore = 16
	// learned is how many intervals make something usual.
	learned = 6
	// weight is how much an interval counts for what is usual: that of about ten minutes.
	weight = 1.0 / 60
)

// judge says what is out of the ordinary in an interval.
func (u *usual) judge(d delta) (kinds []string) {
	if u.intervals >= learned && d.over >= jump*u.over && d.over >= leastBy {
		kinds = append(kinds, OverwriteRate)
	}
	if u.sampled >= leastBefore && u.dense <= denseBefore && d.sampled >= leastNow && d.dense/d.sampled >= denseNow {
		kinds = append(kinds, Incompressibility)
	}
	return kinds
}

// learn moves what is usual towards an interval; quickly at first.
func (u *usual) learn(d delta) {
	u.intervals++
	w := max(weight, 1/float64(u.intervals))
	u.over += (d.over - u.over) * w
	if d.sampled > 0 {
		w := max(weight, min(1, d.sampled/(u.sampled+d.sampled)))
		u.dense += (d.dense/d.sampled - u.dense) * w
		u.sampled = min(u.sampled+d.sampled, 1000)
	}
}

// sample is how full the volume was.
type sample struct {
	at   time.Time
	used int64
}

const (
	// paceOf is the time whose growth counts, leastPace the least that says anything.
	paceOf    = time.Hour
	leastPace = 5 * time.Minute
)

// fullIn is when a volume with so much left will be full at the pace of the samples, oldest
// first; 0: never, or it cannot be said yet. The pace is a line through all of them, so that one
// large file does not count as a habit for longer than it should.
func fullIn(samples []sample, free int64) time.Duration {
	if len(samples) < 2 || samples[len(samples)-1].at.Sub(samples[0].at) < leastPace {
		return 0
	}
	var n, sx, sy, sxx, sxy float64
	for _, s := range samples {
		x, y := s.at.Sub(samples[0].at).Seconds(), float64(s.used-samples[0].used)
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	slope := (n*sxy - sx*sy) / (n*sxx - sx*sx)
	const years = 10 * 365 * 24 * 3600
	if slope <= 0 || float64(free)/slope > years {
		return 0
	}
	return time.Duration(float64(free) / slope * float64(time.Second))
}

// Level is the highest of 80, 90 and 95 % that a volume has reached, or 0.
func Level(used, total int64) int {
	for _, l := range []int{95, 90, 80} {
		if total > 0 && used >= total/100*int64(l) {
			return l
		}
	}
	return 0
}
