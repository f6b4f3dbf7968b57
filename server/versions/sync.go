package versions

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"gabion/server/vm"
	"gabion/store"
)

// Pair is a disk that becomes equal to another's version in a snapshot.
type Pair struct {
	From vm.Disk
	To   vm.Disk
}

// ErrMapping is returned when it is not clear which disk is to become which.
var ErrMapping = errors.New("the disks do not go together")

// Match pairs the disks of two targets: by the names given in chosen, written NAME or
// FROM=TO, else all by equal names, or the only ones of both.
func Match(from, to []vm.Disk, chosen []string) ([]Pair, error) {
	if len(chosen) == 0 {
		if len(from) == 1 && len(to) == 1 {
			return []Pair{{from[0], to[0]}}, nil
		}
		for _, d := range to {
			chosen = append(chosen, d.Name)
		}
	}
	var out []Pair
	for _, text := range chosen {
		a, b, renamed := strings.Cut(text, "=")
		if !renamed {
			b = a
		}
		x, err := disk(from, a, "source")
		if err != nil {
			return nil, err
		}
		y, err := disk(to, b, "target")
		if err != nil {
			return nil, err
		}
		out = append(out, Pair{*x, *y})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the target has no virtual disks: %w", ErrMapping)
	}
	return out, nil
}

// disk finds a disk by its name within its machine, or by the last part of it.
func disk(list []vm.Disk, name, side string) (*vm.Disk, error) {
	var found *vm.Disk
	for i := range list {
		d := &list[i]
		if strings.EqualFold(d.Name, name) {
			return d, nil
		}
		if strings.EqualFold(path.Base(d.Name), path.Base(name)) {
			if found != nil {
				return nil, fmt.Errorf("%s disk %q: there are %s and %s; say which with --disk FROM=TO: %w", side, name, found.Name, d.Name, ErrMapping)
			}
			found = d
		}
	}
	if found == nil {
		var names []string
		for _, d := range list {
			names = append(names, d.Name)
		}
		return nil, fmt.Errorf("%s disk %q: there are only %s; say what belongs together with --disk FROM=TO: %w", side, name, strings.Join(names, ", "), ErrMapping)
	}
	return found, nil
}

// Disks lists a target's disks as they are in a snapshot, or now.
func (b *Book) Disks(t *vm.Target, s *Info) ([]vm.Disk, error) {
	return vm.Disks(b.Volume, t, func(p vm.Place) (store.Node, error) {
		if s == nil {
			return b.Volume.OpenID(store.Live, p.ID)
		}
		return Placed(b.Volume, s.Snapshot, p)
	})
}

// Sync makes each pair's target disk equal to the source disk in the snapshot, without moving
// data: after a safety snapshot of the targets, as one change, all while nobody has them open.
func (c *Changer) Sync(ctx context.Context, pairs []Pair, s Info, target string, opt Options) (*Report, error) {
	began := time.Now()
	files := map[store.FileID]string{}
	var scope []store.FileID
	for _, p := range pairs {
		if _, twice := files[p.To.ID]; twice {
			return nil, fmt.Errorf("%v is the target of two disks: %w", p.To.Place, ErrMapping)
		}
		files[p.To.ID] = p.To.String()
		scope = append(scope, p.To.ID)
	}
	h, err := c.acquire(ctx, files, opt)
	if err != nil {
		return nil, err
	}
	r := &Report{Snapshot: s.Name, Files: len(pairs), Items: []Item{}}
	var pos store.Pos
	if r.Safety, err = c.safety("sync", scope, target, opt); err == nil {
		pos, err = c.syncAll(h, pairs, s, r)
	}
	pos = max(pos, h.release())
	if err == nil {
		err = c.Book.Volume.Wait(pos)
	}
	if err != nil {
		if r.Safety != "" {
			err = fmt.Errorf("%w; what was there before is in snapshot %q", err, r.Safety)
		}
		return nil, err
	}
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

// syncAll changes the disks that differ, as one durable change.
func (c *Changer) syncAll(h *held, pairs []Pair, s Info, r *Report) (store.Pos, error) {
	changed := make([]int64, len(pairs))
	var g errgroup.Group
	for i, p := range pairs {
		g.Go(func() error {
			var err error
			if changed[i], err = c.count(p, s); err != nil {
				err = fmt.Errorf("%v: %w", p.To.Place, err)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	var list []store.Replacement
	for i, p := range pairs {
		n := changed[i]
		if n > 0 {
			list = append(list, store.Replacement{To: p.To.ID, From: p.From.ID})
		}
		r.Bytes += n
		r.Items = append(r.Items, Item{p.To.String(), "synced from " + p.From.String(), n})
	}
	if len(list) == 0 {
		return 0, nil
	}
	// All disks of a machine at once: half of them from another day would be of no use.
	pos, err := c.Book.Volume.Snapshots().Replace(list, s.View)
	if err != nil {
		return 0, err
	}
	for _, p := range list {
		h.opens[p.To].Replaced()
	}
	return pos, nil
}

// streams opens both sides of a pair.
func (c *Changer) streams(p Pair, s Info, do func(from, to store.Stream) error) error {
	var sides [2]store.Stream
	for i, at := range []struct {
		view store.View
		id   store.FileID
	}{{s.View, p.From.ID}, {store.Live, p.To.ID}} {
		n, err := c.Book.Volume.OpenID(at.view, at.id)
		if err != nil {
			return err
		}
		defer n.Close()
		if sides[i], err = n.Data(); err != nil {
			return err
		}
		defer sides[i].Close()
	}
	return do(sides[0], sides[1])
}

// count says how many bytes will change, which is quick because nothing is read.
func (c *Changer) count(p Pair, s Info) (n int64, err error) {
	err = c.streams(p, s, func(from, to store.Stream) error {
		n, err = sizeOf(to, from)
		return err
	})
	return n, err
}
