package rsvd

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"gabion/conformance/client"
	"gabion/protocol/smb2"
)

// What 4 KiB reads and writes cost the server through a shared disk, beside the same on a plain
// file of the same share and, so that caching is no matter, by the same unbuffered open:
// processor time of the server's process per operation, both kinds in turn. It runs when
// GABION_MEASURE is set; the figures are for people.
func TestMeasureCost(t *testing.T) {
	if os.Getenv("GABION_MEASURE") == "" {
		t.Skip("a measurement: set GABION_MEASURE")
	}
	r, s := start(t)
	a := &array{T: t, Server: s}
	a.Host = a.host()
	must(t, a.Upload("a.vhdx", dynamic(t, smallDisk)))
	d := a.disk("a.vhdx", 1)
	m := client.OpenFile("plain.bin")
	m.CreateOptions |= smb2.OptionNoIntermediateBuffering
	m.DesiredAccess = Access
	plain, err := a.Tree.Create(m)
	must(t, err)
	const blocks = 4096
	for off := int64(0); off < blocks*4096; off += 1 << 20 {
		for _, f := range []*client.File{d.File, plain} {
			if _, err := f.WriteAt(make([]byte, 1<<20), off); err != nil {
				t.Fatal(err)
			}
		}
	}
	const ops, depth, rounds = 20000, 32, 12
	for name, request := range map[string]func(*client.File, int) smb2.Message{
		"read": func(f *client.File, i int) smb2.Message {
			return &smb2.ReadRequest{FileID: f.ID, Offset: uint64(i%blocks) * 4096, Length: 4096}
		},
		"write": func(f *client.File, i int) smb2.Message {
			return &smb2.WriteRequest{FileID: f.ID, Offset: uint64(i%blocks) * 4096, Data: block4K}
		},
	} {
		var cost [2][]float64
		for range rounds {
			for k, f := range []*client.File{plain, d.File} {
				before := ticks(t, r.PID())
				pipeline(t, f, ops, depth, request)
				cost[k] = append(cost[k], float64(ticks(t, r.PID())-before)*10000/ops) // µs per operation at 100 ticks a second
			}
		}
		slices.Sort(cost[0])
		slices.Sort(cost[1])
		p, q := cost[0][rounds/2], cost[1][rounds/2]
		t.Logf("%s: plain %.2f µs, shared %.2f µs, %+.1f %% (medians of %d rounds of %d; least %.2f and %.2f)", name, p, q, 100*(q/p-1), rounds, ops, cost[0][0], cost[1][0])
	}
}

var block4K = make([]byte, 4096)

// pipeline keeps depth requests under way.
func pipeline(t *testing.T, f *client.File, ops, depth int, request func(*client.File, int) smb2.Message) {
	t.Helper()
	var under []*client.Pending
	for i := range ops {
		p, err := f.Tree.Start(request(f, i*7))
		must(t, err)
		if under = append(under, p); len(under) == depth {
			must(t, under[0].Done())
			under = under[1:]
		}
	}
	for _, p := range under {
		must(t, p.Done())
	}
}

// ticks is the processor time of a process.
func ticks(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(t, err)
	var user, system int64
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
	_, err = fmt.Sscan(f[11]+" "+f[12], &user, &system)
	must(t, err)
	return user + system
}
