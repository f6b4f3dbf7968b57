package ad

import (
	"errors"
	"testing"

	"gabion/auth"
	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// mount connects an account to the share with a new ticket.
func (a *array) mount(account string) *client.Tree {
	a.Helper()
	tree, err := a.login(a.domain.ticket(a.T, a.domain.Kinit(a.T, account), service)).Connect("vms")
	if err != nil {
		a.Fatalf("%s: %v", account, err)
	}
	return tree
}

func (a *array) grant(role auth.Role, account string) {
	a.Helper()
	sid := dtyp.MustParseSID(a.domain.SIDs[account])
	if err := a.roles.Grant(auth.Grant{Role: role, SID: sid, Name: `GABION\` + account}); err != nil {
		a.Fatal(err)
	}
}

// Granting roles to groups of the domain is all it takes for hosts and backup
// products to reach files that their DACL denies to everyone.
func TestBackupIntent(t *testing.T) {
	a := newArray(t)
	a.grant(auth.RoleSuperAdmin, "Hyper-V Hosts")
	a.grant(auth.RoleBackupOperator, "Backup Operators Gabion")
	host := a.mount("HV1$")
	disk := client.OpenFile("disk.vhdx")
	disk.CreateDisposition = smb2.DispositionCreate
	f, err := host.Create(disk)
	if err != nil {
		t.Fatal(err)
	}
	sd, err := dtyp.ParseSDDL("D:P(D;;FA;;;WD)", dtyp.SID{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.SetInfo(smb2.InfoSecurity, 0, uint32(dtyp.DACLSecurityInformation), sd.Encode()); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	open := func(tree *client.Tree, access dtyp.AccessMask, backup bool) error {
		m := client.OpenFile("disk.vhdx")
		m.DesiredAccess, m.CreateDisposition, m.CreateOptions = access, smb2.DispositionOpen, smb2.OptionNonDirectoryFile
		if backup {
			m.CreateOptions |= smb2.OptionOpenForBackupIntent
		}
		f, err := tree.Create(m)
		if err == nil {
			err = f.Close()
		}
		return err
	}
	tests := []struct {
		account string
		access  dtyp.AccessMask
		backup  bool
		want    error
	}{
		{"HV1$", dtyp.FileReadData, true, nil},
		{"HV1$", dtyp.FileWriteData | dtyp.Delete, true, nil},
		{"HV1$", dtyp.AccessSystemSecurity | dtyp.FileReadData, true, nil},
		{"HV1$", dtyp.FileReadData, false, ntstatus.AccessDenied},
		{"veeam", dtyp.FileReadData | dtyp.FileReadEA | dtyp.ReadControl, true, nil},
		{"veeam", dtyp.FileWriteData, true, nil},
		{"veeam", dtyp.FileReadData, false, ntstatus.AccessDenied},
		{"alice", dtyp.FileReadData, true, ntstatus.AccessDenied},
		{"alice", dtyp.FileReadData, false, ntstatus.AccessDenied},
		{"alice", dtyp.AccessSystemSecurity | dtyp.FileReadData, true, ntstatus.PrivilegeNotHeld},
	}
	by := map[string]string{"HV1$": `super-admin for GABION\\Hyper-V Hosts`, "veeam": `backup-operator for GABION\\Backup Operators Gabion`}
	trees := map[string]*client.Tree{"HV1$": host, "veeam": a.mount("veeam"), "alice": a.mount("alice")}
	for _, tt := range tests {
		before := len(a.audit.with(""))
		if err := open(trees[tt.account], tt.access, tt.backup); !errors.Is(err, tt.want) {
			t.Errorf("%s opens for %v, backup intent %v: %v, want %v", tt.account, tt.access, tt.backup, err, tt.want)
		}
		// What a privilege made possible, or would have, can be found later with the grant behind it.
		lines := a.audit.with("")[before:]
		if privileged := tt.want == nil || errors.Is(tt.want, ntstatus.PrivilegeNotHeld); privileged != (len(lines) == 1) {
			t.Errorf("%s opens for %v, backup intent %v: audited as %q", tt.account, tt.access, tt.backup, lines)
		} else if privileged {
			a.says(lines[0], `"user":"GABION\\`+tt.account, `"path":"disk.vhdx"`, `"intent":true`)
			if tt.want == nil {
				a.says(lines[0], by[tt.account], "STATUS_SUCCESS")
			}
		}
	}
}
