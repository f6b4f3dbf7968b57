package rsvd

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
)

// Two to eight initiators fight for a disk on the real binary, which loses power (what no
// sync covers is lost) and comes back, as their connections do. Of writes at most those of one
// initiator succeed between two changes of the exclusive owner, and nobody writes whom the
// owner has shut out.
//
// How it is judged. Every attempt is noted with the interval in which the server may have
// carried it out: from when it was sent to when it was answered, or when the server was gone.
// An initiator that was told GOOD for RESERVE with an exclusive type holds the disk from that
// answer to the sending of the next request that could have ended it: its own, or anybody's
// PREEMPT. A write that began after the one and was answered before the other, and succeeded,
// must be the owner's.
func TestNeverTwoWriters(t *testing.T) {
	rounds := 3
	if n, err := strconv.Atoi(os.Getenv("GABION_SIM_ROUNDS")); err == nil {
		rounds = n
	}
	for round := range rounds {
		seed := uint64(round)
		if n, err := strconv.ParseUint(os.Getenv("GABION_SIM_SEED"), 10, 64); err == nil {
			seed += n
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) { fight(t, seed) })
	}
}

// event is one request of an initiator.
type event struct {
	who        int
	from, to   int64 // logical times of sending and of the answer
	kind       eventKind
	ok         bool // answered with GOOD or success
	unanswered bool // it may have been carried out or not
}

type eventKind uint8

const (
	wrote     eventKind = iota
	took                // RESERVE with an exclusive type
	gave                // what can end one's own reservation: RELEASE, REGISTER
	preempted           // PREEMPT, which may or may not have met the holder
)

// ring is where initiators fight.
type ring struct {
	t      *testing.T
	server *rig.Server
	n      int

	mu     sync.Mutex // guards the rest
	clock  int64
	events []event
}

func (r *ring) now() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock++
	return r.clock
}

func fight(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 99))
	server := rig.Start(t, append([]string{"--test-vfs", "lose"}, shareArgs...)...)
	s := serverOf(server)
	h, err := s.Connect()
	must(t, err)
	must(t, h.Upload("1.vhdx", dynamic(t, smallDisk)))
	h.Close()
	r := &ring{t: t, server: server, n: 2 + rng.IntN(7)}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range r.n {
		f := &fighter{ring: r, id: i, rng: rand.New(rand.NewPCG(seed, uint64(i))), host: Server{Addr: s.Addr, Share: s.Share, Credentials: s.Credentials,
			Options: client.Options{Timeout: 60 * time.Second}}}
		wg.Go(func() { f.live(stop) })
	}
	for range 4 {
		time.Sleep(time.Duration(300+rng.IntN(700)) * time.Millisecond) // how long the server lives is what varies
		server.Kill()
		if err := server.Run(); err != nil {
			t.Errorf("restart: %v\n%s", err, server.Stderr())
			break
		}
	}
	r.fought()
	close(stop)
	wg.Wait()
	r.judge(seed)
}

// fighter is one initiator with one persistent handle.
type fighter struct {
	*ring
	id   int
	rng  *rand.Rand
	host Server
	at   *Host
	disk *Disk
}

func (f *fighter) live(stop chan struct{}) {
	defer func() {
		if f.at != nil {
			f.at.Close()
		}
	}()
	for {
		select {
		case <-stop:
			return
		default:
		}
		if f.disk == nil || f.at == nil {
			f.attach()
			continue
		}
		if !f.step() {
			f.at.Close()
			f.at = nil
		}
	}
}

// attach connects, and reclaims the handle or opens the disk anew.
func (f *fighter) attach() {
	h, err := f.host.ConnectAs(dtyp.GUID{byte(f.id + 1), 14: 2})
	if err != nil {
		time.Sleep(10 * time.Millisecond) // the server is being started
		return
	}
	if f.disk != nil {
		d, err := h.Reopen(f.disk)
		if err == nil {
			f.at, f.disk = h, d
			return
		}
		status, ok := client.Status(err)
		if !ok || status == ntstatus.FileNotAvailable || status == ntstatus.ObjectNameNotFound {
			h.Close() // the connection broke again, or its end was not noticed yet
			time.Sleep(10 * time.Millisecond)
			return
		}
		f.t.Errorf("initiator %d lost its handle: %v", f.id, err)
		f.disk = nil
	}
	d, err := h.Open("1.vhdx", How{Initiator: initiator(byte(f.id + 1)), Persistent: dtyp.NewGUID()})
	if err != nil {
		h.Close()
		if _, ok := client.Status(err); ok {
			f.t.Errorf("initiator %d: open: %v", f.id, err)
			time.Sleep(100 * time.Millisecond)
		}
		return
	}
	f.at, f.disk = h, d
}

