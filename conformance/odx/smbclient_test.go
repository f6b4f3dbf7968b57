package odx

import (
	"bytes"
	"os/exec"
	"testing"

	"gabion/conformance/rig"
)

// smbclient's scopy copies on the server by FSCTL_SRV_COPYCHUNK.
func TestSmbclientScopy(t *testing.T) {
	rig.Need(t, "smbclient")
	s := rig.Start(t)
	tree := connect(t, s, "vms")
	f, data := filled(t, tree, "source", 37<<20+123, 1)
	must(t, f.Close())
	var before, after struct{ DataWritten, DataRead int64 }
	ask(t, s, &before, "volume", "stats")
	cmd := exec.Command("smbclient", "-p", s.Port, "-U", rig.User+"%"+rig.Password, "//"+s.Host+"/vms", "-c", "scopy source target")
	if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("NT_STATUS")) {
		t.Fatalf("%v\n%s", err, out)
	}
	ask(t, s, &after, "volume", "stats")
	if n := after.DataWritten - before.DataWritten; n > 1<<20 {
		t.Errorf("%d bytes of data were written", n)
	}
	g := file(t, tree, "target")
	holds(t, "scopy", g, data)
	if _, err := g.ReadAt(make([]byte, 1), int64(len(data))); err == nil {
		t.Error("the copy is longer")
	}
}
