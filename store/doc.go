// Package store is the seam between the file server and the block store: the
// interfaces Volume, Node and Stream with their contracts, and the types and
// errors they use.
//
//	store/seglog   the segmented, group-committed log: write-ahead log and home of all data
//	store/block    the engine: index, extents, names, versions, cleaning, check
//	store/memvol   a trivial model of a Volume: the oracle of the metamorphic tests
//	store/crashfs  a vfs.FS that loses exactly the bytes no sync covers
//	store/upcase   the case table that names are compared by
//
// FORMAT.md describes the bytes on disk.
package store
