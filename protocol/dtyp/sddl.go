package dtyp

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// The security descriptor description language ([MS-DTYP] 2.5.1), as far as it
// goes for files: conditional expressions and resource attributes keep their
// bytes in hexadecimal behind a '#'.

var sddlSIDs = []struct {
	alias string
	sid   SID
}{
	{"WD", Everyone}, {"CO", CreatorOwner}, {"CG", CreatorGroup}, {"OW", OwnerRights}, {"NU", Network},
	{"IU", Interactive}, {"SU", Service}, {"AN", Anonymous}, {"ED", EnterpriseDCs}, {"PS", PrincipalSelf},
	{"AU", AuthenticatedUsers}, {"RC", RestrictedCode}, {"SY", LocalSystem}, {"LS", LocalService},
	{"NS", NetworkService}, {"BA", BuiltinAdministrators}, {"BU", BuiltinUsers}, {"BG", BuiltinGuests},
	{"PU", BuiltinPowerUsers}, {"AO", BuiltinAccountOperators}, {"SO", BuiltinServerOperators},
	{"PO", BuiltinPrintOperators}, {"BO", BuiltinBackupOperators}, {"RD", BuiltinRemoteDesktop},
	{"HA", BuiltinHyperVAdmins}, {"AC", AllAppPackages}, {"LW", IntegrityLow}, {"ME", IntegrityMedium},
	{"HI", IntegrityHigh}, {"SI", IntegritySystem},
}

var sddlTypes = []struct {
	name string
	t    AceType
}{
	{"A", AccessAllowed}, {"D", AccessDenied}, {"AU", SystemAudit}, {"AL", SystemAlarm}, {"OA", AccessAllowedObject},
	{"OD", AccessDeniedObject}, {"OU", SystemAuditObject}, {"OL", SystemAlarmObject}, {"XA", AccessAllowedCallback},
	{"XD", AccessDeniedCallback}, {"XU", SystemAuditCallback}, {"ZA", AccessAllowedCallbackObject},
	{"ML", SystemMandatoryLabel}, {"RA", SystemResourceAttribute}, {"SP", SystemScopedPolicyID},
}

var sddlFlags = []struct {
	name string
	f    AceFlags
}{
	{"OI", ObjectInherit}, {"CI", ContainerInherit}, {"NP", NoPropagateInherit}, {"IO", InheritOnly},
	{"ID", Inherited}, {"SA", SuccessfulAccess}, {"FA", FailedAccess},
}

// Whole masks come first, so that formatting prefers them.
var sddlRights = []struct {
	name  string
	mask  AccessMask
	whole bool
}{
	{"FA", FileAllAccess, true}, {"FR", FileGenericRead, true}, {"FW", FileGenericWrite, true},
	{"FX", FileGenericExecute, true}, {"GA", GenericAll, false}, {"GR", GenericRead, false},
	{"GW", GenericWrite, false}, {"GX", GenericExecute, false}, {"RC", ReadControl, false}, {"SD", Delete, false},
	{"WD", WriteDAC, false}, {"WO", WriteOwner, false}, {"CC", 0x001, false}, {"DC", 0x002, false},
	{"LC", 0x004, false}, {"SW", 0x008, false}, {"RP", 0x010, false}, {"WP", 0x020, false}, {"DT", 0x040, false},
	{"LO", 0x080, false}, {"CR", 0x100, false},
}

// SDDL returns the descriptor in the description language.
func (sd *SecurityDescriptor) SDDL() string {
	var b strings.Builder
	if !sd.Owner.IsZero() {
		b.WriteString("O:" + sddlSID(sd.Owner))
	}
	if !sd.Group.IsZero() {
		b.WriteString("G:" + sddlSID(sd.Group))
	}
	if sd.Control&DACLPresent != 0 {
		writeACL(&b, "D:", sd.DACL, sd.Control&DACLProtected != 0, sd.Control&DACLAutoInheritReq != 0, sd.Control&DACLAutoInherited != 0)
	}
	if sd.Control&SACLPresent != 0 {
		writeACL(&b, "S:", sd.SACL, sd.Control&SACLProtected != 0, sd.Control&SACLAutoInheritReq != 0, sd.Control&SACLAutoInherited != 0)
	}
	return b.String()
}

