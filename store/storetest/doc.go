// Package storetest holds every implementation of store.Volume to the seam's
// word.
//
//	Run          the contract, one subtest per promise; also the seam's worked example
//	Generator    a seeded stream of operations (Op), each a value that can be printed and replayed
//	Executor     performs Ops on a volume and says what came of them
//	Take         a full logical dump of a volume, every snapshot included
//	Metamorphic  the same operations on an engine and on memvol, compared at every step
//	Crash        the same with a crash at a sync, compared with the states that durability allows
//
// Two volumes agree when the results of all operations and the dumps agree.
// What the seam leaves open is not compared: file ids, allocation sizes, the
// times that snapshots were taken, and allocated ranges beyond that they hold every
// block that is not zero.
package storetest
