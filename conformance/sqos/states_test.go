package sqos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	wire "gabion/protocol/sqos"
)

var (
	flowA = dtyp.MustParseGUID("aaaaaaaa-0000-4000-8000-000000000001")
	flowB = dtyp.MustParseGUID("bbbbbbbb-0000-4000-8000-000000000002")
	vm1   = dtyp.MustParseGUID("11111111-0000-4000-8000-000000000001")
	vm2   = dtyp.MustParseGUID("22222222-0000-4000-8000-000000000002")
	other = dtyp.MustParseGUID("cccccccc-0000-4000-8000-000000000003")
)

// say makes a request with inline numbers.
func say(o wire.Options, flow dtyp.GUID, limit uint64) Say {
	return Say{Request: wire.Request{Version: wire.Version11, Options: o, FlowID: flow, InitiatorID: vm1, Limit: limit}}
}

// Every request in every state of an open: not associated, associated with A. What the open is
// associated with afterwards is asked for by its status.
func TestStates(t *testing.T) {
	const (
		unbound = iota
		bound
	)
	ok, invalid, notFound := ntstatus.Success, ntstatus.InvalidParameter, ntstatus.NotFound
	all := wire.SetLogicalFlowID | wire.SetPolicy | wire.ProbePolicy | wire.GetStatus | wire.UpdateCounters
	_, hosts := start(t)
	h, err := hosts.Connect()
	must(t, err)
	defer h.Close()
	for i, c := range []struct {
		state int
		say   Say
		want  ntstatus.Status
		flow  dtyp.GUID // afterwards; zero: none
		limit uint64
	}{
		{unbound, say(wire.SetLogicalFlowID, flowB, 7), ok, flowB, 0},
		{unbound, say(wire.SetLogicalFlowID, dtyp.GUID{}, 0), ok, dtyp.GUID{}, 0},
		{unbound, say(wire.SetPolicy, flowB, 7), notFound, dtyp.GUID{}, 0},
		{unbound, say(wire.SetLogicalFlowID|wire.SetPolicy, flowB, 7), ok, flowB, 7},
		{unbound, say(wire.SetLogicalFlowID|wire.SetPolicy, dtyp.GUID{}, 7), notFound, dtyp.GUID{}, 0},
		{unbound, say(wire.ProbePolicy, flowB, 7), ok, flowB, 7},
		{unbound, say(wire.ProbePolicy, dtyp.GUID{}, 7), invalid, dtyp.GUID{}, 0},
		{unbound, say(wire.ProbePolicy|wire.SetLogicalFlowID, flowB, 7), ok, flowB, 7},
		{unbound, say(wire.GetStatus, flowB, 0), notFound, dtyp.GUID{}, 0},
		{unbound, say(wire.UpdateCounters, flowB, 0), notFound, dtyp.GUID{}, 0},
		{unbound, say(wire.ProbePolicy|wire.GetStatus|wire.UpdateCounters, flowB, 7), ok, flowB, 7},
		{unbound, say(all, flowB, 7), ok, flowB, 7},
		{unbound, say(wire.SetLogicalFlowID|wire.SetPolicy, flowB, 1_000_000_001), invalid, dtyp.GUID{}, 0},
		{unbound, say(0x20, flowB, 0), invalid, dtyp.GUID{}, 0},
		{unbound, say(0x20|wire.SetLogicalFlowID, flowB, 0), ok, flowB, 0},

		{bound, say(wire.SetLogicalFlowID, flowB, 7), ok, flowB, 0},
		{bound, say(wire.SetLogicalFlowID, flowA, 7), ok, flowA, 5},
		{bound, say(wire.SetLogicalFlowID, dtyp.GUID{}, 0), ok, dtyp.GUID{}, 0},
		{bound, say(wire.SetPolicy, flowB, 7), ok, flowA, 7},
		{bound, say(wire.SetPolicy, dtyp.GUID{}, 0), ok, flowA, 0},
		{bound, say(wire.SetLogicalFlowID|wire.SetPolicy, flowB, 7), ok, flowB, 7},
		{bound, say(wire.SetLogicalFlowID|wire.SetPolicy, dtyp.GUID{}, 7), notFound, flowA, 5},
		{bound, say(wire.SetLogicalFlowID|wire.GetStatus, dtyp.GUID{}, 7), notFound, flowA, 5},
		{bound, say(wire.ProbePolicy, flowB, 7), ok, flowA, 5},
		{bound, say(wire.ProbePolicy, dtyp.GUID{}, 7), ok, flowA, 5},
		{bound, say(wire.ProbePolicy, flowB, 1_000_000_001), ok, flowA, 5}, // nobody looks
		{bound, say(wire.GetStatus, flowB, 0), ok, flowA, 5},
		{bound, say(wire.UpdateCounters, flowB, 0), ok, flowA, 5},
		{bound, say(wire.SetPolicy, flowA, 1_000_000_001), invalid, flowA, 5},
		{bound, say(wire.SetLogicalFlowID|wire.SetPolicy, flowB, 1_000_000_001), invalid, flowA, 5},
		{bound, say(all, flowB, 7), ok, flowB, 7},
	} {
		d, err := h.Open(fmt.Sprintf("state%d.vhdx", i))
		must(t, err)
		if c.state == bound {
			_, err := d.Control(say(wire.SetLogicalFlowID|wire.SetPolicy, flowA, 5))
			must(t, err)
		}
		out, err := d.Control(c.say)
		is(t, err, c.want)
		if asked := c.say.Options&wire.GetStatus != 0 && c.want == ok; asked != (out != nil) {
			t.Errorf("%d %v: answer %+v", i, c.say.Options, out)
		}
		s, err := d.Status(wire.Version11)
		switch {
		case c.flow.IsZero():
			is(t, err, notFound)
		case err != nil || s.FlowID != c.flow || s.MaximumIoRate != c.limit || s.Status != wire.StatusOk:
			t.Errorf("%d state %d, %v: afterwards %+v, %v, want flow %v limit %d", i, c.state, c.say.Options, s, err, c.flow, c.limit)
		}
		must(t, d.Close())
	}
}

