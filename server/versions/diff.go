package versions

import (
	"errors"
	"fmt"
	"path"
	"slices"

	"gabion/server/vm"
	"gabion/store"
)

// FileDiff is what became of one file or folder between two views.
type FileDiff struct {
	Path   string       `json:"path"`
	Change string       `json:"change"` // added, removed, changed, renamed
	From   string       `json:"from,omitempty"`
	Size   int64        `json:"size"`
	Bytes  int64        `json:"bytes_changed"`
	Ranges [][2]int64   `json:"ranges"` // offset and length, of the unnamed stream
	ID     store.FileID `json:"id"`
}

// Side is one of the two states that are compared: a snapshot, or with a nil one now.
type Side struct{ Snap *Info }

func (s Side) view() store.View {
	if s.Snap == nil {
		return store.Live
	}
	return s.Snap.View
}

// open opens a place on one side, nil if it is not there.
func (b *Book) open(s Side, p vm.Place) (store.Node, error) {
	var n store.Node
	var err error
	if s.Snap == nil {
		n, err = vm.Walk(b.Volume, store.Live, p.Full)
	} else {
		n, err = Placed(b.Volume, s.Snap.Snapshot, p)
	}
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrNotDir) {
		return nil, nil
	}
	return n, err
}

// Diff calls fn for every file and folder of a target that differs between two sides, with the
// ranges of its data outside of which it is the same. Contents are compared when exact
// is asked for; else a range that was written with what it held counts.
func (b *Book) Diff(t *vm.Target, from, to Side, fn func(FileDiff) error) error {
	found := false
	for _, p := range t.Places {
		x, err := b.open(from, p)
		if err != nil && !errors.Is(err, ErrNothing) {
			return err
		}
		y, err2 := b.open(to, p)
		if err2 != nil && !errors.Is(err2, ErrNothing) {
			closeAll(x)
			return err2
		}
		if x == nil && from.Snap != nil && !b.covers(from.Snap, p) || y == nil && to.Snap != nil && !b.covers(to.Snap, p) {
			closeAll(x, y)
			continue // nothing can be said about it
		}
		found = found || x != nil || y != nil
		d := differ{b: b, from: from.view(), to: to.view(), fn: fn}
		err = d.nodes(x, y, p.String())
		closeAll(x, y)
		if err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("%s: %w", t.Text, ErrNothing)
	}
	return nil
}

// covers reports whether a snapshot shows the folder of a place, so that what is not there was
// not there.
func (b *Book) covers(s *Info, p vm.Place) bool {
	n, err := vm.Locate(b.Volume, s.Snapshot, vm.Clean(path.Dir("/"+p.Full)))
	if err != nil {
		return false
	}
	n.Close()
	return true
}

func closeAll(list ...store.Node) {
	for _, n := range list {
		if n != nil {
			n.Close()
		}
	}
}

type differ struct {
	b        *Book
	from, to store.View
	fn       func(FileDiff) error
}

// nodes compares two versions of a path; either may be nil.
func (d *differ) nodes(x, y store.Node, at string) error {
	switch {
	case x == nil && y == nil:
		return nil
	case x == nil:
		return d.alone(y, at, "added", d.to)
	case y == nil:
		return d.alone(x, at, "removed", d.from)
	case x.IsDir() != y.IsDir() || x.ID() != y.ID() && !x.IsDir():
		if err := d.alone(x, at, "removed", d.from); err != nil {
			return err
		}
		return d.alone(y, at, "added", d.to)
	case x.IsDir():
		return d.folders(x, y, at)
	}
	f, same, err := fileDiff(x, y, at)
	if err != nil || same {
		return err
	}
	return d.fn(f)
}

// fileDiff compares two versions of a file.
func fileDiff(x, y store.Node, at string) (FileDiff, bool, error) {
	f := FileDiff{Path: at, Change: "changed", ID: y.ID(), Ranges: [][2]int64{}}
	n, same, err := Compare(y, x)
	if err != nil || same {
		return f, same, err
	}
	f.Bytes = n
	p, err := x.Data()
	if err != nil {
		return f, false, err
	}
	defer p.Close()
	q, err := y.Data()
	if err != nil {
		return f, false, err
	}
	defer q.Close()
	f.Size = q.Sizes().Size
	err = p.DiffersFrom(q, func(r store.Range) bool {
		f.Ranges = append(f.Ranges, [2]int64{r.Off, r.Len})
		return true
	})
	return f, false, err
}

// alone reports a node that only one side has, with all that is in it.
func (d *differ) alone(n store.Node, at, change string, v store.View) error {
	a, err := n.Attr()
	if err != nil {
		return err
	}
	f := FileDiff{Path: at, Change: change, ID: n.ID(), Size: a.Size, Bytes: a.Size, Ranges: [][2]int64{}}
	if !n.IsDir() && change == "added" {
		s, err := n.Data()
		if err != nil {
			return err
		}
		list, err := s.Allocated(0, a.Size, nil)
		s.Close()
		if err != nil {
			return err
		}
		f.Bytes = 0
		for _, r := range list {
			f.Ranges = append(f.Ranges, [2]int64{r.Off, r.Len})
			f.Bytes += r.Len
		}
	}
	if err := d.fn(f); err != nil || !n.IsDir() {
		return err
	}
	return vm.Each(d.b.Volume, n, func(e store.Entry) error {
		c, err := d.b.Volume.OpenID(v, e.ID)
		if err != nil {
			return err
		}
		defer c.Close()
		return d.alone(c, path.Join(at, e.Name), change, v)
	})
}

// folders compares the entries of two versions of a folder.
func (d *differ) folders(x, y store.Node, at string) error {
	same, err := described(y, x)
	if err != nil {
		return err
	}
	if !same {
		if err := d.fn(FileDiff{Path: at, Change: "changed", ID: y.ID(), Ranges: [][2]int64{}}); err != nil {
			return err
		}
	}
	vol := d.b.Volume
	err = vm.Each(vol, x, func(e store.Entry) error {
		o, err := vol.OpenID(d.from, e.ID)
		if err != nil {
			return err
		}
		defer o.Close()
		n, _, err := vol.Open(y, e.Name)
		if errors.Is(err, store.ErrNotFound) {
			return d.nodes(o, nil, path.Join(at, e.Name))
		}
		if err != nil {
			return err
		}
		defer n.Close()
		return d.nodes(o, n, path.Join(at, e.Name))
	})
	if err != nil {
		return err
	}
	return vm.Each(vol, y, func(e store.Entry) error {
		if _, err := vol.Lookup(x, e.Name); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		n, err := vol.OpenID(d.to, e.ID)
		if err != nil {
			return err
		}
		defer n.Close()
		return d.nodes(nil, n, path.Join(at, e.Name))
	})
}

// Collect is Diff into a list, in the order of paths.
func (b *Book) Collect(t *vm.Target, from, to Side) ([]FileDiff, error) {
	out := []FileDiff{}
	err := b.Diff(t, from, to, func(f FileDiff) error {
		out = append(out, f)
		return nil
	})
	slices.SortStableFunc(out, func(x, y FileDiff) int {
		if x.Path < y.Path {
			return -1
		}
		if x.Path > y.Path {
			return 1
		}
		return 0
	})
	return out, err
}
