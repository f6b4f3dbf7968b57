package sqos

import (
	"cmp"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/auth"
	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	wire "gabion/protocol/sqos"
	"gabion/server"
	"gabion/server/object"
	"gabion/server/qos"
	"gabion/store/block"
)

// The figures of docs/qos.md are measured by
//
//	go test ./conformance/sqos -run TestFigures -figures [-seconds 12]
//
// on an array in this process, so that the moment at which each request goes to the store
// can be looked at. Nothing is asserted: a figure of a busy machine is no verdict.
var (
	figures = flag.Bool("figures", false, "measure the figures of docs/qos.md")
	seconds = flag.Int("seconds", 12, "how long each measurement takes")
)

// array is a server in this process.
type array struct {
	Server
	qos *qos.Service // nil: off

	mu   sync.Mutex
	seen map[dtyp.GUID][]dispatch // guarded by mu
}

type dispatch struct {
	at    int64
	units uint32
}

func newArray(t testing.TB, o *qos.Options) *array { return newArrayOn(t, o, nil) }

// newArrayOn puts the array on a device.
func newArrayOn(t testing.TB, o *qos.Options, fs vfs.FS) *array {
	t.Helper()
	a := &array{seen: map[dtyp.GUID][]dispatch{}}
	volume, err := block.Open(block.Options{Dir: t.TempDir(), FS: fs})
	must(t, err)
	t.Cleanup(func() { volume.Close() })
	users, err := auth.OpenUsers(volume, make([]byte, 32))
	must(t, err)
	_, err = users.Add("rig", "Rig-Password-1", "Administrators")
	must(t, err)
	if o != nil {
		o.Watch = func(flow dtyp.GUID, at int64, units uint32) {
			a.mu.Lock()
			a.seen[flow] = append(a.seen[flow], dispatch{at, units})
			a.mu.Unlock()
		}
		a.qos, err = qos.Open(volume, *o)
		must(t, err)
		t.Cleanup(a.qos.Close)
	}
	srv, err := server.New(server.Config{Name: "GABION", QoS: a.qos, Signing: server.SigningEnabled,
		Auth: server.Accepting(auth.NewAcceptor(&auth.NTLM{Users: users, Name: "GABION"}))})
	must(t, err)
	t.Cleanup(func() { srv.Close() })
	objects := object.New(object.Config{Breaker: srv.Breaker()})
	tree, status := objects.Mount(volume).Tree("", object.TreeOptions{})
	if status != ntstatus.Success {
		t.Fatal(status)
	}
	must(t, srv.AddShare(&server.Share{Name: "vms", Tree: tree}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	go srv.Serve(l)
	a.Server = Server{Addr: l.Addr().String(), Share: "vms", Credentials: client.Credentials{User: "rig", Password: "Rig-Password-1"}}
	return a
}

// load is a virtual machine's disk that is read in blocks of 8 KiB at a depth, on a connection
// of its own.
type load struct {
	disk Disk
	id   dtyp.GUID
	stop chan struct{}
	wg   sync.WaitGroup
	n    atomic.Int64
	off  atomic.Bool
	rate atomic.Int64 // a host that obeys: normalised I/O per second, 0: as fast as it can
}

func (a *array) load(t testing.TB, name string, depth int, s *Say) *load {
	t.Helper()
	_, d := open(t, a.Server, name)
	for off := int64(0); off < 1<<20; off += 64 << 10 { // what the first credits allow
		p := make([]byte, 64<<10) // not zeros, which take no space and no time
		rand.NewChaCha8([32]byte{byte(off >> 16)}).Read(p)
		_, err := d.WriteAt(p, off)
		must(t, err)
	}
	l := &load{disk: d, stop: make(chan struct{})}
	if s != nil {
		l.id = dtyp.NewGUID()
		s.FlowID, s.Version, s.Options = l.id, wire.Version11, wire.SetLogicalFlowID|wire.SetPolicy
		_, err := d.Control(*s)
		must(t, err)
	}
	for w := range depth {
		l.wg.Add(1)
		go l.work(w)
	}
	t.Cleanup(l.end)
	return l
}

func (l *load) work(w int) {
	defer l.wg.Done()
	p := make([]byte, 8192)
	next := time.Now()
	for i := w; ; i++ {
		select {
		case <-l.stop:
			return
		default:
		}
		if l.off.Load() {
			time.Sleep(5 * time.Millisecond)
			next = time.Now()
			continue
		}
		if r := l.rate.Load(); r > 0 { // one worker
			if next = next.Add(time.Second / time.Duration(r)); time.Until(next) > 0 {
				time.Sleep(min(time.Until(next), 100*time.Millisecond))
			} else if time.Since(next) > 50*time.Millisecond {
				next = time.Now()
			}
		}
		if _, err := l.disk.ReadAt(p, int64(i*7919%128)*8192); err != nil {
			return
		}
		l.n.Add(1)
	}
}

func (l *load) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
		l.wg.Wait()
	}
}