// The answer must fit; the specification's 80 bytes are less than any answer has.
func TestRoomForTheStatus(t *testing.T) {
	_, hosts := start(t)
	_, d := open(t, hosts, "a.vhdx")
	_, err := d.Control(say(wire.SetLogicalFlowID, flowA, 0))
	must(t, err)
	for _, c := range []struct {
		v    wire.Version
		room uint32
		want ntstatus.Status
	}{{wire.Version10, 79, ntstatus.InvalidParameter}, {wire.Version10, 87, ntstatus.InvalidParameter}, {wire.Version10, 88, ntstatus.Success},
		{wire.Version11, 88, ntstatus.InvalidParameter}, {wire.Version11, 96, ntstatus.Success}} {
		r := wire.Request{Version: c.v, Options: wire.GetStatus}
		_, err := d.Raw(r.AppendFixed(nil), c.room)
		is(t, err, c.want)
	}
	// Nothing is asked for, so no room is needed.
	r := wire.Request{Version: wire.Version11, Options: wire.UpdateCounters}
	_, err = d.Raw(r.AppendFixed(nil), 0)
	must(t, err)
}

// Several opens of one host share a flow; it ends with the last.
func TestSeveralOpensOfAFlow(t *testing.T) {
	s, hosts := start(t)
	h, first := open(t, hosts, "a.vhdx")
	second, err := h.Open("b.vhdx")
	must(t, err)
	_, err = first.Control(say(wire.SetLogicalFlowID|wire.SetPolicy, flowA, 300))
	must(t, err)
	_, err = second.Control(say(wire.SetLogicalFlowID, flowA, 0))
	must(t, err)
	status(t, second, flowA, 300, wire.StatusOk)
	_, err = second.Control(say(wire.SetPolicy, dtyp.GUID{}, 400))
	must(t, err)
	status(t, first, flowA, 400, wire.StatusOk)
	if got := flowsOf(t, s)[flowA.String()].Opens; got != 2 {
		t.Errorf("%d opens", got)
	}
	must(t, first.Close())
	status(t, second, flowA, 400, wire.StatusOk)
	must(t, second.Close())
	third, err := h.Open("a.vhdx")
	must(t, err)
	_, err = third.Control(say(wire.SetLogicalFlowID, flowA, 0))
	must(t, err)
	status(t, third, flowA, 0, wire.StatusOk) // a new one
}

