package rpc

import (
	"strings"
	"time"

	"gabion/protocol/dcerpc"
	"gabion/protocol/srvsvc"
)

var srvsvcOps = map[uint16]operation{
	srvsvc.OpConnectionEnum:  connectionEnum,
	srvsvc.OpFileEnum:        fileEnum,
	srvsvc.OpFileGetInfo:     fileGetInfo,
	srvsvc.OpFileClose:       fileClose,
	srvsvc.OpSessionEnum:     sessionEnum,
	srvsvc.OpSessionDel:      sessionDel,
	srvsvc.OpShareEnum:       shareEnum,
	srvsvc.OpShareEnumSticky: shareEnumSticky,
	srvsvc.OpShareAdd:        shareAdd,
	srvsvc.OpShareSetInfo:    shareSetInfo,
	srvsvc.OpShareDel:        shareDel,
	srvsvc.OpShareDelSticky:  shareDel,
	srvsvc.OpShareCheck:      shareCheck,
	srvsvc.OpTransportEnum:   transportEnum,
	srvsvc.OpNameValidate:    nameValidate,
	srvsvc.OpNameCanonical:   nameCanonicalize,
	srvsvc.OpNameCompare:     nameCompare,
	srvsvc.OpShareGetInfo:    shareGetInfo,
	srvsvc.OpServerGetInfo:   serverGetInfo,
	srvsvc.OpDiskEnum:        diskEnum,
	srvsvc.OpRemoteTOD:       remoteTOD,
}

// adminShareLevel says which levels of NetrShareGetInfo and NetrShareEnum carry paths
// and descriptors: MS-SRVS 3.1.4.8 reserves them to administrators and operators.
func adminShareLevel(level uint32) bool { return level == 2 || level == 502 || level == 503 }

