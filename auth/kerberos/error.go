package kerberos

import (
	"fmt"

	"gabion/protocol/krb5"
)

// Error says why a ticket was refused: the protocol's code, and the cause in an
// administrator's words.
type Error struct {
	Code krb5.ErrorCode
	Why  string
	// Client and Service are those of the ticket as far as they are known; before the
	// ticket is decrypted nobody vouches for them.
	Client, Service string
}

func (e *Error) Error() string { return fmt.Sprintf("%v: %s", e.Code, e.Why) }

func refuse(code krb5.ErrorCode, format string, args ...any) *Error {
	return &Error{Code: code, Why: fmt.Sprintf(format, args...)}
}
