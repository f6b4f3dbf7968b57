package object

import (
	"errors"
	"slices"
	"strings"

	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// EA returns the whole FILE_FULL_EA_INFORMATION list, nil without EAs.
func (o *Open) EA() ([]byte, ntstatus.Status) {
	if !o.has(fileReadEA) {
		return nil, ntstatus.AccessDenied
	}
	if st := o.enter(); st != ntstatus.Success {
		return nil, st
	}
	defer o.leave()
	b, err := o.file.node.Blob(store.BlobEA)
	return b, o.tree.vol.fs.statusOf(err)
}

// SetEA merges a FILE_FULL_EA_INFORMATION list: an empty value removes an EA ([MS-FSA] 2.1.5.15.6).
func (o *Open) SetEA(list []byte) (store.Pos, ntstatus.Status) {
	if !o.has(fileWriteEA) {
		return 0, ntstatus.AccessDenied
	}
	if st := o.writable(); st != ntstatus.Success {
		return 0, st
	}
	defer o.leave()
	f := o.file
	f.mu.Lock()
	defer f.mu.Unlock()
	a, err := f.node.Attr()
	if err != nil {
		return 0, f.vol.fs.statusOf(err)
	}
	if a.ReparseTag != 0 {
		return 0, ntstatus.EasNotSupported
	}
	old, err := f.node.Blob(store.BlobEA)
	if err != nil {
		return 0, f.vol.fs.statusOf(err)
	}
	blob, size, st := mergeEA(old, list)
	if st != ntstatus.Success {
		return 0, st
	}
	attrs := a.FileAttributes | attrArchive
	if f.dir {
		attrs = a.FileAttributes
	}
	o.modified |= notifyEA
	pos, err := f.node.Update(store.Change{
		FileAttributes: &attrs, Times: o.changed(), EASize: &size,
		Blobs: map[store.BlobKind][]byte{store.BlobEA: blob},
	})
	return o.through(pos, false), f.vol.fs.statusOf(err)
}

// changeEAs applies changes in order, of which there may be hundreds of thousands. The last one of a name
// counts, and has its place.
func changeEAs(have, changes []fscc.EA) []fscc.EA {
	all := slices.Concat(have, changes)
	last := make(map[string]int, len(all))
	for i := range all {
		all[i].Name = strings.ToUpper(all[i].Name)
		last[all[i].Name] = i
	}
	left := have[:0]
	for i := range all {
		if last[all[i].Name] == i && len(all[i].Value) > 0 {
			left = append(left, all[i])
		}
	}
	return left
}

// mergeEA applies a list of changes to a stored list. The result is never nil, so
// that an empty one removes the blob; size is what FileEaInformation reports.
func mergeEA(stored, changes []byte) (list []byte, size uint32, st ntstatus.Status) {
	var have []fscc.EA
	var err error
	if len(stored) > 0 {
		if have, err = fscc.DecodeEAs(stored); err != nil {
			return nil, 0, ntstatus.EACorruptError
		}
	}
	if len(changes) > 0 {
		set, err := fscc.DecodeEAs(changes)
		switch {
		case errors.Is(err, fscc.ErrEAName):
			return nil, 0, ntstatus.InvalidEAName
		case err != nil:
			return nil, 0, ntstatus.EAListInconsistent
		}
		have = changeEAs(have, set)
	}
	size = fscc.PackedEASize(have)
	if size > fscc.MaxEASize-5 {
		return nil, 0, ntstatus.EATooLarge
	}
	if len(have) == 0 {
		return []byte{}, 0, ntstatus.Success
	}
	return fscc.EncodeEAs(have), size, ntstatus.Success
}
