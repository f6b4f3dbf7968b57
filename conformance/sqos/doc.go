// Package sqos holds a server of the Storage Quality of Service Protocol ([MS-SQOS]) to
// its word, from the outside: hosts associate opens with logical flows, set and probe policies,
// poll their status, and read and write as fast as they can.
//
//	Server    where hosts connect to, and as whom
//	Host      a session with a share
//	Disk      an open of a virtual disk's file
//	Cases     one row per case of the SQOS part of WindowsProtocolTestSuites
//
// The policy that the cases need is made by whoever runs them: dedicated, of the id
// PolicyID, minimum 100, maximum 200, bandwidth 1600 KiB/s.
package sqos
