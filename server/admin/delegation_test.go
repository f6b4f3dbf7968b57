package admin

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/server"
	"gabion/server/object"
	"gabion/server/versions"
	"gabion/server/vm"
	"gabion/store"
	"gabion/store/memvol"
)

// newSystem is an array with the share vms and folders in it.
func newSystem(t *testing.T, folders ...string) *System {
	t.Helper()
	vol := memvol.New(memvol.Options{})
	roles, err := auth.OpenRoles(vol)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Config{Name: "FILESRV", GUID: dtyp.NewGUID(), Auth: server.Accepting(auth.NewAcceptor())})
	if err != nil {
		t.Fatal(err)
	}
	mounted := object.New(object.Config{Breaker: srv.Breaker()}).Mount(vol)
	book, err := OpenShareBook(srv, mounted, &auth.Names{Server: "FILESRV"}, []ShareSpec{{Name: "vms"}, {Name: "iso"}})
	if err != nil {
		t.Fatal(err)
	}
	machines, err := vm.Open(vol, book)
	if err != nil {
		t.Fatal(err)
	}
	snaps, err := versions.OpenBook(vol, nil)
	if err != nil {
		t.Fatal(err)
	}
	tree, st := mounted.Tree("", object.TreeOptions{})
	if st != ntstatus.Success {
		t.Fatal(st)
	}
	root, err := vol.Root(store.Live)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, f := range folders {
		n, _, err := vol.Create(root, f, store.Init{Dir: true})
		if err != nil {
			t.Fatal(err)
		}
		n.Close()
	}
	return &System{Server: srv, Volume: vol, Roles: roles, Shares: book, Names: &auth.Names{Server: "FILESRV"},
		Machines: machines, Versions: &versions.Changer{Book: snaps, Tree: tree}, Audit: slog.New(slog.DiscardHandler)}
}

// call is one HTTP request by somebody.
func call(s *System, who Caller, method, path, body string) (int, string) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r = r.WithContext(WithCaller(context.Background(), who))
	w := httptest.NewRecorder()
	Handler(s).ServeHTTP(w, r)
	b, _ := io.ReadAll(w.Result().Body)
	return w.Code, string(b)
}

// A vm-operator may do with what it is delegated what the role is for, nothing else
// and nowhere else.
func TestVMOperator(t *testing.T) {
	s := newSystem(t, "vm1", "vm10", "vm2")
	ann := dtyp.MakeSID(5, 21, 1, 2, 3, 1300)
	if err := s.Roles.Grant(auth.Grant{Role: auth.RoleVMOperator, SID: ann, Scope: "vms/vm1"}); err != nil {
		t.Fatal(err)
	}
	token := &auth.Token{Name: "ann", User: ann}
	operator := Caller{Name: "ann", From: "here", Held: func(at auth.Scope) auth.RoleSet { return s.Roles.Held(token, at) }}
	boss := Caller{Name: "boss", Held: func(auth.Scope) auth.RoleSet { return auth.RolesOf(auth.RoleSuperAdmin) }}
	const ok, no, bad, missing = http.StatusOK, http.StatusForbidden, http.StatusBadRequest, http.StatusNotFound
	if code, text := call(s, boss, "POST", "/v1/snapshots", `{"target":"vms/vm1","name":"kept"}`); code != ok {
		t.Fatal(code, text)
	}
	tests := []struct {
		method, path, body string
		want               int
	}{
		{"POST", "/v1/snapshots", `{"target":"vms/vm1","name":"a"}`, ok},
		{"POST", "/v1/snapshots", `{"target":"\\VMS\\VM1\\","name":"b"}`, ok},
		{"POST", "/v1/snapshots", `{"target":"vms/vm1/none","name":"c"}`, missing},
		{"POST", "/v1/snapshots", `{"target":"vms/vm10","name":"c"}`, no},
		{"POST", "/v1/snapshots", `{"target":"vms/vm2","name":"c"}`, no},
		{"POST", "/v1/snapshots", `{"target":"vms","name":"c"}`, no},
		{"POST", "/v1/snapshots", `{"target":"iso/vm1","name":"c"}`, no}, // the same folder by a share that is not delegated
		{"POST", "/v1/snapshots", `{"target":"vms/vm1/../vm2","name":"c"}`, bad},
		{"POST", "/v1/snapshots", `{"target":"","name":"c"}`, no},
		{"GET", "/v1/snapshots?target=vms/vm1", "", ok},
		{"GET", "/v1/snapshots?target=vms/vm2", "", no},
		{"GET", "/v1/snapshots", "", ok}, // its own only
		{"DELETE", "/v1/snapshots/kept", "", no},
		{"DELETE", "/v1/snapshots/a", "", no},
	}
	for _, tt := range tests {
		if code, text := call(s, operator, tt.method, tt.path, tt.body); code != tt.want {
			t.Errorf("%s %s %s: %d %s", tt.method, tt.path, tt.body, code, text)
		}
	}
	_, text := call(s, boss, "GET", "/v1/snapshots", "")
	var taken []SnapshotInfo
	if err := json.Unmarshal([]byte(text), &taken); err != nil || len(taken) != 3 {
		t.Errorf("%v, snapshots: %s", err, text)
	}
	_, text = call(s, operator, "GET", "/v1/snapshots", "")
	if err := json.Unmarshal([]byte(text), &taken); err != nil || len(taken) != 3 {
		t.Errorf("%v, own snapshots: %s", err, text)
	}
	// Snapshot, clone and restore, see what there is for that, and nothing else.
	var open []string
	for _, op := range Operations() {
		if op.forOperators() {
			open = append(open, op.Name)
		}
	}
	slices.Sort(open)
	if want := []string{"clone", "diff", "group list", "restore", "snapshot create", "snapshot diff", "snapshot list", "sync", "vm list"}; !slices.Equal(open, want) {
		t.Errorf("a vm-operator may %q, want %q", open, want)
	}
	// The operations that are not about something delegated are all closed.
	for _, op := range Operations() {
		c := &Call{Caller: operator, op: &op}
		if err := s.authorise(&op, c); err == nil && !op.Scoped {
			t.Errorf("%s is open to a vm-operator", op.Name)
		}
	}
}

// Every operation asks for the role in its row, on the array or on its target.
func TestLeastRole(t *testing.T) {
	s := newSystem(t, "vm1")
	for _, op := range Operations() {
		for _, role := range auth.AllRoles {
			held := auth.RolesOf(role)
			c := &Call{op: &op, values: map[string]any{}, Caller: Caller{Held: func(at auth.Scope) auth.RoleSet {
				if at == auth.Array {
					return held
				}
				return 0
			}}}
			for _, name := range strings.Fields(op.Delegated) {
				c.values[name] = "vms/vm1"
			}
			want := held.Has(op.Role) || op.forOperators() && held.Has(auth.RoleVMOperator) || op.Scoped
			if err := s.authorise(&op, c); (err == nil) != want {
				t.Errorf("%s by a %v: %v", op.Name, role, err)
			}
		}
		if err := s.authorise(&op, &Call{op: &op}); err == nil {
			t.Errorf("%s is open to nobody in particular", op.Name)
		}
		for _, name := range strings.Fields(op.Delegated) {
			if op.param(name) == nil {
				t.Errorf("%s is delegated by the parameter %s, which it does not have", op.Name, name)
			}
		}
	}
}
