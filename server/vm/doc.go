// Package vm knows what administrators call things by: virtual machines, groups of them,
// and places on shares.
//
// A machine is a named set of files and folders: made explicitly (Book.Add), or found from
// a folder at the top of a share that holds virtual disks. A group is a named set of
// machines. A target is what an operation is told to work on:
//
//	SHARE, SHARE/PATH   a place
//	vm:NAME             the places of a machine
//	group:NAME          those of the machines of a group
//
// Resolve turns the text into the files and folders as they are now; Locate finds a place
// as it was in a snapshot. Machines and groups are kept in the volume's side store, which
// no snapshot and no restore touches.
package vm
