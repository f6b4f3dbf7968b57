package server

import (
	"testing"

	"gabion/auth"
	"gabion/server/object"
	"gabion/store/memvol"
)

// Looking at who a user is on a share costs an open nothing as long as no role is
// held on one of its folders.
func TestTokenAtDoesNotAllocate(t *testing.T) {
	roles, err := auth.OpenRoles(memvol.New(memvol.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	ses := &session{server: &Server{cfg: Config{Roles: roles}}}
	ses.identity.Store(&Identity{Token: auth.System})
	tr := &tree{session: ses, share: &Share{Name: "vms", Tree: new(object.Tree)}}
	if tr.tokenAt(`dir\file`) != auth.System {
		t.Error("another token without any grant")
	}
	if n := testing.AllocsPerRun(100, func() { tr.tokenAt(`dir\file`) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	again := *auth.System
	ses.identity.Store(&Identity{Token: &again})
	if tr.tokenAt("") != &again {
		t.Error("a renewed logon is not noticed")
	}
}
