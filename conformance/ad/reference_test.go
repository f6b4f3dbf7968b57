package ad

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"gabion/auth"
	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// descriptors are given to files of both servers. {NAME} is an account's SID.
var descriptors = []struct{ name, sddl string }{
	{"owner, empty DACL", "O:{alice}D:P"},
	{"another's, empty DACL", "O:{bob}D:P"},
	{"owner, denied everything", "O:{alice}D:P(D;;FA;;;WD)"},
	{"owner rights read", "O:{alice}D:P(A;;FR;;;OW)"},
	{"owner rights denied WRITE_DAC", "O:{alice}D:P(D;;WD;;;OW)(A;;FA;;;{alice})"},
	{"owner rights of another", "O:{bob}D:P(A;;FA;;;OW)"},
	{"inherit-only owner rights", "O:{alice}D:P(A;OIIO;FR;;;OW)(A;;0x2;;;{alice})"},
	{"deny behind allow, owner rights", "O:{alice}D:P(A;;FR;;;{alice})(A;;0x2;;;OW)(D;;0x3;;;OW)"},
	{"everyone reads", "O:{bob}D:P(A;;FR;;;WD)"},
	{"authenticated users write", "O:{bob}D:P(A;;FW;;;AU)"},
	{"network logons", "O:{bob}D:P(A;;FR;;;NU)"},
	{"interactive logons", "O:{bob}D:P(A;;FR;;;IU)"},
	{"domain users modify", "O:{bob}D:P(A;;0x1301bf;;;{Domain Users})"},
	{"hosts have full control", "O:{bob}D:P(A;;FA;;;{Hyper-V Hosts})(A;;FR;;;{Domain Users})"},
	{"built-in users", "O:{bob}D:P(A;;FR;;;BU)"},
	{"deny first", "O:{bob}D:P(D;;FW;;;{alice})(A;;FA;;;WD)"},
	{"allow first", "O:{bob}D:P(A;;FA;;;WD)(D;;FW;;;{alice})"},
	{"deny by group, allow by user", "O:{bob}D:P(D;;0x1;;;{Domain Users})(A;;FA;;;{alice})"},
	{"allow in pieces", "O:{bob}D:P(A;;0x1;;;WD)(A;;0x2;;;AU)(A;;0x20;;;{Domain Users})(A;;0x40000;;;{alice})"},
	{"generic rights", "O:{bob}D:P(A;;GR;;;WD)(A;;GX;;;{Hyper-V Hosts})"},
	{"generic all", "O:{bob}D:P(A;;GA;;;{alice})"},
	{"inherit-only", "O:{bob}D:P(A;OICIIO;FA;;;WD)"},
	{"inherited", "O:{bob}D:(A;ID;FR;;;WD)(A;ID;FA;;;{Hyper-V Hosts})"},
	{"creator owner is nobody", "O:{alice}D:P(A;;FA;;;CO)"},
	{"WRITE_DAC only", "O:{bob}D:P(A;;WD;;;{alice})"},
	{"WRITE_OWNER only", "O:{bob}D:P(A;;WO;;;{alice})"},
	{"delete only", "O:{bob}D:P(A;;SD;;;{alice})"},
	{"attributes only", "O:{bob}D:P(A;;0x180;;;WD)"},
}

// differ are the cases in which the servers may not agree, and why.
var differ = map[string]string{
	"built-in users, HV1$": "Windows' local group Users has Authenticated Users as a member, computers too; Samba's has Domain Users only",
}

// rights are what is asked for one by one.
var rights = []dtyp.AccessMask{dtyp.FileReadData, dtyp.FileWriteData, dtyp.FileAppendData, dtyp.FileReadEA, dtyp.FileWriteEA, dtyp.FileExecute,
	dtyp.FileReadAttributes, dtyp.FileWriteAttributes, dtyp.Delete, dtyp.ReadControl, dtyp.WriteDAC, dtyp.WriteOwner, dtyp.Synchronize,
	dtyp.AccessSystemSecurity, dtyp.GenericRead, dtyp.GenericWrite, dtyp.GenericExecute, dtyp.GenericAll, dtyp.FileReadData | dtyp.FileWriteData}

