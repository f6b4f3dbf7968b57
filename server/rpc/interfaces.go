package rpc

import (
	"gabion/protocol/dcerpc"
	"gabion/protocol/fsrvp"
	"gabion/protocol/lsarpc"
	"gabion/protocol/srvsvc"
	"gabion/protocol/wkssvc"
)

// operation runs one call: stub in, stub out, or a fault's status.
type operation func(a *association, stub dcerpc.Stub) ([]byte, uint32)

// iface is one row of the table: an interface, the pipe it lives on and its
// operations by number.
type iface struct {
	pipe   string
	syntax dcerpc.Syntax
	ops    map[uint16]operation
}

var interfaces = []*iface{
	{pipe: "srvsvc", syntax: srvsvc.Syntax, ops: srvsvcOps},
	{pipe: "wkssvc", syntax: wkssvc.Syntax, ops: wkssvcOps},
	{pipe: "lsarpc", syntax: lsarpc.Syntax, ops: lsarpcOps},
	{pipe: fsrvp.Pipe, syntax: fsrvp.Syntax, ops: fsrvpOps},
}

func findInterface(pipe string, s dcerpc.Syntax) *iface {
	for _, i := range interfaces {
		// Minor versions are compatible upwards (C706 6.1.1).
		if i.pipe == pipe && i.syntax.UUID == s.UUID && i.syntax.Version&0xFFFF == s.Version&0xFFFF {
			return i
		}
	}
	return nil
}

func pipeExists(name string) bool {
	for _, i := range interfaces {
		if i.pipe == name {
			return true
		}
	}
	return false
}
