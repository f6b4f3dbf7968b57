package object

import (
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// Info is what the FileXxxInformation classes and the CREATE and CLOSE responses
// say about an open file.
type Info struct {
	store.Attr // of the file; FileAttributes as clients see them, DIRECTORY and NORMAL included
	// Stream are the sizes of the open stream; zero for a directory.
	Stream store.Sizes
	// DeletePending as FileStandardInformation shows it.
	DeletePending bool
	// Links counts the names that are not being deleted.
	Links uint32
}

// Info returns the present state of the open file.
func (o *Open) Info() (Info, ntstatus.Status) {
	if st := o.enter(); st != ntstatus.Success {
		return Info{}, st
	}
	defer o.leave()
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	return o.info()
}

// info is Info for callers that hold File.mu.
func (o *Open) info() (Info, ntstatus.Status) {
	a, err := o.file.node.Attr()
	if err != nil {
		return Info{}, o.tree.vol.fs.statusOf(err)
	}
	i := Info{Attr: a, DeletePending: o.deletePending(), Links: a.Links}
	i.ID = o.ID()
	i.FileAttributes = visibleAttributes(&a)
	if d := o.stream.data; d != nil {
		i.Stream = d.Sizes()
	}
	for _, l := range o.file.links {
		if l.deletePending && !l.unlinked && i.Links > 0 {
			i.Links--
		}
	}
	return i, ntstatus.Success
}

// visibleAttributes adds the attributes that follow from others.
func visibleAttributes(a *store.Attr) uint32 {
	v := a.FileAttributes
	if a.Dir {
		v |= attrDirectory
	}
	if a.ReparseTag != 0 {
		v |= attrReparsePoint
	}
	if v == 0 {
		v = attrNormal
	}
	return v
}

// Mode is FileModeInformation's value ([MS-FSA] 2.1.5.12.18).
func (o *Open) Mode() uint32 {
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	return o.mode
}

// SetMode is FileModeInformation ([MS-FSA] 2.1.5.15.8).
func (o *Open) SetMode(mode uint32) ntstatus.Status {
	const settable = optWriteThrough | optSequentialOnly | optSynchronousIOAlert | optSynchronousIONonalert
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	synchronous := uint32(optSynchronousIOAlert | optSynchronousIONonalert)
	switch {
	case mode&^settable != 0,
		mode&synchronous != 0 && o.mode&synchronous == 0,
		mode&synchronous == 0 && o.mode&synchronous != 0,
		mode&synchronous == synchronous:
		return ntstatus.InvalidParameter
	}
	o.mode = o.mode&^settable | mode
	return ntstatus.Success
}

// Position is Open.CurrentByteOffset.
func (o *Open) Position() int64 { return o.position.Load() }

// SetPosition is FilePositionInformation ([MS-FSA] 2.1.5.15.10).
func (o *Open) SetPosition(off int64) ntstatus.Status {
	if off < 0 {
		return ntstatus.InvalidParameter
	}
	o.position.Store(off)
	return ntstatus.Success
}

// Streams lists the data streams, the unnamed one of a file first under "" ([MS-FSA] 2.1.5.12.29).
func (o *Open) Streams() ([]store.StreamInfo, ntstatus.Status) {
	if st := o.enter(); st != ntstatus.Success {
		return nil, st
	}
	defer o.leave()
	list, err := o.file.node.Streams()
	if err != nil {
		return nil, o.tree.vol.fs.statusOf(err)
	}
	if o.file.dir {
		return list, ntstatus.Success
	}
	a, err := o.file.node.Attr()
	if err != nil {
		return nil, o.tree.vol.fs.statusOf(err)
	}
	return append([]store.StreamInfo{{Sizes: a.Sizes}}, list...), ntstatus.Success
}

// Names lists the hard links ([MS-FSCC] 2.4.21).
func (o *Open) Names() ([]store.LinkName, ntstatus.Status) {
	if st := o.enter(); st != ntstatus.Success {
		return nil, st
	}
	defer o.leave()
	n, err := o.file.node.Names()
	return n, o.tree.vol.fs.statusOf(err)
}

// fullPath is the path from the volume's root.
func (o *Open) fullPath() string {
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	return o.link.path()
}
