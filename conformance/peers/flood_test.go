package peers

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gabion/conformance/rig"
)

// rss is a process's resident memory in bytes.
func rss(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(b), "\n") {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// Connections that come to nothing, a hundred thousand of them, and clients that
// begin and never go on: memory stays where it was, and those who behave are served.
func TestConnectionFlood(t *testing.T) {
	attempts := 5_000
	if os.Getenv("GABION_CI") != "" {
		attempts = 100_000
	}
	s := rig.Start(t)
	mount(t, s, "vms") // what a first client costs is not the flood's
	before := rss(t, s.PID())

	const workers = 32
	openings := [][]byte{nil, {0}, {0, 0, 1}, {0, 0, 0, 200, 0xFE, 'S', 'M', 'B'}, {0, 0xFF, 0xFF, 0xFF}, []byte("GET / HTTP/1.1\r\n\r\n")}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range attempts / workers {
				c, err := net.Dial("tcp", s.Addr)
				if err != nil {
					continue // refused: as good as any answer
				}
				_, _ = c.Write(openings[(w+i)%len(openings)])
				_ = c.(*net.TCPConn).SetLinger(0) // leave no TIME_WAIT behind on this machine
				c.Close()
			}
		})
	}
	wg.Wait()

	var slow []net.Conn
	defer func() {
		for _, c := range slow {
			c.Close()
		}
	}()
	for range 1000 {
		if c, err := net.Dial("tcp", s.Addr); err == nil {
			_, _ = c.Write([]byte{0, 0, 0, 200, 0xFE, 'S', 'M'})
			slow = append(slow, c)
		}
	}
	grown := rss(t, s.PID()) - before
	t.Logf("memory grew by %d MiB", grown>>20)
	if grown > 96<<20 {
		t.Error("that is what the flood has left")
	}
	for _, c := range slow {
		c.Close()
	}
	slow = nil
	// The server notices that they have gone and lets this address in again.
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		tree, leave, err := try(s, "vms")
		if err == nil {
			defer leave()
			check(t, tree.WriteFile("after", []byte("flood"), 0o666))
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not let in after the flood: %v", err)
		}
	}
}
