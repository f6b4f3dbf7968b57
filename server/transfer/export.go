package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"gabion/protocol/archive"
	"gabion/protocol/dtyp"
	"gabion/server/versions"
	"gabion/server/vm"
	"gabion/store"
)

// Export is what to send.
type Export struct {
	Volume store.Volume
	Target *vm.Target
	Snap   versions.Info
	Base   *versions.Info // nil: everything
	From   archive.Mark
	// Announce, if not nil, is told about how many bytes the whole stream has before it begins.
	Announce func(int64)
	Turn     Turn // before data is read; nil: at once
}

// Turn waits until background work may move that many bytes, or stop is closed.
type Turn func(bytes int, stop <-chan struct{})

// take waits for a turn.
func (t Turn) take(ctx context.Context, n int64) error {
	if t != nil && n > 0 {
		t(int(n), ctx.Done())
	}
	return ctx.Err()
}

// begin describes the stream.
func (x *Export) begin(total int64) archive.Begin {
	guid := x.Volume.Info().GUID
	b := archive.Begin{
		Volume: guid.String(), Target: x.Target.Text, Snapshot: x.Snap.Name, View: uint64(x.Snap.View), Taken: x.Snap.Taken.Time(),
		Total: total, From: x.From,
	}
	if x.Base != nil {
		b.Base, b.BaseView = x.Base.Name, uint64(x.Base.View)
	}
	b.ID = fmt.Sprintf("%s/%d-%d/%s", b.Volume, b.BaseView, b.View, b.Target)
	return b
}

// Write sends the stream from the mark on.
func (x *Export) Write(ctx context.Context, w io.Writer) error {
	total := int64(0)
	if err := x.walk(func(e *item) error { total += e.bytes(); return ctx.Err() }); err != nil {
		return err
	}
	if x.Announce != nil {
		x.Announce(total)
	}
	s := newSender(ctx, w, x.Turn)
	err := s.json(archive.TypeBegin, x.begin(total))
	no := int64(0)
	if err == nil {
		err = x.walk(func(e *item) error {
			no++
			if no <= x.From.Entries {
				return nil
			}
			from := archive.Mark{}
			if no == x.From.Entries+1 {
				from = x.From
			}
			return s.entry(e, from)
		})
	}
	if err == nil {
		err = s.json(archive.TypeEnd, archive.End{Entries: no, Data: s.data})
	} else if !s.broken() {
		_ = s.json(archive.TypeFailure, archive.Failure{Message: err.Error()})
	}
	return errors.Join(err, s.close())
}

// item is one entry with what it takes to send it. The nodes are open while it is visited.
type item struct {
	entry archive.Entry
	now   store.Node // nil for what was removed
	base  store.Node // nil for what is sent whole
}

// walker visits the entries of an export in the order of the stream.
type walker struct {
	x     *Export
	visit func(*item) error
	links map[store.FileID]string // files with several names that were visited
}