func (f *fighter) key(i int) uint64 { return uint64(i + 1) }

// step sends one request and notes it; false when the connection broke.
func (f *fighter) step() bool {
	me := f.key(f.id)
	exclusive := []byte{WriteExclusive, ExclusiveAccess}[f.rng.IntN(2)]
	switch n := f.rng.IntN(20); {
	case n == 0:
		f.at.Close() // a partition
		f.at = nil
		return true
	case n < 3:
		return f.reserve(gave, RegisterAndIgnore, 0, 0, me) // also a change of nothing
	case n < 5:
		return f.reserve(took, Reserve, exclusive, me, 0)
	case n < 7:
		return f.reserve(preempted, Preempt+byte(f.rng.IntN(2)), exclusive, me, f.key(f.rng.IntN(f.n)))
	case n < 8:
		return f.reserve(gave, Release, exclusive, me, 0)
	case n < 9 && f.rng.IntN(4) == 0:
		return f.reserve(gave, RegisterAndIgnore, 0, 0, 0)
	}
	p := make([]byte, 4096)
	p[0] = byte(f.id + 1)
	from := f.now()
	_, err := f.disk.WriteAt(p, int64(f.rng.IntN(64))*4096)
	return f.note(event{who: f.id, from: from, kind: wrote}, err == nil, err)
}

func (f *fighter) reserve(kind eventKind, action, ty byte, key, actionKey uint64) bool {
	from := f.now()
	r, err := f.disk.ReserveOut(action, ty, key, actionKey)
	return f.note(event{who: f.id, from: from, kind: kind}, err == nil && r.ScsiStatus == Good, err)
}

func (f *fighter) note(e event, ok bool, err error) bool {
	var status ntstatus.Status
	e.unanswered = err != nil && !errors.As(err, &status)
	e.ok = ok
	f.mu.Lock()
	f.clock++
	e.to = f.clock
	f.events = append(f.events, e)
	f.mu.Unlock()
	return !e.unanswered
}

// fought waits until enough has happened to be judged.
func (r *ring) fought() {
	for {
		writes, reigns := 0, 0
		r.mu.Lock()
		for _, e := range r.events {
			if e.ok && e.kind == wrote {
				writes++
			}
			if e.ok && e.kind == took {
				reigns++
			}
		}
		r.mu.Unlock()
		if writes >= 20 && reigns >= 3 || r.t.Failed() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// judge looks for writes under somebody else's exclusive reservation.
func (r *ring) judge(seed uint64) {
	writes, reigns := 0, 0
	for _, e := range r.events {
		if e.kind == wrote && e.ok {
			writes++
		}
		if e.kind != took || !e.ok {
			continue
		}
		reigns++
		// The reign lasts for certain until somebody sends what could end it.
		end := int64(1 << 62)
		for _, x := range r.events {
			switch {
			case x.kind == wrote, x.kind == took, x.kind == gave && x.who != e.who, // no matter to this one
				x.to < e.from,          // over before
				!x.ok && !x.unanswered: // refused
				continue
			}
			end = min(end, max(x.from, e.to))
		}
		for _, x := range r.events {
			if x.kind == wrote && x.ok && x.who != e.who && x.from > e.to && x.to < end {
				r.t.Fatalf("seed %d: initiator %d wrote during [%d,%d] while %d held the disk from %d to %d", seed, x.who, x.from, x.to, e.who, e.to, end)
			}
		}
	}
	r.t.Logf("%d initiators, %d requests, %d writes, %d reigns", r.n, len(r.events), writes, reigns)
}
