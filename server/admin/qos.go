package admin

import (
	"context"
	"errors"
	"net/http"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/server/qos"
)

var (
	policyParam   = Param{Name: "policy", Positional: true, Required: true, Help: "name or id of a policy"}
	policyNumbers = []Param{
		{Name: "minimum", Kind: Number, Help: "normalised I/O per second that are promised"},
		{Name: "maximum", Kind: Number, Help: "normalised I/O per second that are allowed; 0 is no limit"},
		{Name: "bandwidth", Kind: Number, Help: "KiB per second that are allowed; 0 is no limit"},
		{Name: "weight", Kind: Number, Help: "part of what is left, 1 to 1000 (default 100)"},
	}
)

var qosOperations = []Operation{{
	Name: "qos policy create", Method: "POST", Path: "/v1/qos/policies", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Make a storage QoS policy",
	Example: "gabion qos policy create gold --minimum 500 --maximum 5000",
	Params: append([]Param{{Name: "name", Positional: true, Required: true, Help: "the policy's name"},
		{Name: "id", Help: "GUID by which hosts name it; without it one is made"},
		{Name: "type", Help: "dedicated (each VM has the numbers for itself, the default) or aggregated (all share them)"}}, policyNumbers...),
	Run: createPolicy,
}, {
	Name: "qos policy list", Method: "GET", Path: "/v1/qos/policies", Role: auth.RoleReadOnly,
	Summary: "List the storage QoS policies and what their flows do",
	Example: "gabion qos policy list",
	Run: withQoS(func(q *qos.Service, _ *Call) (any, error) {
		return q.PolicyUses(), nil
	}),
}, {
	Name: "qos policy set", Method: "PUT", Path: "/v1/qos/policies/{policy}", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Change a policy's numbers; they count at once",
	Example: "gabion qos policy set gold --maximum 8000",
	Params:  append([]Param{policyParam}, policyNumbers...),
	Run:     setPolicy,
}, {
	Name: "qos policy delete", Method: "DELETE", Path: "/v1/qos/policies/{policy}", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Delete a policy; flows that use it run without",
	Example: "gabion qos policy delete gold",
	Params:  []Param{policyParam},
	Run: withQoS(func(q *qos.Service, c *Call) (any, error) {
		p, err := q.FindPolicy(c.Str("policy"))
		if err == nil {
			err = q.DeletePolicy(p.ID)
		}
		return nil, policyRefusal(err)
	}),
}, {
	Name: "qos flow list", Method: "GET", Path: "/v1/qos/flows", Role: auth.RoleReadOnly,
	Summary: "List the storage flows: who reads and writes what, under which policy",
	Example: "gabion qos flow list",
	Run:     withQoS(func(q *qos.Service, _ *Call) (any, error) { return q.Flows(), nil }),
}, {
	Name: "qos top", Method: "GET", Path: "/v1/qos/top", Role: auth.RoleReadOnly, Live: true,
	Summary: "Show the busiest flows, their latency by network, queue and device, and who is the noisy neighbour",
	Example: "gabion qos top",
	Params:  []Param{{Name: "count", Kind: Number, Help: "how many flows at most (default 20)"}},
	Run: withQoS(func(q *qos.Service, c *Call) (any, error) {
		n := 20
		if c.Has("count") {
			n = int(c.Int("count"))
		}
		return q.Top(n), nil
	}),
}}

// withQoS refuses what needs a service that is switched off.
func withQoS(run func(*qos.Service, *Call) (any, error)) func(context.Context, *System, *Call) (any, error) {
	return func(_ context.Context, s *System, c *Call) (any, error) {
		if s.QoS == nil {
			return nil, Errorf(http.StatusConflict, "storage QoS is switched off (--qos off)")
		}
		return run(s.QoS, c)
	}
}

func createPolicy(ctx context.Context, s *System, c *Call) (any, error) {
	return withQoS(func(q *qos.Service, c *Call) (any, error) {
		p := qos.Policy{Name: c.Str("name")}
		var err error
		if c.Has("id") {
			if p.ID, err = dtyp.ParseGUID(c.Str("id")); err != nil || p.ID.IsZero() {
				return nil, Errorf(http.StatusBadRequest, "%q is not a policy's id", c.Str("id"))
			}
		}
		if c.Has("type") {
			if p.Kind, err = qos.ParseKind(c.Str("type")); err != nil {
				return nil, Errorf(http.StatusBadRequest, "%v", err)
			}
		}
		if err := numbers(c, &p.Numbers); err != nil {
			return nil, err
		}
		p, err = q.AddPolicy(p)
		return policyInfo(p), policyRefusal(err)
	})(ctx, s, c)
}

func setPolicy(ctx context.Context, s *System, c *Call) (any, error) {
	return withQoS(func(q *qos.Service, c *Call) (any, error) {
		var given qos.Numbers
		if err := numbers(c, &given); err != nil {
			return nil, err
		}
		p, err := q.FindPolicy(c.Str("policy"))
		if err == nil {
			p, err = q.ChangePolicy(p.ID, func(n *qos.Numbers) { _ = numbers(c, n) })
		}
		return policyInfo(p), policyRefusal(err)
	})(ctx, s, c)
}

// numbers overwrites those that the call gives.
func numbers(c *Call, n *qos.Numbers) error {
	for name, to := range map[string]*uint64{"minimum": &n.Minimum, "maximum": &n.Maximum, "bandwidth": &n.Bandwidth} {
		if v := c.Int(name); v < 0 {
			return Errorf(http.StatusBadRequest, "%s: %d is below 0", name, v)
		} else if c.Has(name) {
			*to = uint64(v)
		}
	}
	if c.Has("weight") {
		if v := c.Int("weight"); v < 1 || v > 1000 {
			return Errorf(http.StatusBadRequest, "weight: %d is not between 1 and 1000", v)
		}
		n.Weight = uint32(c.Int("weight"))
	}
	return nil
}

// policyInfo is a policy with its id.
func policyInfo(p qos.Policy) any {
	return struct {
		ID string `json:"id"`
		qos.Policy
	}{p.ID.String(), p}
}

func policyRefusal(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, qos.ErrNoPolicy):
		return Errorf(http.StatusNotFound, "%v", err)
	case errors.Is(err, qos.ErrPolicyExists):
		return Errorf(http.StatusConflict, "%v", err)
	case errors.Is(err, qos.ErrPolicy):
		return Errorf(http.StatusBadRequest, "%v", err)
	}
	return err
}
