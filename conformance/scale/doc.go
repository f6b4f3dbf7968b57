// Package scale measures how the cost of a request grows with what the server holds:
// connections, opens, names in a folder, the size of a disk, snapshots. Cost is the CPU time of
// the server's process, which other work on the machine changes least, and memory.
//
//	go test ./conformance/scale -v -figures -timeout 0
//
// prints the rows of docs/performance.md. Without -figures each row is made twice, small, to
// see that it works, and that what is asserted of memory holds.
package scale