func status(t testing.TB, d Disk, flow dtyp.GUID, limit uint64, want wire.Status) {
	t.Helper()
	s, err := d.Status(wire.Version11)
	if err != nil || s.FlowID != flow || s.MaximumIoRate != limit || s.Status != want {
		t.Errorf("status %+v, %v; want flow %v, maximum %d, %v", s, err, flow, limit, want)
	}
}

// flow is what `gabion qos flow list --json` says.
type flow struct {
	Flow, VM, Host, Policy, Path, Status, User string
	Opens, Waiting                             int
	HostIoCount                                uint64 `json:"host_io_count"`
}

func flowsOf(t testing.TB, s *rig.Server) map[string]flow {
	t.Helper()
	var list []flow
	must(t, json.Unmarshal([]byte(gabion(t, s, "qos", "flow", "list", "--json")), &list))
	byID := map[string]flow{}
	for _, f := range list {
		byID[f.Flow] = f
	}
	return byID
}

// A user cannot touch the flow of another by naming its id.
func TestFlowsBelongToUsers(t *testing.T) {
	s, hosts := start(t, "--user", "eve:Another-Password-1")
	_, mine := open(t, hosts, "a.vhdx")
	_, err := mine.Control(say(wire.SetLogicalFlowID|wire.SetPolicy, flowA, 300))
	must(t, err)
	eve := hosts
	eve.Credentials = client.Credentials{User: "eve", Password: "Another-Password-1"}
	_, hers := open(t, eve, "a.vhdx")
	_, err = hers.Control(say(wire.SetLogicalFlowID|wire.SetPolicy, flowA, 1))
	must(t, err)
	status(t, mine, flowA, 300, wire.StatusOk)
	status(t, hers, flowA, 1, wire.StatusOk)
	_ = s
}

// A policy over several hosts: a dedicated one is each VM's own, its disks share it; an
// aggregated one is everybody's. Numbers that change count at once, also for those who are
// there; a deleted policy leaves them without, and made anew it counts again.
func TestSeveralHostsOfAPolicy(t *testing.T) {
	s, hosts := start(t)
	dedicated, aggregated := dtyp.NewGUID(), dtyp.NewGUID()
	policy(t, s, "each", "dedicated", dedicated, 0, 1000, 0)
	policy(t, s, "all", "aggregated", aggregated, 0, 900, 0)
	join := func(file string, flow, policy, vm dtyp.GUID) Disk {
		_, d := open(t, hosts, file)
		_, err := d.Control(Say{Initiator: "vm", Node: "host", Request: wire.Request{Version: wire.Version11, Options: wire.ProbePolicy, FlowID: flow, PolicyID: policy, InitiatorID: vm}})
		must(t, err)
		return d
	}
	one := join("1.vhdx", flowA, dedicated, vm1)
	status(t, one, flowA, 1000, wire.StatusOk)
	two := join("2.vhdx", flowB, dedicated, vm2)
	status(t, one, flowA, 1000, wire.StatusOk)
	status(t, two, flowB, 1000, wire.StatusOk)
	more := join("3.vhdx", other, dedicated, vm2)
	sum := func(disks ...Disk) (n uint64) {
		for _, d := range disks {
			r, err := d.Status(wire.Version11)
			must(t, err)
			if r.Status != wire.StatusOk || r.MaximumIoRate == 0 {
				t.Errorf("status %+v", r)
			}
			n += r.MaximumIoRate
		}
		return n
	}
	status(t, one, flowA, 1000, wire.StatusOk)
	if n := sum(two, more); n != 1000 {
		t.Errorf("two idle disks of a VM have %d of 1000", n)
	}
	for _, d := range []Disk{one, two, more} {
		_, err := d.Control(Say{Request: wire.Request{Version: wire.Version11, Options: wire.SetPolicy, PolicyID: aggregated, InitiatorID: vm1}})
		must(t, err)
	}
	if n := sum(one, two, more); n != 900 {
		t.Errorf("three idle hosts of an aggregated policy have %d of 900", n)
	}
	gabion(t, s, "qos", "policy", "set", "all", "--maximum", "300")
	if n := sum(one, two, more); n != 300 {
		t.Errorf("%d of 300 after a change", n)
	}
	gabion(t, s, "qos", "policy", "delete", "all")
	status(t, one, flowA, 0, wire.StatusUnknownPolicyID)
	policy(t, s, "again", "aggregated", aggregated, 0, 600, 0)
	if n := sum(one, two, more); n != 600 {
		t.Errorf("%d of 600 under a policy made anew", n)
	}
}

