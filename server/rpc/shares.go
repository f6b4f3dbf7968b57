package rpc

import (
	"strings"

	"gabion/protocol/dcerpc"
	"gabion/protocol/dtyp"
	"gabion/protocol/srvsvc"
)

// shareAdd is NetrShareAdd (MS-SRVS 3.1.4.7).
func shareAdd(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	s, known, err := srvsvc.DecodeShareAdd(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	switch {
	case !a.caller.manages():
		return srvsvc.EncodeParmErr(0, srvsvc.AccessDenied), 0
	case !known:
		return srvsvc.EncodeParmErr(0, srvsvc.InvalidLevel), 0
	}
	if parm := checkShare(&s); parm != 0 {
		return srvsvc.EncodeParmErr(parm, srvsvc.InvalidParameter), 0
	}
	return srvsvc.EncodeParmErr(0, a.backend.AddShare(a.caller, s)), 0
}

// maxRemark is the longest comment of a share.
const maxRemark = 48

// checkShare returns which member of a share to be added is invalid, 0 if none is.
func checkShare(s *srvsvc.Share) uint32 {
	switch {
	case srvsvc.ValidateName(s.Name, srvsvc.NameShare, 0) != srvsvc.Success:
		return srvsvc.ParmName
	case srvsvc.ShownType(s.Type) != srvsvc.TypeDisk: // the other bits are ignored
		return srvsvc.ParmType
	case dtyp.UTF16Len(s.Remark) > maxRemark:
		return srvsvc.ParmRemark
	case s.Path == "":
		return srvsvc.ParmPath
	}
	for _, c := range strings.Split(s.Path, `\`) {
		if c == "." || c == ".." {
			return srvsvc.ParmPath
		}
	}
	if !validSecurity(s.Security) {
		return srvsvc.ParmSecurity
	}
	return 0
}

// shareSetInfo is NetrShareSetInfo (MS-SRVS 3.1.4.11).
func shareSetInfo(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	name, s, parts, err := srvsvc.DecodeShareSetInfo(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	switch {
	case !a.caller.manages():
		return srvsvc.EncodeParmErr(0, srvsvc.AccessDenied), 0
	case parts == 0:
		return srvsvc.EncodeParmErr(0, srvsvc.InvalidLevel), 0
	case !a.hasShare(name):
		return srvsvc.EncodeParmErr(0, srvsvc.NetNameMissing), 0
	case dtyp.UTF16Len(s.Remark) > maxRemark:
		return srvsvc.EncodeParmErr(srvsvc.ParmRemark, srvsvc.InvalidParameter), 0
	case !validSecurity(s.Security):
		return srvsvc.EncodeParmErr(srvsvc.ParmSecurity, srvsvc.InvalidParameter), 0
	}
	return srvsvc.EncodeParmErr(0, a.backend.ChangeShare(a.caller, name, s, parts)), 0
}

func validSecurity(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	_, err := dtyp.DecodeSecurityDescriptor(b)
	return err == nil
}

func (a *association) hasShare(name string) bool {
	for _, s := range a.backend.Shares(a.caller) {
		if strings.EqualFold(s.Name, name) {
			return true
		}
	}
	return false
}

// shareDel is NetrShareDel (MS-SRVS 3.1.4.12) and NetrShareDelSticky (3.1.4.13).
func shareDel(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	name, err := srvsvc.DecodeShareName(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	if !a.caller.manages() {
		return srvsvc.EncodeResult(srvsvc.AccessDenied), 0
	}
	return srvsvc.EncodeResult(a.backend.RemoveShare(a.caller, name)), 0
}

// shareCheck is NetrShareCheck (MS-SRVS 3.1.4.16): is a share's path, or the
// drive it is on, shared.
func shareCheck(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	device, err := srvsvc.DecodeShareName(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	device = strings.TrimSuffix(device, `\`)
	for _, s := range a.backend.Shares(a.caller) {
		path := strings.TrimSuffix(s.Path, `\`)
		onDrive := len(device) == 2 && len(path) > 2 && strings.EqualFold(path[:2], device)
		if strings.EqualFold(path, device) || onDrive { // IPC$ has the path ""
			return srvsvc.EncodeShareCheck(srvsvc.ShownType(s.Type)&^srvsvc.TypeSpecial, srvsvc.Success), 0
		}
	}
	return srvsvc.EncodeShareCheck(0, srvsvc.DeviceNotShared), 0
}

// transportEnum is NetrServerTransportEnum (MS-SRVS 3.1.4.24).
func transportEnum(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	q, err := srvsvc.DecodeTransportEnum(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	if a.caller.Anonymous {
		return q.EncodeDenied(), 0
	}
	return q.EncodeTransportEnum(a.backend.Transports()), 0
}

// nameValidate is NetprNameValidate (MS-SRVS 3.1.4.32).
func nameValidate(_ *association, stub dcerpc.Stub) ([]byte, uint32) {
	name, kind, flags, err := srvsvc.DecodeName(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	return srvsvc.EncodeResult(srvsvc.ValidateName(name, kind, flags)), 0
}

// nameCanonicalize is NetprNameCanonicalize (MS-SRVS 3.1.4.33).
func nameCanonicalize(_ *association, stub dcerpc.Stub) ([]byte, uint32) {
	name, room, kind, flags, err := srvsvc.DecodeNameCanonicalize(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	result := srvsvc.ValidateName(name, kind, flags)
	return srvsvc.EncodeNameCanonicalize(srvsvc.CanonicalName(name, kind), room, result), 0
}

// nameCompare is NetprNameCompare (MS-SRVS 3.1.4.34): zero for the same name, and
// the order of two different ones.
func nameCompare(_ *association, stub dcerpc.Stub) ([]byte, uint32) {
	x, y, kind, flags, err := srvsvc.DecodeNameCompare(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	flags &^= 1 // the names are canonical already
	for _, n := range []string{x, y} {
		if result := srvsvc.ValidateName(n, kind, flags); result != srvsvc.Success {
			return srvsvc.EncodeResult(result), 0
		}
	}
	order := strings.Compare(srvsvc.CanonicalName(x, kind), srvsvc.CanonicalName(y, kind))
	return srvsvc.EncodeResult(uint32(int32(order))), 0
}
