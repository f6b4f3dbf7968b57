package auth

import (
	"encoding/json"
	"errors"
	"testing"

	"gabion/protocol/dtyp"
	"gabion/store/memvol"
)

var (
	hosts = dtyp.MakeSID(5, 21, 1, 2, 3, 1200) // a domain's group
	anna  = dtyp.MakeSID(5, 21, 1, 2, 3, 1300)
)

func openRoles(t *testing.T) (*Roles, *memvol.Volume) {
	t.Helper()
	vol := memvol.New(memvol.Options{})
	r, err := OpenRoles(vol)
	if err != nil {
		t.Fatal(err)
	}
	return r, vol
}

func logonOf(r *Roles, groups ...dtyp.SID) *Token {
	return (&Identity{User: "anna", Domain: "GABION", SID: anna, Groups: groups, Mechanism: "Kerberos", roles: r}).Token()
}

// "Grant the Hyper-V hosts group the super-admin role" is the whole configuration.
func TestGrantToGroup(t *testing.T) {
	r, vol := openRoles(t)
	before := logonOf(r, hosts)
	if err := r.Grant(Grant{Role: RoleSuperAdmin, SID: hosts, Name: `GABION\Hyper-V Hosts`, By: "admin"}); err != nil {
		t.Fatal(err)
	}
	if before.IsAdministrator() || before.Has(SeBackup) {
		t.Error("a session from before the grant has the role")
	}
	reopened, err := OpenRoles(vol)
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*Roles{"granted": r, "after a restart": reopened} {
		host, other := logonOf(r, hosts), logonOf(r)
		for _, p := range []Privilege{SeBackup, SeRestore, SeSecurity, SeTakeOwnership, SeManageVolume} {
			if !host.Has(p) || other.Has(p) {
				t.Errorf("%s: %v: host %v, other %v", name, p, host.Has(p), other.Has(p))
			}
		}
		if !host.IsAdministrator() || other.IsAdministrator() {
			t.Errorf("%s: administrators: host %v, other %v", name, host.IsAdministrator(), other.IsAdministrator())
		}
		if why := r.Why(host, SeBackup, Array); len(why) != 1 || why[0].SID != hosts {
			t.Errorf("%s: why: %v", name, why)
		}
	}
	if err := r.Revoke(RoleSuperAdmin, hosts, Array); err != nil {
		t.Fatal(err)
	}
	if logonOf(r, hosts).IsAdministrator() {
		t.Error("the role outlives its revocation")
	}
}

func TestRolePrivileges(t *testing.T) {
	tests := map[Role]struct {
		token Privileges
		group dtyp.SID
		held  []Role
	}{
		RoleReadOnly:       {0, dtyp.SID{}, []Role{RoleReadOnly}},
		RoleVMOperator:     {0, dtyp.SID{}, []Role{RoleVMOperator}},
		RoleBackupOperator: {PrivilegeSet(SeBackup, SeRestore), dtyp.BuiltinBackupOperators, []Role{RoleReadOnly, RoleBackupOperator}},
		RoleStorageAdmin:   {PrivilegeSet(SeManageVolume), dtyp.SID{}, []Role{RoleReadOnly, RoleVMOperator, RoleStorageAdmin}},
		RoleSuperAdmin: {PrivilegeSet(SeBackup, SeRestore, SeSecurity, SeTakeOwnership, SeManageVolume, SeRelabel, SeCreateSymbolicLink),
			dtyp.BuiltinAdministrators, AllRoles},
	}
	for role, want := range tests {
		r, _ := openRoles(t)
		if err := r.Grant(Grant{Role: role, SID: anna}); err != nil {
			t.Fatal(err)
		}
		token := logonOf(r)
		if token.Privileges != want.token|PrivilegeSet(SeChangeNotify) {
			t.Errorf("%v: privileges %v", role, token.Privileges)
		}
		for _, g := range []dtyp.SID{dtyp.BuiltinBackupOperators, dtyp.BuiltinAdministrators} {
			if token.Is(g) != (g == want.group) {
				t.Errorf("%v: member of %v: %v", role, g, token.Is(g))
			}
		}
		set := RoleSet(0)
		for _, h := range want.held {
			set |= 1 << h
		}
		if got := r.Held(token, "vms"); got != set {
			t.Errorf("%v: stands for %b, want %b", role, got, set)
		}
	}
}

