package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"gabion/auth/kerberos"
	"gabion/auth/kerberos/kdctest"
	"gabion/conformance/client"
	"gabion/protocol/ntstatus"
	"gabion/server/admin"
)

// said is what a server wrote to its log.
type said struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// planOf is what `gabion serve` makes of its flags.
func planOf(t *testing.T, args ...string) (*plan, error) {
	t.Helper()
	var s settings
	f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	s.flags(f)
	s.Data = t.TempDir()
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return s.plan()
}

// start runs `gabion serve` with flags until stop is called or the test ends.
func start(t *testing.T, log *said, args ...string) (a *array, stop func()) {
	t.Helper()
	p, err := planOf(t, append([]string{"--listen", "127.0.0.1:0"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	p.log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a = &array{plan: p, failed: make(chan error, 1)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	a.listener, err = listen(p.Listen)
	must(err)
	must(a.openVolume())
	_, err = a.openUsers()
	must(err)
	must(a.openServer())
	a.socket, err = admin.ListenSocket(p.Data)
	must(err)
	must(a.openGate())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.serve(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := a.close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return a, stop
}

// gabion runs another verb of the command line.
func (a *array) gabion(t *testing.T, args ...string) string {
	t.Helper()
	out, err := verbOf(t, nil, append(args, "--data", a.Data)...)
	if err != nil {
		t.Errorf("gabion %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// refused runs a verb that is to fail with an error that says something.
func (a *array) refused(t *testing.T, says string, args ...string) {
	t.Helper()
	out, err := verbOf(t, nil, append(args, "--data", a.Data)...)
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("gabion %s: %v, want an error with %q\n%s", strings.Join(args, " "), err, says, out)
	}
}

// verbOf runs a verb with an input.
func verbOf(t *testing.T, in io.Reader, args ...string) (string, error) {
	var out bytes.Buffer
	root := command()
	root.SetIn(in)
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

// dial opens a connection.
func (a *array) dial(t *testing.T) *client.Conn {
	t.Helper()
	c, err := client.Dial(a.listener.Addr().String(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Negotiate(client.Negotiation{}); err != nil {
		t.Fatal(err)
	}
	return c
}

// keytab makes a domain's KDC and the key table of the array's account.
func keytab(t *testing.T, etype int32) (*kdctest.KDC, string) {
	t.Helper()
	kdc := kdctest.New(etype)
	path := filepath.Join(t.TempDir(), "keytab")
	if err := kdctest.WriteKeytab(path, kdc.Entry()); err != nil {
		t.Fatal(err)
	}
	return kdc, path
}

// login opens a session with a ticket.
func (a *array) login(t *testing.T, ticket kdctest.Ticket) (*client.Session, error) {
	t.Helper()
	return a.dial(t).SessionSetup(kdctest.Negotiate(ticket), client.Setup{})
}

func TestWhoMayLogOnIsChecked(t *testing.T) {
	for _, tt := range []struct{ flags, says string }{
		{"--ntlm=ask", "neither deny nor local-users"},
		{"--ntlm=deny", "lets nobody in"},
		{"--realm=GABION.TEST", "needs --keytab"},
		{"--kerberos-rc4", "needs --keytab"},
	} {
		if _, err := planOf(t, tt.flags); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.flags, err)
		}
	}
}

func TestNTLMPolicy(t *testing.T) {
	good := client.Credentials{User: "bob", Password: "Correct-Horse-77"}
	for _, tt := range []struct {
		policy  string
		allowed bool
	}{{"local-users", true}, {"deny", false}} {
		t.Run(tt.policy, func(t *testing.T) {
			kdc, table := keytab(t, kerberos.AES256)
			var log said
			a, _ := start(t, &log, "--user=bob:"+good.Password, "--keytab="+table, "--ntlm="+tt.policy)
			_, err := a.dial(t).Login(good)
			if status, _ := client.Status(err); (err == nil) != tt.allowed || err != nil && status != ntstatus.LogonFailure {
				t.Errorf("a local user: %v", err)
			}
			if !tt.allowed && !strings.Contains(log.String(), "only Kerberos") {
				t.Errorf("the log does not say what is accepted:\n%s", log.String())
			}
			if _, err := a.login(t, kdc.Issue(time.Now(), kdctest.Spec{})); err != nil {
				t.Errorf("an account of the domain: %v", err)
			}
			bad := good
			bad.Password = "Wrong-Battery-88"
			if _, err := a.dial(t).Login(bad); err == nil {
				t.Error("a wrong password")
			}
		})
	}
}

func TestRC4IsOffUnlessAsked(t *testing.T) {
	for _, on := range []bool{false, true} {
		kdc, table := keytab(t, kerberos.RC4)
		args := []string{"--user=bob:Correct-Horse-77", "--keytab=" + table}
		if on {
			args = append(args, "--kerberos-rc4")
		}
		a, _ := start(t, new(said), args...)
		if _, err := a.login(t, kdc.Issue(time.Now(), kdctest.Spec{})); (err == nil) != on {
			t.Errorf("rc4 %v: %v", on, err)
		}
	}
}

func readFile(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
