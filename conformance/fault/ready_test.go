package fault

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/protocol/dtyp"
	"gabion/protocol/smb2"
	"gabion/store"
	"gabion/store/block"
)

// BenchmarkReady is how long a server takes from exec to its ready line after a kill, on a volume
// of many extents with many persistent opens, and what an open takes of its memory.
// GABION_READY_EXTENTS and GABION_READY_OPENS say how many; GABION_READY_DATA keeps the volume.
func BenchmarkReady(b *testing.B) {
	extents, opens := number("GABION_READY_EXTENTS", 20_000), number("GABION_READY_OPENS", 200)
	data := os.Getenv("GABION_READY_DATA")
	if data == "" {
		data = b.TempDir()
	}
	s := rig.StartIn(b, data, "--share", "vms,ca", "--log-level", "warn")
	if err := s.Stop(); err != nil {
		b.Fatal(err)
	}
	scatter(b, filepath.Join(data, "volume"), extents)
	if err := s.Run(); err != nil {
		b.Fatal(err)
	}
	before := resident(b, s.PID())
	tree := mount(b, s.Addr)
	var waiting []*client.Pending
	run := time.Now().UnixNano() // names of another run on the same volume may still be in use
	for i := range opens {
		m := client.OpenFile(fmt.Sprintf("d%d-%d.vhdx", i, run))
		m = client.WithLease(m, smb2.Lease{V2: true, Key: smb2.LeaseKey(dtyp.NewGUID()), State: rwh})
		m = client.WithContext(m, smb2.ContextDurableRequestV2,
			&smb2.DurableRequestV2{CreateGUID: dtyp.NewGUID(), Flags: smb2.DurableFlagPersistent, Timeout: 300_000})
		p, err := tree.Start(m)
		if err != nil {
			b.Fatal(err)
		}
		if waiting = append(waiting, p); len(waiting) == 32 || i == opens-1 {
			for _, p := range waiting {
				if _, err := p.File(); err != nil {
					b.Fatal(err)
				}
			}
			waiting = waiting[:0]
		}
	}
	held := resident(b, s.PID()) - before
	var longest, sum time.Duration
	for b.Loop() {
		s.Kill()
		began := time.Now()
		if err := s.Run(); err != nil {
			b.Fatal(err)
		}
		took := time.Since(began)
		longest, sum = max(longest, took), sum+took
	}
	out, _, err := s.Command("open", "list")
	if n := strings.Count(out, "persistent"); err != nil || n < opens {
		b.Errorf("%d opens came back, %v", n, err)
	}
	b.ReportMetric(sum.Seconds()/float64(b.N), "s/ready")
	b.ReportMetric(longest.Seconds(), "s/longest")
	b.ReportMetric(float64(held)/float64(opens), "B/open")
}

// scatter makes a file of so many extents: blocks with holes between them, most of which share
// their data with others, as after many clones, so that the disk need not hold it.
func scatter(b *testing.B, dir string, extents int) {
	v, err := block.Open(block.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := v.Close(); err != nil {
			b.Fatal(err)
		}
	}()
	root, err := v.Root(store.Live)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	n, _, err := v.Create(root, "scattered", store.Init{})
	if err != nil {
		if _, _, err = v.Open(root, "scattered"); err == nil {
			return // GABION_READY_DATA has it from another run
		}
		b.Fatal(err)
	}
	defer n.Close()
	f, err := n.Data()
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	const step, group = 8192, 8 << 20 // an extent of a block and a hole; what is cloned at once
	p := make([]byte, 4096)
	size := int64(extents) * step
	for off := int64(0); off < min(size, group); off += step {
		binary.LittleEndian.PutUint64(p, uint64(off)+1)
		if _, err := f.WriteAt(p, off, store.Touch{}); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := f.SetSize(size, store.Touch{}); err != nil {
		b.Fatal(err)
	}
	for off := int64(group); off < size; off += group {
		if _, err := f.CloneFrom(off, f, 0, min(group, size-off), store.Touch{}); err != nil {
			b.Fatal(err)
		}
	}
}

// resident is what a process has in memory, in bytes.
func resident(b *testing.B, pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(kb), " kB"))
			return n << 10
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
