// Package ntstatus names the 32-bit results that SMB2 and the protocols tunnelled
// through it put on the wire (MS-ERREF 2.3).
//
// STATUS_OBJECT_NAME_NOT_FOUND of the specification is ntstatus.ObjectNameNotFound
// here: the STATUS_ prefix goes, words are joined, abbreviations (IO, EA, ID, ACL,
// SID, SMB, DFS, SVHDX…) stay in capitals. Names with another prefix keep it
// (RpcNt…, Dbg…).
//
// The two highest bits are the severity: success, informational, warning, error.
// [MS-SMB2] 3.3.4.4 makes the difference matter: a warning such as BufferOverflow
// comes with a normal response body, an error with an ERROR response.
package ntstatus
