package admin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"gabion/auth"
	"gabion/server/watch"
)

var statusOperations = []Operation{{
	Name: "status", Method: "GET", Path: "/v1/status", Role: auth.RoleReadOnly,
	Summary: "Say what the array is doing",
	Example: "gabion status",
	Run:     status,
}}

// Status is the array at a glance.
type Status struct {
	Version     string `json:"version"`
	Listen      string `json:"listen"`
	Uptime      string `json:"uptime"`
	Connections int    `json:"connections"`
	Sessions    int    `json:"sessions"`
	Opens       int    `json:"opens"`
	Shares      int    `json:"shares"`
	Capacity    int64  `json:"capacity_bytes"`
	Used        int64  `json:"used_bytes"`
	Free        int64  `json:"free_bytes"`
	// SnapshotHeld is of what is used what only snapshots keep, as of a minute ago at most.
	SnapshotHeld int64   `json:"snapshot_held_bytes"`
	Full         float64 `json:"full_percent"`
	Warning      string  `json:"warning"`
	// FullIn is when the volume is full at the pace of the last hour; "" if that cannot be said.
	FullIn  string         `json:"full_in"`
	Growers []watch.Grower `json:"growers"`
	Alerts  []watch.Alert  `json:"alerts"`
}

func status(_ context.Context, s *System, _ *Call) (any, error) {
	space := s.Volume.Space()
	st := Status{
		Version: s.Version, Listen: s.Listen, Uptime: time.Since(s.Started).Round(time.Second).String(),
		Connections: len(s.Server.Connections()), Sessions: len(s.Server.Sessions()), Opens: len(s.Server.Opens()),
		Shares: len(s.Shares.List()), Capacity: space.Total, Used: space.Used, Free: space.Free, SnapshotHeld: space.SnapshotHeld,
	}
	if space.Total > 0 {
		// One decimal is what a person reads.
		st.Full = float64((space.Total-space.Free)*1000/space.Total) / 10
	}
	st.Growers, st.Alerts = []watch.Grower{}, []watch.Alert{}
	if s.Watch != nil {
		how := s.Watch.Space()
		st.Growers, st.Alerts = how.Growers, s.Watch.Alerts()
		if how.FullIn > 0 {
			st.FullIn = how.FullIn.Round(time.Minute).String()
		}
	}
	if level := watch.Level(space.Total-space.Free, space.Total); level > 0 {
		st.Warning = fmt.Sprintf("the volume is more than %d %% full", level)
		if st.FullIn != "" {
			st.Warning += ", and will be full in " + st.FullIn
		}
	}
	for _, share := range slices.Sorted(maps.Keys(s.Shares.Unlimited())) {
		if st.Warning != "" {
			st.Warning += "; "
		}
		st.Warning += fmt.Sprintf("share %q is served without its quota", share)
	}
	return st, nil
}