func sddlSID(s SID) string {
	for _, a := range sddlSIDs {
		if a.sid == s {
			return a.alias
		}
	}
	return s.String()
}

func writeACL(b *strings.Builder, prefix string, l *ACL, protected, required, inherited bool) {
	b.WriteString(prefix)
	if protected {
		b.WriteString("P")
	}
	if required {
		b.WriteString("AR")
	}
	if inherited {
		b.WriteString("AI")
	}
	if l == nil {
		b.WriteString("NO_ACCESS_CONTROL")
		return
	}
	for i := range l.ACEs {
		writeACE(b, &l.ACEs[i])
	}
}

func writeACE(b *strings.Builder, a *ACE) {
	name := fmt.Sprintf("%#x", uint8(a.Type))
	for _, t := range sddlTypes {
		if t.t == a.Type {
			name = t.name
		}
	}
	b.WriteString("(" + name + ";")
	flags := a.Flags
	for _, f := range sddlFlags {
		if flags&f.f != 0 {
			b.WriteString(f.name)
		}
	}
	b.WriteString(";" + sddlMask(a.Mask) + ";")
	if a.ObjectFlags&AceObjectTypePresent != 0 {
		b.WriteString(a.ObjectType.String())
	}
	b.WriteString(";")
	if a.ObjectFlags&AceInheritedObjectTypePresent != 0 {
		b.WriteString(a.InheritedObjectType.String())
	}
	b.WriteString(";")
	if !a.SID.IsZero() {
		b.WriteString(sddlSID(a.SID))
	}
	if len(a.Data) > 0 {
		b.WriteString(";#" + hex.EncodeToString(a.Data))
	}
	b.WriteString(")")
}

func sddlMask(m AccessMask) string {
	var s string
	rest := m
	for _, r := range sddlRights {
		if r.whole && m == r.mask {
			return r.name
		}
		if !r.whole && rest.Has(r.mask) {
			s += r.name
			rest &^= r.mask
		}
	}
	if rest != 0 || s == "" {
		return fmt.Sprintf("%#x", uint32(m))
	}
	return s
}

// ParseSDDL reads the description language. domain resolves the aliases of a
// domain's own accounts (DA, DU, LA…); a zero domain refuses them.
func ParseSDDL(text string, domain SID) (*SecurityDescriptor, error) {
	sd := &SecurityDescriptor{Control: SelfRelative}
	rest := text
	for rest != "" {
		if len(rest) < 2 || rest[1] != ':' {
			return nil, sddlError(text)
		}
		what := rest[0]
		rest = rest[2:]
		end := sddlPartEnd(rest)
		part := rest[:end]
		rest = rest[end:]
		var err error
		switch what {
		case 'O':
			sd.Owner, err = parseSDDLSID(part, domain)
		case 'G':
			sd.Group, err = parseSDDLSID(part, domain)
		case 'D':
			sd.DACL, err = parseSDDLACL(part, domain, sd, DACLPresent, DACLProtected, DACLAutoInheritReq, DACLAutoInherited)
		case 'S':
			sd.SACL, err = parseSDDLACL(part, domain, sd, SACLPresent, SACLProtected, SACLAutoInheritReq, SACLAutoInherited)
		default:
			return nil, sddlError(text)
		}
		if err != nil {
			return nil, err
		}
	}
	return sd, nil
}

func sddlError(text string) error { return malformed("SDDL " + strconv.Quote(text)) }

// sddlPartEnd finds where the next "O:", "G:", "D:" or "S:" outside parentheses begins.
func sddlPartEnd(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '(':
			depth++
		case ')':
			depth--
		case ':':
			if depth == 0 && i > 0 {
				return i - 1
			}
		}
	}
	return len(s)
}

func parseSDDLSID(s string, domain SID) (SID, error) {
	for _, a := range sddlSIDs {
		if a.alias == s {
			return a.sid, nil
		}
	}
	if !domain.IsZero() {
		for alias, rid := range map[string]uint32{"LA": RIDAdministrator, "LG": RIDGuest, "DA": RIDDomainAdmins,
			"DU": RIDDomainUsers, "DG": RIDDomainGuests, "DC": RIDDomainComputers, "DD": RIDDomainControllers, "EA": RIDEnterpriseAdmins} {
			if alias == s {
				return domain.WithRID(rid), nil
			}
		}
	}
	return ParseSID(s)
}

