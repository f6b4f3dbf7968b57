package hostile_test

import (
	"runtime"
	"testing"
	"time"

	"gabion/conformance/hostile"
	"gabion/server/servertest"
)

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
	target := hostile.Target{Addr: servertest.Memory(t), Share: servertest.Share, User: servertest.User, Password: servertest.Password}
	if err := target.Alive(); err != nil { // what a first client costs is not the suite's
		t.Fatal(err)
	}
	goroutines, heap := held()
	hostile.Run(t, target)
	var n int
	var b uint64
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		// Connections end when the server has noticed that they have.
		if n, b = held(); n <= goroutines+idle && b < heap+maxLeft {
			return
		}
	}
	t.Errorf("%d goroutines and %d KiB, %d and %d before", n, b>>10, goroutines, heap>>10)
}

// idle is how many workers the server keeps waiting for work, whatever there was.
const idle = 16

// maxLeft is for what the files of the suite left in the volume, which is in memory too.
const maxLeft = 16 << 20
