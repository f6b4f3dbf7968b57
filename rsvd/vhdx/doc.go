// Package vhdx is a VHDX file ([MS-VHDX]) as a block device straight on a stream of
// the store: fixed, dynamic and differencing disks, and the small .vhds file that
// names the active layer of a VHD set.
//
//	0        64K      128K     192K      256K     1M
//	| "vhdx" | header | header | regions | copy   | log | metadata | BAT | blocks …
//
// The block allocation table (BAT) has an entry per payload block, with its state
// and place; a differencing disk also has sector bitmaps, one bit per sector, set
// where the sector is here and not in the parent.
//
// Crash safety. The format's log exists because a file system may keep a later
// write and lose an earlier one. The store does not: every change is atomic and
// changes become durable in order. So metadata is written in place, in an order
// in which each prefix is a sound file with the right contents, and the log stays
// empty:
//
//	block of zeros        extend the file ▸ BAT entry ▸ payload
//	block over a parent   extend ▸ clear its bits ▸ BAT entry (partial) ▸ payload ▸ bits ▸ BAT entry (full)
//	unmap                 zero the payload ▸ BAT entry
//	grow                  new BAT ▸ both region tables in one write ▸ size
//
// A log that somebody else left behind is replayed when a file is opened.
//
// Locks. Disk.mu serialises changes of metadata and is held over store calls
// that change metadata, never over a wait. Payload of blocks that are present is read
// and written without it; BAT entries are atomics, and a block keeps its place for
// as long as the disk is open, so a reader that raced with an unmap reads old or new
// contents of its own block, never another's.
package vhdx
