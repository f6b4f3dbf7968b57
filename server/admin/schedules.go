package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"gabion/auth"
	"gabion/server/schedule"
)

var scheduleName = Param{Name: "name", Positional: true, Required: true, Help: "the schedule's name"}

var scheduleOperations = []Operation{{
	Name: "schedule list", Method: "GET", Path: "/v1/schedules", Role: auth.RoleReadOnly,
	Summary: "List the schedules, when they are due next and what went wrong last",
	Example: "gabion schedule list",
	Run: func(_ context.Context, s *System, _ *Call) (any, error) {
		list, err := s.Schedules.List()
		if err != nil {
			return nil, err
		}
		out := make([]ScheduleInfo, len(list))
		for i, st := range list {
			out[i] = scheduleInfo(st)
		}
		return out, nil
	},
}, {
	Name: "schedule set", Method: "PUT", Path: "/v1/schedules/{name}", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Take snapshots by the clock and keep so many of each kind, or change how",
	Example: "gabion schedule set nightly vms --every daily --at 02:00 --keep-daily 14 --keep-weekly 8 --keep-monthly 12\n" +
		"  gabion schedule set often vm:sql1 --every 15m --keep-last 96 --immutable 24h",
	Params: []Param{scheduleName, targetParam,
		{Name: "every", Required: true, Help: "15m, 1h or another duration that divides a day; or hourly, daily, weekly, monthly"},
		{Name: "at", Help: "when within the period, in UTC: MM of an hour, HH:MM of a day, sun 03:00 of a week"},
		{Name: "keep-last", Kind: Number, Help: "keep the newest ones, so many"},
		{Name: "keep-hourly", Kind: Number, Help: "keep the newest of each of so many hours"},
		{Name: "keep-daily", Kind: Number, Help: "keep the newest of each of so many days"},
		{Name: "keep-weekly", Kind: Number, Help: "keep the newest of each of so many weeks"},
		{Name: "keep-monthly", Kind: Number, Help: "keep the newest of each of so many months"},
		{Name: "keep-yearly", Kind: Number, Help: "keep the newest of each of so many years"},
		{Name: "immutable", Help: "for how long nobody may delete a snapshot of it, such as 30d"}},
	Run: setSchedule,
}, {
	Name: "schedule pause", Method: "PUT", Path: "/v1/schedules/{name}/paused", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Stop a schedule; nothing is taken and nothing expires",
	Example: "gabion schedule pause nightly",
	Params:  []Param{scheduleName},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		x, err := s.Schedules.Pause(c.Str("name"), true)
		return x, scheduleRefusal(err)
	},
}, {
	Name: "schedule resume", Method: "DELETE", Path: "/v1/schedules/{name}/paused", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Let a paused schedule go on",
	Example: "gabion schedule resume nightly",
	Params:  []Param{scheduleName},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		x, err := s.Schedules.Pause(c.Str("name"), false)
		return x, scheduleRefusal(err)
	},
}, {
	Name: "schedule remove", Method: "DELETE", Path: "/v1/schedules/{name}", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Forget a schedule; its snapshots stay until they are deleted",
	Example: "gabion schedule remove nightly",
	Params:  []Param{scheduleName},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		return nil, scheduleRefusal(s.Schedules.Remove(c.Str("name")))
	},
}}

// ScheduleInfo is a schedule as administrators see it.
type ScheduleInfo struct {
	Name      string        `json:"name"`
	Target    string        `json:"target"`
	Every     string        `json:"every"`
	At        string        `json:"at"`
	Keep      schedule.Keep `json:"keep"`
	Immutable string        `json:"immutable"`
	Paused    bool          `json:"paused"`
	Next      string        `json:"next"`
	Kept      int           `json:"kept"`
	Error     string        `json:"error"`
}

func scheduleInfo(st schedule.Status) ScheduleInfo {
	i := ScheduleInfo{
		Name: st.Name, Target: st.Target, Every: st.Every, At: st.At, Keep: st.Keep,
		Paused: st.Paused, Kept: st.Kept, Error: st.Error,
	}
	if st.Immutable > 0 {
		i.Immutable = st.Immutable.String()
	}
	if !st.Next.IsZero() {
		i.Next = st.Next.UTC().Format(time.RFC3339)
	}
	return i
}

func setSchedule(_ context.Context, s *System, c *Call) (any, error) {
	t, err := s.resolve(c.Str("target"))
	if err != nil {
		return nil, err
	}
	x := schedule.Schedule{
		Name: c.Str("name"), Target: t.Text, Every: c.Str("every"), At: c.Str("at"), By: c.Caller.Name,
		Keep: schedule.Keep{
			Last: int(c.Int("keep-last")), Hourly: int(c.Int("keep-hourly")), Daily: int(c.Int("keep-daily")),
			Weekly: int(c.Int("keep-weekly")), Monthly: int(c.Int("keep-monthly")), Yearly: int(c.Int("keep-yearly")),
		},
	}
	if c.Has("immutable") {
		if x.Immutable, err = parseDuration(c.Str("immutable")); err != nil || x.Immutable <= 0 {
			return nil, Errorf(http.StatusBadRequest, "--immutable: %q is not a time such as 30d or 12h", c.Str("immutable"))
		}
	}
	if err := s.Schedules.Set(x); err != nil {
		return nil, scheduleRefusal(err)
	}
	return scheduleInfo(schedule.Status{Schedule: x, Next: x.Next(time.Now())}), nil
}

func scheduleRefusal(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, schedule.ErrUnknown):
		return Errorf(http.StatusNotFound, "%v", err)
	}
	return Errorf(http.StatusBadRequest, "%v", err)
}
