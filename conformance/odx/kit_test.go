package odx

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// connect opens a connection, a session and a tree.
func connect(t testing.TB, s *rig.Server, share string) *client.Tree {
	t.Helper()
	c, err := client.Dial(s.Addr, client.Options{})
	if err == nil {
		t.Cleanup(func() { c.Close() })
		err = c.Negotiate(client.Negotiation{})
	}
	var session *client.Session
	if err == nil {
		session, err = c.Login(client.Credentials{User: rig.User, Password: rig.Password})
	}
	var tree *client.Tree
	if err == nil {
		tree, err = session.Connect(share)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func open(t testing.TB, tree *client.Tree, m *smb2.CreateRequest) *client.File {
	t.Helper()
	f, err := tree.Create(m)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func file(t testing.TB, tree *client.Tree, name string) *client.File {
	t.Helper()
	return open(t, tree, client.OpenFile(name))
}

// filled makes a file of n random bytes and returns them.
func filled(t testing.TB, tree *client.Tree, name string, n int, seed uint64) (*client.File, []byte) {
	t.Helper()
	f := file(t, tree, name)
	p := random(seed, n)
	write(t, f, p, 0)
	return f, p
}

func random(seed uint64, n int) []byte {
	p := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	r.Read(p) //nolint:errcheck // it never fails
	return p
}

func write(t testing.TB, f *client.File, p []byte, off int64) {
	t.Helper()
	for len(p) > 0 {
		n, err := f.WriteAt(p[:min(len(p), 1<<20)], off)
		if err != nil {
			t.Fatal(err)
		}
		p, off = p[n:], off+int64(n)
	}
}

// contents reads n bytes of a file.
func contents(t testing.TB, f *client.File, off int64, n int) []byte {
	t.Helper()
	p := make([]byte, n)
	for at := 0; at < n; {
		k, err := f.ReadAt(p[at:min(n, at+1<<20)], off+int64(at))
		if k == 0 {
			t.Fatalf("read at %d: %v", off+int64(at), err)
		}
		at += k
	}
	return p
}

func holds(t testing.TB, what string, f *client.File, want []byte) {
	t.Helper()
	if got := contents(t, f, 0, len(want)); !bytes.Equal(got, want) {
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%s: differs from byte %d on", what, i)
			}
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// want compares the outcome of a call with a status.
func want(t testing.TB, what string, err error, status ntstatus.Status) {
	t.Helper()
	got, ok := client.Status(err)
	if !ok {
		t.Fatalf("%s: %v", what, err)
	}
	if got != status {
		t.Errorf("%s: %v, want %v", what, got, status)
	}
}

// token reads a token for all of [off, off+n).
func token(t testing.TB, f *client.File, off, n uint64) [512]byte {
	t.Helper()
	out, err := Read(f, off, n, 0)
	must(t, err)
	if out.TransferLength != n {
		t.Fatalf("token for %d bytes of %d", out.TransferLength, n)
	}
	return out.Token
}

// ask runs a verb of the command line and decodes what it prints.
func ask(t testing.TB, s *rig.Server, to any, args ...string) {
	t.Helper()
	stdout, stderr, err := s.Command(append(args, "--json")...)
	if err == nil && to != nil {
		err = json.Unmarshal([]byte(stdout), to)
	}
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", args, err, stdout, stderr)
	}
}
