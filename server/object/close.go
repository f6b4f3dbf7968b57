package object

import (
	"errors"

	"gabion/protocol/ntstatus"
	"gabion/store"
)

// Close closes the open: locks go, waiting operations on it complete, a pending
// deletion takes place ([MS-FSA] 2.1.5.5). The Info is what CLOSE may return to
// the client. Closing twice is STATUS_FILE_CLOSED.
func (o *Open) Close() (Info, store.Pos, ntstatus.Status) {
	if !o.shut() {
		return Info{}, 0, ntstatus.FileClosed
	}
	var l later
	f := o.file
	f.mu.Lock()
	info, _ := o.info()
	end := o.detach(&l)
	f.mu.Unlock()
	pos, st := end.finish(&l)
	l.run()
	f.release()
	return info, o.through(pos, end.removeLink || end.removed), st
}

// shut lets no further operation in and waits for those under way; false when the
// open was closed before.
func (o *Open) shut() bool {
	if !o.closed.CompareAndSwap(false, true) {
		return false
	}
	o.drain()
	return true
}

// Fence makes the end of the open call fn once, when no further operation is let in and
// before anybody learns that the open is gone: fn ends what goes on behind the open's back.
func (o *Open) Fence(fn func()) { o.fence.Store(&fn) }

// drain waits for the operations under way.
func (o *Open) drain() {
	if fn := o.fence.Load(); fn != nil {
		(*fn)()
	}
	o.gate.Lock()
	//lint:ignore SA2001 passing the gate is the point
	o.gate.Unlock()
}

// ending is what remains to be done when an open has left its file.
type ending struct {
	o          *Open
	data       store.Stream // to be closed
	removeLink bool
	removed    bool // a stream went
	changed    bool // the parent's listing shows old values
	pos        store.Pos
}

// detach takes a shut open out of its file: [MS-FSA] 2.1.5.5 without what
// needs the directory's entries. Caller holds File.mu.
func (o *Open) detach(l *later) ending {
	f, s, k := o.file, o.stream, o.link
	e := ending{o: o}
	o.stopScavenger()
	f.vol.fs.unregister(o)
	f.vol.endWatch(o, l)
	s.dropLocks(o, l)
	if g := o.grantOf(); g != nil {
		g.leave(o, l)
	}
	for i, x := range s.opens {
		if x == o {
			s.opens = append(s.opens[:i], s.opens[i+1:]...)
			break
		}
	}
	k.opens--
	if o.deleteOnClose {
		o.markOnClose(l)
	}
	if len(s.opens) == 0 {
		e.data = f.dropStream(s)
		if s.deletePending {
			e.removeStream(l)
		}
	}
	e.removeLink = k.deletePending && !k.unlinked && (k.opens == 0 || k.posix)
	if k.opens == 0 && !e.removeLink {
		f.dropLink(k)
	}
	if !e.removeLink {
		e.reportChanges(l)
	}
	return e
}

// markOnClose is [MS-FSA] 2.1.5.5 phase 1. Caller holds File.mu.
func (o *Open) markOnClose(l *later) {
	f := o.file
	if !o.stream.main() {
		o.stream.deletePending = true
		f.changed(l)
		return
	}
	if f.dir {
		list, err := f.vol.store.ReadDir(f.node, "", 1, nil)
		if err != nil || len(list) > 0 || o.isRoot() || f.vol.shared(o.link.path()) {
			return
		}
		f.vol.markDeleted(f, l)
	}
	o.link.deletePending = true
	f.changed(l)
}

// removeStream deletes the stream whose last open has gone. Caller holds File.mu.
func (e *ending) removeStream(l *later) {
	o := e.o
	pos, err := o.file.node.RemoveStream(o.stream.name)
	if err != nil {
		return
	}
	e.pos, e.removed = pos, true
	o.file.vol.report(l, o.link.parent, o.link.path()+":"+o.stream.name, notifyStreamName, NotifyRemovedStream)
}

// reportChanges sends what PendingNotifications has collected ([MS-FSA] 2.1.5.5 phase 5).
func (e *ending) reportChanges(l *later) {
	o := e.o
	if o.modified != 0 {
		o.reportModified(o.modified, l)
		o.modified = 0
	}
	e.changed = o.wrote
}

