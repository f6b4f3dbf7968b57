package dtyp

import "time"

// Filetime counts 100 ns intervals since 1601-01-01 00:00:00 UTC (MS-DTYP 2.3.3).
// Zero means "not set" wherever a specification gives it that meaning.
type Filetime uint64

// unixEpoch is 1970-01-01 as a Filetime.
const unixEpoch = 116444736000000000

// FiletimeOf converts t; instants before 1601 become 0.
func FiletimeOf(t time.Time) Filetime {
	v := t.Unix()*1e7 + int64(t.Nanosecond())/100 + unixEpoch
	if v < 0 {
		return 0
	}
	return Filetime(v)
}

// Time converts back to a time.Time in UTC.
func (f Filetime) Time() time.Time {
	v := int64(f) - unixEpoch
	return time.Unix(v/1e7, v%1e7*100).UTC()
}

func (f Filetime) String() string {
	if f == 0 {
		return "unset"
	}
	return f.Time().Format("2006-01-02T15:04:05.0000000Z")
}
