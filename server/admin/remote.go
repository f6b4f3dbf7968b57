package admin

import (
	"maps"
	"slices"
	"strings"

	"gabion/server"
	"gabion/server/rpc"
)

// RemoteShares lets Windows' tools edit the shares (MS-SRVS): what they do is the same as
// by the operations of that name, and audited as them. The RPC service has checked the
// caller's role.
type RemoteShares struct{ *System }

var _ rpc.ShareEditor = RemoteShares{}

// AddShare is "share add".
func (r RemoteShares) AddShare(by rpc.Caller, name, path string, set server.ShareSettings) error {
	s := ShareSpec{Name: name, Path: strings.Trim(path, `\`), Comment: set.Comment, MaxUses: set.MaxUses, Caching: set.Caching}
	if set.Security != nil {
		s.Security = set.Security.SDDL()
	}
	err := r.Shares.Add(s)
	r.record("share add", by, map[string]any{"spec": name, "path": s.Path}, err)
	return err
}

// ChangeShare is what the array's own operations have no word for: remark, limit,
// permissions and caching of a share.
func (r RemoteShares) ChangeShare(by rpc.Caller, name string, change func(*server.ShareSettings)) error {
	var to server.ShareSettings
	err := r.Shares.Change(name, func(s *server.ShareSettings) {
		change(s)
		to = *s
	})
	values := map[string]any{"name": name, "comment": to.Comment, "max_uses": to.MaxUses, "caching": to.Caching}
	if to.Security != nil {
		values["security"] = to.Security.SDDL()
	}
	r.record("share change", by, values, err)
	return err
}

// RemoveShare is "share remove".
func (r RemoteShares) RemoveShare(by rpc.Caller, name string) error {
	err := r.Shares.Remove(name)
	r.record("share remove", by, map[string]any{"name": name}, err)
	return err
}

// record audits one call.
func (r RemoteShares) record(operation string, by rpc.Caller, values map[string]any, err error) {
	op := &Operation{Name: operation}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		op.Params = append(op.Params, Param{Name: name})
	}
	who := by.User
	if by.Domain != "" {
		who = by.Domain + `\` + who
	}
	r.audit(op, &Call{Caller: Caller{Name: who, From: by.From}, values: values}, err)
}
