package object

import (
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// Read reads from the stream. n counts the bytes before the end of file;
// STATUS_END_OF_FILE when off is at or past it and p is not empty.
func (o *Open) Read(p []byte, off int64) (n int, st ntstatus.Status) {
	return 0, ntstatus.NotImplemented
}

// Write writes all of p, at the end of the stream when off is -1. The position is what a write-through
// reply waits for: always set for opens with FILE_WRITE_THROUGH or on a continuously
// available share, else only when through is true (SMB2_WRITEFLAG_WRITE_THROUGH).
func (o *Open) Write(p []byte, off int64, through bool) (store.Pos, ntstatus.Status) {
	return 0, ntstatus.NotImplemented
}

// Flush returns the position that must be durable before FLUSH is answered.
func (o *Open) Flush() (store.Pos, ntstatus.Status) { return 0, ntstatus.NotImplemented }

// SetEndOfFile is FileEndOfFileInformation ([MS-FSA] 2.1.5.15.5).
func (o *Open) SetEndOfFile(size int64) (store.Pos, ntstatus.Status) {
	return 0, ntstatus.NotImplemented
}

// SetAllocation is FileAllocationInformation ([MS-FSA] 2.1.5.15.1).
func (o *Open) SetAllocation(size int64) (store.Pos, ntstatus.Status) {
	return 0, ntstatus.NotImplemented
}

// SetValidDataLength is FileValidDataLengthInformation ([MS-FSA] 2.1.5.15.15).
func (o *Open) SetValidDataLength(n int64) (store.Pos, ntstatus.Status) {
	return 0, ntstatus.NotImplemented
}

// Zero is FSCTL_SET_ZERO_DATA ([MS-FSA] 2.1.5.10.39): [off, end).
func (o *Open) Zero(off, end int64) (store.Pos, ntstatus.Status) { return 0, ntstatus.NotImplemented }

// Trim is one range of FSCTL_FILE_LEVEL_TRIM ([MS-FSA] 2.1.5.10.6).
func (o *Open) Trim(off, n int64) (store.Pos, ntstatus.Status) { return 0, ntstatus.NotImplemented }

// Allocated is FSCTL_QUERY_ALLOCATED_RANGES: it appends the ranges to to.
func (o *Open) Allocated(off, n int64, to []store.Range) ([]store.Range, ntstatus.Status) {
	return to, ntstatus.NotImplemented
}

// SetSparse is FSCTL_SET_SPARSE ([MS-FSA] 2.1.5.10.38).
func (o *Open) SetSparse(on bool) (store.Pos, ntstatus.Status) { return 0, ntstatus.NotImplemented }

// CloneRange is FSCTL_DUPLICATE_EXTENTS_TO_FILE ([MS-FSA] 2.1.5.10.4): o is the target.
func (o *Open) CloneRange(src *Open, srcOff, off, n int64) (store.Pos, ntstatus.Status) {
	return 0, ntstatus.NotImplemented
}

// CopyRange is one chunk of FSCTL_SRV_COPYCHUNK ([MS-SMB2] 3.3.5.15.6): o is the
// target. It clones what is aligned and copies the rest.
func (o *Open) CopyRange(src *Open, srcOff, off, n int64) (copied int64, pos store.Pos, st ntstatus.Status) {
	return 0, 0, ntstatus.NotImplemented
}
