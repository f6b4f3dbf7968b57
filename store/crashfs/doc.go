// Package crashfs is a vfs.FS that loses exactly the bytes no sync covers.
//
// It lies over another file system, the base, and gives it only what was made
// durable: pages reach the base when their file is synced, and a name that was
// made, moved or removed when its directory is. Everything else lives in the
// memory of the process. So
//
//	kill -9        of a process whose store works on crashfs over the disk loses what
//	               a power cut would, although the machine's page cache survives
//	FS.Crash       leaves in the base what a power cut might: any subset of the unsynced
//	               pages and names besides what was synced; the FS itself goes on in
//	               memory alone, so that the store above it can be closed in peace
//	FS.Kill       is kill -9 without the power cut: the next process sees everything, and
//	              must not take what it finds for durable
//
// A file that has no durable name yet keeps its synced pages in the staging
// directory, which the next New empties: a synced file in an unsynced directory
// is lost, as POSIX allows.
//
// Options.Inject sees every operation first and may fail it or cut a write short.
// After a failed sync the pages it would have written are lost for good, although
// reads still show them and later syncs succeed: that is what Linux does, and why a
// failed sync must never be retried.
//
// One mutex guards an FS; it is made for tests, not for speed.
package crashfs
