// Package sqos is the wire format of the Storage Quality of Service Protocol
// ([MS-SQOS]), versions 1.0 and 1.1: what travels in FSCTL_STORAGE_QOS_CONTROL.
//
// A Request names a logical flow and asks for one or several operations on it
// (Options); a Response is its status. Version 1.1 adds the fields about bandwidth:
// a message says its version, and its fixed part ends where that version's does.
//
//	          fixed request   names begin   response
//	Version10           112           112         88
//	Version11           128           128         96
//
// Request.Decode checks the fixed part only. Where the names lie concerns no more
// than the operations that use them, so Names looks at them later and tells what
// the specification's section 3.2.5.1.2 does not allow.
package sqos
