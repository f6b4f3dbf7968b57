package server

import (
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server/object"
	"gabion/store"
)

// set is a SET_INFO on its way.
type set struct {
	r   *request
	f   *file
	req smb2.SetInfoRequest
	waiting
}

// setInfo answers SET_INFO [MS-SMB2] 3.3.5.21.
func setInfo(r *request) {
	s := &set{r: r, f: r.file()}
	if err := s.req.Decode(r.msg); err != nil || uint64(len(s.req.Buffer)) > uint64(r.conn.maxIO) {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	if s.f == nil {
		pipeSetInfo(r, &s.req)
		return
	}
	switch s.req.InfoType {
	case smb2.InfoFile:
		s.file()
	case smb2.InfoFileSystem:
		s.fileSystem()
	case smb2.InfoSecurity:
		s.security()
	case smb2.InfoQuota:
		r.fail(ntstatus.NotSupported) // 3.3.5.21.4: none are kept
	default:
		r.fail(ntstatus.InvalidParameter)
	}
}

// done ends the request when what was changed is durable.
func (s *set) done(pos store.Pos, status ntstatus.Status) {
	if status != ntstatus.Success {
		s.r.fail(s.reason(status))
		return
	}
	resp := smb2.SetInfoResponse{}
	s.r.durably(s.f.obj.Tree(), s.f.share.since(pos), ntstatus.Success, resp.AppendTo(s.r.reserve(smallBody)))
}

// wait is for operations that may have to wait for a break.
func (s *set) wait(p *object.Pending) { s.on(s.r, p) }

// fileSystem is 3.3.5.21.2. Nothing about a volume can be set over the network, as on
// Windows: note 423.
func (s *set) fileSystem() {
	switch class := fscc.FsInformationClass(s.req.FileInfoClass); class {
	case fscc.FileFsControlInformation, fscc.FileFsObjectIDInformation:
		s.r.fail(ntstatus.AccessDenied)
	case fscc.FileFsLabelInformation:
		s.r.fail(ntstatus.NotSupported)
	default:
		s.r.fail(ntstatus.InvalidInfoClass)
	}
}

// security is 3.3.5.21.3.
func (s *set) security() {
	info := s.req.AdditionalInformation & securityInformation
	var need dtyp.AccessMask
	for _, rule := range [...]struct {
		info uint32
		need dtyp.AccessMask
	}{
		{smb2.SecuritySACL | smb2.SecurityScope, dtyp.AccessSystemSecurity},
		{smb2.SecurityDACL | smb2.SecurityAttribute, dtyp.WriteDAC},
		{smb2.SecurityOwner | smb2.SecurityGroup | smb2.SecurityLabel, dtyp.WriteOwner},
		{smb2.SecurityBackup, dtyp.WriteDAC | dtyp.WriteOwner | dtyp.AccessSystemSecurity},
	} {
		if info&rule.info != 0 {
			need |= rule.need
		}
	}
	if !dtyp.AccessMask(s.f.obj.Access()).Has(need) {
		s.r.fail(ntstatus.AccessDenied)
		return
	}
	s.wait(s.f.obj.SetSecurity(info, s.req.Buffer, s.done))
}
