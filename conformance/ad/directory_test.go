package ad

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"gabion/auth"
	"gabion/auth/domain"
	"gabion/auth/kerberos"
	"gabion/protocol/dtyp"
)

func openDirectory(t *testing.T) (*Domain, *domain.Directory) {
	d := Up(t)
	k, err := kerberos.OpenKeytab(d.Keytab, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := domain.NewDirectory(&domain.Member{Keytab: k, Config: d.Config()})
	t.Cleanup(dir.Close)
	return d, dir
}

func TestDirectory(t *testing.T) {
	d, dir := openDirectory(t)
	names := auth.Names{Server: "FILESRV", Directory: dir}
	tests := []struct {
		text, account string
		use           dtyp.SIDNameUse
	}{
		{"alice", "alice", dtyp.SIDTypeUser},
		{`GABION\ALICE`, "alice", dtyp.SIDTypeUser},
		{`gabion.test\alice`, "alice", dtyp.SIDTypeUser},
		{"alice@gabion.test", "alice", dtyp.SIDTypeUser},
		{`GABION\HV1$`, "HV1$", dtyp.SIDTypeComputer},
		{`gabion\hyper-v hosts`, "Hyper-V Hosts", dtyp.SIDTypeGroup},
		{"Domain Users", "Domain Users", dtyp.SIDTypeGroup},
		{d.SIDs["veeam"], "veeam", dtyp.SIDTypeUser},
	}
	var wg sync.WaitGroup
	for range 4 { // all at once, then from the cache
		for _, tt := range tests {
			wg.Go(func() {
				p, err := names.ByName(t.Context(), tt.text)
				if err != nil || p.SID.String() != d.SIDs[tt.account] || p.String() != `GABION\`+tt.account || p.Use != tt.use {
					t.Errorf("%s: %v (%v, use %d), %v", tt.text, &p, p.SID, p.Use, err)
				}
			})
		}
	}
	wg.Wait()
	for _, text := range []string{"nobody", `OTHER\alice`, "*", "ali*", "alice)(objectClass=*", "nobody@gabion.test"} {
		if p, err := names.ByName(t.Context(), text); !errors.Is(err, auth.ErrNoPrincipal) {
			t.Errorf("%q: %v, %v", text, &p, err)
		}
	}
}

// The directory's groups are those that a ticket brings.
func TestDirectoryGroups(t *testing.T) {
	d, dir := openDirectory(t)
	a := newArray(t)
	for _, account := range []string{"HV1$", "alice"} {
		c, err := a.accept(d.ticket(t, d.Kinit(t, account), service))
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, g := range c.Who.Groups {
			if g.SID.Authority() == dtyp.NTAuthorityIdentifier {
				want = append(want, g.SID.String())
			}
		}
		groups, err := dir.Groups(t.Context(), c.Who.SID)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range groups {
			got = append(got, g.String())
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %s\nthe ticket has %s", account, strings.Join(got, " "), strings.Join(want, " "))
		}
	}
}
