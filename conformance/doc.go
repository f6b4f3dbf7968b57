// Package conformance is the outside view: what holds Gabion to its word. Its
// programs speak wire formats only and run against any server at an address, so
// that the same case can be put to Gabion and to a reference.
//
//	client    an SMB2 client that can say anything, also what no client should
//	hostile   malformed and abusive traffic: what a server must survive
//	torture   Samba's smbtorture, one row of a table for each case
//	peers     other people's clients against the real binary
//	rsvd      shared virtual disks: hosts with initiators, cases, transcripts, fights
//	smbload   a load generator with verification
//	rig       the real binary, started and stopped for a test
package conformance