func (x *Export) walk(visit func(*item) error) error {
	w := &walker{x: x, visit: visit, links: map[store.FileID]string{}}
	names := map[string]bool{}
	for _, p := range x.Target.Places {
		now, err := x.open(&x.Snap, p)
		if err != nil {
			return err
		}
		at := ""
		if len(x.Target.Places) > 1 || !now.IsDir() {
			at = path.Base(p.String())
			for n := 2; names[at]; n++ {
				at = fmt.Sprintf("%s~%d", path.Base(p.String()), n)
			}
			names[at] = true
		}
		var base store.Node
		if x.Base != nil {
			if base, err = x.open(x.Base, p); err != nil && !errors.Is(err, versions.ErrNothing) {
				now.Close()
				return err
			}
		}
		err = w.node(now, base, at)
		now.Close()
		if base != nil {
			base.Close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *Export) open(s *versions.Info, p vm.Place) (store.Node, error) {
	return versions.Placed(x.Volume, s.Snapshot, p)
}

// node visits a file or folder with all that is in it; base is what it was, nil if nothing.
func (w *walker) node(now, base store.Node, at string) error {
	if base != nil && (base.IsDir() != now.IsDir() || !now.IsDir() && base.ID() != now.ID()) {
		if err := w.removed(base.IsDir(), at); err != nil {
			return err
		}
		base = nil
	}
	a, err := now.Attr()
	if err != nil {
		return err
	}
	if !a.Dir && a.Links > 1 {
		if first, ok := w.links[a.ID]; ok {
			if base != nil {
				return nil // it had both names before
			}
			return w.visit(&item{entry: archive.Entry{Path: at, Action: archive.Link, Target: first}})
		}
		w.links[a.ID] = at
	}
	it := &item{now: now, base: base, entry: archive.Entry{Path: at, Action: archive.Whole, Dir: a.Dir}}
	if base != nil {
		n, same, err := versions.Compare(now, base)
		if err != nil {
			return err
		}
		if same && a.Dir { // its times change with its entries
			b, err := base.Attr()
			if err != nil {
				return err
			}
			same = a.LastWriteTime == b.LastWriteTime && a.ChangeTime == b.ChangeTime
		}
		switch {
		case same:
			it = nil
		case n == 0:
			it.entry.Action = archive.Same
		default:
			it.entry.Action = archive.Changed
		}
	}
	if it != nil {
		if err := it.describe(&a); err != nil {
			return err
		}
		if err := w.visit(it); err != nil {
			return err
		}
	}
	if !a.Dir {
		return nil
	}
	return w.folder(now, base, at)
}

func (w *walker) removed(dir bool, at string) error {
	return w.visit(&item{entry: archive.Entry{Path: at, Action: archive.Removed, Dir: dir}})
}

// folder visits what is in a folder, after what is there no more.
func (w *walker) folder(now, base store.Node, at string) error {
	vol := w.x.Volume
	if base != nil {
		err := vm.Each(vol, base, func(e store.Entry) error {
			if _, err := vol.Lookup(now, e.Name); !errors.Is(err, store.ErrNotFound) {
				return err
			}
			return w.removed(e.Dir, path.Join(at, e.Name))
		})
		if err != nil {
			return err
		}
	}
	return vm.Each(vol, now, func(e store.Entry) error {
		n, _, err := vol.Open(now, e.Name)
		if err != nil {
			return err
		}
		defer n.Close()
		var b store.Node
		if base != nil {
			if b, _, err = vol.Open(base, e.Name); err == nil {
				defer b.Close()
			} else if !errors.Is(err, store.ErrNotFound) {
				return err
			} else {
				b = nil
			}
		}
		return w.node(n, b, path.Join(at, e.Name))
	})
}

// kinds are the blobs that travel. Object ids stay behind: they name one file for ever.
var kinds = map[string]store.BlobKind{"security": store.BlobSecurity, "ea": store.BlobEA, "reparse": store.BlobReparse}

// describe fills in the entry from the node.
func (it *item) describe(a *store.Attr) error {
	e := &it.entry
	e.Attributes, e.ReparseTag, e.EASize = a.FileAttributes, a.ReparseTag, a.EASize
	e.Creation, e.LastAccess = uint64(a.CreationTime), uint64(a.LastAccessTime)
	e.LastWrite, e.Change = uint64(a.LastWriteTime), uint64(a.ChangeTime)
	e.Size, e.ValidData = a.Size, a.ValidData
	for name, k := range kinds {
		b, err := it.now.Blob(k)
		if err != nil {
			return err
		}
		if len(b) > 0 {
			if e.Blobs == nil {
				e.Blobs = map[string][]byte{}
			}
			e.Blobs[name] = b
		}
	}
	list, err := it.now.Streams()
	for _, s := range list {
		e.Names = append(e.Names, s.Name)
	}
	return err
}

// bytes is about how much data the item is.
func (it *item) bytes() (n int64) {
	if it.now == nil || it.entry.Dir || it.entry.Action == archive.Same {
		return 0
	}
	s, err := it.now.Data()
	if err != nil {
		return 0
	}
	defer s.Close()
	if it.base == nil {
		return min(s.Sizes().Allocated, s.Sizes().Size)
	}
	b, err := it.base.Data()
	if err != nil {
		return 0
	}
	defer b.Close()
	_ = s.DiffersFrom(b, func(r store.Range) bool { n += r.Len; return true })
	return n
}

// times of an entry as the store sets them.
func times(e *archive.Entry) store.Times {
	return store.Times{
		Creation: dtyp.Filetime(e.Creation), LastAccess: dtyp.Filetime(e.LastAccess),
		LastWrite: dtyp.Filetime(e.LastWrite), Change: dtyp.Filetime(e.Change),
	}
}
