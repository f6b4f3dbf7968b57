package rpc

import (
	"gabion/protocol/dcerpc"
	"gabion/protocol/wkssvc"
)

var wkssvcOps = map[uint16]operation{
	wkssvc.OpWkstaGetInfo:   wkstaGetInfo,
	wkssvc.OpWkstaUserEnum:  wkstaUserEnum,
	wkssvc.OpWkstaTransport: wkstaTransportEnum,
	wkssvc.OpJoinInfo:       joinInformation,
}

// wkstaGetInfo is NetrWkstaGetInfo (MS-WKST 3.2.4.1).
func wkstaGetInfo(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	level, err := wkssvc.DecodeGetInfo(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	s := a.backend.Server()
	w := wkssvc.Workstation{Name: s.Name, Group: a.backend.Workgroup(), Major: s.Major, Minor: s.Minor, LoggedOn: s.Users}
	result := uint32(wkssvc.Success)
	if level == 102 && !a.caller.looks() {
		result = wkssvc.AccessDenied
	}
	return wkssvc.EncodeGetInfo(level, &w, result), 0
}

// wkstaUserEnum is NetrWkstaUserEnum (MS-WKST 3.2.4.3). Nobody logs on at an
// array's console.
func wkstaUserEnum(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	q, err := wkssvc.DecodeEnum(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	if !a.caller.looks() {
		return q.EncodeUserEnum(nil, wkssvc.AccessDenied), 0
	}
	return q.EncodeUserEnum(nil, wkssvc.Success), 0
}

// wkstaTransportEnum is NetrWkstaTransportEnum (MS-WKST 3.2.4.4): what the
// array's own SMB client uses, and it has none.
func wkstaTransportEnum(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	q, err := wkssvc.DecodeEnum(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	return q.EncodeTransportEnum(nil, wkssvc.Success), 0
}

// joinInformation is NetrGetJoinInformation (MS-WKST 3.2.4.15).
func joinInformation(a *association, _ dcerpc.Stub) ([]byte, uint32) {
	if a.caller.Anonymous {
		return wkssvc.EncodeJoinInformation("", wkssvc.JoinUnknown, wkssvc.AccessDenied), 0
	}
	kind := uint32(wkssvc.JoinWorkgroup)
	if p := a.backend.Policy(); !p.PrimarySID.IsZero() {
		kind = wkssvc.JoinDomain
	}
	return wkssvc.EncodeJoinInformation(a.backend.Workgroup(), kind, wkssvc.Success), 0
}
