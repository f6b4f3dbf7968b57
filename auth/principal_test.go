package auth

import (
	"context"
	"errors"
	"strings"
	"testing"

	"gabion/protocol/dtyp"
)

// directory knows one group of one domain.
type directory struct{ asked []string }

var domainGroup = Principal{hosts, "GABION", "Hyper-V Hosts", dtyp.SIDTypeGroup}

func (d *directory) ByName(_ context.Context, domain, name string) (Principal, error) {
	d.asked = append(d.asked, domain+"|"+name)
	if (domain == "" || strings.EqualFold(domain, "gabion")) && strings.EqualFold(name, domainGroup.Name) {
		return domainGroup, nil
	}
	return Principal{}, ErrNoPrincipal
}

func (d *directory) BySID(_ context.Context, sid dtyp.SID) (Principal, error) {
	if sid == hosts {
		return domainGroup, nil
	}
	return Principal{}, ErrNoPrincipal
}

func (d *directory) Groups(context.Context, dtyp.SID) ([]dtyp.SID, error) {
	return []dtyp.SID{hosts, anna.Domain().WithRID(dtyp.RIDDomainAdmins)}, nil
}

func TestNames(t *testing.T) {
	users := testUsers(t)
	local := users.List()[0]
	n := &Names{Server: "ARRAY", Users: users, Directory: &directory{}}
	tests := map[string]string{
		`BUILTIN\Administrators`: `BUILTIN\Administrators`,
		"administrators":         `BUILTIN\Administrators`,
		"Everyone":               "Everyone",
		"S-1-5-32-551":           `BUILTIN\Backup Operators`,
		"jörg":                   `ARRAY\Jörg`,
		`array\jörg`:             `ARRAY\Jörg`,
		`.\jörg`:                 `ARRAY\Jörg`,
		local.SID.String():       `ARRAY\Jörg`,
		"hyper-v hosts":          `GABION\Hyper-V Hosts`,
		`gabion\hyper-v hosts`:   `GABION\Hyper-V Hosts`,
		hosts.String():           `GABION\Hyper-V Hosts`,
		"S-1-5-21-9-9-9-1000":    "S-1-5-21-9-9-9-1000",
	}
	for text, want := range tests {
		p, err := n.ByName(t.Context(), text)
		if err != nil || p.String() != want || p.SID.IsZero() {
			t.Errorf("%s: %v, %v", text, &p, err)
		}
	}
	for _, text := range []string{"", "nobody", `gabion\jörg`, `other\hyper-v hosts`, "S-1-", "BUILTIN"} {
		if p, err := n.ByName(t.Context(), text); !errors.Is(err, ErrNoPrincipal) {
			t.Errorf("%q: %v, %v", text, &p, err)
		}
	}
	alone := &Names{Server: "ARRAY"}
	if p, err := alone.ByName(t.Context(), hosts.String()); err != nil || p.SID != hosts {
		t.Errorf("a SID without a domain: %v, %v", &p, err)
	}
}

// The token of a principal that is not logged on is the one it would get.
func TestTokenOfAPrincipal(t *testing.T) {
	users := testUsers(t)
	n := &Names{Server: "ARRAY", Users: users, Directory: &directory{}}
	r, _ := openRoles(t)
	token := func(p Principal) *Token {
		t.Helper()
		k, err := n.Token(t.Context(), r, p)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	if k := token(Principal{anna, "GABION", "anna", dtyp.SIDTypeUser}); !k.Is(hosts) || !k.IsAdministrator() || !k.Has(SeBackup) {
		t.Errorf("a domain administrator: %+v", k)
	}
	local := users.List()[0]
	if k := token(Principal{SID: local.SID}); !k.IsAdministrator() || !k.Is(dtyp.NTLMAuthentication) {
		t.Errorf("a local user: %+v", k)
	}
	if k := token(domainGroup); !k.Is(hosts) || k.IsAdministrator() {
		t.Errorf("a group: %+v", k)
	}
}
