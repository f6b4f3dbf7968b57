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

// Restore makes a target what it was when a snapshot was taken: files and folders that are
// gone come back, those that came later go unless they are to be kept. Files that
// did not change are not touched, and may be in use.
func (c *Changer) Restore(ctx context.Context, t *vm.Target, s Info, opt Options) (*Report, error) {
	began := time.Now()
	p := &restoring{c: c, snap: s.Snapshot, opt: opt}
	for _, place := range t.Places {
		if err := p.place(place); err != nil {
			return nil, err
		}
	}
	r, err := p.run(ctx, t)
	if err != nil {
		return nil, err
	}
	r.Snapshot, r.Seconds = s.Name, time.Since(began).Seconds()
	return r, nil
}

// action is what a restore does with one file or folder.
type action uint8

const (
	actRestore  action = iota // the file is there and becomes what it was
	actReplace                // another file has its name: it gets the contents
	actCreate                 // it is gone and is made again
	actDescribe               // a folder's attributes and security
	actRemove                 // it came later
)

func (a action) String() string {
	return [...]string{"restored", "replaced", "created", "restored", "removed"}[a]
}

// step is one file or folder of a plan.
type step struct {
	act   action
	path  string
	dir   bool
	live  store.FileID // 0 for what is created
	old   store.FileID // 0 for what is removed
	bytes int64
}

// restoring is a restore on its way.
type restoring struct {
	c     *Changer
	snap  store.Snapshot
	opt   Options
	steps []step
	tops  []store.FileID // what the safety snapshot covers
	seen  map[store.FileID]bool
}

func (p *restoring) vol() store.Volume { return p.c.Book.Volume }

// place plans one place of the target.
func (p *restoring) place(at vm.Place) error {
	old, err := Placed(p.vol(), p.snap, at)
	if err != nil {
		return err
	}
	defer old.Close()
	live, err := vm.Walk(p.vol(), store.Live, at.Full)
	if errors.Is(err, store.ErrNotFound) {
		return p.plan(nil, old, at.Full)
	}
	if err != nil {
		return err
	}
	defer live.Close()
	p.tops = append(p.tops, live.ID())
	return p.plan(live, old, at.Full)
}

// plan compares a node with what it was.
func (p *restoring) plan(live, old store.Node, at string) error {
	switch {
	case live != nil && live.IsDir() != old.IsDir():
		if err := p.removal(live, at); err != nil {
			return err
		}
		return p.plan(nil, old, at)
	case live == nil:
		a, err := old.Attr()
		if err != nil {
			return err
		}
		p.steps = append(p.steps, step{act: actCreate, path: at, dir: old.IsDir(), old: old.ID(), bytes: a.Size})
		if !old.IsDir() {
			return nil
		}
	case !old.IsDir():
		return p.file(live, old, at)
	default:
		same, err := described(live, old)
		if err != nil {
			return err
		}
		if !same {
			p.steps = append(p.steps, step{act: actDescribe, path: at, dir: true, live: live.ID(), old: old.ID()})
		}
	}
	return p.folder(live, old, at)
}

// file plans a file that is there.
func (p *restoring) file(live, old store.Node, at string) error {
	if p.seen[live.ID()] {
		return nil // by another of its names
	}
	if p.seen == nil {
		p.seen = map[store.FileID]bool{}
	}
	p.seen[live.ID()] = true
	n, same, err := Compare(live, old)
	if err != nil || same {
		return err
	}
	s := step{act: actRestore, path: at, live: live.ID(), old: old.ID(), bytes: n}
	if s.live != s.old {
		s.act = actReplace
	}
	p.steps = append(p.steps, s)
	return nil
}

// folder plans the entries of a folder; live is nil if it has to be made.
func (p *restoring) folder(live, old store.Node, at string) error {
	err := vm.Each(p.vol(), old, func(e store.Entry) error {
		o, err := p.vol().OpenID(p.snap.View, e.ID)
		if err != nil {
			return err
		}
		defer o.Close()
		if live == nil {
			return p.plan(nil, o, path.Join(at, e.Name))
		}
		l, _, err := p.vol().Open(live, e.Name)
		if errors.Is(err, store.ErrNotFound) {
			return p.plan(nil, o, path.Join(at, e.Name))
		}
		if err != nil {
			return err
		}
		defer l.Close()
		return p.plan(l, o, path.Join(at, e.Name))
	})
	if err != nil || live == nil || p.opt.KeepNew {
		return err
	}
	return vm.Each(p.vol(), live, func(e store.Entry) error {
		if _, err := p.vol().Lookup(old, e.Name); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		n, err := p.vol().OpenID(store.Live, e.ID)
		if err != nil {
			return err
		}
		defer n.Close()
		return p.removal(n, path.Join(at, e.Name))
	})
}

// removal plans that a node goes with all that is in it, the innermost first.
func (p *restoring) removal(n store.Node, at string) error {
	if n.IsDir() {
		err := vm.Each(p.vol(), n, func(e store.Entry) error {
			c, err := p.vol().OpenID(store.Live, e.ID)
			if err != nil {
				return err
			}
			defer c.Close()
			return p.removal(c, path.Join(at, e.Name))
		})
		if err != nil {
			return err
		}
	}
	a, err := n.Attr()
	p.steps = append(p.steps, step{act: actRemove, path: at, dir: n.IsDir(), live: n.ID(), bytes: a.Size})
	return err
}

