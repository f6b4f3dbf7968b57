package admin

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/store"
)

var (
	roleName  = Param{Name: "role", Positional: true, Required: true, Help: "super-admin, storage-admin, backup-operator, vm-operator or read-only"}
	principal = Param{Name: "principal", Positional: true, Required: true, Help: `a user or group: NAME, DOMAIN\NAME, NAME@REALM or a SID`}
	scope     = Param{Name: "scope", Positional: true, Help: "SHARE, SHARE/PATH, vm:NAME or group:NAME; without it the whole array"}
)

var roleOperations = []Operation{{
	Name: "role list", Method: "GET", Path: "/v1/roles", Role: auth.RoleReadOnly,
	Summary: "List who holds which role where",
	Example: "gabion role list",
	Run:     func(_ context.Context, s *System, _ *Call) (any, error) { return s.Roles.List(), nil },
}, {
	Name: "role grant", Method: "POST", Path: "/v1/roles", Role: auth.RoleSuperAdmin, Mutates: true,
	Summary: "Grant a role to a user or group; it counts from the next logon",
	Example: `gabion role grant super-admin 'GABION\Hyper-V Hosts'`,
	Params:  []Param{roleName, principal, scope},
	Run: func(ctx context.Context, s *System, c *Call) (any, error) {
		g, err := s.grant(ctx, c)
		if err != nil {
			return nil, err
		}
		if err := s.Roles.Grant(g); err != nil {
			return nil, roleRefusal(err)
		}
		return g, nil
	},
}, {
	Name: "role revoke", Method: "DELETE", Path: "/v1/roles", Role: auth.RoleSuperAdmin, Mutates: true,
	Summary: "Take a role back",
	Example: `gabion role revoke backup-operator 'GABION\veeam' vms`,
	Params:  []Param{roleName, principal, scope},
	Run: func(ctx context.Context, s *System, c *Call) (any, error) {
		g, err := s.grant(ctx, c)
		if err != nil {
			return nil, err
		}
		return nil, roleRefusal(s.Roles.Revoke(g.Role, g.SID, g.Scope))
	},
}, {
	Name: "auth verify", Method: "POST", Path: "/v1/auth/verify", Role: auth.RoleStorageAdmin,
	Summary: "Go the way of a domain client's logon and name what would fail",
	Example: "gabion auth verify array.gabion.test",
	Params:  []Param{{Name: "host", Positional: true, Required: true, Help: "the name by which clients know the array"}},
	Run: func(ctx context.Context, s *System, c *Call) (any, error) {
		return s.Verify(ctx, c.Str("host"))
	},
}, {
	Name: "auth explain", Method: "POST", Path: "/v1/auth/explain", Role: auth.RoleReadOnly,
	Summary: "Say what a user or group may do with a file, and why",
	Example: `gabion auth explain vms/vm1/disk.vhdx 'GABION\alice'`,
	Params:  []Param{{Name: "path", Positional: true, Required: true, Help: "SHARE/PATH"}, principal},
	Run:     explain,
}}

func (s *System) grant(ctx context.Context, c *Call) (auth.Grant, error) {
	role, err := auth.ParseRole(c.Str("role"))
	if err != nil {
		return auth.Grant{}, Errorf(http.StatusBadRequest, "%v", err)
	}
	at, err := auth.ParseScope(c.Str("scope"))
	if err != nil {
		return auth.Grant{}, Errorf(http.StatusBadRequest, "%v", err)
	}
	p, err := s.Names.ByName(ctx, c.Str("principal"))
	if err != nil {
		return auth.Grant{}, roleRefusal(err)
	}
	return auth.Grant{Role: role, SID: p.SID, Name: p.String(), Scope: at}, nil
}

func roleRefusal(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, auth.ErrNoPrincipal), errors.Is(err, auth.ErrNoGrant):
		return Errorf(http.StatusNotFound, "%v", err)
	case errors.Is(err, auth.ErrGrantExists), errors.Is(err, auth.ErrLastAdmin):
		return Errorf(http.StatusConflict, "%v", err)
	}
	return Errorf(http.StatusBadRequest, "%v", err)
}

// Effective is the answer of `gabion auth explain`.
type Effective struct {
	Principal  string   `json:"principal"`
	Granted    string   `json:"granted"`
	WithIntent string   `json:"with_backup_intent"`
	Reasons    []string `json:"reasons"`
}

func explain(ctx context.Context, s *System, c *Call) (any, error) {
	p, err := s.Names.ByName(ctx, c.Str("principal"))
	if err != nil {
		return nil, roleRefusal(err)
	}
	share, sd, err := s.descriptor(c.Str("path"))
	if err != nil {
		return nil, err
	}
	token, err := s.Names.Token(ctx, s.Roles, p)
	if err != nil {
		return nil, Errorf(http.StatusBadGateway, "asking the domain: %v", err)
	}
	_, path, _ := strings.Cut(slashed(c.Str("path")), "/")
	at := auth.FileScope(share, path)
	x := auth.Explain(s.Roles.At(token, at), sd,
		func(pr auth.Privilege) []auth.Grant { return s.Roles.Why(token, pr, at) },
		func(sid dtyp.SID) string { who := s.Names.BySID(ctx, sid); return who.String() })
	out := Effective{Principal: p.String(), Granted: x.Granted.String(), WithIntent: x.WithIntent.String(), Reasons: []string{}}
	for i := range x.Reasons {
		out.Reasons = append(out.Reasons, x.Reasons[i].String())
	}
	return out, nil
}

// descriptor reads the security descriptor of SHARE/PATH.
func (s *System) descriptor(text string) (share string, sd *dtyp.SecurityDescriptor, err error) {
	share, path, _ := strings.Cut(slashed(text), "/")
	spec, ok := s.Shares.Find(share)
	if !ok {
		return "", nil, Errorf(http.StatusNotFound, "there is no share %q; write SHARE/PATH", share)
	}
	n, err := walk(s.Volume, strings.ReplaceAll(spec.Path, `\`, "/")+"/"+path)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrNotDir) {
		return "", nil, Errorf(http.StatusNotFound, "%s: not found", text)
	}
	if err != nil {
		return "", nil, err
	}
	defer n.Close()
	b, err := n.Blob(store.BlobSecurity)
	if err != nil {
		return "", nil, err
	}
	if b == nil {
		return spec.Name, auth.RootSecurity(), nil
	}
	sd, err = dtyp.DecodeSecurityDescriptor(b)
	return spec.Name, sd, err
}

// slashed is a path as an administrator writes it with slashes inside only.
func slashed(path string) string { return strings.Trim(strings.ReplaceAll(path, `\`, "/"), "/") }

// walk opens a path from the volume's root.
func walk(vol store.Volume, path string) (store.Node, error) {
	n, err := vol.Root(store.Live)
	for _, name := range strings.FieldsFunc(path, func(r rune) bool { return r == '/' }) {
		if err != nil {
			return nil, err
		}
		dir := n
		n, _, err = vol.Open(dir, name)
		dir.Close()
	}
	return n, err
}
