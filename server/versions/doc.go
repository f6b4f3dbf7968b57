// Package versions is what administrators do with snapshots: take, keep and delete them,
// restore from them, make one machine's disks equal to another's, and say what changed.
//
// A Book adds to the volume's snapshots what the array itself keeps about them: what they
// were taken of, by which schedule, and until when they must not be deleted.
//
// Restore and Sync change live files, so they go through the object layer as an
// internal opener, in this order, and nothing is changed before every step ahead of it
// has succeeded for all files:
//
//	plan ─ acquire every file ─ safety snapshot ─ change ─ tell watchers, release ─ durable
//
// Acquiring takes the files from everybody: caches are called back, and a file that
// somebody has open is refused, or with force its opens are closed after their I/O in
// flight. A disconnected persistent open counts as in use. So the safety
// snapshot holds the last byte that anybody was acknowledged, and no write of before
// lands after the change.
package versions
