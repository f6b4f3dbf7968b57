package ad

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gabion/auth"
	"gabion/auth/domain"
	"gabion/auth/kerberos"
	"gabion/auth/kerberos/kdctest"
	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/krb5"
	"gabion/protocol/ntstatus"
	"gabion/server"
	"gabion/server/audit"
	"gabion/server/object"
	"gabion/server/rpc"
	"gabion/server/shadow"
	"gabion/store/memvol"
)

func TestMain(m *testing.M) { Main(m) }

// array is a server in the domain with one share, vms.
type array struct {
	*testing.T
	domain   *Domain
	keytab   string
	acceptor *kerberos.Acceptor
	roles    *auth.Roles
	ahead    atomic.Int64 // of the server's clock, in nanoseconds
	addr     string
	log      *logs
	audit    *logs
}

// logs keeps what the server says.
type logs struct {
	mu    sync.Mutex
	lines []string // guarded by mu
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(b))
	return len(b), nil
}

// with returns the lines that contain text.
func (l *logs) with(text string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.lines {
		if strings.Contains(s, text) {
			found = append(found, s)
		}
	}
	return found
}

func newArray(t *testing.T) *array {
	t.Helper()
	return newArrayWith(t, nil, false)
}

// newArrayWith adds mechanisms, and lets anonymous clients in.
func newArrayWith(t *testing.T, mechs []auth.Mechanism, anonymous bool) *array {
	t.Helper()
	a := &array{T: t, domain: Up(t), keytab: filepath.Join(t.TempDir(), "keytab"), log: &logs{}, audit: &logs{}}
	a.install(a.domain.Keytab)
	log := slog.New(slog.NewTextHandler(a.log, nil))
	keys, err := kerberos.OpenKeytab(a.keytab, log)
	if err != nil {
		t.Fatal(err)
	}
	a.acceptor = kerberos.NewAcceptor(kerberos.Config{Keytab: keys, Machine: dtyp.MakeSID(5, 21, 1, 1, 1), Now: a.now})
	store := memvol.New(memvol.Options{})
	if a.roles, err = auth.OpenRoles(store); err != nil {
		t.Fatal(err)
	}
	mechs = append(auth.NewKerberos(a.acceptor, log), mechs...)
	acceptor := auth.NewAcceptor(mechs...).UseRoles(a.roles)
	directory := domain.NewDirectory(&domain.Member{Keytab: keys, Config: a.domain.Config()})
	t.Cleanup(directory.Close)
	pipes := &rpc.Host{Name: "FILESRV", Authenticator: acceptor, Directory: directory, Roles: a.roles}
	srv, err := server.New(server.Config{Name: "FILESRV", GUID: dtyp.NewGUID(), Log: log, Anonymous: anonymous,
		Roles: a.roles, Audit: audit.New(a.audit, a.roles, log),
		Auth: server.Accepting(acceptor), Pipes: pipes})
	if err != nil {
		t.Fatal(err)
	}
	vol := object.New(object.Config{Breaker: srv.Breaker()}).Mount(store)
	tree, status := vol.Tree("", object.TreeOptions{})
	if status != ntstatus.Success {
		t.Fatal(status)
	}
	if err := srv.AddShare(&server.Share{Name: "vms", Tree: tree}); err != nil {
		t.Fatal(err)
	}
	shadows, err := shadow.Open(shadow.Options{Backend: shadow.NewArray(srv, vol), Name: "FILESRV"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(shadows.Close)
	pipes.ShadowCopies = shadows
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.addr = l.Addr().String()
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() {
		_ = srv.Shutdown(context.Background())
		<-done
	})
	return a
}

// now is the server's clock.
func (a *array) now() time.Time { return time.Now().Add(time.Duration(a.ahead.Load())) }

// install copies a keytab into place as an administrator does: by a new file.
func (a *array) install(from string) {
	a.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		a.Fatal(err)
	}
	if err := os.WriteFile(a.keytab+".new", b, 0o600); err != nil {
		a.Fatal(err)
	}
	if err := os.Rename(a.keytab+".new", a.keytab); err != nil {
		a.Fatal(err)
	}
}

