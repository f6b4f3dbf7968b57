package server

import (
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server/object"
)

// changeNotify answers CHANGE_NOTIFY [MS-SMB2] 3.3.5.19, when something has changed.
func changeNotify(r *request) {
	var req smb2.ChangeNotifyRequest
	f := r.file()
	if err := req.Decode(r.msg); err != nil || f == nil {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	switch {
	case req.OutputBufferLength > r.conn.maxIO:
		r.fail(ntstatus.InvalidParameter)
		return
	case !f.obj.IsDir():
		r.fail(ntstatus.InvalidParameter)
		return
	case !f.granted(dtyp.FileListDirectory):
		r.fail(ntstatus.AccessDenied)
		return
	}
	max := int(req.OutputBufferLength)
	var w waiting
	w.on(r, f.obj.Notify(uint32(req.CompletionFilter), req.Flags&smb2.WatchTree != 0, max,
		func(events []object.NotifyEvent, status ntstatus.Status) {
			r.changed(events, max, w.reason(status))
		}))
}

// changed sends the events.
func (r *request) changed(events []object.NotifyEvent, max int, status ntstatus.Status) {
	switch status {
	case ntstatus.Success:
	case ntstatus.NotifyEnumDir:
		r.notifyEnumDir()
		return
	case ntstatus.NotifyCleanup:
		// A success by its severity, but without anything to tell.
		r.respond(status, &smb2.ChangeNotifyResponse{})
		return
	default:
		r.fail(status)
		return
	}
	size := 0
	for i := range events {
		size += 16 + 2*len(events[i].Name)
	}
	body := r.reserve(smb2.OutputBufferFixed + min(size, max))
	list := fscc.NewNotifyList(body[:smb2.OutputBufferFixed], max)
	for i := range events {
		if !list.Add(&fscc.NotifyEntry{Action: events[i].Action, FileName: events[i].Name}) {
			r.notifyEnumDir()
			return
		}
	}
	body = list.Bytes()
	smb2.PutOutputBuffer(body, uint32(list.Len()))
	r.finish(ntstatus.Success, body)
}

// notifyEnumDir says that more has changed than the buffer takes.
func (r *request) notifyEnumDir() {
	r.respond(ntstatus.NotifyEnumDir, &smb2.ChangeNotifyResponse{})
}
