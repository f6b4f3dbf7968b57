// Package rsvd holds a server of shared virtual disks ([MS-RSVD]) to its word, from the
// outside: hosts with initiators open disks by name:SharedVirtualDisk and say what guests
// and their hosts say.
//
//	Host       a session with a share
//	Disk       a shared open with its InitiatorId
//	Cases      one row per case of the RSVD part of WindowsProtocolTestSuites
//
// The two images that the cases need, a dynamic disk of 1 GiB in a file of 4 MiB and a VHD
// set with a payload of that size, are brought by whoever runs them (Env).
//
// testdata holds transcripts: conversations of several initiators over one or more disks, as
// text that can be read beside the rules of SPC-4. `go test -rewrite` writes down what the
// server answers.
package rsvd
