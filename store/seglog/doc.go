// Package seglog is the segmented log: the write-ahead log and the home of all
// data at once. FORMAT.md in the directory above describes its bytes.
//
// A *segment* is a preallocated file in its n-th use; the use's number is its seq.
// Records collect in *groups*, each a header block with the records' bodies and,
// behind it, their payload. Reserve gives a record its position and its payload's
// address at once; the bytes are copied into the group's buffer without a lock; the
// group reaches the disk when somebody needs it durable.
//
//	reserve ──► copy ──► Commit            (writers, in parallel)
//	                        │
//	Wait ──► leader: close group, write all pending groups, sync, wake followers
//
// Group commit is natural: while one sync runs, whatever arrives forms the next
// group. The first waiter of a batch leads it on its own goroutine. Two goroutines are the
// log's own: one leads for callbacks that nobody waits for, one makes segments ahead of their use.
//
// A large record is a group of its own, which its writer puts into the file itself from where the
// payload lies, beside all others; the leader waits until that is done and syncs it with the rest. Several groups may
// so reach the file in any order, as they may reach the disk in any order ahead of a sync: recovery ends at the
// first that is missing.
//
//	reserve ──► Write (header and payload into the file)
//
// A part of the buffer that filled up without anybody waiting is written by the background,
// so that a stream of writes does not stand still for the disk. What writers say nobody will read soon
// (Passing) goes past the page cache when it is much, of large records straight from the writer's memory.
//
// A failed write or sync is final: the log answers everything with that error.
//
// Lock order: Log.mu only; Log.table (segments by seq) is a leaf below it.
package seglog
