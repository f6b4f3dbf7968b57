package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"gabion/auth"
	"gabion/auth/kerberos"
	"gabion/auth/kerberos/kdctest"
	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/pac"
	"gabion/protocol/smb2"
)

// protectedFile makes a file of the share vms with a DACL.
func (a *array) protectedFile(t *testing.T, admin client.Credentials, name, sddl string) {
	t.Helper()
	s, err := a.dial(t).Login(admin)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := s.Connect("vms")
	if err != nil {
		t.Fatal(err)
	}
	m := client.OpenFile(name)
	m.CreateDisposition, m.DesiredAccess = smb2.DispositionOpenIf, dtyp.FileAllAccess
	f, err := tree.Create(m)
	if err != nil {
		t.Fatal(err)
	}
	sd, err := dtyp.ParseSDDL(sddl, dtyp.SID{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.SetInfo(smb2.InfoSecurity, 0, uint32(dtyp.DACLSecurityInformation), sd.Encode()); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// opens opens a file for reading, by backup intent or not.
func opens(s *client.Session, name string, backup bool) error {
	tree, err := s.Connect("vms")
	if err != nil {
		return err
	}
	m := client.OpenFile(name)
	m.DesiredAccess, m.CreateDisposition, m.CreateOptions = dtyp.FileReadData, smb2.DispositionOpen, smb2.OptionNonDirectoryFile
	if backup {
		m.CreateOptions |= smb2.OptionOpenForBackupIntent
	}
	f, err := tree.Create(m)
	if err == nil {
		err = f.Close()
	}
	return err
}

// A user in a thousand groups, in each of the three places where a PAC has groups: the
// ticket fits, the last of them counts on a file and for a role, with the ticket in
// the first leg or the second.
func TestThousandGroups(t *testing.T) {
	const n = 1000
	admin := client.Credentials{User: "boss", Password: "Correct-Horse-77"}
	elsewhere := dtyp.MakeSID(5, 21, 7, 8, 9)
	kinds := map[string]struct {
		last dtyp.SID
		add  func(l *pac.LogonInfo)
	}{
		"of the domain": {kdctest.Domain.WithRID(20000 + n - 1), func(l *pac.LogonInfo) {
			for i := range uint32(n) {
				l.Groups = append(l.Groups, pac.Membership{RID: 20000 + i, Attributes: 7})
			}
		}},
		"extra SIDs": {elsewhere.WithRID(30000 + n - 1), func(l *pac.LogonInfo) {
			for i := range uint32(n) {
				l.ExtraSIDs = append(l.ExtraSIDs, pac.Group{SID: elsewhere.WithRID(30000 + i), Attributes: 7})
			}
		}},
		"resource groups": {kdctest.Domain.WithRID(40000 + n - 1), func(l *pac.LogonInfo) {
			l.UserFlags |= pac.UserResourceGroups
			l.ResourceDomain = kdctest.Domain
			for i := range uint32(n) {
				l.ResourceGroups = append(l.ResourceGroups, pac.Membership{RID: 40000 + i, Attributes: 0x20000007})
			}
		}},
	}
	kdc, table := keytab(t, kerberos.AES256)
	a, _ := start(t, new(said), "--user=boss:"+admin.Password, "--keytab="+table)
	for kind, k := range kinds {
		a.protectedFile(t, admin, kind+" by acl", "D:P(A;;FA;;;"+k.last.String()+")")
		a.protectedFile(t, admin, kind+" by role", "D:P(D;;FA;;;WD)")
		if err := a.identity.roles.Grant(auth.Grant{Role: auth.RoleBackupOperator, SID: k.last}); err != nil {
			t.Fatal(err)
		}
		many := kdctest.Spec{PAC: func(p *pac.PAC) { k.add(&p.Logon) }}
		for name, tt := range map[string]struct {
			spec kdctest.Spec
			late bool
			in   bool
		}{
			"at once":           {many, false, true},
			"in the second leg": {many, true, true},
			"without them":      {kdctest.Spec{}, true, false},
		} {
			ticket := kdc.Issue(time.Now(), tt.spec)
			legs := kdctest.Negotiate(ticket)
			legs.Late = tt.late
			s, err := a.dial(t).SessionSetup(legs, client.Setup{})
			if err != nil {
				t.Errorf("%s, %s: a ticket of %d bytes: %v", kind, name, len(ticket.Enc.Cipher), err)
				continue
			}
			for file, backup := range map[string]bool{kind + " by acl": false, kind + " by role": true} {
				if err := opens(s, file, backup); (err == nil) != tt.in || err != nil && !errors.Is(err, ntstatus.AccessDenied) {
					t.Errorf("%s, %s: opening %q: %v", kind, name, file, err)
				}
			}
		}
	}
}

// A ticket by resource-based constrained delegation ([MS-SFU] 3.2.5.2.3): the user has
// shown the service nothing but a name (the identity is the service's assertion), the
// ticket can be forwarded no further, and the service is in no list of the user's or
// its own: the array's account said that it may act. It is the user who opens files,
// with the rights of the user and not of the service, and the service is in the audit.
func TestResourceBasedDelegation(t *testing.T) {
	admin := client.Credentials{User: "boss", Password: "Correct-Horse-77"}
	kdc, table := keytab(t, kerberos.AES256)
	var log said
	a, stop := start(t, &log, "--user=boss:"+admin.Password, "--keytab="+table)
	const alice, host = 1105, 1106
	a.protectedFile(t, admin, "alice's", "D:P(A;;FA;;;"+kdctest.Domain.WithRID(alice).String()+")")
	a.protectedFile(t, admin, "the host's", "D:P(A;;FA;;;"+kdctest.Domain.WithRID(host).String()+")")
	asserted := pac.Group{SID: dtyp.MakeSID(18, 2), Attributes: 7}
	ticket := kdc.Issue(time.Now(), kdctest.Spec{Client: "alice", Flags: 0, PAC: func(p *pac.PAC) {
		p.Logon.UserID = alice
		p.Logon.ExtraSIDs = []pac.Group{asserted}
		p.Delegation = &pac.Delegation{Target: "cifs/filesrv", Transited: []string{"HV1$@GABION.TEST"}}
	}})
	s, err := a.login(t, ticket)
	if err != nil {
		t.Fatal(err)
	}
	if err := opens(s, "alice's", false); err != nil {
		t.Error(err)
	}
	if err := opens(s, "the host's", false); !errors.Is(err, ntstatus.AccessDenied) {
		t.Errorf("the user opens what is the host's: %v", err)
	}
	stop()
	audit := readFile(t, a.Data, "audit.log")
	for _, want := range []string{`"msg":"delegated"`, `"user":"GABION\\alice"`, `"through":["HV1$@GABION.TEST"]`} {
		if !strings.Contains(audit, want) {
			t.Errorf("%s is missing in the audit log:\n%s", want, audit)
		}
	}
	if !strings.Contains(log.String(), "delegated logon") {
		t.Errorf("the log says nothing of it:\n%s", log.String())
	}
}