// during lets a time pass and returns what went to the store meanwhile, by flow.
func (a *array) during(d time.Duration) map[dtyp.GUID][]dispatch {
	a.mu.Lock()
	a.seen = map[dtyp.GUID][]dispatch{}
	a.mu.Unlock()
	time.Sleep(d)
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := a.seen
	a.seen = map[dtyp.GUID][]dispatch{}
	return seen
}

// windows are the least and the most that fell into any window of a length.
func windows(list []dispatch, length time.Duration) (least, most float64) {
	if len(list) == 0 || list[len(list)-1].at-list[0].at < int64(length) {
		return math.NaN(), math.NaN()
	}
	least = math.Inf(1)
	sum, from := 0, 0
	for _, d := range list {
		sum += int(d.units)
		for ; list[from].at <= d.at-int64(length); from++ {
			// Up to here a whole window, which ended before d.
			if d.at-list[0].at > int64(length) {
				least = min(least, float64(sum-int(d.units)))
			}
			sum -= int(list[from].units)
		}
		most = max(most, float64(sum))
	}
	return least / length.Seconds(), most / length.Seconds()
}

func merged(seen map[dtyp.GUID][]dispatch, loads []*load) (all []dispatch) {
	for _, l := range loads {
		all = append(all, seen[l.id]...)
	}
	slices.SortFunc(all, func(x, y dispatch) int { return cmp.Compare(x.at, y.at) })
	return all
}

func units(list []dispatch) (n float64) {
	for _, d := range list {
		n += float64(d.units)
	}
	return n
}

