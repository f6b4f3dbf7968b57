package auth

import (
	"fmt"
	"strings"

	"gabion/protocol/dtyp"
	"gabion/store/upcase"
)

// Role is what somebody may do on the array.
type Role uint8

const (
	RoleReadOnly       Role = 1 + iota // see everything an administrator sees, change nothing
	RoleVMOperator                     // snapshot, clone and restore what is delegated, nothing else
	RoleBackupOperator                 // read and write every file for backup and restore
	RoleStorageAdmin                   // shares, volumes, snapshots, quality of service
	RoleSuperAdmin                     // everything, as Windows' Administrators
)

// roleInfo is what a role is worth.
type roleInfo struct {
	name string
	// includes are the roles it stands for too.
	includes []Role
	// privileges go into a token, and so does membership of group: what is granted
	// to the built-in group on a file is granted to the role.
	privileges Privileges
	group      dtyp.SID
}

var roles = [...]roleInfo{
	RoleReadOnly:   {name: "read-only"},
	RoleVMOperator: {name: "vm-operator"},
	RoleBackupOperator: {
		name: "backup-operator", includes: []Role{RoleReadOnly},
		privileges: PrivilegeSet(SeBackup, SeRestore), group: dtyp.BuiltinBackupOperators,
	},
	RoleStorageAdmin: {
		name: "storage-admin", includes: []Role{RoleReadOnly, RoleVMOperator},
		privileges: PrivilegeSet(SeManageVolume),
	},
	RoleSuperAdmin: {
		name: "super-admin", includes: []Role{RoleReadOnly, RoleVMOperator, RoleBackupOperator, RoleStorageAdmin},
		privileges: PrivilegeSet(SeBackup, SeRestore, SeSecurity, SeTakeOwnership, SeManageVolume, SeRelabel, SeCreateSymbolicLink),
		group:      dtyp.BuiltinAdministrators,
	},
}

// Roles in the order of what they may do, the least first.
var AllRoles = []Role{RoleReadOnly, RoleVMOperator, RoleBackupOperator, RoleStorageAdmin, RoleSuperAdmin}

func (r Role) valid() bool { return r >= RoleReadOnly && int(r) < len(roles) }

func (r Role) String() string {
	if !r.valid() {
		return fmt.Sprintf("Role(%d)", uint8(r))
	}
	return roles[r].name
}

// ParseRole finds a role by its name.
func ParseRole(name string) (Role, error) {
	var names []string
	for _, r := range AllRoles {
		if strings.EqualFold(roles[r].name, name) {
			return r, nil
		}
		names = append(names, roles[r].name)
	}
	return 0, fmt.Errorf("%q is no role; there are %s", name, strings.Join(names, ", "))
}

// MarshalText and UnmarshalText let JSON use the role's name.
func (r Role) MarshalText() ([]byte, error) {
	if !r.valid() {
		return nil, fmt.Errorf("auth: %v", r)
	}
	return []byte(r.String()), nil
}

// UnmarshalText is the reverse of MarshalText.
func (r *Role) UnmarshalText(b []byte) (err error) {
	*r, err = ParseRole(string(b))
	return err
}

// Privileges are those that the role carries.
func (r Role) Privileges() Privileges { return roles[r].privileges }

// Group is the built-in group whose members the role's holders are, zero if none.
func (r Role) Group() dtyp.SID { return roles[r].group }

// RoleSet is a set of roles with all that they include.
type RoleSet uint8

func (s RoleSet) add(r Role) RoleSet {
	s |= 1 << r
	for _, i := range roles[r].includes {
		s |= 1 << i
	}
	return s
}

// RolesOf is the set of some roles and all that they include.
func RolesOf(list ...Role) (s RoleSet) {
	for _, r := range list {
		s = s.add(r)
	}
	return s
}

// Has reports whether r is in the set.
func (s RoleSet) Has(r Role) bool { return s>>r&1 != 0 }

// Scope is where a role is held: "" for the whole array, a share, SHARE/PATH for a
// folder of one, vm:NAME or group:NAME.
type Scope string

// Array is the scope that contains all others.
const Array Scope = ""

// ParseScope puts a scope as an administrator writes it into its one form.
func ParseScope(text string) (Scope, error) {
	text = strings.ReplaceAll(text, `\`, "/")
	if kind, name, ok := strings.Cut(text, ":"); ok {
		kind = strings.ToLower(kind)
		if (kind != "vm" && kind != "group") || name == "" || strings.ContainsAny(name, "/:") {
			return "", fmt.Errorf("%q: a scope is SHARE, SHARE/PATH, vm:NAME or group:NAME", text)
		}
		return Scope(kind + ":" + name), nil
	}
	parts := strings.FieldsFunc(text, func(r rune) bool { return r == '/' })
	for _, p := range parts {
		if p == "." || p == ".." {
			return "", fmt.Errorf("%q: a scope cannot contain %q", text, p)
		}
	}
	return Scope(strings.Join(parts, "/")), nil
}

// FileScope is where a file of a share is, for Contains. A path with "." or ".." in
// it counts as the share itself: what a folder's roles give must not be reached from
// elsewhere by a detour through the folder.
func FileScope(share, path string) Scope {
	at := Scope(share)
	for _, part := range strings.FieldsFunc(path, func(r rune) bool { return r == '\\' || r == '/' }) {
		name, _, stream := strings.Cut(part, ":")
		if name == "." || name == ".." {
			return Scope(share)
		}
		if name != "" {
			at += Scope("/" + name)
		}
		if stream {
			break
		}
	}
	return at
}

func (s Scope) String() string {
	if s == Array {
		return "the array"
	}
	return string(s)
}

// Contains reports whether other is s or lies within it, as the store compares names:
// what only another folding of case makes alike are two folders. Whether a folder
// belongs to a virtual machine is not known here.
func (s Scope) Contains(other Scope) bool {
	if s == Array {
		return true
	}
	whole, part := upcase.Default().Key(string(other)), upcase.Default().Key(string(s))
	if !strings.HasPrefix(whole, part) {
		return false
	}
	return len(whole) == len(part) || whole[len(part)] == '/'
}