func parseSDDLACL(s string, domain SID, sd *SecurityDescriptor, present, protected, required, inherited Control) (*ACL, error) {
	sd.Control |= present
	flags, aces := s, ""
	if i := strings.IndexByte(s, '('); i >= 0 {
		flags, aces = s[:i], s[i:]
	}
	null := false
	for flags != "" {
		switch {
		case strings.HasPrefix(flags, "NO_ACCESS_CONTROL"):
			null, flags = true, flags[len("NO_ACCESS_CONTROL"):]
		case strings.HasPrefix(flags, "P"):
			sd.Control, flags = sd.Control|protected, flags[1:]
		case strings.HasPrefix(flags, "AR"):
			sd.Control, flags = sd.Control|required, flags[2:]
		case strings.HasPrefix(flags, "AI"):
			sd.Control, flags = sd.Control|inherited, flags[2:]
		default:
			return nil, sddlError(s)
		}
	}
	if null {
		if aces != "" {
			return nil, sddlError(s)
		}
		return nil, nil
	}
	var list []ACE
	for aces != "" {
		end := strings.IndexByte(aces, ')')
		if aces[0] != '(' || end < 0 {
			return nil, sddlError(s)
		}
		a, err := parseSDDLACE(aces[1:end], domain)
		if err != nil {
			return nil, err
		}
		list, aces = append(list, a), aces[end+1:]
	}
	return NewACL(list...), nil
}

func parseSDDLACE(s string, domain SID) (a ACE, err error) {
	f := strings.Split(s, ";")
	if len(f) != 6 && len(f) != 7 {
		return a, sddlError(s)
	}
	if a.Type, err = parseSDDLType(f[0]); err != nil {
		return a, err
	}
	if a.Flags, err = parseSDDLFlags(f[1]); err != nil {
		return a, err
	}
	if a.Mask, err = parseSDDLMask(f[2]); err != nil {
		return a, err
	}
	if f[3] != "" {
		a.ObjectFlags |= AceObjectTypePresent
		if a.ObjectType, err = ParseGUID(f[3]); err != nil {
			return a, err
		}
	}
	if f[4] != "" {
		a.ObjectFlags |= AceInheritedObjectTypePresent
		if a.InheritedObjectType, err = ParseGUID(f[4]); err != nil {
			return a, err
		}
	}
	if a.SID, err = parseSDDLSID(f[5], domain); err != nil {
		return a, err
	}
	if len(f) == 7 {
		raw, ok := strings.CutPrefix(f[6], "#")
		if !ok {
			return a, malformed("SDDL conditional expression")
		}
		if a.Data, err = hex.DecodeString(raw); err != nil {
			return a, sddlError(s)
		}
	}
	if a.Type.form() == formSimple && a.ObjectFlags != 0 {
		return a, sddlError(s)
	}
	return a, nil
}

func parseSDDLType(s string) (AceType, error) {
	for _, t := range sddlTypes {
		if t.name == s {
			return t.t, nil
		}
	}
	return 0, malformed("SDDL ACE type " + strconv.Quote(s))
}

func parseSDDLFlags(s string) (flags AceFlags, err error) {
next:
	for s != "" {
		for _, f := range sddlFlags {
			if strings.HasPrefix(s, f.name) {
				flags, s = flags|f.f, s[2:]
				continue next
			}
		}
		return 0, malformed("SDDL ACE flags " + strconv.Quote(s))
	}
	return flags, nil
}

func parseSDDLMask(s string) (m AccessMask, err error) {
	if s != "" && s[0] >= '0' && s[0] <= '9' {
		v, err := strconv.ParseUint(s, 0, 32)
		if err != nil {
			return 0, malformed("SDDL rights " + strconv.Quote(s))
		}
		return AccessMask(v), nil
	}
next:
	for s != "" {
		for _, r := range sddlRights {
			if strings.HasPrefix(s, r.name) {
				m, s = m|r.mask, s[2:]
				continue next
			}
		}
		return 0, malformed("SDDL rights " + strconv.Quote(s))
	}
	return m, nil
}
