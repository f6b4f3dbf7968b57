package dtyp

// Well-known SIDs (MS-DTYP 2.4.2.4) under the document's names.
var (
	Null                    = MakeSID(0, 0)
	Everyone                = MakeSID(1, 0)
	Local                   = MakeSID(2, 0)
	CreatorOwner            = MakeSID(3, 0)
	CreatorGroup            = MakeSID(3, 1)
	OwnerRights             = MakeSID(3, 4)
	NTAuthority             = MakeSID(5)
	Network                 = MakeSID(5, 2)
	Batch                   = MakeSID(5, 3)
	Interactive             = MakeSID(5, 4)
	Service                 = MakeSID(5, 6)
	Anonymous               = MakeSID(5, 7)
	EnterpriseDCs           = MakeSID(5, 9)
	PrincipalSelf           = MakeSID(5, 10)
	AuthenticatedUsers      = MakeSID(5, 11)
	RestrictedCode          = MakeSID(5, 12)
	RemoteInteractive       = MakeSID(5, 14)
	ThisOrganization        = MakeSID(5, 15)
	IUser                   = MakeSID(5, 17)
	LocalSystem             = MakeSID(5, 18)
	LocalService            = MakeSID(5, 19)
	NetworkService          = MakeSID(5, 20)
	NTLMAuthentication      = MakeSID(5, 64, 10)
	OtherOrganization       = MakeSID(5, 1000)
	Builtin                 = MakeSID(5, 32)
	BuiltinAdministrators   = MakeSID(5, 32, 544)
	BuiltinUsers            = MakeSID(5, 32, 545)
	BuiltinGuests           = MakeSID(5, 32, 546)
	BuiltinPowerUsers       = MakeSID(5, 32, 547)
	BuiltinAccountOperators = MakeSID(5, 32, 548)
	BuiltinServerOperators  = MakeSID(5, 32, 549)
	BuiltinPrintOperators   = MakeSID(5, 32, 550)
	BuiltinBackupOperators  = MakeSID(5, 32, 551)
	BuiltinRemoteDesktop    = MakeSID(5, 32, 555)
	BuiltinHyperVAdmins     = MakeSID(5, 32, 578)
	AllAppPackages          = MakeSID(15, 2, 1)
	IntegrityUntrusted      = MakeSID(16, 0)
	IntegrityLow            = MakeSID(16, 4096)
	IntegrityMedium         = MakeSID(16, 8192)
	IntegrityHigh           = MakeSID(16, 12288)
	IntegritySystem         = MakeSID(16, 16384)
)

// Relative ids of accounts and groups that every domain has.
const (
	RIDAdministrator      = 500
	RIDGuest              = 501
	RIDKrbtgt             = 502
	RIDDomainAdmins       = 512
	RIDDomainUsers        = 513
	RIDDomainGuests       = 514
	RIDDomainComputers    = 515
	RIDDomainControllers  = 516
	RIDEnterpriseAdmins   = 519
	RIDBackupOperators    = 551
	RIDFirstLocalAccount  = 1000
	NTAuthorityIdentifier = 5
)

// WellKnown describes a well-known SID by the names that look-ups return.
type WellKnown struct {
	SID    SID
	Domain string
	Name   string
	Use    SIDNameUse
}

// SIDNameUse is SID_NAME_USE (MS-LSAT 2.2.13).
type SIDNameUse uint16

const (
	SIDTypeUser           SIDNameUse = 1
	SIDTypeGroup          SIDNameUse = 2
	SIDTypeDomain         SIDNameUse = 3
	SIDTypeAlias          SIDNameUse = 4
	SIDTypeWellKnownGroup SIDNameUse = 5
	SIDTypeDeletedAccount SIDNameUse = 6
	SIDTypeInvalid        SIDNameUse = 7
	SIDTypeUnknown        SIDNameUse = 8
	SIDTypeComputer       SIDNameUse = 9
	SIDTypeLabel          SIDNameUse = 10
)

