package object

import (
	"errors"
	"io"

	"gabion/protocol/ntstatus"
	"gabion/store"
)

// Read reads from the stream ([MS-FSA] 2.1.5.3). n counts the bytes before the end of file;
// STATUS_END_OF_FILE when off is at or past it and p is not empty.
func (o *Open) Read(p []byte, off int64) (n int, st ntstatus.Status) {
	return o.read(p, off, nil)
}

// ReadParts is Read, but appends what it read to parts in place of copying what the store has in
// memory; see store.Lender.
func (o *Open) ReadParts(p []byte, off int64, parts *store.Parts) (n int, st ntstatus.Status) {
	return o.read(p, off, parts)
}

// read is Read, or ReadParts if there are parts.
func (o *Open) read(p []byte, off int64, parts *store.Parts) (n int, st ntstatus.Status) {
	if o.IsDir() {
		return 0, ntstatus.InvalidDeviceRequest
	}
	if !o.has(fileReadData | fileExecute) {
		return 0, ntstatus.AccessDenied
	}
	if off < 0 || off+int64(len(p)) < 0 {
		return 0, ntstatus.InvalidParameter
	}
	if len(p) == 0 {
		return 0, ntstatus.Success
	}
	if st := o.enter(); st != ntstatus.Success {
		return 0, st
	}
	defer o.leave()
	if o.stream.locked(o, uint64(off), uint64(len(p)), false) {
		return 0, ntstatus.FileLockConflict
	}
	var err error
	if l, lends := o.stream.data.(store.Lender); lends && parts != nil {
		n, err = l.ReadParts(p, off, parts)
	} else if n, err = o.stream.data.ReadAt(p, off); parts != nil && n > 0 {
		parts.Add(p[:n], nil)
	}
	if err == io.EOF {
		if n == 0 {
			return 0, ntstatus.EndOfFile
		}
		err = nil
	}
	o.position.Store(off + int64(n))
	return n, o.tree.vol.fs.statusOf(err)
}

// Write writes all of p, at the end of the stream when off is -1 ([MS-FSA]
// 2.1.5.4). The position is what a write-through reply waits for: set for
// opens with FILE_WRITE_THROUGH or on a continuously available share, else
// only when through is true (SMB2_WRITEFLAG_WRITE_THROUGH).
func (o *Open) Write(p []byte, off int64, through bool) (store.Pos, ntstatus.Status) {
	return o.WriteSummed(p, nil, off, through)
}

// WriteSummed is Write for data whose sums are known, unless they are nil; see store.Summed.
func (o *Open) WriteSummed(p []byte, sums []uint32, off int64, through bool) (store.Pos, ntstatus.Status) {
	if o.IsDir() {
		return 0, ntstatus.InvalidDeviceRequest
	}
	if !o.has(fileWriteData | fileAppendData) {
		return 0, ntstatus.AccessDenied
	}
	if off < -1 || off >= 0 && off+int64(len(p)) < 0 {
		return 0, ntstatus.InvalidParameter
	}
	if st := o.writable(); st != ntstatus.Success {
		return 0, st
	}
	defer o.leave()
	d := o.stream.data
	if off == -1 {
		off = d.Sizes().Size
	} else if !o.has(fileWriteData) && off < d.Sizes().Size {
		return 0, ntstatus.AccessDenied // [MS-SMB2] 3.3.5.13: only appending is allowed
	}
	if len(p) == 0 {
		return 0, ntstatus.Success
	}
	if o.stream.locked(o, uint64(off), uint64(len(p)), true) {
		return 0, ntstatus.FileLockConflict
	}
	touch := o.beforeChange(notifySize|notifyLastWrite, true)
	o.file.count(p, off, d.Sizes().Size)
	var pos store.Pos
	var err error
	if s, ok := d.(store.Summed); ok && sums != nil {
		pos, err = s.WriteSummed(p, sums, off, touch)
	} else {
		pos, err = d.WriteAt(p, off, touch)
	}
	if errors.Is(err, store.ErrTooLarge) {
		return 0, ntstatus.InvalidParameter // beyond Volume.MaxFileSize
	}
	if err != nil {
		return 0, o.tree.vol.fs.statusOf(err)
	}
	return o.through(pos, through), ntstatus.Success
}

