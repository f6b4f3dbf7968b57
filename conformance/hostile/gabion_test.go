package hostile_test

import (
	"net"
	"runtime"
	"testing"
	"time"

	"gabion/auth"
	"gabion/conformance/hostile"
	"gabion/protocol/ntstatus"
	"gabion/server"
	"gabion/server/object"
	"gabion/store/memvol"
)

// gabion serves one share "vms" from memory in this process and returns its address.
func gabion(t *testing.T) string {
	t.Helper()
	volume := memvol.New(memvol.Options{})
	users, err := auth.OpenUsers(volume, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := users.Add("rig", "Rig-Password-1", "Administrators"); err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Config{
		Name: "GABION", Auth: server.Accepting(auth.NewAcceptor(&auth.NTLM{Users: users, Name: "GABION"})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	objects := object.New(object.Config{Breaker: srv.Breaker()})
	tree, status := objects.Mount(volume).Tree("", object.TreeOptions{})
	if status != ntstatus.Success {
		t.Fatal(status)
	}
	if err := srv.AddShare(&server.Share{Name: "vms", Tree: tree}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	return l.Addr().String()
}

// held is what the process holds: goroutines and bytes.
func held() (int, uint64) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), m.HeapAlloc
}

// TestGabion holds the server, over a volume in memory, to every row; afterwards the process
// holds what it held before.
func TestGabion(t *testing.T) {
	target := hostile.Target{Addr: gabion(t), Share: "vms", User: "rig", Password: "Rig-Password-1"}
	if err := target.Alive(); err != nil { // what a first client costs is not the suite's
		t.Fatal(err)
	}
	goroutines, heap := held()
	hostile.Run(t, target)
	var n int
	var b uint64
	for range 200 {
		// Connections end when the server has noticed that they have.
		if n, b = held(); n <= goroutines+idle && b < heap+maxLeft {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("%d goroutines and %d KiB, %d and %d before", n, b>>10, goroutines, heap>>10)
}

// idle is how many workers the server keeps waiting for work, whatever there was.
const idle = 16

// maxLeft is for what the files of the suite left in the volume, which is in memory too.
const maxLeft = 16 << 20
