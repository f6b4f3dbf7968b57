package peers

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/protocol/ntstatus"
)

// processorTime is what a process has used, to a hundredth of a second.
func processorTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// guess tries a wrong password ten times on one connection, as guessers do.
func guess(addr, user string) error {
	c, err := client.Dial(addr, client.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Negotiate(client.Negotiation{}); err != nil {
		return err
	}
	for i := range 10 {
		_, err := c.Login(client.Credentials{User: user, Password: fmt.Sprint("guess", i)})
		if !errors.Is(err, ntstatus.LogonFailure) && !errors.Is(err, ntstatus.AccountLockedOut) {
			return fmt.Errorf("a wrong password for %s: %v", user, err)
		}
	}
	return nil
}

// readLatencies reads one block again and again until stop, and tells how long each took.
func readLatencies(t *testing.T, s *rig.Server, stop *atomic.Bool) []time.Duration {
	t.Helper()
	f, err := mount(t, s, "vms").Open("block")
	check(t, err)
	defer f.Close()
	var took []time.Duration
	buf := make([]byte, 4096)
	for len(took) == 0 || !stop.Load() {
		start := time.Now()
		if _, err := f.ReadAt(buf, 0); err != nil {
			t.Fatalf("a read after %d good ones: %v", len(took), err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took
}

// Ten thousand wrong passwords, for accounts that there are and that there are not:
// each is refused, a client that is logged on goes on reading and one that comes meanwhile
// gets in, the account under attack is locked and no other, and nothing of it stays in memory.
// What a refusal costs and what readers feel is written down, not judged.
func TestFailedLogons(t *testing.T) {
	attempts := 1_000
	if os.Getenv("GABION_CI") != "" {
		attempts = 10_000
	}
	s := rig.Start(t, "--user", "victim:Right-Password-1", "--user", "bystander:Right-Password-2")
	check(t, mount(t, s, "vms").WriteFile("block", make([]byte, 4096), 0o666))

	var stop atomic.Bool
	time.AfterFunc(2*time.Second, func() { stop.Store(true) })
	quiet := readLatencies(t, s, &stop)
	stop.Store(false)

	before, used, began := rss(t, s.PID()), processorTime(t, s.PID()), time.Now()
	var attack sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(attempts / 10))
	for w := range 8 {
		attack.Go(func() {
			for n := left.Add(-1); n >= 0; n = left.Add(-1) {
				user := "victim"
				if w%2 == 0 {
					user = fmt.Sprint("nobody", n)
				}
				if err := guess(s.Addr, user); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	go func() { attack.Wait(); stop.Store(true) }()
	attacked := readLatencies(t, s, &stop)
	// This comes in while they are at it, or just after.
	check(t, mount(t, s, "vms").WriteFile("during", nil, 0o666))
	attack.Wait()
	took, cost := time.Since(began), processorTime(t, s.PID())-used

	for user, want := range map[string]ntstatus.Status{"victim": ntstatus.AccountLockedOut, "bystander": ntstatus.Success} {
		c, err := client.Dial(s.Addr, client.Options{})
		check(t, err)
		check(t, c.Negotiate(client.Negotiation{}))
		password := map[string]string{"victim": "Right-Password-1", "bystander": "Right-Password-2"}[user]
		if _, err := c.Login(client.Credentials{User: user, Password: password}); err == nil && want != ntstatus.Success || err != nil && !errors.Is(err, want) {
			t.Errorf("%s afterwards: %v, want %v", user, err, want)
		}
		c.Close()
	}
	grown := rss(t, s.PID()) - before
	t.Logf("memory grew by %d MiB", grown>>20)
	if grown > 64<<20 {
		t.Error("that is what the attack has left")
	}
	at := func(l []time.Duration, percent int) time.Duration {
		return l[len(l)*percent/100].Round(time.Microsecond)
	}
	t.Logf("%d failed logons in %v (%.0f a minute); the server used %v, reads included", attempts, took.Round(time.Millisecond),
		float64(attempts)/took.Minutes(), cost)
	t.Logf("4 KiB reads: alone %d, median %v, 99%% %v; meanwhile %d, median %v, 99%% %v", len(quiet), at(quiet, 50), at(quiet, 99),
		len(attacked), at(attacked, 50), at(attacked, 99))
}
