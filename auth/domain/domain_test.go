package domain

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/messages"

	"gabion/auth/kerberos"
	"gabion/auth/kerberos/kdctest"
	"gabion/protocol/krb5"
)

func entry(realm string, kvno uint32, name ...string) krb5.KeytabEntry {
	return krb5.KeytabEntry{Realm: realm, Principal: krb5.Principal{Type: 1, Name: name}, Time: time.Unix(1, 0).UTC(), KVNO: kvno,
		Key: kdctest.RandomKey(kerberos.AES256)}
}

func member(t *testing.T, realm string, entries ...krb5.KeytabEntry) *Member {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keytab")
	if err := kdctest.WriteKeytab(path, entries...); err != nil {
		t.Fatal(err)
	}
	k, err := kerberos.OpenKeytab(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Member{Keytab: k, Realm: realm}
}

// The array logs on as its computer account, with its newest key.
func TestAccount(t *testing.T) {
	m := member(t, "", entry("A.TEST", 3, "cifs", "array"), entry("A.TEST", 2, "ARRAY$"), entry("A.TEST", 3, "ARRAY$"), entry("A.TEST", 9, "svc"))
	realm, name, keys, err := m.account()
	if err != nil || realm != "A.TEST" || name.String() != "ARRAY$" || len(keys) != 1 || keys[0].KVNO != 3 {
		t.Errorf("%s %v %v %v", realm, name, keys, err)
	}
	m = member(t, "b.test", entry("A.TEST", 3, "ARRAY$"), entry("B.TEST", 1, "svc"))
	if realm, name, _, err = m.account(); err != nil || realm != "B.TEST" || name.String() != "svc" {
		t.Errorf("%s %v %v", realm, name, err)
	}
	m.Realm = "C.TEST"
	if _, _, _, err = m.account(); err == nil {
		t.Error("an account of no realm of the key table")
	}
}

func TestConfiguration(t *testing.T) {
	dir := t.TempDir()
	known := filepath.Join(dir, "known")
	if err := os.WriteFile(known, []byte("[libdefaults]\n default_realm = X\n[realms]\n A.TEST = {\n  kdc = 192.0.2.1\n }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := &Member{Config: known}
	c, err := m.configuration("A.TEST")
	if err != nil || c.LibDefaults.DefaultRealm != "A.TEST" || c.LibDefaults.DNSLookupKDC {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err = m.configuration("B.TEST"); err != nil || !c.LibDefaults.DNSLookupKDC {
		t.Errorf("a realm that krb5.conf does not know: %+v, %v", c, err)
	}
	m.Config = filepath.Join(dir, "absent")
	if _, err := m.configuration("A.TEST"); err == nil || !strings.Contains(err.Error(), m.Config) {
		t.Errorf("an absent krb5.conf that was asked for: %v", err)
	}
	m.Config = ""
	t.Setenv("KRB5_CONFIG", filepath.Join(dir, "absent"))
	if _, err := m.configuration("A.TEST"); err == nil {
		t.Error("an absent krb5.conf that KRB5_CONFIG asks for")
	}
}

func TestCause(t *testing.T) {
	tests := map[string]error{
		"setspn -S cifs/array": messages.KRBError{ErrorCode: 7},
		"password was changed": errors.New("KDC_Error: AS Exchange Error: KRB Error: (24) KDC_ERR_PREAUTH_FAILED"),
		"something else":       errors.New("something else"),
	}
	for want, err := range tests {
		if got := cause(err, "cifs/array"); !strings.Contains(got, want) {
			t.Errorf("%v: %s", err, got)
		}
	}
}
