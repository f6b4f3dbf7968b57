package object

import "gabion/protocol/ntstatus"

// breakState is the state of one grant: of a lease, or of the oplock of one open.
// It is a value; its methods are the transitions and have no other effect.
//
//	        demand, acknowledgement needed
//	Held ──────────────────────────────────▶ Breaking to To
//	▲  │ demand, R only: lost at once          │ demand: lowers Required
//	│  └──────────▶ Held (less)                │
//	└──────────────────────────────────────────┘ acknowledged, timed out
//	               (breaks again while Held exceeds Required)
type breakState struct {
	Lease    bool // else an oplock
	Held     Caching
	Breaking bool
	To       Caching // what the client was told to go to
	Required Caching // what may remain when all demands are met; part of To
}

// breakNotice is what a transition wants to be told to the client.
type breakNotice struct {
	Send     bool
	From, To Caching
	Ack      bool // an acknowledgement is expected
	// Further says that it follows an acknowledgement: the epoch stays ([MS-SMB2]
	// 3.3.4.7, note 248).
	Further bool
}

// needsAck reports whether giving up something of held takes an
// acknowledgement: everything but R alone does ([MS-SMB2] 3.3.4.7, [MS-FSA] 2.1.4.12).
func needsAck(held Caching) bool { return held&^CacheRead != 0 }

// reduce is what remains of held under a demand that leaves keep. An
// oplock can only go to level II or to none.
func (s breakState) reduce(held, keep Caching) Caching {
	left := (held & keep).legal()
	if !s.Lease && left != held {
		left &= CacheRead
	}
	return left
}

// demand asks that nothing but keep remains.
func (s breakState) demand(keep Caching) (breakState, breakNotice) {
	if s.Breaking {
		// The client is not told before it has acknowledged the first break.
		s.Required = s.reduce(s.Required, keep)
		return s, breakNotice{}
	}
	to := s.reduce(s.Held, keep)
	if to == s.Held {
		return s, breakNotice{}
	}
	return s.start(to, to)
}

// start begins the break to to on the way to required.
func (s breakState) start(to, required Caching) (breakState, breakNotice) {
	n := breakNotice{Send: true, From: s.Held, To: to, Ack: needsAck(s.Held)}
	s.To, s.Required = to, required
	if s.Breaking = n.Ack; !n.Ack {
		s.Held = to
	}
	return s, n
}

// acknowledge takes the client's answer: it keeps got.
func (s breakState) acknowledge(got Caching) (breakState, breakNotice, ntstatus.Status) {
	if !s.Breaking {
		return s, breakNotice{}, ntstatus.Unsuccessful
	}
	if got&^s.To != 0 {
		// [MS-SMB2] 3.3.5.22.2: "not a subset of Lease.BreakToLeaseState"
		return s, breakNotice{}, ntstatus.RequestNotAccepted
	}
	s.Breaking, s.Held = false, got.legal()
	if s.Held&^s.Required == 0 {
		return s, breakNotice{}, ntstatus.Success
	}
	// More was demanded meanwhile. Windows takes it in steps, H before R.
	to := s.reduce(s.Held, s.Required)
	if s.Held&CacheHandle != 0 && to == 0 {
		to = CacheRead
	}
	s, n := s.start(to, s.Required)
	n.Further = true
	return s, n, ntstatus.Success
}

// timeout ends a break nobody acknowledged: everything is lost ([MS-SMB2]
// 3.3.6.1, 3.3.6.5).
func (s breakState) timeout() breakState {
	if s.Breaking {
		s.Breaking, s.Held, s.To, s.Required = false, 0, 0, 0
	}
	return s
}

// upgrade gives the holder's further request: it is granted whole or not at
// all, and only if it is more than what is held ([MS-FSA] 2.1.5.18).
func (s breakState) upgrade(want, possible Caching) (breakState, bool) {
	want = want.legal()
	if s.Breaking || want == s.Held || s.Held&^want != 0 || want&^possible != 0 {
		return s, false
	}
	s.Held = want
	return s, true
}
