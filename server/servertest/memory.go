package servertest

import (
	"net"
	"testing"

	"gabion/auth"
	"gabion/protocol/ntstatus"
	"gabion/server"
	"gabion/server/object"
	"gabion/store/memvol"
)

// The share of Memory, and who may use it.
const (
	Share    = "vms"
	User     = "rig"
	Password = "Rig-Password-1"
)

// Memory serves one share until the test ends, and returns the address.
func Memory(t testing.TB) string {
	t.Helper()
	volume := memvol.New(memvol.Options{})
	users, err := auth.OpenUsers(volume, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := users.Add(User, Password, "Administrators"); err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Config{
		Name: "GABION", Auth: server.Accepting(auth.NewAcceptor(&auth.NTLM{Users: users, Name: "GABION"})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	objects := object.New(object.Config{Breaker: srv.Breaker(), Panicked: srv.Panicked})
	tree, status := objects.Mount(volume).Tree("", object.TreeOptions{})
	if status != ntstatus.Success {
		t.Fatal(status)
	}
	if err := srv.AddShare(&server.Share{Name: Share, Tree: tree}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	return l.Addr().String()
}
