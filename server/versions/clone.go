package versions

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"gabion/server/vm"
	"gabion/store"
)

// Clone makes new files and folders at a path from the volume's root that hold what a
// target held in a snapshot, without moving data. A target of one place becomes that path; of
// several, it becomes a folder with each in it. What is made inherits the security of where it
// is, as a copy does. Nothing may be there already; what was made goes again if it
// cannot be finished.
func (c *Changer) Clone(ctx context.Context, t *vm.Target, s Info, full string, opt Options) (*Report, error) {
	began := time.Now()
	k := &cloning{c: c, snap: s.Snapshot, report: &Report{Snapshot: s.Name, Items: []Item{}}}
	ctx, cancel := c.Bounded(ctx, opt)
	defer cancel()
	err := k.all(ctx, t, full)
	if err == nil {
		err = c.Book.Volume.Wait(k.last)
	}
	if err != nil {
		if k.top {
			err = errors.Join(err, c.Remove(context.WithoutCancel(ctx), full, opt))
		}
		return nil, err
	}
	k.report.Seconds = time.Since(began).Seconds()
	return k.report, nil
}

// cloning is a clone on its way.
type cloning struct {
	c      *Changer
	snap   store.Snapshot
	report *Report
	last   store.Pos
	top    bool // something was made
}

func (k *cloning) all(ctx context.Context, t *vm.Target, full string) error {
	if len(t.Places) != 1 {
		if err := k.make(ctx, nil, full); err != nil {
			return err
		}
	}
	for _, p := range t.Places {
		from, err := Placed(k.c.Book.Volume, k.snap, p)
		if err != nil {
			return err
		}
		to := full
		if len(t.Places) != 1 {
			to = path.Join(full, path.Base(p.Full))
		}
		err = k.tree(ctx, from, to)
		from.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// tree clones a node and what is in it.
func (k *cloning) tree(ctx context.Context, from store.Node, full string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := k.make(ctx, from, full); err != nil || !from.IsDir() {
		return err
	}
	vol := k.c.Book.Volume
	return vm.Each(vol, from, func(e store.Entry) error {
		n, err := vol.OpenID(k.snap.View, e.ID)
		if err != nil {
			return err
		}
		defer n.Close()
		return k.tree(ctx, n, path.Join(full, e.Name))
	})
}

// make makes one file or folder; from is nil for one that has no source.
func (k *cloning) make(ctx context.Context, from store.Node, full string) error {
	o, err := k.c.Make(ctx, full, from == nil || from.IsDir())
	if err != nil {
		return err
	}
	k.top = true
	var pos store.Pos
	if from != nil {
		pos, err = k.fill(from, o.ID(), full)
		o.Replaced()
	}
	_, closed, _ := o.Close()
	k.last = max(k.last, pos, closed)
	if err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	return nil
}

// fill clones the streams, and takes over attributes and the time of the last write, as
// copying does.
func (k *cloning) fill(from store.Node, id store.FileID, full string) (last store.Pos, err error) {
	to, err := k.c.Book.Volume.OpenID(store.Live, id)
	if err != nil {
		return 0, err
	}
	defer to.Close()
	a, err := from.Attr()
	if err != nil {
		return 0, err
	}
	if !from.IsDir() {
		x, err := from.Data()
		if err != nil {
			return 0, err
		}
		defer x.Close()
		y, err := to.Data()
		if err != nil {
			return 0, err
		}
		defer y.Close()
		if last, err = cloneStream(y, x); err != nil {
			return 0, err
		}
		k.report.Files++
		k.report.Bytes += a.Size
		k.report.Items = append(k.report.Items, Item{full, "cloned", a.Size})
	}
	pos, err := copyStreams(from, to)
	if err != nil {
		return 0, err
	}
	last = max(last, pos)
	pos, err = to.Update(store.Change{FileAttributes: &a.FileAttributes, Times: store.Times{LastWrite: a.LastWriteTime}})
	return max(last, pos), err
}