// A persistent open keeps its flow when the connection is lost, when it is reclaimed, and over
// a restart of the server, before its host says anything.
func TestReconnect(t *testing.T) {
	s, hosts := start(t)
	policy(t, s, "gold", "dedicated", PolicyID, 0, 500, 0)
	guid, create := dtyp.NewGUID(), dtyp.NewGUID()
	h, err := hosts.ConnectAs(guid)
	must(t, err)
	d, err := h.OpenPersistent("a.vhdx", create)
	must(t, err)
	_, err = d.Control(Say{Initiator: "vm", Node: "host", Request: wire.Request{Version: wire.Version11,
		Options: wire.ProbePolicy | wire.UpdateCounters, FlowID: flowA, PolicyID: PolicyID, InitiatorID: vm1, IoCountIncrement: 9}})
	must(t, err)
	again := func() {
		t.Helper()
		if f := flowsOf(t, s)[flowA.String()]; f.Opens != 1 || f.VM != "vm" || f.Host != "host" || f.Policy != "gold" {
			t.Errorf("while nobody is connected: %+v", f)
		}
		h, err = hosts.ConnectAs(guid)
		must(t, err)
		d, err = h.Reclaim(d, create)
		must(t, err)
		status(t, d, flowA, 500, wire.StatusOk)
		// What a host polls with: it finds the association there.
		r, err := d.Control(Say{Request: wire.Request{Version: wire.Version11, Options: wire.ProbePolicy | wire.GetStatus | wire.UpdateCounters, FlowID: flowA}})
		if err != nil || r.PolicyID != PolicyID || r.InitiatorID != vm1 {
			t.Errorf("polled: %+v, %v", r, err)
		}
	}
	h.Close()
	again()
	if f := flowsOf(t, s)[flowA.String()]; f.HostIoCount != 9 {
		t.Errorf("counters %+v", f)
	}
	s.Kill()
	must(t, s.Run())
	again()
	must(t, s.Stop())
	must(t, s.Run())
	again()
	must(t, d.Close())
	if f, there := flowsOf(t, s)[flowA.String()]; there {
		t.Errorf("closed: %+v", f)
	}
	h.Close()
}

// slow is a disk whose reads wait: its flow has a limit of one a second, and more than a minute's worth
// was read at once, so that what comes next waits however slow the machine is.
func slow(t testing.TB, hosts Server, name string) (*Host, Disk) {
	t.Helper()
	h, d := open(t, hosts, name)
	_, err := d.WriteAt(make([]byte, 1<<20), 0)
	must(t, err)
	_, err = d.Control(say(wire.SetLogicalFlowID|wire.SetPolicy, flowA, 1))
	must(t, err)
	_, err = d.ReadAt(make([]byte, 1<<20), 0)
	must(t, err)
	return h, d
}

// reads begins reads of 64 KiB that will have to wait: each is eight normalised I/O.
func reads(t testing.TB, d Disk, n int) (all []*client.Pending) {
	t.Helper()
	for i := range n {
		p, err := d.Tree.Start(&smb2.ReadRequest{FileID: d.ID, Offset: uint64(i) << 16, Length: 64 << 10})
		must(t, err)
		all = append(all, p)
	}
	return all
}

