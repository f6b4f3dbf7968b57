package scsi

import "slices"

// Action is a service action of PERSISTENT RESERVE OUT (SPC-4 6.16.2).
type Action uint8

const (
	Register          Action = 0
	Reserve           Action = 1
	Release           Action = 2
	Clear             Action = 3
	Preempt           Action = 4
	PreemptAndAbort   Action = 5
	RegisterAndIgnore Action = 6
	RegisterAndMove   Action = 7
)

// MaxRegistrations bounds the table of one unit.
const MaxRegistrations = 256

// Request is one PERSISTENT RESERVE OUT.
type Request struct {
	Initiator      Initiator
	Action         Action
	Scope          uint8
	Type           Type
	Key            uint64 // RESERVATION KEY
	ActionKey      uint64 // SERVICE ACTION RESERVATION KEY
	APTPL          bool
	SpecInitiators bool // SPEC_I_PT
	// For REGISTER AND MOVE.
	Unregister  bool
	Destination Initiator
}

// Attention is a unit attention condition for one initiator.
type Attention struct {
	To    Initiator
	Sense Sense
}

// Outcome is how a Request ended, and what else it does.
type Outcome struct {
	Status Status
	Sense  Sense
	Raise  []Attention
	// Abort are the initiators whose commands must have ended before the
	// outcome is reported.
	Abort []Initiator
}

func good() Outcome           { return Outcome{Status: Good} }
func conflict() Outcome       { return Outcome{Status: ReservationConflict} }
func failed(s Sense) Outcome  { return Outcome{Status: CheckCondition, Sense: s} }
func (o *Outcome) good() bool { return o.Status == Good }

// Apply is the whole of PERSISTENT RESERVE OUT (SPC-4 5.13): it returns the next
// state, which is s unless the outcome is GOOD.
func (s State) Apply(r Request) (State, Outcome) {
	next := s
	next.Registrations = slices.Clone(s.Registrations)
	key, registered := s.Key(r.Initiator)
	var out Outcome
	switch r.Action {
	case Register:
		if !registered && r.Key != 0 || registered && r.Key != key {
			return s, conflict()
		}
		out = next.register(r)
	case RegisterAndIgnore:
		out = next.register(r)
	case Reserve, Release, Clear, Preempt, PreemptAndAbort, RegisterAndMove:
		if !registered || r.Key != key {
			return s, conflict()
		}
		switch r.Action {
		case Reserve:
			out = next.reserve(r)
		case Release:
			out = next.release(r)
		case Clear:
			out = next.clear(r)
		case RegisterAndMove:
			out = next.move(r)
		default:
			out = next.preempt(r)
		}
	default:
		out = failed(InvalidFieldInCDB)
	}
	if !out.good() {
		return s, out
	}
	return next, out
}

// register is REGISTER once the reservation key has been judged (5.13.7).
func (s *State) register(r Request) Outcome {
	if r.SpecInitiators { // REPORT CAPABILITIES says SIP_C = 0
		return failed(InvalidFieldInParameters)
	}
	n := s.index(r.Initiator)
	switch {
	case n < 0 && r.ActionKey == 0:
		return good() // nothing to remove
	case n < 0 && len(s.Registrations) >= MaxRegistrations:
		return failed(TooManyRegistrations)
	case n < 0:
		s.Registrations = append(s.Registrations, Registration{r.Initiator, r.ActionKey})
	case r.ActionKey != 0:
		s.Registrations[n].Key = r.ActionKey
	default:
		s.APTPL = r.APTPL
		s.Generation++
		return s.unregister(r.Initiator)
	}
	s.APTPL = r.APTPL
	s.Generation++
	return good()
}

// unregister removes a registration and with it what hangs on it (5.13.11.2.3).
func (s *State) unregister(i Initiator) Outcome {
	held := s.Holds(i)
	s.remove(func(r Registration) bool { return r.Initiator == i })
	out := good()
	switch {
	case !held:
	case s.Type.allRegistrants():
		if len(s.Registrations) == 0 {
			s.vacate()
		}
	default:
		if s.Type.registrantsShare() {
			out.Raise = s.tell(ReservationsReleased, i)
		}
		s.vacate()
	}
	return out
}

func (s *State) reserve(r Request) Outcome {
	if r.Scope != 0 || !r.Type.Valid() {
		return failed(InvalidFieldInCDB)
	}
	switch {
	case s.Type == NoReservation:
		s.Type, s.Holder = r.Type, r.Initiator
	case !s.Holds(r.Initiator) || s.Type != r.Type:
		return conflict()
	}
	return good()
}

