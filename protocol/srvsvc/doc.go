// Package srvsvc holds the stubs of the Server Service Remote Protocol
// (MS-SRVS): how clients list shares, sessions and open files. Decode functions
// read a request's stub, Encode functions write a response's.
package srvsvc

import "gabion/protocol/dcerpc"

// Syntax is the interface's UUID and version (MS-SRVS 2.1).
var Syntax = dcerpc.MustSyntax("4b324fc8-1670-01d3-1278-5a47bf6ee188", 3, 0)

// Operation numbers (MS-SRVS 3.1.4).
const (
	OpConnectionEnum  = 8
	OpFileEnum        = 9
	OpFileGetInfo     = 10
	OpFileClose       = 11
	OpSessionEnum     = 12
	OpSessionDel      = 13
	OpShareAdd        = 14
	OpShareEnum       = 15
	OpShareGetInfo    = 16
	OpShareSetInfo    = 17
	OpShareDel        = 18
	OpShareDelSticky  = 19
	OpShareCheck      = 20
	OpServerGetInfo   = 21
	OpServerSetInfo   = 22
	OpDiskEnum        = 23
	OpTransportEnum   = 26
	OpRemoteTOD       = 28
	OpNameValidate    = 33
	OpNameCanonical   = 34
	OpNameCompare     = 35
	OpShareEnumSticky = 36
)

// Error codes the calls return (MS-ERREF 2.2, MS-SRVS 2.2.2.5).
const (
	Success          = 0
	AccessDenied     = 5
	InvalidData      = 13
	NotSupported     = 50
	InvalidParameter = 87
	InvalidName      = 123
	InvalidLevel     = 124
	BufTooSmall      = 2123
	DeviceNotShared  = 2311
	MoreData         = 234
	UserNotFound     = 2221
	FileIDNotFound   = 2314
	NetNameMissing   = 2310
	DuplicateShare   = 2118
)
