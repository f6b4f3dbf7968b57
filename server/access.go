package server

import "gabion/protocol/dtyp"

// shareAccess is the most that a security descriptor grants to a user.
func shareAccess(who *Identity, sd *dtyp.SecurityDescriptor) uint32 {
	return uint32(who.Token.Maximal(sd))
}