// shareEnum is NetrShareEnum (MS-SRVS 3.1.4.8).
func shareEnum(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	q, err := srvsvc.DecodeShareEnum(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	if (adminShareLevel(q.Level) || q.Level == 501 && a.caller.Anonymous) && !a.caller.looks() {
		return q.EncodeDenied(), 0
	}
	return q.EncodeShareEnum(a.backend.Shares(a.caller)), 0
}

// shareEnumSticky is NetrShareEnumSticky (MS-SRVS 3.1.4.9): every share
// outlives a restart.
func shareEnumSticky(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	q, err := srvsvc.DecodeShareEnum(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	if adminShareLevel(q.Level) && !a.caller.looks() {
		return q.EncodeDenied(), 0
	}
	return q.EncodeShareEnumSticky(a.backend.Shares(a.caller)), 0
}

// shareGetInfo is NetrShareGetInfo (MS-SRVS 3.1.4.10).
func shareGetInfo(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	name, level, err := srvsvc.DecodeShareGetInfo(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	if (adminShareLevel(level) || level == 1501) && !a.caller.looks() {
		return srvsvc.EncodeShareGetInfo(level, nil, srvsvc.AccessDenied), 0
	}
	shares := a.backend.Shares(a.caller)
	for i := range shares {
		if strings.EqualFold(shares[i].Name, name) {
			return srvsvc.EncodeShareGetInfo(level, &shares[i], srvsvc.Success), 0
		}
	}
	return srvsvc.EncodeShareGetInfo(level, nil, srvsvc.NetNameMissing), 0
}

// serverGetInfo is NetrServerGetInfo (MS-SRVS 3.1.4.17).
func serverGetInfo(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	level, err := srvsvc.DecodeServerGetInfo(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	s := a.backend.Server()
	result := uint32(srvsvc.Success)
	if level == 102 && !a.caller.looks() {
		result = srvsvc.AccessDenied
	}
	return srvsvc.EncodeServerGetInfo(level, &s, result), 0
}

// diskEnum is NetrServerDiskEnum (MS-SRVS 3.1.4.19): the array looks like one disk.
func diskEnum(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	q, err := srvsvc.DecodeDiskEnum(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	if !a.caller.looks() {
		return q.EncodeDiskEnum(nil, srvsvc.AccessDenied), 0
	}
	return q.EncodeDiskEnum([]string{"C:"}, srvsvc.Success), 0
}

// remoteTOD is NetrRemoteTOD (MS-SRVS 3.1.4.21).
func remoteTOD(a *association, _ dcerpc.Stub) ([]byte, uint32) {
	now := time.Now()
	return srvsvc.EncodeRemoteTOD(now, now.Sub(a.backend.Started())), 0
}

// sessionEnum is NetrSessionEnum (MS-SRVS 3.1.4.5).
func sessionEnum(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	q, err := srvsvc.DecodeSessionEnum(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	if !a.caller.looks() {
		return q.EncodeDenied(), 0
	}
	var list []srvsvc.Session
	for _, s := range a.backend.Sessions() {
		if matches(q.User, s.User) && matches(strings.TrimLeft(q.Client, `\`), s.Client) {
			list = append(list, s)
		}
	}
	return q.EncodeSessionEnum(list), 0
}

func matches(want, have string) bool { return want == "" || strings.EqualFold(want, have) }

// sessionDel is NetrSessionDel (MS-SRVS 3.1.4.6).
func sessionDel(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	client, user, err := srvsvc.DecodeSessionDel(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	switch {
	case !a.caller.manages():
		return srvsvc.EncodeResult(srvsvc.AccessDenied), 0
	case client == "" && user == "":
		return srvsvc.EncodeResult(srvsvc.InvalidName), 0
	case a.backend.CloseSessions(strings.TrimLeft(client, `\`), user) == 0:
		return srvsvc.EncodeResult(srvsvc.UserNotFound), 0
	}
	return srvsvc.EncodeResult(srvsvc.Success), 0
}

// fileEnum is NetrFileEnum (MS-SRVS 3.1.4.2).
func fileEnum(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	q, err := srvsvc.DecodeFileEnum(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	if !a.caller.looks() {
		return q.EncodeDenied(), 0
	}
	var list []srvsvc.File
	for _, f := range a.backend.Files() {
		below := len(f.Path) >= len(q.Path) && strings.EqualFold(f.Path[:len(q.Path)], q.Path)
		if matches(q.User, f.User) && below {
			list = append(list, f)
		}
	}
	return q.EncodeFileEnum(list), 0
}

// fileGetInfo is NetrFileGetInfo (MS-SRVS 3.1.4.3).
func fileGetInfo(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	id, level, err := srvsvc.DecodeFileID(stub, true)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	if !a.caller.looks() {
		return srvsvc.EncodeFileGetInfo(level, nil, srvsvc.AccessDenied), 0
	}
	for _, f := range a.backend.Files() {
		if f.ID == id {
			return srvsvc.EncodeFileGetInfo(level, &f, srvsvc.Success), 0
		}
	}
	return srvsvc.EncodeFileGetInfo(level, nil, srvsvc.FileIDNotFound), 0
}

// fileClose is NetrFileClose (MS-SRVS 3.1.4.4).
func fileClose(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	id, _, err := srvsvc.DecodeFileID(stub, false)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	switch {
	case !a.caller.manages():
		return srvsvc.EncodeResult(srvsvc.AccessDenied), 0
	case !a.backend.CloseFile(id):
		return srvsvc.EncodeResult(srvsvc.FileIDNotFound), 0
	}
	return srvsvc.EncodeResult(srvsvc.Success), 0
}

// connectionEnum is NetrConnectionEnum (MS-SRVS 3.1.4.1).
func connectionEnum(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	q, err := srvsvc.DecodeConnectionEnum(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	if !a.caller.looks() {
		return q.EncodeDenied(), 0
	}
	return q.EncodeConnectionEnum(a.backend.Connections(strings.TrimLeft(q.Qualifier, `\`))), 0
}
