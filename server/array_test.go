package server_test

import (
	"net"
	"testing"

	"gabion/auth"
	"gabion/conformance/client"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server"
	"gabion/server/object"
	"gabion/store/memvol"
)

// array is a whole server in memory with two shares, of which "ca" is continuously
// available.
type array struct {
	t    *testing.T
	addr string
}

func newArray(t *testing.T) *array {
	t.Helper()
	return newArrayWithin(t, server.Limits{})
}

// newArrayWithin is newArray with other limits.
func newArrayWithin(t *testing.T, limits server.Limits) *array {
	t.Helper()
	volume := memvol.New(memvol.Options{})
	users, err := auth.OpenUsers(volume, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ann", "bob"} {
		if _, err := users.Add(name, "Secret-of-"+name); err != nil {
			t.Fatal(err)
		}
	}
	srv, err := server.New(server.Config{
		Name: "GABION", Auth: server.Accepting(auth.NewAcceptor(&auth.NTLM{Users: users, Name: "GABION"})),
		Capabilities: server.DefaultCapabilities.With(server.CapPersistentHandles), TestMode: true, Limits: limits,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	objects := object.New(object.Config{Breaker: srv.Breaker()}).Mount(volume)
	for _, name := range []string{"vms", "ca"} {
		tree, status := objects.Tree("", object.TreeOptions{Share: name, ContinuouslyAvailable: name == "ca"})
		if status != ntstatus.Success {
			t.Fatal(status)
		}
		if err := srv.AddShare(&server.Share{Name: name, Tree: tree, ContinuouslyAvailable: name == "ca"}); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	return &array{t, l.Addr().String()}
}

// dial opens a connection.
func (a *array) dial(n client.Negotiation) *client.Conn {
	a.t.Helper()
	c, err := client.Dial(a.addr, client.Options{})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { c.Close() })
	if err := c.Negotiate(n); err != nil {
		a.t.Fatal(err)
	}
	return c
}

func credentials(user string) client.Credentials {
	return client.Credentials{User: user, Password: "Secret-of-" + user}
}

// connect opens a connection and a session of user and connects to share.
func (a *array) connect(n client.Negotiation, user, share string) *client.Tree {
	a.t.Helper()
	s, err := a.dial(n).Login(credentials(user))
	if err != nil {
		a.t.Fatal(err)
	}
	tree, err := s.Connect(share)
	if err != nil {
		a.t.Fatal(err)
	}
	return tree
}

// vms connects ann to the plain share in the newest dialect.
func vms(t *testing.T) *client.Tree {
	return newArray(t).connect(client.Negotiation{}, "ann", "vms")
}

func dialect(d smb2.Dialect) client.Negotiation {
	return client.Negotiation{Dialects: []smb2.Dialect{d}}
}

// open makes an open or ends the test.
func open(t *testing.T, tree *client.Tree, m *smb2.CreateRequest) *client.File {
	t.Helper()
	f, err := tree.Create(m)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// want compares the outcome of a call with a status.
func want(t *testing.T, what string, err error, status ntstatus.Status) {
	t.Helper()
	got := ntstatus.Success
	if err != nil {
		s, ok := client.Status(err)
		if !ok {
			t.Fatalf("%s: %v", what, err)
		}
		got = s
	}
	if got != status {
		t.Errorf("%s: %v, want %v", what, got, status)
	}
}
