package shadow

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/server"
	"gabion/server/object"
	"gabion/store"
)

// Folder is what a shadow copy is taken of.
type Folder struct {
	ID store.FileID
}

// Array is the Backend of a running server.
type Array struct {
	srv *server.Server
	vol *object.Volume
}

// NewArray returns the backend for the shares of a server that show a volume.
func NewArray(srv *server.Server, vol *object.Volume) *Array { return &Array{srv: srv, vol: vol} }

// Share implements Backend. There are no shadow copies of shadow copies.
func (a *Array) Share(name string) (f Folder, found, supported bool) {
	sh := a.srv.Share(name)
	if sh == nil || sh.IsPipe() {
		return f, false, false
	}
	probe := Copy{Share: sh.Name}
	supported = sh.Tree.Options().View == store.Live && sh.Tree.Volume() == a.vol &&
		!strings.Contains(sh.Name, "@{") && server.ValidShareName(probe.exposedName()) == nil
	return Folder{sh.Tree.RootID()}, true, supported
}

// Prepare implements Backend: Commit shall have little left to sync.
func (a *Array) Prepare(*Set) error { return a.vol.Store().Sync() }

func snapshotName(set dtyp.GUID) string { return object.HiddenSnapshot + set.String() }

// Snapshot implements Backend.
func (a *Array) Snapshot(s *Set) error {
	snaps := a.vol.Store().Snapshots()
	if old, err := snaps.Find(snapshotName(s.ID)); err == nil { // of a Commit whose answer was lost
		if _, err := snaps.Delete(old.View); err != nil {
			return err
		}
	}
	var scope []store.FileID
	for _, c := range s.Copies {
		scope = append(scope, c.Folder)
	}
	snap, pos, err := snaps.Create(snapshotName(s.ID), scope)
	if err != nil {
		return err
	}
	for _, c := range s.Copies {
		c.View, c.Created = snap.View, snap.Taken
	}
	return a.vol.Store().Wait(pos)
}

// Delete implements Backend.
func (a *Array) Delete(s *Set, gone []*Copy) error {
	if len(gone) == 0 || gone[0].View == 0 || len(s.Copies) > 0 {
		return nil // the snapshot is one for all copies of the set
	}
	pos, err := a.vol.Store().Snapshots().Delete(gone[0].View)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return a.vol.Store().Wait(pos)
}

// Expose implements Backend. Permissions and encryption are those that the base share has
// now (MS-FSRVP 3.1.4.6).
func (a *Array) Expose(c *Copy) error {
	if a.srv.Share(c.Exposed) != nil {
		return nil
	}
	base, err := a.base(c)
	if err != nil {
		return err
	}
	if c.Writable {
		if err := a.makeClone(c); err != nil {
			return fmt.Errorf("clone for share %q: %w", c.Exposed, err)
		}
	}
	return a.serve(c, base, !c.Writable)
}

// base finds the share that the copy is of.
func (a *Array) base(c *Copy) (*server.Share, error) {
	if sh := a.srv.Share(c.Share); sh != nil {
		return sh, nil
	}
	return nil, fmt.Errorf("share %q: %w", c.Share, server.ErrNoShare)
}

// serve adds the exposed share.
func (a *Array) serve(c *Copy, base *server.Share, readOnly bool) error {
	opt := object.TreeOptions{Share: c.Exposed, ReadOnly: readOnly, AccessBasedEnumeration: base.AccessBasedEnumeration}
	var tree *object.Tree
	var status ntstatus.Status
	if c.Writable {
		tree, status = a.vol.Tree(clonePath(c), opt)
	} else {
		opt.View = c.View
		tree, status = base.Tree.In(opt)
	}
	if status != ntstatus.Success {
		return fmt.Errorf("share %q: %w", c.Exposed, status)
	}
	err := a.srv.AddShare(&server.Share{
		Name: c.Exposed, Tree: tree, ReadOnly: readOnly, Encrypt: base.Encrypt, AccessBasedEnumeration: base.AccessBasedEnumeration,
		Comment:  fmt.Sprintf("Shadow copy of %s taken %s", c.Share, c.Created.Time().UTC().Format("2006-01-02 15:04:05")),
		Security: base.Settings().Security,
	})
	if err != nil {
		tree.Close()
	}
	return err
}

