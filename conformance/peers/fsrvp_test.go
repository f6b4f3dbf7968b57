package peers

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gabion/conformance/rig"
)

// fss runs rpcclient's FSRVP commands with messages sealed.
func fss(t *testing.T, s *rig.Server, user, command string) string {
	t.Helper()
	out, _ := exec.Command("rpcclient", "ncacn_np:"+s.Host+"[seal]", "-p", s.Port, "-U", user, "-c", command).CombinedOutput()
	return string(out)
}

// exposure is what fss_create_expose prints of a share.
var exposure = regexp.MustCompile(`(?m)^([0-9a-f-]{36})\(([0-9a-f-]{36})\): share (\S+) exposed`)

// onShare runs smbclient commands on a share.
func onShare(s *rig.Server, share, user, commands string) (string, error) {
	out, err := exec.Command("smbclient", "//"+s.Host+"/"+share, "-p", s.Port, "-U", user, "-c", commands).CombinedOutput()
	return string(out), err
}

// A backup of a share, as a host with auto-recovery does it, with the server killed in the middle.
func TestShadowCopies(t *testing.T) {
	rig.Need(t, "rpcclient", "smbclient")
	s := rig.StartIn(t, t.TempDir(), "--share", "all", "--share", "vms,path=vms", "--user", "eve:Just-A-User-1")
	boss, eve := rig.User+"%"+rig.Password, "eve%Just-A-User-1"
	dir := t.TempDir()
	local := func(name, text string) string {
		path := filepath.Join(dir, name)
		if text != "" {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	must := func(share, commands string) {
		t.Helper()
		if out, err := onShare(s, share, boss, commands); err != nil {
			t.Fatalf("%s: %v\n%s", share, err, out)
		}
	}
	content := func(share, name string) string {
		t.Helper()
		path := local("got", "")
		must(share, "get "+name+" "+path)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	must("vms", `mkdir vm; put `+local("before", "before")+` vm\disk; put `+local("stream", "in a stream")+` vm\disk:note`)

	if out := fss(t, s, eve, "fss_is_path_sup vms"); !strings.Contains(out, "0x80070005") {
		t.Errorf("a user may have shadow copies:\n%s", out)
	}
	if out, _ := exec.Command("rpcclient", s.Host, "-p", s.Port, "-U", boss, "-c", "fss_is_path_sup vms").CombinedOutput(); !strings.Contains(string(out), "0x80070005") {
		t.Errorf("without RPC's own protection:\n%s", out)
	}
	out := fss(t, s, boss, "fss_create_expose backup rw vms")
	m := exposure.FindStringSubmatch(out)
	if m == nil {
		t.Fatal(out)
	}
	set, copy, share := m[1], m[2], m[3]
	if out, err := onShare(s, "vms", boss, `allinfo vm\disk`); err != nil || strings.Contains(out, "@GMT") {
		t.Errorf("a backup's snapshot among the previous versions: %v\n%s", err, out)
	}
	s.Kill()
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	must("vms", `put `+local("after", "after")+` vm\disk`)
	must(share, `put `+local("repaired", "repaired")+` vm\journal`)
	for name, want := range map[string]string{`vm\disk`: "before", `vm\disk:note`: "in a stream", `vm\journal`: "repaired"} {
		if got := content(share, name); got != want {
			t.Errorf("%s in the shadow copy: %q, want %q", name, got, want)
		}
	}
	must(share, `put `+local("repaired", "")+` vm\again`)
	if got := content("vms", `vm\disk`); got != "after" {
		t.Errorf("the live disk: %q", got)
	}
	if out, err := onShare(s, "all", eve, `ls "System Volume Information\*"`); err == nil || !strings.Contains(out, "ACCESS_DENIED") {
		t.Errorf("a user in the folder of clones: %v\n%s", err, out)
	}

	if out := fss(t, s, boss, "fss_recovery_complete "+set); strings.Contains(out, "failed") {
		t.Fatal(out)
	}
	if out, err := onShare(s, share, boss, `put `+local("repaired", "")+` vm\late`); err == nil && !strings.Contains(out, "NT_STATUS_") {
		t.Errorf("written after recovery:\n%s", out)
	}
	if got := content(share, `vm\again`); got != "repaired" {
		t.Errorf("after recovery: %q", got)
	}
	if out := fss(t, s, boss, "fss_has_shadow_copy vms"); !strings.Contains(out, "has an associated shadow-copy") {
		t.Error(out)
	}
	if out := fss(t, s, boss, "fss_delete vms "+set+" "+copy); strings.Contains(out, "failed") {
		t.Fatal(out)
	}
	if out, err := onShare(s, share, boss, "ls"); err == nil || !strings.Contains(out, "BAD_NETWORK_NAME") {
		t.Errorf("the exposed share is there still: %v\n%s", err, out)
	}
	if out, _, err := s.Command("snapshot", "list", "--json"); err != nil || strings.Contains(string(out), "fsrvp") {
		t.Errorf("snapshots: %s, %v", out, err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if out, errs, err := s.Command("check"); err != nil {
		t.Errorf("check: %v\n%s%s", err, out, errs)
	}
}

// Two shares in one set show the same instant: a writer that goes from one to the other, one
// write after another, is seen cut off at one point.
func TestShadowCopiesOfTwoSharesAreOneInstant(t *testing.T) {
	rig.Need(t, "rpcclient")
	s := rig.StartIn(t, t.TempDir(), "--share", "vms,path=vms", "--share", "sql,path=sql")
	const blocks = 64
	shares := []string{"vms", "sql"}
	var files []io.WriterAt
	for _, name := range shares {
		f, err := mount(t, s, name).Create("disk")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(blocks * 8); err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	var issued, answered atomic.Uint64
	var longest time.Duration // until over
	stop, over := make(chan struct{}), make(chan error, 1)
	go func() {
		for k := uint64(1); ; k++ {
			select {
			case <-stop:
				over <- nil
				return
			default:
			}
			issued.Store(k)
			sent := time.Now()
			if _, err := files[k%2].WriteAt(binary.LittleEndian.AppendUint64(nil, k), int64(k/2%blocks*8)); err != nil {
				over <- err
				return
			}
			answered.Store(k)
			longest = max(longest, time.Since(sent))
		}
	}()
	user := rig.User + "%" + rig.Password
	for range 5 {
		from := answered.Load()
		out := fss(t, s, user, "fss_create_expose backup ro vms sql")
		to := issued.Load()
		ms := exposure.FindAllStringSubmatch(out, -1)
		if len(ms) != 2 {
			t.Fatal(out)
		}
		seen := uint64(0)
		var shown [2][]byte
		for i, m := range ms {
			b, err := mount(t, s, m[3]).ReadFile("disk")
			if err != nil {
				t.Fatal(err)
			}
			shown[i] = b
			for b := range blocks {
				seen = max(seen, binary.LittleEndian.Uint64(shown[i][b*8:]))
			}
		}
		if seen < from || seen > to {
			t.Errorf("the copy ends with write %d; %d was answered before, %d sent after", seen, from, to)
		}
		var model [2][blocks]uint64
		for k := uint64(1); k <= seen; k++ {
			model[k%2][k/2%blocks] = k
		}
		for i := range shown {
			which := 0 // the order in which rpcclient prints the shares
			if strings.HasPrefix(ms[i][3], shares[1]) {
				which = 1
			}
			for b := range blocks {
				if got := binary.LittleEndian.Uint64(shown[i][b*8:]); got != model[which][b] {
					t.Fatalf("share %s block %d shows write %d, want %d of %d", ms[i][3], b, got, model[which][b], seen)
				}
			}
		}
		for _, m := range ms {
			base, _, _ := strings.Cut(m[3], "@")
			if out := fss(t, s, user, fmt.Sprintf("fss_delete %s %s %s", base, m[1], m[2])); strings.Contains(out, "failed") {
				t.Fatal(out)
			}
		}
	}
	close(stop)
	if err := <-over; err != nil {
		t.Error(err)
	}
	t.Logf("%d writes, the longest took %v", answered.Load(), longest)
}

// Samba's own tests of the agent. What fails does because the tests want what Samba does
// instead of the document, or a previous version for every shadow copy, which Windows does not make.
func TestTortureOfShadowCopies(t *testing.T) {
	rig.Need(t, "smbtorture")
	s := rig.StartIn(t, t.TempDir(), "--share", "fsrvp_share,path=fs", "--test-mode", "--signing", "enabled")
	fails := map[string]string{
		"enum_created": "[MS-FSRVP] has no previous versions; Windows lists none for shadow copies",
		"bad_id":       "wants E_INVALIDARG for an unknown copy where [MS-FSRVP] 3.1.4.12 says FSRVP_E_OBJECT_NOT_FOUND",
		"seq_timeout":  "wants E_INVALIDARG for a set that is gone where [MS-FSRVP] 3.1.4.4 says FSRVP_E_SHADOWCOPYSET_ID_MISMATCH",
	}
	for _, test := range []string{"share_sd", "enum_created", "sc_share_io", "bad_id", "sc_set_abort", "create_simple", "set_ctx", "get_version",
		"is_path_supported", "seq_timeout"} {
		t.Run(test, func(t *testing.T) {
			out, err := exec.Command("smbtorture", "-p", s.Port, "-U", rig.User+"%"+rig.Password, "--option=fss:sequence timeout=5",
				"--basedir="+t.TempDir(), "ncacn_np:"+s.Host+"[seal]", "rpc.fsrvp.fsrvp."+test).CombinedOutput()
			if passed := err == nil && strings.Contains(string(out), "success: "); passed != (fails[test] == "") {
				t.Errorf("passed %v, although: %s\n%s", passed, fails[test], out)
			}
			// The tests that end in the middle leave a set behind.
			if fails[test] != "" {
				fss(t, s, rig.User+"%"+rig.Password, "fss_create_expose backup ro fsrvp_share")
			}
		})
	}
}