func TestFigures(t *testing.T) {
	if !*figures {
		t.Skip("measures; see -figures")
	}
	long := time.Duration(*seconds) * time.Second
	inline := func(limit, reservation uint64) *Say {
		return &Say{Request: wire.Request{Limit: limit, Reservation: reservation}}
	}
	say := func(format string, args ...any) {
		fmt.Printf("%s load %s: %s\n", time.Now().UTC().Format("15:04:05"), loadAverage(), fmt.Sprintf(format, args...))
	}

	t.Run("limits", func(t *testing.T) {
		a := newArray(t, &qos.Options{})
		var all []*load
		limits := []uint64{50, 200, 1000, 2000}
		for i, n := range limits {
			all = append(all, a.load(t, fmt.Sprint("l", i), 32, inline(n, 0)))
		}
		time.Sleep(time.Second)
		seen := a.during(long)
		for i, n := range limits {
			lo, hi := windows(seen[all[i].id], 10*time.Second)
			_, worst := windows(seen[all[i].id], time.Second)
			say("limit %d: any 10 s %.1f to %.1f (%+.2f %% to %+.2f %%), any 1 s at most %.0f (%+.1f %%)", n, lo, hi,
				(lo/float64(n)-1)*100, (hi/float64(n)-1)*100, worst, (worst/float64(n)-1)*100)
		}
	})

	t.Run("aggregated", func(t *testing.T) {
		a := newArray(t, &qos.Options{})
		const limit = 1000 // 160 requests at a time: a client that takes 100 ms to come back keeps them busy
		p, err := a.qos.AddPolicy(qos.Policy{Name: "all", Kind: qos.Aggregated, Numbers: qos.Numbers{Maximum: limit}})
		must(t, err)
		var all []*load
		for i := range 10 {
			all = append(all, a.load(t, fmt.Sprint("a", i), 16, &Say{Request: wire.Request{PolicyID: p.ID, InitiatorID: dtyp.NewGUID()}}))
		}
		time.Sleep(time.Second)
		lo, hi := windows(merged(a.during(long), all), 10*time.Second)
		say("aggregated %d over 10 flows: any 10 s %.1f to %.1f (%+.2f %% to %+.2f %%)", limit, lo, hi, (lo/limit-1)*100, (hi/limit-1)*100)
		for _, l := range all[:5] {
			l.off.Store(true)
		}
		time.Sleep(200 * time.Millisecond)
		seen := a.during(2 * time.Second)
		for _, l := range all[:5] {
			l.off.Store(false)
		}
		time.Sleep(200 * time.Millisecond)
		back := a.during(2 * time.Second)
		say("200 ms after five of ten stopped: the others %.0f of %d a second; 200 ms after they came back: these %.0f, all %.0f",
			units(merged(seen, all[5:]))/2, limit, units(merged(back, all[:5]))/2, units(merged(back, all))/2)
	})

	t.Run("obeying", func(t *testing.T) {
		a := newArray(t, &qos.Options{})
		const limit = 1000
		p, err := a.qos.AddPolicy(qos.Policy{Name: "all", Kind: qos.Aggregated, Numbers: qos.Numbers{Maximum: limit}})
		must(t, err)
		var all []*load
		for i := range 4 {
			l := a.load(t, fmt.Sprint("o", i), 1, &Say{Request: wire.Request{PolicyID: p.ID, InitiatorID: dtyp.NewGUID()}})
			l.rate.Store(limit)
			go l.obey()
			all = append(all, l)
		}
		time.Sleep(8 * time.Second)
		before := a.during(2 * time.Second)
		for _, l := range all[:2] {
			l.off.Store(true)
		}
		began := time.Now()
		took := time.Duration(0)
		for took == 0 && time.Since(began) < 15*time.Second {
			if seen := a.during(500 * time.Millisecond); units(merged(seen, all[2:]))*2 > limit*0.93 {
				took = time.Since(began)
			}
		}
		after := a.during(2 * time.Second)
		say("four hosts that obey: two have %.0f of %d a second; after the others stop it takes %v (500 ms steps) until they have %.0f",
			units(merged(before, all[2:]))/2, limit, took.Round(10*time.Millisecond), units(merged(after, all[2:]))/2)
	})

	capacity := 0.0
	t.Run("saturation", func(t *testing.T) {
		a := newArray(t, &qos.Options{})
		all := greedy(t, a, 20)
		time.Sleep(2 * time.Second)
		a.during(5 * time.Second)
		n := int64(0)
		for _, l := range all {
			n -= l.n.Load()
		}
		time.Sleep(5 * time.Second)
		for _, l := range all {
			n += l.n.Load()
		}
		capacity = float64(n) / 5
		say("saturation: %.0f reads of 8 KiB a second, 20 flows at depth 32", capacity)
	})

	// A device of a known speed, which no processor limits: reservations are about that.
	t.Run("reservation", func(t *testing.T) {
		for name, known := range map[string]uint64{"told": uint64(slowRate) / 2, "found": 0} {
			t.Run(name, func(t *testing.T) {
				dev := &slowFS{FS: vfs.Default, places: make(chan struct{}, slowPlaces)}
				a := newArrayOn(t, &qos.Options{Capacity: known}, dev)
				promised := uint64(slowRate) / 4
				l := a.load(t, "reserved", 32, inline(0, promised))
				greedy(t, a, 20)
				dev.slow.Store(true)
				time.Sleep(3 * time.Second)
				seen := a.during(long)
				got := units(seen[l.id]) / long.Seconds()
				others := units(seen[dtyp.GUID{}]) / long.Seconds()
				for _, v := range a.qos.Flows() {
					if v.Flow == l.id.String() {
						say("the reserved flow just now: %d of its 32 wait at the array, %d are worked on; queue %.2f ms, device %.2f ms; status %v", v.Waiting, v.Serving, v.Queue/1000, v.Device/1000, v.Status)
					}
				}
				say("reservation %d on a device of %d reads a second against 20 greedy flows at depth 32, capacity told %d (0: not): %.0f a second (%.1f %%); all %.0f, each of the others %.0f",
					promised, slowRate, known, got, got/float64(promised)*100, got+others, others/20)
				dev.slow.Store(false)
			})
		}
	})

	t.Run("reservation-cache", func(t *testing.T) {
		half := uint64(capacity / 2)
		if half == 0 {
			t.Skip("run it with saturation: -run 'TestFigures/(saturation|reservation-cache)'")
		}
		for _, known := range []uint64{half, 0} {
			a := newArray(t, &qos.Options{Capacity: known})
			promised := half / 4
			l := a.load(t, "reserved", 32, inline(0, promised))
			greedy(t, a, 20)
			time.Sleep(2 * time.Second)
			seen := a.during(long)
			got := units(seen[l.id]) / long.Seconds()
			for _, v := range a.qos.Flows() {
				if v.Flow == l.id.String() {
					say("the reserved flow just now: %d of its 32 wait at the array, %d are worked on; queue %.2f ms, device %.2f ms; status %v", v.Waiting, v.Serving, v.Queue/1000, v.Device/1000, v.Status)
				}
			}
			say("from the cache, clients on the same processors: reservation %d against 20 greedy flows at depth 32, capacity told %d (0: not): %.0f a second (%.1f %%); each of the others %.0f",
				promised, known, got, got/float64(promised)*100, units(seen[dtyp.GUID{}])/long.Seconds()/20)
		}
	})
}

