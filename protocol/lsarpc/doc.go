// Package lsarpc holds the stubs of the look-ups between names and SIDs of the Local
// Security Authority (MS-LSAT, and of MS-LSAD what opens and describes a policy):
// how Explorer shows who may do what. Decode functions read a request's stub,
// Encode functions write a response's.
package lsarpc

import "gabion/protocol/dcerpc"

// Syntax is the interface's UUID and version (MS-LSAT 1.9).
var Syntax = dcerpc.MustSyntax("12345778-1234-abcd-ef00-0123456789ab", 0, 0)

// Operation numbers (MS-LSAD 3.1.4, MS-LSAT 3.1.4).
const (
	OpClose                   = 0
	OpOpenPolicy              = 6
	OpQueryInformationPolicy  = 7
	OpLookupNames             = 14
	OpLookupSids              = 15
	OpOpenPolicy2             = 44
	OpGetUserName             = 45
	OpQueryInformationPolicy2 = 46
	OpLookupSids2             = 57
	OpLookupNames2            = 58
	OpLookupNames3            = 68
	OpLookupSids3             = 76
	OpLookupNames4            = 77
)

// How many SIDs or names one call may ask for (MS-LSAT 2.2.18, 3.1.4.5).
const (
	MaxSids  = 20480
	MaxNames = 1000
)
