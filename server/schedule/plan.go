package schedule

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Schedule says what is snapshotted when, and which snapshots are kept.
type Schedule struct {
	Name   string `json:"name"`
	Target string `json:"target"`
	// Every is a duration that divides a day (15m, 1h, 6h), or hourly, daily, weekly or monthly.
	Every string `json:"every"`
	// At moves the time within the period: MM of an hour, HH:MM of a day, sun 03:00 of a week.
	At   string `json:"at,omitempty"`
	Keep Keep   `json:"keep"`
	// Immutable is for how long nobody may delete a snapshot of it; 0: not at all.
	Immutable time.Duration `json:"immutable,omitempty"`
	Paused    bool          `json:"paused,omitempty"`
	Since     time.Time     `json:"since"` // when it was made or resumed
	By        string        `json:"by,omitempty"`
}

// Keep is how many snapshots of each kind are kept.
type Keep struct {
	Last    int `json:"last,omitempty"`
	Hourly  int `json:"hourly,omitempty"`
	Daily   int `json:"daily,omitempty"`
	Weekly  int `json:"weekly,omitempty"`
	Monthly int `json:"monthly,omitempty"`
	Yearly  int `json:"yearly,omitempty"`
}

const day = 24 * time.Hour

// monday is the first day of a week long ago.
var monday = time.Date(1970, 1, 5, 0, 0, 0, 0, time.UTC)

// period returns the length of the period and the offset within it; monthly has length 0.
func (s *Schedule) period() (d, offset time.Duration, err error) {
	bad := func() error {
		return fmt.Errorf("every %q at %q: write 15m, 1h, hourly, daily, weekly or monthly, and at MM, HH:MM or sun HH:MM", s.Every, s.At)
	}
	switch s.Every {
	case "hourly":
		d = time.Hour
	case "daily":
		d = day
	case "weekly":
		d = 7 * day
	case "monthly":
	default:
		d, err = time.ParseDuration(s.Every)
		if err != nil || d < time.Minute || d > day || day%d != 0 {
			return 0, 0, fmt.Errorf("%w; a duration must divide a day", bad())
		}
	}
	if s.At == "" {
		return d, 0, nil
	}
	at := strings.ToLower(s.At)
	weekday := 0
	if name, rest, ok := strings.Cut(at, " "); ok {
		weekday = slices.Index([]string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}, name)
		if weekday < 0 || d != 7*day {
			return 0, 0, bad()
		}
		at = rest
	}
	var h, m int
	if n, err := fmt.Sscanf(at+";", "%2d:%2d;", &h, &m); err != nil || n != 2 {
		h = 0
		if n, err := fmt.Sscanf(at+";", "%2d;", &m); err != nil || n != 1 {
			return 0, 0, bad()
		}
	}
	offset = time.Duration(weekday)*day + time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
	if h < 0 || m < 0 || h > 23 || m > 59 || d > 0 && offset >= d {
		return 0, 0, bad()
	}
	return d, offset, nil
}

// Validate says what is wrong with a schedule.
func (s *Schedule) Validate() error {
	if s.Name == "" || len(s.Name) > 100 || strings.ContainsAny(s.Name, "/\\:\x00\r\n\t ") {
		return fmt.Errorf("%q cannot name a schedule", s.Name)
	}
	k := s.Keep
	all := []int{k.Last, k.Hourly, k.Daily, k.Weekly, k.Monthly, k.Yearly}
	if slices.Min(all) < 0 || slices.Max(all) == 0 || slices.Max(all) > 1e6 {
		return fmt.Errorf("schedule %q: say how many snapshots are kept, such as --keep-hourly 24 --keep-daily 30", s.Name)
	}
	if s.Immutable < 0 {
		return fmt.Errorf("schedule %q: immutable for a negative time", s.Name)
	}
	_, _, err := s.period()
	return err
}

// Next is the first instant after t when a snapshot is due.
func (s *Schedule) Next(t time.Time) time.Time {
	d, offset, err := s.period()
	if err != nil {
		return time.Time{}
	}
	t = t.UTC()
	if d == 0 {
		n := time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC).Add(offset)
		if !n.After(t) {
			n = time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC).Add(offset)
		}
		return n
	}
	since := t.Sub(monday.Add(offset))
	n := since / d
	if since < 0 && since%d != 0 {
		n--
	}
	return monday.Add(offset + (n+1)*d)
}

// Taken is a snapshot that a schedule took.
type Taken struct {
	Name string
	At   time.Time
	// Until is when it may go at the earliest; zero: at any time.
	Until time.Time
}

// Expired returns the names of the snapshots that may go now.
func (k Keep) Expired(now time.Time, taken []Taken) []string {
	list := slices.Clone(taken)
	newestFirst := func(x, y Taken) int { return y.At.Compare(x.At) }
	if slices.Reverse(list); !slices.IsSortedFunc(list, newestFirst) { // they come oldest first
		slices.SortStableFunc(list, newestFirst)
	}
	kept := make([]bool, len(list))
	keep := func(n int, period func(time.Time) int) {
		last, first := 0, true
		for i := range list {
			if n == 0 {
				return // before the period is worked out, which costs more
			}
			if p := period(list[i].At.UTC()); first || p != last {
				kept[i], last, first = true, p, false
				n--
			}
		}
	}
	for i := range min(k.Last, len(list)) {
		kept[i] = true
	}
	keep(k.Hourly, func(t time.Time) int { return int(t.Unix() / 3600) })
	keep(k.Daily, func(t time.Time) int { return int(t.Unix() / 86400) })
	keep(k.Weekly, func(t time.Time) int { y, w := t.ISOWeek(); return y*100 + w })
	keep(k.Monthly, func(t time.Time) int { return t.Year()*12 + int(t.Month()) })
	keep(k.Yearly, func(t time.Time) int { return t.Year() })
	var out []string
	for i := range list {
		if !kept[i] && !now.Before(list[i].Until) {
			out = append(out, list[i].Name)
		}
	}
	return out
}
