// Package fault holds the array to what a Hyper-V host relies on while everything else fails.
//
// Two hosts keep virtual disks under random reads and writes with queue depth, over
// sessions of several channels, with persistent handles, leases and byte-range locks; a
// third reads now and then and so breaks their leases. When a channel or a session is lost
// they do as Windows does: another channel takes over with a raised ChannelSequence, or a
// new session reclaims every handle (DH2C), and what had no answer is replayed.
//
//	hosts ──▶ proxy ──▶ gabion serve --test-vfs lose
//	            │          │
//	    cuts, holds, late  kill -9, SIGTERM, full disk
//	    bytes of the dead
//
// Meanwhile the server is killed on a file system that forgets what no sync covers; a
// proxy cuts connections, holds them, loses answers, and hands over requests of a
// connection that its client has long given up; channels are swapped, the disk is filled, and
// disks move between the hosts by AppInstanceId while the old host goes on writing.
//
// Every block written names its disk, its place and the write it is of, so a read shows which
// write it sees. The log of acknowledgements, kept on the client's side, then decides:
//
//	lost      a block shows an older write than the last one acknowledged
//	doubled   a write, lock or create takes effect again, after a later one
//	torn      a block of no write, or a mixture
//
// A violation is printed with the log's entries for the place and the seed.
//
// GABION_FAULT_SEED says which faults come in which order with which pauses, and what each worker
// requests: without it they are the same in every run, with other numbers violations are looked for. GABION_FAULT_KILLS and GABION_FAULT_LOSSES say how
// many kills and connection losses a run has to see; a long one is
//
//	GABION_FAULT_KILLS=500 GABION_FAULT_LOSSES=2000 go test -timeout 3h -v -run TestHostsLoseNothing ./conformance/fault
package fault
