package ntstatus

import (
	"errors"
	"fmt"
	"testing"
)

func TestNames(t *testing.T) {
	for _, c := range []struct {
		s    Status
		v    uint32
		name string
		sev  Severity
	}{
		{Success, 0, "STATUS_SUCCESS", SeveritySuccess},
		{Pending, 0x103, "STATUS_PENDING", SeveritySuccess},
		{NotifyEnumDir, 0x10C, "STATUS_NOTIFY_ENUM_DIR", SeveritySuccess},
		{BufferOverflow, 0x80000005, "STATUS_BUFFER_OVERFLOW", SeverityWarning},
		{NoMoreFiles, 0x80000006, "STATUS_NO_MORE_FILES", SeverityWarning},
		{StoppedOnSymlink, 0x8000002D, "STATUS_STOPPED_ON_SYMLINK", SeverityWarning},
		{AccessDenied, 0xC0000022, "STATUS_ACCESS_DENIED", SeverityError},
		{IODeviceError, 0xC0000185, "STATUS_IO_DEVICE_ERROR", SeverityError},
		{NetworkSessionExpired, 0xC000035C, "STATUS_NETWORK_SESSION_EXPIRED", SeverityError},
		{SMBNoPreauthIntegrityHashOverlap, 0xC05D0000, "STATUS_SMB_NO_PREAUTH_INTEGRITY_HASH_OVERLAP", SeverityError},
		{SVHDXReservationConflict, 0xC05CFF07, "STATUS_SVHDX_RESERVATION_CONFLICT", SeverityError},
		{Status(0xE1234567), 0xE1234567, "NTSTATUS(0xE1234567)", SeverityError},
	} {
		if uint32(c.s) != c.v || c.s.String() != c.name || c.s.Severity() != c.sev {
			t.Errorf("%s: got %#x %s %s", c.name, uint32(c.s), c.s, c.s.Severity())
		}
	}
}

func TestTableSortedAndParsed(t *testing.T) {
	for i := range table {
		if i > 0 && table[i-1].value >= table[i].value {
			t.Fatalf("%s out of order", table[i].name)
		}
		if v, ok := Parse(table[i].name); !ok || v != table[i].value {
			t.Fatalf("Parse(%s) = %v %v", table[i].name, v, ok)
		}
	}
	if _, ok := Parse("STATUS_NONSENSE"); ok {
		t.Fatal("parsed nonsense")
	}
}

func TestErr(t *testing.T) {
	if Success.Err() != nil || Pending.Err() != nil {
		t.Fatal("success became an error")
	}
	err := fmt.Errorf("open: %w", AccessDenied.Err())
	var s Status
	if !errors.As(err, &s) || s != AccessDenied {
		t.Fatalf("got %v", err)
	}
	if !BufferOverflow.IsWarning() || BufferOverflow.IsError() || BufferOverflow.IsSuccess() {
		t.Fatal("severity of a warning")
	}
}
