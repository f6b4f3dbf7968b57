// Package scsi is the logical unit a shared virtual disk shows to its guests: a
// direct-access block device of SPC-4 and SBC-3 with persistent reservations.
//
// Nouns. An initiator is the I_T nexus: the InitiatorId GUID that a host gives for
// a guest's virtual adapter ([MS-RSVD] 2.2.4.12); several opens with one id are one
// initiator. A Target is the logical unit. A State is what the persistent
// reservations of one unit are: registrations, at most one reservation, and
// PRGENERATION.
//
//	               PERSISTENT RESERVE OUT
//	Command ──▶ Execute ──▶ State.Apply (pure) ──▶ save ──▶ swap ──▶ drain ──▶ done
//	               │ everything else
//	               └──▶ Begin (conflict? unit attention?) ──▶ Disk ──▶ End ──▶ done
//
// State.Apply is a function from a state and a request to the next state and its
// effects; nothing else changes reservations. The next state is given to save, which
// logs it, before anybody sees it, and the log position travels with every result
// that reveals it: a result is sent when its Pos is durable.
//
// Fencing. Data commands hold a Ticket between Begin and End. A reservation change
// completes only after every command that it now forbids, but that was admitted
// before, has ended; PREEMPT AND ABORT waits for all commands of its victims. So
// when a new owner is told GOOD, no write of an old one is still on its way.
//
// Locks, top down:
//
//	Target.changes   serialises changes of reservations, held over save
//	  Target.mu      guards state, unit attentions and tickets; held over no call
package scsi
