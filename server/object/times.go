package object

import (
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// BasicChange is FileBasicInformation ([MS-FSCC] 2.4.7) as sent: times of 0 leave one
// alone, -1 stops and -2 resumes its automatic updates for this open.
type BasicChange struct {
	Creation, LastAccess, LastWrite, Change int64
	FileAttributes                          uint32
}

// SetBasic is FileBasicInformation ([MS-FSA] 2.1.5.15.2).
func (o *Open) SetBasic(c BasicChange) (store.Pos, ntstatus.Status) {
	if !o.has(fileWriteAttributes) {
		return 0, ntstatus.AccessDenied
	}
	if c.Creation < -2 || c.LastAccess < -2 || c.LastWrite < -2 || c.Change < -2 ||
		c.FileAttributes&attrDirectory != 0 && !o.file.dir ||
		c.FileAttributes&attrTemporary != 0 && o.file.dir {
		return 0, ntstatus.InvalidParameter
	}
	if st := o.writable(); st != ntstatus.Success {
		return 0, st
	}
	defer o.leave()
	f := o.file
	var l later
	defer l.run()
	f.mu.Lock()
	pos, visible, st := o.setBasic(&c)
	parent := o.link.parent
	f.mu.Unlock()
	if visible {
		f.vol.breakParent(parent, o, &l)
	}
	return o.through(pos, false), st
}

// setBasic does the work of SetBasic; visible says that the directory shows the
// change. Caller holds File.mu.
func (o *Open) setBasic(c *BasicChange) (pos store.Pos, visible bool, st ntstatus.Status) {
	f := o.file
	attr, err := f.node.Attr()
	if err != nil {
		return 0, false, f.vol.fs.statusOf(err)
	}
	var ch store.Change
	filter := uint32(0)
	if attrs, ok := o.newAttributes(&attr, c.FileAttributes); ok {
		ch.FileAttributes = &attrs
		filter |= notifyAttributes
	}
	set := func(v int64, to *dtyp.Filetime, stuck *bool, bit uint32) {
		switch {
		case v == -2:
			*stuck = false
		case v == -1:
			*stuck = true
		case v > 0:
			*stuck, *to = true, dtyp.Filetime(v)
			filter |= bit
		}
	}
	var ignored bool // the creation time has no automatic updates
	set(c.Creation, &ch.Times.Creation, &ignored, notifyCreation)
	set(c.LastAccess, &ch.Times.LastAccess, &o.sticky.access, notifyLastAccess)
	set(c.LastWrite, &ch.Times.LastWrite, &o.sticky.write, notifyLastWrite)
	visible = filter != 0 || c.Change > 0
	changed := o.sticky.change
	set(c.Change, &ch.Times.Change, &o.sticky.change, 0)
	if filter != 0 && !changed && !o.sticky.change {
		ch.Times.Change = now()
	}
	if ch.FileAttributes == nil && ch.Times == (store.Times{}) {
		return 0, false, ntstatus.Success
	}
	o.modified |= filter
	pos, err = f.node.Update(ch)
	return pos, visible, f.vol.fs.statusOf(err)
}

// newAttributes applies requested attributes, 0 for none; ok is false when
// nothing changes.
func (o *Open) newAttributes(attr *store.Attr, want uint32) (attrs uint32, ok bool) {
	if want == 0 {
		return 0, false
	}
	valid := uint32(attrSettable)
	if o.file.id == store.RootID {
		valid &^= attrHidden | attrSystem
	}
	attrs = attr.FileAttributes&^valid | want&valid
	return attrs, attrs != attr.FileAttributes
}

// tick is how finely changes of data are told apart. Times that stand still spare the
// store a record's worth of work; Windows' clock ticks a good deal slower.
const tick = 10_000 // 1 ms

// touch is what a change of data does to the times ([MS-FSA] 2.1.4.17). Caller
// holds File.mu.
func (o *Open) touch() store.Touch {
	t := now()
	if t-o.file.touched < tick {
		t = o.file.touched
	} else {
		o.file.touched = t
	}
	touch := store.Touch{LastWrite: t, Change: t, SetAttributes: attrArchive}
	if o.sticky.write {
		touch.LastWrite = 0
	}
	if o.sticky.change {
		touch.Change = 0
	}
	return touch
}

// changed is what a change of metadata does to the times ([MS-FSA] 2.1.4.18).
func (o *Open) changed() store.Times {
	if o.sticky.change {
		return store.Times{}
	}
	return store.Times{Change: now()}
}
