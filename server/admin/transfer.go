package admin

import (
	"context"
	"errors"
	"net/http"

	"gabion/auth"
	"gabion/protocol/archive"
	"gabion/server/transfer"
)

var transferOperations = []Operation{{
	Name: "export", Method: "GET", Path: "/v1/export", Role: auth.RoleBackupOperator, Delegated: "target", Sends: true,
	Summary: "Send files or virtual machines as a stream: of a snapshot, whole or by its difference from an earlier one",
	Example: "gabion export vm:sql1 --snapshot monday --output sql1.gbx\n" +
		"  gabion export vm:sql1 --snapshot tuesday --base monday | ssh backup 'cat > sql1-tuesday.gbx'",
	Params: []Param{targetParam,
		{Name: "snapshot", Help: "what to send; without it a snapshot is taken now, and stays"},
		{Name: "base", Help: "the earlier snapshot from which the difference is sent"},
		{Name: "resume", Help: "the mark at which a stream that broke goes on, as the error names it"}},
	Run: export,
}, {
	Name: "import", Method: "POST", Path: "/v1/import", Role: auth.RoleStorageAdmin, Delegated: "target", Mutates: true, Takes: true,
	Summary: "Make files of a stream that export sent, in a folder",
	Example: "gabion import vms/restored --input sql1.gbx\n" +
		"  ssh other gabion export vm:sql1 --snapshot monday | gabion import vms/sql1-copy",
	Params: []Param{{Name: "target", Positional: true, Required: true, Help: "SHARE or SHARE/PATH of a folder"},
		{Name: "replace", Kind: Bool, Help: "let files go that are in the way"},
		{Name: "force", Kind: Bool, Help: "close what clients have open, and undo what changed since the base of a difference"},
		{Name: "wait", Help: "how long to wait for clients to give up their caches, such as 30s (default 1m)"}},
	Run: importStream,
}}

func export(ctx context.Context, s *System, c *Call) (any, error) {
	t, err := s.parse(c.Str("target"))
	if err != nil {
		return nil, err
	}
	x := &transfer.Export{Volume: s.Volume, Target: t, Announce: c.Out.Announce, Turn: s.turn()}
	if name := c.Str("snapshot"); name != "" {
		x.Snap, err = s.snapshot(c, name, t)
	} else if c.Has("resume") {
		err = Errorf(http.StatusBadRequest, "--resume needs --snapshot: a stream goes on from the snapshot it is of")
	} else {
		x.Snap, err = s.snapshotNow(t, "export-", c)
	}
	if err != nil {
		return nil, err
	}
	if name := c.Str("base"); name != "" {
		base, err := s.snapshot(c, name, t)
		if err != nil {
			return nil, err
		}
		if base.View >= x.Snap.View {
			return nil, Errorf(http.StatusBadRequest, "snapshot %q is not older than %q", name, x.Snap.Name)
		}
		x.Base = &base
	}
	if c.Has("resume") {
		if x.From, err = archive.ParseMark(c.Str("resume")); err != nil {
			return nil, Errorf(http.StatusBadRequest, "%v", err)
		}
	}
	return nil, transferRefusal(x.Snap.Name, x.Write(ctx, c.Out))
}

func importStream(ctx context.Context, s *System, c *Call) (any, error) {
	t, err := s.resolve(c.Str("target"))
	if err != nil {
		return nil, err
	}
	if len(t.Places) != 1 || !t.Places[0].Dir || len(t.VMs) > 0 {
		return nil, Errorf(http.StatusBadRequest, "%q is not a folder", c.Str("target"))
	}
	if spec, _ := s.Shares.Find(t.Places[0].Share); spec.Snapshot != "" {
		return nil, Errorf(http.StatusConflict, "the share %q shows a snapshot, which does not change", spec.Name)
	}
	opt, err := changeOptions(c)
	if err != nil {
		return nil, err
	}
	m := &transfer.Import{Changer: s.Versions, Dest: t.Places[0], Options: opt, Replace: c.Bool("replace"), Turn: s.turn()}
	r, err := m.Read(ctx, c.Body)
	return r, transferRefusal("", err)
}

// turn makes a transfer background work, nil when nothing is scheduled.
func (s *System) turn() transfer.Turn {
	if s.QoS == nil {
		return nil
	}
	return s.QoS.Background
}

func transferRefusal(name string, err error) error {
	var broken *transfer.BrokenError
	switch {
	case errors.As(err, &broken), errors.Is(err, archive.ErrPayload), errors.Is(err, transfer.ErrPath):
		return Errorf(http.StatusUnprocessableEntity, "%v", err)
	case errors.Is(err, transfer.ErrMark), errors.Is(err, transfer.ErrBase), errors.Is(err, transfer.ErrChanged), errors.Is(err, transfer.ErrInWay):
		return Errorf(http.StatusConflict, "%v", err)
	}
	return snapshotRefusal(name, err)
}
