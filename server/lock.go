package server

import (
	"sync/atomic"

	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server/object"
	"gabion/store"
)

// lock answers LOCK [MS-SMB2] 3.3.5.14.
func lock(r *request) {
	var req smb2.LockRequest
	f := r.file()
	if f == nil {
		r.fail(ntstatus.InvalidDeviceRequest)
		return
	}
	if err := req.Decode(r.msg); err != nil || len(req.Locks) == 0 {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	// Deviation: [MS-SMB2] 3.3.5.2.9 lets LOCK through in an expired session. Locks
	// may only be given back there, as on Samba, whose tests hold a server to it.
	if r.session.currentState() == sessionExpired && !onlyUnlocks(req.Locks) {
		r.fail(ntstatus.NetworkSessionExpired)
		return
	}
	if f.disk != nil {
		r.fail(ntstatus.LockNotGranted) // [MS-SMB2] 3.3.5.14
		return
	}
	if !r.sequencesLocks(f) {
		req.LockSequence = 0 // which is no sequence
	}
	if !r.lockTurn(f, req.LockSequence) {
		return
	}
	if req.Locks[0].Flags&smb2.LockFlagUnlock != 0 {
		r.unlock(&req, f)
		return
	}
	if !f.countLocks(len(req.Locks)) {
		r.lockFailed(f, req.LockSequence, ntstatus.InsufficientResources)
		return
	}
	r.lock(&req, f)
}

// lockTurn is lock sequence verification; false if the request has been answered. Deviation:
// 3.3.5.2.10 refuses only WRITE, SET_INFO and IOCTL of a channel that the client has given up.
// A LOCK that comes so late would be taken again after its replay, when it was unlocked meanwhile,
// and never be given back; so would one that its replay overtakes while it waits.
func (r *request) lockTurn(f *file, sequence uint32) bool {
	switch f.obj.LockBegin(sequence) {
	case object.LockReplayed:
		r.lockDone(f, f.share.since(0))
		return false
	case object.LockRunning:
		r.fail(ntstatus.FileNotAvailable)
		return false
	}
	// It is known to be running: whatever replays it from here on waits for it.
	if r.dialect().Is3x() && (!r.counted || r.open.sequenceAhead(r.hdr.ChannelSequence)) {
		f.obj.LockWithdraw(sequence)
		r.fail(ntstatus.FileNotAvailable)
		return false
	}
	return true
}

// lockFailed ends a LOCK that took nothing.
func (r *request) lockFailed(f *file, sequence uint32, status ntstatus.Status) {
	f.obj.LockEnd(sequence, false)
	r.fail(status)
}

// onlyUnlocks reports whether no element takes a lock.
func onlyUnlocks(locks []smb2.LockElement) bool {
	for _, l := range locks {
		if l.Flags&smb2.LockFlagUnlock == 0 {
			return false
		}
	}
	return true
}

// sequencesLocks reports whether lock sequences count for the open: not in 2.0.2; for opens that
// survive a disconnect, and for all where several channels may carry a request twice.
func (r *request) sequencesLocks(f *file) bool {
	if r.dialect() == smb2.Dialect202 {
		return false
	}
	return r.dialect().Is3x() && r.conn.serverCaps&smb2.CapMultiChannel != 0 || f.obj.Durable().Kind != object.NotDurable
}

// unlock is 3.3.5.14.1. What was unlocked before an error stays unlocked.
func (r *request) unlock(req *smb2.LockRequest, f *file) {
	for _, l := range req.Locks {
		status := ntstatus.InvalidParameter
		if l.Flags == smb2.LockFlagUnlock {
			status = f.unlock(l)
		}
		if status != ntstatus.Success {
			f.record()
			r.lockFailed(f, req.LockSequence, status)
			return
		}
	}
	r.locked(req.LockSequence, f)
}

// locked ends a LOCK that succeeded and took some locks, which are given back if they cannot be
// recorded.
func (r *request) locked(sequence uint32, f *file, taken ...smb2.LockElement) {
	f.obj.LockEnd(sequence, true)
	pos, err := f.record()
	if err != nil {
		f.obj.LockEnd(sequence, false)
		for _, l := range taken {
			f.unlock(l)
		}
		r.fail(ntstatus.InsufficientResources)
		return
	}
	r.lockDone(f, pos)
}

// lockDone answers when what was recorded of the open is durable.
func (r *request) lockDone(f *file, pos store.Pos) {
	resp := smb2.Empty{Of: smb2.CommandLock}
	r.durably(f.obj.Tree(), pos, ntstatus.Success, resp.AppendTo(r.reserve(smallBody)))
}

// unlock gives one lock back.
func (f *file) unlock(l smb2.LockElement) ntstatus.Status {
	status := f.obj.Unlock(l.Offset, l.Length)
	if status == ntstatus.Success {
		f.uncountLocks(1)
	}
	return status
}

// lock is 3.3.5.14.2. The places of all locks have been taken.
func (r *request) lock(req *smb2.LockRequest, f *file) {
	if len(req.Locks) == 1 {
		r.lockOne(req, f)
		return
	}
	for _, l := range req.Locks {
		if l.Flags&smb2.LockFlagFailImmediately == 0 {
			f.uncountLocks(len(req.Locks))
			r.lockFailed(f, req.LockSequence, ntstatus.InvalidParameter)
			return
		}
	}
	for i, l := range req.Locks {
		status := validLockFlags(l.Flags)
		if status == ntstatus.Success {
			f.obj.Lock(rangeOf(l), false, func(s ntstatus.Status) { status = s })
		}
		if status == ntstatus.Success {
			continue
		}
		// "MUST unlock any ranges locked as part of processing the previous entries"
		for _, undo := range req.Locks[:i] {
			f.unlock(undo)
		}
		f.uncountLocks(len(req.Locks) - i)
		r.lockFailed(f, req.LockSequence, status)
		return
	}
	r.locked(req.LockSequence, f, req.Locks...)
}

// lockOne takes a single lock, which may wait.
func (r *request) lockOne(req *smb2.LockRequest, f *file) {
	l, sequence := req.Locks[0], req.LockSequence
	if status := validLockFlags(l.Flags); status != ntstatus.Success {
		f.uncountLocks(1)
		r.lockFailed(f, sequence, status)
		return
	}
	var w waiting
	w.on(r, f.obj.Lock(rangeOf(l), l.Flags&smb2.LockFlagFailImmediately == 0, func(status ntstatus.Status) {
		if status != ntstatus.Success {
			f.uncountLocks(1)
			r.lockFailed(f, sequence, w.reason(status))
			return
		}
		r.locked(sequence, f, l)
	}))
}

// validLockFlags accepts the combinations of [MS-SMB2] 2.2.26.1.
func validLockFlags(flags smb2.LockFlags) ntstatus.Status {
	switch flags &^ smb2.LockFlagFailImmediately {
	case smb2.LockFlagSharedLock, smb2.LockFlagExclusiveLock:
		return ntstatus.Success
	}
	return ntstatus.InvalidParameter
}

func rangeOf(l smb2.LockElement) object.LockRange {
	return object.LockRange{Off: l.Offset, Len: l.Length, Exclusive: l.Flags&smb2.LockFlagExclusiveLock != 0}
}

// waiting ties an operation of the object store that may wait to its request.
type waiting struct {
	refused atomic.Uint32 // why the request may not wait
}

// on makes the request wait for p, nil meaning that it need not. When it may not
// wait the operation is cancelled, and ends with the reason for that.
func (w *waiting) on(r *request, p *object.Pending) {
	if p != nil {
		w.until(r, p, p.Cancel)
	}
}

// until is on with another way to cancel.
func (w *waiting) until(r *request, p *object.Pending, cancel func()) {
	if status := r.pend(cancel); status != ntstatus.Success {
		w.refused.Store(uint32(status))
		p.Cancel()
	}
}

// reason turns the STATUS_CANCELLED of a wait that was refused into the reason.
func (w *waiting) reason(status ntstatus.Status) ntstatus.Status {
	if s := w.refused.Load(); s != 0 && status == ntstatus.Cancelled {
		return ntstatus.Status(s)
	}
	return status
}
