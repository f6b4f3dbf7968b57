package auth

import (
	"testing"

	"gabion/protocol/dtyp"
)

var (
	domain = dtyp.MakeSID(5, 21, 1, 2, 3)
	alice  = domain.WithRID(1001)
	staff  = domain.WithRID(2001)
)

func token(privs Privileges, groups ...Group) *Token {
	groups = append(groups, Group{dtyp.Everyone, GroupDefault}, Group{dtyp.AuthenticatedUsers, GroupDefault})
	return &Token{User: alice, Groups: groups, Privileges: privs}
}

func sddl(t testing.TB, text string) *dtyp.SecurityDescriptor {
	t.Helper()
	sd, err := dtyp.ParseSDDL(text, domain)
	if err != nil {
		t.Fatal(err)
	}
	return sd
}

func TestAccess(t *testing.T) {
	const owned = "O:S-1-5-21-1-2-3-1001"
	const others = "O:S-1-5-21-1-2-3-1002"
	const me = "S-1-5-21-1-2-3-1001)"
	const read, write = dtyp.FileReadData, dtyp.FileWriteData
	inStaff := Group{staff, GroupDefault}
	denyOnly := Group{staff, GroupUseForDenyOnly}
	for _, c := range []struct {
		name  string
		sd    string
		token *Token
		want  dtyp.AccessMask // asked for
		got   dtyp.AccessMask // of it granted
		max   dtyp.AccessMask // MAXIMUM_ALLOWED
	}{
		{"null DACL grants all", others + "D:NO_ACCESS_CONTROL", token(0), read | dtyp.WriteOwner, read | dtyp.WriteOwner, dtyp.FileAllAccess},
		{"absent DACL grants all", others, token(0), read, read, dtyp.FileAllAccess},
		{"empty DACL grants nothing", others + "D:", token(0), read | dtyp.ReadControl, 0, 0},
		{"owner always reads and writes the DACL", owned + "D:", token(0), read | dtyp.ReadControl | dtyp.WriteDAC, dtyp.ReadControl | dtyp.WriteDAC, dtyp.ReadControl | dtyp.WriteDAC},
		{"also against a deny", owned + "D:(D;;FA;;;WD)", token(0), dtyp.WriteDAC, dtyp.WriteDAC, dtyp.ReadControl | dtyp.WriteDAC},
		{"owner rights replace that", owned + "D:(A;;0x1;;;OW)", token(0), read | dtyp.WriteDAC, read, read},
		{"owner rights are the owner's only", others + "D:(A;;0x1;;;OW)", token(0), read, 0, 0},
		{"inherit-only owner rights do not", owned + "D:(A;OIIO;0x1;;;OW)", token(0), read | dtyp.WriteDAC, dtyp.WriteDAC, dtyp.ReadControl | dtyp.WriteDAC},
		{"allow by group", others + "D:(A;;0x3;;;S-1-5-21-1-2-3-2001)", token(0, inStaff), read, read, read | write},
		{"deny-only group does not allow", others + "D:(A;;0x3;;;S-1-5-21-1-2-3-2001)", token(0, denyOnly), read, 0, 0},
		{"deny-only group denies", others + "D:(D;;0x1;;;S-1-5-21-1-2-3-2001)(A;;0x3;;;WD)", token(0, denyOnly), read | write, write, write},
		{"disabled group is nothing", others + "D:(A;;0x1;;;S-1-5-21-1-2-3-2001)", token(0, Group{staff, 0}), read, 0, 0},
		{"deny first wins", others + "D:(D;;0x1;;;WD)(A;;0x3;;;" + me, token(0), read | write, write, write},
		{"allow first wins", others + "D:(A;;0x1;;;" + me + "(D;;0x3;;;WD)", token(0), read | write, read, read},
		{"trailing deny does not take back", owned + "D:(A;;FR;;;" + me + "(A;;0x2;;;OW)(D;;0x3;;;OW)", token(0), read | write, read | write, dtyp.FileGenericRead | write},
		{"inherit-only ACE is skipped", others + "D:(A;OICIIO;FA;;;WD)", token(0), read, 0, 0},
		{"generic rights in an ACE", others + "D:(A;;GR;;;WD)", token(0), read, read, dtyp.FileGenericRead},
		{"generic rights asked for", others + "D:(A;;FR;;;WD)", token(0), dtyp.GenericRead, dtyp.FileGenericRead, dtyp.FileGenericRead},
		{"object ACE without type", others + "D:(OA;;0x1;;;WD)", token(0), read, read, read},
		{"object ACE with type never allows", others + "D:(OA;;0x1;4b324fc8-1670-01d3-1278-5a47bf6ee188;;WD)", token(0), read, 0, 0},
		{"object ACE with type denies", others + "D:(OD;;0x1;4b324fc8-1670-01d3-1278-5a47bf6ee188;;WD)(A;;0x1;;;WD)", token(0), read, 0, 0},
		{"unknown condition does not allow", others + "D:(XA;;0x1;;;WD;#61727478)", token(0), read, 0, 0},
		{"unknown condition denies", others + "D:(XD;;0x1;;;WD;#61727478)(A;;0x3;;;WD)", token(0), read | write, write, write},
		{"take ownership by privilege", others + "D:", token(PrivilegeSet(SeTakeOwnership)), dtyp.WriteOwner, dtyp.WriteOwner, 0},
		{"SACL needs its privilege", others + "D:(A;;0x11f01ff;;;WD)", token(0), dtyp.AccessSystemSecurity, 0, dtyp.FileAllAccess},
		{"SACL by privilege", others + "D:", token(PrivilegeSet(SeSecurity)), dtyp.AccessSystemSecurity, dtyp.AccessSystemSecurity, 0},
		{"higher label stops writing", others + "D:(A;;FA;;;WD)S:(ML;;0x1;;;SI)", token(0), read | write, read, dtyp.FileAllAccess &^ (write | dtyp.FileAppendData | dtyp.FileWriteEA | dtyp.FileWriteAttributes | dtyp.Delete | dtyp.WriteDAC | dtyp.WriteOwner | dtyp.FileDeleteChild)},
		{"lower label does not", others + "D:(A;;FA;;;WD)S:(ML;;0x1;;;LW)", token(0), write, write, dtyp.FileAllAccess},
	} {
		sd := sddl(t, c.sd)
		if got := c.token.Granted(sd, c.want); got != c.got {
			t.Errorf("%s: granted %v, want %v", c.name, got, c.got)
		}
		if got := c.token.Maximal(sd); got != c.max {
			t.Errorf("%s: maximal %v, want %v", c.name, got, c.max)
		}
	}
}

