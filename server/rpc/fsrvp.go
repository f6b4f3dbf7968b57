package rpc

import (
	"gabion/protocol/dcerpc"
	"gabion/protocol/fsrvp"
)

var fsrvpOps = func() map[uint16]operation {
	ops := map[uint16]operation{}
	for op := range uint16(fsrvp.OpPrepareShadowCopySet + 1) {
		ops[op] = func(a *association, stub dcerpc.Stub) ([]byte, uint32) { return a.shadowCopy(op, stub) }
	}
	return ops
}()

// shadowCopy performs a method of MS-FSRVP 3.1.4 for callers that proved at RPC's own level
// who they are, with their messages protected, and may back up (MS-FSRVP 2.1, 3.1.3).
func (a *association) shadowCopy(op uint16, stub dcerpc.Stub) ([]byte, uint32) {
	q, _, err := fsrvp.DecodeRequest(op, stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	p := fsrvp.Response{Level: q.Level, Result: fsrvp.AccessDenied}
	proved := a.security.state == securityReady && a.security.level >= levelIntegrity
	if proved && a.caller.backsUp() {
		p = a.shadows.Call(op, &q, clientHost(a.caller.From))
	}
	return p.AppendTo(op, nil), 0
}
