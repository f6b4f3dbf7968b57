// Package qos is storage quality of service: who was promised what, who takes what, and
// what becomes of a request meanwhile. It knows the Storage QoS Protocol ([MS-SQOS] 3.2)
// and nothing of SMB; package server calls it for FSCTL_STORAGE_QOS_CONTROL and in front of
// every READ and WRITE.
//
// # Nouns
//
//	Policy   numbers that an administrator has given a name: minimum, maximum, bandwidth
//	Flow     a logical flow: what one or several opens read and write for one virtual disk.
//	         A host names it; an open that no host has associated has an implicit one, shared
//	         by the opens that one client has of one file
//	class    what shares one allocation (mclock.Class): the flows of an aggregated policy, those
//	         of one VM under a dedicated policy, or a single flow
//	Binding  the part of an open that says which flow it belongs to
//	Ticket   one request's way through the scheduler
//	Service  all of it, for one array
//
// # How a limit is kept
//
//	host ── FSCTL ──▶ Service.Control ──▶ Flow ──▶ class ◀── Policy ◀── administrator
//	  ▲                                    │         │
//	  └── MaximumIoRate ◀── Plan (4 times a second) ─┤ rates
//	                          ▲                      ▼
//	READ, WRITE ──▶ Submit ──▶│ enforcer (mclock) ──▶ device
//	                          └── measured ◀── Done ──┘
//
// The enforcer holds what a class may have, whatever hosts do or report: what a host says in its
// counters is shown to administrators and used for nothing else. Plan divides the numbers
// of a class among its flows, so that hosts that obey throttle themselves; it is a pure function
// of policies, measured flows and capacity.
//
// # Who is whose
//
// A flow id belongs to the user who uses it: two users that name the same id have two flows,
// so that nobody can lower another's limit. A dedicated allocation belongs to a user and an
// initiator in the same way. An aggregated policy is shared by everybody whose hosts name it.
//
// # Life
//
// A flow is there as long as an open is bound to it: a disconnected persistent open counts, and
// after a restart its record brings the flow back. A flow whose host has been silent for three
// times to live and moves nothing is stale: it has no part in the division of a class. A class
// that owes (its limit was exceeded by a large request) outlives its flows until it owes
// nothing, so that closing and opening again pays nothing off.
//
// # Locks
//
//	Service.mu  policies, flows, classes
//	└─ enforcer.mu  the scheduler and what flows have measured; a leaf, taken by the data path
//
// No callback is made with either held. The data path takes Service.mu only for the first
// request of an open.
package qos
