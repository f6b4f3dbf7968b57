package object

import "gabion/protocol/ntstatus"

// NotifyEvent is one FILE_NOTIFY_INFORMATION ([MS-FSCC] 2.7.1).
type NotifyEvent struct {
	Action uint32
	Name   string // relative to the watched directory, backslashes
}

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

// Notify is CHANGE_NOTIFY ([MS-FSA] 2.1.5.11): done gets the events once there are any. maxBytes
// bounds their encoded size; STATUS_NOTIFY_ENUM_DIR says that they did not fit,
// STATUS_NOTIFY_CLEANUP that the directory was closed, STATUS_DELETE_PENDING that it is being deleted.
// The first call on an open fixes filter, tree and buffer size; events collect
// between calls.
func (o *Open) Notify(filter uint32, tree bool, maxBytes int, done func([]NotifyEvent, ntstatus.Status)) *Pending {
	done(nil, ntstatus.NotImplemented)
	return nil
}
