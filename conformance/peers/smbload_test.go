package peers

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"gabion/conformance/rig"
)

var workloads = []string{"seqread", "seqwrite", "randread", "randwrite", "randrw", "mixed", "open-close", "create-delete", "listdir", "echo"}

// Every workload of the load generator in every security mode, verifying each
// byte: no mismatch, no error.
func TestLoadVerified(t *testing.T) {
	load := filepath.Join(t.TempDir(), "smbload")
	if out, err := exec.Command("go", "build", "-o", load, "gabion/conformance/smbload").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := rig.Start(t, "--signing", "enabled")
	for _, security := range []string{"none", "sign", "encrypt"} {
		for _, w := range workloads {
			t.Run(security+"/"+w, func(t *testing.T) {
				args := []string{"-addr", s.Addr, "-share", "vms", "-user", rig.User, "-workload", w,
					"-security", security, "-verify", "-conns", "2", "-qd", "8", "-size", "16m", "-duration", "1s", "-warmup", "0s", "-cleanup"}
				if w == "listdir" {
					args = append(args, "-files", "200") // each is made and removed with a sync of its own
				}
				cmd := exec.Command(load, args...)
				cmd.Env = append(os.Environ(), "SMBLOAD_PASSWORD="+rig.Password)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			})
		}
	}
}
