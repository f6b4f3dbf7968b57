package scale

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// array is a server and what its process spends.
type array struct {
	*testing.T
	*rig.Server
}

func start(t *testing.T, args ...string) *array {
	t.Helper()
	return &array{t, rig.Start(t, append([]string{"--share", "vms", "--share", "dur,ca", "--log-level", "warn"}, args...)...)}
}

func (a *array) must(err error) {
	a.Helper()
	if err != nil {
		a.Fatalf("%v\n%s", err, a.Stderr())
	}
}

// cpu is the CPU time that the server's process took so far.
func (a *array) cpu() time.Duration {
	a.Helper()
	var ts unix.Timespec
	a.must(unix.ClockGettime(int32(^a.PID()<<3|2), &ts))
	return time.Duration(ts.Nano())
}

// rss is the memory of the server's process in bytes.
func (a *array) rss() int64 {
	a.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", a.PID()))
	a.must(err)
	f := bytes.Fields(b[bytes.Index(b, []byte("\nRss:")):])
	n, err := strconv.ParseInt(string(f[1]), 10, 64)
	a.must(err)
	return n << 10
}

// sockets is how many the server has open. Its files are no measure: the store opens more of them by
// itself as it grows.
func (a *array) sockets() (n int) {
	a.Helper()
	dir := filepath.Join("/proc", strconv.Itoa(a.PID()), "fd")
	list, err := os.ReadDir(dir)
	a.must(err)
	for _, e := range list {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// dial opens a connection with a session on a share, which asks for so many credits with each request.
func (a *array) dial(share string, credits uint16) *client.Tree {
	a.Helper()
	c, err := client.Dial(a.Addr, client.Options{CreditRequest: credits, Timeout: 2 * time.Minute})
	a.must(err)
	a.Cleanup(func() { c.Close() })
	a.must(c.Negotiate(client.Negotiation{}))
	s, err := c.Login(client.Credentials{User: rig.User, Password: rig.Password})
	a.must(err)
	tree, err := s.Connect(share)
	a.must(err)
	return tree
}

// cost runs work n times, depth at a time, and returns the server's CPU time for one.
func (a *array) cost(n, depth int, work func(i int) error) time.Duration {
	a.Helper()
	before := a.cpu()
	var wg sync.WaitGroup
	errs := make(chan error, depth)
	next := make(chan int)
	for range depth {
		wg.Go(func() {
			for i := range next {
				if err := work(i); err != nil {
					select {
					case errs <- err:
					default:
					}
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	select {
	case err := <-errs:
		a.Fatalf("%v\n%s", err, a.Stderr())
	default:
	}
	return (a.cpu() - before) / time.Duration(n)
}

// open is a CREATE of an existing file.
func open(name string) *smb2.CreateRequest {
	m := client.OpenFile(name)
	m.CreateDisposition = smb2.DispositionOpen
	return m
}

// openClose is an operation of its own.
func openClose(tree *client.Tree, m *smb2.CreateRequest) error {
	f, err := tree.Create(m)
	if err != nil {
		return err
	}
	return f.Close()
}

// list reads a folder until limit entries have come, and returns how many came.
func list(tree *client.Tree, dir string, limit int) (n int, err error) {
	f, err := tree.Create(client.OpenDirectory(dir))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for n < limit {
		b, err := f.QueryDirectory(uint8(37), 0, "*", 64<<10)
		if err == ntstatus.NoMoreFiles {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		for {
			n++
			next := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
			if next == 0 {
				break
			}
			b = b[next:]
		}
	}
	return n, nil
}
