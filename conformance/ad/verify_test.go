package ad

import (
	"strings"
	"testing"
	"time"

	"gabion/auth/domain"
	"gabion/auth/kerberos"
	"gabion/auth/kerberos/kdctest"
	"gabion/protocol/krb5"
)

// What `gabion auth verify` finds: everything in order, or the one cause.
func TestVerify(t *testing.T) {
	d := Up(t)
	good, err := kerberos.OpenKeytab(d.Keytab, nil)
	if err != nil {
		t.Fatal(err)
	}
	keytab := func(change func(*krb5.KeytabEntry) bool) *kerberos.Keytab {
		var list []krb5.KeytabEntry
		for _, e := range good.Entries() {
			if change(&e) {
				list = append(list, e)
			}
		}
		path := t.TempDir() + "/keytab"
		if err := kdctest.WriteKeytab(path, list...); err != nil {
			t.Fatal(err)
		}
		k, err := kerberos.OpenKeytab(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	all := func(*krb5.KeytabEntry) bool { return true }
	tests := map[string]struct {
		keytab func(*krb5.KeytabEntry) bool
		host   string
		realm  string
		off    time.Duration
		step   string // that fails, "" for none
		say    string
	}{
		"everything in order": {keytab: all, host: Host, say: `GABION\FILESRV$`},
		"unknown name":        {keytab: all, host: "elsewhere.gabion.test", step: "service name", say: "setspn -S cifs/elsewhere.gabion.test"},
		"another's name":      {keytab: all, host: "hv1.gabion.test", step: "ticket and PAC", say: "another account"},
		"no AES keys": {keytab: func(e *krb5.KeytabEntry) bool { return e.Key.EType == kerberos.RC4 }, host: Host,
			step: "encryption types", say: "msDS-SupportedEncryptionTypes"},
		"old password": {keytab: func(e *krb5.KeytabEntry) bool { e.Key.Value = kdctest.RandomKey(e.Key.EType).Value; return true }, host: Host,
			step: "logon of the array", say: "password was changed"},
		"unknown account": {keytab: func(e *krb5.KeytabEntry) bool { e.Principal.Name = []string{"GONE$"}; return true }, host: Host,
			step: "logon of the array", say: "no account of that name"},
		"wrong realm": {keytab: all, host: Host, realm: "OTHER.TEST", step: "key table", say: "no key of realm OTHER.TEST"},
		"no controller": {keytab: func(e *krb5.KeytabEntry) bool { e.Realm = "NOWHERE.INVALID"; return true }, host: Host,
			step: "domain controllers", say: "NOWHERE.INVALID"},
		"wrong clock": {keytab: all, host: Host, off: time.Hour, step: "clock", say: "time service"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := &domain.Member{Keytab: keytab(tt.keytab), Realm: tt.realm, Config: d.Config()}
			checks := m.Verify(tt.host, kerberos.Config{Keytab: m.Keytab, Now: func() time.Time { return time.Now().Add(tt.off) }})
			last := checks[len(checks)-1]
			if (last.State == domain.Failed) != (tt.step != "") || tt.step != "" && last.Name != tt.step || !strings.Contains(last.Detail, tt.say) {
				t.Errorf("%+v", checks)
			}
			for _, c := range checks[:len(checks)-1] {
				if c.State == domain.Failed {
					t.Errorf("went on after %+v", c)
				}
			}
		})
	}
}
