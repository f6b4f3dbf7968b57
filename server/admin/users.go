package admin

import (
	"context"
	"errors"
	"net/http"

	"gabion/auth"
)

var (
	userName     = Param{Name: "name", Positional: true, Required: true, Help: "the user's name"}
	userPassword = Param{Name: "password", Secret: true, Help: "the password; without it one is generated and printed"}
)

var userOperations = []Operation{{
	Name: "user list", Method: "GET", Path: "/v1/users", Role: auth.RoleReadOnly,
	Summary: "List the local users",
	Example: "gabion user list",
	Run:     func(_ context.Context, s *System, _ *Call) (any, error) { return s.Users.List(), nil },
}, {
	Name: "user add", Method: "POST", Path: "/v1/users", Role: auth.RoleSuperAdmin, Mutates: true,
	Summary: "Make a local user",
	Example: "gabion user add veeam --group 'Backup Operators' --password-file -",
	Params: []Param{userName, userPassword,
		{Name: "group", Kind: List, Help: "Administrators, Backup Operators or Users"}},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		password, generated := given(c)
		u, err := s.Users.Add(c.Str("name"), password, c.Strs("group")...)
		if err != nil {
			return nil, userRefusal(err)
		}
		return struct {
			auth.User
			Password string `json:"password,omitempty"`
		}{u, generated}, nil
	},
}, {
	Name: "user passwd", Method: "PUT", Path: "/v1/users/{name}/password", Role: auth.RoleSuperAdmin, Mutates: true,
	Summary: "Change a local user's password and end a lock-out",
	Example: "gabion user passwd admin",
	Params:  []Param{userName, userPassword},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		password, generated := given(c)
		if err := s.Users.SetPassword(c.Str("name"), password); err != nil {
			return nil, userRefusal(err)
		}
		return struct {
			Name     string `json:"name"`
			Password string `json:"password,omitempty"`
		}{c.Str("name"), generated}, nil
	},
}, {
	Name: "user disable", Method: "PUT", Path: "/v1/users/{name}/disabled", Role: auth.RoleSuperAdmin, Mutates: true,
	Summary: "Keep a local user from logging on",
	Example: "gabion user disable guest1",
	Params:  []Param{userName},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		return nil, userRefusal(s.Users.SetDisabled(c.Str("name"), true))
	},
}, {
	Name: "user enable", Method: "DELETE", Path: "/v1/users/{name}/disabled", Role: auth.RoleSuperAdmin, Mutates: true,
	Summary: "Let a disabled or locked-out local user in again",
	Example: "gabion user enable guest1",
	Params:  []Param{userName},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		return nil, userRefusal(s.Users.SetDisabled(c.Str("name"), false))
	},
}, {
	Name: "user groups", Method: "PUT", Path: "/v1/users/{name}/groups", Role: auth.RoleSuperAdmin, Mutates: true,
	Summary: "Set the local groups a user is in; it counts from the next logon",
	Example: "gabion user groups veeam --group 'Backup Operators'",
	Params:  []Param{userName, {Name: "group", Kind: List, Help: "Administrators, Backup Operators or Users"}},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		return nil, userRefusal(s.Users.SetGroups(c.Str("name"), c.Strs("group")))
	},
}, {
	Name: "user remove", Method: "DELETE", Path: "/v1/users/{name}", Role: auth.RoleSuperAdmin, Mutates: true,
	Summary: "Delete a local user",
	Example: "gabion user remove veeam",
	Params:  []Param{userName},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		return nil, userRefusal(s.Users.Remove(c.Str("name")))
	},
}}

// given is the caller's password, or a generated one, which is shown once.
func given(c *Call) (password, generated string) {
	if c.Has("password") {
		return c.Str("password"), ""
	}
	generated = auth.GeneratePassword()
	return generated, generated
}

func userRefusal(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, auth.ErrNoUser):
		return Errorf(http.StatusNotFound, "%v", err)
	case errors.Is(err, auth.ErrUserExists):
		return Errorf(http.StatusConflict, "%v", err)
	}
	return Errorf(http.StatusBadRequest, "%v", err)
}
