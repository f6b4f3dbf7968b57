package ad

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/jcmturner/gokrb5/v8/credentials"

	"gabion/protocol/krb5"
)

// Domain is a running domain.
type Domain struct {
	Dir    string
	Realm  string // GABION.TEST
	Keytab string // FILESRV$'s keys
	SIDs   map[string]string

	passwords map[string]string
	env       []string
}

// Host is the name by which clients reach the array; it resolves to 127.0.0.1.
const Host = "filesrv.gabion.test"

var shared struct {
	sync.Mutex
	domain *Domain
	why    error
}

// Main runs a package's tests and takes down the domain that they may have
// brought up; call it from TestMain.
func Main(m *testing.M) {
	code := m.Run()
	if d := shared.domain; d != nil && os.Getenv("GABION_AD_DIR") == "" {
		_ = exec.Command("bash", script("ad-down.sh"), d.Dir, "--purge").Run()
		_ = os.RemoveAll(filepath.Dir(d.Dir))
	}
	os.Exit(code)
}

func script(name string) string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), name)
}

// Up brings the domain up, once for all tests of a package. It skips the test where
// that cannot be, except where .ci/run should have made it possible. A domain that
// runs already in GABION_AD_DIR is used as it is.
func Up(t testing.TB) *Domain {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.domain == nil && shared.why == nil {
		shared.domain, shared.why = up()
	}
	switch {
	case shared.why == nil:
	case os.Getenv("GABION_CI") != "":
		t.Fatalf("no Active Directory although .ci/run prepares for one: %v", shared.why)
	default:
		t.Skipf("no Active Directory here: %v", shared.why)
	}
	return shared.domain
}

// address is one of this process's own: packages are tested side by side, each with a domain controller
// and a member server on the ports that are known for them, or on fixed ones, which nobody else can take.
func address(host int) string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 1+pid%250, pid/250%250, host)
}

func up() (*Domain, error) {
	dir := os.Getenv("GABION_AD_DIR")
	if dir == "" {
		// Unix sockets below it must have short names.
		top, err := os.MkdirTemp("/tmp", "gabion-ad-")
		if err != nil {
			return nil, err
		}
		if err := os.Chmod(top, 0o755); err != nil {
			return nil, err
		}
		dir = filepath.Join(top, "ad")
	}
	cmd := exec.Command("bash", script("ad-up.sh"), dir)
	cmd.Env = append(os.Environ(), "ADDR="+address(10))
	// The daemons keep what they are given open: no pipe, or Wait never returns.
	out, err := os.CreateTemp("", "ad-up-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(text))
	}
	return read(dir)
}

// read takes over what ad-up.sh left in its directory.
func read(dir string) (*Domain, error) {
	d := &Domain{Dir: dir, Realm: "GABION.TEST", Keytab: filepath.Join(dir, "filesrv.keytab"), SIDs: map[string]string{}, passwords: map[string]string{}}
	if err := eachLine(filepath.Join(dir, "accounts.txt"), func(line string) {
		if name, password, ok := strings.Cut(line, " "); ok && name != "#" {
			d.passwords[name] = password
		}
	}); err != nil {
		return nil, err
	}
	if err := eachLine(filepath.Join(dir, "sids.txt"), func(line string) {
		if name, sid, ok := strings.Cut(line, "\t"); ok {
			d.SIDs[name] = sid
		}
	}); err != nil {
		return nil, err
	}
	wrapper, err := filepath.Glob("/usr/lib/*/libnss_wrapper.so")
	if err != nil || len(wrapper) == 0 {
		return nil, fmt.Errorf("no libnss_wrapper.so")
	}
	d.env = append(os.Environ(), "KRB5_CONFIG="+filepath.Join(dir, "krb5.conf"), "LD_PRELOAD="+wrapper[0],
		"NSS_WRAPPER_HOSTS="+filepath.Join(dir, "hosts"))
	return d, nil
}

func eachLine(path string, fn func(string)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		fn(s.Text())
	}
	return s.Err()
}

// Password of an account.
func (d *Domain) Password(account string) string { return d.passwords[account] }

// Config is the path of krb5.conf.
func (d *Domain) Config() string { return filepath.Join(d.Dir, "krb5.conf") }

// Kinit logs an account on and returns its credential cache.
func (d *Domain) Kinit(t testing.TB, account string, args ...string) string {
	t.Helper()
	cache := filepath.Join(t.TempDir(), "ccache")
	cmd := d.Command(cache, "kinit", append(args, account)...)
	cmd.Stdin = strings.NewReader(d.passwords[account] + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kinit %s: %v\n%s", account, err, out)
	}
	return cache
}

// Ticket is a service ticket and what its client knows of it.
type Ticket struct {
	krb5.Ticket
	Session krb5.Key
	Client  krb5.Principal
	Realm   string
}

// Ticket gets a ticket for a service by a credential cache.
func (d *Domain) Ticket(t testing.TB, cache, service string) Ticket {
	t.Helper()
	d.Run(t, cache, "kvno", service)
	c, err := credentials.LoadCCache(cache)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range c.Credentials {
		if e.Server.PrincipalName.PrincipalNameString() != service {
			continue
		}
		ticket, err := krb5.DecodeTicket(e.Ticket)
		if err != nil {
			t.Fatal(err)
		}
		name := e.Client.PrincipalName
		return Ticket{Ticket: ticket, Session: krb5.Key{EType: e.Key.KeyType, Value: e.Key.KeyValue},
			Client: krb5.Principal{Type: name.NameType, Name: name.NameString}, Realm: e.Client.Realm}
	}
	t.Fatalf("no ticket for %s in the cache", service)
	panic("unreachable")
}

// Command is a program that sees the domain, with a credential cache or none ("").
func (d *Domain) Command(cache, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = d.env
	if cache != "" {
		cmd.Env = append(cmd.Env[:len(cmd.Env):len(cmd.Env)], "KRB5CCNAME=FILE:"+cache)
	}
	return cmd
}

// Run runs such a program to its success and returns its output.
func (d *Domain) Run(t testing.TB, cache, name string, args ...string) string {
	t.Helper()
	out, err := d.Command(cache, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Tool runs samba-tool on the domain controller's own database.
func (d *Domain) Tool(t testing.TB, args ...string) string {
	t.Helper()
	return d.Run(t, "", "samba-tool", append(args, "--configfile="+filepath.Join(d.Dir, "dc/etc/smb.conf"))...)
}
