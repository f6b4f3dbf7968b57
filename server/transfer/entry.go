package transfer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"gabion/protocol/archive"
	"gabion/server/vm"
	"gabion/store"
)

// beginEntry prepares what an entry is about: it is made, or taken from everybody else.
func (x *importing) beginEntry(e *archive.Entry) error {
	full, err := x.full(e.Path)
	if err != nil {
		return err
	}
	x.entry = e
	n, err := vm.Walk(x.vol(), store.Live, full)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err == nil {
		x.node = n
	}
	again := x.r.Mark().Entries < x.ours
	switch e.Action {
	case archive.Removed:
		return x.remove(full)
	case archive.Link:
		return x.link(full, e)
	case archive.Changed, archive.Same:
		if x.node == nil || x.node.IsDir() != e.Dir {
			return fmt.Errorf("%s: %w: it is not there", e.Path, ErrBase)
		}
		return x.hold(full, e)
	case archive.Whole:
	default:
		return fmt.Errorf("%w: action %q", archive.ErrPayload, e.Action)
	}
	if x.node != nil && x.node.IsDir() == e.Dir {
		if !e.Dir && !again && !x.Replace {
			return fmt.Errorf("%s: %w", e.Path, ErrInWay)
		}
		return x.hold(full, e)
	}
	if x.node != nil {
		if !x.Replace {
			return fmt.Errorf("%s: %w", e.Path, ErrInWay)
		}
		if err := x.remove(full); err != nil {
			return err
		}
	}
	return x.make(full, e)
}

// wait bounds how long clients are waited for.
func (x *importing) wait() (context.Context, context.CancelFunc) {
	return x.Changer.Bounded(x.ctx, x.Options)
}

// make makes a file or folder that is not there.
func (x *importing) make(full string, e *archive.Entry) error {
	ctx, cancel := x.wait()
	defer cancel()
	err := x.keepTimes(full)
	if err != nil {
		return err
	}
	if x.open, err = x.Changer.Make(ctx, full, e.Dir); err != nil {
		return err
	}
	if x.node, err = x.vol().OpenID(store.Live, x.open.ID()); err != nil {
		return err
	}
	return x.startData(e)
}

// hold takes a file that is there; folders stay usable.
func (x *importing) hold(full string, e *archive.Entry) error {
	if !e.Dir {
		ctx, cancel := x.wait()
		defer cancel()
		var err error
		if x.open, err = x.Changer.Take(ctx, x.node.ID(), full, x.Options); err != nil {
			return err
		}
	}
	return x.startData(e)
}

// startData opens the unnamed stream and gives it its size. A whole entry that does not go on from
// a mark begins empty.
func (x *importing) startData(e *archive.Entry) error {
	if e.Action == archive.Same {
		return nil
	}
	if err := x.dropStreams(e); err != nil || e.Dir {
		return err
	}
	s, err := x.node.Data()
	if err != nil {
		return err
	}
	x.out, x.size, x.valid = s, e.Size, e.ValidData
	return x.resize(e.Action == archive.Whole && x.r.Mark() == archive.Mark{Entries: x.r.Mark().Entries})
}

// resize gives the stream its size; fresh ones lose what they had.
func (x *importing) resize(fresh bool) error {
	if x.size < 0 || x.size > store.MaxSize {
		return fmt.Errorf("%w: size %d", archive.ErrPayload, x.size)
	}
	if fresh && x.out.Sizes().Size > 0 {
		if err := x.did(x.out.SetSize(0, store.Touch{})); err != nil {
			return err
		}
	}
	if x.out.Sizes().Size == x.size {
		return nil
	}
	return x.did(x.out.SetSize(x.size, store.Touch{}))
}

// did notes the position of a change.
func (x *importing) did(pos store.Pos, err error) error {
	x.pos = max(x.pos, pos)
	return err
}