func TestRestrictedToken(t *testing.T) {
	tok := token(0)
	tok.Restricted = []dtyp.SID{dtyp.RestrictedCode}
	sd := sddl(t, "O:BAD:(A;;FA;;;WD)(A;;FR;;;RC)")
	if got := tok.Granted(sd, dtyp.FileReadData|dtyp.FileWriteData); got != dtyp.FileReadData {
		t.Errorf("granted %v", got)
	}
}

func TestBackupIntent(t *testing.T) {
	tok := token(PrivilegeSet(SeBackup))
	if got := tok.BackupGrant(true); !got.Has(dtyp.FileGenericRead|dtyp.AccessSystemSecurity) || got.Any(dtyp.FileWriteData) {
		t.Errorf("backup gives %v", got)
	}
	if got := tok.BackupGrant(false); got != 0 {
		t.Errorf("backup of a new file gives %v", got)
	}
	if got := token(PrivilegeSet(SeRestore)).BackupGrant(false); !got.Has(dtyp.WriteDAC | dtyp.WriteOwner | dtyp.Delete | dtyp.FileWriteData) {
		t.Errorf("restore gives %v", got)
	}
}

func TestAccessCheckAllocatesNothing(t *testing.T) {
	tok, sd := token(0), sddl(t, "O:BAD:(A;;FR;;;BA)(A;;FA;;;AU)")
	if n := testing.AllocsPerRun(100, func() { tok.Granted(sd, dtyp.FileReadData) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

func TestInheritance(t *testing.T) {
	const me = "S-1-5-21-1-2-3-1001"
	const def = "O:" + me + "G:DUD:(A;;FA;;;" + me + ")(A;;FA;;;SY)"
	for _, c := range []struct {
		name, parent, creator, file, dir string
	}{
		{"nothing inherited", "D:(A;;FA;;;WD)", "", def, def},
		{"object inherit passes through a directory", "D:(A;OI;FR;;;WD)", "",
			"O:" + me + "G:DUD:(A;;FR;;;WD)", "O:" + me + "G:DUD:(A;OIIO;FR;;;WD)"},
		{"container inherit", "D:(A;CI;FR;;;WD)", "", def, "O:" + me + "G:DUD:(A;CI;FR;;;WD)"},
		{"inherit only becomes effective", "D:(A;OICIIO;FR;;;WD)", "",
			"O:" + me + "G:DUD:(A;;FR;;;WD)", "O:" + me + "G:DUD:(A;OICI;FR;;;WD)"},
		{"no propagate", "D:(A;OICINP;FR;;;WD)", "", "O:" + me + "G:DUD:(A;;FR;;;WD)", "O:" + me + "G:DUD:(A;;FR;;;WD)"},
		{"no propagate, object only", "D:(A;OINP;FR;;;WD)", "", "O:" + me + "G:DUD:(A;;FR;;;WD)", def},
		{"creator owner splits", "D:(A;OICI;FR;;;CO)", "",
			"O:" + me + "G:DUD:(A;;FR;;;" + me + ")", "O:" + me + "G:DUD:(A;;FR;;;" + me + ")(A;OICIIO;FR;;;CO)"},
		{"creator group", "D:(A;OI;FR;;;CG)", "", "O:" + me + "G:DUD:(A;;FR;;;DU)", "O:" + me + "G:DUD:(A;OIIO;FR;;;CG)"},
		{"generic rights split", "D:(A;OICI;GA;;;WD)", "",
			"O:" + me + "G:DUD:(A;;FA;;;WD)", "O:" + me + "G:DUD:(A;;FA;;;WD)(A;OICIIO;GA;;;WD)"},
		{"automatic inheritance marks", "D:AI(A;OICI;FR;;;WD)", "",
			"O:" + me + "G:DUD:AI(A;ID;FR;;;WD)", "O:" + me + "G:DUD:AI(A;OICIID;FR;;;WD)"},
		{"creator's DACL stands alone", "D:AI(A;OICI;FR;;;WD)", "O:BUD:(A;;GR;;;AU)",
			"O:BUG:DUD:(A;;FR;;;AU)", "O:BUG:DUD:(A;;FR;;;AU)"},
		{"creator asks to inherit", "D:(A;OICI;FR;;;WD)", "D:AR(A;;FR;;;AU)(A;ID;FA;;;BU)",
			"O:" + me + "G:DUD:AI(A;;FR;;;AU)(A;ID;FR;;;WD)", "O:" + me + "G:DUD:AI(A;;FR;;;AU)(A;OICIID;FR;;;WD)"},
		{"creator's null DACL", "D:(A;OICI;FR;;;WD)", "D:NO_ACCESS_CONTROL",
			"O:" + me + "G:DUD:NO_ACCESS_CONTROL", "O:" + me + "G:DUD:NO_ACCESS_CONTROL"},
		{"creator's empty DACL", "D:(A;OICI;FR;;;WD)", "D:P", "O:" + me + "G:DUD:P", "O:" + me + "G:DUD:P"},
		{"SACL inherits by itself", "D:(A;OICI;FR;;;WD)S:(AU;OICISA;FW;;;WD)", "D:(A;;FR;;;AU)",
			"O:" + me + "G:DUD:(A;;FR;;;AU)S:(AU;SA;FW;;;WD)", "O:" + me + "G:DUD:(A;;FR;;;AU)S:(AU;OICISA;FW;;;WD)"},
	} {
		var creator *dtyp.SecurityDescriptor
		if c.creator != "" {
			creator = sddl(t, c.creator)
		}
		for _, container := range []bool{false, true} {
			want := c.file
			if container {
				want = c.dir
			}
			got := token(0).NewSecurity(sddl(t, c.parent), creator, container)
			if got.SDDL() != sddl(t, want).SDDL() {
				t.Errorf("%s (container %v):\n got %s\nwant %s", c.name, container, got.SDDL(), want)
			}
		}
	}
}

func TestSetSecurity(t *testing.T) {
	const D, O, G, S, L = dtyp.DACLSecurityInformation, dtyp.OwnerSecurityInformation, dtyp.GroupSecurityInformation,
		dtyp.SACLSecurityInformation, dtyp.LabelSecurityInformation
	const old = "O:BAG:SYD:P(A;;FA;;;SY)S:(AU;SA;FW;;;WD)"
	const me = "S-1-5-21-1-2-3-1001"
	for _, c := range []struct {
		name, given string
		info        dtyp.SecurityInformation
		want        string // "" is ErrOwner
	}{
		{"DACL", "O:BUD:(A;;GR;;;WD)", D, "O:BAG:SYD:(A;;FR;;;WD)S:(AU;SA;FW;;;WD)"},
		{"AI alone is dropped", "D:AI(A;ID;FR;;;WD)", D, "O:BAG:SYD:(A;ID;FR;;;WD)S:(AU;SA;FW;;;WD)"},
		{"AI and AR", "D:ARAI(A;ID;FR;;;WD)", D, "O:BAG:SYD:AI(A;ID;FR;;;WD)S:(AU;SA;FW;;;WD)"},
		{"AR alone is dropped", "D:AR(A;;FR;;;WD)", D, "O:BAG:SYD:(A;;FR;;;WD)S:(AU;SA;FW;;;WD)"},
		{"CREATOR OWNER stays", "D:(A;;FR;;;CO)", D, "O:BAG:SYD:(A;;FR;;;CO)S:(AU;SA;FW;;;WD)"},
		{"DACL removed", "O:BU", D, "O:BAG:SYD:NO_ACCESS_CONTROLS:(AU;SA;FW;;;WD)"},
		{"oneself as owner", "O:" + me, O, "O:" + me + "G:SYD:P(A;;FA;;;SY)S:(AU;SA;FW;;;WD)"},
		{"another as owner", "O:BU", O, ""},
		{"no owner", "G:BU", O, ""},
		{"group", "G:BU", G, "O:BAG:BUD:P(A;;FA;;;SY)S:(AU;SA;FW;;;WD)"},
		{"SACL", "S:", S, "O:BAG:SYD:P(A;;FA;;;SY)S:"},
		{"label beside the audit", "S:(ML;;0x1;;;HI)(AU;FA;FA;;;WD)", L, "O:BAG:SYD:P(A;;FA;;;SY)S:(AU;SA;FW;;;WD)(ML;;0x1;;;HI)"},
	} {
		got, err := token(0).SetSecurity(sddl(t, old), sddl(t, c.given), c.info)
		if c.want == "" {
			if err != ErrOwner {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err != nil || got.SDDL() != sddl(t, c.want).SDDL() {
			t.Errorf("%s: %v\n got %s\nwant %s", c.name, err, got.SDDL(), c.want)
		}
	}
	if _, err := token(PrivilegeSet(SeRestore)).SetSecurity(sddl(t, old), sddl(t, "O:BU"), O); err != nil {
		t.Errorf("restore: %v", err)
	}
}

func TestRootSecurity(t *testing.T) {
	got := token(0).NewSecurity(RootSecurity(), nil, true).SDDL()
	want := "O:S-1-5-21-1-2-3-1001G:S-1-5-21-1-2-3-513D:(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;FA;;;AU)(A;;FA;;;S-1-5-21-1-2-3-1001)(A;OICIIO;GA;;;CO)"
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestPrivilegeNames(t *testing.T) {
	p, err := ParsePrivilege("sebackupprivilege")
	if err != nil || p != SeBackup || PrivilegeSet(SeBackup, SeRestore).String() != "SeBackupPrivilege,SeRestorePrivilege" {
		t.Errorf("%v, %v", p, err)
	}
	if _, err := ParsePrivilege("SeNothing"); err == nil {
		t.Error("an unknown privilege is accepted")
	}
}
