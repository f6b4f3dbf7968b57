package object

import (
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// The flags of FileDispositionInformationEx ([MS-FSCC] 2.4.11.2). The plain class is
// DispositionDelete or 0.
const (
	DispositionDelete          = 0x01
	DispositionPosixSemantics  = 0x02
	DispositionForceImageCheck = 0x04
	DispositionOnClose         = 0x08
	DispositionIgnoreReadonly  = 0x10
)

// SetDisposition marks the file for deletion or takes the mark away ([MS-FSA] 2.1.5.15.3, 2.1.5.15.4).
// It may wait for a break of handle caching.
func (o *Open) SetDisposition(flags uint32, done func(store.Pos, ntstatus.Status)) *Pending {
	return o.retry(done, func(l *later, again func()) (store.Pos, ntstatus.Status, *waiter) {
		st, w := o.setDisposition(flags, l, again)
		return 0, st, w
	})
}

// retry runs a step of an operation on o that may wait for breaks.
func (o *Open) retry(done func(store.Pos, ntstatus.Status), step func(l *later, again func()) (store.Pos, ntstatus.Status, *waiter)) *Pending {
	r := &retry{refuse: func() { done(0, ntstatus.Cancelled) }}
	r.step = func(again func()) (func(), *waiter) {
		var l later
		pos, st, w := store.Pos(0), o.writable(), (*waiter)(nil)
		if st == ntstatus.Success {
			pos, st, w = step(&l, again)
			o.leave()
		}
		l.run()
		if w != nil {
			return nil, w
		}
		return func() { done(pos, st) }, nil
	}
	return r.start()
}

func (o *Open) setDisposition(flags uint32, l *later, again func()) (ntstatus.Status, *waiter) {
	if !o.has(accessDelete) {
		return ntstatus.AccessDenied, nil
	}
	f, s, k := o.file, o.stream, o.link
	f.mu.Lock()
	defer f.mu.Unlock()
	if flags&DispositionOnClose != 0 {
		// Only an open that was made to delete on close can change that.
		if !o.deleteOnClose && o.mode&optDeleteOnClose == 0 {
			return ntstatus.NotSupported, nil
		}
		o.deleteOnClose = flags&DispositionDelete != 0
		f.changed(l)
		return ntstatus.Success, nil
	}
	if flags&DispositionDelete == 0 {
		if s.main() {
			k.deletePending, k.posix = false, false
		} else {
			s.deletePending = false
		}
		f.changed(l)
		return ntstatus.Success, nil
	}
	attr, err := f.node.Attr()
	if err != nil {
		return f.vol.fs.statusOf(err), nil
	}
	if attr.FileAttributes&attrReadonly != 0 && flags&DispositionIgnoreReadonly == 0 {
		return ntstatus.CannotDelete, nil
	}
	if o.isRoot() || f.dir && f.vol.shared(k.path()) {
		return ntstatus.CannotDelete, nil
	}
	if !s.main() {
		s.deletePending = true
		f.changed(l)
		return ntstatus.Success, nil
	}
	if f.dir {
		list, err := f.vol.store.ReadDir(f.node, "", 1, nil)
		if err != nil {
			return f.vol.fs.statusOf(err), nil
		}
		if len(list) > 0 {
			return ntstatus.DirectoryNotEmpty, nil
		}
	}
	if s.breakGrants(o, demandDelete, l) {
		return ntstatus.Success, f.wait(again)
	}
	k.deletePending, k.posix = true, flags&DispositionPosixSemantics != 0
	f.changed(l)
	if f.dir {
		f.vol.markDeleted(f, l)
	}
	return ntstatus.Success, nil
}

// isRoot reports whether o is of the volume's or the tree's root directory.
func (o *Open) isRoot() bool { return o.file.id == store.RootID || o.file == o.tree.root }

// deletePending is FileStandardInformation's DeletePending. Caller holds File.mu.
func (o *Open) deletePending() bool {
	if o.stream.main() {
		return o.link.deletePending
	}
	return o.stream.deletePending || o.link.deletePending
}

// Deletes reports whether closing the open may delete something.
func (o *Open) Deletes() bool {
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	return o.deleteOnClose || o.deletePending()
}
