package peers

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gabion/conformance/rig"
)

// refused runs gabion with arguments it has to refuse: a non-zero exit and one
// clear line, not a stack trace.
func refused(t *testing.T, want string, args ...string) {
	t.Helper()
	cmd := exec.Command(rig.Binary(t, ""), args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	done := make(chan error, 1)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		if err == nil {
			t.Errorf("%v: exit 0", args)
		}
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		<-done
		t.Errorf("%v: still running", args)
	}
	text := errOut.String()
	if !strings.Contains(text, want) {
		t.Errorf("%v: %q does not say %q", args, text, want)
	}
	if strings.Contains(text, "goroutine ") || strings.Contains(out.String(), "ready") {
		t.Errorf("%v: %s%s", args, out.String(), text)
	}
}

func TestRefusedAtStart(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		return path
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	running := rig.Start(t)
	fresh := func() string { return filepath.Join(dir, "data") }
	serve := func(args ...string) []string {
		return append([]string{"serve", "--data", fresh(), "--listen", "127.0.0.1:0"}, args...)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"is in use by another program", []string{"serve", "--data", fresh(), "--listen", busy.Addr().String()}},
		{"is in use by another gabion", []string{"serve", "--data", running.Data, "--listen", "127.0.0.1:0"}},
		{"unknown flag", serve("--frobnicate")},
		{"unknown option", serve("--share", "vms,fast")},
		{"not allowed", serve("--share", "a/b")},
		{"neither required nor enabled", serve("--signing", "maybe")},
		{"is not a size", serve("--capacity", "12Q")},
		{"NAME:PASSWORD", serve("--user", "joe")},
		{"unknown key", serve("--config", file("unknown.toml", "lissten = '1.2.3.4:5'\n", 0o600))},
		{"can be read by others", serve("--config", file("open.toml", "user = ['joe:secret']\n", 0o644))},
		{"can be read by others", serve("--user", "joe:@"+file("password", "secret\n", 0o644))},
		{"no such file", serve("--config", filepath.Join(dir, "none.toml"))},
		{"cannot be written", serve("--test-vfs", "readonly")},
		{"is full", serve("--test-vfs", "space=100000")},
		{"is not HOST:PORT", serve("--listen", "here")},
		{"not a directory", []string{"serve", "--data", file("plain", "", 0o600), "--listen", "127.0.0.1:0"}},
		{"no running server found", []string{"status", "--data", fresh()}},
		{"there is no volume in", []string{"check", "--data", filepath.Join(dir, "nothing")}},
	} {
		refused(t, c.want, c.args...)
	}
}

// Verbs talk to the running server and say clearly what is wrong.
func TestCommandLine(t *testing.T) {
	s := rig.Start(t, "--share", "vms,ca")
	ok := func(want string, args ...string) {
		t.Helper()
		out, errOut, err := s.Command(args...)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%v: %v\n%s%s", args, err, out, errOut)
		}
	}
	bad := func(want string, args ...string) {
		t.Helper()
		if _, errOut, err := s.Command(args...); err == nil || !strings.Contains(errOut, want) {
			t.Errorf("%v: %v\n%s", args, err, errOut)
		}
	}
	ok("gabion ", "version")
	ok(s.Addr, "status")
	ok(`"listen"`, "status", "--json")
	ok("vms", "share", "list")
	ok("iso", "share", "add", "iso,readonly,path=images/iso")
	bad("exists", "share", "add", "iso")
	bad("unknown option", "share", "add", "x,y")
	bad("SPEC is missing", "share", "add")
	ok("joe", "user", "add", "joe")
	ok("joe", "user", "list")
	bad("exists already", "user", "add", "JOE")
	ok("password", "user", "passwd", "joe")
	ok("", "user", "disable", "joe")
	ok("", "user", "remove", "joe")
	bad("no such user", "user", "remove", "joe")
	mount(t, s, "vms")
	ok(rig.User, "session", "list")
	bad("no session", "session", "close", "1")
	bad("must be of type integer", "session", "close", "x")
	ok("before", "snapshot", "create", "vms", "before")
	bad("already", "snapshot", "create", "vms", "before")
	ok("before", "snapshot", "list")
	ok("", "snapshot", "delete", "before")
	bad("no snapshot", "snapshot", "delete", "before")
	bad("not found", "snapshot", "create", "vms/nothing")
	ok("super-admin", "role", "list")
	ok("vm-operator", "role", "grant", "vm-operator", "Users", "vms")
	bad("granted already", "role", "grant", "vm-operator", "Users", "vms")
	bad("is no role", "role", "grant", "king", "Users")
	ok("READ_DATA", "auth", "explain", "vms", rig.User)
	bad("no keytab", "auth", "verify", "here")
	ok("clean", "check")
	bad("unknown command", "share", "frobnicate")

	// What was added is there after a restart, and can be taken away.
	if err := s.Stop(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	if _, errOut, err := s.Command("check"); err != nil {
		t.Errorf("check of the stopped volume: %v\n%s", err, errOut)
	}
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	ok("images\\\\iso", "share", "list", "--json")
	mount(t, s, "iso")
	ok("", "share", "remove", "iso")
	bad("no such share", "share", "remove", "iso")
}
