package fault

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/protocol/dtyp"
	"gabion/protocol/smb2"
)

// BenchmarkOpenClose is what it costs to open and close a file on a continuously available share,
// 16 at a time: as a plain handle, and as a persistent one with a lease.
func BenchmarkOpenClose(b *testing.B) {
	const depth = 16
	for _, persistent := range []bool{false, true} {
		b.Run(map[bool]string{false: "plain", true: "persistent"}[persistent], func(b *testing.B) {
			s := rig.Start(b, "--share", "vms,ca", "--log-level", "warn")
			tree := mount(b, s.Addr)
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for i := range depth {
				wg.Go(func() {
					for next.Add(1) <= int64(b.N) {
						m := client.OpenFile(fmt.Sprint("file", i))
						m = client.WithLease(m, smb2.Lease{V2: true, Key: smb2.LeaseKey{1, byte(i)}, State: rwh})
						if persistent {
							m = client.WithContext(m, smb2.ContextDurableRequestV2,
								&smb2.DurableRequestV2{CreateGUID: dtyp.NewGUID(), Flags: smb2.DurableFlagPersistent})
						}
						f, err := tree.Create(m)
						if err == nil {
							err = f.Close()
						}
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// mount connects to the share of a server.
func mount(t testing.TB, addr string) *client.Tree {
	t.Helper()
	c, err := client.Dial(addr, client.Options{CreditRequest: 128})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Negotiate(client.Negotiation{ClientGUID: dtyp.NewGUID()}); err != nil {
		t.Fatal(err)
	}
	s, err := c.SessionSetup(login(), client.Setup{})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := s.Connect("vms")
	if err != nil {
		t.Fatal(err)
	}
	return tree
}