// CLOSE, FLUSH, lease acknowledgements, CANCEL and names are not throttled, on the same
// connection and the same open; what waits when its open is closed ends.
func TestNothingElseIsThrottled(t *testing.T) {
	_, hosts := start(t)
	h, d := slow(t, hosts, "a.vhdx")
	waiting := reads(t, d, 8)
	ids := make([]uint64, len(waiting))
	for i, p := range waiting {
		ids[i] = asyncID(t, p)
	}
	must(t, d.Flush())
	must(t, h.Conn.Echo())
	f, err := h.Tree.Create(client.WithLease(client.OpenFile("b.vhdx"), smb2.Lease{Key: smb2.LeaseKey{1}, State: smb2.LeaseReadCaching | smb2.LeaseWriteCaching | smb2.LeaseHandleCaching}))
	must(t, err)
	done := make(chan error, 1)
	go func() {
		h, err := hosts.Connect()
		if err == nil {
			defer h.Close()
			_, err = h.Open("b.vhdx")
		}
		done <- err
	}()
	b, err := h.Conn.Break()
	must(t, err)
	lb, err := b.LeaseBreak()
	must(t, err)
	_, err = h.Tree.AcknowledgeLease(lb.LeaseKey, lb.NewLeaseState)
	must(t, err)
	must(t, <-done)
	must(t, f.Close())
	must(t, waiting[3].Cancel(ids[3]))
	is(t, waiting[3].Done(), ntstatus.Cancelled)
	must(t, d.Close())
	for _, i := range []int{0, 1, 2, 4, 5, 6, 7} {
		is(t, waiting[i].Done(), ntstatus.Cancelled)
	}
}

// asyncID waits for the interim response that a request gets which will wait for long.
func asyncID(t testing.TB, p *client.Pending) uint64 {
	t.Helper()
	r, final, err := p.Interim()
	must(t, err)
	if final {
		t.Fatalf("ended with %v", r.Status())
	}
	return r.Header.AsyncID()
}

// A server that goes down answers what waits, and a client that goes leaves nothing behind.
func TestEndsWhileWaiting(t *testing.T) {
	s, hosts := start(t)
	h, d := slow(t, hosts, "a.vhdx")
	reads(t, d, 8)
	must(t, d.Flush())
	h.Close()
	for end := time.Now().Add(time.Minute); flowsOf(t, s)[flowA.String()].Waiting > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("requests of a lost connection still wait")
		}
	}
	_, d = slow(t, hosts, "b.vhdx")
	waiting := reads(t, d, 8)
	must(t, d.Flush())
	must(t, s.Stop())
	for i, p := range waiting {
		if err := p.Done(); err != nil {
			t.Errorf("read %d: %v", i, err)
		}
	}
}

// A host whose file is taken away has cancelled nothing: what waits hears what any request of the file
// hears from then on.
func TestWaitingWhenTheFileIsTakenAway(t *testing.T) {
	s, hosts := start(t)
	_, d := slow(t, hosts, "a.vhdx")
	waiting := reads(t, d, 8)
	for _, p := range waiting {
		asyncID(t, p)
	}
	for _, line := range strings.Split(gabion(t, s, "open", "list"), "\n") {
		if strings.Contains(line, "a.vhdx") {
			gabion(t, s, "open", "close", strings.Fields(line)[0])
		}
	}
	is(t, waiting[5].Done(), ntstatus.FileClosed)
	is(t, waiting[7].Done(), ntstatus.FileClosed)
}

// The payload of a WRITE that waits counts as lent until it is answered, and the limits of
// what clients may have in flight stay those of the whole server.
func TestWaitingWritesCountAgainstTheBudget(t *testing.T) {
	s, hosts := start(t)
	_, d := slow(t, hosts, "a.vhdx")
	before := metric(t, s, "gabion_smb_payload_lent_bytes")
	const n, size = 16, 1 << 20
	var all []*client.Pending
	for i := range n {
		p, err := d.Tree.Start(&smb2.WriteRequest{FileID: d.ID, Offset: uint64(i) * size, Data: make([]byte, size)})
		must(t, err)
		all = append(all, p)
	}
	for end := time.Now().Add(time.Minute); flowsOf(t, s)[flowA.String()].Waiting < n; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the writes do not wait")
		}
	}
	if during := metric(t, s, "gabion_smb_payload_lent_bytes"); during-before < (n-2)*size {
		t.Errorf("%.0f bytes are lent more than before, %d wait", during-before, n*size)
	}
	must(t, d.Close())
	for _, p := range all {
		_ = p.Done()
	}
}

