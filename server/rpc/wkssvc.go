package rpc

import (
	"gabion/protocol/dcerpc"
	"gabion/protocol/wkssvc"
)

var wkssvcOps = map[uint16]operation{
	wkssvc.OpWkstaGetInfo: wkstaGetInfo,
}

// wkstaGetInfo is NetrWkstaGetInfo (MS-WKST 3.2.4.1).
func wkstaGetInfo(a *association, stub []byte) ([]byte, uint32) {
	level, err := wkssvc.DecodeGetInfo(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	s := a.backend.Server()
	w := wkssvc.Workstation{Name: s.Name, Group: a.backend.Workgroup(), Major: s.Major, Minor: s.Minor, LoggedOn: s.Users}
	result := uint32(wkssvc.Success)
	if level == 102 && !a.caller.Administrator {
		result = wkssvc.AccessDenied
	}
	return wkssvc.EncodeGetInfo(level, &w, result), 0
}
