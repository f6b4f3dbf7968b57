package object

import (
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// All opens of a shared virtual disk are, towards everybody else, one opener of the
// container, who reads and writes it and lets others read: guests write without the
// hosts' opens saying anything about it. Nobody caches what they write.
const (
	sharedDiskAccess  = fileReadData | fileWriteData
	sharedDiskSharing = shareRead
)

// claims is the access that others have to share with.
func (o *Open) claims() uint32 {
	if o.shared {
		return o.access | sharedDiskAccess
	}
	return o.access
}

// sharedDisk reports whether the stream is a shared disk's container. Caller holds
// File.mu.
func (s *Stream) sharedDisk() bool {
	for _, o := range s.opens {
		if o.shared {
			return true
		}
	}
	return false
}

// DeleteAtClose makes the file go with this open, as FILE_DELETE_ON_CLOSE does.
func (o *Open) DeleteAtClose() ntstatus.Status {
	if st := o.writable(); st != ntstatus.Success {
		return st
	}
	defer o.leave()
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	o.deleteOnClose = true
	return ntstatus.Success
}

// SharedDisk reports whether the open is one of a shared virtual disk.
func (o *Open) SharedDisk() bool { return o.shared }

// Find returns the file that a path names now, without asking who wants to know.
func (t *Tree) Find(path string) (store.FileID, bool) {
	p, st := parsePath(path)
	if st != ntstatus.Success || p.stream != "" || p.gmt != 0 {
		return 0, false
	}
	at, err := t.vol.store.OpenID(store.Live, t.root.id)
	for _, name := range append(p.dirs, p.name) {
		if err != nil {
			return 0, false
		}
		dir := at
		at, _, err = t.vol.store.Open(dir, name)
		dir.Close()
	}
	if err != nil {
		return 0, false
	}
	defer at.Close()
	return at.ID(), true
}