// Compare counts the bytes in which two versions of a file, or of a folder's streams, may differ.
func Compare(live, old store.Node) (n int64, same bool, err error) {
	same, err = described(live, old)
	if err != nil {
		return 0, false, err
	}
	names := map[string]bool{}
	if !live.IsDir() {
		names[""] = true
	}
	for _, node := range []store.Node{live, old} {
		list, err := node.Streams()
		if err != nil {
			return 0, false, err
		}
		for _, s := range list {
			names[s.Name] = true
		}
	}
	for name := range names {
		x, err := openStream(live, name)
		if err != nil {
			return 0, false, err
		}
		y, err := openStream(old, name)
		if err == nil {
			switch {
			case x != nil && y != nil:
				var k int64
				k, err = sizeOf(x, y)
				n, same = n+k, same && k == 0
			case x != nil:
				n, same = n+x.Sizes().Size, false
			case y != nil:
				n, same = n+y.Sizes().Size, false
			}
		}
		for _, s := range []store.Stream{x, y} {
			if s != nil {
				s.Close()
			}
		}
		if err != nil {
			return 0, false, err
		}
	}
	return n, same, nil
}

// openStream opens a stream, nil if there is none.
func openStream(n store.Node, name string) (store.Stream, error) {
	s, err := n.Stream(name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// described reports whether two nodes have the same attributes, write time and blobs.
func described(x, y store.Node) (bool, error) {
	a, err := x.Attr()
	if err != nil {
		return false, err
	}
	b, err := y.Attr()
	if err != nil {
		return false, err
	}
	if a.FileAttributes != b.FileAttributes || a.CreationTime != b.CreationTime || a.ReparseTag != b.ReparseTag || a.EASize != b.EASize ||
		!a.Dir && a.LastWriteTime != b.LastWriteTime {
		return false, nil
	}
	for _, k := range []store.BlobKind{store.BlobSecurity, store.BlobEA, store.BlobReparse} {
		p, err := x.Blob(k)
		if err != nil {
			return false, err
		}
		q, err := y.Blob(k)
		if err != nil || string(p) != string(q) {
			return false, err
		}
	}
	return true, nil
}

// run carries the plan out.
func (p *restoring) run(ctx context.Context, t *vm.Target) (*Report, error) {
	r := &Report{Items: []Item{}}
	files := map[store.FileID]string{}
	for _, s := range p.steps {
		if !s.dir && s.live != 0 {
			files[s.live] = s.path
		}
		r.Files++
		r.Bytes += s.bytes
		r.Items = append(r.Items, Item{s.path, s.act.String(), s.bytes})
	}
	if len(p.steps) == 0 {
		return r, nil
	}
	h, err := p.c.acquire(ctx, files, p.opt)
	if err != nil {
		return nil, err
	}
	var pos store.Pos
	if r.Safety, err = p.c.safety("restore", p.tops, t.Text, p.opt); err == nil {
		pos, err = p.change(ctx, h)
	}
	pos = max(pos, h.release())
	if err != nil {
		if r.Safety != "" {
			err = fmt.Errorf("%w; what was there before is in snapshot %q", err, r.Safety)
		}
		return nil, err
	}
	return r, p.vol().Wait(pos)
}

// change does the steps: what is there goes back as one change of the store; names follow.
func (p *restoring) change(ctx context.Context, h *held) (last store.Pos, err error) {
	var whole []store.FileID
	for _, s := range p.steps {
		if s.act == actRestore {
			whole = append(whole, s.live)
		}
	}
	if len(whole) > 0 {
		if last, err = p.vol().Snapshots().Restore(whole, p.snap.View); err != nil {
			return 0, err
		}
	}
	for _, s := range p.steps {
		pos, err := p.do(ctx, h, s)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", s.path, err)
		}
		last = max(last, pos)
	}
	return last, nil
}

// do does one step, without the contents of files that are there.
func (p *restoring) do(ctx context.Context, h *held, s step) (store.Pos, error) {
	switch s.act {
	case actRemove:
		return 0, p.removeOne(ctx, h, s)
	case actCreate:
		o, err := p.c.Make(ctx, s.path, s.dir)
		if err != nil {
			return 0, err
		}
		s.live = o.ID()
		h.opens[s.live] = o
	}
	to, err := p.vol().OpenID(store.Live, s.live)
	if err != nil {
		return 0, err
	}
	defer to.Close()
	from, err := p.vol().OpenID(p.snap.View, s.old)
	if err != nil {
		return 0, err
	}
	defer from.Close()
	if o := h.opens[s.live]; o != nil {
		defer o.Replaced()
	}
	if s.act == actRestore || s.act == actDescribe {
		return describe(from, to)
	}
	return CopyContents(from, to)
}

// removeOne deletes a file that is held, or a folder.
func (p *restoring) removeOne(ctx context.Context, h *held, s step) error {
	o := h.opens[s.live]
	if o == nil {
		var err error
		if o, err = p.c.openFolder(ctx, s.live, s.path, p.opt); err != nil {
			return err
		}
	}
	delete(h.opens, s.live)
	err := p.c.remove(ctx, o, s.path)
	if _, _, st := o.Close(); err == nil && st != 0 {
		err = fmt.Errorf("removing: %v", st)
	}
	return err
}
