package hyperv

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gabion/auth/kerberos/kdctest"
	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/protocol/dtyp"
	"gabion/protocol/smb2"
)

// hostGroup and backupGroup are the domain's groups "Hyper-V Hosts" and that of backup products.
const hostGroup, backupGroup = 1201, 1301

// accounts are who may speak in a transcript.
var accounts = map[string]struct {
	account    string
	rid, group uint32
}{
	"HV1":   {"HV1$", 2001, hostGroup},
	"HV2":   {"HV2$", 2002, hostGroup},
	"LOAD":  {"HV3$", 2003, hostGroup},
	"CNO":   {"CLUSTER1$", 2004, 515},
	"VEEAM": {"veeam", 2005, backupGroup},
	"BOB":   {"bob", 2006, 513},
}

// world is an array in a domain.
type world struct {
	t      *testing.T
	domain *domain
	server *rig.Server

	mu    sync.Mutex
	times map[string][]time.Duration // by kind of operation; guarded by mu
}

func newWorld(t *testing.T, d *domain) *world {
	w := &world{t: t, domain: d, times: map[string][]time.Duration{}}
	w.server = rig.Start(t, "--keytab", d.keytab, "--realm", d.realm, "--share", "vms,ca", "--log-level", "warn")
	for role, rid := range map[string]uint32{"super-admin": hostGroup, "backup-operator": backupGroup} {
		sid := d.theirs.Replace(sidOf(rid))
		if out, errs, err := w.server.Command("role", "grant", role, sid); err != nil {
			t.Fatalf("%v\n%s%s", err, out, errs)
		}
	}
	return w
}

// dial connects an account and authenticates it.
func (w *world) dial(name string, previous uint64) (*client.Tree, error) {
	who := accounts[name]
	c, err := client.Dial(w.server.Addr, client.Options{CreditRequest: 128})
	if err != nil {
		return nil, err
	}
	if err := c.Negotiate(client.Negotiation{ClientGUID: dtyp.GUID{0: byte(who.rid), 1: byte(who.rid >> 8)}}); err != nil {
		return nil, err
	}
	s, err := c.SessionSetup(kdctest.Negotiate(w.domain.ticket(name)), client.Setup{PreviousSessionID: previous})
	if err != nil {
		return nil, err
	}
	return s.Connect("vms")
}

// load keeps eight disks busy until stop is called: 4 KiB to 64 KiB, two reads for a write,
// four at a time on each.
func (w *world) load() (stop func() (requests int)) {
	const disks, depth, size = 8, 4, 64 << 20
	tree, err := w.dial("LOAD", 0)
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan struct{})
	counts := make([]int, disks*depth)
	var wg sync.WaitGroup
	for d := range disks {
		m := client.OpenFile(fmt.Sprintf("load%d.vhdx", d))
		m.CreateOptions |= smb2.OptionNoIntermediateBuffering
		m = client.WithContext(m, smb2.ContextDurableRequestV2, &smb2.DurableRequestV2{CreateGUID: dtyp.NewGUID(), Flags: smb2.DurableFlagPersistent})
		f, err := tree.Create(m)
		if err != nil {
			w.t.Fatal(err)
		}
		for i := range depth {
			rng := rand.New(rand.NewPCG(uint64(d), uint64(i)))
			wg.Go(func() {
				p := make([]byte, 64<<10)
				for i := 0; i < len(p); i += 8 {
					binary.LittleEndian.PutUint64(p[i:], rng.Uint64()) // neither zeros nor compressible
				}
				for n := &counts[d*depth+i]; ; *n++ {
					select {
					case <-done:
						return
					default:
					}
					part := p[:(1+rng.IntN(16))<<12]
					off := rng.Int64N((size-int64(len(part)))>>12) << 12
					var err error
					if rng.IntN(3) == 0 {
						_, err = f.WriteAt(part, off)
					} else if _, err = f.ReadAt(part, off); err != nil && err.Error() == "EOF" {
						err = nil
					}
					if err != nil {
						w.t.Errorf("load: %v", err)
						return
					}
				}
			})
		}
	}
	return func() (n int) {
		close(done)
		wg.Wait()
		for _, c := range counts {
			n += c
		}
		return n
	}
}

// took notes how long an operation of a kind took.
func (w *world) took(kind string, began time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.times[kind] = append(w.times[kind], time.Since(began))
}

// figures is a table of what took has noted.
func (w *world) figures() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(w.times)) {
		list := slices.Sorted(slices.Values(w.times[kind]))
		fmt.Fprintf(&b, "\n%-16s %5d times, median %8v, longest %8v", kind, len(list),
			list[len(list)/2].Round(10*time.Microsecond), list[len(list)-1].Round(10*time.Microsecond))
	}
	return b.String()
}
