package admin

import (
	"context"
	"errors"
	"net/http"

	"gabion/auth"
	"gabion/server"
)

var shareOperations = []Operation{{
	Name: "share list", Method: "GET", Path: "/v1/shares", Role: auth.RoleReadOnly,
	Summary: "List the shares",
	Example: "gabion share list",
	Run:     func(_ context.Context, s *System, _ *Call) (any, error) { return s.Shares.States(), nil },
}, {
	Name: "share add", Method: "POST", Path: "/v1/shares", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Make a share and its folder, now and for the starts to come",
	Example: "gabion share add vms,ca,path=tier1/vms",
	Params: []Param{{Name: "spec", Positional: true, Required: true,
		Help: "NAME[,option…]: path=DIR, ca, shared-vhdx, encrypt, readonly, abe, no-odx, compress, quota=SIZE, comment=TEXT, allow=PRINCIPAL"}},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		spec, err := ParseShare(c.Str("spec"))
		if err != nil {
			return nil, Errorf(http.StatusBadRequest, "%v", err)
		}
		if err := s.Shares.Add(spec); err != nil {
			return nil, refusal(err)
		}
		return spec, nil
	},
}, {
	Name: "share set", Method: "PUT", Path: "/v1/shares/{name}", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Change a share, now and for the starts to come",
	Example: "gabion share set vms --quota 2T",
	Params: []Param{{Name: "name", Positional: true, Required: true, Help: "the share's name"},
		{Name: "quota", Help: "how many bytes the files of its folder may be large together, such as 2T; 0 is no limit"},
		{Name: "compress", Help: "on: what clients write from their next opens on is compressed where that makes it smaller; off"}},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		if !c.Has("quota") && !c.Has("compress") {
			return nil, Errorf(http.StatusBadRequest, "there is nothing to set: quota or compress")
		}
		var bytes int64
		if c.Has("quota") {
			var err error
			if bytes, err = ParseSize(c.Str("quota")); err != nil {
				return nil, Errorf(http.StatusBadRequest, "quota: %v", err)
			}
		}
		if how := c.Str("compress"); c.Has("compress") && how != "on" && how != "off" {
			return nil, Errorf(http.StatusBadRequest, "compress: %q is neither on nor off", how)
		}
		return nil, refusal(s.Shares.Set(c.Str("name"), func(spec *ShareSpec) {
			if c.Has("quota") {
				spec.Quota = bytes
			}
			if c.Has("compress") {
				spec.Compress = c.Str("compress") == "on"
			}
		}))
	},
}, {
	Name: "share remove", Method: "DELETE", Path: "/v1/shares/{name}", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Take a share away; its files stay",
	Example: "gabion share remove iso",
	Params:  []Param{{Name: "name", Positional: true, Required: true, Help: "the share's name"}},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		return nil, refusal(s.Shares.Remove(c.Str("name")))
	},
}}

// refusal turns what the layers below say into an answer the caller can act on.
func refusal(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, server.ErrNoShare):
		return Errorf(http.StatusNotFound, "%v", err)
	case errors.Is(err, server.ErrShareExists):
		return Errorf(http.StatusConflict, "%v", err)
	}
	return Errorf(http.StatusBadRequest, "%v", err)
}