// beforeChange prepares a change of the stream's data: other clients lose what they cache of it,
// the open remembers what to report at close, and the times are set. With atClose
// the directory's grants are broken when the open is closed.
func (o *Open) beforeChange(filter uint32, atClose bool) store.Touch {
	f := o.file
	f.mu.Lock()
	touch := o.touch()
	o.wrote = o.wrote || atClose
	o.modified |= filter
	if o.stream.readers.Load() == 0 {
		f.mu.Unlock()
		return touch
	}
	var l later
	o.stream.breakGrants(o, demandWrite, &l)
	f.mu.Unlock()
	l.run()
	return touch
}

// Flush returns the position that must be durable before FLUSH is answered
// ([MS-FSA] 2.1.5.7).
func (o *Open) Flush() (store.Pos, ntstatus.Status) {
	if !o.has(fileWriteData | fileAppendData) {
		return 0, ntstatus.AccessDenied
	}
	if st := o.enter(); st != ntstatus.Success {
		return 0, st
	}
	defer o.leave()
	// Everything acknowledged so far on the volume: one sync serves all, and what
	// an earlier open of the file wrote is among it.
	return store.Pos(o.tree.vol.last.Load()), ntstatus.Success
}

// dataChange is the common part of what changes a stream's extent.
func (o *Open) dataChange(filter uint32, change func(store.Stream, store.Touch) (store.Pos, error)) (store.Pos, ntstatus.Status) {
	if o.IsDir() {
		return 0, ntstatus.InvalidParameter
	}
	if !o.has(fileWriteData) {
		return 0, ntstatus.AccessDenied
	}
	if st := o.writable(); st != ntstatus.Success {
		return 0, st
	}
	defer o.leave()
	pos, err := change(o.stream.data, o.beforeChange(filter, false))
	if err != nil {
		if errors.Is(err, store.ErrTooLarge) {
			return 0, ntstatus.InvalidParameter
		}
		return 0, o.tree.vol.fs.statusOf(err)
	}
	return o.through(pos, false), ntstatus.Success
}

// breakParent breaks the grants of the directory that shows the file.
func (o *Open) breakParent() {
	o.file.mu.Lock()
	parent := o.link.parent
	o.file.mu.Unlock()
	var l later
	o.file.vol.breakParent(parent, o, &l)
	l.run()
}

// SetEndOfFile is FileEndOfFileInformation ([MS-FSA] 2.1.5.15.5).
func (o *Open) SetEndOfFile(size int64) (store.Pos, ntstatus.Status) {
	if size < 0 || size > store.MaxSize {
		return 0, ntstatus.InvalidParameter
	}
	pos, st := o.dataChange(notifySize|notifyLastWrite, func(d store.Stream, t store.Touch) (store.Pos, error) {
		return d.SetSize(size, t)
	})
	if st == ntstatus.Success {
		o.breakParent()
	}
	return pos, st
}

// SetAllocation is FileAllocationInformation ([MS-FSA] 2.1.5.15.1).
func (o *Open) SetAllocation(size int64) (store.Pos, ntstatus.Status) {
	if size < 0 || size > store.MaxSize {
		return 0, ntstatus.InvalidParameter
	}
	pos, st := o.dataChange(notifySize, func(d store.Stream, t store.Touch) (store.Pos, error) {
		if size >= d.Sizes().Size {
			t.LastWrite = 0 // nothing but the allocation changes
		}
		return d.SetAllocation(size, t)
	})
	if st == ntstatus.Success {
		o.breakParent()
	}
	return pos, st
}

// SetValidDataLength is FileValidDataLengthInformation ([MS-FSA] 2.1.5.15.15).
func (o *Open) SetValidDataLength(n int64) (store.Pos, ntstatus.Status) {
	if n <= 0 || n > o.size() {
		return 0, ntstatus.InvalidParameter
	}
	if !hasPrivilege(o.Token(), privManageVolume) {
		return 0, ntstatus.PrivilegeNotHeld
	}
	return o.dataChange(notifySize, func(d store.Stream, t store.Touch) (store.Pos, error) {
		if n < d.Sizes().ValidData {
			return 0, store.ErrInvalid
		}
		return d.SetValidData(n, t)
	})
}

// size is the stream's, 0 for a directory.
func (o *Open) size() int64 {
	if o.IsDir() {
		return 0
	}
	return o.stream.data.Sizes().Size
}

