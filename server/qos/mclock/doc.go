// Package mclock decides which request goes next: the scheduler of Gulati, Merchant
// and Varman, "mClock: Handling Throughput Variability for Hypervisor IO Scheduling"
// (OSDI 2010), as a state machine without locks, timers or a clock of its own.
//
// # Nouns
//
//	Request    one I/O, counted in normalised units and in bytes
//	Flow       a queue of requests, first in, first out
//	Class      what shares one allocation: reservation, limit, bandwidth, weight. Flows of a
//	           class are served fairly among each other
//	Scheduler  all classes in front of one device, whose capacity is a number of requests at a
//	           time (depth) and, if it is known, a rate
//	Depth      finds that number by measuring
//
// # Tags
//
// A class has a tag for each of its numbers, the time at which it may or should be served
// next. Serving a request of cost c at time t moves them on:
//
//	limit        L = max(L, t−makeUp) + c/limit        not before L
//	             H = max(H, t−burst) + c/(1.04·limit)  not before H
//	bandwidth    B = max(B, t−slack) + bytes/bandwidth not before B
//	reservation  R = max(R, t−arrears) + c/reservation overdue from R on
//	weight       P = P + c/weight                      virtual time: who would be done first
//
// Tags belong to the class and are computed when its request is served (the request at the
// head is the only one that can go), so that nothing has to be undone when one is cancelled
// and a change of the numbers counts at once.
//
// A class that has requests is in one of two places:
//
//	           L, H, B ≤ now
//	waiting ───────────────▶ ready ──▶ served: by reservation if R ≤ now (least R first),
//	   ▲      (by time)        │       else by weight (least P + c/weight first)
//	   └──────── L, H, B > now ───┘
//
// A request served by weight leaves R alone: what a class gets as its share of the spare
// capacity is not counted against its reservation. A limit holds in both phases. A class that
// becomes active begins at the virtual time of the others (start-time fair queueing), so idleness
// is no credit. Ordering by where the request would end lets a small one pass large ones that
// came at the same time, so that who stays within its share waits for hardly anybody.
//
// The slacks make up for a timer that fires late, a client that pauses for a moment and a machine
// that was busy with something else: in any time T a class gets no more than (T+makeUp)·limit and no
// more than (T+burst)·1.04·limit, and one request.
//
// The work per request is logarithmic in the number of classes and of flows of a class.
package mclock
