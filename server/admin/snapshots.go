package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"gabion/auth"
	"gabion/server/versions"
	"gabion/server/vm"
	"gabion/store"
)

const targetHelp = "SHARE, SHARE/PATH, vm:NAME or group:NAME"

var (
	targetParam  = Param{Name: "target", Positional: true, Required: true, Help: targetHelp}
	snapshotName = Param{Name: "name", Positional: true, Required: true, Help: "the snapshot's name"}
)

var snapshotOperations = []Operation{{
	Name: "snapshot create", Method: "POST", Path: "/v1/snapshots", Role: auth.RoleStorageAdmin, Delegated: "target", Mutates: true,
	Summary: "Take a snapshot of a share, a folder, a file, a virtual machine or a group, as one instant",
	Example: "gabion snapshot create vms/vm1 before-upgrade\n  gabion snapshot create vm:sql1 --immutable 30d",
	Params: []Param{targetParam,
		{Name: "name", Positional: true, Help: "the snapshot's name; without it one is made of the time"},
		{Name: "immutable", Help: "until when nobody may delete it: a date (2027-01-31, or RFC 3339) or a time from now (30d, 12h)"}},
	Run: createSnapshot,
}, {
	Name: "snapshot list", Method: "GET", Path: "/v1/snapshots", Role: auth.RoleReadOnly, Scoped: true,
	Summary: "List the snapshots, oldest first",
	Example: "gabion snapshot list vms",
	Params:  []Param{{Name: "target", Positional: true, Help: targetHelp + "; without it all are listed"}},
	Run:     listSnapshots,
}, {
	Name: "snapshot delete", Method: "DELETE", Path: "/v1/snapshots/{name}", Role: auth.RoleStorageAdmin, Scoped: true, Mutates: true,
	Summary: "Delete a snapshot; its space is given back in the background",
	Example: "gabion snapshot delete before-upgrade",
	Params: []Param{snapshotName,
		{Name: "override", Help: "the reason for deleting a snapshot that is immutable still; super-admin only, recorded in the audit log"}},
	Run: deleteSnapshot,
}, {
	Name: "snapshot lock", Method: "PUT", Path: "/v1/snapshots/{name}/immutable", Role: auth.RoleStorageAdmin, Scoped: true, Mutates: true,
	Summary: "Make a snapshot immutable until a date, or until a later one than before",
	Example: "gabion snapshot lock before-upgrade 90d",
	Params: []Param{snapshotName,
		{Name: "until", Positional: true, Required: true, Help: "a date (2027-01-31, or RFC 3339) or a time from now (30d, 12h)"}},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		if _, err := s.snapshot(c, c.Str("name"), nil); err != nil {
			return nil, err
		}
		until, err := parseUntil(c.Str("until"), time.Now())
		if err != nil {
			return nil, err
		}
		i, err := s.Versions.Book.Lock(c.Str("name"), until)
		if err != nil {
			return nil, snapshotRefusal(c.Str("name"), err)
		}
		return snapshotInfo(i), nil
	},
}, {
	Name: "snapshot mount", Method: "POST", Path: "/v1/snapshots/{name}/mount", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Show a snapshot as a read-only share; share remove takes it away",
	Example: "gabion snapshot mount before-upgrade vms/vm1 vm1-old",
	Params: []Param{snapshotName,
		{Name: "target", Positional: true, Required: true, Help: "SHARE or SHARE/PATH of a folder that the snapshot covers"},
		{Name: "share", Positional: true, Help: "the new share's name; without it SHARE@NAME"}},
	Run: mountSnapshot,
}}

// SnapshotInfo is a snapshot as administrators see it.
type SnapshotInfo struct {
	Name      string    `json:"name"`
	Taken     time.Time `json:"taken"`
	ID        uint64    `json:"id"`
	Target    string    `json:"target"`
	Schedule  string    `json:"schedule"`
	Immutable string    `json:"immutable_until"`
}

func snapshotInfo(s versions.Info) SnapshotInfo {
	i := SnapshotInfo{Name: s.Name, Taken: s.Taken.Time(), ID: uint64(s.View), Target: s.Target, Schedule: s.Schedule}
	if !s.Until.IsZero() {
		i.Immutable = s.Until.UTC().Format(time.RFC3339)
	}
	return i
}

