package admin

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"gabion/auth"
	"gabion/store"
)

var snapshotTarget = Param{Name: "target", Positional: true, Required: true, Help: "SHARE or SHARE/PATH"}

var snapshotOperations = []Operation{{
	Name: "snapshot create", Method: "POST", Path: "/v1/snapshots", Role: auth.RoleStorageAdmin, Delegated: "target", Mutates: true,
	Summary: "Take a snapshot of a share, a folder or a file",
	Example: "gabion snapshot create vms/vm1 before-upgrade",
	Params: []Param{snapshotTarget,
		{Name: "name", Positional: true, Help: "the snapshot's name; without it one is made of the time"}},
	Run: createSnapshot,
}, {
	Name: "snapshot list", Method: "GET", Path: "/v1/snapshots", Role: auth.RoleReadOnly, Delegated: "target",
	Summary: "List the snapshots, oldest first",
	Example: "gabion snapshot list vms",
	Params:  []Param{{Name: "target", Positional: true, Help: "SHARE or SHARE/PATH; without it all are listed"}},
	Run:     listSnapshots,
}, {
	Name: "snapshot delete", Method: "DELETE", Path: "/v1/snapshots/{name}", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Delete a snapshot; its space is given back in the background",
	Example: "gabion snapshot delete before-upgrade",
	Params:  []Param{{Name: "name", Positional: true, Required: true, Help: "the snapshot's name"}},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		snap, err := s.Volume.Snapshots().Find(c.Str("name"))
		if err != nil {
			return nil, snapshotRefusal(c.Str("name"), err)
		}
		pos, err := s.Volume.Snapshots().Delete(snap.View)
		if err != nil {
			return nil, snapshotRefusal(c.Str("name"), err)
		}
		return nil, s.Volume.Wait(pos)
	},
}}

// SnapshotInfo is a snapshot as administrators see it.
type SnapshotInfo struct {
	Name  string    `json:"name"`
	Taken time.Time `json:"taken"`
	ID    uint64    `json:"id"`
}

func snapshotInfo(s store.Snapshot) SnapshotInfo {
	return SnapshotInfo{Name: s.Name, Taken: s.Taken.Time(), ID: uint64(s.View)}
}

func createSnapshot(_ context.Context, s *System, c *Call) (any, error) {
	id, err := s.target(c.Str("target"))
	if err != nil {
		return nil, err
	}
	name := c.Str("name")
	if name == "" {
		name = time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	}
	snap, pos, err := s.Volume.Snapshots().Create(name, []store.FileID{id})
	if err != nil {
		return nil, snapshotRefusal(name, err)
	}
	return snapshotInfo(snap), s.Volume.Wait(pos)
}

func listSnapshots(_ context.Context, s *System, c *Call) (any, error) {
	id := store.RootID
	if c.Has("target") {
		var err error
		if id, err = s.target(c.Str("target")); err != nil {
			return nil, err
		}
	}
	list, err := s.Volume.Snapshots().List(id)
	if err != nil {
		return nil, err
	}
	out := make([]SnapshotInfo, len(list))
	for i, snap := range list {
		out[i] = snapshotInfo(snap)
	}
	return out, nil
}

// target finds what SHARE[/PATH] names.
func (s *System) target(text string) (store.FileID, error) {
	share, path, _ := strings.Cut(strings.Trim(strings.ReplaceAll(text, `\`, "/"), "/"), "/")
	spec, ok := s.Shares.Find(share)
	if !ok {
		return 0, Errorf(http.StatusNotFound, "there is no share %q; write SHARE or SHARE/PATH", share)
	}
	n, err := walk(s.Volume, strings.ReplaceAll(spec.Path, `\`, "/")+"/"+path)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrNotDir) {
		return 0, Errorf(http.StatusNotFound, "%s: not found", text)
	}
	if err != nil {
		return 0, err
	}
	defer n.Close()
	return n.ID(), nil
}

func snapshotRefusal(name string, err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Errorf(http.StatusNotFound, "there is no snapshot %q", name)
	case errors.Is(err, store.ErrExist):
		return Errorf(http.StatusConflict, "there is a snapshot %q already", name)
	case errors.Is(err, store.ErrName):
		return Errorf(http.StatusBadRequest, "%q cannot name a snapshot", name)
	}
	return err
}