// finish does the rest, without locks on entry.
func (e *ending) finish(l *later) (store.Pos, ntstatus.Status) {
	if e.data != nil {
		e.data.Close()
	}
	st := ntstatus.Success
	if e.removeLink {
		var pos store.Pos
		if pos, st = e.o.unlink(l); pos > e.pos {
			e.pos = pos
		}
	} else if e.changed {
		e.o.file.vol.breakParent(e.o.link.parent, e.o, l)
	}
	return e.pos, st
}

// unlink removes the name of a file that is being deleted.
func (o *Open) unlink(l *later) (store.Pos, ntstatus.Status) {
	f, v := o.file, o.file.vol
	f.mu.Lock()
	parent := o.link.parent
	f.mu.Unlock()
	lock := v.entries(parent)
	lock.Lock()
	f.mu.Lock()
	k := o.link
	if k.unlinked || !k.deletePending || k.opens > 0 && !k.posix {
		f.mu.Unlock()
		lock.Unlock()
		return 0, ntstatus.Success
	}
	dir, err := v.store.OpenID(f.view, parent)
	var pos store.Pos
	if err == nil {
		pos, err = v.store.Unlink(dir, k.name)
	}
	path := k.path()
	switch {
	case err == nil:
		k.unlinked = true
		v.tunnel.remember(parent, k.name)
	case errors.Is(err, store.ErrNotEmpty):
		// A directory that was filled meanwhile stays.
		k.deletePending = false
		f.changed(l)
	}
	if k.opens == 0 {
		f.dropLink(k)
	}
	f.mu.Unlock()
	lock.Unlock()
	if dir != nil {
		defer dir.Close()
	}
	if err != nil {
		if errors.Is(err, store.ErrNotEmpty) {
			return 0, ntstatus.Success
		}
		return 0, v.fs.statusOf(err)
	}
	v.touchParent(dir, l)
	filter := uint32(notifyFileName)
	if f.dir {
		filter = notifyDirName
	}
	v.report(l, parent, path, filter, NotifyRemoved)
	v.breakParent(parent, o, l)
	return pos, ntstatus.Success
}

// unmake takes back an open that a create made and could not finish. Caller
// holds File.mu and releases the file.
func (o *Open) unmake() {
	o.shut()
	o.deleteOnClose = false
	var l later
	if e := o.detach(&l); e.data != nil {
		l.add(e.data.Close)
	}
	// What it may wake does not take File.mu before it runs on its own goroutine.
	go func() {
		defer o.file.vol.fs.recovered()
		l.run()
	}()
}

// evict closes a disconnected open that stands in another's way. Caller holds
// File.mu.
func (o *Open) evict(l *later) {
	if !o.closed.CompareAndSwap(false, true) {
		return
	}
	e := o.detach(l)
	l.add(func() {
		o.drain()
		var rest later
		e.finish(&rest)
		o.file.mu.Lock()
		o.file.wake(&rest)
		o.file.mu.Unlock()
		rest.run()
		o.file.vol.fs.cfg.Breaker.Closed(o)
		o.file.release()
	})
}

// ForceClose closes an open whose session or successor says so: I/O in flight is
// waited for, later I/O gets STATUS_FILE_CLOSED, then Breaker.Closed is called.
func (o *Open) ForceClose() (store.Pos, ntstatus.Status) {
	_, pos, st := o.Close()
	if st != ntstatus.FileClosed {
		o.file.vol.fs.cfg.Breaker.Closed(o)
	}
	return pos, st
}

// breakParent breaks the caching of a directory whose listing has changed by
// o, except for a lease that o's client named as its own ([MS-FSA] 2.1.4.12 flag PARENT_OBJECT).
func (v *Volume) breakParent(parent store.FileID, o *Open, l *later) {
	f := v.live(store.Live, parent)
	if f == nil {
		return
	}
	f.mu.Lock()
	if s := f.stream(""); s != nil {
		for _, g := range append([]*grant(nil), s.grants...) {
			// The key alone counts, whoever's client it is.
			if o == nil || o.parentKey.key.IsZero() || g.id.key != o.parentKey.key {
				g.demand(demandParent, l)
			}
		}
	}
	f.mu.Unlock()
	f.release()
}
