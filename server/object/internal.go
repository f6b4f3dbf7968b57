package object

import (
	"context"

	"gabion/auth"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// Acquire opens a file by its id for the array itself (restore, import, clone onto
// it): share modes are checked and taken, clients are asked for their caches and
// waited for until ctx ends. A disconnected persistent open counts as in use
// (STATUS_FILE_NOT_AVAILABLE). With force every other open of the file is closed
// first, after its I/O in flight, when it stands in the way.
func (t *Tree) Acquire(ctx context.Context, id store.FileID, access, share uint32, force bool) (*Open, ntstatus.Status) {
	o, st := t.acquire(ctx, id, access, share)
	if !force || st != ntstatus.SharingViolation && st != ntstatus.FileNotAvailable {
		return o, st
	}
	for _, other := range t.vol.opensOf(id) {
		other.ForceClose()
	}
	return t.acquire(ctx, id, access, share)
}

func (t *Tree) acquire(ctx context.Context, id store.FileID, access, share uint32) (*Open, ntstatus.Status) {
	return t.CreateWait(ctx, &CreateRequest{
		Token: auth.System, ByID: id, Options: optOpenByFileID | optOpenReparsePoint | optOpenForBackupIntent, Disposition: dispOpen,
		DesiredAccess: access, ShareAccess: share,
	})
}

// CreateWait is Create for the array itself, which can wait; STATUS_IO_TIMEOUT when ctx ends
// first.
func (t *Tree) CreateWait(ctx context.Context, req *CreateRequest) (*Open, ntstatus.Status) {
	type answer struct {
		o  *Open
		st ntstatus.Status
	}
	done := make(chan answer, 1)
	p := t.Create(req, func(res CreateResult, st ntstatus.Status) { done <- answer{res.Open, st} })
	select {
	case a := <-done:
		return a.o, a.st
	case <-ctx.Done():
		p.Cancel()
		a := <-done
		if a.o != nil {
			a.o.Close()
		}
		return nil, ntstatus.IOTimeout
	}
}

// opensOf returns every open of a file.
func (v *Volume) opensOf(id store.FileID) (opens []*Open) {
	f := v.live(store.Live, id)
	if f == nil {
		return nil
	}
	defer f.release()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.streams {
		opens = append(opens, s.opens...)
	}
	return opens
}

// InUse reports whether anybody has the file open, disconnected opens included.
func (v *Volume) InUse(id store.FileID) bool { return len(v.opensOf(id)) > 0 }

// Replaced tells watchers and directory caches, when the open is closed, that the
// array changed the file's contents behind the open.
func (o *Open) Replaced() {
	o.file.mu.Lock()
	o.modified |= notifySize | notifyLastWrite | notifyAttributes
	o.wrote = true
	o.file.mu.Unlock()
	o.file.sd.Store(nil)
}