// parseUntil reads a date or a time from now.
func parseUntil(text string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	d, err := parseDuration(text)
	if err != nil || d <= 0 {
		return time.Time{}, Errorf(http.StatusBadRequest, "%q is neither a date (2027-01-31) nor a time from now (30d, 12h)", text)
	}
	return now.Add(d), nil
}

// parseDuration is time.ParseDuration with days and weeks.
func parseDuration(text string) (time.Duration, error) {
	for unit, d := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if n, ok := strings.CutSuffix(text, unit); ok {
			var count int64
			if _, err := fmt.Sscanf(n+";", "%d;", &count); err != nil || count > 36500 || count < -36500 {
				return 0, fmt.Errorf("%q is not a duration", text)
			}
			return time.Duration(count) * d, nil
		}
	}
	return time.ParseDuration(text)
}

func createSnapshot(_ context.Context, s *System, c *Call) (any, error) {
	t, err := s.resolve(c.Str("target"))
	if err != nil {
		return nil, err
	}
	m := versions.Meta{Target: t.Text, By: c.Caller.Name}
	if c.Has("immutable") {
		if m.Until, err = parseUntil(c.Str("immutable"), time.Now()); err != nil {
			return nil, err
		}
	}
	name := c.Str("name")
	if name == "" {
		name = time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	}
	snap, err := s.Versions.Book.Create(name, t.IDs(), m)
	if err != nil {
		return nil, snapshotRefusal(name, err)
	}
	return snapshotInfo(snap), nil
}

func listSnapshots(_ context.Context, s *System, c *Call) (any, error) {
	all := c.holds(auth.Array)
	ids := []store.FileID{store.RootID}
	if c.Str("target") != "" {
		t, err := s.parse(c.Str("target"))
		if !all && (err != nil || !s.may(c, t)) {
			return nil, Errorf(http.StatusForbidden, "snapshot list needs the role %v on %q", c.op.Role, c.Str("target"))
		}
		if err != nil {
			return nil, err
		}
		if t, err = s.resolve(t.Text); err != nil {
			return nil, err
		}
		ids, all = t.IDs(), true
	}
	out := []SnapshotInfo{}
	seen := map[store.View]bool{}
	for _, id := range ids {
		list, err := s.Versions.Book.List(id)
		if err != nil {
			return nil, err
		}
		for _, i := range list {
			if seen[i.View] || !all && !s.may(c, s.covered(i)) {
				continue
			}
			seen[i.View] = true
			out = append(out, snapshotInfo(i))
		}
	}
	if len(ids) > 1 {
		slices.SortFunc(out, func(x, y SnapshotInfo) int { return int(x.ID) - int(y.ID) })
	}
	return out, nil
}

// covered is what a snapshot was taken of, as a target. A part of it that no share shows
// has a place that only roles on the array reach.
func (s *System) covered(i versions.Info) *vm.Target {
	t := &vm.Target{Text: i.Target}
	named, _ := s.Machines.Parse(i.Target)
	for _, id := range i.Scope {
		p := vm.Place{ID: id}
		if full, err := vm.RootPath(s.Volume, i.Snapshot, id); err == nil {
			p = s.shown(full)
			if named != nil && len(named.Places) == 1 && strings.EqualFold(named.Places[0].Full, full) {
				p = named.Places[0] // of several shares the one that it was taken by
			}
			p.ID = id
		}
		t.Places = append(t.Places, p)
	}
	return t
}

// shown finds a path from the volume's root in the share that shows it most closely.
func (s *System) shown(full string) vm.Place {
	p, best := vm.Place{Full: full}, -1
	for _, spec := range s.Shares.List() {
		at := vm.Clean(spec.Path)
		rest, ok := strings.CutPrefix(full, at)
		if spec.Snapshot != "" || !ok || rest != "" && at != "" && rest[0] != '/' || len(at) <= best {
			continue
		}
		best, p.Share, p.Path = len(at), spec.Name, strings.TrimPrefix(rest, "/")
	}
	return p
}

// snapshot finds a snapshot for a caller who may call the operation on a target, without
// one on everything that the snapshot covers. What one may not see is not there.
func (s *System) snapshot(c *Call, name string, t *vm.Target) (versions.Info, error) {
	i, err := s.Versions.Book.Find(name)
	if err != nil {
		if c.holds(auth.Array) || !errors.Is(err, store.ErrNotFound) {
			return i, snapshotRefusal(name, err)
		}
		return i, Errorf(http.StatusForbidden, "%s needs the role %v on what snapshot %q covers", c.op.Name, c.op.Role, name)
	}
	if t == nil {
		t = s.covered(i)
	}
	if !c.holds(auth.Array) && !s.may(c, t) {
		return i, Errorf(http.StatusForbidden, "%s needs the role %v on what snapshot %q covers", c.op.Name, c.op.Role, name)
	}
	return i, nil
}

