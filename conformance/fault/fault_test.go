package fault

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gabion/conformance/rig"
	"gabion/protocol/fscc"
	"gabion/protocol/smb2"
)

const disks = 8

// rigging is a run: the server, the hosts, the disks, and what was found.
type rigging struct {
	t      *testing.T
	seed   uint64
	server *rig.Server
	proxy  *proxy
	hosts  []*host // 0 and 1 have disks, 2 visits
	disks  []*disk
	over   chan struct{} // closed when the run ends

	mu         sync.Mutex
	counts     map[string]int // guarded by mu
	violations []string       // guarded by mu
	faults     []string       // the last ones; guarded by mu
	killed     time.Time      // the last kill; guarded by mu
	stall      time.Duration  // the longest request; guarded by mu
	afterKill  time.Duration  // the longest from a kill to the first answer of each disk; guarded by mu
	waiting    map[*disk]bool // disks without an answer since the kill; guarded by mu
	restart    time.Duration  // the longest from exec to ready; guarded by mu
	stalledBy  string         // the fault before the longest request; guarded by mu
}

func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

func TestHostsLoseNothing(t *testing.T) {
	kills, losses := number("GABION_FAULT_KILLS", 8), number("GABION_FAULT_LOSSES", 40)
	r := start(t, "lose")
	stop := make(chan struct{})
	wait := r.work(stop)
	r.storm(kills, losses)
	if r.bad() {
		r.report() // nobody waits for disks that nobody has any more
		close(stop)
		r.end()
		return
	}
	r.settle()
	close(stop)
	wait()
	r.settle()
	r.end()
	if err := r.server.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if out, errs, err := r.server.Command("check"); err != nil {
		t.Errorf("check: %v\n%s%s", err, out, errs)
	}
	r.report()
}

// A server that forgets to sync its log is found out.
func TestRigFindsLostWrites(t *testing.T) {
	r := start(t, "nosync=/log/")
	defer r.end()
	stop := make(chan struct{})
	defer close(stop) // or who has lost his disk asks for it for ever, beside the next test
	r.work(stop)
	for range 10 {
		r.until(func() bool { return r.counts["writes"] >= 100 })
		r.server.Kill()
		if err := r.server.Run(); err != nil {
			return // not even the volume came back
		}
		if r.looked(); r.bad() {
			return // not with what it had
		}
		r.mu.Lock()
		r.counts["writes"] = 0
		r.mu.Unlock()
	}
	t.Error("ten kills without the log's sync, and nothing was missed")
}

// until waits for what the run has counted, or for a violation.
func (r *rigging) until(counted func() bool) {
	enough := func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return counted() || len(r.violations) > 0
	}
	for !enough() {
		time.Sleep(time.Millisecond)
	}
}

// looked waits until every disk has been read, or for a violation: of a disk that is lost nobody
// says any more.
func (r *rigging) looked() {
	all := false // guarded by mu
	go func() {
		r.settle()
		r.mu.Lock()
		all = true
		r.mu.Unlock()
	}()
	r.until(func() bool { return all })
}

