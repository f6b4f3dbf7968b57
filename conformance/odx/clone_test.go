package odx

import (
	"fmt"
	"strings"
	"testing"

	"gabion/conformance/client"
	"gabion/conformance/rig"
)

// `gabion clone`: a file, a folder, a snapshot's version, and what is refused.
func TestCloneCommand(t *testing.T) {
	s := rig.Start(t)
	tree := connect(t, s, "vms")
	must(t, open(t, tree, client.OpenDirectory("golden")).Close())
	must(t, open(t, tree, client.OpenDirectory(`golden\sub`)).Close())
	f, data := filled(t, tree, `golden\disk.vhdx`, 40<<20, 1)
	g, small := filled(t, tree, `golden\sub\config.xml`, 1234, 2)
	h, stream := filled(t, tree, `golden\disk.vhdx:extra`, 70_000, 3)
	must(t, h.Close())
	must(t, g.Close())
	ask(t, s, nil, "snapshot", "create", "vms/golden", "before")
	must(t, f.Flush())
	var r struct {
		Files int
		Bytes int64 `json:"bytes_changed"`
	}
	var before, after struct{ DataWritten, DataRead int64 }
	ask(t, s, &before, "volume", "stats")
	ask(t, s, &r, "clone", "vms/golden", "vms/new")
	ask(t, s, &after, "volume", "stats")
	if r.Files != 2 || r.Bytes != 40<<20+1234 {
		t.Errorf("%+v", r)
	}
	if n := after.DataWritten - before.DataWritten; n > 1<<20 {
		t.Errorf("%d bytes of data were written", n)
	}
	holds(t, "disk", file(t, tree, `new\disk.vhdx`), data)
	holds(t, "stream", file(t, tree, `new\disk.vhdx:extra`), stream)
	holds(t, "config", file(t, tree, `new\sub\config.xml`), small)
	// The source goes on, and may go.
	write(t, f, random(9, 1<<20), 0)
	ask(t, s, nil, "clone", "vms/golden/disk.vhdx", "vms/old.vhdx", "--snapshot", "before")
	holds(t, "a snapshot's version", file(t, tree, "old.vhdx"), data)
	ask(t, s, nil, "clone", "vms/golden/disk.vhdx", "vms/now.vhdx")
	copy(data, random(9, 1<<20))
	holds(t, "what is there now", file(t, tree, "now.vhdx"), data)
	for want, args := range map[string][]string{
		"exists":         {"vms/golden/disk.vhdx", "vms/now.vhdx"},
		"folder":         {"vms/golden/disk.vhdx", "vms/nowhere/now.vhdx"},
		"not found":      {"vms/nothing", "vms/x"},
		"no snapshot":    {"vms/golden", "vms/x", "--snapshot", "never"},
		"not SHARE/PATH": {"vms/golden", "vms"},
	} {
		_, stderr, err := s.Command(append([]string{"clone"}, args...)...)
		if err == nil || !strings.Contains(stderr, want) {
			t.Errorf("clone %v: %v, %s", args, err, stderr)
		}
	}
	var list []struct{ Name string }
	ask(t, s, &list, "snapshot", "list")
	if len(list) != 1 {
		t.Errorf("left are the snapshots %v", list)
	}
}

// kill -9 while `gabion clone` runs: whole, or gone with the rest being checked.
func TestKillDuringCloneCommand(t *testing.T) {
	s := rig.Start(t)
	tree := connect(t, s, "vms")
	must(t, open(t, tree, client.OpenDirectory("golden")).Close())
	for i := range 40 {
		f, _ := filled(t, tree, fmt.Sprintf(`golden\d%d`, i), 300_000, uint64(i))
		must(t, f.Close())
	}
	for round := range 5 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 20 {
				if _, _, err := s.Command("clone", "vms/golden", fmt.Sprintf("vms/c%d-%d", round, i)); err != nil {
					return
				}
			}
		}()
		for i := range 3 + 2*round { // some work of the server's passes
			if f, err := tree.Create(client.OpenFile(fmt.Sprint("n", i))); err == nil {
				f.Close()
			}
		}
		s.Kill()
		<-done
		if out, stderr, err := s.Command("check"); err != nil {
			t.Fatalf("round %d: check: %v\n%s%s", round, err, out, stderr)
		}
		must(t, s.Run())
		tree = connect(t, s, "vms")
	}
}
