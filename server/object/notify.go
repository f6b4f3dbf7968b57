package object

import (
	"slices"
	"sync"
	"sync/atomic"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// NotifyEvent is one FILE_NOTIFY_INFORMATION ([MS-FSCC] 2.7.1).
type NotifyEvent struct {
	Action uint32
	Name   string // relative to the watched directory, backslashes
}

// size is the encoded length without the padding of the last entry.
func (e *NotifyEvent) size() int { return 12 + (2*dtyp.UTF16Len(e.Name)+3)&^3 }

// The actions of NotifyEvent.
const (
	NotifyAdded          = 1
	NotifyRemoved        = 2
	NotifyModified       = 3
	NotifyRenamedOld     = 4
	NotifyRenamedNew     = 5
	NotifyAddedStream    = 6
	NotifyRemovedStream  = 7
	NotifyModifiedStream = 8
)

// notifyTable is Volume.ChangeNotifyList.
type notifyTable struct {
	n       atomic.Int32 // watches, read without the lock: nobody watches most volumes
	mu      sync.Mutex
	watches []*watch // guarded by mu, as are their fields
	bytes   int      // of the events of all; guarded by mu
}

// maxNotifyBytes bounds what all watches of a volume collect for clients that do not ask for it. Those whose
// watches have collected most are told to look for themselves.
const maxNotifyBytes = 64 << 20

// watch is a ChangeNotifyEntry ([MS-FSA] 2.1.1.8): it exists from the first
// CHANGE_NOTIFY on an open until the open is closed, and collects events between
// requests.
type watch struct {
	table    *notifyTable
	o        *Open
	dir      store.FileID
	path     string // of the directory, from the volume's root
	filter   uint32
	tree     bool
	limit    int // what the client's first buffer held
	events   []NotifyEvent
	bytes    int
	overflow bool
	deleted  bool // Open.ChangeNotifyDirectoryMarkedDeleted
	waiting  []*notifyRequest
}

type notifyRequest struct {
	Pending
	max  int
	done func([]NotifyEvent, ntstatus.Status)
}

// Notify is CHANGE_NOTIFY ([MS-FSA] 2.1.5.11): done gets the events once there are any. maxBytes
// bounds their encoded size; STATUS_NOTIFY_ENUM_DIR says that they did not fit,
// STATUS_NOTIFY_CLEANUP that the directory was closed, STATUS_DELETE_PENDING that it is being deleted.
// The first call on an open fixes filter, tree and buffer size; events collect
// between calls.
func (o *Open) Notify(filter uint32, tree bool, maxBytes int, done func([]NotifyEvent, ntstatus.Status)) *Pending {
	if !o.IsDir() {
		done(nil, ntstatus.InvalidParameter)
		return nil
	}
	if !o.has(fileListDirectory) {
		done(nil, ntstatus.AccessDenied)
		return nil
	}
	if st := o.enter(); st != ntstatus.Success {
		done(nil, st)
		return nil
	}
	defer o.leave()
	path := o.fullPath()
	deleted := o.markedDeleted()
	t := &o.tree.vol.notify
	r := &notifyRequest{max: maxBytes, done: done}
	var l later
	t.mu.Lock()
	w := o.watch
	if w == nil {
		w = &watch{table: t, o: o, dir: o.file.id, path: path, filter: filter, tree: tree, limit: maxBytes, deleted: deleted}
		o.watch = w
		t.watches = append(t.watches, w)
		t.n.Add(1)
	}
	w.deleted = w.deleted || deleted
	w.waiting = append(w.waiting, r)
	r.cancel = func() {
		if !r.claim() {
			return
		}
		t.mu.Lock()
		if i := slices.Index(w.waiting, r); i >= 0 {
			w.waiting = slices.Delete(w.waiting, i, i+1)
		}
		t.mu.Unlock()
		r.done(nil, ntstatus.Cancelled)
	}
	w.deliver(&l)
	pending := slices.Contains(w.waiting, r)
	t.mu.Unlock()
	l.run()
	if pending {
		return &r.Pending
	}
	return nil
}

// markedDeleted reports whether the directory is being deleted.
func (o *Open) markedDeleted() bool {
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	return o.link.deletePending
}

// deliver completes requests in order while there is something to tell them.
// Caller holds the table's mu.
func (w *watch) deliver(l *later) {
	for len(w.waiting) > 0 && (w.deleted || w.overflow || len(w.events) > 0) {
		r := w.waiting[0]
		w.waiting = w.waiting[1:]
		if !r.claim() {
			continue
		}
		events, st := w.events, ntstatus.Success
		switch {
		case w.deleted:
			events, st = nil, ntstatus.DeletePending
		case w.overflow || w.bytes > r.max:
			events, st = nil, ntstatus.NotifyEnumDir
		}
		w.clear(false)
		l.add(func() { r.done(events, st) })
	}
}

// add takes events as one: a rename's two names stay together.
func (w *watch) add(l *later, events ...NotifyEvent) {
	for _, e := range events {
		if w.overflow {
			break
		}
		if n := len(w.events); n > 0 && w.events[n-1] == e {
			continue
		}
		w.events = append(w.events, e)
		w.bytes += e.size()
		w.table.bytes += e.size()
		if w.bytes > w.limit {
			w.clear(true)
		} else if w.table.bytes > maxNotifyBytes {
			w.table.halve()
		}
	}
	w.deliver(l)
}

// halve drops the events of the fullest watches until half as many may be kept: it looks at all watches, so
// it must not be needed again soon.
func (t *notifyTable) halve() {
	full := slices.SortedFunc(slices.Values(t.watches), func(a, b *watch) int { return b.bytes - a.bytes })
	for _, w := range full {
		if t.bytes <= maxNotifyBytes/2 {
			return
		}
		w.clear(true)
	}
}

// clear drops the events; overflow says that they are lost.
func (w *watch) clear(overflow bool) {
	w.table.bytes -= w.bytes
	w.events, w.bytes, w.overflow = nil, 0, overflow
}

// sees returns the name under which w sees a path, "" when it does not.
func (w *watch) sees(parent store.FileID, path string) string {
	if w.dir != parent && !(w.tree && below(path, w.path)) {
		return ""
	}
	if w.path == "" {
		return path
	}
	if len(path) <= len(w.path)+1 {
		return ""
	}
	return path[len(w.path)+1:]
}

// report is [MS-FSA] 2.1.4.1. path is from the volume's root and may end in
// ":stream"; parent is the directory that has the entry.
func (v *Volume) report(l *later, parent store.FileID, path string, filter, action uint32) {
	t := &v.notify
	if t.n.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.watches {
		if w.filter&filter == 0 {
			continue
		}
		if name := w.sees(parent, path); name != "" {
			w.add(l, NotifyEvent{action, name})
		}
	}
}

// renamed says where something was moved from and to.
type renamed struct {
	fromDir, toDir store.FileID
	from, to       string
	dir            bool
	replaced       bool // something of the new name had to go
}

// reportRename tells of a rename: two names in one directory, or gone here and
// come there. Who watches attributes but not names learns that a file was
// modified.
func (v *Volume) reportRename(l *later, m renamed) {
	t := &v.notify
	if t.n.Load() == 0 {
		return
	}
	filter := uint32(notifyFileName)
	if m.dir {
		filter = notifyDirName
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.watches {
		old, name := w.sees(m.fromDir, m.from), w.sees(m.toDir, m.to)
		switch {
		case w.filter&filter != 0 && m.fromDir == m.toDir:
			if old == "" {
				continue
			}
			if m.replaced {
				w.add(l, NotifyEvent{NotifyRemoved, name})
			}
			w.add(l, NotifyEvent{NotifyRenamedOld, old}, NotifyEvent{NotifyRenamedNew, name})
		case w.filter&filter != 0:
			var events []NotifyEvent
			if m.replaced && name != "" {
				events = append(events, NotifyEvent{NotifyRemoved, name})
			}
			if old != "" {
				events = append(events, NotifyEvent{NotifyRemoved, old})
			}
			if name != "" {
				events = append(events, NotifyEvent{NotifyAdded, name})
			}
			w.add(l, events...)
		case w.filter&(notifyAttributes|notifyCreation) != 0 && !m.dir && name != "":
			w.add(l, NotifyEvent{NotifyModified, name})
		}
	}
}

// moveWatches gives the watches of a renamed directory their new path.
func (v *Volume) moveWatches(dir store.FileID, path string) {
	t := &v.notify
	if t.n.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.watches {
		if w.dir == dir {
			w.path = path
		}
	}
}

// markDeleted completes what waits for changes of a directory that is being
// deleted ([MS-FSA] 2.1.5.15.3).
func (v *Volume) markDeleted(f *File, l *later) {
	t := &v.notify
	if t.n.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.watches {
		if w.o.file == f {
			w.deleted = true
			w.deliver(l)
		}
	}
}

// endWatch ends an open's watch: what waits gets STATUS_NOTIFY_CLEANUP ([MS-FSA] 2.1.5.5 phase 5).
func (v *Volume) endWatch(o *Open, l *later) {
	t := &v.notify
	if t.n.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	w := o.watch
	i := slices.Index(t.watches, w)
	if w == nil || i < 0 {
		return
	}
	t.watches = slices.Delete(t.watches, i, i+1)
	t.n.Add(-1)
	for _, r := range w.waiting {
		if r.claim() {
			l.add(func() { r.done(nil, ntstatus.NotifyCleanup) })
		}
	}
	w.waiting = nil
	w.clear(false)
}

// reportModified tells of changes to the open file or stream.
func (o *Open) reportModified(filter uint32, l *later) {
	v, k := o.file.vol, o.link
	if s := o.stream.name; s != "" {
		var f uint32
		if filter&notifySize != 0 {
			f |= notifyStreamSize
		}
		if filter&notifyLastWrite != 0 {
			f |= notifyStreamWrite
		}
		if f != 0 {
			v.report(l, k.parent, k.path()+":"+s, f, NotifyModifiedStream)
		}
		filter &^= notifySize | notifyLastWrite
	}
	if filter != 0 {
		v.report(l, k.parent, k.path(), filter, NotifyModified)
	}
}
