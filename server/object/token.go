package object

import (
	"gabion/auth"
	"gabion/protocol/dtyp"
)

// Token is who asks.
type Token = auth.Token

const (
	privSecurity      = auth.SeSecurity
	privTakeOwnership = auth.SeTakeOwnership
	privBackup        = auth.SeBackup
	privRestore       = auth.SeRestore
	privTraverse      = auth.SeChangeNotify
	privManageVolume  = auth.SeManageVolume
	privSymlink       = auth.SeCreateSymbolicLink
)

func hasPrivilege(t *Token, p auth.Privilege) bool { return t.Has(p) }

// granted returns the part of want that sd gives to t ([MS-FSA] 2.1.4.14).
func granted(t *Token, sd *dtyp.SecurityDescriptor, want uint32) uint32 {
	return uint32(t.Granted(sd, dtyp.AccessMask(want)))
}