// reference brings up a Samba server that is a member of the domain.
func reference(t *testing.T, d *Domain) string {
	t.Helper()
	const port = "10447"
	// The daemons keep what they are given open.
	out, err := os.CreateTemp(t.TempDir(), "up")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command("bash", script("ad-smbd-up.sh"), d.Dir, port)
	// Only the descriptor counts, not what it was turned into for the file system.
	cmd.Env = append(os.Environ(), "ADDR="+address(11), "EXTRA=acl_xattr:ignore system acls = yes")
	cmd.Stdout, cmd.Stderr = out, out
	t.Cleanup(func() { _ = exec.Command("bash", script("ad-smbd-down.sh"), d.Dir).Run() })
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		t.Fatalf("Samba as a member: %v\n%s", err, text)
	}
	return net.JoinHostPort(address(11), port)
}

// site is one of the servers as its users see it.
type site struct {
	t     *testing.T
	admin *client.Tree
	users map[string]*client.Tree
}

func (a *array) site(addr, share, folder string, accounts []string) *site {
	a.Helper()
	mount := func(account string) *client.Tree {
		tree, err := a.loginAt(addr, a.domain.ticket(a.T, a.domain.Kinit(a.T, account), service)).Connect(share)
		if err != nil {
			a.Fatalf("%s at %s: %v", account, addr, err)
		}
		return tree
	}
	s := &site{t: a.T, admin: mount("Administrator"), users: map[string]*client.Tree{}}
	for _, account := range accounts {
		s.users[account] = mount(account)
	}
	// What the folder allows must not count.
	m := client.OpenDirectory(folder)
	m.CreateDisposition, m.DesiredAccess = smb2.DispositionOpenIf, dtyp.FileAllAccess
	s.protect(m, "O:BAD:P(A;;FA;;;BA)(A;;FA;;;DA)(A;;0x1200a9;;;WD)")
	return s
}

// protect gives a file a descriptor as an administrator restores one.
func (s *site) protect(m *smb2.CreateRequest, sddl string) {
	s.t.Helper()
	m.CreateOptions |= smb2.OptionOpenForBackupIntent
	f, err := s.admin.Create(m)
	if err != nil {
		s.t.Fatalf("%s: %v", dtyp.DecodeUTF16(m.Name), err)
	}
	sd, err := dtyp.ParseSDDL(sddl, dtyp.MustParseSID(shared.domain.SIDs["DOMAIN"]))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := f.SetInfo(smb2.InfoSecurity, 0, uint32(dtyp.OwnerSecurityInformation|dtyp.DACLSecurityInformation), sd.Encode()); err != nil {
		s.t.Fatalf("%s: %v", sddl, err)
	}
	_ = f.Close()
}

// descriptor is what a user sees of a file's, as smbcacls (which cannot be told a port)
// asks for it.
func (s *site) descriptor(user, file string) string {
	s.t.Helper()
	m := client.OpenFile(file)
	m.DesiredAccess, m.CreateDisposition, m.CreateOptions = dtyp.ReadControl, smb2.DispositionOpen, 0
	f, err := s.users[user].Create(m)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	b, err := f.QueryInfo(smb2.InfoSecurity, 0, uint32(dtyp.OwnerSecurityInformation|dtyp.DACLSecurityInformation), 4096)
	if err != nil {
		return err.Error()
	}
	sd, err := dtyp.DecodeSecurityDescriptor(b)
	if err != nil {
		s.t.Fatal(err)
	}
	return sd.SDDL()
}

