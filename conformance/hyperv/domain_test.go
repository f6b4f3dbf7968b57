package hyperv

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gabion/auth/kerberos/kdctest"
	"gabion/conformance/ad"
	"gabion/protocol/pac"
)

// domain is where the accounts come from.
type domain struct {
	realm, keytab string
	ticket        func(name string) kdctest.Ticket // for the array, of one of accounts
	// The transcripts call accounts and groups by the SIDs of kdctest's domain.
	theirs, ours *strings.Replacer
}

func sidOf(rid uint32) string { return kdctest.Domain.String() + "-" + fmt.Sprint(rid) }

// ownDomain is one whose tickets the test makes itself.
func ownDomain(t *testing.T) *domain {
	kdc := kdctest.New(18)
	d := &domain{realm: kdc.Realm, keytab: filepath.Join(t.TempDir(), "keytab"), theirs: strings.NewReplacer(), ours: strings.NewReplacer()}
	if err := kdctest.WriteKeytab(d.keytab, kdc.Entry()); err != nil {
		t.Fatal(err)
	}
	d.ticket = func(name string) kdctest.Ticket {
		who := accounts[name]
		return kdc.Issue(time.Now(), kdctest.Spec{Client: who.account, PAC: func(p *pac.PAC) {
			p.Logon.UserID, p.Logon.Groups = who.rid, []pac.Membership{{RID: who.group, Attributes: 7}}
		}})
	}
	return d
}

// activeDirectory is a real one.
func activeDirectory(t *testing.T) *domain {
	dc := ad.Up(t)
	d := &domain{realm: dc.Realm, keytab: dc.Keytab}
	var theirs, ours []string
	same := func(rid uint32, name string) {
		theirs, ours = append(theirs, sidOf(rid), dc.SIDs[name]), append(ours, dc.SIDs[name], sidOf(rid))
	}
	same(hostGroup, "Hyper-V Hosts")
	same(backupGroup, "Backup Operators Gabion")
	tickets := map[string]kdctest.Ticket{}
	for name, who := range accounts {
		if dc.Password(who.account) == "" {
			continue
		}
		same(who.rid, who.account)
		tickets[name] = kdctest.Ticket(dc.Ticket(t, dc.Kinit(t, who.account), "cifs/"+ad.Host))
	}
	d.theirs, d.ours = strings.NewReplacer(theirs...), strings.NewReplacer(ours...)
	d.ticket = func(name string) kdctest.Ticket { return tickets[name] }
	return d
}