func TestScopedGrant(t *testing.T) {
	r, _ := openRoles(t)
	if err := r.Grant(Grant{Role: RoleBackupOperator, SID: anna, Scope: `VMs\prod\`}); err != nil {
		t.Fatal(err)
	}
	token := logonOf(r)
	if token.Has(SeBackup) {
		t.Error("a role on a folder counts for the whole array")
	}
	for scope, want := range map[Scope]bool{"vms/prod": true, "VMS/Prod/db1": true, "vms": false, "vms/production": false, "other/prod": false, "vm:db1": false} {
		at := r.At(token, scope)
		if at.Has(SeBackup) != want || at.Is(dtyp.BuiltinBackupOperators) != want || r.Held(token, scope).Has(RoleBackupOperator) != want {
			t.Errorf("at %v: %v", scope, at.Privileges)
		}
		if !want && at != token {
			t.Errorf("at %v the token was copied for nothing", scope)
		}
	}
	if token.Has(SeBackup) || len(token.Groups) != len(logonOf(r).Groups) {
		t.Error("the session's token was changed")
	}
}

func TestGrantsAreListedAndChecked(t *testing.T) {
	r, _ := openRoles(t)
	if got := r.List(); len(got) != 2 || got[0].SID != dtyp.BuiltinAdministrators || got[1].SID != dtyp.BuiltinBackupOperators {
		t.Errorf("a new array grants %v", got)
	}
	if err := r.Revoke(RoleSuperAdmin, dtyp.BuiltinAdministrators, Array); !errors.Is(err, ErrLastAdmin) {
		t.Errorf("revoking the last super-admin: %v", err)
	}
	g := Grant{Role: RoleSuperAdmin, SID: anna.Domain().WithRID(1400)}
	if err := r.Grant(g); err != nil {
		t.Fatal(err)
	}
	if err := r.Grant(g); !errors.Is(err, ErrGrantExists) {
		t.Errorf("twice: %v", err)
	}
	if err := r.Revoke(RoleSuperAdmin, dtyp.BuiltinAdministrators, Array); err != nil {
		t.Error(err)
	}
	if logonOf(r, dtyp.BuiltinAdministrators).Has(SeBackup) {
		t.Error("a built-in group keeps privileges whose grant was revoked")
	}
	if err := r.Revoke(RoleSuperAdmin, hosts, Array); !errors.Is(err, ErrNoGrant) {
		t.Errorf("revoking what was not granted: %v", err)
	}
	for _, bad := range []Grant{{Role: 0, SID: anna}, {Role: 99, SID: anna}, {Role: RoleReadOnly}, {Role: RoleReadOnly, SID: anna, Scope: "vm:"},
		{Role: RoleReadOnly, SID: anna, Scope: "vms/../etc"}, {Role: RoleReadOnly, SID: anna, Scope: "host:x"}} {
		if err := r.Grant(bad); err == nil {
			t.Errorf("granted %v", &bad)
		}
	}
}

func TestScope(t *testing.T) {
	for text, want := range map[string]Scope{"": Array, "/": Array, "vms": "vms", `\vms\a\\b\`: "vms/a/b", "VM:db1": "vm:db1", "group:sql": "group:sql"} {
		if got, err := ParseScope(text); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func TestRoleText(t *testing.T) {
	for _, r := range AllRoles {
		b, err := json.Marshal(r)
		var back Role
		if err != nil || json.Unmarshal(b, &back) != nil || back != r {
			t.Errorf("%v: %s, %v", r, b, err)
		}
	}
	if _, err := ParseRole("root"); err == nil {
		t.Error("an unknown role is accepted")
	}
}

// What a folder's role gives does not reach beyond the folder by any spelling.
func TestFileScope(t *testing.T) {
	for _, tt := range []struct {
		path   string
		inside bool
	}{
		{`dept\a`, true}, {`Dept\A\disk.vhdx`, true}, {`dept\a:stream`, true}, {`dept\a::$INDEX_ALLOCATION`, true}, {`dept\\a\x`, true},
		{``, false}, {`dept`, false}, {`dept\ab`, false}, {`dept\a\..\b`, false}, {`dept\a\..`, false}, {`dept\.\a`, false},
		{`dept:\a`, false}, {`@GMT-2024.01.01-00.00.00\dept\a`, false}, {`other\dept\a`, false},
	} {
		if at := FileScope("vms", tt.path); Scope("vms/dept/a").Contains(at) != tt.inside || !Scope("VMS").Contains(at) || Scope("vm").Contains(at) {
			t.Errorf("%q is %q", tt.path, at)
		}
	}
}

func TestBelow(t *testing.T) {
	r, _ := openRoles(t)
	token := logonOf(r, hosts)
	if r.Below(token, "vms") {
		t.Error("roles on folders that were never granted")
	}
	if err := r.Grant(Grant{Role: RoleBackupOperator, SID: hosts, Scope: "vms/dept"}); err != nil {
		t.Fatal(err)
	}
	if !r.Below(token, "VMS") || r.Below(token, "iso") || r.Below(token, "vms/dept") || r.Below(logonOf(r), "vms") {
		t.Error("of a folder")
	}
	if r.At(token, "vms").Has(SeBackup) || !r.At(token, FileScope("vms", `dept\x`)).Has(SeBackup) {
		t.Error("a folder's role counts elsewhere, or not there")
	}
}

// Scopes fold case as the store's names do: a letter that only Unicode takes for
// another is another folder.
func TestScopeCase(t *testing.T) {
	for other, inside := range map[Scope]bool{"VMS/K\u00c4/x": true, "vms/k\u00e4": true, "vms/\u212a\u00e4": false, "vms/k\u00e4x": false} {
		if Scope("vms/K\u00e4").Contains(other) != inside {
			t.Errorf("%s: not %v", other, inside)
		}
	}
}
