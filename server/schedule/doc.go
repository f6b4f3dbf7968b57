// Package schedule takes snapshots by the clock and lets old ones go.
//
// A Schedule says of what, when, and which to keep. Two pure functions decide everything:
// Schedule.Next, when the next snapshot is due, and Keep.Expired, which of those taken may
// go. One goroutine, Keeper.Run, owns the doing:
//
//	wait for the next that is due ─▶ take it ─▶ expire what may go ─┐
//	  ▲                                                             │
//	  └─────────────────────────────────────────────────────────────┘
//
// Retention is grandfather, father, son: of every hour, day, ISO week, month and year the newest
// snapshot counts, and of each kind so many are kept; a snapshot goes when no kind keeps it.
// Immutable and mounted snapshots stay until they may go. All times are UTC.
//
// What was due while the server was down is made up for once, at its start. Schedules are in the
// volume's side store, which no snapshot and no restore touches.
package schedule
