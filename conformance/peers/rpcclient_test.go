package peers

import (
	"os/exec"
	"strings"
	"testing"

	"gabion/conformance/rig"
)

// rpcclient runs one command on a server's pipes.
func rpcclient(t *testing.T, s *rig.Server, user, command string) string {
	t.Helper()
	out, _ := exec.Command("rpcclient", s.Host, "-p", s.Port, "-U", user, "-c", command).CombinedOutput()
	return string(out)
}

// Windows' tools make, change and remove shares, for those who may.
func TestSharesEditedOverRPC(t *testing.T) {
	rig.Need(t, "rpcclient", "smbclient")
	data := t.TempDir()
	args := []string{"--share", "vms", "--user", "eve:Just-A-User-1"}
	s := rig.StartIn(t, data, args...)
	boss, eve := rig.User+"%"+rig.Password, "eve%Just-A-User-1"
	for _, command := range []string{`netshareadd "C:\disks\fast" fast 7 "for hosts"`, "netsharedel vms", "netsharesetinfo vms 1004"} {
		if out := rpcclient(t, s, eve, command); !strings.Contains(out, "WERR_ACCESS_DENIED") {
			t.Errorf("a user, %s:\n%s", command, out)
		}
	}
	if out := rpcclient(t, s, boss, `netshareadd "C:\disks\fast" fast 7 "for hosts"`); strings.Contains(out, "WERR_") {
		t.Fatal(out)
	}
	if out := rpcclient(t, s, boss, `netshareadd "C:\disks" fast`); !strings.Contains(out, "DUPLICATESHARE") {
		t.Error(out)
	}
	if out := rpcclient(t, s, boss, "netsharesetdfsflags fast 0x10"); strings.Contains(out, "WERR_") {
		t.Error(out)
	}
	use := func() (string, error) {
		out, err := exec.Command("smbclient", "//"+s.Host+"/fast", "-p", s.Port, "-U", boss, "-c", "mkdir d; rmdir d").CombinedOutput()
		return string(out), err
	}
	if out, err := use(); err != nil {
		t.Error(out)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	s = rig.StartIn(t, data, args...)
	for level, wants := range map[string][]string{
		"502":  {`netname: fast`, `path:	C:\disks\fast`, `remark:	for hosts`, `max_uses:	7`},
		"1005": {"flags: 0x10"},
	} {
		out := rpcclient(t, s, boss, "netsharegetinfo fast "+level)
		for _, w := range wants {
			if !strings.Contains(out, w) {
				t.Errorf("after a restart %q is missing:\n%s", w, out)
			}
		}
	}
	if out := rpcclient(t, s, boss, "netsharedel fast"); strings.Contains(out, "WERR_") {
		t.Error(out)
	}
	if out, err := use(); err == nil || !strings.Contains(out, "BAD_NETWORK_NAME") {
		t.Errorf("the share is there still: %s", out)
	}
}
