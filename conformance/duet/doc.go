// Package duet plays two clients against each other, as conversations that can be read: what
// one does to a file while the other caches it, has it locked, or watches its folder.
//
// A transcript in testdata is a list of requests and what came of them: who asks, a verb, and
// its arguments; indented below it, the result.
//
//	A open f disk.vhdx create rw lease=RWH
//	  created lease=RHW
//	B start g disk.vhdx rw
//	  pending
//	A break f
//	  RHW to RH, to be acknowledged
//	A ack f RH
//	  ok
//	B wait g
//	  opened
//
// A and B are two users, each with a ClientGuid and a connection of its own, on the real
// binary. A request that the server holds is begun with start, which says "pending" when the
// interim response came, and ended with wait. Nothing is asked that depends on time: a
// transcript waits for what it expects, and what must not come is shown by what comes next.
//
// The verbs are the rows of the table in verbs_test.go. `go test ./conformance/duet -rewrite`
// writes the results anew; what changed is then to be judged by reading.
package duet