// smbclient runs commands on a host's share with a credential cache.
func (a *array) smbclient(cache, host, commands string, args ...string) (string, error) {
	_, port, _ := net.SplitHostPort(a.addr)
	all := append([]string{"//" + host + "/vms", "-p", port, "--use-kerberos=required", "--use-krb5-ccache=" + cache, "-c", commands}, args...)
	cmd := a.domain.Command(cache, "smbclient", all...)
	cmd.Dir = a.TempDir()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

const putAndGet = "put /etc/services a; get a b; rm a"

func TestSmbclient(t *testing.T) {
	a := newArray(t)
	for _, account := range []string{"alice", "HV1$", "veeam"} {
		cache := a.domain.Kinit(t, account)
		for name, option := range map[string]string{
			"signed":              "--client-protection=sign",
			"encrypted":           "--client-protection=encrypt",
			"AES-256-GCM":         "--option=client smb3 encryption algorithms=AES-256-GCM",
			"2.1, HMAC-SHA256":    "--option=client max protocol=SMB2_10",
			"3.0, AES-CMAC":       "--option=client max protocol=SMB3_00",
			"3.1.1 with AES-GMAC": "--option=client smb3 signing algorithms=AES-128-GMAC",
		} {
			args := []string{option}
			if name == "AES-256-GCM" {
				args = append(args, "--client-protection=encrypt")
			}
			if out, err := a.smbclient(cache, Host, putAndGet, args...); err != nil {
				t.Errorf("%s, %s: %v\n%s", account, name, err, out)
			}
		}
		if len(a.log.with(`user="GABION\\`+account))+len(a.log.with(`user=GABION\`+account)) == 0 {
			t.Errorf("the log does not name %s:\n%s", account, strings.Join(a.log.lines, ""))
		}
	}
}

// refused has smbclient refused and returns the one line that says why.
func (a *array) refused(cache, host string, args ...string) string {
	a.Helper()
	before := len(a.log.with("authentication failed"))
	out, err := a.smbclient(cache, host, "mkdir x", args...)
	if err == nil || !strings.Contains(out, "NT_STATUS_LOGON_FAILURE") {
		a.Errorf("not refused: %v\n%s", err, out)
	}
	lines := a.log.with("authentication failed")[before:]
	if len(lines) != 1 {
		a.Fatalf("%d lines about it, not one:\n%s", len(lines), strings.Join(lines, ""))
	}
	return lines[0]
}

func (a *array) says(line string, parts ...string) {
	a.Helper()
	for _, p := range parts {
		if !strings.Contains(line, p) {
			a.Errorf("the log does not say %q: %s", p, line)
		}
	}
}

func TestTicketForAnotherComputer(t *testing.T) {
	a := newArray(t)
	cache := a.domain.Kinit(t, "alice")
	// hv1's name leads to this server, as a wrong alias in the DNS would.
	line := a.refused(cache, "hv1.gabion.test", "-I", "127.0.0.1")
	a.says(line, "cifs/hv1.gabion.test", "another account", "KRB_AP_ERR_MODIFIED")
}

func TestOnlyNTLMIsRefused(t *testing.T) {
	a := newArray(t)
	_, port, _ := net.SplitHostPort(a.addr)
	out, err := a.domain.Command("", "smbclient", "//127.0.0.1/vms", "-p", port, "--use-kerberos=off",
		"-U", "alice%"+a.domain.Password("alice"), "-c", "ls").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "NT_STATUS_") {
		t.Errorf("%v\n%s", err, out)
	}
}

// ticket gets a ticket for the array's service by a credential cache.
func (d *Domain) ticket(t *testing.T, cache, service string) kdctest.Ticket {
	t.Helper()
	return kdctest.Ticket(d.Ticket(t, cache, service))
}

const service = "cifs/" + Host

// accept shows a ticket to the acceptor.
func (a *array) accept(ticket kdctest.Ticket) (*kerberos.Context, error) {
	cl := kdctest.Client{Ticket: ticket, Flags: krb5.FlagMutual, Subkey: true}
	x := a.acceptor.Begin()
	answer, c, err := x.Step(cl.Request(a.now()))
	if err == nil && c == nil {
		a.Fatal("one step was not enough")
	}
	if err == nil {
		_, err = cl.Finish(answer)
	}
	return c, err
}

func TestPAC(t *testing.T) {
	a := newArray(t)
	for account, group := range map[string]string{"alice": "Domain Users", "HV1$": "Hyper-V Hosts", "veeam": "Backup Operators Gabion"} {
		c, err := a.accept(a.domain.ticket(t, a.domain.Kinit(t, account), service))
		if err != nil {
			t.Errorf("%s: %v", account, err)
			continue
		}
		w := c.Who
		if w.Account != account || w.Domain != "GABION" || w.SID.String() != a.domain.SIDs[account] || !memberOf(w, a.domain.SIDs[group]) {
			t.Errorf("%s: %+v", account, w)
		}
		if (group == "Hyper-V Hosts") != memberOf(w, a.domain.SIDs["Hyper-V Hosts"]) {
			t.Errorf("%s and the Hyper-V hosts: %+v", account, w.Groups)
		}
	}
}

func memberOf(w kerberos.Who, sid string) bool {
	for _, g := range w.Groups {
		if g.SID.String() == sid {
			return true
		}
	}
	return false
}

func TestGroupChangeTakesANewTicket(t *testing.T) {
	a := newArray(t)
	d := a.domain
	hosts := d.SIDs["Hyper-V Hosts"]
	before := d.ticket(t, d.Kinit(t, "bob"), service)
	d.Tool(t, "group", "addmembers", "Hyper-V Hosts", "bob")
	defer d.Tool(t, "group", "removemembers", "Hyper-V Hosts", "bob")
	c, err := a.accept(before)
	if err != nil || memberOf(c.Who, hosts) {
		t.Errorf("with the old ticket: %v, %+v", err, c)
	}
	c, err = a.accept(d.ticket(t, d.Kinit(t, "bob"), service))
	if err != nil || !memberOf(c.Who, hosts) {
		t.Errorf("with a new ticket: %v, %+v", err, c)
	}
}

// Resource groups come compressed, in the PAC's own list ([MS-KILE] 3.3.5.7.4).
func TestDomainLocalGroup(t *testing.T) {
	a := newArray(t)
	d := a.domain
	d.Tool(t, "group", "add", "Local Group", "--group-scope=Domain")
	defer d.Tool(t, "group", "delete", "Local Group")
	d.Tool(t, "group", "addmembers", "Local Group", "Hyper-V Hosts")
	show := d.Tool(t, "group", "show", "Local Group", "--attributes=objectSid")
	_, sid, _ := strings.Cut(show, "objectSid: ")
	sid = strings.TrimSpace(sid)
	c, err := a.accept(d.ticket(t, d.Kinit(t, "HV1$"), service))
	if err != nil || !memberOf(c.Who, sid) {
		t.Errorf("%v; %s is not in %+v", err, sid, c)
	}
}

func TestReplayAndAlteredTicket(t *testing.T) {
	a := newArray(t)
	ticket := a.domain.ticket(t, a.domain.Kinit(t, "alice"), service)
	cl := kdctest.Client{Ticket: ticket, Flags: krb5.FlagMutual}
	request := cl.Request(time.Now())
	if _, _, err := a.acceptor.Begin().Step(request); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.acceptor.Begin().Step(request); err == nil || !strings.Contains(err.Error(), "KRB_AP_ERR_REPEAT") {
		t.Errorf("replay: %v", err)
	}
	ticket.Enc.Cipher = slices.Clone(ticket.Enc.Cipher)
	ticket.Enc.Cipher[100] ^= 1
	if _, err := a.accept(ticket); err == nil || !strings.Contains(err.Error(), "KRB_AP_ERR_MODIFIED") {
		t.Errorf("altered ticket: %v", err)
	}
}

func TestExpiredTicketAndWrongClock(t *testing.T) {
	a := newArray(t)
	cache := a.domain.Kinit(t, "alice")
	a.ahead.Store(int64(11 * time.Hour))
	a.says(a.refused(cache, Host), "alice@GABION.TEST", "expired at", "KRB_AP_ERR_TKT_EXPIRED")
	a.ahead.Store(int64(time.Hour))
	if out, err := a.smbclient(cache, Host, "mkdir x"); err == nil {
		t.Errorf("a clock off by an hour: %s", out)
	}
	if lines := a.log.with("clock is too far off"); len(lines) != 1 {
		t.Errorf("%d lines say so: %v", len(lines), lines)
	}
}

func TestKeyRotation(t *testing.T) {
	a := newArray(t)
	d := a.domain
	old := d.Kinit(t, "alice")
	d.ticket(t, old, service)
	d.Tool(t, "user", "setpassword", "FILESRV$", "--newpassword=Filesrv-Machine-Pass-2")
	fresh := d.Kinit(t, "alice")
	a.says(a.refused(fresh, Host), "key version 3", "has 2", "KRB_AP_ERR_BADKEYVER")
	if out, err := a.smbclient(old, Host, "mkdir old1"); err != nil {
		t.Errorf("old ticket, old keytab: %v\n%s", err, out)
	}
	// The new key is added to the keytab and used without a restart.
	for _, p := range []string{service, "cifs/filesrv", "FILESRV$"} {
		d.Tool(t, "domain", "exportkeytab", d.Keytab, "--principal="+p)
	}
	a.install(d.Keytab)
	if out, err := a.smbclient(fresh, Host, "mkdir fresh"); err != nil {
		t.Errorf("new ticket, new keytab: %v\n%s", err, out)
	}
	if out, err := a.smbclient(old, Host, "mkdir old2"); err != nil {
		t.Errorf("old ticket, new keytab: %v\n%s", err, out)
	}
}

// A service that may act for users comes as the user, and is named in the log.
func TestConstrainedDelegation(t *testing.T) {
	a := newArray(t)
	d := a.domain
	d.Tool(t, "delegation", "add-service", "HV1$", service)
	d.Tool(t, "delegation", "for-any-protocol", "HV1$", "on")
	defer d.Tool(t, "delegation", "del-service", "HV1$", service)
	proxy := filepath.Join(t.TempDir(), "proxy")
	d.Run(t, d.Kinit(t, "HV1$"), "kvno", "-U", "alice", "-P", "--out-cache", proxy, service)
	c, err := a.accept(d.ticket(t, proxy, service))
	if err != nil {
		t.Fatal(err)
	}
	if c.Who.SID.String() != d.SIDs["alice"] || len(c.Who.Delegated) != 1 || !strings.HasPrefix(c.Who.Delegated[0], "HV1$") {
		t.Errorf("%+v", c.Who)
	}
	session := a.login(d.ticket(t, proxy, service))
	if _, err := session.Connect("vms"); err != nil {
		t.Error(err)
	}
	lines := a.log.with("delegated logon")
	if len(lines) != 1 {
		t.Fatalf("%v", lines)
	}
	a.says(lines[0], `alice`, "HV1$@GABION.TEST", service)
	if lines := a.audit.with(`"msg":"delegated"`); len(lines) != 1 {
		t.Errorf("%d lines of audit", len(lines))
	} else {
		a.says(lines[0], `"user":"GABION\\alice"`, `"through":["HV1$@GABION.TEST`)
	}
}

// login opens a session with a ticket.
func (a *array) login(ticket kdctest.Ticket) *client.Session {
	a.Helper()
	return a.loginAt(a.addr, ticket)
}

// loginAt opens one at any server.
func (a *array) loginAt(addr string, ticket kdctest.Ticket) *client.Session {
	a.Helper()
	c, err := client.Dial(addr, client.Options{})
	if err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() { _ = c.Close() })
	if err := c.Negotiate(client.Negotiation{}); err != nil {
		a.Fatal(err)
	}
	s, err := c.SessionSetup(kdctest.Negotiate(ticket), client.Setup{})
	if err != nil {
		a.Fatal(err)
	}
	return s
}
