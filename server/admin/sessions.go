package admin

import (
	"context"
	"net/http"

	"gabion/auth"
)

var numberID = Param{Name: "id", Kind: Number, Positional: true, Required: true, Help: "its number, as the list shows it"}

var sessionOperations = []Operation{{
	Name: "session list", Method: "GET", Path: "/v1/sessions", Role: auth.RoleReadOnly,
	Summary: "List the sessions of clients",
	Example: "gabion session list",
	Run:     func(_ context.Context, s *System, _ *Call) (any, error) { return s.Server.Sessions(), nil },
}, {
	Name: "session close", Method: "DELETE", Path: "/v1/sessions/{id}", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "End a session and close what it has open",
	Example: "gabion session close 17",
	Params:  []Param{numberID},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		return nil, missing(s.Server.CloseSession(uint64(c.Int("id"))))
	},
}, {
	Name: "open list", Method: "GET", Path: "/v1/opens", Role: auth.RoleReadOnly,
	Summary: "List the open files and pipes",
	Example: "gabion open list",
	Run:     func(_ context.Context, s *System, _ *Call) (any, error) { return s.Server.Opens(), nil },
}, {
	Name: "open close", Method: "DELETE", Path: "/v1/opens/{id}", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Close an open file",
	Example: "gabion open close 42",
	Params:  []Param{numberID},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		return nil, missing(s.Server.CloseOpen(uint64(c.Int("id"))))
	},
}, {
	Name: "connection list", Method: "GET", Path: "/v1/connections", Role: auth.RoleReadOnly,
	Summary: "List the connections of clients",
	Example: "gabion connection list",
	Run:     func(_ context.Context, s *System, _ *Call) (any, error) { return s.Server.Connections(), nil },
}, {
	Name: "connection close", Method: "DELETE", Path: "/v1/connections/{id}", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Drop a connection; what its client can reclaim is kept",
	Example: "gabion connection close 3",
	Params:  []Param{numberID},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		return nil, missing(s.Server.CloseConnection(uint64(c.Int("id"))))
	},
}}

func missing(err error) error {
	if err == nil {
		return nil
	}
	return Errorf(http.StatusNotFound, "%v", err)
}
