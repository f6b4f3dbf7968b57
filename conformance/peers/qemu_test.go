package peers

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"gabion/conformance/rig"
)

// A virtual disk made by qemu-img goes in and out and is still itself.
func TestQemuImages(t *testing.T) {
	rig.Need(t, "smbclient", "qemu-img", "qemu-io")
	s := rig.Start(t)
	dir := t.TempDir()
	c := &smbclient{t: t, s: s, protection: "sign", dir: dir}
	for _, kind := range []string{"fixed", "dynamic"} {
		disk := kind + ".vhdx"
		tool(t, dir, "qemu-img", "create", "-q", "-f", "vhdx", "-o", "subformat="+kind, disk, "64M")
		tool(t, dir, "qemu-io", "-f", "vhdx", "-c", "write -P 0x5a 1M 3M", "-c", "write -P 0xa5 40M 123k", disk)
		c.run("put " + disk + "; get " + disk + " back-" + disk)
		tool(t, dir, "qemu-img", "check", "-q", "back-"+disk)
		tool(t, dir, "qemu-img", "compare", "-q", disk, "back-"+disk)
		if err := os.Remove(filepath.Join(dir, disk)); err != nil {
			t.Fatal(err)
		}
	}
}

func tool(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}