const (
	slowPlaces = 8
	slowTime   = 5 * time.Millisecond
	slowRate   = slowPlaces * int(time.Second/slowTime)
)

// slowFS is a device that serves so many reads at a time, each for so long, when it is slow.
type slowFS struct {
	vfs.FS
	places chan struct{}
	slow   atomic.Bool
}

func (s *slowFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := s.FS.OpenReadWrite(name, c, o...)
	if err != nil {
		return nil, err
	}
	return slowFile{f, s}, nil
}

type slowFile struct {
	vfs.File
	fs *slowFS
}

func (f slowFile) ReadAt(p []byte, off int64) (int, error) {
	if f.fs.slow.Load() {
		f.fs.places <- struct{}{}
		time.Sleep(slowTime)
		<-f.fs.places
	}
	return f.File.ReadAt(p, off)
}

// greedy are disks that are read as fast as the array can.
func greedy(t testing.TB, a *array, n int) (all []*load) {
	for i := range n {
		all = append(all, a.load(t, fmt.Sprint("greedy", i), 32, nil))
	}
	return all
}

// obey polls as a host does and throttles to what it is told.
func (l *load) obey() {
	for {
		r, err := l.disk.Control(Say{Request: wire.Request{Version: wire.Version11, Options: wire.GetStatus | wire.UpdateCounters}})
		if err != nil {
			return
		}
		l.rate.Store(int64(r.MaximumIoRate))
		select {
		case <-l.stop:
			return
		case <-time.After(max(time.Second, time.Duration(r.TimeToLive)*time.Millisecond)):
		}
	}
}

func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	one, _, _ := strings.Cut(string(b), " ")
	return one
}