// Freeze implements Backend.
func (a *Array) Freeze(c *Copy) error {
	sh := a.srv.Share(c.Exposed)
	switch {
	case sh == nil: // a Freeze before could not put it back
		base, err := a.base(c)
		if err != nil {
			return err
		}
		return a.serve(c, base, true)
	case sh.ReadOnly:
		return nil
	}
	if err := a.drop(c); err != nil {
		return err
	}
	// What the exposed share had is what the base had at Expose.
	return a.serve(c, sh, true)
}

// drop takes the exposed share away; its handles are closed.
func (a *Array) drop(c *Copy) error {
	sh := a.srv.Share(c.Exposed)
	if sh == nil {
		return nil
	}
	if err := a.srv.RemoveShare(c.Exposed); err != nil && !errors.Is(err, server.ErrNoShare) {
		return err
	}
	sh.Tree.Close()
	return nil
}

// Unexpose implements Backend.
func (a *Array) Unexpose(c *Copy) error {
	if err := a.drop(c); err != nil {
		return err
	}
	if c.Writable {
		return a.removeClone(c.ID)
	}
	return nil
}

// Uses implements Backend.
func (a *Array) Uses(c *Copy) int {
	if sh := a.srv.Share(c.Exposed); sh != nil {
		return sh.Uses()
	}
	return 0
}

// Where the state is kept in the side store.
const (
	bucket     = "shadow"
	setPrefix  = "set/"
	contextKey = "context"
)

// Save implements Backend.
func (a *Array) Save(id dtyp.GUID, s *Set, ctx Context) error {
	value, err := json.Marshal(ctx)
	edits := []store.KVEdit{{Bucket: bucket, Key: contextKey, Value: value}}
	if !id.IsZero() {
		e := store.KVEdit{Bucket: bucket, Key: setPrefix + id.String()}
		if s != nil {
			var serr error
			e.Value, serr = json.Marshal(s)
			err = errors.Join(err, serr)
		}
		edits = append(edits, e)
	}
	if err != nil {
		return err
	}
	pos, err := a.vol.Store().KV().Apply(edits)
	if err != nil {
		return err
	}
	return a.vol.Store().Wait(pos)
}

// Load implements Backend. Snapshots and clones of sets that nobody was told of are removed.
func (a *Array) Load() (sets []*Set, ctx Context, err error) {
	kv := a.vol.Store().KV()
	if value, err := kv.Get(bucket, contextKey); err == nil {
		if err := json.Unmarshal(value, &ctx); err != nil {
			return nil, ctx, err
		}
	} else if !errors.Is(err, store.ErrNotFound) {
		return nil, ctx, err
	}
	var bad error
	err = kv.Scan(bucket, setPrefix, func(_ string, value []byte) bool {
		s := &Set{}
		bad = json.Unmarshal(value, s)
		sets = append(sets, s)
		return bad == nil
	})
	if err = errors.Join(err, bad); err != nil {
		return nil, ctx, fmt.Errorf("reading the shadow copies: %w", err)
	}
	return sets, ctx, errors.Join(a.removeStraySnapshots(sets), a.removeStrayClones(sets))
}

func (a *Array) removeStraySnapshots(sets []*Set) error {
	known := map[store.View]bool{}
	for _, s := range sets {
		for _, c := range s.Copies {
			known[c.View] = true
		}
	}
	snaps := a.vol.Store().Snapshots()
	all, err := snaps.List(store.RootID)
	if err != nil {
		return err
	}
	for _, s := range all {
		id, ours := strings.CutPrefix(s.Name, object.HiddenSnapshot)
		if _, err := dtyp.ParseGUID(id); err != nil || !ours {
			continue
		}
		if !known[s.View] {
			if _, err := snaps.Delete(s.View); err != nil {
				return err
			}
		}
	}
	return nil
}
