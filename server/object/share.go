package object

import "gabion/protocol/ntstatus"

// accessShared are the rights that share modes are about.
const accessShared = fileReadData | fileExecute | fileWriteData | fileAppendData | accessDelete

// share1 is the sharing check of [MS-FSA] 2.1.5.1.2.1 and 2.1.5.1.2.2 of the open being made against
// every open of the file; s is the stream to be opened, nil when nobody has it open.
func (e *opening) share1(s *Stream) ntstatus.Status {
	e.shareRead()
	claimed := e.granted
	if e.req.SharedDisk {
		claimed |= sharedDiskAccess
	}
	if claimed&accessShared == 0 && e.desired&accessShared == 0 {
		return ntstatus.Success
	}
	main := e.path.stream == ""
	for _, x := range e.f.streams {
		for _, o := range x.opens {
			if e.req.SharedDisk && o.shared {
				continue
			}
			if x == s && conflict(claimed, e.share, o.claims(), o.share) {
				return ntstatus.SharingViolation
			}
			// Deleting the primary stream deletes all: DELETE on it is shared with
			// every stream's opens.
			if x != s && (x.main() || main) && deleteConflict(claimed, e.share, main, o.claims(), o.share, x.main()) {
				return ntstatus.SharingViolation
			}
		}
	}
	return ntstatus.Success
}

// shareRead adds FILE_SHARE_READ for who could not write in the directory anyway: a mere
// reader cannot lock others out ([MS-FSA] 2.1.5.1.2.2).
func (e *opening) shareRead() {
	if e.share&shareRead != 0 || e.granted&(fileWriteData|fileAppendData|accessDelete) != 0 {
		return
	}
	sd, err := e.parentSecurity()
	if err == nil && sd != nil && granted(e.req.Token, sd, fileWriteData) == 0 {
		e.share |= shareRead
	}
}

// conflict is the sharing check between two opens of one stream.
func conflict(access1, share1, access2, share2 uint32) bool {
	if access1&accessShared == 0 || access2&accessShared == 0 {
		return false
	}
	return !shared(access1, share2) || !shared(access2, share1)
}

// shared reports whether share lets access in.
func shared(access, share uint32) bool {
	switch {
	case access&(fileReadData|fileExecute) != 0 && share&shareRead == 0,
		access&(fileWriteData|fileAppendData) != 0 && share&shareWrite == 0,
		access&accessDelete != 0 && share&shareDelete == 0:
		return false
	}
	return true
}

// deleteConflict is the check between opens of different streams: only DELETE on
// the primary one counts.
func deleteConflict(access1, share1 uint32, main1 bool, access2, share2 uint32, main2 bool) bool {
	if main2 && access2&accessDelete != 0 && share1&shareDelete == 0 && access1&accessShared != 0 {
		return true
	}
	return main1 && access1&accessDelete != 0 && share2&shareDelete == 0 && access2&accessShared != 0
}

// statOnly reports whether an open with that access leaves the caching of s
// alone ([MS-FSA] 2.1.4.12 case OPEN).
func statOnly(access uint32, s *Stream) bool {
	free := uint32(fileReadAttributes | fileWriteAttributes | accessSynchronize)
	for _, g := range s.grants {
		if !g.state.Lease {
			return access&^free == 0
		}
	}
	return access&^(free|accessReadControl) == 0
}

// breakForSharing is OPEN_BREAK_H: handle caching that keeps conflicting opens alive is broken,
// on the stream or, where DELETE conflicts, on the others. It reports whether to
// wait. Caller holds File.mu.
func (f *File) breakForSharing(o *Open, s *Stream, l *later) (wait bool) {
	for _, x := range f.streams {
		if (x == s || x.main() || s == nil) && x.breakGrants(o, demandSharing, l) {
			wait = true
		}
	}
	return wait
}

// breakBatch breaks batch oplocks, which goes before the sharing check: the client may close what
// it only kept open. Caller holds File.mu.
func (s *Stream) breakBatch(o *Open, d demand, l *later) (wait bool) {
	for _, g := range append([]*grant(nil), s.grants...) {
		if !g.state.Lease && g.state.Held == cacheRWH && !g.own(o) && g.demand(d, l) {
			wait = true
		}
	}
	return wait
}
