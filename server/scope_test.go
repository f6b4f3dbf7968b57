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
	// What is left of other tests may allocate meanwhile, but not each time.
	least := 1.0
	for i := 0; i < 100 && least > 0; i++ {
		least = min(least, testing.AllocsPerRun(100, func() { tr.tokenAt(`dir\file`) }))
	}
	if least != 0 {
		t.Errorf("%v allocations", least)
	}
	again := *auth.System
	ses.identity.Store(&Identity{Token: &again})
	if tr.tokenAt("") != &again {
		t.Error("a renewed logon is not noticed")
	}
}
