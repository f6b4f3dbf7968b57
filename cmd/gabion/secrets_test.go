package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gabion/auth/kerberos"
	"gabion/auth/kerberos/kdctest"
	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntlm"
	"gabion/protocol/pac"
	"gabion/protocol/smb2"
	"gabion/server/admin"
)

// secrets are what must not come out, by name.
type secrets map[string][]byte

// password adds a password and what NTLM makes of it.
func (s secrets) password(p string) {
	h := ntlm.HashPassword(p)
	s["password "+p], s["hash of "+p] = []byte(p), h[:]
}

// in lists the secrets that text contains, in any way that Go prints bytes.
func (s secrets) in(text string) (found []string) {
	lower := strings.ToLower(text)
	for name, v := range s {
		for _, form := range []string{string(v), string(dtyp.EncodeUTF16(string(v))), base64.StdEncoding.EncodeToString(v),
			base64.RawURLEncoding.EncodeToString(v), strings.Trim(fmt.Sprint(v), "[]"), strings.Trim(fmt.Sprintf("%q", v), `"`)} {
			if strings.Contains(text, form) {
				found = append(found, name)
			}
		}
		if strings.Contains(lower, hex.EncodeToString(v)) {
			found = append(found, name+" in hexadecimal")
		}
	}
	return found
}

// Passwords, their hashes and keys come out nowhere: not in the log at its most
// talkative, the audit log, or what the command line prints.
func TestSecretsStayInside(t *testing.T) {
	const boss, right, wrong, added, changed = "boss", "Correct-Horse-77", "Wrong-Battery-88", "Staple-Added-99", "Staple-Changed-11"
	hide := secrets{}
	for _, p := range []string{right, wrong, added, changed} {
		hide.password(p)
	}
	kdc, table := keytab(t, kerberos.AES256)
	hide["key of the array's account"] = kdc.Key.Value
	var log said
	a, stop := start(t, &log, "--user="+boss+":"+right, "--keytab="+table)
	sealing, err := os.ReadFile(filepath.Join(a.Data, secretKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	hide["key that seals the users"] = bytes.TrimSpace(sealing)

	var printed strings.Builder
	gabion := func(args ...string) string {
		t.Helper()
		out := a.gabion(t, args...)
		printed.WriteString(out)
		return out
	}
	file := func(password string) string {
		path := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}

	// Logons that succeed and fail, by both mechanisms; one by a service for alice.
	s, err := a.dial(t).Login(client.Credentials{User: boss, Password: right})
	if err != nil {
		t.Fatal(err)
	}
	hide["session key"] = s.Key
	for _, c := range []client.Credentials{{User: boss, Password: wrong}, {User: "nobody", Password: wrong}} {
		if _, err := a.dial(t).Login(c); err == nil {
			t.Error("a wrong password")
		}
	}
	ticket := kdc.Issue(time.Now(), kdctest.Spec{PAC: func(p *pac.PAC) {
		p.Delegation = &pac.Delegation{Target: "cifs/filesrv", Transited: []string{"HV1$@GABION.TEST"}}
	}})
	hide["key of a ticket"] = ticket.Session.Value
	acting := kdctest.Negotiate(ticket)
	if _, err := a.dial(t).SessionSetup(acting, client.Setup{}); err != nil {
		t.Fatal(err)
	}
	hide["subkey"] = acting.Key()
	spoilt := ticket
	spoilt.Enc.Cipher = append([]byte(nil), ticket.Enc.Cipher...)
	spoilt.Enc.Cipher[50] ^= 1
	if _, err := a.login(t, spoilt); err == nil {
		t.Error("an altered ticket")
	}

	// A privileged open.
	tree, err := s.Connect("vms")
	if err != nil {
		t.Fatal(err)
	}
	m := client.OpenFile("disk.vhdx")
	m.CreateDisposition, m.CreateOptions = smb2.DispositionOpenIf, smb2.OptionOpenForBackupIntent
	if _, err := tree.Create(m); err != nil {
		t.Fatal(err)
	}

	// The command line: what changes secrets, and all that only looks.
	gabion("user", "add", "eve", "--password-file", file(added), "--json")
	gabion("user", "passwd", "eve", "--password-file", file(changed), "--json")
	gabion("role", "grant", "backup-operator", "eve", "--json")
	gabion("auth", "explain", "vms/disk.vhdx", "eve", "--json")
	for _, op := range admin.Operations() {
		alone := op.Method == "GET"
		for _, p := range op.Params {
			alone = alone && !p.Required
		}
		if alone {
			words := strings.Fields(op.Name)
			gabion(words...)
			if out := gabion(append(words, "--json")...); !json.Valid([]byte(out)) {
				t.Errorf("gabion %s --json: %s", op.Name, out)
			}
		}
	}
	stop()

	audit, err := os.ReadFile(filepath.Join(a.Data, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{"log": log.String(), "audit log": string(audit), "output": printed.String()} {
		for _, name := range hide.in(text) {
			t.Errorf("the %s contains: %s", where, name)
		}
	}
	// What was looked through is all there.
	for text, parts := range map[string][]string{
		log.String():     {"authentication failed", "user=GABION", "alice"},
		string(audit):    {`"msg":"open"`, `"SeRestorePrivilege"`, `"super-admin for BUILTIN\\Administrators`, `"msg":"delegated"`, `HV1$@GABION.TEST`, `"operation":"user add"`},
		printed.String(): {boss, "eve", "backup-operator"},
	} {
		for _, p := range parts {
			if !strings.Contains(text, p) {
				t.Errorf("%q is missing in:\n%s", p, text)
			}
		}
	}
	for line := range strings.Lines(string(audit)) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	// The search finds what is there.
	if len(secrets{"k": {1, 2, 254}}.in("key=[1 2 254]")) == 0 || len(secrets{"k": []byte("s3")}.in("x S3 7333")) == 0 {
		t.Error("the search is blind")
	}
}