// maximal is what MAXIMUM_ALLOWED gives a user, and the rights that are granted one by one.
func (s *site) maximal(user, file string) string {
	s.t.Helper()
	open := func(access dtyp.AccessMask) (*client.File, ntstatus.Status) {
		m := client.OpenFile(file)
		m.DesiredAccess, m.CreateDisposition, m.CreateOptions = access, smb2.DispositionOpen, 0
		f, err := s.users[user].Create(m)
		var status ntstatus.Status
		if err != nil && !errors.As(err, &status) {
			s.t.Fatal(err)
		}
		return f, status
	}
	result := "nothing"
	f, status := open(dtyp.MaximumAllowed)
	if status == ntstatus.Success {
		b, err := f.QueryInfo(smb2.InfoFile, uint8(fscc.FileAccessInformation), 0, 4)
		var x fscc.AccessInformation
		if err == nil {
			err = x.Decode(b)
		}
		if err != nil {
			s.t.Fatal(err)
		}
		result = fmt.Sprintf("0x%06x", uint32(x.AccessFlags))
		_ = f.Close()
	}
	for _, r := range rights {
		f, status := open(r)
		if status == ntstatus.Success {
			_ = f.Close()
			result += fmt.Sprintf(" +%v", r)
		} else if status != ntstatus.AccessDenied {
			result += fmt.Sprintf(" %v:%v", r, status)
		}
	}
	return result
}

var rewrite = flag.Bool("rewrite", false, "write ACCESS.md")

const accessPage = `# The access check beside Samba's

What accounts of a real Active Directory may do with files of these security descriptors, on Gabion and on a Samba 4.17 member
server: the same files, tokens of tickets for the same service. Shown is what MAXIMUM_ALLOWED gives; TestAccessIsSambas also asks
for nineteen rights one by one and compares each status. ({NAME} stands for that account's SID. The folder adds READ_ATTRIBUTES,
and nothing else.) No difference without a reason is accepted, and no reason without a difference.

Together with smbtorture's smb2.acls (14 of 14 on both) and smb2.maximum_allowed (see ../torture/table.tsv) this is how the access
check is held against the reference; its table against MS-DTYP's algorithm is auth/access_test.go.

| case | descriptor | who | Gabion | Samba 4.17 | why they differ |
|---|---|---|---|---|---|
`

// The same descriptors, tokens of the same tickets: Gabion and Samba give the same access,
// by MAXIMUM_ALLOWED and right by right.
func TestAccessIsSambas(t *testing.T) {
	a := newArray(t)
	folder := dtyp.NewGUID().String() // Samba's files outlive the test
	accounts := []string{"alice", "HV1$", "veeam"}
	sites := []*site{a.site(a.addr, "vms", folder, accounts), a.site(reference(t, a.domain), "share", folder, accounts)}
	if err := a.roles.Revoke(auth.RoleBackupOperator, dtyp.BuiltinBackupOperators, auth.Array); err != nil {
		t.Fatal(err)
	}
	var table []string
	for i, d := range descriptors {
		text := d.sddl
		for name, sid := range a.domain.SIDs {
			text = strings.ReplaceAll(text, "{"+name+"}", sid)
		}
		file := fmt.Sprintf(`%s\f%d`, folder, i)
		for _, s := range sites {
			m := client.OpenFile(file)
			m.CreateDisposition, m.DesiredAccess = smb2.DispositionCreate, dtyp.FileAllAccess
			s.protect(m, text)
		}
		if ours, samba := sites[0].descriptor("alice", file), sites[1].descriptor("alice", file); ours != samba {
			t.Errorf("what alice sees of %s:\n gabion %s\n samba  %s", d.sddl, ours, samba)
		}
		for _, account := range accounts {
			ours, samba := sites[0].maximal(account, file), sites[1].maximal(account, file)
			why, known := differ[d.name+", "+account]
			if (ours == samba) == known { // a difference that is none is as wrong
				t.Errorf("%s (%s), %s:\n gabion %s\n samba  %s\n%s", d.name, d.sddl, account, ours, samba, why)
			}
			ours, _, _ = strings.Cut(ours, " ")
			samba, _, _ = strings.Cut(samba, " ")
			table = append(table, fmt.Sprintf("| %s | `%s` | %s | %s | %s | %s |", d.name, d.sddl, account, ours, samba, why))
		}
	}
	page := accessPage + strings.Join(table, "\n") + "\n"
	if *rewrite {
		if err := os.WriteFile("ACCESS.md", []byte(page), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if kept, err := os.ReadFile("ACCESS.md"); err != nil || string(kept) != page {
		t.Errorf("ACCESS.md is not what was found (%v); -rewrite makes it so", err)
	}
}
