package auth

import (
	"fmt"
	"strings"
)

// Privilege is the low part of a privilege's LUID, the same on every Windows
// computer ([MS-LSAD] 3.1.1.2.1).
type Privilege uint8

const (
	SeCreateToken          Privilege = 2
	SeAssignPrimaryToken   Privilege = 3
	SeLockMemory           Privilege = 4
	SeIncreaseQuota        Privilege = 5
	SeMachineAccount       Privilege = 6
	SeTcb                  Privilege = 7
	SeSecurity             Privilege = 8
	SeTakeOwnership        Privilege = 9
	SeLoadDriver           Privilege = 10
	SeSystemProfile        Privilege = 11
	SeSystemtime           Privilege = 12
	SeProfileSingleProcess Privilege = 13
	SeIncreaseBasePriority Privilege = 14
	SeCreatePagefile       Privilege = 15
	SeCreatePermanent      Privilege = 16
	SeBackup               Privilege = 17
	SeRestore              Privilege = 18
	SeShutdown             Privilege = 19
	SeDebug                Privilege = 20
	SeAudit                Privilege = 21
	SeSystemEnvironment    Privilege = 22
	SeChangeNotify         Privilege = 23
	SeRemoteShutdown       Privilege = 24
	SeUndock               Privilege = 25
	SeSyncAgent            Privilege = 26
	SeEnableDelegation     Privilege = 27
	SeManageVolume         Privilege = 28
	SeImpersonate          Privilege = 29
	SeCreateGlobal         Privilege = 30
	SeTrustedCredMan       Privilege = 31
	SeRelabel              Privilege = 32
	SeIncreaseWorkingSet   Privilege = 33
	SeTimeZone             Privilege = 34
	SeCreateSymbolicLink   Privilege = 35
)

var privilegeNames = [...]string{
	SeCreateToken: "SeCreateTokenPrivilege", SeAssignPrimaryToken: "SeAssignPrimaryTokenPrivilege",
	SeLockMemory: "SeLockMemoryPrivilege", SeIncreaseQuota: "SeIncreaseQuotaPrivilege",
	SeMachineAccount: "SeMachineAccountPrivilege", SeTcb: "SeTcbPrivilege", SeSecurity: "SeSecurityPrivilege",
	SeTakeOwnership: "SeTakeOwnershipPrivilege", SeLoadDriver: "SeLoadDriverPrivilege",
	SeSystemProfile: "SeSystemProfilePrivilege", SeSystemtime: "SeSystemtimePrivilege",
	SeProfileSingleProcess: "SeProfileSingleProcessPrivilege", SeIncreaseBasePriority: "SeIncreaseBasePriorityPrivilege",
	SeCreatePagefile: "SeCreatePagefilePrivilege", SeCreatePermanent: "SeCreatePermanentPrivilege",
	SeBackup: "SeBackupPrivilege", SeRestore: "SeRestorePrivilege", SeShutdown: "SeShutdownPrivilege",
	SeDebug: "SeDebugPrivilege", SeAudit: "SeAuditPrivilege", SeSystemEnvironment: "SeSystemEnvironmentPrivilege",
	SeChangeNotify: "SeChangeNotifyPrivilege", SeRemoteShutdown: "SeRemoteShutdownPrivilege", SeUndock: "SeUndockPrivilege",
	SeSyncAgent: "SeSyncAgentPrivilege", SeEnableDelegation: "SeEnableDelegationPrivilege",
	SeManageVolume: "SeManageVolumePrivilege", SeImpersonate: "SeImpersonatePrivilege",
	SeCreateGlobal: "SeCreateGlobalPrivilege", SeTrustedCredMan: "SeTrustedCredManAccessPrivilege",
	SeRelabel: "SeRelabelPrivilege", SeIncreaseWorkingSet: "SeIncreaseWorkingSetPrivilege",
	SeTimeZone: "SeTimeZonePrivilege", SeCreateSymbolicLink: "SeCreateSymbolicLinkPrivilege",
}

func (p Privilege) String() string {
	if int(p) < len(privilegeNames) && privilegeNames[p] != "" {
		return privilegeNames[p]
	}
	return fmt.Sprintf("Privilege(%d)", uint8(p))
}

// ParsePrivilege finds a privilege by its name, ignoring case.
func ParsePrivilege(name string) (Privilege, error) {
	for p, n := range privilegeNames {
		if n != "" && strings.EqualFold(n, name) {
			return Privilege(p), nil
		}
	}
	return 0, fmt.Errorf("auth: unknown privilege %q", name)
}

// Privileges is a set of privileges.
type Privileges uint64

// PrivilegeSet makes a set.
func PrivilegeSet(list ...Privilege) Privileges {
	var s Privileges
	for _, p := range list {
		s |= 1 << p
	}
	return s
}

// Has reports whether p is in the set.
func (s Privileges) Has(p Privilege) bool { return s>>p&1 != 0 }

// List returns the members in the order of their LUIDs.
func (s Privileges) List() []Privilege {
	var list []Privilege
	for p := range Privilege(64) {
		if s.Has(p) {
			list = append(list, p)
		}
	}
	return list
}

func (s Privileges) String() string {
	var names []string
	for _, p := range s.List() {
		names = append(names, p.String())
	}
	return strings.Join(names, ",")
}
