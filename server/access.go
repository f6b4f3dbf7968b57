package server

import (
	"gabion/auth"
	"gabion/protocol/dtyp"
)

// shareAccess is the most that a security descriptor grants to a user.
func shareAccess(who *auth.Token, sd *dtyp.SecurityDescriptor) uint32 {
	return uint32(who.Maximal(sd))
}
