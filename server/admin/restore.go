package admin

import (
	"context"
	"net/http"
	"time"

	"gabion/auth"
	"gabion/server/versions"
	"gabion/server/vm"
)

// changeParams say how live files are changed.
var changeParams = []Param{
	{Name: "force", Kind: Bool, Help: "close what clients have open; their unwritten data is lost"},
	{Name: "no-safety", Kind: Bool, Help: "take no snapshot of what is there before"},
	{Name: "wait", Help: "how long to wait for clients to give up their caches, such as 30s (default 1m)"},
}

func changeOptions(c *Call) (versions.Options, error) {
	opt := versions.Options{Force: c.Bool("force"), NoSafety: c.Bool("no-safety"), KeepNew: c.Bool("keep-new"), By: c.Caller.Name}
	if c.Has("wait") {
		d, err := parseDuration(c.Str("wait"))
		if err != nil || d <= 0 || d > time.Hour {
			return opt, Errorf(http.StatusBadRequest, "--wait: %q is not a time up to 1h", c.Str("wait"))
		}
		opt.Wait = d
	}
	return opt, nil
}

var restoreOperations = []Operation{{
	Name: "restore", Method: "POST", Path: "/v1/restore", Role: auth.RoleStorageAdmin, Delegated: "target", Mutates: true,
	Summary: "Make files, a folder, a virtual machine or a group what it was in a snapshot",
	Example: "gabion restore vm:sql1 before-upgrade\n  gabion restore vms/docs/plan.xlsx hourly-20270131T1000 --json",
	Params: append([]Param{targetParam,
		{Name: "snapshot", Positional: true, Required: true, Help: "the snapshot's name"},
		{Name: "keep-new", Kind: Bool, Help: "leave files alone that came after the snapshot"},
	}, changeParams...),
	Run: restore,
}, {
	Name: "sync", Method: "POST", Path: "/v1/sync", Role: auth.RoleStorageAdmin, Delegated: "source target", Mutates: true,
	Summary: "Make a virtual machine's disks equal to those of another one's snapshot, in seconds",
	Example: "gabion sync vm:sql-prod vm:sql-dev --snapshot nightly-20270131\n" +
		"  gabion sync vms/prod vms/dev --disk data.vhdx --disk logs.vhdx=log.vhdx --force",
	Params: append([]Param{
		{Name: "source", Positional: true, Required: true, Help: targetHelp + ": where the disks come from"},
		{Name: "target", Positional: true, Required: true, Help: targetHelp + ": whose disks are changed"},
		{Name: "snapshot", Help: "the source's snapshot; without it one is taken now"},
		{Name: "disk", Kind: List, Help: "a disk to sync, NAME or FROM=TO; without it all of the target's"},
	}, changeParams...),
	Run: syncDisks,
}, {
	Name: "snapshot diff", Method: "GET", Path: "/v1/snapshots/diff", Role: auth.RoleReadOnly, Scoped: true,
	Summary: "Say which files differ between two snapshots, or a snapshot and now",
	Example: "gabion snapshot diff monday tuesday\n  gabion snapshot diff monday now vm:sql1",
	Params:  diffParams,
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		list, err := diff(s, c)
		out := make([]ChangedFile, len(list))
		for i, f := range list {
			out[i] = ChangedFile{f.Path, f.Change, f.Size, f.Bytes}
		}
		return out, err
	},
}, {
	Name: "diff", Method: "GET", Path: "/v1/diff", Role: auth.RoleReadOnly, Scoped: true,
	Summary: "List the changed ranges of every file that differs between two snapshots, or a snapshot and now",
	Example: "gabion diff monday tuesday --json",
	Params:  diffParams,
	Run:     func(_ context.Context, s *System, c *Call) (any, error) { return diff(s, c) },
}}

