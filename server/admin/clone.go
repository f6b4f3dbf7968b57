package admin

import (
	"context"
	"errors"
	"net/http"

	"gabion/auth"
	"gabion/server/versions"
	"gabion/store"
)

var cloneOperations = []Operation{{
	Name: "clone", Method: "POST", Path: "/v1/clone", Role: auth.RoleStorageAdmin, Delegated: "source target", Mutates: true,
	Summary: "Make a new file or folder that holds what another holds, whatever its size, in no time and no space",
	Example: "gabion clone vms/templates/win2025.vhdx vms/web1/disk.vhdx\n  gabion clone vm:template vms/web2 --snapshot golden",
	Params: []Param{
		{Name: "source", Positional: true, Required: true, Help: targetHelp + ": what is cloned, as it is at one instant"},
		{Name: "target", Positional: true, Required: true, Help: "SHARE/PATH of what is made; its folder must be there, and nothing of its name"},
		{Name: "snapshot", Help: "clone the source as it is in this snapshot"},
		{Name: "wait", Help: "how long to wait for clients to give up their caches of the folder, such as 30s (default 1m)"}},
	Run: clone,
}}

func clone(ctx context.Context, s *System, c *Call) (any, error) {
	source, err := s.parse(c.Str("source"))
	if err != nil {
		return nil, err
	}
	target, err := s.parse(c.Str("target"))
	if err != nil {
		return nil, err
	}
	if len(target.Places) != 1 || len(target.VMs) > 0 || target.Places[0].Path == "" {
		return nil, Errorf(http.StatusBadRequest, "%q is not SHARE/PATH", c.Str("target"))
	}
	opt, err := changeOptions(c)
	if err != nil {
		return nil, err
	}
	if name := c.Str("snapshot"); name != "" {
		snap, err := s.snapshot(c, name, source)
		if err != nil {
			return nil, err
		}
		r, err := s.Versions.Clone(ctx, source, snap, target.Places[0].Full, opt)
		return r, cloneRefusal(snap, err)
	}
	// One instant, also of a folder: a snapshot that goes when the clone is made.
	snap, err := s.snapshotNow(source, "clone-", c)
	if err != nil {
		return nil, err
	}
	r, err := s.Versions.Clone(ctx, source, snap, target.Places[0].Full, opt)
	if derr := s.Versions.Book.Delete(snap.Name, nil); err == nil {
		err = derr
	}
	return r, cloneRefusal(snap, err)
}

func cloneRefusal(snap versions.Info, err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Errorf(http.StatusNotFound, "%v", err)
	case errors.Is(err, store.ErrExist):
		return Errorf(http.StatusConflict, "%v", err)
	}
	return snapshotRefusal(snap.Name, err)
}