// scrape is what Prometheus gets.
func scrape(t testing.TB, s *rig.Server) string {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.Data, "admin.sock"))
	}}}
	defer c.CloseIdleConnections()
	r, err := c.Get("http://gabion/metrics")
	must(t, err)
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	must(t, err)
	return string(b)
}

func metric(t testing.TB, s *rig.Server, name string) (v float64) {
	t.Helper()
	for _, line := range strings.Split(scrape(t, s), "\n") {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			_, err := fmt.Sscan(rest, &v)
			must(t, err)
			return v
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// A host that reports what it likes gets its limit and no more.
func TestLyingHost(t *testing.T) {
	_, hosts := start(t)
	_, d := open(t, hosts, "a.vhdx")
	_, err := d.WriteAt(make([]byte, 64<<10), 0)
	must(t, err)
	_, err = d.Control(say(wire.SetLogicalFlowID|wire.SetPolicy, flowA, 50))
	must(t, err)
	began := time.Now()
	n := 0
	for ; n < 100; n++ {
		_, err := d.ReadAt(make([]byte, 8192), 0)
		must(t, err)
		if n%5 == 0 {
			lie := say(wire.UpdateCounters|wire.ProbePolicy, flowA, 0)
			lie.IoCountIncrement, lie.NormalizedIoCountIncrement = uint64(n%2)<<63, ^uint64(0)*uint64(n%2)
			lie.LatencyIncrement, lie.LowerLatencyIncrement, lie.KilobyteCountIncrement = ^uint64(0), 0, ^uint64(0)
			_, err := d.Control(lie)
			must(t, err)
		}
	}
	// One goes at once and a twentieth of a second's worth early, the rest at 4 % more until a quarter
	// of a second is made up for; that it takes longer on a busy machine says nothing.
	if took := time.Since(began).Seconds(); float64(n) > min(50*(took+0.25), 52*(took+0.05))+1 {
		t.Errorf("%d reads in %.2f s, limit 50", n, took)
	}
}

// Malformed requests have their status and no effect.
func TestMalformed(t *testing.T) {
	s, hosts := start(t)
	h, d := open(t, hosts, "a.vhdx")
	good := say(wire.SetLogicalFlowID|wire.SetPolicy|wire.GetStatus, flowA, 100)
	_, err := d.Control(good)
	must(t, err)
	message := good.AppendNamed(nil, "vm", "host")
	rng := rand.New(rand.NewPCG(9, 9))
	for range 2000 {
		b := append([]byte(nil), message...)
		for range 1 + rng.IntN(4) {
			switch rng.IntN(3) {
			case 0:
				b = b[:rng.IntN(len(b)+1)]
			case 1:
				if len(b) > 0 {
					b[rng.IntN(len(b))] = byte(rng.Uint32())
				}
			default:
				b = append(b, make([]byte, rng.IntN(2000))...)
			}
		}
		_, err := d.Ioctl(uint32(fscc.FsctlStorageQosControl), b, uint32(rng.IntN(200)))
		if got, ok := client.Status(err); !ok {
			t.Fatalf("%x: %v", b, err)
		} else if got != ntstatus.Success && got != ntstatus.InvalidParameter && got != ntstatus.NotFound && got != ntstatus.RevisionMismatch {
			t.Fatalf("%x: %v", b, got)
		}
		if len(b) < 112 {
			if err == nil {
				t.Fatalf("%x is taken for a request", b)
			}
		}
	}
	must(t, h.Conn.Echo())
	_, err = d.Control(good)
	must(t, err)
	status(t, d, flowA, 100, wire.StatusOk)
	if n := len(flowsOf(t, s)); n > 3 {
		t.Errorf("%d flows are left of one open", n)
	}
}