func (s *State) release(r Request) Outcome {
	if !s.Holds(r.Initiator) {
		return good()
	}
	if r.Scope != 0 || r.Type != s.Type {
		return failed(InvalidRelease)
	}
	out := good()
	if s.Type.registrantsShare() {
		out.Raise = s.tell(ReservationsReleased, r.Initiator)
	}
	s.vacate()
	return out
}

func (s *State) clear(r Request) Outcome {
	out := good()
	out.Raise = s.tell(ReservationsPreempted, r.Initiator)
	s.Registrations = nil
	s.vacate()
	s.Generation++
	return out
}

// preempt is PREEMPT and PREEMPT AND ABORT (5.13.11.2.4 to 5.13.11.2.6).
func (s *State) preempt(r Request) Outcome {
	all := s.Type.allRegistrants()
	holderKey, _ := s.Key(s.Holder)
	ofOwner := s.Type != NoReservation && !all && r.ActionKey == holderKey
	switch {
	case r.ActionKey == 0 && !all:
		return failed(InvalidFieldInParameters)
	case ofOwner || r.ActionKey == 0:
		return s.takeOver(r)
	}
	// Only registrations go. Without an All Registrants reservation that may
	// include the requester's own.
	victims := s.remove(func(g Registration) bool {
		return g.Key == r.ActionKey && (!all || g.Initiator != r.Initiator)
	})
	if len(victims) == 0 {
		if all && s.ownKey(r) {
			s.Generation++
			return good()
		}
		return conflict()
	}
	s.Generation++
	return s.preempted(r, victims)
}

func (s *State) ownKey(r Request) bool {
	key, ok := s.Key(r.Initiator)
	return ok && key == r.ActionKey
}

// takeOver replaces the reservation by one of the requester.
func (s *State) takeOver(r Request) Outcome {
	if r.Scope != 0 || !r.Type.Valid() {
		return failed(InvalidFieldInCDB)
	}
	victims := s.remove(func(g Registration) bool {
		return g.Initiator != r.Initiator && (r.ActionKey == 0 || g.Key == r.ActionKey)
	})
	changed := s.Type != r.Type
	s.Type, s.Holder = r.Type, r.Initiator
	s.Generation++
	out := s.preempted(r, victims)
	if changed {
		out.Raise = append(out.Raise, s.tell(ReservationsReleased, r.Initiator)...)
	}
	return out
}

func (s *State) preempted(r Request, victims []Registration) Outcome {
	out := good()
	for _, v := range victims {
		if v.Initiator != r.Initiator {
			out.Raise = append(out.Raise, Attention{v.Initiator, RegistrationsPreempted})
		}
		if r.Action == PreemptAndAbort {
			out.Abort = append(out.Abort, v.Initiator)
		}
	}
	return out
}

// move is REGISTER AND MOVE (5.13.8): the single holder hands its reservation on.
func (s *State) move(r Request) Outcome {
	switch {
	case s.Type == NoReservation || s.Type.allRegistrants() || s.Holder != r.Initiator:
		return conflict()
	case r.ActionKey == 0 || r.Destination.IsZero() || r.Destination == r.Initiator:
		return failed(InvalidFieldInParameters)
	}
	if n := s.index(r.Destination); n >= 0 {
		s.Registrations[n].Key = r.ActionKey
	} else {
		if len(s.Registrations) >= MaxRegistrations {
			return failed(TooManyRegistrations)
		}
		s.Registrations = append(s.Registrations, Registration{r.Destination, r.ActionKey})
	}
	s.Holder = r.Destination
	if r.Unregister {
		s.remove(func(g Registration) bool { return g.Initiator == r.Initiator })
	}
	s.APTPL = r.APTPL
	s.Generation++
	return good()
}

func (s *State) vacate() { s.Type, s.Holder = NoReservation, Initiator{} }

// tell addresses a condition to every registrant but one.
func (s *State) tell(c Sense, except Initiator) []Attention {
	var to []Attention
	for _, g := range s.Registrations {
		if g.Initiator != except {
			to = append(to, Attention{g.Initiator, c})
		}
	}
	return to
}

// remove takes the registrations that match out of the table and returns them.
func (s *State) remove(match func(Registration) bool) []Registration {
	var gone []Registration
	s.Registrations = slices.DeleteFunc(s.Registrations, func(g Registration) bool {
		if !match(g) {
			return false
		}
		gone = append(gone, g)
		return true
	})
	return gone
}
