package ntstatus

import (
	"fmt"
	"sort"
)

// Status is an NTSTATUS value (MS-ERREF 2.3).
type Status uint32

// Severity is the meaning of a Status' two highest bits (MS-ERREF 2.3).
type Severity uint8

// The four severities.
const (
	SeveritySuccess       Severity = 0
	SeverityInformational Severity = 1
	SeverityWarning       Severity = 2
	SeverityError         Severity = 3
)

func (s Severity) String() string {
	switch s {
	case SeveritySuccess:
		return "success"
	case SeverityInformational:
		return "informational"
	case SeverityWarning:
		return "warning"
	}
	return "error"
}

// Severity returns the class of s.
func (s Status) Severity() Severity { return Severity(s >> 30) }

// IsSuccess is NT_SUCCESS: success or informational.
func (s Status) IsSuccess() bool { return s < 0x80000000 }

// IsWarning reports severity warning: something to say, but the answer stands.
func (s Status) IsWarning() bool { return s>>30 == 2 }

// IsError reports severity error: the operation was not done.
func (s Status) IsError() bool { return s>>30 == 3 }

// Facility names the component that defined s; 0 is the kernel, 0x05C is MS-RSVD.
func (s Status) Facility() uint16 { return uint16(s>>16) & 0x0FFF }

// Error makes a Status usable as a Go error, so that a layer can return the
// wire's verdict as it is. Success is not an error: use Err to convert.
func (s Status) Error() string { return s.String() }

// Err returns nil for success and informational values, s otherwise.
func (s Status) Err() error {
	if s.IsSuccess() {
		return nil
	}
	return s
}

type entry struct {
	value Status
	name  string
}

// String returns the specification's name, such as STATUS_ACCESS_DENIED.
func (s Status) String() string {
	i := sort.Search(len(table), func(i int) bool { return table[i].value >= s })
	if i < len(table) && table[i].value == s {
		return table[i].name
	}
	return fmt.Sprintf("NTSTATUS(0x%08X)", uint32(s))
}

// Parse returns the value of a specification name such as STATUS_PENDING.
func Parse(name string) (Status, bool) {
	for i := range table {
		if table[i].name == name {
			return table[i].value, true
		}
	}
	return 0, false
}
