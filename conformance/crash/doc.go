// Package crash kills the real binary and holds it to its acknowledgements.
//
// The server runs on a file system that keeps every byte no sync covers in the
// memory of the process (store/crashfs, behind a hidden flag), so kill -9 loses what
// a power cut loses. Clients write, create, rename and remove, and note outside of the
// server what was acknowledged; after the restart everything acknowledged must be
// there, and what was not must be there in order. A server whose log is not synced
// must fail the same test, or it proves nothing.
//
// GABION_CRASH_ROUNDS sets the number of kills.
package crash
