package scsi

import "fmt"

// Status is the status byte of a command (SAM-5 5.3.1).
type Status uint8

const (
	Good                Status = 0x00
	CheckCondition      Status = 0x02
	Busy                Status = 0x08
	ReservationConflict Status = 0x18
	TaskAborted         Status = 0x40
)

func (s Status) String() string {
	switch s {
	case Good:
		return "GOOD"
	case CheckCondition:
		return "CHECK CONDITION"
	case Busy:
		return "BUSY"
	case ReservationConflict:
		return "RESERVATION CONFLICT"
	case TaskAborted:
		return "TASK ABORTED"
	}
	return fmt.Sprintf("status %#02x", uint8(s))
}

// Sense says why a command ended with CHECK CONDITION.
type Sense struct{ Key, Code, Qualifier uint8 }

// The conditions this unit reports (SPC-4 annex F).
var (
	NoSense                   = Sense{}
	NotReady                  = Sense{0x02, 0x04, 0x00}
	UnrecoveredReadError      = Sense{0x03, 0x11, 0x00}
	WriteError                = Sense{0x03, 0x0C, 0x00}
	ParameterListLengthError  = Sense{0x05, 0x1A, 0x00}
	InvalidOperationCode      = Sense{0x05, 0x20, 0x00}
	BlockAddressOutOfRange    = Sense{0x05, 0x21, 0x00}
	InvalidFieldInCDB         = Sense{0x05, 0x24, 0x00}
	InvalidFieldInParameters  = Sense{0x05, 0x26, 0x00}
	InvalidRelease            = Sense{0x05, 0x26, 0x04}
	SavingNotSupported        = Sense{0x05, 0x39, 0x00}
	TooManyRegistrations      = Sense{0x05, 0x55, 0x04}
	WriteProtected            = Sense{0x07, 0x27, 0x00}
	SpaceAllocationFailed     = Sense{0x07, 0x27, 0x07}
	MiscompareDuringVerify    = Sense{0x0E, 0x1D, 0x00}
	ReservationsPreempted     = Sense{0x06, 0x2A, 0x03}
	ReservationsReleased      = Sense{0x06, 0x2A, 0x04}
	RegistrationsPreempted    = Sense{0x06, 0x2A, 0x05}
	CapacityChanged           = Sense{0x06, 0x2A, 0x09}
	OperatingDefinitionChange = Sense{0x06, 0x3F, 0x02}
	InquiryDataChanged        = Sense{0x06, 0x3F, 0x03}
)

const (
	// SenseSize is the length of fixed format sense data.
	SenseSize = 18

	senseKeyUnitAttention = 0x06
)

// UnitAttention reports whether s is a unit attention condition.
func (s Sense) UnitAttention() bool { return s.Key == senseKeyUnitAttention }

// AppendTo appends fixed format sense data (SPC-4 4.5.3).
func (s Sense) AppendTo(b []byte) []byte {
	return append(b, 0x70, 0, s.Key, 0, 0, 0, 0, SenseSize-8, 0, 0, 0, 0, s.Code, s.Qualifier, 0, 0, 0, 0)
}

func (s Sense) String() string { return fmt.Sprintf("%02X/%02X/%02X", s.Key, s.Code, s.Qualifier) }