func deleteSnapshot(_ context.Context, s *System, c *Call) (any, error) {
	name := c.Str("name")
	if _, err := s.snapshot(c, name, nil); err != nil {
		return nil, err
	}
	if share := s.Shares.Mounted(name); share != "" {
		return nil, Errorf(http.StatusConflict, "snapshot %q is shown by the share %q; remove that first", name, share)
	}
	var override func(versions.Info) error
	if reason := c.Str("override"); reason != "" {
		if !c.Caller.held(auth.Array).Has(auth.RoleSuperAdmin) {
			return nil, Errorf(http.StatusForbidden, "overriding an immutable snapshot needs the role %v", auth.RoleSuperAdmin)
		}
		override = func(i versions.Info) error { return s.recordOverride(c, i, reason) }
	}
	return nil, snapshotRefusal(name, s.Versions.Book.Delete(name, override))
}

// recordOverride writes down that an immutable snapshot is deleted; it is on stable storage
// before the snapshot goes.
func (s *System) recordOverride(c *Call, i versions.Info, reason string) error {
	s.Audit.Warn("override", "operation", c.op.Name, "caller", c.Caller.Name, "from", c.Caller.From, "snapshot", i.Name,
		"immutable_until", i.Until.UTC().Format(time.RFC3339), slog.String("reason", reason))
	if s.SyncAudit != nil {
		if err := s.SyncAudit(); err != nil {
			return fmt.Errorf("the override could not be recorded in the audit log, so nothing was deleted: %w", err)
		}
	}
	return nil
}

func mountSnapshot(_ context.Context, s *System, c *Call) (any, error) {
	i, err := s.snapshot(c, c.Str("name"), nil)
	if err != nil {
		return nil, err
	}
	t, err := s.parse(c.Str("target"))
	if err != nil {
		return nil, err
	}
	if len(t.Places) != 1 || len(t.VMs) > 0 {
		return nil, Errorf(http.StatusBadRequest, "%q: only SHARE or SHARE/PATH can be mounted", c.Str("target"))
	}
	live, _ := s.Shares.Find(t.Places[0].Share)
	spec := ShareSpec{
		Name: c.Str("share"), Path: strings.ReplaceAll(t.Places[0].Full, "/", `\`), Comment: "snapshot " + i.Name + " of " + t.Text,
		ReadOnly: true, Encrypt: live.Encrypt, ABE: live.ABE, Allow: live.Allow, Snapshot: i.Name,
	}
	if spec.Name == "" {
		spec.Name = t.Places[0].Share + "@" + strings.ReplaceAll(i.Name, ":", ".")
	}
	if err := s.Shares.Add(spec); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return nil, Errorf(http.StatusNotFound, "snapshot %q does not cover %s", i.Name, t.Text)
		}
		return nil, refusal(err)
	}
	return spec, nil
}

func snapshotRefusal(name string, err error) error {
	var immutable *versions.ImmutableError
	var inUse *versions.InUseError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &immutable):
		return Errorf(http.StatusConflict, "%v; a super-admin may delete it with --override REASON, which is recorded", err)
	case errors.As(err, &inUse):
		return Errorf(http.StatusConflict, "%v; stop what uses it, or close its opens with --force", err)
	case errors.Is(err, versions.ErrShorter):
		return Errorf(http.StatusConflict, "%v", err)
	case errors.Is(err, versions.ErrNothing):
		return Errorf(http.StatusNotFound, "%v", err)
	case errors.Is(err, versions.ErrMapping):
		return Errorf(http.StatusBadRequest, "%v", err)
	case errors.Is(err, store.ErrNotFound):
		return Errorf(http.StatusNotFound, "there is no snapshot %q", name)
	case errors.Is(err, store.ErrExist):
		return Errorf(http.StatusConflict, "there is a snapshot %q already", name)
	case errors.Is(err, store.ErrName):
		return Errorf(http.StatusBadRequest, "%q cannot name a snapshot", name)
	case errors.Is(err, store.ErrNoSpace):
		return Errorf(http.StatusInsufficientStorage, "%v", err)
	}
	return err
}
