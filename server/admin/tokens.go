package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"gabion/auth"
)

var tokenOperations = []Operation{{
	Name: "token create", Method: "POST", Path: "/v1/tokens", Role: auth.RoleSuperAdmin, Mutates: true,
	Summary: "Make a token for programs and remote use of this command; its secret is shown once",
	Example: "gabion token create veeam --role backup-operator --scope vms --valid 90d",
	Params: []Param{{Name: "name", Positional: true, Required: true, Help: "what it is for"},
		{Name: "role", Required: true, Help: "super-admin, storage-admin, backup-operator, vm-operator or read-only"},
		{Name: "scope", Help: targetHelp + "; without it the whole array"},
		{Name: "valid", Help: "for how long, such as 12h or 90d (default 30d, at most 366d)"}},
	Run: createToken,
}, {
	Name: "token list", Method: "GET", Path: "/v1/tokens", Role: auth.RoleSuperAdmin,
	Summary: "List the tokens, oldest first",
	Example: "gabion token list",
	Run:     func(_ context.Context, s *System, _ *Call) (any, error) { return s.APITokens.List(), nil },
}, {
	Name: "token revoke", Method: "DELETE", Path: "/v1/tokens/{id}", Role: auth.RoleSuperAdmin, Mutates: true,
	Summary: "Make a token worthless at once",
	Example: "gabion token revoke 7f3a09c41d55e2b8",
	Params:  []Param{{Name: "id", Positional: true, Required: true, Help: "as token list shows it"}},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		err := s.APITokens.Revoke(c.Str("id"))
		if errors.Is(err, auth.ErrNoToken) {
			return nil, Errorf(http.StatusNotFound, "%v", err)
		}
		return nil, err
	},
}}

func createToken(_ context.Context, s *System, c *Call) (any, error) {
	role, err := auth.ParseRole(c.Str("role"))
	if err != nil {
		return nil, Errorf(http.StatusBadRequest, "%v", err)
	}
	valid := 30 * 24 * time.Hour
	if c.Has("valid") {
		if valid, err = parseDuration(c.Str("valid")); err != nil {
			return nil, Errorf(http.StatusBadRequest, "--valid: %q is not a time such as 12h or 90d", c.Str("valid"))
		}
	}
	secret, t, err := s.APITokens.Create(c.Str("name"), role, auth.Scope(c.Str("scope")), valid, c.Caller.Name)
	if err != nil {
		return nil, Errorf(http.StatusBadRequest, "%v", err)
	}
	return struct {
		auth.APIToken
		Secret string `json:"secret"`
	}{t, secret}, nil
}
