package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gabion/auth"
	"gabion/auth/kerberos"
	"gabion/auth/kerberos/kdctest"
	"gabion/protocol/krb5"
	"gabion/protocol/spnego"
	"gabion/server/vm"
	"gabion/store"
)

// put writes a file of the volume, making its folders.
func (a *array) put(t *testing.T, path string, content []byte) {
	t.Helper()
	n, err := a.volume.Root(store.Live)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(path, "/")
	for i, name := range parts {
		next, _, err := a.volume.Open(n, name)
		if err != nil {
			next, _, err = a.volume.Create(n, name, store.Init{Dir: i < len(parts)-1})
		}
		n.Close()
		if err != nil {
			t.Fatal(err)
		}
		n = next
	}
	defer n.Close()
	s, err := n.Data()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err = s.SetSize(0, store.Touch{}); err == nil {
		_, err = s.WriteAt(content, 0, store.Touch{LastWrite: 132000000000000000})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// get reads a file of the volume.
func (a *array) get(t *testing.T, path string) string {
	t.Helper()
	n, err := vm.Walk(a.volume, store.Live, path)
	if err != nil {
		return "(" + err.Error() + ")"
	}
	defer n.Close()
	s, err := n.Data()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p := make([]byte, s.Sizes().Size)
	if _, err := s.ReadAt(p, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return string(p)
}

// A volume that fills up says so, where whoever looks at it or collects its metrics sees it.
func TestFullVolumeWarnsAsAUser(t *testing.T) {
	var log said
	a, _ := start(t, &log, "--user=bob:Correct-Horse-77", "--share=vms", "--capacity=512M")
	var st struct {
		Full     float64 `json:"full_percent"`
		Warning  string
		Capacity int64 `json:"capacity_bytes"`
		Free     int64 `json:"free_bytes"`
	}
	look := func() {
		t.Helper()
		if err := json.Unmarshal([]byte(a.gabion(t, "status", "--json")), &st); err != nil {
			t.Fatal(err)
		}
	}
	if look(); st.Warning != "" || st.Full >= 80 {
		t.Fatalf("an empty volume: %+v", st)
	}
	part := make([]byte, 16<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(part)
	for i, want := range []int{80, 90, 95} {
		for n := 0; st.Full < float64(want); n++ {
			a.put(t, fmt.Sprintf("fill/%d-%d", i, n), part[:min(int64(len(part)), max(64<<10, st.Free/20))])
			look()
		}
		if text := fmt.Sprintf("more than %d %% full", want); !strings.Contains(st.Warning, text) || !strings.Contains(a.gabion(t, "status"), text) {
			t.Errorf("at %.1f %%: %q", st.Full, st.Warning)
		}
	}
}

// An administrator's day: machines, snapshots, restore, sync, difference, mount, and every refusal.
func TestSnapshotsAsAUser(t *testing.T) {
	var log said
	a, _ := start(t, &log, "--user=bob:Correct-Horse-77", "--share=vms", "--share=iso,path=images")
	a.put(t, "prod/os.vhdx", bytes.Repeat([]byte("p"), 1<<20))
	a.put(t, "prod/data.vhdx", bytes.Repeat([]byte("q"), 300<<10))
	a.put(t, "dev/os.vhdx", bytes.Repeat([]byte("d"), 1<<20))
	a.put(t, "dev/data.vhdx", bytes.Repeat([]byte("e"), 300<<10))
	has := func(text string, args ...string) {
		t.Helper()
		if out := a.gabion(t, args...); !strings.Contains(out, text) {
			t.Errorf("gabion %s: no %q in\n%s", strings.Join(args, " "), text, out)
		}
	}
	has("vms/prod", "vm", "list")
	has("both", "group", "set", "both", "--vm", "prod", "--vm", "dev")
	a.refused(t, "not found", "vm", "add", "x", "--part", "vms/none")
	a.refused(t, "not found", "group", "set", "g", "--vm", "none")
	has("sql", "vm", "add", "sql", "--part", "vms/prod/os.vhdx", "--part", "vms/dev/data.vhdx")
	a.refused(t, "exists already", "vm", "add", "sql", "--part", "vms/prod")

	has("nightly", "snapshot", "create", "group:both", "nightly")
	a.refused(t, "already", "snapshot", "create", "vms", "nightly")
	a.refused(t, `there is no share "none"`, "snapshot", "create", "none")
	a.refused(t, "cannot name", "snapshot", "create", "vms", "a/b")
	a.refused(t, "neither a date", "snapshot", "create", "vms", "x", "--immutable", "soon")
	a.refused(t, "a target is", "snapshot", "create", "disk:x")
	has("group:both", "snapshot", "list")
	has("nightly", "snapshot", "list", "vm:prod")

	a.put(t, "prod/os.vhdx", []byte("ruined"))
	has("vms/prod/os.vhdx", "snapshot", "diff", "nightly", "now")
	var changes []struct {
		Path   string
		Ranges [][2]int64
	}
	if err := json.Unmarshal([]byte(a.gabion(t, "diff", "nightly", "now", "vms/prod", "--json")), &changes); err != nil || len(changes) != 1 || len(changes[0].Ranges) == 0 {
		t.Errorf("%v %+v", err, changes)
	}
	a.refused(t, `no snapshot "none"`, "diff", "none", "now")
	a.refused(t, "does not cover", "diff", "nightly", "now", "iso")

	has("before-restore", "restore", "vm:prod", "nightly")
	if a.get(t, "prod/os.vhdx") != strings.Repeat("p", 1<<20) {
		t.Error("restored something else")
	}
	a.refused(t, "does not cover", "restore", "vms/never", "nightly")
	a.refused(t, `no snapshot "none"`, "restore", "vms/prod", "none")
	a.refused(t, "SNAPSHOT is missing", "restore", "vms/prod")
	a.refused(t, "is not a time", "restore", "vms/prod", "nightly", "--wait", "long")

	a.put(t, "prod/os.vhdx", []byte("newer"))
	out := a.gabion(t, "sync", "vm:prod", "vm:dev", "--snapshot", "nightly")
	if !strings.Contains(out, "before-sync") || a.get(t, "dev/os.vhdx") != strings.Repeat("p", 1<<20) || a.get(t, "dev/data.vhdx") != strings.Repeat("q", 300<<10) {
		t.Errorf("synced something else\n%s", out)
	}
	a.gabion(t, "sync", "vm:prod", "vm:dev", "--disk", "os.vhdx")
	if a.get(t, "dev/os.vhdx") != "newer" {
		t.Error("synced from now")
	}
	a.refused(t, "FROM=TO", "sync", "vm:prod", "vm:dev", "--snapshot", "nightly", "--disk", "x.vhdx")

	has("vms@nightly", "snapshot", "mount", "nightly", "vms/prod")
	has("nightly", "share", "list", "--json")
	a.refused(t, "remove that first", "snapshot", "delete", "nightly")
	a.refused(t, "exists", "snapshot", "mount", "nightly", "vms/prod")
	a.refused(t, "does not cover", "snapshot", "mount", "nightly", "iso", "x")
	a.gabion(t, "share", "remove", "vms@nightly")
	a.gabion(t, "snapshot", "delete", "nightly")
	a.refused(t, `no snapshot "nightly"`, "snapshot", "delete", "nightly")

	has("worm", "snapshot", "create", "vms", "worm", "--immutable", "30d")
	a.refused(t, "is immutable until", "snapshot", "delete", "worm")
	a.refused(t, "only be extended", "snapshot", "lock", "worm", "1d")
	a.gabion(t, "snapshot", "lock", "worm", "40d")
	a.gabion(t, "snapshot", "delete", "worm", "--override", "ticket 4711")
	audit, err := os.ReadFile(filepath.Join(a.Data, "audit.log"))
	if err != nil || !strings.Contains(string(audit), `"msg":"override"`) || !strings.Contains(string(audit), "ticket 4711") {
		t.Errorf("the override is not in the audit log: %v\n%s", err, audit)
	}

	has("hourly", "schedule", "set", "hourly", "vms", "--every", "1h", "--keep-hourly", "24", "--keep-daily", "7")
	has("hourly", "schedule", "list")
	a.refused(t, "how many snapshots are kept", "schedule", "set", "x", "vms", "--every", "1h")
	a.refused(t, "must divide a day", "schedule", "set", "x", "vms", "--every", "7m", "--keep-last", "3")
	a.refused(t, "no such schedule", "schedule", "remove", "x")
	has("true", "schedule", "pause", "hourly")
	a.gabion(t, "schedule", "resume", "hourly")
	a.gabion(t, "schedule", "remove", "hourly")
	a.gabion(t, "group", "remove", "both")
	a.gabion(t, "vm", "remove", "sql")
	a.refused(t, "was not made here", "vm", "remove", "prod")
}

// Exports through files and pipes, cut and continued, and back into another folder.
func TestExportAndImportAsAUser(t *testing.T) {
	var log said
	a, _ := start(t, &log, "--user=bob:Correct-Horse-77", "--share=vms")
	content := bytes.Repeat([]byte("0123456789abcdef"), 200<<10)
	a.put(t, "src/disk.vhdx", content)
	a.put(t, "src/vm.cfg", []byte("config"))
	a.put(t, "one/x", nil)
	a.put(t, "two/x", nil)
	a.gabion(t, "snapshot", "create", "vms/src", "first")
	file := filepath.Join(t.TempDir(), "full.gbx")
	a.gabion(t, "export", "vms/src", "--snapshot", "first", "-o", file)
	a.refused(t, "exists", "export", "vms/src", "--snapshot", "first", "-o", file)
	out := a.gabion(t, "import", "vms/one", "-i", file, "--json")
	if a.get(t, "one/disk.vhdx") != string(content) || a.get(t, "one/vm.cfg") != "config" {
		t.Errorf("imported something else: %s", out)
	}
	a.refused(t, "--replace", "import", "vms/one", "-i", file)

	// Broken in the middle, twice: refused with place and cause, and continued.
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.gbx")
	if err := os.WriteFile(cut, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	a.refused(t, "broken at byte", "import", "vms/two", "-i", cut)
	a.refused(t, "ends too early", "import", "vms/two", "-i", cut)
	a.gabion(t, "export", "vms/src", "-o", cut, "--continue")
	a.gabion(t, "import", "vms/two", "-i", cut)
	if a.get(t, "two/disk.vhdx") != string(content) {
		t.Error("continued to something else")
	}
	whole[len(whole)/3] ^= 1
	if _, err := verbOf(t, bytes.NewReader(whole), "import", "vms/one", "--replace", "--data", a.Data); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("a flipped bit: %v", err)
	}
	// The difference, through a pipe.
	content[1<<20] = 'X'
	a.put(t, "src/disk.vhdx", content)
	a.gabion(t, "snapshot", "create", "vms/src", "second")
	diff := a.gabion(t, "export", "vms/src", "--snapshot", "second", "--base", "first")
	if _, err := verbOf(t, strings.NewReader(diff), "import", "vms/two", "--data", a.Data); err != nil {
		t.Error(err)
	}
	if a.get(t, "two/disk.vhdx") != string(content) {
		t.Error("the difference made something else")
	}
	a.refused(t, "not older", "export", "vms/src", "--snapshot", "first", "--base", "second")
	a.refused(t, "needs --snapshot", "export", "vms/src", "--resume", "0:0:0")
	a.refused(t, "no mark", "export", "vms/src", "--snapshot", "first", "--resume", "x")
	a.refused(t, "is not a folder", "import", "vms/src/vm.cfg", "-i", file)
	a.refused(t, "no such file", "import", "vms/one", "-i", file+"x")
	if _, err := verbOf(t, strings.NewReader("garbage that is long enough to be a header"), "import", "vms/one", "--data", a.Data); err == nil || !strings.Contains(err.Error(), "no frame of a gabion export") {
		t.Errorf("garbage: %v", err)
	}
}

// remote starts an array with its TLS listener and makes tokens of it.
func remote(t *testing.T, args ...string) (a *array, url string, token func(role, scope string) string) {
	t.Helper()
	a, _ = start(t, new(said), append([]string{"--user=bob:Correct-Horse-77", "--admin=127.0.0.1:0", "--share=vms"}, args...)...)
	n := 0
	return a, "https://" + a.remote.Addr().String(), func(role, scope string) string {
		t.Helper()
		n++
		var made struct{ Secret string }
		words := []string{"token", "create", fmt.Sprint("t", n), "--role", role, "--json"}
		if scope != "" {
			words = append(words, "--scope", scope)
		}
		if err := json.Unmarshal([]byte(a.gabion(t, words...)), &made); err != nil || made.Secret == "" {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(file, []byte(made.Secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
}

// A vm-operator at a distance sees and does what was granted, and nothing else.
func TestDelegationOverTLS(t *testing.T) {
	a, url, token := remote(t)
	a.put(t, "dev/os.vhdx", []byte("dev"))
	a.put(t, "prod/os.vhdx", []byte("prod"))
	a.gabion(t, "snapshot", "create", "vms/prod", "of-prod")
	a.gabion(t, "snapshot", "create", "vms", "of-all")
	ca := filepath.Join(a.Data, "admin.crt")
	operator := token("vm-operator", "vm:dev")
	do := func(file string, args ...string) (string, error) {
		return verbOf(t, nil, append(args, "--server", url, "--token-file", file, "--ca-file", ca)...)
	}
	ok := func(args ...string) string {
		t.Helper()
		out, err := do(operator, args...)
		if err != nil {
			t.Errorf("gabion %s: %v", strings.Join(args, " "), err)
		}
		return out
	}
	no := func(args ...string) {
		t.Helper()
		if out, err := do(operator, args...); err == nil || !strings.Contains(err.Error(), "needs the role") {
			t.Errorf("gabion %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	ok("snapshot", "create", "vm:dev", "mine")
	ok("snapshot", "create", "vms/dev", "by-path")
	if out := ok("snapshot", "list"); strings.Contains(out, "of-") || !strings.Contains(out, "mine") {
		t.Errorf("snapshots: %s", out)
	}
	if out := ok("vm", "list"); strings.Contains(out, "prod") || !strings.Contains(out, "dev") {
		t.Errorf("machines: %s", out)
	}
	a.put(t, "dev/os.vhdx", []byte("broken"))
	ok("restore", "vm:dev", "mine")
	if a.get(t, "dev/os.vhdx") != "dev" {
		t.Error("not restored")
	}
	ok("restore", "vm:dev", "of-all")
	ok("diff", "mine", "now", "--json")
	for _, args := range [][]string{
		{"snapshot", "create", "vm:prod"}, {"snapshot", "create", "vms"}, {"snapshot", "list", "vms/prod"}, {"snapshot", "delete", "mine"},
		{"restore", "vm:prod", "of-prod"}, {"sync", "vm:prod", "vm:dev", "--snapshot", "of-prod"}, {"sync", "vm:dev", "vm:prod"},
		{"diff", "of-prod", "now"}, {"export", "vm:prod", "--snapshot", "of-prod"}, {"import", "vms/prod", "-i", ca},
		{"status"}, {"share", "list"}, {"user", "list"}, {"role", "list"}, {"token", "list"}, {"session", "list"}, {"schedule", "list"},
		{"snapshot", "mount", "mine", "vms/dev"}, {"snapshot", "create", "vm:none"}, {"token", "create", "x", "--role", "super-admin"},
	} {
		no(args...)
	}
	no("export", "vm:dev", "--snapshot", "mine") // it carries no data out
	// Somebody who may read may not write.
	reader := token("read-only", "")
	if _, err := do(reader, "status"); err != nil {
		t.Error(err)
	}
	if _, err := do(reader, "snapshot", "create", "vms"); err == nil {
		t.Error("a reader took a snapshot")
	}
	// Revoked, it is worth nothing.
	var list []auth.APIToken
	if err := json.Unmarshal([]byte(a.gabion(t, "token", "list", "--json")), &list); err != nil || len(list) != 2 {
		t.Fatalf("%v %v", err, list)
	}
	if list[0].Role != auth.RoleVMOperator {
		list[0] = list[1]
	}
	a.gabion(t, "token", "revoke", list[0].ID)
	a.refused(t, "no such token", "token", "revoke", list[0].ID)
	if _, err := do(operator, "snapshot", "list"); err == nil || !strings.Contains(err.Error(), "not valid") {
		t.Errorf("revoked: %v", err)
	}
	// What can be wrong on this side.
	open := filepath.Join(t.TempDir(), "open")
	if err := errors.Join(os.WriteFile(open, []byte("x"), 0o644), os.Chmod(open, 0o644)); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	for says, args := range map[string][]string{
		"can be read by others": {"status", "--server", url, "--token-file", open, "--ca-file", ca},
		"wants a token":         {"status", "--server", url, "--ca-file", ca},
		"certificate":           {"status", "--server", url, "--token-file", reader},
		"is not https":          {"status", "--server", "http://x", "--token-file", reader},
	} {
		if _, err := verbOf(t, nil, args...); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v, want %q", args, err, says)
		}
	}
}

// web is an HTTP client that trusts the array.
func (a *array) web(t *testing.T) *http.Client {
	pem, err := os.ReadFile(filepath.Join(a.Data, "admin.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
}

// The gate keeps out who shows nothing or nonsense, other names, other sites' pages, and guessers.
func TestGate(t *testing.T) {
	a, url, token := remote(t)
	web := a.web(t)
	secret, err := os.ReadFile(token("super-admin", ""))
	if err != nil {
		t.Fatal(err)
	}
	good := "Bearer " + strings.TrimSpace(string(secret))
	ask := func(method, path string, headers ...string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			if headers[i] == "Host" {
				r.Host = headers[i+1]
			}
			r.Header.Set(headers[i], headers[i+1])
		}
		res, err := web.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	for _, tt := range []struct {
		want    int
		method  string
		headers []string
	}{
		{200, "GET", []string{"Authorization", good}},
		{401, "GET", nil},
		{401, "GET", []string{"Authorization", "Basic Ym9iOkNvcnJlY3Q="}},
		{401, "GET", []string{"Authorization", "Bearer x"}},
		{401, "GET", []string{"Authorization", "Negotiate xx"}},
		{421, "GET", []string{"Authorization", good, "Host", "evil.example"}},
		{403, "GET", []string{"Authorization", good, "Origin", "https://evil.example"}},
		{403, "GET", []string{"Authorization", good, "Sec-Fetch-Site", "cross-site"}},
		{200, "GET", []string{"Authorization", good, "Origin", url}},
	} {
		if got := ask(tt.method, "/v1/status", tt.headers...); got != tt.want {
			t.Errorf("%s %v: %d, want %d", tt.method, tt.headers, got, tt.want)
		}
	}
	for range 10 {
		ask("GET", "/v1/status", "Authorization", "Bearer guess")
	}
	if got := ask("GET", "/v1/status", "Authorization", good); got != 429 {
		t.Errorf("after many failures: %d", got)
	}
}

// Kerberos lets in with the roles of the account; by itself it reads only.
func TestGateTakesTickets(t *testing.T) {
	kdc, table := keytab(t, kerberos.AES256)
	a, url, _ := remote(t, "--keytab="+table)
	alice := kdctest.Domain.WithRID(1105)
	a.gabion(t, "role", "grant", "storage-admin", alice.String())
	web := a.web(t)
	ticket := func() string {
		c := kdctest.Client{Ticket: kdc.Issue(time.Now(), kdctest.Spec{Service: []string{"HTTP", kdc.Service[1]}}), Flags: krb5.FlagMutual}
		init := spnego.Init{Mechs: []asn1.ObjectIdentifier{spnego.Kerberos}, Token: c.Request(time.Now())}
		return "Negotiate " + base64.StdEncoding.EncodeToString(init.Append(nil))
	}
	ask := func(method, path, credentials, body string) (int, string, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", credentials)
		res, err := web.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b), res.Header.Get("WWW-Authenticate")
	}
	mine := ticket()
	if code, text, answer := ask("GET", "/v1/status", mine, ""); code != 200 || !strings.HasPrefix(answer, "Negotiate ") {
		t.Errorf("%d %s %q", code, text, answer)
	}
	if code, _, _ := ask("GET", "/v1/status", mine, ""); code != 401 {
		t.Errorf("the same ticket's proof again: %d", code)
	}
	if code, text, _ := ask("POST", "/v1/snapshots", ticket(), `{"target":"vms"}`); code != 403 || !strings.Contains(text, "/v1/session") {
		t.Errorf("a change by a ticket alone: %d %s", code, text)
	}
	code, text, _ := ask("POST", "/v1/session", ticket(), "")
	var session struct{ Token string }
	if err := json.Unmarshal([]byte(text), &session); code != 200 || err != nil {
		t.Fatalf("%d %s", code, text)
	}
	if code, text, _ := ask("POST", "/v1/snapshots", "Bearer "+session.Token, `{"target":"vms","name":"by-alice"}`); code != 200 {
		t.Errorf("%d %s", code, text)
	}
	if code, _, _ := ask("GET", "/v1/users", "Bearer "+session.Token, ""); code != 200 {
		t.Errorf("reading: %d", code)
	}
	if code, _, _ := ask("POST", "/v1/users", "Bearer "+session.Token, `{"name":"eve"}`); code != 403 {
		t.Errorf("a storage-admin makes users: %d", code)
	}
	audit, _ := os.ReadFile(filepath.Join(a.Data, "audit.log"))
	if !strings.Contains(string(audit), `"caller":"GABION\\alice"`) {
		t.Errorf("the audit log does not name alice:\n%s", audit)
	}
}
