package server_test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"gabion/auth"
	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server"
	"gabion/server/object"
	"gabion/store/memvol"
)

// auditor keeps what it is told.
type auditor struct {
	mu    sync.Mutex
	lines []string // guarded by mu
}

func (a *auditor) PrivilegedOpen(p *server.PrivilegedOpen) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p.From.Port() == 0 {
		a.lines = append(a.lines, "from nowhere")
	}
	a.lines = append(a.lines, fmt.Sprintf("%s %s/%s intent=%v granted=%v gained=%v by=%v %v",
		p.Who.Token.Name, p.Share, p.Path, p.Intent, p.Granted, p.Gained, p.Used, p.Status))
}

func (a *auditor) Offload(*server.Offload) {}

func (a *auditor) DelegatedLogon(who *server.Identity, _ netip.AddrPort) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lines = append(a.lines, "delegated "+who.User)
}

func (a *auditor) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	lines := a.lines
	a.lines = nil
	return lines
}

// roled is a server with roles, an auditor, and the shares vms and iso.
type roled struct {
	*array
	users *auth.Users
	roles *auth.Roles
	audit auditor
}

func newRoled(t *testing.T) *roled {
	t.Helper()
	volume := memvol.New(memvol.Options{})
	r := &roled{array: &array{t: t}}
	var err error
	if r.users, err = auth.OpenUsers(volume, make([]byte, 32)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ann", "bob"} {
		groups := []string{"Administrators"}
		if name == "bob" {
			groups = nil
		}
		if _, err := r.users.Add(name, "Secret-of-"+name, groups...); err != nil {
			t.Fatal(err)
		}
	}
	if r.roles, err = auth.OpenRoles(volume); err != nil {
		t.Fatal(err)
	}
	acceptor := auth.NewAcceptor(&auth.NTLM{Users: r.users, Name: "GABION"}).UseRoles(r.roles)
	srv, err := server.New(server.Config{Name: "GABION", Auth: server.Accepting(acceptor), Roles: r.roles, Audit: &r.audit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	objects := object.New(object.Config{Breaker: srv.Breaker()}).Mount(volume)
	for _, name := range []string{"vms", "iso"} {
		tree, status := objects.Tree("", object.TreeOptions{Share: name})
		if status != ntstatus.Success {
			t.Fatal(status)
		}
		if err := srv.AddShare(&server.Share{Name: name, Tree: tree}); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	r.addr = l.Addr().String()
	return r
}

func (r *roled) as(user, share string) *client.Tree {
	return r.connect(client.Negotiation{}, user, share)
}

func (r *roled) grant(role auth.Role, user string, scope auth.Scope) {
	r.t.Helper()
	u, err := r.users.Find(user)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.roles.Grant(auth.Grant{Role: role, SID: u.SID, Name: user, Scope: scope}); err != nil {
		r.t.Fatal(err)
	}
}

// locked makes a file that its DACL denies to everybody.
func (r *roled) locked(path string) {
	r.t.Helper()
	m := client.OpenFile(path)
	m.CreateDisposition = smb2.DispositionCreate
	r.deny(m)
}

// deny denies what m opens to everybody.
func (r *roled) deny(m *smb2.CreateRequest) {
	r.t.Helper()
	sd, err := dtyp.ParseSDDL("D:P(D;;FA;;;WD)", dtyp.SID{})
	if err != nil {
		r.t.Fatal(err)
	}
	f := open(r.t, r.as("ann", "vms"), m)
	want(r.t, "setting the DACL", f.SetInfo(smb2.InfoSecurity, 0, uint32(dtyp.DACLSecurityInformation), sd.Encode()), ntstatus.Success)
	_ = f.Close()
}

func (r *roled) folder(path string) {
	r.t.Helper()
	m := client.OpenDirectory(path)
	m.CreateDisposition = smb2.DispositionCreate
	_ = open(r.t, r.as("ann", "vms"), m).Close()
}

// tryOpen opens what exists and closes it again.
func tryOpen(tree *client.Tree, path string, access dtyp.AccessMask, backup bool) error {
	m := client.OpenFile(path)
	m.DesiredAccess, m.CreateDisposition, m.CreateOptions = access, smb2.DispositionOpen, 0
	if backup {
		m.CreateOptions |= smb2.OptionOpenForBackupIntent
	}
	f, err := tree.Create(m)
	if err == nil {
		err = f.Close()
	}
	return err
}

func TestPrivilegedOpensAreAudited(t *testing.T) {
	r := newRoled(t)
	r.locked("f")
	ann, bob := r.as("ann", "vms"), r.as("bob", "vms")
	r.audit.take()
	for _, tt := range []struct {
		tree   *client.Tree
		access dtyp.AccessMask
		backup bool
		status ntstatus.Status
		lines  []string
	}{
		{ann, dtyp.FileReadData, true, ntstatus.Success,
			[]string{fmt.Sprintf("ann vms/f intent=true granted=%[1]v gained=%[1]v by=SeBackupPrivilege STATUS_SUCCESS", dtyp.AccessMask(dtyp.FileReadData))}},
		{ann, dtyp.FileReadData | dtyp.FileWriteData, true, ntstatus.Success,
			[]string{fmt.Sprintf("ann vms/f intent=true granted=%[1]v gained=%[1]v by=SeBackupPrivilege,SeRestorePrivilege STATUS_SUCCESS",
				dtyp.AccessMask(dtyp.FileReadData|dtyp.FileWriteData))}},
		{ann, dtyp.WriteOwner, false, ntstatus.Success,
			[]string{fmt.Sprintf("ann vms/f intent=false granted=%[1]v gained=%[1]v by=SeTakeOwnershipPrivilege STATUS_SUCCESS", dtyp.AccessMask(dtyp.WriteOwner))}},
		{ann, dtyp.WriteDAC, false, ntstatus.Success, nil}, // the owner's right
		{ann, dtyp.FileReadData, false, ntstatus.AccessDenied, nil},
		{ann, dtyp.AccessSystemSecurity | dtyp.FileReadData, false, ntstatus.AccessDenied,
			[]string{fmt.Sprintf("ann vms/f intent=false granted=%v gained=%v by=SeSecurityPrivilege STATUS_ACCESS_DENIED",
				dtyp.AccessMask(0), dtyp.AccessMask(dtyp.AccessSystemSecurity))}},
		{bob, dtyp.FileReadData, true, ntstatus.AccessDenied, nil},
		{bob, dtyp.AccessSystemSecurity | dtyp.FileReadData, false, ntstatus.PrivilegeNotHeld,
			[]string{fmt.Sprintf("bob vms/f intent=false granted=%[1]v gained=%[1]v by= STATUS_PRIVILEGE_NOT_HELD", dtyp.AccessMask(0))}},
	} {
		what := fmt.Sprintf("%v, intent %v", tt.access, tt.backup)
		want(t, what, tryOpen(tt.tree, "f", tt.access, tt.backup), tt.status)
		if got := r.audit.take(); !slices.Equal(got, tt.lines) {
			t.Errorf("%s:\n got %q\nwant %q", what, got, tt.lines)
		}
	}
}

func TestRolesOfAShareAndAFolder(t *testing.T) {
	r := newRoled(t)
	r.folder("dept")
	r.folder("depth")
	for _, path := range []string{"f", `dept\f`, `depth\f`} {
		r.locked(path)
	}
	before := r.as("bob", "vms")
	r.grant(auth.RoleBackupOperator, "bob", "vms/dept")
	check := func(what string, tree *client.Tree, wants map[string]ntstatus.Status) {
		t.Helper()
		for path, status := range wants {
			want(t, what+", "+path, tryOpen(tree, path, dtyp.FileReadData, true), status)
		}
	}
	const ok, denied = ntstatus.Success, ntstatus.AccessDenied
	check("before the grant", before, map[string]ntstatus.Status{"f": denied, `dept\f`: denied, `depth\f`: denied})
	check("of the folder", r.as("bob", "vms"), map[string]ntstatus.Status{"f": denied, `dept\f`: ok, `DEPT\f`: ok, `depth\f`: denied})
	check("another share", r.as("bob", "iso"), map[string]ntstatus.Status{"f": denied, `dept\f`: denied})
	r.grant(auth.RoleBackupOperator, "bob", "vms")
	check("of the share", r.as("bob", "vms"), map[string]ntstatus.Status{"f": ok, `dept\f`: ok, `depth\f`: ok})
	check("still another share", r.as("bob", "iso"), map[string]ntstatus.Status{"f": denied})
}

// What somebody may restore in one folder ends where the folder does: a file cannot be
// moved or linked from there into a place that is closed to its owner.
func TestAFoldersRoleDoesNotReachByRename(t *testing.T) {
	r := newRoled(t)
	for _, path := range []string{"dept", `dept\below`, "closed"} {
		r.folder(path)
	}
	r.locked(`closed\there`)
	closed := client.OpenDirectory("closed")
	r.deny(closed)
	below := client.OpenDirectory(`dept\below`)
	r.deny(below)
	r.grant(auth.RoleBackupOperator, "bob", "vms/dept")
	tree := r.as("bob", "vms")
	const ok, denied = ntstatus.Success, ntstatus.AccessDenied
	for i, tt := range []struct {
		to     string
		flags  uint32
		status ntstatus.Status
	}{
		{`closed\new`, 0, denied},
		{`closed\there`, object.RenameReplaceIfExists, denied},
		{`dept\..\closed\new`, 0, ntstatus.InvalidParameter},
		{`dept\below\new`, 0, ok},
	} {
		path := fmt.Sprintf(`dept\f%d`, i)
		r.locked(path)
		for _, class := range []fscc.FileInformationClass{fscc.FileLinkInformation, fscc.FileRenameInformation} {
			m := client.OpenFile(path)
			m.DesiredAccess, m.CreateDisposition = dtyp.Delete|dtyp.FileWriteAttributes, smb2.DispositionOpen
			m.CreateOptions |= smb2.OptionOpenForBackupIntent
			f := open(t, tree, m)
			to := tt.to
			if tt.status == ok {
				to += class.String()
			}
			x := fscc.RenameInformation{Flags: tt.flags, FileName: to}
			err := f.SetInfo(smb2.InfoFile, uint8(class), 0, x.AppendRename(nil, class))
			want(t, fmt.Sprintf("%v to %s", class, to), err, tt.status)
			_ = f.Close()
		}
	}
}
