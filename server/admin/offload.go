package admin

import (
	"context"
	"errors"
	"net/http"

	"gabion/auth"
	"gabion/odx"
)

var offloadOperations = []Operation{{
	Name: "offload list", Method: "GET", Path: "/v1/offload-tokens", Role: auth.RoleReadOnly,
	Summary: "List the offload tokens that are valid, oldest first",
	Example: "gabion offload list",
	Run: func(_ context.Context, s *System, _ *Call) (any, error) {
		return s.Tokens.List()
	},
}, {
	Name: "offload revoke", Method: "DELETE", Path: "/v1/offload-tokens/{id}", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Make an offload token invalid, or all of them",
	Example: "gabion offload revoke 7f3a09c41d55e2b8",
	Params:  []Param{{Name: "id", Positional: true, Required: true, Help: "as offload list shows it, or \"all\""}},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		id := c.Str("id")
		if id == "all" {
			id = ""
		}
		n, err := s.Tokens.Revoke(id)
		if errors.Is(err, odx.ErrNoToken) {
			return nil, Errorf(http.StatusNotFound, "there is no token %q", id)
		}
		return map[string]int{"revoked": n}, err
	},
}}