// WellKnownSIDs lists the names that any Windows computer knows.
var WellKnownSIDs = []WellKnown{
	{Null, "", "NULL SID", SIDTypeWellKnownGroup},
	{Everyone, "", "Everyone", SIDTypeWellKnownGroup},
	{Local, "", "LOCAL", SIDTypeWellKnownGroup},
	{CreatorOwner, "", "CREATOR OWNER", SIDTypeWellKnownGroup},
	{CreatorGroup, "", "CREATOR GROUP", SIDTypeWellKnownGroup},
	{OwnerRights, "", "OWNER RIGHTS", SIDTypeWellKnownGroup},
	{NTAuthority, "NT AUTHORITY", "NT AUTHORITY", SIDTypeDomain},
	{Network, "NT AUTHORITY", "NETWORK", SIDTypeWellKnownGroup},
	{Batch, "NT AUTHORITY", "BATCH", SIDTypeWellKnownGroup},
	{Interactive, "NT AUTHORITY", "INTERACTIVE", SIDTypeWellKnownGroup},
	{Service, "NT AUTHORITY", "SERVICE", SIDTypeWellKnownGroup},
	{Anonymous, "NT AUTHORITY", "ANONYMOUS LOGON", SIDTypeWellKnownGroup},
	{EnterpriseDCs, "NT AUTHORITY", "ENTERPRISE DOMAIN CONTROLLERS", SIDTypeWellKnownGroup},
	{PrincipalSelf, "NT AUTHORITY", "SELF", SIDTypeWellKnownGroup},
	{AuthenticatedUsers, "NT AUTHORITY", "Authenticated Users", SIDTypeWellKnownGroup},
	{RestrictedCode, "NT AUTHORITY", "RESTRICTED", SIDTypeWellKnownGroup},
	{RemoteInteractive, "NT AUTHORITY", "REMOTE INTERACTIVE LOGON", SIDTypeWellKnownGroup},
	{ThisOrganization, "NT AUTHORITY", "This Organization", SIDTypeWellKnownGroup},
	{IUser, "NT AUTHORITY", "IUSR", SIDTypeWellKnownGroup},
	{LocalSystem, "NT AUTHORITY", "SYSTEM", SIDTypeWellKnownGroup},
	{LocalService, "NT AUTHORITY", "LOCAL SERVICE", SIDTypeWellKnownGroup},
	{NetworkService, "NT AUTHORITY", "NETWORK SERVICE", SIDTypeWellKnownGroup},
	{NTLMAuthentication, "NT AUTHORITY", "NTLM Authentication", SIDTypeWellKnownGroup},
	{Builtin, "BUILTIN", "BUILTIN", SIDTypeDomain},
	{BuiltinAdministrators, "BUILTIN", "Administrators", SIDTypeAlias},
	{BuiltinUsers, "BUILTIN", "Users", SIDTypeAlias},
	{BuiltinGuests, "BUILTIN", "Guests", SIDTypeAlias},
	{BuiltinPowerUsers, "BUILTIN", "Power Users", SIDTypeAlias},
	{BuiltinAccountOperators, "BUILTIN", "Account Operators", SIDTypeAlias},
	{BuiltinServerOperators, "BUILTIN", "Server Operators", SIDTypeAlias},
	{BuiltinPrintOperators, "BUILTIN", "Print Operators", SIDTypeAlias},
	{BuiltinBackupOperators, "BUILTIN", "Backup Operators", SIDTypeAlias},
	{BuiltinRemoteDesktop, "BUILTIN", "Remote Desktop Users", SIDTypeAlias},
	{BuiltinHyperVAdmins, "BUILTIN", "Hyper-V Administrators", SIDTypeAlias},
	{AllAppPackages, "APPLICATION PACKAGE AUTHORITY", "ALL APPLICATION PACKAGES", SIDTypeWellKnownGroup},
	{IntegrityUntrusted, "Mandatory Label", "Untrusted Mandatory Level", SIDTypeLabel},
	{IntegrityLow, "Mandatory Label", "Low Mandatory Level", SIDTypeLabel},
	{IntegrityMedium, "Mandatory Label", "Medium Mandatory Level", SIDTypeLabel},
	{IntegrityHigh, "Mandatory Label", "High Mandatory Level", SIDTypeLabel},
	{IntegritySystem, "Mandatory Label", "System Mandatory Level", SIDTypeLabel},
}
