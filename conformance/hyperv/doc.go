// Package hyperv plays what Hyper-V hosts do with a share, as conversations that can be read.
//
// A transcript in testdata is a list of requests and what came of them: who asks, a verb, and
// its arguments; indented below it, the result.
//
//	HV1 open disk vm1\disk.vhdx create rw unbuffered persistent lease=RWH
//	  created lease=RWH persistent
//	HV1 write disk 64K 4K region-table
//	  ok
//	HV1 read disk 0 128K
//	  64K zeros, 4K region-table, 60K zeros
//
// HV1 and HV2 are the hosts' computer accounts, CNO a cluster's, VEEAM a backup product's,
// BOB nobody in particular. Each has its own ClientGuid and logs on by Kerberos to the real
// binary with a keytab: once with tickets that the test makes itself, and once with those of a
// real domain controller (package ad), whose SIDs then stand for the transcripts'. A written range is filled
// with a pattern of its name and place, so that a read tells what it sees.
//
// The verbs are the rows of the table in verbs_test.go. `go test ./conformance/hyperv -rewrite`
// writes the results anew; what changed is then to be judged by reading.
//
// While the transcripts are played eight other disks are under random reads and writes. The
// time of every open, create, rename and hand-over of a lease is measured and printed: a guest
// feels them. Figures depend on the machine, so they are no condition of the tests;
// GABION_HYPERV_ROUNDS plays the transcripts more often to get better ones.
package hyperv
