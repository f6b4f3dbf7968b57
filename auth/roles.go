package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gabion/protocol/dtyp"
	"gabion/store"
)

// Grant gives a role to a user or a group.
type Grant struct {
	Role  Role     `json:"role"`
	SID   dtyp.SID `json:"sid"`
	Name  string   `json:"name"`  // the principal's as it was when the role was granted
	Scope Scope    `json:"scope"` // "" is the array
	By    string   `json:"by,omitempty"`
	Made  int64    `json:"made,omitempty"` // Unix seconds
}

func (g *Grant) String() string {
	who := g.SID.String()
	if g.Name != "" {
		who = g.Name + " (" + who + ")"
	}
	return fmt.Sprintf("%v for %s on %v", g.Role, who, g.Scope)
}

// defaultGrants are made with the volume; like all others they can be revoked. The
// first local user is in Administrators, and so are the domain's administrators.
var defaultGrants = []Grant{
	{Role: RoleSuperAdmin, SID: dtyp.BuiltinAdministrators, Name: `BUILTIN\Administrators`},
	{Role: RoleBackupOperator, SID: dtyp.BuiltinBackupOperators, Name: `BUILTIN\Backup Operators`},
}

const (
	roleBucket = "roles"
	rolesMade  = "roles-made" // in authBucket: the defaults were granted once
)

var (
	ErrGrantExists = errors.New("the role is granted already")
	ErrNoGrant     = errors.New("the role is not granted")
	// ErrLastAdmin keeps an array from losing everyone who may grant roles.
	ErrLastAdmin = errors.New("nobody would be super-admin of the array any more")
)

// Roles are the grants, kept in the volume's side store. Reading them takes no lock.
type Roles struct {
	vol     store.Volume
	editing sync.Mutex // serialises changes
	list    atomic.Pointer[[]Grant]
}

// OpenRoles reads a volume's grants, and makes the default ones at its first start.
func OpenRoles(vol store.Volume) (*Roles, error) {
	r := &Roles{vol: vol}
	_, err := vol.KV().Get(authBucket, rolesMade)
	if errors.Is(err, store.ErrNotFound) {
		edits := []store.KVEdit{{Bucket: authBucket, Key: rolesMade, Value: []byte{1}}}
		for i := range defaultGrants {
			edits = append(edits, defaultGrants[i].record())
		}
		err = r.apply(edits...)
	}
	if err != nil {
		return nil, fmt.Errorf("roles: %w", err)
	}
	var list []Grant
	var bad error
	err = vol.KV().Scan(roleBucket, "", func(key string, value []byte) bool {
		var g Grant
		if bad = json.Unmarshal(value, &g); bad == nil {
			list = append(list, g)
		}
		return bad == nil
	})
	if err = errors.Join(err, bad); err != nil {
		return nil, fmt.Errorf("roles: %w", err)
	}
	r.publish(list)
	return r, nil
}

func (r *Roles) apply(edits ...store.KVEdit) error {
	pos, err := r.vol.KV().Apply(edits)
	if err != nil {
		return err
	}
	return r.vol.Wait(pos)
}

func (r *Roles) publish(list []Grant) {
	slices.SortFunc(list, func(a, b Grant) int { return strings.Compare(a.key(), b.key()) })
	r.list.Store(&list)
}

// key orders grants by scope, the strongest role first.
func (g *Grant) key() string {
	return fmt.Sprintf("%s\x00%d\x00%s", strings.ToUpper(string(g.Scope)), uint8(^g.Role), g.SID)
}

func (g *Grant) record() store.KVEdit {
	b, err := json.Marshal(g)
	if err != nil {
		panic("auth: a grant cannot be encoded: " + err.Error())
	}
	return store.KVEdit{Bucket: roleBucket, Key: g.key(), Value: b}
}

// List returns the grants by scope.
func (r *Roles) List() []Grant { return slices.Clone(r.grants()) }

// grants is the list itself; a nil Roles has the default ones.
func (r *Roles) grants() []Grant {
	if r == nil {
		return defaultGrants
	}
	return *r.list.Load()
}

