package scsi

import (
	"fmt"
	"slices"

	"gabion/protocol/dtyp"
)

// Initiator is an I_T nexus: the InitiatorId of the opens of one guest adapter.
type Initiator = dtyp.GUID

// Type is a persistent reservation's type (SPC-4 6.15.3.4).
type Type uint8

const (
	NoReservation                  Type = 0
	WriteExclusive                 Type = 1
	ExclusiveAccess                Type = 3
	WriteExclusiveRegistrantsOnly  Type = 5
	ExclusiveAccessRegistrantsOnly Type = 6
	WriteExclusiveAllRegistrants   Type = 7
	ExclusiveAccessAllRegistrants  Type = 8
)

var typeNames = map[Type]string{
	NoReservation: "none", WriteExclusive: "Write Exclusive", ExclusiveAccess: "Exclusive Access",
	WriteExclusiveRegistrantsOnly: "Write Exclusive - Registrants Only", ExclusiveAccessRegistrantsOnly: "Exclusive Access - Registrants Only",
	WriteExclusiveAllRegistrants: "Write Exclusive - All Registrants", ExclusiveAccessAllRegistrants: "Exclusive Access - All Registrants",
}

func (t Type) String() string {
	if s, ok := typeNames[t]; ok {
		return s
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Valid reports whether t is a type a reservation can have.
func (t Type) Valid() bool {
	_, ok := typeNames[t]
	return ok && t != NoReservation
}

func (t Type) allRegistrants() bool { return t >= WriteExclusiveAllRegistrants }

// registrantsShare: every registered initiator has the holder's access.
func (t Type) registrantsShare() bool { return t >= WriteExclusiveRegistrantsOnly }

func (t Type) excludesReaders() bool {
	return t == ExclusiveAccess || t == ExclusiveAccessRegistrantsOnly || t == ExclusiveAccessAllRegistrants
}

// Registration is one registered initiator and its key.
type Registration struct {
	Initiator Initiator
	Key       uint64
}

// State is the persistent reservations of one logical unit. States are values:
// Apply returns a new one and leaves its receiver and what it refers to alone.
type State struct {
	Generation    uint32
	APTPL         bool // the last registration asked for persistence through power loss
	Registrations []Registration
	Type          Type
	Holder        Initiator // meaningless without reservation and for All Registrants types
}

// Key returns the key of a registered initiator.
func (s *State) Key(i Initiator) (uint64, bool) {
	if n := s.index(i); n >= 0 {
		return s.Registrations[n].Key, true
	}
	return 0, false
}

// Holds reports whether i is a persistent reservation holder.
func (s *State) Holds(i Initiator) bool {
	switch {
	case s.Type == NoReservation:
		return false
	case s.Type.allRegistrants():
		return s.index(i) >= 0
	}
	return s.Holder == i
}

func (s *State) index(i Initiator) int {
	return slices.IndexFunc(s.Registrations, func(r Registration) bool { return r.Initiator == i })
}

// Equal reports whether two states are the same.
func (s *State) Equal(o *State) bool {
	return s.Generation == o.Generation && s.APTPL == o.APTPL && s.Type == o.Type &&
		(s.Type == NoReservation || s.Type.allRegistrants() || s.Holder == o.Holder) &&
		slices.Equal(s.Registrations, o.Registrations)
}

// Access is what a command does to the medium, as far as reservations care.
type Access uint8

const (
	// AccessNone never conflicts.
	AccessNone Access = iota
	// AccessRead conflicts with an exclusive access reservation of somebody else.
	AccessRead
	// AccessWrite conflicts with any reservation of somebody else.
	AccessWrite
	// AccessReserve is RESERVE and RELEASE of SPC-2, which conflict while
	// anybody is registered.
	AccessReserve
)

// Permits is the conflict table of SPC-4 (table 65) and SBC-3 (table 13) for
// everything but PERSISTENT RESERVE OUT, which Apply judges.
func (s *State) Permits(i Initiator, a Access) bool {
	switch {
	case a == AccessNone:
		return true
	case a == AccessReserve:
		return len(s.Registrations) == 0
	case s.Type == NoReservation:
		return true
	case s.Type.registrantsShare():
		if s.index(i) >= 0 {
			return true
		}
	case s.Holder == i:
		return true
	}
	return a == AccessRead && !s.Type.excludesReaders()
}
