// Package object is the object store of MS-FSA on top of store.Volume, with the
// parts of MS-SMB2 3.3 that belong to files rather than to connections: opens
// and their access, share modes, oplocks and leases, byte-range locks, delete
// and rename rules, times, change notification, and what a durable open keeps
// while nobody is connected. It knows no connection, session or wire byte.
//
// Nouns. An FS is the object store of one server. A Volume is a store.Volume
// brought into it; a Tree is a share's window on a volume (a root directory and
// the share's options). A File is a live file or directory: one object for as long as
// anybody has it open, whatever the name or share it was opened by. A Stream is
// one of its streams; it carries opens, grants and byte-range locks. An Open is
// what CREATE returns. A Grant is the caching an oplock or a lease allows.
//
// Waiting. An operation that has to wait for the acknowledgement of a break, for
// a byte-range lock or for a change takes a completion function and returns a
// *Pending, nil if the completion has run already. It is a record in a queue,
// not a goroutine: Pending.Cancel takes it out. Completion functions and the Breaker are
// called with no lock held and may come from any goroutine.
//
// A CREATE that waited starts again from its path: names may have changed
// meanwhile, and everything checked before has to be checked anyway. This gives the same
// results as resuming "from the point where it broke the oplock" ([MS-FSA] 2.1.4.12.1).
//
// Durability. Methods that change something return a store.Pos: what the reply
// has to wait for, by the rules of the share and of the open; 0 when the reply may go at
// once. Tree.OnDurable waits without a goroutine.
//
// Lock order, top down; a lock is never held across a wait, a completion
// function, the Breaker or Volume.Wait:
//
//	Open.gate            shared by every operation that uses the store; closing passes it alone
//	└ Volume.paths       the place of directories: shared by whoever walks a path,
//	  │                  exclusive for a rename of a directory
//	  └ Volume.names     the entries of a directory, striped by its FileID: shared from a look-up until
//	    │                the open stands, exclusive for create, unlink and rename
//	    └ File.mu        everything of one live file: opens, share modes, grants, locks, times.
//	      │              Never two at once.
//	      ├ Volume.mu    the live table (FileID → *File, reference counts) and the trees
//	      ├ FS.leaseMu   the lease table: (client, key) → *grant
//	      ├ FS.openMu    opens by CreateGuid and AppInstanceId
//	      ├ notifyTable.mu
//	      └ store
package object
