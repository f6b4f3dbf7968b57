package auth

import (
	"math/rand/v2"
	"strings"
	"testing"

	"gabion/protocol/dtyp"
)

func TestExplain(t *testing.T) {
	r, _ := openRoles(t)
	if err := r.Grant(Grant{Role: RoleBackupOperator, SID: hosts}); err != nil {
		t.Fatal(err)
	}
	token := logonOf(r, hosts)
	sd, err := dtyp.ParseSDDL("O:"+anna.String()+"D:(D;;DC;;;WD)(A;ID;FR;;;"+hosts.String()+")(A;;FA;;;SY)", dtyp.SID{})
	if err != nil {
		t.Fatal(err)
	}
	x := Explain(token, sd, func(p Privilege) []Grant { return r.Why(token, p, "vms") }, func(s dtyp.SID) string {
		return strings.Replace(s.String(), hosts.String(), "Hosts", 1)
	})
	var lines []string
	for _, r := range x.Reasons {
		lines = append(lines, r.String())
	}
	all := strings.Join(lines, "\n")
	for _, want := range []string{
		"owning the file (as " + anna.String() + ") gives READ_CONTROL|WRITE_DAC",
		"ACE 1 for S-1-1-0 denies",
		"ACE 2 for Hosts, inherited gives READ_DATA",
		"SeBackupPrivilege as backup-operator by membership of Hosts on the array gives with backup intent READ_DATA|READ_EA|EXECUTE|READ_ATTRIBUTES|READ_CONTROL",
		"SeRestorePrivilege",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in\n%s", want, all)
		}
	}
	if strings.Contains(all, "ACE 3") {
		t.Errorf("an ACE of somebody else's is named:\n%s", all)
	}
	if x.Granted.Any(dtyp.FileWriteData) || !x.WithIntent.Has(dtyp.FileWriteData) || x.WithIntent.Any(x.Granted) {
		t.Errorf("granted %v, with intent %v", x.Granted, x.WithIntent)
	}
}

// What the reasons add up to is what the access check says.
func TestReasonsAddUp(t *testing.T) {
	sids := []dtyp.SID{anna, hosts, dtyp.Everyone, dtyp.OwnerRights, dtyp.LocalSystem, dtyp.BuiltinAdministrators}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		token := logonOf(nil, hosts)
		sd := &dtyp.SecurityDescriptor{Control: dtyp.DACLPresent, Owner: sids[rnd.IntN(len(sids))], DACL: &dtyp.ACL{}}
		for range rnd.IntN(6) {
			sd.DACL.ACEs = append(sd.DACL.ACEs, dtyp.ACE{
				Type:  []dtyp.AceType{dtyp.AccessAllowed, dtyp.AccessDenied, dtyp.AccessAllowedObject}[rnd.IntN(3)],
				Flags: dtyp.AceFlags(rnd.IntN(32)), Mask: dtyp.AccessMask(rnd.Uint32()) & (dtyp.FileAllAccess | dtyp.GenericMask), SID: sids[rnd.IntN(len(sids))],
			})
		}
		x := Explain(token, sd, nil, nil)
		var sum dtyp.AccessMask
		for _, r := range x.Reasons {
			if r.Allowed && !r.Intent {
				sum |= r.Rights
			}
		}
		if sum != x.Granted {
			t.Fatalf("%v\nreasons %v\nadd up to %v, granted is %v", sd.SDDL(), x.Reasons, sum, x.Granted)
		}
	}
}