var diffParams = []Param{
	{Name: "from", Positional: true, Required: true, Help: "the older snapshot's name"},
	{Name: "to", Positional: true, Required: true, Help: "the newer one's, or now"},
	{Name: "target", Positional: true, Help: targetHelp + "; without it all that the older one covers"},
}

// ChangedFile is one line of a summary of differences.
type ChangedFile struct {
	Path   string `json:"path"`
	Change string `json:"change"`
	Size   int64  `json:"size"`
	Bytes  int64  `json:"bytes_changed"`
}

func restore(ctx context.Context, s *System, c *Call) (any, error) {
	t, err := s.parse(c.Str("target"))
	if err != nil {
		return nil, err
	}
	snap, err := s.snapshot(c, c.Str("snapshot"), t)
	if err != nil {
		return nil, err
	}
	opt, err := changeOptions(c)
	if err != nil {
		return nil, err
	}
	r, err := s.Versions.Restore(ctx, t, snap, opt)
	return r, snapshotRefusal(snap.Name, err)
}

func syncDisks(ctx context.Context, s *System, c *Call) (any, error) {
	source, err := s.parse(c.Str("source"))
	if err != nil {
		return nil, err
	}
	target, err := s.resolve(c.Str("target"))
	if err != nil {
		return nil, err
	}
	opt, err := changeOptions(c)
	if err != nil {
		return nil, err
	}
	var snap versions.Info
	if name := c.Str("snapshot"); name != "" {
		snap, err = s.snapshot(c, name, source)
	} else {
		snap, err = s.snapshotNow(source, "sync-", c)
	}
	if err != nil {
		return nil, err
	}
	from, err := s.Versions.Book.Disks(source, &snap)
	if err != nil {
		return nil, snapshotRefusal(snap.Name, err)
	}
	to, err := s.Versions.Book.Disks(target, nil)
	if err != nil {
		return nil, err
	}
	pairs, err := versions.Match(from, to, c.Strs("disk"))
	if err != nil {
		return nil, snapshotRefusal(snap.Name, err)
	}
	r, err := s.Versions.Sync(ctx, pairs, snap, target.Text, opt)
	return r, snapshotRefusal(snap.Name, err)
}

// snapshotNow takes a snapshot of a target, named after the time.
func (s *System) snapshotNow(t *vm.Target, prefix string, c *Call) (versions.Info, error) {
	t, err := s.resolve(t.Text)
	if err != nil {
		return versions.Info{}, err
	}
	name := prefix + time.Now().UTC().Format("20060102T150405.000Z")
	i, err := s.Versions.Book.Create(name, t.IDs(), versions.Meta{Target: t.Text, By: c.Caller.Name})
	return i, snapshotRefusal(name, err)
}

// side finds one side of a comparison.
func (s *System) side(c *Call, name string, t *vm.Target) (versions.Side, error) {
	if name == "now" || name == "live" {
		return versions.Side{}, nil
	}
	i, err := s.snapshot(c, name, t)
	return versions.Side{Snap: &i}, err
}

func diff(s *System, c *Call) ([]versions.FileDiff, error) {
	var t *vm.Target
	var err error
	if c.Str("target") != "" {
		if t, err = s.parse(c.Str("target")); err != nil {
			return nil, err
		}
	}
	from, err := s.side(c, c.Str("from"), t)
	if err != nil {
		return nil, err
	}
	if t == nil {
		if from.Snap == nil {
			return nil, Errorf(http.StatusBadRequest, "the older side must be a snapshot, or name a target")
		}
		t = s.covered(*from.Snap)
	}
	to, err := s.side(c, c.Str("to"), t)
	if err != nil {
		return nil, err
	}
	if !c.holds(auth.Array) && !s.may(c, t) { // two times now
		return nil, Errorf(http.StatusForbidden, "%s needs the role %v on %s", c.op.Name, c.op.Role, t.Text)
	}
	list, err := s.Versions.Book.Collect(t, from, to)
	return list, snapshotRefusal(c.Str("from"), err)
}
