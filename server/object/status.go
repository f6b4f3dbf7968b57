package object

import (
	"errors"

	"gabion/protocol/ntstatus"
	"gabion/store"
)

// statusOf is the one place where the store's errors become NTSTATUS values.
func (fs *FS) statusOf(err error) ntstatus.Status {
	if err == nil {
		return ntstatus.Success
	}
	var damaged *store.CorruptError
	if errors.As(err, &damaged) {
		if fs.cfg.Damaged != nil {
			fs.cfg.Damaged(damaged)
		}
		return ntstatus.CrcError
	}
	for _, m := range storeStatus {
		if errors.Is(err, m.err) {
			return m.status
		}
	}
	if fs.cfg.Stopped != nil && errors.Is(err, store.ErrStopped) {
		fs.cfg.Stopped(err)
	}
	return ntstatus.UnexpectedIOError
}

var storeStatus = [...]struct {
	err    error
	status ntstatus.Status
}{
	{store.ErrNotFound, ntstatus.ObjectNameNotFound},
	{store.ErrExist, ntstatus.ObjectNameCollision},
	{store.ErrNotDir, ntstatus.NotADirectory},
	{store.ErrIsDir, ntstatus.FileIsADirectory},
	{store.ErrNotEmpty, ntstatus.DirectoryNotEmpty},
	{store.ErrNoSpace, ntstatus.DiskFull},
	{store.ErrQuotaBorder, ntstatus.NotSameDevice}, // clients copy and delete then
	{store.ErrReadOnly, ntstatus.MediaWriteProtected},
	{store.ErrName, ntstatus.ObjectNameInvalid},
	{store.ErrInvalid, ntstatus.InvalidParameter},
	{store.ErrTooLarge, ntstatus.DiskFull},
}
