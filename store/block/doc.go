// Package block is the block store: the engine behind store.Volume. FORMAT.md in
// the directory above describes its bytes; this page says how it moves.
//
// A change is planned, logged, applied. Planning reads the index under the locks
// of what it depends on and writes a list of edits. Logging reserves a place in
// the log, which gives the change its position and its data their address.
// Applying puts the edits into Pebble and the caches. Logging and applying happen
// under one short mutex (commit.go), so the index receives changes in the order of
// their positions; its disk state is kept from getting ahead of the log by
// forcing the log before any write that could make it visible (indexfs.go).
//
// A read finds the chunk map in the cache or the index, resolves container
// addresses to segments and reads straight into the caller's buffer, block by
// block verified. It takes no lock across the read; a segment is not written over
// before its last reader left.
//
// Large reads leave their data, once it was read twice, in a cache of pages (datacache.go), and ReadParts lends those to the server,
// which sends them from where they lie. A page says by address and checksum which stored blocks it holds, and
// what is stored at an address never changes: so a chunk map alone tells whether a page is up to date, and
// no change has to look for pages. Scrubber, check and cleaner read the disk.
//
// Files of the index may rot. A second index, mirror.go, takes the place of one that does not
// open, and of one that a check found damaged.
//
// What may be large (materialising clones, removing files, deleting snapshots,
// cleaning) is done by one background goroutine in bounded steps, each a
// change like any other.
//
// A scrubber (scrub.go) reads all that lives, slowly and again and again, beside that.
// Limits on folders (quota.go) are kept in memory only: what a folder holds is counted when its limit is
// set, and charged where sizes change.
//
// Lock order, outermost first:
//
//	Volume.names        the shape of the tree: names and links
//	 └ Volume.epoch     read by every change, written while a snapshot or clone takes its version
//	    └ stream.mu     sizes and the place of a stream's data
//	       └ chunk      one cached chunk map; several in ascending order of their keys,
//	          │         those of snapshots' views, which only loading locks, after live ones
//	          └ pendTable.cutting   what becomes of pending clones
//	             └ inode.mu         attributes and the list of streams; several in ascending order of ids
//	                └ Volume.order  log order is index order
//	                   └ space.mu, seglog's and Pebble's own
//
// A shard of the cache of data has a lock of its own, a leaf.
//
// house.step is outside all of them: one step of background work runs at a time.
package block