// Channels come and go under load, and no write fails or is sent twice.
func TestChannelsComeAndGo(t *testing.T) {
	r := start(t, "lose")
	stop := make(chan struct{})
	wait := r.work(stop)
	for range 12 {
		for _, h := range r.hosts[:2] {
			if err := h.retire(); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	wait()
	r.settle()
	r.end()
	for _, what := range []string{"replays", "answers FILE_NOT_AVAILABLE", "reclaims"} {
		if n := r.counts[what]; n != 0 {
			t.Errorf("%d %s", n, what)
		}
	}
	r.report()
}

func start(t *testing.T, vfs string) *rigging {
	r := &rigging{t: t, seed: 1, counts: map[string]int{}, waiting: map[*disk]bool{}, over: make(chan struct{})}
	if n, err := strconv.ParseUint(os.Getenv("GABION_FAULT_SEED"), 10, 64); err == nil {
		r.seed = n
	}
	t.Logf("GABION_FAULT_SEED=%d", r.seed)
	r.server = rig.Start(t, "--test-vfs", vfs, "--capacity", "700M", "--share", "vms,ca", "--log-level", "warn")
	r.proxy = newProxy(t, r.server.Addr)
	for i, name := range []string{"hv1", "hv2", "backup"} {
		r.hosts = append(r.hosts, newHost(r, name, byte(i+1)))
	}
	for i := range disks {
		d := newDisk(r, uint32(i+1))
		r.disks = append(r.disks, d)
		if err := d.openOn(r.hosts[i%2]); err != nil {
			t.Fatal(err)
		}
		if err := d.handle.call(func(id smb2.FileID) smb2.Message {
			return &smb2.SetInfoRequest{InfoType: smb2.InfoFile, FileInfoClass: uint8(fscc.FileEndOfFileInformation), FileID: id,
				Buffer: binary.LittleEndian.AppendUint64(nil, blocks*blockSize)}
		}, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// work starts everything that uses the array, until stop is closed.
func (r *rigging) work(stop <-chan struct{}) (wait func()) {
	var wg sync.WaitGroup
	for _, d := range r.disks {
		for i := range depth {
			wg.Go(func() { d.work(i, stop) })
		}
	}
	for i, h := range r.hosts[:2] {
		wg.Go(func() { manage(h, rand.New(rand.NewPCG(r.seed, 1000+uint64(i))), stop) })
		wg.Go(func() { guard(h, rand.New(rand.NewPCG(r.seed, 2000+uint64(i))), stop) })
	}
	return wg.Wait
}

// settle waits until every disk is served, and reads it all.
func (r *rigging) settle() {
	for _, d := range r.disks {
		d.verify()
	}
}

func (r *rigging) end() {
	close(r.over)
	for _, h := range r.hosts {
		h.close()
	}
}

func (r *rigging) count(what string) {
	r.mu.Lock()
	r.counts[what]++
	r.mu.Unlock()
}

func (r *rigging) violation(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.violations = append(r.violations, text); len(r.violations) == 1 {
		r.t.Logf("the first violation: %s", text)
	}
}

func (r *rigging) bad() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.violations) > 0
}

// recent lists the last faults.
func (r *rigging) recent() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return "  " + strings.Join(r.faults, "\n  ")
}

func (r *rigging) fault(format string, args ...any) {
	text := time.Now().Format("15:04:05.000000 ") + fmt.Sprintf(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.faults = append(r.faults, text); len(r.faults) > 12 {
		r.faults = r.faults[1:]
	}
}

// took notes how long a request of a disk took.
func (r *rigging) took(d *disk, began time.Time) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(began) > r.stall {
		r.stall = now.Sub(began)
		r.stalledBy = strings.Join(r.faults[max(0, len(r.faults)-3):], " · ")
	}
	if r.waiting[d] {
		delete(r.waiting, d)
		r.afterKill = max(r.afterKill, now.Sub(r.killed))
	}
}

// storm brings down one fault after the other, as the seed says, until there were enough.
func (r *rigging) storm(kills, losses int) {
	rng := rand.New(rand.NewPCG(r.seed, 0))
	var others sync.WaitGroup
	defer others.Wait()
	for killed := 0; killed < kills || r.proxy.losses() < losses; {
		time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
		if r.bad() {
			return
		}
		// As many as are asked for of both, in a mixture.
		if n := rng.IntN(max(1, kills-killed) + max(1, (losses-r.proxy.losses())/2)); killed < kills && n < kills-killed {
			killed++
			if r.kill(rng); killed%25 == 0 {
				r.t.Logf("%d of %d kills, %d of %d connections lost", killed, kills, r.proxy.losses(), losses)
			}
			continue
		}
		r.disturb(rng, &others)
	}
}

// kill ends the server, mostly as a power cut does, and starts it again.
func (r *rigging) kill(rng *rand.Rand) {
	down := time.Duration(rng.IntN(100)) * time.Millisecond
	gently := rng.IntN(10) == 0
	if rng.IntN(4) == 0 {
		// What the server has acknowledged does not arrive any more.
		for _, k := range r.proxy.all() {
			k.loseAnswers(30 * time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.fault("kill, gently %v", gently)
	began := time.Now()
	if gently {
		if err := r.server.Stop(); err != nil {
			r.violation("SIGTERM: %v", err)
		}
		r.count("drains")
	} else {
		r.server.Kill()
		r.count("kills")
	}
	time.Sleep(down)
	started := time.Now()
	if err := r.server.Run(); err != nil {
		r.violation("restart: %v\n%s", err, tail(r.server.Stderr()))
		return
	}
	r.mu.Lock()
	r.restart = max(r.restart, time.Since(started))
	r.killed = began.Add(down)
	for _, d := range r.disks {
		r.waiting[d] = true
	}
	r.mu.Unlock()
	r.fault("ready after %v", time.Since(started))
	d := r.disks[rng.IntN(len(r.disks))]
	d.verify()
}

func tail(s string) string { return s[max(0, len(s)-4000):] }

// disturb is any fault but a kill. What takes time runs on its own.
func (r *rigging) disturb(rng *rand.Rand, others *sync.WaitGroup) {
	links := r.proxy.all()
	if len(links) == 0 {
		return
	}
	k := links[rng.IntN(len(links))]
	pause := time.Duration(20+rng.IntN(300)) * time.Millisecond
	d, h := r.disks[rng.IntN(len(r.disks))], r.hosts[rng.IntN(2)]
	at := rng.IntN(blocks)
	switch n := rng.IntN(100); {
	case n < 25:
		r.fault("one connection is cut")
		k.cut()
	case n < 40:
		r.fault("all connections are cut")
		for _, k := range links {
			k.cut()
		}
	case n < 52:
		r.fault("answers are lost for %v", pause)
		k.loseAnswers(pause)
	case n < 64:
		r.fault("a dead connection's requests arrive %v late", pause)
		k.haunt(pause/4, pause)
	case n < 72:
		r.fault("a connection stands still for %v", pause)
		k.stall(pause)
	case n < 80:
		r.fault("%s swaps a channel", h.name)
		others.Go(h.swap)
	case n < 90:
		others.Wait() // one mover, visitor or filler at a time
		owner, _ := d.current()
		to := r.hosts[0]
		if owner.host == to {
			to = r.hosts[1]
		}
		r.fault("%s moves to %s", d.name(), to.name)
		others.Go(func() {
			if err := d.openOn(to); err != nil {
				r.violation("move: %v\n%s", err, r.recent())
			}
			r.count("moves")
		})
	case n < 98:
		others.Wait()
		r.fault("a visit to %s", d.name())
		others.Go(func() { visit(r.hosts[2], d, at) })
	case n < 99 || r.counts["times the disk was full"] == 0:
		others.Wait()
		r.fault("the disk is filled")
		others.Go(func() { fill(h) })
	}
}

func (r *rigging) report() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range r.violations {
		r.t.Error(v)
	}
	if len(r.violations) > 0 {
		r.t.Logf("GABION_FAULT_SEED=%d\n%s", r.seed, tail(r.server.Stderr()))
	}
	var text strings.Builder
	for _, k := range slices.Sorted(maps.Keys(r.counts)) {
		fmt.Fprintf(&text, "\n%8d %s", r.counts[k], k)
	}
	r.t.Logf("%d violations; %d connections lost\nlongest request %v (after %s)\nlongest time from a kill to every disk's next answer %v; from exec to ready %v; the hosts' own pause between attempts %v%s",
		len(r.violations), r.proxy.losses(), r.stall, r.stalledBy, r.afterKill, r.restart, backoff, text.String())
}
