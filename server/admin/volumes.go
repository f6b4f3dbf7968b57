package admin

import (
	"context"

	"gabion/auth"
)

var volumeOperations = []Operation{{
	Name: "volume stats", Method: "GET", Path: "/v1/volume/stats", Role: auth.RoleReadOnly,
	Summary: "Show the store's inner figures",
	Example: "gabion volume stats",
	Run: func(_ context.Context, s *System, _ *Call) (any, error) {
		if s.Stats == nil {
			return s.Volume.Space(), nil
		}
		return s.Stats(), nil
	},
}, {
	Name: "volume space", Method: "GET", Path: "/v1/volume/space", Role: auth.RoleReadOnly,
	Summary: "Count what files, clones and each snapshot take",
	Example: "gabion volume space",
	Run: func(_ context.Context, s *System, _ *Call) (any, error) {
		if s.Usage == nil {
			return s.Volume.Space(), nil
		}
		return s.Usage()
	},
}, {
	Name: CheckName, Method: "POST", Path: "/v1/volume/check", Role: auth.RoleStorageAdmin,
	Summary: "Verify the running volume",
	Example: "gabion volume check",
	Run: func(ctx context.Context, s *System, _ *Call) (any, error) {
		return s.Check(ctx)
	},
}}

// CheckName is the operation that `gabion check` calls when a server runs.
const CheckName = "volume check"