// Grant gives a role, durably. It takes effect with the next logon, or with the
// next connection to the share it is for.
func (r *Roles) Grant(g Grant) error {
	if !g.Role.valid() || g.SID.IsZero() {
		return fmt.Errorf("auth: cannot grant %v to %v", g.Role, g.SID)
	}
	scope, err := ParseScope(string(g.Scope))
	if err != nil {
		return err
	}
	g.Scope = scope
	if g.Made == 0 {
		g.Made = time.Now().Unix()
	}
	r.editing.Lock()
	defer r.editing.Unlock()
	list := r.List()
	if slices.ContainsFunc(list, func(o Grant) bool { return o.key() == g.key() }) {
		return fmt.Errorf("%s: %w", &g, ErrGrantExists)
	}
	if err := r.apply(g.record()); err != nil {
		return err
	}
	r.publish(append(list, g))
	return nil
}

// Revoke takes a role back, durably. The last super-admin of the array stays.
func (r *Roles) Revoke(role Role, sid dtyp.SID, scope Scope) error {
	scope, err := ParseScope(string(scope))
	if err != nil {
		return err
	}
	g := Grant{Role: role, SID: sid, Scope: scope}
	r.editing.Lock()
	defer r.editing.Unlock()
	list := r.List()
	i := slices.IndexFunc(list, func(o Grant) bool { return o.key() == g.key() })
	if i < 0 {
		return fmt.Errorf("%s: %w", &g, ErrNoGrant)
	}
	list = slices.Delete(list, i, i+1)
	if role == RoleSuperAdmin && scope == Array && !slices.ContainsFunc(list, func(o Grant) bool {
		return o.Role == RoleSuperAdmin && o.Scope == Array
	}) {
		return ErrLastAdmin
	}
	if err := r.apply(store.KVEdit{Bucket: roleBucket, Key: g.key()}); err != nil {
		return err
	}
	r.publish(list)
	return nil
}

// Held are the roles that a token's user and groups hold at a scope.
func (r *Roles) Held(t *Token, at Scope) RoleSet {
	var s RoleSet
	for _, g := range r.grants() {
		if g.Scope.Contains(at) && t.Is(g.SID) {
			s = s.add(g.Role)
		}
	}
	return s
}

// Why returns the grants by which a token holds a privilege at a scope. Those to a
// group that the token is in because of another grant are left out.
func (r *Roles) Why(t *Token, p Privilege, at Scope) []Grant {
	var why, implied []Grant
	for _, g := range r.grants() {
		switch {
		case !g.Role.Privileges().Has(p) || !g.Scope.Contains(at) || !t.Is(g.SID):
		case g.SID == g.Role.Group():
			implied = append(implied, g)
		default:
			why = append(why, g)
		}
	}
	if why == nil {
		return implied
	}
	return why
}

// At returns the token with what its roles at a scope add to it: the token itself
// if they add nothing.
func (r *Roles) At(t *Token, at Scope) *Token {
	var add Privileges
	var groups []Group
	for _, role := range AllRoles {
		if !r.holds(t, role, at) {
			continue
		}
		add |= role.Privileges()
		if g := role.Group(); !g.IsZero() && !t.Is(g) {
			groups = append(groups, Group{g, GroupDefault})
		}
	}
	if add&^t.Privileges == 0 && groups == nil {
		return t
	}
	more := *t
	more.Privileges |= add
	more.Groups = append(t.Groups[:len(t.Groups):len(t.Groups)], groups...)
	return &more
}

// Below reports whether a token's user or groups hold a role on a part of a scope
// that they do not hold on the whole: only then At may say more for what lies within.
func (r *Roles) Below(t *Token, at Scope) bool {
	for _, g := range r.grants() {
		if !g.Scope.Contains(at) && at.Contains(g.Scope) && t.Is(g.SID) {
			return true
		}
	}
	return false
}

// holds reports whether one role itself is granted; what it includes carries no
// privileges of its own.
func (r *Roles) holds(t *Token, role Role, at Scope) bool {
	for _, g := range r.grants() {
		if g.Role == role && g.Scope.Contains(at) && t.Is(g.SID) {
			return true
		}
	}
	return false
}