// Zero is FSCTL_SET_ZERO_DATA ([MS-FSA] 2.1.5.10.39): [off, end).
func (o *Open) Zero(off, end int64) (store.Pos, ntstatus.Status) {
	if off < 0 || end < off {
		return 0, ntstatus.InvalidParameter
	}
	if !o.IsDir() && o.stream.locked(o, uint64(off), uint64(end-off), true) {
		return 0, ntstatus.FileLockConflict
	}
	if !o.IsDir() && o.deleting() {
		return 0, ntstatus.FileDeleted
	}
	return o.dataChange(notifyLastWrite, func(d store.Stream, t store.Touch) (store.Pos, error) {
		end := min(end, d.Sizes().Size)
		if off >= end {
			return 0, nil
		}
		return d.Zero(off, end-off, t)
	})
}

// Trim is one range of FSCTL_FILE_LEVEL_TRIM ([MS-FSA] 2.1.5.10.6): whole blocks of it are
// given back and read as zeros. A range without any is not processed.
func (o *Open) Trim(off, n int64) (processed bool, pos store.Pos, st ntstatus.Status) {
	if off < 0 || n < 0 || off+n < 0 {
		return false, 0, ntstatus.InvalidParameter
	}
	block := o.blockSize()
	from, to := (off+block-1)/block*block, min(off+n, blockUp(o.size(), block))/block*block
	if from >= to {
		return false, 0, ntstatus.Success
	}
	pos, st = o.Zero(from, to)
	return true, pos, st
}

// deleting is deletePending for callers without File.mu.
func (o *Open) deleting() bool {
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	return o.deletePending()
}

// Allocated is FSCTL_QUERY_ALLOCATED_RANGES ([MS-FSA] 2.1.5.10.22): the first ranges, and more
// than most if there are more.
func (o *Open) Allocated(off, n int64, most int) ([]store.Range, ntstatus.Status) {
	if o.IsDir() || off < 0 || n < 0 || off+n < 0 {
		return nil, ntstatus.InvalidParameter
	}
	if !o.has(fileReadData) {
		return nil, ntstatus.AccessDenied
	}
	if st := o.enter(); st != ntstatus.Success {
		return nil, st
	}
	defer o.leave()
	end := min(off+n, o.size())
	if off >= end {
		return nil, ntstatus.Success
	}
	a, err := o.file.node.Attr()
	if err != nil {
		return nil, o.tree.vol.fs.statusOf(err)
	}
	if a.FileAttributes&attrSparse == 0 {
		// "If Open.Stream.IsSparse is FALSE": all of it is one range.
		return []store.Range{{Off: off, Len: end - off}}, ntstatus.Success
	}
	list, err := firstRanges(o.stream.data, off, end, most)
	return list, o.tree.vol.fs.statusOf(err)
}

// How much of a stream firstRanges looks at in one step: what is in pieces of a block each
// takes half a megabyte of list, and what is empty is passed quickly.
const (
	rangesStep    = 256 << 20
	maxRangesStep = 16 << 30
)

// firstRanges lists what is allocated of [off, end) until there are more than most ranges.
func firstRanges(s store.Stream, off, end int64, most int) (list []store.Range, err error) {
	for step := int64(rangesStep); off < end && len(list) <= most; {
		n := min(step, end-off)
		had := len(list)
		if list, err = s.Allocated(off, n, list); err != nil {
			return nil, err
		}
		found := len(list) - had
		if had > 0 && found > 0 && list[had-1].Off+list[had-1].Len == list[had].Off {
			list[had-1].Len += list[had].Len
			list = append(list[:had], list[had+1:]...)
		}
		off += n
		if step = rangesStep; found <= 1 {
			step = min(4*n, maxRangesStep)
		}
	}
	return list, nil
}

// SetSparse is FSCTL_SET_SPARSE ([MS-FSA] 2.1.5.10.38).
func (o *Open) SetSparse(on bool) (store.Pos, ntstatus.Status) {
	if o.IsDir() {
		return 0, ntstatus.InvalidParameter
	}
	if !o.has(fileWriteData | fileAppendData | fileWriteAttributes) {
		return 0, ntstatus.AccessDenied
	}
	return o.updateAttributes(attrSparse, on)
}

// updateAttributes sets or clears attributes that clients cannot set by name.
func (o *Open) updateAttributes(bits uint32, on bool) (store.Pos, ntstatus.Status) {
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
	attrs := a.FileAttributes &^ bits
	if on {
		attrs |= bits
	}
	o.modified |= notifyAttributes
	pos, err := f.node.Update(store.Change{FileAttributes: &attrs, Times: o.changed()})
	return o.through(pos, false), f.vol.fs.statusOf(err)
}