// dropStreams removes the named streams that the entry does not have.
func (x *importing) dropStreams(e *archive.Entry) error {
	have, err := x.node.Streams()
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, name := range e.Names {
		keep[strings.ToUpper(name)] = true
	}
	for _, s := range have {
		if !keep[strings.ToUpper(s.Name)] {
			if err := x.did(x.node.RemoveStream(s.Name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// endStream finishes the open stream.
func (x *importing) endStream() error {
	if x.out == nil {
		return nil
	}
	s := x.out
	x.out = nil
	defer s.Close()
	if z := s.Sizes(); x.valid > z.ValidData && x.valid <= z.Size {
		return x.did(s.SetValidData(x.valid, store.Touch{}))
	}
	return nil
}

func (x *importing) beginStream(a *archive.Stream) error {
	if x.node == nil || a.Name == "" {
		return fmt.Errorf("%w: a stream without a file or name", archive.ErrPayload)
	}
	if err := x.endStream(); err != nil {
		return err
	}
	s, err := x.node.Stream(a.Name)
	if errors.Is(err, store.ErrNotFound) {
		var pos store.Pos
		s, pos, err = x.node.CreateStream(a.Name)
		x.pos = max(x.pos, pos)
	}
	if err != nil {
		return err
	}
	x.out, x.size, x.valid = s, a.Size, a.ValidData
	return x.resize(x.r.Mark().Offset == 0)
}

func (x *importing) write(f *Frame) error {
	if x.out == nil || f.Off+f.N > x.size {
		return fmt.Errorf("%w: data at %d beyond the stream's end", archive.ErrPayload, f.Off)
	}
	if err := x.Turn.take(x.ctx, int64(len(f.Data))); err != nil {
		return err
	}
	x.bytes += f.N
	x.since += f.N
	return x.did(x.out.WriteAt(f.Data, f.Off, store.Touch{}))
}

func (x *importing) zero(f *Frame) error {
	if x.out == nil || f.Off+f.N > x.size {
		return fmt.Errorf("%w: zeros at %d beyond the stream's end", archive.ErrPayload, f.Off)
	}
	return x.did(x.out.Zero(f.Off, f.N, store.Touch{}))
}

// endEntry sets what describes the file, last, because writing changes it.
func (x *importing) endEntry() error {
	e := x.entry
	if err := x.endStream(); err != nil {
		return err
	}
	defer x.closeEntry()
	if x.node == nil || e == nil || e.Action == archive.Removed || e.Action == archive.Link {
		return nil
	}
	if e.Path == "" && x.Dest.Path == "" {
		return nil // who may use a share is not for a stream to say
	}
	ch := store.Change{
		FileAttributes: &e.Attributes, EASize: &e.EASize, ReparseTag: &e.ReparseTag, Times: times(e),
		Blobs: map[store.BlobKind][]byte{},
	}
	for name, k := range kinds {
		ch.Blobs[k] = append([]byte{}, e.Blobs[name]...)
	}
	if e.Dir {
		x.dirs = append(x.dirs, described{x.node.ID(), store.Change{Times: ch.Times}})
	}
	if x.open != nil {
		x.open.Replaced()
	}
	return x.did(x.node.Update(ch))
}

// closeEntry gives everything back.
func (x *importing) closeEntry() {
	if x.out != nil {
		x.out.Close()
	}
	if x.open != nil {
		_, pos, _ := x.open.Close()
		x.pos = max(x.pos, pos)
	}
	if x.node != nil {
		x.node.Close()
	}
	x.out, x.open, x.node, x.entry = nil, nil, nil, nil
}

// remove deletes a file, or a folder with all that is in it.
func (x *importing) remove(full string) error {
	if x.node == nil {
		return nil // it went before the stream was cut
	}
	if full == x.Dest.Full {
		return fmt.Errorf("%w: the folder itself", ErrPath)
	}
	err := x.keepTimes(full)
	if err != nil {
		return err
	}
	err = x.Changer.Remove(x.ctx, full, x.Options)
	x.node.Close()
	x.node = nil
	return err
}

// link gives a file that came before a further name.
func (x *importing) link(full string, e *archive.Entry) error {
	from, err := x.full(e.Target)
	if err != nil {
		return err
	}
	n, err := vm.Walk(x.vol(), store.Live, from)
	if err != nil {
		return fmt.Errorf("%s is a further name of %s: %w", e.Path, e.Target, err)
	}
	defer n.Close()
	if x.node != nil {
		if x.node.ID() == n.ID() {
			return nil
		}
		if !x.Replace {
			return fmt.Errorf("%s: %w", e.Path, ErrInWay)
		}
	}
	at := parent(full)
	name := strings.TrimPrefix(full[len(at):], "/")
	if err := x.keepTimes(full); err != nil {
		return err
	}
	dir, err := vm.Walk(x.vol(), store.Live, at)
	if err != nil {
		return err
	}
	defer dir.Close()
	return x.did(x.vol().Link(n, dir, name, x.Replace))
}
