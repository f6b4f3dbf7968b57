// Package wkssvc holds the stubs of the Workstation Service Remote Protocol
// (MS-WKST) that file clients use: what is this machine called.
package wkssvc

import "gabion/protocol/dcerpc"

// Syntax is the interface's UUID and version (MS-WKST 1.9).
var Syntax = dcerpc.MustSyntax("6bffd098-a112-3610-9833-46c3f87e345a", 1, 0)

// Operation numbers (MS-WKST 3.2.4).
const (
	OpWkstaGetInfo   = 0
	OpWkstaUserEnum  = 2
	OpWkstaTransport = 5
	OpJoinInfo       = 20
)

// Error codes (MS-ERREF 2.2).
const (
	Success      = 0
	AccessDenied = 5
	InvalidLevel = 124
)
